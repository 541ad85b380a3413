/* SPDX-License-Identifier: Apache-2.0 */
/* A database in memory, which does with a fold what the engine does with Postgres. */
#ifndef PJ_TESTS_MEMORY_STORE_H
#define PJ_TESTS_MEMORY_STORE_H

#include "lib/orders.h"

#include <stdio.h>

struct memory_store;

struct memory_store *memory_store_new(const struct pj_projection *projection,
                                      const int64_t *settings);
void memory_store_free(struct memory_store *memory);

/*
 * One transaction of one of two owners; without events, a sweep. The events must outlive it. Where
 * the other owner's was the last, the two overlap: this one began before that was committed, so the
 * stream time that it saw is an older one.
 */
void memory_store_apply(struct memory_store *memory, int owner,
                        const struct orders_event *const *events, size_t count);

/* How many events became dead letters because a row followed twice. (Those that observe refuses say
 * nothing, and are not counted.) */
size_t memory_store_dead_letters(const struct memory_store *memory);

/* Whether all rows have their keys; prints the first that lacks one. */
bool memory_store_keys(const struct memory_store *memory);

/* As orders_reaches. */
bool memory_store_reaches(const struct memory_store *memory);

/* As orders_rows; malloc'ed. */
char *memory_store_rows(const struct memory_store *memory);

void orders_print_value(FILE *out, enum pj_type type, const struct pj_value *value);

#endif
