/* SPDX-License-Identifier: Apache-2.0 */
#include "testing/memory_store.h"
#include "base/arena.h"
#include "base/memory.h"
#include "base/sentences.h"
#include "base/text.h"

#include "fold/check.h"
#include "fold/counters.h"
#include "fold/fold_internal.h"
#include "fold/numeric.h"

#include <stdio.h>
#include <stdlib.h>

struct state {
    size_t entity;
    uint8_t key[16];
    const void *data;
    size_t length;
    int64_t derived_at;
    struct pj_value due;
};

/* A fact kept apart. */
struct wide {
    size_t entity;
    const struct pj_value *row; /* key, kind, subkey, facts */
};

struct row {
    size_t table;
    struct pj_value *values;
};

struct pj_memory_store {
    const struct pj_projection *projection;
    const union pj_setting_value *settings;
    int64_t stream_time; /* as the transaction sees it that is applied */
    int64_t committed;   /* the same after all of them … */
    int64_t before;      /* … and after all but the last */
    int owner;           /* whose the last was */
    struct pj_arena *arena;
    struct state *states;
    size_t state_count;
    struct wide *wide;
    size_t wide_count;
    struct row *rows;
    size_t row_count;
    size_t dead_letters;
    int64_t *counted; /* a series each */
};

static void expect(bool holds, const char *otherwise)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", otherwise);
    abort();
}

static void must(int status, const struct pj_error *error)
{
    expect(status == 0, error->message);
}

static struct state *find_state(struct pj_memory_store *memory, size_t entity,
                                const uint8_t key[16])
{
    for (size_t i = 0; i < memory->state_count; i++) {
        if (memory->states[i].entity == entity && memcmp(memory->states[i].key, key, 16) == 0)
            return &memory->states[i];
    }
    return NULL;
}

static void save_state(struct pj_memory_store *memory, size_t entity,
                       const struct pj_touched *touched)
{
    /* as it is stored: the stream time of the rows, and when they are due */
    struct state *state = find_state(memory, entity, touched->key);
    expect((state != NULL) == touched->existed, "a state that is not as it was loaded");
    if (state == NULL) {
        memory->states = pj_resize(memory->states, memory->state_count + 1, sizeof *memory->states);
        state = &memory->states[memory->state_count++];
        state->entity = entity;
        memcpy(state->key, touched->key, 16);
    }
    /* Only the state table of a timed kind has columns for these. */
    bool timed = memory->projection->entities[entity].timed;
    state->derived_at = timed ? memory->stream_time : 0;
    state->due = timed ? touched->due : pj_null();
    state->data = touched->stored;
    state->length = touched->stored_length;
}

/* By the columns that are given: 1 (all of an entity) to 3. */
static bool is_of(const struct wide *wide, size_t entity, const struct pj_value *row, int columns)
{
    return wide->entity == entity && memcmp(wide->row[0].uuid, row[0].uuid, 16) == 0 &&
           (columns < 2 || wide->row[1].integer == row[1].integer) &&
           (columns < 3 || memcmp(wide->row[2].uuid, row[2].uuid, 16) == 0);
}

static struct wide *find_wide(struct pj_memory_store *memory, size_t entity,
                              const struct pj_value *row)
{
    for (size_t i = 0; i < memory->wide_count; i++) {
        if (is_of(&memory->wide[i], entity, row, 3))
            return &memory->wide[i];
    }
    return NULL;
}

static void save_wide(struct pj_memory_store *memory, size_t entity, const struct pj_stage *stage)
{
    for (size_t i = 0; i < stage->kept.count; i++) {
        struct wide *wide = find_wide(memory, entity, stage->kept.items[i]);
        if (wide == NULL) {
            memory->wide = pj_resize(memory->wide, memory->wide_count + 1, sizeof *memory->wide);
            wide = &memory->wide[memory->wide_count++];
        }
        *wide = (struct wide){entity, stage->kept.items[i]};
    }
    for (size_t i = 0; i < stage->gone.count; i++) {
        struct wide *wide = find_wide(memory, entity, stage->gone.items[i]);
        expect(wide != NULL, "a removal of a fact that is not there");
        *wide = memory->wide[--memory->wide_count];
    }
}

