/* SPDX-License-Identifier: Apache-2.0 */
/* jansson keeps a number as 64 bits or as a double, and cuts (or refuses) more digits. These modes
 * load such numbers so that no digit is lost in silence. */
#ifndef PJ_BASE_JSON_NUMBERS_H
#define PJ_BASE_JSON_NUMBERS_H

#include "base/text.h"

#include <jansson.h>

enum pj_json_numbers {
    PJ_LONG_AS_TEXT,  /* what fits neither 64 bits nor 15 digits becomes a string: for people */
    PJ_WIDE_AS_REAL,  /* integers beyond 64 bits become reals, the others stay integers */
    PJ_REALS_AS_TEXT, /* all but 64-bit integers become strings, with all their digits */
};

/* With it, reals of at most 15 digits are printed as they were written. */
#define PJ_JSON_DIGITS JSON_REAL_PRECISION(15)

/* json_loadb, for any value, with these jansson flags; NULL where it is not JSON. */
json_t *pj_json_load(const char *text, size_t length, enum pj_json_numbers numbers, size_t flags);

enum { PJ_REAL_TEXT = 32 }; /* a number's text, with its NUL */

/* Without blanks; each real with the fewest digits that mean it. */
void pj_json_put(struct pj_builder *out, const json_t *json);

#endif
