/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/producer_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum {
    POLL_EVERY = 128,   /* sends; delivery reports pile up in between */
    FULL_WAIT_MS = 100, /* for a place in the queue, before `stop` is looked at again */
    METADATA_FIRST_MS = 500,
};

/* --- what librdkafka tells us ---------------------------------------------------------------- */

static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    (void)client;
    /* What librdkafka calls an error it retries by itself; what it gives up comes to on_error. */
    enum pj_log_level ours = level <= 4 ? PJ_WARN : level <= 6 ? PJ_INFO : PJ_DEBUG;
    pj_log(ours, "librdkafka", pj_f_str("facility", facility), pj_f_str("text", text));
}

int pj_producer_set_broken(struct pj_error *error, rd_kafka_resp_err_t cause, const char *what)
{
    if (pj_refusal_class(cause) == PJ_FENCED)
        return pj_error_set(error, PJ_FENCED,
                            "%.400s: another producer has taken over this transactional.id (%s)",
                            what, rd_kafka_err2name(cause));
    pj_refusal_set(error, cause, what); /* with the exit code of what may return */
    error->class = PJ_FATAL;
    return -1;
}

void pj_producer_count_refusal(struct pj_producer *producer, rd_kafka_resp_err_t code)
{
    char label[96];
    if (producer->metrics == NULL)
        return;
    pj_text_whole(label, sizeof label, "error=\"%s\"", rd_kafka_err2name(code));
    pj_metric_add(pj_metrics_add(producer->metrics, PJ_COUNTER,
                                 "projectionist_kafka_refusals_total", label,
                                 "Records and transactions that Kafka did not take, by its error; "
                                 "they are tried again, or are dead letters."),
                  1);
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    struct pj_producer *producer = opaque;
    char text[256];
    pthread_mutex_lock(&producer->mutex);
    if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR__SSL)
        producer->refused = true;
    if (code == RD_KAFKA_RESP_ERR__FATAL && !producer->is_broken) {
        rd_kafka_resp_err_t cause = rd_kafka_fatal_error(client, text, sizeof text);
        producer->is_broken = true;
        pj_producer_set_broken(&producer->fatal, cause, "Kafka's producer cannot go on");
        pj_producer_count_refusal(producer, cause);
    }
    /* "All brokers are down" says less than the reason that came before it. */
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || *producer->last_error == '\0')
        pj_text_show(producer->last_error, sizeof producer->last_error, "%s", reason);
    pthread_mutex_unlock(&producer->mutex);
}

static void on_throttle(rd_kafka_t *client, const char *broker, int32_t id, int ms, void *opaque)
{
    struct pj_producer *producer = opaque;
    (void)client;
    (void)id;
    if (ms == 0)
        return;
    pthread_mutex_lock(&producer->mutex);
    pj_text_show(producer->last_error, sizeof producer->last_error,
                 "%s slows us down by a quota (THROTTLING_QUOTA_EXCEEDED, %d ms)", broker, ms);
    pthread_mutex_unlock(&producer->mutex);
}

static struct pj_producer_topic *topic_of(struct pj_producer *producer, const rd_kafka_topic_t *rkt)
{
    pthread_mutex_lock(&producer->mutex);
    struct pj_producer_topic *topic = producer->topics;
    while (topic != NULL &&
           strcmp(rd_kafka_topic_name(topic->handle), rd_kafka_topic_name(rkt)) != 0)
        topic = topic->next;
    pthread_mutex_unlock(&producer->mutex);
    return topic;
}

