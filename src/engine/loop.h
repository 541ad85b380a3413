/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of one run: fetch, fold, commit. The only place that waits for servers, rejoins after a
 * fence and gives up after too many.
 */
#ifndef PJ_ENGINE_LOOP_H
#define PJ_ENGINE_LOOP_H

#include "engine/assignment.h"
#include "engine/batch.h"
#include "engine/commit.h"
#include "engine/durable.h"
#include "engine/session.h"
#include "engine/stall.h"

/* Where records come faster than transactions end, as those of the last one showed, the next one
 * waits until so long after its beginning: many small ones take disk and processor from those who
 * send records. */
enum { PJ_PACE_MS = 5, PJ_PACE_RECORDS = 4 };

struct pj_loop {
    struct pj_session session; /* its first members are filled in before pj_loop_open */
    struct pj_stall stall;
    struct pj_assignment assignment;
    struct pj_commit commit;
    struct pj_durable durable;
    int64_t connections; /* of the unit, when timers were last looked at */
    struct pj_batch batches[2];
    struct pj_batch *current;  /* being committed */
    struct pj_batch *next;     /* being fetched meanwhile */
    int64_t begun_ms;          /* the last transaction, … */
    size_t begun_with;         /* … with so many records */
    int64_t assign_not_before; /* a pending assignment is retried from then on */
    int64_t owner_checked_ms;
    int64_t lag_shown_ms;
    int64_t dropped_shown;
    int fences;               /* in a row, … */
    int64_t commits_at_fence; /* … without a commit between them */
    bool poll_failed;
    struct pj_error poll_error;
};

/* As pj_session_open. The loop must not move in memory. */
int pj_loop_open(struct pj_loop *loop, const struct pj_config *config,
                 struct pj_error *error) PJ_MUST_CHECK;
void pj_loop_close(struct pj_loop *loop);

/* Runs until stopped or caught up (0) or a fatal error (-1). */
int pj_loop_run(struct pj_loop *loop, struct pj_error *error) PJ_MUST_CHECK;

/* For how many milliseconds to gather records before the next transaction. */
int64_t pj_loop_pace(const struct pj_loop *loop, int64_t now_ms);

/* Commits the current batch, with retries until a stop or a fatal error. */
int pj_loop_commit(struct pj_loop *loop, struct pj_error *error) PJ_MUST_CHECK;
/* After a try that failed with *error: 0 when it may be retried. Waits for a server, longer with
 * every failure, paused but polling; rejoins after a fence. */
int pj_loop_recover(struct pj_loop *loop, struct pj_error *error) PJ_MUST_CHECK;

#endif
