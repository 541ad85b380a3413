/* SPDX-License-Identifier: Apache-2.0 */
/* Where migrate creates the tables of a system, and that no table of another origin is taken for
 * one of them. Both are called within the transaction of a migration. */
#ifndef PJ_CLI_MIGRATE_TABLES_H
#define PJ_CLI_MIGRATE_TABLES_H

#include "cli/migrations.h"

/* Until the transaction ends, what a script creates without naming a schema is created in this one,
 * which is created where it is missing. NULL: in the first one of the search_path. Never in our
 * own, which comes first in the path of a role of its name. */
int pj_migrate_use_schema(struct pj_cli *cli, const char *schema,
                          struct pj_error *error) PJ_MUST_CHECK;

/*
 * To be called before the first file of a system: a table that its files skip because one of that
 * name exists must have the columns they would give it, of the same types, or it is
 * PJ_EXIT_DATABASE; it may have more, and need not have those that later files add. What the files
 * would create is found out by running them in a schema that is rolled back.
 */
int pj_migrate_check_tables(struct pj_cli *cli, const struct pj_migrations *migrations,
                            const char *system, struct pj_error *error) PJ_MUST_CHECK;

#endif
