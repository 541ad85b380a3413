/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/admin.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/tls_files.h"
#include "kafka/client.h"

#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct pj_kafka {
    rd_kafka_t *client;
    rd_kafka_t *uncommitted; /* sees what is in open transactions, too; NULL: not needed yet */
    const struct pj_properties *properties;
    char *cluster_id;
    int timeout_ms;
    struct pj_client_trouble trouble;
};

/* --- opening --------------------------------------------------------------------------------- */

static rd_kafka_t *open_client(struct pj_kafka *kafka, const char *isolation,
                               struct pj_error *error)
{
    const struct pj_client_setting fixed[] = {{"isolation.level", isolation}, {0}};
    /* A command prints one sentence. */
    const struct pj_client_settings settings = {.properties = kafka->properties,
                                                .client_id = "projectionist",
                                                .fixed = fixed,
                                                .quiet = true,
                                                .trouble = &kafka->trouble};
    rd_kafka_conf_t *conf = pj_client_configure(&settings, error);
    return conf != NULL ? pj_client_start(RD_KAFKA_CONSUMER, conf, error) : NULL;
}

int pj_kafka_open(struct pj_kafka **out, const struct pj_properties *properties, int64_t timeout_ms,
                  struct pj_error *error)
{
    if (pj_tls_check_kafka(properties, error) != 0)
        return -1;
    struct pj_kafka *kafka = pj_alloc(sizeof *kafka);
    kafka->timeout_ms = (int)timeout_ms;
    kafka->properties = properties;
    /* Like the consumers: an open transaction's records do not count. */
    kafka->client = open_client(kafka, "read_committed", error);
    if (kafka->client == NULL) {
        free(kafka);
        return -1;
    }
    *out = kafka;
    return 0;
}

