/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/law.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <uuid/uuid.h>

/* --- a database in memory -------------------------------------------------------------------- */

struct state {
    size_t entity;
    uint8_t key[16];
    const void *data;
    size_t length;
    int64_t derived_at;
    struct pj_value due;
};

struct row {
    size_t table;
    struct pj_value *values;
};

struct memory {
    const struct pj_projection *projection;
    const int64_t *settings;
    int64_t stream_time;
    struct pj_arena *arena;
    struct state *states;
    size_t state_count;
    struct row *rows;
    size_t row_count;
};

static struct state *find_state(struct memory *memory, size_t entity, const uint8_t key[16])
{
    for (size_t i = 0; i < memory->state_count; i++) {
        if (memory->states[i].entity == entity && memcmp(memory->states[i].key, key, 16) == 0)
            return &memory->states[i];
    }
    return NULL;
}

static void save_state(struct memory *memory, size_t entity, const struct pj_touched *touched)
{
    /* as it is stored: the stream time of the rows, and when they are due */
    struct state *state = find_state(memory, entity, touched->key);
    assert((state != NULL) == touched->existed);
    if (state == NULL) {
        memory->states =
            realloc(memory->states, (memory->state_count + 1) * sizeof *memory->states);
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

static size_t table_index(const struct pj_projection *projection, const struct pj_table *table)
{
    size_t index = 0;
    while (projection->tables[index] != table)
        index++;
    return index;
}

static struct row *find_row(struct memory *memory, size_t table, const struct pj_value *key)
{
    const struct pj_column *columns = memory->projection->tables[table]->columns;
    for (size_t i = 0; i < memory->row_count; i++) {
        struct row *row = &memory->rows[i];
        bool same = row->table == table;
        for (size_t c = 0; same && columns[c].key; c++)
            same = pj_value_compare(columns[c].type, &row->values[c], &key[c]) == 0;
        if (same)
            return row;
    }
    return NULL;
}

static void put_row(struct memory *memory, size_t table, struct pj_value *values)
{
    struct row *row = find_row(memory, table, values);
    if (row == NULL) {
        memory->rows = realloc(memory->rows, (memory->row_count + 1) * sizeof *memory->rows);
        row = &memory->rows[memory->row_count++];
        row->table = table;
    }
    row->values = values;
}

static void put_part(struct memory *memory, const struct pj_table *part,
                     const struct pj_row_change *change)
{
    size_t whole = table_index(memory->projection, part->part_of);
    struct row *row = find_row(memory, whole, change->values);
    assert(row != NULL && "a part of a row that is not there");
    for (size_t c = 0; c < part->column_count; c++) {
        for (size_t w = 0; w < part->part_of->column_count; w++) {
            if (!part->columns[c].key &&
                strcmp(part->columns[c].name, part->part_of->columns[w].name) == 0)
                row->values[w] = change->operation == PJ_ROW_DELETE ? pj_null() : change->values[c];
        }
    }
}

/* An update changes the columns it names and no other. */
static void update_row(struct memory *memory, size_t table, const struct pj_row_change *change)
{
    struct row *row = find_row(memory, table, change->values);
    assert(row != NULL && "an update of a row that is not there");
    for (size_t c = 0; c < memory->projection->tables[table]->column_count; c++) {
        if (change->changed >> c & 1)
            row->values[c] = change->values[c];
    }
}

static void remove_row(struct memory *memory, size_t table, const struct pj_row_change *change)
{
    struct row *row = find_row(memory, table, change->values);
    assert(row != NULL && "a removal of a row that is not there");
    *row = memory->rows[--memory->row_count];
}

static void write_rows(struct memory *memory, const struct pj_fold *fold, bool parts)
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
 * settle function should do: the extremes anew, from all that entities count for. Without one,
 * buckets that everything has left stay, and break the law. */
static void add_to_bucket(struct memory *memory, size_t t, const struct pj_addition *addition)
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
        } else if (table->columns[c].measure == PJ_SUM) {
            sum->integer += value->integer;
        } else if (value->present && table->columns[c].measure != PJ_NOT_A_MEASURE) {
            int compared = sum->present ? pj_value_compare(table->columns[c].type, value, sum) : 0;
            if (!sum->present ||
                (table->columns[c].measure == PJ_MIN ? compared < 0 : compared > 0))
                *sum = *value;
        }
    }
}