/* Of an entity or a kind of its facts, or one fact. */
static void load_wide(struct pj_memory_store *memory, struct pj_fold *fold, size_t entity,
                      const struct pj_value *row, int columns)
{
    struct pj_error error;
    for (size_t i = 0; i < memory->wide_count; i++) {
        const struct pj_value *stored = memory->wide[i].row;
        if (is_of(&memory->wide[i], entity, row, columns))
            must(pj_fold_load_wide(fold, entity, stored[0].uuid, stored[3].text.data,
                                   stored[3].text.length, &error),
                 &error);
    }
}

static bool same_key(const struct pj_table *table, const struct pj_value *a,
                     const struct pj_value *b)
{
    return pj_row_key_compare(table, a, b) == 0;
}

static struct row *find_row(struct pj_memory_store *memory, size_t table,
                            const struct pj_value *key)
{
    for (size_t i = 0; i < memory->row_count; i++) {
        struct row *row = &memory->rows[i];
        if (row->table == table && same_key(memory->projection->tables[table], row->values, key))
            return row;
    }
    return NULL;
}

static void put_row(struct pj_memory_store *memory, size_t table, struct pj_value *values)
{
    struct row *row = find_row(memory, table, values);
    if (row == NULL) {
        memory->rows = pj_resize(memory->rows, memory->row_count + 1, sizeof *memory->rows);
        row = &memory->rows[memory->row_count++];
        row->table = table;
    }
    row->values = values;
}

static void put_part(struct pj_memory_store *memory, const struct pj_table *part,
                     const struct pj_row_change *change)
{
    size_t whole = pj_fold_table_index(memory->projection, part->part_of);
    struct row *row = find_row(memory, whole, change->values);
    if (row == NULL && change->operation == PJ_ROW_DELETE)
        return; /* which went with the row */
    expect(row != NULL, "a part of a row that is not there");
    for (size_t c = 0; c < part->column_count; c++) {
        for (size_t w = 0; w < part->part_of->column_count; w++) {
            if (!part->columns[c].key &&
                strcmp(part->columns[c].name, part->part_of->columns[w].name) == 0)
                row->values[w] = change->operation == PJ_ROW_DELETE ? pj_null() : change->values[c];
        }
    }
}

/* An update changes the columns it names and no other. */
static void update_row(struct pj_memory_store *memory, size_t table,
                       const struct pj_row_change *change)
{
    struct row *row = find_row(memory, table, change->values);
    expect(row != NULL, "an update of a row that is not there");
    for (size_t c = 0; c < memory->projection->tables[table]->column_count; c++) {
        if (change->changed >> c & 1)
            row->values[c] = change->values[c];
    }
}

static void remove_row(struct pj_memory_store *memory, size_t table,
                       const struct pj_row_change *change)
{
    struct row *row = find_row(memory, table, change->values);
    expect(row != NULL, "a removal of a row that is not there");
    *row = memory->rows[--memory->row_count];
}

/* As Postgres does: a row that is there already is not another's to insert. */
static int check_new_rows(struct pj_memory_store *memory, const struct pj_fold *fold,
                          struct pj_error *error)
{
    for (size_t t = 0; t < memory->projection->table_count; t++) {
        const struct pj_table *table = memory->projection->tables[t];
        const struct pj_row_changes *changes = pj_fold_rows(fold, t);
        for (size_t i = 0; i < changes->count && table->part_of == NULL; i++) {
            const struct pj_row_change *change = &changes->items[i];
            if (change->operation == PJ_ROW_INSERT && find_row(memory, t, change->values) != NULL)
                return pj_error_set(error, PJ_POISON, PJ_ROW_TAKEN,
                                    pj_row_key_name(memory->arena, table, change->values));
        }
    }
    return 0;
}

