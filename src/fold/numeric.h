/* SPDX-License-Identifier: Apache-2.0 */
/* PJ_NUMERIC values as numbers, whatever their text: 1.0 and 1.00 are one. Pure. */
#ifndef PJ_FOLD_NUMERIC_H
#define PJ_FOLD_NUMERIC_H

#include "base/arena.h"
#include "base/text.h"
#include "projectionist/value.h"

#include <stdint.h>

/* <0, 0 or >0, as Postgres compares them: NaN above all. */
int pj_numeric_compare(const struct pj_value *a, const struct pj_value *b);

/* The digits before and after the point that it needs; false for NaN and infinities. */
bool pj_numeric_digits(const struct pj_value *value, int64_t *whole, int64_t *fraction);

/*
 * a plus or minus (`sign` -1) b, in the arena, without trailing zeros. False for NaN, infinities
 * and what takes more than 1,000 digits.
 */
bool pj_numeric_add(const struct pj_value *a, const struct pj_value *b, int sign,
                    struct pj_arena *arena, struct pj_value *sum);

/* With at most `scale` digits after the point, half away from zero, in the arena; NaN, infinities
 * and what takes more than 1,000 digits stay as they are. */
struct pj_value pj_numeric_round(const struct pj_value *value, int64_t scale,
                                 struct pj_arena *arena);

/* A form that only equal numbers share. */
void pj_numeric_print_key(struct pj_builder *out, const struct pj_value *value);

#endif
