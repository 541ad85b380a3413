/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/fold_internal.h"

#include <stdlib.h>
#include <uuid/uuid.h>

/* --- deriving -------------------------------------------------------------------------------- */

void *pj_derivation_alloc(struct pj_derivation *derivation, size_t size)
{
    return pj_arena_alloc(derivation->fold->arena, size);
}

const void *pj_derivation_context(const struct pj_derivation *derivation)
{
    return derivation->fold->projection->context;
}

static const struct pj_entity_kind *kind_of(const struct pj_derivation *derivation)
{
    return &derivation->fold->projection->entities[derivation->stage];
}

struct pj_value *pj_fold_row(struct pj_derivation *derivation, const struct pj_table *table)
{
    struct pj_fold *fold = derivation->fold;
    size_t index = pj_fold_table_index(fold->projection, table);
    derivation->rows = pj_fold_grown(fold->arena, derivation->rows, derivation->row_count,
                                     &derivation->row_capacity, sizeof *derivation->rows);
    struct emitted_row *row = &derivation->rows[derivation->row_count++];
    row->table = index;
    row->values = pj_arena_alloc(fold->arena, table->column_count * sizeof *row->values);
    return row->values;
}

struct pj_value *pj_row(struct pj_derivation *derivation, const struct pj_table *table)
{
    struct pj_fold *fold = derivation->fold;
    bool listed = pj_fold_table_index(fold->projection, table) < fold->projection->table_count;
    if (listed && table->kind != PJ_APPEND_TABLE && table->claimed == NULL)
        return pj_fold_row(derivation, table);
    pj_fold_mistake(fold, "derive of the entity kind %s makes a row of %s, which is %s",
                    kind_of(derivation)->name, table->name,
                    table->kind == PJ_APPEND_TABLE
                        ? "an append table: its rows come from observe, by pj_append"
                    : !listed ? "not among its tables: list it there"
                              : "`claimed`: its rows come from pj_claim");
    return pj_arena_alloc(fold->arena, table->column_count * sizeof(struct pj_value));
}

struct pj_change *pj_fold_contribution(struct pj_derivation *derivation)
{
    derivation->contributions = pj_fold_grown(
        derivation->fold->arena, derivation->contributions, derivation->contribution_count,
        &derivation->contribution_capacity, sizeof *derivation->contributions);
    struct pj_change *change = &derivation->contributions[derivation->contribution_count];
    *change = (struct pj_change){.by = derivation->fact,
                                 .said = (uint32_t)derivation->contribution_count++};
    return change;
}

/* What an entity contributes to one of a later kind; NULL on a mistake. */
static struct pj_change *contribute(struct pj_derivation *derivation, const char *who,
                                    size_t entity, const uint8_t key[16], size_t fact,
                                    const uint8_t subkey[16], const struct pj_value *values)
{
    struct pj_fold *fold = derivation->fold;
    struct pj_change change;
    if (!pj_fold_change(fold, who, entity, key, fact, subkey, values, fold->passing, &change))
        return NULL;
    const struct pj_entity_kind *to = &fold->projection->entities[entity];
    if (to->facts[fact].recursive &&
        (entity != derivation->stage || strcmp(who, "pj_contribute") != 0))
        pj_fold_mistake(fold,
                        "derive of the entity kind %s gives the fact \"%s\" of %s by %s, which "
                        "is `recursive`: it comes from pj_contribute of its own kind alone",
                        kind_of(derivation)->name, to->facts[fact].name, to->name, who);
    if (entity < derivation->stage || (entity == derivation->stage && to->depth_most == 0)) {
        pj_fold_mistake(
            fold,
            "derive of the entity kind %s contributes to the kind %s, which is %s: an entity "
            "contributes only to kinds listed after its own, or with depth_most to its own",
            kind_of(derivation)->name, to->name,
            entity == derivation->stage ? "its own" : "an earlier one");
        return NULL;
    }
    struct pj_change *given = pj_fold_contribution(derivation);
    change.by = given->by;
    change.said = given->said;
    *given = change;
    return given;
}

