/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the captions projections share: the fields of the eight topics' records, and which records
 * are dead letters. Every projection that reads a topic reads all of these fields and makes these
 * checks, so that a record is a dead letter of all of them or of none.
 */
#ifndef PJ_PROJECTIONS_CAPTIONS_CAPTIONS_H
#define PJ_PROJECTIONS_CAPTIONS_CAPTIONS_H

#include "projectionist/json.h"
#include "projectionist/typed.h"

extern const char *const captions_roles[];
extern const char *const captions_outcomes[];
extern const char *const captions_operations[];

#define CAPTIONS_TENANT(FIELD)                                                                     \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(tenant_id, "tenant_id", PJ_UUID, .required = true)                                       \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(created, "body.TenantCreated", PJ_BOOL)                                                  \
    FIELD(name, "body.TenantCreated.name", PJ_TEXT, .required = true)                              \
    FIELD(slug, "body.TenantCreated.slug", PJ_TEXT, .required = true, .most_chars = 500)           \
    FIELD(quota, "body.TenantCreated.storage_quota_gb", PJ_INT, .required = true, .least = "0")    \
    FIELD(changed, "body.TenantChanged", PJ_BOOL)                                                  \
    FIELD(new_name, "body.TenantChanged.name", PJ_TEXT)                                            \
    FIELD(new_slug, "body.TenantChanged.slug", PJ_TEXT, .most_chars = 500)                         \
    FIELD(new_quota, "body.TenantChanged.storage_quota_gb", PJ_INT, .least = "0")                  \
    FIELD(removed, "body.TenantRemoved", PJ_BOOL)                                                  \
    FIELD(reason, "body.TenantRemoved.reason", PJ_TEXT)
PJ_FIELDS(captions_tenant, CAPTIONS_TENANT);

#define CAPTIONS_USER(FIELD)                                                                       \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(user_id, "user_id", PJ_UUID, .required = true)                                           \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(registered, "body.UserRegistered", PJ_BOOL)                                              \
    FIELD(tenant_id, "body.UserRegistered.tenant_id", PJ_UUID)                                     \
    FIELD(full_name, "body.UserRegistered.full_name", PJ_TEXT)                                     \
    FIELD(avatar_url, "body.UserRegistered.avatar_url", PJ_TEXT)                                   \
    FIELD(role, "body.UserRegistered.role", PJ_TEXT, .required = true, .words = captions_roles)    \
    FIELD(changed, "body.UserProfileChanged", PJ_BOOL)                                             \
    FIELD(new_full_name, "body.UserProfileChanged.full_name", PJ_TEXT)                             \
    FIELD(new_avatar_url, "body.UserProfileChanged.avatar_url", PJ_TEXT)                           \
    FIELD(assigned, "body.UserAssigned", PJ_BOOL)                                                  \
    FIELD(new_tenant_id, "body.UserAssigned.tenant_id", PJ_UUID, .required = true)                 \
    FIELD(new_role, "body.UserAssigned.role", PJ_TEXT, .required = true, .words = captions_roles)  \
    FIELD(assigned_by, "body.UserAssigned.assigned_by", PJ_UUID)                                   \
    FIELD(removed, "body.UserRemoved", PJ_BOOL)                                                    \
    FIELD(reason, "body.UserRemoved.reason", PJ_TEXT)
PJ_FIELDS(captions_user, CAPTIONS_USER);

