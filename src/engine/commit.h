/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits a batch: its rows, dead letters and offsets in one transaction. A batch that Postgres
 * refuses is halved until the bad record is alone. Conflicts are retried at once; everything else
 * is one try: on PJ_RETRY and PJ_FENCED the loop waits or rejoins.
 */
#ifndef PJ_ENGINE_COMMIT_H
#define PJ_ENGINE_COMMIT_H

#include "engine/flood.h"
#include "engine/session.h"

struct pj_commit {
    struct pj_session *session;
    struct pj_flood flood;
    int64_t commits; /* how often offsets were moved */
    bool timers_due; /* stream time may have passed timers of entities that nothing touched */
};

/* Commits the batch and clears it; on PJ_RETRY what is not committed yet stays in it. After a stop
 * it may leave some of it to the next owner. */
int pj_commit_batch(struct pj_commit *commit, struct pj_batch *batch,
                    struct pj_error *error) PJ_MUST_CHECK;
/* Advances partitions that are at their end past invisible records (aborted ones, markers), and
 * resolves an in-doubt commit. */
int pj_commit_ends(struct pj_commit *commit, struct pj_error *error) PJ_MUST_CHECK;
/* Runs some of the timers that are due; timers_due: there may be more. */
int pj_commit_timers(struct pj_commit *commit, struct pj_error *error) PJ_MUST_CHECK;

#endif
