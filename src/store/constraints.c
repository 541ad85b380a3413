/* SPDX-License-Identifier: Apache-2.0 */
#include "store/constraints.h"

#include "postgres/sql_text.h"

#include <stdlib.h>
#include <string.h>

const struct pj_statement pj_constraints_defer = {.name = "pj_constraints_defer",
                                                  .sql = "SET CONSTRAINTS ALL DEFERRED"};
const struct pj_statement pj_constraints_check = {.name = "pj_constraints_check",
                                                  .sql = "SET CONSTRAINTS ALL IMMEDIATE"};

struct pj_constraints pj_constraints_none(const struct pj_projection *projection,
                                          struct pj_arena *arena)
{
    struct pj_constraints constraints = {
        .order = pj_arena_alloc(arena, projection->table_count * sizeof(size_t)),
        .unique = pj_arena_alloc(arena, projection->table_count * sizeof(uint64_t)),
        .release = pj_arena_alloc(arena, projection->table_count * sizeof(uint64_t)),
    };
    for (size_t t = 0; t < projection->table_count; t++)
        constraints.order[t] = t;
    return constraints;
}

/* "WITH ours (n, oid) AS (VALUES …) ": the projection's tables by their index; parts have that of
 * their whole. Then the query, with its result. */
static int query_ours(struct pj_postgres *postgres, const struct pj_projection *projection,
                      const char *query, struct pj_result **result, struct pj_error *error)
{
    struct pj_builder values = {0};
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *table = projection->tables[t];
        if (table->part_of == NULL)
            pj_builder_add(&values, "%s(%zu, '%s'::regclass::oid)", values.length > 0 ? ", " : "",
                           t, pj_sql_table(table).text);
    }
    char *rows = pj_builder_take(&values);
    char *sql = pj_text_new("WITH ours (n, oid) AS (VALUES %s) %s", rows, query);
    free(rows);
    int status = pj_postgres_query(postgres, sql, 0, NULL, result, error);
    free(sql);
    return status;
}

static size_t number(const struct pj_result *result, int row, int column)
{
    return (size_t)strtoull(pj_result_value(result, row, column, NULL), NULL, 10);
}

static bool is_true(const struct pj_result *result, int row, int column)
{
    return *pj_result_value(result, row, column, NULL) == 't';
}

/* --- order ----------------------------------------------------------------------------------- */

static const char references_sql[] =
    "SELECT c.n, p.n, k.condeferrable, k.conname, "
    "format('ALTER TABLE %s ALTER CONSTRAINT %I DEFERRABLE INITIALLY DEFERRED', "
    "k.conrelid::regclass, k.conname) "
    "FROM pg_constraint AS k JOIN ours AS c ON c.oid = k.conrelid "
    "JOIN ours AS p ON p.oid = k.confrelid WHERE k.contype = 'f' AND c.n <> p.n "
    "ORDER BY c.n, p.n, k.conname";
enum { CHILD, PARENT, DEFERRABLE, CONSTRAINT, ALTER };

/* A reference that keeps the table from being next, or -1. */
static int reference_to_come(const struct pj_result *references, const bool *placed, size_t table,
                             bool of_all)
{
    for (int row = 0; row < pj_result_rows(references); row++) {
        if (number(references, row, CHILD) == table && !placed[number(references, row, PARENT)] &&
            (of_all || !is_true(references, row, DEFERRABLE)))
            return row;
    }
    return -1;
}

/* The first in the declared order that refers to none to come; in a ring, one whose references can
 * wait. */
static size_t next_table(const struct pj_projection *projection, const struct pj_result *references,
                         const bool *placed)
{
    for (int of_all = 1; of_all >= 0; of_all--) {
        for (size_t t = 0; t < projection->table_count; t++) {
            if (!placed[t] && reference_to_come(references, placed, t, of_all != 0) < 0)
                return t;
        }
    }
    return projection->table_count;
}

/* Where each table that is left refers to another: one of the references that lead back. */
static int reference_in_ring(const struct pj_result *references, const bool *placed)
{
    bool seen[PJ_TABLES_MOST] = {false};
    size_t table = 0;
    while (placed[table])
        table++;
    for (;;) {
        int row = reference_to_come(references, placed, table, false);
        table = number(references, row, PARENT);
        if (seen[table])
            return row;
        seen[table] = true;
    }
}

