/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sentences.h"
#include "fold/fold_internal.h"
#include "fold/numeric.h"

#include <stdlib.h>

/* --- finishing ------------------------------------------------------------------------------- */

static int compare_changes(const void *a, const void *b, void *context)
{
    const struct pj_row_change *x = a;
    const struct pj_row_change *y = b;
    return pj_row_key_compare(context, x->values, y->values);
}

/* They often come so: entities are sorted, and the key of a row is mostly that of its entity. */
static bool is_sorted(const struct pj_row_changes *rows, const struct pj_table *table)
{
    size_t i = 1;
    while (i < rows->count &&
           pj_row_key_compare(table, rows->items[i - 1].values, rows->items[i].values) <= 0)
        i++;
    return i >= rows->count;
}

static struct pj_row_change *find_change(const struct pj_table *table, struct pj_row_changes *rows,
                                         const struct pj_value *key)
{
    size_t low = 0;
    size_t high = rows->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int compared = pj_row_key_compare(table, rows->items[middle].values, key);
        if (compared == 0)
            return &rows->items[middle];
        if (compared < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static size_t column_index(const struct pj_table *table, const char *name)
{
    size_t index = 0;
    while (strcmp(table->columns[index].name, name) != 0) /* the declaration says it is there */
        index++;
    return index;
}

/* A part's columns of a new row go into that row's INSERT; those of a deleted row are cleared
 * first, so that other rows can take unique values. The rest becomes UPDATEs of its own. */
static void merge_part(struct pj_fold *fold, size_t part_index)
{
    const struct pj_table *part = fold->projection->tables[part_index];
    const struct pj_table *whole = part->part_of;
    struct pj_row_changes *parts = &fold->rows[part_index];
    struct pj_row_changes *wholes = &fold->rows[pj_fold_table_index(fold->projection, whole)];
    size_t kept = 0;
    for (size_t i = 0; i < parts->count; i++) {
        struct pj_row_change *change = &parts->items[i];
        struct pj_row_change *row = find_change(whole, wholes, change->values);
        if (row != NULL && row->operation == PJ_ROW_INSERT && change->operation == PJ_ROW_INSERT) {
            for (size_t c = 0; c < part->column_count; c++) {
                if (!part->columns[c].key)
                    row->values[column_index(whole, part->columns[c].name)] = change->values[c];
            }
        } else if (row == NULL || row->operation != PJ_ROW_DELETE) {
            parts->items[kept++] = *change;
        } else if (change->operation != PJ_ROW_INSERT) {
            change->operation = PJ_ROW_DELETE;
            parts->items[kept++] = *change;
        }
    }
    parts->count = kept;
}

/* A row that one entity drops and another makes in the same batch is one update, or none if nothing
 * changed. A row that two entities make at once is refused. */
static int join_moves(struct pj_fold *fold, const struct pj_table *table,
                      struct pj_row_changes *rows, struct pj_error *error)
{
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        struct pj_row_change *change = &rows->items[i];
        struct pj_row_change *last = kept > 0 ? &rows->items[kept - 1] : NULL;
        if (last == NULL || pj_row_key_compare(table, last->values, change->values) != 0) {
            rows->items[kept++] = *change;
            continue;
        }
        if (last->operation != PJ_ROW_DELETE && change->operation != PJ_ROW_DELETE)
            return pj_error_set(error, PJ_POISON, PJ_ROW_TAKEN,
                                pj_row_key_name(fold->arena, table, change->values));
        if (last->operation == PJ_ROW_DELETE && change->operation == PJ_ROW_DELETE)
            continue;
        const struct pj_value *before = last->before != NULL ? last->before : change->before;
        struct pj_value *values = last->operation == PJ_ROW_DELETE ? change->values : last->values;
        uint64_t changed = before != NULL ? pj_fold_changed_columns(table, before, values) : 0;
        *last = (struct pj_row_change){PJ_ROW_UPDATE, changed, before, values};
        if (changed == 0)
            kept--;
    }
    rows->count = kept;
    return 0;
}

/* --- rollups --------------------------------------------------------------------------------- */

static int compare_pieces(const void *a, const void *b, void *context)
{
    return pj_row_key_compare(context, ((const struct piece *)a)->values,
                              ((const struct piece *)b)->values);
}

/* False on overflow. */
static bool add_integer(int64_t *sum, int64_t value, int sign)
{
    return sign < 0 ? !__builtin_sub_overflow(*sum, value, sum)
                    : !__builtin_add_overflow(*sum, value, sum);
}

/* One may have more elements than the other. */
static bool add_counts(struct pj_fold *fold, struct pj_value *sum, const struct pj_value *value,
                       int sign)
{
    size_t length = value->text.length;
    bool fits = true;
    if (sum->present && sum->text.length > length)
        length = sum->text.length;
    int64_t *counts = pj_arena_alloc(fold->arena, length);
    if (sum->present && sum->text.length > 0)
        memcpy(counts, sum->text.data, sum->text.length);
    for (size_t i = 0; i < value->text.length / sizeof *counts; i++) {
        int64_t count;
        memcpy(&count, value->text.data + i * sizeof count, sizeof count);
        fits = add_integer(&counts[i], count, sign) && fits;
    }
    *sum = pj_text_of(counts, length);
    return fits;
}

static bool add_piece(struct pj_fold *fold, const struct pj_column *column, struct pj_value *sum,
                      const struct pj_value *value, int sign)
{
    int compared;
    if (!value->present)
        return true;
    switch (column->measure) {
    case PJ_NOT_A_MEASURE:
        return true;
    case PJ_SUM:
        if (column->type == PJ_COUNTS)
            return add_counts(fold, sum, value, sign);
        if (column->type == PJ_NUMERIC) {
            const struct pj_value zero = pj_text("0");
            return pj_numeric_add(sum->present ? sum : &zero, value, sign, fold->arena, sum);
        }
        if (!sum->present)
            *sum = pj_bigint(0);
        return add_integer(&sum->integer, value->integer, sign);
    case PJ_MIN:
    case PJ_MAX:
        compared = sum->present ? pj_column_compare(column->type, value, sum) : 0;
        if (sign > 0 &&
            (!sum->present || (column->measure == PJ_MIN ? compared < 0 : compared > 0)))
            *sum = *value;
        return true;
    }
    return true;
}

/* The pieces of a bucket become one addition. */
static int add_up(struct pj_fold *fold, size_t index, struct pj_error *error)
{
    const struct pj_table *table = fold->projection->tables[index];
    struct pieces *pieces = &fold->pieces[index];
    struct pj_additions *additions = &fold->additions[index];
    if (pieces->count > 1)
        qsort_r(pieces->items, pieces->count, sizeof *pieces->items, compare_pieces, (void *)table);
    additions->items = pj_arena_alloc(fold->arena, pieces->count * sizeof *additions->items);
    for (size_t i = 0; i < pieces->count; i++) {
        const struct piece *piece = &pieces->items[i];
        struct pj_addition *last =
            additions->count > 0 ? &additions->items[additions->count - 1] : NULL;
        if (last == NULL || pj_row_key_compare(table, last->values, piece->values) != 0) {
            last = &additions->items[additions->count++];
            last->values = pj_arena_alloc(fold->arena, table->column_count * sizeof *last->values);
            for (size_t c = 0; c < table->column_count && table->columns[c].key; c++)
                last->values[c] = piece->values[c];
        }
        last->left = last->left || piece->leaves;
        last->extreme = last->extreme || piece->extreme;
        for (size_t c = 0; c < table->column_count; c++) {
            if (!add_piece(fold, &table->columns[c], &last->values[c], &piece->values[c],
                           piece->sign))
                return pj_error_set(
                    error, PJ_POISON, "what is added to the column %s of %s does not fit %s",
                    table->columns[c].name, table->name,
                    table->columns[c].type == PJ_NUMERIC ? "1,000 digits" : "64 bits");
        }
    }
    return 0;
}

const struct pj_additions *pj_fold_additions(const struct pj_fold *fold, size_t table)
{
    return &fold->additions[table];
}

int pj_fold_finish(struct pj_fold *fold, struct pj_error *error)
{
    const struct pj_projection *projection = fold->projection;
    for (size_t t = 0; t < projection->table_count; t++) {
        struct pj_row_changes *rows = &fold->rows[t];
        if (!is_sorted(rows, projection->tables[t]))
            qsort_r(rows->items, rows->count, sizeof *rows->items, compare_changes,
                    (void *)projection->tables[t]);
        if (join_moves(fold, projection->tables[t], rows, error) != 0 ||
            add_up(fold, t, error) != 0)
            return -1;
    }
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t]->part_of != NULL)
            merge_part(fold, t);
    }
    return 0;
}

const struct pj_row_changes *pj_fold_rows(const struct pj_fold *fold, size_t table)
{
    return &fold->rows[table];
}

const struct pj_appended *pj_fold_appended(const struct pj_fold *fold, size_t table)
{
    return &fold->appended[table];
}
