/* SPDX-License-Identifier: Apache-2.0 */
/* What the events of five topics mean for the catalogue. */
#include "projections/captions/catalog.h"

/* Of an event that says whose the video is. */
static void keep_told(struct pj_observer *observer, struct pj_uuid video, struct pj_uuid tenant,
                      const char *topic, struct pj_timestamptz at, struct pj_uuid event_id)
{
    if (!tenant.present || !video.present)
        return;
    struct pj_order order = PJ_ORDER(event_id, at.integer);
    PJ_KEEP(observer, told, video.uuid, event_id.uuid, &order,
            {.tenant_id = tenant, .topic = PJ_TEXT(topic), .at = at});
}

static void object_key(struct pj_uuid tenant, struct pj_uuid video, struct pj_text key,
                       uint8_t id[16])
{
    const struct pj_value parts[] = {tenant.value, video.value, key.value};
    pj_uuid_of_names(parts, 3, id);
}

/* --- captions.videos ------------------------------------------------------------------------- */

static void observe_registered(const struct captions_video *e, struct pj_observer *observer,
                               const uint8_t claim[16], const struct pj_order *order)
{
    uint8_t object[16];
    flows_keep_owner(observer, e);
    PJ_KEEP(observer, tenancy, e->video_id.uuid, NULL, order, {.tenant_id = e->tenant_id});
    PJ_KEEP(observer, registered, claim, NULL, order,
            {
                .filename = e->filename,
                .storage_key = e->storage_key,
                .size_bytes = e->size_bytes,
                .duration = e->duration,
                .annotations_db_key = e->annotations_db_key,
                .uploaded_by = e->actor_user_id,
                .uploaded_at = PJ_OR(e->uploaded_at, e->emitted_at),
            });
    object_key(e->tenant_id, e->video_id, e->storage_key, object);
    PJ_KEEP(observer, wanted, object, NULL, &(struct pj_order){0}, {.here = PJ_BOOL(true)});
}

/* Of a run its greatest run_count stands, and of that the end. */
static void observe_run(const struct captions_video *e, struct pj_observer *observer,
                        const uint8_t claim[16], const struct pj_order *order)
{
    bool finished = e->finished.present;
    const uint8_t *run = finished ? e->finished_run.uuid : e->started_run.uuid;
    struct pj_int count = finished ? e->finished_count : e->started_count;
    struct pj_order attempt = {.rank = {count.integer, finished, e->emitted_at.integer}};
    memcpy(attempt.tie, e->event_id.uuid, sizeof attempt.tie);
    PJ_KEEP(observer, run_first, claim, run, order, {.at = e->emitted_at});
    PJ_KEEP(observer, run_last, claim, run, &attempt,
            {
                .run_count = count,
                .outcome = e->outcome,
                .error = e->error,
                .frame_count = e->frame_count,
                .indexed_frames = e->indexed_frames,
                .failed_batches = e->failed_batches,
            });
    if (e->measured_duration.present)
        PJ_KEEP(observer, run_measured, claim, run, order, {.seconds = e->measured_duration});
    PJ_KEEP(observer, awaited_by, run, claim, &(struct pj_order){0}, {.here = PJ_BOOL(true)});
}

int catalog_observe_video(const struct pj_event *event, struct pj_observer *observer,
                          struct pj_error *error)
{
    const struct captions_video *e = PJ_EVENT(event, captions_video);
    struct pj_order order = CAPTIONS_ORDER(e);
    uint8_t claim[16];
    if (captions_check_video(e, error) != 0)
        return -1;
    captions_claim(e->tenant_id, e->video_id, claim);
    keep_told(observer, e->video_id, e->tenant_id, "captions.videos", e->emitted_at, e->event_id);
    if (e->registered.present)
        observe_registered(e, observer, claim, &order);
    if (e->started.present || e->finished.present)
        observe_run(e, observer, claim, &order);
    if (e->approved.present)
        PJ_KEEP(observer, approved, claim, NULL, &order,
                {.by = e->actor_user_id, .hash = e->layout_db_hash, .at = e->emitted_at});
    if (e->soft_deleted.present || e->restored.present)
        PJ_KEEP(observer, deleted, claim, NULL, &order,
                {.set = PJ_BOOL(e->soft_deleted.present), .at = e->emitted_at});
    if (e->archived.present || e->restored.present)
        PJ_KEEP(observer, archived, claim, NULL, &order,
                {.set = PJ_BOOL(e->archived.present), .at = e->emitted_at});
    if (e->purged.present)
        PJ_KEEP(observer, purged, claim, NULL, &order, {.at = e->emitted_at});
    return 0;
}

