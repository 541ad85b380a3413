/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the studio projections share: the fields of the six topics' records, their order, and what
 * makes a record a dead letter in every projection that reads its topic.
 */
#ifndef PJ_PROJECTIONS_STUDIO_STUDIO_H
#define PJ_PROJECTIONS_STUDIO_STUDIO_H

#include "projectionist/typed.h"

/* Seconds, not negative. */
#define STUDIO_SECONDS PJ_NUMERIC, .least = "0"

/* --- studio.projects ------------------------------------------------------------------------- */

#define STUDIO_SCENE(FIELD)                                                                        \
    FIELD(scene_id, "scene_id", PJ_TEXT, .required = true)                                         \
    FIELD(number, "number", PJ_INT)                                                                \
    FIELD(title, "title", PJ_TEXT)                                                                 \
    FIELD(description, "description", PJ_TEXT)                                                     \
    FIELD(prompt, "prompt", PJ_TEXT)                                                               \
    FIELD(created_at, "created_at", PJ_TIMESTAMPTZ)
PJ_FIELDS(studio_scene, STUDIO_SCENE);
static const struct pj_items studio_scenes = {PJ_FIELDS_OF(studio_scene)};

#define STUDIO_NAME(FIELD) FIELD(name, "", PJ_TEXT, .required = true)
PJ_FIELDS(studio_name, STUDIO_NAME);
static const struct pj_items studio_names = {PJ_FIELDS_OF(studio_name)};

#define STUDIO_PROJECT_EVENT(FIELD)                                                                \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(project_id, "project_id", PJ_UUID, .required = true)                                     \
    FIELD(revision, "revision", PJ_BIGINT, .required = true)                                       \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(user_id, "user_id", PJ_UUID)                                                             \
    /* The body is ProjectSaved, … */                                                            \
    FIELD(saved, "body.ProjectSaved", PJ_BOOL)                                                     \
    FIELD(fields, "body.ProjectSaved.fields", PJ_ITEMS, .items = &studio_names)                    \
    FIELD(field_names, "body.ProjectSaved.fields", PJ_JSONB)                                       \
    FIELD(base_revision, "body.ProjectSaved.base_revision", PJ_BIGINT)                             \
    FIELD(title, "body.ProjectSaved.title", PJ_TEXT)                                               \
    FIELD(description, "body.ProjectSaved.description", PJ_TEXT)                                   \
    FIELD(script, "body.ProjectSaved.script", PJ_TEXT)                                             \
    FIELD(seo_title, "body.ProjectSaved.seo_title", PJ_TEXT)                                       \
    FIELD(seo_description, "body.ProjectSaved.seo_description", PJ_TEXT)                           \
    FIELD(seo_tags, "body.ProjectSaved.seo_tags", PJ_ITEMS, .items = &studio_names)                \
    FIELD(seo_hashtags, "body.ProjectSaved.seo_hashtags", PJ_ITEMS, .items = &studio_names)        \
    FIELD(seo_chapters, "body.ProjectSaved.seo_chapters", PJ_JSONB)                                \
    FIELD(scenes, "body.ProjectSaved.scenes", PJ_ITEMS, .items = &studio_scenes)                   \
    FIELD(created_at, "body.ProjectSaved.created_at", PJ_TIMESTAMPTZ)                              \
    /* … ProjectStatusChanged, … */                                                            \
    FIELD(status_changed, "body.ProjectStatusChanged", PJ_BOOL)                                    \
    FIELD(status, "body.ProjectStatusChanged.status", PJ_TEXT, .required = true)                   \
    /* … ProjectThumbnailSet … */                                                              \
    FIELD(thumbnail_set, "body.ProjectThumbnailSet", PJ_BOOL)                                      \
    FIELD(thumbnail_url, "body.ProjectThumbnailSet.thumbnail_url", PJ_TEXT)                        \
    /* … or ProjectDeleted. */                                                                   \
    FIELD(deleted, "body.ProjectDeleted", PJ_BOOL)
PJ_FIELDS(studio_project_event, STUDIO_PROJECT_EVENT);

/* --- studio.clips ---------------------------------------------------------------------------- */

#define STUDIO_CLIP_ID(FIELD) FIELD(clip_id, "", PJ_UUID, .required = true)
PJ_FIELDS(studio_clip_id, STUDIO_CLIP_ID);
static const struct pj_items studio_clip_ids = {PJ_FIELDS_OF(studio_clip_id)};

