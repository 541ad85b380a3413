/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For a team's unit tests: order independence as a test. Tables are a function of the set of
 * events.
 *
 * Give it a projection and its events, each with the partition it would be in; it folds them in
 * one order, then in many others that keep each partition's order, with repeated deliveries, cut
 * into batches at random and split over two owners whose transactions overlap, and compares the
 * rows. An order that gives other rows is reduced until nothing can be left out, and printed.
 *
 *     struct pj_orders orders = pj_orders_of(&my_projection);
 *     struct pj_value *v = pj_orders_event(&orders, 0, 3);    // source 0, partition 3
 *     v[F_ITEM] = pj_text("lamp");
 *     bool good = pj_orders_expect(&orders, "item=lamp|") &&
 *                 pj_orders_mixture(&orders, 40, 1, NULL) && pj_orders_agree(&orders, 1000, 42);
 *     pj_orders_free(&orders);
 *
 * It needs no server and no test framework: what is wrong is printed to stderr, and a function
 * returns false. The database is one in memory. SQL functions do not run in it: buckets of a rollup
 * are refreshed as `refresh` should, and there are no placeholders.
 */
#ifndef PROJECTIONIST_TESTING_H
#define PROJECTIONIST_TESTING_H

#include "projectionist/projection.h"

struct pj_orders_event {
    size_t source;
    int32_t partition;
    int64_t timestamp_ms;
    struct pj_value *values;
    bool tombstone; /* its values must be null */
    struct pj_value key;
    const struct pj_record_header *headers;
    size_t header_count;
};

struct pj_orders {
    const struct pj_projection *projection;
    const union pj_setting_value *settings; /* one a setting; at first the fallbacks */
    struct pj_arena *arena;
    struct pj_orders_event *events;
    size_t count;
    size_t capacity;
};

/* Aborts with a sentence where the declaration is wrong. */
struct pj_orders pj_orders_of(const struct pj_projection *projection);
void pj_orders_free(struct pj_orders *orders);

/* --- events ---------------------------------------------------------------------------------- */

/* A new event at the end of its partition, all null: fill its values, one per field. */
struct pj_value *pj_orders_event(struct pj_orders *orders, size_t source, int32_t partition);

/* The same for fields that are a list (projectionist/typed.h): a struct of the list. */
#define PJ_ORDERS_EVENT(orders, list, source, partition)                                           \
    ((struct list *)pj_orders_event(orders, source, partition))

/* The event that was added last, for its key, headers or timestamp. */
struct pj_orders_event *pj_orders_last(struct pj_orders *orders);

/* For filling values; a text lives as long as the orders. */
struct pj_value pj_orders_uuid(unsigned number); /* 00000000-0000-4000-8000-<number> */
struct pj_value pj_orders_time(int64_t ms);      /* milliseconds since 1970 */
struct pj_value pj_orders_text(struct pj_orders *orders, const char *format, ...) PJ_PRINTF(2, 3);

/*
 * Corrects an event of the mixture that is filled already: what the types do not say, such as which
 * branch of a union was taken, or a JSON text. Random numbers come from rand_r(seed).
 */
typedef void pj_orders_fill(struct pj_orders *orders, size_t source, struct pj_value *values,
                            unsigned *seed);

/*
 * Adds that many events of all sources, in three partitions. Fields are filled by their types, with
 * few values, so that events meet: times within an hour around a midnight, texts "a" to "d", whole
 * numbers 0 to 3, UUIDs of these, arrays of up to two items; a UUID in field 0 is the event's own.
 * What is not required is null in one of four; where the source takes tombstones, keys are "a" to
 * "d", and one of eight events is one. `fill`, which may be NULL, is not called for these. False
 * where the events make no row of one of the tables (pj_orders_reaches).
 */
bool pj_orders_mixture(struct pj_orders *orders, int count, unsigned seed, pj_orders_fill *fill);

/* --- checks ---------------------------------------------------------------------------------- */

/* Whether the text is in the rows (pj_orders_rows), in a hundred orders, too. */
bool pj_orders_expect(const struct pj_orders *orders, const char *text);

/* Whether the text is not in the rows. */
bool pj_orders_refuse(const struct pj_orders *orders, const char *text);

/* Tries that many orders from the seed, then the events' own in one batch; prints what breaks it,
 * or a row without its key. */
bool pj_orders_agree(const struct pj_orders *orders, int times, unsigned seed);

/* Whether the events make a row of each of the projection's tables: of what they make none of, the
 * orders say nothing. Prints which. */
bool pj_orders_reaches(const struct pj_orders *orders);

/* The rows after the events in their own order, one "table|column=value|…" a line, sorted;
 * malloc'ed. Every event is a batch of its own unless `one_batch`. Times are microseconds, and
 * nulls "null". */
char *pj_orders_rows(const struct pj_orders *orders, bool one_batch);

/* What the events count, in their own order: of a counter (an index of the projection's) one word,
 * or 0. Aborts with a sentence where there is no such counter or word. */
int64_t pj_orders_counted(const struct pj_orders *orders, size_t counter, size_t word,
                          bool one_batch);

/* How many events are dead letters for a row that follows twice, in the events' own order. */
size_t pj_orders_dead_letters(const struct pj_orders *orders, bool one_batch);

#endif
