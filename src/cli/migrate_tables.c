/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/migrate_tables.h"

#include <stdlib.h>
#include <string.h>

static int query(struct pj_postgres *postgres, const char *sql, int count,
                 const char *const *parameters, char **value, struct pj_error *error)
{
    struct pj_result *result;
    if (pj_postgres_query(postgres, sql, count, parameters, &result, error) != 0)
        return -1;
    const char *first = pj_result_rows(result) > 0 ? pj_result_value(result, 0, 0, NULL) : NULL;
    *value = first != NULL ? strdup(first) : NULL;
    if (first != NULL && *value == NULL)
        abort();
    pj_result_free(result);
    return 0;
}

/* Puts schemas (each may be NULL) before the others of the search_path. */
static int put_first(struct pj_postgres *postgres, const char *first, const char *second,
                     struct pj_error *error)
{
    const char *parameters[] = {first, second};
    char *path;
    if (query(postgres,
              "SELECT set_config('search_path', concat_ws(', ', quote_ident($1), quote_ident($2), "
              "string_agg(quote_ident(s.name), ', ' ORDER BY s.place)), true) "
              "FROM unnest(current_schemas(false)) WITH ORDINALITY AS s (name, place) "
              "WHERE s.name <> 'projectionist' AND s.name IS DISTINCT FROM $1 "
              "AND s.name IS DISTINCT FROM $2",
              2, parameters, &path, error) != 0)
        return -1;
    free(path);
    return 0;
}

int pj_migrate_use_schema(struct pj_postgres *postgres, const char *schema, struct pj_error *error)
{
    char *create;
    if (query(postgres,
              "SELECT format('CREATE SCHEMA %I', $1::text) WHERE $1 IS NOT NULL "
              "AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)",
              1, &schema, &create, error) != 0)
        return -1;
    int status = create != NULL ? pj_postgres_script(postgres, create, error) : 0;
    free(create);
    return status == 0 ? put_first(postgres, NULL, schema, error) : -1;
}
