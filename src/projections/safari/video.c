/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/safari/video.h"

#include <stdlib.h>

static void set_text(json_t *object, const char *name, struct pj_text text)
{
    /* Not checked here: bytes that are no UTF-8 are Postgres's to refuse. */
    if (text.present)
        json_object_set_new_nocheck(object, name,
                                    json_stringn_nocheck(text.text.data, text.text.length));
}

/* What the table has no column for. */
static struct pj_jsonb metadata(const struct production *production, uint32_t index)
{
    json_t *object = json_object();
    struct pj_text error =
        production_text(production, production_item_result(production, index), "error", NULL);
    /* What ended a batch half-way is no error of those that were done. */
    if (!production->batch || !production_raw_path(production, index).present)
        error = PJ_OR(error, production->error);
    set_text(object, "error", error);
    if (production->batch) {
        json_object_set_new(object, "batch_index", json_integer(index));
    } else {
        const json_t *duration = safari_member(production->result, "duration_ms", "durationMs");
        struct pj_value whole = pj_json_integer(duration);
        if (whole.present)
            json_object_set_new(object, "duration_ms", json_integer(whole.integer));
        else if (json_is_real(duration))
            json_object_set_new(object, "duration_ms", json_real(json_real_value(duration)));
        set_text(object, "clean_error",
                 production_text(production, production->result, "clean_error", "cleanError"));
        set_text(object, "video_url", PJ_SAID(production->entity, ready)->url);
    }
    struct pj_jsonb value = {0};
    if (json_object_size(object) > 0) {
        char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
        size_t size = strlen(text) + 1;
        value = PJ_JSONB(memcpy(pj_derivation_alloc(production->derivation, size), text, size));
        free(text);
    }
    json_decref(object);
    return value;
}

static struct pj_text prompt(const struct production *production, uint32_t index)
{
    const json_t *prompt =
        production->batch ? json_array_get(json_object_get(production->payload, "prompts"), index)
                          : json_object_get(production->payload, "prompt");
    /* An empty one was asked for, too. */
    return PJ_TEXT(pj_derivation_text(production->derivation, prompt));
}

/* By a frame, or else by the end of the command. */
static void read_cleaned(const struct production *production, uint32_t index, struct video *video)
{
    const struct cleaned *cleaned = production_cleaned(production, index);
    const json_t *result = production->result;
    video->cleaned_path = cleaned->output_path;
    if (cleaned->output_path.present)
        video->cleaned_size = cleaned->size;
    if (!production->batch) {
        video->cleaned_path =
            PJ_OR(video->cleaned_path,
                  production_text(production, result, "cleaned_path", "cleanedPath"));
        if (video->cleaned_path.present)
            video->cleaned_size =
                PJ_OR(video->cleaned_size, production_size(result, "cleaned_size", "cleanedSize"));
    }
    /* As with the raw path: a result that lists items may belong to a command of any type. */
    video->cleaned_path = PJ_OR(
        video->cleaned_path, production_text(production, production_item_result(production, index),
                                             "cleaned_path", "cleanedPath"));
}

struct video video_of(const struct production *production, uint32_t index)
{
    const json_t *payload = production->payload;
    bool attempted = PJ_FACT(production->entity, attempted) != NULL;
    struct video video = {
        .command_id = PJ_UUID(pj_entity_key(production->entity)),
        .prompt = prompt(production, index),
        .character = PJ_OR(production_text(production, payload, "character", NULL),
                           production_prompted(production, index)->character),
        .duration = production_text(production, payload, "duration", NULL),
        .aspect_ratio = production_text(production, payload, "aspect_ratio", "aspectRatio"),
        .raw_path = production_raw_path(production, index),
        .raw_size = production_raw_size(production, index),
        .cleaning = PJ_BOOL(!production->batch && attempted && !production->ended),
        .failed = PJ_BOOL(production->ended), /* as it has where results tell of a failure */
        .metadata = metadata(production, index),
        .created_at = production->created_at,
    };
    read_cleaned(production, index, &video);
    return video;
}
