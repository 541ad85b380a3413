/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fit.h"
#include "fold/counters.h"
#include "fold/fold_internal.h"

#include "base/memory.h"
#include "base/text.h"

#include <endian.h>
#include <stdarg.h>
#include <stdlib.h>

void *pj_fold_grown(struct pj_arena *arena, void *items, size_t count, size_t *capacity,
                    size_t size)
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

struct pj_fold *pj_fold_new(const struct pj_projection *projection,
                            const union pj_setting_value *settings, struct pj_arena *arena)
{
    struct pj_fold *fold = pj_arena_alloc(arena, sizeof *fold);
    fold->projection = projection;
    fold->arena = arena;
    fold->staged = pj_arena_part(arena);
    fold->passing = pj_arena_part(arena);
    fold->observer.fold = fold;
    fold->before.fold = fold;
    fold->after.fold = fold;
    fold->tally.fold = fold;
    fold->settings = settings;
    fold->stream_time = INT64_MIN;
    fold->stages = pj_arena_alloc(arena, projection->entity_count * sizeof *fold->stages);
    fold->rows = pj_arena_alloc(arena, projection->table_count * sizeof *fold->rows);
    fold->appended = pj_arena_alloc(arena, projection->table_count * sizeof *fold->appended);
    fold->pieces = pj_arena_alloc(arena, projection->table_count * sizeof *fold->pieces);
    fold->additions = pj_arena_alloc(arena, projection->table_count * sizeof *fold->additions);
    fold->counted = pj_arena_alloc(arena, pj_counters_series(projection) * sizeof *fold->counted);
    return fold;
}

size_t pj_fold_table_index(const struct pj_projection *projection, const struct pj_table *table)
{
    size_t index = 0;
    while (index < projection->table_count && projection->tables[index] != table)
        index++;
    return index;
}

/* --- what the projection's code must not do -------------------------------------------------- */

void pj_fold_mistake(struct pj_fold *fold, const char *format, ...)
{
    if (fold->mistaken)
        return;
    va_list args;
    va_start(args, format);
    char *text = pj_text_vnew(format, args);
    va_end(args);
    fold->mistaken = true;
    pj_error_fatal(&fold->mistake, PJ_EXIT_DECLARATION, "the code of %s is wrong: %s",
                   fold->projection->name, text);
    free(text);
}

int pj_fold_check_mistake(const struct pj_fold *fold, struct pj_error *error)
{
    if (!fold->mistaken)
        return 0;
    *error = fold->mistake;
    return -1;
}

int pj_fold_check_row(const struct pj_table *table, const struct pj_value *values,
                      struct pj_error *error)
{
    for (size_t c = 0; c < table->column_count; c++) {
        const struct pj_column *column = &table->columns[c];
        if (pj_value_fits(column->type, &values[c]))
            continue;
        char *what = pj_text_new("the column %s of %s", column->name, table->name);
        pj_value_misfit(column->type, &values[c], what, error);
        free(what);
        return -1;
    }
    return 0;
}

int pj_fold_check_fact(const struct pj_fold *fold, size_t entity, const struct pj_fact *fact,
                       struct pj_error *error)
{
    const struct pj_entity_kind *kind = &fold->projection->entities[entity];
    const struct pj_fact_kind *declared = &kind->facts[fact->kind];
    for (size_t v = 0; v < declared->value_count; v++) {
        if (pj_value_fits(declared->types[v], &fact->values[v]))
            continue;
        char *what =
            pj_text_new("value %zu of the fact \"%s\" of %s", v, declared->name, kind->name);
        pj_value_misfit(declared->types[v], &fact->values[v], what, error);
        free(what);
        return -1;
    }
    return 0;
}

/* --- observing ------------------------------------------------------------------------------- */

/* The event's facts start at `changes`, its rows at `appended`. */
static int check_said(const struct pj_fold *fold, size_t changes, const size_t *appended,
                      struct pj_error *error)
{
    for (size_t c = changes; c < fold->change_count; c++) {
        const struct pj_change *change = fold->changes[c];
        if (pj_fold_check_fact(fold, change->entity, &change->fact, error) != 0)
            return -1;
    }
    for (size_t t = 0; t < fold->projection->table_count; t++) {
        const struct pj_appended *rows = &fold->appended[t];
        for (size_t r = appended[t]; r < rows->count; r++) {
            if (pj_fold_check_row(fold->projection->tables[t], rows->rows[r], error) != 0)
                return -1;
        }
    }
    return 0;
}

