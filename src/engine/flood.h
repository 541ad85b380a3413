/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the first records of a topic are all refused for one reason, not the records are at fault:
 * it is the wrong topic, schema, table or program. The consumer stops with the reason, at every
 * start, until a record is accepted or the operator says --accept-dead-letters.
 */
#ifndef PJ_ENGINE_FLOOD_H
#define PJ_ENGINE_FLOOD_H

#include "engine/batch.h"
#include "engine/session.h"

struct pj_flood {
    bool *accepted; /* of each source: a record was; freed by the owner */
};

void pj_flood_open(struct pj_flood *flood, const struct pj_session *session);

/* Before the records are committed with their dead letters: fatal if these would be the first
 * hundred records of their topic. */
int pj_flood_check(struct pj_flood *flood, struct pj_session *session, const struct pj_piece *piece,
                   struct pj_error *error) PJ_MUST_CHECK;
/* For their transaction: the topics with an accepted record for the first time; `topics` has room
 * for those of all sources. */
size_t pj_flood_accept(const struct pj_flood *flood, const struct pj_session *session,
                       const struct pj_piece *piece, const char **topics);
/* After the commit: those topics. */
void pj_flood_accepted(struct pj_flood *flood, const struct pj_session *session,
                       const char *const *topics, size_t count);

#endif
