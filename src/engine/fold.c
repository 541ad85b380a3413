/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/fold.h"

#include <assert.h>
#include <stdlib.h>

/* What derive emits of one entity, before or after. */
struct emitted_row {
    size_t table;
    struct pj_value *values;
};

/* What entities count for in a rollup, with the sign of before (-1) or after (+1). */
struct piece {
    const struct pj_value *values;
    int sign;
};

struct pieces {
    struct piece *items;
    size_t count;
    size_t capacity;
};

struct pj_derivation {
    struct pj_fold *fold;
    size_t stage;
    struct emitted_row *rows;
    size_t row_count, row_capacity;
    struct pj_change *told;
    size_t told_count, told_capacity;
    int64_t stream_time;
    struct pj_value due;
};

struct pj_observer {
    struct pj_fold *fold;
};

struct pj_fold {
    const struct pj_projection *projection;
    struct pj_arena *arena;
    struct pj_observer observer;
    struct pj_change **changes; /* of all stages, in the order in which they were said */
    size_t change_count, change_capacity;
    struct pj_stage *stages;
    struct pj_row_changes *rows;    /* per table */
    struct pj_appended *appended;   /* per table */
    struct pieces *pieces;          /* per table */
    struct pj_additions *additions; /* per table */
    const int64_t *settings;
    int64_t stream_time;
    struct pj_derivation before, after; /* reused for every entity */
};

/* A bigger array in the arena, where this one is full. */
static void *grown(struct pj_arena *arena, void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    size_t bigger = *capacity != 0 ? *capacity * 2 : 64;
    void *copy = pj_arena_alloc(arena, bigger * size);
    if (count > 0)
        memcpy(copy, items, count * size);
    *capacity = bigger;
    return copy;
}

struct pj_fold *pj_fold_new(const struct pj_projection *projection, const int64_t *settings,
                            struct pj_arena *arena)
{
    struct pj_fold *fold = pj_arena_alloc(arena, sizeof *fold);
    fold->projection = projection;
    fold->arena = arena;
    fold->observer.fold = fold;
    fold->before.fold = fold;
    fold->after.fold = fold;
    fold->settings = settings;
    fold->stream_time = INT64_MIN;
    fold->stages = pj_arena_alloc(arena, projection->entity_count * sizeof *fold->stages);
    fold->rows = pj_arena_alloc(arena, projection->table_count * sizeof *fold->rows);
    fold->appended = pj_arena_alloc(arena, projection->table_count * sizeof *fold->appended);
    fold->pieces = pj_arena_alloc(arena, projection->table_count * sizeof *fold->pieces);
    fold->additions = pj_arena_alloc(arena, projection->table_count * sizeof *fold->additions);
    return fold;
}

static size_t table_index(const struct pj_projection *projection, const struct pj_table *table)
{
    size_t index = 0;
    while (index < projection->table_count && projection->tables[index] != table)
        index++;
    assert(index < projection->table_count && "the table is not in the projection's list");
    return index;
}

/* --- observing ------------------------------------------------------------------------------- */

int pj_fold_observe(struct pj_fold *fold, const struct pj_source *source,
                    const struct pj_event *event, struct pj_error *error)
{
    size_t change_count = fold->change_count;
    size_t tables = fold->projection->table_count;
    size_t appended[64];
    assert(tables <= 64);
    for (size_t t = 0; t < tables; t++)
        appended[t] = fold->appended[t].count;
    if (source->observe(event, &fold->observer, error) == 0)
        return 0;
    fold->change_count = change_count;
    for (size_t t = 0; t < tables; t++)
        fold->appended[t].count = appended[t];
    return -1;
}

static void push_change(struct pj_fold *fold, struct pj_change *change)
{
    fold->changes = grown(fold->arena, fold->changes, fold->change_count, &fold->change_capacity,
                          sizeof(struct pj_change *));
    fold->changes[fold->change_count++] = change;
}

static const struct pj_value *copy_values(struct pj_fold *fold, const struct pj_fact_kind *kind,
                                          const struct pj_value *values)
{
    return pj_arena_copy(fold->arena, values, kind->value_count * sizeof *values);
}

