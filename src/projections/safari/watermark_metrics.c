/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watermark-metrics: every watermark removal, in watermark_removals, and their sums by hour and
 * method, in watermark_metrics (whose times are in watermark_metrics_times).
 *
 * A production says which removals it makes. One whose video is another command's meets it at the
 * path it reads. The rollup counts each removal as its row stands, so what is delivered twice
 * counts once.
 */
#include "projections/safari/projections.h"
#include "projections/safari/removal.h"
#include "schemas.h"

/* --- tables ---------------------------------------------------------------------------------- */

#define WATERMARK_REMOVALS(COLUMN)                                                                 \
    COLUMN(removal_id, PJ_UUID, .key = true)                                                       \
    COLUMN(video_id, PJ_UUID)                                                                      \
    COLUMN(command_id, PJ_UUID)                                                                    \
    COLUMN(input_path, PJ_TEXT)                                                                    \
    COLUMN(output_path, PJ_TEXT)                                                                   \
    COLUMN(input_size_bytes, PJ_BIGINT)                                                            \
    COLUMN(output_size_bytes, PJ_BIGINT)                                                           \
    COLUMN(method, PJ_TEXT)                                                                        \
    COLUMN(processing_time_ms, PJ_INT)                                                             \
    COLUMN(success, PJ_BOOL)                                                                       \
    COLUMN(error_message, PJ_TEXT)                                                                 \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(completed_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(watermark_removals, WATERMARK_REMOVALS);

const struct pj_table watermark_removals_table = {
    .name = "watermark_removals",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(watermark_removals),
    .parents =
        (const struct pj_parent[]){
            {&safari_commands_table,
             {PJ_INDEX(watermark_removals, command_id)},
             PJ_INDEX(watermark_removals, created_at)},
            {&safari_videos_table,
             {PJ_INDEX(watermark_removals, video_id)},
             PJ_INDEX(watermark_removals, created_at)},
            {0},
        },
};

#define TIMES(COLUMN)                                                                              \
    COLUMN(bucket_start, PJ_TIMESTAMPTZ, .key = true)                                              \
    COLUMN(method, PJ_TEXT, .key = true)                                                           \
    COLUMN(processing_time_ms, PJ_BIGINT, .key = true)                                             \
    COLUMN(removal_id, PJ_UUID, .key = true)
PJ_COLUMNS(times, TIMES);

/* Where a bucket's extremes are found when a time is subtracted. */
static const struct pj_table times_table = {
    .name = "watermark_metrics_times",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(times),
};

#define METRICS(COLUMN)                                                                            \
    COLUMN(bucket_start, PJ_TIMESTAMPTZ, .key = true)                                              \
    COLUMN(method, PJ_TEXT, .key = true)                                                           \
    COLUMN(attempts, PJ_BIGINT, .measure = PJ_SUM)                                                 \
    COLUMN(succeeded, PJ_BIGINT, .measure = PJ_SUM)                                                \
    COLUMN(failed, PJ_BIGINT, .measure = PJ_SUM)                                                   \
    COLUMN(input_bytes, PJ_BIGINT, .measure = PJ_SUM)                                              \
    COLUMN(output_bytes, PJ_BIGINT, .measure = PJ_SUM)                                             \
    COLUMN(processing_ms_sum, PJ_BIGINT, .measure = PJ_SUM)                                        \
    COLUMN(processing_ms_min, PJ_BIGINT, .measure = PJ_MIN)                                        \
    COLUMN(processing_ms_max, PJ_BIGINT, .measure = PJ_MAX)                                        \
    COLUMN(histogram, PJ_COUNTS, .measure = PJ_SUM)
PJ_COLUMNS(metrics, METRICS);

static const struct pj_table metrics_table = {
    .name = "watermark_metrics",
    .kind = PJ_ROLLUP_TABLE,
    PJ_COLUMNS_OF(metrics),
    .refresh = "projectionist.refresh_watermark_metrics",
};

/* --- a production's videos and removals ------------------------------------------------------ */

enum { PATH = 1 };

#define VIDEO_OF_PATH(VALUE) VALUE(created_at, PJ_TIMESTAMPTZ) VALUE(raw_size, PJ_BIGINT)
#define READER(VALUE)        VALUE(reads, PJ_BOOL)

#define PATH_FACTS(FACT)                                                                           \
    FACT(video_of_path, PJ_LEAST, VIDEO_OF_PATH)                                                   \
    FACT(reader, PJ_LEAST, READER) /* a removal that reads it */
PJ_FACTS(path, PATH, PATH_FACTS);

static void derive_removal_of(const struct production *production, uint32_t index)
{
    uint8_t id[16];
    struct removal removal;
    if (!removal_of(production, index, &removal))
        return;
    production_removal_id(production, index, id);
    if (!removal.video_id.present) {
        uint8_t path[16];
        production_path_key(&removal.input_path, path);
        PJ_CONTRIBUTE(production->derivation, reader, path, id, {.reads = PJ_BOOL(true)});
    }
    PJ_CONTRIBUTE(production->derivation, removal, id, NULL, removal);
}

static void derive_video_of(const struct production *production, uint32_t index)
{
    struct pj_text path = production_raw_path(production, index);
    uint8_t id[16];
    uint8_t key[16];
    if (!path.present)
        return;
    production_video_id(production, index, id);
    production_path_key(&path, key);
    PJ_CONTRIBUTE(production->derivation, video_of_path, key, id,
                  {
                      .created_at = production->created_at,
                      .raw_size = production_raw_size(production, index),
                  });
}

static void derive_production(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    struct production production = production_of(entity, derivation);
    for (uint32_t index = 0; index < production.bound; index++) {
        if (production_has_video(&production, index))
            derive_video_of(&production, index);
        derive_removal_of(&production, index);
    }
}

/* --- where removals and videos meet ---------------------------------------------------------- */

/* The video that was created first; they come sorted by id. */
static void derive_path(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t video_count;
    size_t reader_count;
    const struct pj_fact *videos = PJ_ALL(entity, video_of_path, &video_count);
    const struct pj_fact *readers = PJ_ALL(entity, reader, &reader_count);
    size_t first = 0;
    for (size_t i = 1; i < video_count; i++) {
        if (pj_value_compare(PJ_TIMESTAMPTZ, &PJ_SAYS(video_of_path, &videos[i])->created_at.value,
                             &PJ_SAYS(video_of_path, &videos[first])->created_at.value) < 0)
            first = i;
    }
    for (size_t i = 0; video_count > 0 && i < reader_count; i++)
        PJ_CONTRIBUTE(derivation, removed_video, readers[i].subkey, pj_entity_key(entity),
                      {
                          .video_id = PJ_UUID(videos[first].subkey),
                          .raw_size = PJ_SAYS(video_of_path, &videos[first])->raw_size,
                      });
}

/* --- rows ------------------------------------------------------------------------------------ */

static const int64_t hour = INT64_C(3600000000);

enum { BINS = 249 };

/* One bin for what is under 1 ms, then eight for each doubling. */
static size_t bin_of(int64_t ms)
{
    if (ms < 1)
        return 0;
    int octave = 63 - __builtin_clzll((unsigned long long)ms);
    return 1 + 8 * (size_t)octave + (size_t)(((ms * 8) >> octave) - 8);
}

static void derive_metrics(const struct watermark_removals *removal,
                           struct pj_derivation *derivation)
{
    int64_t at = removal->created_at.integer;
    int64_t rest = at % hour < 0 ? at % hour + hour : at % hour;
    struct pj_timestamptz bucket = PJ_TIMESTAMPTZ(at - rest);
    struct pj_bigint took = {.value = removal->processing_time_ms.value};
    int64_t *bins = pj_derivation_alloc(derivation, BINS * sizeof *bins);
    *PJ_ROW(derivation, metrics) = (struct metrics){
        .bucket_start = bucket,
        .method = removal->method,
        .attempts = PJ_BIGINT(1),
        .succeeded = PJ_BIGINT(removal->success.boolean),
        .failed = PJ_BIGINT(removal->completed_at.present && !removal->success.boolean),
        .input_bytes = PJ_OR(removal->input_size_bytes, PJ_BIGINT(0)),
        .output_bytes = PJ_OR(removal->output_size_bytes, PJ_BIGINT(0)),
        .processing_ms_sum = PJ_OR(took, PJ_BIGINT(0)),
        .processing_ms_min = took,
        .processing_ms_max = took,
        .histogram = PJ_COUNTS(pj_text_of(bins, BINS * sizeof *bins)),
    };
    if (!took.present)
        return;
    bins[bin_of(took.integer)] = 1;
    *PJ_ROW(derivation, times) = (struct times){
        .bucket_start = bucket,
        .method = removal->method,
        .processing_time_ms = took,
        .removal_id = removal->removal_id,
    };
}

static void derive_removal(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct removal *removal = PJ_FACT(entity, removal);
    const struct pj_fact *videos = PJ_ALL(entity, removed_video, &count);
    if (removal == NULL)
        return;
    struct removed_video video = {.video_id = removal->video_id, .raw_size = removal->input_size};
    if (count > 0)
        video = *PJ_SAYS(removed_video, videos);
    struct watermark_removals *row = PJ_ROW(derivation, watermark_removals);
    *row = (struct watermark_removals){
        .removal_id = PJ_UUID(pj_entity_key(entity)),
        .video_id = video.video_id,
        .command_id = removal->command_id,
        .input_path = removal->input_path,
        .output_path = removal->output_path,
        .input_size_bytes = video.raw_size,
        .output_size_bytes = removal->output_size,
        .method = removal->method,
        .processing_time_ms = removal->processing_ms,
        .success = PJ_BOOL(removal->output_path.present),
        .error_message = removal->error,
        .created_at = removal->created_at,
        .completed_at = removal->completed_at,
    };
    derive_metrics(row, derivation);
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_watermark_metrics = {
    .name = "watermark-metrics",
    .summary = "keep watermark_removals and watermark_metrics: removals and their sums",
    PJ_SOURCES(SAFARI_COMMANDS(production_observe_command),
               SAFARI_TELEMETRY(production_observe_telemetry)),
    PJ_ENTITIES([PRODUCTION] = {.name = "production",
                                PJ_FACTS_OF(production),
                                .derive = derive_production},
                [PATH] = {.name = "path", PJ_FACTS_OF(path), .derive = derive_path},
                [REMOVAL] = {.name = "removal", PJ_FACTS_OF(removal), .derive = derive_removal}),
    PJ_TABLES(&watermark_removals_table, &times_table, &metrics_table),
};
