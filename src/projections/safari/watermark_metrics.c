/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watermark-metrics: every watermark removal, in watermark_removals, and their sums by hour and
 * method, in watermark_metrics (whose times are in watermark_metrics_times).
 *
 * A production says which removals it makes. One whose video is another command's meets it at the
 * path it reads. The rollup counts each removal as its row stands, so what is delivered twice
 * counts once.
 */
#include "projections/safari/production.h"
#include "projections/safari/projections.h"
#include "schemas.h"

/* --- tables ---------------------------------------------------------------------------------- */

enum {
    W_REMOVAL_ID,
    W_VIDEO_ID,
    W_COMMAND_ID,
    W_INPUT_PATH,
    W_OUTPUT_PATH,
    W_INPUT_SIZE,
    W_OUTPUT_SIZE,
    W_METHOD,
    W_PROCESSING_MS,
    W_SUCCESS,
    W_ERROR_MESSAGE,
    W_CREATED_AT,
    W_COMPLETED_AT,
    W_COLUMNS,
};

static const struct pj_column removal_columns[W_COLUMNS] = {
    [W_REMOVAL_ID] = {"removal_id", PJ_UUID, .key = true},
    [W_VIDEO_ID] = {"video_id", PJ_UUID},
    [W_COMMAND_ID] = {"command_id", PJ_UUID},
    [W_INPUT_PATH] = {"input_path", PJ_TEXT},
    [W_OUTPUT_PATH] = {"output_path", PJ_TEXT},
    [W_INPUT_SIZE] = {"input_size_bytes", PJ_BIGINT},
    [W_OUTPUT_SIZE] = {"output_size_bytes", PJ_BIGINT},
    [W_METHOD] = {"method", PJ_TEXT},
    [W_PROCESSING_MS] = {"processing_time_ms", PJ_INT},
    [W_SUCCESS] = {"success", PJ_BOOL},
    [W_ERROR_MESSAGE] = {"error_message", PJ_TEXT},
    [W_CREATED_AT] = {"created_at", PJ_TIMESTAMPTZ},
    [W_COMPLETED_AT] = {"completed_at", PJ_TIMESTAMPTZ},
};

const struct pj_table pj_watermark_removals = {
    .name = "watermark_removals",
    .kind = PJ_ENTITY_TABLE,
    .columns = removal_columns,
    .column_count = W_COLUMNS,
    .parents =
        (const struct pj_parent[]){
            {&pj_safari_commands, {W_COMMAND_ID}, W_CREATED_AT},
            {&pj_safari_videos, {W_VIDEO_ID}, W_CREATED_AT},
            {0},
        },
};

enum { T_BUCKET, T_METHOD, T_MS, T_REMOVAL_ID, T_COLUMNS };

static const struct pj_column time_columns[T_COLUMNS] = {
    [T_BUCKET] = {"bucket_start", PJ_TIMESTAMPTZ, .key = true},
    [T_METHOD] = {"method", PJ_TEXT, .key = true},
    [T_MS] = {"processing_time_ms", PJ_BIGINT, .key = true},
    [T_REMOVAL_ID] = {"removal_id", PJ_UUID, .key = true},
};

/* Where a bucket's extremes are found when a time is subtracted. */
static const struct pj_table times = {
    .name = "watermark_metrics_times",
    .kind = PJ_ENTITY_TABLE,
    .columns = time_columns,
    .column_count = T_COLUMNS,
};

enum {
    M_BUCKET,
    M_METHOD,
    M_ATTEMPTS,
    M_SUCCEEDED,
    M_FAILED,
    M_INPUT_BYTES,
    M_OUTPUT_BYTES,
    M_MS_SUM,
    M_MS_MIN,
    M_MS_MAX,
    M_HISTOGRAM,
    M_COLUMNS,
};

