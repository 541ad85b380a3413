/* SPDX-License-Identifier: Apache-2.0 */
/* What commands and telemetry say of a production. */
#include "projections/safari/production.h"

/* --- commands -------------------------------------------------------------------------------- */

enum production_kind production_kind_of(struct pj_text type)
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
        if (pj_text_is(&type.value, kinds[i].type))
            return kinds[i].kind;
    }
    return PRODUCTION_OTHER;
}

bool production_is_batch(enum production_kind kind)
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
    size_t count = json_array_size(json_object_get(payload, "prompts"));
    if (!production_is_batch(kind) || count <= PRODUCTION_INDEX_MOST + 1)
        return 0;
    return pj_error_set(error, PJ_POISON,
                        "payload.prompts has %zu prompts, a batch can have %d: send the rest as "
                        "another command",
                        count, PRODUCTION_INDEX_MOST + 1);
}

static int observe_submitted(const struct safari_command *e, struct pj_observer *observer,
                             struct pj_error *error)
{
    enum production_kind kind = production_kind_of(e->type);
    bool counts = kind != PRODUCTION_OTHER; /* the payload of other commands can be anything */
    if (counts && check_payload(pj_observer_json(observer, &e->payload.value), kind, error) != 0)
        return -1;
    struct pj_order order = PJ_ORDER(e->event_id, e->emitted_at.integer);
    PJ_KEEP(observer, submitted, e->command_id.uuid, NULL, &order,
            {
                .type = e->type,
                .payload = counts ? e->payload : PJ_JSONB(pj_null()),
                .created_at = PJ_OR(e->requested_at, e->emitted_at),
            });
    return 0;
}

int production_observe_command(const struct pj_event *event, struct pj_observer *observer,
                               struct pj_error *error)
{
    const struct safari_command *e = PJ_EVENT(event, safari_command);
    struct safari_lifecycle lifecycle;
    if (e->submitted.present)
        return observe_submitted(e, observer, error);
    if (safari_read_lifecycle(e, &lifecycle, error) != 0)
        return -1;
    PJ_KEEP(observer, last_status, e->command_id.uuid, NULL, &lifecycle.order,
            {
                .status = lifecycle.status,
                .ended = PJ_BOOL(lifecycle.rank == SAFARI_TERMINAL),
                .result = e->result,
                .error = lifecycle.error,
                .at = e->emitted_at,
            });
    PJ_KEEP(observer, first_lifecycle, e->command_id.uuid, NULL, &lifecycle.time,
            {.at = e->emitted_at});
    return 0;
}

/* --- telemetry ------------------------------------------------------------------------------- */

/* What the handler of one type of frame works with. */
struct frame {
    const struct safari_frame *event;
    const json_t *payload;
    struct pj_observer *observer;
    struct pj_order order; /* among the frames of the command */
    uint8_t subkey[16];    /* of the index it is about */
    bool numbered;         /* it says which */
};

static struct pj_text frame_text(const struct frame *frame, const char *name,
                                 const char *camel_case)
{
    return safari_nonempty(PJ_TEXT(
        pj_observer_text(frame->observer, safari_member(frame->payload, name, camel_case))));
}

/* Where what counts is not said, only a frame that is silent, too, comes before it. */
static const struct pj_order *order_by(struct frame *frame, struct pj_text said)
{
    if (!said.present)
        frame->order.rank[0] = INT64_MIN;
    return &frame->order;
}

#define KEEP(frame, fact, order, ...)                                                              \
    PJ_KEEP((frame)->observer, fact, (frame)->event->command_id.uuid, (frame)->subkey, order,      \
            __VA_ARGS__)

static void on_prompt(struct frame *frame)
{
    struct pj_text character = frame_text(frame, "character", NULL);
    KEEP(frame, prompted, order_by(frame, character),
         {.character = character, .numbered = PJ_BOOL(frame->numbered)});
}

static void on_ready(struct frame *frame)
{
    struct pj_text url = frame_text(frame, "video_url", "videoUrl");
    KEEP(frame, ready, order_by(frame, url), {.url = url});
}

static void on_downloaded(struct frame *frame)
{
    struct pj_text path = PJ_OR(frame_text(frame, "file_path", "filePath"),
                                frame_text(frame, "video_path", "videoPath"));
    KEEP(frame, downloaded, order_by(frame, path),
         {.path = path, .size = production_size(frame->payload, "file_size", "fileSize")});
}

static void on_attempted(struct frame *frame)
{
    const char *action = json_string_value(json_object_get(frame->payload, "action"));
    if (action != NULL && strcmp(action, "WATERMARK_REMOVAL") == 0)
        KEEP(frame, attempted, &frame->order,
             {
                 .input_path = frame_text(frame, "input_path", "inputPath"),
                 .at = frame->event->emitted_at,
             });
}

static void on_cleaned(struct frame *frame)
{
    struct pj_text output = PJ_OR(frame_text(frame, "output_path", "outputPath"),
                                  frame_text(frame, "cleaned_path", "cleanedPath"));
    KEEP(frame, cleaned, order_by(frame, output),
         {
             .input_path = frame_text(frame, "input_path", "inputPath"),
             .output_path = output,
             .size = production_cleaned_size(frame->payload),
             .at = frame->event->emitted_at,
             .numbered = PJ_BOOL(frame->numbered),
         });
}

static const struct {
    const char *type;
    void (*handle)(struct frame *frame);
    bool numbered; /* it can be about one of a batch */
} handlers[] = {
    {"sora.prompt.submitted", on_prompt, true},      {"sora.video.ready", on_ready, false},
    {"sora.video.downloaded", on_downloaded, false}, {"action.attempted", on_attempted, false},
    {"sora.video.cleaned", on_cleaned, true},
};

const uint8_t production_unnumbered[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                           255, 255, 255, 255, 255, 255, 255, 255};

void production_index_subkey(uint32_t index, uint8_t subkey[16])
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
    memcpy(frame->subkey, production_unnumbered, sizeof frame->subkey);
    if (!frame->numbered)
        return 0;
    if (!index.present || index.integer < 0 || index.integer > PRODUCTION_INDEX_MOST)
        return pj_error_set(error, PJ_POISON, "batch_index is not a number from 0 to %d",
                            PRODUCTION_INDEX_MOST);
    production_index_subkey((uint32_t)index.integer, frame->subkey);
    return 0;
}

int production_observe_telemetry(const struct pj_event *event, struct pj_observer *observer,
                                 struct pj_error *error)
{
    const struct safari_frame *e = PJ_EVENT(event, safari_frame);
    if (!e->command_id.present)
        return 0;
    struct pj_order time = PJ_ORDER(e->event_id, e->emitted_at.integer);
    PJ_KEEP(observer, first_telemetry, e->command_id.uuid, NULL, &time, {.at = e->emitted_at});
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (!pj_text_is(&e->type.value, handlers[i].type))
            continue;
        struct frame frame = {
            .event = e,
            .payload = pj_observer_json(observer, &e->payload.value),
            .observer = observer,
            .order = safari_lifecycle_order(e->cursor, e->emitted_at, SAFARI_QUEUED, e->event_id),
        };
        if (safari_check_length(frame.payload, "character", 100, error) != 0)
            return -1;
        if (handlers[i].numbered && read_index(&frame, error) != 0)
            return -1;
        handlers[i].handle(&frame);
        return 0;
    }
    return 0;
}
