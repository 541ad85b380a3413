/* SPDX-License-Identifier: Apache-2.0 */
/* Where migrate makes the tables of a system, and that no table of somebody else's is taken for one
 * of them. Both are called within the transaction of a migration. */
#ifndef PJ_CLI_MIGRATE_TABLES_H
#define PJ_CLI_MIGRATE_TABLES_H

#include "cli/migrations.h"
#include "postgres/postgres.h"

/* Until the transaction ends, what a script makes without naming a schema is made in this one,
 * which is created where it is not there. NULL: in the first one of the search_path. Never in our
 * own, which comes first in the path of a role of its name. */
int pj_migrate_use_schema(struct pj_postgres *postgres, const char *schema,
                          struct pj_error *error) PJ_MUST_CHECK;

/*
 * To be called before the first file of a system: a table that its files pass over because one of
 * that name is there must have the columns they would give it, of the same types, or it is
 * PJ_EXIT_DATABASE; it may have more, and need not have those that later files add. What the files
 * would make is found out by running them in a schema that is rolled back.
 */
int pj_migrate_check_tables(struct pj_postgres *postgres, const struct pj_migrations *migrations,
                            const char *system, struct pj_error *error) PJ_MUST_CHECK;

#endif
