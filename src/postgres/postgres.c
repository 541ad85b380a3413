/* SPDX-License-Identifier: Apache-2.0 */
#include "postgres/postgres.h"

#include "base/memory.h"
#include "base/sentences.h"
#include "base/text.h"
#include "postgres/postgres_connect.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    STATEMENTS_MOST = 256,
    PENDING_MOST = 256,
    WAIT_MS = 100,
    PARAMETERS_MOST = 768 << 20,
    COPY_MOST = 64 << 20
};

struct pj_postgres {
    PGconn *connection;
    pj_postgres_contested *contested;
    const void *contested_context;
    pj_postgres_idle *idle;
    void *idle_context;
    bool broken;
    bool copying;
    struct pj_refusal refusal;
    /* Prepared on this connection, by pointer. */
    const struct pj_statement *prepared[STATEMENTS_MOST];
    int prepared_count;
    /* Sent in the pipeline, answers not read yet; a PREPARE has its statement, others NULL. */
    const struct pj_statement *pending[PENDING_MOST];
    int pending_count;
};

static int fail_broken(struct pj_postgres *postgres, struct pj_error *error)
{
    postgres->broken = true;
    const char *message = PQerrorMessage(postgres->connection);
    return pj_error_set(error, PJ_RETRY, "the connection to Postgres was lost: %s",
                        message != NULL && *message ? message : "no answer");
}

static void note_field(char *out, const PGresult *result, int field)
{
    const char *text = PQresultErrorField(result, field);
    pj_text_show(out, PJ_REFUSAL_NAME_SIZE, "%s", text != NULL ? text : "");
}

const struct pj_refusal *pj_postgres_refusal(const struct pj_postgres *postgres)
{
    return &postgres->refusal;
}

/* By RAISE of PL/pgSQL, whatever SQLSTATE that was given: a trigger does not like the record. */
static bool is_raised(const PGresult *result, const char *sqlstate)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    return function != NULL && strcmp(function, "exec_stmt_raise") == 0 &&
           strncmp(sqlstate, "PJ", 2) != 0;
}

/* The remedy, where Postgres gives none. */
static const char *remedy(const char *sqlstate)
{
    static const char *const remedies[][2] = {
        {"2200H", "; give the sequence and its column a type of larger numbers"},
        {"25006", "; it is a standby, or default_transaction_read_only is on for the role or the "
                  "database"},
        {"3F000", "; let the search_path of the role or the database begin with an existing "
                  "schema, such as public"},
        {"42501", "; grant the role the missing right"},
    };
    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++) {
        if (strcmp(sqlstate, remedies[i][0]) == 0)
            return remedies[i][1];
    }
    return "";
}

static int fail_result(struct pj_postgres *postgres, const PGresult *result, struct pj_error *error)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);
    const char *table = PQresultErrorField(result, PG_DIAG_TABLE_NAME);
    if (sqlstate == NULL) {
        /* Made by libpq itself: the connection is gone. */
        return fail_broken(postgres, error);
    }
    enum pj_error_class class = pj_postgres_class(sqlstate);
    if (class == PJ_FATAL && is_raised(result, sqlstate))
        class = PJ_POISON;
    note_field(postgres->refusal.schema, result, PG_DIAG_SCHEMA_NAME);
    note_field(postgres->refusal.table, result, PG_DIAG_TABLE_NAME);
    note_field(postgres->refusal.column, result, PG_DIAG_COLUMN_NAME);
    note_field(postgres->refusal.constraint, result, PG_DIAG_CONSTRAINT_NAME);
    /* Two transactions met at an entity that neither had seen: the loser reads the winner's facts
     * when it tries again. */
    if (strcmp(sqlstate, "23505") == 0 && table != NULL && postgres->contested != NULL &&
        postgres->contested(postgres->contested_context, table))
        class = PJ_RETRY;
    if (strcmp(sqlstate, "PJ003") == 0) {
        pj_error_set(error, class, PJ_ROW_TAKEN, primary != NULL ? primary : "a table");
        pj_text_whole(error->sqlstate, sizeof error->sqlstate, "%.5s", sqlstate);
        return -1;
    }
    char first_context[120] = "";
    if (context != NULL && strcmp(sqlstate, "PJ004") != 0) {
        pj_text_show(first_context, sizeof first_context, "%.*s", (int)strcspn(context, "\n"),
                     context);
    }
    pj_error_set(error, class, "Postgres: %s%s%s%s%s (SQLSTATE %s)%s",
                 primary != NULL ? primary : "unknown error", detail != NULL ? ": " : "",
                 detail != NULL ? detail : "", *first_context ? "; " : "", first_context, sqlstate,
                 remedy(sqlstate));
    if (class == PJ_FATAL)
        error->exit_code = PJ_EXIT_DATABASE;
    pj_text_whole(error->sqlstate, sizeof error->sqlstate, "%.5s", sqlstate);
    /* A standby stays one for as long as this connection lasts; the primary may be where a new one
     * leads to. */
    if (PQstatus(postgres->connection) == CONNECTION_BAD || strcmp(sqlstate, "25006") == 0)
        postgres->broken = true;
    return -1;
}

