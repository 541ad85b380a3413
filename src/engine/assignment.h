/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which partitions are ours to write: an assignment is carried out by holding what Postgres has of
 * them against what Kafka has, and looked at again while it lasts. Everything here is one try, of
 * which a pending assignment is none the worse.
 */
#ifndef PJ_ENGINE_ASSIGNMENT_H
#define PJ_ENGINE_ASSIGNMENT_H

#include "engine/session.h"

struct pj_assignment {
    int64_t since_ms;     /* the last one was carried out */
    int64_t ids_asked_ms; /* the topics' ids */
};

/*
 * Carries out the pending assignment: makes us the owner in Postgres, and fetching begins where
 * that says. Fatal (PJ_EXIT_GAP, PJ_EXIT_TOPIC_RECREATED) where that is not in the topics any more.
 */
int pj_assignment_carry_out(struct pj_assignment *assignment, struct pj_session *session,
                            struct pj_error *error) PJ_MUST_CHECK;
/* Are the topics still those that were taken? Asks now and then, and blocks for a second at most. A
 * stop is written down before it is fatal: by then it is nobody's fault that Postgres is away. */
int pj_assignment_check_topics(struct pj_assignment *assignment, struct pj_session *session,
                               struct pj_error *error) PJ_MUST_CHECK;
/* Are all partitions still ours? Without records no commit would tell. */
int pj_assignment_check_owner(struct pj_session *session, struct pj_error *error) PJ_MUST_CHECK;

/* What a consumer's operator does about a topic that was recreated, in words. */
void pj_assignment_remedy(const struct pj_session *session, const struct pj_partition *partition,
                          char *text, size_t size);

#endif