/* The rollup of a table over all entities as they are, for the extremes of settled buckets. */
static void settle(struct memory *memory, size_t t, const struct pj_value *key)
{
    const struct pj_table *table = memory->projection->tables[t];
    struct row *row = find_row(memory, t, key);
    struct pj_error error;
    struct pj_fold *fold = pj_fold_new(memory->projection, memory->settings, memory->arena);
    pj_fold_set_stream_time(fold, memory->stream_time);
    for (size_t i = 0; i < memory->state_count; i++)
        pj_fold_wake(fold, memory->states[i].entity, memory->states[i].key);
    for (size_t e = 0; e < memory->projection->entity_count; e++) {
        const struct pj_stage *stage = pj_fold_stage(fold, e);
        /* derived as if from nothing: what comes out is the whole */
        for (size_t i = 0; i < stage->count; i++) {
            struct state *state = find_state(memory, e, stage->touched[i].key);
            struct pj_touched *touched = &stage->touched[i];
            if (state != NULL && pj_facts_decode(&touched->before, state->data, state->length,
                                                 memory->arena, &error) != 0)
                abort();
        }
        pj_fold_merge_whole(fold, e);
    }
    pj_fold_finish(fold);
    const struct pj_additions *whole = pj_fold_additions(fold, t);
    bool any = false;
    for (size_t i = 0; i < whole->count; i++) {
        bool same = true;
        for (size_t c = 0; table->columns[c].key; c++)
            same = same && pj_value_compare(table->columns[c].type, &whole->items[i].values[c],
                                            &key[c]) == 0;
        for (size_t c = 0; same && c < table->column_count; c++) {
            if (table->columns[c].measure == PJ_MIN || table->columns[c].measure == PJ_MAX)
                row->values[c] = whole->items[i].values[c];
        }
        any = any || same;
    }
    if (!any)
        *row = memory->rows[--memory->row_count];
}

static void write_rollups(struct memory *memory, const struct pj_fold *fold)
{
    const struct pj_table *const *tables = memory->projection->tables;
    for (size_t t = 0; t < memory->projection->table_count; t++) {
        const struct pj_additions *additions = pj_fold_additions(fold, t);
        for (size_t i = 0; i < additions->count; i++)
            add_to_bucket(memory, t, &additions->items[i]);
        for (size_t i = 0; i < additions->count && tables[t]->settle != NULL; i++) {
            if (additions->items[i].left || additions->items[i].extreme)
                settle(memory, t, additions->items[i].values);
        }
    }
}

static void note_time(struct memory *memory, const struct law_event *event)
{
    const struct pj_source *source = &memory->projection->sources[event->source];
    const struct pj_value *time = &event->values[source->event_time];
    if (source->event_time != 0 && time->present && time->integer > memory->stream_time)
        memory->stream_time = time->integer;
}

