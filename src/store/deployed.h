/* SPDX-License-Identifier: Apache-2.0 */
/* Which systems a database has: those that `migrate` was run for. */
#ifndef PJ_STORE_DEPLOYED_H
#define PJ_STORE_DEPLOYED_H

#include "postgres/postgres.h"

/* False where the database has a record of migrations without one of the system; true, too, where
 * that may not be read. */
int pj_deployed(struct pj_postgres *postgres, const char *system, bool *deployed,
                struct pj_error *error) PJ_MUST_CHECK;

#endif
