/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-record/stream_record.h"

#include "avro/redact.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/topic_name.h"
#include "kafka/admin.h"
#include "kafka/reader.h"
#include "stream-record/selection.h"
#include "stream-record/track.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WAIT_MS = 200,        /* before signals are looked at again */
    LOOK_EVERY_MS = 5000, /* at partitions that are new, and whether the topic is the same */
    FLUSH_EVERY_MS = 5000,
    COUNT_EVERY = 256,
    ASK_MS = 10000,
};

struct recorder {
    const struct pj_record_settings *settings;
    struct pj_record_result *result;
    struct pj_selection *selections;
    struct pj_track_topic *topics; /* one for each selection */
    size_t topic_count;
    struct pj_track **tracks;
    size_t track_count;
    size_t run_track; /* of the last record */
    struct pj_kafka *kafka;
    struct pj_reader *reader;
    struct pj_schemas_used *schemas;
    struct pj_redaction *redaction; /* NULL: nothing is changed */
    struct pj_recorded_files files; /* of an earlier run */
    int folder;                     /* its lock */
    struct pj_progress *progress;
    int64_t read_ms; /* when something was last read */
    int64_t looked_ms, flushed_ms;
    char trouble[320];
};

static bool should_stop(const struct recorder *recorder)
{
    return *recorder->settings->stop != 0;
}

/* --- the folder ------------------------------------------------------------------------------ */

static int open_folder(struct recorder *recorder, struct pj_error *error)
{
    const char *folder = recorder->settings->folder;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "cannot create the folder '%s': %s", folder,
                              strerror(errno));
    recorder->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (recorder->folder < 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "cannot open the folder '%s': %s", folder,
                              strerror(errno));
    if (flock(recorder->folder, LOCK_EX | LOCK_NB) != 0)
        return pj_error_fatal(error, PJ_EXIT_FENCED,
                              "another stream-record writes to the folder '%s'; stop it, or "
                              "choose another --output",
                              folder);
    return pj_recorded_files_list(&recorder->files, folder, error);
}

/* Each partition has a file open. */
static void allow_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* --- what is to be recorded ------------------------------------------------------------------ */

static int parse_selections(struct recorder *recorder, struct pj_error *error)
{
    const struct pj_record_settings *settings = recorder->settings;
    struct pj_bound from, to;
    if (pj_bound_parse("--from", settings->from, true, &from, error) != 0 ||
        pj_bound_parse("--to", settings->to, false, &to, error) != 0)
        return -1;
    recorder->selections = pj_calloc(settings->topic_count, sizeof *recorder->selections);
    recorder->topics = pj_calloc(settings->topic_count, sizeof *recorder->topics);
    for (size_t i = 0; i < settings->topic_count; i++) {
        struct pj_selection *selection = &recorder->selections[i];
        *selection = (struct pj_selection){.from = from, .to = to};
        if (pj_selection_parse(settings->topics[i], selection, error) != 0)
            return -1;
        recorder->topic_count++;
        for (size_t j = 0; j < i; j++) {
            if (strcmp(recorder->selections[j].topic, selection->topic) == 0)
                return pj_error_fatal(error, PJ_EXIT_USAGE, "the topic %s is given twice",
                                      selection->topic);
        }
        if (settings->follow && selection->to.kind != PJ_BOUND_NONE)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "--follow has no end, but %s is to be recorded up to one",
                                  selection->topic);
    }
    return 0;
}

static bool is_compacted(const char *configuration)
{
    json_t *settings = json_loads(configuration, 0, NULL);
    const char *policy = json_string_value(json_object_get(settings, "cleanup.policy"));
    bool compacted = policy != NULL && strstr(policy, "compact") != NULL;
    json_decref(settings);
    return compacted;
}

static int open_kafka(struct recorder *recorder, struct pj_error *error)
{
    int64_t timeout_ms = recorder->settings->timeout_ms;
    return pj_kafka_open(&recorder->kafka, recorder->settings->kafka,
                         timeout_ms < ASK_MS ? timeout_ms : ASK_MS, error);
}

