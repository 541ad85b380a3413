/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-replay/stream_replay.h"

#include "avro/heartbeat.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/threads.h"
#include "base/topic_name.h"
#include "common/recorded_files.h"
#include "kafka/admin.h"
#include "stream-replay/chains.h"
#include "stream-replay/lane.h"
#include "stream-replay/replay_cursor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LOOK_MS = 100, /* at the lanes, for the bar */
    LOG_US = 1000000,
    REGISTRY_PAUSE_MS = 500,
    CURSOR_MESSAGE_MOST = 1 << 20,
    ROUND_PAUSE_MS = 1, /* between the last message of a round and the next round's first */
};

struct replay {
    const struct pj_replay_settings *settings;
    char **paths; /* of all files */
    size_t path_count;
    struct pj_recording **recordings;
    size_t recording_count;
    struct pj_survey survey;
    struct pj_producer_topic_info *targets; /* one for each of the survey's topics */
    char (*names)[PJ_TOPIC_NAME_SIZE];      /* with the prefix, likewise */
    const char **topics;                    /* the same */
    char *topic_map;                        /* what the targets' names point into */
    char cursor_name[PJ_TOPIC_NAME_SIZE];
    const char *cursor_topic;     /* or NULL */
    struct pj_producer *producer; /* which only asks for topics */
    char *fingerprint;
    struct pj_lane *lanes;
    size_t lane_count;
    pthread_t *threads;
    size_t thread_count;
    struct pj_timing lateness;
    struct pj_watch *watch;
    struct pj_progress *progress;
    FILE *log;
    int64_t logged_us;
    atomic_bool failed;
    struct pj_replay_plan plan;
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
                                 settings->path_count, error) != 0 ||
        pj_chains_open(&replay->recordings, &replay->recording_count, replay->paths,
                       replay->path_count, error) != 0)
        return -1;
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
    }
    return 0;
}

