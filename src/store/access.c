/* SPDX-License-Identifier: Apache-2.0 */
#include "store/access.h"

#include "postgres/sql_text.h"

#include <stdlib.h>

/* The projection's tables as an array for to_regclass. */
static char *list_tables(const struct pj_projection *projection)
{
    struct pj_builder array = {0};
    for (size_t t = 0; projection != NULL && t < projection->table_count; t++)
        pj_sql_array_add(&array, pj_sql_table(projection->tables[t]).text);
    return pj_sql_array_take(&array);
}

/* Likewise the tables in which it keeps placeholders. */
static char *list_parents(const struct pj_projection *projection)
{
    struct pj_builder array = {0};
    for (size_t t = 0; projection != NULL && t < projection->table_count; t++) {
        const struct pj_parent *parent = projection->tables[t]->parents;
        for (; parent != NULL && parent->table != NULL; parent++)
            pj_sql_array_add(&array, pj_sql_table(parent->table).text);
    }
    return pj_sql_array_take(&array);
}

static int refuse(const struct pj_result *result, int row, struct pj_error *error)
{
    enum { TABLE, ROLE, RESTRICTIVE };
    const char *table = pj_result_value(result, row, TABLE, NULL);
    const char *role = pj_result_value(result, row, ROLE, NULL);
    const char *restrictive = pj_result_value(result, row, RESTRICTIVE, NULL);
    if (restrictive != NULL)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "row security may hide rows of the table %s from the role %s, by the "
                              "restrictive policy %s: drop that, or ALTER ROLE %s BYPASSRLS",
                              table, role, restrictive, role);
    return pj_error_fatal(error, PJ_EXIT_DATABASE,
                          "row security may hide rows of the table %s from the role %s: CREATE "
                          "POLICY projectionist ON %s TO %s USING (true) WITH CHECK (true), or "
                          "ALTER ROLE %s BYPASSRLS",
                          table, role, table, role, role);
}

static int check_schema(struct pj_postgres *postgres, const char *tables, struct pj_error *error)
{
    static const char sql[] =
        "SELECT c.relname, quote_ident(n.nspname), s.name FROM unnest($1::text[]) AS t "
        "JOIN pg_class AS c ON c.oid = to_regclass(t) "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace, "
        "current_setting('projectionist.tables_schema', true) AS s (name) "
        "WHERE t NOT LIKE '%\".\"%' AND s.name <> '' AND n.nspname <> s.name ORDER BY 1 LIMIT 1";
    struct pj_result *result;
    if (pj_postgres_query(postgres, sql, 1, &tables, &result, error) != 0)
        return -1;
    int status = 0;
    if (pj_result_rows(result) > 0)
        status =
            pj_error_fatal(error, PJ_EXIT_DATABASE,
                           "the table %s is in the schema %s, not in %s, where "
                           "--tables-schema or its default has the tables; name the one that "
                           "they are in (another environment needs a database of its own)",
                           pj_result_value(result, 0, 0, NULL), pj_result_value(result, 0, 1, NULL),
                           pj_result_value(result, 0, 2, NULL));
    pj_result_free(result);
    return status;
}

int pj_access_check(struct pj_postgres *postgres, const struct pj_projection *projection,
                    const char *group, struct pj_error *error)
{
    /* polroles is {0} for PUBLIC. A parent's rows may be kept from being deleted, but for
     * placeholders. Of the engine's own tables a consumer asks for rows of its own
     * group alone, so a policy for these hides nothing from it. */
    static const char sql[] =
        "SELECT format('%s.%I', c.relnamespace::regnamespace, c.relname), "
        "quote_ident(current_user), p.restrictive, "
        "p.restrictive IS NULL AND p.open "
        "FROM pg_class AS c, LATERAL (SELECT CASE WHEN c.relnamespace = "
        "to_regnamespace('projectionist') THEN format('(consumer_group = %L::text)', $2::text) END "
        "AS mine, c.relnamespace = to_regnamespace('projectionist') OR c.oid IN "
        "(SELECT to_regclass(t) FROM unnest($1::text[]) AS t) AS own) AS o, "
        "LATERAL (SELECT string_agg(quote_ident(polname), ', ') FILTER (WHERE NOT "
        "polpermissive AND (polcmd <> 'd' OR o.own)) AS restrictive, "
        "count(*) FILTER (WHERE polpermissive AND polcmd = '*' "
        "AND pg_get_expr(polqual, polrelid) IN ('true', o.mine) "
        "AND coalesce(pg_get_expr(polwithcheck, polrelid), 'true') IN ('true', o.mine)) > 0 AS "
        "open "
        "FROM pg_policy WHERE polrelid = c.oid AND EXISTS (SELECT FROM unnest(polroles) AS r "
        "WHERE CASE WHEN r = 0 THEN true ELSE pg_has_role(r, 'USAGE') END)) AS p "
        "WHERE c.relrowsecurity AND row_security_active(c.oid) "
        "AND (o.own OR c.oid IN (SELECT to_regclass(t) FROM unnest($3::text[]) AS t)) "
        "ORDER BY 1";
    char *tables = list_tables(projection);
    char *parents = list_parents(projection);
    struct pj_result *result;
    int status = check_schema(postgres, tables, error);
    if (status == 0)
        status = pj_postgres_query(postgres, sql, PJ_TEXTS(tables, group, parents), &result, error);
    free(tables);
    free(parents);
    if (status != 0)
        return -1;
    int secured = pj_result_rows(result);
    for (int row = 0; row < secured && status == 0; row++) {
        if (*pj_result_value(result, row, 3, NULL) != 't')
            status = refuse(result, row, error);
    }
    pj_result_free(result);
    if (status != 0 || secured == 0)
        return status;
    return pj_postgres_script(postgres, "SET row_security = on", error);
}