void pj_keep(struct pj_observer *observer, size_t entity, const uint8_t key[16], size_t fact,
             const uint8_t subkey[16], const struct pj_order *order, const struct pj_value *values)
{
    struct pj_fold *fold = observer->fold;
    const struct pj_fact_kind *kind = &fold->projection->entities[entity].facts[fact];
    struct pj_change *change = pj_arena_alloc(fold->arena, sizeof *change);
    change->entity = entity;
    memcpy(change->key, key, 16);
    change->fact.kind = (uint16_t)fact;
    if (subkey != NULL)
        memcpy(change->fact.subkey, subkey, 16);
    change->fact.order = *order;
    change->fact.values = copy_values(fold, kind, values);
    push_change(fold, change);
}

void *pj_observer_alloc(struct pj_observer *observer, size_t size)
{
    return pj_arena_alloc(observer->fold->arena, size);
}

struct pj_value *pj_append(struct pj_observer *observer, const struct pj_table *table)
{
    struct pj_fold *fold = observer->fold;
    struct pj_appended *appended = &fold->appended[table_index(fold->projection, table)];
    assert(table->kind == PJ_APPEND_TABLE);
    appended->rows = grown(fold->arena, appended->rows, appended->count, &appended->capacity,
                           sizeof(struct pj_value *));
    struct pj_value *row = pj_arena_alloc(fold->arena, table->column_count * sizeof *row);
    appended->rows[appended->count++] = row;
    return row;
}

/* --- stages ---------------------------------------------------------------------------------- */

/* By key; changes of one key stay in their order because `said` breaks ties. */
struct keyed {
    struct pj_change *change;
    size_t said;
};

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a;
    const struct keyed *y = b;
    int compared = memcmp(x->change->key, y->change->key, 16);
    return compared != 0 ? compared : (x->said > y->said) - (x->said < y->said);
}

const struct pj_stage *pj_fold_stage(struct pj_fold *fold, size_t stage_index)
{
    struct pj_stage *stage = &fold->stages[stage_index];
    struct keyed *sorted = pj_arena_alloc(fold->arena, fold->change_count * sizeof *sorted);
    size_t count = 0;
    for (size_t i = 0; i < fold->change_count; i++) {
        if (fold->changes[i]->entity == stage_index) {
            sorted[count] = (struct keyed){fold->changes[i], i};
            count++;
        }
    }
    if (count > 1)
        qsort(sorted, count, sizeof *sorted, compare_keyed);
    struct pj_change **changes = pj_arena_alloc(fold->arena, count * sizeof(struct pj_change *));
    stage->touched = pj_arena_alloc(fold->arena, count * sizeof *stage->touched);
    for (size_t i = 0; i < count; i++) {
        changes[i] = sorted[i].change;
        struct pj_touched *last = stage->count > 0 ? &stage->touched[stage->count - 1] : NULL;
        if (last != NULL && memcmp(last->key, changes[i]->key, 16) == 0) {
            last->change_count++;
            continue;
        }
        struct pj_touched *touched = &stage->touched[stage->count++];
        memcpy(touched->key, changes[i]->key, 16);
        touched->changes = &changes[i];
        touched->change_count = 1;
        touched->before.kind = &fold->projection->entities[stage_index];
        memcpy(touched->before.key, touched->key, 16);
    }
    return stage;
}

void pj_fold_set_stream_time(struct pj_fold *fold, int64_t microseconds)
{
    fold->stream_time = microseconds;
}

int64_t pj_fold_stream_time(const struct pj_fold *fold)
{
    return fold->stream_time;
}

void pj_fold_wake(struct pj_fold *fold, size_t entity, const uint8_t key[16])
{
    struct pj_change *change = pj_arena_alloc(fold->arena, sizeof *change);
    change->entity = entity;
    change->wake = true;
    memcpy(change->key, key, 16);
    push_change(fold, change);
}

