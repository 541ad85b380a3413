/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/captions/crops.h"

int crops_observe(const struct pj_event *event, struct pj_observer *observer,
                  struct pj_error *error)
{
    const struct captions_crop *e = PJ_EVENT(event, captions_crop);
    const uint8_t *version = e->version_id.uuid;
    struct pj_order order = CAPTIONS_ORDER(e);
    uint8_t claim[16];
    if (captions_check_crop(e, error) != 0)
        return -1;
    captions_claim(e->tenant_id, e->video_id, claim);
    if (e->started.present)
        PJ_KEEP(observer, crop_started, claim, version, &order,
                {
                    .number = e->version,
                    .storage_prefix = e->storage_prefix,
                    .layout_db_storage_key = e->layout_db_storage_key,
                    .layout_db_hash = e->layout_db_hash,
                    .crop_bounds = e->crop_bounds,
                    .frame_rate = e->frame_rate,
                    .created_by = e->created_by,
                    .flow_run_id = e->flow_run_id,
                    .at = e->emitted_at,
                });
    if (e->flow_run_id.present)
        PJ_KEEP(observer, awaited_by, e->flow_run_id.uuid, claim, &(struct pj_order){0},
                {.here = PJ_BOOL(true)});
    if (e->encoded.present)
        PJ_KEEP(observer, crop_encoded, claim, version, &order,
                {
                    .chunk_count = e->chunk_count,
                    .total_frames = e->total_frames,
                    .total_size_bytes = e->total_size_bytes,
                });
    if (e->failed.present)
        PJ_KEEP(observer, crop_failed, claim, version, &order, {.here = PJ_BOOL(true)});
    if (e->activated.present)
        PJ_KEEP(observer, crop_activated, claim, e->event_id.uuid, &order,
                {.version_id = e->version_id, .at = e->emitted_at});
    return 0;
}

/* --- what follows ---------------------------------------------------------------------------- */

static int64_t number_of(const struct crop *crop)
{
    return PJ_SAYS(crop_started, crop->start)->number.integer;
}

static bool is_kept(const struct crop *crop)
{
    return crop->kept_by == crop->start->subkey;
}

/* Of those of one number the first has it. */
static void give_numbers(struct crop *crops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct pj_fact *first = crops[i].start;
        for (size_t j = 0; j < count; j++) {
            if (number_of(&crops[j]) == number_of(&crops[i]) &&
                pj_order_compare(&crops[j].start->order, &first->order) < 0)
                first = crops[j].start;
        }
        crops[i].kept_by = first->subkey;
    }
}

static struct crop *crop_of(struct crop *crops, size_t count, const struct pj_fact *activation)
{
    const uint8_t *id = PJ_SAYS(crop_activated, activation)->version_id.uuid;
    for (size_t i = 0; i < count; i++) {
        if (memcmp(crops[i].start->subkey, id, 16) == 0)
            return is_kept(&crops[i]) ? &crops[i] : NULL;
    }
    return NULL;
}

/* By time, then by number, then by event. */
static bool is_later(const struct pj_fact *a, const struct crop *of_a, const struct pj_fact *b,
                     const struct crop *of_b)
{
    int64_t a_at = PJ_SAYS(crop_activated, a)->at.integer;
    int64_t b_at = PJ_SAYS(crop_activated, b)->at.integer;
    if (a_at != b_at)
        return a_at > b_at;
    if (number_of(of_a) != number_of(of_b))
        return number_of(of_a) > number_of(of_b);
    return memcmp(a->subkey, b->subkey, sizeof a->subkey) > 0;
}

static void archive(struct crop *crops, size_t count, const struct pj_fact *activations,
                    size_t activation_count)
{
    for (size_t i = 0; i < count; i++) {
        const struct pj_fact *next = NULL;
        const struct crop *of_next = NULL;
        for (size_t a = 0; crops[i].last != NULL && a < activation_count; a++) {
            const struct crop *of = crop_of(crops, count, &activations[a]);
            if (of != NULL && is_later(&activations[a], of, crops[i].last, &crops[i]) &&
                (next == NULL || is_later(next, of_next, &activations[a], of))) {
                next = &activations[a];
                of_next = of;
            }
        }
        crops[i].archived_at = PJ_SAYS(crop_activated, next)->at;
    }
}

struct crop *crops_of(const struct pj_entity *entity, struct pj_derivation *derivation,
                      size_t *count)
{
    size_t activation_count;
    struct crop *active = NULL;
    const struct pj_fact *starts = PJ_ALL(entity, crop_started, count);
    const struct pj_fact *activations = PJ_ALL(entity, crop_activated, &activation_count);
    struct crop *crops = pj_derivation_alloc(derivation, (*count + 1) * sizeof *crops);
    for (size_t i = 0; i < *count; i++)
        crops[i] = (struct crop){
            .start = &starts[i],
            .failed = pj_fact_of(entity, CROPS, crop_failed_fact, starts[i].subkey) != NULL,
        };
    give_numbers(crops, *count);
    for (size_t a = 0; a < activation_count; a++) {
        struct crop *of = crop_of(crops, *count, &activations[a]);
        if (of == NULL)
            continue;
        if (of->last == NULL || is_later(&activations[a], of, of->last, of))
            of->last = &activations[a];
        if (of->first == NULL || is_later(of->first, of, &activations[a], of))
            of->first = &activations[a];
    }
    for (size_t i = 0; i < *count; i++) {
        if (crops[i].last != NULL && !crops[i].failed &&
            (active == NULL || is_later(crops[i].last, &crops[i], active->last, active)))
            active = &crops[i];
    }
    if (active != NULL)
        active->active = true;
    archive(crops, *count, activations, activation_count);
    return crops;
}
