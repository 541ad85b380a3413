/* SPDX-License-Identifier: Apache-2.0 */
/* Parents: rows that must exist for foreign keys, as placeholders until their projection writes
 * them. */
#include "postgres/sql_text.h"
#include "store/placeholders.h"
#include "store/write_internal.h"

#include <stdlib.h>
#include <string.h>

/* Parents that were no placeholders when last seen, by a hash: a cache that forgets by overwriting.
 * Where that is no longer so, or the hash is another's, the foreign key does not hold, and another
 * try knows of none; or the row is a placeholder by now, which pj_parents_settle finds. */
enum { KNOWN_SLOTS = 1 << 15 };

/* A table that is a parent; several tables may refer to it. */
struct parent {
    const struct pj_table *table;
    /* Of key columns and first_seen; see pj_placeholders_ensure. */
    struct pj_statement ensure, lower;
    struct pj_statement refer, lock, release, raise; /* of key columns */
    struct parent *next;
};

struct pj_parents {
    struct parent *list;
    size_t count;
    uint64_t known[KNOWN_SLOTS];
};

static const struct parent *find(const struct pj_parents *parents, const struct pj_table *table)
{
    const struct parent *parent = parents->list;
    while (parent != NULL && parent->table != table)
        parent = parent->next;
    return parent;
}

/* unnest($1::uuid[], …) AS u("a", …), with pj_seen, where a placeholder has it, and pj_place. */
static char *source_of(const struct pj_table *table, bool seen)
{
    struct pj_builder source = {0};
    uint64_t key = pj_sql_key(table);
    bool timed = seen && table->first_seen != 0;
    pj_builder_add(&source, "unnest(");
    pj_sql_columns(&source, table, key, ", ", "$#::![]");
    if (timed)
        pj_builder_add(&source, ", $%d::timestamptz[]", __builtin_popcountll(key) + 1);
    pj_builder_add(&source, ")%s AS u(", seen ? " WITH ORDINALITY" : "");
    pj_sql_columns(&source, table, key, ", ", "@");
    pj_builder_add(&source, "%s%s)", timed ? ", pj_seen" : "", seen ? ", pj_place" : "");
    return pj_builder_take(&source);
}

static struct pj_statement
make(const struct pj_table *table, size_t index, bool seen, const char *verb,
     void (*add)(struct pj_builder *sql, const struct pj_table *table, const char *source),
     struct pj_arena *arena)
{
    uint32_t *types = pj_arena_alloc(arena, (PJ_PARENT_COLUMNS_MOST + 1) * sizeof *types);
    struct pj_builder sql = {0};
    char *source = source_of(table, seen);
    int count = 0;
    for (size_t c = 0; c < table->column_count && table->columns[c].key; c++)
        types[count++] = pj_binary_array_oid(table->columns[c].type);
    if (seen && table->first_seen != 0)
        types[count++] = PJ_OID_TIMESTAMPTZ_ARRAY;
    add(&sql, table, source);
    char *text = pj_builder_take(&sql);
    struct pj_statement statement = {
        .name = pj_arena_printf(arena, "pj_parent_%s_%zu_%s", verb, index, table->name),
        .sql = pj_arena_string(arena, text, strlen(text)),
        .parameter_count = count,
        .types = types,
    };
    free(source);
    free(text);
    return statement;
}

struct pj_parents *pj_parents_new(const struct pj_projection *projection, struct pj_arena *arena)
{
    struct pj_parents *parents = pj_arena_alloc(arena, sizeof *parents);
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_parent *p = projection->tables[t]->parents;
        for (; p != NULL && p->table != NULL; p++) {
            if (find(parents, p->table) != NULL)
                continue;
            struct parent *parent = pj_arena_alloc(arena, sizeof *parent);
            size_t i = parents->count++;
            parent->table = p->table;
            parent->ensure = make(p->table, i, true, "ensure", pj_placeholders_ensure, arena);
            parent->lock = make(p->table, i, false, "lock", pj_placeholders_lock, arena);
            parent->release = make(p->table, i, false, "release", pj_placeholders_release, arena);
            if (p->table->first_seen != 0) {
                parent->refer = make(p->table, i, false, "refer", pj_placeholders_refer, arena);
                parent->lower = make(p->table, i, true, "lower", pj_placeholders_lower, arena);
                parent->raise = make(p->table, i, false, "raise", pj_placeholders_raise, arena);
            }
            parent->next = parents->list;
            parents->list = parent;
        }
    }
    return parents;
}

void pj_parents_forget(struct pj_parents *parents)
{
    memset(parents->known, 0, sizeof parents->known);
}

