/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PJ_POSTGRES_POSTGRES_SETTINGS_H
#define PJ_POSTGRES_POSTGRES_SETTINGS_H

#include "postgres/postgres.h"

/*
 * What libpq would refuse, or retry for ever, in the operator's settings for
 * Postgres: PJ_EXIT_USAGE. Connects to nothing. The message shows nothing that may be a password.
 */
int pj_postgres_check_settings(const struct pj_postgres_settings *settings,
                               struct pj_error *error) PJ_MUST_CHECK;

/* The same for the certificates and keys that they name; at the start only, since a file that is
 * replaced later may be half written. */
int pj_postgres_check_files(const struct pj_postgres_settings *settings,
                            struct pj_error *error) PJ_MUST_CHECK;

#endif