void pj_contribute(struct pj_derivation *derivation, size_t entity, const uint8_t key[16],
                   size_t fact, const uint8_t subkey[16], const struct pj_value *values)
{
    struct pj_change *change =
        contribute(derivation, "pj_contribute", entity, key, fact, subkey, values);
    if (change == NULL)
        return;
    const struct pj_entity_kind *to = &derivation->fold->projection->entities[entity];
    if (to->facts[fact].absorbs)
        pj_fold_mistake(derivation->fold,
                        "derive of the entity kind %s contributes the fact \"%s\" of %s, which "
                        "`absorbs` and cannot be withdrawn: use pj_tell, or pj_keep in observe",
                        kind_of(derivation)->name, to->facts[fact].name, to->name);
    change->replaces = true;
}

void pj_contribute_named(struct pj_derivation *derivation, size_t entity,
                         const struct pj_value *name, size_t fact, const uint8_t subkey[16],
                         const struct pj_value *values)
{
    uint8_t key[16];
    size_t name_fact;
    if (!pj_fold_name(derivation->fold, "pj_contribute_named", entity, name, &name_fact, key))
        return;
    pj_contribute(derivation, entity, key, name_fact, subkey, name);
    if (fact != name_fact)
        pj_contribute(derivation, entity, key, fact, subkey, values);
}

void pj_tell(struct pj_derivation *derivation, size_t entity, const uint8_t key[16], size_t fact,
             const uint8_t subkey[16], const struct pj_order *order, const struct pj_value *values)
{
    struct pj_change *change = contribute(derivation, "pj_tell", entity, key, fact, subkey, values);
    if (change == NULL)
        return;
    if (order == NULL)
        pj_fold_mistake(derivation->fold,
                        "derive of the entity kind %s gives pj_tell no order: give one, or use "
                        "pj_contribute",
                        kind_of(derivation)->name);
    else
        change->fact.order = *order;
}

void pj_tell_named(struct pj_derivation *derivation, size_t entity, const struct pj_value *name,
                   size_t fact, const uint8_t subkey[16], const struct pj_order *order,
                   const struct pj_value *values)
{
    static const struct pj_order none;
    uint8_t key[16];
    size_t name_fact;
    if (!pj_fold_name(derivation->fold, "pj_tell_named", entity, name, &name_fact, key))
        return;
    pj_tell(derivation, entity, key, name_fact, NULL, &none, name);
    if (fact != name_fact)
        pj_tell(derivation, entity, key, fact, subkey, order, values);
}

static void check_timed(const struct pj_derivation *derivation, const char *what)
{
    if (derivation->fact != NULL)
        pj_fold_mistake(derivation->fold,
                        "derive of a wide fact of the entity kind %s calls %s: only that of the "
                        "entity may",
                        kind_of(derivation)->name, what);
    else if (!kind_of(derivation)->timed)
        pj_fold_mistake(derivation->fold,
                        "derive of the entity kind %s calls %s, but the kind is not .timed: "
                        "declare it so",
                        kind_of(derivation)->name, what);
}

int64_t pj_stream_time(const struct pj_derivation *derivation)
{
    check_timed(derivation, "pj_stream_time");
    return derivation->stream_time;
}

void pj_due(struct pj_derivation *derivation, int64_t at)
{
    check_timed(derivation, "pj_due");
    derivation->due = pj_timestamp(at);
}

/* Zeros on a mistake. */
static union pj_setting_value setting(const struct pj_derivation *derivation, size_t index,
                                      enum pj_setting_type type)
{
    static const char *const names[] = {"duration", "integer", "text", "boolean"};
    struct pj_fold *fold = derivation->fold;
    const struct pj_setting *settings = fold->projection->settings;
    size_t count = 0;
    while (settings != NULL && settings[count].name != NULL)
        count++;
    if (index >= count || fold->settings == NULL)
        pj_fold_mistake(fold,
                        "derive of the entity kind %s asks for the setting %zu, and there are "
                        "%zu: give an index of its settings",
                        kind_of(derivation)->name, index, count);
    else if (settings[index].type != type)
        pj_fold_mistake(fold,
                        "derive of the entity kind %s asks for the setting %s by "
                        "pj_setting_%s, and it is of another type: use pj_setting_%s",
                        kind_of(derivation)->name, settings[index].name, names[type],
                        names[settings[index].type]);
    else
        return fold->settings[index];
    return (union pj_setting_value){0};
}

int64_t pj_setting_duration(const struct pj_derivation *derivation, size_t index)
{
    return setting(derivation, index, PJ_SETTING_DURATION).ms;
}

int64_t pj_setting_integer(const struct pj_derivation *derivation, size_t index)
{
    return setting(derivation, index, PJ_SETTING_INTEGER).integer;
}