static int describe_topic(struct recorder *recorder, size_t index, struct pj_error *error)
{
    struct pj_track_topic *topic = &recorder->topics[index];
    const struct pj_selection *selection = &recorder->selections[index];
    char name[PJ_TOPIC_NAME_SIZE];
    const char *cluster_id;
    topic->name = pj_strdup(selection->topic);
    topic->kafka_name =
        pj_strdup(pj_topic_name(name, recorder->settings->topic_prefix, selection->topic));
    struct pj_kafka_topic found = {.name = topic->kafka_name};
    if (pj_kafka_cluster_id(recorder->kafka, &cluster_id, error) != 0 ||
        pj_kafka_count_partitions(recorder->kafka, &found, 1, error) != 0)
        return -1;
    if (found.partitions == 0)
        return pj_error_set(error, PJ_FATAL,
                            "Kafka has no topic %s; 'projectionist topics list' shows those that "
                            "are expected",
                            topic->kafka_name);
    for (size_t i = 0; i < selection->partition_count; i++) {
        if (selection->partitions[i].last >= found.partitions)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "%s has no partition %d: its %d partitions are 0 to %d",
                                  topic->kafka_name, (int)selection->partitions[i].last,
                                  found.partitions, found.partitions - 1);
    }
    topic->cluster_id = pj_strdup(cluster_id);
    topic->changes = pj_redaction_text(recorder->redaction);
    topic->partitions = found.partitions;
    if (pj_kafka_settings(recorder->kafka, topic->kafka_name, &topic->configuration, error) != 0)
        return -1;
    topic->compacted = is_compacted(topic->configuration);
    return 0;
}

/* --- tracks ---------------------------------------------------------------------------------- */

static struct pj_track *add_track(struct recorder *recorder, size_t topic, int32_t partition)
{
    struct pj_track *track = pj_alloc(sizeof *track);
    *track = (struct pj_track){.topic = &recorder->topics[topic],
                               .folder = recorder->settings->folder,
                               .file_bytes = recorder->settings->file_bytes,
                               .partition = partition,
                               .end = INT64_MAX};
    recorder->tracks =
        pj_resize(recorder->tracks, recorder->track_count + 1, sizeof(struct pj_track *));
    return recorder->tracks[recorder->track_count++] = track;
}

static void forget_tracks(struct recorder *recorder, size_t first)
{
    while (recorder->track_count > first) {
        pj_track_free(recorder->tracks[--recorder->track_count]);
        free(recorder->tracks[recorder->track_count]);
    }
}

static struct pj_track *find_track(struct recorder *recorder, const char *topic, int32_t partition)
{
    /* Records come in runs of one partition. */
    for (size_t i = 0; topic != NULL && i < recorder->track_count; i++) {
        size_t at = (recorder->run_track + i) % recorder->track_count;
        struct pj_track *track = recorder->tracks[at];
        if (track->partition == partition && strcmp(track->topic->kafka_name, topic) == 0) {
            recorder->run_track = at;
            return track;
        }
    }
    return NULL;
}

/* An offset for each extent; `otherwise` where the bound is none, and where the time comes after
 * all records, their end. */
static int resolve(struct recorder *recorder, const struct pj_bound *bound,
                   const struct pj_kafka_extent *extents, size_t count, int64_t *offsets,
                   struct pj_error *error)
{
    if (bound->kind == PJ_BOUND_TIME)
        return pj_kafka_offsets_at(recorder->kafka, extents, count, bound->at, offsets, error);
    for (size_t i = 0; i < count; i++)
        offsets[i] = bound->kind == PJ_BOUND_OFFSET ? bound->at : -1;
    return 0;
}

static int place_track(struct recorder *recorder, struct pj_track *track,
                       const struct pj_kafka_extent *extent, int64_t from, int64_t to,
                       struct pj_error *error)
{
    bool follow = recorder->settings->follow;
    track->next = from >= 0 ? from : 0;
    if (pj_track_resume(track, &recorder->files, error) != 0)
        return -1;
    if (track->file > 0 && track->next > extent->high)
        return pj_error_fatal(error, PJ_EXIT_TOPIC_RECREATED,
                              "%s [%d] was recorded up to the offset %lld, but ends at %lld: the "
                              "topic was recreated; choose another --output for the new one",
                              track->topic->kafka_name, (int)track->partition,
                              (long long)track->next, (long long)extent->high);
    if (!follow)
        track->end = to >= 0 && to < extent->end ? to : extent->end;
    /* What retention took before it was recorded. */
    int64_t lost = extent->begin < track->end ? extent->begin : track->end;
    if (track->file > 0 && lost > track->next)
        pj_log(PJ_WARN, "records were deleted before they were recorded",
               pj_f_str("topic", track->topic->kafka_name), pj_f_int("partition", track->partition),
               pj_f_int("from", track->next), pj_f_int("to", lost));
    track->begun = track->next;
    if (pj_track_skip(track, lost, PJ_GAP_REMOVED, error) != 0)
        return -1;
    track->done = track->next >= track->end;
    return 0;
}