#define STUDIO_CLIP_EVENT(FIELD)                                                                   \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(project_id, "project_id", PJ_UUID, .required = true)                                     \
    FIELD(revision, "revision", PJ_BIGINT, .required = true)                                       \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    /* The body is ClipSaved, … */                                                               \
    FIELD(saved, "body.ClipSaved", PJ_BOOL)                                                        \
    FIELD(saved_id, "body.ClipSaved.clip_id", PJ_UUID, .required = true)                           \
    FIELD(scene_id, "body.ClipSaved.scene_id", PJ_TEXT)                                            \
    FIELD(provider, "body.ClipSaved.provider", PJ_TEXT)                                            \
    FIELD(status, "body.ClipSaved.status", PJ_TEXT, .required = true)                              \
    FIELD(file_url, "body.ClipSaved.file_url", PJ_TEXT)                                            \
    FIELD(thumbnail_url, "body.ClipSaved.thumbnail_url", PJ_TEXT)                                  \
    FIELD(duration, "body.ClipSaved.duration", STUDIO_SECONDS)                                     \
    FIELD(prompt, "body.ClipSaved.prompt", PJ_TEXT)                                                \
    FIELD(created_at, "body.ClipSaved.created_at", PJ_TIMESTAMPTZ)                                 \
    /* … ClipTrimmed, … */                                                                     \
    FIELD(trimmed, "body.ClipTrimmed", PJ_BOOL)                                                    \
    FIELD(trimmed_id, "body.ClipTrimmed.clip_id", PJ_UUID, .required = true)                       \
    FIELD(start_trim, "body.ClipTrimmed.start_trim", STUDIO_SECONDS)                               \
    FIELD(end_trim, "body.ClipTrimmed.end_trim", STUDIO_SECONDS)                                   \
    /* … ClipsReordered … */                                                                   \
    FIELD(reordered, "body.ClipsReordered", PJ_BOOL)                                               \
    FIELD(clip_ids, "body.ClipsReordered.clip_ids", PJ_ITEMS, .items = &studio_clip_ids)           \
    /* … or ClipDeleted. */                                                                      \
    FIELD(deleted, "body.ClipDeleted", PJ_BOOL)                                                    \
    FIELD(deleted_id, "body.ClipDeleted.clip_id", PJ_UUID, .required = true)
PJ_FIELDS(studio_clip_event, STUDIO_CLIP_EVENT);

/* --- studio.media ---------------------------------------------------------------------------- */

#define STUDIO_MEDIA_EVENT(FIELD)                                                                  \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(project_id, "project_id", PJ_UUID, .required = true)                                     \
    FIELD(revision, "revision", PJ_BIGINT, .required = true)                                       \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    /* The body is ExportSaved, … */                                                             \
    FIELD(export_saved, "body.ExportSaved", PJ_BOOL)                                               \
    FIELD(export_id, "body.ExportSaved.export_id", PJ_UUID, .required = true)                      \
    FIELD(export_file_url, "body.ExportSaved.file_url", PJ_TEXT, .required = true)                 \
    FIELD(thumbnail_url, "body.ExportSaved.thumbnail_url", PJ_TEXT)                                \
    FIELD(resolution, "body.ExportSaved.resolution", PJ_TEXT)                                      \
    FIELD(export_duration, "body.ExportSaved.duration", STUDIO_SECONDS)                            \
    FIELD(export_created_at, "body.ExportSaved.created_at", PJ_TIMESTAMPTZ)                        \
    /* … ExportDeleted, … */                                                                   \
    FIELD(export_deleted, "body.ExportDeleted", PJ_BOOL)                                           \
    FIELD(deleted_export_id, "body.ExportDeleted.export_id", PJ_UUID, .required = true)            \
    /* … AudioFileSaved … */                                                                   \
    FIELD(audio_saved, "body.AudioFileSaved", PJ_BOOL)                                             \
    FIELD(audio_id, "body.AudioFileSaved.audio_id", PJ_UUID, .required = true)                     \
    FIELD(kind, "body.AudioFileSaved.kind", PJ_TEXT, .required = true)                             \
    FIELD(audio_file_url, "body.AudioFileSaved.file_url", PJ_TEXT, .required = true)               \
    FIELD(filename, "body.AudioFileSaved.filename", PJ_TEXT)                                       \
    FIELD(audio_duration, "body.AudioFileSaved.duration", STUDIO_SECONDS)                          \
    FIELD(metadata, "body.AudioFileSaved.metadata", PJ_JSONB)                                      \
    FIELD(audio_created_at, "body.AudioFileSaved.created_at", PJ_TIMESTAMPTZ)                      \
    /* … or AudioFileDeleted. */                                                                 \
    FIELD(audio_deleted, "body.AudioFileDeleted", PJ_BOOL)                                         \
    FIELD(deleted_audio_id, "body.AudioFileDeleted.audio_id", PJ_UUID, .required = true)
PJ_FIELDS(studio_media_event, STUDIO_MEDIA_EVENT);

/* --- studio.voices --------------------------------------------------------------------------- */

