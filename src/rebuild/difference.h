/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The difference between a projection's live tables and their shadow: found by one join a table,
 * told by kind and column, and written away, so that the live tables have the shadow's content.
 * Private state counts like any table: rows to come follow from it. All happens in the transaction
 * that is open on the connection; found rows are kept in temporary tables that go with it.
 */
#ifndef PJ_REBUILD_DIFFERENCE_H
#define PJ_REBUILD_DIFFERENCE_H

#include "postgres/postgres.h"
#include "projectionist/projection.h"

#include <jansson.h>

struct pj_difference_settings {
    const struct pj_projection *projection;
    const char *shadow; /* the schema */
    /* Appended rows that the shadow lacks are no difference (history that is gone explains them).
     */
    bool keep_retained;
    int samples; /* at most so many a table */
};

/* Where the rows of a table differ. */
struct pj_difference_table {
    char *name;      /* as a person would write it */
    int64_t rows;    /* that there should be */
    int64_t missing; /* not there */
    int64_t extra;   /* there, and should not be */
    int64_t changed; /* there, with another value in some column */
    json_t *columns; /* name: in how many rows */
    char *triggers;  /* that may have changed them, with commas; NULL: none */
    /* {"kind": …, "key": {…}, "is": {column: value}, "should_be": {…}}: the columns that differ,
     * all of a missing or an extra row. */
    json_t *samples;
};

struct pj_difference {
    struct pj_difference_table *tables;
    size_t count;
    int64_t total; /* missing, extra and changed rows of all */
};

/* Reads both sides whole; may take long, and holds no more than the samples in memory. */
int pj_difference_find(struct pj_difference *difference, struct pj_postgres *postgres,
                       const struct pj_difference_settings *settings,
                       struct pj_error *error) PJ_MUST_CHECK;
void pj_difference_free(struct pj_difference *difference);

/* Without names of samples: {table: {"rows": …, "missing": …, …, "columns": {…}}}. A new reference.
 */
json_t *pj_difference_json(const struct pj_difference *difference);

/*
 * Behind pj_difference_find in the same transaction: writes only what differs. Foreign keys hold at
 * every step: what is referred to is made before what refers to it, and goes after it; what can
 * wait for the end of the transaction has been checked when this returns. Nobody else may write
 * these tables meanwhile (see pj_difference_lock).
 */
int pj_difference_apply(struct pj_postgres *postgres, const struct pj_difference_settings *settings,
                        struct pj_error *error) PJ_MUST_CHECK;

/* Keeps all others from writing the live tables and states until the transaction ends; they can be
 * read. Waits for who writes now, up to the connection's lock time-out. */
int pj_difference_lock(struct pj_postgres *postgres, const struct pj_projection *projection,
                       struct pj_error *error) PJ_MUST_CHECK;

#endif