static int sort_tables(struct pj_constraints *constraints, const struct pj_projection *projection,
                       const struct pj_result *references, struct pj_error *error)
{
    bool placed[PJ_TABLES_MOST] = {false};
    for (size_t i = 0; i < projection->table_count; i++) {
        size_t next = next_table(projection, references, placed);
        if (next < projection->table_count) {
            constraints->order[i] = next;
            placed[next] = true;
            continue;
        }
        int row = reference_in_ring(references, placed);
        return pj_error_fatal(
            error, PJ_EXIT_DATABASE,
            "the tables of %s refer to each other in a ring, so that none can be written first; "
            "let the foreign key %s wait for the end of the transaction: %s",
            projection->name, pj_result_value(references, row, CONSTRAINT, NULL),
            pj_result_value(references, row, ALTER, NULL));
    }
    return 0;
}

static int read_order(struct pj_constraints *constraints, struct pj_postgres *postgres,
                      const struct pj_projection *projection, struct pj_error *error)
{
    struct pj_result *references;
    if (query_ours(postgres, projection, references_sql, &references, error) != 0)
        return -1;
    int status = sort_tables(constraints, projection, references, error);
    pj_result_free(references);
    return status;
}

/* --- unique values --------------------------------------------------------------------------- */

/*
 * A row for each column of each unique index (or exclusion constraint) that is checked row by row:
 * also those that its expressions read. NULL in such a column keeps a row out of the index, unless
 * NULLS NOT DISTINCT.
 */
static const char uniques_sql[] =
    "SELECT o.n, i.indexrelid, a.attname, "
    "NOT a.attnotnull AND a.attgenerated = '' "
    "AND coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false') = 'false' "
    "AND (a.attnum = ANY (g.keys) OR NOT EXISTS (SELECT FROM unnest(g.keys) AS k WHERE k <> 0)), "
    "x.relname, EXISTS (SELECT FROM pg_constraint AS f WHERE f.contype = 'f' "
    "AND f.conindid = i.indexrelid), "
    "CASE WHEN c.oid IS NOT NULL THEN format('ALTER TABLE %s DROP CONSTRAINT %I, "
    "ADD CONSTRAINT %I %s DEFERRABLE INITIALLY DEFERRED', o.oid::regclass, c.conname, c.conname, "
    "pg_get_constraintdef(c.oid)) "
    "WHEN i.indpred IS NULL AND i.indexprs IS NULL THEN format('DROP INDEX %s; ALTER TABLE %s "
    "ADD CONSTRAINT %I UNIQUE (%s) DEFERRABLE INITIALLY DEFERRED', i.indexrelid::regclass, "
    "o.oid::regclass, x.relname, (SELECT string_agg(pg_get_indexdef(i.indexrelid, n, true), ', ' "
    "ORDER BY n) FROM generate_series(1, i.indnkeyatts) AS n)) "
    "ELSE format('DROP INDEX %s; ALTER TABLE %s ADD CONSTRAINT %I EXCLUDE USING btree (%s)%s "
    "DEFERRABLE INITIALLY DEFERRED', i.indexrelid::regclass, o.oid::regclass, x.relname, "
    "(SELECT string_agg(format('(%s) WITH =', pg_get_indexdef(i.indexrelid, n, true)), ', ' "
    "ORDER BY n) FROM generate_series(1, i.indnkeyatts) AS n), "
    "' WHERE (' || pg_get_expr(i.indpred, o.oid) || ')') END "
    "FROM ours AS o JOIN pg_index AS i ON i.indrelid = o.oid "
    "JOIN pg_class AS x ON x.oid = i.indexrelid "
    "LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x') "
    "CROSS JOIN LATERAL (SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS keys) AS g "
    "JOIN pg_attribute AS a ON a.attrelid = o.oid AND a.attnum > 0 AND (a.attnum = ANY (g.keys) "
    "OR ((i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) AND EXISTS (SELECT FROM pg_depend AS d "
    "WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid "
    "AND d.refclassid = 'pg_class'::regclass AND d.refobjid = o.oid "
    "AND d.refobjsubid = a.attnum))) "
    "WHERE (i.indisunique OR i.indisexclusion) AND c.condeferrable IS NOT TRUE "
    "ORDER BY o.n, i.indexrelid, a.attnum";