static void give_back(struct pj_producer *producer, const rd_kafka_message_t *failed,
                      const struct pj_error *failure)
{
    struct pj_producer_message message = {.topic = topic_of(producer, failed->rkt),
                                          .partition = failed->partition,
                                          .key = {failed->key, failed->key_len},
                                          .value = {failed->payload, failed->len},
                                          .opaque = failed->_private};
    rd_kafka_headers_t *headers = NULL;
    struct pj_header *copy = NULL;
    if (rd_kafka_message_headers(failed, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        message.header_count = rd_kafka_header_cnt(headers);
        copy = pj_calloc(message.header_count, sizeof *copy);
        for (size_t i = 0; i < message.header_count; i++) {
            const char *name = NULL;
            (void)rd_kafka_header_get_all(headers, i, &name, &copy[i].value.data,
                                          &copy[i].value.length);
            copy[i].name = (struct pj_bytes){name, strlen(name)};
        }
        message.headers = copy;
    }
    producer->delivered(producer->context, &message, failure);
    free(copy);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct pj_producer *producer = opaque;
    struct pj_error failure = {.class = PJ_FATAL};
    bool failed = message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
    char what[320];
    (void)client;
    if (failed) {
        pj_text_show(what, sizeof what, "cannot publish to topic %s, partition %d",
                     rd_kafka_topic_name(message->rkt), (int)message->partition);
        pj_refusal_set(&failure, message->err, what);
        pj_producer_count_refusal(producer, message->err);
    }
    pthread_mutex_lock(&producer->mutex);
    if (failed) {
        producer->counts.failed++;
        /* What was purged, or is good itself, only follows from another failure. */
        bool is_cause = message->err != RD_KAFKA_RESP_ERR__PURGE_QUEUE &&
                        message->err != RD_KAFKA_RESP_ERR__PURGE_INFLIGHT &&
                        message->err != PJ_INVALID_DIFFERENT_RECORD;
        if (!producer->has_failed || (is_cause && !producer->has_cause))
            producer->first_failure = failure;
        producer->has_failed = true;
        producer->has_cause |= is_cause;
    } else {
        producer->counts.delivered++;
        producer->progress_ms = pj_clock_monotonic_ms();
        producer->last_error[0] = '\0'; /* whatever it was, it is over */
    }
    pthread_mutex_unlock(&producer->mutex);
    if (producer->delivered == NULL)
        return;
    if (failed) {
        give_back(producer, message, &failure);
    } else {
        const struct pj_producer_message taken = {.opaque = message->_private};
        producer->delivered(producer->context, &taken, NULL);
    }
}

/* --- opening --------------------------------------------------------------------------------- */

static int set(rd_kafka_conf_t *conf, const char *key, const char *value, struct pj_error *error)
{
    char reason[256];
    if (rd_kafka_conf_set(conf, key, value, reason, sizeof reason) != RD_KAFKA_CONF_OK)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "kafka.%s is not accepted: %s", key, reason);
    return 0;
}

static int configure_transactions(rd_kafka_conf_t *conf,
                                  const struct pj_producer_settings *settings,
                                  struct pj_error *error)
{
    char timeout[24];
    if (settings->transactional_id == NULL)
        return 0;
    pj_text_whole(timeout, sizeof timeout, "%lld", (long long)settings->transaction_timeout_ms);
    if (set(conf, "transactional.id", settings->transactional_id, error) != 0 ||
        set(conf, "transaction.timeout.ms", timeout, error) != 0)
        return -1;
    /* A transaction ends with its time-out, and so must what is sent in it. */
    return set(conf, "message.timeout.ms", timeout, error);
}

static int configure(rd_kafka_conf_t *conf, const struct pj_producer_settings *settings,
                     struct pj_error *error)
{
    static const char *const defaults[][2] = {
        {"enable.idempotence", "true"},
        {"acks", "all"},
        {"compression.type", "lz4"},
        {"partitioner", "murmur2_random"},
        {"queue.buffering.max.messages", "200000"},
        {"queue.buffering.max.kbytes", "131072"},
        /* How large a record may be is the topic's to say. */
        {"message.max.bytes", "67108864"},
        /* A message that is given up leaves a hole in the order. We do not give up message by
         * message: stall_ms ends the whole. */
        {"message.timeout.ms", "0"},
        {"reconnect.backoff.max.ms", "2000"},
    };
    char linger[24];
    pj_text_whole(linger, sizeof linger, "%lld", (long long)settings->linger_ms);
    if (set(conf, "client.id", settings->client_id, error) != 0 ||
        set(conf, "linger.ms", linger, error) != 0)
        return -1;
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        if (set(conf, defaults[i][0], defaults[i][1], error) != 0)
            return -1;
    }
    if (configure_transactions(conf, settings, error) != 0)
        return -1;
    for (size_t i = 0; i < settings->kafka->count; i++) {
        if (settings->transactional_id != NULL &&
            strcmp(settings->kafka->items[i].key, "transactional.id") == 0)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "kafka.transactional.id cannot be set: it is %s",
                                  settings->transactional_id);
        if (set(conf, settings->kafka->items[i].key, settings->kafka->items[i].value, error) != 0)
            return -1;
    }
    return 0;
}

