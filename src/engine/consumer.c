/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/consumer.h"

#include "base/clock.h"
#include "base/log.h"

#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PARTITIONS_MOST = 16384 };

struct pj_consumer {
    rd_kafka_t *kafka;
    rd_kafka_queue_t *queue;
    int event_fd;
    char **topics;
    struct pj_topic_id *topic_ids; /* of the same topics */
    size_t topic_count;
    struct pj_partition **partitions;
    size_t partition_count;
    struct pj_rebalance rebalance;
    rd_kafka_topic_partition_list_t *rebalance_list;
    bool settled;
    bool subscribed;     /* ever */
    bool group_answered; /* ever: it told us of an assignment */
    bool paused;
    bool lost_position;
    bool told_unknown_ids;
    bool fatal;
    struct pj_error fatal_error;
    int64_t dropped;
    char *cluster_id;
    rd_kafka_message_t **messages; /* reused by every poll */
    size_t messages_capacity;
    /* Records come in runs of one partition. */
    const rd_kafka_topic_t *run_topic;
    struct pj_partition *run_partition;
};

int pj_stretch_compare(const void *a, const void *b)
{
    const struct pj_stretch *x = a;
    const struct pj_stretch *y = b;
    int compared = strcmp(x->topic, y->topic);
    if (compared == 0)
        compared = (x->partition > y->partition) - (x->partition < y->partition);
    return compared != 0 ? compared : (x->begin > y->begin) - (x->begin < y->begin);
}

/* --- configuration --------------------------------------------------------------------------- */

static int set(rd_kafka_conf_t *conf, const char *key, const char *value, struct pj_error *error)
{
    char reason[256];
    if (rd_kafka_conf_set(conf, key, value, reason, sizeof reason) == RD_KAFKA_CONF_OK)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_USAGE, "kafka.%s: %s", key, reason);
}

/* What keeps exactly-once is not the operator's to change. */
static const char *const fixed[][2] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"enable.partition.eof", "true"},
};

/* Memory at full load is bounded by the queue; the rest keeps latency low. */
static const char *const defaults[][2] = {
    {"isolation.level", "read_committed"}, {"partition.assignment.strategy", "cooperative-sticky"},
    {"allow.auto.create.topics", "false"}, {"session.timeout.ms", "10000"},
    {"heartbeat.interval.ms", "2000"},     {"fetch.wait.max.ms", "250"},
    {"queued.min.messages", "20000"},      {"queued.max.messages.kbytes", "4096"},
    {"fetch.message.max.bytes", "131072"}, {"reconnect.backoff.max.ms", "2000"},
    {"log.connection.close", "false"},
};

/* For bulk: Postgres must never wait for Kafka. */
static const char *const bulk_defaults[][2] = {
    {"queued.min.messages", "100000"},
    {"queued.max.messages.kbytes", "8192"},
    {"fetch.message.max.bytes", "524288"},
};

static int configure(rd_kafka_conf_t *conf, const struct pj_consumer_settings *settings,
                     struct pj_error *error)
{
    const struct pj_properties *properties = settings->properties;
    char reason[256];
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        if (set(conf, defaults[i][0], defaults[i][1], error) != 0)
            return -1;
    }
    for (size_t i = 0; settings->bulk && i < sizeof bulk_defaults / sizeof bulk_defaults[0]; i++) {
        if (set(conf, bulk_defaults[i][0], bulk_defaults[i][1], error) != 0)
            return -1;
    }
    /* From 2.2 on; before, the pause after a full queue cannot be set. */
    rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "20", reason, sizeof reason);
    /* There it is a second, unless something else wakes the broker's thread (measured). */
    if (rd_kafka_version() < 0x02020000 &&
        set(conf, "topic.metadata.refresh.interval.ms", "100", error) != 0)
        return -1;
    for (size_t i = 0; i < properties->count; i++) {
        const struct pj_property *property = &properties->items[i];
        for (size_t f = 0; f < sizeof fixed / sizeof fixed[0]; f++) {
            if (strcmp(property->key, fixed[f][0]) == 0)
                return pj_error_fatal(error, PJ_EXIT_USAGE,
                                      "kafka.%s cannot be set: offsets are kept in Postgres and "
                                      "need it to be %s",
                                      fixed[f][0], fixed[f][1]);
        }
        if (strcmp(property->key, "group.id") == 0)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "kafka.group.id cannot be set: use --group");
        if (set(conf, property->key, property->value, error) != 0)
            return -1;
    }
    for (size_t f = 0; f < sizeof fixed / sizeof fixed[0]; f++) {
        if (set(conf, fixed[f][0], fixed[f][1], error) != 0)
            return -1;
    }
    if (set(conf, "group.id", settings->group, error) != 0 ||
        (pj_properties_get(properties, "client.id") == NULL &&
         set(conf, "client.id", settings->client_id, error) != 0))
        return -1;
    if (pj_properties_get(properties, "bootstrap.servers") == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no Kafka brokers are named: set "
                              "PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS or "
                              "--kafka.bootstrap.servers");
    return 0;
}

