/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/client.h"
#include "kafka/consumer_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* --- opening --------------------------------------------------------------------------------- */

/* Runs inside pj_consumer_poll. */
static void on_error(rd_kafka_t *kafka, int code, const char *reason, void *opaque)
{
    (void)kafka;
    struct pj_consumer *consumer = opaque;
    if (pj_client_note(&consumer->trouble, code, reason))
        pj_consumer_note_trouble(consumer, NULL, code, NULL, reason);
}

/* KIP-848, where the brokers assign and say how long a session lasts. */
static bool has_consumer_protocol(const struct pj_properties *properties)
{
    const char *protocol = pj_properties_get(properties, "group.protocol");
    return protocol != NULL && strcasecmp(protocol, "consumer") == 0;
}

static int check_protocol(const struct pj_properties *properties, struct pj_error *error)
{
    if (!has_consumer_protocol(properties))
        return 0;
    if (rd_kafka_version() < 0x020f0000)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "kafka.group.protocol=consumer needs librdkafka 2.15 or later, and "
                              "this is %s; leave it out",
                              rd_kafka_version_str());
    if (pj_properties_get(properties, "group.instance.id") != NULL)
        pj_log(PJ_WARN,
               "with kafka.group.protocol=consumer a replica that was killed cannot rejoin under "
               "its kafka.group.instance.id before its old session has ended, by the "
               "brokers' group.consumer.session.timeout.ms (45 s by default); leave out one of "
               "the two");
    return 0;
}

/* A quiet one is for the asker, whose errors its calls return. */
static rd_kafka_conf_t *configure(struct pj_consumer *consumer,
                                  const struct pj_consumer_settings *settings, bool quiet,
                                  struct pj_error *error)
{
    /* Two members of one instance id would throw each other out. */
    const char *instance = pj_properties_get(settings->properties, "group.instance.id");
    char own_instance[300];
    if (instance != NULL && settings->worker > 0)
        pj_text_show(own_instance, sizeof own_instance, "%.249s-%zu", instance,
                     settings->worker + 1);
#define NEEDED_BY_POSTGRES(key, value)                                                             \
    {                                                                                              \
        key, value, "offsets are kept in Postgres and need it to be " value                        \
    }
    const struct pj_client_setting fixed[] = {
        NEEDED_BY_POSTGRES("enable.auto.commit", "false"),
        NEEDED_BY_POSTGRES("enable.auto.offset.store", "false"),
        NEEDED_BY_POSTGRES("auto.offset.reset", "error"),
        NEEDED_BY_POSTGRES("enable.partition.eof", "true"),
        NEEDED_BY_POSTGRES("isolation.level", "read_committed"),
        {"group.id", settings->group, "use --group"},
        {instance != NULL && settings->worker > 0 ? "group.instance.id" : NULL, own_instance, NULL},
        {0},
    };
    /* Before 2.2 the pause after a full queue cannot be set, and is a second unless something else
     * wakes the broker's thread (measured). */
    const bool has_pause = rd_kafka_version() >= 0x02020000;
    const bool classic = !has_consumer_protocol(settings->properties);
    /* Memory at full load is bounded by the queue; the rest keeps latency low. In bulk, Postgres
     * must never wait for Kafka. */
    const struct pj_client_setting defaults[] = {
        {"allow.auto.create.topics", "false"},
        {"fetch.wait.max.ms", "250"},
        {"queued.min.messages", settings->bulk ? "100000" : "5000"},
        {"queued.max.messages.kbytes", settings->bulk ? "8192" : "4096"},
        {"fetch.message.max.bytes", settings->bulk ? "524288" : "65536"},
        {"reconnect.backoff.max.ms", "2000"},
        {has_pause ? "fetch.queue.backoff.ms" : "topic.metadata.refresh.interval.ms",
         has_pause ? "20" : "100"},
        /* The other protocol refuses these. */
        {classic ? "partition.assignment.strategy" : NULL, "cooperative-sticky"},
        {"session.timeout.ms", "10000"},
        {"heartbeat.interval.ms", "1000"}, /* with one the others learn that a member is gone */
        {0},
    };
    const struct pj_client_settings client = {
        .properties = settings->properties,
        .client_id = settings->client_id,
        .defaults = defaults,
        .fixed = fixed,
        .quiet = quiet,
        .trouble = quiet ? NULL : &consumer->trouble,
        .on_error = quiet ? NULL : on_error,
        .opaque = consumer,
    };
    return pj_client_configure(&client, error);
}