static void write_rows(struct pj_memory_store *memory, const struct pj_fold *fold, bool parts)
{
    for (size_t t = 0; t < memory->projection->table_count; t++) {
        const struct pj_table *table = memory->projection->tables[t];
        const struct pj_row_changes *changes = pj_fold_rows(fold, t);
        if ((table->part_of != NULL) != parts)
            continue;
        for (size_t i = 0; i < changes->count; i++) {
            const struct pj_row_change *change = &changes->items[i];
            if (parts)
                put_part(memory, table, change);
            else if (change->operation == PJ_ROW_UPDATE)
                update_row(memory, t, change);
            else if (change->operation == PJ_ROW_INSERT)
                put_row(memory, t, change->values);
            else
                remove_row(memory, t, change);
        }
        const struct pj_appended *appended = pj_fold_appended(fold, t);
        for (size_t i = 0; i < appended->count; i++) {
            if (find_row(memory, t, appended->rows[i]) == NULL)
                put_row(memory, t, appended->rows[i]);
        }
    }
}

/* Differences go into the bucket; then, where something was taken back, what the projection's
 * refresh function should do: the extremes anew, from all that entities count for. Without one,
 * buckets that everything has left stay, and break order independence. */
static void add_to_bucket(struct pj_memory_store *memory, size_t t,
                          const struct pj_addition *addition)
{
    const struct pj_table *table = memory->projection->tables[t];
    struct row *row = find_row(memory, t, addition->values);
    if (row == NULL) {
        put_row(memory, t,
                pj_arena_copy(memory->arena, addition->values,
                              table->column_count * sizeof(struct pj_value)));
        return;
    }
    for (size_t c = 0; c < table->column_count; c++) {
        struct pj_value *sum = &row->values[c];
        const struct pj_value *value = &addition->values[c];
        if (table->columns[c].measure == PJ_SUM && table->columns[c].type == PJ_COUNTS) {
            for (size_t i = 0; i < sum->text.length / 8; i++)
                ((int64_t *)sum->text.data)[i] += ((const int64_t *)value->text.data)[i];
        } else if (table->columns[c].measure == PJ_SUM && table->columns[c].type == PJ_NUMERIC) {
            expect(pj_numeric_add(sum, value, 1, memory->arena, sum), "a sum that is no number");
        } else if (table->columns[c].measure == PJ_SUM) {
            sum->integer += value->integer;
        } else if (value->present && table->columns[c].measure != PJ_NOT_A_MEASURE) {
            int compared = sum->present ? pj_column_compare(table->columns[c].type, value, sum) : 0;
            if (!sum->present ||
                (table->columns[c].measure == PJ_MIN ? compared < 0 : compared > 0))
                *sum = *value;
        }
    }
}

/* The rollup of a table over all entities as they are, for the extremes of refreshed buckets. */
static void refresh(struct pj_memory_store *memory, size_t t, const struct pj_value *key)
{
    const struct pj_table *table = memory->projection->tables[t];
    struct row *row = find_row(memory, t, key);
    struct pj_error error;
    struct pj_fold *fold = pj_fold_new(memory->projection, memory->settings, memory->arena);
    pj_fold_set_stream_time(fold, memory->stream_time);
    for (size_t i = 0; i < memory->state_count; i++)
        pj_fold_timer(fold, memory->states[i].entity, memory->states[i].key);
    for (size_t e = 0; e < memory->projection->entity_count; e++) {
        const struct pj_stage *stage = pj_fold_stage(fold, e);
        /* derived as if from nothing: what comes out is the whole */
        for (size_t i = 0; i < stage->count; i++) {
            struct state *state = find_state(memory, e, stage->touched[i].key);
            struct pj_touched *touched = &stage->touched[i];
            touched->existed = state != NULL;
            if (state != NULL)
                must(pj_facts_decode(&touched->before, state->data, state->length, memory->arena,
                                     &error),
                     &error);
        }
        for (size_t i = 0; i < stage->count; i++) {
            const struct pj_value of = pj_uuid(stage->touched[i].key);
            load_wide(memory, fold, e, &of, 1);
        }
        must(pj_fold_merge_whole(fold, e, &error), &error);
    }
    must(pj_fold_finish(fold, &error), &error);
    const struct pj_additions *whole = pj_fold_additions(fold, t);
    bool any = false;
    for (size_t i = 0; i < whole->count; i++) {
        bool same = same_key(table, whole->items[i].values, key);
        for (size_t c = 0; same && c < table->column_count; c++) {
            if (table->columns[c].measure == PJ_MIN || table->columns[c].measure == PJ_MAX)
                row->values[c] = whole->items[i].values[c];
        }
        any = any || same;
    }
    if (!any)
        *row = memory->rows[--memory->row_count];
}

