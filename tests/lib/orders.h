/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order independence as a test: tables are a function of the set of events.
 *
 * Give it a projection and its events, each with the partition it would be in; it folds them in
 * one order, then in many others that keep each partition's order, with repeated deliveries, cut
 * into batches at random and split over two owners whose transactions overlap, and compares the
 * rows. An order that gives other rows is made so small that nothing can be left out of it, and
 * printed.
 *
 *     struct orders orders = orders_of(&pj_command_projector);
 *     struct pj_value *v = orders_event(&orders, 0, 3);    // source 0, partition 3
 *     v[COMMAND_ID] = ...;
 *     cr_assert(orders_agree(&orders, 2000, 42));
 *     orders_free(&orders);
 */
#ifndef PJ_TESTS_ORDERS_H
#define PJ_TESTS_ORDERS_H

#include "base/arena.h"
#include "fold/fold.h"

struct orders_event {
    size_t source;
    int32_t partition;
    int64_t timestamp_ms;
    struct pj_value *values;
};

struct orders {
    const struct pj_projection *projection;
    const int64_t *settings; /* of the projection, or NULL */
    struct pj_arena *arena;
    struct orders_event *events;
    size_t count;
    size_t capacity;
};

/* Fails the test where something is wrong with the declaration. */
struct orders orders_of(const struct pj_projection *projection);
void orders_free(struct orders *orders);

/* How many events are dead letters for a row that follows twice, in the events' own order. */
size_t orders_dead_letters(const struct orders *orders, bool one_batch);

/* Whether the events make a row of each of the projection's tables: of what they make none of, the
 * orders say nothing. Prints which. */
bool orders_reaches(const struct orders *orders);

/* A new event at the end of its partition, all null: fill its values. */
struct pj_value *orders_event(struct orders *orders, size_t source, int32_t partition);

/* Tries that many orders from the seed, then the events' own in one batch; prints what breaks it,
 * or a row without its key. */
bool orders_agree(const struct orders *orders, int times, unsigned seed);

/* The rows after the events in their own order, one "table|column=value|…" a line, sorted;
 * malloc'ed. Every event is a batch of its own unless `one_batch`. */
char *orders_rows(const struct orders *orders, bool one_batch);

/* For filling values. */
struct pj_value orders_uuid(unsigned number); /* 00000000-0000-4000-8000-<number> */
struct pj_value orders_time(int64_t ms);      /* milliseconds since 1970 */

#endif
