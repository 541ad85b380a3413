/* SPDX-License-Identifier: Apache-2.0 */
/* Migrations as files for somebody else's tool (Supabase's), each with the time in its name. */
#ifndef PJ_CLI_MIGRATE_FILES_H
#define PJ_CLI_MIGRATE_FILES_H

#include "cli/migrations.h"

/*
 * Writes into the folder what it does not have yet: a file for each migration, then one with the
 * roles, if that is another than the last. They may be applied in their order by anything that runs
 * SQL, any number of times, and before or after `projectionist migrate`. The paths of those written
 * are added to the array.
 */
int pj_migrate_write_files(const struct pj_cli *cli, const struct pj_migrations *migrations,
                           const char *directory, json_t *written,
                           struct pj_error *error) PJ_MUST_CHECK;

#endif