/* One transaction; without events, a sweep. */
static void apply(struct memory *memory, const struct law_event *const *events, size_t count)
{
    struct pj_error error;
    struct pj_fold *fold = pj_fold_new(memory->projection, memory->settings, memory->arena);
    for (size_t i = 0; i < count; i++) {
        const struct pj_source *source = &memory->projection->sources[events[i]->source];
        struct pj_event event = {
            .values = events[i]->values,
            .topic = source->topic,
            .partition = events[i]->partition,
            .timestamp_ms = events[i]->timestamp_ms,
        };
        /* A poison event says nothing, here as there. */
        if (pj_fold_observe(fold, source, &event, &error) != 0)
            continue;
        note_time(memory, events[i]);
    }
    pj_fold_set_stream_time(fold, memory->stream_time);
    for (size_t i = 0; i < memory->state_count; i++) {
        const struct state *state = &memory->states[i];
        if (state->due.present && state->due.integer < memory->stream_time)
            pj_fold_wake(fold, state->entity, state->key);
    }
    for (size_t e = 0; e < memory->projection->entity_count; e++) {
        const struct pj_stage *stage = pj_fold_stage(fold, e);
        for (size_t i = 0; i < stage->count; i++) {
            struct state *state = find_state(memory, e, stage->touched[i].key);
            if (state != NULL && pj_fold_load(fold, e, state->key, state->data, state->length,
                                              state->derived_at, &error) != 0) {
                fprintf(stderr, "%s\n", error.message);
                abort();
            }
        }
        pj_fold_merge(fold, e);
        for (size_t i = 0; i < stage->count; i++) {
            if (stage->touched[i].changed)
                save_state(memory, e, &stage->touched[i]);
        }
    }
    pj_fold_finish(fold);
    write_rows(memory, fold, false);
    write_rows(memory, fold, true);
    write_rollups(memory, fold);
}

/* --- rows as text ---------------------------------------------------------------------------- */

