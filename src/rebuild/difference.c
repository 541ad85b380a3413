/* SPDX-License-Identifier: Apache-2.0 */
#include "rebuild/difference.h"
#include "fold/declaration.h"

#include "base/json_numbers.h"
#include "base/memory.h"
#include "base/text.h"
#include "postgres/sql_text.h"
#include "store/constraints.h"
#include "store/placeholders.h"
#include "store/statements.h"

#include <stdlib.h>
#include <string.h>

/* A pair of tables to compare: one of the projection's, or the states of one entity kind. */
struct pair {
    size_t index;           /* names its temporary table */
    const char *projection; /* its name */
    const struct pj_table *table;
    bool state;
    char plain[2 * PJ_SQL_IDENTIFIER_MOST + 2]; /* its name for people */
    struct pj_sql_name live, shadow;
    uint64_t key;
    uint64_t compared; /* columns besides the key; others are only copied */
};

static int script(struct pj_postgres *postgres, struct pj_builder *sql, struct pj_error *error)
{
    char *text = pj_builder_take(sql);
    int status = *text != '\0' ? pj_postgres_script(postgres, text, error) : 0;
    free(text);
    return status;
}

static int query(struct pj_postgres *postgres, struct pj_builder *sql, struct pj_result **result,
                 struct pj_error *error)
{
    char *text = pj_builder_take(sql);
    int status = pj_postgres_query(postgres, text, 0, NULL, result, error);
    free(text);
    return status;
}

/* --- pairs ----------------------------------------------------------------------------------- */

static void make_pair(struct pair *pair, const char *schema, const char *name, const char *shadow)
{
    pj_text_whole(pair->plain, sizeof pair->plain, "%s%s%s", schema != NULL ? schema : "",
                  schema != NULL ? "." : "", name);
    pair->live = pj_sql_qualified(schema, name);
    pair->shadow = pj_sql_qualified(shadow, name);
    pair->key = pj_sql_key(pair->table);
    pair->compared = pj_sql_all(pair->table) & ~pair->key;
}

static struct pair *list_pairs(const struct pj_projection *projection, const char *shadow,
                               size_t *count)
{
    struct pair *pairs =
        pj_calloc(projection->table_count + projection->entity_count, sizeof *pairs);
    *count = 0;
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *table = projection->tables[t];
        if (table->part_of != NULL)
            continue;
        pairs[*count].table = table;
        make_pair(&pairs[(*count)++], table->schema, table->name, shadow);
    }
    for (size_t e = 0; e < projection->entity_count; e++) {
        struct pair *pair = &pairs[(*count)++];
        char name[PJ_STATE_NAME_SIZE];
        pj_declaration_state_name(projection, projection->entities[e].name, name);
        pair->state = true;
        pair->table = projection->entities[e].timed ? &pj_timed_state_table : &pj_state_table;
        make_pair(pair, "projectionist", name, shadow);
        /* When it was derived depends on when it was read; what was derived does not. */
        pair->compared &= pj_sql_all(&pj_state_table);
    }
    for (size_t i = 0; i < *count; i++) {
        pairs[i].index = i;
        pairs[i].projection = projection->name;
    }
    return pairs;
}

/* --- finding --------------------------------------------------------------------------------- */

/* As a mask; 0: it has none. */
static uint64_t placeholder_of(const struct pair *pair)
{
    return pair->table->placeholder != 0 ? 1ULL << pair->table->placeholder : 0;
}

static const char *name_of(const struct pair *pair, size_t column)
{
    return pair->table->columns[column].name;
}

static void add_columns(struct pj_builder *sql, const struct pair *pair, uint64_t columns,
                        const char *separator, const char *each)
{
    pj_sql_columns(sql, pair->table, columns, separator, each);
}

/* One column, which every row has: NULL where there is no row. */
static void add_first(struct pj_builder *sql, const struct pair *pair, const char *each)
{
    add_columns(sql, pair, 1, "", each);
}

