/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/safari_orders.h"

#include <criterion/criterion.h>

enum { COMMANDS, TELEMETRY, SESSIONS };

struct safari_orders safari_orders_start(const struct pj_projection *projection)
{
    return (struct safari_orders){.orders = pj_orders_of(projection), .next_event = 1};
}

static char *text(struct safari_orders *s, const char *value)
{
    return value != NULL ? pj_arena_string(s->orders.arena, value, strlen(value)) : NULL;
}

static struct pj_value *command_event(struct safari_orders *s, unsigned command, int64_t ms)
{
    struct pj_value *v = pj_orders_event(&s->orders, COMMANDS, (int32_t)(command % 3));
    v[COMMAND_EVENT_ID] = pj_orders_uuid(1000 + s->next_event++);
    v[COMMAND_ID] = pj_orders_uuid(command);
    v[COMMAND_EMITTED_AT] = pj_orders_time(ms);
    return v;
}

struct pj_value *safari_submitted(struct safari_orders *s, unsigned command, int64_t ms,
                                  const char *type, const char *payload)
{
    struct pj_value *v = command_event(s, command, ms);
    v[COMMAND_SUBMITTED] = pj_bool(true);
    v[COMMAND_TYPE] = pj_text(text(s, type));
    v[COMMAND_PAYLOAD] = pj_text(text(s, payload));
    return v;
}

struct pj_value *safari_status(struct safari_orders *s, unsigned command, int64_t ms,
                               const char *status, const char *result, const char *error)
{
    struct pj_value *v = command_event(s, command, ms);
    v[COMMAND_STATUS_CHANGED] = pj_bool(true);
    v[COMMAND_STATUS] = pj_text(text(s, status));
    v[COMMAND_RESULT] = pj_text(text(s, result));
    v[COMMAND_ERROR] = pj_text(text(s, error));
    v[COMMAND_CURSOR] =
        pj_text(pj_arena_printf(s->orders.arena, "%lld-%u", (long long)ms, s->next_event));
    return v;
}

struct pj_value *safari_telemetry(struct safari_orders *s, unsigned command, int64_t ms,
                                  const char *type, const char *payload)
{
    struct pj_value *v = pj_orders_event(&s->orders, TELEMETRY, (int32_t)(command % 3));
    v[TELEMETRY_EVENT_ID] = pj_orders_uuid(1000 + s->next_event++);
    v[TELEMETRY_COMMAND_ID] = pj_orders_uuid(command);
    v[TELEMETRY_EMITTED_AT] = pj_orders_time(ms);
    v[TELEMETRY_TYPE] = pj_text(text(s, type));
    v[TELEMETRY_PAYLOAD] = pj_text(text(s, payload));
    return v;
}

static struct pj_value *session_event(struct safari_orders *s, unsigned session, int64_t ms)
{
    struct pj_value *v = pj_orders_event(&s->orders, SESSIONS, (int32_t)(session % 2));
    v[SESSION_EVENT_ID] = pj_orders_uuid(1000 + s->next_event++);
    v[SESSION_ID] = pj_orders_uuid(session);
    v[SESSION_EMITTED_AT] = pj_orders_time(ms);
    return v;
}

struct pj_value *safari_session_opened(struct safari_orders *s, unsigned session, int64_t ms,
                                       const char *platform)
{
    struct pj_value *v = session_event(s, session, ms);
    v[SESSION_OPENED] = pj_bool(true);
    v[SESSION_PLATFORM] = pj_text(text(s, platform));
    return v;
}

struct pj_value *safari_session_closed(struct safari_orders *s, unsigned session, int64_t ms)
{
    struct pj_value *v = session_event(s, session, ms);
    v[SESSION_CLOSED] = pj_bool(true);
    return v;
}

void safari_expect(const struct safari_orders *s, const char *expected)
{
    cr_assert(pj_orders_expect(&s->orders, expected));
}

void safari_refuse(const struct safari_orders *s, const char *text)
{
    cr_assert(pj_orders_refuse(&s->orders, text));
}

/* --- the mixture ----------------------------------------------------------------------------- */

/* Of five quarters of an hour the last begins another hour and day, so that buckets are left. */
enum { MIXED_FROM = 23 * 3600000 };

static const char *pick(unsigned *seed, const char *const *texts, size_t count)
{
    return texts[(size_t)rand_r(seed) % count];
}

