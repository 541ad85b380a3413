/* SPDX-License-Identifier: Apache-2.0 */
/* All partitions of the topics, and where they begin and end: asked for, because a fetch that is
 * refused or a broker that does not respond says nothing. */
#include "base/text.h"
#include "kafka/client.h"
#include "kafka/consumer_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETENTION_MS = 60000, RETENTION_TIMEOUT_MS = 10000 };

/* --- the client that asks -------------------------------------------------------------------- */

/* A broker answers one request of a connection after the other, and a fetch for which it has
 * nothing keeps it for fetch.wait.max.ms: who is in a group asks by other connections. */
static rd_kafka_t *asker(struct pj_consumer *consumer)
{
    struct pj_error ignored;
    if (consumer->subscribed && consumer->asker_conf != NULL) {
        consumer->asker = pj_client_start(RD_KAFKA_CONSUMER, consumer->asker_conf, &ignored);
        consumer->asker_conf = NULL;
    }
    if (consumer->asker == NULL)
        return consumer->kafka;
    rd_kafka_poll(consumer->asker, 0);
    return consumer->asker;
}

void pj_consumer_close_asker(struct pj_consumer *consumer)
{
    if (consumer->retention_answers != NULL)
        rd_kafka_queue_destroy(consumer->retention_answers);
    if (consumer->asker_conf != NULL)
        rd_kafka_conf_destroy(consumer->asker_conf);
    if (consumer->asker != NULL)
        rd_kafka_destroy_flags(consumer->asker, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

/* --- all partitions -------------------------------------------------------------------------- */

/* Makes the topic's partitions known; those with a leader are added to the list. */
static void take_metadata(struct pj_consumer *consumer, size_t index,
                          const struct rd_kafka_metadata_topic *topic,
                          rd_kafka_topic_partition_list_t *list)
{
    consumer->topic_troubles[index] = topic->err != RD_KAFKA_RESP_ERR_NO_ERROR ? (int)topic->err
                                      : topic->partition_cnt == 0
                                          ? RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                                          : 0;
    for (int i = 0; i < topic->partition_cnt; i++) {
        struct pj_partition *partition =
            pj_consumer_find_partition(consumer, consumer->topics[index], topic->partitions[i].id);
        if (partition == NULL)
            continue;
        partition->exists = true;
        if (topic->partitions[i].leader >= 0)
            rd_kafka_topic_partition_list_add(list, partition->topic, partition->number);
        else
            partition->trouble = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    }
}

static int ask_metadata(struct pj_consumer *consumer, int64_t timeout_ms,
                        rd_kafka_topic_partition_list_t *list, struct pj_error *error)
{
    rd_kafka_t *client = asker(consumer);
    for (size_t i = 0; i < consumer->topic_count; i++) {
        rd_kafka_topic_t *topic = rd_kafka_topic_new(client, consumer->topics[i], NULL);
        const struct rd_kafka_metadata *metadata;
        rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, topic, &metadata, (int)timeout_ms);
        rd_kafka_topic_destroy(topic);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return pj_consumer_no_broker(consumer, code, error);
        if (metadata->topic_cnt == 1)
            take_metadata(consumer, i, &metadata->topics[0], list);
        else
            consumer->topic_troubles[i] = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        rd_kafka_metadata_destroy(metadata);
    }
    pj_client_answered(&consumer->trouble);
    return 0;
}

static int ask_offsets(struct pj_consumer *consumer, rd_kafka_topic_partition_list_t *list,
                       int64_t where, int64_t timeout_ms, struct pj_error *error)
{
    rd_kafka_resp_err_t code = pj_client_offsets(asker(consumer), list, where, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TRANSPORT)
        return pj_consumer_no_broker(consumer, code, error);
    for (int i = 0; i < list->cnt; i++) {
        struct pj_partition *partition =
            pj_consumer_find_partition(consumer, list->elems[i].topic, list->elems[i].partition);
        rd_kafka_resp_err_t failed = code != RD_KAFKA_RESP_ERR_NO_ERROR ? code : list->elems[i].err;
        if (failed != RD_KAFKA_RESP_ERR_NO_ERROR)
            partition->trouble = (int)failed;
        if (failed != RD_KAFKA_RESP_ERR_NO_ERROR || list->elems[i].offset < 0)
            continue;
        if (where == RD_KAFKA_OFFSET_BEGINNING)
            partition->begin = list->elems[i].offset;
        else
            partition->stable_end = list->elems[i].offset;
        partition->asked_ms = pj_clock_monotonic_ms();
    }
    return 0;
}

int pj_consumer_survey(struct pj_consumer *consumer, int64_t timeout_ms, struct pj_error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < consumer->partition_count; i++) {
        struct pj_partition *partition = consumer->partitions[i];
        partition->exists = false;
        partition->begin = partition->stable_end = -1;
    }
    int status = ask_metadata(consumer, timeout_ms, list, error);
    if (status == 0)
        status = ask_offsets(consumer, list, RD_KAFKA_OFFSET_BEGINNING, timeout_ms, error);
    if (status == 0)
        status = ask_offsets(consumer, list, RD_KAFKA_OFFSET_END, timeout_ms, error);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

/* --- retention ------------------------------------------------------------------------------- */

static void ask_for_retention(struct pj_consumer *consumer)
{
    rd_kafka_t *client = asker(consumer);
    struct pj_client_request request =
        pj_client_request(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, RETENTION_TIMEOUT_MS);
    rd_kafka_ConfigResource_t **resources =
        pj_calloc(consumer->topic_count, sizeof(rd_kafka_ConfigResource_t *));
    for (size_t i = 0; i < consumer->topic_count; i++)
        resources[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, consumer->topics[i]);
    rd_kafka_DescribeConfigs(client, resources, consumer->topic_count, request.options,
                             request.queue);
    rd_kafka_ConfigResource_destroy_array(resources, consumer->topic_count);
    rd_kafka_AdminOptions_destroy(request.options);
    free(resources);
    consumer->retention_answers = request.queue;
}

static int64_t number_of(const rd_kafka_ConfigResource_t *topic, const char *name)
{
    const char *value = pj_client_setting(topic, name);
    return value != NULL ? strtoll(value, NULL, 10) : 0;
}

/* Said each time: it is asked for once a minute. */
static struct pj_retention retention_of(const rd_kafka_ConfigResource_t *topic)
{
    rd_kafka_resp_err_t failed = rd_kafka_ConfigResource_error(topic);
    if (failed == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        pj_log(PJ_WARN, "the retention of a topic is unknown",
               pj_f_str("topic", rd_kafka_ConfigResource_name(topic)),
               pj_f_str("error", rd_kafka_err2name(failed)),
               pj_f_str("remedy", "grant this user DESCRIBE_CONFIGS on the topic"));
    const char *policy = pj_client_setting(topic, "cleanup.policy");
    if (policy != NULL && strstr(policy, "delete") == NULL)
        return (struct pj_retention){-1, -1}; /* a compacted topic has none */
    return (struct pj_retention){number_of(topic, "retention.ms"),
                                 number_of(topic, "retention.bytes")};
}

void pj_consumer_look_at_retention(struct pj_consumer *consumer)
{
    size_t count = 0;
    if (consumer->retention_answers == NULL) {
        if (consumer->subscribed && pj_clock_every(&consumer->retention_asked_ms, RETENTION_MS))
            ask_for_retention(consumer);
        return;
    }
    rd_kafka_event_t *event = rd_kafka_queue_poll(consumer->retention_answers, 0);
    if (event == NULL)
        return;
    const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(event);
    const rd_kafka_ConfigResource_t **resources =
        result != NULL ? rd_kafka_DescribeConfigs_result_resources(result, &count) : NULL;
    for (size_t i = 0; i < count; i++) {
        for (size_t t = 0; t < consumer->topic_count; t++) {
            if (strcmp(rd_kafka_ConfigResource_name(resources[i]), consumer->topics[t]) == 0)
                consumer->retentions[t] = retention_of(resources[i]);
        }
    }
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(consumer->retention_answers);
    consumer->retention_answers = NULL;
}

struct pj_retention pj_consumer_retention(const struct pj_consumer *consumer,
                                          const struct pj_partition *partition)
{
    return consumer->retentions[partition->topic_index];
}

/* --- who has a partition --------------------------------------------------------------------- */

static bool holds(const rd_kafka_MemberDescription_t *member, const struct pj_partition *partition)
{
    const rd_kafka_MemberAssignment_t *assignment = rd_kafka_MemberDescription_assignment(member);
    const rd_kafka_topic_partition_list_t *list =
        assignment != NULL ? rd_kafka_MemberAssignment_partitions(assignment) : NULL;
    return list != NULL &&
           rd_kafka_topic_partition_list_find((rd_kafka_topic_partition_list_t *)list,
                                              partition->topic, partition->number) != NULL;
}

static bool find_holder(const rd_kafka_event_t *event, const struct pj_partition *partition,
                        char *text, size_t size)
{
    size_t count = 0;
    const rd_kafka_DescribeConsumerGroups_result_t *result =
        rd_kafka_event_DescribeConsumerGroups_result((rd_kafka_event_t *)event);
    const rd_kafka_ConsumerGroupDescription_t **groups =
        result != NULL ? rd_kafka_DescribeConsumerGroups_result_groups(result, &count) : NULL;
    for (size_t g = 0; g < count; g++) {
        for (size_t m = 0; m < rd_kafka_ConsumerGroupDescription_member_count(groups[g]); m++) {
            const rd_kafka_MemberDescription_t *member =
                rd_kafka_ConsumerGroupDescription_member(groups[g], m);
            if (!holds(member, partition))
                continue;
            pj_text_show(text, size, "%.100s at %.100s",
                         rd_kafka_MemberDescription_client_id(member),
                         rd_kafka_MemberDescription_host(member));
            return true;
        }
    }
    return false;
}

bool pj_consumer_holder(struct pj_consumer *consumer, const struct pj_partition *partition,
                        int64_t timeout_ms, char *text, size_t size)
{
    rd_kafka_t *client = asker(consumer);
    const char *groups[] = {consumer->group};
    struct pj_client_request request =
        pj_client_request(client, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeout_ms);
    rd_kafka_DescribeConsumerGroups(client, groups, 1, request.options, request.queue);
    rd_kafka_event_t *event = pj_client_answer(&request);
    bool found = event != NULL && find_holder(event, partition, text, size);
    rd_kafka_event_destroy(event);
    return found;
}