/* --- which are known ------------------------------------------------------------------------- */

/* Of the parent's key in a child's row. */
static uint64_t hash_of(const struct pj_parent *parent, const struct pj_value *row)
{
    return pj_distinct_hash(parent->table, parent->columns, row);
}

static uint64_t *slot(struct pj_parents *parents, uint64_t hash)
{
    return &parents->known[(hash >> 32) % KNOWN_SLOTS];
}

static bool refers(const struct pj_parent *parent, const struct pj_value *row)
{
    for (size_t k = 0; k < parent->table->column_count && parent->table->columns[k].key; k++) {
        if (!row[parent->columns[k]].present)
            return false;
    }
    return true;
}

/* The foreign keys of the rows, as a piece; their number. */
static int key_parameters(const struct pass *pass, const struct pj_parent *parent,
                          const struct rows *rows, struct pj_parameter *parameters)
{
    int count = 0;
    struct pj_arena *piece = pj_writer_piece(pass);
    for (size_t k = 0; k < parent->table->column_count && parent->table->columns[k].key; k++)
        parameters[count++] = pj_binary_array(piece, parent->table->columns[k].type, rows->items,
                                              rows->count, (size_t)parent->columns[k]);
    return count;
}

/* The same, with the times of the mentions. */
static void seen_parameters(const struct pass *pass, const struct pj_parent *parent,
                            const struct rows *rows, struct pj_parameter *parameters)
{
    int count = key_parameters(pass, parent, rows, parameters);
    if (parent->table->first_seen != 0)
        parameters[count] = pj_binary_array(pass->writer->piece, PJ_TIMESTAMPTZ, rows->items,
                                            rows->count, (size_t)parent->seen_at);
}

static uint64_t foreign_key(const struct pj_parent *parent)
{
    uint64_t columns = 0;
    for (size_t k = 0; k < parent->table->column_count && parent->table->columns[k].key; k++)
        columns |= 1ULL << parent->columns[k];
    return columns;
}

static uint64_t mention(const struct pj_parent *parent)
{
    return foreign_key(parent) | (parent->table->first_seen != 0 ? 1ULL << parent->seen_at : 0);
}

static const struct pj_parent *parents_of(const struct pass *pass, const struct pj_table *table)
{
    static const struct pj_parent none = {0};
    return pass->writer->parents != NULL && table->parents != NULL ? table->parents : &none;
}

struct rows pj_parents_telling(const struct pass *pass, const struct pj_table *table,
                               const struct pj_row_changes *changes)
{
    uint64_t columns = 0;
    for (const struct pj_parent *p = parents_of(pass, table); p->table != NULL; p++)
        columns |= mention(p);
    struct rows rows = rows_new(pass->arena, columns != 0 ? changes->count : 0);
    for (size_t i = 0; i < changes->count && columns != 0; i++) {
        const struct pj_row_change *change = &changes->items[i];
        if (change->operation == PJ_ROW_INSERT ||
            (change->operation == PJ_ROW_UPDATE && (change->changed & columns) != 0))
            rows.items[rows.count++] = change->values;
    }
    return rows;
}

/* --- making them exist ----------------------------------------------------------------------- */

static bool is_earlier(const struct pj_parent *parent, const struct pj_value *a,
                       const struct pj_value *b)
{
    const struct pj_value *x = &a[parent->seen_at];
    const struct pj_value *y = &b[parent->seen_at];
    return parent->table->first_seen != 0 && x->present && (!y->present || x->integer < y->integer);
}

/* One row for each parent: the one that mentions it first. */
static struct rows first_mentions(const struct pass *pass, const struct pj_parent *parent,
                                  const struct rows *from)
{
    struct distinct *distinct =
        pj_distinct_new(pass->arena, parent->table, parent->columns, from->count);
    for (size_t i = 0; i < from->count; i++) {
        const struct pj_value *row = from->items[i];
        if (!refers(parent, row))
            continue;
        const struct pj_value **there = pj_distinct_add(distinct, row, hash_of(parent, row));
        if (there != NULL && is_earlier(parent, row, *there))
            *there = row;
    }
    return distinct->rows;
}

const struct rows *pj_parents_mentions(const struct pass *pass, const struct pj_table *table,
                                       const struct rows *rows)
{
    const struct pj_parent *parents = parents_of(pass, table);
    size_t count = 0;
    while (parents[count].table != NULL)
        count++;
    struct rows *mentions = pj_arena_alloc(pass->arena, count * sizeof *mentions);
    for (size_t p = 0; p < count; p++)
        mentions[p] = first_mentions(pass, &parents[p], rows);
    return mentions;
}

