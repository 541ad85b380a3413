/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crop-versions: each time that a video's caption region was cropped, in cropped_frames_versions.
 *
 * The numbers of versions are given before, and are in the keys of chunks; where two have one, the
 * later is in crop_version_conflicts instead. Where two videos name one version, the row is that of
 * the one that named it first.
 */
#include "projections/captions/captions_projections.h"
#include "projections/captions/crops.h"
#include "schemas.h"

/* --- tables ---------------------------------------------------------------------------------- */

#define VERSIONS(COLUMN)                                                                           \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(video_id, PJ_UUID)                                                                      \
    COLUMN(tenant_id, PJ_UUID)                                                                     \
    COLUMN(version, PJ_INT)                                                                        \
    COLUMN(storage_prefix, PJ_TEXT)                                                                \
    COLUMN(layout_db_storage_key, PJ_TEXT)                                                         \
    COLUMN(layout_db_hash, PJ_TEXT)                                                                \
    COLUMN(crop_bounds, PJ_JSONB)                                                                  \
    COLUMN(frame_rate, PJ_TEXT, .sql_type = "real")                                                \
    COLUMN(chunk_count, PJ_INT)                                                                    \
    COLUMN(total_frames, PJ_INT)                                                                   \
    COLUMN(total_size_bytes, PJ_BIGINT)                                                            \
    COLUMN(status, PJ_TEXT)                                                                        \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(created_by_user_id, PJ_UUID)                                                            \
    COLUMN(activated_at, PJ_TIMESTAMPTZ)                                                           \
    COLUMN(archived_at, PJ_TIMESTAMPTZ)                                                            \
    COLUMN(prefect_flow_run_id, PJ_UUID)
PJ_COLUMNS(captions_crops, VERSIONS);

const struct pj_table captions_crops_table = {
    .name = "cropped_frames_versions",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(captions_crops),
    .claimed = "version",
    .parents =
        (const struct pj_parent[]){
            {&captions_tenants_table, {PJ_INDEX(captions_crops, tenant_id)}, 0},
            {&captions_videos_table, {PJ_INDEX(captions_crops, video_id)}, 0},
            {0},
        },
};

