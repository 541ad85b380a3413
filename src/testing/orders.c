/* SPDX-License-Identifier: Apache-2.0 */
#include "projectionist/testing.h"

#include "base/arena.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/projection_check.h"
#include "engine/settings.h"
#include "fold/claims.h"
#include "testing/memory_store.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- orders ---------------------------------------------------------------------------------- */

struct batch {
    size_t size;
    int owner; /* 0 or 1 */
};

struct order {
    const struct pj_orders_event **events;
    size_t count;
    struct batch *batches; /* the sum of their sizes is count */
    size_t batch_count;
};

static void free_order(struct order *order)
{
    free(order->events);
    free(order->batches);
    *order = (struct order){0};
}

static struct pj_memory_store *memory_of(const struct pj_orders *orders, const struct order *order)
{
    struct pj_memory_store *memory = pj_memory_store_new(orders->projection, orders->settings);
    size_t at = 0;
    int owner = 0;
    for (size_t b = 0; b < order->batch_count; b++) {
        owner = order->batches[b].owner;
        pj_memory_store_apply(memory, owner, order->events + at, order->batches[b].size);
        at += order->batches[b].size;
    }
    /* Whoever commits looks once more who is due by then. */
    pj_memory_store_apply(memory, owner, NULL, 0);
    return memory;
}

static char *rows_of(const struct pj_orders *orders, const struct order *order)
{
    struct pj_memory_store *memory = memory_of(orders, order);
    char *text = pj_memory_store_rows(memory, true);
    pj_memory_store_free(memory);
    return text;
}

static struct order own_order(const struct pj_orders *orders, bool one_batch)
{
    struct order order = {.count = orders->count};
    order.events = pj_calloc(orders->count + 1, sizeof *order.events);
    order.batches = pj_calloc(orders->count + 1, sizeof *order.batches);
    for (size_t i = 0; i < orders->count; i++) {
        order.events[i] = &orders->events[i];
        order.batches[order.batch_count].size = one_batch ? orders->count : 1;
        order.batch_count += !one_batch || i == 0;
    }
    return order;
}

/* The events of one partition, in their order, and who has it. */
struct lane {
    const struct pj_orders_event **events;
    size_t count;
    size_t next;
    int owner;
};

struct lanes {
    struct lane *items;
    size_t count;
    size_t again; /* how many events may be delivered once more … */
    size_t alone; /* … and by themselves */
};

static struct lanes make_lanes(const struct pj_orders *orders)
{
    struct lanes lanes = {.items = pj_calloc(orders->count + 1, sizeof *lanes.items),
                          .again = orders->count,
                          .alone = orders->count};
    for (size_t i = 0; i < orders->count; i++) {
        const struct pj_orders_event *event = &orders->events[i];
        size_t l = 0;
        while (l < lanes.count && (lanes.items[l].events[0]->source != event->source ||
                                   lanes.items[l].events[0]->partition != event->partition))
            l++;
        struct lane *lane = &lanes.items[l];
        if (l == lanes.count) {
            lane->events = pj_calloc(orders->count, sizeof(void *));
            lanes.count++;
        }
        lane->events[lane->count++] = event;
    }
    return lanes;
}

static void free_lanes(struct lanes *lanes)
{
    for (size_t l = 0; l < lanes->count; l++)
        free(lanes->items[l].events);
    free(lanes->items);
}

/* One at random that is not at its end, of that owner or (-1) of any; NULL: there is none. */
static struct lane *choose_lane(const struct lanes *lanes, int owner, unsigned *seed)
{
    size_t from = (size_t)rand_r(seed);
    for (size_t i = 0; i < lanes->count; i++) {
        struct lane *lane = &lanes->items[(from + i) % lanes->count];
        if (lane->next < lane->count && (owner < 0 || lane->owner == owner))
            return lane;
    }
    return NULL;
}