static int open_client(struct pj_producer *producer, const struct pj_producer_settings *settings,
                       struct pj_error *error)
{
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_throttle_cb(conf, on_throttle);
    if (configure(conf, settings, error) != 0) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    producer->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (producer->client == NULL) {
        rd_kafka_conf_destroy(conf);
        return pj_error_fatal(error, PJ_EXIT_USAGE, "the kafka.* settings are not accepted: %s",
                              reason);
    }
    return 0;
}

int pj_producer_open(struct pj_producer **out, const struct pj_producer_settings *settings,
                     struct pj_error *error)
{
    const char *servers = pj_properties_get(settings->kafka, "bootstrap.servers");
    if (servers == NULL || *servers == '\0')
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no Kafka is named: give --kafka.bootstrap.servers or set "
                              "PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS (for the local cluster: eval "
                              "\"$(deploy/local/cluster env)\")");
    struct pj_producer *producer = pj_alloc(sizeof *producer);
    const char *mechanism = pj_properties_get(settings->kafka, "sasl.mechanisms");
    if (mechanism == NULL)
        mechanism = pj_properties_get(settings->kafka, "sasl.mechanism");
    pthread_mutex_init(&producer->mutex, NULL);
    producer->scram = mechanism != NULL && strncmp(mechanism, "SCRAM", 5) == 0;
    producer->stall_ms = settings->stall_ms;
    producer->delivered = settings->delivered;
    producer->context = settings->context;
    producer->stop = settings->stop;
    producer->is_transactional = settings->transactional_id != NULL;
    producer->metrics = settings->metrics;
    producer->servers = pj_strdup(servers);
    if (open_client(producer, settings, error) != 0) {
        pj_producer_close(producer);
        return -1;
    }
    *out = producer;
    return 0;
}