const char *pj_setting_text(const struct pj_derivation *derivation, size_t index)
{
    const char *text = setting(derivation, index, PJ_SETTING_TEXT).text;
    return text != NULL ? text : "";
}

bool pj_setting_boolean(const struct pj_derivation *derivation, size_t index)
{
    return setting(derivation, index, PJ_SETTING_BOOLEAN).boolean;
}

static int compare_emitted(const void *a, const void *b, void *context)
{
    const struct emitted_row *x = a;
    const struct emitted_row *y = b;
    const struct pj_projection *projection = context;
    if (x->table != y->table)
        return x->table < y->table ? -1 : 1;
    return pj_row_key_compare(projection->tables[x->table], x->values, y->values);
}

static int compare_place(const void *a, const void *b)
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

static int compare_contributions(const void *a, const void *b)
{
    const struct pj_change *x = a;
    const struct pj_change *y = b;
    int compared = compare_place(a, b);
    return compared != 0 ? compared : (x->said > y->said) - (x->said < y->said);
}

/* A later contribution of one entity replaces its earlier one in the same place; a row may be
 * claimed once. */
static void keep_last_contributions(struct pj_derivation *derivation)
{
    const struct pj_projection *projection = derivation->fold->projection;
    size_t kept = 0;
    for (size_t i = 0; i < derivation->contribution_count; i++) {
        const struct pj_change *given = &derivation->contributions[i];
        const struct pj_change *last = kept > 0 ? &derivation->contributions[kept - 1] : NULL;
        if (last != NULL && last->replaces && given->replaces && compare_place(last, given) == 0) {
            const struct pj_table *table =
                pj_claims_table(projection, &projection->entities[given->entity]);
            if (table != NULL)
                derivation->twice = (struct emitted_row){pj_fold_table_index(projection, table),
                                                         (struct pj_value *)given->fact.values};
            kept--;
        }
        derivation->contributions[kept++] = *given;
    }
    derivation->contribution_count = kept;
}

/* Before anything looks into the values that derive made. */
static int check_derived(const struct pj_derivation *derivation, struct pj_error *error)
{
    const struct pj_fold *fold = derivation->fold;
    if (pj_fold_check_mistake(fold, error) != 0)
        return -1;
    for (size_t r = 0; r < derivation->row_count; r++) {
        const struct emitted_row *row = &derivation->rows[r];
        if (pj_fold_check_row(fold->projection->tables[row->table], row->values, error) != 0)
            return -1;
    }
    for (size_t t = 0; t < derivation->contribution_count; t++) {
        const struct pj_change *given = &derivation->contributions[t];
        if (pj_fold_check_fact(fold, given->entity, &given->fact, error) != 0)
            return -1;
    }
    return 0;
}

/* What would go further than it may goes without its values: on a ring its depth grows until
 * it is, whatever the values were, and stays so. */
static void set_depths(struct pj_derivation *derivation, const struct pj_entity *entity)
{
    for (size_t i = 0; i < derivation->contribution_count; i++) {
        struct pj_change *given = &derivation->contributions[i];
        const struct pj_fact_kind *kind = &entity->kind->facts[given->fact.kind];
        if (given->entity != derivation->stage || !kind->recursive)
            continue;
        int64_t depth = pj_facts_depth(entity, given->fact.kind);
        bool deep = depth >= entity->kind->depth_most;
        given->fact.order.rank[0] = deep ? entity->kind->depth_most + 1 : depth + 1;
        if (deep)
            given->fact.values = pj_arena_alloc(derivation->fold->passing,
                                                kind->value_count * sizeof *given->fact.values);
    }
}

/* The entity's derive, where `seen`, and those of its wide facts. */
static void call_derive(struct pj_derivation *derivation, const struct pj_entity *entity, bool seen)
{
    const struct pj_entity_kind *kind = entity->kind;
    struct pj_entity shown = *entity;
    bool any = false;
    for (size_t i = 0; i < entity->count && !any; i++)
        any = kind->facts[entity->facts[i].kind].derive == NULL;
    if (seen && any)
        kind->derive(entity, derivation);
    shown.shown_only = true;
    for (size_t i = 0; i < entity->count; i++) {
        derivation->fact = &entity->facts[i];
        if (kind->facts[derivation->fact->kind].derive != NULL)
            kind->facts[derivation->fact->kind].derive(&shown, derivation->fact, derivation);
    }
    derivation->fact = NULL;
}

