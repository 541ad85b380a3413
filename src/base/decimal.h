/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PJ_BASE_DECIMAL_H
#define PJ_BASE_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A decimal number of any length in its text: 0.d1d2d3… times ten to the power of `point`. */
struct pj_decimal {
    int sign;           /* 0 for zero, which has no digits */
    const char *digits; /* from the first that is no zero; a point or _ may be among them */
    const char *end;    /* after the last that is no zero */
    int64_t count;      /* of digits from there to there */
    int64_t point;
    bool is_cut; /* the exponent has more than 7 digits; the others do not count */
};

/* Blanks around it and _ within are allowed, as in Postgres; false for NaN, infinity, 0x1f. */
bool pj_decimal_read(const char *text, size_t length, struct pj_decimal *decimal);

/* The digit at *at, which begins as `digits` and moves on; '\0' at the end. */
char pj_decimal_digit(const struct pj_decimal *decimal, const char **at);

#endif
