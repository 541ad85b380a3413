/* SPDX-License-Identifier: Apache-2.0 */
/* PJ_NUMERIC values as numbers, whatever their text: 1.0 and 1.00 are one. Pure. */
#ifndef PJ_FOLD_NUMERIC_H
#define PJ_FOLD_NUMERIC_H

#include "base/text.h"
#include "projectionist/value.h"

#include <stdint.h>

/* <0, 0 or >0; NaN and infinities by their text, below all numbers. */
int pj_numeric_compare(const struct pj_value *a, const struct pj_value *b);

/* The digits before and after the point that it needs; false for NaN and infinities. */
bool pj_numeric_digits(const struct pj_value *value, int64_t *whole, int64_t *fraction);

/* A form that only equal numbers share. */
void pj_numeric_print_key(struct pj_builder *out, const struct pj_value *value);

#endif
