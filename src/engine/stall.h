/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether there is progress: the basis of readiness, the lag in /metrics, --until-caught-up, and
 * the stall timeout of a verify.
 *
 * There is work where a partition has records after our offset, or its end is not known, and as
 * long as we are not in the group. Without progress for the stall timeout the consumer is stalled:
 * /readyz says so with the reason, and the log repeats it. The brokers are asked now and then (a
 * survey), because a refused fetch and an unresponsive broker report nothing. A partition of
 * another member is work too, once no consumer of ours attends to it.
 */
#ifndef PJ_ENGINE_STALL_H
#define PJ_ENGINE_STALL_H

#include "engine/session.h"

struct pj_stall {
    struct pj_session *session;
    int64_t moved_ms;        /* the last progress, or when a server was first unavailable */
    int64_t idle_ms;         /* the last time that there was nothing to fetch */
    int64_t joining_ms;      /* waiting to join the group since then; 0: not waiting */
    int64_t surveyed_ms;     /* the last survey, … */
    int64_t others_asked_ms; /* … the last of what other members have yet to read, … */
    int64_t logged_ms;       /* … and the last line in the log */
    bool asked;              /* the last survey had an answer, … */
    char unanswered[256];    /* … or why not */
    char holder[256];        /* of the first unattended partition */
};

/* Looks for progress; cheap, never blocks. Called on every turn and while we wait. */
void pj_stall_look(struct pj_stall *stall);

/* If it is time, asks the brokers, and Postgres about other members. Between two transactions;
 * blocks for about a second at most. */
void pj_stall_survey(struct pj_stall *stall);

/* Whether the other members have read their partitions to the ends of when this was first asked;
 * asks now and then, and says no in between. */
bool pj_stall_others_caught_up(struct pj_stall *stall);

/* The lag of a partition of ours; -1: not known. *held: how much of it is in or after an open
 * transaction. */
int64_t pj_stall_lag(const struct pj_stall *stall, const struct pj_partition *partition,
                     int64_t *held);

/* There was progress. */
void pj_stall_moved(struct pj_stall *stall);
/* There is nothing to fetch. */
void pj_stall_idle(struct pj_stall *stall);

/* Fails (PJ_EXIT_UNAVAILABLE) after as long without progress as the policy allows, with the reason:
 * `why` (which may be the message of *error), or NULL: what is known. */
int pj_stall_give_up(const struct pj_stall *stall, const char *why,
                     struct pj_error *error) PJ_MUST_CHECK;

#endif
