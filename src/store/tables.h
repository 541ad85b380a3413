/* SPDX-License-Identifier: Apache-2.0 */
/* The database, held against what a projection declares. */
#ifndef PJ_STORE_TABLES_H
#define PJ_STORE_TABLES_H

#include "postgres/postgres.h"
#include "projectionist/projection.h"

/* A right that every consumer has to a table of the schema projectionist. */
struct pj_engine_right {
    const char *table, *rights; /* as GRANT wants them */
};
extern const struct pj_engine_right pj_engine_rights[]; /* up to one without a table */

/* Likewise, to the states of its entities and to a table that it writes. */
extern const char pj_state_rights[], pj_wide_state_rights[];
const char *pj_table_rights(const struct pj_table *table);

/*
 * The tables, the state tables (in `schema`, of a shadow, or NULL) and the functions that the
 * projection's statements name: whether they are there, may be read, have the columns, types
 * and keys that are declared, and take rows; and whether the role has each right that it will need,
 * if only one day. Asked once, so that what is wrong is reported at the start, and not by the first
 * event or by a dead letter for each. PJ_FATAL with PJ_EXIT_DATABASE,
 * or PJ_RETRY.
 */
int pj_tables_check(struct pj_postgres *postgres, const struct pj_projection *projection,
                    const char *schema, struct pj_error *error) PJ_MUST_CHECK;

#endif