void pj_kafka_close(struct pj_kafka *kafka)
{
    if (kafka == NULL)
        return;
    if (kafka->cluster_id != NULL)
        rd_kafka_mem_free(kafka->client, kafka->cluster_id);
    rd_kafka_destroy_flags(kafka->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (kafka->uncommitted != NULL)
        rd_kafka_destroy_flags(kafka->uncommitted, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(kafka);
}

/* --- errors ---------------------------------------------------------------------------------- */

static int fail(struct pj_kafka *kafka, const char *what, const char *reason,
                struct pj_error *error)
{
    char sentence[512];
    rd_kafka_poll(kafka->client, 0); /* delivers the errors that wait */
    pj_text_show(sentence, sizeof sentence, "%s: %s", what, reason);
    return pj_client_fail(&kafka->trouble, kafka->trouble.refused ? what : sentence, error);
}

static int fail_code(struct pj_kafka *kafka, const char *what, rd_kafka_resp_err_t code,
                     struct pj_error *error)
{
    return fail(kafka, what, rd_kafka_err2str(code), error);
}

int pj_kafka_cluster_id(struct pj_kafka *kafka, const char **id, struct pj_error *error)
{
    int64_t deadline = pj_clock_monotonic_ms() + kafka->timeout_ms;
    while (kafka->cluster_id == NULL) {
        int64_t left = deadline - pj_clock_monotonic_ms();
        if (left <= 0 || kafka->trouble.refused)
            return fail(kafka, "cannot reach Kafka", "no broker answered in time", error);
        /* In short pieces, so that a refusal is heard of between them. */
        kafka->cluster_id = rd_kafka_clusterid(kafka->client, left < 200 ? (int)left : 200);
        rd_kafka_poll(kafka->client, 0);
    }
    pj_client_answered(&kafka->trouble);
    *id = kafka->cluster_id;
    return 0;
}

static int fetch_metadata(struct pj_kafka *kafka, const struct rd_kafka_metadata **metadata,
                          struct pj_error *error)
{
    const char *id;
    if (pj_kafka_cluster_id(kafka, &id, error) != 0)
        return -1;
    /* All topics: to ask for one by name could create it, where brokers create topics by
     * themselves. */
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(kafka->client, 1, NULL, metadata, kafka->timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail_code(kafka, "cannot list Kafka's topics", code, error);
    return 0;
}

static const struct rd_kafka_metadata_topic *find_topic(const struct rd_kafka_metadata *metadata,
                                                        const char *name)
{
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (strcmp(metadata->topics[i].topic, name) == 0 && metadata->topics[i].partition_cnt > 0)
            return &metadata->topics[i];
    }
    return NULL;
}

/* --- admin requests -------------------------------------------------------------------------- */

/* The answer, freed with rd_kafka_event_destroy; or NULL. */
static rd_kafka_event_t *wait_answer(struct pj_kafka *kafka, struct pj_client_request *request,
                                     const char *what, struct pj_error *error)
{
    rd_kafka_event_t *event = pj_client_answer(request);
    if (event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return event;
    fail(kafka, what, event == NULL ? "no answer in time" : rd_kafka_event_error_string(event),
         error);
    rd_kafka_event_destroy(event);
    return NULL;
}

static void keep_setting(char *kept, size_t size, const rd_kafka_ConfigResource_t *topic,
                         const char *name)
{
    const char *value = pj_client_setting(topic, name);
    if (value != NULL)
        pj_text_show(kept, size, "%s", value);
}

static void keep_settings(struct pj_kafka_topic *topic, const rd_kafka_ConfigResource_t *told)
{
    keep_setting(topic->retention_ms, sizeof topic->retention_ms, told, "retention.ms");
    keep_setting(topic->retention_bytes, sizeof topic->retention_bytes, told, "retention.bytes");
    keep_setting(topic->cleanup_policy, sizeof topic->cleanup_policy, told, "cleanup.policy");
}

static int describe_settings(struct pj_kafka *kafka, struct pj_kafka_topic *topics, size_t count,
                             struct pj_error *error)
{
    size_t asked = 0;
    rd_kafka_ConfigResource_t **resources = pj_calloc(count, sizeof(rd_kafka_ConfigResource_t *));
    for (size_t i = 0; i < count; i++) {
        if (topics[i].partitions > 0)
            resources[asked++] =
                rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i].name);
    }
    int status = 0;
    if (asked > 0) {
        struct pj_client_request request =
            pj_client_request(kafka->client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, kafka->timeout_ms);
        rd_kafka_DescribeConfigs(kafka->client, resources, asked, request.options, request.queue);
        rd_kafka_event_t *event =
            wait_answer(kafka, &request, "cannot read the topics' settings", error);
        status = event != NULL ? 0 : -1;
        size_t answers = 0;
        const rd_kafka_ConfigResource_t **answer =
            event != NULL ? rd_kafka_DescribeConfigs_result_resources(
                                rd_kafka_event_DescribeConfigs_result(event), &answers)
                          : NULL;
        for (size_t i = 0; i < answers; i++) {
            for (size_t j = 0; j < count; j++) {
                if (strcmp(rd_kafka_ConfigResource_name(answer[i]), topics[j].name) != 0)
                    continue;
                topics[j].hides_settings = rd_kafka_ConfigResource_error(answer[i]) ==
                                           RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
                keep_settings(&topics[j], answer[i]);
            }
        }
        rd_kafka_event_destroy(event);
    }
    rd_kafka_ConfigResource_destroy_array(resources, asked);
    free(resources);
    return status;
}

int pj_kafka_count_partitions(struct pj_kafka *kafka, struct pj_kafka_topic *topics, size_t count,
                              struct pj_error *error)
{
    const struct rd_kafka_metadata *metadata;
    if (fetch_metadata(kafka, &metadata, error) != 0)
        return -1;
    int hidden = 0;
    for (size_t i = 0; i < count && hidden >= 0; i++) {
        topics[i] = (struct pj_kafka_topic){
            .name = topics[i].name, .partitions = pj_client_partitions(metadata, topics[i].name)};
        if (topics[i].partitions == 0)
            hidden = pj_client_is_hidden(kafka->client, topics[i].name, kafka->timeout_ms);
        topics[i].is_hidden = hidden > 0 && topics[i].partitions == 0;
    }
    rd_kafka_metadata_destroy(metadata);
    return hidden >= 0 ? 0
                       : fail_code(kafka, "cannot list Kafka's topics",
                                   RD_KAFKA_RESP_ERR__TIMED_OUT, error);
}

int pj_kafka_describe(struct pj_kafka *kafka, struct pj_kafka_topic *topics, size_t count,
                      struct pj_error *error)
{
    return pj_kafka_count_partitions(kafka, topics, count, error) != 0
               ? -1
               : describe_settings(kafka, topics, count, error);
}

static char *settings_text(const rd_kafka_ConfigResource_t *resource)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    json_t *object = pj_must(json_object());
    for (size_t i = 0; i < count; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (value != NULL) /* NULL: a secret */
            json_object_set_new(object, rd_kafka_ConfigEntry_name(entries[i]), json_string(value));
    }
    char *text = pj_must(json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS));
    json_decref(object);
    return text;
}