int pj_fold_observe(struct pj_fold *fold, const struct pj_source *source,
                    const struct pj_event *event, struct pj_error *error)
{
    size_t change_count = fold->change_count;
    size_t tables = fold->projection->table_count;
    size_t appended[PJ_TABLES_MOST];
    for (size_t t = 0; t < tables; t++)
        appended[t] = fold->appended[t].count;
    pj_error_set(error, PJ_POISON, "observe refused it and did not say why");
    int status = source->observe(event, &fold->observer, error);
    error->class = PJ_POISON; /* whatever observe set: a record cannot stop the others */
    pj_fold_release_json(fold);
    if (pj_fold_check_mistake(fold, error) != 0)
        return -1;
    if (status == 0 && check_said(fold, change_count, appended, error) == 0)
        return 0;
    fold->change_count = change_count;
    for (size_t t = 0; t < tables; t++)
        fold->appended[t].count = appended[t];
    return -1;
}

void pj_fold_push_change(struct pj_fold *fold, struct pj_change *change)
{
    fold->changes = pj_fold_grown(fold->arena, fold->changes, fold->change_count,
                                  &fold->change_capacity, sizeof(struct pj_change *));
    fold->changes[fold->change_count++] = change;
}

bool pj_fold_change(struct pj_fold *fold, const char *who, size_t entity, const uint8_t key[16],
                    size_t fact, const uint8_t subkey[16], const struct pj_value *values,
                    struct pj_arena *arena, struct pj_change *change)
{
    const struct pj_projection *projection = fold->projection;
    *change = (struct pj_change){.entity = entity};
    size_t declared = projection->entity_count;
    while (declared > 0 && pj_claims_is_kind(&projection->entities[declared - 1]))
        declared--; /* claims are made by pj_claim alone */
    if (entity >= declared) {
        pj_fold_mistake(fold,
                        "%s names the entity kind %zu, and there are %zu: give an index of "
                        "its entities",
                        who, entity, declared);
        return false;
    }
    const struct pj_entity_kind *of = &projection->entities[entity];
    if (fact >= of->fact_count) {
        pj_fold_mistake(fold,
                        "%s names the fact %zu of the entity kind %s, which has %zu: give an "
                        "index of its facts",
                        who, fact, of->name, of->fact_count);
        return false;
    }
    const struct pj_fact_kind *kind = &of->facts[fact];
    if (key == NULL || (values == NULL && kind->value_count > 0)) {
        pj_fold_mistake(fold, "%s gives no %s with the fact \"%s\" of the entity kind %s: give one",
                        who, key == NULL ? "key" : "values", kind->name, of->name);
        return false;
    }
    memcpy(change->key, key, 16);
    change->fact.kind = (uint16_t)fact; /* the declaration check makes sure that it fits */
    if (subkey != NULL)
        memcpy(change->fact.subkey, subkey, 16);
    change->fact.values =
        pj_arena_copy(arena, values, kind->value_count * sizeof *change->fact.values);
    return true;
}

void pj_keep(struct pj_observer *observer, size_t entity, const uint8_t key[16], size_t fact,
             const uint8_t subkey[16], const struct pj_order *order, const struct pj_value *values)
{
    struct pj_fold *fold = observer->fold;
    struct pj_change *change = pj_arena_alloc(fold->arena, sizeof *change);
    if (!pj_fold_change(fold, "pj_keep", entity, key, fact, subkey, values, fold->arena, change))
        return;
    if (order == NULL) {
        pj_fold_mistake(fold, "pj_keep gives no order with a fact of the entity kind %s: give one",
                        fold->projection->entities[entity].name);
        return;
    }
    const struct pj_entity_kind *kind = &fold->projection->entities[entity];
    if (kind->facts[fact].recursive)
        pj_fold_mistake(fold,
                        "pj_keep gives the fact \"%s\" of the entity kind %s, which is "
                        "`recursive`: it comes from pj_contribute of its own kind alone",
                        kind->facts[fact].name, kind->name);
    change->fact.order = *order;
    change->kept = true;
    pj_fold_push_change(fold, change);
}

bool pj_fold_name(struct pj_fold *fold, const char *who, size_t entity, const struct pj_value *name,
                  size_t *fact, uint8_t key[16])
{
    const struct pj_projection *projection = fold->projection;
    const struct pj_entity_kind *kind =
        entity < projection->entity_count ? &projection->entities[entity] : NULL;
    *fact = 0;
    while (kind != NULL && *fact < kind->fact_count && !kind->facts[*fact].is_name)
        ++*fact;
    if (kind == NULL || *fact == kind->fact_count) {
        pj_fold_mistake(fold,
                        "%s names the entity kind %zu, which has no fact that `is_name`: "
                        "declare one",
                        who, entity);
        return false;
    }
    size_t count = kind->facts[*fact].value_count;
    struct pj_value *parts = pj_arena_copy(fold->arena, name, count * sizeof *parts);
    for (size_t v = 0; v < count; v++)
        parts[v].shape = (uint8_t)pj_type_shape(kind->facts[*fact].types[v]);
    pj_uuid_of_names(parts, count, key);
    return true;
}