/* --- opening --------------------------------------------------------------------------------- */

static void drop_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

int pj_postgres_open(struct pj_postgres **out, const struct pj_postgres_settings *settings,
                     struct pj_error *error)
{
    struct pj_postgres *postgres = pj_alloc(sizeof *postgres);
    if (pj_postgres_connect(&postgres->connection, settings, error) != 0 ||
        pj_postgres_check_pooler(postgres->connection, settings, error) != 0)
        goto fail;
    PQsetNoticeReceiver(postgres->connection, drop_notice, NULL);
    if (PQsetnonblocking(postgres->connection, 1) != 0) {
        fail_broken(postgres, error);
        goto fail;
    }
    if (pj_postgres_start_session(postgres, postgres->connection, settings, error) != 0)
        goto fail;
    *out = postgres;
    return 0;
fail:
    pj_postgres_close(postgres);
    return -1;
}

void pj_postgres_close(struct pj_postgres *postgres)
{
    if (postgres == NULL)
        return;
    PQfinish(postgres->connection);
    free(postgres);
}

void pj_postgres_on_idle(struct pj_postgres *postgres, pj_postgres_idle *idle, void *context)
{
    postgres->idle = idle;
    postgres->idle_context = context;
}

void pj_postgres_on_contested(struct pj_postgres *postgres, pj_postgres_contested *contested,
                              const void *context)
{
    postgres->contested = contested;
    postgres->contested_context = context;
}

bool pj_postgres_broken(const struct pj_postgres *postgres)
{
    return postgres->broken;
}

void pj_postgres_abandon(struct pj_postgres *postgres)
{
    /* The end of the stream wakes a thread that polls, which a flag would not. */
    shutdown(PQsocket(postgres->connection), SHUT_RDWR);
}

/* --- waiting --------------------------------------------------------------------------------- */

/* Until the socket is ready for `events`; the idle hook works meanwhile. */
static void wait_for(struct pj_postgres *postgres, short events)
{
    for (;;) {
        int idle_fd = -1;
        bool more = postgres->idle != NULL && postgres->idle(postgres->idle_context, &idle_fd);
        struct pollfd fds[2] = {{.fd = PQsocket(postgres->connection), .events = events},
                                {.fd = idle_fd, .events = POLLIN}};
        int ready = poll(fds, 2, more ? 0 : WAIT_MS);
        if ((ready > 0 && fds[0].revents != 0) || (ready < 0 && errno != EINTR))
            return;
    }
}

static int flush(struct pj_postgres *postgres, struct pj_error *error)
{
    int left;
    while ((left = PQflush(postgres->connection)) > 0) {
        wait_for(postgres, POLLIN | POLLOUT);
        if (PQconsumeInput(postgres->connection) == 0)
            return fail_broken(postgres, error);
    }
    return left < 0 ? fail_broken(postgres, error) : 0;
}

/* The next result, or NULL between two statements' results. */
static int next_result(struct pj_postgres *postgres, PGresult **result, struct pj_error *error)
{
    while (PQisBusy(postgres->connection)) {
        wait_for(postgres, POLLIN);
        if (PQconsumeInput(postgres->connection) == 0)
            return fail_broken(postgres, error);
    }
    *result = PQgetResult(postgres->connection);
    return 0;
}

/* --- the pipeline ---------------------------------------------------------------------------- */

static bool is_prepared(const struct pj_postgres *postgres, const struct pj_statement *statement)
{
    for (int i = 0; i < postgres->prepared_count; i++) {
        if (postgres->prepared[i] == statement)
            return true;
    }
    return false;
}

static void forget_prepared(struct pj_postgres *postgres, const struct pj_statement *statement)
{
    for (int i = 0; i < postgres->prepared_count; i++) {
        if (postgres->prepared[i] == statement)
            postgres->prepared[i] = postgres->prepared[--postgres->prepared_count];
    }
}

