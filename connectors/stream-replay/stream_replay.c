/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-replay/stream_replay.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/topic_name.h"
#include "common/merge.h"
#include "common/pace.h"
#include "common/recorded_files.h"
#include "common/survey.h"
#include "kafka/producer.h"
#include "stream-replay/refused.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LINGER_MS = 20,
    WAIT_MOST_MS = 100, /* before signals and the bar are checked again */
    COUNT_EVERY = 256,  /* messages, for the bar */
    LAST_FLUSH_MS = 10000,
    REGISTRY_PAUSE_MS = 500,
    REFUSED_MOST = 100, /* beyond that it is not the messages */
    KEPT_MOST = 10000,  /* before the refused ones are handled */
    KEPT_BYTES_MOST = 64 << 20,
};

struct replay {
    const struct pj_replay_settings *settings;
    char **paths; /* of all files */
    size_t path_count;
    struct pj_recording **recordings;
    size_t recording_count;
    struct pj_survey survey;
    struct pj_producer_topic_info *targets; /* one for each of the survey's topics */
    struct pj_producer_topic **handles;     /* the same */
    char (*names)[PJ_TOPIC_NAME_SIZE];      /* with the prefix, likewise */
    char *topic_map;                        /* what the targets' names point into */
    struct pj_producer *producer;
    struct pj_merge *merge;
    struct pj_progress *progress;
    struct pj_refused_list refused; /* not handled yet */
    bool has_failed;
    struct pj_error failure; /* of a message, for a reason other than itself */
    int64_t refused_count;   /* permanently */
};

static bool should_stop(const struct replay *replay)
{
    return *replay->settings->stop != 0;
}

/* --- recordings and their topics ------------------------------------------------------------- */

static int read_recordings(struct replay *replay, struct pj_error *error)
{
    const struct pj_replay_settings *settings = replay->settings;
    if (pj_recorded_files_expand(&replay->paths, &replay->path_count, settings->paths,
                                 settings->path_count, error) != 0)
        return -1;
    replay->recordings = pj_calloc(replay->path_count, sizeof(struct pj_recording *));
    for (size_t i = 0; i < replay->path_count; i++) {
        if (pj_recording_open(&replay->recordings[i], replay->paths[i], error) != 0)
            return -1;
        replay->recording_count++;
    }
    return pj_survey_take(&replay->survey, replay->recordings, replay->recording_count, error);
}

static int map_topic(struct replay *replay, char *pair, struct pj_error *error)
{
    char *to = strchr(pair, '=');
    if (to == NULL || to == pair || to[1] == '\0')
        return pj_error_fatal(
            error, PJ_EXIT_USAGE,
            "--topic-map takes OLD=NEW, not '%s'; separate several with commas or repeat "
            "the flag",
            pair);
    *to++ = '\0';
    int found = pj_survey_find_topic(&replay->survey, (struct pj_bytes){pair, strlen(pair)});
    if (found < 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--topic-map names the topic %s, of which the recordings have no "
                              "messages",
                              pair);
    replay->targets[found].name = to;
    return 0;
}

static int choose_targets(struct replay *replay, struct pj_error *error)
{
    const char *map = replay->settings->topic_map;
    size_t count = replay->survey.topic_count;
    replay->targets = pj_calloc(count, sizeof *replay->targets);
    replay->handles = pj_calloc(count, sizeof(struct pj_producer_topic *));
    replay->names = pj_calloc(count, sizeof *replay->names);
    replay->topic_map = pj_strdup(map != NULL ? map : "");
    for (size_t i = 0; i < count; i++)
        replay->targets[i].name = replay->survey.topics[i].name;
    char *rest = replay->topic_map;
    for (char *pair = strsep(&rest, ","); pair != NULL; pair = strsep(&rest, ",")) {
        if (*pair != '\0' && map_topic(replay, pair, error) != 0)
            return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (strlen(replay->targets[i].name) >= PJ_TOPIC_NAME_SIZE - PJ_TOPIC_PREFIX_MOST)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "--topic-map: %.100s… is longer than a topic's name can be",
                                  replay->targets[i].name);
        replay->targets[i].name = pj_topic_name(replay->names[i], replay->settings->topic_prefix,
                                                replay->targets[i].name);
    }
    return 0;
}

