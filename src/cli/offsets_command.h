/* SPDX-License-Identifier: Apache-2.0 */
/* Where a consumer group goes on, partition by partition: what offsets.c collects. */
#ifndef PJ_CLI_OFFSETS_COMMAND_H
#define PJ_CLI_OFFSETS_COMMAND_H

#include "cli/cli.h"
#include "kafka/admin.h"

struct pj_offset_place {
    const char *topic;
    int32_t partition;
    int64_t committed; /* the first offset that is not in the tables; -1: not read yet */
    int64_t begin, end;
    int64_t epoch;
    bool is_stopped; /* its consumer has stopped there until a person acts, by this perhaps */
    const char *owner, *updated_at, *stream_time; /* or NULL */
    char topic_id[PJ_TOPIC_ID_SIZE]; /* of the topic as it is; "" where nobody tells it */
    const char *read_topic_id;       /* of the one that `committed` is of, or NULL */
};

/* Owns everything that the places point to. */
struct pj_offset_list {
    struct pj_postgres *postgres;
    struct pj_kafka *kafka;
    const char *cluster_id;
    const char *group;
    struct pj_result *rows;
    struct pj_offset_place *places; /* by topic and partition */
    size_t count;
};

/*
 * All partitions of the consumer's topics, as Kafka and Postgres know them. `consumer` is a
 * projection of this build, or (for one of another) NULL: then the topics are those that the group
 * has read. Leaves the connections open, for whoever goes on; free in any case.
 */
int pj_offset_list_read(struct pj_offset_list *list, const struct pj_config *config,
                        const struct pj_cli_servers *servers, const char *consumer,
                        const char *group, struct pj_error *error) PJ_MUST_CHECK;
void pj_offset_list_free(struct pj_offset_list *list);

/* "[CONSUMER]" and --group: fills both (*consumer may be NULL); fails with PJ_EXIT_USAGE where
 * neither says which group, or there are more operands. */
int pj_offset_group(const struct pj_config *config, const char *group_option, const char **consumer,
                    const char **group, struct pj_error *error) PJ_MUST_CHECK;

#endif