static int enter_pipeline(struct pj_postgres *postgres, struct pj_error *error)
{
    if (postgres->broken)
        return fail_broken(postgres, error);
    if (PQenterPipelineMode(postgres->connection) != 1)
        return fail_broken(postgres, error);
    return 0;
}

static int push(struct pj_postgres *postgres, const struct pj_statement *prepare,
                struct pj_error *error)
{
    if (postgres->pending_count == PENDING_MOST)
        return pj_error_set(error, PJ_FATAL, "more than %d statements in one pipeline",
                            PENDING_MOST);
    postgres->pending[postgres->pending_count++] = prepare;
    return 0;
}

int pj_postgres_check_size(const struct pj_statement *statement,
                           const struct pj_parameter *parameters, struct pj_error *error)
{
    size_t size = 0;
    for (int i = 0; i < statement->parameter_count; i++)
        size += parameters[i].length;
    if (size <= PARAMETERS_MOST)
        return 0;
    pj_error_set(error, PJ_POISON,
                 "the parameters of the statement %s take %zu MiB, and Postgres accepts no message "
                 "of 1 GiB",
                 statement->name, size >> 20);
    pj_text_whole(error->sqlstate, sizeof error->sqlstate, "54000");
    return -1;
}

int pj_postgres_queue(struct pj_postgres *postgres, const struct pj_statement *statement,
                      const struct pj_parameter *parameters, struct pj_error *error)
{
    if (pj_postgres_check_size(statement, parameters, error) != 0 ||
        enter_pipeline(postgres, error) != 0)
        return -1;
    if (!is_prepared(postgres, statement)) {
        if (postgres->prepared_count == STATEMENTS_MOST)
            return pj_error_set(error, PJ_FATAL, "more than %d prepared statements",
                                STATEMENTS_MOST);
        if (push(postgres, statement, error) != 0)
            return -1;
        if (PQsendPrepare(postgres->connection, statement->name, statement->sql,
                          statement->parameter_count, statement->types) != 1)
            return fail_broken(postgres, error);
        postgres->prepared[postgres->prepared_count++] = statement;
    }
    const char *values[64];
    int lengths[64];
    int formats[64];
    int count = statement->parameter_count;
    if (count > 64)
        return pj_error_set(error, PJ_FATAL, "statement %s has more than 64 parameters",
                            statement->name);
    for (int i = 0; i < count; i++) {
        values[i] = parameters[i].data;
        lengths[i] = (int)parameters[i].length;
        formats[i] = 1;
    }
    if (push(postgres, NULL, error) != 0)
        return -1;
    if (PQsendQueryPrepared(postgres->connection, statement->name, count, values, lengths, formats,
                            1) != 1)
        return fail_broken(postgres, error);
    return 0;
}

/* The results of one statement, or of all of a script, to their end: keeps the last good one, and
 * the first error of all. `prepare`: what is not prepared if it fails, or NULL. */
static int read_results(struct pj_postgres *postgres, const struct pj_statement *prepare,
                        PGresult **last, bool *failed, struct pj_error *error)
{
    PGresult *result;
    while (next_result(postgres, &result, error) == 0) {
        if (result == NULL)
            return 0;
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
            PQclear(*last);
            *last = result;
            continue;
        }
        if (prepare != NULL)
            forget_prepared(postgres, prepare);
        if (status != PGRES_PIPELINE_ABORTED && !*failed) {
            *failed = true;
            fail_result(postgres, result, error);
        }
        PQclear(result);
        if (postgres->broken && *failed)
            break;
    }
    return -1;
}

/* Reads the answers to all that is pending and to the sync after it; keeps the last statement's
 * result and the first error. */
static int collect(struct pj_postgres *postgres, PGresult **last, struct pj_error *error)
{
    bool failed = false;
    int count = postgres->pending_count;
    postgres->pending_count = 0;
    for (int i = 0; i < count; i++) {
        PQclear(*last);
        *last = NULL;
        if (read_results(postgres, postgres->pending[i], last, &failed, error) != 0)
            return -1;
    }
    PGresult *sync;
    if (next_result(postgres, &sync, error) != 0)
        return -1;
    bool synced = sync != NULL && PQresultStatus(sync) == PGRES_PIPELINE_SYNC;
    PQclear(sync);
    if (!synced)
        return failed ? -1 : fail_broken(postgres, error);
    return failed ? -1 : 0;
}

