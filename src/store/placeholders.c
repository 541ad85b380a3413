/* SPDX-License-Identifier: Apache-2.0 */
#include "store/placeholders.h"

#include <stdlib.h>
#include <string.h>

static struct pj_sql_name column(const struct pj_table *table, size_t index)
{
    return pj_sql_name(table->columns[index].name);
}

/* The rows t of the table that are among those of the source. */
static void add_match(struct pj_builder *sql, const struct pj_table *table)
{
    pj_sql_columns(sql, table, pj_sql_key(table), " AND ", "t.@ = u.@");
}

/* The columns with an in_placeholder. */
static uint64_t filled(const struct pj_table *table)
{
    uint64_t columns = 0;
    for (size_t c = 0; c < table->column_count; c++) {
        if (table->columns[c].in_placeholder != NULL)
            columns |= 1ULL << c;
    }
    return columns;
}

/* Whether the value names the key column: "unknown-{id}". */
static bool names_key(const struct pj_column *key, const char *value)
{
    char *name = pj_text_new("{%s}", key->name);
    bool found = strstr(value, name) != NULL;
    free(name);
    return found;
}

/* A column's value in the placeholder whose key is in `row`. */
static void add_value(struct pj_builder *sql, const struct pj_table *table, const char *before,
                      const char *value, const char *row)
{
    pj_builder_add(sql, "%s", before);
    for (size_t k = 0; k < table->column_count && table->columns[k].key; k++)
        pj_builder_add(sql, "%s", names_key(&table->columns[k], value) ? "replace(" : "");
    pj_sql_literal(sql, "", value);
    for (size_t k = 0; k < table->column_count && table->columns[k].key; k++) {
        if (!names_key(&table->columns[k], value))
            continue;
        char *name = pj_text_new("{%s}", table->columns[k].name);
        pj_sql_literal(sql, ", ", name);
        pj_builder_add(sql, ", %s.%s::text)", row, column(table, k).text);
        free(name);
    }
}

/* For each foreign key of the children: `before`, with `seen` the child's seen_at in parentheses,
 * then " FROM child AS c WHERE c.fk = t.key", then `after`; `separator` between. */
static void add_references(struct pj_builder *sql, const struct pj_table *table,
                           const char *separator, const char *before, const char *after, bool seen)
{
    bool any = false;
    for (size_t i = 0; table->children != NULL && table->children[i] != NULL; i++) {
        const struct pj_table *child = table->children[i];
        for (const struct pj_parent *p = child->parents; p != NULL && p->table != NULL; p++) {
            if (p->table != table)
                continue;
            pj_builder_add(sql, "%s%s", any ? separator : "", before);
            if (seen)
                pj_builder_add(sql, "(c.%s)", column(child, (size_t)p->seen_at).text);
            pj_builder_add(sql, " FROM %s AS c WHERE ", pj_sql_table(child).text);
            for (size_t k = 0; k < table->column_count && table->columns[k].key; k++)
                pj_builder_add(sql, "%sc.%s = t.%s", k > 0 ? " AND " : "",
                               column(child, (size_t)p->columns[k]).text, column(table, k).text);
            pj_builder_add(sql, "%s", after);
            any = true;
        }
    }
}

