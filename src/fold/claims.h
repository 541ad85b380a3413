/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that several entities may claim (pj_claim). For each table that is `claimed` the engine has
 * an entity kind of its own, behind all that are declared: a claim is a fact that is contributed to
 * the row's entity, and the row follows from the greatest. So claims are stored, loaded, compared
 * and taken back as any contribution is.
 */
#ifndef PJ_FOLD_CLAIMS_H
#define PJ_FOLD_CLAIMS_H

#include "projectionist/projection.h"

/* The projection with these entity kinds; itself where no table is claimed, or they are there
 * already. What it was declared as has been checked. Lives as long as the process. */
const struct pj_projection *pj_claims_expand(const struct pj_projection *projection);

/* What is declared of claimed tables; the other rules are pj_declaration_check's, which calls it.
 */
int pj_claims_check(const struct pj_projection *projection, struct pj_error *error) PJ_MUST_CHECK;

/* Is it one of these kinds, and of which table? NULL: of none. */
bool pj_claims_is_kind(const struct pj_entity_kind *kind);
const struct pj_table *pj_claims_table(const struct pj_projection *projection,
                                       const struct pj_entity_kind *kind);

#endif
