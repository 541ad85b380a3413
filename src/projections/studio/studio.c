/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/studio/studio.h"

#include "fold/numeric.h"

const char *const studio_job_statuses[] = {
    "queued",    "pending", "running", "processing", "success", "completed",
    "succeeded", "done",    "error",   "failed",     "timeout", NULL,
};

static int check_body(bool known, const char *names, struct pj_error *error)
{
    return known ? 0 : pj_error_set(error, PJ_POISON, "body is none of %s", names);
}

int studio_check_project(const struct studio_project_event *event, struct pj_error *error)
{
    return check_body(event->saved.present || event->status_changed.present ||
                          event->thumbnail_set.present || event->deleted.present,
                      "ProjectSaved, ProjectStatusChanged, ProjectThumbnailSet and ProjectDeleted",
                      error);
}

int studio_check_clip(const struct studio_clip_event *event, struct pj_error *error)
{
    const struct pj_numeric start = event->start_trim;
    const struct pj_numeric end = event->end_trim;
    if (start.present && end.present && pj_numeric_compare(&end.value, &start.value) <= 0)
        return pj_error_set(
            error, PJ_POISON, "end_trim %.*s is not after start_trim %.*s: nothing is left",
            (int)end.text.length, end.text.data, (int)start.text.length, start.text.data);
    return check_body(event->saved.present || event->trimmed.present || event->reordered.present ||
                          event->deleted.present,
                      "ClipSaved, ClipTrimmed, ClipsReordered and ClipDeleted", error);
}

int studio_check_media(const struct studio_media_event *event, struct pj_error *error)
{
    return check_body(event->export_saved.present || event->export_deleted.present ||
                          event->audio_saved.present || event->audio_deleted.present,
                      "ExportSaved, ExportDeleted, AudioFileSaved and AudioFileDeleted", error);
}

int studio_check_voice(const struct studio_voice_event *event, struct pj_error *error)
{
    return check_body(event->saved.present || event->deleted.present, "VoiceSaved and VoiceDeleted",
                      error);
}

int studio_check_job(const struct studio_job_event *event, struct pj_error *error)
{
    return check_body(event->registered.present || event->progressed.present ||
                          event->status_changed.present,
                      "JobRegistered, JobProgressed and JobStatusChanged", error);
}

int studio_check_object(const struct studio_object_event *event, struct pj_error *error)
{
    return check_body(event->stored.present || event->deleted.present,
                      "ObjectStored and ObjectDeleted", error);
}

struct pj_order studio_order(struct pj_bigint revision, int64_t rank, struct pj_uuid event_id)
{
    return PJ_ORDER(event_id, revision.integer, rank);
}
