/* SPDX-License-Identifier: Apache-2.0 */
/*
 * video-catalog: every video that was asked for, in safari_videos.
 *
 * A production says what is known of its videos. Videos and sora.clean commands meet at a path:
 * whichever is seen first, the clean that succeeded last gives the videos of that raw path their
 * cleaned one. A row follows from what both tell its video.
 */
#include "projections/safari/production.h"
#include "projections/safari/projections.h"
#include "schemas.h"

#include <stdlib.h>

/* --- the table ------------------------------------------------------------------------------- */

enum {
    V_VIDEO_ID,
    V_COMMAND_ID,
    V_PROMPT,
    V_CHARACTER,
    V_DURATION,
    V_ASPECT_RATIO,
    V_RAW_PATH,
    V_RAW_SIZE,
    V_CLEANED_PATH,
    V_CLEANED_SIZE,
    V_STATUS,
    V_METADATA,
    V_CREATED_AT,
    V_PLACEHOLDER, /* stays NULL: the row is a placeholder no more */
    V_COLUMNS,
};

static const struct pj_column video_columns[V_COLUMNS] = {
    [V_VIDEO_ID] = {"video_id", PJ_UUID, .key = true},
    [V_COMMAND_ID] = {"command_id", PJ_UUID},
    [V_PROMPT] = {"prompt", PJ_TEXT},
    [V_CHARACTER] = {"character", PJ_TEXT},
    [V_DURATION] = {"duration", PJ_TEXT},
    [V_ASPECT_RATIO] = {"aspect_ratio", PJ_TEXT},
    [V_RAW_PATH] = {"raw_path", PJ_TEXT},
    [V_RAW_SIZE] = {"raw_size_bytes", PJ_BIGINT},
    [V_CLEANED_PATH] = {"cleaned_path", PJ_TEXT},
    [V_CLEANED_SIZE] = {"cleaned_size_bytes", PJ_BIGINT},
    [V_STATUS] = {"status", PJ_TEXT, .in_placeholder = "GENERATING"},
    [V_METADATA] = {"metadata", PJ_JSONB},
    [V_CREATED_AT] = {"created_at", PJ_TIMESTAMPTZ},
    [V_PLACEHOLDER] = {"placeholder", PJ_BOOL},
};

