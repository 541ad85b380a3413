/* SPDX-License-Identifier: Apache-2.0 */
/* What a projection counts: its series are those of its counters, one after the other, each with
 * one for each of its words. */
#ifndef PJ_FOLD_COUNTERS_H
#define PJ_FOLD_COUNTERS_H

#include "projectionist/projection.h"

/* The rules for counters; called by pj_declaration_check. */
int pj_counters_check(const struct pj_projection *projection, struct pj_error *error) PJ_MUST_CHECK;

/* How many series one counter has, and all of a projection. */
size_t pj_counter_series(const struct pj_counter *counter);
size_t pj_counters_series(const struct pj_projection *projection);

#endif
