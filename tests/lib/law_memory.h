/* SPDX-License-Identifier: Apache-2.0 */
/* A database in memory, which does with a fold what the engine does with Postgres. */
#ifndef PJ_TESTS_LAW_MEMORY_H
#define PJ_TESTS_LAW_MEMORY_H

#include "lib/law.h"

#include <stdio.h>

struct law_memory;

struct law_memory *law_memory_new(const struct pj_projection *projection, const int64_t *settings);
void law_memory_free(struct law_memory *memory);

/*
 * One transaction of one of two owners; without events, a sweep. The events must outlive it. Where
 * the other owner's was the last, the two overlap: this one began before that was committed, so the
 * stream time that it saw is an older one.
 */
void law_memory_apply(struct law_memory *memory, int owner, const struct law_event *const *events,
                      size_t count);

/* How many events became dead letters because a row followed twice. (Those that observe refuses say
 * nothing, and are not counted.) */
size_t law_memory_dead_letters(const struct law_memory *memory);

/* Whether all rows have their keys; prints the first that lacks one. */
bool law_memory_keys(const struct law_memory *memory);

/* As law_reaches. */
bool law_memory_reaches(const struct law_memory *memory);

/* As law_rows; malloc'ed. */
char *law_memory_rows(const struct law_memory *memory);

void law_print_value(FILE *out, enum pj_type type, const struct pj_value *value);

#endif