static void print_value(FILE *out, enum pj_type type, const struct pj_value *value)
{
    char uuid[37];
    if (!value->present) {
        fputs("null", out);
        return;
    }
    switch (type) {
    case PJ_BOOL:
        fputs(value->boolean ? "true" : "false", out);
        return;
    case PJ_INT:
    case PJ_BIGINT:
    case PJ_TIMESTAMPTZ:
        fprintf(out, "%lld", (long long)value->integer);
        return;
    case PJ_DOUBLE:
        fprintf(out, "%g", value->real);
        return;
    case PJ_UUID:
        uuid_unparse_lower(value->uuid, uuid);
        fputs(uuid, out);
        return;
    case PJ_TEXT:
    case PJ_JSONB:
    case PJ_NUMERIC:
    case PJ_BYTEA:
        fprintf(out, "%.*s", (int)value->text.length, value->text.data);
        return;
    case PJ_COUNTS:
        for (size_t i = 0; i < value->text.length / sizeof(int64_t); i++) {
            if (((const int64_t *)value->text.data)[i] != 0)
                fprintf(out, "%zu:%lld,", i, (long long)((const int64_t *)value->text.data)[i]);
        }
        return;
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *dump(const struct memory *memory)
{
    char **lines = calloc(memory->row_count + 1, sizeof *lines);
    for (size_t i = 0; i < memory->row_count; i++) {
        size_t size;
        FILE *out = open_memstream(&lines[i], &size);
        const struct pj_table *table = memory->projection->tables[memory->rows[i].table];
        fputs(table->name, out);
        for (size_t c = 0; c < table->column_count; c++) {
            fprintf(out, "|%s=", table->columns[c].name);
            print_value(out, table->columns[c].type, &memory->rows[i].values[c]);
        }
        fputc('\n', out);
        fclose(out);
    }
    qsort(lines, memory->row_count, sizeof *lines, compare_lines);
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; i < memory->row_count; i++) {
        fputs(lines[i], out);
        free(lines[i]);
    }
    fclose(out);
    free(lines);
    return text;
}

/* --- orders ---------------------------------------------------------------------------------- */

struct order {
    const struct law_event **events;
    size_t count;
    size_t *batches; /* sizes; their sum is count */
    size_t batch_count;
};

static void free_order(struct order *order)
{
    free(order->events);
    free(order->batches);
    *order = (struct order){0};
}

static char *rows_of(const struct law *law, const struct order *order)
{
    struct memory memory = {.projection = law->projection,
                            .settings = law->settings,
                            .stream_time = INT64_MIN,
                            .arena = pj_arena_new()};
    size_t at = 0;
    for (size_t b = 0; b < order->batch_count; b++) {
        apply(&memory, order->events + at, order->batches[b]);
        at += order->batches[b];
    }
    apply(&memory, NULL, 0);
    char *text = dump(&memory);
    pj_arena_free(memory.arena);
    free(memory.states);
    free(memory.rows);
    return text;
}

static struct order own_order(const struct law *law, bool one_batch)
{
    struct order order = {.count = law->count};
    order.events = calloc(law->count + 1, sizeof *order.events);
    order.batches = calloc(law->count + 1, sizeof *order.batches);
    for (size_t i = 0; i < law->count; i++) {
        order.events[i] = &law->events[i];
        order.batches[order.batch_count] = one_batch ? law->count : 1;
        order.batch_count += !one_batch || i == 0;
    }
    return order;
}

/* The events of one partition, in their order. */
struct lane {
    const struct law_event **events;
    size_t count;
    size_t next;
};

static struct lane *make_lanes(const struct law *law, size_t *count)
{
    struct lane *lanes = calloc(law->count + 1, sizeof *lanes);
    *count = 0;
    for (size_t i = 0; i < law->count; i++) {
        const struct law_event *event = &law->events[i];
        size_t l = 0;
        while (l < *count && (lanes[l].events[0]->source != event->source ||
                              lanes[l].events[0]->partition != event->partition))
            l++;
        if (l == *count) {
            lanes[l].events = calloc(law->count, sizeof(void *));
            (*count)++;
        }
        lanes[l].events[lanes[l].count++] = event;
    }
    return lanes;
}

/*
 * Partitions advance by turns at random. Now and then one goes back to an earlier event and on from
 * there, as it would after a crash between a write and its acknowledgement, or an earlier event
 * comes once more by itself, as when its producer sent it again. Two owners are two interleavings
 * of disjoint partitions, and so are among these.
 */
static struct order random_order(const struct law *law, unsigned *seed)
{
    size_t again = law->count; /* how many may be delivered once more … */
    size_t alone = law->count; /* … and by themselves */
    size_t lane_count;
    struct lane *lanes = make_lanes(law, &lane_count);
    struct order order = {0};
    size_t left = lane_count;
    order.events = calloc(law->count * 3 + 1, sizeof(void *));
    order.batches = calloc(law->count * 3 + 1, sizeof *order.batches);
    while (left > 0) {
        struct lane *lane = &lanes[(size_t)rand_r(seed) % lane_count];
        if (lane->next == lane->count)
            continue;
        order.events[order.count++] = lane->events[lane->next++];
        if (rand_r(seed) % 6 == 0) {
            size_t back = (size_t)rand_r(seed) % (lane->next + 1);
            back = back < again ? back : again;
            lane->next -= back;
            again -= back;
        } else if (rand_r(seed) % 6 == 0 && alone > 0) {
            order.events[order.count++] = lane->events[(size_t)rand_r(seed) % lane->next];
            alone--;
        }
        left -= lane->next == lane->count;
    }
    for (size_t l = 0; l < lane_count; l++)
        free(lanes[l].events);
    free(lanes);
    for (size_t rest = order.count; rest > 0;) {
        size_t size = 1 + (size_t)rand_r(seed) % (rest < 9 ? rest : 9);
        order.batches[order.batch_count++] = size;
        rest -= size;
    }
    return order;
}

/* --- the smallest order ---------------------------------------------------------------------- */

static bool is_in(const struct order *order, const struct law_event *event, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        if (order->events[i] == event)
            return true;
    }
    return false;
}

/* The events that the order delivers, each once, in their own order. */
static struct law set_of(const struct law *law, const struct order *order)
{
    struct law set = *law;
    set.events = calloc(law->count, sizeof *set.events);
    set.count = 0;
    for (size_t i = 0; i < law->count; i++) {
        if (is_in(order, &law->events[i], order->count))
            set.events[set.count++] = law->events[i];
    }
    return set;
}

