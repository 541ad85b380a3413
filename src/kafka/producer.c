/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/producer_internal.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    POLL_EVERY = 128,   /* sends; delivery reports pile up in between */
    FULL_WAIT_MS = 100, /* for a place in the queue, before `stop` is looked at again */
    METADATA_FIRST_MS = 500,
};

/* --- what librdkafka reports ------------------------------------------------------------------ */

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
    if (code == RD_KAFKA_RESP_ERR__FATAL && !producer->is_broken) {
        rd_kafka_resp_err_t cause = rd_kafka_fatal_error(client, text, sizeof text);
        producer->is_broken = true;
        pj_producer_set_broken(&producer->fatal, cause, "Kafka's producer cannot go on");
        pj_producer_count_refusal(producer, cause);
    }
    pj_client_note(&producer->trouble, code, reason);
    pthread_mutex_unlock(&producer->mutex);
}

/* Which topic a transaction must not write, only the log says: Failed to add partition "TOPIC" [0]
 * to transaction: Broker: Topic authorization failed. */
static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    struct pj_producer *producer = rd_kafka_opaque(client);
    const char *begin = strchr(text, '"');
    const char *end = begin != NULL ? strchr(begin + 1, '"') : NULL;
    if (strcmp(facility, "ADDPARTS") == 0 && end != NULL &&
        strstr(end, "Topic authorization failed") != NULL) {
        pthread_mutex_lock(&producer->mutex);
        pj_text_show(producer->forbidden, sizeof producer->forbidden, "%.*s",
                     (int)(end - begin - 1), begin + 1);
        pthread_mutex_unlock(&producer->mutex);
    }
    pj_client_log(client, level, facility, text);
}

/* Of Kafka's protocol. */
enum { END_TXN = 26 };

static rd_kafka_resp_err_t on_request(rd_kafka_t *client, int fd, const char *broker, int32_t id,
                                      int16_t api, int16_t version, int32_t correlation,
                                      size_t size, void *opaque)
{
    struct pj_producer *producer = opaque;
    (void)client, (void)fd, (void)broker, (void)id, (void)version, (void)correlation, (void)size;
    if (api == END_TXN)
        atomic_fetch_add(&producer->ends_sent, 1);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t watch_ends(rd_kafka_t *client, const rd_kafka_conf_t *conf, void *opaque,
                                      char *text, size_t size)
{
    (void)conf, (void)text, (void)size;
    return rd_kafka_interceptor_add_on_request_sent(client, "ends", on_request, opaque);
}

static void on_throttle(rd_kafka_t *client, const char *broker, int32_t id, int ms, void *opaque)
{
    struct pj_producer *producer = opaque;
    (void)client;
    (void)id;
    if (ms == 0)
        return;
    pthread_mutex_lock(&producer->mutex);
    pj_text_show(producer->trouble.last, sizeof producer->trouble.last,
                 "%s throttles us by a quota (THROTTLING_QUOTA_EXCEEDED, %d ms)", broker, ms);
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
        pj_client_answered(&producer->trouble);
    }
    pthread_mutex_unlock(&producer->mutex);
    if (producer->delivered == NULL)
        return;
    if (failed) {
        give_back(producer, message, &failure);
    } else {
        const struct pj_producer_message taken = {.partition = message->partition,
                                                  .opaque = message->_private,
                                                  .offset = message->offset};
        producer->delivered(producer->context, &taken, NULL);
    }
}

/* --- opening --------------------------------------------------------------------------------- */

static int open_client(struct pj_producer *producer, const struct pj_producer_settings *settings,
                       struct pj_error *error)
{
    const bool transactional = settings->transactional_id != NULL;
    char linger[24], timeout[24];
    pj_text_whole(linger, sizeof linger, "%lld", (long long)settings->linger_ms);
    pj_text_whole(timeout, sizeof timeout, "%lld", (long long)settings->transaction_timeout_ms);
    const struct pj_client_setting defaults[] = {
        {"linger.ms", linger},
        {"enable.idempotence", "true"},
        {"acks", "all"},
        {"compression.type", "lz4"},
        {"partitioner", "murmur2_random"},
        {"queue.buffering.max.messages", "200000"},
        {"queue.buffering.max.kbytes", "131072"},
        /* How large a record may be is the topic's to say. */
        {"message.max.bytes", "67108864"},
        /* A message that is given up leaves a hole in the order. We do not give up message by
         * message: stall_ms ends the whole. But a transaction ends with its time-out, and so must
         * what is sent in it. */
        {"message.timeout.ms", transactional ? timeout : "0"},
        {"reconnect.backoff.max.ms", "2000"},
        {"allow.auto.create.topics", "false"},
        {transactional ? "transaction.timeout.ms" : NULL, timeout},
        {0},
    };
    const struct pj_client_setting fixed[] = {
        {transactional ? "transactional.id" : NULL, settings->transactional_id,
         "this program sets it"},
        {0},
    };
    const struct pj_client_settings client = {
        .properties = settings->kafka,
        .client_id = settings->client_id,
        .defaults = defaults,
        .fixed = fixed,
        .trouble = &producer->trouble,
        .on_error = on_error,
        .opaque = producer,
    };
    rd_kafka_conf_t *conf = pj_client_configure(&client, error);
    if (conf == NULL)
        return -1;
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_throttle_cb(conf, on_throttle);
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (transactional && rd_kafka_conf_interceptor_add_on_new(conf, "ends", watch_ends, producer) !=
                             RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_conf_destroy(conf);
        return pj_error_set(error, PJ_FATAL, "librdkafka does not let its requests be counted");
    }
    producer->client = pj_client_start(RD_KAFKA_PRODUCER, conf, error);
    return producer->client != NULL ? 0 : -1;
}

