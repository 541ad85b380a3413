/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/safari/production.h"

#include <stdio.h>
#include <uuid/uuid.h>

enum { INDEX_MOST = 9999 };
/* 256 TiB, in bytes: no file is larger, and the sums of sizes must fit 64 bits. */
#define SIZE_MOST (INT64_C(1) << 48)
enum { S_TYPE, S_PAYLOAD, S_CREATED_AT };
enum { T_STATUS, T_ENDED, T_RESULT, T_ERROR, T_AT };
enum { DOWNLOADED_PATH, DOWNLOADED_SIZE };

const struct pj_fact_kind production_facts[PRODUCTION_FACTS] = {
    [PRODUCTION_SUBMITTED] = {"submitted", PJ_LEAST,
                              PJ_FACT_VALUES(PJ_TEXT, PJ_JSONB, PJ_TIMESTAMPTZ)},
    [PRODUCTION_STATUS] = {"status", PJ_GREATEST,
                           PJ_FACT_VALUES(PJ_TEXT, PJ_BOOL, PJ_JSONB, PJ_TEXT, PJ_TIMESTAMPTZ)},
    [PRODUCTION_FIRST_LIFECYCLE] = {"first lifecycle event", PJ_LEAST,
                                    PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
    [PRODUCTION_FIRST_TELEMETRY] = {"first telemetry", PJ_LEAST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
    [PRODUCTION_PROMPT] = {"prompt submitted", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT, PJ_BOOL)},
    [PRODUCTION_READY] = {"video ready", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT)},
    [PRODUCTION_DOWNLOADED] = {"video downloaded", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT, PJ_BIGINT)},
    [PRODUCTION_ATTEMPTED] = {"removal attempted", PJ_LEAST,
                              PJ_FACT_VALUES(PJ_TEXT, PJ_TIMESTAMPTZ)},
    [PRODUCTION_CLEANED] = {"video cleaned", PJ_GREATEST,
                            PJ_FACT_VALUES(PJ_TEXT, PJ_TEXT, PJ_BIGINT, PJ_TIMESTAMPTZ, PJ_BOOL)},
};

/* --- JSON ------------------------------------------------------------------------------------ */

static int check_prompts(const json_t *payload, struct pj_error *error)
{
    size_t count = json_array_size(json_object_get(payload, "prompts"));
    if (count <= INDEX_MOST + 1)
        return 0;
    return pj_error_set(error, PJ_POISON,
                        "payload.prompts has %zu prompts, a batch can have %d: send the rest as "
                        "another command",
                        count, INDEX_MOST + 1);
}

static bool is_batch(enum production_kind kind)
{
    return kind == PRODUCTION_BATCH || kind == PRODUCTION_BATCH_CLEAN;
}

/* All that becomes a column. What is no object has no members, as for safari_commands. */
static int check_payload(const json_t *payload, enum production_kind kind, struct pj_error *error)
{
    static const struct {
        const char *name;
        size_t most_chars;
    } columns[] = {{"character", 100},
                   {"duration", 20},
                   {"aspect_ratio", 20},
                   {"aspectRatio", 20},
                   {"method", 50}};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        if (safari_check_length(payload, columns[i].name, columns[i].most_chars, error) != 0)
            return -1;
    }
    return is_batch(kind) ? check_prompts(payload, error) : 0;
}

struct pj_value production_text(const struct production *production, const json_t *object,
                                const char *name, const char *camel_case)
{
    return safari_nonempty(
        pj_derivation_text(production->derivation, safari_member(object, name, camel_case)));
}

struct pj_value production_size(const json_t *object, const char *name, const char *camel_case)
{
    struct pj_value size = pj_json_integer(safari_member(object, name, camel_case));
    return size.integer >= 0 && size.integer <= SIZE_MOST ? size : pj_null();
}

/* --- observing commands ---------------------------------------------------------------------- */

static enum production_kind kind_of(const struct pj_value *type)
{
    static const struct {
        const char *type;
        enum production_kind kind;
    } kinds[] = {
        {"sora.generate", PRODUCTION_GENERATE}, {"sora.generate.clean", PRODUCTION_GENERATE_CLEAN},
        {"sora.batch", PRODUCTION_BATCH},       {"sora.batch.clean", PRODUCTION_BATCH_CLEAN},
        {"sora.clean", PRODUCTION_CLEAN},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (pj_text_is(type, kinds[i].type))
            return kinds[i].kind;
    }
    return PRODUCTION_OTHER;
}