/* librdkafka before 2.6.1 sends Kafka 4 a SCRAM message that it refuses. */
static void warn_scram(const struct pj_properties *properties)
{
    const char *mechanism = pj_properties_get(properties, "sasl.mechanism");
    if (mechanism == NULL)
        mechanism = pj_properties_get(properties, "sasl.mechanisms");
    if (mechanism != NULL && strncmp(mechanism, "SCRAM", 5) == 0 && rd_kafka_version() < 0x02060100)
        pj_log(PJ_WARN,
               "this librdkafka fails SCRAM against Kafka 4 with \"invalid credentials\", however "
               "right the password is; use 2.6.1 or later, PLAIN over TLS, or mTLS",
               pj_f_str("librdkafka", rd_kafka_version_str()));
}

/* --- callbacks: all run inside pj_consumer_poll ---------------------------------------------- */

static void on_log(const rd_kafka_t *kafka, int level, const char *facility, const char *text)
{
    (void)kafka;
    pj_log(level <= 3   ? PJ_WARN
           : level <= 5 ? PJ_INFO
                        : PJ_DEBUG,
           text, pj_f_str("librdkafka", facility));
}

static void on_error(rd_kafka_t *kafka, int code, const char *reason, void *opaque)
{
    struct pj_consumer *consumer = opaque;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char text[512];
        rd_kafka_resp_err_t cause = rd_kafka_fatal_error(kafka, text, sizeof text);
        consumer->fatal = true;
        pj_error_set(&consumer->fatal_error, PJ_FATAL, "Kafka: %s: %s", rd_kafka_err2name(cause),
                     text);
        return;
    }
    pj_log(PJ_WARN, "Kafka reports an error", pj_f_str("error", rd_kafka_err2name(code)),
           pj_f_str("reason", reason));
}

static struct pj_partition *find_partition(struct pj_consumer *consumer, const char *topic,
                                           int32_t number)
{
    for (size_t i = 0; i < consumer->partition_count; i++) {
        struct pj_partition *partition = consumer->partitions[i];
        if (partition->number == number && strcmp(partition->topic, topic) == 0)
            return partition;
    }
    size_t topic_index = 0;
    while (topic_index < consumer->topic_count && strcmp(consumer->topics[topic_index], topic) != 0)
        topic_index++;
    if (topic_index == consumer->topic_count || consumer->partition_count == PARTITIONS_MOST)
        return NULL;
    struct pj_partition *partition = calloc(1, sizeof *partition);
    if (partition == NULL)
        abort();
    partition->topic_index = topic_index;
    partition->topic = consumer->topics[topic_index];
    partition->topic_id = consumer->topic_ids[topic_index].id;
    partition->number = number;
    partition->told_offset = -1;
    partition->start_offset = -1;
    partition->stop_offset = -1;
    consumer->partitions[consumer->partition_count++] = partition;
    return partition;
}

static int compare_partitions(const void *a, const void *b)
{
    const struct pj_partition *x = *(struct pj_partition *const *)a;
    const struct pj_partition *y = *(struct pj_partition *const *)b;
    int compared = strcmp(x->topic, y->topic);
    return compared != 0 ? compared : (x->number > y->number) - (x->number < y->number);
}

