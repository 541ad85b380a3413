/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-record/track.h"

#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* --- going on -------------------------------------------------------------------------------- */

static bool is_text(struct pj_bytes bytes, const char *text)
{
    return bytes.length == strlen(text) && memcmp(bytes.data, text, bytes.length) == 0;
}

static int check_head(const struct pj_track *track, const struct pj_recorded_head *head,
                      struct pj_error *error)
{
    const struct pj_track_topic *topic = track->topic;
    if (!is_text(head->topic, topic->name) || head->partition != track->partition)
        return pj_error_set(error, PJ_FATAL,
                            "the folder %s has a recording of %.*s [%d] under the name of %s [%d]; "
                            "rename it or choose another --output",
                            track->folder, (int)head->topic.length, (const char *)head->topic.data,
                            (int)head->partition, topic->name, (int)track->partition);
    if (!is_text(head->changes, topic->changes))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the folder %s has a recording of %s with other --drop and --hash "
                              "(%.*s); give the same, or choose another --output",
                              track->folder, topic->name, (int)head->changes.length,
                              (const char *)head->changes.data);
    bool other_cluster = !is_text(head->cluster_id, topic->cluster_id);
    if (other_cluster ||
        (head->topic_id.data != NULL && topic->id != NULL && !is_text(head->topic_id, topic->id)))
        return pj_error_fatal(error, PJ_EXIT_TOPIC_RECREATED,
                              "the folder %s has a recording of %s of another %s: %s; choose "
                              "another --output for the new one",
                              track->folder, topic->name, other_cluster ? "cluster" : "topic",
                              other_cluster ? "the brokers have another cluster's id"
                                            : "the topic was recreated since");
    return 0;
}

static bool has_schema(const struct pj_track *track, int32_t id, bool is_of_keys)
{
    for (size_t i = 0; i < track->schema_count; i++) {
        if (track->schemas[i].id == id && track->schemas[i].is_of_keys == is_of_keys)
            return true;
    }
    return false;
}

static void note_schema(struct pj_track *track, int32_t id, bool is_of_keys)
{
    if (has_schema(track, id, is_of_keys))
        return;
    track->schemas = pj_resize(track->schemas, track->schema_count + 1, sizeof *track->schemas);
    track->schemas[track->schema_count++] = (struct pj_track_schema){id, is_of_keys};
}

static int see_item(void *context, const struct pj_recorded *item, struct pj_error *error)
{
    struct pj_track *track = context;
    if (item->kind == PJ_RECORDED_SCHEMA)
        note_schema(track, item->id, pj_recorded_is_of_keys(item->subject));
    return item->kind == PJ_RECORDED_HEAD ? check_head(track, &item->head, error) : 0;
}

/* Where a finished file ends. */
static int read_end(struct pj_track *track, const char *path, struct pj_error *error)
{
    struct pj_recording *recording;
    struct pj_recorded item = {0};
    if (pj_recording_open(&recording, path, error) != 0)
        return -1;
    int status = pj_recording_next(recording, &item, error);
    if (status == 1 && item.kind != PJ_RECORDED_HEAD)
        status = pj_error_set(error, PJ_FATAL,
                              "%s has no head: it is not a recording that can be gone on with; "
                              "move it away or choose another --output",
                              path);
    else if (status == 1)
        status = check_head(track, &item.head, error) == 0 ? 1 : -1;
    if (status == 1)
        status = pj_recording_last(recording, &item, error);
    if (status >= 0 && (status == 0 || item.kind != PJ_RECORDED_TAIL))
        status = pj_error_set(error, PJ_FATAL, "%s has no tail; move it away", path);
    else if (status == 1)
        track->next = item.tail.next;
    pj_recording_close(recording);
    return status == 1 ? 0 : -1;
}

static int resume_partial(struct pj_track *track, struct pj_error *error)
{
    char *final =
        pj_recorded_file_path(track->folder, track->topic->name, track->partition, track->file);
    int status = pj_recording_resume(&track->writer, final, see_item, track, error);
    if (status == 0 && track->writer == NULL)
        status = read_end(track, final, error); /* its tail was there */
    else if (status == 0)
        track->next = pj_recording_state(track->writer)->next;
    else if (status == 1)
        track->file--; /* nothing was in it */
    free(final);
    return status < 0 ? -1 : 0;
}

int pj_track_resume(struct pj_track *track, const struct pj_recorded_files *files,
                    struct pj_error *error)
{
    int status = 0;
    bool was_partial = false;
    for (size_t i = 0; i < files->count && status == 0; i++) {
        const struct pj_recorded_file *file = &files->items[i];
        if (strcmp(file->topic, track->topic->name) != 0 || file->partition != track->partition)
            continue;
        if (file->file != track->file + 1 || was_partial)
            return pj_error_set(error, PJ_FATAL,
                                "the folder %s has %s, but not the file before it; bring that "
                                "back or choose another --output",
                                track->folder, file->path);
        track->file = file->file;
        was_partial = file->partial;
        if (file->partial)
            status = resume_partial(track, error);
        else if (i + 1 == files->count || files->items[i + 1].partition != file->partition ||
                 strcmp(files->items[i + 1].topic, file->topic) != 0 || files->items[i + 1].partial)
            status = read_end(track, file->path, error);
    }
    return status;
}