void pj_placeholders_ensure(struct pj_builder *sql, const struct pj_table *table,
                            const char *source)
{
    const struct pj_sql_name name = pj_sql_table(table);
    const struct pj_sql_name first = column(table, 0);
    const struct pj_sql_name seen = column(table, table->first_seen);
    const struct pj_sql_name placeholder = column(table, table->placeholder);
    bool timed = table->first_seen != 0;
    uint64_t key = pj_sql_key(table);
    pj_builder_add(sql, "WITH wanted AS (SELECT ");
    pj_sql_columns(sql, table, key, ", ", "u.@");
    pj_builder_add(sql, ", min(u.pj_place) AS pj_place%s FROM %s GROUP BY ",
                   timed ? ", min(u.pj_seen) AS pj_seen" : "", source);
    pj_sql_columns(sql, table, key, ", ", "u.@");
    pj_builder_add(sql,
                   "), known AS (SELECT u.*, t.%s IS NOT NULL AND t.%s IS NOT TRUE AS pj_real, "
                   "t.%s IS NULL AS pj_missing, t.%s IS NULL",
                   first.text, placeholder.text, first.text, first.text);
    if (timed)
        pj_builder_add(sql, " OR (t.%s AND t.%s > u.pj_seen)", placeholder.text, seen.text);
    pj_builder_add(sql, " AS pj_due FROM wanted AS u LEFT JOIN %s AS t ON ", name.text);
    add_match(sql, table);
    pj_builder_add(sql, "), made AS (INSERT INTO %s AS t (", name.text);
    pj_sql_columns(sql, table, key, ", ", "@");
    pj_sql_columns(sql, table, filled(table), "", ", @");
    pj_builder_add(sql, ", %s%s%s) SELECT ", timed ? seen.text : "", timed ? ", " : "",
                   placeholder.text);
    pj_sql_columns(sql, table, key, ", ", "k.@");
    for (size_t c = 0; c < table->column_count; c++) {
        if (table->columns[c].in_placeholder != NULL)
            add_value(sql, table, ", ", table->columns[c].in_placeholder, "k");
    }
    pj_builder_add(sql, "%s, true FROM known AS k WHERE k.pj_due ORDER BY ",
                   timed ? ", k.pj_seen" : "");
    pj_sql_columns(sql, table, key, ", ", "k.@");
    pj_builder_add(sql, " ON CONFLICT (");
    pj_sql_columns(sql, table, key, ", ", "@");
    if (timed)
        pj_builder_add(sql,
                       ") DO UPDATE SET %s = excluded.%s WHERE t.%s AND t.%s > excluded.%s "
                       "RETURNING ",
                       seen.text, seen.text, placeholder.text, seen.text, seen.text);
    else
        pj_builder_add(sql, ") DO NOTHING RETURNING ");
    pj_sql_columns(sql, table, key, ", ", "t.@");
    /* Which rows were inserted follows from those that were missing: a statement cannot read xmax
     * in a partitioned table. */
    pj_builder_add(sql, ") SELECT NULL::bigint, count(*) FROM made AS t JOIN known AS u ON ");
    add_match(sql, table);
    pj_builder_add(sql, " WHERE u.pj_missing UNION ALL "
                        "SELECT k.pj_place, 0 FROM known AS k WHERE k.pj_real");
}

static void add_lock(struct pj_builder *sql, const struct pj_table *table, const char *source,
                     const char *strength)
{
    pj_builder_add(sql, "SELECT FROM %s AS t JOIN %s ON ", pj_sql_table(table).text, source);
    add_match(sql, table);
    pj_builder_add(sql, " ORDER BY ");
    pj_sql_columns(sql, table, pj_sql_key(table), ", ", "t.@");
    pj_builder_add(sql, " FOR %s OF t", strength);
}

void pj_placeholders_lock(struct pj_builder *sql, const struct pj_table *table, const char *source)
{
    add_lock(sql, table, source, "UPDATE");
}

void pj_placeholders_refer(struct pj_builder *sql, const struct pj_table *table, const char *source)
{
    add_lock(sql, table, source, "KEY SHARE");
}

void pj_placeholders_lower(struct pj_builder *sql, const struct pj_table *table, const char *source)
{
    const struct pj_sql_name name = pj_sql_table(table);
    const struct pj_sql_name seen = column(table, table->first_seen);
    const struct pj_sql_name placeholder = column(table, table->placeholder);
    uint64_t key = pj_sql_key(table);
    pj_builder_add(sql, "WITH due AS (SELECT ");
    pj_sql_columns(sql, table, key, ", ", "t.@");
    pj_builder_add(sql, ", u.pj_seen FROM %s AS t JOIN (SELECT ", name.text);
    pj_sql_columns(sql, table, key, ", ", "u.@");
    pj_builder_add(sql, ", min(u.pj_seen) AS pj_seen FROM %s GROUP BY ", source);
    pj_sql_columns(sql, table, key, ", ", "u.@");
    pj_builder_add(sql, ") AS u ON ");
    add_match(sql, table);
    pj_builder_add(sql, " WHERE t.%s AND t.%s > u.pj_seen ORDER BY ", placeholder.text, seen.text);
    pj_sql_columns(sql, table, key, ", ", "t.@");
    pj_builder_add(sql,
                   " FOR NO KEY UPDATE OF t) UPDATE %s AS t SET %s = u.pj_seen FROM due AS u "
                   "WHERE ",
                   name.text, seen.text);
    add_match(sql, table);
    pj_builder_add(sql, " AND t.%s AND t.%s > u.pj_seen", placeholder.text, seen.text);
}