static void write_rollups(struct pj_memory_store *memory, const struct pj_fold *fold)
{
    const struct pj_table *const *tables = memory->projection->tables;
    for (size_t t = 0; t < memory->projection->table_count; t++) {
        const struct pj_additions *additions = pj_fold_additions(fold, t);
        for (size_t i = 0; i < additions->count; i++)
            add_to_bucket(memory, t, &additions->items[i]);
        for (size_t i = 0; i < additions->count && tables[t]->refresh != NULL; i++) {
            if (additions->items[i].left || additions->items[i].extreme)
                refresh(memory, t, additions->items[i].values);
        }
    }
}

static void note_time(struct pj_memory_store *memory, const struct pj_orders_event *event)
{
    const struct pj_source *source = &memory->projection->sources[event->source];
    const struct pj_value *time = &event->values[source->event_time];
    if (source->event_time != 0 && time->present && time->integer > memory->stream_time)
        memory->stream_time = time->integer;
}

static void begin(struct pj_memory_store *memory, int owner)
{
    memory->stream_time = owner == memory->owner ? memory->committed : memory->before;
    memory->before = memory->committed;
    memory->owner = owner;
}

static void commit(struct pj_memory_store *memory, const struct pj_fold *fold)
{
    for (size_t i = 0; i < pj_counters_series(memory->projection); i++)
        memory->counted[i] += pj_fold_counted(fold)[i];
    if (memory->stream_time > memory->committed)
        memory->committed = memory->stream_time;
}

static struct pj_wide_rows copy_wide(struct pj_arena *arena, const struct pj_wide_rows *rows)
{
    struct pj_wide_rows copy = {pj_arena_alloc(arena, rows->count * sizeof *copy.items),
                                rows->count, rows->count};
    for (size_t i = 0; i < rows->count; i++) {
        struct pj_value *row = pj_arena_copy(arena, rows->items[i], 4 * sizeof *row);
        if (row[3].present)
            row[3].text.data = pj_arena_copy(arena, row[3].text.data, row[3].text.length);
        copy.items[i] = row;
    }
    return copy;
}

/* What is to be saved of it, which is not done before all stages are. */
static const struct pj_stage *copy_stage(struct pj_arena *arena, const struct pj_stage *stage)
{
    struct pj_stage *copy = pj_arena_copy(arena, stage, sizeof *stage);
    copy->touched = pj_arena_copy(arena, stage->touched, stage->count * sizeof *stage->touched);
    for (size_t i = 0; i < copy->count; i++) {
        struct pj_touched *touched = &copy->touched[i];
        if (touched->stored != NULL)
            touched->stored = pj_arena_copy(arena, touched->stored, touched->stored_length);
    }
    copy->kept = copy_wide(arena, &stage->kept);
    copy->gone = copy_wide(arena, &stage->gone);
    return copy;
}

/* Their facts, and what follows from them; nothing is kept of it yet. */
static int run_stages(struct pj_memory_store *memory, struct pj_fold *fold,
                      const struct pj_stage **stages, struct pj_error *error)
{
    for (size_t e = 0; e < memory->projection->entity_count; e++) {
        const struct pj_stage *fresh = stages[e] = pj_fold_stage(fold, e);
        while (fresh != NULL) {
            for (size_t i = 0; i < fresh->count; i++) {
                struct state *state = find_state(memory, e, fresh->touched[i].key);
                if (state != NULL)
                    must(pj_fold_load(fold, e, state->key, state->data, state->length,
                                      state->derived_at, error),
                         error);
            }
            for (size_t i = 0; i < stages[e]->wanted.count; i++)
                load_wide(memory, fold, e, stages[e]->wanted.items[i], 3);
            for (size_t i = 0; i < stages[e]->wanted_kinds.count; i++)
                load_wide(memory, fold, e, stages[e]->wanted_kinds.items[i], 2);
            if (pj_fold_merge(fold, e, error) != 0 || pj_fold_again(fold, e, &fresh, error) != 0)
                return -1;
        }
        stages[e] = copy_stage(memory->arena, stages[e]);
        pj_fold_stage_saved(fold, e);
    }
    return pj_fold_finish(fold, error);
}