static int observe_submitted(const struct pj_value *v, struct pj_observer *observer,
                             struct pj_error *error)
{
    enum production_kind kind = kind_of(&v[COMMAND_TYPE]);
    bool counts = kind != PRODUCTION_OTHER;
    const json_t *payload = counts ? pj_observer_json(observer, &v[COMMAND_PAYLOAD]) : NULL;
    if (counts && check_payload(payload, kind, error) != 0)
        return -1;
    struct pj_order order = safari_time_order(&v[COMMAND_EMITTED_AT], &v[COMMAND_EVENT_ID]);
    struct pj_value submitted[] = {
        v[COMMAND_TYPE],
        v[COMMAND_PAYLOAD],
        v[v[COMMAND_REQUESTED_AT].present ? COMMAND_REQUESTED_AT : COMMAND_EMITTED_AT],
    };
    /* The payload of other commands can be anything. */
    submitted[S_PAYLOAD].present = submitted[S_PAYLOAD].present && counts;
    pj_keep(observer, 0, v[COMMAND_ID].uuid, PRODUCTION_SUBMITTED, NULL, &order, submitted);
    return 0;
}

int production_observe_command(const struct pj_event *event, struct pj_observer *observer,
                               struct pj_error *error)
{
    const struct pj_value *v = event->values;
    struct safari_lifecycle lifecycle;
    if (v[COMMAND_SUBMITTED].present)
        return observe_submitted(v, observer, error);
    if (safari_read_lifecycle(v, &lifecycle, error) != 0)
        return -1;
    struct pj_value values[] = {
        pj_text(lifecycle.status), pj_bool(lifecycle.rank == SAFARI_TERMINAL),
        v[COMMAND_RESULT],         lifecycle.error,
        v[COMMAND_EMITTED_AT],
    };
    const uint8_t *command = v[COMMAND_ID].uuid;
    pj_keep(observer, 0, command, PRODUCTION_STATUS, NULL, &lifecycle.order, values);
    pj_keep(observer, 0, command, PRODUCTION_FIRST_LIFECYCLE, NULL, &lifecycle.time,
            &v[COMMAND_EMITTED_AT]);
    return 0;
}

/* --- observing telemetry --------------------------------------------------------------------- */

/* What the handler of one type of frame works with. */
struct frame {
    const struct pj_value *values;
    const json_t *payload;
    struct pj_observer *observer;
    struct pj_order order; /* among the frames of the command */
    uint8_t subkey[16];    /* of the index it is about */
    bool numbered;         /* it says which */
};

static struct pj_value frame_text(const struct frame *frame, const char *name,
                                  const char *camel_case)
{
    return safari_nonempty(
        pj_observer_text(frame->observer, safari_member(frame->payload, name, camel_case)));
}

static void keep(const struct frame *frame, enum production_fact fact,
                 const struct pj_value *values)
{
    pj_keep(frame->observer, 0, frame->values[TELEMETRY_COMMAND_ID].uuid, fact, frame->subkey,
            &frame->order, values);
}

/* Where `said` is null, only a frame that is silent, too, comes before it. */
static void keep_last(const struct frame *frame, enum production_fact fact,
                      const struct pj_value *said, const struct pj_value *values)
{
    struct frame last = *frame;
    if (!said->present)
        last.order.rank[0] = INT64_MIN;
    keep(&last, fact, values);
}

static void on_prompt(const struct frame *frame)
{
    struct pj_value values[] = {frame_text(frame, "character", NULL), pj_bool(frame->numbered)};
    keep_last(frame, PRODUCTION_PROMPT, &values[PROMPT_CHARACTER], values);
}

static void on_ready(const struct frame *frame)
{
    struct pj_value url = frame_text(frame, "video_url", "videoUrl");
    keep_last(frame, PRODUCTION_READY, &url, &url);
}

static void on_downloaded(const struct frame *frame)
{
    struct pj_value values[] = {
        production_first(frame_text(frame, "file_path", "filePath"),
                         frame_text(frame, "video_path", "videoPath")),
        production_size(frame->payload, "file_size", "fileSize"),
    };
    keep_last(frame, PRODUCTION_DOWNLOADED, &values[DOWNLOADED_PATH], values);
}