static void forget_rebalance(struct pj_consumer *consumer)
{
    free(consumer->rebalance.partitions);
    consumer->rebalance = (struct pj_rebalance){.kind = PJ_REBALANCE_NONE};
    if (consumer->rebalance_list != NULL)
        rd_kafka_topic_partition_list_destroy(consumer->rebalance_list);
    consumer->rebalance_list = NULL;
}

/* An assignment or a revocation to be carried out, of at most so many partitions. */
static void begin_rebalance(struct pj_consumer *consumer, enum pj_rebalance_kind kind, size_t most)
{
    forget_rebalance(consumer);
    consumer->rebalance.kind = kind;
    consumer->rebalance.partitions = calloc(most + 1, sizeof *consumer->rebalance.partitions);
    if (consumer->rebalance.partitions == NULL)
        abort();
}

static void add_to_rebalance(struct pj_rebalance *rebalance, struct pj_partition *partition)
{
    if (partition != NULL)
        rebalance->partitions[rebalance->count++] = partition;
}

static void sort_rebalance(struct pj_rebalance *rebalance)
{
    qsort(rebalance->partitions, rebalance->count, sizeof *rebalance->partitions,
          compare_partitions);
}

static bool is_cooperative(const struct pj_consumer *consumer)
{
    const char *protocol = rd_kafka_rebalance_protocol(consumer->kafka);
    return protocol != NULL && strcmp(protocol, "COOPERATIVE") == 0; /* NULL: already closed */
}

/*
 * Who rejoins while the group is rebalancing may never be told of a revocation: librdkafka keeps
 * what we gave up, and of the next assignment it tells only the rest (2.16, seen). Those are to be
 * taken, too.
 */
static void add_kept(struct pj_consumer *consumer, const rd_kafka_topic_partition_list_t *kept)
{
    for (size_t i = 0; i < consumer->partition_count; i++)
        consumer->partitions[i]->kept = false;
    for (int i = 0; i < kept->cnt; i++) {
        struct pj_partition *partition =
            find_partition(consumer, kept->elems[i].topic, kept->elems[i].partition);
        if (partition == NULL || partition->assigned)
            continue;
        partition->kept = true;
        add_to_rebalance(&consumer->rebalance, partition);
    }
}

/* Only noted: librdkafka waits until assign or unassign is called, which may be later. */
static void on_rebalance(rd_kafka_t *kafka, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct pj_consumer *consumer = opaque;
    bool assign = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    rd_kafka_topic_partition_list_t *kept = NULL;
    if (assign && is_cooperative(consumer) &&
        rd_kafka_assignment(kafka, &kept) != RD_KAFKA_RESP_ERR_NO_ERROR)
        kept = NULL;
    begin_rebalance(consumer, assign ? PJ_REBALANCE_ASSIGN : PJ_REBALANCE_REVOKE,
                    (size_t)list->cnt + (kept != NULL ? (size_t)kept->cnt : 0));
    consumer->group_answered = true;
    consumer->rebalance_list = rd_kafka_topic_partition_list_copy(list);
    for (int i = 0; i < list->cnt; i++)
        add_to_rebalance(&consumer->rebalance,
                         find_partition(consumer, list->elems[i].topic, list->elems[i].partition));
    if (kept != NULL) {
        add_kept(consumer, kept);
        rd_kafka_topic_partition_list_destroy(kept);
    }
    sort_rebalance(&consumer->rebalance);
}

void pj_consumer_request(struct pj_consumer *consumer, const struct pj_stretch *stretches,
                         size_t count)
{
    for (size_t i = 0; i < consumer->partition_count; i++)
        consumer->partitions[i]->assigned = false;
    begin_rebalance(consumer, PJ_REBALANCE_ASSIGN, count);
    for (size_t i = 0; i < count; i++) {
        struct pj_partition *partition =
            find_partition(consumer, stretches[i].topic, stretches[i].partition);
        if (partition == NULL)
            continue;
        partition->start_offset = stretches[i].begin;
        partition->stop_offset = stretches[i].end;
        add_to_rebalance(&consumer->rebalance, partition);
    }
    sort_rebalance(&consumer->rebalance);
}