static int ensure(const struct pass *pass, const struct pj_parent *parent,
                  const struct rows *mentions, struct pj_error *error)
{
    struct pj_parents *parents = pass->writer->parents;
    struct rows wanted = rows_new(pass->arena, mentions->count);
    struct pj_parameter parameters[PJ_PARENT_COLUMNS_MOST + 1];
    struct pj_result *result;
    for (size_t i = 0; i < mentions->count; i++) {
        uint64_t hash = hash_of(parent, mentions->items[i]);
        if (*slot(parents, hash) != hash)
            wanted.items[wanted.count++] = mentions->items[i];
    }
    if (wanted.count == 0)
        return 0;
    seen_parameters(pass, parent, &wanted, parameters);
    if (pj_postgres_run(pass->postgres, &find(parents, parent->table)->ensure, parameters, &result,
                        error) != 0)
        return -1;
    for (int row = 0; row < pj_result_rows(result); row++) {
        if (pj_result_value(result, row, 0, NULL) == NULL) {
            pass->written->placeholders += pj_result_int8(result, row, 1);
            continue;
        }
        size_t place = (size_t)pj_result_int8(result, row, 0) - 1;
        if (place < wanted.count) {
            uint64_t hash = hash_of(parent, wanted.items[place]);
            *slot(parents, hash) = hash;
        }
    }
    pj_result_free(result);
    return 0;
}

int pj_parents_ensure(const struct pass *pass, const struct pj_table *table,
                      const struct rows *mentions, struct pj_error *error)
{
    const struct pj_parent *parents = parents_of(pass, table);
    for (size_t p = 0; parents[p].table != NULL; p++) {
        if (ensure(pass, &parents[p], &mentions[p], error) != 0)
            return -1;
    }
    return 0;
}

static int settle(const struct pass *pass, const struct pj_parent *parent,
                  const struct rows *mentions, bool updated, struct pj_error *error)
{
    const struct parent *found = find(pass->writer->parents, parent->table);
    struct pj_parameter parameters[PJ_PARENT_COLUMNS_MOST + 1];
    if (mentions->count == 0 || parent->table->first_seen == 0)
        return 0;
    seen_parameters(pass, parent, mentions, parameters);
    /* Postgres has not locked the parent of a row that referred to it before. */
    if (updated && pj_postgres_queue(pass->postgres, &found->refer, parameters, error) != 0)
        return -1;
    return pj_postgres_queue(pass->postgres, &found->lower, parameters, error);
}

int pj_parents_settle(const struct pass *pass, const struct pj_table *table,
                      const struct rows *mentions, bool updated, struct pj_error *error)
{
    const struct pj_parent *parents = parents_of(pass, table);
    for (size_t p = 0; parents[p].table != NULL; p++) {
        if (settle(pass, &parents[p], &mentions[p], updated, error) != 0)
            return -1;
    }
    return 0;
}

/* --- letting them go ------------------------------------------------------------------------- */

/* Whether the parent lost a mention by the change, or has a later one only. */
static bool leaves(const struct pj_parent *parent, const struct pj_row_change *change)
{
    return change->operation == PJ_ROW_DELETE ||
           (change->operation == PJ_ROW_UPDATE &&
            ((change->changed & foreign_key(parent)) != 0 ||
             is_earlier(parent, change->before, change->values)));
}

static int release(const struct pass *pass, const struct pj_parent *parent,
                   const struct pj_row_changes *changes, struct pj_error *error)
{
    struct rows left = rows_new(pass->arena, changes->count);
    for (size_t i = 0; i < changes->count; i++) {
        const struct pj_row_change *change = &changes->items[i];
        if (leaves(parent, change) && refers(parent, change->before))
            left.items[left.count++] = change->before;
    }
    if (left.count == 0)
        return 0;
    const struct parent *found = find(pass->writer->parents, parent->table);
    struct pj_parameter parameters[PJ_PARENT_COLUMNS_MOST];
    (void)key_parameters(pass, parent, &left, parameters);
    if (pj_postgres_queue(pass->postgres, &found->lock, parameters, error) != 0 ||
        pj_postgres_queue(pass->postgres, &found->release, parameters, error) != 0)
        return -1;
    return parent->table->first_seen == 0
               ? 0
               : pj_postgres_queue(pass->postgres, &found->raise, parameters, error);
}

int pj_parents_release(const struct pass *pass, const struct pj_table *table,
                       const struct pj_row_changes *changes, struct pj_error *error)
{
    for (const struct pj_parent *parent = parents_of(pass, table); parent->table != NULL;
         parent++) {
        if (release(pass, parent, changes, error) != 0)
            return -1;
    }
    return 0;
}