static void on_attempted(const struct frame *frame)
{
    const char *action = json_string_value(json_object_get(frame->payload, "action"));
    struct pj_value values[] = {frame_text(frame, "input_path", "inputPath"),
                                frame->values[TELEMETRY_EMITTED_AT]};
    if (action != NULL && strcmp(action, "WATERMARK_REMOVAL") == 0)
        keep(frame, PRODUCTION_ATTEMPTED, values);
}

/* Wire v2 calls an output what it calls it in the result of a generate. */
static struct pj_value cleaned_size(const json_t *object)
{
    return production_first(production_size(object, "file_size", "fileSize"),
                            production_size(object, "cleaned_size", "cleanedSize"));
}

static void on_cleaned(const struct frame *frame)
{
    struct pj_value values[] = {
        frame_text(frame, "input_path", "inputPath"),
        production_first(frame_text(frame, "output_path", "outputPath"),
                         frame_text(frame, "cleaned_path", "cleanedPath")),
        cleaned_size(frame->payload),
        frame->values[TELEMETRY_EMITTED_AT],
        pj_bool(frame->numbered),
    };
    keep_last(frame, PRODUCTION_CLEANED, &values[CLEANED_OUTPUT_PATH], values);
}

static const struct {
    const char *type;
    void (*handle)(const struct frame *frame);
    bool numbered; /* it can be about one of a batch */
} handlers[] = {
    {"sora.prompt.submitted", on_prompt, true},      {"sora.video.ready", on_ready, false},
    {"sora.video.downloaded", on_downloaded, false}, {"action.attempted", on_attempted, false},
    {"sora.video.cleaned", on_cleaned, true},
};

/* Without an index: sorted after those with one. */
static const uint8_t unnumbered[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                       255, 255, 255, 255, 255, 255, 255, 255};

/* Sorted like the numbers. */
static void index_subkey(uint32_t index, uint8_t subkey[16])
{
    memset(subkey, 0, 16);
    for (int i = 0; i < 4; i++)
        subkey[15 - i] = (uint8_t)(index >> (8 * i));
}

static int read_index(struct frame *frame, struct pj_error *error)
{
    const json_t *given = safari_member(frame->payload, "batch_index", "batchIndex");
    struct pj_value index = pj_json_integer(given);
    frame->numbered = given != NULL && !json_is_null(given);
    memcpy(frame->subkey, unnumbered, sizeof unnumbered);
    if (!frame->numbered)
        return 0;
    if (!index.present || index.integer < 0 || index.integer > INDEX_MOST)
        return pj_error_set(error, PJ_POISON, "batch_index is not a number from 0 to %d",
                            INDEX_MOST);
    index_subkey((uint32_t)index.integer, frame->subkey);
    return 0;
}

int production_observe_telemetry(const struct pj_event *event, struct pj_observer *observer,
                                 struct pj_error *error)
{
    const struct pj_value *v = event->values;
    if (!v[TELEMETRY_COMMAND_ID].present)
        return 0;
    struct pj_order time = safari_time_order(&v[TELEMETRY_EMITTED_AT], &v[TELEMETRY_EVENT_ID]);
    pj_keep(observer, 0, v[TELEMETRY_COMMAND_ID].uuid, PRODUCTION_FIRST_TELEMETRY, NULL, &time,
            &v[TELEMETRY_EMITTED_AT]);
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (!pj_text_is(&v[TELEMETRY_TYPE], handlers[i].type))
            continue;
        const json_t *payload = pj_observer_json(observer, &v[TELEMETRY_PAYLOAD]);
        if (safari_check_length(payload, "character", 100, error) != 0)
            return -1;
        struct frame frame = {
            .values = v,
            .payload = payload,
            .observer = observer,
            .order = safari_lifecycle_order(&v[TELEMETRY_CURSOR], &v[TELEMETRY_EMITTED_AT],
                                            SAFARI_QUEUED, &v[TELEMETRY_EVENT_ID]),
        };
        if (handlers[i].numbered && read_index(&frame, error) != 0)
            return -1;
        handlers[i].handle(&frame);
        return 0;
    }
    return 0;
}

/* --- reading --------------------------------------------------------------------------------- */

static uint32_t index_of(const struct pj_fact *fact)
{
    uint32_t index = 0;
    for (int i = 12; i < 16; i++)
        index = index << 8 | fact->subkey[i];
    return index;
}

static bool is_numbered(const struct pj_fact *fact)
{
    return fact->values[fact->kind == PRODUCTION_PROMPT ? PROMPT_NUMBERED : CLEANED_NUMBERED]
        .boolean;
}