static bool breaks(const struct law *law, const struct order *order)
{
    struct law set = set_of(law, order);
    struct order own = own_order(&set, false);
    char *expected = rows_of(&set, &own);
    char *rows = rows_of(law, order);
    bool differ = strcmp(rows, expected) != 0;
    free(expected);
    free(rows);
    free_order(&own);
    free(set.events);
    return differ;
}

/* Whether each partition's events first come in their order; what comes again may come anywhere. */
static bool keeps_partitions(const struct order *order)
{
    for (size_t later = 0; later < order->count; later++) {
        for (size_t i = 0; i < later; i++) {
            const struct law_event *a = order->events[i];
            const struct law_event *b = order->events[later];
            if (a->source == b->source && a->partition == b->partition && a > b &&
                !is_in(order, b, i))
                return false;
        }
    }
    return true;
}

/* The order without the deliveries that `left_out` says, in the batches that are left. */
static struct order without(const struct order *order, const bool *left_out)
{
    struct order fewer = {.events = calloc(order->count + 1, sizeof *fewer.events),
                          .batches = calloc(order->batch_count + 1, sizeof *fewer.batches)};
    size_t at = 0;
    for (size_t b = 0; b < order->batch_count; b++) {
        size_t kept = 0;
        for (size_t i = 0; i < order->batches[b]; i++, at++) {
            if (!left_out[at]) {
                fewer.events[fewer.count++] = order->events[at];
                kept++;
            }
        }
        if (kept > 0)
            fewer.batches[fewer.batch_count++] = kept;
    }
    return fewer;
}

static bool replace_if_it_breaks(const struct law *law, struct order *order, struct order other)
{
    bool better = keeps_partitions(&other) && breaks(law, &other);
    free_order(better ? order : &other);
    if (better)
        *order = other;
    return better;
}

/* Leaves out `size` deliveries in a row, wherever they can be; or all of the events in them. */
static bool leave_out(const struct law *law, struct order *order, size_t size, bool events)
{
    bool any = false;
    for (size_t from = 0; from < order->count;) {
        bool *left_out = calloc(order->count, sizeof *left_out);
        for (size_t i = from; i < order->count && i < from + size; i++) {
            left_out[i] = true;
            for (size_t same = 0; events && same < order->count; same++)
                left_out[same] = left_out[same] || order->events[same] == order->events[i];
        }
        bool better = replace_if_it_breaks(law, order, without(order, left_out));
        free(left_out);
        any = any || better;
        from += better ? 0 : size;
    }
    return any;
}

static void leave_out_singly(const struct law *law, struct order *order)
{
    while (leave_out(law, order, 1, true) || leave_out(law, order, 1, false))
        ; /* what could not go may go now */
}

/* Puts the batch boundaries after each delivery, or, where it takes a batch, as few as do. */
static void cut_anew(const struct law *law, struct order *order)
{
    bool *none = calloc(order->count + 1, sizeof *none);
    struct order single = without(order, none);
    single.batches = realloc(single.batches, (single.count + 1) * sizeof *single.batches);
    single.batch_count = single.count;
    for (size_t i = 0; i < single.count; i++)
        single.batches[i] = 1;
    if (!replace_if_it_breaks(law, order, single)) {
        for (size_t b = 0; b + 1 < order->batch_count;) {
            struct order joined = without(order, none);
            joined.batches[b] += joined.batches[b + 1];
            joined.batch_count--;
            for (size_t i = b + 1; i < joined.batch_count; i++)
                joined.batches[i] = joined.batches[i + 1];
            b += !replace_if_it_breaks(law, order, joined);
        }
    }
    free(none);
}