int pj_producer_open(struct pj_producer **out, const struct pj_producer_settings *settings,
                     struct pj_error *error)
{
    struct pj_producer *producer = pj_alloc(sizeof *producer);
    pthread_mutex_init(&producer->mutex, NULL);
    producer->stall_ms = settings->stall_ms;
    producer->delivered = settings->delivered;
    producer->context = settings->context;
    producer->stop = settings->stop;
    producer->transactional_id =
        settings->transactional_id != NULL ? pj_strdup(settings->transactional_id) : NULL;
    producer->metrics = settings->metrics;
    producer->servers = pj_strdup(pj_properties_get(settings->kafka, "bootstrap.servers"));
    pj_client_files_open(&producer->files, settings->kafka);
    if (open_client(producer, settings, error) != 0) {
        pj_producer_close(producer);
        return -1;
    }
    *out = producer;
    return 0;
}

bool pj_producer_files_changed(struct pj_producer *producer)
{
    return pj_client_files_changed(&producer->files);
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
    free(producer->transactional_id);
    free(producer->servers);
    free(producer);
}

/* --- topics ---------------------------------------------------------------------------------- */

/* `what` and the reason that librdkafka gave last. */
int pj_producer_unavailable(struct pj_producer *producer, const char *what, struct pj_error *error)
{
    pthread_mutex_lock(&producer->mutex);
    const struct pj_client_trouble trouble = producer->trouble;
    pthread_mutex_unlock(&producer->mutex);
    pj_client_fail(&trouble, what, error);
    error->exit_code = trouble.refused ? PJ_EXIT_FAILED : PJ_EXIT_UNAVAILABLE;
    return -1;
}

static bool should_stop(const struct pj_producer *producer)
{
    return producer->stop != NULL && *producer->stop != 0;
}

bool pj_producer_is_refused(struct pj_producer *producer)
{
    rd_kafka_poll(producer->client, 0); /* delivers what waits for on_error */
    pthread_mutex_lock(&producer->mutex);
    bool refused = producer->trouble.refused;
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
        if (left > piece && !pj_producer_is_refused(producer) && !should_stop(producer))
            continue;
        (void)pj_producer_is_refused(producer);
        pj_text_show(what, sizeof what, "cannot reach Kafka at %s", producer->servers);
        return pj_producer_unavailable(producer, what, error);
    }
    pthread_mutex_lock(&producer->mutex);
    pj_client_answered(&producer->trouble);
    pthread_mutex_unlock(&producer->mutex);
    int hidden = 0;
    for (size_t i = 0; i < count && hidden >= 0; i++) {
        topics[i].partitions = pj_client_partitions(metadata, topics[i].name);
        hidden = topics[i].partitions == 0
                     ? pj_client_is_hidden(producer->client, topics[i].name, METADATA_FIRST_MS)
                     : 0;
        topics[i].is_hidden = hidden > 0;
    }
    rd_kafka_metadata_destroy(metadata);
    if (hidden >= 0)
        return 0;
    pj_text_show(what, sizeof what, "Kafka at %s does not list its topics", producer->servers);
    return pj_producer_unavailable(producer, what, error);
}

int pj_producer_no_topic(const struct pj_producer_topic_info *topic, struct pj_error *error)
{
    if (!topic->is_hidden)
        return pj_error_set(error, PJ_FATAL,
                            "Kafka has no topic %s; 'projectionist topics create' creates it",
                            topic->name);
    pj_error_set(error, PJ_RETRY,
                 "Kafka does not show this user whether there is a topic %s "
                 "(TOPIC_AUTHORIZATION_FAILED); grant DESCRIBE on the topic, which READ and "
                 "WRITE include",
                 topic->name);
    error->exit_code = PJ_EXIT_UNAVAILABLE;
    return -1;
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
    } else if (producer->has_failed && producer->delivered == NULL &&
               producer->transactional_id == NULL) {
        *error = producer->first_failure;
        status = -1;
    }
    bool refused =
        producer->trouble.refused && under_way(&producer->counts) > 0 && quiet_ms >= 5000;
    pthread_mutex_unlock(&producer->mutex);
    if (status != 0 || !(stalls || (refused && producer->stall_ms > 0)))
        return status;
    pj_text_show(what, sizeof what, "Kafka at %s has accepted nothing for %lld s",
                 producer->servers, (long long)(quiet_ms / 1000));
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
        /* check has the reason of a fatal error. A transaction that has failed accepts no records.
         */
        bool must_abort = producer->transactional_id != NULL && code == RD_KAFKA_RESP_ERR__STATE;
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
        pj_text_show(what, sizeof what,
                     "Kafka at %s has not acknowledged %lld of the records in time",
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
