/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Postgres connection (libpq; no other file of the engine but postgres_connect.c includes it).
 *
 * Statements are prepared once per connection, parameters and results are binary. Statements that
 * need no answer are queued and travel together with the next one that does (a libpq pipeline), so
 * a transaction costs a few round trips whatever its number of statements; one that fails stops
 * those queued after it, COMMIT included. Every wait is a poll(2) that first calls the idle hook,
 * in which the engine decodes the next batch.
 *
 * Errors carry their SQLSTATE and their class (error.h). After PJ_RETRY with
 * pj_postgres_broken() true the connection is gone; open another.
 */
#ifndef PJ_POSTGRES_POSTGRES_H
#define PJ_POSTGRES_POSTGRES_H

#include "base/config.h"
#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pj_postgres;

struct pj_postgres_settings {
    const char *dsn;                        /* a URI or key=value text; NULL: libpq's own rules */
    const struct pj_properties *properties; /* `postgres.*`, over the DSN; may be NULL */
    const char *application_name;
    const char *tables_schema; /* NULL: where `system` was migrated to, else its default_schema */
    const char *system;        /* NULL: the search_path is left as it is, unless tables_schema */
    const char *default_schema;
    int64_t connect_timeout_ms; /* for each host; 0: connect_timeout, or 10 s */
    int64_t lock_timeout_ms;    /* 0: none */
    /* 0: none; ends the transaction of an owner that does not respond. */
    int64_t idle_in_transaction_timeout_ms;
    /* Called while a connection is waited for, at least once a second; true gives it up. May be
     * NULL. */
    bool (*waiting)(void *context);
    void *waiting_context;
};

enum { PJ_SQL_IDENTIFIER_MOST = 63 };

/* Of programs that read or write tables of a system; `at` is the offset of a const char *. */
#define PJ_TABLES_SCHEMA_OPTION(at)                                                                \
    PJ_OPTION(STRING, "tables-schema", at, NULL, "NAME",                                           \
              "The schema of Postgres that holds the tables; the default is where migrate "        \
              "created them, at first the "                                                        \
              "system's own. It comes first in the search_path, before that of the role, the "     \
              "database or the DSN.",                                                              \
              .filled = true, .most = PJ_SQL_IDENTIFIER_MOST)

/*
 * Called while waiting for the server, over and over until the answer is there. It does a bounded
 * piece of work and returns true when it did some and has more; false lets the wait block until
 * the server answers, `*fd` (-1: none) becomes readable, or 100 ms have passed.
 */
typedef bool pj_postgres_idle(void *context, int *fd);

/* The types we bind; the numbers are Postgres's own (pg_type.oid), fixed for ever. */
enum pj_oid {
    PJ_OID_BOOL = 16,
    PJ_OID_BYTEA = 17,
    PJ_OID_INT8 = 20,
    PJ_OID_INT4 = 23,
    PJ_OID_TEXT = 25,
    PJ_OID_FLOAT8 = 701,
    PJ_OID_BOOL_ARRAY = 1000,
    PJ_OID_BYTEA_ARRAY = 1001,
    PJ_OID_INT4_ARRAY = 1007,
    PJ_OID_TEXT_ARRAY = 1009,
    PJ_OID_INT8_ARRAY = 1016,
    PJ_OID_FLOAT8_ARRAY = 1022,
    PJ_OID_TIMESTAMPTZ = 1184,
    PJ_OID_TIMESTAMPTZ_ARRAY = 1185,
    PJ_OID_UUID = 2950,
    PJ_OID_UUID_ARRAY = 2951,
    PJ_OID_JSONB = 3802,
    PJ_OID_JSONB_ARRAY = 3807,
};

struct pj_statement {
    const char *name; /* unique per connection; kept by pointer */
    const char *sql;
    int parameter_count;
    const uint32_t *types; /* enum pj_oid, one per parameter */
};
/* The last two, of a static one. */
#define PJ_TYPES(...)                                                                              \
    .parameter_count = sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),                 \
    .types = (const uint32_t[])                                                                    \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* Binary, network byte order as the type wants it; data NULL is SQL NULL. Not copied: must live
 * until the call that flushes returns. */
struct pj_parameter {
    const void *data;
    size_t length;
};

struct pj_result;

/* Whether anything says where Postgres is: the settings, or a variable of libpq. */
bool pj_postgres_is_named(const struct pj_postgres_settings *settings);
int pj_postgres_open(struct pj_postgres **postgres, const struct pj_postgres_settings *settings,
                     struct pj_error *error) PJ_MUST_CHECK;
void pj_postgres_close(struct pj_postgres *postgres); /* NULL is allowed; never blocks */
void pj_postgres_on_idle(struct pj_postgres *postgres, pj_postgres_idle *idle, void *context);

/* Whether a key that already exists in the table is PJ_RETRY, because another transaction was
 * first; without it such keys are PJ_POISON. The context is borrowed. */
typedef bool pj_postgres_contested(const void *context, const char *table);
void pj_postgres_on_contested(struct pj_postgres *postgres, pj_postgres_contested *contested,
                              const void *context);
