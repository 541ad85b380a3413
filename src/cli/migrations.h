/* SPDX-License-Identifier: Apache-2.0 */
/* The numbered files of deploy/sql/SYSTEM: those built into the program, or those of a folder. */
#ifndef PJ_CLI_MIGRATIONS_H
#define PJ_CLI_MIGRATIONS_H

#include "cli/cli.h"

#include <stdbool.h>
#include <stddef.h>

/* The system that all others need. */
#define PJ_MIGRATIONS_ENGINE "engine"
#define PJ_MIGRATIONS_SCHEMA "projectionist" /* of what is the engine's */
/* Of pg_advisory_xact_lock: any number that nothing else locks; "projectn" in ASCII. */
#define PJ_MIGRATIONS_LOCK "8102082571640042606"

struct pj_migration {
    const char *path; /* SYSTEM/FILE */
    const char *system, *file;
    int number; /* that the file's name begins with */
    const char *sql;
    bool applied; /* for the caller */
};

struct pj_migrations {
    /* The engine's, then by system; by number, none twice within a system; at least one. */
    struct pj_migration *items;
    size_t count;
};

/* Those of the engine and of the systems that the operands name, or of all that are configured (and
 * of other programs' in the folder); in the command's arena. `directory` NULL: those built in.
 * Fails with PJ_EXIT_USAGE, naming the system, the file or the folder. */
int pj_migrations_load(struct pj_migrations *migrations, const char *directory, struct pj_cli *cli,
                       struct pj_error *error) PJ_MUST_CHECK;

/* NULL where there is none. */
struct pj_migration *pj_migrations_find(const struct pj_migrations *migrations, const char *system,
                                        int number);
const struct pj_migration *pj_migrations_newest(const struct pj_migrations *migrations,
                                                const char *system);

#endif
