/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/declaration_internal.h"

#include "base/fit.h"
#include "fold/fold_internal.h"

#include <string.h>

/* Postgres's own limit for an index. */
enum { KEYS_MOST = 32, PARENTS_MOST = 64 };

/* --- names ----------------------------------------------------------------------------------- */

/* Names are quoted both ways in SQL. `of`: "the column %s of things". */
static int check_sql_name(const char *what, const char *of, const char *name,
                          struct pj_error *error)
{
    size_t length = strlen(name);
    bool odd = length == 0;
    for (const char *c = name; *c != '\0'; c++)
        odd = odd || (unsigned char)*c < ' ' || *c == '"' || *c == '\'' || *c == 0x7f;
    if (odd)
        return PJ_WRONG(error,
                        "the name of %s of %s is \"%.100s\": a name is not empty and has no "
                        "quotes or control characters",
                        what, of, name);
    if (length > PJ_SQL_NAME_MOST)
        return PJ_WRONG(error,
                        "the name of %s of %s, %.100s, is longer than the %d bytes that Postgres "
                        "keeps of one; shorten it",
                        what, of, name, PJ_SQL_NAME_MOST);
    return 0;
}

/* Function names are not quoted in SQL. NULL: there is none. */
static int check_function(const struct pj_table *table, const char *what, const char *function,
                          struct pj_error *error)
{
    static const char characters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$.";
    if (function == NULL)
        return 0;
    if (*function == '\0' || function[strspn(function, characters)] != '\0')
        return PJ_WRONG(
            error,
            "the `%s` of %s is \"%.100s\", which is not the name of an SQL function, such "
            "as projectionist.%s_%s",
            what, table->name, function, what, table->name);
    return 0;
}

/* --- columns --------------------------------------------------------------------------------- */

static int check_measure(const struct pj_table *table, const struct pj_column *column,
                         struct pj_error *error)
{
    bool wanted = table->kind == PJ_ROLLUP_TABLE && !column->key;
    if ((unsigned)column->measure > PJ_MAX)
        return PJ_WRONG(error, "the column %s of %s has an unknown measure; see enum pj_measure",
                        column->name, table->name);
    if (wanted && column->measure == PJ_NOT_A_MEASURE)
        return PJ_WRONG(error,
                        "the column %s of the rollup %s is neither a key nor has a measure "
                        "(PJ_SUM, PJ_MIN or PJ_MAX)",
                        column->name, table->name);
    if (!wanted && column->measure != PJ_NOT_A_MEASURE)
        return PJ_WRONG(error,
                        "the column %s of %s has a measure, which only columns of a rollup have "
                        "that are not of its key",
                        column->name, table->name);
    if (column->measure == PJ_SUM && column->type != PJ_BIGINT && column->type != PJ_NUMERIC &&
        column->type != PJ_COUNTS)
        return PJ_WRONG(error,
                        "the column %s of %s is a PJ_SUM, so it must be a PJ_BIGINT, PJ_NUMERIC or "
                        "PJ_COUNTS",
                        column->name, table->name);
    if (column->type == PJ_COUNTS && column->measure != PJ_SUM)
        return PJ_WRONG(error, "the column %s of %s is PJ_COUNTS but not a PJ_SUM", column->name,
                        table->name);
    return 0;
}

static int check_key_column(const struct pj_table *table, size_t index, struct pj_error *error)
{
    const struct pj_column *column = &table->columns[index];
    if (index == 0 && !column->key)
        return PJ_WRONG(error,
                        "the first column of %s, %s, is not of its key: key columns come first, "
                        "and there is at least one",
                        table->name, column->name);
    if (!column->key)
        return 0;
    if (index > 0 && !table->columns[index - 1].key)
        return PJ_WRONG(error,
                        "the key column %s of %s comes after %s, which is not part of it: key "
                        "columns come first",
                        column->name, table->name, table->columns[index - 1].name);
    if (index >= KEYS_MOST)
        return PJ_WRONG(error,
                        "%s has more than %d key columns, which is Postgres's limit; make a "
                        "PJ_UUID of them by pj_uuid_of_name",
                        table->name, KEYS_MOST);
    if (column->elsewhere)
        return PJ_WRONG(error,
                        "the column %s of %s is both a key column and marked `elsewhere`; it must "
                        "be one of the two",
                        column->name, table->name);
    /* What is one key here and two to Postgres, or the other way round, would share a row. */
    if (column->type == PJ_JSONB || column->type == PJ_COUNTS)
        return PJ_WRONG(error,
                        "the key column %s of %s is a %s, whose values can be written in several "
                        "ways; use another type",
                        column->name, table->name, pj_type_name(column->type));
    return 0;
}

