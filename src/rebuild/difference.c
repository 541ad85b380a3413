/* SPDX-License-Identifier: Apache-2.0 */
#include "rebuild/difference.h"
#include "fold/declaration.h"

#include "base/json_numbers.h"
#include "base/memory.h"
#include "base/text.h"
#include "store/constraints.h"
#include "store/statements.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MOST = 64 };

/* A pair of tables to compare: one of the projection's, or the states of one entity kind. */
struct pair {
    size_t index;                                              /* names its temporary table */
    const char *projection;                                    /* its name */
    const struct pj_table *table;                              /* NULL: states */
    char live[PJ_TABLE_NAME_SIZE], shadow[PJ_TABLE_NAME_SIZE]; /* as SQL names them */
    const char *columns[COLUMNS_MOST];
    size_t column_count;
    size_t key_count;
    size_t compared_count; /* those behind it are only copied */
};

/* --- putting SQL together -------------------------------------------------------------------- */

struct sql {
    FILE *out;
    char *text;
    size_t length;
};

static void sql_open(struct sql *sql)
{
    *sql = (struct sql){0};
    sql->out = open_memstream(&sql->text, &sql->length);
    if (sql->out == NULL)
        abort();
}

static void sql_close(struct sql *sql)
{
    if (fclose(sql->out) != 0)
        abort();
}

static void add(struct sql *sql, const char *format, ...) PJ_PRINTF(2, 3);

static void add(struct sql *sql, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (vfprintf(sql->out, format, args) < 0)
        abort();
    va_end(args);
}

static int script(struct pj_postgres *postgres, struct sql *sql, struct pj_error *error)
{
    sql_close(sql);
    int status = sql->length > 0 ? pj_postgres_script(postgres, sql->text, error) : 0;
    free(sql->text);
    return status;
}

static int query(struct pj_postgres *postgres, struct sql *sql, struct pj_result **result,
                 struct pj_error *error)
{
    sql_close(sql);
    int status = pj_postgres_query(postgres, sql->text, 0, NULL, result, error);
    free(sql->text);
    return status;
}

/* a."k" = b."k" AND … */
static void add_match(struct sql *sql, const struct pair *pair, const char *a, const char *b)
{
    for (size_t c = 0; c < pair->key_count; c++)
        add(sql, "%s%s.\"%s\" = %s.\"%s\"", c > 0 ? " AND " : "", a, pair->columns[c], b,
            pair->columns[c]);
}

/* prefix"a", prefix"b", … */
static void add_columns(struct sql *sql, const struct pair *pair, const char *prefix, size_t from,
                        size_t to)
{
    for (size_t c = from; c < to; c++)
        add(sql, "%s%s\"%s\"", c > from ? ", " : "", prefix, pair->columns[c]);
}

/* --- pairs ----------------------------------------------------------------------------------- */

static void table_pair(struct pair *pair, const struct pj_table *table, const char *shadow)
{
    pair->table = table;
    pj_statements_table_name(table, pair->live);
    pj_text_whole(pair->shadow, sizeof pair->shadow, "\"%s\".\"%s\"", shadow, table->name);
    for (size_t c = 0; c < table->column_count; c++) {
        pair->columns[pair->column_count++] = table->columns[c].name;
        pair->key_count += table->columns[c].key;
    }
    pair->compared_count = pair->column_count;
}

static void state_pair(struct pair *pair, const struct pj_projection *projection,
                       const struct pj_entity_kind *entity, const char *shadow)
{
    char name[PJ_STATE_NAME_SIZE];
    pj_declaration_state_name(projection, entity->name, name);
    pj_text_whole(pair->live, sizeof pair->live, "\"projectionist\".\"%s\"", name);
    pj_text_whole(pair->shadow, sizeof pair->shadow, "\"%s\".\"%s\"", shadow, name);
    pair->columns[0] = "key";
    pair->columns[1] = "facts";
    /* When it was derived depends on when it was read; what was derived does not. */
    pair->columns[2] = "due_at";
    pair->columns[3] = "derived_at";
    pair->column_count = entity->timed ? 4 : 2;
    pair->key_count = 1;
    pair->compared_count = 2;
}