#define CONFLICTS(COLUMN)                                                                          \
    COLUMN(version_id, PJ_UUID, .key = true)                                                       \
    COLUMN(video_id, PJ_UUID)                                                                      \
    COLUMN(version, PJ_INT)                                                                        \
    COLUMN(kept_by, PJ_UUID)                                                                       \
    COLUMN(emitted_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(crop_conflicts, CONFLICTS);

static const struct pj_table crop_conflicts_table = {
    .name = "crop_version_conflicts",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(crop_conflicts),
    .claimed = "conflict",
};

/* --- what an event means --------------------------------------------------------------------- */

static int observe_video(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct captions_video *e = PJ_EVENT(event, captions_video);
    struct pj_order order = CAPTIONS_ORDER(e);
    uint8_t claim[16];
    if (captions_check_video(e, error) != 0)
        return -1;
    captions_claim(e->tenant_id, e->video_id, claim);
    if (e->registered.present)
        flows_keep_owner(observer, e);
    if (e->purged.present)
        PJ_KEEP(observer, crops_purged, claim, NULL, &order, {.here = PJ_BOOL(true)});
    return 0;
}

/* --- what follows ---------------------------------------------------------------------------- */

static void derive_owner(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    uint8_t claim[16];
    const uint8_t *video = pj_entity_key(entity);
    const struct registered_by *owner = flows_owner(entity, derivation, claim);
    if (owner != NULL)
        PJ_CONTRIBUTE(derivation, crops_held, claim, video,
                      {.video_id = PJ_UUID(video), .tenant_id = owner->tenant_id});
}

static void derive_run(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *state = flows_state(entity, false);
    const struct pj_fact *waiting = PJ_ALL(entity, awaited_by, &count);
    bool broken = state != NULL && flows_broken(PJ_SAYS(state, state)) != NULL;
    for (size_t i = 0; broken && i < count; i++)
        PJ_CONTRIBUTE(derivation, crop_run, waiting[i].subkey, pj_entity_key(entity),
                      {.broken = PJ_BOOL(true)});
}

static const char *status_of(const struct pj_entity *entity, const struct crop *crop)
{
    struct pj_uuid run = PJ_SAYS(crop_started, crop->start)->flow_run_id;
    if (crop->failed)
        return "failed";
    if (crop->last != NULL)
        return crop->active ? "active" : "archived";
    return run.present && pj_fact_of(entity, CROPS, crop_run_fact, run.uuid) != NULL ? "failed"
                                                                                     : "processing";
}

/* The greatest has the row: of the start that was first. */
static struct pj_order claim_order(const struct crop *crop)
{
    struct pj_order order = crop->start->order;
    order.rank[0] = -1 - order.rank[0];
    return order;
}

static void derive_version(const struct pj_entity *entity, struct pj_derivation *derivation,
                           const struct crops_held *held, const struct crop *crop)
{
    const struct crop_started *start = PJ_SAYS(crop_started, crop->start);
    const struct crop_encoded *encoded =
        PJ_SAYS(crop_encoded, pj_fact_of(entity, CROPS, crop_encoded_fact, crop->start->subkey));
    const char *status = status_of(entity, crop);
    struct pj_order order = claim_order(crop);
    *PJ_CLAIM(derivation, captions_crops, &order) = (struct captions_crops){
        .id = PJ_UUID((const uint8_t *)crop->start->subkey),
        .video_id = held->video_id,
        .tenant_id = held->tenant_id,
        .version = start->number,
        .storage_prefix = start->storage_prefix,
        .layout_db_storage_key = start->layout_db_storage_key,
        .layout_db_hash = start->layout_db_hash,
        .crop_bounds = start->crop_bounds,
        .frame_rate = captions_real(derivation, start->frame_rate),
        .chunk_count = encoded->chunk_count,
        .total_frames = encoded->total_frames,
        .total_size_bytes = encoded->total_size_bytes,
        .status = PJ_TEXT(status),
        .created_at = start->at,
        .created_by_user_id = start->created_by,
        .activated_at = PJ_SAYS(crop_activated, crop->first)->at,
        .archived_at =
            strcmp(status, "archived") == 0 ? crop->archived_at : PJ_TIMESTAMPTZ(pj_null()),
        .prefect_flow_run_id = start->flow_run_id,
    };
}

static void derive_crops(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count, owners;
    const struct pj_fact *held = PJ_ALL(entity, crops_held, &owners);
    if (owners == 0 || PJ_FACT(entity, crops_purged) != NULL)
        return;
    const struct crop *crops = crops_of(entity, derivation, &count);
    for (size_t i = 0; i < count; i++) {
        if (crops[i].kept_by == crops[i].start->subkey) {
            derive_version(entity, derivation, PJ_SAYS(crops_held, held), &crops[i]);
            continue;
        }
        struct pj_order order = claim_order(&crops[i]);
        *PJ_CLAIM(derivation, crop_conflicts, &order) = (struct crop_conflicts){
            .version_id = PJ_UUID((const uint8_t *)crops[i].start->subkey),
            .video_id = PJ_SAYS(crops_held, held)->video_id,
            .version = PJ_SAYS(crop_started, crops[i].start)->number,
            .kept_by = PJ_UUID(crops[i].kept_by),
            .emitted_at = PJ_SAYS(crop_started, crops[i].start)->at,
        };
    }
}

const struct pj_projection pj_crop_versions = {
    .name = "crop-versions",
    .summary = "keep cropped_frames_versions: each time that a video's caption region was cropped",
    .version = 1,
    PJ_SOURCES(CAPTIONS_SOURCE(crops, captions_crop, crops_observe),
               CAPTIONS_SOURCE(videos, captions_video, observe_video),
               CAPTIONS_SOURCE(flows, captions_flow, flows_observe)),
    PJ_ENTITIES([OWNER] = {.name = "owner", PJ_FACTS_OF(owner), .derive = derive_owner},
                [RUN] = {.name = "run", PJ_FACTS_OF(run), .derive = derive_run},
                [CROPS] = {.name = "crops", PJ_FACTS_OF(crops), .derive = derive_crops}),
    PJ_TABLES(&captions_crops_table, &crop_conflicts_table),
};
