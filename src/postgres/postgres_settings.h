/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PJ_POSTGRES_POSTGRES_SETTINGS_H
#define PJ_POSTGRES_POSTGRES_SETTINGS_H

#include "postgres/postgres.h"

/*
 * What libpq would refuse for good, or go on trying for ever, in what the operator says about
 * Postgres: PJ_EXIT_USAGE. Connects to nothing. The message shows nothing that may be a password.
 */
int pj_postgres_check_settings(const struct pj_postgres_settings *settings,
                               struct pj_error *error) PJ_MUST_CHECK;

/* The same for the certificates and keys that they name; for the start, since who replaces a file
 * later may be in the middle of it. */
int pj_postgres_check_files(const struct pj_postgres_settings *settings,
                            struct pj_error *error) PJ_MUST_CHECK;

#endif
