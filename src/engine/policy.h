/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between the runs of the loop. There are two: a consumer, which is a member of its
 * group (service.c), and the worker of a rebuild, which fills shadow tables up to given ends
 * (rebuild/fill.c).
 */
#ifndef PJ_ENGINE_POLICY_H
#define PJ_ENGINE_POLICY_H

#include "base/partition.h"
#include "projectionist/error.h"

#include <stdatomic.h>

struct pj_loop;
struct pj_postgres;
struct pj_session;

/* Borrowed, and all that it points to; what is not constant changes only between two runs. */
struct pj_run_policy {
    const char *schema;        /* of the tables; NULL: the search_path finds them */
    bool in_group;             /* others have partitions, too, and must find what stops us */
    bool bulk;                 /* it reads from end to end: much is fetched ahead */
    bool refuses_floods;       /* flood.h */
    int fences_most;           /* so many in a row, without a commit between them, end it */
    int64_t stall_timeout_ms;  /* it fails where nothing moves for so long; 0: it goes on */
    const atomic_bool *halted; /* a stop, too; NULL: only the process is stopped */
    /* Records that somebody discarded as dead letters, a range of one for each, sorted by
     * pj_offset_range_compare: they are skipped, as they are in the live tables. */
    const struct pj_offset_range *discarded;
    size_t discarded_count;

    /* On each new connection to Postgres: who we are, and how durable a commit is. */
    int (*prepare)(const struct pj_session *session, struct pj_postgres *postgres,
                   struct pj_error *error);
    /* The topics are there: asks for partitions. */
    int (*join)(struct pj_session *session, struct pj_error *error);
    /* Gives all back and asks again, or says why that cannot help. */
    int (*rejoin)(struct pj_session *session, struct pj_error *error);
    /* It was fenced, as *error says, for the last time: fills *error. */
    int (*fenced)(const struct pj_session *session, struct pj_error *error);
    /* In words: what to do about records that retention removed, a topic that was recreated. */
    const char *gap_remedy;
    void (*remedy)(const struct pj_session *session, const struct pj_partition *partition,
                   char *text, size_t size);
    /* At every turn, between two transactions. */
    void (*turn)(struct pj_loop *loop);
    void *context;
};

#endif
