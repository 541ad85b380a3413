/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A topic of which the first records are all refused for one reason is not one with bad records: it
 * is the wrong topic, schema, table or program. The consumer stops with the reason, and again when
 * it is started again, until a record is accepted or the operator says --accept-dead-letters.
 */
#ifndef PJ_ENGINE_FLOOD_H
#define PJ_ENGINE_FLOOD_H

#include "engine/batch.h"
#include "engine/session.h"

struct pj_flood {
    bool *accepted; /* of each source: something was, once; freed by whoever has this */
};

void pj_flood_open(struct pj_flood *flood, const struct pj_session *session);

/* Before the records are committed with their dead letters: fatal where these would be the first
 * hundred of their topic. */
int pj_flood_check(struct pj_flood *flood, struct pj_session *session, const struct pj_piece *piece,
                   struct pj_error *error) PJ_MUST_CHECK;
/* For their transaction: the topics of which something is accepted for the first time; there is
 * room for those of all sources. */
size_t pj_flood_accept(const struct pj_flood *flood, const struct pj_session *session,
                       const struct pj_piece *piece, const char **topics);
/* Behind the commit: those topics. */
void pj_flood_accepted(struct pj_flood *flood, const struct pj_session *session,
                       const char *const *topics, size_t count);

/* Whether two messages give one reason: but for the numbers, names and texts in them. */
bool pj_flood_same_reason(const char *a, const char *b);

#endif
