/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/compacted.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "kafka/client.h"
#include "kafka/producer.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>

enum { WAIT_MS = 200, QUERY_MS = 2000 };

struct reading {
    const struct pj_compacted_settings *settings;
    rd_kafka_t *client;
    rd_kafka_topic_partition_list_t *partitions; /* offset: where each one ends; < 0: not known */
    bool *done;                                  /* the same order */
    int left;
    int64_t deadline_ms;
    struct pj_client_trouble trouble;
};

static int open_client(struct reading *reading, struct pj_error *error)
{
    static const struct pj_client_setting fixed[] = {
        {"group.id", "projectionist-compacted"}, /* asked for, but never joined */
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "earliest"},
        {"enable.partition.eof", "true"},
        {"isolation.level", "read_committed"},
        {"fetch.wait.max.ms", "50"},
        {0},
    };
    const struct pj_client_settings settings = {.properties = reading->settings->kafka,
                                                .client_id = reading->settings->client_id,
                                                .fixed = fixed,
                                                .quiet = true,
                                                .trouble = &reading->trouble};
    rd_kafka_conf_t *conf = pj_client_configure(&settings, error);
    if (conf != NULL)
        reading->client = pj_client_start(RD_KAFKA_CONSUMER, conf, error);
    return reading->client != NULL ? 0 : -1;
}

/* 0: go on; 1: stopped; -1: too late. */
static int check_time(struct reading *reading, const char *what, struct pj_error *error)
{
    const struct pj_compacted_settings *settings = reading->settings;
    if (settings->stop != NULL && *settings->stop != 0)
        return 1;
    if (pj_clock_monotonic_ms() < reading->deadline_ms)
        return 0;
    char sentence[512];
    pj_text_show(sentence, sizeof sentence, "%s of topic %s at %s", what, settings->topic,
                 pj_properties_get(settings->kafka, "bootstrap.servers"));
    pj_client_fail(&reading->trouble, sentence, error);
    error->class = PJ_RETRY;
    error->exit_code = PJ_EXIT_UNAVAILABLE;
    return -1;
}

/* Which partitions there are. */
static int list_partitions(struct reading *reading, struct pj_error *error)
{
    const struct rd_kafka_metadata *metadata = NULL;
    const char *topic = reading->settings->topic;
    /* All topics are asked for: a broker may make a topic that is asked for by name. */
    while (rd_kafka_metadata(reading->client, 1, NULL, &metadata, QUERY_MS) !=
           RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_poll(reading->client, 0);
        int status = check_time(reading, "Kafka does not list the partitions", error);
        if (status != 0)
            return status;
    }
    pj_client_answered(&reading->trouble);
    int count = pj_client_partitions(metadata, topic);
    rd_kafka_metadata_destroy(metadata);
    if (count == 0) {
        int hidden = pj_client_is_hidden(reading->client, topic, QUERY_MS);
        const struct pj_producer_topic_info missing = {.name = topic, .is_hidden = hidden > 0};
        if (hidden < 0)
            return pj_error_set(error, PJ_RETRY, "Kafka does not list the partitions of topic %s",
                                topic);
        return pj_producer_no_topic(&missing, error);
    }
    reading->partitions = rd_kafka_topic_partition_list_new(count);
    reading->done = pj_calloc((size_t)count, sizeof *reading->done);
    for (int32_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(reading->partitions, topic, i);
    return 0;
}

/*
 * At the end of what is committed. That is the end of the partition, unless a transaction is open:
 * after it may be what was committed before us. (Asked for the end, a broker gives only the end of
 * what is committed; the true one comes with what is fetched.)
 */
static void on_end(struct reading *reading, const rd_kafka_message_t *message)
{
    rd_kafka_topic_partition_t *partition = &reading->partitions->elems[message->partition];
    int64_t low, high;
    if (reading->done[message->partition])
        return;
    if (partition->offset < 0) {
        if (rd_kafka_get_watermark_offsets(reading->client, partition->topic, partition->partition,
                                           &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR)
            return;
        partition->offset = high;
    }
    if (message->offset < partition->offset && !reading->settings->stop_at_open)
        return;
    reading->done[message->partition] = true;
    reading->left--;
}

static int take(struct reading *reading, const rd_kafka_message_t *message, struct pj_error *error)
{
    const struct pj_compacted_settings *settings = reading->settings;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        on_end(reading, message);
        return 0;
    }
    if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        pj_error_set(
            error, PJ_RETRY, "cannot read topic %s: %s (%s); grant this user READ on the topic",
            settings->topic, rd_kafka_err2str(message->err), rd_kafka_err2name(message->err));
        error->exit_code = PJ_EXIT_UNAVAILABLE;
        return -1;
    }
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        pj_client_note(&reading->trouble, message->err, rd_kafka_message_errstr(message));
        return 0;
    }
    struct pj_bytes key = {message->key, message->key_len};
    struct pj_bytes value = {message->payload, message->len};
    return settings->record(settings->context, key, value, error);
}

static int begin(struct reading *reading, struct pj_error *error)
{
    rd_kafka_topic_partition_list_t *begin =
        rd_kafka_topic_partition_list_copy(reading->partitions);
    int64_t since_ms = reading->settings->since_ms;
    for (int i = 0; i < begin->cnt; i++)
        begin->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
    int64_t left_ms = reading->deadline_ms - pj_clock_monotonic_ms();
    if (since_ms > 0 &&
        pj_client_offsets(reading->client, begin, since_ms, left_ms > 1 ? left_ms : 1) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_topic_partition_list_destroy(begin);
        return pj_error_set(error, PJ_RETRY, "Kafka does not say where to begin in topic %s",
                            reading->settings->topic);
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(reading->client, begin);
    rd_kafka_topic_partition_list_destroy(begin);
    reading->left = reading->partitions->cnt;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return pj_error_set(error, PJ_FATAL, "cannot read topic %s: %s", reading->settings->topic,
                            rd_kafka_err2str(code));
    return 0;
}

static int read_all(struct reading *reading, struct pj_error *error)
{
    int status = 0;
    while (status == 0 && reading->left > 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reading->client, WAIT_MS);
        if (message != NULL) {
            status = take(reading, message, error);
            rd_kafka_message_destroy(message);
        }
        if (status == 0)
            status = check_time(reading, "Kafka does not show all committed records", error);
    }
    return status;
}

int pj_compacted_read(const struct pj_compacted_settings *settings, struct pj_error *error)
{
    struct reading reading = {.settings = settings,
                              .deadline_ms = pj_clock_monotonic_ms() + settings->timeout_ms};
    int status = open_client(&reading, error);
    if (status == 0)
        status = list_partitions(&reading, error);
    if (status == 0)
        status = begin(&reading, error);
    if (status == 0)
        status = read_all(&reading, error);
    if (reading.client != NULL)
        /* There is no group to leave, and brokers that are away would be waited for. */
        rd_kafka_destroy_flags(reading.client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (reading.partitions != NULL)
        rd_kafka_topic_partition_list_destroy(reading.partitions);
    free(reading.done);
    return status;
}