static void copy_topics(struct pj_consumer *consumer, const struct pj_consumer_settings *settings)
{
    size_t count = consumer->topic_count = settings->topic_count;
    consumer->group = pj_strdup(settings->group);
    consumer->topics = pj_calloc(count, sizeof *consumer->topics);
    consumer->topic_troubles = pj_calloc(count, sizeof *consumer->topic_troubles);
    consumer->topic_ids = pj_calloc(count, sizeof *consumer->topic_ids);
    consumer->retentions = pj_calloc(count, sizeof *consumer->retentions);
    consumer->partitions = pj_calloc(PJ_PARTITIONS_MOST, sizeof(struct pj_partition *));
    for (size_t i = 0; i < count; i++)
        consumer->topic_ids[i].topic = consumer->topics[i] = pj_strdup(settings->topics[i]);
}

/* A client, and what its asker will be made of. */
static int make_client(struct pj_consumer *consumer, rd_kafka_t **kafka,
                       rd_kafka_conf_t **asker_conf, struct pj_error *error)
{
    *kafka = NULL;
    *asker_conf = configure(consumer, &consumer->settings, true, error);
    if (*asker_conf == NULL)
        return -1;
    rd_kafka_conf_t *conf = configure(consumer, &consumer->settings, false, error);
    if (conf != NULL) {
        rd_kafka_conf_set_rebalance_cb(conf, pj_consumer_on_rebalance);
        *kafka = pj_client_start(RD_KAFKA_CONSUMER, conf, error);
    }
    if (*kafka != NULL)
        return 0;
    rd_kafka_conf_destroy(*asker_conf);
    return -1;
}

static int use_client(struct pj_consumer *consumer, rd_kafka_t *kafka, rd_kafka_conf_t *asker_conf,
                      struct pj_error *error)
{
    static const uint64_t one = 1;
    consumer->kafka = kafka;
    consumer->asker_conf = asker_conf;
    rd_kafka_poll_set_consumer(kafka);
    consumer->queue = rd_kafka_queue_get_consumer(kafka);
    if (consumer->queue == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "Kafka: '%.200s' cannot be a consumer's group",
                              consumer->group);
    rd_kafka_queue_io_event_enable(consumer->queue, consumer->event_fd, &one, sizeof one);
    return 0;
}

int pj_consumer_open(struct pj_consumer **out, const struct pj_consumer_settings *settings,
                     struct pj_error *error)
{
    struct pj_consumer *consumer = pj_alloc(sizeof *consumer);
    rd_kafka_t *kafka;
    rd_kafka_conf_t *asker_conf;
    copy_topics(consumer, settings);
    consumer->settings = *settings;
    consumer->settings.group = consumer->group;
    consumer->settings.topics = (const char *const *)consumer->topics;
    pj_client_files_open(&consumer->files, settings->properties);
    consumer->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (consumer->event_fd < 0)
        pj_error_set(error, PJ_FATAL,
                     "no file descriptor is left for an event: %m; raise the limit of open files "
                     "of this process");
    else if (check_protocol(settings->properties, error) == 0 &&
             make_client(consumer, &kafka, &asker_conf, error) == 0 &&
             use_client(consumer, kafka, asker_conf, error) == 0) {
        *out = consumer;
        return 0;
    }
    pj_consumer_close(consumer, 0);
    return -1;
}

int pj_consumer_fd(const struct pj_consumer *consumer)
{
    return consumer->event_fd;
}

/* --- polling --------------------------------------------------------------------------------- */

static void reach_end(struct pj_partition *partition, int64_t offset)
{
    bool stops = partition->stop_offset >= 0 && partition->stop_offset < offset;
    partition->at_end = true;
    partition->awaited = false;
    partition->end_offset = stops ? partition->stop_offset : offset;
}

static bool is_stopped(const struct pj_partition *partition)
{
    return partition->stop_offset >= 0 && partition->at_end &&
           partition->end_offset == partition->stop_offset;
}

/* A message that is an event, not a record. */
static void take_event(struct pj_consumer *consumer, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt != NULL ? rd_kafka_topic_name(message->rkt) : NULL;
    struct pj_partition *partition =
        topic != NULL && message->partition >= 0
            ? pj_consumer_find_partition(consumer, topic, message->partition)
            : NULL;
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (partition != NULL && partition->assigned) {
            partition->trouble = 0;
            reach_end(partition, message->offset);
        }
        return;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        consumer->lost_position = true;
        break;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
        /* librdkafka skips what it cannot read, and so would our offset. */
        consumer->fatal = true;
        pj_error_set(&consumer->fatal_error, PJ_FATAL,
                     "%s [%d] cannot be read at the offset %lld: %s; fix it in Kafka, or skip "
                     "it with `projectionist offsets set`",
                     topic != NULL ? topic : "a topic", message->partition,
                     (long long)message->offset, rd_kafka_message_errstr(message));
        return;
    default:
        break;
    }
    pj_consumer_note_trouble(consumer, partition, message->err, topic,
                             rd_kafka_message_errstr(message));
}