/* --- opening --------------------------------------------------------------------------------- */

static int copy_topics(struct pj_consumer *consumer, const struct pj_consumer_settings *settings)
{
    consumer->topics = calloc(settings->topic_count + 1, sizeof *consumer->topics);
    consumer->topic_ids = calloc(settings->topic_count + 1, sizeof *consumer->topic_ids);
    consumer->partitions = calloc(PARTITIONS_MOST, sizeof(struct pj_partition *));
    if (consumer->topics == NULL || consumer->topic_ids == NULL || consumer->partitions == NULL)
        return -1;
    for (size_t i = 0; i < settings->topic_count; i++) {
        consumer->topics[i] = strdup(settings->topics[i]);
        if (consumer->topics[i] == NULL)
            return -1;
        consumer->topic_ids[i].topic = consumer->topics[i];
        consumer->topic_count++;
    }
    return 0;
}

int pj_consumer_open(struct pj_consumer **out, const struct pj_consumer_settings *settings,
                     struct pj_error *error)
{
    struct pj_consumer *consumer = calloc(1, sizeof *consumer);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (consumer == NULL)
        abort();
    consumer->event_fd = -1;
    if (copy_topics(consumer, settings) != 0) {
        pj_error_set(error, PJ_FATAL, "out of memory");
        goto fail;
    }
    warn_scram(settings->properties);
    if (configure(conf, settings, error) != 0)
        goto fail;
    rd_kafka_conf_set_opaque(conf, consumer);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    char reason[512];
    consumer->kafka = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof reason);
    if (consumer->kafka == NULL) {
        pj_error_fatal(error, PJ_EXIT_USAGE, "the Kafka settings do not fit together: %s", reason);
        goto fail;
    }
    conf = NULL; /* now librdkafka's */
    rd_kafka_poll_set_consumer(consumer->kafka);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->kafka);
    consumer->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (consumer->event_fd < 0) {
        pj_error_set(error, PJ_FATAL, "no event descriptor can be had: %m");
        goto fail;
    }
    static const uint64_t one = 1;
    rd_kafka_queue_io_event_enable(consumer->queue, consumer->event_fd, &one, sizeof one);
    *out = consumer;
    return 0;
fail:
    if (conf != NULL)
        rd_kafka_conf_destroy(conf);
    pj_consumer_close(consumer, 0);
    return -1;
}

int pj_consumer_fd(const struct pj_consumer *consumer)
{
    return consumer->event_fd;
}

int pj_consumer_subscribe(struct pj_consumer *consumer, struct pj_error *error)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)consumer->topic_count);
    for (size_t i = 0; i < consumer->topic_count; i++)
        rd_kafka_topic_partition_list_add(list, consumer->topics[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->kafka, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return pj_error_set(error, PJ_FATAL, "cannot subscribe: %s", rd_kafka_err2str(code));
    consumer->subscribed = true;
    return 0;
}

/* --- polling --------------------------------------------------------------------------------- */

static void reach_end(struct pj_partition *partition, int64_t offset)
{
    bool stops = partition->stop_offset >= 0 && partition->stop_offset < offset;
    partition->at_end = true;
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
        topic != NULL ? find_partition(consumer, topic, message->partition) : NULL;
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (partition != NULL && partition->assigned)
            reach_end(partition, message->offset);
        return;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        consumer->lost_position = true;
        break;
    default:
        break;
    }
    pj_log(PJ_WARN, "Kafka reports an error", pj_f_str("error", rd_kafka_err2name(message->err)),
           pj_f_str("topic", topic), pj_f_int("partition", message->partition),
           pj_f_str("reason", rd_kafka_message_errstr(message)));
}

static struct pj_partition *partition_of(struct pj_consumer *consumer,
                                         const rd_kafka_message_t *message)
{
    if (consumer->run_topic != message->rkt || consumer->run_partition == NULL ||
        consumer->run_partition->number != message->partition) {
        consumer->run_topic = message->rkt;
        consumer->run_partition =
            find_partition(consumer, rd_kafka_topic_name(message->rkt), message->partition);
    }
    return consumer->run_partition;
}