void pj_keep_named(struct pj_observer *observer, size_t entity, const struct pj_value *name,
                   size_t fact, const uint8_t subkey[16], const struct pj_order *order,
                   const struct pj_value *values)
{
    static const struct pj_order none;
    uint8_t key[16];
    size_t name_fact;
    if (!pj_fold_name(observer->fold, "pj_keep_named", entity, name, &name_fact, key))
        return;
    pj_keep(observer, entity, key, name_fact, NULL, &none, name);
    if (fact != name_fact)
        pj_keep(observer, entity, key, fact, subkey, order, values);
}

void *pj_observer_alloc(struct pj_observer *observer, size_t size)
{
    return pj_arena_alloc(observer->fold->arena, size);
}

const void *pj_observer_context(const struct pj_observer *observer)
{
    return observer->fold->projection->context;
}

struct pj_value pj_event_header(const struct pj_event *event, const char *name)
{
    for (size_t i = event->header_count; i-- > 0;) {
        if (strcmp(event->headers[i].name, name) == 0)
            return event->headers[i].value;
    }
    return pj_null();
}

struct pj_value *pj_append(struct pj_observer *observer, const struct pj_table *table)
{
    struct pj_fold *fold = observer->fold;
    size_t index = pj_fold_table_index(fold->projection, table);
    if (index == fold->projection->table_count || table->kind != PJ_APPEND_TABLE) {
        pj_fold_mistake(fold, "pj_append names %s, which is %s", table->name,
                        table->kind != PJ_APPEND_TABLE
                            ? "not an append table: its rows come from derive, by pj_row"
                            : "not among its tables: list it there");
        return pj_arena_alloc(fold->arena, table->column_count * sizeof(struct pj_value));
    }
    struct pj_appended *appended = &fold->appended[index];
    appended->rows = pj_fold_grown(fold->arena, appended->rows, appended->count,
                                   &appended->capacity, sizeof(struct pj_value *));
    struct pj_value *row = pj_arena_alloc(fold->arena, table->column_count * sizeof *row);
    appended->rows[appended->count++] = row;
    return row;
}

/* --- stages ---------------------------------------------------------------------------------- */

/* By key, then in the order of the events (`said`). The key's beginning nearly always decides,
 * without touching distant memory. */
struct keyed {
    uint64_t beginning;
    struct pj_change *change;
    size_t said;
};

static struct keyed keyed(struct pj_change *change, size_t said)
{
    struct keyed keyed = {.change = change, .said = said};
    memcpy(&keyed.beginning, change->key, sizeof keyed.beginning);
    keyed.beginning = be64toh(keyed.beginning); /* compares as its bytes do */
    return keyed;
}

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a;
    const struct keyed *y = b;
    if (x->beginning != y->beginning)
        return x->beginning < y->beginning ? -1 : 1;
    int compared = memcmp(x->change->key, y->change->key, 16);
    return compared != 0 ? compared : (x->said > y->said) - (x->said < y->said);
}