/* Asks where they begin and end, and what is recorded of them. */
static int place_tracks(struct recorder *recorder, size_t topic, size_t first,
                        struct pj_error *error)
{
    const struct pj_selection *selection = &recorder->selections[topic];
    size_t count = recorder->track_count - first;
    struct pj_kafka_extent *extents = pj_calloc(count, sizeof *extents);
    int64_t *from = pj_calloc(count, sizeof *from), *to = pj_calloc(count, sizeof *to);
    struct pj_track_topic *of = &recorder->topics[topic];
    for (size_t i = 0; i < count; i++) {
        extents[i].topic = of->kafka_name;
        extents[i].partition = recorder->tracks[first + i]->partition;
    }
    int status = count > 0 ? pj_kafka_extents(recorder->kafka, extents, count, error) : 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        if (extents[i].begin < 0 || extents[i].end < 0 || extents[i].high < 0)
            status = pj_error_set(error, PJ_RETRY,
                                  "Kafka does not say where %s [%d] begins and ends: it has no "
                                  "leader",
                                  of->kafka_name, (int)extents[i].partition);
    }
    if (status == 0)
        status = resolve(recorder, &selection->from, extents, count, from, error);
    if (status == 0)
        status = resolve(recorder, &selection->to, extents, count, to, error);
    if (status == 0 && count > 0 && of->id == NULL && *extents[0].topic_id != '\0')
        of->id = pj_strdup(extents[0].topic_id);
    for (size_t i = 0; i < count && status == 0; i++)
        status =
            place_track(recorder, recorder->tracks[first + i], &extents[i], from[i], to[i], error);
    free(extents);
    free(from);
    free(to);
    return status;
}

static int make_tracks(struct recorder *recorder, struct pj_error *error)
{
    for (size_t i = 0; i < recorder->topic_count; i++) {
        size_t first = recorder->track_count;
        if (describe_topic(recorder, i, error) != 0)
            return -1;
        for (int32_t partition = 0; partition < recorder->topics[i].partitions; partition++) {
            if (pj_selection_has(&recorder->selections[i], partition))
                (void)add_track(recorder, i, partition);
        }
        if (place_tracks(recorder, i, first, error) != 0)
            return -1;
    }
    return 0;
}

static int assign(struct recorder *recorder, struct pj_error *error)
{
    struct pj_reader_place *places = pj_calloc(recorder->track_count, sizeof *places);
    size_t count = 0;
    for (size_t i = 0; i < recorder->track_count; i++) {
        const struct pj_track *track = recorder->tracks[i];
        if (!track->done)
            places[count++] =
                (struct pj_reader_place){track->topic->kafka_name, track->partition, track->next};
    }
    int status = pj_reader_assign(recorder->reader, places, count, error);
    free(places);
    return status;
}

static bool is_all_done(const struct recorder *recorder)
{
    for (size_t i = 0; i < recorder->track_count; i++) {
        if (!recorder->tracks[i]->done)
            return false;
    }
    return true;
}

/* --- recording ------------------------------------------------------------------------------- */

static void end_track(struct recorder *recorder, struct pj_track *track)
{
    track->done = true;
    pj_reader_leave(recorder->reader, track->topic->kafka_name, track->partition);
}

/* Keys are text in most topics, and numbers of eight bytes in some, which begin as an id does. So a
 * key has a schema only where the registry has a subject for the topic's keys. */
static int find_of_key(struct recorder *recorder, size_t topic, struct pj_bytes key,
                       const struct pj_schema_used **found, struct pj_error *error)
{
    struct pj_track_topic *of = &recorder->topics[topic];
    int32_t id;
    bool is_unknown = true;
    int status = 0;
    *found = NULL;
    if (!pj_wire_schema_id(key, &id))
        return 0;
    if (!of->was_asked) {
        char *subject = pj_text_new("%s" PJ_SUBJECT_OF_KEYS, of->name);
        status =
            pj_schemas_used_has_subject(recorder->schemas, subject, &of->has_key_schemas, error);
        of->was_asked = status == 0;
        free(subject);
    }
    if (status == 0 && of->has_key_schemas)
        status = pj_schemas_used_find(recorder->schemas, key, found, &is_unknown, error);
    recorder->result->unknown_key_schemas += status == 0 && is_unknown;
    return status;
}

