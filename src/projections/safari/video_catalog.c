/* SPDX-License-Identifier: Apache-2.0 */
/*
 * video-catalog: every video that was asked for, in safari_videos.
 *
 * A production says what is known of its videos. Videos and sora.clean commands meet at a path:
 * whichever is seen first, the clean that succeeded last gives the videos of that raw path their
 * cleaned one. A row follows from what both tell its video.
 */
#include "projections/safari/projections.h"
#include "projections/safari/video.h"
#include "schemas.h"

/* --- the table ------------------------------------------------------------------------------- */

#define SAFARI_VIDEOS(COLUMN)                                                                      \
    COLUMN(video_id, PJ_UUID, .key = true)                                                         \
    COLUMN(command_id, PJ_UUID)                                                                    \
    COLUMN(prompt, PJ_TEXT)                                                                        \
    COLUMN(character, PJ_TEXT)                                                                     \
    COLUMN(duration, PJ_TEXT)                                                                      \
    COLUMN(aspect_ratio, PJ_TEXT)                                                                  \
    COLUMN(raw_path, PJ_TEXT)                                                                      \
    COLUMN(raw_size_bytes, PJ_BIGINT)                                                              \
    COLUMN(cleaned_path, PJ_TEXT)                                                                  \
    COLUMN(cleaned_size_bytes, PJ_BIGINT)                                                          \
    COLUMN(status, PJ_TEXT, .in_placeholder = "GENERATING")                                        \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(placeholder, PJ_BOOL) /* stays null: the row is a placeholder no more */
PJ_COLUMNS(safari_videos, SAFARI_VIDEOS);

