/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person asks of Kafka: which topics there are, where they begin and end, and to create
 * them. (librdkafka; no other file of the command includes it.) Every call blocks for at most the
 * time-out given at the start; errors of servers that are away have the class PJ_RETRY.
 */
#ifndef PJ_KAFKA_ADMIN_H
#define PJ_KAFKA_ADMIN_H

#include "base/config.h"
#include "kafka/topic_ids.h"
#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pj_kafka;

/* `kafka.*` as the operator gave it. Fails with PJ_EXIT_USAGE on a property that librdkafka does
 * not know, and where bootstrap.servers is not given. Does not connect yet. */
int pj_kafka_open(struct pj_kafka **kafka, const struct pj_properties *properties,
                  int64_t timeout_ms, struct pj_error *error) PJ_MUST_CHECK;
void pj_kafka_close(struct pj_kafka *kafka); /* NULL is allowed */

/* The cluster's id; lives as long as the connection. */
int pj_kafka_cluster_id(struct pj_kafka *kafka, const char **id,
                        struct pj_error *error) PJ_MUST_CHECK;

struct pj_kafka_topic {
    const char *name;
    int partitions;        /* 0: there is no such topic … */
    bool is_hidden;        /* … or this user may not see it */
    bool hides_settings;   /* a right is missing to read the settings, which are "" then */
    char retention_ms[24]; /* as Kafka has it, "" where unknown */
    char retention_bytes[24];
    char cleanup_policy[32];
};

/* Fills in all but the name of each. */
int pj_kafka_describe(struct pj_kafka *kafka, struct pj_kafka_topic *topics, size_t count,
                      struct pj_error *error) PJ_MUST_CHECK;

/* All settings of a topic that exists, a JSON object of strings; the caller frees it. */
int pj_kafka_settings(struct pj_kafka *kafka, const char *topic, char **json,
                      struct pj_error *error) PJ_MUST_CHECK;

struct pj_kafka_new_topic {
    const char *name;
    int partitions;
    bool compacted;       /* only the last record of each key counts, for ever */
    int64_t retention_ms; /* of one that is not; -1: for ever */
    int64_t max_message_bytes;
};

struct pj_kafka_new_topics {
    const struct pj_kafka_new_topic *items;
    size_t count;
    int replication_factor; /* -1: the brokers' default */
    bool validate_only;     /* the brokers check, and create nothing */
};

/* Creates the topics, or finds that they exist; the first refusal is the error. */
int pj_kafka_create(struct pj_kafka *kafka, const struct pj_kafka_new_topics *topics,
                    struct pj_error *error) PJ_MUST_CHECK;

struct pj_kafka_extent {
    const char *topic;
    int32_t partition;
    bool exists;   /* false: the brokers know no such topic or partition */
    int64_t begin; /* the first offset there is, -1 where unknown */
    int64_t end;   /* the one after the last record in no open transaction, -1 where unknown */
    int64_t high;  /* the one after the last record of all, -1 where unknown */
    char topic_id[PJ_TOPIC_ID_SIZE]; /* "" where unknown */
    bool compacted;                  /* the caller's to fill */
};

/* Fills in how many partitions each has, and nothing else. */
int pj_kafka_count_partitions(struct pj_kafka *kafka, struct pj_kafka_topic *topics, size_t count,
                              struct pj_error *error) PJ_MUST_CHECK;

/* Fills in all but topic, partition and compacted of each, with a few requests a broker for all of
 * them. */
int pj_kafka_extents(struct pj_kafka *kafka, struct pj_kafka_extent *extents, size_t count,
                     struct pj_error *error) PJ_MUST_CHECK;

/* The first offset of each whose record's Kafka timestamp is not before the time; the partition's
 * end where there is none, -1 where unknown. Topics and partitions must exist. */
int pj_kafka_offsets_at(struct pj_kafka *kafka, const struct pj_kafka_extent *extents, size_t count,
                        int64_t time_ms, int64_t *offsets, struct pj_error *error) PJ_MUST_CHECK;

#endif
