/* SPDX-License-Identifier: Apache-2.0 */
/* The numbered files of deploy/sql: those built into the program, or those of a folder. */
#ifndef PJ_CLI_MIGRATIONS_H
#define PJ_CLI_MIGRATIONS_H

#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>

struct pj_migration {
    int version; /* the number that the name begins with */
    char *name;  /* of the file */
    char *sql;
    bool applied; /* for the caller */
};

struct pj_migrations {
    struct pj_migration *items; /* by version, none twice; at least one */
    size_t count;
};

/* `directory` NULL: those built in. Fails with PJ_EXIT_USAGE, naming the file or folder. */
int pj_migrations_load(struct pj_migrations *migrations, const char *directory,
                       struct pj_error *error) PJ_MUST_CHECK;
void pj_migrations_free(struct pj_migrations *migrations);

/* NULL where there is none. */
struct pj_migration *pj_migrations_find(const struct pj_migrations *migrations, int version);

#endif