int pj_fold_load(struct pj_fold *fold, size_t stage_index, const uint8_t key[16], const void *data,
                 size_t length, int64_t derived_at, struct pj_error *error)
{
    struct pj_stage *stage = &fold->stages[stage_index];
    size_t low = 0;
    size_t high = stage->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        struct pj_touched *touched = &stage->touched[middle];
        int compared = memcmp(touched->key, key, 16);
        if (compared == 0) {
            touched->existed = true;
            touched->derived_at = derived_at;
            return pj_facts_decode(&touched->before, data, length, fold->arena, error);
        }
        if (compared < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

/* --- deriving -------------------------------------------------------------------------------- */

void *pj_derivation_alloc(struct pj_derivation *derivation, size_t size)
{
    return pj_arena_alloc(derivation->fold->arena, size);
}

struct pj_value *pj_row(struct pj_derivation *derivation, const struct pj_table *table)
{
    struct pj_fold *fold = derivation->fold;
    assert(table->kind != PJ_APPEND_TABLE);
    derivation->rows = grown(fold->arena, derivation->rows, derivation->row_count,
                             &derivation->row_capacity, sizeof *derivation->rows);
    struct emitted_row *row = &derivation->rows[derivation->row_count++];
    row->table = table_index(fold->projection, table);
    row->values = pj_arena_alloc(fold->arena, table->column_count * sizeof *row->values);
    return row->values;
}

void pj_contribute(struct pj_derivation *derivation, size_t entity, const uint8_t key[16],
                   size_t fact, const uint8_t subkey[16], const struct pj_value *values)
{
    struct pj_fold *fold = derivation->fold;
    assert(entity > derivation->stage && "a stage tells only later ones");
    derivation->told = grown(fold->arena, derivation->told, derivation->told_count,
                             &derivation->told_capacity, sizeof *derivation->told);
    struct pj_change *change = &derivation->told[derivation->told_count++];
    *change = (struct pj_change){.entity = entity, .told = true};
    memcpy(change->key, key, 16);
    change->fact.kind = (uint16_t)fact;
    if (subkey != NULL)
        memcpy(change->fact.subkey, subkey, 16);
    change->fact.values =
        copy_values(fold, &fold->projection->entities[entity].facts[fact], values);
}

void pj_tell(struct pj_derivation *derivation, size_t entity, const uint8_t key[16], size_t fact,
             const uint8_t subkey[16], const struct pj_order *order, const struct pj_value *values)
{
    pj_contribute(derivation, entity, key, fact, subkey, values);
    struct pj_change *change = &derivation->told[derivation->told_count - 1];
    change->told = false;
    change->fact.order = *order;
}

int64_t pj_stream_time(const struct pj_derivation *derivation)
{
    return derivation->stream_time;
}

void pj_due(struct pj_derivation *derivation, int64_t at)
{
    derivation->due = pj_timestamp(at);
}

int64_t pj_setting(const struct pj_derivation *derivation, size_t index)
{
    return derivation->fold->settings[index];
}

static int compare_keys(const struct pj_table *table, const struct pj_value *a,
                        const struct pj_value *b)
{
    int compared = 0;
    for (size_t c = 0; c < table->column_count && table->columns[c].key && compared == 0; c++)
        compared = pj_value_compare(table->columns[c].type, &a[c], &b[c]);
    return compared;
}

static int compare_emitted(const void *a, const void *b, void *context)
{
    const struct emitted_row *x = a;
    const struct emitted_row *y = b;
    const struct pj_projection *projection = context;
    if (x->table != y->table)
        return x->table < y->table ? -1 : 1;
    return compare_keys(projection->tables[x->table], x->values, y->values);
}

static int compare_told(const void *a, const void *b)
{
    const struct pj_change *x = a;
    const struct pj_change *y = b;
    if (x->entity != y->entity)
        return x->entity < y->entity ? -1 : 1;
    int compared = memcmp(x->key, y->key, 16);
    if (compared == 0 && x->fact.kind != y->fact.kind)
        compared = x->fact.kind < y->fact.kind ? -1 : 1;
    return compared != 0 ? compared : memcmp(x->fact.subkey, y->fact.subkey, 16);
}

static void derive(struct pj_derivation *derivation, const struct pj_entity *entity, size_t stage,
                   int64_t stream_time)
{
    derivation->stage = stage;
    derivation->stream_time = stream_time;
    derivation->due = pj_null();
    derivation->row_count = 0;
    derivation->told_count = 0;
    if (entity->count == 0)
        return;
    entity->kind->derive(entity, derivation);
    if (derivation->row_count > 1)
        qsort_r(derivation->rows, derivation->row_count, sizeof *derivation->rows, compare_emitted,
                (void *)derivation->fold->projection);
    if (derivation->told_count > 1)
        qsort(derivation->told, derivation->told_count, sizeof *derivation->told, compare_told);
}

static void push_row(struct pj_fold *fold, size_t table, struct pj_row_change change)
{
    struct pj_row_changes *rows = &fold->rows[table];
    rows->items =
        grown(fold->arena, rows->items, rows->count, &rows->capacity, sizeof *rows->items);
    rows->items[rows->count++] = change;
}

static uint64_t changed_columns(const struct pj_table *table, const struct pj_value *before,
                                const struct pj_value *after)
{
    uint64_t changed = 0;
    for (size_t c = 0; c < table->column_count; c++) {
        const struct pj_column *column = &table->columns[c];
        if (!column->elsewhere && pj_value_compare(column->type, &before[c], &after[c]) != 0)
            changed |= 1ULL << c;
    }
    return changed;
}

static void push_piece(struct pj_fold *fold, const struct emitted_row *row, int sign)
{
    struct pieces *pieces = &fold->pieces[row->table];
    pieces->items =
        grown(fold->arena, pieces->items, pieces->count, &pieces->capacity, sizeof *pieces->items);
    pieces->items[pieces->count++] = (struct piece){row->values, sign};
}

static bool is_rollup(const struct pj_fold *fold, const struct emitted_row *row)
{
    return fold->projection->tables[row->table]->kind == PJ_ROLLUP_TABLE;
}

static void row_gone(struct pj_fold *fold, const struct emitted_row *row)
{
    if (is_rollup(fold, row))
        push_piece(fold, row, -1);
    else
        push_row(fold, row->table,
                 (struct pj_row_change){PJ_ROW_DELETE, 0, row->values, row->values});
}

static void row_come(struct pj_fold *fold, const struct emitted_row *row)
{
    if (is_rollup(fold, row))
        push_piece(fold, row, 1);
    else
        push_row(fold, row->table, (struct pj_row_change){PJ_ROW_INSERT, 0, NULL, row->values});
}

static void row_stayed(struct pj_fold *fold, const struct emitted_row *before,
                       const struct emitted_row *after)
{
    uint64_t changed =
        changed_columns(fold->projection->tables[after->table], before->values, after->values);
    if (changed == 0)
        return;
    if (is_rollup(fold, after)) {
        push_piece(fold, before, -1);
        push_piece(fold, after, 1);
    } else {
        push_row(fold, after->table,
                 (struct pj_row_change){PJ_ROW_UPDATE, changed, before->values, after->values});
    }
}

/* Merges two sorted lists: what is only in the old one goes, what is only in the new one comes. */
static void diff_rows(struct pj_fold *fold)
{
    const struct pj_derivation *before = &fold->before;
    const struct pj_derivation *after = &fold->after;
    size_t b = 0;
    size_t a = 0;
    while (b < before->row_count || a < after->row_count) {
        int compared;
        if (b == before->row_count)
            compared = 1;
        else if (a == after->row_count)
            compared = -1;
        else
            compared = compare_emitted(&before->rows[b], &after->rows[a], (void *)fold->projection);
        if (compared < 0)
            row_gone(fold, &before->rows[b++]);
        else if (compared > 0)
            row_come(fold, &after->rows[a++]);
        else
            row_stayed(fold, &before->rows[b++], &after->rows[a++]);
    }
}

static bool same_fact(const struct pj_fact_kind *kind, const struct pj_fact *a,
                      const struct pj_fact *b)
{
    if (memcmp(&a->order, &b->order, sizeof a->order) != 0)
        return false;
    for (size_t v = 0; v < kind->value_count; v++) {
        if (pj_value_compare(kind->types[v], &a->values[v], &b->values[v]) != 0)
            return false;
    }
    return true;
}

static void push_told(struct pj_fold *fold, const struct pj_change *told, bool removed)
{
    struct pj_change *change = pj_arena_copy(fold->arena, told, sizeof *told);
    change->removed = removed;
    push_change(fold, change);
}

static void diff_told(struct pj_fold *fold)
{
    const struct pj_derivation *before = &fold->before;
    const struct pj_derivation *after = &fold->after;
    size_t b = 0;
    size_t a = 0;
    while (b < before->told_count || a < after->told_count) {
        int compared;
        if (b == before->told_count)
            compared = 1;
        else if (a == after->told_count)
            compared = -1;
        else
            compared = compare_told(&before->told[b], &after->told[a]);
        if (compared < 0) {
            if (before->told[b].told)
                push_told(fold, &before->told[b], true);
            b++;
            continue;
        }
        const struct pj_change *told = &after->told[a++];
        const struct pj_fact_kind *kind =
            &fold->projection->entities[told->entity].facts[told->fact.kind];
        if (compared > 0 || !same_fact(kind, &before->told[b].fact, &told->fact))
            push_told(fold, told, false);
        if (compared == 0)
            b++;
    }
}

void pj_fold_merge(struct pj_fold *fold, size_t stage_index)
{
    struct pj_stage *stage = &fold->stages[stage_index];
    for (size_t i = 0; i < stage->count; i++) {
        struct pj_touched *touched = &stage->touched[i];
        touched->after = pj_facts_copy(&touched->before, fold->arena);
        for (size_t c = 0; c < touched->change_count; c++) {
            if (pj_facts_apply(&touched->after, touched->changes[c], fold->arena))
                touched->changed = true;
        }
        if (!touched->changed)
            continue;
        pj_facts_encode(&touched->after, fold->arena, &touched->stored, &touched->stored_length);
        derive(&fold->before, &touched->before, stage_index, touched->derived_at);
        derive(&fold->after, &touched->after, stage_index, fold->stream_time);
        touched->due = fold->after.due;
        diff_rows(fold);
        diff_told(fold);
    }
}

void pj_fold_merge_whole(struct pj_fold *fold, size_t stage_index)
{
    struct pj_stage *stage = &fold->stages[stage_index];
    for (size_t i = 0; i < stage->count; i++) {
        fold->before.row_count = 0;
        fold->before.told_count = 0;
        derive(&fold->after, &stage->touched[i].before, stage_index, fold->stream_time);
        fold->after.told_count = 0;
        diff_rows(fold);
    }
}

/* --- finishing ------------------------------------------------------------------------------- */

static int compare_changes(const void *a, const void *b, void *context)
{
    const struct pj_row_change *x = a;
    const struct pj_row_change *y = b;
    return compare_keys(context, x->values, y->values);
}

static struct pj_row_change *find_change(const struct pj_table *table, struct pj_row_changes *rows,
                                         const struct pj_value *key)
{
    size_t low = 0;
    size_t high = rows->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int compared = compare_keys(table, rows->items[middle].values, key);
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
    while (index < table->column_count && strcmp(table->columns[index].name, name) != 0)
        index++;
    assert(index < table->column_count && "a part names a column that its table has not");
    return index;
}

/* A part's columns of a row that is new in this batch travel with that row's INSERT; a row that
 * goes takes its parts along. What is left in the part's list is written by an UPDATE of its own.
 */
static void settle_part(struct pj_fold *fold, size_t part_index)
{
    const struct pj_table *part = fold->projection->tables[part_index];
    const struct pj_table *whole = part->part_of;
    struct pj_row_changes *parts = &fold->rows[part_index];
    struct pj_row_changes *wholes = &fold->rows[table_index(fold->projection, whole)];
    size_t kept = 0;
    for (size_t i = 0; i < parts->count; i++) {
        struct pj_row_change *change = &parts->items[i];
        struct pj_row_change *row = find_change(whole, wholes, change->values);
        if (row != NULL && row->operation == PJ_ROW_INSERT && change->operation == PJ_ROW_INSERT) {
            for (size_t c = 0; c < part->column_count; c++)
                row->values[column_index(whole, part->columns[c].name)] = change->values[c];
        } else if (row == NULL || row->operation != PJ_ROW_DELETE) {
            parts->items[kept++] = *change;
        }
    }
    parts->count = kept;
}

/* A row that one entity gives up and another takes over in the same batch is one update, or none
 * where it stays as it is: an update of no column is no SQL. */
static void join_moves(const struct pj_table *table, struct pj_row_changes *rows)
{
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++) {
        struct pj_row_change *change = &rows->items[i];
        struct pj_row_change *last = kept > 0 ? &rows->items[kept - 1] : NULL;
        if (last == NULL || compare_keys(table, last->values, change->values) != 0) {
            rows->items[kept++] = *change;
            continue;
        }
        const struct pj_value *before = last->before != NULL ? last->before : change->before;
        struct pj_value *values = last->operation == PJ_ROW_DELETE ? change->values : last->values;
        uint64_t changed = before != NULL ? changed_columns(table, before, values) : 0;
        *last = (struct pj_row_change){PJ_ROW_UPDATE, changed, before, values};
        if (changed == 0)
            kept--;
    }
    rows->count = kept;
}

/* --- rollups --------------------------------------------------------------------------------- */

static int compare_pieces(const void *a, const void *b, void *context)
{
    return compare_keys(context, ((const struct piece *)a)->values,
                        ((const struct piece *)b)->values);
}

static void add_counts(struct pj_fold *fold, struct pj_value *sum, const struct pj_value *value,
                       int sign)
{
    int64_t *counts = pj_arena_alloc(fold->arena, value->text.length);
    if (sum->present)
        memcpy(counts, sum->text.data, value->text.length);
    for (size_t i = 0; i < value->text.length / sizeof *counts; i++) {
        int64_t count;
        memcpy(&count, value->text.data + i * sizeof count, sizeof count);
        counts[i] += sign * count;
    }
    sum->present = true;
    sum->text.data = (const char *)counts;
    sum->text.length = value->text.length;
}

static void add_piece(struct pj_fold *fold, const struct pj_column *column, struct pj_value *sum,
                      const struct pj_value *value, int sign)
{
    int compared;
    if (!value->present)
        return;
    switch (column->measure) {
    case PJ_NOT_A_MEASURE:
        return;
    case PJ_SUM:
        if (column->type == PJ_COUNTS) {
            add_counts(fold, sum, value, sign);
            return;
        }
        sum->integer = (sum->present ? sum->integer : 0) + sign * value->integer;
        sum->present = true;
        return;
    case PJ_MIN:
    case PJ_MAX:
        compared = sum->present ? pj_value_compare(column->type, value, sum) : 0;
        if (sign > 0 &&
            (!sum->present || (column->measure == PJ_MIN ? compared < 0 : compared > 0)))
            *sum = *value;
        return;
    }
}

/* The pieces of a bucket become one addition. */
static void add_up(struct pj_fold *fold, size_t index)
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
        if (last == NULL || compare_keys(table, last->values, piece->values) != 0) {
            last = &additions->items[additions->count++];
            last->values = pj_arena_alloc(fold->arena, table->column_count * sizeof *last->values);
            for (size_t c = 0; c < table->column_count && table->columns[c].key; c++)
                last->values[c] = piece->values[c];
        }
        last->taken_back = last->taken_back || piece->sign < 0;
        for (size_t c = 0; c < table->column_count; c++)
            add_piece(fold, &table->columns[c], &last->values[c], &piece->values[c], piece->sign);
    }
}

const struct pj_additions *pj_fold_additions(const struct pj_fold *fold, size_t table)
{
    return &fold->additions[table];
}

void pj_fold_finish(struct pj_fold *fold)
{
    const struct pj_projection *projection = fold->projection;
    for (size_t t = 0; t < projection->table_count; t++) {
        struct pj_row_changes *rows = &fold->rows[t];
        if (rows->count > 1)
            qsort_r(rows->items, rows->count, sizeof *rows->items, compare_changes,
                    (void *)projection->tables[t]);
        join_moves(projection->tables[t], rows);
        add_up(fold, t);
    }
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t]->part_of != NULL)
            settle_part(fold, t);
    }
}

const struct pj_row_changes *pj_fold_rows(const struct pj_fold *fold, size_t table)
{
    return &fold->rows[table];
}

const struct pj_appended *pj_fold_appended(const struct pj_fold *fold, size_t table)
{
    return &fold->appended[table];
}
