/* SPDX-License-Identifier: Apache-2.0 */
/* A database in memory, which does with a fold what the engine does with Postgres. */
#ifndef PJ_TESTING_MEMORY_STORE_H
#define PJ_TESTING_MEMORY_STORE_H

#include "base/text.h"
#include "fold/fold.h"
#include "projectionist/testing.h"

struct pj_memory_store;

struct pj_memory_store *pj_memory_store_new(const struct pj_projection *projection,
                                            const union pj_setting_value *settings);
void pj_memory_store_free(struct pj_memory_store *memory);

/*
 * One transaction of one of two owners; without events, a sweep. The events must outlive it. Where
 * the other owner's was the last, the two overlap: this one began before that was committed, so the
 * stream time that it saw is an older one.
 */
void pj_memory_store_apply(struct pj_memory_store *memory, int owner,
                           const struct pj_orders_event *const *events, size_t count);

/* How many events became dead letters because a row followed twice. (Those that observe refuses say
 * nothing, and are not counted.) */
size_t pj_memory_store_dead_letters(const struct pj_memory_store *memory);

/* As pj_orders_counted. */
int64_t pj_memory_store_counted(const struct pj_memory_store *memory, size_t counter, size_t word);

/* Whether all rows have their keys; prints the first that lacks one. */
bool pj_memory_store_keys(const struct pj_memory_store *memory);

/* As pj_orders_reaches. */
bool pj_memory_store_reaches(const struct pj_memory_store *memory);

/* As pj_orders_rows; malloc'ed. `comparable`: numbers that are equal have one text. */
char *pj_memory_store_rows(const struct pj_memory_store *memory, bool comparable);

void pj_orders_add_value(struct pj_builder *out, enum pj_type type, const struct pj_value *value);

#endif
