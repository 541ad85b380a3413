/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is known work being done? What readiness, the lag of /metrics, a run until caught up, and the
 * stall timeout of a verify all follow from.
 *
 * Work is known where a partition has records behind our offset, or where nobody tells whether it
 * has; who is not in the group has work, too. Where none of it was done for the stall timeout, the
 * consumer is stalled: that is said in /readyz and, over and over, in the log, with the reason.
 * What Kafka has is asked for now and then (a survey), because a fetch that is refused, and a
 * broker that does not respond, say nothing. A partition of another member of the group is work,
 * too, once nobody of ours does anything about it.
 */
#ifndef PJ_ENGINE_STALL_H
#define PJ_ENGINE_STALL_H

#include "engine/session.h"

struct pj_stall {
    struct pj_session *session;
    int64_t moved_ms;        /* when something was done last, or a server was first away */
    int64_t idle_ms;         /* when there was last nothing to fetch */
    int64_t joining_ms;      /* since when we wait for the group to take us; 0: we do not */
    int64_t surveyed_ms;     /* when the brokers were last asked, … */
    int64_t others_asked_ms; /* … for what others have yet to read, … */
    int64_t told_ms;         /* and the log was last told */
    bool asked;              /* the last survey had an answer, … */
    char unasked[256];       /* … or why not */
    char holder[256];        /* of the first partition that nobody of ours attends to */
};

/* Looks whether work is done; cheap, never blocks. Called at every turn and while we wait. */
void pj_stall_look(struct pj_stall *stall);

/* Asks the brokers, and Postgres about what others have, if it is time. Between two transactions;
 * blocks for a second or so at most where they do not answer. */
void pj_stall_survey(struct pj_stall *stall);

/* Whether what other members of the group have is read to the ends that it had when this was first
 * asked; asks now and then, and says no in between. */
bool pj_stall_others_caught_up(struct pj_stall *stall);

/* How far the partition, which is ours, is behind its end: -1 where that is not known. Of those,
 * `*held` are in, or behind, an open transaction. */
int64_t pj_stall_lag(const struct pj_stall *stall, const struct pj_partition *partition,
                     int64_t *held);

/* Something was done. */
void pj_stall_moved(struct pj_stall *stall);
/* There is nothing to fetch. */
void pj_stall_idle(struct pj_stall *stall);

/* Fails (PJ_EXIT_UNAVAILABLE) where nothing moved for as long as the policy allows, with the
 * reason: `why` (which may be the message of *error), or NULL for what is known. */
int pj_stall_give_up(const struct pj_stall *stall, const char *why,
                     struct pj_error *error) PJ_MUST_CHECK;

#endif