#define CAPTIONS_VIDEO(FIELD)                                                                      \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(tenant_id, "tenant_id", PJ_UUID, .required = true)                                       \
    FIELD(video_id, "video_id", PJ_UUID, .required = true)                                         \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(actor_user_id, "actor_user_id", PJ_UUID)                                                 \
    FIELD(registered, "body.VideoRegistered", PJ_BOOL)                                             \
    FIELD(filename, "body.VideoRegistered.filename", PJ_TEXT, .required = true)                    \
    FIELD(storage_key, "body.VideoRegistered.storage_key", PJ_TEXT, .required = true)              \
    FIELD(size_bytes, "body.VideoRegistered.size_bytes", PJ_BIGINT, .least = "0")                  \
    FIELD(duration, "body.VideoRegistered.duration_seconds", PJ_DOUBLE)                            \
    FIELD(annotations_db_key, "body.VideoRegistered.annotations_db_key", PJ_TEXT)                  \
    FIELD(uploaded_at, "body.VideoRegistered.uploaded_at", PJ_TIMESTAMPTZ)                         \
    FIELD(started, "body.ProcessingStarted", PJ_BOOL)                                              \
    FIELD(started_run, "body.ProcessingStarted.flow_run_id", PJ_UUID, .required = true)            \
    FIELD(started_count, "body.ProcessingStarted.run_count", PJ_INT, .required = true,             \
          .least = "0")                                                                            \
    FIELD(finished, "body.ProcessingFinished", PJ_BOOL)                                            \
    FIELD(finished_run, "body.ProcessingFinished.flow_run_id", PJ_UUID, .required = true)          \
    FIELD(finished_count, "body.ProcessingFinished.run_count", PJ_INT, .required = true,           \
          .least = "0")                                                                            \
    FIELD(outcome, "body.ProcessingFinished.outcome", PJ_TEXT, .required = true,                   \
          .words = captions_outcomes)                                                              \
    FIELD(frame_count, "body.ProcessingFinished.frame_count", PJ_INT, .least = "0")                \
    FIELD(ocr_box_count, "body.ProcessingFinished.ocr_box_count", PJ_BIGINT, .least = "0")         \
    FIELD(indexed_frames, "body.ProcessingFinished.indexed_frames", PJ_INT, .least = "0")          \
    FIELD(failed_batches, "body.ProcessingFinished.failed_batches", PJ_INT, .required = true,      \
          .least = "0")                                                                            \
    FIELD(measured_duration, "body.ProcessingFinished.duration_seconds", PJ_DOUBLE)                \
    FIELD(error, "body.ProcessingFinished.error", PJ_TEXT)                                         \
    FIELD(approved, "body.LayoutApproved", PJ_BOOL)                                                \
    FIELD(layout_db_key, "body.LayoutApproved.layout_db_key", PJ_TEXT)                             \
    FIELD(layout_db_hash, "body.LayoutApproved.layout_db_hash", PJ_TEXT)                           \
    FIELD(crop_bounds, "body.LayoutApproved.crop_bounds", PJ_JSONB)                                \
    FIELD(archived, "body.VideoArchived", PJ_BOOL)                                                 \
    FIELD(restored, "body.VideoRestored", PJ_BOOL)                                                 \
    FIELD(soft_deleted, "body.VideoSoftDeleted", PJ_BOOL)                                          \
    FIELD(purged, "body.VideoPurged", PJ_BOOL)                                                     \
    FIELD(archived_for, "body.VideoArchived.reason", PJ_TEXT)                                      \
    FIELD(restored_for, "body.VideoRestored.reason", PJ_TEXT)                                      \
    FIELD(soft_deleted_for, "body.VideoSoftDeleted.reason", PJ_TEXT)                               \
    FIELD(purged_for, "body.VideoPurged.reason", PJ_TEXT)
PJ_FIELDS(captions_video, CAPTIONS_VIDEO);

#define CAPTIONS_FLOW(FIELD)                                                                       \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(flow_run_id, "flow_run_id", PJ_UUID, .required = true)                                   \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(tenant_id, "tenant_id", PJ_UUID)                                                         \
    FIELD(video_id, "video_id", PJ_UUID)                                                           \
    FIELD(flow_name, "flow_name", PJ_TEXT)                                                         \
    FIELD(run_name, "run_name", PJ_TEXT)                                                           \
    FIELD(state_type, "state_type", PJ_TEXT, .required = true)                                     \
    FIELD(state_name, "state_name", PJ_TEXT)                                                       \
    FIELD(run_count, "run_count", PJ_INT, .required = true, .least = "0")                          \
    FIELD(message, "message", PJ_TEXT)                                                             \
    FIELD(tags, "tags", PJ_JSONB)