int pj_kafka_settings(struct pj_kafka *kafka, const char *topic, char **json,
                      struct pj_error *error)
{
    size_t count = 0;
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    struct pj_client_request request =
        pj_client_request(kafka->client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, kafka->timeout_ms);
    rd_kafka_DescribeConfigs(kafka->client, &resource, 1, request.options, request.queue);
    rd_kafka_ConfigResource_destroy(resource);
    rd_kafka_event_t *event =
        wait_answer(kafka, &request, "cannot read the topic's settings", error);
    if (event == NULL)
        return -1;
    const rd_kafka_ConfigResource_t **answer = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &count);
    rd_kafka_resp_err_t code =
        count == 1 ? rd_kafka_ConfigResource_error(answer[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
    int status = code == RD_KAFKA_RESP_ERR_NO_ERROR
                     ? 0
                     : fail_code(kafka, "cannot read the topic's settings", code, error);
    if (status == 0)
        *json = settings_text(answer[0]);
    rd_kafka_event_destroy(event);
    return status;
}

/* --- making topics --------------------------------------------------------------------------- */

static rd_kafka_NewTopic_t *new_topic(const struct pj_kafka_new_topics *topics,
                                      const struct pj_kafka_new_topic *wanted,
                                      struct pj_error *error)
{
    char text[256];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(
        wanted->name, wanted->partitions, topics->replication_factor, text, sizeof text);
    if (topic == NULL) {
        pj_error_fatal(error, PJ_EXIT_USAGE, "the topic %s cannot be created: %s", wanted->name,
                       text);
        return NULL;
    }
    /* Most topics are the history that tables are rebuilt from: nothing is compacted away, whatever
     * the brokers' defaults say. */
    rd_kafka_NewTopic_set_config(topic, "cleanup.policy", wanted->compacted ? "compact" : "delete");
    rd_kafka_NewTopic_set_config(topic, "retention.bytes", "-1");
    /* Kafka compacts no segment that is still written to, and a compacted topic is read whole at
     * each start: its segments are small. */
    if (wanted->compacted)
        rd_kafka_NewTopic_set_config(topic, "segment.bytes", "16777216");
    pj_text_whole(text, sizeof text, "%lld",
                  wanted->compacted ? -1LL : (long long)wanted->retention_ms);
    rd_kafka_NewTopic_set_config(topic, "retention.ms", text);
    pj_text_whole(text, sizeof text, "%lld", (long long)wanted->max_message_bytes);
    rd_kafka_NewTopic_set_config(topic, "max.message.bytes", text);
    return topic;
}

static int check_created(rd_kafka_event_t *event, struct pj_error *error)
{
    size_t count;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            continue;
        const char *reason = rd_kafka_topic_result_error_string(results[i]);
        bool forbidden = code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
                         code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
        return pj_error_fatal(error, PJ_EXIT_FAILED, "Kafka did not create the topic %s: %s%s",
                              rd_kafka_topic_result_name(results[i]),
                              reason != NULL && !forbidden ? reason : rd_kafka_err2str(code),
                              forbidden ? "; grant this user CREATE on it, or on the cluster" : "");
    }
    return 0;
}

int pj_kafka_create(struct pj_kafka *kafka, const struct pj_kafka_new_topics *topics,
                    struct pj_error *error)
{
    char ignored[128];
    size_t made = 0;
    int status = -1;
    rd_kafka_NewTopic_t **array = pj_calloc(topics->count, sizeof(rd_kafka_NewTopic_t *));
    for (; made < topics->count; made++) {
        array[made] = new_topic(topics, &topics->items[made], error);
        if (array[made] == NULL)
            goto out;
    }
    struct pj_client_request request =
        pj_client_request(kafka->client, RD_KAFKA_ADMIN_OP_CREATETOPICS, kafka->timeout_ms);
    rd_kafka_AdminOptions_set_operation_timeout(request.options, kafka->timeout_ms, ignored,
                                                sizeof ignored);
    rd_kafka_AdminOptions_set_validate_only(request.options, topics->validate_only, ignored,
                                            sizeof ignored);
    rd_kafka_CreateTopics(kafka->client, array, made, request.options, request.queue);
    rd_kafka_event_t *event = wait_answer(kafka, &request, "cannot create topics", error);
    if (event != NULL)
        status = check_created(event, error);
    rd_kafka_event_destroy(event);
out:
    rd_kafka_NewTopic_destroy_array(array, made);
    free(array);
    return status;
}

/* --- extents ---------------------------------------------------------------------------------- */