/* Which live rows that the shadow lacks are a difference. */
static void add_extra_condition(struct pj_builder *sql, const struct pair *pair, bool keep_retained)
{
    if (keep_retained && pair->table->kind == PJ_APPEND_TABLE)
        pj_builder_add(sql, "false");
    else if (placeholder_of(pair) != 0)
        add_columns(sql, pair, placeholder_of(pair), "", "l.@ IS NOT TRUE");
    else
        pj_builder_add(sql, "true");
}

/* An entity from which all was taken back has a state without facts; one that never was has none.
 * That is the same. What is trimmed may be there still, or not. */
static void add_rows(struct pj_builder *sql, const struct pair *pair, const char *table,
                     const char *name)
{
    size_t trimmed_by = pair->table->trimmed_by;
    if (trimmed_by != 0)
        pj_builder_add(sql,
                       "(SELECT * FROM %s AS r WHERE (r.%s < (SELECT "
                       "projectionist.trimmed_before('%s'::regclass))) IS NOT TRUE) AS %s",
                       table, pj_sql_name(name_of(pair, trimmed_by)).text, pair->live.text, name);
    else if (!pair->state)
        pj_builder_add(sql, "%s AS %s", table, name);
    else
        pj_builder_add(sql, "(SELECT * FROM %s WHERE facts <> '\\x0100') AS %s", table, name);
}

static int find_pair(struct pj_postgres *postgres, const struct pair *pair, bool keep_retained,
                     struct pj_error *error)
{
    struct pj_builder sql = {0};
    pj_builder_add(&sql, "CREATE TEMP TABLE pj_difference_%zu ON COMMIT DROP AS SELECT ",
                   pair->index);
    add_columns(&sql, pair, pair->key, ", ", "coalesce(s.@, l.@) AS @");
    add_first(&sql, pair,
              ", CASE WHEN l.@ IS NULL THEN 'missing' WHEN s.@ IS NULL THEN 'extra' "
              "ELSE 'changed' END AS pj_kind, 0::bigint");
    for (size_t c = 0; c < pair->table->column_count; c++) {
        add_columns(&sql, pair, pair->compared & 1ULL << c, "",
                    " | ((s.@~ IS DISTINCT FROM l.@~)::int::bigint");
        if ((pair->compared >> c & 1) != 0)
            pj_builder_add(&sql, " << %zu)", c);
    }
    pj_builder_add(&sql, " AS pj_columns FROM ");
    add_rows(&sql, pair, pair->shadow.text, "s");
    pj_builder_add(&sql, " FULL JOIN ");
    add_rows(&sql, pair, pair->live.text, "l");
    pj_builder_add(&sql, " ON ");
    add_columns(&sql, pair, pair->key, " AND ", "s.@ = l.@");
    add_first(&sql, pair, " WHERE CASE WHEN s.@ IS NULL THEN ");
    add_extra_condition(&sql, pair, keep_retained);
    add_first(&sql, pair, " WHEN l.@ IS NULL THEN true ELSE false");
    add_columns(&sql, pair, pair->compared, "", " OR s.@~ IS DISTINCT FROM l.@~");
    pj_builder_add(&sql, " END; ANALYZE pj_difference_%zu", pair->index);
    return script(postgres, &sql, error);
}

static int64_t number(const struct pj_result *result, int row, int column)
{
    const char *text = pj_result_value(result, row, column, NULL);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

static int count_pair(struct pj_postgres *postgres, const struct pair *pair,
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
            json_object_set_new(table->columns, name_of(pair, c), json_integer(differing));
    }
    pj_result_free(result);
    return 0;
}