static struct pair *list_pairs(const struct pj_projection *projection, const char *shadow,
                               size_t *count)
{
    struct pair *pairs =
        pj_calloc(projection->table_count + projection->entity_count, sizeof *pairs);
    *count = 0;
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t]->part_of == NULL)
            table_pair(&pairs[(*count)++], projection->tables[t], shadow);
    }
    for (size_t e = 0; e < projection->entity_count; e++)
        state_pair(&pairs[(*count)++], projection, &projection->entities[e], shadow);
    for (size_t i = 0; i < *count; i++) {
        pairs[i].index = i;
        pairs[i].projection = projection->name;
    }
    return pairs;
}

/* --- finding --------------------------------------------------------------------------------- */

static const char *placeholder_of(const struct pair *pair)
{
    return pair->table != NULL && pair->table->placeholder != 0
               ? pair->table->columns[pair->table->placeholder].name
               : NULL;
}

/* Which live rows that the shadow lacks are a difference. */
static void add_extra_condition(struct sql *sql, const struct pair *pair, bool keep_retained)
{
    const char *placeholder = placeholder_of(pair);
    if (keep_retained && pair->table != NULL && pair->table->kind == PJ_APPEND_TABLE)
        add(sql, "false");
    else if (placeholder != NULL)
        add(sql, "l.\"%s\" IS NOT TRUE", placeholder);
    else
        add(sql, "true");
}

/* An entity from which all was taken back has a state without facts; one that never was has none.
 * That is the same. */
static void add_rows(struct sql *sql, const struct pair *pair, const char *table, const char *name)
{
    if (pair->table != NULL)
        add(sql, "%s AS %s", table, name);
    else
        add(sql, "(SELECT * FROM %s WHERE facts <> '\\x0100') AS %s", table, name);
}

static int find_pair(struct pj_postgres *postgres, const struct pair *pair, bool keep_retained,
                     struct pj_error *error)
{
    struct sql sql;
    const char *key = pair->columns[0];
    sql_open(&sql);
    add(&sql, "CREATE TEMP TABLE pj_difference_%zu ON COMMIT DROP AS SELECT ", pair->index);
    for (size_t c = 0; c < pair->key_count; c++)
        add(&sql, "coalesce(s.\"%s\", l.\"%s\") AS \"%s\", ", pair->columns[c], pair->columns[c],
            pair->columns[c]);
    add(&sql,
        "CASE WHEN l.\"%s\" IS NULL THEN 'missing' WHEN s.\"%s\" IS NULL THEN 'extra' "
        "ELSE 'changed' END AS pj_kind, 0::bigint",
        key, key);
    for (size_t c = pair->key_count; c < pair->compared_count; c++)
        add(&sql, " | ((s.\"%s\" IS DISTINCT FROM l.\"%s\")::int::bigint << %zu)", pair->columns[c],
            pair->columns[c], c);
    add(&sql, " AS pj_columns FROM ");
    add_rows(&sql, pair, pair->shadow, "s");
    add(&sql, " FULL JOIN ");
    add_rows(&sql, pair, pair->live, "l");
    add(&sql, " ON ");
    add_match(&sql, pair, "s", "l");
    add(&sql, " WHERE CASE WHEN s.\"%s\" IS NULL THEN ", key);
    add_extra_condition(&sql, pair, keep_retained);
    add(&sql, " WHEN l.\"%s\" IS NULL THEN true ELSE false", key);
    for (size_t c = pair->key_count; c < pair->compared_count; c++)
        add(&sql, " OR s.\"%s\" IS DISTINCT FROM l.\"%s\"", pair->columns[c], pair->columns[c]);
    add(&sql, " END; ANALYZE pj_difference_%zu", pair->index);
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
    struct sql sql;
    struct pj_result *result;
    sql_open(&sql);
    add(&sql, "SELECT (SELECT count(*) FROM ");
    add_rows(&sql, pair, pair->shadow, "s");
    add(&sql,
        "), count(*) FILTER (WHERE pj_kind = 'missing'), "
        "count(*) FILTER (WHERE pj_kind = 'extra'), count(*) FILTER (WHERE pj_kind = 'changed')");
    for (size_t c = pair->key_count; c < pair->compared_count; c++)
        add(&sql, ", count(*) FILTER (WHERE pj_kind = 'changed' AND pj_columns >> %zu & 1 = 1)", c);
    add(&sql, " FROM pj_difference_%zu", pair->index);
    if (query(postgres, &sql, &result, error) != 0)
        return -1;
    table->rows = number(result, 0, 0);
    table->missing = number(result, 0, 1);
    table->extra = number(result, 0, 2);
    table->changed = number(result, 0, 3);
    for (size_t c = pair->key_count; c < pair->compared_count; c++) {
        int64_t differing = number(result, 0, (int)(4 + c - pair->key_count));
        if (differing > 0)
            json_object_set_new(table->columns, pair->columns[c], json_integer(differing));
    }
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
    for (size_t c = 0; c < pair->compared_count; c++) {
        json_t *value = json_object_get(row, pair->columns[c]);
        if ((mask >> c & 1) != 0 && value != NULL)
            json_object_set(object, pair->columns[c], value);
    }
    json_decref(row);
    return object;
}