static int derive(struct pj_derivation *derivation, const struct pj_entity *entity, size_t stage,
                  int64_t stream_time, bool seen, struct pj_error *error)
{
    derivation->stage = stage;
    derivation->stream_time = stream_time;
    derivation->due = pj_null();
    derivation->row_count = 0;
    derivation->contribution_count = 0;
    derivation->twice.values = NULL;
    call_derive(derivation, entity, seen);
    if (check_derived(derivation, error) != 0)
        return -1;
    pj_claims_complete(derivation, entity);
    set_depths(derivation, entity);
    if (derivation->row_count > 1)
        qsort_r(derivation->rows, derivation->row_count, sizeof *derivation->rows, compare_emitted,
                (void *)derivation->fold->projection);
    if (derivation->contribution_count > 1)
        qsort(derivation->contributions, derivation->contribution_count,
              sizeof *derivation->contributions, compare_contributions);
    keep_last_contributions(derivation);
    return 0;
}

static bool same_row(const struct pj_derivation *derivation, size_t a, size_t b)
{
    return compare_emitted(&derivation->rows[a], &derivation->rows[b],
                           (void *)derivation->fold->projection) == 0;
}

/* The first duplicate row, or row_count. (A rollup's share may come in several rows.) */
static size_t find_twice(const struct pj_derivation *derivation)
{
    const struct pj_table *const *tables = derivation->fold->projection->tables;
    for (size_t i = 1; i < derivation->row_count; i++) {
        if (tables[derivation->rows[i].table]->kind == PJ_ENTITY_TABLE &&
            same_row(derivation, i - 1, i))
            return i - 1;
    }
    return derivation->row_count;
}

/* Duplicates that stored facts make were never written. */
static void drop_twice(struct pj_derivation *derivation)
{
    size_t first;
    while ((first = find_twice(derivation)) < derivation->row_count) {
        size_t end = first + 1;
        while (end < derivation->row_count && same_row(derivation, first, end))
            end++;
        memmove(&derivation->rows[first], &derivation->rows[end],
                (derivation->row_count - end) * sizeof *derivation->rows);
        derivation->row_count -= end - first;
    }
}

static int refuse_twice(const struct pj_derivation *derivation, const struct pj_touched *touched,
                        struct pj_error *error)
{
    struct pj_fold *fold = derivation->fold;
    size_t twice = find_twice(derivation);
    const struct emitted_row *row = &derivation->twice;
    if (twice < derivation->row_count)
        row = &derivation->rows[twice];
    if (row->values == NULL)
        return 0;
    char key[37];
    uuid_unparse_lower(touched->key, key);
    return pj_error_set(
        error, touched->observed ? PJ_POISON : PJ_FATAL,
        "the %s %s makes the row of %s twice; publish a corrected event, or let derive make one "
        "of the two",
        touched->before.kind->name, key,
        pj_row_key_name(fold->arena, fold->projection->tables[row->table], row->values));
}

static void push_row(struct pj_fold *fold, size_t table, enum pj_row_operation operation,
                     uint64_t changed, const struct pj_value *before, struct pj_value *values)
{
    struct pj_row_changes *rows = &fold->rows[table];
    rows->items =
        pj_fold_grown(fold->arena, rows->items, rows->count, &rows->capacity, sizeof *rows->items);
    rows->items[rows->count++] = (struct pj_row_change){operation, changed, before, values};
}

uint64_t pj_fold_changed_columns(const struct pj_table *table, const struct pj_value *before,
                                 const struct pj_value *after)
{
    uint64_t changed = 0;
    for (size_t c = 0; c < table->column_count; c++) {
        const struct pj_column *column = &table->columns[c];
        if (!column->key && !column->elsewhere &&
            (before == NULL || pj_column_compare(column->type, &before[c], &after[c]) != 0))
            changed |= 1ULL << c;
    }
    return changed;
}

/* Is an extreme of the old values missing in the new ones (NULL: none)? */
static bool loses_extreme(const struct pj_table *table, const struct pj_value *before,
                          const struct pj_value *after)
{
    for (size_t c = 0; c < table->column_count; c++) {
        const struct pj_column *column = &table->columns[c];
        if ((column->measure == PJ_MIN || column->measure == PJ_MAX) && before[c].present &&
            (after == NULL || pj_column_compare(column->type, &before[c], &after[c]) != 0))
            return true;
    }
    return false;
}

