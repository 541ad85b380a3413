/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session of ours runs with, whatever the server, the database, the role, PGOPTIONS or the
 * `options` of the DSN say: our statements and the functions they call mean the same everywhere,
 * and no time-out that is meant for others ends one of them. Tables are found in the schema that
 * the settings name; where else things are found (search_path) is the operator's to say.
 */
#include "base/memory.h"
#include "base/text.h"
#include "postgres/postgres_connect.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    int since; /* the server's version */
    const char *set;
} pinned[] = {
    {0, "statement_timeout = 0"},
    {140000, "idle_session_timeout = 0"},
    {170000, "transaction_timeout = 0"},
    /* what a transaction is */
    {0, "default_transaction_isolation = 'read committed'"},
    {0, "default_transaction_deferrable = off"},
    {0, "row_security = off"}, /* see access.h */
    /* what a text means, and how a value becomes one */
    {0, "client_encoding = 'UTF8'"},
    {0, "standard_conforming_strings = on"},
    {0, "transform_null_equals = off"},
    {0, "array_nulls = on"},
    {0, "xmloption = content"},
    {0, "quote_all_identifiers = off"},
    {0, "TimeZone = 'UTC'"},
    {0, "DateStyle = 'ISO, YMD'"},
    {0, "IntervalStyle = 'postgres'"},
    {0, "extra_float_digits = 3"},
    {0, "bytea_output = 'hex'"},
};

static char *write_settings(const PGconn *connection, const struct pj_postgres_settings *settings)
{
    struct pj_builder sql = {0};
    for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++) {
        if (PQserverVersion(connection) >= pinned[i].since)
            pj_builder_add(&sql, "SET %s; ", pinned[i].set);
    }
    /* How far a commit that is waited for has gone is the operator's to say; that it is waited for
     * is not. */
    pj_builder_add(&sql,
                   "SET lock_timeout = %lld; SET idle_in_transaction_session_timeout = %lld; "
                   "SELECT set_config('synchronous_commit', 'on', false) "
                   "WHERE current_setting('synchronous_commit') = 'off'",
                   (long long)settings->lock_timeout_ms,
                   (long long)settings->idle_in_transaction_timeout_ms);
    return pj_builder_take(&sql);
}

/* Of a text in another encoding some characters would be refused or change, and one without any
 * takes whatever bytes come. */
static int check_encoding(const PGconn *connection, struct pj_error *error)
{
    const char *encoding = PQparameterStatus(connection, "server_encoding");
    if (encoding == NULL || strcmp(encoding, "UTF8") == 0)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_DATABASE,
                          "the database %s has the encoding %s, which cannot hold the texts of "
                          "all events: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
                          PQdb(connection), encoding);
}

/* Without triggers and foreign keys no table is right. Only a superuser may set this. */
static int check_replication_role(struct pj_postgres *postgres, struct pj_error *error)
{
    struct pj_result *result;
    if (pj_postgres_query(postgres,
                          "SELECT current_setting('session_replication_role'), "
                          "quote_ident(session_user)",
                          0, NULL, &result, error) != 0)
        return -1;
    int status = 0;
    if (strcmp(pj_result_value(result, 0, 0, NULL), "origin") != 0 &&
        pj_postgres_script(postgres, "SET session_replication_role = origin", error) != 0)
        status = error->class != PJ_FATAL
                     ? -1
                     : pj_error_fatal(error, PJ_EXIT_DATABASE,
                                      "session_replication_role is %s, with which foreign keys "
                                      "and triggers do not work: ALTER ROLE %s RESET "
                                      "session_replication_role, or wherever else it is set",
                                      pj_result_value(result, 0, 0, NULL),
                                      pj_result_value(result, 0, 1, NULL));
    pj_result_free(result);
    return status;
}

int pj_postgres_migrated(struct pj_postgres *postgres, const char *system, bool *migrated,
                         char **schema, struct pj_error *error)
{
    struct pj_result *result;
    *migrated = true;
    if (pj_postgres_query(
            postgres,
            "SELECT FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid "
            "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
            "WHERE n.nspname = 'projectionist' AND c.relname = 'migrations' "
            "AND a.attname = 'tables_schema' AND has_table_privilege(c.oid, 'SELECT') "
            "AND has_schema_privilege(n.oid, 'USAGE')",
            0, NULL, &result, error) != 0)
        return -1;
    bool known = pj_result_rows(result) > 0;
    pj_result_free(result);
    if (!known)
        return 0;
    if (pj_postgres_query(postgres,
                          "SELECT tables_schema FROM projectionist.migrations WHERE system = $1 "
                          "ORDER BY tables_schema LIMIT 1",
                          1, &system, &result, error) != 0)
        return -1;
    *migrated = pj_result_rows(result) > 0;
    const char *found = *migrated ? pj_result_value(result, 0, 0, NULL) : NULL;
    if (schema != NULL && found != NULL)
        *schema = pj_strdup(found);
    pj_result_free(result);
    return 0;
}

/* A table that is found elsewhere is another environment's (store/access.h). */
static int use_tables_schema(struct pj_postgres *postgres,
                             const struct pj_postgres_settings *settings, struct pj_error *error)
{
    struct pj_result *result;
    char *found = NULL;
    bool migrated;
    if (settings->tables_schema == NULL &&
        (settings->system == NULL ||
         pj_postgres_migrated(postgres, settings->system, &migrated, &found, error) != 0))
        return settings->system == NULL ? 0 : -1;
    const char *schema = settings->tables_schema != NULL ? settings->tables_schema
                         : found != NULL                 ? found
                                                         : settings->default_schema;
    int status =
        pj_postgres_query(postgres,
                          "SELECT set_config('search_path', concat_ws(', ', quote_ident($1), "
                          "nullif(current_setting('search_path'), '')), false), "
                          "set_config('projectionist.tables_schema', $1, false)",
                          1, &schema, &result, error);
    free(found);
    if (status == 0)
        pj_result_free(result);
    return status;
}

int pj_postgres_start_session(struct pj_postgres *postgres, const PGconn *connection,
                              const struct pj_postgres_settings *settings, struct pj_error *error)
{
    if (check_encoding(connection, error) != 0)
        return -1;
    char *sql = write_settings(connection, settings);
    int status = pj_postgres_script(postgres, sql, error);
    free(sql);
    return status == 0 && use_tables_schema(postgres, settings, error) == 0
               ? check_replication_role(postgres, error)
               : -1;
}