/* Columns of the result. */
enum { LIVE = 2, SHADOW = 3 };

static json_t *sample(const struct pair *pair, const struct pj_result *result, int row)
{
    uint64_t keys = (1ULL << pair->key_count) - 1;
    uint64_t mask = (uint64_t)number(result, row, 1);
    bool live = pj_result_value(result, row, LIVE, NULL) != NULL;
    bool shadow = pj_result_value(result, row, SHADOW, NULL) != NULL;
    if (!live || !shadow)
        mask = UINT64_MAX & ~keys;
    return json_pack("{s:s, s:o, s:o, s:o}", "kind", pj_result_value(result, row, 0, NULL), "key",
                     chosen(pair, result, row, shadow ? SHADOW : LIVE, keys), "is",
                     chosen(pair, result, row, LIVE, mask), "should_be",
                     chosen(pair, result, row, SHADOW, mask));
}

/* The row as JSON. */
static void add_row(struct sql *sql, const struct pair *pair, const char *name)
{
    const char *key = pair->columns[0];
    if (pair->table == NULL) {
        /* Facts are bytes that mean nothing to a person; that they differ does. */
        add(sql,
            ", CASE WHEN %s.key IS NOT NULL THEN "
            "jsonb_build_object('key', %s.key, 'facts', md5(%s.facts)) END",
            name, name, name);
        return;
    }
    add(sql, ", CASE WHEN %s.\"%s\" IS NOT NULL THEN to_jsonb(%s) END", name, key, name);
}

static int take_samples(struct pj_postgres *postgres, const struct pair *pair, int most,
                        struct pj_difference_table *table, struct pj_error *error)
{
    struct sql sql;
    struct pj_result *result;
    if (most == 0 || table->missing + table->extra + table->changed == 0)
        return 0;
    sql_open(&sql);
    add(&sql, "SELECT d.pj_kind, d.pj_columns");
    add_row(&sql, pair, "l");
    add_row(&sql, pair, "s");
    add(&sql, " FROM pj_difference_%zu AS d LEFT JOIN %s AS l ON ", pair->index, pair->live);
    add_match(&sql, pair, "l", "d");
    add(&sql, " LEFT JOIN %s AS s ON ", pair->shadow);
    add_match(&sql, pair, "s", "d");
    add(&sql, " ORDER BY ");
    add_columns(&sql, pair, "d.", 0, pair->key_count);
    add(&sql, " LIMIT %d", most);
    if (query(postgres, &sql, &result, error) != 0)
        return -1;
    for (int i = 0; i < pj_result_rows(result); i++)
        json_array_append_new(table->samples, sample(pair, result, i));
    pj_result_free(result);
    return 0;
}

/* A name as a person writes it: without the quotes that SQL is given. */
static char *plain_name(const char *name)
{
    char *plain = pj_strdup(name);
    size_t length = 0;
    for (const char *c = name; *c; c++) {
        if (*c != '"')
            plain[length++] = *c;
    }
    plain[length] = '\0';
    return plain;
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
        table->name = plain_name(pairs[i].live);
        table->columns = json_object();
        table->samples = json_array();
        if (find_pair(postgres, &pairs[i], settings->keep_retained, error) != 0 ||
            count_pair(postgres, &pairs[i], table, error) != 0 ||
            take_samples(postgres, &pairs[i], settings->samples, table, error) != 0)
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
    struct sql sql;
    struct pair *pairs = list_pairs(projection, "", &count);
    sql_open(&sql);
    add(&sql, "LOCK TABLE ");
    for (size_t i = 0; i < count; i++)
        add(&sql, "%s%s", i > 0 ? ", " : "", pairs[i].live);
    add(&sql, " IN SHARE ROW EXCLUSIVE MODE");
    free(pairs);
    return script(postgres, &sql, error);
}