bool pj_postgres_broken(const struct pj_postgres *postgres);
/* Breaks the connection, from the idle hook too: what waits for an answer gets PJ_RETRY. */
void pj_postgres_abandon(struct pj_postgres *postgres);

/*
 * Whether `migrate` was run for the system here; true, too, where the record of migrations may not
 * be read. And into which schema its tables went: a text that the caller frees, or as it was where
 * that is not known; `schema` may be NULL.
 */
int pj_postgres_migrated(struct pj_postgres *postgres, const char *system, bool *migrated,
                         char **schema, struct pj_error *error) PJ_MUST_CHECK;

/* Postgres accepts no message of a gigabyte, and would close the connection: what comes near
 * that is refused here, PJ_POISON with SQLSTATE 54000. pj_postgres_queue asks this itself. */
int pj_postgres_check_size(const struct pj_statement *statement,
                           const struct pj_parameter *parameters,
                           struct pj_error *error) PJ_MUST_CHECK;
/* Queues; errors come from the next pj_postgres_run. */
int pj_postgres_queue(struct pj_postgres *postgres, const struct pj_statement *statement,
                      const struct pj_parameter *parameters, struct pj_error *error) PJ_MUST_CHECK;
/* Sends what is queued and this one, waits for all; the first failure is the error. *result (may
 * be NULL when not wanted) is this statement's, to be freed with pj_result_free. */
int pj_postgres_run(struct pj_postgres *postgres, const struct pj_statement *statement,
                    const struct pj_parameter *parameters, struct pj_result **result,
                    struct pj_error *error) PJ_MUST_CHECK;

/* One or several statements as text, no parameters, no rows wanted (BEGIN, a migration file). */
int pj_postgres_script(struct pj_postgres *postgres, const char *sql,
                       struct pj_error *error) PJ_MUST_CHECK;
/* One statement with text parameters ($1…, NULL is SQL NULL) and a text result, which may be NULL
 * when not wanted; for commands that people run, not for data. */
int pj_postgres_query(struct pj_postgres *postgres, const char *sql, int count,
                      const char *const *parameters, struct pj_result **result,
                      struct pj_error *error) PJ_MUST_CHECK;
/* Its count and its parameters. */
#define PJ_TEXTS(...)                                                                              \
    (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)), (const char *const[])      \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* Waits until somebody notifies a channel that this session listens to (LISTEN), at most so long,
 * and until a signal comes: 1 where somebody has, 0 where not. Outside of a transaction. */
int pj_postgres_wait(struct pj_postgres *postgres, int64_t wait_ms,
                     struct pj_error *error) PJ_MUST_CHECK;

/* Waits until all that is queued has been carried out, within the transaction. A pipeline takes at
 * most 256 statements: callers that may queue more call this now and then. */
int pj_postgres_drain(struct pj_postgres *postgres, struct pj_error *error) PJ_MUST_CHECK;
int pj_postgres_begin(struct pj_postgres *postgres,
                      struct pj_error *error) PJ_MUST_CHECK; /* queued */
int pj_postgres_commit(struct pj_postgres *postgres, struct pj_error *error) PJ_MUST_CHECK;
/* Ends an open transaction, if the connection is alive; also clears what is queued. */
void pj_postgres_rollback(struct pj_postgres *postgres);

/*
 * COPY … FROM STDIN (FORMAT binary): begin sends what is queued first; data is handed over in
 * pieces of any size (it blocks only while the server is behind); end(NULL) finishes and gives the
 * server's verdict and how many rows it wrote, end(reason) aborts the COPY.
 */
int pj_postgres_copy_begin(struct pj_postgres *postgres, const char *sql,
                           struct pj_error *error) PJ_MUST_CHECK;
int pj_postgres_copy_data(struct pj_postgres *postgres, const void *data, size_t length,
                          struct pj_error *error) PJ_MUST_CHECK;
int pj_postgres_copy_end(struct pj_postgres *postgres, const char *abort_reason, int64_t *rows,
                         struct pj_error *error) PJ_MUST_CHECK;

int pj_result_rows(const struct pj_result *result);
/* NULL for SQL NULL; borrowed from the result. Text results end in NUL. */
const char *pj_result_value(const struct pj_result *result, int row, int column, int *length);
int64_t pj_result_int8(const struct pj_result *result, int row, int column); /* binary int8 */
void pj_result_free(struct pj_result *result);                               /* NULL is allowed */

enum { PJ_REFUSAL_NAME_SIZE = 64 }; /* of Postgres, with the NUL */

/* What the last statement that failed failed at, as far as Postgres says; "" where it does not. */
struct pj_refusal {
    char schema[PJ_REFUSAL_NAME_SIZE];
    char table[PJ_REFUSAL_NAME_SIZE];
    char column[PJ_REFUSAL_NAME_SIZE];
    char constraint[PJ_REFUSAL_NAME_SIZE];
};

const struct pj_refusal *pj_postgres_refusal(const struct pj_postgres *postgres);

/* The class of an SQLSTATE (postgres_class.c); unknown ones are fatal. */
enum pj_error_class pj_postgres_class(const char *sqlstate);

#endif