static struct pj_partition *partition_of(struct pj_consumer *consumer,
                                         const rd_kafka_message_t *message)
{
    if (consumer->run_topic != message->rkt || consumer->run_partition == NULL ||
        consumer->run_partition->number != message->partition) {
        consumer->run_topic = message->rkt;
        consumer->run_partition = pj_consumer_find_partition(
            consumer, rd_kafka_topic_name(message->rkt), message->partition);
    }
    return consumer->run_partition;
}

static bool take_record(struct pj_consumer *consumer, rd_kafka_message_t *message,
                        struct pj_record *record)
{
    struct pj_partition *partition = partition_of(consumer, message);
    if (partition == NULL || !partition->assigned || partition->is_another)
        return false;
    partition->awaited = false;
    if (is_stopped(partition))
        return false;
    if (partition->stop_offset >= 0 && message->offset >= partition->stop_offset) {
        /* What follows is fetched in vain. A pause would save that, but a partition that was
         * paused may not be fetched again after another assignment (librdkafka 2.0.2, seen). */
        reach_end(partition, partition->stop_offset);
        return false;
    }
    partition->at_end = false;
    partition->trouble = 0;
    if (message->offset < partition->next_offset && message->offset != partition->read_offset) {
        consumer->dropped++;
        return false;
    }
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    *record = (struct pj_record){
        .partition = partition,
        .generation = partition->generation,
        .offset = message->offset,
        .timestamp_ms = type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? timestamp : -1,
        .key = message->key,
        .key_length = message->key_len,
        .value = message->payload,
        .value_length = message->len,
        .message = message,
    };
    if (message->offset == partition->read_offset &&
        pj_record_digest(record) != partition->read_digest) {
        partition->is_another = true;
        return false;
    }
    partition->taken_records++;
    partition->taken_bytes += (int64_t)(message->key_len + message->len);
    return message->offset >= partition->next_offset;
}

struct pj_partition *pj_consumer_another(const struct pj_consumer *consumer)
{
    for (size_t i = 0; i < consumer->partition_count; i++) {
        if (consumer->partitions[i]->assigned && consumer->partitions[i]->is_another)
            return consumer->partitions[i];
    }
    return NULL;
}

static void reserve_messages(struct pj_consumer *consumer, size_t most)
{
    if (most <= consumer->messages_capacity)
        return;
    consumer->messages = pj_resize(consumer->messages, most, sizeof(rd_kafka_message_t *));
    consumer->messages_capacity = most;
}

/*
 * From 2.2 on rd_kafka_consume_batch_queue takes the end of a partition for a record, and what is
 * resumed after a pause goes on one record too far (librdkafka's issue 4844, fixed before 2.16).
 */
static bool batches_lose_records(void)
{
    return rd_kafka_version() >= 0x02020000 && rd_kafka_version() < 0x02100000;
}

static size_t fetch(struct pj_consumer *consumer, size_t most)
{
    size_t got = 0;
    if (!batches_lose_records()) {
        /* Never a time-out here: librdkafka would wait it out for the batch to be full. */
        ssize_t all = rd_kafka_consume_batch_queue(consumer->queue, 0, consumer->messages, most);
        return all > 0 ? (size_t)all : 0;
    }
    while (got < most &&
           (consumer->messages[got] = rd_kafka_consume_queue(consumer->queue, 0)) != NULL)
        got++;
    return got;
}

int pj_consumer_poll(struct pj_consumer *consumer, struct pj_record *records, size_t most,
                     size_t *count, struct pj_error *error)
{
    uint64_t ignored;
    ssize_t drained = read(consumer->event_fd, &ignored, sizeof ignored);
    (void)drained; /* nothing to read is fine: the queue says what is there */
    *count = 0;
    if (most == 0) {
        /* Even with no room the callbacks are due: a paused partition delivers none anyway. */
        return 0;
    }
    reserve_messages(consumer, most);
    size_t got = fetch(consumer, most);
    for (size_t i = 0; i < got; i++) {
        rd_kafka_message_t *message = consumer->messages[i];
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            take_event(consumer, message);
            rd_kafka_message_destroy(message);
        } else if (take_record(consumer, message, &records[*count])) {
            (*count)++;
        } else {
            rd_kafka_message_destroy(message);
        }
    }
    if (consumer->fatal) {
        *error = consumer->fatal_error;
        return -1;
    }
    return pj_consumer_check_fatal(consumer, error);
}

