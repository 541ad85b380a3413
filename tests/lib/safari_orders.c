/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/safari_orders.h"

#include <criterion/criterion.h>

enum { COMMANDS, TELEMETRY, SESSIONS };

struct safari_orders safari_orders_start(const struct pj_projection *projection)
{
    return (struct safari_orders){.orders = pj_orders_of(projection), .next_event = 1};
}

static struct pj_value text(struct safari_orders *s, const char *value)
{
    return value != NULL ? pj_orders_text(&s->orders, "%s", value) : pj_null();
}

static struct safari_command *command_event(struct safari_orders *s, unsigned command, int64_t ms)
{
    struct safari_command *v =
        PJ_ORDERS_EVENT(&s->orders, safari_command, COMMANDS, (int32_t)(command % 3));
    v->event_id = PJ_UUID(pj_orders_uuid(1000 + s->next_event++));
    v->command_id = PJ_UUID(pj_orders_uuid(command));
    v->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(ms));
    return v;
}

struct safari_command *safari_submitted(struct safari_orders *s, unsigned command, int64_t ms,
                                        const char *type, const char *payload)
{
    struct safari_command *v = command_event(s, command, ms);
    v->submitted = PJ_BOOL(true);
    v->type = PJ_TEXT(text(s, type));
    v->payload = PJ_JSONB(text(s, payload));
    return v;
}

struct safari_command *safari_status(struct safari_orders *s, unsigned command, int64_t ms,
                                     const char *status, const char *result, const char *error)
{
    struct safari_command *v = command_event(s, command, ms);
    v->status_changed = PJ_BOOL(true);
    v->status = PJ_TEXT(text(s, status));
    v->result = PJ_JSONB(text(s, result));
    v->error = PJ_TEXT(text(s, error));
    v->cursor = PJ_TEXT(pj_orders_text(&s->orders, "%lld-%u", (long long)ms, s->next_event));
    return v;
}

struct safari_frame *safari_telemetry(struct safari_orders *s, unsigned command, int64_t ms,
                                      const char *type, const char *payload)
{
    struct safari_frame *v =
        PJ_ORDERS_EVENT(&s->orders, safari_frame, TELEMETRY, (int32_t)(command % 3));
    v->event_id = PJ_UUID(pj_orders_uuid(1000 + s->next_event++));
    v->command_id = PJ_UUID(pj_orders_uuid(command));
    v->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(ms));
    v->type = PJ_TEXT(text(s, type));
    v->payload = PJ_JSONB(text(s, payload));
    return v;
}

static struct safari_session *session_event(struct safari_orders *s, unsigned session, int64_t ms)
{
    struct safari_session *v =
        PJ_ORDERS_EVENT(&s->orders, safari_session, SESSIONS, (int32_t)(session % 2));
    v->event_id = PJ_UUID(pj_orders_uuid(1000 + s->next_event++));
    v->session_id = PJ_UUID(pj_orders_uuid(session));
    v->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(ms));
    return v;
}

struct safari_session *safari_session_opened(struct safari_orders *s, unsigned session, int64_t ms,
                                             const char *platform)
{
    struct safari_session *v = session_event(s, session, ms);
    v->opened = PJ_BOOL(true);
    v->platform = PJ_TEXT(text(s, platform));
    return v;
}

struct safari_session *safari_session_closed(struct safari_orders *s, unsigned session, int64_t ms)
{
    struct safari_session *v = session_event(s, session, ms);
    v->closed = PJ_BOOL(true);
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
    struct safari_command *v = safari_submitted(s, command, ms, type, payload);
    v->platform = PJ_TEXT(ms % 2 == 0 ? "sora" : "flow");
    if (rand_r(seed) % 2 == 0)
        v->session_id = PJ_UUID(pj_orders_uuid(7 + (unsigned)rand_r(seed) % 2));
    if (rand_r(seed) % 3 == 0)
        v->requested_at = PJ_TIMESTAMPTZ(pj_orders_time(ms - rand_r(seed) % 3));
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
    struct safari_command *v = safari_status(s, command, ms, status, result, PICK("oh", NULL));
    if (rand_r(seed) % 3 == 0)
        v->cursor = PJ_TEXT(pj_null());
    else if (rand_r(seed) % 3 == 0)
        v->cursor = PJ_TEXT(PICK("83700000-9", "83700000-10", "odd"));
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
    struct safari_frame *v = safari_telemetry(s, command, ms, type, payload);
    if (rand_r(seed) % 4 == 0)
        v->session_id = PJ_UUID(pj_orders_uuid(7));
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
