/* SPDX-License-Identifier: Apache-2.0 */
/* Where migrate makes the tables of a system. */
#ifndef PJ_CLI_MIGRATE_TABLES_H
#define PJ_CLI_MIGRATE_TABLES_H

#include "postgres/postgres.h"

/* Until the transaction ends, what a script makes without naming a schema is made in this one,
 * which is created where it is not there. NULL: in the first one of the search_path. Never in our
 * own, which comes first in the path of a role of its name. */
int pj_migrate_use_schema(struct pj_postgres *postgres, const char *schema,
                          struct pj_error *error) PJ_MUST_CHECK;

#endif