static void give(PGresult *last, struct pj_result **out)
{
    if (out != NULL)
        *out = (struct pj_result *)last;
    else
        PQclear(last);
}

int pj_postgres_run(struct pj_postgres *postgres, const struct pj_statement *statement,
                    const struct pj_parameter *parameters, struct pj_result **out,
                    struct pj_error *error)
{
    if (out != NULL)
        *out = NULL;
    if (pj_postgres_queue(postgres, statement, parameters, error) != 0)
        return -1;
    if (PQpipelineSync(postgres->connection) != 1)
        return fail_broken(postgres, error);
    PGresult *last = NULL;
    if (flush(postgres, error) != 0 || collect(postgres, &last, error) != 0) {
        PQclear(last);
        return -1;
    }
    give(last, out);
    return 0;
}

/* Finishes what is queued, so that the connection can leave the pipeline. */
static int leave_pipeline(struct pj_postgres *postgres, struct pj_error *error)
{
    if (postgres->broken)
        return fail_broken(postgres, error);
    if (PQpipelineStatus(postgres->connection) == PQ_PIPELINE_OFF)
        return 0;
    int status = 0;
    if (postgres->pending_count > 0) {
        if (PQpipelineSync(postgres->connection) != 1)
            return fail_broken(postgres, error);
        PGresult *last = NULL;
        status = flush(postgres, error);
        if (status == 0)
            status = collect(postgres, &last, error);
        PQclear(last);
        if (postgres->broken)
            return -1;
    }
    if (PQexitPipelineMode(postgres->connection) != 1)
        return fail_broken(postgres, error);
    return status;
}

static const struct pj_statement begin_statement = {.name = "pj_begin", .sql = "BEGIN"};
static const struct pj_statement commit_statement = {.name = "pj_commit", .sql = "COMMIT"};
static const struct pj_statement drain_statement = {.name = "pj_drain", .sql = "SELECT"};

int pj_postgres_begin(struct pj_postgres *postgres, struct pj_error *error)
{
    return pj_postgres_queue(postgres, &begin_statement, NULL, error);
}

int pj_postgres_drain(struct pj_postgres *postgres, struct pj_error *error)
{
    return pj_postgres_run(postgres, &drain_statement, NULL, NULL, error);
}

int pj_postgres_commit(struct pj_postgres *postgres, struct pj_error *error)
{
    return pj_postgres_run(postgres, &commit_statement, NULL, NULL, error);
}

void pj_postgres_rollback(struct pj_postgres *postgres)
{
    /* The transaction is lost whatever the server says now; a connection that cannot even roll
     * back is not used again. */
    struct pj_error error;
    int64_t rows;
    if (postgres->copying && pj_postgres_copy_end(postgres, "rolled back", &rows, &error) != 0 &&
        postgres->broken)
        return;
    if (postgres->pending_count > 0)
        (void)leave_pipeline(postgres, &error);
    if (postgres->broken || PQtransactionStatus(postgres->connection) == PQTRANS_IDLE)
        return;
    if (pj_postgres_script(postgres, "ROLLBACK", &error) != 0)
        postgres->broken = true;
}

/* --- text ------------------------------------------------------------------------------------ */

static int drain(struct pj_postgres *postgres, PGresult **last, struct pj_error *error)
{
    bool failed = false;
    return read_results(postgres, NULL, last, &failed, error) != 0 || failed ? -1 : 0;
}

static int send_script(struct pj_postgres *postgres, const char *sql, struct pj_error *error)
{
    if (leave_pipeline(postgres, error) != 0)
        return -1;
    if (PQsendQuery(postgres->connection, sql) != 1 || flush(postgres, error) != 0)
        return fail_broken(postgres, error);
    return 0;
}

int pj_postgres_script(struct pj_postgres *postgres, const char *sql, struct pj_error *error)
{
    if (send_script(postgres, sql, error) != 0)
        return -1;
    PGresult *last = NULL;
    int status = drain(postgres, &last, error);
    PQclear(last);
    return status;
}

int pj_postgres_query(struct pj_postgres *postgres, const char *sql, int count,
                      const char *const *parameters, struct pj_result **out, struct pj_error *error)
{
    if (out != NULL)
        *out = NULL;
    if (leave_pipeline(postgres, error) != 0)
        return -1;
    if (PQsendQueryParams(postgres->connection, sql, count, NULL, parameters, NULL, NULL, 0) != 1 ||
        flush(postgres, error) != 0)
        return fail_broken(postgres, error);
    PGresult *last = NULL;
    if (drain(postgres, &last, error) != 0) {
        PQclear(last);
        return -1;
    }
    give(last, out);
    return 0;
}