void pj_producer_close(struct pj_producer *producer)
{
    if (producer == NULL)
        return;
    if (producer->client != NULL) {
        /* Without this, destroying would wait for brokers that may be away. */
        rd_kafka_purge(producer->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_poll(producer->client, 0);
    }
    while (producer->topics != NULL) {
        struct pj_producer_topic *topic = producer->topics;
        producer->topics = topic->next;
        rd_kafka_topic_destroy(topic->handle);
        free(topic);
    }
    if (producer->client != NULL)
        rd_kafka_destroy(producer->client);
    pthread_mutex_destroy(&producer->mutex);
    free(producer->servers);
    free(producer);
}

/* --- topics ---------------------------------------------------------------------------------- */

/* `what` and the reason that librdkafka gave last. */
int pj_producer_unavailable(struct pj_producer *producer, const char *what, struct pj_error *error)
{
    char reason[256];
    pthread_mutex_lock(&producer->mutex);
    bool refused = producer->refused;
    pj_text_show(reason, sizeof reason, "%s", producer->last_error);
    pthread_mutex_unlock(&producer->mutex);
    if (refused && producer->scram && rd_kafka_version() < 0x02060100)
        pj_error_set(error, PJ_FATAL,
                     "%s: %s (librdkafka %s cannot log in to Kafka 4 by SASL/SCRAM, whatever the "
                     "password; PLAIN over TLS, mTLS or librdkafka 2.6.1 can)",
                     what, reason, rd_kafka_version_str());
    else
        pj_error_set(error, refused ? PJ_FATAL : PJ_RETRY, "%s%s%s", what, *reason ? ": " : "",
                     reason);
    error->exit_code = refused ? PJ_EXIT_FAILED : PJ_EXIT_UNAVAILABLE;
    return -1;
}

static bool should_stop(const struct pj_producer *producer)
{
    return producer->stop != NULL && *producer->stop != 0;
}

static bool is_refused(struct pj_producer *producer)
{
    rd_kafka_poll(producer->client, 0); /* delivers what waits for on_error */
    pthread_mutex_lock(&producer->mutex);
    bool refused = producer->refused;
    pthread_mutex_unlock(&producer->mutex);
    return refused;
}

int pj_producer_describe(struct pj_producer *producer, struct pj_producer_topic_info *topics,
                         size_t count, int64_t timeout_ms, struct pj_error *error)
{
    const struct rd_kafka_metadata *metadata = NULL;
    char what[512];
    int64_t deadline = pj_clock_monotonic_ms() + timeout_ms;
    /* In pieces, so that a refusal or a signal is heard of in between. All topics are asked for:
     * a broker may make a topic that is asked for by name. */
    for (int64_t piece = METADATA_FIRST_MS;; piece *= 2) {
        int64_t left = deadline - pj_clock_monotonic_ms();
        if (rd_kafka_metadata(producer->client, 1, NULL, &metadata,
                              (int)(left < piece ? (left > 0 ? left : 0) : piece)) ==
            RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        if (left > piece && !is_refused(producer) && !should_stop(producer))
            continue;
        is_refused(producer);
        pj_text_show(what, sizeof what, "cannot reach Kafka at %s", producer->servers);
        return pj_producer_unavailable(producer, what, error);
    }
    for (size_t i = 0; i < count; i++) {
        topics[i].partitions = 0;
        for (int j = 0; j < metadata->topic_cnt; j++) {
            if (strcmp(metadata->topics[j].topic, topics[i].name) == 0)
                topics[i].partitions = metadata->topics[j].partition_cnt;
        }
    }
    rd_kafka_metadata_destroy(metadata);
    return 0;
}

int pj_producer_topic(struct pj_producer *producer, const char *name,
                      struct pj_producer_topic **out, struct pj_error *error)
{
    pthread_mutex_lock(&producer->mutex);
    struct pj_producer_topic *topic = producer->topics;
    while (topic != NULL && strcmp(rd_kafka_topic_name(topic->handle), name) != 0)
        topic = topic->next;
    rd_kafka_topic_t *handle =
        topic == NULL ? rd_kafka_topic_new(producer->client, name, NULL) : NULL;
    if (handle != NULL) {
        topic = pj_alloc(sizeof *topic);
        *topic = (struct pj_producer_topic){producer->topics, handle};
        producer->topics = topic;
    }
    pthread_mutex_unlock(&producer->mutex);
    *out = topic;
    return topic != NULL ? 0
                         : pj_error_set(error, PJ_FATAL, "cannot use the topic '%s': %s", name,
                                        rd_kafka_err2str(rd_kafka_last_error()));
}

/* --- sending --------------------------------------------------------------------------------- */

static int64_t under_way(const struct pj_producer_counts *counts)
{
    return counts->sent - counts->delivered - counts->failed;
}

/* What has gone wrong so far that ends the work. */
static int check(struct pj_producer *producer, struct pj_error *error)
{
    char what[512];
    int status = 0;
    pthread_mutex_lock(&producer->mutex);
    int64_t quiet_ms = pj_clock_monotonic_ms() - producer->progress_ms;
    bool stalls = producer->stall_ms > 0 && under_way(&producer->counts) > 0 &&
                  quiet_ms >= producer->stall_ms;
    if (producer->is_broken) {
        *error = producer->fatal;
        status = -1;
    } else if (producer->has_failed && producer->delivered == NULL && !producer->is_transactional) {
        *error = producer->first_failure;
        status = -1;
    }
    bool refused = producer->refused && under_way(&producer->counts) > 0 && quiet_ms >= 5000;
    pthread_mutex_unlock(&producer->mutex);
    if (status != 0 || !(stalls || (refused && producer->stall_ms > 0)))
        return status;
    pj_text_show(what, sizeof what, "Kafka at %s has taken nothing for %lld s", producer->servers,
                 (long long)(quiet_ms / 1000));
    return pj_producer_unavailable(producer, what, error);
}

static rd_kafka_headers_t *copy_headers(const struct pj_header *headers, size_t count)
{
    rd_kafka_headers_t *copy = rd_kafka_headers_new(count);
    for (size_t i = 0; i < count; i++)
        rd_kafka_header_add(copy, headers[i].name.data, (ssize_t)headers[i].name.length,
                            headers[i].value.data, (ssize_t)headers[i].value.length);
    return copy;
}

static rd_kafka_resp_err_t produce(struct pj_producer *producer,
                                   const struct pj_producer_message *message)
{
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_vu_t arguments[8] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = message->topic->handle},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = message->partition},
        {.vtype = RD_KAFKA_VTYPE_VALUE,
         .u.mem = {(void *)(uintptr_t)message->value.data, message->value.length}},
        {.vtype = RD_KAFKA_VTYPE_KEY,
         .u.mem = {(void *)(uintptr_t)message->key.data, message->key.length}},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = message->timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = message->opaque},
    };
    size_t count = 7;
    if (message->header_count > 0) {
        headers = copy_headers(message->headers, message->header_count);
        arguments[count].vtype = RD_KAFKA_VTYPE_HEADERS;
        arguments[count++].u.headers = headers;
    }
    rd_kafka_error_t *failure = rd_kafka_produceva(producer->client, arguments, count);
    if (failure == NULL)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_resp_err_t code = rd_kafka_error_code(failure);
    rd_kafka_error_destroy(failure);
    if (headers != NULL)
        rd_kafka_headers_destroy(headers); /* still ours */
    return code;
}

