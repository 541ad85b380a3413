/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/safari/production.h"

#include <stdio.h>
#include <uuid/uuid.h>

/* 256 TiB, in bytes: no file is larger, and the sums of sizes must fit 64 bits. */
#define SIZE_MOST (INT64_C(1) << 48)

/* --- JSON ------------------------------------------------------------------------------------ */

struct pj_text production_text(const struct production *production, const json_t *object,
                               const char *name, const char *camel_case)
{
    return safari_nonempty(PJ_TEXT(
        pj_derivation_text(production->derivation, safari_member(object, name, camel_case))));
}

struct pj_bigint production_size(const json_t *object, const char *name, const char *camel_case)
{
    struct pj_bigint size = PJ_BIGINT(pj_json_integer(safari_member(object, name, camel_case)));
    size.present = size.present && size.integer >= 0 && size.integer <= SIZE_MOST;
    return size;
}

struct pj_bigint production_cleaned_size(const json_t *object)
{
    return PJ_OR(production_size(object, "file_size", "fileSize"),
                 production_size(object, "cleaned_size", "cleanedSize"));
}

const json_t *production_item_result(const struct production *production, uint32_t index)
{
    return json_array_get(production->results, index);
}

/* --- indexes --------------------------------------------------------------------------------- */

static const struct pj_fact *fact_of_index(const struct production *production, size_t fact,
                                           uint32_t index)
{
    uint8_t subkey[16];
    production_index_subkey(index, subkey);
    const struct pj_fact *found = pj_entity_fact(production->entity, fact, subkey);
    if (found == NULL && production->bound == 1 && index == 0)
        found = pj_entity_fact(production->entity, fact, production_unnumbered);
    return found;
}

const struct cleaned *production_cleaned(const struct production *production, uint32_t index)
{
    return PJ_SAYS(cleaned, fact_of_index(production, cleaned_fact, index));
}

const struct prompted *production_prompted(const struct production *production, uint32_t index)
{
    return PJ_SAYS(prompted, fact_of_index(production, prompted_fact, index));
}

/* One more than the greatest index that a fact is numbered with, 0 where none is. */
static uint32_t numbered_bound(const struct pj_entity *entity, size_t fact, size_t numbered)
{
    size_t count;
    const struct pj_fact *facts = pj_entity_facts(entity, fact, &count);
    while (count > 0 && !facts[count - 1].values[numbered].boolean)
        count--;
    if (count == 0)
        return 0;
    uint32_t index = 0;
    for (int i = 12; i < 16; i++)
        index = index << 8 | facts[count - 1].subkey[i];
    return index + 1;
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
    const struct pj_entity *entity = production->entity;
    uint32_t told = greater(numbered_bound(entity, prompted_fact, PJ_INDEX(prompted, numbered)),
                            numbered_bound(entity, cleaned_fact, PJ_INDEX(cleaned, numbered)));
    production->batch =
        production_is_batch(production->kind) ||
        (production->kind == PRODUCTION_UNKNOWN && (production->results != NULL || told > 0));
    production->bound = 1;
    if (!production->batch)
        return;
    uint32_t listed = greater(json_array_size(production->results), prompt_count(production));
    listed = listed <= PRODUCTION_INDEX_MOST ? listed : PRODUCTION_INDEX_MOST + 1;
    production->bound = greater(production->bound, greater(listed, told));
}

/* --- the production -------------------------------------------------------------------------- */

struct production production_of(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct submitted *submitted = PJ_SAID(entity, submitted);
    const struct last_status *status = PJ_SAID(entity, last_status);
    struct production production = {
        .entity = entity,
        .derivation = derivation,
        .kind = submitted->type.present ? production_kind_of(submitted->type) : PRODUCTION_UNKNOWN,
        .payload = pj_derivation_json(derivation, &submitted->payload.value),
        .created_at = PJ_OR(submitted->created_at, PJ_OR(PJ_SAID(entity, first_lifecycle)->at,
                                                         PJ_SAID(entity, first_telemetry)->at)),
        .ended = status->ended.present && status->ended.boolean,
        .succeeded = pj_text_is(&status->status.value, "SUCCEEDED"),
    };
    if (status->status.present)
        production.status_order = pj_entity_fact(entity, last_status_fact, NULL)->order;
    if (production.ended) {
        production.result = pj_derivation_json(derivation, &status->result.value);
        production.results = json_object_get(production.result, "results");
        production.ended_at = status->at;
        production.error = safari_nonempty(status->error);
    }
    if (!json_is_array(production.results))
        production.results = NULL;
    count_items(&production);
    return production;
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
    const struct cleaned *cleaned = production_cleaned(production, index);
    if (production_prompted(production, index)->numbered.present ||
        (cleaned->numbered.present && cleaned->numbered.boolean) ||
        is_video(production, production_item_result(production, index)))
        return true;
    const json_t *result = production->result;
    return index == 0 &&
           (PJ_FACT(production->entity, downloaded) != NULL ||
            PJ_FACT(production->entity, ready) != NULL ||
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
               production_prompted(production, index)->numbered.present ||
               production_cleaned(production, index)->numbered.present ||
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

void production_path_key(const struct pj_text *path, uint8_t key[16])
{
    pj_uuid_of_name(path->text.data, path->text.length, key);
}

/* --- paths and sizes ------------------------------------------------------------------------- */

struct pj_text production_raw_path(const struct production *production, uint32_t index)
{
    struct pj_text path = {0};
    if (!production->batch && index == 0)
        path = PJ_OR(PJ_SAID(production->entity, downloaded)->path,
                     production_text(production, production->result, "video_path", "videoPath"));
    if (!path.present)
        path = production_text(production, production_item_result(production, index), "path", NULL);
    return PJ_OR(path, production_cleaned(production, index)->input_path);
}

struct pj_bigint production_raw_size(const struct production *production, uint32_t index)
{
    if (production->batch || index != 0)
        return PJ_BIGINT(pj_null());
    return PJ_OR(PJ_SAID(production->entity, downloaded)->size,
                 production_size(production->result, "file_size", "fileSize"));
}

struct pj_text production_clean_input(const struct production *production)
{
    return PJ_OR(PJ_OR(production_text(production, production->payload, "input_path", "inputPath"),
                       production_text(production, production->result, "input_path", "inputPath")),
                 PJ_OR(PJ_SAID(production->entity, attempted)->input_path,
                       production_cleaned(production, 0)->input_path));
}

struct pj_text production_clean_output(const struct production *production)
{
    const json_t *result = production->result;
    struct pj_text path = production_cleaned(production, 0)->output_path;
    if (!production->succeeded)
        return path;
    path = PJ_OR(path, production_text(production, result, "output_path", "outputPath"));
    path = PJ_OR(path, production_text(production, result, "cleaned_path", "cleanedPath"));
    return PJ_OR(path,
                 production_text(production, production->payload, "output_path", "outputPath"));
}

struct pj_bigint production_clean_size(const struct production *production)
{
    struct pj_bigint size = production_cleaned(production, 0)->size;
    return production->succeeded ? PJ_OR(size, production_cleaned_size(production->result)) : size;
}
