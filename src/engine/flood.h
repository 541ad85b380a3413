/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A topic of which the first records are all refused for one reason is not one with bad records: it
 * is the wrong topic, schema, table or program. The consumer stops with the reason, and again when
 * it is started again, until a record is accepted or the operator says --accept-dead-letters.
 */
#ifndef PJ_ENGINE_FLOOD_H
#define PJ_ENGINE_FLOOD_H

#include "engine/engine.h"

/* Before the records [from, to) are committed with their dead letters: fatal where these would be
 * the first hundred of their topic. */
int pj_flood_check(struct pj_engine *engine, const struct pj_batch *batch, size_t from, size_t to,
                   struct pj_error *error) PJ_MUST_CHECK;

/* For their transaction: the topics of which something is accepted for the first time; there is
 * room for those of all sources. */
size_t pj_flood_accept(const struct pj_engine *engine, const struct pj_batch *batch, size_t from,
                       size_t to, const char **topics);
/* Behind the commit. */
void pj_flood_accepted(struct pj_engine *engine, const struct pj_batch *batch, size_t from,
                       size_t to);

/* Whether two messages give one reason: but for the numbers, names and texts in them. */
bool pj_flood_same_reason(const char *a, const char *b);

#endif