static int take_record(struct recorder *recorder, struct pj_track *track, struct pj_read *read,
                       struct pj_error *error)
{
    const struct pj_schema_used *schema, *of_key;
    bool is_unknown;
    if (track->done || read->offset < track->next)
        return 0;
    if (read->offset >= track->end) {
        if (pj_track_skip(track, track->end, pj_track_cause(track), error) != 0)
            return -1;
        end_track(recorder, track);
        return 0;
    }
    read->record.topic = (struct pj_bytes){track->topic->name, strlen(track->topic->name)};
    int status =
        pj_schemas_used_find(recorder->schemas, read->record.value, &schema, &is_unknown, error);
    if (status == 0)
        status = find_of_key(recorder, (size_t)(track->topic - recorder->topics), read->record.key,
                             &of_key, error);
    if (status != 0)
        return status < 0 ? -1 : 0; /* a stop: it is not recorded */
    recorder->result->unknown_schemas += is_unknown;
    if (pj_redaction_apply(recorder->redaction, &read->record, schema != NULL ? schema->id : 0,
                           schema != NULL ? schema->text : NULL, of_key != NULL, error) != 0 ||
        pj_track_add(track, &read->record, read->record.key.data != NULL ? of_key : NULL, schema,
                     error) != 0)
        return -1;
    if (track->next >= track->end)
        end_track(recorder, track);
    return 0;
}

/* At the end of what is committed, which may be after aborted records that are never shown. */
static int take_end(struct recorder *recorder, struct pj_track *track, int64_t offset,
                    struct pj_error *error)
{
    int64_t to = offset < track->end ? offset : track->end;
    if (track->done)
        return 0;
    if (pj_track_skip(track, to, pj_track_cause(track), error) != 0)
        return -1;
    if (track->next >= track->end)
        end_track(recorder, track);
    return 0;
}

static int recreated(const struct pj_track *track, struct pj_error *error)
{
    return pj_error_fatal(error, PJ_EXIT_TOPIC_RECREATED,
                          "%s was recreated while it was recorded; what was recorded of the "
                          "former one is whole: choose another --output for the new one",
                          track->topic->kafka_name);
}

/* The wanted offset is not there: records were deleted, or it is another topic. */
static int take_loss(struct recorder *recorder, struct pj_track *track, struct pj_error *error)
{
    struct pj_kafka_extent extent = {.topic = track->topic->kafka_name,
                                     .partition = track->partition};
    if (pj_kafka_extents(recorder->kafka, &extent, 1, error) != 0)
        return -1;
    if ((track->topic->id != NULL && *extent.topic_id != '\0' &&
         strcmp(track->topic->id, extent.topic_id) != 0) ||
        (extent.high >= 0 && extent.high < track->next))
        return recreated(track, error);
    if (extent.begin > track->next) {
        pj_log(PJ_WARN, "records were deleted before they were recorded",
               pj_f_str("topic", track->topic->kafka_name), pj_f_int("partition", track->partition),
               pj_f_int("from", track->next), pj_f_int("to", extent.begin));
        if (pj_track_skip(track, extent.begin < track->end ? extent.begin : track->end,
                          PJ_GAP_REMOVED, error) != 0)
            return -1;
    }
    track->done = track->next >= track->end;
    return assign(recorder, error);
}

static int take(struct recorder *recorder, struct pj_read *read, struct pj_error *error)
{
    struct pj_track *track = find_track(recorder, read->topic, read->partition);
    if (read->kind == PJ_READ_TROUBLE) {
        if (strcmp(recorder->trouble, read->trouble) != 0)
            pj_log(PJ_WARN, "Kafka does not give the records", pj_f_str("topic", read->topic),
                   pj_f_str("reason", read->trouble));
        pj_text_show(recorder->trouble, sizeof recorder->trouble, "%s", read->trouble);
        return 0;
    }
    if (track == NULL)
        return 0;
    recorder->read_ms = pj_clock_monotonic_ms();
    recorder->trouble[0] = '\0';
    if (read->kind == PJ_READ_RECORD)
        return take_record(recorder, track, read, error);
    return read->kind == PJ_READ_END ? take_end(recorder, track, read->offset, error)
                                     : take_loss(recorder, track, error);
}