/* `after`: the entity's new share of the same bucket, or NULL. */
static void push_piece(struct pj_fold *fold, const struct emitted_row *row, int sign,
                       const struct pj_value *after)
{
    struct pieces *pieces = &fold->pieces[row->table];
    const struct pj_table *table = fold->projection->tables[row->table];
    pieces->items = pj_fold_grown(fold->arena, pieces->items, pieces->count, &pieces->capacity,
                                  sizeof *pieces->items);
    pieces->items[pieces->count++] = (struct piece){
        .values = row->values,
        .sign = sign,
        .leaves = sign < 0 && after == NULL,
        .extreme = sign < 0 && loses_extreme(table, row->values, after),
    };
}

static bool is_rollup(const struct pj_fold *fold, const struct emitted_row *row)
{
    return fold->projection->tables[row->table]->kind == PJ_ROLLUP_TABLE;
}

static void row_gone(struct pj_fold *fold, const struct emitted_row *row)
{
    if (is_rollup(fold, row))
        push_piece(fold, row, -1, NULL);
    else
        push_row(fold, row->table, PJ_ROW_DELETE, 0, row->values, row->values);
}

static void row_come(struct pj_fold *fold, const struct emitted_row *row)
{
    if (is_rollup(fold, row))
        push_piece(fold, row, 1, NULL);
    else
        push_row(fold, row->table, PJ_ROW_INSERT, 0, NULL, row->values);
}

static void row_stayed(struct pj_fold *fold, const struct emitted_row *before,
                       const struct emitted_row *after)
{
    const struct pj_table *table = fold->projection->tables[after->table];
    /* The stored row may have been derived with other settings: it is written whole. */
    bool whole = kind_of(&fold->after)->timed && fold->projection->settings != NULL;
    uint64_t changed = pj_fold_changed_columns(table, whole ? NULL : before->values, after->values);
    if (changed == 0)
        return;
    if (is_rollup(fold, after)) {
        push_piece(fold, before, -1, after->values);
        push_piece(fold, after, 1, NULL);
    } else {
        push_row(fold, after->table, PJ_ROW_UPDATE, changed, before->values, after->values);
    }
}

/* Merges two sorted lists. */
static void diff_rows(struct pj_fold *fold)
{
    const struct pj_derivation *before = &fold->before;
    const struct pj_derivation *after = &fold->after;
    size_t b = 0;
    size_t a = 0;
    while (b < before->row_count || a < after->row_count) {
        int compared = b == before->row_count  ? 1
                       : a == after->row_count ? -1
                                               : compare_emitted(&before->rows[b], &after->rows[a],
                                                                 (void *)fold->projection);
        if (compared < 0)
            row_gone(fold, &before->rows[b++]);
        else if (compared > 0)
            row_come(fold, &after->rows[a++]);
        else
            row_stayed(fold, &before->rows[b++], &after->rows[a++]);
    }
}

/* To its own kind, or to the others. */
static void push_contribution(struct pj_fold *fold, const struct pj_change *given, bool removed,
                              bool own)
{
    if ((given->entity == fold->after.stage) != own)
        return;
    struct pj_change *change = pj_arena_copy(fold->arena, given, sizeof *given);
    const struct pj_fact_kind *kind =
        &fold->projection->entities[given->entity].facts[given->fact.kind];
    change->removed = removed;
    change->by = NULL;
    change->fact.values = pj_arena_copy(fold->arena, given->fact.values,
                                        kind->value_count * sizeof *given->fact.values);
    pj_fold_push_change(fold, change);
}

static void diff_contributions(struct pj_fold *fold, bool own)
{
    const struct pj_derivation *before = &fold->before;
    const struct pj_derivation *after = &fold->after;
    size_t b = 0;
    size_t a = 0;
    while (b < before->contribution_count || a < after->contribution_count) {
        int compared = b == before->contribution_count ? 1
                       : a == after->contribution_count
                           ? -1
                           : compare_place(&before->contributions[b], &after->contributions[a]);
        if (compared < 0) {
            if (before->contributions[b].replaces)
                push_contribution(fold, &before->contributions[b], true, own);
            b++;
            continue;
        }
        const struct pj_change *given = &after->contributions[a++];
        const struct pj_fact_kind *kind =
            &fold->projection->entities[given->entity].facts[given->fact.kind];
        if (compared > 0 ||
            pj_facts_compare(kind, &before->contributions[b].fact, &given->fact) != 0)
            push_contribution(fold, given, false, own);
        if (compared == 0)
            b++;
    }
}