/*
 * The next event of a partition. Now and then it goes back to an earlier one and on from there, as
 * it would after a crash between a write and its acknowledgement, or an earlier event comes once
 * more by itself, as when its producer sent it again.
 */
static void deliver(struct order *order, struct lanes *lanes, struct lane *lane, unsigned *seed)
{
    order->events[order->count++] = lane->events[lane->next++];
    if (rand_r(seed) % 6 == 0) {
        size_t back = (size_t)rand_r(seed) % (lane->next + 1);
        back = back < lanes->again ? back : lanes->again;
        lane->next -= back;
        lanes->again -= back;
    } else if (rand_r(seed) % 6 == 0 && lanes->alone > 0) {
        order->events[order->count++] = lane->events[(size_t)rand_r(seed) % lane->next];
        lanes->alone--;
    }
}

/*
 * Partitions advance by turns at random, in batches of a few. In half of the orders two owners have
 * them, who commit by turns at random; now and then one takes a partition over from the other.
 */
static struct order random_order(const struct pj_orders *orders, unsigned *seed)
{
    struct lanes lanes = make_lanes(orders);
    struct order order = {.events = pj_calloc(orders->count * 3 + 1, sizeof *order.events),
                          .batches = pj_calloc(orders->count * 3 + 1, sizeof *order.batches)};
    bool two_owners = rand_r(seed) % 2 == 0;
    for (size_t l = 0; l < lanes.count; l++)
        lanes.items[l].owner = two_owners ? rand_r(seed) % 2 : 0;
    struct lane *lane;
    while ((lane = choose_lane(&lanes, -1, seed)) != NULL) {
        struct batch *batch = &order.batches[order.batch_count++];
        size_t from = order.count;
        size_t most = from + 1 + (size_t)rand_r(seed) % 9;
        batch->owner = lane->owner;
        for (; lane != NULL && order.count < most; lane = choose_lane(&lanes, batch->owner, seed))
            deliver(&order, &lanes, lane, seed);
        batch->size = order.count - from;
        lane = choose_lane(&lanes, -1, seed);
        if (two_owners && lane != NULL && rand_r(seed) % 4 == 0)
            lane->owner = !lane->owner;
    }
    free_lanes(&lanes);
    return order;
}

/* --- the smallest order ---------------------------------------------------------------------- */

static bool is_in(const struct order *order, const struct pj_orders_event *event, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        if (order->events[i] == event)
            return true;
    }
    return false;
}

/* The events that the order delivers, each once, in their own order. */
static struct pj_orders set_of(const struct pj_orders *orders, const struct order *order)
{
    struct pj_orders set = *orders;
    set.events = pj_calloc(orders->count, sizeof *set.events);
    set.count = 0;
    for (size_t i = 0; i < orders->count; i++) {
        if (is_in(order, &orders->events[i], order->count))
            set.events[set.count++] = orders->events[i];
    }
    return set;
}

static bool breaks(const struct pj_orders *orders, const struct order *order)
{
    struct pj_orders set = set_of(orders, order);
    struct order own = own_order(&set, false);
    char *expected = rows_of(&set, &own);
    char *rows = rows_of(orders, order);
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
            const struct pj_orders_event *a = order->events[i];
            const struct pj_orders_event *b = order->events[later];
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
    struct order fewer = {.events = pj_calloc(order->count + 1, sizeof *fewer.events),
                          .batches = pj_calloc(order->batch_count + 1, sizeof *fewer.batches)};
    size_t at = 0;
    for (size_t b = 0; b < order->batch_count; b++) {
        size_t kept = 0;
        for (size_t i = 0; i < order->batches[b].size; i++, at++) {
            if (!left_out[at]) {
                fewer.events[fewer.count++] = order->events[at];
                kept++;
            }
        }
        if (kept > 0)
            fewer.batches[fewer.batch_count++] = (struct batch){kept, order->batches[b].owner};
    }
    return fewer;
}