static bool take_record(struct pj_consumer *consumer, rd_kafka_message_t *message,
                        struct pj_record *record)
{
    struct pj_partition *partition = partition_of(consumer, message);
    if (partition == NULL || !partition->assigned)
        return false;
    if (is_stopped(partition))
        return false;
    if (partition->stop_offset >= 0 && message->offset >= partition->stop_offset) {
        /* What lies behind is fetched in vain. A pause would save that, but a partition that was
         * paused may not be fetched again after another assignment (librdkafka 2.0.2, seen). */
        reach_end(partition, partition->stop_offset);
        return false;
    }
    partition->at_end = false;
    if (message->offset < partition->next_offset) {
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
    return true;
}

static void reserve_messages(struct pj_consumer *consumer, size_t most)
{
    if (most <= consumer->messages_capacity)
        return;
    free(consumer->messages);
    consumer->messages = calloc(most, sizeof(rd_kafka_message_t *));
    if (consumer->messages == NULL)
        abort();
    consumer->messages_capacity = most;
}

/*
 * From 2.2 on rd_kafka_consume_batch_queue takes the end of a partition for a record, and what is
 * resumed after a pause goes on one record too far (librdkafka's issue 4844, mended before 2.16).
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
    (void)drained; /* nothing to read is fine: the queue tells what is there */
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
    return 0;
}

void pj_record_release(struct pj_record *record)
{
    if (record->message != NULL)
        rd_kafka_message_destroy(record->message);
    record->message = NULL;
}

char *pj_record_headers(const struct pj_record *record)
{
    rd_kafka_headers_t *headers;
    if (record->message == NULL ||
        rd_kafka_message_headers(record->message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    json_t *array = json_array();
    const char *name;
    const void *value;
    size_t size;
    for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0; i++) {
        char *hex = calloc(size * 2 + 1, 1);
        if (hex == NULL)
            abort();
        for (size_t b = 0; b < size; b++)
            snprintf(hex + b * 2, 3, "%02x", ((const uint8_t *)value)[b]);
        /* A name that is no UTF-8 cannot be in JSON; its value still can. */
        json_t *text = json_string(name);
        json_array_append_new(array, json_pack("{s:o,s:s}", "name",
                                               text != NULL ? text : json_string("?"), "hex", hex));
        free(hex);
    }
    char *json = json_dumps(array, JSON_COMPACT);
    json_decref(array);
    return json;
}

/* --- rebalances ------------------------------------------------------------------------------ */

const struct pj_rebalance *pj_consumer_rebalance(const struct pj_consumer *consumer)
{
    return &consumer->rebalance;
}

int pj_consumer_watermarks(struct pj_consumer *consumer, int64_t timeout_ms, struct pj_error *error)
{
    for (size_t i = 0; i < consumer->rebalance.count; i++) {
        struct pj_partition *partition = consumer->rebalance.partitions[i];
        rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(consumer->kafka, partition->topic, partition->number,
                                             &partition->low, &partition->high, (int)timeout_ms);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return pj_error_set(error, PJ_RETRY, "Kafka does not tell the ends of %s [%d]: %s",
                                partition->topic, partition->number, rd_kafka_err2str(code));
    }
    return 0;
}

int pj_consumer_topic_ids(struct pj_consumer *consumer, int64_t timeout_ms, struct pj_error *error)
{
    const char *unknown;
    if (pj_topic_ids_ask(consumer->kafka, consumer->topic_ids, consumer->topic_count, timeout_ms,
                         &unknown, error) != 0)
        return -1;
    if (unknown != NULL && !consumer->told_unknown_ids)
        pj_log(PJ_INFO,
               "topic ids are not known: a topic that is created anew is noticed only where it "
               "ends before our offset",
               pj_f_str("reason", unknown), pj_f_str("librdkafka", rd_kafka_version_str()));
    consumer->told_unknown_ids |= unknown != NULL;
    return 0;
}

static int check(rd_kafka_error_t *failed, const char *what, struct pj_error *error)
{
    if (failed == NULL)
        return 0;
    pj_error_set(error, PJ_RETRY, "cannot %s partitions: %s", what, rd_kafka_error_string(failed));
    if (rd_kafka_error_is_fatal(failed))
        error->class = PJ_FATAL;
    rd_kafka_error_destroy(failed);
    return -1;
}

/* What librdkafka kept begins anew, where Postgres says. */
static int unassign_kept(struct pj_consumer *consumer, struct pj_error *error)
{
    const struct pj_rebalance *rebalance = &consumer->rebalance;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    for (size_t i = 0; i < rebalance->count; i++) {
        if (rebalance->partitions[i]->kept)
            rd_kafka_topic_partition_list_add(list, rebalance->partitions[i]->topic,
                                              rebalance->partitions[i]->number);
    }
    int status = 0;
    if (list->cnt > 0)
        status = check(rd_kafka_incremental_unassign(consumer->kafka, list), "unassign", error);
    rd_kafka_topic_partition_list_destroy(list);
    for (size_t i = 0; i < rebalance->count && status == 0; i++)
        rebalance->partitions[i]->kept = false;
    return status;
}

int pj_consumer_assign(struct pj_consumer *consumer, struct pj_error *error)
{
    struct pj_rebalance *rebalance = &consumer->rebalance;
    if (unassign_kept(consumer, error) != 0)
        return -1;
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)rebalance->count + 1);
    for (size_t i = 0; i < rebalance->count; i++) {
        struct pj_partition *partition = rebalance->partitions[i];
        rd_kafka_topic_partition_list_add(list, partition->topic, partition->number)->offset =
            partition->next_offset;
    }
    int status;
    if (is_cooperative(consumer)) {
        status = check(rd_kafka_incremental_assign(consumer->kafka, list), "assign", error);
    } else {
        rd_kafka_resp_err_t code = rd_kafka_assign(consumer->kafka, list);
        status = code == RD_KAFKA_RESP_ERR_NO_ERROR
                     ? 0
                     : pj_error_set(error, PJ_RETRY, "cannot assign partitions: %s",
                                    rd_kafka_err2str(code));
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (status != 0)
        return -1;
    for (size_t i = 0; i < rebalance->count; i++) {
        struct pj_partition *partition = rebalance->partitions[i];
        partition->assigned = true;
        partition->generation++;
        partition->at_end = false;
    }
    forget_rebalance(consumer);
    consumer->settled = true;
    if (consumer->paused) {
        consumer->paused = false;
        pj_consumer_pause(consumer);
    }
    return 0;
}

