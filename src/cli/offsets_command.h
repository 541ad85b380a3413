/* SPDX-License-Identifier: Apache-2.0 */
/* What 'offsets show' and 'offsets set' share: the offsets of a consumer group. */
#ifndef PJ_CLI_OFFSETS_COMMAND_H
#define PJ_CLI_OFFSETS_COMMAND_H

#include "cli/cli.h"

struct pj_offset_place {
    struct pj_kafka_extent extent; /* the partition, as it is now */
    int64_t committed;             /* the first offset that is not in the tables; -1: none yet */
    int64_t epoch;
    bool is_stopped; /* its consumer has stopped there until a person acts */
    const char *owner, *updated_at, *stream_time; /* or NULL */
    const char *read_topic_id;                    /* of the topic that was read, or NULL */
};

/* Lives as long as the command. */
struct pj_offset_list {
    const char *group;
    struct pj_offset_place *places; /* by topic and partition */
    size_t count;
};

/*
 * Connects, and reads all partitions of the consumer's topics, as Kafka and Postgres know them; of
 * a consumer of another program, of those that the group has read. "[CONSUMER]" and --group (NULL:
 * not given) say which it is; fails with PJ_EXIT_USAGE where neither does, or there are more
 * operands.
 */
int pj_offset_list_read(struct pj_offset_list *list, struct pj_cli *cli, const char *group_option,
                        struct pj_error *error) PJ_MUST_CHECK;

#endif