static int register_schema(struct replay *replay, struct pj_registry *registry,
                           struct pj_survey_schema *schema, int64_t deadline_ms,
                           struct pj_error *error)
{
    const struct timespec pause = {.tv_nsec = REGISTRY_PAUSE_MS * 1000000L};
    /* Heartbeats are in topics of other contracts, which their schema is no version of. */
    const char *subject = pj_heartbeat_is(schema->schema) ? PJ_HEARTBEAT_NAME : schema->subject;
    while (pj_registry_register(registry, subject, schema->schema, &schema->new_id, error) != 0) {
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

/* --- lanes ----------------------------------------------------------------------------------- */

/* What a resumed replay must have in common with the one before. */
static char *fingerprint(const struct replay *replay)
{
    const struct pj_replay_settings *settings = replay->settings;
    const struct pj_survey *survey = &replay->survey;
    struct pj_builder text = {0};
    pj_builder_add(&text, "%lld messages, %lld to %lld, %zu recordings, %zu lanes, %lld loops",
                   (long long)survey->messages, (long long)survey->earliest_ms,
                   (long long)survey->latest_ms, replay->recording_count, replay->lane_count,
                   (long long)settings->loops);
    pj_builder_add(&text, ", limit %lld%s", (long long)settings->limit,
                   settings->rekey ? ", rekeyed" : "");
    for (size_t i = 0; i < survey->topic_count; i++)
        pj_builder_add(&text, ", %s %lld", replay->targets[i].name,
                       (long long)survey->topics[i].messages);
    return pj_builder_take(&text);
}

static int64_t count_messages(const struct replay *replay, size_t recording)
{
    return replay->survey.recording_messages[recording];
}

/* The recordings with most messages first, each to the lane that has least. */
static void share_recordings(struct replay *replay)
{
    for (size_t shared = 0; shared < replay->recording_count; shared++) {
        size_t largest = SIZE_MAX;
        struct pj_lane *lane = &replay->lanes[0];
        for (size_t i = 0; i < replay->recording_count; i++) {
            bool is_shared = replay->survey.recording_messages[i] < 0;
            if (!is_shared && (largest == SIZE_MAX ||
                               count_messages(replay, i) > count_messages(replay, largest)))
                largest = i;
        }
        for (size_t i = 1; i < replay->lane_count; i++) {
            if (replay->lanes[i].messages < lane->messages)
                lane = &replay->lanes[i];
        }
        lane->recordings[lane->recording_count] = replay->recordings[largest];
        lane->indexes[lane->recording_count++] = largest;
        lane->messages += count_messages(replay, largest);
        replay->survey.recording_messages[largest] = -1;
    }
}

/* On equal timestamps the recording that is named first goes first. */
static void sort_recordings(struct pj_lane *lane)
{
    for (size_t i = 1; i < lane->recording_count; i++) {
        for (size_t j = i; j > 0 && lane->indexes[j] < lane->indexes[j - 1]; j--) {
            size_t index = lane->indexes[j];
            struct pj_recording *recording = lane->recordings[j];
            lane->indexes[j] = lane->indexes[j - 1];
            lane->recordings[j] = lane->recordings[j - 1];
            lane->indexes[j - 1] = index;
            lane->recordings[j - 1] = recording;
        }
    }
}

static void make_lanes(struct replay *replay)
{
    const struct pj_replay_settings *settings = replay->settings;
    replay->lane_count = (size_t)settings->threads;
    if (replay->lane_count > replay->recording_count && replay->recording_count > 0)
        replay->lane_count = replay->recording_count;
    replay->lanes = pj_calloc(replay->lane_count, sizeof *replay->lanes);
    replay->threads = pj_calloc(replay->lane_count, sizeof *replay->threads);
    for (size_t i = 0; i < replay->lane_count; i++) {
        struct pj_lane *lane = &replay->lanes[i];
        lane->plan = &replay->plan;
        lane->index = (int)i;
        lane->recordings = pj_calloc(replay->recording_count, sizeof(struct pj_recording *));
        lane->indexes = pj_calloc(replay->recording_count, sizeof *lane->indexes);
    }
    share_recordings(replay);
    for (size_t i = 0; i < replay->lane_count; i++) {
        struct pj_lane *lane = &replay->lanes[i];
        sort_recordings(lane);
        lane->planned = lane->messages * settings->loops;
        if (settings->limit > 0 && settings->limit < lane->planned)
            lane->planned = settings->limit;
        double share = (double)lane->messages /
                       (double)(replay->survey.messages > 0 ? replay->survey.messages : 1);
        lane->schedule = (struct pj_schedule){.kind = settings->rate > 0    ? PJ_SCHEDULE_RATE
                                                      : settings->speed > 0 ? PJ_SCHEDULE_SPEED
                                                                            : PJ_SCHEDULE_MAX,
                                              .rate = settings->rate * share,
                                              .speed = settings->speed,
                                              .has_origin = true,
                                              .origin_ms = replay->survey.earliest_ms};
    }
}

static int open_lanes(struct replay *replay, struct pj_error *error)
{
    int status = 0;
    for (size_t i = 0; i < replay->lane_count && status == 0; i++)
        status = pj_lane_open(&replay->lanes[i], error);
    for (size_t i = 0; i < replay->lane_count && status == 0; i++) {
        struct pj_lane *lane = &replay->lanes[i];
        status = pj_lane_resume(lane, error);
        lane->schedule.first = lane->position;
        lane->schedule.has_origin = lane->position == 0;
    }
    if (status < 0 && error->class == PJ_RETRY)
        error->exit_code = PJ_EXIT_UNAVAILABLE;
    return status;
}

static void *run_lane(void *context)
{
    pj_lane_run(context);
    return NULL;
}

/* --- servers that are asked besides ---------------------------------------------------------- */

/* The topic of cursors is no system's, so it is created where it is missing. */
static int create_cursor_topic(const struct replay *replay, struct pj_kafka *kafka,
                               struct pj_error *error)
{
    const struct pj_kafka_new_topic topic = {.name = replay->cursor_topic,
                                             .partitions = 1,
                                             .compacted = true,
                                             .max_message_bytes = CURSOR_MESSAGE_MOST};
    const struct pj_kafka_new_topics topics = {
        .items = &topic, .count = 1, .replication_factor = -1};
    struct pj_kafka_topic found = {.name = replay->cursor_topic};
    if (replay->cursor_topic == NULL)
        return 0;
    if (pj_kafka_count_partitions(kafka, &found, 1, error) != 0)
        return -1;
    return found.partitions > 0 ? 0 : pj_kafka_create(kafka, &topics, error);
}

/* --- what is measured ------------------------------------------------------------------------ */

static int ask_servers(struct replay *replay, struct pj_error *error)
{
    const struct pj_replay_settings *settings = replay->settings;
    struct pj_kafka *kafka;
    const char *cluster_id;
    if (settings->expect == NULL && settings->resume == NULL)
        return 0;
    if (pj_kafka_open(&kafka, settings->kafka, settings->timeout_ms, error) != 0)
        return -1;
    int status = pj_kafka_cluster_id(kafka, &cluster_id, error);
    if (status == 0)
        status = create_cursor_topic(replay, kafka, error);
    if (status == 0 && settings->expect != NULL) {
        const struct pj_watch_settings watch = {.postgres = {.dsn = settings->postgres_dsn,
                                                             .properties = settings->postgres,
                                                             .application_name = "stream-replay"},
                                                .group = settings->expect,
                                                .cluster_id = cluster_id,
                                                .topics = replay->topics,
                                                .topic_count = replay->survey.topic_count};
        status = pj_watch_start(&replay->watch, &watch, error);
    }
    pj_kafka_close(kafka);
    return status;
}

static int open_log(struct replay *replay, struct pj_error *error)
{
    const char *path = replay->settings->hdr_log;
    if (path == NULL)
        return 0;
    replay->log = fopen(path, "we");
    return replay->log != NULL ? 0
                               : pj_error_fatal(error, PJ_EXIT_USAGE, "cannot write '%s': %s", path,
                                                strerror(errno));
}

static void log_interval(struct replay *replay)
{
    int64_t now_us = pj_clock_monotonic_us() - replay->plan.start_us;
    pj_timing_log(&replay->lateness, replay->log, "lateness", replay->logged_us, now_us);
    if (replay->watch != NULL)
        pj_timing_log(pj_watch_timing(replay->watch), replay->log, "visible", replay->logged_us,
                      now_us);
    replay->logged_us = now_us;
}

static int close_log(struct replay *replay, struct pj_error *error)
{
    if (replay->log == NULL)
        return 0;
    bool failed = ferror(replay->log) != 0;
    failed |= fclose(replay->log) != 0;
    replay->log = NULL;
    return failed ? pj_error_set(error, PJ_FATAL, "cannot write %s: %s", replay->settings->hdr_log,
                                 strerror(errno))
                  : 0;
}

/* Until all that was published is in the group's rows. */
static int wait_for_rows(struct replay *replay, struct pj_error *error)
{
    int64_t pending = 1, progress_ms;
    int64_t start_ms = pj_clock_monotonic_ms();
    while (!should_stop(replay)) {
        if (pj_watch_pending(replay->watch, &pending, &progress_ms, error) != 0)
            return -1;
        if (pending == 0)
            return 0;
        int64_t since_ms = progress_ms > start_ms ? progress_ms : start_ms;
        if (pj_clock_monotonic_ms() - since_ms >= replay->settings->timeout_ms)
            return pj_error_set(error, PJ_FATAL,
                                "the group %s has not taken %lld of the records into its rows, and "
                                "none for %lld s",
                                replay->settings->expect, (long long)pending,
                                (long long)(replay->settings->timeout_ms / 1000));
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        if (pj_clock_monotonic_us() - replay->plan.start_us - replay->logged_us >= LOG_US)
            log_interval(replay);
    }
    return 0;
}

static int check_budget(const struct replay *replay, const struct pj_replay_result *result,
                        struct pj_error *error)
{
    enum { P99 = 2 };
    int64_t found_us = result->visible.us[P99], budget_us = replay->settings->p99_us;
    if (budget_us == 0 || found_us <= budget_us)
        return 0;
    return pj_error_set(error, PJ_FATAL,
                        "p99 from produce to visible is %.1f ms, more than --p99 %.1f ms",
                        (double)found_us / 1e3, (double)budget_us / 1e3);
}

/* --- publishing ------------------------------------------------------------------------------ */

static int64_t delivered(const struct replay *replay)
{
    int64_t sum = 0;
    for (size_t i = 0; i < replay->lane_count; i++)
        sum += atomic_load(&replay->lanes[i].delivered);
    return sum;
}

struct joining {
    struct replay *replay;
    atomic_bool done;
};

/* The bar and the log, while the lanes run. */
static void *accompany(void *context)
{
    struct joining *joining = context;
    struct replay *replay = joining->replay;
    while (!atomic_load(&joining->done)) {
        pj_progress_update(replay->progress, delivered(replay));
        if (pj_clock_monotonic_us() - replay->plan.start_us - replay->logged_us >= LOG_US)
            log_interval(replay);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
    return NULL;
}

static int run_lanes(struct replay *replay, struct pj_error *error)
{
    struct joining joining = {.replay = replay};
    pthread_t beside;
    int status = pj_thread_start(&beside, accompany, &joining, error);
    if (status != 0)
        return -1;
    for (size_t i = 1; i < replay->lane_count && status == 0; i++) {
        status = pj_thread_start(&replay->threads[i], run_lane, &replay->lanes[i], error);
        replay->thread_count += status == 0;
    }
    if (status == 0)
        pj_lane_run(&replay->lanes[0]);
    else
        atomic_store(&replay->failed, true);
    for (size_t i = 1; i <= replay->thread_count; i++)
        pthread_join(replay->threads[i], NULL);
    atomic_store(&joining.done, true);
    pthread_join(beside, NULL);
    for (size_t i = 0; i < replay->lane_count && status == 0; i++) {
        status = replay->lanes[i].status;
        if (status != 0)
            *error = replay->lanes[i].error;
    }
    return status;
}

static int publish(struct replay *replay, struct pj_replay_result *result, struct pj_error *error)
{
    const struct pj_progress_settings bar = {.out = stderr,
                                             .label = "publishing",
                                             .unit = "records",
                                             .total = result->planned,
                                             .plain_lines = true};
    replay->progress = pj_progress_new(&bar);
    replay->plan.start_us = pj_clock_monotonic_us();
    replay->plan.start_wall_ms = pj_clock_wall_ms();
    if (replay->log != NULL)
        pj_histogram_log_begin(replay->log, pj_clock_wall_us());
    for (size_t i = 0; i < replay->lane_count; i++) {
        replay->lanes[i].schedule.start_us = replay->plan.start_us;
        result->resumed += replay->lanes[i].position;
    }
    int status = run_lanes(replay, error);
    result->seconds = (double)(pj_clock_monotonic_us() - replay->plan.start_us) / 1e6;
    pj_progress_free(replay->progress);
    if (status == 0 && replay->watch != NULL)
        status = wait_for_rows(replay, error);
    log_interval(replay);
    result->delivered = delivered(replay);
    for (size_t i = 0; i < replay->lane_count; i++)
        result->refused += replay->lanes[i].refused_count;
    result->lateness = pj_timing_quantiles(&replay->lateness);
    if (replay->watch != NULL)
        result->visible = pj_timing_quantiles(pj_watch_timing(replay->watch));
    return status == 0 && replay->watch != NULL && !should_stop(replay)
               ? check_budget(replay, result, error)
               : status;
}

/* --- the run --------------------------------------------------------------------------------- */

static void make_plan(struct replay *replay)
{
    const struct pj_replay_settings *settings = replay->settings;
    replay->topics = pj_calloc(replay->survey.topic_count, sizeof *replay->topics);
    for (size_t i = 0; i < replay->survey.topic_count; i++)
        replay->topics[i] = replay->targets[i].name;
    if (settings->resume != NULL)
        replay->cursor_topic =
            pj_topic_name(replay->cursor_name, settings->topic_prefix, PJ_REPLAY_CURSORS);
    replay->plan = (struct pj_replay_plan){.settings = settings,
                                           .survey = &replay->survey,
                                           .topics = replay->topics,
                                           .span_ms = replay->survey.latest_ms -
                                                      replay->survey.earliest_ms + ROUND_PAUSE_MS,
                                           .lateness = &replay->lateness,
                                           .cursor_topic = replay->cursor_topic,
                                           .failed = &replay->failed};
}

static int run(struct replay *replay, struct pj_replay_result *result, struct pj_error *error)
{
    const struct pj_replay_settings *settings = replay->settings;
    const struct pj_producer_settings producer = {
        .kafka = settings->kafka, .client_id = "stream-replay", .stop = settings->stop};
    if (read_recordings(replay, error) != 0 || choose_targets(replay, error) != 0)
        return -1;
    result->topics = replay->survey.topic_count;
    make_plan(replay);
    make_lanes(replay);
    replay->plan.fingerprint = replay->fingerprint = fingerprint(replay);
    for (size_t i = 0; i < replay->lane_count; i++)
        result->planned += replay->lanes[i].planned;
    if (pj_producer_open(&replay->producer, &producer, error) != 0 ||
        check_topics(replay, error) != 0 || register_schemas(replay, error) != 0 ||
        open_log(replay, error) != 0 || ask_servers(replay, error) != 0)
        return -1;
    replay->plan.watch = replay->watch;
    int status = open_lanes(replay, error);
    return status == 0 ? publish(replay, result, error) : status < 0 ? -1 : 0; /* a stop */
}

int pj_replay_run(const struct pj_replay_settings *settings, struct pj_replay_result *result,
                  struct pj_error *error)
{
    struct replay replay = {.settings = settings};
    struct pj_error second;
    *result = (struct pj_replay_result){0};
    pj_timing_init(&replay.lateness);
    int status = run(&replay, result, error);
    result->interrupted = *settings->stop != 0 && result->delivered < result->planned;
    if (result->interrupted)
        status = 0;
    if (close_log(&replay, status == 0 ? error : &second) != 0)
        status = -1;
    for (size_t i = 0; i < replay.lane_count; i++)
        pj_lane_close(&replay.lanes[i]);
    pj_watch_close(replay.watch);
    pj_timing_free(&replay.lateness);
    pj_producer_close(replay.producer);
    pj_survey_free(&replay.survey);
    for (size_t i = 0; i < replay.recording_count; i++)
        pj_recording_close(replay.recordings[i]);
    free(replay.recordings);
    pj_recorded_files_free_paths(replay.paths, replay.path_count);
    free(replay.lanes);
    free(replay.threads);
    free(replay.fingerprint);
    free(replay.targets);
    free(replay.topics);
    free(replay.names);
    free(replay.topic_map);
    return status;
}