static const struct pj_column metric_columns[M_COLUMNS] = {
    [M_BUCKET] = {"bucket_start", PJ_TIMESTAMPTZ, .key = true},
    [M_METHOD] = {"method", PJ_TEXT, .key = true},
    [M_ATTEMPTS] = {"attempts", PJ_BIGINT, .measure = PJ_SUM},
    [M_SUCCEEDED] = {"succeeded", PJ_BIGINT, .measure = PJ_SUM},
    [M_FAILED] = {"failed", PJ_BIGINT, .measure = PJ_SUM},
    [M_INPUT_BYTES] = {"input_bytes", PJ_BIGINT, .measure = PJ_SUM},
    [M_OUTPUT_BYTES] = {"output_bytes", PJ_BIGINT, .measure = PJ_SUM},
    [M_MS_SUM] = {"processing_ms_sum", PJ_BIGINT, .measure = PJ_SUM},
    [M_MS_MIN] = {"processing_ms_min", PJ_BIGINT, .measure = PJ_MIN},
    [M_MS_MAX] = {"processing_ms_max", PJ_BIGINT, .measure = PJ_MAX},
    [M_HISTOGRAM] = {"histogram", PJ_COUNTS, .measure = PJ_SUM},
};

static const struct pj_table metrics = {
    .name = "watermark_metrics",
    .kind = PJ_ROLLUP_TABLE,
    .columns = metric_columns,
    .column_count = M_COLUMNS,
    .refresh = "projectionist.refresh_watermark_metrics",
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { PRODUCTION, PATH, REMOVAL, ENTITIES };

enum { PATH_VIDEO, PATH_REMOVAL, PATH_FACTS };
enum { VIDEO_CREATED_AT, VIDEO_RAW_SIZE };

static const struct pj_fact_kind path_facts[PATH_FACTS] = {
    [PATH_VIDEO] = {"video of this path", PJ_LEAST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ, PJ_BIGINT)},
    [PATH_REMOVAL] = {"removal that reads it", PJ_LEAST, PJ_FACT_VALUES(PJ_BOOL)},
};

enum { REMOVAL_BASE, REMOVAL_VIDEO, REMOVAL_FACTS };
enum {
    B_COMMAND_ID,
    B_VIDEO_ID,
    B_INPUT_PATH,
    B_INPUT_SIZE,
    B_OUTPUT_PATH,
    B_OUTPUT_SIZE,
    B_METHOD,
    B_PROCESSING_MS,
    B_ERROR,
    B_CREATED_AT,
    B_COMPLETED_AT,
    B_VALUES,
};
enum { J_VIDEO_ID, J_RAW_SIZE };

static const struct pj_fact_kind removal_facts[REMOVAL_FACTS] = {
    [REMOVAL_BASE] = {"what its command says", PJ_LEAST,
                      PJ_FACT_VALUES(PJ_UUID, PJ_UUID, PJ_TEXT, PJ_BIGINT, PJ_TEXT, PJ_BIGINT,
                                     PJ_TEXT, PJ_INT, PJ_TEXT, PJ_TIMESTAMPTZ, PJ_TIMESTAMPTZ)},
    [REMOVAL_VIDEO] = {"the video of its path", PJ_LEAST, PJ_FACT_VALUES(PJ_UUID, PJ_BIGINT)},
};

/* --- a production's removals ----------------------------------------------------------------- */

/* What is known of one removal, before it is a row. */
struct removal {
    const struct production *production;
    uint32_t index;
    const struct pj_fact *attempted; /* NULL where it does not count for this one */
    const struct pj_fact *cleaned;
    const json_t *told; /* by the end of the command: one of a batch's results, or the result */
};

static struct removal removal_of(const struct production *production, uint32_t index)
{
    struct removal removal = {.production = production, .index = index};
    removal.cleaned = production_fact(production, PRODUCTION_CLEANED, index);
    if (production->batch) {
        removal.told = production_item_result(production, index);
    } else {
        removal.told = production->result;
        removal.attempted = pj_entity_fact(production->entity, PRODUCTION_ATTEMPTED, NULL);
    }
    return removal;
}

/* Nobody has submitted it yet, and it is no batch. */
static bool is_unknown(const struct production *production)
{
    return production->kind == PRODUCTION_UNKNOWN && !production->batch;
}