/* Partitions without a leader are left out: the answer for the others would wait for them. */
static rd_kafka_topic_partition_list_t *queryable(const struct rd_kafka_metadata *metadata,
                                                  struct pj_kafka_extent *extents, size_t count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        struct pj_kafka_extent *extent = &extents[i];
        const struct rd_kafka_metadata_topic *topic = find_topic(metadata, extent->topic);
        extent->begin = extent->end = extent->high = -1;
        extent->exists =
            topic != NULL && extent->partition >= 0 && extent->partition < topic->partition_cnt;
        bool led = false;
        for (int j = 0; extent->exists && j < topic->partition_cnt; j++)
            led |= topic->partitions[j].id == extent->partition && topic->partitions[j].leader >= 0;
        if (led && !rd_kafka_topic_partition_list_find(list, extent->topic, extent->partition))
            rd_kafka_topic_partition_list_add(list, extent->topic, extent->partition);
    }
    return list;
}

/* The offsets go to that member of the extents. */
static int query(struct pj_kafka *kafka, rd_kafka_t *client, rd_kafka_topic_partition_list_t *list,
                 int64_t where, size_t member, struct pj_kafka_extent *extents, size_t count,
                 struct pj_error *error)
{
    rd_kafka_resp_err_t code = pj_client_offsets(client, list, where, kafka->timeout_ms);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail_code(kafka, "cannot read where the topics end", code, error);
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *found =
            rd_kafka_topic_partition_list_find(list, extents[i].topic, extents[i].partition);
        int64_t *offset = (int64_t *)((char *)&extents[i] + member);
        *offset = found != NULL && found->err == RD_KAFKA_RESP_ERR_NO_ERROR && found->offset >= 0
                      ? found->offset
                      : -1;
    }
    return 0;
}

static int query_high(struct pj_kafka *kafka, rd_kafka_topic_partition_list_t *list,
                      struct pj_kafka_extent *extents, size_t count, struct pj_error *error)
{
    if (kafka->uncommitted == NULL)
        kafka->uncommitted = open_client(kafka, "read_uncommitted", error);
    if (kafka->uncommitted == NULL)
        return -1;
    rd_kafka_poll(kafka->uncommitted, 0);
    return query(kafka, kafka->uncommitted, list, RD_KAFKA_OFFSET_END,
                 offsetof(struct pj_kafka_extent, high), extents, count, error);
}

/* Of each topic that exists; the partitions of one follow each other. */
static int ask_topic_ids(struct pj_kafka *kafka, struct pj_kafka_extent *extents, size_t count,
                         struct pj_error *error)
{
    const char *unknown;
    size_t topics = 0;
    struct pj_topic_id *ids = pj_calloc(count, sizeof *ids);
    for (size_t i = 0; i < count; i++) {
        if (extents[i].exists &&
            (topics == 0 || strcmp(ids[topics - 1].topic, extents[i].topic) != 0))
            ids[topics++].topic = extents[i].topic;
    }
    int status = pj_topic_ids_ask(kafka->client, ids, topics, kafka->timeout_ms, &unknown, error);
    for (size_t i = 0; i < count; i++) {
        *extents[i].topic_id = '\0';
        for (size_t t = 0; t < topics && extents[i].exists && status == 0; t++) {
            if (strcmp(ids[t].topic, extents[i].topic) == 0)
                memcpy(extents[i].topic_id, ids[t].id, sizeof ids[t].id);
        }
    }
    free(ids);
    return status;
}

int pj_kafka_extents(struct pj_kafka *kafka, struct pj_kafka_extent *extents, size_t count,
                     struct pj_error *error)
{
    const struct rd_kafka_metadata *metadata;
    if (fetch_metadata(kafka, &metadata, error) != 0)
        return -1;
    rd_kafka_topic_partition_list_t *list = queryable(metadata, extents, count);
    rd_kafka_metadata_destroy(metadata);
    int status = query(kafka, kafka->client, list, RD_KAFKA_OFFSET_BEGINNING,
                       offsetof(struct pj_kafka_extent, begin), extents, count, error);
    if (status == 0)
        status = query(kafka, kafka->client, list, RD_KAFKA_OFFSET_END,
                       offsetof(struct pj_kafka_extent, end), extents, count, error);
    if (status == 0)
        status = query_high(kafka, list, extents, count, error);
    if (status == 0)
        status = ask_topic_ids(kafka, extents, count, error);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

int pj_kafka_offsets_at(struct pj_kafka *kafka, const struct pj_kafka_extent *extents, size_t count,
                        int64_t time_ms, int64_t *offsets, struct pj_error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, extents[i].topic, extents[i].partition);
    rd_kafka_resp_err_t code = pj_client_offsets(kafka->client, list, time_ms, kafka->timeout_ms);
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *found = &list->elems[i];
        offsets[i] = found->err != RD_KAFKA_RESP_ERR_NO_ERROR ? -1
                     : found->offset >= 0                     ? found->offset
                                                              : extents[i].end;
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail_code(kafka, "cannot find offsets by time", code, error);
    return 0;
}
