/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jansson keeps a number as 64 bits or as a double; whatever has more digits it cuts (or refuses).
 * Here such numbers are loaded otherwise, so that no digit is lost in silence.
 */
#ifndef PJ_BASE_JSON_NUMBERS_H
#define PJ_BASE_JSON_NUMBERS_H

#include <jansson.h>

enum pj_json_numbers {
    PJ_LONG_AS_TEXT,  /* what neither 64 bits nor 15 digits hold becomes a string: for people */
    PJ_WIDE_AS_REAL,  /* integers beyond 64 bits become reals, and the others stay integers */
    PJ_REALS_AS_TEXT, /* all that is no integer of 64 bits becomes a string, with all its digits */
};

/* With which reals of at most 15 digits are printed as they were written. */
#define PJ_JSON_DIGITS JSON_REAL_PRECISION(15)

/* json_loadb, of any value, with these flags of jansson; NULL where it is no JSON. */
json_t *pj_json_load(const char *text, size_t length, enum pj_json_numbers numbers, size_t flags);

#endif
