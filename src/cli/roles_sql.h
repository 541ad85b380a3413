/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roles of systems, what each may do, and row security, as one SQL statement: it can be run by
 * psql, as a migration of others' tools or by `projectionist roles`, any number of times.
 */
#ifndef PJ_CLI_ROLES_SQL_H
#define PJ_CLI_ROLES_SQL_H

#include "cli/deployment.h"

#define PJ_ROLES_PREFIX "projectionist"

enum { PJ_ROLE_NAME_SIZE = PJ_SQL_IDENTIFIER_MOST + 1 };

struct pj_roles {
    const char *prefix; /* of their names */
    /* Where the tables of a system are. */
    const char *(*schema_of)(const struct pj_system *system, void *context);
    void *context;
};

/* Of the systems that are configured; the caller frees it. */
char *pj_roles_sql(const struct pj_roles *roles, struct pj_error *error) PJ_MUST_CHECK;

#endif