static struct pj_value told_text(const struct removal *removal, const char *name,
                                 const char *camel_case)
{
    return production_text(removal->production, removal->told, name, camel_case);
}

/* By a frame, or else by the end of the command. */
static void read_output(const struct removal *removal, struct pj_value *path, struct pj_value *size)
{
    const struct production *production = removal->production;
    if (production->kind == PRODUCTION_CLEAN) {
        *path = production_clean_output(production);
        *size = production_clean_size(production);
    } else {
        *path = told_text(removal, "cleaned_path", "cleanedPath");
        *size = production->batch ? pj_null()
                                  : production_size(removal->told, "cleaned_size", "cleanedSize");
        if (is_unknown(production) && !path->present && production->succeeded) {
            *path = told_text(removal, "output_path", "outputPath"); /* as a sora.clean tells it */
            *size = production_size(removal->told, "file_size", "fileSize");
        }
        if (removal->cleaned != NULL) {
            *path = production_first(removal->cleaned->values[CLEANED_OUTPUT_PATH], *path);
            *size = production_first(removal->cleaned->values[CLEANED_FILE_SIZE], *size);
        }
    }
    if (!path->present)
        *size = pj_null();
}

static bool may_remove(const struct production *production)
{
    return production->kind == PRODUCTION_CLEAN || production->kind == PRODUCTION_GENERATE_CLEAN ||
           production->kind == PRODUCTION_BATCH_CLEAN || production->kind == PRODUCTION_UNKNOWN;
}

/* Of a command that nobody has submitted yet, what only those have that remove. */
static bool known(const struct removal *removal, const struct pj_value *output)
{
    const struct production *production = removal->production;
    if (production->kind == PRODUCTION_CLEAN || removal->attempted != NULL ||
        removal->cleaned != NULL || output->present)
        return true;
    if (!production->batch)
        return told_text(removal, "clean_error", "cleanError").present;
    return production->kind == PRODUCTION_BATCH_CLEAN && told_text(removal, "path", NULL).present &&
           told_text(removal, "error", NULL).present;
}

static struct pj_value input_path(const struct removal *removal)
{
    const struct production *production = removal->production;
    struct pj_value path = pj_null();
    if (production->kind == PRODUCTION_CLEAN)
        return production_clean_input(production);
    if (removal->attempted != NULL)
        path = removal->attempted->values[ATTEMPTED_INPUT_PATH];
    if (removal->cleaned != NULL)
        path = production_first(path, removal->cleaned->values[CLEANED_INPUT_PATH]);
    if (is_unknown(production))
        path = production_first(path, told_text(removal, "input_path", "inputPath"));
    return production_first(path, production_raw_path(production, removal->index));
}

static struct pj_value failure(const struct removal *removal)
{
    const struct production *production = removal->production;
    struct pj_value error = pj_null();
    if (production->batch)
        error = told_text(removal, "error", NULL);
    else if (production->kind != PRODUCTION_CLEAN)
        error = told_text(removal, "clean_error", "cleanError");
    return production_first(error, production->error);
}

/* An end that tells of no failure leaves what has no output open: another frame may have it. */
static bool has_failed(const struct removal *removal)
{
    const struct production *production = removal->production;
    return production->ended && (!production->succeeded || failure(removal).present);
}

static void read_times(const struct removal *removal, struct pj_value *base)
{
    const struct production *production = removal->production;
    const struct pj_fact *cleaned = removal->cleaned;
    if (removal->attempted != NULL)
        base[B_CREATED_AT] = removal->attempted->values[ATTEMPTED_AT];
    else if (cleaned != NULL)
        base[B_CREATED_AT] = cleaned->values[CLEANED_AT];
    else
        base[B_CREATED_AT] = production->created_at;
    if (base[B_OUTPUT_PATH].present && cleaned != NULL)
        base[B_COMPLETED_AT] = cleaned->values[CLEANED_AT];
    else if (base[B_OUTPUT_PATH].present || has_failed(removal))
        base[B_COMPLETED_AT] = production->ended_at;
    if (removal->attempted == NULL || !base[B_COMPLETED_AT].present)
        return;
    int64_t took;
    if (__builtin_sub_overflow(base[B_COMPLETED_AT].integer, base[B_CREATED_AT].integer, &took))
        return;
    took = took / 1000 - (took % 1000 < 0 ? 1 : 0);
    if (took >= INT32_MIN && took <= INT32_MAX)
        base[B_PROCESSING_MS] = pj_bigint(took);
}