void pj_consumer_unassign(struct pj_consumer *consumer)
{
    struct pj_rebalance *rebalance = &consumer->rebalance;
    for (size_t i = 0; i < rebalance->count; i++) {
        rebalance->partitions[i]->assigned = false;
        rebalance->partitions[i]->kept = false;
    }
    /* librdkafka remembers a pause beyond the assignment: they would come back paused. */
    if (consumer->paused)
        rd_kafka_resume_partitions(consumer->kafka, consumer->rebalance_list);
    struct pj_error error;
    if (is_cooperative(consumer)) {
        rd_kafka_error_t *failed =
            rd_kafka_incremental_unassign(consumer->kafka, consumer->rebalance_list);
        if (check(failed, "unassign", &error) != 0)
            pj_log(PJ_WARN, error.message);
    } else {
        rd_kafka_assign(consumer->kafka, NULL);
        for (size_t i = 0; i < consumer->partition_count; i++)
            consumer->partitions[i]->assigned = false;
    }
    forget_rebalance(consumer);
}

int pj_consumer_rejoin(struct pj_consumer *consumer, struct pj_error *error)
{
    /* The revocation comes through the poll, like any other. What was fetched is void, and so is
     * what still comes until then: it lies behind records that are forgotten now. */
    pj_consumer_resume(consumer);
    for (size_t i = 0; i < consumer->partition_count; i++) {
        consumer->partitions[i]->generation++;
        consumer->partitions[i]->assigned = false;
    }
    consumer->settled = false;
    rd_kafka_unsubscribe(consumer->kafka);
    return pj_consumer_subscribe(consumer, error);
}