/* --- the servers ----------------------------------------------------------------------------- */

static int check_topics(struct replay *replay, struct pj_error *error)
{
    size_t count = replay->survey.topic_count;
    if (pj_producer_describe(replay->producer, replay->targets, count, replay->settings->timeout_ms,
                             error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        const struct pj_producer_topic_info *target = &replay->targets[i];
        if (target->partitions == 0 && target->is_hidden)
            return pj_producer_no_topic(target, error);
        if (target->partitions == 0)
            return pj_error_set(error, PJ_FATAL,
                                "Kafka has no topic %s; 'projectionist topics create' creates the "
                                "topics, and --topic-map %s=NEW publishes to another one",
                                target->name, replay->survey.topics[i].name);
        if (replay->survey.topics[i].partition_most >= target->partitions)
            return pj_error_set(error, PJ_FATAL,
                                "the recording has messages of partition %d of %s, but Kafka's "
                                "topic %s has %d partitions; create it with more",
                                (int)replay->survey.topics[i].partition_most,
                                replay->survey.topics[i].name, target->name, target->partitions);
        if (pj_producer_topic(replay->producer, target->name, &replay->handles[i], error) != 0)
            return -1;
    }
    return 0;
}

static int register_schema(struct replay *replay, struct pj_registry *registry,
                           struct pj_survey_schema *schema, int64_t deadline_ms,
                           struct pj_error *error)
{
    const struct timespec pause = {.tv_nsec = REGISTRY_PAUSE_MS * 1000000L};
    while (pj_registry_register(registry, schema->subject, schema->schema, &schema->new_id,
                                error) != 0) {
        if (error->class != PJ_RETRY || should_stop(replay) ||
            pj_clock_monotonic_ms() >= deadline_ms) {
            if (error->class == PJ_RETRY)
                error->exit_code = PJ_EXIT_UNAVAILABLE;
            return -1;
        }
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int register_schemas(struct replay *replay, struct pj_error *error)
{
    struct pj_registry *registry;
    if (replay->survey.schema_count == 0)
        return 0; /* then no registry is needed */
    if (pj_registry_open(&registry, &replay->settings->registry, error) != 0)
        return -1;
    int64_t deadline_ms = pj_clock_monotonic_ms() + replay->settings->timeout_ms;
    int status = 0;
    for (size_t i = 0; i < replay->survey.schema_count && status == 0; i++)
        status = register_schema(replay, registry, &replay->survey.schemas[i], deadline_ms, error);
    pj_registry_close(registry);
    return status;
}

/* --- publishing ------------------------------------------------------------------------------ */

static void show_progress(struct replay *replay)
{
    pj_progress_update(replay->progress, pj_producer_counts(replay->producer).delivered);
}

static void on_delivered(void *context, const struct pj_producer_message *message,
                         const struct pj_error *failed)
{
    struct replay *replay = context;
    if (failed == NULL)
        return;
    if (failed->class == PJ_POISON) {
        struct pj_producer_message whole = *message;
        whole.timestamp_ms = (intptr_t)message->opaque;
        pj_refused_keep(&replay->refused, &whole, failed);
    } else if (!replay->has_failed) {
        replay->has_failed = true;
        replay->failure = *failed;
        replay->failure.exit_code = PJ_EXIT_FAILED; /* a server has answered */
    }
}

static int check_failure(const struct replay *replay, struct pj_error *error)
{
    if (replay->has_failed)
        *error = replay->failure;
    return replay->has_failed ? -1 : 0;
}

/* Returns 0 when the next message is due, 1 on a stop, -1. */
static int wait_for_turn(struct replay *replay, struct pj_pace *pace, struct pj_error *error)
{
    int64_t wait_us;
    if (pace->rate == 0)
        return should_stop(replay) ? 1 : 0;
    while ((wait_us = pj_pace_next(pace, pj_clock_monotonic_us())) > 0) {
        int64_t wait_ms = (wait_us + 999) / 1000;
        if (pj_producer_poll(replay->producer, wait_ms < WAIT_MOST_MS ? wait_ms : WAIT_MOST_MS,
                             error) != 0)
            return -1;
        if (should_stop(replay))
            return 1;
        show_progress(replay);
    }
    return should_stop(replay) ? 1 : 0;
}

static int send_message(struct replay *replay, const struct pj_recorded *recorded, size_t recording,
                        struct pj_error *error)
{
    int topic = pj_survey_find_topic(&replay->survey, recorded->topic);
    if (topic < 0)
        return pj_error_set(error, PJ_FATAL, "%s changed while it was being read",
                            pj_recording_path(replay->recordings[recording]));
    struct pj_producer_message message = {.topic = replay->handles[topic],
                                          .partition = recorded->partition,
                                          .key = recorded->key,
                                          .value = recorded->value,
                                          .timestamp_ms = recorded->timestamp_ms,
                                          .headers = recorded->headers,
                                          .header_count = recorded->header_count,
                                          .opaque = (void *)(intptr_t)recorded->timestamp_ms};
    pj_survey_translate(&replay->survey, recording, &message.value);
    return pj_producer_send(replay->producer, &message, error);
}

/* It may take any time, as long as something is delivered within each time-out: poll detects a
 * stall. */
static int wait_for_deliveries(struct replay *replay, struct pj_error *error)
{
    struct pj_producer_counts counts = pj_producer_counts(replay->producer);
    while (counts.sent > counts.delivered + counts.failed && !should_stop(replay)) {
        if (pj_producer_poll(replay->producer, WAIT_MOST_MS, error) != 0)
            return -1;
        show_progress(replay);
        counts = pj_producer_counts(replay->producer);
    }
    return pj_producer_flush(replay->producer, LAST_FLUSH_MS, error) == 0
               ? check_failure(replay, error)
               : -1;
}

static int log_refused(struct replay *replay, const struct pj_refused *refused,
                       struct pj_error *error)
{
    char key[128];
    int length = refused->message.key.length < sizeof key ? (int)refused->message.key.length
                                                          : (int)sizeof key - 1;
    pj_text_show(key, sizeof key, "%.*s", length,
                 length > 0 ? (const char *)refused->message.key.data : "");
    replay->refused_count++;
    pj_log(PJ_ERROR, "a message is refused permanently", pj_f_str("key", key),
           pj_f_int("timestamp_ms", refused->message.timestamp_ms),
           pj_f_str("reason", refused->reason.message));
    if (replay->refused_count < REFUSED_MOST)
        return 0;
    return pj_error_set(error, PJ_FATAL, "Kafka refuses %d messages, the last one with: %s",
                        REFUSED_MOST, refused->reason.message);
}

/* Resends the refused messages, halving the list until each bad one is alone. */
static int find_refused(struct replay *replay, struct pj_refused_list *list, struct pj_error *error)
{
    struct pj_refused_list halves[2] = {*list};
    int status = 0;
    *list = (struct pj_refused_list){0};
    if (halves[0].count > 1)
        halves[1] = pj_refused_split(&halves[0]);
    for (size_t i = 0; i < 2; i++) {
        for (const struct pj_refused *one = halves[i].first; one != NULL && status == 0;
             one = one->next)
            status = pj_producer_send(replay->producer, &one->message, error);
        if (status == 0)
            status = wait_for_deliveries(replay, error);
        struct pj_refused_list again = replay->refused;
        replay->refused = (struct pj_refused_list){0};
        if (status == 0 && again.count == 1 && halves[i].count == 1)
            status = log_refused(replay, again.first, error);
        else if (status == 0 && again.count > 0)
            status = find_refused(replay, &again, error);
        pj_refused_free(&again);
        pj_refused_free(&halves[i]);
    }
    return status;
}

/* Once everything sent before is finished. */
static int look_at_refused(struct replay *replay, struct pj_error *error)
{
    if (wait_for_deliveries(replay, error) != 0)
        return -1;
    struct pj_refused_list list = replay->refused;
    replay->refused = (struct pj_refused_list){0};
    if (list.count == 0 || should_stop(replay)) {
        pj_refused_free(&list);
        return 0;
    }
    return find_refused(replay, &list, error);
}

/* Sends all that is planned, or until a stop. */
static int send_all(struct replay *replay, int64_t planned, struct pj_error *error)
{
    struct pj_pace pace;
    const struct pj_recorded *recorded;
    size_t recording;
    int status = 0;
    pj_pace_start(&pace, replay->settings->rate, pj_clock_monotonic_us());
    for (int64_t sent = 0; sent < planned && status == 0; sent++) {
        status = pj_merge_next(replay->merge, &recorded, &recording, error);
        if (status == 0)
            return pj_error_set(error, PJ_FATAL, "a recording changed while it was being read");
        if (status == 1)
            status = wait_for_turn(replay, &pace, error);
        if (status == 0)
            status = send_message(replay, recorded, recording, error);
        if (status == 0)
            status = check_failure(replay, error);
        if (status == 0 &&
            (replay->refused.count >= KEPT_MOST || replay->refused.bytes >= KEPT_BYTES_MOST))
            status = look_at_refused(replay, error);
        if (sent % COUNT_EVERY == 0)
            show_progress(replay);
    }
    return status < 0 ? -1 : 0;
}

static int deliver_all(struct replay *replay, int64_t planned, struct pj_error *error)
{
    struct pj_error second;
    int status = send_all(replay, planned, error);
    if (status == 0)
        status = look_at_refused(replay, error);
    else if (error->class != PJ_RETRY &&
             pj_producer_flush(replay->producer, LAST_FLUSH_MS, &second) != 0)
        return -1; /* what was queued before the error may still arrive, and then it counts */
    if (status == 0 && replay->refused_count > 0)
        status = pj_error_set(error, PJ_FATAL,
                              "Kafka refuses %lld of the messages permanently; the log names them",
                              (long long)replay->refused_count);
    return status < 0 ? -1 : 0;
}

static int publish(struct replay *replay, struct pj_replay_result *result, struct pj_error *error)
{
    const struct pj_progress_settings bar = {.out = stderr,
                                             .label = "publishing",
                                             .unit = "records",
                                             .total = result->planned,
                                             .plain_lines = replay->settings->plain_progress};
    if (pj_merge_open(&replay->merge, replay->recordings, replay->recording_count, error) != 0)
        return -1;
    replay->progress = pj_progress_new(&bar);
    int64_t start_us = pj_clock_monotonic_us();
    int status = deliver_all(replay, result->planned, error);
    result->seconds = (double)(pj_clock_monotonic_us() - start_us) / 1e6;
    result->delivered = pj_producer_counts(replay->producer).delivered;
    result->refused = replay->refused_count;
    pj_progress_free(replay->progress);
    return status;
}

/* --- the run --------------------------------------------------------------------------------- */

static int run(struct replay *replay, struct pj_replay_result *result, struct pj_error *error)
{
    const struct pj_replay_settings *settings = replay->settings;
    const struct pj_producer_settings producer = {.kafka = settings->kafka,
                                                  .client_id = "stream-replay",
                                                  .linger_ms = LINGER_MS,
                                                  .stall_ms = settings->timeout_ms,
                                                  .delivered = on_delivered,
                                                  .context = replay,
                                                  .stop = settings->stop};
    if (read_recordings(replay, error) != 0 || choose_targets(replay, error) != 0)
        return -1;
    result->topics = replay->survey.topic_count;
    result->planned = replay->survey.messages;
    if (settings->limit > 0 && settings->limit < result->planned)
        result->planned = settings->limit;
    if (pj_producer_open(&replay->producer, &producer, error) != 0 ||
        check_topics(replay, error) != 0 || register_schemas(replay, error) != 0)
        return -1;
    return publish(replay, result, error);
}

int pj_replay_run(const struct pj_replay_settings *settings, struct pj_replay_result *result,
                  struct pj_error *error)
{
    struct replay replay = {.settings = settings};
    *result = (struct pj_replay_result){0};
    int status = run(&replay, result, error);
    result->interrupted = *settings->stop != 0 && result->delivered < result->planned;
    if (result->interrupted)
        status = 0;
    pj_merge_close(replay.merge);
    pj_producer_close(replay.producer);
    pj_refused_free(&replay.refused);
    pj_survey_free(&replay.survey);
    for (size_t i = 0; i < replay.recording_count; i++)
        pj_recording_close(replay.recordings[i]);
    free(replay.recordings);
    pj_recorded_files_free_paths(replay.paths, replay.path_count);
    free(replay.targets);
    free(replay.handles);
    free(replay.names);
    free(replay.topic_map);
    return status;
}
