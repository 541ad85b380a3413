/* SPDX-License-Identifier: Apache-2.0 */
#include "rebuild/difference.h"

#include "base/json_numbers.h"
#include "base/memory.h"
#include "rebuild/pairs.h"
#include "store/statements.h"

#include <stdlib.h>
#include <string.h>

static int query(struct pj_postgres *postgres, struct pj_builder *sql, struct pj_result **result,
                 struct pj_error *error)
{
    char *text = pj_builder_take(sql);
    int status = pj_postgres_query(postgres, text, 0, NULL, result, error);
    free(text);
    return status;
}

/* --- finding --------------------------------------------------------------------------------- */

/* One column, which every row has: NULL where there is no row. */
static void add_first(struct pj_builder *sql, const struct pj_pair *pair, const char *each)
{
    pj_pair_columns(sql, pair, 1, "", each);
}

/* Which live rows that the shadow lacks are a difference. */
static void add_extra_condition(struct pj_builder *sql, const struct pj_pair *pair,
                                bool keep_retained)
{
    if (keep_retained && pair->table->kind == PJ_APPEND_TABLE)
        pj_builder_add(sql, "false");
    else if (pj_pair_placeholder(pair) != 0)
        pj_pair_columns(sql, pair, pj_pair_placeholder(pair), "", "l.@ IS NOT TRUE");
    else
        pj_builder_add(sql, "true");
}

/* An entity from which all was taken back has a state without facts; one that never was has none.
 * That is the same. What is trimmed may be there still, or not. */
static void add_rows(struct pj_builder *sql, const struct pj_pair *pair, const char *table,
                     const char *name)
{
    size_t trimmed_by = pair->table->trimmed_by;
    if (trimmed_by != 0)
        pj_builder_add(sql,
                       "(SELECT * FROM %s AS r WHERE (r.%s < (SELECT "
                       "projectionist.trimmed_before('%s'::regclass))) IS NOT TRUE) AS %s",
                       table, pj_sql_name(pj_pair_name(pair, trimmed_by)).text, pair->live.text,
                       name);
    else if (!pair->state || pair->table == &pj_wide_state_table)
        pj_builder_add(sql, "%s AS %s", table, name);
    else
        pj_builder_add(sql, "(SELECT * FROM %s WHERE facts <> '\\x0100') AS %s", table, name);
}

static int find_pair(struct pj_postgres *postgres, const struct pj_pair *pair, bool keep_retained,
                     struct pj_error *error)
{
    struct pj_builder sql = {0};
    pj_builder_add(&sql, "CREATE TEMP TABLE pj_difference_%zu ON COMMIT DROP AS SELECT ",
                   pair->index);
    pj_pair_columns(&sql, pair, pair->key, ", ", "coalesce(s.@, l.@) AS @");
    add_first(&sql, pair,
              ", CASE WHEN l.@ IS NULL THEN 'missing' WHEN s.@ IS NULL THEN 'extra' "
              "ELSE 'changed' END AS pj_kind, 0::bigint");
    for (size_t c = 0; c < pair->table->column_count; c++) {
        pj_pair_columns(&sql, pair, pair->compared & 1ULL << c, "",
                        " | ((s.@~ IS DISTINCT FROM l.@~)::int::bigint");
        if ((pair->compared >> c & 1) != 0)
            pj_builder_add(&sql, " << %zu)", c);
    }
    pj_builder_add(&sql, " AS pj_columns FROM ");
    add_rows(&sql, pair, pair->shadow.text, "s");
    pj_builder_add(&sql, " FULL JOIN ");
    add_rows(&sql, pair, pair->live.text, "l");
    pj_builder_add(&sql, " ON ");
    pj_pair_columns(&sql, pair, pair->key, " AND ", "s.@ = l.@");
    add_first(&sql, pair, " WHERE CASE WHEN s.@ IS NULL THEN ");
    add_extra_condition(&sql, pair, keep_retained);
    add_first(&sql, pair, " WHEN l.@ IS NULL THEN true ELSE false");
    pj_pair_columns(&sql, pair, pair->compared, "", " OR s.@~ IS DISTINCT FROM l.@~");
    pj_builder_add(&sql, " END; ANALYZE pj_difference_%zu", pair->index);
    return pj_pairs_script(postgres, &sql, error);
}