/* One more than the greatest index that a fact is numbered with, 0 where none is. */
static uint32_t numbered_bound(const struct pj_entity *entity, enum production_fact fact)
{
    size_t count;
    const struct pj_fact *facts = pj_entity_facts(entity, fact, &count);
    while (count > 0 && !is_numbered(&facts[count - 1]))
        count--;
    return count > 0 ? index_of(&facts[count - 1]) + 1 : 0;
}

static uint32_t greater(size_t a, size_t b)
{
    return (uint32_t)(a > b ? a : b);
}

static size_t prompt_count(const struct production *production)
{
    return json_array_size(json_object_get(production->payload, "prompts"));
}

/* Whether items are numbered, and how many there can be. */
static void count_items(struct production *production)
{
    uint32_t told = greater(numbered_bound(production->entity, PRODUCTION_PROMPT),
                            numbered_bound(production->entity, PRODUCTION_CLEANED));
    production->batch = is_batch(production->kind) || (production->kind == PRODUCTION_UNKNOWN &&
                                                       (production->results != NULL || told > 0));
    production->bound = 1;
    if (!production->batch)
        return;
    uint32_t listed = greater(json_array_size(production->results), prompt_count(production));
    listed = listed <= INDEX_MOST ? listed : INDEX_MOST + 1;
    production->bound = greater(production->bound, greater(listed, told));
}

struct production production_of(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *submitted = pj_entity_fact(entity, PRODUCTION_SUBMITTED, NULL);
    const struct pj_fact *status = pj_entity_fact(entity, PRODUCTION_STATUS, NULL);
    const struct pj_fact *lifecycle = pj_entity_fact(entity, PRODUCTION_FIRST_LIFECYCLE, NULL);
    const struct pj_fact *telemetry = pj_entity_fact(entity, PRODUCTION_FIRST_TELEMETRY, NULL);
    struct production production = {
        .entity = entity, .derivation = derivation, .kind = PRODUCTION_UNKNOWN};
    if (submitted != NULL) {
        production.kind = kind_of(&submitted->values[S_TYPE]);
        production.payload = pj_derivation_json(derivation, &submitted->values[S_PAYLOAD]);
        production.created_at = submitted->values[S_CREATED_AT];
    } else if (lifecycle != NULL) {
        production.created_at = lifecycle->values[0];
    } else if (telemetry != NULL) {
        production.created_at = telemetry->values[0];
    }
    if (status != NULL) {
        const struct pj_value *t = status->values;
        production.ended = t[T_ENDED].boolean;
        production.succeeded = pj_text_is(&t[T_STATUS], "SUCCEEDED");
        production.status_order = status->order;
        if (production.ended) {
            production.result = pj_derivation_json(derivation, &t[T_RESULT]);
            production.results = json_object_get(production.result, "results");
            production.ended_at = t[T_AT];
            production.error = safari_nonempty(t[T_ERROR]);
        }
    }
    if (!json_is_array(production.results))
        production.results = NULL;
    count_items(&production);
    return production;
}

const struct pj_fact *production_fact(const struct production *production,
                                      enum production_fact fact, uint32_t index)
{
    uint8_t subkey[16];
    index_subkey(index, subkey);
    const struct pj_fact *found = pj_entity_fact(production->entity, fact, subkey);
    if (found == NULL && production->bound == 1 && index == 0)
        found = pj_entity_fact(production->entity, fact, unnumbered);
    return found;
}

const json_t *production_item_result(const struct production *production, uint32_t index)
{
    return json_array_get(production->results, index);
}

/* --- which videos there are ------------------------------------------------------------------ */

/* One of the results of a command that may be any: it names what only a video has. */
static bool is_video(const struct production *production, const json_t *item)
{
    return production_text(production, item, "prompt", NULL).present ||
           production_text(production, item, "path", NULL).present ||
           production_text(production, item, "cleaned_path", "cleanedPath").present;
}

/* Without a submission there is a video where something was made of it: a lone "cleaned" may be a
 * sora.clean's, which makes none. */