/* Behind what writes the rows of one kind ("WITH written AS (… "): it wrote them all. */
static void add_check(struct sql *sql, const struct pair *pair, const char *kinds, const char *verb)
{
    add(sql,
        " RETURNING 1) SELECT projectionist.refuse_unwritten('%s', '%s'::regclass, '%s', q.n, w.n) "
        "FROM (SELECT count(*) AS n FROM pj_difference_%zu WHERE pj_kind IN (%s)) AS q, "
        "(SELECT count(*) AS n FROM written) AS w WHERE q.n <> w.n; ",
        pair->projection, pair->live, verb, pair->index, kinds);
}

/* Where a function took them away, what is left of them is others' placeholders. */
static void add_absence(struct sql *sql, const struct pair *pair)
{
    const char *placeholder = placeholder_of(pair);
    add(sql,
        "SELECT projectionist.refuse_unwritten('%s', '%s'::regclass, 'DELETE', count(*), "
        "count(*) FILTER (WHERE l.\"%s\" IS NULL)) FROM pj_difference_%zu AS d LEFT JOIN %s AS l "
        "ON ",
        pair->projection, pair->live, pair->columns[0], pair->index, pair->live);
    add_match(sql, pair, "l", "d");
    if (placeholder != NULL)
        add(sql, " AND l.\"%s\" IS NOT TRUE", placeholder);
    add(sql, " WHERE d.pj_kind = 'extra' HAVING count(l.\"%s\") > 0; ", pair->columns[0]);
}

static void add_remove(struct sql *sql, const struct pair *pair)
{
    if (pair->table != NULL && pair->table->remove != NULL) {
        add(sql, "SELECT %s(", pair->table->remove);
        for (size_t c = 0; c < pair->key_count; c++)
            add(sql, "%sarray_agg(\"%s\")", c > 0 ? ", " : "", pair->columns[c]);
        add(sql, ") FROM pj_difference_%zu WHERE pj_kind = 'extra' HAVING count(*) > 0; ",
            pair->index);
        add_absence(sql, pair);
        return;
    }
    add(sql,
        "WITH written AS (DELETE FROM %s AS l USING pj_difference_%zu AS d WHERE d.pj_kind = "
        "'extra' AND ",
        pair->live, pair->index);
    add_match(sql, pair, "l", "d");
    add_check(sql, pair, "'extra'", "DELETE");
}

/* What parts have: old values go before new ones are set. */
static void add_part_releases(struct sql *sql, const struct pj_projection *projection,
                              const struct pair *pair)
{
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *part = projection->tables[t];
        bool any = false;
        if (pair->table == NULL || part->part_of != pair->table)
            continue;
        add(sql, "WITH written AS (UPDATE %s AS l SET ", pair->live);
        for (size_t c = 0; c < part->column_count; c++) {
            if (part->columns[c].key)
                continue;
            add(sql, "%s\"%s\" = NULL", any ? ", " : "", part->columns[c].name);
            any = true;
        }
        add(sql, " FROM pj_difference_%zu AS d WHERE d.pj_kind IN ('changed', 'extra') AND ",
            pair->index);
        add_match(sql, pair, "l", "d");
        add_check(sql, pair, "'changed', 'extra'", "UPDATE");
    }
}

/* Of other columns under a unique index, too, where rows may swap their values. */
static void add_unique_releases(struct sql *sql, const struct pair *pair, uint64_t unique,
                                uint64_t release)
{
    bool any = false;
    if (pair->table == NULL || release == 0)
        return;
    add(sql, "UPDATE %s AS l SET ", pair->live);
    for (size_t c = pair->key_count; c < pair->column_count; c++) {
        if ((release >> c & 1) != 0)
            add(sql, "%s\"%s\" = NULL", any ? ", " : "", pair->columns[c]);
        any = any || (release >> c & 1) != 0;
    }
    add(sql,
        " FROM pj_difference_%zu AS d WHERE (d.pj_kind = 'extra' OR (d.pj_kind = 'changed' "
        "AND d.pj_columns & (%lld)::bigint <> 0)) AND ",
        pair->index, (long long)unique);
    add_match(sql, pair, "l", "d");
    add(sql, "; ");
}