static bool replace_if_it_breaks(const struct pj_orders *orders, struct order *order,
                                 struct order other)
{
    bool better = keeps_partitions(&other) && breaks(orders, &other);
    free_order(better ? order : &other);
    if (better)
        *order = other;
    return better;
}

/* Leaves out `size` deliveries in a row, wherever they can be; or all of the events in them. */
static bool leave_out(const struct pj_orders *orders, struct order *order, size_t size, bool events)
{
    bool any = false;
    for (size_t from = 0; from < order->count;) {
        bool *left_out = pj_calloc(order->count, sizeof *left_out);
        for (size_t i = from; i < order->count && i < from + size; i++) {
            left_out[i] = true;
            for (size_t same = 0; events && same < order->count; same++)
                left_out[same] = left_out[same] || order->events[same] == order->events[i];
        }
        bool better = replace_if_it_breaks(orders, order, without(order, left_out));
        free(left_out);
        any = any || better;
        from += better ? 0 : size;
    }
    return any;
}

static void leave_out_singly(const struct pj_orders *orders, struct order *order)
{
    while (leave_out(orders, order, 1, true) || leave_out(orders, order, 1, false))
        ; /* what could not go may go now */
}

static struct order copy_of(const struct order *order)
{
    bool *none = pj_calloc(order->count + 1, sizeof *none);
    struct order copy = without(order, none);
    free(none);
    copy.batches = pj_resize(copy.batches, copy.count + 1, sizeof *copy.batches);
    return copy;
}

static void join_batches(struct order *order, size_t b)
{
    order->batches[b].size += order->batches[b + 1].size;
    order->batch_count--;
    for (size_t i = b + 1; i < order->batch_count; i++)
        order->batches[i] = order->batches[i + 1];
}

/* Gives all to one owner, and puts the batch boundaries after each delivery; or, where it takes two
 * owners, or a batch, as few batches as do. */
static void cut_anew(const struct pj_orders *orders, struct order *order)
{
    struct order one_owner = copy_of(order);
    for (size_t b = 0; b < one_owner.batch_count; b++)
        one_owner.batches[b].owner = 0;
    (void)replace_if_it_breaks(orders, order, one_owner);
    struct order single = copy_of(order);
    for (size_t b = 0, at = 0; b < order->batch_count; b++) {
        for (size_t i = 0; i < order->batches[b].size; i++)
            single.batches[at++] = (struct batch){1, order->batches[b].owner};
    }
    single.batch_count = single.count;
    if (replace_if_it_breaks(orders, order, single))
        return;
    for (size_t b = 0; b + 1 < order->batch_count;) {
        if (order->batches[b].owner != order->batches[b + 1].owner) {
            b++;
            continue;
        }
        struct order joined = copy_of(order);
        join_batches(&joined, b);
        b += !replace_if_it_breaks(orders, order, joined);
    }
}

/* Makes an order that makes a difference so small that no delivery can be left out of it. */
static void reduce(const struct pj_orders *orders, struct order *order)
{
    for (size_t size = order->count / 2; size > 1; size /= 2)
        leave_out(orders, order, size, true);
    leave_out_singly(orders, order);
    cut_anew(orders, order);
    leave_out_singly(orders, order); /* in other batches more may go */
}

static void print_event(const struct pj_orders *orders, const struct pj_orders_event *event)
{
    const struct pj_source *source = &orders->projection->sources[event->source];
    struct pj_builder line = {0};
    for (size_t f = 0; f < source->field_count; f++) {
        if (!event->values[f].present)
            continue;
        pj_builder_add(&line, " %s=", source->fields[f].path);
        pj_orders_add_value(&line, source->fields[f].type, &event->values[f]);
    }
    char *values = pj_builder_take(&line);
    fprintf(stderr, "  %s [%d]%s\n", source->topic, event->partition, values);
    free(values);
}

