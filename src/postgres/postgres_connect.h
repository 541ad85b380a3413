/* SPDX-License-Identifier: Apache-2.0 */
/* How postgres.c comes to a connection; of no use to others. */
#ifndef PJ_POSTGRES_POSTGRES_CONNECT_H
#define PJ_POSTGRES_POSTGRES_CONNECT_H

#include "postgres/postgres.h"

#include <libpq-fe.h>

/*
 * Connects as libpq would: the hosts of the settings one after the other, with their
 * target_session_attrs and load_balance_hosts. A host that says nothing within connect_timeout is
 * left out, and the others are asked. Blocks up to that long for each, and while a name is looked
 * up. On failure *connection is NULL.
 */
int pj_postgres_connect(PGconn **connection, const struct pj_postgres_settings *settings,
                        struct pj_error *error) PJ_MUST_CHECK;

/* Refuses a pooler in transaction mode (PJ_EXIT_DATABASE): in postgres_pooler.c. Asks the server,
 * and behind a pooler connects once more for a moment. */
int pj_postgres_check_pooler(PGconn *connection, const struct pj_postgres_settings *settings,
                             struct pj_error *error) PJ_MUST_CHECK;

/* Gives the new session its settings, and refuses one that could not hold what is written
 * (PJ_EXIT_DATABASE): in postgres_session.c. */
int pj_postgres_start_session(struct pj_postgres *postgres, const PGconn *connection,
                              const struct pj_postgres_settings *settings,
                              struct pj_error *error) PJ_MUST_CHECK;

#endif