static int64_t number(const struct pj_result *result, int row, int column)
{
    const char *text = pj_result_value(result, row, column, NULL);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

static int count_pair(struct pj_postgres *postgres, const struct pj_pair *pair,
                      struct pj_difference_table *table, struct pj_error *error)
{
    struct pj_builder sql = {0};
    struct pj_result *result;
    pj_builder_add(&sql, "SELECT (SELECT count(*) FROM ");
    add_rows(&sql, pair, pair->shadow.text, "s");
    pj_builder_add(
        &sql,
        "), count(*) FILTER (WHERE pj_kind = 'missing'), "
        "count(*) FILTER (WHERE pj_kind = 'extra'), count(*) FILTER (WHERE pj_kind = 'changed')");
    for (size_t c = 0; c < pair->table->column_count; c++)
        pj_builder_add(
            &sql, ", count(*) FILTER (WHERE pj_kind = 'changed' AND pj_columns >> %zu & 1 = 1)", c);
    pj_builder_add(&sql, " FROM pj_difference_%zu", pair->index);
    if (query(postgres, &sql, &result, error) != 0)
        return -1;
    table->rows = number(result, 0, 0);
    table->missing = number(result, 0, 1);
    table->extra = number(result, 0, 2);
    table->changed = number(result, 0, 3);
    for (size_t c = 0; c < pair->table->column_count; c++) {
        int64_t differing = number(result, 0, (int)(4 + c));
        if (differing > 0)
            json_object_set_new(table->columns, pj_pair_name(pair, c), json_integer(differing));
    }
    pj_result_free(result);
    return 0;
}

/* The triggers whose functions name a column that differs; those of compiled languages may. */
static int find_triggers(struct pj_postgres *postgres, const struct pj_pair *pair,
                         struct pj_difference_table *table, struct pj_error *error)
{
    /* Bits of tgtype: of rows, before, INSERT or UPDATE. */
    static const char sql[] =
        "SELECT string_agg(g.tgname, ', ' ORDER BY g.tgname) "
        "FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid "
        "JOIN pg_language AS l ON l.oid = p.prolang "
        "WHERE g.tgrelid = to_regclass($1) AND NOT g.tgisinternal AND g.tgenabled <> 'D' "
        "AND g.tgtype & 3 = 3 AND g.tgtype & 20 <> 0 AND (l.lanname IN ('c', 'internal') "
        "OR EXISTS (SELECT FROM json_object_keys($2::json) AS k WHERE p.prosrc ~* "
        "('\\m' || k || '\\M')))";
    char *columns = pj_must(json_dumps(table->columns, JSON_COMPACT));
    struct pj_result *result;
    int status =
        pj_postgres_query(postgres, sql, PJ_TEXTS(pair->live.text, columns), &result, error);
    free(columns);
    if (status != 0)
        return -1;
    const char *names = pj_result_value(result, 0, 0, NULL);
    table->triggers = pj_strdup(names);
    pj_result_free(result);
    return 0;
}

/* --- samples --------------------------------------------------------------------------------- */

/*
 * The columns of the mask, of the row in this column of the result (or no row: NULL). Numbers with
 * more digits than JSON libraries keep are texts.
 */
static json_t *chosen(const struct pj_pair *pair, const struct pj_result *result, int number,
                      int column, uint64_t mask)
{
    const char *text = pj_result_value(result, number, column, NULL);
    json_t *row = text != NULL ? pj_json_load(text, strlen(text), PJ_LONG_AS_TEXT, 0) : NULL;
    if (row == NULL)
        return json_null();
    json_t *object = json_object();
    for (size_t c = 0; c < pair->table->column_count; c++) {
        json_t *value = json_object_get(row, pj_pair_name(pair, c));
        if (((pair->key | pair->compared) & mask & 1ULL << c) != 0 && value != NULL)
            json_object_set(object, pj_pair_name(pair, c), value);
    }
    json_decref(row);
    return object;
}

/* Columns of the result. */
enum { LIVE = 2, SHADOW = 3 };

static json_t *sample(const struct pj_pair *pair, const struct pj_result *result, int row)
{
    uint64_t mask = (uint64_t)number(result, row, 1);
    bool live = pj_result_value(result, row, LIVE, NULL) != NULL;
    bool shadow = pj_result_value(result, row, SHADOW, NULL) != NULL;
    if (!live || !shadow)
        mask = ~pair->key;
    return json_pack("{s:s, s:o, s:o, s:o}", "kind", pj_result_value(result, row, 0, NULL), "key",
                     chosen(pair, result, row, shadow ? SHADOW : LIVE, pair->key), "is",
                     chosen(pair, result, row, LIVE, mask), "should_be",
                     chosen(pair, result, row, SHADOW, mask));
}

/* The row as JSON. */
static void add_row(struct pj_builder *sql, const struct pj_pair *pair, const char *name)
{
    const char *key = pj_pair_name(pair, 0);
    pj_builder_add(sql, ", CASE WHEN %s.%s IS NOT NULL THEN ", name, pj_sql_name(key).text);
    /* Facts are bytes that mean nothing to a person; that they differ does. */
    if (pair->state)
        pj_builder_add(sql, "to_jsonb(%s) || jsonb_build_object('facts', md5(%s.facts)) END", name,
                       name);
    else
        pj_builder_add(sql, "to_jsonb(%s) END", name);
}

static int take_samples(struct pj_postgres *postgres, const struct pj_pair *pair, int most,
                        struct pj_difference_table *table, struct pj_error *error)
{
    struct pj_builder sql = {0};
    struct pj_result *result;
    if (most == 0 || table->missing + table->extra + table->changed == 0)
        return 0;
    pj_builder_add(&sql, "SELECT d.pj_kind, d.pj_columns");
    add_row(&sql, pair, "l");
    add_row(&sql, pair, "s");
    pj_builder_add(&sql, " FROM pj_difference_%zu AS d LEFT JOIN %s AS l ON ", pair->index,
                   pair->live.text);
    pj_pair_columns(&sql, pair, pair->key, " AND ", "l.@ = d.@");
    pj_builder_add(&sql, " LEFT JOIN %s AS s ON ", pair->shadow.text);
    pj_pair_columns(&sql, pair, pair->key, " AND ", "s.@ = d.@");
    pj_builder_add(&sql, " ORDER BY ");
    pj_pair_columns(&sql, pair, pair->key, ", ", "d.@");
    pj_builder_add(&sql, " LIMIT %d", most);
    if (query(postgres, &sql, &result, error) != 0)
        return -1;
    for (int i = 0; i < pj_result_rows(result); i++)
        json_array_append_new(table->samples, sample(pair, result, i));
    pj_result_free(result);
    return 0;
}

int pj_difference_find(struct pj_difference *difference, struct pj_postgres *postgres,
                       const struct pj_difference_settings *settings, struct pj_error *error)
{
    size_t count;
    struct pj_pair *pairs = pj_pairs_list(settings->projection, settings->shadow, &count);
    *difference = (struct pj_difference){0};
    difference->tables = pj_calloc(count, sizeof *difference->tables);
    int status =
        pj_postgres_script(postgres, "SET LOCAL work_mem = '256MB'; SET LOCAL jit = off", error);
    for (size_t i = 0; i < count && status == 0; i++) {
        struct pj_difference_table *table = &difference->tables[difference->count++];
        table->name = pj_strdup(pairs[i].plain);
        table->columns = json_object();
        table->samples = json_array();
        if (find_pair(postgres, &pairs[i], settings->keep_retained, error) != 0 ||
            count_pair(postgres, &pairs[i], table, error) != 0 ||
            take_samples(postgres, &pairs[i], settings->samples, table, error) != 0 ||
            (table->changed > 0 && find_triggers(postgres, &pairs[i], table, error) != 0))
            status = -1;
        difference->total += table->missing + table->extra + table->changed;
    }
    free(pairs);
    if (status != 0)
        pj_difference_free(difference);
    return status;
}

void pj_difference_free(struct pj_difference *difference)
{
    for (size_t i = 0; i < difference->count; i++) {
        free(difference->tables[i].name);
        free(difference->tables[i].triggers);
        json_decref(difference->tables[i].columns);
        json_decref(difference->tables[i].samples);
    }
    free(difference->tables);
    *difference = (struct pj_difference){0};
}

json_t *pj_difference_json(const struct pj_difference *difference)
{
    json_t *tables = json_object();
    for (size_t i = 0; i < difference->count; i++) {
        const struct pj_difference_table *table = &difference->tables[i];
        json_object_set_new(tables, table->name,
                            json_pack("{s:I, s:I, s:I, s:I, s:O}", "rows", (json_int_t)table->rows,
                                      "missing", (json_int_t)table->missing, "extra",
                                      (json_int_t)table->extra, "changed",
                                      (json_int_t)table->changed, "columns", table->columns));
    }
    return tables;
}
