/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that several entities may claim (pj_claim). For each table that is `claimed` the engine adds
 * an entity kind after the declared ones: a claim is a fact contributed to the row's entity, and
 * the row follows from the greatest. So claims are stored, loaded, compared and withdrawn like any
 * other contribution.
 */
#ifndef PJ_FOLD_CLAIMS_H
#define PJ_FOLD_CLAIMS_H

#include "projectionist/projection.h"

/* The checked projection with these entity kinds added; itself where no table is claimed or it has
 * them already. Lives as long as the process. */
const struct pj_projection *pj_claims_expand(const struct pj_projection *projection);

/* The rules for claimed tables; called by pj_declaration_check. */
int pj_claims_check(const struct pj_projection *projection, struct pj_error *error) PJ_MUST_CHECK;

/* Is it one of these kinds, and of which table (NULL: none)? */
bool pj_claims_is_kind(const struct pj_entity_kind *kind);
const struct pj_table *pj_claims_table(const struct pj_projection *projection,
                                       const struct pj_entity_kind *kind);

#endif