void pj_record_release(struct pj_record *record)
{
    if (record->message != NULL)
        rd_kafka_message_destroy(record->message);
    record->message = NULL;
}

const struct pj_record_header *pj_record_headers(const struct pj_record *record,
                                                 struct pj_arena *arena, size_t *count)
{
    rd_kafka_headers_t *list;
    *count = record->header_count;
    if (record->message == NULL ||
        rd_kafka_message_headers(record->message, &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return record->headers;
    *count = rd_kafka_header_cnt(list);
    struct pj_record_header *headers = pj_arena_alloc(arena, *count * sizeof *headers);
    const void *value;
    size_t size;
    for (size_t i = 0; rd_kafka_header_get_all(list, i, &headers[i].name, &value, &size) == 0; i++)
        headers[i].value = value != NULL ? pj_text_of(value, size) : pj_null();
    return headers;
}

/* --- flow ------------------------------------------------------------------------------------ */

static rd_kafka_topic_partition_list_t *assigned_list(const struct pj_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < consumer->partition_count; i++) {
        const struct pj_partition *partition = consumer->partitions[i];
        if (partition->assigned)
            rd_kafka_topic_partition_list_add(list, partition->topic, partition->number);
    }
    return list;
}

static void set_paused(struct pj_consumer *consumer, bool paused)
{
    if (consumer->paused == paused)
        return;
    rd_kafka_topic_partition_list_t *list = assigned_list(consumer);
    if (paused)
        rd_kafka_pause_partitions(consumer->kafka, list);
    else
        rd_kafka_resume_partitions(consumer->kafka, list);
    rd_kafka_topic_partition_list_destroy(list);
    consumer->paused = paused;
}

void pj_consumer_pause(struct pj_consumer *consumer)
{
    set_paused(consumer, true);
}

void pj_consumer_resume(struct pj_consumer *consumer)
{
    set_paused(consumer, false);
}

bool pj_consumer_paused(const struct pj_consumer *consumer)
{
    return consumer->paused;
}

void pj_consumer_commit_to_group(struct pj_consumer *consumer, bool durable)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < consumer->partition_count; i++) {
        struct pj_partition *partition = consumer->partitions[i];
        int64_t offset = durable ? partition->durable_offset : partition->next_offset;
        if (!partition->assigned || offset < 0 || partition->group_offset == offset)
            continue;
        rd_kafka_topic_partition_list_add(list, partition->topic, partition->number)->offset =
            offset;
        partition->group_offset = offset;
    }
    /* A courtesy: whether it arrives matters to nobody's rows. */
    if (list->cnt > 0)
        rd_kafka_commit(consumer->kafka, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
}

struct pj_partition *const *pj_consumer_partitions(const struct pj_consumer *consumer,
                                                   size_t *count)
{
    *count = consumer->partition_count;
    return consumer->partitions;
}

bool pj_consumer_stable(const struct pj_consumer *consumer)
{
    return consumer->stable && consumer->rebalance.kind == PJ_REBALANCE_NONE;
}

int64_t pj_consumer_known_end(const struct pj_consumer *consumer,
                              const struct pj_partition *partition)
{
    int64_t low;
    int64_t high;
    if (rd_kafka_get_watermark_offsets(consumer->kafka, partition->topic, partition->number, &low,
                                       &high) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        high < 0)
        return -1;
    return high;
}

int64_t pj_consumer_dropped(const struct pj_consumer *consumer)
{
    return consumer->dropped;
}

/* --- the cluster ----------------------------------------------------------------------------- */

int pj_consumer_cluster_id(struct pj_consumer *consumer, int64_t timeout_ms, const char **id,
                           struct pj_error *error)
{
    if (consumer->cluster_id == NULL)
        consumer->cluster_id = rd_kafka_clusterid(consumer->kafka, (int)timeout_ms);
    if (consumer->cluster_id == NULL)
        return pj_consumer_no_broker(consumer, RD_KAFKA_RESP_ERR__TIMED_OUT, error);
    *id = consumer->cluster_id;
    return 0;
}

/* --- closing --------------------------------------------------------------------------------- */

