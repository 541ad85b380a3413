/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which partitions are ours to write: carrying out an assignment compares what Postgres has of them
 * with what Kafka has, and claims them; while it lasts both are checked again. Everything here is
 * one try; after a failure the assignment is still pending.
 */
#ifndef PJ_ENGINE_ASSIGNMENT_H
#define PJ_ENGINE_ASSIGNMENT_H

#include "engine/session.h"

struct pj_assignment {
    int64_t since_ms;     /* when the last one was carried out */
    int64_t ids_asked_ms; /* when the topic ids were last asked for */
};

/*
 * Carries out the pending assignment: claims the partitions in Postgres and begins to fetch at
 * their offsets there. Fatal (PJ_EXIT_GAP, PJ_EXIT_TOPIC_RECREATED) where the topics no longer have
 * those.
 */
int pj_assignment_carry_out(struct pj_assignment *assignment, struct pj_session *session,
                            struct pj_error *error) PJ_MUST_CHECK;
/* Whether the topics have been recreated; asks now and then, and blocks for a second at most. A
 * stop is written to Postgres before it is fatal. */
int pj_assignment_check_topics(struct pj_assignment *assignment, struct pj_session *session,
                               struct pj_error *error) PJ_MUST_CHECK;
/* Whether all partitions are still ours: without records no commit shows it. */
int pj_assignment_check_owner(struct pj_session *session, struct pj_error *error) PJ_MUST_CHECK;

/* What to do about a recreated topic. */
void pj_assignment_remedy(const struct pj_session *session, const struct pj_partition *partition,
                          char *text, size_t size);

#endif