/* Derives the facts before and after; `from`, of the stream time `derived_at`, are those before. */
static int derive_both(struct pj_fold *fold, size_t stage_index, const struct pj_entity *from,
                       int64_t derived_at, const struct pj_touched *touched, struct pj_error *error)
{
    int status = derive(&fold->before, from, stage_index, derived_at, touched->seen, error);
    if (status == 0)
        status = derive(&fold->after, &touched->after, stage_index, fold->stream_time,
                        touched->seen, error);
    pj_fold_release_json(fold);
    return status;
}

static int count(struct pj_fold *fold, const struct pj_touched *touched, struct pj_error *error)
{
    const struct pj_entity_kind *kind = touched->before.kind;
    if (kind->count == NULL)
        return 0;
    kind->count(&touched->before, &touched->after, touched->news, &fold->tally);
    pj_fold_release_json(fold);
    return pj_fold_check_mistake(fold, error);
}

/* The rows, the timer and the contributions to other kinds that follow from an entity, and what is
 * counted of it. */
static int finish_entity(struct pj_fold *fold, size_t stage_index, struct pj_touched *touched,
                         struct pj_error *error)
{
    pj_wide_store(fold, stage_index, touched);
    if (derive_both(fold, stage_index, &touched->before, touched->derived_at, touched, error) != 0)
        return -1;
    drop_twice(&fold->before);
    if (refuse_twice(&fold->after, touched, error) != 0)
        return -1;
    touched->due = fold->after.due;
    diff_rows(fold);
    diff_contributions(fold, false);
    pj_arena_reset(fold->passing);
    return count(fold, touched, error);
}

static bool apply_changes(struct pj_fold *fold, struct pj_touched *touched)
{
    const struct pj_entity_kind *kind = touched->before.kind;
    bool changed = false;
    for (size_t c = 0; c < touched->change_count; c++) {
        const struct pj_change *change = touched->changes[c];
        if (!pj_facts_apply(&touched->after, change, fold->staged))
            continue;
        changed = true;
        touched->news += change->kept && !kind->facts[change->fact.kind].is_name;
        touched->seen = touched->seen || change->timer || kind->timed ||
                        kind->facts[change->fact.kind].derive == NULL;
    }
    touched->change_count = 0;
    touched->changed = touched->changed || changed;
    return changed;
}

/* How high it stands, with what it waits for; it only decides who comes first. */
static int64_t height_of(const struct pj_touched *touched, size_t height_fact)
{
    const struct pj_entity *known = touched->rederived ? &touched->after : &touched->before;
    size_t count = 0;
    int64_t height = 0;
    const struct pj_fact *facts = pj_entity_facts(known, height_fact, &count);
    for (size_t i = 0; i < count; i++)
        height = facts[i].values[0].present ? facts[i].values[0].integer : 0;
    for (size_t c = 0; c < touched->change_count; c++) {
        const struct pj_change *change = touched->changes[c];
        if (!change->timer && change->fact.kind == height_fact)
            height = change->removed || !change->fact.values[0].present
                         ? 0
                         : change->fact.values[0].integer;
    }
    return height;
}

/* The height of those whose turn it is; INT64_MAX: all of them. */
static int64_t turn_of(const struct pj_stage *stage, const struct pj_entity_kind *kind,
                       size_t *height_fact)
{
    int64_t least = INT64_MAX;
    *height_fact = 0;
    while (*height_fact < kind->fact_count && !kind->facts[*height_fact].height)
        ++*height_fact;
    for (size_t i = 0; i < stage->count && *height_fact < kind->fact_count; i++) {
        const struct pj_touched *touched = &stage->touched[i];
        int64_t height = touched->change_count > 0 ? height_of(touched, *height_fact) : INT64_MAX;
        least = height < least ? height : least;
    }
    return least;
}

static bool somebody_waits(const struct pj_stage *stage)
{
    bool waits = false;
    for (size_t i = 0; i < stage->count && !waits; i++)
        waits = stage->touched[i].change_count > 0;
    return waits;
}