static bool has_two_owners(const struct order *order)
{
    bool two = false;
    for (size_t b = 0; b < order->batch_count; b++)
        two = two || order->batches[b].owner != 0;
    return two;
}

/* Where each delivery is a transaction of one owner, nothing is said of transactions. */
static bool shows_commits(const struct order *order)
{
    return order->batch_count < order->count || has_two_owners(order);
}

static void print_order(const struct pj_orders *orders, const struct order *order)
{
    bool two_owners = has_two_owners(order);
    bool commits = shows_commits(order);
    size_t at = 0;
    for (size_t b = 0; b < order->batch_count; b++) {
        for (size_t i = 0; i < order->batches[b].size; i++, at++) {
            print_event(orders, order->events[at]);
            if (is_in(order, order->events[at], at))
                fprintf(stderr, "    (once more)\n");
        }
        if (two_owners)
            fprintf(stderr, "    -- owner %d commits --\n", order->batches[b].owner + 1);
        else if (commits && b + 1 < order->batch_count)
            fprintf(stderr, "    -- commit --\n");
    }
}

static void explain(const struct pj_orders *orders, struct order *order)
{
    reduce(orders, order);
    struct pj_orders set = set_of(orders, order);
    struct order own = own_order(&set, false);
    char *expected = rows_of(&set, &own);
    char *rows = rows_of(orders, order);
    fprintf(stderr, "the rows depend on the order; in this one\n");
    print_order(&set, &own);
    fprintf(stderr, "the rows are\n%sbut in this order%s\n", expected,
            shows_commits(order) ? ", in these transactions," : "");
    print_order(orders, order);
    fprintf(stderr, "they are\n%s", rows);
    free(expected);
    free(rows);
    free_order(&own);
    free(set.events);
}

static struct pj_memory_store *own_memory(const struct pj_orders *orders, bool one_batch)
{
    struct order order = own_order(orders, one_batch);
    struct pj_memory_store *memory = memory_of(orders, &order);
    free_order(&order);
    return memory;
}

bool pj_orders_agree(const struct pj_orders *orders, int times, unsigned seed)
{
    struct pj_memory_store *own = own_memory(orders, false);
    char *expected = pj_memory_store_rows(own, true);
    bool holds = pj_memory_store_keys(own);
    pj_memory_store_free(own);
    for (int i = 0; i <= times && holds; i++) {
        unsigned from = seed + (unsigned)i;
        struct order order = i < times ? random_order(orders, &from) : own_order(orders, true);
        char *rows = rows_of(orders, &order);
        holds = strcmp(rows, expected) == 0;
        free(rows);
        if (!holds)
            explain(orders, &order);
        free_order(&order);
    }
    free(expected);
    return holds;
}

char *pj_orders_rows(const struct pj_orders *orders, bool one_batch)
{
    struct pj_memory_store *memory = own_memory(orders, one_batch);
    char *rows = pj_memory_store_rows(memory, false);
    pj_memory_store_free(memory);
    return rows;
}

int64_t pj_orders_counted(const struct pj_orders *orders, size_t counter, size_t word,
                          bool one_batch)
{
    struct order order = own_order(orders, one_batch);
    struct pj_memory_store *memory = memory_of(orders, &order);
    int64_t counted = pj_memory_store_counted(memory, counter, word);
    pj_memory_store_free(memory);
    free_order(&order);
    return counted;
}

size_t pj_orders_dead_letters(const struct pj_orders *orders, bool one_batch)
{
    struct pj_memory_store *memory = own_memory(orders, one_batch);
    size_t letters = pj_memory_store_dead_letters(memory);
    pj_memory_store_free(memory);
    return letters;
}

bool pj_orders_expect(const struct pj_orders *orders, const char *text)
{
    char *rows = pj_orders_rows(orders, false);
    bool found = strstr(rows, text) != NULL;
    if (!found)
        fprintf(stderr, "%s\nis not in the rows, which are\n%s", text, rows);
    free(rows);
    return found && pj_orders_agree(orders, 100, 7);
}

