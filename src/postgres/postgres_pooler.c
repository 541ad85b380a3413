/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pooler in transaction mode gives each transaction whatever server session is free: what we set,
 * prepare and lock in a session would be another's. It shows by behaviour alone: a pooler tells a
 * process number of its own, and two clients of it meet in one server session.
 */
#include "base/clock.h"
#include "postgres/postgres_connect.h"

#include <poll.h>
#include <stdlib.h>

enum { ANSWER_MS = 10000, LOOK_MS = 1000, ROUNDS = 3 };

/* The server's process; 0: it does not say in time. In session mode the pool may be full. */
static int ask_process(PGconn *connection, const struct pj_postgres_settings *settings)
{
    int process = 0;
    int64_t deadline = pj_clock_monotonic_ms() + ANSWER_MS;
    if (PQsendQuery(connection, "SELECT pg_backend_pid()") != 1)
        return 0;
    while (PQisBusy(connection)) {
        struct pollfd fd = {.fd = PQsocket(connection), .events = POLLIN};
        if (pj_clock_monotonic_ms() > deadline ||
            (settings->waiting != NULL && settings->waiting(settings->waiting_context)) ||
            (poll(&fd, 1, LOOK_MS) > 0 && PQconsumeInput(connection) != 1))
            return 0;
    }
    for (PGresult *result; (result = PQgetResult(connection)) != NULL; PQclear(result)) {
        if (PQresultStatus(result) == PGRES_TUPLES_OK)
            process = (int)strtol(PQgetvalue(result, 0, 0), NULL, 10);
    }
    return process;
}

int pj_postgres_check_pooler(PGconn *connection, const struct pj_postgres_settings *settings,
                             struct pj_error *error)
{
    PGconn *other = NULL;
    struct pj_error ignored; /* it stays unknown */
    int first = ask_process(connection, settings), ours = first, theirs = 0;
    if (first == PQbackendPID(connection) ||
        (first != 0 && pj_postgres_connect(&other, settings, &ignored) != 0))
        return 0;
    for (int round = 0; other != NULL && ours == first && theirs != first && round < ROUNDS;
         round++) {
        theirs = ask_process(other, settings);
        if (theirs == 0)
            break;
        ours = ask_process(connection, settings);
    }
    PQfinish(other);
    if (ours == 0)
        return pj_error_set(error, PJ_RETRY,
                            "Postgres accepted the connection, but then did not answer: %s",
                            PQerrorMessage(connection));
    if (ours == first && theirs != first)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_DATABASE,
                          "the postgres-dsn leads to a pooler in transaction mode, in which "
                          "nothing of a session lasts; lead it to Postgres itself, or to a pooler "
                          "in session mode");
}
