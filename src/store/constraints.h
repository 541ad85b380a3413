/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the database asks of the order of writes: which of a projection's tables refer to which,
 * which values must differ, and which of all that may wait for the end of the transaction. Read
 * from its catalogue, because migrations say it and declarations do not.
 */
#ifndef PJ_STORE_CONSTRAINTS_H
#define PJ_STORE_CONSTRAINTS_H

#include "base/arena.h"
#include "postgres/postgres.h"
#include "projectionist/projection.h"

struct pj_constraints {
    size_t *order; /* of the projection's tables: a referenced table comes before those that refer
                      to it */
    /*
     * Per table: the columns under a unique index that is checked row by row (a bit each), and of
     * each such index a column whose NULL keeps the row out of it, so that values can be swapped.
     */
    uint64_t *unique;
    uint64_t *release;
    bool deferrable; /* some constraint can wait for the end of a transaction */
};

/* Those of tables without any: the order in which they are declared. */
struct pj_constraints pj_constraints_none(const struct pj_projection *projection,
                                          struct pj_arena *arena);

/* Fails (PJ_EXIT_DATABASE) where no order would do, or where values could not be swapped, and says
 * which ALTER TABLE fixes that. */
int pj_constraints_read(struct pj_constraints *constraints, struct pj_postgres *postgres,
                        const struct pj_projection *projection, struct pj_arena *arena,
                        struct pj_error *error) PJ_MUST_CHECK;

/* Around a transaction's writes, where `deferrable`: what can wait waits, and is checked by a
 * statement before the COMMIT, whose failure would tell nothing of the record. */
extern const struct pj_statement pj_constraints_defer;
extern const struct pj_statement pj_constraints_check;

#endif