bool pj_orders_refuse(const struct pj_orders *orders, const char *text)
{
    char *rows = pj_orders_rows(orders, false);
    bool found = strstr(rows, text) != NULL;
    if (found)
        fprintf(stderr, "%s\nis in the rows, which are\n%s", text, rows);
    free(rows);
    return !found;
}

bool pj_orders_reaches(const struct pj_orders *orders)
{
    struct pj_memory_store *memory = own_memory(orders, false);
    bool all = pj_memory_store_reaches(memory);
    pj_memory_store_free(memory);
    return all;
}

/* --- events ---------------------------------------------------------------------------------- */

struct pj_orders pj_orders_of(const struct pj_projection *projection)
{
    struct pj_error error = {0};
    if (pj_projection_check(projection, &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
    struct pj_arena *arena = pj_arena_new();
    union pj_setting_value *settings = pj_arena_alloc(arena, PJ_SETTINGS_MOST * sizeof *settings);
    if (pj_setting_fallbacks(projection->settings, settings, arena, &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
    return (struct pj_orders){
        .projection = pj_claims_expand(projection), .settings = settings, .arena = arena};
}

void pj_orders_free(struct pj_orders *orders)
{
    pj_arena_free(orders->arena);
    free(orders->events);
}

struct pj_value *pj_orders_event(struct pj_orders *orders, size_t source, int32_t partition)
{
    if (orders->count == orders->capacity) {
        orders->capacity = orders->capacity != 0 ? orders->capacity * 2 : 16;
        orders->events = pj_resize(orders->events, orders->capacity, sizeof *orders->events);
    }
    struct pj_orders_event *event = &orders->events[orders->count++];
    size_t fields = orders->projection->sources[source].field_count;
    *event = (struct pj_orders_event){.source = source, .partition = partition, .timestamp_ms = -1};
    event->values = pj_arena_alloc(orders->arena, fields * sizeof *event->values);
    return event->values;
}

struct pj_orders_event *pj_orders_last(struct pj_orders *orders)
{
    return &orders->events[orders->count - 1];
}

struct pj_value pj_orders_uuid(unsigned number)
{
    uint8_t uuid[16] = {0, 0, 0, 0, 0, 0, 0x40, 0, 0x80};
    for (int i = 0; i < 4; i++)
        uuid[15 - i] = (uint8_t)(number >> (8 * i));
    return pj_uuid(uuid);
}

struct pj_value pj_orders_time(int64_t ms)
{
    return pj_timestamp(ms * 1000);
}

struct pj_value pj_orders_text(struct pj_orders *orders, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = pj_text_vnew(format, args);
    va_end(args);
    struct pj_value value = pj_text(pj_arena_string(orders->arena, text, strlen(text)));
    free(text);
    return value;
}

/* --- the mixture ----------------------------------------------------------------------------- */

/* Of five quarters of an hour the last begins another day, so that buckets of both are left. */
enum { MIXED_FROM_MS = 23 * 3600000, QUARTER_MS = 900000, OWN_IDS_FROM = 1000 };

/* The number, moved into the field's bounds. */
static int within(const struct pj_field *field, int number)
{
    int least = field->least != NULL ? (int)ceil(strtod(field->least, NULL)) : number;
    int most = field->most != NULL ? (int)floor(strtod(field->most, NULL)) : number;
    number = field->least != NULL ? least + number : number;
    return field->most != NULL && number > most ? most - number % 2 : number;
}

static void fill_fields(struct pj_orders *orders, const struct pj_field *fields, size_t count,
                        struct pj_value *values, unsigned *seed);

/* By the rules of the field. */
static struct pj_value mixed_text(struct pj_orders *orders, const struct pj_field *field,
                                  int number)
{
    int words = 0;
    while (field->words != NULL && field->words[words] != NULL)
        words++;
    if (words > 0)
        return pj_text(field->words[number % words]);
    switch (field->form) {
    case PJ_FORM_UUID:
        return pj_orders_text(orders, "00000000-0000-4000-8000-%012d", number);
    case PJ_FORM_INET:
        return pj_orders_text(orders, "10.0.0.%d", number);
    case PJ_FORM_DATE:
        return pj_orders_text(orders, "2026-11-2%d", number);
    case PJ_FORM_TIME:
        return pj_orders_text(orders, "0%d:00:00", number);
    case PJ_FORM_TIMESTAMP:
        return pj_orders_text(orders, "2026-11-2%dT00:00:00Z", number);
    case PJ_FORM_ANY:
        break;
    }
    return pj_orders_text(orders, "%c", 'a' + number);
}

static struct pj_value mixed_value(struct pj_orders *orders, const struct pj_field *field,
                                   unsigned *seed)
{
    int number = rand_r(seed) % 4;
    if (field->least != NULL || field->most != NULL)
        number = within(field, number);
    switch (field->type) {
    case PJ_BOOL:
        return pj_bool(number % 2 == 0);
    case PJ_INT:
    case PJ_BIGINT:
        return pj_bigint(number);
    case PJ_DOUBLE:
        return pj_double(number / 2.0);
    case PJ_UUID:
        return pj_orders_uuid((unsigned)number);
    case PJ_TIMESTAMPTZ:
        return pj_orders_time(MIXED_FROM_MS + rand_r(seed) % 5 * QUARTER_MS + number);
    case PJ_NUMERIC:
        return pj_orders_text(orders, "%d", number);
    case PJ_JSONB:
        return pj_text("{}");
    case PJ_TEXT:
    case PJ_BYTEA:
        return mixed_text(orders, field, number);
    case PJ_COUNTS:
        break; /* not a type of a field */
    }
    return pj_null();
}

/* None to two items. */
static struct pj_value mixed_items(struct pj_orders *orders, const struct pj_items *items,
                                   unsigned *seed)
{
    size_t count = (size_t)rand_r(seed) % 3;
    struct pj_value *values =
        pj_arena_alloc(orders->arena, count * items->field_count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        fill_fields(orders, items->fields, items->field_count, &values[i * items->field_count],
                    seed);
    return pj_items_of(values, count, items->field_count);
}

static void fill_fields(struct pj_orders *orders, const struct pj_field *fields, size_t count,
                        struct pj_value *values, unsigned *seed)
{
    for (size_t f = 0; f < count; f++) {
        if (!fields[f].required && rand_r(seed) % 4 == 0)
            continue;
        values[f] = fields[f].items != NULL ? mixed_items(orders, fields[f].items, seed)
                                            : mixed_value(orders, &fields[f], seed);
    }
}

bool pj_orders_mixture(struct pj_orders *orders, int count, unsigned seed, pj_orders_fill *fill)
{
    for (int i = 0; i < count; i++) {
        size_t index = (size_t)rand_r(&seed) % orders->projection->source_count;
        const struct pj_source *source = &orders->projection->sources[index];
        struct pj_value *values = pj_orders_event(orders, index, rand_r(&seed) % 3);
        if (source->tombstones) {
            pj_orders_last(orders)->key = pj_orders_text(orders, "%c", 'a' + rand_r(&seed) % 4);
            pj_orders_last(orders)->tombstone = rand_r(&seed) % 8 == 0;
        }
        if (pj_orders_last(orders)->tombstone)
            continue;
        fill_fields(orders, source->fields, source->field_count, values, &seed);
        if (source->fields[0].type == PJ_UUID)
            values[0] = pj_orders_uuid(OWN_IDS_FROM + (unsigned)orders->count);
        if (fill != NULL)
            fill(orders, index, values, &seed);
    }
    return pj_orders_reaches(orders);
}