#define PICK(...)                                                                                  \
    pick(seed, (const char *const[]){__VA_ARGS__},                                                 \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void mix_submitted(struct safari_orders *s, unsigned command, int64_t ms, unsigned *seed)
{
    const char *type =
        PICK("sora.generate", "sora.generate.clean", "sora.batch", "sora.batch.clean", "sora.clean",
             "session.create", "session.close", "flow.run");
    const char *payload =
        PICK("{\"prompt\":\"p\",\"input_path\":\"/a\"}",
             "{\"prompts\":[\"x\",\"y\"],\"character\":\"c\"}",
             "{\"input_path\":\"/b\",\"method\":\"ai\"}", "{}", "{\"platform\":\"x\"}",
             "{\"inputPath\":\"/a\",\"output_path\":\"/f\"}", "[1]",
             "{\"session_id\":\"00000000-0000-4000-8000-000000000007\"}");
    struct pj_value *v = safari_submitted(s, command, ms, type, payload);
    v[COMMAND_TARGET_PLATFORM] = pj_text(ms % 2 == 0 ? "sora" : "flow");
    if (rand_r(seed) % 2 == 0)
        v[COMMAND_TARGET_SESSION_ID] = pj_orders_uuid(7 + (unsigned)rand_r(seed) % 2);
    if (rand_r(seed) % 3 == 0)
        v[COMMAND_REQUESTED_AT] = pj_orders_time(ms - rand_r(seed) % 3);
}

static void mix_status(struct safari_orders *s, unsigned command, int64_t ms, unsigned *seed)
{
    const char *result =
        PICK("{\"video_path\":\"/a\",\"file_size\":3}", "{\"output_path\":\"/c\"}",
             "{\"results\":[{\"path\":\"/a\",\"error\":\"e\"},{\"cleaned_path\":\"/d\"}]}",
             "{\"clean_error\":\"e\",\"video_path\":\"/b\"}", NULL, "[1]",
             "{\"videoPath\":\"/a\",\"cleanedPath\":\"/g\",\"cleanedSize\":5}",
             "{\"results\":[{\"success\":false},7,{\"path\":\"/b\",\"cleanedPath\":\"/h\"}]}",
             "{\"session_id\":\"00000000-0000-4000-8000-000000000008\"}");
    const char *status = PICK("QUEUED", "RUNNING", "SUCCEEDED", "SUCCEEDED", "FAILED", "CANCELLED",
                              "POLLING", "VERIFICATION_FAILED", "ODD");
    struct pj_value *v = safari_status(s, command, ms, status, result, PICK("oh", NULL));
    if (rand_r(seed) % 3 == 0)
        v[COMMAND_CURSOR] = pj_null();
    else if (rand_r(seed) % 3 == 0)
        v[COMMAND_CURSOR] = pj_text(PICK("83700000-9", "83700000-10", "odd"));
}

static void mix_telemetry(struct safari_orders *s, unsigned command, int64_t ms, unsigned *seed)
{
    const char *type = PICK("sora.prompt.submitted", "sora.video.ready", "sora.video.downloaded",
                            "action.attempted", "sora.video.cleaned", "rate.limited");
    const char *payload = PICK(
        "{\"action\":\"WATERMARK_REMOVAL\",\"input_path\":\"/a\"}", "{\"batch_index\":1}",
        "{\"file_path\":\"/a\",\"file_size\":4,\"input_path\":\"/b\",\"output_path\":\"/d\"}",
        "{\"batch_index\":0,\"input_path\":\"/a\",\"output_path\":\"/e\",\"file_size\":2}",
        "{\"character\":\"c\",\"video_url\":\"u\"}",
        "{\"batchIndex\":2,\"inputPath\":\"/b\",\"outputPath\":\"/i\"}", "{\"batch_index\":-1}");
    struct pj_value *v = safari_telemetry(s, command, ms, type, payload);
    if (rand_r(seed) % 4 == 0)
        v[TELEMETRY_TARGET_SESSION_ID] = pj_orders_uuid(7);
}

void safari_orders_mixture(struct safari_orders *s, int count, unsigned from)
{
    unsigned *seed = &from;
    size_t sources = s->orders.projection->source_count;
    unsigned commands = count > 40 ? (unsigned)count / 10 : 4; /* about ten events each */
    for (int i = 0; i < count; i++) {
        unsigned command = 1 + (unsigned)rand_r(seed) % commands;
        int64_t ms = MIXED_FROM + (rand_r(seed) % 5) * INT64_C(900000) + rand_r(seed) % 3;
        int kind = rand_r(seed) % (sources > 1 ? 8 : 4);
        if (kind < 2)
            mix_submitted(s, command, ms, seed);
        else if (kind < 4)
            mix_status(s, command, ms, seed);
        else if (kind < 7 || sources < 3)
            mix_telemetry(s, command, ms, seed);
        else if (rand_r(seed) % 4 == 0)
            safari_session_closed(s, 7 + (unsigned)rand_r(seed) % 3, ms);
        else
            safari_session_opened(s, 7 + (unsigned)rand_r(seed) % 3, ms, "sora");
    }
    cr_assert(pj_orders_reaches(&s->orders),
              "take more events, another seed, or events of your own first");
}