static int try_apply(struct pj_memory_store *memory, int owner,
                     const struct pj_orders_event *const *events, size_t count,
                     struct pj_error *error)
{
    begin(memory, owner);
    struct pj_fold *fold = pj_fold_new(memory->projection, memory->settings, memory->arena);
    for (size_t i = 0; i < count; i++) {
        const struct pj_source *source = &memory->projection->sources[events[i]->source];
        /* A copy, for the check may change them, and events are read again and again. */
        struct pj_value *values =
            pj_arena_copy(memory->arena, events[i]->values, source->field_count * sizeof *values);
        struct pj_event event = {
            .values = values,
            .topic = source->topic,
            .partition = events[i]->partition,
            .timestamp_ms = events[i]->timestamp_ms,
            .tombstone = events[i]->tombstone,
            .key = events[i]->key,
            .headers = events[i]->headers,
            .header_count = events[i]->header_count,
        };
        /* A poison event says nothing, here as there. */
        if ((!event.tombstone &&
             pj_check_values(source, values, true, memory->arena, error) != 0) ||
            pj_fold_observe(fold, source, &event, error) != 0) {
            must(error->class == PJ_POISON ? 0 : -1, error);
            continue;
        }
        note_time(memory, events[i]);
    }
    pj_fold_set_stream_time(fold, memory->stream_time);
    for (size_t i = 0; i < memory->state_count; i++) {
        const struct state *state = &memory->states[i];
        if (state->due.present && state->due.integer < memory->stream_time)
            pj_fold_timer(fold, state->entity, state->key);
    }
    const struct pj_stage **stages =
        pj_arena_alloc(memory->arena, memory->projection->entity_count * sizeof(void *));
    if (run_stages(memory, fold, stages, error) != 0 || check_new_rows(memory, fold, error) != 0)
        return -1;
    for (size_t e = 0; e < memory->projection->entity_count; e++) {
        for (size_t i = 0; i < stages[e]->count; i++) {
            if (stages[e]->touched[i].changed && stages[e]->touched[i].stored != NULL)
                save_state(memory, e, &stages[e]->touched[i]);
        }
        save_wide(memory, e, stages[e]);
    }
    write_rows(memory, fold, false);
    write_rows(memory, fold, true);
    write_rollups(memory, fold);
    commit(memory, fold);
    return 0;
}

/* A batch with a poison event is divided, as in the engine, until that is alone. */
void pj_memory_store_apply(struct pj_memory_store *memory, int owner,
                           const struct pj_orders_event *const *events, size_t count)
{
    struct pj_error error;
    int64_t committed = memory->committed;
    int64_t before = memory->before;
    int last_owner = memory->owner;
    if (try_apply(memory, owner, events, count, &error) == 0)
        return;
    memory->committed = committed;
    memory->before = before;
    memory->owner = last_owner;
    expect(error.class == PJ_POISON && count > 0, error.message);
    if (count == 1) {
        memory->dead_letters++;
        return;
    }
    pj_memory_store_apply(memory, owner, events, count / 2);
    pj_memory_store_apply(memory, owner, events + count / 2, count - count / 2);
}

size_t pj_memory_store_dead_letters(const struct pj_memory_store *memory)
{
    return memory->dead_letters;
}

int64_t pj_memory_store_counted(const struct pj_memory_store *memory, size_t counter, size_t word)
{
    const struct pj_counter *counters = memory->projection->counters;
    size_t first = 0;
    size_t at = 0;
    for (; counters != NULL && at < counter && counters[at].name != NULL; at++)
        first += pj_counter_series(&counters[at]);
    expect(counters != NULL && at == counter && counters[at].name != NULL &&
               word < pj_counter_series(&counters[at]),
           "pj_orders_counted names a counter, or a word of one, that is not declared");
    return memory->counted[first + word];
}

bool pj_memory_store_keys(const struct pj_memory_store *memory)
{
    for (size_t i = 0; i < memory->row_count; i++) {
        const struct pj_table *table = memory->projection->tables[memory->rows[i].table];
        for (size_t c = 0; c < table->column_count && table->columns[c].key; c++) {
            if (memory->rows[i].values[c].present)
                continue;
            fprintf(stderr,
                    "a row of %s has null for %s, which is of its key: Postgres would "
                    "refuse it\n",
                    table->name, table->columns[c].name);
            return false;
        }
    }
    return true;
}

