/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The law of the projections as a test: tables are a function of the set of events.
 *
 * Give it a projection and its events, each with the partition it would be in; it folds them in
 * one order, then in many others that keep each partition's order, with repeated deliveries, cut
 * into batches at random and split over two owners whose transactions overlap, and compares the
 * rows. An order that gives other rows is made so small that nothing can be left out of it, and
 * printed.
 *
 *     struct law law = law_of(&pj_command_projector);
 *     struct pj_value *v = law_event(&law, 0, 3);    // source 0, partition 3
 *     v[COMMAND_ID] = ...;
 *     cr_assert(law_holds(&law, 2000, 42));
 *     law_free(&law);
 */
#ifndef PJ_TESTS_LAW_H
#define PJ_TESTS_LAW_H

#include "base/arena.h"
#include "fold/fold.h"

struct law_event {
    size_t source;
    int32_t partition;
    int64_t timestamp_ms;
    struct pj_value *values;
};

struct law {
    const struct pj_projection *projection;
    const int64_t *settings; /* of the projection, or NULL */
    struct pj_arena *arena;
    struct law_event *events;
    size_t count;
    size_t capacity;
};

/* Fails the test where something is wrong with the declaration. */
struct law law_of(const struct pj_projection *projection);
void law_free(struct law *law);

/* How many events are dead letters for a row that follows twice, in the events' own order. */
size_t law_dead_letters(const struct law *law, bool one_batch);

/* Whether the events make a row of each of the projection's tables: of what they make none of, the
 * law says nothing. Prints which. */
bool law_reaches(const struct law *law);

/* A new event at the end of its partition, all null: fill its values. */
struct pj_value *law_event(struct law *law, size_t source, int32_t partition);

/* Tries that many orders from the seed, then the events' own in one batch; prints what breaks it,
 * or a row without its key. */
bool law_holds(const struct law *law, int orders, unsigned seed);

/* The rows after the events in their own order, one "table|column=value|…" a line, sorted;
 * malloc'ed. Every event is a batch of its own unless `one_batch`. */
char *law_rows(const struct law *law, bool one_batch);

/* For filling values. */
struct pj_value law_uuid(unsigned number); /* 00000000-0000-4000-8000-<number> */
struct pj_value law_time(int64_t ms);      /* milliseconds since 1970 */

#endif