/* It stands in SQL as it is. */
static int check_sql_type(const struct pj_table *table, const struct pj_column *column,
                          struct pj_error *error)
{
    static const char characters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.\"[](), ";
    enum { TYPE_MOST = 160 };
    const char *type = column->sql_type;
    if (type == NULL)
        return 0;
    if (*type == '\0' || strlen(type) > TYPE_MOST || type[strspn(type, characters)] != '\0')
        return PJ_WRONG(error,
                        "the sql_type of the column %s of %s is \"%.100s\", which is not the name "
                        "of a type, such as inet or text[]",
                        column->name, table->name, type);
    if (column->type != PJ_TEXT || column->measure != PJ_NOT_A_MEASURE)
        return PJ_WRONG(error,
                        "the column %s of %s has a sql_type, so it must be a PJ_TEXT without a "
                        "measure",
                        column->name, table->name);
    return 0;
}

static int check_column(const struct pj_table *table, size_t index, struct pj_error *error)
{
    const struct pj_column *column = &table->columns[index];
    if (column->name == NULL)
        return PJ_WRONG(error,
                        "column %zu of %s is not declared; are there fewer than its column_count?",
                        index, table->name);
    if (check_sql_name("a column", table->name, column->name, error) != 0)
        return -1;
    if (!pj_type_exists(column->type))
        return PJ_WRONG(error, "the column %s of %s is of an unknown type; see enum pj_type",
                        column->name, table->name);
    if (check_key_column(table, index, error) != 0)
        return -1;
    for (size_t c = 0; c < index; c++) {
        if (strcmp(table->columns[c].name, column->name) == 0)
            return PJ_WRONG(error, "two columns of %s have the name %s; rename one", table->name,
                            column->name);
    }
    if (column->elsewhere && (table->kind != PJ_ENTITY_TABLE || table->part_of != NULL))
        return PJ_WRONG(error,
                        "the column %s of %s is marked `elsewhere`, which only a column of an "
                        "entity table that is not a part of another can be",
                        column->name, table->name);
    return check_sql_type(table, column, error) != 0 ? -1 : check_measure(table, column, error);
}

/* --- parts ----------------------------------------------------------------------------------- */

static const struct pj_column *find_column(const struct pj_table *table, const char *name)
{
    for (size_t c = 0; c < table->column_count; c++) {
        const struct pj_column *column = &table->columns[c];
        if (column->name != NULL && strcmp(column->name, name) == 0)
            return column;
    }
    return NULL;
}

static bool has_elsewhere(const struct pj_table *whole, const struct pj_column *column)
{
    const struct pj_column *other = find_column(whole, column->name);
    return other != NULL && other->type == column->type && other->key == column->key &&
           other->elsewhere != column->key;
}

static bool is_key(const struct pj_table *table, size_t column)
{
    return column < table->column_count && table->columns[column].key;
}

/* The same columns in the same order. */
static bool same_key(const struct pj_table *part, const struct pj_table *whole)
{
    size_t c = 0;
    while (is_key(part, c) && is_key(whole, c) && whole->columns[c].name != NULL &&
           strcmp(part->columns[c].name, whole->columns[c].name) == 0)
        c++;
    return !is_key(part, c) && !is_key(whole, c);
}

static int check_part(const struct pj_projection *projection, const struct pj_table *part,
                      struct pj_error *error)
{
    const struct pj_table *whole = part->part_of;
    if (pj_fold_table_index(projection, whole) == projection->table_count)
        return PJ_WRONG(error,
                        "a part of %s is among the tables of %s, but its whole is not; list it",
                        part->name, projection->name);
    if (part->kind != PJ_ENTITY_TABLE || whole->kind != PJ_ENTITY_TABLE || whole->part_of != NULL)
        return PJ_WRONG(
            error,
            "%s is a part of %s, and one of the two is not an entity table, or itself a "
            "part: a part and its whole are entity tables",
            part->name, whole->name);
    if (whole->name == NULL || strcmp(part->name, whole->name) != 0)
        return PJ_WRONG(error, "a part of the table %s has the name %s; it must be the same",
                        whole->name, part->name);
    if (!same_key(part, whole))
        return PJ_WRONG(error,
                        "a part of %s does not have the same key as its whole; name all of its key "
                        "columns, in its order",
                        part->name);
    if (part->parents != NULL || part->children != NULL || part->placeholder != 0)
        return PJ_WRONG(error,
                        "a part of %s has parents, children or a placeholder, which only its "
                        "whole can have",
                        part->name);
    for (size_t c = 0; c < part->column_count; c++) {
        if (!has_elsewhere(whole, &part->columns[c]))
            return PJ_WRONG(error,
                            "the column %s of a part of %s is not in its whole with the same "
                            "type, as part of the key or marked `elsewhere`",
                            part->columns[c].name, part->name);
    }
    return 0;
}

