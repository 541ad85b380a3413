/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Postgres would refuse in a decoded value, found before a fold can hide it: a fact that loses
 * to a better one is never written, so whether its record is a dead letter would depend on which
 * records share its batch, and with it the rows.
 */
#ifndef PJ_FOLD_CHECK_H
#define PJ_FOLD_CHECK_H

#include "projectionist/projection.h"

/*
 * Checks the texts of a source's values: UTF-8 without a NUL byte; with `json`, JSON that jsonb can
 * hold, as jansson reads it (numbers beyond a double and nesting beyond 2,048 are refused, which
 * jsonb would take). PJ_POISON with the SQLSTATE that Postgres has for it.
 */
int pj_check_values(const struct pj_source *source, const struct pj_value *values, bool json,
                    struct pj_error *error) PJ_MUST_CHECK;

#endif