/* One round: what changes of the contributions to its own kind. */
static int merge_round(struct pj_fold *fold, size_t stage_index, struct pj_error *error)
{
    struct pj_stage *stage = &fold->stages[stage_index];
    size_t height_fact;
    const int64_t turn = turn_of(stage, &fold->projection->entities[stage_index], &height_fact);
    for (size_t i = 0; i < stage->count; i++) {
        struct pj_touched *touched = &stage->touched[i];
        if (touched->change_count == 0 ||
            (turn != INT64_MAX && height_of(touched, height_fact) > turn))
            continue;
        struct pj_entity from = touched->rederived ? touched->after : touched->before;
        touched->after = pj_facts_copy(&from, touched->change_count, fold->staged);
        if (!apply_changes(fold, touched))
            continue;
        if (derive_both(fold, stage_index, &from,
                        touched->rederived ? fold->stream_time : touched->derived_at, touched,
                        error) != 0)
            return -1;
        touched->rederived = true;
        diff_contributions(fold, true);
        pj_arena_reset(fold->passing);
    }
    return 0;
}

int pj_fold_merge(struct pj_fold *fold, size_t stage_index, struct pj_error *error)
{
    struct pj_stage *stage = &fold->stages[stage_index];
    const struct pj_entity_kind *kind = &fold->projection->entities[stage_index];
    bool wide = pj_wide_has(kind);
    if (kind->depth_most > 0)
        return merge_round(fold, stage_index, error);
    stage->wanted.count = stage->wanted_kinds.count = 0;
    for (size_t i = 0; i < stage->count; i++) {
        struct pj_touched *touched = &stage->touched[i];
        if (touched->change_count == 0)
            continue; /* it waits for the rest of its facts */
        touched->after = pj_facts_copy(&touched->before, touched->change_count, fold->staged);
        if (!apply_changes(fold, touched))
            continue;
        if (wide)
            pj_wide_want_shown(fold, stage_index, touched);
        else if (finish_entity(fold, stage_index, touched, error) != 0)
            return -1;
    }
    return 0;
}

static int finish_rest(struct pj_fold *fold, size_t stage_index, struct pj_error *error)
{
    struct pj_stage *stage = &fold->stages[stage_index];
    for (size_t i = 0; i < stage->count; i++) {
        struct pj_touched *touched = &stage->touched[i];
        touched->changed = touched->changed && (touched->existed || touched->after.count > 0);
        if (touched->changed && finish_entity(fold, stage_index, touched, error) != 0)
            return -1;
    }
    return 0;
}

int pj_fold_again(struct pj_fold *fold, size_t stage_index, const struct pj_stage **fresh,
                  struct pj_error *error)
{
    static const struct pj_stage nobody;
    const struct pj_entity_kind *kind = &fold->projection->entities[stage_index];
    struct pj_stage *stage = &fold->stages[stage_index];
    *fresh = NULL;
    if (stage->wanted_kinds.count > 0) {
        *fresh = &nobody;
        return 0;
    }
    if (kind->depth_most == 0)
        return pj_wide_has(kind) ? finish_rest(fold, stage_index, error) : 0;
    struct pj_stage *more = pj_arena_alloc(fold->staged, sizeof *more);
    if (!pj_fold_gather(fold, stage_index, more) && !somebody_waits(stage))
        return finish_rest(fold, stage_index, error);
    /* A recursive fact has its place after depth_most rounds, a link after one. */
    if (stage->rounds++ > 2 * kind->depth_most + 8) {
        char key[37];
        uuid_unparse_lower(fold->changes[fold->change_count - 1]->key, key);
        pj_fold_mistake(fold,
                        "derive of the entity kind %s contributes to its own kind without an end, "
                        "at last to %s: whether and to whom it contributes must not depend on "
                        "recursive facts, and links must follow from kept facts",
                        kind->name, key);
        return pj_fold_check_mistake(fold, error);
    }
    *fresh = more;
    return 0;
}

int pj_fold_merge_whole(struct pj_fold *fold, size_t stage_index, struct pj_error *error)
{
    struct pj_stage *stage = &fold->stages[stage_index];
    for (size_t i = 0; i < stage->count; i++) {
        fold->before.row_count = 0;
        fold->before.contribution_count = 0;
        int status = derive(&fold->after, &stage->touched[i].before, stage_index, fold->stream_time,
                            true, error);
        pj_fold_release_json(fold);
        if (status != 0)
            return -1;
        fold->after.contribution_count = 0;
        diff_rows(fold);
        pj_arena_reset(fold->passing);
    }
    return 0;
}