/* Exactly one part has each column that is derived elsewhere. */
static int check_elsewhere(const struct pj_projection *projection, const struct pj_table *whole,
                           struct pj_error *error)
{
    for (size_t c = 0; c < whole->column_count; c++) {
        size_t parts = 0;
        if (!whole->columns[c].elsewhere)
            continue;
        for (size_t t = 0; t < projection->table_count; t++) {
            const struct pj_table *part = projection->tables[t];
            parts += part != NULL && part->part_of == whole &&
                     find_column(part, whole->columns[c].name) != NULL;
        }
        if (parts != 1)
            return PJ_WRONG(error,
                            "the column %s of %s is marked `elsewhere`, and %s of the tables that "
                            "are parts of it have it; exactly one must",
                            whole->columns[c].name, whole->name, parts == 0 ? "none" : "several");
    }
    return 0;
}

/* --- tables ---------------------------------------------------------------------------------- */

static bool is_column(const struct pj_table *table, int index, enum pj_type type)
{
    return index >= 0 && (size_t)index < table->column_count && table->columns[index].type == type;
}

static size_t key_count(const struct pj_table *table)
{
    size_t count = 0;
    while (count < table->column_count && table->columns[count].key)
        count++;
    return count;
}

static bool has_child(const struct pj_table *table, const struct pj_table *child)
{
    size_t i = 0;
    while (table->children != NULL && table->children[i] != NULL && table->children[i] != child)
        i++;
    return table->children != NULL && table->children[i] != NULL;
}

static bool has_parent(const struct pj_table *table, const struct pj_table *parent)
{
    size_t i = 0;
    while (table->parents != NULL && table->parents[i].table != NULL &&
           table->parents[i].table != parent)
        i++;
    return table->parents != NULL && table->parents[i].table != NULL;
}

static int check_parent(const struct pj_table *table, const struct pj_parent *parent,
                        struct pj_error *error)
{
    const struct pj_table *of = parent->table;
    size_t keys = key_count(of);
    if (keys == 0 || keys > PJ_PARENT_COLUMNS_MOST)
        return PJ_WRONG(error,
                        "the key of %s, a parent of %s, has %zu columns, which must be 1 to %d",
                        of->name, table->name, keys, PJ_PARENT_COLUMNS_MOST);
    if (!has_child(of, table))
        return PJ_WRONG(error, "%s is a parent of %s, which its children do not list; add it there",
                        of->name, table->name);
    for (size_t k = 0; k < keys; k++) {
        if (!is_column(table, parent->columns[k], of->columns[k].type))
            return PJ_WRONG(error,
                            "%s refers to the %s of its parent %s by the column of index %d, which "
                            "is not a %s column of it",
                            table->name, of->columns[k].name, of->name, parent->columns[k],
                            pj_type_name(of->columns[k].type));
    }
    if (of->first_seen != 0 && !is_column(table, parent->seen_at, PJ_TIMESTAMPTZ))
        return PJ_WRONG(error,
                        "the seen_at of the parent %s of %s (index %d) is not a PJ_TIMESTAMPTZ "
                        "column of it",
                        of->name, table->name, parent->seen_at);
    return 0;
}

static int check_parents(const struct pj_table *table, struct pj_error *error)
{
    const struct pj_parent *parent = table->parents;
    if (parent != NULL && table->kind == PJ_ROLLUP_TABLE)
        return PJ_WRONG(error, "%s is a rollup, whose parents would never be created; remove them",
                        table->name);
    for (size_t p = 0; parent != NULL && parent[p].table != NULL; p++) {
        if (p == PARENTS_MOST)
            return PJ_WRONG(error, "%s has more than %d parents; or an empty one does not end them",
                            table->name, PARENTS_MOST);
        if (check_parent(table, &parent[p], error) != 0)
            return -1;
    }
    return 0;
}

