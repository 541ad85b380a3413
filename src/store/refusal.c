/* SPDX-License-Identifier: Apache-2.0 */
#include "store/refusal.h"

#include "base/text.h"
#include "postgres/sql_text.h"

#include <stdlib.h>
#include <string.h>

/* The declared columns of the table and of its parts, as an array; NULL: it is none of ours. */
static char *declared_columns(const struct pj_projection *projection, const char *table)
{
    struct pj_builder array = {0};
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *declared = projection->tables[t];
        for (size_t c = 0; strcmp(declared->name, table) == 0 && c < declared->column_count; c++)
            pj_sql_array_add(&array, declared->columns[c].name);
    }
    return array.length > 0 ? pj_sql_array_take(&array) : NULL;
}

static bool is_engines(const struct pj_refusal *refusal)
{
    static const char *const names[] = {"consumer_offsets", "dead_letters", "schemas",
                                        "accepted_topics", "rules"};
    bool known = strncmp(refusal->table, "state_", strlen("state_")) == 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        known = known || strcmp(refusal->table, names[i]) == 0;
    return known && strcmp(refusal->schema, "projectionist") == 0;
}

/*
 * Is it a declared column that has a default? Whoever gave it one counts on it where there is no
 * value, but rows are written with all declared columns, null or not: the table and the projection
 * differ. And is it of ours at all: what follows from a declared column by the table itself is as
 * good as declared.
 */
enum { DEFAULTED, OURS };
static const char on_ours[] =
    "SELECT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = r.oid AND a.attname = $3 "
    "AND a.attname = ANY ($5::text[]) AND a.atthasdef AND a.attgenerated = ''), "
    "EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = r.oid AND a.attnum > 0 "
    "AND (a.attname = ANY ($5::text[]) OR a.attgenerated <> '') "
    "AND (a.attname = $3 OR a.attnum IN (SELECT d.refobjsubid FROM pg_depend AS d "
    "WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid AND ("
    "(d.classid = 'pg_constraint'::regclass AND d.objid IN "
    "(SELECT oid FROM pg_constraint WHERE conrelid = r.oid AND conname = $4)) OR "
    "(d.classid = 'pg_class'::regclass AND d.objid IN "
    "(SELECT i.indexrelid FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid "
    "WHERE i.indrelid = r.oid AND x.relname = $4)))))) "
    "FROM pg_class AS r JOIN pg_namespace AS n ON n.oid = r.relnamespace "
    "WHERE n.nspname = $1 AND r.relname = $2";

/* A refusal names the partition; declared is the table. */
static char *declared_of_root(struct pj_postgres *postgres, const struct pj_projection *projection,
                              const struct pj_refusal *refusal, char table[PJ_REFUSAL_NAME_SIZE])
{
    static const char root[] =
        "SELECT relname FROM pg_class WHERE oid = "
        "pg_partition_root(to_regclass(format('%I.%I', $1::text, $2::text)))";
    struct pj_result *result;
    struct pj_error error = {0};
    char *columns = NULL;
    if (pj_postgres_query(postgres, root, PJ_TEXTS(refusal->schema, refusal->table), &result,
                          &error) != 0)
        return NULL;
    if (pj_result_rows(result) > 0) {
        const char *name = pj_result_value(result, 0, 0, NULL);
        columns = declared_columns(projection, name);
        if (columns != NULL)
            pj_text_whole(table, PJ_REFUSAL_NAME_SIZE, "%s", name);
    }
    pj_result_free(result);
    return columns;
}

void pj_refusal_judge(struct pj_postgres *postgres, const struct pj_projection *projection,
                      struct pj_error *error)
{
    /* A copy: the question is a statement, too. */
    struct pj_refusal refusal = *pj_postgres_refusal(postgres);
    if (error->class != PJ_POISON || strncmp(error->sqlstate, "23", 2) != 0 ||
        *refusal.table == '\0')
        return;
    const char *what = *refusal.column != '\0' ? refusal.column : refusal.constraint;
    const char *parameters[] = {refusal.schema, refusal.table, refusal.column, refusal.constraint,
                                NULL};
    char table[PJ_REFUSAL_NAME_SIZE];
    pj_text_whole(table, sizeof table, "%s", refusal.table);
    char *columns = declared_columns(projection, table);
    if (columns == NULL)
        columns = declared_of_root(postgres, projection, &refusal, table);
    if (columns == NULL) {
        /* Of the other tables it is the row that a trigger makes of the record. */
        if (is_engines(&refusal)) {
            error->class = PJ_FATAL;
            error->exit_code = PJ_EXIT_DATABASE;
        }
        return;
    }
    struct pj_result *result;
    struct pj_error cause = *error;
    parameters[4] = columns;
    int status = pj_postgres_query(postgres, on_ours, 5, parameters, &result, error);
    free(columns);
    if (status != 0)
        return;
    bool found = pj_result_rows(result) > 0;
    bool defaulted = found && *pj_result_value(result, 0, DEFAULTED, NULL) == 't';
    bool ours = !found || *pj_result_value(result, 0, OURS, NULL) == 't';
    pj_result_free(result);
    *error = cause;
    if (strcmp(cause.sqlstate, "23502") == 0 && defaulted) {
        pj_error_fatal(error, PJ_EXIT_DATABASE,
                       "the table %s is not as %s needs it: its column %s is NOT NULL with a "
                       "default, which no row gets that is written, and a row leaves it null; run "
                       "ALTER TABLE \"%s\" ALTER COLUMN \"%s\" DROP NOT NULL, or let the "
                       "projection give it a value",
                       table, projection->name, what, table, what);
        pj_text_whole(error->sqlstate, sizeof error->sqlstate, "%s", cause.sqlstate);
        return;
    }
    if (ours)
        return;
    pj_error_fatal(error, PJ_EXIT_DATABASE,
                   "the table %s refuses rows for what %s does not write, by %s: drop or fix that, "
                   "or give the column a default (%.400s)",
                   table, projection->name, what, cause.message);
    pj_text_whole(error->sqlstate, sizeof error->sqlstate, "%s", cause.sqlstate);
}