static int flush(struct recorder *recorder, struct pj_error *error)
{
    for (size_t i = 0; i < recorder->track_count; i++) {
        struct pj_track *track = recorder->tracks[i];
        if (track->writer != NULL && pj_recording_flush(track->writer, error) != 0)
            return -1;
    }
    return 0;
}

/* New partitions are recorded from their beginning. */
static int look_at_topics(struct recorder *recorder, struct pj_error *error)
{
    bool has_new = false;
    for (size_t i = 0; i < recorder->topic_count; i++) {
        struct pj_track_topic *topic = &recorder->topics[i];
        struct pj_kafka_topic found = {.name = topic->kafka_name};
        struct pj_kafka_extent extent = {.topic = topic->kafka_name};
        size_t first = recorder->track_count;
        if (pj_kafka_count_partitions(recorder->kafka, &found, 1, error) != 0 ||
            pj_kafka_extents(recorder->kafka, &extent, 1, error) != 0)
            return -1;
        if (found.partitions == 0)
            return pj_error_set(error, PJ_FATAL,
                                "%s was deleted while it was recorded; what was recorded is whole",
                                topic->kafka_name);
        if (topic->id != NULL && *extent.topic_id != '\0' &&
            strcmp(topic->id, extent.topic_id) != 0)
            return recreated(&(struct pj_track){.topic = topic}, error);
        if (recorder->selections[i].partitions != NULL)
            continue;
        for (int32_t p = topic->partitions; p < found.partitions; p++)
            (void)add_track(recorder, i, p);
        if (recorder->track_count == first)
            continue;
        recorder->selections[i].from = (struct pj_bound){PJ_BOUND_NONE, 0};
        /* librdkafka answers for partitions that it knew when it first saw the topic. */
        pj_kafka_close(recorder->kafka);
        recorder->kafka = NULL;
        if (open_kafka(recorder, error) != 0 || place_tracks(recorder, i, first, error) != 0) {
            forget_tracks(recorder, first); /* they have no leader yet */
            return -1;
        }
        topic->partitions = found.partitions;
        has_new = true;
    }
    return has_new ? assign(recorder, error) : 0;
}

static int look_now_and_then(struct recorder *recorder, struct pj_error *error)
{
    if (!recorder->settings->follow)
        return 0;
    if (pj_clock_every(&recorder->flushed_ms, FLUSH_EVERY_MS) && flush(recorder, error) != 0)
        return -1;
    if (!pj_clock_every(&recorder->looked_ms, LOOK_EVERY_MS) ||
        look_at_topics(recorder, error) == 0)
        return 0;
    if (error->class != PJ_RETRY)
        return -1;
    /* Brokers that are away come back, and new partitions get leaders. */
    pj_log(PJ_INFO, "cannot read the topics' metadata now", pj_f_str("reason", error->message));
    return 0;
}

static int check_stall(const struct recorder *recorder, struct pj_error *error)
{
    const struct pj_record_settings *settings = recorder->settings;
    int64_t quiet_ms = pj_clock_monotonic_ms() - recorder->read_ms;
    if (settings->follow || quiet_ms < settings->timeout_ms)
        return 0;
    pj_error_set(error, PJ_RETRY, "Kafka at %s has given nothing for %lld s%s%s",
                 pj_properties_get(settings->kafka, "bootstrap.servers"),
                 (long long)(quiet_ms / 1000), *recorder->trouble != '\0' ? ": " : "",
                 recorder->trouble);
    error->exit_code = PJ_EXIT_UNAVAILABLE;
    return -1;
}

static void show_progress(struct recorder *recorder)
{
    int64_t done = 0, total = 0;
    for (size_t i = 0; i < recorder->track_count; i++) {
        const struct pj_track *track = recorder->tracks[i];
        done += recorder->settings->follow ? track->records : track->next - track->begun;
        total += recorder->settings->follow ? 0 : track->end - track->begun;
    }
    pj_progress_set_total(recorder->progress, total);
    pj_progress_update(recorder->progress, done);
}