const struct pj_table safari_videos_table = {
    .name = "safari_videos",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(safari_videos),
    .parents =
        (const struct pj_parent[]){
            {&safari_commands_table,
             {PJ_INDEX(safari_videos, command_id)},
             PJ_INDEX(safari_videos, created_at)},
            {0},
        },
    .children = (const struct pj_table *const[]){&watermark_removals_table, NULL},
    .placeholder = PJ_INDEX(safari_videos, placeholder),
    .first_seen = PJ_INDEX(safari_videos, created_at),
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { PATH = 1 };

#define HERE(VALUE) VALUE(here, PJ_BOOL)
#define CLEAN(VALUE)                                                                               \
    VALUE(output, PJ_TEXT)                                                                         \
    VALUE(size, PJ_BIGINT)                                                                         \
    /* The order of the command's end. */                                                          \
    VALUE(ms, PJ_BIGINT)                                                                           \
    VALUE(counter, PJ_BIGINT)                                                                      \
    VALUE(emitted_at, PJ_BIGINT)                                                                   \
    VALUE(event, PJ_UUID)

#define PATH_FACTS(FACT)                                                                           \
    FACT(video_of_path, PJ_LEAST, HERE)                                                            \
    FACT(clean_of_path, PJ_LEAST, CLEAN)
PJ_FACTS(path, PATH, PATH_FACTS);

/* --- a production's videos ------------------------------------------------------------------- */

static void derive_video_of(const struct production *production, uint32_t index)
{
    struct video video = video_of(production, index);
    uint8_t id[16];
    production_video_id(production, index, id);
    PJ_CONTRIBUTE(production->derivation, video, id, NULL, video);
    if (video.raw_path.present) {
        uint8_t path[16];
        production_path_key(&video.raw_path, path);
        PJ_CONTRIBUTE(production->derivation, video_of_path, path, id, {.here = PJ_BOOL(true)});
    }
}

static void derive_clean(const struct production *production)
{
    struct pj_text input = production_clean_input(production);
    struct pj_text output = production_clean_output(production);
    const struct pj_order *order = &production->status_order;
    if (!production->succeeded || !input.present || !output.present)
        return;
    uint8_t path[16];
    production_path_key(&input, path);
    PJ_CONTRIBUTE(production->derivation, clean_of_path, path, pj_entity_key(production->entity),
                  {
                      .output = output,
                      .size = production_clean_size(production),
                      .ms = PJ_BIGINT(order->rank[0]),
                      .counter = PJ_BIGINT(order->rank[1]),
                      .emitted_at = PJ_BIGINT(order->rank[2]),
                      .event = PJ_UUID(order->tie),
                  });
}

static void derive_production(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    struct production production = production_of(entity, derivation);
    for (uint32_t index = 0; index < production.bound; index++) {
        if (production_has_video(&production, index))
            derive_video_of(&production, index);
    }
    if (production.kind == PRODUCTION_CLEAN)
        derive_clean(&production);
}

/* --- where videos and cleans meet ------------------------------------------------------------ */

static bool later(const struct clean_of_path *a, const struct clean_of_path *b)
{
    if (a->ms.integer != b->ms.integer)
        return a->ms.integer > b->ms.integer;
    if (a->counter.integer != b->counter.integer)
        return a->counter.integer > b->counter.integer;
    if (a->emitted_at.integer != b->emitted_at.integer)
        return a->emitted_at.integer > b->emitted_at.integer;
    return memcmp(a->event.uuid, b->event.uuid, 16) > 0;
}

static void derive_path(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t clean_count;
    size_t video_count;
    const struct pj_fact *cleans = PJ_ALL(entity, clean_of_path, &clean_count);
    const struct pj_fact *videos = PJ_ALL(entity, video_of_path, &video_count);
    const struct clean_of_path *last = NULL;
    for (size_t i = 0; i < clean_count; i++) {
        const struct clean_of_path *clean = PJ_SAYS(clean_of_path, &cleans[i]);
        if (last == NULL || later(clean, last))
            last = clean;
    }
    for (size_t i = 0; last != NULL && i < video_count; i++)
        PJ_CONTRIBUTE(derivation, cleaned_video, videos[i].subkey, pj_entity_key(entity),
                      {.path = last->output, .size = last->size});
}

/* --- the row --------------------------------------------------------------------------------- */

static const char *status_of(const struct video *video, bool cleaned)
{
    if (cleaned)
        return "CLEANED";
    if (video->raw_path.present)
        return video->cleaning.boolean ? "CLEANING" : "DOWNLOADED";
    return video->failed.boolean ? "FAILED" : "GENERATING";
}

static void derive_video(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct video *video = PJ_FACT(entity, video);
    const struct pj_fact *cleans = PJ_ALL(entity, cleaned_video, &count);
    if (video == NULL)
        return;
    struct cleaned_video cleaned = {.path = video->cleaned_path, .size = video->cleaned_size};
    if (count > 0)
        cleaned = *PJ_SAYS(cleaned_video, cleans);
    *PJ_ROW(derivation, safari_videos) = (struct safari_videos){
        .video_id = PJ_UUID(pj_entity_key(entity)),
        .command_id = video->command_id,
        .prompt = video->prompt,
        .character = video->character,
        .duration = video->duration,
        .aspect_ratio = video->aspect_ratio,
        .raw_path = video->raw_path,
        .raw_size_bytes = video->raw_size,
        .cleaned_path = cleaned.path,
        .cleaned_size_bytes = cleaned.size,
        .status = PJ_TEXT(status_of(video, cleaned.path.present)),
        .metadata = video->metadata,
        .created_at = video->created_at,
    };
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_video_catalog = {
    .name = "video-catalog",
    .summary = "keep safari_videos: every video that was asked for",
    PJ_SOURCES(SAFARI_COMMANDS(production_observe_command),
               SAFARI_TELEMETRY(production_observe_telemetry)),
    PJ_ENTITIES([PRODUCTION] = {.name = "production",
                                PJ_FACTS_OF(production),
                                .derive = derive_production},
                [PATH] = {.name = "path", PJ_FACTS_OF(path), .derive = derive_path},
                [VIDEO] = {.name = "video", PJ_FACTS_OF(video), .derive = derive_video}),
    PJ_TABLES(&safari_videos_table),
};
