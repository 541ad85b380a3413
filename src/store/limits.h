/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What columns hold less of than their types: VARCHAR(n), NUMERIC(p, s) and TIMESTAMPTZ(p).
 * Postgres silently rounds a number or a time to what fits, and strips trailing blanks off a text;
 * here such a value is refused. Read from its catalogue, because migrations say it and declarations
 * do not.
 */
#ifndef PJ_STORE_LIMITS_H
#define PJ_STORE_LIMITS_H

#include "base/arena.h"
#include "postgres/postgres.h"
#include "projectionist/projection.h"

struct pj_limit {
    bool set;
    int most; /* characters, or digits after the point: of a number, or of a second */
};

/* One per column of each table of the projection; of a table that has none, NULL. */
int pj_limits_read(const struct pj_limit *const **limits, struct pj_postgres *postgres,
                   const struct pj_projection *projection, struct pj_arena *arena,
                   struct pj_error *error) PJ_MUST_CHECK;

/* Refuses (PJ_POISON) a row of which the table would keep less. */
int pj_limits_check(const struct pj_limit *limits, const struct pj_table *table,
                    const struct pj_value *row, struct pj_error *error) PJ_MUST_CHECK;

#endif
