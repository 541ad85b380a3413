/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/consumer_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static struct pj_consumer *open_consumer(void)
{
    static struct pj_property servers = {"bootstrap.servers", "127.0.0.1:1"};
    static const char *const topics[] = {"some.topic"};
    const struct pj_properties properties = {.items = &servers, .count = 1};
    const struct pj_consumer_settings settings = {
        .properties = &properties,
        .group = "some-group",
        .client_id = "test",
        .topics = topics,
        .topic_count = 1,
    };
    struct pj_consumer *consumer = NULL;
    struct pj_error error;
    cr_assert_eq(pj_consumer_open(&consumer, &settings, &error), 0, "%s", error.message);
    return consumer;
}

/* However librdkafka says so, the next poll ends the process. */
Test(consumer, every_fatal_error_ends_it_and_names_the_setting)
{
    static const struct {
        int code;
        int exit_code;
        const char *setting;
    } all[] = {
        {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, PJ_EXIT_FENCED, "kafka.group.instance.id"},
        {111, PJ_EXIT_FENCED, "kafka.group.instance.id"},
        {112, PJ_EXIT_USAGE, "kafka.group.remote.assignor"},
        {RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, PJ_EXIT_USAGE,
         "kafka.partition.assignment.strategy"},
        {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, PJ_EXIT_USAGE, "kafka.group.protocol"},
        {RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, PJ_EXIT_USAGE, "kafka.group.protocol"},
        {RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, PJ_EXIT_USAGE, "kafka.session.timeout.ms"},
        {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, PJ_EXIT_FAILED, "READ on the group"},
        {RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED, PJ_EXIT_FAILED, "group.max.size"},
        {RD_KAFKA_RESP_ERR__STATE, PJ_EXIT_FAILED, "what the test says"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct pj_record records[4];
        struct pj_error error;
        size_t count;
        struct pj_consumer *consumer = open_consumer();
        cr_assert_eq(pj_consumer_poll(consumer, records, 4, &count, &error), 0);
        rd_kafka_test_fatal_error(consumer->kafka, (rd_kafka_resp_err_t)all[i].code,
                                  "what the test says");
        cr_assert_eq(pj_consumer_poll(consumer, records, 4, &count, &error), -1,
                     "%d is passed over", all[i].code);
        cr_assert_eq(error.class, PJ_FATAL);
        cr_assert_eq(pj_error_exit_code(&error), all[i].exit_code, "%s", error.message);
        cr_assert_neq(strstr(error.message, all[i].setting), NULL, "%s", error.message);
        cr_assert_neq(strstr(error.message, "some-group"), NULL, "%s", error.message);
        pj_consumer_close(consumer, 0);
    }
}

/* None is left unread in silence. */
Test(consumer, more_partitions_than_it_can_read_end_it)
{
    struct pj_consumer *consumer = open_consumer();
    struct pj_record records[4];
    struct pj_error error;
    size_t count;
    for (int32_t i = 0; i < PJ_PARTITIONS_MOST; i++)
        cr_assert_not_null(pj_consumer_find_partition(consumer, "some.topic", i));
    cr_assert_eq(pj_consumer_poll(consumer, records, 4, &count, &error), 0);
    cr_assert_null(pj_consumer_find_partition(consumer, "some.topic", PJ_PARTITIONS_MOST));
    cr_assert_eq(pj_consumer_poll(consumer, records, 4, &count, &error), -1);
    cr_assert_neq(strstr(error.message, "more than 16384 partitions"), NULL, "%s", error.message);
    pj_consumer_close(consumer, 0);
}

Test(consumer, a_digest_tells_records_apart)
{
    struct pj_record record = {
        .timestamp_ms = 5, .key = "k", .key_length = 1, .value = "v", .value_length = 1};
    int64_t digest = pj_record_digest(&record);
    cr_assert_eq(digest, pj_record_digest(&record));
    record.timestamp_ms = 6;
    cr_assert_neq(digest, pj_record_digest(&record));
    record.timestamp_ms = 5;
    record.value = "w";
    cr_assert_neq(digest, pj_record_digest(&record));
    record.value = NULL;
    int64_t tombstone = pj_record_digest(&record);
    record.value = "";
    record.value_length = 0;
    cr_assert_neq(tombstone, pj_record_digest(&record), "a tombstone is no empty value");
}