static void derive_removal_of(const struct production *production, uint32_t index)
{
    struct removal removal = removal_of(production, index);
    struct pj_value base[B_VALUES] = {
        [B_COMMAND_ID] = pj_uuid(pj_entity_key(production->entity)),
        [B_METHOD] = production_text(production, production->payload, "method", NULL),
    };
    read_output(&removal, &base[B_OUTPUT_PATH], &base[B_OUTPUT_SIZE]);
    if (!known(&removal, &base[B_OUTPUT_PATH]))
        return;
    base[B_INPUT_PATH] = input_path(&removal);
    if (!base[B_INPUT_PATH].present)
        return;
    if (!base[B_METHOD].present)
        base[B_METHOD] = pj_text("lama");
    read_times(&removal, base);
    if (base[B_COMPLETED_AT].present && !base[B_OUTPUT_PATH].present)
        base[B_ERROR] = failure(&removal);
    uint8_t id[16];
    production_removal_id(production, index, id);
    if (production_has_video(production, index)) {
        uint8_t video[16];
        production_video_id(production, index, video);
        base[B_VIDEO_ID] = pj_uuid(video);
        base[B_INPUT_SIZE] = production_raw_size(production, index);
    } else {
        uint8_t path[16];
        struct pj_value reads = pj_bool(true);
        production_path_key(&base[B_INPUT_PATH], path);
        pj_contribute(production->derivation, PATH, path, PATH_REMOVAL, id, &reads);
    }
    pj_contribute(production->derivation, REMOVAL, id, REMOVAL_BASE, NULL, base);
}

static void derive_video_of(const struct production *production, uint32_t index)
{
    struct pj_value path = production_raw_path(production, index);
    struct pj_value values[] = {
        [VIDEO_CREATED_AT] = production->created_at,
        [VIDEO_RAW_SIZE] = production_raw_size(production, index),
    };
    uint8_t id[16];
    uint8_t key[16];
    if (!path.present)
        return;
    production_video_id(production, index, id);
    production_path_key(&path, key);
    pj_contribute(production->derivation, PATH, key, PATH_VIDEO, id, values);
}

static void derive_production(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    struct production production = production_of(entity, derivation);
    for (uint32_t index = 0; index < production.bound; index++) {
        if (production_has_video(&production, index))
            derive_video_of(&production, index);
        if (may_remove(&production))
            derive_removal_of(&production, index);
    }
}

/* --- where removals and videos meet ---------------------------------------------------------- */