#define STUDIO_VOICE_EVENT(FIELD)                                                                  \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(user_id, "user_id", PJ_UUID)                                                             \
    FIELD(provider, "provider", PJ_TEXT, .required = true)                                         \
    FIELD(voice_id, "voice_id", PJ_TEXT, .required = true)                                         \
    FIELD(revision, "revision", PJ_BIGINT, .required = true)                                       \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    /* Either the body is VoiceSaved … */                                                        \
    FIELD(saved, "body.VoiceSaved", PJ_BOOL)                                                       \
    FIELD(voice_name, "body.VoiceSaved.voice_name", PJ_TEXT)                                       \
    FIELD(metadata, "body.VoiceSaved.metadata", PJ_JSONB)                                          \
    FIELD(created_at, "body.VoiceSaved.created_at", PJ_TIMESTAMPTZ)                                \
    /* … or VoiceDeleted. */                                                                     \
    FIELD(deleted, "body.VoiceDeleted", PJ_BOOL)
PJ_FIELDS(studio_voice_event, STUDIO_VOICE_EVENT);

/* --- studio.jobs ----------------------------------------------------------------------------- */

extern const char *const studio_job_statuses[]; /* the words of a status, those of others too */

#define STUDIO_PERCENT PJ_INT, .least = "0", .most = "100"
#define STUDIO_JOB_EVENT(FIELD)                                                                    \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(job_id, "job_id", PJ_TEXT, .required = true)                                             \
    FIELD(project_id, "project_id", PJ_UUID)                                                       \
    FIELD(revision, "revision", PJ_BIGINT, .required = true)                                       \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    /* The body is JobRegistered, … */                                                           \
    FIELD(registered, "body.JobRegistered", PJ_BOOL)                                               \
    FIELD(type, "body.JobRegistered.type", PJ_TEXT, .required = true)                              \
    FIELD(registered_message, "body.JobRegistered.message", PJ_TEXT)                               \
    /* … JobProgressed … */                                                                    \
    FIELD(progressed, "body.JobProgressed", PJ_BOOL)                                               \
    FIELD(progress, "body.JobProgressed.progress", STUDIO_PERCENT, .required = true)               \
    FIELD(progress_message, "body.JobProgressed.message", PJ_TEXT)                                 \
    /* … or JobStatusChanged. */                                                                 \
    FIELD(status_changed, "body.JobStatusChanged", PJ_BOOL)                                        \
    FIELD(status, "body.JobStatusChanged.status", PJ_TEXT, .required = true,                       \
          .words = studio_job_statuses)                                                            \
    FIELD(status_message, "body.JobStatusChanged.message", PJ_TEXT)                                \
    FIELD(status_progress, "body.JobStatusChanged.progress", STUDIO_PERCENT)                       \
    FIELD(result, "body.JobStatusChanged.result", PJ_JSONB)
PJ_FIELDS(studio_job_event, STUDIO_JOB_EVENT);

/* --- studio.objects -------------------------------------------------------------------------- */

#define STUDIO_OBJECT_EVENT(FIELD)                                                                 \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(bucket, "bucket", PJ_TEXT, .required = true)                                             \
    FIELD(object_key, "object_key", PJ_TEXT, .required = true)                                     \
    FIELD(revision, "revision", PJ_BIGINT, .required = true)                                       \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    /* Either the body is ObjectStored … */                                                      \
    FIELD(stored, "body.ObjectStored", PJ_BOOL)                                                    \
    FIELD(size_bytes, "body.ObjectStored.size_bytes", PJ_BIGINT)                                   \
    FIELD(content_type, "body.ObjectStored.content_type", PJ_TEXT)                                 \
    FIELD(etag, "body.ObjectStored.etag", PJ_TEXT)                                                 \
    FIELD(public_url, "body.ObjectStored.public_url", PJ_TEXT)                                     \
    /* … or ObjectDeleted. */                                                                    \
    FIELD(deleted, "body.ObjectDeleted", PJ_BOOL)
PJ_FIELDS(studio_object_event, STUDIO_OBJECT_EVENT);

/* --- rules ----------------------------------------------------------------------------------- */

/* Each fails, as a dead letter, where the record says what no table can have. */
int studio_check_project(const struct studio_project_event *event,
                         struct pj_error *error) PJ_MUST_CHECK;
int studio_check_clip(const struct studio_clip_event *event, struct pj_error *error) PJ_MUST_CHECK;
int studio_check_media(const struct studio_media_event *event,
                       struct pj_error *error) PJ_MUST_CHECK;
int studio_check_voice(const struct studio_voice_event *event,
                       struct pj_error *error) PJ_MUST_CHECK;
int studio_check_job(const struct studio_job_event *event, struct pj_error *error) PJ_MUST_CHECK;
int studio_check_object(const struct studio_object_event *event,
                        struct pj_error *error) PJ_MUST_CHECK;

/* By revision, then rank, then event id: the greatest is the latest, the least the earliest. */
struct pj_order studio_order(struct pj_bigint revision, int64_t rank, struct pj_uuid event_id);

#endif