bool pj_memory_store_reaches(const struct pj_memory_store *memory)
{
    bool all = true;
    for (size_t t = 0; t < memory->projection->table_count; t++) {
        size_t row = 0;
        while (row < memory->row_count && memory->rows[row].table != t)
            row++;
        /* The rows of a part are those of the whole. */
        if (row < memory->row_count || memory->projection->tables[t]->part_of != NULL)
            continue;
        fprintf(stderr, "the events make no row of %s\n", memory->projection->tables[t]->name);
        all = false;
    }
    return all;
}

/* --- rows as text ---------------------------------------------------------------------------- */

/* As it is, where messages have a time or only the number of bytes. */
static enum pj_type plain(enum pj_type type)
{
    return type == PJ_TIMESTAMPTZ ? PJ_BIGINT : type == PJ_BYTEA ? PJ_TEXT : type;
}

/* Without what makes no other number of it: which of its texts a row has may depend on the order.
 */
static struct pj_value shortest(struct pj_value number)
{
    const char *text = number.text.data;
    size_t length = number.text.length;
    if (memchr(text, '.', length) == NULL || memchr(text, 'e', length) || memchr(text, 'E', length))
        return number;
    while (text[length - 1] == '0')
        length--;
    length -= text[length - 1] == '.';
    return length == 2 && memcmp(text, "-0", 2) == 0 ? pj_text("0") : pj_text_of(text, length);
}

void pj_orders_add_value(struct pj_builder *out, enum pj_type type, const struct pj_value *value)
{
    if (value->present && value->shape == PJ_SHAPE_ITEMS) {
        pj_builder_add(out, "(%zu items)", pj_items_count(value));
        return;
    }
    if (type != PJ_COUNTS || !value->present) {
        pj_value_print(out, plain(type), value, SIZE_MAX);
        return;
    }
    const int64_t *counts = (const int64_t *)value->text.data;
    for (size_t i = 0; i < value->text.length / sizeof *counts; i++) {
        if (counts[i] != 0)
            pj_builder_add(out, "%zu:%lld,", i, (long long)counts[i]);
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *pj_memory_store_rows(const struct pj_memory_store *memory, bool comparable)
{
    char **lines = pj_calloc(memory->row_count, sizeof *lines);
    struct pj_builder text = {0};
    for (size_t i = 0; i < memory->row_count; i++) {
        const struct pj_table *table = memory->projection->tables[memory->rows[i].table];
        pj_builder_add(&text, "%s", table->name);
        for (size_t c = 0; c < table->column_count; c++) {
            pj_builder_add(&text, "|%s=", table->columns[c].name);
            struct pj_value value = memory->rows[i].values[c];
            if (comparable && value.present && table->columns[c].type == PJ_NUMERIC)
                value = shortest(value);
            pj_orders_add_value(&text, table->columns[c].type, &value);
        }
        pj_builder_add(&text, "\n");
        lines[i] = pj_builder_take(&text);
    }
    qsort(lines, memory->row_count, sizeof *lines, compare_lines);
    for (size_t i = 0; i < memory->row_count; i++) {
        pj_builder_add(&text, "%s", lines[i]);
        free(lines[i]);
    }
    free(lines);
    return pj_builder_take(&text);
}

struct pj_memory_store *pj_memory_store_new(const struct pj_projection *projection,
                                            const union pj_setting_value *settings)
{
    struct pj_memory_store *memory = pj_alloc(sizeof *memory);
    memory->projection = projection;
    memory->settings = settings;
    memory->committed = memory->before = INT64_MIN;
    memory->arena = pj_arena_new();
    memory->counted = pj_calloc(pj_counters_series(projection), sizeof *memory->counted);
    return memory;
}

void pj_memory_store_free(struct pj_memory_store *memory)
{
    pj_arena_free(memory->arena);
    free(memory->states);
    free(memory->wide);
    free(memory->rows);
    free(memory->counted);
    free(memory);
}
