/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/safari/removal.h"

/* What removal_of reads. */
struct reading {
    const struct production *production;
    uint32_t index;
    struct attempted attempted; /* null where it does not count for this one */
    const struct cleaned *cleaned;
    const json_t *told; /* by the end of the command: one of a batch's results, or the result */
};

static struct reading reading_of(const struct production *production, uint32_t index)
{
    struct reading reading = {
        .production = production,
        .index = index,
        .cleaned = production_cleaned(production, index),
        .told = production->result,
    };
    if (production->batch)
        reading.told = production_item_result(production, index);
    else
        reading.attempted = *PJ_SAID(production->entity, attempted);
    return reading;
}

/* Nobody has submitted it yet, and it is no batch. */
static bool is_unknown(const struct production *production)
{
    return production->kind == PRODUCTION_UNKNOWN && !production->batch;
}

static bool may_remove(enum production_kind kind)
{
    return kind == PRODUCTION_CLEAN || kind == PRODUCTION_GENERATE_CLEAN ||
           kind == PRODUCTION_BATCH_CLEAN || kind == PRODUCTION_UNKNOWN;
}

static struct pj_text told_text(const struct reading *reading, const char *name,
                                const char *camel_case)
{
    return production_text(reading->production, reading->told, name, camel_case);
}

/* By a frame, or else by the end of the command. */
static void read_output(const struct reading *reading, struct removal *removal)
{
    const struct production *production = reading->production;
    struct pj_text *path = &removal->output_path;
    struct pj_bigint *size = &removal->output_size;
    if (production->kind == PRODUCTION_CLEAN) {
        *path = production_clean_output(production);
        *size = production_clean_size(production);
    } else {
        *path = told_text(reading, "cleaned_path", "cleanedPath");
        if (!production->batch)
            *size = production_size(reading->told, "cleaned_size", "cleanedSize");
        if (is_unknown(production) && !path->present && production->succeeded) {
            *path = told_text(reading, "output_path", "outputPath"); /* as a sora.clean tells it */
            *size = production_size(reading->told, "file_size", "fileSize");
        }
        *path = PJ_OR(reading->cleaned->output_path, *path);
        *size = PJ_OR(reading->cleaned->size, *size);
    }
    if (!path->present)
        *size = PJ_BIGINT(pj_null());
}

/* Of a command that nobody has submitted yet, what only those have that remove. */
static bool is_known(const struct reading *reading, const struct removal *removal)
{
    const struct production *production = reading->production;
    if (production->kind == PRODUCTION_CLEAN || reading->attempted.at.present ||
        reading->cleaned->at.present || removal->output_path.present)
        return true;
    if (!production->batch)
        return told_text(reading, "clean_error", "cleanError").present;
    return production->kind == PRODUCTION_BATCH_CLEAN && told_text(reading, "path", NULL).present &&
           told_text(reading, "error", NULL).present;
}

static struct pj_text input_path(const struct reading *reading)
{
    const struct production *production = reading->production;
    if (production->kind == PRODUCTION_CLEAN)
        return production_clean_input(production);
    struct pj_text path = PJ_OR(reading->attempted.input_path, reading->cleaned->input_path);
    if (is_unknown(production))
        path = PJ_OR(path, told_text(reading, "input_path", "inputPath"));
    return PJ_OR(path, production_raw_path(production, reading->index));
}

static struct pj_text failure(const struct reading *reading)
{
    const struct production *production = reading->production;
    struct pj_text error = {0};
    if (production->batch)
        error = told_text(reading, "error", NULL);
    else if (production->kind != PRODUCTION_CLEAN)
        error = told_text(reading, "clean_error", "cleanError");
    return PJ_OR(error, production->error);
}

/* An end that tells of no failure leaves what has no output open: another frame may have it. */
static bool has_failed(const struct reading *reading)
{
    const struct production *production = reading->production;
    return production->ended && (!production->succeeded || failure(reading).present);
}

static void read_times(const struct reading *reading, struct removal *removal)
{
    const struct production *production = reading->production;
    bool is_out = removal->output_path.present;
    removal->created_at =
        PJ_OR(reading->attempted.at, PJ_OR(reading->cleaned->at, production->created_at));
    if (is_out && reading->cleaned->at.present)
        removal->completed_at = reading->cleaned->at;
    else if (is_out || has_failed(reading))
        removal->completed_at = production->ended_at;
    if (!reading->attempted.at.present || !removal->completed_at.present)
        return;
    int64_t took;
    if (__builtin_sub_overflow(removal->completed_at.integer, removal->created_at.integer, &took))
        return;
    took = took / 1000 - (took % 1000 < 0 ? 1 : 0);
    if (took >= INT32_MIN && took <= INT32_MAX)
        removal->processing_ms = PJ_INT((int32_t)took);
}

bool removal_of(const struct production *production, uint32_t index, struct removal *removal)
{
    if (!may_remove(production->kind))
        return false;
    struct reading reading = reading_of(production, index);
    *removal = (struct removal){.command_id = PJ_UUID(pj_entity_key(production->entity))};
    read_output(&reading, removal);
    if (!is_known(&reading, removal))
        return false;
    removal->input_path = input_path(&reading);
    if (!removal->input_path.present)
        return false;
    removal->method =
        PJ_OR(production_text(production, production->payload, "method", NULL), PJ_TEXT("lama"));
    read_times(&reading, removal);
    if (removal->completed_at.present && !removal->output_path.present)
        removal->error = failure(&reading);
    if (production_has_video(production, index)) {
        uint8_t video[16];
        production_video_id(production, index, video);
        removal->video_id = PJ_UUID(video);
        removal->input_size = production_raw_size(production, index);
    }
    return true;
}
