/* SPDX-License-Identifier: Apache-2.0 */
/* How far the consumers are: what status.c collects and status_print.c shows. */
#ifndef PJ_CLI_STATUS_H
#define PJ_CLI_STATUS_H

#include "cli/cli.h"
#include "cli/text_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers are -1 and texts NULL where unknown; texts are borrowed. */
struct pj_status_partition {
    const char *cluster_id, *group, *projection; /* the last or NULL: not known */
    const char *topic;
    int32_t partition;
    int64_t committed; /* the first offset that is not in the tables; -1: never owned */
    int64_t begin, end;
    int64_t lag;
    int64_t held; /* of the lag: in, or after, an open transaction of a producer */
    int64_t epoch;
    const char *owner;
    const char *last_commit; /* RFC 3339; NULL: nothing was committed yet */
    int64_t age_s;           /* of the last commit */
    const char *stream_time;
    const char *topic_id; /* of the topic that the offset is of */
    int stop_code;        /* the exit code of that, or 0 */
    const char *stop;     /* why a consumer has stopped there until a person acts, or NULL */
    double read_rate, write_rate; /* records a second since the sample before; -1: not known */
    const char *problem; /* one word: "gap", "beyond-end", "another-id", "no-topic", "stopped",
                            "never-taken", "open-transaction"; NULL when all is well */
};

struct pj_status_consumer {
    const char *cluster_id; /* NULL for one that never ran */
    const char *group;
    const char *system, *projection; /* NULL: none of this program */
    struct pj_status_partition *partitions;
    size_t count;
    int32_t version, rows_version; /* of the rules: this program's, and the rows'; -1: not known */
    int64_t open_dead_letters;
    int64_t lag; /* of all partitions */
    int64_t age_s;
    double read_rate, write_rate; /* likewise */
};

struct pj_status {
    const char *cluster_id;  /* NULL when Kafka is away */
    const char *kafka_error; /* why it is away, or NULL */
    struct pj_status_consumer *consumers;
    size_t count;
    struct pj_error why; /* of kafka_error */
};

/*
 * Of the group, or (NULL) of all that the command's operands name. Opens the servers that are not
 * open; what it finds lives as long as the arena and the results of the cli.
 */
int pj_status_collect(struct pj_cli *cli, const char *group, struct pj_status *status,
                      struct pj_error *error) PJ_MUST_CHECK;

/* On stdout. */
void pj_status_print_text(const struct pj_status *status);
void pj_status_print_json(const struct pj_status *status);
/* What is wrong with the partition (`problem`), in a line. */
void pj_status_print_problem(const char *group, const struct pj_status_partition *partition);
/* "3 min ago", "never" where it is not known. */
const char *pj_status_age(char text[PJ_NUMBER_TEXT], int64_t seconds);

#endif