/* Makes an order that breaks the law so small that no delivery can be left out of it. */
static void reduce(const struct law *law, struct order *order)
{
    for (size_t size = order->count / 2; size > 1; size /= 2)
        leave_out(law, order, size, true);
    leave_out_singly(law, order);
    cut_anew(law, order);
    leave_out_singly(law, order); /* in other batches more may go */
}

static void print_event(const struct law *law, const struct law_event *event)
{
    const struct pj_source *source = &law->projection->sources[event->source];
    fprintf(stderr, "  %s [%d]", source->topic, event->partition);
    for (size_t f = 0; f < source->field_count; f++) {
        if (!event->values[f].present)
            continue;
        fprintf(stderr, " %s=", source->fields[f].path);
        print_value(stderr, source->fields[f].type, &event->values[f]);
    }
    fputc('\n', stderr);
}

static void print_order(const struct law *law, const struct order *order)
{
    size_t at = 0;
    for (size_t b = 0; b < order->batch_count; b++) {
        for (size_t i = 0; i < order->batches[b]; i++, at++) {
            print_event(law, order->events[at]);
            if (is_in(order, order->events[at], at))
                fprintf(stderr, "    (once more)\n");
        }
        if (order->batch_count < order->count && b + 1 < order->batch_count)
            fprintf(stderr, "    -- commit --\n");
    }
}

static void explain(const struct law *law, struct order *order)
{
    reduce(law, order);
    struct law set = set_of(law, order);
    struct order own = own_order(&set, false);
    char *expected = rows_of(&set, &own);
    char *rows = rows_of(law, order);
    fprintf(stderr, "the law is broken; in this order\n");
    print_order(&set, &own);
    fprintf(stderr, "the rows are\n%sbut in this order%s\n", expected,
            order->batch_count < order->count ? ", in these transactions," : "");
    print_order(law, order);
    fprintf(stderr, "they are\n%s", rows);
    free(expected);
    free(rows);
    free_order(&own);
    free(set.events);
}

bool law_holds(const struct law *law, int orders, unsigned seed)
{
    char *expected = law_rows(law, false);
    bool holds = true;
    for (int i = 0; i < orders && holds; i++) {
        unsigned from = seed + (unsigned)i;
        struct order order = random_order(law, &from);
        char *rows = rows_of(law, &order);
        holds = strcmp(rows, expected) == 0;
        free(rows);
        if (!holds)
            explain(law, &order);
        free_order(&order);
    }
    free(expected);
    return holds;
}

char *law_rows(const struct law *law, bool one_batch)
{
    struct order order = own_order(law, one_batch);
    char *rows = rows_of(law, &order);
    free_order(&order);
    return rows;
}

/* --- events ---------------------------------------------------------------------------------- */

struct law law_of(const struct pj_projection *projection)
{
    return (struct law){.projection = projection, .arena = pj_arena_new()};
}

void law_free(struct law *law)
{
    pj_arena_free(law->arena);
    free(law->events);
}

struct pj_value *law_event(struct law *law, size_t source, int32_t partition)
{
    if (law->count == law->capacity) {
        law->capacity = law->capacity != 0 ? law->capacity * 2 : 16;
        law->events = realloc(law->events, law->capacity * sizeof *law->events);
    }
    struct law_event *event = &law->events[law->count++];
    size_t fields = law->projection->sources[source].field_count;
    *event = (struct law_event){.source = source, .partition = partition, .timestamp_ms = -1};
    event->values = pj_arena_alloc(law->arena, fields * sizeof *event->values);
    return event->values;
}

struct pj_value law_uuid(unsigned number)
{
    uint8_t uuid[16] = {0, 0, 0, 0, 0, 0, 0x40, 0, 0x80};
    for (int i = 0; i < 4; i++)
        uuid[15 - i] = (uint8_t)(number >> (8 * i));
    return pj_uuid(uuid);
}

struct pj_value law_time(int64_t ms)
{
    return pj_timestamp(ms * 1000);
}