/* The triggers whose functions name a column that differs; those of compiled languages may. */
static int find_triggers(struct pj_postgres *postgres, const struct pair *pair,
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
static json_t *chosen(const struct pair *pair, const struct pj_result *result, int number,
                      int column, uint64_t mask)
{
    const char *text = pj_result_value(result, number, column, NULL);
    json_t *row = text != NULL ? pj_json_load(text, strlen(text), PJ_LONG_AS_TEXT, 0) : NULL;
    if (row == NULL)
        return json_null();
    json_t *object = json_object();
    for (size_t c = 0; c < pair->table->column_count; c++) {
        json_t *value = json_object_get(row, name_of(pair, c));
        if (((pair->key | pair->compared) & mask & 1ULL << c) != 0 && value != NULL)
            json_object_set(object, name_of(pair, c), value);
    }
    json_decref(row);
    return object;
}

/* Columns of the result. */
enum { LIVE = 2, SHADOW = 3 };

static json_t *sample(const struct pair *pair, const struct pj_result *result, int row)
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
static void add_row(struct pj_builder *sql, const struct pair *pair, const char *name)
{
    const char *key = name_of(pair, 0);
    pj_builder_add(sql, ", CASE WHEN %s.%s IS NOT NULL THEN ", name, pj_sql_name(key).text);
    /* Facts are bytes that mean nothing to a person; that they differ does. */
    if (pair->state)
        pj_builder_add(sql, "jsonb_build_object('key', %s.key, 'facts', md5(%s.facts)) END", name,
                       name);
    else
        pj_builder_add(sql, "to_jsonb(%s) END", name);
}

static int take_samples(struct pj_postgres *postgres, const struct pair *pair, int most,
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
    add_columns(&sql, pair, pair->key, " AND ", "l.@ = d.@");
    pj_builder_add(&sql, " LEFT JOIN %s AS s ON ", pair->shadow.text);
    add_columns(&sql, pair, pair->key, " AND ", "s.@ = d.@");
    pj_builder_add(&sql, " ORDER BY ");
    add_columns(&sql, pair, pair->key, ", ", "d.@");
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
    struct pair *pairs = list_pairs(settings->projection, settings->shadow, &count);
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

/* --- applying -------------------------------------------------------------------------------- */

int pj_difference_lock(struct pj_postgres *postgres, const struct pj_projection *projection,
                       struct pj_error *error)
{
    size_t count;
    struct pj_builder sql = {0};
    struct pair *pairs = list_pairs(projection, "", &count);
    pj_builder_add(&sql, "LOCK TABLE ");
    for (size_t i = 0; i < count; i++)
        pj_builder_add(&sql, "%s%s", i > 0 ? ", " : "", pairs[i].live.text);
    pj_builder_add(&sql, " IN SHARE ROW EXCLUSIVE MODE");
    free(pairs);
    return script(postgres, &sql, error);
}

/* Behind what writes the rows of one kind ("WITH written AS (… "): it wrote them all. */
static void add_check(struct pj_builder *sql, const struct pair *pair, const char *kinds,
                      const char *verb)
{
    pj_builder_add(
        sql,
        " RETURNING 1) SELECT projectionist.refuse_unwritten('%s', '%s'::regclass, '%s', q.n, w.n) "
        "FROM (SELECT count(*) AS n FROM pj_difference_%zu WHERE pj_kind IN (%s)) AS q, "
        "(SELECT count(*) AS n FROM written) AS w WHERE q.n <> w.n; ",
        pair->projection, pair->live.text, verb, pair->index, kinds);
}

/* Of rows with children, placeholders may be left. */
static void add_absence(struct pj_builder *sql, const struct pair *pair)
{
    const struct pj_sql_name key = pj_sql_name(name_of(pair, 0));
    pj_builder_add(sql,
                   "SELECT projectionist.refuse_unwritten('%s', '%s'::regclass, 'DELETE', "
                   "count(*), count(*) FILTER (WHERE l.%s IS NULL)) FROM pj_difference_%zu AS d "
                   "LEFT JOIN %s AS l ON ",
                   pair->projection, pair->live.text, key.text, pair->index, pair->live.text);
    add_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
    add_columns(sql, pair, placeholder_of(pair), "", " AND l.@ IS NOT TRUE");
    pj_builder_add(sql, " WHERE d.pj_kind = 'extra' HAVING count(l.%s) > 0; ", key.text);
}

static void add_remove(struct pj_builder *sql, const struct pair *pair)
{
    if (pair->table->children != NULL) {
        char *source = pj_text_new("(SELECT * FROM pj_difference_%zu WHERE pj_kind = 'extra') AS u",
                                   pair->index);
        pj_placeholders_lock(sql, pair->table, source);
        pj_builder_add(sql, "; ");
        pj_placeholders_restore(sql, pair->table, source);
        pj_builder_add(sql, "; ");
        pj_placeholders_remove(sql, pair->table, source);
        pj_builder_add(sql, "; ");
        free(source);
        add_absence(sql, pair);
        return;
    }
    pj_builder_add(
        sql,
        "WITH written AS (DELETE FROM %s AS l USING pj_difference_%zu AS d WHERE d.pj_kind = "
        "'extra' AND ",
        pair->live.text, pair->index);
    add_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
    add_check(sql, pair, "'extra'", "DELETE");
}

/* What parts have: old values go before new ones are set. */
static void add_part_releases(struct pj_builder *sql, const struct pj_projection *projection,
                              const struct pair *pair)
{
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *part = projection->tables[t];
        if (part->part_of != pair->table)
            continue;
        pj_builder_add(sql, "WITH written AS (UPDATE %s AS l SET ", pair->live.text);
        pj_sql_columns(sql, part, pj_sql_all(part) & ~pj_sql_key(part), ", ", "@ = NULL");
        pj_builder_add(sql,
                       " FROM pj_difference_%zu AS d WHERE d.pj_kind IN ('changed', 'extra') AND ",
                       pair->index);
        add_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
        add_check(sql, pair, "'changed', 'extra'", "UPDATE");
    }
}

/* Of other columns under a unique index, too, where rows may swap their values. */
static void add_unique_releases(struct pj_builder *sql, const struct pair *pair, uint64_t unique,
                                uint64_t release)
{
    if (release == 0)
        return;
    pj_builder_add(sql, "UPDATE %s AS l SET ", pair->live.text);
    add_columns(sql, pair, release, ", ", "@ = NULL");
    pj_builder_add(
        sql,
        " FROM pj_difference_%zu AS d WHERE (d.pj_kind = 'extra' OR (d.pj_kind = 'changed' "
        "AND d.pj_columns & (%lld)::bigint <> 0)) AND ",
        pair->index, (long long)unique);
    add_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
    pj_builder_add(sql, "; ");
}

/* The foreign key of rows named `row`, by the names of the parent's key; the condition that it is
 * one goes into `where`. Returns its columns. */
static uint64_t add_foreign_key(struct pj_builder *sql, struct pj_builder *where,
                                const struct pair *pair, const struct pj_parent *parent,
                                const char *row)
{
    uint64_t columns = 0;
    for (size_t k = 0; k < parent->table->column_count && parent->table->columns[k].key; k++) {
        const struct pj_sql_name name = pj_sql_name(name_of(pair, (size_t)parent->columns[k]));
        pj_builder_add(sql, "%s%s.%s AS %s", k > 0 ? ", " : "", row, name.text,
                       pj_sql_name(parent->table->columns[k].name).text);
        pj_builder_add(where, "%s%s.%s IS NOT NULL", k > 0 ? " AND " : "", row, name.text);
        columns |= 1ULL << parent->columns[k];
    }
    return columns;
}

/* What rows will refer to. */
static void add_ensures(struct pj_builder *sql, const struct pair *pair)
{
    const struct pj_parent *parent = pair->table->parents;
    for (; parent != NULL && parent->table != NULL; parent++) {
        struct pj_builder source = {0};
        struct pj_builder where = {0};
        pj_builder_add(&source, "(SELECT ");
        (void)add_foreign_key(&source, &where, pair, parent, "s");
        if (parent->table->first_seen != 0)
            pj_builder_add(&source, ", s.%s AS pj_seen",
                           pj_sql_name(name_of(pair, (size_t)parent->seen_at)).text);
        pj_builder_add(&source,
                       ", 0::bigint AS pj_place FROM %s AS s JOIN pj_difference_%zu AS d ON ",
                       pair->shadow.text, pair->index);
        add_columns(&source, pair, pair->key, " AND ", "s.@ = d.@");
        char *condition = pj_builder_take(&where);
        pj_builder_add(&source, " WHERE %s) AS u", condition);
        char *text = pj_builder_take(&source);
        pj_placeholders_ensure(sql, parent->table, text);
        pj_builder_add(sql, "; ");
        free(condition);
        free(text);
    }
}

/* What rows will no longer refer to: noted before they change, released afterwards. */
static void note_left(struct pj_builder *sql, const struct pair *pair)
{
    const struct pj_parent *parent = pair->table->parents;
    for (size_t p = 0; parent != NULL && parent[p].table != NULL; p++) {
        struct pj_builder where = {0};
        pj_builder_add(sql, "CREATE TEMP TABLE pj_left_%zu_%zu ON COMMIT DROP AS SELECT DISTINCT ",
                       pair->index, p);
        uint64_t columns = add_foreign_key(sql, &where, pair, &parent[p], "l");
        pj_builder_add(sql, " FROM %s AS l JOIN pj_difference_%zu AS d ON ", pair->live.text,
                       pair->index);
        add_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
        char *condition = pj_builder_take(&where);
        pj_builder_add(
            sql, " WHERE %s AND (d.pj_kind = 'extra' OR d.pj_columns & (%lld)::bigint <> 0); ",
            condition, (long long)columns);
        free(condition);
    }
}

static void release_left(struct pj_builder *sql, const struct pair *pair)
{
    const struct pj_parent *parent = pair->table->parents;
    for (size_t p = 0; parent != NULL && parent[p].table != NULL; p++) {
        char *source = pj_text_new("pj_left_%zu_%zu AS u", pair->index, p);
        pj_placeholders_lock(sql, parent[p].table, source);
        pj_builder_add(sql, "; ");
        pj_placeholders_release(sql, parent[p].table, source);
        pj_builder_add(sql, "; ");
        free(source);
    }
}

static void add_update(struct pj_builder *sql, const struct pair *pair)
{
    uint64_t columns = pj_sql_all(pair->table) & ~pair->key;
    if (columns == 0)
        return;
    pj_builder_add(sql, "WITH written AS (UPDATE %s AS l SET ", pair->live.text);
    add_columns(sql, pair, columns, ", ", "@ = s.@");
    pj_builder_add(sql, " FROM %s AS s, pj_difference_%zu AS d WHERE d.pj_kind = 'changed' AND ",
                   pair->shadow.text, pair->index);
    add_columns(sql, pair, pair->key, " AND ", "s.@ = d.@");
    pj_builder_add(sql, " AND ");
    add_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
    add_check(sql, pair, "'changed'", "UPDATE");
}

static void add_insert(struct pj_builder *sql, const struct pair *pair)
{
    pj_builder_add(sql, "WITH written AS (INSERT INTO %s (", pair->live.text);
    add_columns(sql, pair, pj_sql_all(pair->table), ", ", "@");
    pj_builder_add(sql, ") SELECT ");
    add_columns(sql, pair, pj_sql_all(pair->table), ", ", "s.@");
    pj_builder_add(sql, " FROM %s AS s JOIN pj_difference_%zu AS d ON ", pair->shadow.text,
                   pair->index);
    add_columns(sql, pair, pair->key, " AND ", "s.@ = d.@");
    pj_builder_add(sql, " WHERE d.pj_kind = 'missing'");
    if (pair->state) { /* over a state without facts */
        pj_builder_add(sql, " ON CONFLICT (key) DO UPDATE SET ");
        add_columns(sql, pair, pj_sql_all(pair->table) & ~pair->key, ", ", "@ = excluded.@");
    }
    add_check(sql, pair, "'missing'", "INSERT");
}

/* A timed kind's rows are as of when it was derived: the shadow's rows, the shadow's time. */
static void add_derived_at(struct pj_builder *sql, const struct pair *pair)
{
    if (pair->table != &pj_timed_state_table)
        return;
    pj_builder_add(sql,
                   "UPDATE %s AS l SET due_at = s.due_at, derived_at = s.derived_at FROM %s AS s "
                   "WHERE l.key = s.key AND (l.due_at, l.derived_at) IS DISTINCT FROM "
                   "(s.due_at, s.derived_at); ",
                   pair->live.text, pair->shadow.text);
}

/* The pairs as their constraints want them, the states last. */
static const struct pair **sort_pairs(const struct pair *pairs, size_t count,
                                      const struct pj_projection *projection, const size_t *order,
                                      struct pj_arena *arena)
{
    const struct pair **sorted = pj_arena_alloc(arena, count * sizeof(void *));
    size_t at = 0;
    for (size_t i = 0; i < projection->table_count; i++) {
        for (size_t p = 0; p < count; p++) {
            if (pairs[p].table == projection->tables[order[i]])
                sorted[at++] = &pairs[p];
        }
    }
    for (size_t p = 0; p < count; p++) {
        if (pairs[p].state)
            sorted[at++] = &pairs[p];
    }
    return sorted;
}

static void add_giving_up(struct pj_builder *sql, const struct pair *pair,
                          const struct pj_projection *projection,
                          const struct pj_constraints *constraints)
{
    note_left(sql, pair);
    add_part_releases(sql, projection, pair);
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t] == pair->table)
            add_unique_releases(sql, pair, constraints->unique[t], constraints->release[t]);
    }
}