static int record_all(struct recorder *recorder, struct pj_error *error)
{
    struct pj_read read;
    recorder->read_ms = pj_clock_monotonic_ms();
    recorder->flushed_ms = recorder->looked_ms = recorder->read_ms;
    for (int64_t count = 0; !should_stop(recorder) && !is_all_done(recorder); count++) {
        if (pj_reader_next(recorder->reader, WAIT_MS, &read, error) != 0)
            return -1;
        if (read.kind != PJ_READ_NOTHING && take(recorder, &read, error) != 0)
            return -1;
        bool idle = read.kind == PJ_READ_NOTHING || read.kind == PJ_READ_TROUBLE;
        if (idle && check_stall(recorder, error) != 0)
            return -1;
        if (!idle && count % COUNT_EVERY != 0)
            continue;
        show_progress(recorder);
        if (look_now_and_then(recorder, error) != 0)
            return -1;
    }
    return 0;
}

/* --- the run --------------------------------------------------------------------------------- */

static int finish(struct recorder *recorder, struct pj_error *error)
{
    for (size_t i = 0; i < recorder->track_count; i++) {
        if (pj_track_finish(recorder->tracks[i], error) != 0)
            return -1;
    }
    return 0;
}

static int run(struct recorder *recorder, struct pj_error *error)
{
    const struct pj_record_settings *settings = recorder->settings;
    const struct pj_progress_settings bar = {.out = stderr,
                                             .label = "recording",
                                             .unit = settings->follow ? "records" : "offsets",
                                             .plain_lines = true};
    if (parse_selections(recorder, error) != 0 ||
        pj_redaction_new(&recorder->redaction, settings->drop, settings->hash, settings->hash_key,
                         error) != 0)
        return -1;
    if (pj_schemas_used_open(&recorder->schemas, &settings->registry, settings->timeout_ms,
                             settings->stop, error) != 0 ||
        open_kafka(recorder, error) != 0 || open_folder(recorder, error) != 0)
        return -1;
    allow_files();
    if (make_tracks(recorder, error) != 0) {
        if (error->class == PJ_RETRY)
            error->exit_code = PJ_EXIT_UNAVAILABLE;
        return -1;
    }
    if (pj_reader_open(&recorder->reader, settings->kafka, "stream-record", error) != 0 ||
        assign(recorder, error) != 0)
        return -1;
    recorder->progress = pj_progress_new(&bar);
    int64_t start_us = pj_clock_monotonic_us();
    int status = record_all(recorder, error);
    recorder->result->seconds = (double)(pj_clock_monotonic_us() - start_us) / 1e6;
    recorder->result->interrupted = status == 0 && !settings->follow && !is_all_done(recorder);
    pj_progress_free(recorder->progress);
    /* After an error the unfinished files stay, for the next run to go on with. */
    return status == 0 ? finish(recorder, error) : status;
}

static void count(struct recorder *recorder)
{
    struct pj_record_result *result = recorder->result;
    result->partitions = (int64_t)recorder->track_count;
    for (size_t i = 0; i < recorder->track_count; i++) {
        const struct pj_track *track = recorder->tracks[i];
        result->records += track->records;
        result->files += track->files;
        for (int cause = 0; cause < PJ_GAP_CAUSES; cause++)
            result->gaps[cause] += track->gaps[cause];
    }
}

static void free_topic(struct pj_track_topic *topic)
{
    free(topic->name);
    free(topic->kafka_name);
    free(topic->id);
    free(topic->configuration);
    free(topic->cluster_id);
}

int pj_record_run(const struct pj_record_settings *settings, struct pj_record_result *result,
                  struct pj_error *error)
{
    struct recorder recorder = {.settings = settings, .result = result, .folder = -1};
    *result = (struct pj_record_result){0};
    int status = run(&recorder, error);
    count(&recorder);
    pj_reader_close(recorder.reader);
    pj_kafka_close(recorder.kafka);
    pj_schemas_used_close(recorder.schemas);
    pj_redaction_free(recorder.redaction);
    forget_tracks(&recorder, 0);
    free(recorder.tracks);
    for (size_t i = 0; i < recorder.topic_count; i++) {
        free_topic(&recorder.topics[i]);
        pj_selection_free(&recorder.selections[i]);
    }
    free(recorder.topics);
    free(recorder.selections);
    pj_recorded_files_free(&recorder.files);
    if (recorder.folder >= 0)
        close(recorder.folder);
    return status;
}