bool pj_consumer_lost_position(struct pj_consumer *consumer)
{
    bool lost = consumer->lost_position;
    consumer->lost_position = false;
    return lost;
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

void pj_consumer_pause(struct pj_consumer *consumer)
{
    if (consumer->paused)
        return;
    rd_kafka_topic_partition_list_t *list = assigned_list(consumer);
    rd_kafka_pause_partitions(consumer->kafka, list);
    rd_kafka_topic_partition_list_destroy(list);
    consumer->paused = true;
}

void pj_consumer_resume(struct pj_consumer *consumer)
{
    if (!consumer->paused)
        return;
    rd_kafka_topic_partition_list_t *list = assigned_list(consumer);
    rd_kafka_resume_partitions(consumer->kafka, list);
    rd_kafka_topic_partition_list_destroy(list);
    consumer->paused = false;
}

bool pj_consumer_paused(const struct pj_consumer *consumer)
{
    return consumer->paused;
}

void pj_consumer_tell_group(struct pj_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < consumer->partition_count; i++) {
        struct pj_partition *partition = consumer->partitions[i];
        if (!partition->assigned || partition->told_offset == partition->next_offset)
            continue;
        rd_kafka_topic_partition_list_add(list, partition->topic, partition->number)->offset =
            partition->next_offset;
        partition->told_offset = partition->next_offset;
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

bool pj_consumer_settled(const struct pj_consumer *consumer)
{
    return consumer->settled && consumer->rebalance.kind == PJ_REBALANCE_NONE;
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
        return pj_error_set(error, PJ_RETRY, "no Kafka broker answers");
    *id = consumer->cluster_id;
    return 0;
}

int pj_consumer_missing_topic(struct pj_consumer *consumer, int64_t timeout_ms,
                              const char **missing, struct pj_error *error)
{
    *missing = NULL;
    for (size_t i = 0; i < consumer->topic_count && *missing == NULL; i++) {
        rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer->kafka, consumer->topics[i], NULL);
        const struct rd_kafka_metadata *metadata;
        rd_kafka_resp_err_t code =
            rd_kafka_metadata(consumer->kafka, 0, topic, &metadata, (int)timeout_ms);
        rd_kafka_topic_destroy(topic);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return pj_error_set(error, PJ_RETRY, "no Kafka broker answers: %s",
                                rd_kafka_err2str(code));
        if (metadata->topic_cnt != 1 || metadata->topics[0].partition_cnt == 0)
            *missing = consumer->topics[i];
        rd_kafka_metadata_destroy(metadata);
    }
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
 * and the group's first answer (its issue 4312). The group is left already and the process ends. */
static bool may_destroy(const struct pj_consumer *consumer)
{
    return rd_kafka_version() >= 0x02030000 || !consumer->subscribed || consumer->group_answered;
}

void pj_consumer_close(struct pj_consumer *consumer, int64_t timeout_ms)
{
    if (consumer == NULL)
        return;
    bool left = true;
    if (consumer->kafka != NULL) {
        leave_group(consumer, timeout_ms);
        left = rd_kafka_consumer_closed(consumer->kafka);
    }
    forget_rebalance(consumer);
    if (consumer->queue != NULL) {
        rd_kafka_queue_io_event_enable(consumer->queue, -1, NULL, 0);
        rd_kafka_queue_destroy(consumer->queue);
    }
    if (consumer->kafka != NULL) {
        /* Without the close librdkafka would wait for brokers that are away: the process is ending
         * and the session time-out will tell the group. */
        if (left && may_destroy(consumer))
            rd_kafka_destroy(consumer->kafka);
        else if (may_destroy(consumer))
            rd_kafka_destroy_flags(consumer->kafka, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    if (consumer->event_fd >= 0)
        close(consumer->event_fd);
    for (size_t i = 0; i < consumer->partition_count; i++)
        free(consumer->partitions[i]);
    free(consumer->partitions);
    for (size_t i = 0; i < consumer->topic_count; i++)
        free(consumer->topics[i]);
    free(consumer->topics);
    free(consumer->topic_ids);
    free(consumer->messages);
    free(consumer->cluster_id);
    free(consumer);
}