/* As a batch is written: values are given up, what is referred to comes before what refers to it,
 * and goes after it. */
static int apply_pairs(struct pj_postgres *postgres, const struct pair *const *pairs, size_t count,
                       const struct pj_projection *projection,
                       const struct pj_constraints *constraints, struct pj_error *error)
{
    enum { GIVE_UP, WRITE, REMOVE, LEAVE, PHASES };
    for (int phase = 0; phase < PHASES; phase++) {
        for (size_t i = 0; i < count; i++) {
            struct pj_builder sql = {0};
            const struct pair *pair = pairs[phase == REMOVE ? count - 1 - i : i];
            switch (phase) {
            case GIVE_UP:
                add_giving_up(&sql, pair, projection, constraints);
                break;
            case WRITE:
                add_ensures(&sql, pair);
                add_insert(&sql, pair);
                add_update(&sql, pair);
                add_derived_at(&sql, pair);
                break;
            case REMOVE:
                add_remove(&sql, pair);
                break;
            default:
                release_left(&sql, pair);
            }
            if (script(postgres, &sql, error) != 0)
                return -1;
        }
    }
    return 0;
}

int pj_difference_apply(struct pj_postgres *postgres, const struct pj_difference_settings *settings,
                        struct pj_error *error)
{
    size_t count;
    struct pj_constraints constraints;
    struct pj_arena *arena = pj_arena_new();
    struct pair *pairs = list_pairs(settings->projection, settings->shadow, &count);
    int status = pj_constraints_read(&constraints, postgres, settings->projection, arena, error);
    if (status == 0 && constraints.deferrable)
        status = pj_postgres_script(postgres, pj_constraints_defer.sql, error);
    if (status == 0)
        status = apply_pairs(
            postgres, sort_pairs(pairs, count, settings->projection, constraints.order, arena),
            count, settings->projection, &constraints, error);
    if (status == 0 && constraints.deferrable)
        status = pj_postgres_script(postgres, pj_constraints_check.sql, error);
    free(pairs);
    pj_arena_free(arena);
    return status;
}
