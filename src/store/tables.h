/* SPDX-License-Identifier: Apache-2.0 */
/* The database, held against what a projection declares. */
#ifndef PJ_STORE_TABLES_H
#define PJ_STORE_TABLES_H

#include "postgres/postgres.h"
#include "projectionist/projection.h"

/*
 * The tables, the state tables (in `schema`, of a shadow, or NULL) and the functions that the
 * projection's statements name: whether they are there, may be read, have the columns, types
 * and keys that are declared, and take rows. Asked once, so that what is wrong is reported at the
 * start, and not by the first event or by a dead letter for each. PJ_FATAL with PJ_EXIT_DATABASE,
 * or PJ_RETRY.
 */
int pj_tables_check(struct pj_postgres *postgres, const struct pj_projection *projection,
                    const char *schema, struct pj_error *error) PJ_MUST_CHECK;

#endif