enum { TABLE, INDEX, COLUMN, NULLABLE, NAME, REFERRED, REMEDY };

static size_t find_column(const struct pj_table *table, const char *name)
{
    size_t column = 0;
    while (column < table->column_count && strcmp(table->columns[column].name, name) != 0)
        column++;
    return column;
}

/* An index of which no order of statements would let two rows swap their values. */
static int refuse(const struct pj_projection *projection, const struct pj_result *uniques, int row,
                  struct pj_error *error)
{
    const char *table = projection->tables[number(uniques, row, TABLE)]->name;
    const char *name = pj_result_value(uniques, row, NAME, NULL);
    if (is_true(uniques, row, REFERRED))
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the table %s is not as %s needs it: its unique index %s is checked "
                              "row by row, so that two rows could not swap their values; let the "
                              "foreign keys that refer to it refer to the primary key, and run: %s",
                              table, projection->name, name,
                              pj_result_value(uniques, row, REMEDY, NULL));
    return pj_error_fatal(error, PJ_EXIT_DATABASE,
                          "the table %s is not as %s needs it: its unique index %s is checked row "
                          "by row, so that two rows could not swap their values; run: %s",
                          table, projection->name, name,
                          pj_result_value(uniques, row, REMEDY, NULL));
}

/* The rows from `row` on that are of the same index; the row after them, or -1. */
static int take_index(struct pj_constraints *constraints, const struct pj_projection *projection,
                      const struct pj_result *uniques, int row, struct pj_error *error)
{
    int first = row;
    size_t t = number(uniques, row, TABLE);
    const struct pj_table *table = projection->tables[t];
    size_t keys = 0;
    uint64_t own = 0;
    uint64_t nullable = 0;
    for (;
         row < pj_result_rows(uniques) && strcmp(pj_result_value(uniques, row, INDEX, NULL),
                                                 pj_result_value(uniques, first, INDEX, NULL)) == 0;
         row++) {
        size_t c = find_column(table, pj_result_value(uniques, row, COLUMN, NULL));
        if (c == table->column_count)
            continue;
        keys += table->columns[c].key;
        /* Parts take their old values back before they set new ones. */
        if (table->columns[c].key || table->columns[c].elsewhere)
            continue;
        own |= 1ULL << c;
        if (is_true(uniques, row, NULLABLE))
            nullable |= 1ULL << c;
    }
    size_t all_keys = 0;
    while (all_keys < table->column_count && table->columns[all_keys].key)
        all_keys++;
    /* A row's key never changes, and a rollup's sums belong to no entity. */
    if (own == 0 || keys == all_keys || table->kind != PJ_ENTITY_TABLE)
        return row;
    if (nullable == 0) {
        (void)refuse(projection, uniques, first, error);
        return -1;
    }
    constraints->unique[t] |= own;
    constraints->release[t] |= nullable & -nullable;
    return row;
}

static int read_uniques(struct pj_constraints *constraints, struct pj_postgres *postgres,
                        const struct pj_projection *projection, struct pj_error *error)
{
    struct pj_result *uniques;
    if (query_ours(postgres, projection, uniques_sql, &uniques, error) != 0)
        return -1;
    int row = 0;
    while (row >= 0 && row < pj_result_rows(uniques))
        row = take_index(constraints, projection, uniques, row, error);
    pj_result_free(uniques);
    return row < 0 ? -1 : 0;
}

/* --- all ------------------------------------------------------------------------------------- */

static int read_deferrable(struct pj_constraints *constraints, struct pj_postgres *postgres,
                           struct pj_error *error)
{
    struct pj_result *result;
    if (pj_postgres_query(postgres, "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgdeferrable)", 0,
                          NULL, &result, error) != 0)
        return -1;
    constraints->deferrable = is_true(result, 0, 0);
    pj_result_free(result);
    return 0;
}

int pj_constraints_read(struct pj_constraints *constraints, struct pj_postgres *postgres,
                        const struct pj_projection *projection, struct pj_arena *arena,
                        struct pj_error *error)
{
    *constraints = pj_constraints_none(projection, arena);
    return read_order(constraints, postgres, projection, error) != 0 ||
                   read_uniques(constraints, postgres, projection, error) != 0 ||
                   read_deferrable(constraints, postgres, error) != 0
               ? -1
               : 0;
}