/* What the columns of placeholders are. */
static int check_placeholders(const struct pj_table *table, struct pj_error *error)
{
    if (table->children != NULL && (table->kind != PJ_ENTITY_TABLE || table->placeholder == 0))
        return PJ_WRONG(error,
                        "%s has children, so it must be an entity table with a column that is its "
                        "`placeholder`",
                        table->name);
    if (table->placeholder != 0 && !is_column(table, (int)table->placeholder, PJ_BOOL))
        return PJ_WRONG(error, "the placeholder of %s is not a PJ_BOOL column of it", table->name);
    if (table->first_seen != 0 && (!is_column(table, (int)table->first_seen, PJ_TIMESTAMPTZ) ||
                                   table->columns[table->first_seen].key))
        return PJ_WRONG(error,
                        "the first_seen of %s is not a PJ_TIMESTAMPTZ column of it outside of the "
                        "key",
                        table->name);
    for (size_t i = 0; table->children != NULL && table->children[i] != NULL; i++) {
        if (!has_parent(table->children[i], table))
            return PJ_WRONG(error, "%s lists the child %s, which does not name it as a parent",
                            table->name, table->children[i]->name);
    }
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Parts share their whole's name, and nothing else does. */
static int check_table_name(const struct pj_projection *projection, size_t index,
                            struct pj_error *error)
{
    const struct pj_table *table = projection->tables[index];
    const struct pj_table *whole = table->part_of != NULL ? table->part_of : table;
    if (check_sql_name("a table", projection->name, table->name, error) != 0 ||
        (table->schema != NULL &&
         check_sql_name("the schema", table->name, table->schema, error) != 0))
        return -1;
    for (size_t t = 0; t < index; t++) {
        const struct pj_table *other = projection->tables[t];
        if (other == table)
            return PJ_WRONG(error, "%s is twice among the tables of %s; list it once", table->name,
                            projection->name);
        if ((other->part_of != NULL ? other->part_of : other) != whole &&
            strcmp(other->name, table->name) == 0 && same_text(other->schema, table->schema))
            return PJ_WRONG(error,
                            "two tables of %s have the name %s; where one is a part of the other, "
                            "say so with part_of",
                            projection->name, table->name);
    }
    return 0;
}

static int check_functions(const struct pj_table *table, struct pj_error *error)
{
    if (table->refresh != NULL && table->kind != PJ_ROLLUP_TABLE)
        return PJ_WRONG(error, "%s is not a rollup, so `refresh` would never be called; remove it",
                        table->name);
    return check_function(table, "refresh", table->refresh, error) != 0 ||
                   check_parents(table, error) != 0
               ? -1
               : check_placeholders(table, error);
}

int pj_declaration_check_table(const struct pj_projection *projection, size_t index,
                               struct pj_error *error)
{
    const struct pj_table *table = projection->tables[index];
    if (table == NULL || table->name == NULL)
        return PJ_WRONG(error,
                        "table %zu of %s is not declared; are there fewer than its table_count?",
                        index, projection->name);
    if (check_table_name(projection, index, error) != 0)
        return -1;
    if ((unsigned)table->kind > PJ_ROLLUP_TABLE)
        return PJ_WRONG(error, "%s is of an unknown kind; see enum pj_table_kind", table->name);
    if (table->kind != PJ_APPEND_TABLE && projection->entity_count == 0)
        return PJ_WRONG(error,
                        "the rows of %s come from derive, and %s has no entity kinds; make it a "
                        "PJ_APPEND_TABLE or declare one",
                        table->name, projection->name);
    if (table->columns == NULL || table->column_count == 0 || table->column_count > PJ_COLUMNS_MOST)
        return PJ_WRONG(error, "%s has %zu columns, which must be 1 to %d", table->name,
                        table->columns == NULL ? 0 : table->column_count, PJ_COLUMNS_MOST);
    for (size_t c = 0; c < table->column_count; c++) {
        if (check_column(table, c, error) != 0)
            return -1;
    }
    if (check_functions(table, error) != 0)
        return -1;
    if (table->trimmed_by != 0 &&
        (table->kind != PJ_APPEND_TABLE || table->trimmed_by >= table->column_count ||
         table->columns[table->trimmed_by].type != PJ_TIMESTAMPTZ))
        return PJ_WRONG(error,
                        "the trimmed_by of %s is not a PJ_TIMESTAMPTZ column of an append table",
                        table->name);
    return table->part_of != NULL ? check_part(projection, table, error)
                                  : check_elsewhere(projection, table, error);
}