static bool unknown_has_video(const struct production *production, uint32_t index)
{
    const struct pj_fact *cleaned = production_fact(production, PRODUCTION_CLEANED, index);
    if (production_fact(production, PRODUCTION_PROMPT, index) != NULL ||
        (cleaned != NULL && is_numbered(cleaned)) ||
        is_video(production, production_item_result(production, index)))
        return true;
    const json_t *result = production->result;
    return index == 0 &&
           (pj_entity_fact(production->entity, PRODUCTION_DOWNLOADED, NULL) != NULL ||
            pj_entity_fact(production->entity, PRODUCTION_READY, NULL) != NULL ||
            (production_text(production, result, "video_path", "videoPath").present &&
             !production_text(production, result, "input_path", "inputPath").present));
}

bool production_has_video(const struct production *production, uint32_t index)
{
    switch (production->kind) {
    case PRODUCTION_GENERATE:
    case PRODUCTION_GENERATE_CLEAN:
        return index == 0;
    case PRODUCTION_BATCH:
    case PRODUCTION_BATCH_CLEAN:
        return index < prompt_count(production) ||
               production_fact(production, PRODUCTION_PROMPT, index) != NULL ||
               production_fact(production, PRODUCTION_CLEANED, index) != NULL ||
               production_item_result(production, index) != NULL;
    case PRODUCTION_UNKNOWN:
        return unknown_has_video(production, index);
    case PRODUCTION_CLEAN:
    case PRODUCTION_OTHER:
        return false;
    }
    return false;
}

void production_video_id(const struct production *production, uint32_t index, uint8_t id[16])
{
    char name[16];
    int length = snprintf(name, sizeof name, "%u", index);
    uuid_generate_sha1(id, pj_entity_key(production->entity), name, (size_t)length);
}

void production_removal_id(const struct production *production, uint32_t index, uint8_t id[16])
{
    char name[32];
    int length = snprintf(name, sizeof name, "removal/%u", index);
    uuid_generate_sha1(id, pj_entity_key(production->entity), name, (size_t)length);
}

void production_path_key(const struct pj_value *path, uint8_t key[16])
{
    pj_uuid_of_name(path->text.data, path->text.length, key);
}

/* --- paths and sizes ------------------------------------------------------------------------- */

static struct pj_value fact_value(const struct production *production, enum production_fact fact,
                                  uint32_t index, int value)
{
    const struct pj_fact *found = production_fact(production, fact, index);
    return found != NULL ? found->values[value] : pj_null();
}

struct pj_value production_raw_path(const struct production *production, uint32_t index)
{
    struct pj_value path = pj_null();
    if (!production->batch && index == 0) {
        path = fact_value(production, PRODUCTION_DOWNLOADED, 0, DOWNLOADED_PATH);
        path = production_first(
            path, production_text(production, production->result, "video_path", "videoPath"));
    }
    path = production_first(
        path, production_text(production, production_item_result(production, index), "path", NULL));
    return production_first(path,
                            fact_value(production, PRODUCTION_CLEANED, index, CLEANED_INPUT_PATH));
}

struct pj_value production_raw_size(const struct production *production, uint32_t index)
{
    if (production->batch || index != 0)
        return pj_null();
    return production_first(fact_value(production, PRODUCTION_DOWNLOADED, 0, DOWNLOADED_SIZE),
                            production_size(production->result, "file_size", "fileSize"));
}

struct pj_value production_clean_input(const struct production *production)
{
    struct pj_value path = production_first(
        production_text(production, production->payload, "input_path", "inputPath"),
        production_text(production, production->result, "input_path", "inputPath"));
    const struct pj_fact *attempted =
        pj_entity_fact(production->entity, PRODUCTION_ATTEMPTED, NULL);
    if (!path.present && attempted != NULL)
        path = attempted->values[ATTEMPTED_INPUT_PATH];
    return production_first(path,
                            fact_value(production, PRODUCTION_CLEANED, 0, CLEANED_INPUT_PATH));
}

struct pj_value production_clean_output(const struct production *production)
{
    struct pj_value path = fact_value(production, PRODUCTION_CLEANED, 0, CLEANED_OUTPUT_PATH);
    if (!production->succeeded)
        return path;
    path = production_first(
        path, production_text(production, production->result, "output_path", "outputPath"));
    path = production_first(
        path, production_text(production, production->result, "cleaned_path", "cleanedPath"));
    return production_first(
        path, production_text(production, production->payload, "output_path", "outputPath"));
}

struct pj_value production_clean_size(const struct production *production)
{
    struct pj_value size = fact_value(production, PRODUCTION_CLEANED, 0, CLEANED_FILE_SIZE);
    return production->succeeded ? production_first(size, cleaned_size(production->result)) : size;
}
