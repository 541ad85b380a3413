/* SPDX-License-Identifier: Apache-2.0 */
/* The version of a projection's rules that a group's rows follow: projectionist.rules. */
#ifndef PJ_STORE_RULES_H
#define PJ_STORE_RULES_H

#include "store/offsets.h"

/* At a consumer's start, and by a rebuild, which accepts its own rows. Where the group has written
 * nothing yet, or the operator accepts the rows for those of this version, they are of this version
 * from then on. */
int pj_rules_version(struct pj_postgres *postgres, const struct pj_identity *identity,
                     int32_t version, bool accept, int32_t *of_rows,
                     struct pj_error *error) PJ_MUST_CHECK;

#endif
