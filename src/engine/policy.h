/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between the two kinds of runs of the loop: a consumer, which is a member of its
 * group (service.c), and the worker of a rebuild, which fills shadow tables up to given end offsets
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

/* Borrowed, with all that it points to; what is not constant changes only between two runs. */
struct pj_run_policy {
    const char *schema;        /* of the tables; NULL: the search_path finds them */
    bool in_group;             /* others have partitions too; stops are written for them */
    bool bulk;                 /* it reads whole topics: fetches far ahead */
    bool refuses_floods;       /* flood.h */
    int fences_most;           /* so many in a row without a commit end it */
    int64_t stall_timeout_ms;  /* it fails after so long without progress; 0: never */
    const atomic_bool *halted; /* stops it too; NULL: only the process does */
    /* Records to skip, because their dead letters were discarded or are held: a range of one each,
     * sorted by pj_offset_range_compare. */
    const struct pj_offset_range *discarded;
    size_t discarded_count;

    /* On each new connection to Postgres. */
    int (*prepare)(const struct pj_session *session, struct pj_postgres *postgres,
                   struct pj_error *error);
    /* The topics exist: asks for partitions. */
    int (*join)(struct pj_session *session, struct pj_error *error);
    /* Gives all partitions back and asks again, or fails where that cannot help. */
    int (*rejoin)(struct pj_session *session, struct pj_error *error);
    /* Fenced fences_most times, the last as *error says: fills *error. */
    int (*fenced)(const struct pj_session *session, struct pj_error *error);
    /* What to do about records that retention removed, and about a recreated topic. */
    const char *gap_remedy;
    void (*remedy)(const struct pj_session *session, const struct pj_partition *partition,
                   char *text, size_t size);
    /* On every turn, between two transactions. */
    void (*turn)(struct pj_loop *loop);
    void *context;
};

#endif