static void leave_group(struct pj_consumer *consumer, int64_t timeout_ms)
{
    int64_t deadline = pj_clock_monotonic_ms() + timeout_ms;
    rd_kafka_error_t *failed = rd_kafka_consumer_close_queue(consumer->kafka, consumer->queue);
    if (failed != NULL) {
        rd_kafka_error_destroy(failed);
        return;
    }
    while (!rd_kafka_consumer_closed(consumer->kafka)) {
        int64_t left = deadline - pj_clock_monotonic_ms();
        if (left <= 0)
            return;
        rd_kafka_message_t *message = NULL;
        if (rd_kafka_consume_batch_queue(consumer->queue, left < 50 ? (int)left : 50, &message,
                                         1) == 1)
            rd_kafka_message_destroy(message);
        if (consumer->rebalance.kind != PJ_REBALANCE_NONE)
            pj_consumer_unassign(consumer);
    }
}

/* Before 2.3 librdkafka aborts when it is destroyed between joining a group with cooperative-sticky
 * and the group's first answer (its issue 4312). And where partitions that it had are there no
 * more, their topic deleted or forbidden, 2.0.2 waits for ever (seen). The group is left already
 * and the process ends. */
static bool may_destroy(const struct pj_consumer *consumer)
{
    return !consumer->lost_topic &&
           (rd_kafka_version() >= 0x02030000 || !consumer->subscribed || consumer->group_answered);
}

/* Leaves the group within the time, or silently. */
static void drop_client(struct pj_consumer *consumer, int64_t timeout_ms)
{
    bool left = true;
    if (consumer->kafka != NULL) {
        leave_group(consumer, timeout_ms);
        left = rd_kafka_consumer_closed(consumer->kafka);
    }
    pj_consumer_forget_rebalance(consumer);
    if (consumer->queue != NULL) {
        rd_kafka_queue_io_event_enable(consumer->queue, -1, NULL, 0);
        rd_kafka_queue_destroy(consumer->queue);
    }
    if (consumer->kafka != NULL) {
        /* Closing would wait for brokers that are away; the group notices by the session
         * time-out. */
        if (left && may_destroy(consumer))
            rd_kafka_destroy(consumer->kafka);
        else if (may_destroy(consumer))
            rd_kafka_destroy_flags(consumer->kafka, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    pj_consumer_close_asker(consumer);
    consumer->kafka = consumer->asker = NULL;
    consumer->asker_conf = NULL;
    consumer->queue = NULL;
}

bool pj_consumer_files_changed(struct pj_consumer *consumer)
{
    return pj_client_files_changed(&consumer->files);
}

int pj_consumer_renew(struct pj_consumer *consumer, int64_t timeout_ms, struct pj_error *error)
{
    rd_kafka_t *kafka;
    rd_kafka_conf_t *asker_conf;
    if (make_client(consumer, &kafka, &asker_conf, error) != 0) {
        pj_log(PJ_WARN, "Kafka's secrets have changed, and cannot be used; the old ones stay",
               pj_f_str("reason", error->message));
        return 1;
    }
    pj_log(PJ_INFO, "Kafka's secrets have changed: connecting anew");
    drop_client(consumer, timeout_ms);
    for (size_t i = 0; i < consumer->partition_count; i++) {
        struct pj_partition *partition = consumer->partitions[i];
        partition->generation++;
        partition->assigned = partition->kept = false;
        partition->group_offset = -1;
    }
    bool subscribed = consumer->subscribed;
    consumer->stable = consumer->paused = consumer->subscribed = consumer->group_answered = false;
    consumer->run_topic = NULL;
    consumer->run_partition = NULL;
    if (use_client(consumer, kafka, asker_conf, error) != 0)
        return -1;
    return subscribed ? pj_consumer_subscribe(consumer, error) : 0;
}

void pj_consumer_close(struct pj_consumer *consumer, int64_t timeout_ms)
{
    if (consumer == NULL)
        return;
    drop_client(consumer, timeout_ms);
    if (consumer->event_fd >= 0)
        close(consumer->event_fd);
    for (size_t i = 0; i < consumer->partition_count; i++)
        pj_partition_free(consumer->partitions[i]);
    free(consumer->partitions);
    for (size_t i = 0; i < consumer->topic_count; i++)
        free(consumer->topics[i]);
    free(consumer->topics);
    free(consumer->topic_ids);
    free(consumer->retentions);
    free(consumer->topic_troubles);
    free(consumer->group);
    free(consumer->messages);
    free(consumer->cluster_id);
    free(consumer);
}
