/* SPDX-License-Identifier: Apache-2.0 */
#include "outbox-relay/relay_topics.h"

#include "avro/heartbeat.h"
#include "avro/json_encode.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/topic_name.h"
#include "common/encoder.h"
#include "postgres/sql_text.h"

#include <stdlib.h>
#include <strings.h>

enum {
    AGAIN_MS = 5000,      /* until a newer schema is looked for, where one is missing */
    STALE_MS = 300000,    /* until a newer schema is looked for anyway */
    DESCRIBE_MS = 500,    /* with the retries of the caller */
    TOPIC_NAME_MOST = 249 /* Kafka's own limit */
};

struct pj_relay_topic {
    struct pj_relay_topic *next;
    char *name;
    bool for_heartbeats; /* alone: they need no schema of the topic */
    char in_kafka[PJ_TOPIC_NAME_SIZE];
    int partitions;             /* 0: not found yet */
    struct pj_encoder *encoder; /* NULL: its schema is not known yet */
    int64_t asked_ms;           /* when the registry was asked for the schema */
    struct pj_hold hold;
};

struct pj_relay_topics {
    const char *prefix;
    struct pj_registry *registry;
    struct pj_producer *producer;
    struct pj_relay_topic *first;
    struct pj_schema *heartbeat;
    int32_t heartbeat_id; /* -1: not registered yet */
};

int pj_relay_topics_new(struct pj_relay_topics **out, const char *prefix,
                        const struct pj_registry_settings *registry, struct pj_error *error)
{
    struct pj_relay_topics *topics = pj_alloc(sizeof *topics);
    topics->prefix = prefix;
    topics->heartbeat_id = -1;
    if (pj_registry_open(&topics->registry, registry, error) != 0 ||
        pj_schema_parse(&topics->heartbeat, pj_heartbeat_schema, error) != 0) {
        pj_relay_topics_free(topics);
        return -1;
    }
    *out = topics;
    return 0;
}

void pj_relay_topics_free(struct pj_relay_topics *topics)
{
    if (topics == NULL)
        return;
    while (topics->first != NULL) {
        struct pj_relay_topic *topic = topics->first;
        topics->first = topic->next;
        pj_encoder_free(topic->encoder);
        free(topic->name);
        free(topic);
    }
    pj_schema_free(topics->heartbeat);
    pj_registry_close(topics->registry);
    free(topics);
}

void pj_relay_topics_use(struct pj_relay_topics *topics, struct pj_producer *producer)
{
    topics->producer = producer;
    for (struct pj_relay_topic *topic = topics->first; topic != NULL; topic = topic->next)
        topic->partitions = 0;
}

/* --- waiting --------------------------------------------------------------------------------- */

struct pj_hold *pj_relay_topic_hold(struct pj_relay_topic *topic)
{
    return &topic->hold;
}

static int hold_back(struct pj_relay_topic *topic, const struct pj_error *why)
{
    pj_hold(&topic->hold, 0, why);
    return 1;
}

/* What is missing is there; what Kafka refused waits until it is taken. */
static void go_on(struct pj_relay_topic *topic)
{
    if (!topic->hold.is_suspect)
        pj_hold_end(&topic->hold);
}

char *pj_relay_topics_waiting(const struct pj_relay_topics *topics, int64_t *count,
                              const struct pj_error **why)
{
    struct pj_builder names = {0};
    *count = 0;
    *why = NULL;
    for (const struct pj_relay_topic *topic = topics->first; topic != NULL; topic = topic->next) {
        if (!topic->hold.is_held)
            continue;
        *why = &topic->hold.why;
        *count += 1;
        if (!topic->for_heartbeats && pj_hold_left_ms(&topic->hold) > 0)
            pj_sql_array_add(&names, topic->name);
    }
    return pj_sql_array_take(&names);
}

/* --- finding --------------------------------------------------------------------------------- */

static int check_name(const char *name, struct pj_error *error)
{
    struct pj_error ignored;
    if (strlen(name) <= TOPIC_NAME_MOST && pj_topic_prefix_check(name, &ignored) == 0)
        return 0;
    return pj_error_set(error, PJ_POISON, "'%.100s' cannot be the name of a topic", name);
}

static struct pj_relay_topic *find(struct pj_relay_topics *topics, const char *name,
                                   bool for_heartbeats)
{
    struct pj_relay_topic *topic = topics->first;
    while (topic != NULL &&
           (topic->for_heartbeats != for_heartbeats || strcmp(topic->name, name) != 0))
        topic = topic->next;
    if (topic != NULL)
        return topic;
    topic = pj_alloc(sizeof *topic);
    topic->name = pj_strdup(name);
    topic->hold.topic = topic->name;
    topic->for_heartbeats = for_heartbeats;
    pj_topic_name(topic->in_kafka, topics->prefix, name);
    topic->next = topics->first;
    topics->first = topic;
    return topic;
}

static int find_partitions(struct pj_relay_topics *topics, struct pj_relay_topic *topic,
                           struct pj_error *error)
{
    struct pj_producer_topic_info info = {.name = topic->in_kafka};
    if (topic->partitions > 0)
        return 0;
    if (pj_producer_describe(topics->producer, &info, 1, DESCRIBE_MS, error) != 0)
        return -1;
    topic->partitions = info.partitions;
    if (info.partitions > 0)
        return 0;
    (void)pj_producer_no_topic(&info, error);
    return hold_back(topic, error);
}

