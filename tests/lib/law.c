/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/law.h"

#include "lib/law_memory.h"

#include <stdlib.h>

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
    struct law_memory *memory = law_memory_new(law->projection, law->settings);
    size_t at = 0;
    for (size_t b = 0; b < order->batch_count; b++) {
        law_memory_apply(memory, order->events + at, order->batches[b]);
        at += order->batches[b];
    }
    law_memory_apply(memory, NULL, 0);
    char *text = law_memory_rows(memory);
    law_memory_free(memory);
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
        law_print_value(stderr, source->fields[f].type, &event->values[f]);
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