/* What rows will refer to. */
static void add_ensures(struct sql *sql, const struct pair *pair)
{
    const struct pj_parent *parent = pair->table != NULL ? pair->table->parents : NULL;
    for (; parent != NULL && parent->ensure != NULL; parent++) {
        const char *column = pair->table->columns[parent->column].name;
        add(sql,
            "SELECT %s(array_agg(s.\"%s\"), array_agg(s.\"%s\")) FROM %s AS s "
            "JOIN pj_difference_%zu AS d ON ",
            parent->ensure, column, pair->table->columns[parent->seen_at].name, pair->shadow,
            pair->index);
        add_match(sql, pair, "s", "d");
        add(sql, " WHERE s.\"%s\" IS NOT NULL HAVING count(*) > 0; ", column);
    }
}

/* What rows no longer refer to: noted before they change, released afterwards. */
static void add_lefts(struct sql *sql, const struct pair *pair, bool note)
{
    const struct pj_parent *parent = pair->table != NULL ? pair->table->parents : NULL;
    for (size_t p = 0; parent != NULL && parent[p].ensure != NULL; p++) {
        if (parent[p].release == NULL)
            continue;
        if (!note) {
            add(sql, "SELECT %s(array_agg(key)) FROM pj_left_%zu_%zu HAVING count(*) > 0; ",
                parent[p].release, pair->index, p);
            continue;
        }
        const char *column = pair->table->columns[parent[p].column].name;
        add(sql,
            "CREATE TEMP TABLE pj_left_%zu_%zu ON COMMIT DROP AS SELECT DISTINCT l.\"%s\" AS key "
            "FROM %s AS l JOIN pj_difference_%zu AS d ON ",
            pair->index, p, column, pair->live, pair->index);
        add_match(sql, pair, "l", "d");
        add(sql,
            " WHERE l.\"%s\" IS NOT NULL AND (d.pj_kind = 'extra' OR d.pj_columns >> %d & 1 = 1); ",
            column, parent[p].column);
    }
}

static void add_update(struct sql *sql, const struct pair *pair)
{
    if (pair->column_count == pair->key_count)
        return;
    add(sql, "WITH written AS (UPDATE %s AS l SET ", pair->live);
    for (size_t c = pair->key_count; c < pair->column_count; c++)
        add(sql, "%s\"%s\" = s.\"%s\"", c > pair->key_count ? ", " : "", pair->columns[c],
            pair->columns[c]);
    add(sql, " FROM %s AS s, pj_difference_%zu AS d WHERE d.pj_kind = 'changed' AND ", pair->shadow,
        pair->index);
    add_match(sql, pair, "s", "d");
    add(sql, " AND ");
    add_match(sql, pair, "l", "d");
    add_check(sql, pair, "'changed'", "UPDATE");
}

static void add_insert(struct sql *sql, const struct pair *pair)
{
    add(sql, "WITH written AS (INSERT INTO %s (", pair->live);
    add_columns(sql, pair, "", 0, pair->column_count);
    add(sql, ") SELECT ");
    add_columns(sql, pair, "s.", 0, pair->column_count);
    add(sql, " FROM %s AS s JOIN pj_difference_%zu AS d ON ", pair->shadow, pair->index);
    add_match(sql, pair, "s", "d");
    add(sql, " WHERE d.pj_kind = 'missing'");
    if (pair->table == NULL) { /* over a state without facts */
        add(sql, " ON CONFLICT (key) DO UPDATE SET ");
        for (size_t c = pair->key_count; c < pair->column_count; c++)
            add(sql, "%s\"%s\" = excluded.\"%s\"", c > pair->key_count ? ", " : "",
                pair->columns[c], pair->columns[c]);
    }
    add_check(sql, pair, "'missing'", "INSERT");
}

/* A timed kind's rows are as of when it was derived: the shadow's rows, the shadow's time. */
static void add_derived_at(struct sql *sql, const struct pair *pair)
{
    if (pair->compared_count == pair->column_count)
        return;
    add(sql,
        "UPDATE %s AS l SET due_at = s.due_at, derived_at = s.derived_at FROM %s AS s "
        "WHERE l.key = s.key AND (l.due_at, l.derived_at) IS DISTINCT FROM "
        "(s.due_at, s.derived_at); ",
        pair->live, pair->shadow);
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
        if (pairs[p].table == NULL)
            sorted[at++] = &pairs[p];
    }
    return sorted;
}

static void add_giving_up(struct sql *sql, const struct pair *pair,
                          const struct pj_projection *projection,
                          const struct pj_constraints *constraints)
{
    add_lefts(sql, pair, true);
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
            struct sql sql;
            const struct pair *pair = pairs[phase == REMOVE ? count - 1 - i : i];
            sql_open(&sql);
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
                add_lefts(&sql, pair, false);
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