/* --- the others ------------------------------------------------------------------------------ */

int catalog_observe_flow(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct captions_flow *e = PJ_EVENT(event, captions_flow);
    if (flows_observe(event, observer, error) != 0)
        return -1;
    keep_told(observer, e->video_id, e->tenant_id, "captions.flows", e->emitted_at, e->event_id);
    return 0;
}

/* The videos' rows name the object of the registration, and the captions. */
int catalog_observe_object(const struct pj_event *event, struct pj_observer *observer,
                           struct pj_error *error)
{
    const struct captions_object *e = PJ_EVENT(event, captions_object);
    struct pj_uuid tenant, video;
    uint8_t claim[16], folder[16], object[16];
    if (captions_check_object(e, error) != 0)
        return -1;
    struct captions_place place = captions_place_of(e->key);
    captions_object_claim(e, &tenant, &video);
    keep_told(observer, video, tenant, "captions.objects", e->emitted_at, e->event_id);
    if (!tenant.present || !video.present || !pj_text_is(&e->operation.value, "stored"))
        return 0;
    struct pj_order order = captions_object_order(e);
    captions_claim(tenant, video, claim);
    captions_claim(place.tenant, place.video, folder);
    object_key(tenant, video, e->key, object);
    bool captions = pj_text_is(&place.file.value, "captions.db") && memcmp(claim, folder, 16) == 0;
    PJ_KEEP(observer, stored, object, NULL, &order,
            {
                .claim = PJ_UUID((const uint8_t *)claim),
                .key = e->key,
                .size_bytes = e->size_bytes,
                .captions = PJ_BOOL(captions),
            });
    return 0;
}

int catalog_observe_crop(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct captions_crop *e = PJ_EVENT(event, captions_crop);
    if (crops_observe(event, observer, error) != 0)
        return -1;
    keep_told(observer, e->video_id, e->tenant_id, "captions.crops", e->emitted_at, e->event_id);
    return 0;
}

/* Of the locks of a video the one acquired last; of its ends the latest. */
int catalog_observe_lock(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct captions_lock *e = PJ_EVENT(event, captions_lock);
    struct pj_timestamptz expires = PJ_OR(e->expires_at, e->new_expires_at);
    struct pj_order order = PJ_ORDER(e->lock_id, e->acquired_at.integer);
    struct pj_order expiry = {.rank = {e->acquired_at.integer, captions_half(e->lock_id.uuid),
                                       captions_half(e->lock_id.uuid + 8), expires.integer}};
    uint8_t claim[16];
    if (captions_check_lock(e, error) != 0)
        return -1;
    captions_claim(e->tenant_id, e->video_id, claim);
    keep_told(observer, e->video_id, e->tenant_id, "captions.locks", e->emitted_at, e->event_id);
    PJ_KEEP(observer, lock, claim, NULL, &order,
            {.lock_id = e->lock_id, .user_id = e->user_id, .acquired_at = e->acquired_at});
    if (expires.present)
        PJ_KEEP(observer, lock_expiry, claim, NULL, &expiry,
                {.lock_id = e->lock_id, .at = expires});
    if (e->released.present)
        PJ_KEEP(observer, lock_release, claim, NULL, &order,
                {.lock_id = e->lock_id, .at = e->acquired_at});
    return 0;
}
