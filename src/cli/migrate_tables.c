/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/migrate_tables.h"

#include <string.h>

/* It is never committed. */
#define TRIAL "projectionist_trial"

/* The first value, or NULL. */
static int query(struct pj_cli *cli, const char *sql, int count, const char *const *parameters,
                 const char **value, struct pj_error *error)
{
    const struct pj_result *result;
    if (pj_cli_query(cli, sql, count, parameters, &result, error) != 0)
        return -1;
    *value = pj_result_rows(result) > 0 ? pj_result_value(result, 0, 0, NULL) : NULL;
    return 0;
}

/* Puts schemas (each may be NULL) before the others of the search_path, and behind them those that
 * have an extension: another system may have made it, in its own schema. */
static int put_first(struct pj_cli *cli, const char *first, const char *second,
                     struct pj_error *error)
{
    const char *path;
    return query(
        cli,
        "SELECT set_config('search_path', concat_ws(', ', quote_ident($1), "
        "quote_ident($2), string_agg(quote_ident(s.name), ', ' ORDER BY s.place, s.name)), "
        "true) FROM (SELECT name, place FROM unnest(current_schemas(false)) WITH ORDINALITY "
        "AS c (name, place) UNION ALL SELECT DISTINCT n.nspname, 2147483647 "
        "FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace "
        "WHERE n.nspname <> ALL (current_schemas(true))) AS s "
        "WHERE s.name <> 'projectionist' AND s.name IS DISTINCT FROM $1 "
        "AND s.name IS DISTINCT FROM $2",
        PJ_TEXTS(first, second), &path, error);
}

int pj_migrate_use_schema(struct pj_cli *cli, const char *schema, struct pj_error *error)
{
    const char *create;
    if (query(cli,
              "SELECT format('CREATE SCHEMA %I', $1::text) WHERE $1 IS NOT NULL "
              "AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)",
              1, &schema, &create, error) != 0 ||
        (create != NULL && pj_postgres_script(cli->postgres, create, error) != 0))
        return -1;
    return put_first(cli, NULL, schema, error);
}

/* Types that the files make are other ones in the trial, of the same name. */
static int compare(struct pj_cli *cli, const char *schema, const char *known,
                   struct pj_error *error)
{
    static const char sql[] =
        "SELECT format('%I.%I (%s)', $1::text, t.relname, CASE "
        "WHEN r.relkind NOT IN ('r', 'p') THEN 'it is not a table' WHEN h.attname IS NULL THEN "
        "format('it has no column %I', w.attname) "
        "ELSE format('its column %I is %s instead of %s', w.attname, "
        "format_type(h.atttypid, h.atttypmod), format_type(w.atttypid, w.atttypmod)) END) "
        "FROM pg_class AS t JOIN pg_class AS r ON r.relname = t.relname AND r.relnamespace = "
        "(SELECT oid FROM pg_namespace WHERE nspname = $1) "
        "JOIN pg_attribute AS w ON w.attrelid = t.oid AND w.attnum > 0 AND NOT w.attisdropped "
        "JOIN pg_type AS wt ON wt.oid = w.atttypid "
        "LEFT JOIN pg_attribute AS h ON h.attrelid = r.oid AND h.attname = w.attname "
        "AND h.attnum > 0 LEFT JOIN pg_type AS ht ON ht.oid = h.atttypid "
        "WHERE t.relnamespace = '" TRIAL "'::regnamespace AND t.relkind IN ('r', 'p') AND "
        "(r.relkind NOT IN ('r', 'p') "
        "OR (h.attname IS NULL AND NOT t.relname::text = ANY ($2::text[])) "
        "OR ht.typname <> wt.typname OR h.atttypmod <> w.atttypmod "
        "OR (ht.typnamespace <> wt.typnamespace AND wt.typnamespace <> t.relnamespace)) "
        "ORDER BY t.relname, w.attnum LIMIT 1";
    const char *other;
    if (query(cli, sql, PJ_TEXTS(schema, known), &other, error) != 0)
        return -1;
    if (other == NULL)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_DATABASE,
                          "a table of this name exists already, with other columns: %.400s; rename "
                          "it, or give --tables-schema another schema",
                          other);
}

/* Where a file fails, it says why itself when it is applied. */
static int try_file(struct pj_cli *cli, const struct pj_migration *migration, const char *schema,
                    bool *failed, struct pj_error *error)
{
    const char *known; /* of the files before: these may add columns to them */
    if (put_first(cli, TRIAL, schema, error) != 0 ||
        query(cli,
              "SELECT coalesce(array_agg(relname::text), '{}') FROM pg_class "
              "WHERE relnamespace = '" TRIAL "'::regnamespace",
              0, NULL, &known, error) != 0)
        return -1;
    *failed = pj_postgres_script(cli->postgres, migration->sql, error) != 0;
    return *failed ? 0 : compare(cli, schema, known, error);
}

int pj_migrate_check_tables(struct pj_cli *cli, const struct pj_migrations *migrations,
                            const char *system, struct pj_error *error)
{
    const char *schema; /* where they go, if anything is there */
    bool failed = false;
    if (query(cli,
              "SELECT current_schema() WHERE EXISTS (SELECT FROM pg_class AS c "
              "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
              "WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f'))",
              0, NULL, &schema, error) != 0)
        return -1;
    if (schema == NULL)
        return 0;
    if (pj_postgres_script(cli->postgres, "SAVEPOINT trial; CREATE SCHEMA " TRIAL, error) != 0)
        return -1;
    for (size_t i = 0; i < migrations->count && !failed; i++) {
        const struct pj_migration *migration = &migrations->items[i];
        if (strcmp(migration->system, system) == 0 &&
            try_file(cli, migration, schema, &failed, error) != 0)
            return -1;
    }
    return pj_postgres_script(cli->postgres, "ROLLBACK TO trial", error);
}