/* Counted before it is queued: its delivery may be reported before produce returns. */
static int64_t count_sent(struct pj_producer *producer, int64_t change)
{
    pthread_mutex_lock(&producer->mutex);
    if (change > 0 && under_way(&producer->counts) == 0)
        producer->progress_ms = pj_clock_monotonic_ms();
    producer->counts.sent += change;
    int64_t sent = producer->counts.sent;
    pthread_mutex_unlock(&producer->mutex);
    return sent;
}

static void refuse_locally(struct pj_producer *producer, const struct pj_producer_message *message,
                           rd_kafka_resp_err_t code, struct pj_error *error)
{
    char what[320];
    pj_text_show(what, sizeof what, "cannot publish to topic %s",
                 rd_kafka_topic_name(message->topic->handle));
    pj_refusal_set(error, code, what);
    pj_producer_count_refusal(producer, code);
}

int pj_producer_send(struct pj_producer *producer, const struct pj_producer_message *message,
                     struct pj_error *error)
{
    int64_t sent = count_sent(producer, 1);
    rd_kafka_resp_err_t code;
    /* Before the message is queued: afterwards an error would say that it was not. */
    if (sent % POLL_EVERY == 0 && pj_producer_poll(producer, 0, error) != 0)
        goto fail;
    while ((code = produce(producer, message)) == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        rd_kafka_poll(producer->client, FULL_WAIT_MS);
        if (check(producer, error) != 0)
            goto fail;
        if (should_stop(producer)) {
            count_sent(producer, -1);
            return 1;
        }
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        /* check has the reason of a fatal error. A transaction that has failed takes no records. */
        bool must_abort = producer->is_transactional && code == RD_KAFKA_RESP_ERR__STATE;
        if (check(producer, error) == 0 && must_abort)
            pj_producer_why_abort(producer, error);
        else if (check(producer, error) == 0)
            refuse_locally(producer, message, code, error);
        goto fail;
    }
    return 0;
fail:
    count_sent(producer, -1);
    return -1;
}

int pj_producer_poll(struct pj_producer *producer, int64_t wait_ms, struct pj_error *error)
{
    rd_kafka_poll(producer->client, (int)wait_ms);
    return check(producer, error);
}

int pj_producer_flush(struct pj_producer *producer, int64_t timeout_ms, struct pj_error *error)
{
    int64_t deadline = pj_clock_monotonic_ms() + timeout_ms;
    char what[512];
    for (;;) {
        int64_t left = deadline - pj_clock_monotonic_ms();
        /* Also sends at once what linger.ms would hold back. */
        rd_kafka_flush(producer->client,
                       (int)(left < FULL_WAIT_MS ? (left > 0 ? left : 0) : FULL_WAIT_MS));
        struct pj_producer_counts counts = pj_producer_counts(producer);
        if (check(producer, error) != 0)
            return -1;
        if (under_way(&counts) == 0)
            break;
        if (left > 0)
            continue;
        pj_text_show(what, sizeof what, "Kafka at %s has not taken %lld of the records in time",
                     producer->servers, (long long)under_way(&counts));
        return pj_producer_unavailable(producer, what, error);
    }
    pthread_mutex_lock(&producer->mutex);
    int status = producer->has_failed && producer->delivered == NULL ? -1 : 0;
    if (status != 0)
        *error = producer->first_failure;
    pthread_mutex_unlock(&producer->mutex);
    return status;
}

struct pj_producer_counts pj_producer_counts(struct pj_producer *producer)
{
    pthread_mutex_lock(&producer->mutex);
    struct pj_producer_counts counts = producer->counts;
    pthread_mutex_unlock(&producer->mutex);
    return counts;
}