/* --- notifications --------------------------------------------------------------------------- */

static bool take_notifications(struct pj_postgres *postgres)
{
    bool taken = false;
    for (PGnotify *one; (one = PQnotifies(postgres->connection)) != NULL; PQfreemem(one))
        taken = true;
    return taken;
}

int pj_postgres_wait(struct pj_postgres *postgres, int64_t wait_ms, struct pj_error *error)
{
    if (leave_pipeline(postgres, error) != 0)
        return -1;
    if (take_notifications(postgres))
        return 1;
    struct pollfd fd = {.fd = PQsocket(postgres->connection), .events = POLLIN};
    if (poll(&fd, 1, (int)wait_ms) <= 0)
        return 0;
    if (PQconsumeInput(postgres->connection) == 0)
        return fail_broken(postgres, error);
    return take_notifications(postgres) ? 1 : 0;
}

/* --- COPY ------------------------------------------------------------------------------------ */

int pj_postgres_copy_begin(struct pj_postgres *postgres, const char *sql, struct pj_error *error)
{
    if (send_script(postgres, sql, error) != 0)
        return -1;
    PGresult *result;
    if (next_result(postgres, &result, error) != 0)
        return -1;
    if (PQresultStatus(result) == PGRES_COPY_IN) {
        PQclear(result);
        postgres->copying = true;
        return 0;
    }
    int status = fail_result(postgres, result, error);
    PQclear(result);
    PGresult *last = NULL;
    struct pj_error ignored;
    if (!postgres->broken)
        (void)drain(postgres, &last, &ignored);
    PQclear(last);
    return status;
}

int pj_postgres_copy_data(struct pj_postgres *postgres, const void *data, size_t length,
                          struct pj_error *error)
{
    /* Else libpq would gather all that the socket does not take. */
    if (flush(postgres, error) != 0)
        return -1;
    /* In pieces of any size: a row may be in several. */
    for (const char *at = data, *end = at + length; at < end;) {
        int piece = end - at < COPY_MOST ? (int)(end - at) : COPY_MOST;
        int status = PQputCopyData(postgres->connection, at, piece);
        if (status < 0)
            return fail_broken(postgres, error);
        if (status > 0) {
            at += piece;
            continue;
        }
        wait_for(postgres, POLLOUT);
        if (PQflush(postgres->connection) < 0)
            return fail_broken(postgres, error);
    }
    /* Hand over what the socket takes now; the server parses while we encode the next piece. */
    if (PQflush(postgres->connection) < 0)
        return fail_broken(postgres, error);
    return 0;
}

int pj_postgres_copy_end(struct pj_postgres *postgres, const char *abort_reason, int64_t *rows,
                         struct pj_error *error)
{
    postgres->copying = false;
    int status;
    while ((status = PQputCopyEnd(postgres->connection, abort_reason)) == 0)
        wait_for(postgres, POLLOUT);
    if (status < 0 || flush(postgres, error) != 0)
        return fail_broken(postgres, error);
    PGresult *last = NULL;
    status = drain(postgres, &last, error);
    *rows = last != NULL ? strtoll(PQcmdTuples(last), NULL, 10) : 0;
    PQclear(last);
    return status;
}

/* --- results --------------------------------------------------------------------------------- */

/* A struct pj_result is a PGresult under a name that needs no libpq. */
static const PGresult *of(const struct pj_result *result)
{
    return (const PGresult *)result;
}

int pj_result_rows(const struct pj_result *result)
{
    return PQntuples(of(result));
}

const char *pj_result_value(const struct pj_result *result, int row, int column, int *length)
{
    if (PQgetisnull(of(result), row, column))
        return NULL;
    if (length != NULL)
        *length = PQgetlength(of(result), row, column);
    return PQgetvalue(of(result), row, column);
}

int64_t pj_result_int8(const struct pj_result *result, int row, int column)
{
    int length = 0;
    const char *value = pj_result_value(result, row, column, &length);
    uint64_t raw = 0;
    if (value != NULL && length == 8)
        memcpy(&raw, value, 8);
    return (int64_t)be64toh(raw);
}

void pj_result_free(struct pj_result *result)
{
    PQclear((PGresult *)result);
}
