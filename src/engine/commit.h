/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One batch against Postgres: its rows, its dead letters and its offsets in one transaction. What
 * Postgres refuses is divided until the bad record is alone. Everything here is one try: on
 * PJ_RETRY and PJ_FENCED the caller waits or rejoins.
 */
#ifndef PJ_ENGINE_COMMIT_H
#define PJ_ENGINE_COMMIT_H

#include "engine/flood.h"
#include "engine/session.h"

struct pj_commit {
    struct pj_session *session;
    struct pj_flood flood;
    int64_t commits; /* how often offsets were moved */
    bool timers_due; /* stream time may have gone past entities that nothing touched */
};

/* Commits the batch and clears it; on PJ_RETRY the part that is not committed yet is still there.
 * After a stop it may leave some of it to the next owner. */
int pj_commit_batch(struct pj_commit *commit, struct pj_batch *batch,
                    struct pj_error *error) PJ_MUST_CHECK;
/* Advances over what is invisible behind the last record of partitions that are at their end, and
 * resolves a commit in doubt. */
int pj_commit_ends(struct pj_commit *commit, struct pj_error *error) PJ_MUST_CHECK;
/* Derives some of the entities that stream time has gone past; timers_due: there may be more. */
int pj_commit_timers(struct pj_commit *commit, struct pj_error *error) PJ_MUST_CHECK;

#endif