/* --- writing --------------------------------------------------------------------------------- */

static int open_file(struct pj_track *track, struct pj_error *error)
{
    const struct pj_track_topic *topic = track->topic;
    if (track->writer != NULL)
        return 0;
    const struct pj_recorded_head head = {
        .cluster_id = {topic->cluster_id, strlen(topic->cluster_id)},
        .topic = {topic->name, strlen(topic->name)},
        .topic_id = {topic->id, topic->id != NULL ? strlen(topic->id) : 0},
        .partition = track->partition,
        .partitions = topic->partitions,
        .file = track->file + 1,
        .begin = track->gap.begin < track->gap.end ? track->gap.begin : track->next,
        .configuration = {topic->configuration, strlen(topic->configuration)},
        .changes = {topic->changes, strlen(topic->changes)}};
    char *final = pj_recorded_file_path(track->folder, topic->name, track->partition, head.file);
    int status = pj_recording_create(&track->writer, final, &head, error);
    if (status == 0) {
        track->file++;
        track->schema_count = 0;
    }
    free(final);
    return status;
}

static int write_gap(struct pj_track *track, struct pj_error *error)
{
    if (track->gap.begin == track->gap.end)
        return 0;
    if (open_file(track, error) != 0 ||
        pj_recording_put_gap(track->writer, &track->gap, error) != 0)
        return -1;
    track->gap.begin = track->gap.end;
    return 0;
}

enum pj_gap_cause pj_track_cause(const struct pj_track *track)
{
    return track->topic->compacted ? PJ_GAP_COMPACTED : PJ_GAP_ABORTED;
}

int pj_track_skip(struct pj_track *track, int64_t to, enum pj_gap_cause cause,
                  struct pj_error *error)
{
    if (to <= track->next)
        return 0;
    /* Gaps that touch are one. */
    if (track->gap.begin != track->gap.end && track->gap.cause != cause &&
        write_gap(track, error) != 0)
        return -1;
    if (track->gap.begin == track->gap.end)
        track->gap = (struct pj_recorded_gap){track->next, track->next, cause};
    track->gap.end = to;
    track->gaps[cause] += to - track->next;
    track->next = to;
    return 0;
}

static int close_file(struct pj_track *track, struct pj_error *error)
{
    int status = pj_recording_finish(track->writer, error);
    pj_recording_writer_close(track->writer);
    track->writer = NULL;
    track->files += status == 0;
    return status;
}

/* Before the first record that uses it. */
static int put_schema(struct pj_track *track, const struct pj_schema_used *schema, bool is_of_keys,
                      struct pj_error *error)
{
    if (schema == NULL || has_schema(track, schema->id, is_of_keys))
        return 0;
    char *subject = pj_text_new("%s%s", track->topic->name,
                                is_of_keys ? PJ_SUBJECT_OF_KEYS : PJ_SUBJECT_OF_VALUES);
    int status = pj_recording_put_schema(track->writer, schema->id, subject, schema->text, error);
    free(subject);
    if (status == 0)
        note_schema(track, schema->id, is_of_keys);
    return status;
}

int pj_track_add(struct pj_track *track, const struct pj_recorded *record,
                 const struct pj_schema_used *of_key, const struct pj_schema_used *of_value,
                 struct pj_error *error)
{
    if (pj_track_skip(track, record->offset, pj_track_cause(track), error) != 0 ||
        write_gap(track, error) != 0)
        return -1;
    if (track->writer != NULL && pj_recording_state(track->writer)->content >= track->file_bytes &&
        close_file(track, error) != 0)
        return -1;
    if (open_file(track, error) != 0 || put_schema(track, of_key, true, error) != 0 ||
        put_schema(track, of_value, false, error) != 0 ||
        pj_recording_put_message(track->writer, record, error) != 0)
        return -1;
    track->next = record->offset + 1;
    track->records++;
    return 0;
}

int pj_track_finish(struct pj_track *track, struct pj_error *error)
{
    if (write_gap(track, error) != 0)
        return -1;
    if (track->writer == NULL && track->file == 0 && open_file(track, error) != 0)
        return -1;
    return track->writer != NULL ? close_file(track, error) : 0;
}

void pj_track_free(struct pj_track *track)
{
    pj_recording_writer_close(track->writer);
    free(track->schemas);
    *track = (struct pj_track){0};
}