PJ_FIELDS(captions_flow, CAPTIONS_FLOW);

/* An object's key has at most 1,024 bytes in S3, a bucket's name 63; an index takes some 2,700. */
#define CAPTIONS_OBJECT(FIELD)                                                                     \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(tenant_id, "tenant_id", PJ_UUID)                                                         \
    FIELD(video_id, "video_id", PJ_UUID)                                                           \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(bucket, "bucket", PJ_TEXT, .required = true, .most_chars = 255)                          \
    FIELD(key, "key", PJ_TEXT, .required = true, .most_chars = 1024)                               \
    FIELD(operation, "operation", PJ_TEXT, .required = true, .words = captions_operations)         \
    FIELD(size_bytes, "size_bytes", PJ_BIGINT, .least = "0")                                       \
    FIELD(etag, "etag", PJ_TEXT)                                                                   \
    FIELD(version_id, "version_id", PJ_TEXT)                                                       \
    FIELD(sequencer, "sequencer", PJ_TEXT)
PJ_FIELDS(captions_object, CAPTIONS_OBJECT);

#define CAPTIONS_FRAME(FIELD)                                                                      \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(tenant_id, "tenant_id", PJ_UUID, .required = true)                                       \
    FIELD(video_id, "video_id", PJ_UUID, .required = true)                                         \
    FIELD(frame_index, "frame_index", PJ_INT, .required = true, .least = "0")                      \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(indexed, "body.FrameTextIndexed", PJ_BOOL)                                               \
    FIELD(index_run, "body.FrameTextIndexed.index_run", PJ_UUID, .required = true)                 \
    FIELD(run_started_at, "body.FrameTextIndexed.run_started_at", PJ_TIMESTAMPTZ,                  \
          .required = true)                                                                        \
    FIELD(ocr_text, "body.FrameTextIndexed.ocr_text", PJ_TEXT)                                     \
    FIELD(captioned, "body.FrameCaptioned", PJ_BOOL)                                               \
    FIELD(caption_text, "body.FrameCaptioned.caption_text", PJ_TEXT)
PJ_FIELDS(captions_frame, CAPTIONS_FRAME);

#define CAPTIONS_CROP(FIELD)                                                                       \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(tenant_id, "tenant_id", PJ_UUID, .required = true)                                       \
    FIELD(video_id, "video_id", PJ_UUID, .required = true)                                         \
    FIELD(version_id, "version_id", PJ_UUID, .required = true)                                     \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(started, "body.CropStarted", PJ_BOOL)                                                    \
    FIELD(version, "body.CropStarted.version", PJ_INT, .required = true, .least = "1")             \
    FIELD(storage_prefix, "body.CropStarted.storage_prefix", PJ_TEXT, .required = true)            \
    FIELD(layout_db_storage_key, "body.CropStarted.layout_db_storage_key", PJ_TEXT)                \
    FIELD(layout_db_hash, "body.CropStarted.layout_db_hash", PJ_TEXT)                              \
    FIELD(crop_bounds, "body.CropStarted.crop_bounds", PJ_JSONB)                                   \
    FIELD(frame_rate, "body.CropStarted.frame_rate", PJ_DOUBLE, .required = true)                  \
    FIELD(created_by, "body.CropStarted.created_by_user_id", PJ_UUID)                              \
    FIELD(flow_run_id, "body.CropStarted.flow_run_id", PJ_UUID)                                    \
    FIELD(encoded, "body.CropEncoded", PJ_BOOL)                                                    \
    FIELD(chunk_count, "body.CropEncoded.chunk_count", PJ_INT, .required = true, .least = "0")     \
    FIELD(total_frames, "body.CropEncoded.total_frames", PJ_INT, .required = true, .least = "0")   \
    FIELD(total_size_bytes, "body.CropEncoded.total_size_bytes", PJ_BIGINT, .required = true,      \
          .least = "0")                                                                            \
    FIELD(activated, "body.CropActivated", PJ_BOOL)                                                \
    FIELD(failed, "body.CropFailed", PJ_BOOL)                                                      \
    FIELD(error, "body.CropFailed.error", PJ_TEXT)
