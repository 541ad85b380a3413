/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/reader.h"

#include "base/memory.h"
#include "base/text.h"
#include "kafka/client.h"

#include <stdlib.h>
#include <string.h>

struct pj_reader {
    rd_kafka_t *client;
    struct pj_client_trouble trouble;
    rd_kafka_message_t *message; /* the last one given */
    struct pj_header *headers;   /* its own */
    size_t headers_room;
    char text[320];
};

int pj_reader_open(struct pj_reader **out, const struct pj_properties *kafka, const char *client_id,
                   struct pj_error *error)
{
    static const struct pj_client_setting defaults[] = {
        {"queued.max.messages.kbytes", "32768"},
        {"fetch.message.max.bytes", "1048576"},
        {"fetch.wait.max.ms", "250"},
        {"topic.metadata.refresh.interval.ms", "10000"}, /* partitions that are added */
        {"reconnect.backoff.max.ms", "2000"},
        {"log.connection.close", "false"},
        {0},
    };
    static const struct pj_client_setting fixed[] = {
        {"group.id", "projectionist-reader"}, /* asked for, but never joined */
        {"allow.auto.create.topics", "false"},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "error"},
        {"enable.partition.eof", "true"},
        {"isolation.level", "read_committed"},
        {0},
    };
    struct pj_reader *reader = pj_alloc(sizeof *reader);
    const struct pj_client_settings settings = {.properties = kafka,
                                                .client_id = client_id,
                                                .defaults = defaults,
                                                .fixed = fixed,
                                                .quiet = true,
                                                .trouble = &reader->trouble};
    rd_kafka_conf_t *conf = pj_client_configure(&settings, error);
    if (conf != NULL)
        reader->client = pj_client_start(RD_KAFKA_CONSUMER, conf, error);
    if (reader->client == NULL) {
        free(reader);
        return -1;
    }
    rd_kafka_poll_set_consumer(reader->client);
    *out = reader;
    return 0;
}

void pj_reader_close(struct pj_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->message != NULL)
        rd_kafka_message_destroy(reader->message);
    /* There is no group to leave, and brokers that are away would be waited for. */
    rd_kafka_destroy_flags(reader->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(reader->headers);
    free(reader);
}

int pj_reader_assign(struct pj_reader *reader, const struct pj_reader_place *places, size_t count,
                     struct pj_error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, places[i].topic, places[i].partition)->offset =
            places[i].offset;
    rd_kafka_resp_err_t code = rd_kafka_assign(reader->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : pj_error_set(error, PJ_FATAL, "the topics cannot be read: %s",
                              rd_kafka_err2str(code));
}

void pj_reader_leave(struct pj_reader *reader, const char *topic, int32_t partition)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition);
    /* A pause that fails costs only what is fetched in vain. */
    (void)rd_kafka_pause_partitions(reader->client, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void take_headers(struct pj_reader *reader, struct pj_recorded *record)
{
    rd_kafka_headers_t *list;
    if (rd_kafka_message_headers(reader->message, &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    record->header_count = rd_kafka_header_cnt(list);
    if (record->header_count > reader->headers_room) {
        reader->headers_room = 2 * record->header_count;
        reader->headers = pj_resize(reader->headers, reader->headers_room, sizeof *reader->headers);
    }
    for (size_t i = 0; i < record->header_count; i++) {
        struct pj_header *header = &reader->headers[i];
        const char *name = "";
        (void)rd_kafka_header_get_all(list, i, &name, &header->value.data, &header->value.length);
        header->name = (struct pj_bytes){name, strlen(name)};
    }
    record->headers = reader->headers;
}

static void take_record(struct pj_reader *reader, struct pj_read *read)
{
    const rd_kafka_message_t *message = reader->message;
    rd_kafka_timestamp_type_t type;
    int64_t timestamp_ms = rd_kafka_message_timestamp(message, &type);
    read->kind = PJ_READ_RECORD;
    read->record = (struct pj_recorded){
        .kind = PJ_RECORDED_MESSAGE,
        .partition = message->partition,
        .key = {message->key, message->key_len},
        .value = {message->payload, message->len},
        .timestamp_ms = timestamp_ms,
        .timestamp_type = type == RD_KAFKA_TIMESTAMP_CREATE_TIME       ? PJ_TIMESTAMP_CREATED
                          : type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? PJ_TIMESTAMP_APPENDED
                                                                       : PJ_TIMESTAMP_NONE,
        .offset = message->offset};
    take_headers(reader, &read->record);
}

static int take_event(struct pj_reader *reader, struct pj_read *read, struct pj_error *error)
{
    const rd_kafka_message_t *message = reader->message;
    char reason[256];
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        read->kind = PJ_READ_END;
        return 0;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        read->kind = PJ_READ_LOST;
        return 0;
    case RD_KAFKA_RESP_ERR__FATAL:
        (void)rd_kafka_fatal_error(reader->client, reason, sizeof reason);
        return pj_error_set(error, PJ_FATAL, "Kafka's client cannot go on: %s", reason);
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
        /* librdkafka skips what it cannot read. */
        return pj_error_set(error, PJ_FATAL, "%s [%d] cannot be read at the offset %lld: %s",
                            read->topic, (int)read->partition, (long long)read->offset,
                            rd_kafka_message_errstr(message));
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        return 0; /* a reader joins none */
    default:
        pj_text_show(reader->text, sizeof reader->text, "%s", rd_kafka_message_errstr(message));
        if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
            pj_text_show(reader->text, sizeof reader->text,
                         "topic %s: %s; grant this user READ on the topic", read->topic,
                         rd_kafka_err2str(message->err));
        else
            pj_client_note(&reader->trouble, message->err, reader->text);
        read->kind = PJ_READ_TROUBLE;
        read->trouble = reader->text;
        read->is_missing = message->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                           message->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
                           message->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
        return 0;
    }
}

int pj_reader_next(struct pj_reader *reader, int64_t wait_ms, struct pj_read *read,
                   struct pj_error *error)
{
    if (reader->message != NULL)
        rd_kafka_message_destroy(reader->message);
    reader->message = rd_kafka_consumer_poll(reader->client, (int)wait_ms);
    *read = (struct pj_read){.kind = PJ_READ_NOTHING};
    if (reader->message == NULL && *reader->trouble.last != '\0') {
        read->kind = PJ_READ_TROUBLE;
        pj_text_show(reader->text, sizeof reader->text, "%s", reader->trouble.last);
        read->trouble = reader->text;
        reader->trouble.last[0] = '\0';
    }
    if (reader->message == NULL)
        return reader->trouble.refused
                   ? pj_client_fail(&reader->trouble, "Kafka does not let us in", error)
                   : 0;
    if (reader->message->rkt != NULL)
        read->topic = rd_kafka_topic_name(reader->message->rkt);
    read->partition = reader->message->partition;
    read->offset = reader->message->offset;
    if (reader->message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return take_event(reader, read, error);
    take_record(reader, read);
    return 0;
}