/* The video that was created first; they come sorted by id. */
static void derive_path(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t video_count;
    size_t removal_count;
    const struct pj_fact *videos = pj_entity_facts(entity, PATH_VIDEO, &video_count);
    const struct pj_fact *readers = pj_entity_facts(entity, PATH_REMOVAL, &removal_count);
    const struct pj_fact *first = NULL;
    for (size_t i = 0; i < video_count; i++) {
        if (first == NULL || pj_value_compare(PJ_TIMESTAMPTZ, &videos[i].values[VIDEO_CREATED_AT],
                                              &first->values[VIDEO_CREATED_AT]) < 0)
            first = &videos[i];
    }
    for (size_t i = 0; first != NULL && i < removal_count; i++) {
        struct pj_value values[] = {
            [J_VIDEO_ID] = pj_uuid(first->subkey),
            [J_RAW_SIZE] = first->values[VIDEO_RAW_SIZE],
        };
        pj_contribute(derivation, REMOVAL, readers[i].subkey, REMOVAL_VIDEO, pj_entity_key(entity),
                      values);
    }
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

static void derive_metrics(const struct pj_value *removal, struct pj_derivation *derivation)
{
    int64_t at = removal[W_CREATED_AT].integer;
    int64_t rest = at % hour < 0 ? at % hour + hour : at % hour;
    bool success = removal[W_SUCCESS].boolean;
    const struct pj_value *took = &removal[W_PROCESSING_MS];
    struct pj_value *row = pj_row(derivation, &metrics);
    row[M_BUCKET] = pj_timestamp(at - rest);
    row[M_METHOD] = removal[W_METHOD];
    row[M_ATTEMPTS] = pj_bigint(1);
    row[M_SUCCEEDED] = pj_bigint(success);
    row[M_FAILED] = pj_bigint(removal[W_COMPLETED_AT].present && !success);
    row[M_INPUT_BYTES] = production_first(removal[W_INPUT_SIZE], pj_bigint(0));
    row[M_OUTPUT_BYTES] = production_first(removal[W_OUTPUT_SIZE], pj_bigint(0));
    row[M_MS_SUM] = production_first(*took, pj_bigint(0));
    row[M_MS_MIN] = *took;
    row[M_MS_MAX] = *took;
    int64_t *bins = pj_derivation_alloc(derivation, BINS * sizeof *bins);
    row[M_HISTOGRAM] = pj_text_of(bins, BINS * sizeof *bins);
    if (!took->present)
        return;
    bins[bin_of(took->integer)] = 1;
    struct pj_value *time = pj_row(derivation, &times);
    time[T_BUCKET] = pj_timestamp(at - rest);
    time[T_METHOD] = removal[W_METHOD];
    time[T_MS] = *took;
    time[T_REMOVAL_ID] = removal[W_REMOVAL_ID];
}

static void derive_removal(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *base = pj_entity_fact(entity, REMOVAL_BASE, NULL);
    const struct pj_fact *video = pj_entity_facts(entity, REMOVAL_VIDEO, &count);
    if (base == NULL)
        return;
    const struct pj_value *b = base->values;
    struct pj_value *row = pj_row(derivation, &pj_watermark_removals);
    row[W_REMOVAL_ID] = pj_uuid(pj_entity_key(entity));
    row[W_COMMAND_ID] = b[B_COMMAND_ID];
    row[W_VIDEO_ID] = count > 0 ? video->values[J_VIDEO_ID] : b[B_VIDEO_ID];
    row[W_INPUT_SIZE] = count > 0 ? video->values[J_RAW_SIZE] : b[B_INPUT_SIZE];
    row[W_INPUT_PATH] = b[B_INPUT_PATH];
    row[W_OUTPUT_PATH] = b[B_OUTPUT_PATH];
    row[W_OUTPUT_SIZE] = b[B_OUTPUT_SIZE];
    row[W_METHOD] = b[B_METHOD];
    row[W_PROCESSING_MS] = b[B_PROCESSING_MS];
    row[W_SUCCESS] = pj_bool(b[B_OUTPUT_PATH].present);
    row[W_ERROR_MESSAGE] = b[B_ERROR];
    row[W_CREATED_AT] = b[B_CREATED_AT];
    row[W_COMPLETED_AT] = b[B_COMPLETED_AT];
    derive_metrics(row, derivation);
}

/* --- the projection -------------------------------------------------------------------------- */

static const struct pj_source sources[] = {
    SAFARI_COMMANDS(production_observe_command),
    SAFARI_TELEMETRY(production_observe_telemetry),
};

static const struct pj_entity_kind entities[ENTITIES] = {
    [PRODUCTION] = {"production", production_facts, PRODUCTION_FACTS, derive_production},
    [PATH] = {"path", path_facts, PATH_FACTS, derive_path},
    [REMOVAL] = {"removal", removal_facts, REMOVAL_FACTS, derive_removal},
};

static const struct pj_table *const tables[] = {&pj_watermark_removals, &times, &metrics};

const struct pj_projection pj_watermark_metrics = {
    .name = "watermark-metrics",
    .summary = "keep watermark_removals and watermark_metrics: removals and their sums",
    .sources = sources,
    .source_count = 2,
    .entities = entities,
    .entity_count = ENTITIES,
    .tables = tables,
    .table_count = 3,
};