struct pj_touched *pj_fold_find_touched(const struct pj_stage *stage, const uint8_t key[16])
{
    size_t low = 0;
    size_t high = stage->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int compared = memcmp(stage->touched[middle].key, key, 16);
        if (compared == 0)
            return &stage->touched[middle];
        if (compared < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Merges two sorted lists, from the end, in place. */
static void add_touched(struct pj_fold *fold, struct pj_stage *stage, const struct pj_stage *fresh)
{
    size_t count = stage->count + fresh->count;
    if (stage->count == 0) {
        stage->touched = fresh->touched;
        stage->count = stage->capacity = fresh->count;
        return;
    }
    if (count > stage->capacity) {
        size_t capacity = count * 2;
        struct pj_touched *bigger = pj_arena_alloc(fold->staged, capacity * sizeof *bigger);
        memcpy(bigger, stage->touched, stage->count * sizeof *bigger);
        stage->touched = bigger;
        stage->capacity = capacity;
    }
    size_t old = stage->count;
    size_t new = fresh->count;
    for (size_t at = count; new > 0; at--) {
        if (old > 0 && memcmp(stage->touched[old - 1].key, fresh->touched[new - 1].key, 16) > 0)
            stage->touched[at - 1] = stage->touched[--old];
        else
            stage->touched[at - 1] = fresh->touched[--new];
    }
    stage->count = count;
}

/* Who waits for their turn have changes already, and get those that come behind them. */
static struct pj_change **behind(struct pj_fold *fold, const struct pj_touched *waiting,
                                 const struct keyed *coming, size_t most)
{
    size_t count = 0;
    while (count < most && memcmp(coming[count].change->key, waiting->key, 16) == 0)
        count++;
    struct pj_change **changes =
        pj_arena_alloc(fold->staged, (waiting->change_count + count) * sizeof(struct pj_change *));
    memcpy(changes, waiting->changes, waiting->change_count * sizeof(struct pj_change *));
    return changes;
}

/* The changes of the stage that came since the last call, sorted; to be freed. *keys: how many
 * entities they are of. */
static struct keyed *sort_changes(const struct pj_fold *fold, size_t stage_index, size_t *count,
                                  size_t *keys)
{
    size_t from = fold->stages[stage_index].taken;
    struct keyed *sorted = pj_resize(NULL, fold->change_count - from, sizeof *sorted);
    *count = *keys = 0;
    for (size_t i = from; i < fold->change_count; i++) {
        if (fold->changes[i]->entity == stage_index)
            sorted[(*count)++] = keyed(fold->changes[i], i);
    }
    if (*count > 1)
        qsort(sorted, *count, sizeof *sorted, compare_keyed);
    for (size_t i = 0; i < *count; i++)
        *keys += i == 0 || sorted[i - 1].beginning != sorted[i].beginning ||
                 memcmp(sorted[i - 1].change->key, sorted[i].change->key, 16) != 0;
    return sorted;
}

bool pj_fold_gather(struct pj_fold *fold, size_t stage_index, struct pj_stage *fresh)
{
    struct pj_stage *stage = &fold->stages[stage_index];
    size_t count, keys;
    struct keyed *sorted = sort_changes(fold, stage_index, &count, &keys);
    struct pj_change **changes = pj_arena_alloc(fold->staged, count * sizeof(struct pj_change *));
    stage->taken = fold->change_count;
    *fresh =
        (struct pj_stage){.touched = pj_arena_alloc(fold->staged, keys * sizeof *fresh->touched)};
    struct pj_touched *last = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct pj_change *change = sorted[i].change;
        if (last == NULL || memcmp(last->key, change->key, 16) != 0) {
            last = pj_fold_find_touched(stage, change->key);
            if (last == NULL) {
                last = &fresh->touched[fresh->count++];
                memcpy(last->key, change->key, 16);
                last->before.kind = &fold->projection->entities[stage_index];
                last->before.fold = fold;
                memcpy(last->before.key, last->key, 16);
            }
            last->changes =
                last->change_count == 0 ? &changes[i] : behind(fold, last, &sorted[i], count - i);
        }
        last->changes[last->change_count++] = sorted[i].change;
        last->observed = last->observed || !change->timer;
    }
    free(sorted);
    if (pj_wide_has(&fold->projection->entities[stage_index]))
        pj_wide_want(fold, stage_index, fresh);
    add_touched(fold, stage, fresh);
    return count > 0;
}

const struct pj_stage *pj_fold_stage(struct pj_fold *fold, size_t stage_index)
{
    struct pj_stage fresh;
    (void)pj_fold_gather(fold, stage_index, &fresh);
    return &fold->stages[stage_index];
}

void pj_fold_stage_saved(struct pj_fold *fold, size_t stage_index)
{
    fold->stages[stage_index] = (struct pj_stage){.taken = fold->stages[stage_index].taken};
    pj_arena_reset(fold->staged);
}

const struct pj_projection *pj_fold_projection(const struct pj_fold *fold)
{
    return fold->projection;
}

void pj_fold_set_stream_time(struct pj_fold *fold, int64_t microseconds)
{
    fold->stream_time = microseconds;
}

int64_t pj_fold_stream_time(const struct pj_fold *fold)
{
    return fold->stream_time;
}

static struct pj_change *push_new(struct pj_fold *fold, size_t entity, const uint8_t key[16])
{
    struct pj_change *change = pj_arena_alloc(fold->arena, sizeof *change);
    change->entity = entity;
    memcpy(change->key, key, 16);
    pj_fold_push_change(fold, change);
    return change;
}

void pj_fold_timer(struct pj_fold *fold, size_t entity, const uint8_t key[16])
{
    push_new(fold, entity, key)->timer = true;
}

void pj_fold_keep_retained(struct pj_fold *fold, size_t entity, const uint8_t key[16],
                           const struct pj_fact *fact)
{
    struct pj_change *change = push_new(fold, entity, key);
    change->older = true;
    change->fact = *fact;
}

int pj_fold_load(struct pj_fold *fold, size_t stage_index, const uint8_t key[16], const void *data,
                 size_t length, int64_t derived_at, struct pj_error *error)
{
    struct pj_touched *touched = pj_fold_find_touched(&fold->stages[stage_index], key);
    if (touched == NULL)
        return 0;
    touched->existed = true;
    touched->derived_at = derived_at;
    if (pj_facts_decode(&touched->before, data, length, fold->staged, error) != 0)
        return -1;
    return pj_wide_check_stored(&touched->before, error);
}
