/* SPDX-License-Identifier: Apache-2.0 */
/*
 * captions-catalog: every video that was registered, in videos, and the events that named another
 * tenant than the video's, in tenant_conflicts.
 *
 * What each tenant says of a video is kept apart; the registration that was first says whose claim
 * is the row. So what a stranger says changes nothing, whenever it comes.
 */
#include "projections/captions/captions_projections.h"
#include "projections/captions/catalog.h"
#include "schemas.h"

/* --- tables ---------------------------------------------------------------------------------- */

#define VIDEOS(COLUMN)                                                                             \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(tenant_id, PJ_UUID)                                                                     \
    COLUMN(filename, PJ_TEXT, .in_placeholder = "unknown")                                         \
    COLUMN(storage_key, PJ_TEXT, .in_placeholder = "unknown/{id}/video.mp4")                       \
    COLUMN(size_bytes, PJ_BIGINT)                                                                  \
    COLUMN(status, PJ_TEXT)                                                                        \
    COLUMN(duration_seconds, PJ_TEXT, .sql_type = "real")                                          \
    COLUMN(annotations_db_key, PJ_TEXT)                                                            \
    COLUMN(locked_by_user_id, PJ_UUID)                                                             \
    COLUMN(locked_at, PJ_TIMESTAMPTZ)                                                              \
    COLUMN(uploaded_by_user_id, PJ_UUID)                                                           \
    COLUMN(uploaded_at, PJ_TIMESTAMPTZ)                                                            \
    COLUMN(prefect_flow_run_id, PJ_UUID)                                                           \
    COLUMN(deleted_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(current_cropped_frames_version, PJ_INT)                                                 \
    COLUMN(layout_approved_at, PJ_TIMESTAMPTZ)                                                     \
    COLUMN(layout_approved_by, PJ_UUID)                                                            \
    COLUMN(layout_db_hash, PJ_TEXT)                                                                \
    COLUMN(failure, PJ_TEXT)                                                                       \
    COLUMN(frame_count, PJ_INT)                                                                    \
    COLUMN(indexed_frames, PJ_INT)                                                                 \
    COLUMN(failed_batches, PJ_INT)                                                                 \
    COLUMN(purged_at, PJ_TIMESTAMPTZ)                                                              \
    COLUMN(placeholder, PJ_BOOL) /* stays null: the row is a placeholder no more */
PJ_COLUMNS(captions_videos, VIDEOS);

const struct pj_table captions_videos_table = {
    .name = "videos",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(captions_videos),
    .parents =
        (const struct pj_parent[]){
            {&captions_tenants_table, {PJ_INDEX(captions_videos, tenant_id)}, 0},
            {0},
        },
    .children =
        (const struct pj_table *const[]){&captions_search_table, &captions_crops_table, NULL},
    .placeholder = PJ_INDEX(captions_videos, placeholder),
};

#define CONFLICTS(COLUMN)                                                                          \
    COLUMN(event_id, PJ_UUID, .key = true)                                                         \
    COLUMN(video_id, PJ_UUID)                                                                      \
    COLUMN(claimed_tenant_id, PJ_UUID)                                                             \
    COLUMN(topic, PJ_TEXT)                                                                         \
    COLUMN(emitted_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(tenant_conflicts, CONFLICTS);

static const struct pj_table tenant_conflicts_table = {
    .name = "tenant_conflicts",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(tenant_conflicts),
};

/* --- what is told to a video ----------------------------------------------------------------- */

static void derive_owner(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    uint8_t claim[16];
    const uint8_t *video = pj_entity_key(entity);
    const struct registered_by *owner = flows_owner(entity, derivation, claim);
    if (owner != NULL)
        PJ_CONTRIBUTE(derivation, held, claim, video,
                      {.video_id = PJ_UUID(video), .tenant_id = owner->tenant_id});
}

static void derive_run(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *last = flows_state(entity, false);
    const struct pj_fact *waiting = PJ_ALL(entity, awaited_by, &count);
    for (size_t i = 0; last != NULL && i < count; i++)
        PJ_CONTRIBUTE(derivation, run_state, waiting[i].subkey, pj_entity_key(entity),
                      {
                          .state_type = PJ_SAYS(state, last)->state_type,
                          .run_count = PJ_SAYS(state, last)->run_count,
                          .message = PJ_SAYS(state, last)->message,
                          .at = PJ_SAYS(state, last)->at,
                      });
}

static void derive_crops(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const uint8_t *claim = pj_entity_key(entity);
    const struct crop *crops = crops_of(entity, derivation, &count);
    for (size_t i = 0; i < count; i++) {
        if (crops[i].active)
            PJ_CONTRIBUTE(derivation, active_crop, claim, claim,
                          {.number = PJ_SAYS(crop_started, crops[i].start)->number});
    }
}

static void derive_object(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct stored *stored = PJ_FACT(entity, stored);
    if (stored != NULL && (stored->captions.boolean || PJ_FACT(entity, wanted) != NULL))
        PJ_CONTRIBUTE(derivation, source, stored->claim.uuid, pj_entity_key(entity),
                      {
                          .key = stored->key,
                          .size_bytes = stored->size_bytes,
                          .captions = stored->captions,
                      });
}

/* --- the row of a video ---------------------------------------------------------------------- */

static bool same_text(struct pj_text a, struct pj_text b)
{
    return a.present && b.present && a.text.length == b.text.length &&
           memcmp(a.text.data, b.text.data, a.text.length) == 0;
}

static void add_objects(const struct pj_entity *entity, const struct registered *registered,
                        struct captions_videos *row, bool *stored)
{
    size_t count;
    const struct pj_fact *sources = PJ_ALL(entity, source, &count);
    row->size_bytes = registered->size_bytes;
    row->annotations_db_key = registered->annotations_db_key;
    *stored = false;
    for (size_t i = 0; i < count; i++) {
        const struct source *source = PJ_SAYS(source, &sources[i]);
        if (source->captions.boolean)
            row->annotations_db_key = source->key;
        if (!same_text(source->key, registered->storage_key))
            continue;
        row->size_bytes = source->size_bytes;
        *stored = true;
    }
}

/* The end is the timer of its lock. */
static void add_lock(const struct pj_entity *entity, struct pj_derivation *derivation,
                     struct captions_videos *row)
{
    const struct lock *lock = PJ_FACT(entity, lock);
    const struct lock_expiry *expiry = PJ_SAID(entity, lock_expiry);
    const struct lock_release *release = PJ_SAID(entity, lock_release);
    if (lock == NULL ||
        (release->lock_id.present && memcmp(release->lock_id.uuid, lock->lock_id.uuid, 16) == 0) ||
        !expiry->lock_id.present || memcmp(expiry->lock_id.uuid, lock->lock_id.uuid, 16) != 0 ||
        expiry->at.integer < pj_stream_time(derivation))
        return;
    pj_due(derivation, expiry->at.integer);
    row->locked_by_user_id = lock->user_id;
    row->locked_at = lock->acquired_at;
}

static void add_end(const struct pj_entity *entity, const struct catalog_runs *runs, bool stored,
                    struct captions_videos *row)
{
    const struct deleted *deleted = PJ_SAID(entity, deleted);
    const struct purged *purged = PJ_FACT(entity, purged);
    bool archived = PJ_SAID(entity, archived)->set.boolean;
    const char *status = runs->status != NULL ? runs->status : stored ? "processing" : "uploading";
    if (purged != NULL)
        status = "purged";
    else if (deleted->set.boolean)
        status = "soft_deleted";
    else if (archived)
        status = "archived";
    row->status = PJ_TEXT(status);
    if (deleted->set.boolean)
        row->deleted_at = deleted->at;
    if (purged != NULL)
        row->deleted_at = row->purged_at = purged->at;
}

/* What is left of a video that was purged: nothing that says what it was, or whose work. */
static void forget(struct captions_videos *row)
{
    struct captions_videos left = {
        .id = row->id,
        .tenant_id = row->tenant_id,
        .filename = PJ_TEXT("(purged)"),
        .storage_key = row->storage_key,
        .status = row->status,
        .uploaded_at = row->uploaded_at,
        .prefect_flow_run_id = row->prefect_flow_run_id,
        .deleted_at = row->deleted_at,
        .frame_count = row->frame_count,
        .indexed_frames = row->indexed_frames,
        .failed_batches = row->failed_batches,
        .purged_at = row->purged_at,
    };
    *row = left;
}

static void derive_video(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count, crop_count;
    bool stored;
    const struct pj_fact *owners = PJ_ALL(entity, held, &count);
    const struct pj_fact *crop = PJ_ALL(entity, active_crop, &crop_count);
    const struct registered *registered = PJ_FACT(entity, registered);
    const struct approved *approved = PJ_SAID(entity, approved);
    if (count == 0 || registered == NULL)
        return;
    struct catalog_runs runs = catalog_runs_of(entity, derivation);
    struct captions_videos *row = PJ_ROW(derivation, captions_videos);
    *row = (struct captions_videos){
        .id = PJ_SAYS(held, owners)->video_id,
        .tenant_id = PJ_SAYS(held, owners)->tenant_id,
        .filename = registered->filename,
        .storage_key = registered->storage_key,
        .duration_seconds = captions_real(derivation, PJ_OR(runs.duration, registered->duration)),
        .uploaded_by_user_id = registered->uploaded_by,
        .uploaded_at = registered->uploaded_at,
        .layout_approved_at = approved->at,
        .layout_approved_by = approved->by,
        .layout_db_hash = approved->hash,
        .failure = runs.failure,
    };
    if (crop_count > 0)
        row->current_cropped_frames_version = PJ_SAYS(active_crop, crop)->number;
    if (runs.latest != NULL) {
        const struct run_last *last =
            PJ_SAYS(run_last, pj_fact_of(entity, VIDEO, run_last_fact, runs.latest->subkey));
        row->prefect_flow_run_id = PJ_UUID((const uint8_t *)runs.latest->subkey);
        row->frame_count = last->frame_count;
        row->indexed_frames = last->indexed_frames;
        row->failed_batches = last->failed_batches;
    }
    add_objects(entity, registered, row, &stored);
    add_lock(entity, derivation, row);
    add_end(entity, &runs, stored, row);
    if (row->purged_at.present)
        forget(row);
}

/* --- conflicts ------------------------------------------------------------------------------- */

static void derive_tenancy(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    (void)entity; /* all is said by the events */
    (void)derivation;
}

void catalog_derive_told(const struct pj_entity *entity, const struct pj_fact *fact,
                         struct pj_derivation *derivation)
{
    const struct tenancy *owner = PJ_FACT(entity, tenancy);
    const struct told *told = PJ_SAYS(told, fact);
    if (owner == NULL || memcmp(owner->tenant_id.uuid, told->tenant_id.uuid, 16) == 0)
        return;
    *PJ_ROW(derivation, tenant_conflicts) = (struct tenant_conflicts){
        .event_id = PJ_UUID((const uint8_t *)fact->subkey),
        .video_id = PJ_UUID(pj_entity_key(entity)),
        .claimed_tenant_id = told->tenant_id,
        .topic = told->topic,
        .emitted_at = told->at,
    };
}

const struct pj_projection pj_captions_catalog = {
    .name = "captions-catalog",
    .summary = "keep videos: every video that was registered, and what became of it",
    .version = 1,
    PJ_SOURCES(CAPTIONS_SOURCE(videos, captions_video, catalog_observe_video),
               CAPTIONS_SOURCE(flows, captions_flow, catalog_observe_flow),
               CAPTIONS_SOURCE(objects, captions_object, catalog_observe_object),
               CAPTIONS_SOURCE(locks, captions_lock, catalog_observe_lock),
               CAPTIONS_SOURCE(crops, captions_crop, catalog_observe_crop)),
    PJ_ENTITIES([OWNER] = {.name = "owner", PJ_FACTS_OF(owner), .derive = derive_owner},
                [RUN] = {.name = "run", PJ_FACTS_OF(run), .derive = derive_run},
                [CROPS] = {.name = "crops", PJ_FACTS_OF(crops), .derive = derive_crops},
                [OBJECT] = {.name = "object", PJ_FACTS_OF(object), .derive = derive_object},
                [VIDEO] =
                    {.name = "video", PJ_FACTS_OF(video), .derive = derive_video, .timed = true},
                [TENANCY] = {.name = "tenancy", PJ_FACTS_OF(tenancy_of), .derive = derive_tenancy}),
    PJ_TABLES(&captions_videos_table, &tenant_conflicts_table),
};