PJ_FIELDS(captions_crop, CAPTIONS_CROP);

#define CAPTIONS_LOCK(FIELD)                                                                       \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(tenant_id, "tenant_id", PJ_UUID, .required = true)                                       \
    FIELD(video_id, "video_id", PJ_UUID, .required = true)                                         \
    FIELD(lock_id, "lock_id", PJ_UUID, .required = true)                                           \
    FIELD(user_id, "user_id", PJ_UUID, .required = true)                                           \
    FIELD(acquired_at, "acquired_at", PJ_TIMESTAMPTZ, .required = true)                            \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(acquired, "body.LockAcquired", PJ_BOOL)                                                  \
    FIELD(expires_at, "body.LockAcquired.expires_at", PJ_TIMESTAMPTZ, .required = true)            \
    FIELD(renewed, "body.LockRenewed", PJ_BOOL)                                                    \
    FIELD(new_expires_at, "body.LockRenewed.expires_at", PJ_TIMESTAMPTZ, .required = true)         \
    FIELD(released, "body.LockReleased", PJ_BOOL)                                                  \
    FIELD(reason, "body.LockReleased.reason", PJ_TEXT)
PJ_FIELDS(captions_lock, CAPTIONS_LOCK);

/* What no rule of a field says; each fails as a dead letter. Called first by each observe. */
int captions_check_tenant(const struct captions_tenant *e, struct pj_error *error) PJ_MUST_CHECK;
int captions_check_user(const struct captions_user *e, struct pj_error *error) PJ_MUST_CHECK;
int captions_check_video(const struct captions_video *e, struct pj_error *error) PJ_MUST_CHECK;
int captions_check_flow(const struct captions_flow *e, struct pj_error *error) PJ_MUST_CHECK;
int captions_check_object(const struct captions_object *e, struct pj_error *error) PJ_MUST_CHECK;
int captions_check_frame(const struct captions_frame *e, struct pj_error *error) PJ_MUST_CHECK;
int captions_check_crop(const struct captions_crop *e, struct pj_error *error) PJ_MUST_CHECK;
int captions_check_lock(const struct captions_lock *e, struct pj_error *error) PJ_MUST_CHECK;

/* Their topics as sources. A file that uses them includes schemas.h. */
#define CAPTIONS_SOURCE(name, list, observe_function)                                              \
    PJ_SOURCE("captions." #name, pj_schema_captions_##name, list, observe_function)

/* --- orders ---------------------------------------------------------------------------------- */

/* By time, the earlier first; then by event id. */
#define CAPTIONS_ORDER(e) PJ_ORDER((e)->event_id, (e)->emitted_at.integer)

/* A half of an id, as a rank: halves compare as signed numbers like the bytes. */
int64_t captions_half(const uint8_t bytes[8]);

/* Of the events of an object: by sequencer, where they have one; after captions_check_object. */
struct pj_order captions_object_order(const struct captions_object *e);

/* --- whose it is ----------------------------------------------------------------------------- */

/* The key of what a tenant says of a video; one of them may be null. */
void captions_claim(struct pj_uuid tenant, struct pj_uuid video, uint8_t key[16]);

/* An object's place: whose folder it is in, which may be none (null), and its name there. */
struct captions_place {
    struct pj_uuid tenant, video;
    struct pj_text file;
};
struct captions_place captions_place_of(struct pj_text key);

/* Which tenant and video the event is about: by its ids, else by the object's key. */
void captions_object_claim(const struct captions_object *e, struct pj_uuid *tenant,
                           struct pj_uuid *video);

/* A number for a REAL column, as its sql_type wants it. */
struct pj_text captions_real(struct pj_derivation *derivation, struct pj_double number);

#endif