const struct pj_table pj_safari_videos = {
    .name = "safari_videos",
    .kind = PJ_ENTITY_TABLE,
    .columns = video_columns,
    .column_count = V_COLUMNS,
    .parents =
        (const struct pj_parent[]){
            {&pj_safari_commands, {V_COMMAND_ID}, V_CREATED_AT},
            {0},
        },
    .children = (const struct pj_table *const[]){&pj_watermark_removals, NULL},
    .placeholder = V_PLACEHOLDER,
    .first_seen = V_CREATED_AT,
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { PRODUCTION, PATH, VIDEO, ENTITIES };

enum { PATH_VIDEO, PATH_CLEAN, PATH_FACTS };
enum { CLEAN_OUTPUT, CLEAN_SIZE, CLEAN_MS, CLEAN_COUNTER, CLEAN_EMITTED_AT, CLEAN_EVENT };

static const struct pj_fact_kind path_facts[PATH_FACTS] = {
    [PATH_VIDEO] = {"video of this path", PJ_LEAST, PJ_FACT_VALUES(PJ_BOOL)},
    [PATH_CLEAN] = {"clean of this path", PJ_LEAST,
                    PJ_FACT_VALUES(PJ_TEXT, PJ_BIGINT, PJ_BIGINT, PJ_BIGINT, PJ_BIGINT, PJ_UUID)},
};

enum { VIDEO_BASE, VIDEO_CLEANED, VIDEO_FACTS };
enum {
    B_COMMAND_ID,
    B_PROMPT,
    B_CHARACTER,
    B_DURATION,
    B_ASPECT_RATIO,
    B_RAW_PATH,
    B_RAW_SIZE,
    B_CLEANED_PATH,
    B_CLEANED_SIZE,
    B_CLEANING, /* a removal is under way */
    B_FAILED,   /* without a path it will not come any more */
    B_METADATA,
    B_CREATED_AT,
    B_VALUES,
};

static const struct pj_fact_kind video_facts[VIDEO_FACTS] = {
    [VIDEO_BASE] = {"what its command says", PJ_LEAST,
                    PJ_FACT_VALUES(PJ_UUID, PJ_TEXT, PJ_TEXT, PJ_TEXT, PJ_TEXT, PJ_TEXT, PJ_BIGINT,
                                   PJ_TEXT, PJ_BIGINT, PJ_BOOL, PJ_BOOL, PJ_JSONB, PJ_TIMESTAMPTZ)},
    [VIDEO_CLEANED] = {"what a clean made of it", PJ_LEAST, PJ_FACT_VALUES(PJ_TEXT, PJ_BIGINT)},
};

/* --- a production's videos ------------------------------------------------------------------- */

static void set_text(json_t *object, const char *name, const struct pj_value *text)
{
    /* Not checked here: bytes that are no UTF-8 are Postgres's to refuse. */
    if (text->present)
        json_object_set_new_nocheck(object, name,
                                    json_stringn_nocheck(text->text.data, text->text.length));
}

/* What the table has no column for. */
static struct pj_value metadata(const struct production *production, uint32_t index)
{
    json_t *object = json_object();
    struct pj_value clean_error = pj_null();
    struct pj_value url = pj_null();
    const json_t *duration = NULL;
    const struct pj_fact *ready = pj_entity_fact(production->entity, PRODUCTION_READY, NULL);
    if (!production->batch) {
        clean_error = production_text(production, production->result, "clean_error", "cleanError");
        duration = safari_member(production->result, "duration_ms", "durationMs");
        if (ready != NULL)
            url = ready->values[0];
    } else {
        json_object_set_new(object, "batch_index", json_integer(index));
    }
    struct pj_value error =
        production_text(production, production_item_result(production, index), "error", NULL);
    /* What ended a batch half-way is no error of those that were done. */
    if (!production->batch || !production_raw_path(production, index).present)
        error = production_first(error, production->error);
    set_text(object, "clean_error", &clean_error);
    set_text(object, "error", &error);
    set_text(object, "video_url", &url);
    struct pj_value whole = pj_json_integer(duration);
    if (whole.present)
        json_object_set_new(object, "duration_ms", json_integer(whole.integer));
    else if (json_is_real(duration))
        json_object_set_new(object, "duration_ms", json_real(json_real_value(duration)));
    struct pj_value value = pj_null();
    if (json_object_size(object) > 0) {
        char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
        size_t size = strlen(text) + 1;
        value = pj_text(memcpy(pj_derivation_alloc(production->derivation, size), text, size));
        free(text);
    }
    json_decref(object);
    return value;
}

static struct pj_value prompt(const struct production *production, uint32_t index)
{
    const json_t *prompt =
        production->batch ? json_array_get(json_object_get(production->payload, "prompts"), index)
                          : json_object_get(production->payload, "prompt");
    return pj_derivation_text(production->derivation, prompt); /* an empty one was asked for, too */
}

static void derive_video_of(const struct production *production, uint32_t index)
{
    const json_t *payload = production->payload;
    const json_t *item = production_item_result(production, index);
    const struct pj_fact *cleaned = production_fact(production, PRODUCTION_CLEANED, index);
    const struct pj_fact *prompted = production_fact(production, PRODUCTION_PROMPT, index);
    struct pj_value base[B_VALUES] = {
        [B_COMMAND_ID] = pj_uuid(pj_entity_key(production->entity)),
        [B_PROMPT] = prompt(production, index),
        [B_CHARACTER] = production_text(production, payload, "character", NULL),
        [B_DURATION] = production_text(production, payload, "duration", NULL),
        [B_ASPECT_RATIO] = production_text(production, payload, "aspect_ratio", "aspectRatio"),
        [B_RAW_PATH] = production_raw_path(production, index),
        [B_RAW_SIZE] = production_raw_size(production, index),
        [B_FAILED] = pj_bool(production->ended), /* as it has where results tell of a failure */
        [B_METADATA] = metadata(production, index),
        [B_CREATED_AT] = production->created_at,
    };
    if (!base[B_CHARACTER].present && prompted != NULL)
        base[B_CHARACTER] = prompted->values[PROMPT_CHARACTER];
    bool attempted = pj_entity_fact(production->entity, PRODUCTION_ATTEMPTED, NULL) != NULL;
    base[B_CLEANING] = pj_bool(!production->batch && attempted && !production->ended);
    if (cleaned != NULL && cleaned->values[CLEANED_OUTPUT_PATH].present) {
        base[B_CLEANED_PATH] = cleaned->values[CLEANED_OUTPUT_PATH];
        base[B_CLEANED_SIZE] = cleaned->values[CLEANED_FILE_SIZE];
    }
    if (!production->batch)
        base[B_CLEANED_PATH] =
            production_first(base[B_CLEANED_PATH], production_text(production, production->result,
                                                                   "cleaned_path", "cleanedPath"));
    if (!production->batch && base[B_CLEANED_PATH].present)
        base[B_CLEANED_SIZE] =
            production_first(base[B_CLEANED_SIZE],
                             production_size(production->result, "cleaned_size", "cleanedSize"));
    /* As with the raw path: a result that lists items may belong to a command of any type. */
    base[B_CLEANED_PATH] = production_first(
        base[B_CLEANED_PATH], production_text(production, item, "cleaned_path", "cleanedPath"));
    uint8_t id[16];
    production_video_id(production, index, id);
    pj_contribute(production->derivation, VIDEO, id, VIDEO_BASE, NULL, base);
    if (base[B_RAW_PATH].present) {
        uint8_t path[16];
        struct pj_value here = pj_bool(true);
        production_path_key(&base[B_RAW_PATH], path);
        pj_contribute(production->derivation, PATH, path, PATH_VIDEO, id, &here);
    }
}

static void derive_clean(const struct production *production)
{
    struct pj_value input = production_clean_input(production);
    struct pj_value output = production_clean_output(production);
    if (!production->succeeded || !input.present || !output.present)
        return;
    const struct pj_order *order = &production->status_order;
    struct pj_value values[] = {
        [CLEAN_OUTPUT] = output,
        [CLEAN_SIZE] = production_clean_size(production),
        [CLEAN_MS] = pj_bigint(order->rank[0]),
        [CLEAN_COUNTER] = pj_bigint(order->rank[1]),
        [CLEAN_EMITTED_AT] = pj_bigint(order->rank[2]),
        [CLEAN_EVENT] = pj_uuid(order->tie),
    };
    uint8_t path[16];
    production_path_key(&input, path);
    pj_contribute(production->derivation, PATH, path, PATH_CLEAN, pj_entity_key(production->entity),
                  values);
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

static bool later(const struct pj_value *a, const struct pj_value *b)
{
    for (int i = CLEAN_MS; i <= CLEAN_EMITTED_AT; i++) {
        if (a[i].integer != b[i].integer)
            return a[i].integer > b[i].integer;
    }
    return memcmp(a[CLEAN_EVENT].uuid, b[CLEAN_EVENT].uuid, 16) > 0;
}

static void derive_path(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t clean_count;
    size_t video_count;
    const struct pj_fact *cleans = pj_entity_facts(entity, PATH_CLEAN, &clean_count);
    const struct pj_fact *found = pj_entity_facts(entity, PATH_VIDEO, &video_count);
    const struct pj_fact *last = NULL;
    for (size_t i = 0; i < clean_count; i++) {
        if (last == NULL || later(cleans[i].values, last->values))
            last = &cleans[i];
    }
    for (size_t i = 0; last != NULL && i < video_count; i++)
        pj_contribute(derivation, VIDEO, found[i].subkey, VIDEO_CLEANED, pj_entity_key(entity),
                      last->values);
}

/* --- the row --------------------------------------------------------------------------------- */

static const char *status_of(const struct pj_value *row, const struct pj_value *base)
{
    if (row[V_CLEANED_PATH].present)
        return "CLEANED";
    if (row[V_RAW_PATH].present)
        return base[B_CLEANING].boolean ? "CLEANING" : "DOWNLOADED";
    return base[B_FAILED].boolean ? "FAILED" : "GENERATING";
}

static void derive_video(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *base = pj_entity_fact(entity, VIDEO_BASE, NULL);
    const struct pj_fact *cleaned = pj_entity_facts(entity, VIDEO_CLEANED, &count);
    if (base == NULL)
        return;
    const struct pj_value *b = base->values;
    struct pj_value *row = pj_row(derivation, &pj_safari_videos);
    row[V_VIDEO_ID] = pj_uuid(pj_entity_key(entity));
    row[V_COMMAND_ID] = b[B_COMMAND_ID];
    row[V_PROMPT] = b[B_PROMPT];
    row[V_CHARACTER] = b[B_CHARACTER];
    row[V_DURATION] = b[B_DURATION];
    row[V_ASPECT_RATIO] = b[B_ASPECT_RATIO];
    row[V_RAW_PATH] = b[B_RAW_PATH];
    row[V_RAW_SIZE] = b[B_RAW_SIZE];
    row[V_CLEANED_PATH] = count > 0 ? cleaned->values[0] : b[B_CLEANED_PATH];
    row[V_CLEANED_SIZE] = count > 0 ? cleaned->values[1] : b[B_CLEANED_SIZE];
    row[V_STATUS] = pj_text(status_of(row, b));
    row[V_METADATA] = b[B_METADATA];
    row[V_CREATED_AT] = b[B_CREATED_AT];
}

/* --- the projection -------------------------------------------------------------------------- */

static const struct pj_source sources[] = {
    SAFARI_COMMANDS(production_observe_command),
    SAFARI_TELEMETRY(production_observe_telemetry),
};

static const struct pj_entity_kind entities[ENTITIES] = {
    [PRODUCTION] = {"production", production_facts, PRODUCTION_FACTS, derive_production},
    [PATH] = {"path", path_facts, PATH_FACTS, derive_path},
    [VIDEO] = {"video", video_facts, VIDEO_FACTS, derive_video},
};

static const struct pj_table *const tables[] = {&pj_safari_videos};

const struct pj_projection pj_video_catalog = {
    .name = "video-catalog",
    .summary = "keep safari_videos: every video that was asked for",
    .sources = sources,
    .source_count = 2,
    .entities = entities,
    .entity_count = ENTITIES,
    .tables = tables,
    .table_count = 1,
};
