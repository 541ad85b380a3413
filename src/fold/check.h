/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds what Postgres would refuse in a decoded value before the fold: a fact that loses to a
 * better one is never written, so whether its record is a dead letter would otherwise depend on the
 * other records of its batch.
 */
#ifndef PJ_FOLD_CHECK_H
#define PJ_FOLD_CHECK_H

#include "base/arena.h"
#include "projectionist/projection.h"

/*
 * Makes null and rounds, in the arena, what the fields of a source say; again changes nothing. Then
 * checks its values by the rules of their fields, and their texts: UTF-8 without a NUL byte;
 * with `json`, JSON that jsonb can hold, as jansson reads it (which refuses numbers beyond a double
 * and nesting beyond 2,048; jsonb would take them). PJ_POISON with Postgres's SQLSTATE.
 */
int pj_check_values(const struct pj_source *source, struct pj_value *values, bool json,
                    struct pj_arena *arena, struct pj_error *error) PJ_MUST_CHECK;

#endif