void pj_placeholders_release(struct pj_builder *sql, const struct pj_table *table,
                             const char *source)
{
    pj_builder_add(sql, "DELETE FROM %s AS t USING %s WHERE ", pj_sql_table(table).text, source);
    add_match(sql, table);
    pj_builder_add(sql, " AND t.%s AND ", column(table, table->placeholder).text);
    add_references(sql, table, " AND ", "NOT EXISTS (SELECT", ")", false);
}

/* The least time at which a child of t mentions it. */
static void add_least_seen(struct pj_builder *sql, const struct pj_table *table)
{
    pj_builder_add(sql, "(SELECT min(s.seen) FROM (");
    add_references(sql, table, " UNION ALL ", "SELECT min", "", true);
    pj_builder_add(sql, ") AS s (seen))");
}

void pj_placeholders_raise(struct pj_builder *sql, const struct pj_table *table, const char *source)
{
    const struct pj_sql_name name = pj_sql_table(table);
    const struct pj_sql_name seen = column(table, table->first_seen);
    pj_builder_add(sql, "UPDATE %s AS t SET %s = u.pj_seen FROM (SELECT ", name.text, seen.text);
    pj_sql_columns(sql, table, pj_sql_key(table), ", ", "t.@");
    pj_builder_add(sql, ", ");
    add_least_seen(sql, table);
    pj_builder_add(sql, " AS pj_seen FROM %s AS t JOIN %s ON ", name.text, source);
    add_match(sql, table);
    pj_builder_add(sql, " WHERE t.%s) AS u WHERE ", column(table, table->placeholder).text);
    add_match(sql, table);
    pj_builder_add(sql, " AND u.pj_seen > t.%s", seen.text);
}

void pj_placeholders_leave(struct pj_builder *sql, const struct pj_table *table, const char *source)
{
    pj_placeholders_lock(sql, table, source);
    pj_builder_add(sql, "; ");
    pj_placeholders_release(sql, table, source);
    pj_builder_add(sql, "; ");
    if (table->first_seen != 0) {
        pj_placeholders_raise(sql, table, source);
        pj_builder_add(sql, "; ");
    }
}

uint64_t pj_placeholders_key(struct pj_builder *sql, struct pj_builder *where,
                             const struct pj_table *child, const struct pj_parent *parent,
                             const char *row)
{
    uint64_t columns = 0;
    for (size_t k = 0; k < parent->table->column_count && parent->table->columns[k].key; k++) {
        const struct pj_sql_name name = column(child, (size_t)parent->columns[k]);
        pj_builder_add(sql, "%s%s.%s AS %s", k > 0 ? ", " : "", row, name.text,
                       column(parent->table, k).text);
        pj_builder_add(where, "%s%s.%s IS NOT NULL", k > 0 ? " AND " : "", row, name.text);
        columns |= 1ULL << parent->columns[k];
    }
    return columns;
}

void pj_placeholders_restore(struct pj_builder *sql, const struct pj_table *table,
                             const char *source)
{
    pj_builder_add(sql, "UPDATE %s AS t SET %s = true", pj_sql_table(table).text,
                   column(table, table->placeholder).text);
    for (size_t c = 0; c < table->column_count; c++) {
        const struct pj_column *of = &table->columns[c];
        if (of->key || c == table->placeholder)
            continue;
        pj_builder_add(sql, ", %s = ", column(table, c).text);
        if (c == table->first_seen) {
            add_least_seen(sql, table);
        } else if (of->in_placeholder != NULL) {
            add_value(sql, table, "", of->in_placeholder, "t");
        } else {
            pj_builder_add(sql, "DEFAULT");
        }
    }
    pj_builder_add(sql, " FROM %s WHERE ", source);
    add_match(sql, table);
    pj_builder_add(sql, " AND (");
    add_references(sql, table, " OR ", "EXISTS (SELECT", ")", false);
    pj_builder_add(sql, ")");
}

void pj_placeholders_remove(struct pj_builder *sql, const struct pj_table *table,
                            const char *source)
{
    pj_builder_add(sql, "DELETE FROM %s AS t USING %s WHERE ", pj_sql_table(table).text, source);
    add_match(sql, table);
    pj_builder_add(sql, " AND t.%s IS NOT TRUE", column(table, table->placeholder).text);
}