static int ask_schema(struct pj_relay_topics *topics, struct pj_relay_topic *topic,
                      struct pj_error *error)
{
    struct pj_encoder *newest;
    if (pj_encoder_find(&newest, topic->name, topics->prefix, topics->registry, error) != 0)
        return -1;
    pj_encoder_free(topic->encoder);
    topic->encoder = newest;
    topic->asked_ms = pj_clock_monotonic_ms();
    return 0;
}

/* What the registry does not tell keeps the topic's rows waiting, unless an older one is known. */
static int find_schema(struct pj_relay_topics *topics, struct pj_relay_topic *topic,
                       struct pj_error *error)
{
    bool known = topic->encoder != NULL;
    if (known && pj_clock_monotonic_ms() - topic->asked_ms < STALE_MS)
        return 0;
    if (ask_schema(topics, topic, error) == 0)
        return 0;
    if (!known)
        return hold_back(topic, error);
    topic->asked_ms += AGAIN_MS;
    return 0;
}

/* --- values ---------------------------------------------------------------------------------- */

/* The row's event_id, where the record has such a field. */
static int add_event_id(const struct pj_relay_topic *topic, const struct pj_outbox_row *row,
                        json_t *event, struct pj_error *error)
{
    const struct pj_avro_type *root = pj_schema_root(pj_encoder_schema(topic->encoder));
    const json_t *given = json_object_get(event, "event_id");
    bool has = false;
    for (size_t i = 0; root->kind == PJ_AVRO_RECORD && i < root->count; i++)
        has |= strcmp(root->fields[i].name, "event_id") == 0;
    if (given == NULL && has)
        json_object_set_new(event, "event_id", pj_must(json_string(row->event_id)));
    if (given == NULL ||
        (json_is_string(given) && strcasecmp(json_string_value(given), row->event_id) == 0))
        return 0;
    return pj_error_set(error, PJ_POISON, "its body has another event_id than the row");
}

static int encode(const struct pj_relay_topic *topic, const struct pj_outbox_row *row,
                  struct pj_builder *value, struct pj_error *error)
{
    json_error_t reason;
    json_t *event = json_loads(row->body, JSON_REJECT_DUPLICATES, &reason);
    if (event == NULL)
        return pj_error_set(error, PJ_POISON, "its body cannot be read: %s", reason.text);
    int status = add_event_id(topic, row, event, error);
    if (status == 0)
        status = pj_encode(topic->encoder, event, value, error);
    json_decref(event);
    return status;
}

int pj_relay_topics_encode(struct pj_relay_topics *topics, const struct pj_outbox_row *row,
                           struct pj_relay_topic **out, struct pj_builder *value,
                           struct pj_error *error)
{
    if (row->body == NULL)
        return pj_error_set(error, PJ_POISON, "its body takes %lld MiB, and at most %d are read",
                            (long long)(row->body_size >> 20), PJ_OUTBOX_BODY_MOST >> 20);
    if (check_name(row->topic, error) != 0)
        return -1;
    struct pj_relay_topic *topic = *out = find(topics, row->topic, false);
    if (pj_hold_left_ms(&topic->hold) > 0)
        return 1;
    int status = find_partitions(topics, topic, error);
    if (status == 0)
        status = find_schema(topics, topic, error);
    if (status != 0)
        return status;
    go_on(topic);
    status = encode(topic, row, value, error);
    if (status == 0 || pj_clock_monotonic_ms() - topic->asked_ms < AGAIN_MS)
        return status;
    /* A newer schema may have what this one lacks; while nobody says, the row waits. */
    if (ask_schema(topics, topic, error) != 0)
        return hold_back(topic, error);
    return encode(topic, row, value, error);
}

int pj_relay_topic_handle(struct pj_relay_topics *topics, const struct pj_relay_topic *topic,
                          struct pj_producer_topic **handle, struct pj_error *error)
{
    return pj_producer_topic(topics->producer, topic->in_kafka, handle, error);
}

int pj_relay_topics_beat(struct pj_relay_topics *topics, const char *name,
                         struct pj_relay_topic **out, int *partitions, struct pj_builder *value,
                         struct pj_error *error)
{
    struct pj_relay_topic *topic = *out = find(topics, name, true);
    if (pj_hold_left_ms(&topic->hold) > 0)
        return 1;
    int status = find_partitions(topics, topic, error);
    *partitions = topic->partitions;
    if (status == 0 && topics->heartbeat_id < 0 &&
        pj_registry_register(topics->registry, PJ_HEARTBEAT_NAME, pj_heartbeat_schema,
                             &topics->heartbeat_id, error) != 0)
        return hold_back(topic, error);
    if (status != 0)
        return status;
    go_on(topic);
    json_t *event = json_pack("{s:I}", "emitted_at", (json_int_t)pj_clock_wall_us());
    value->length = 0;
    status = pj_json_encode_record(topics->heartbeat, topics->heartbeat_id, event, value, error);
    json_decref(event);
    return status;
}
