/* SPDX-License-Identifier: Apache-2.0 */
/* Times as people and other services write them. */
#ifndef PJ_BASE_TIME_TEXT_H
#define PJ_BASE_TIME_TEXT_H

#include "projectionist/error.h"

#include <stdbool.h>
#include <stdint.h>

/* As pj_time_parse; false for anything else. */
bool pj_time_read(const char *text, int64_t *microseconds);

/* RFC 3339 ("2026-11-21T05:06:34.968Z", "2026-11-21T06:06:34+01:00"), to microseconds since 1970;
 * fails with PJ_EXIT_USAGE and `name`, the option. */
int pj_time_parse(const char *name, const char *text, int64_t *microseconds,
                  struct pj_error *error) PJ_MUST_CHECK;

enum { PJ_TIME_TEXT_SIZE = 48 };

/* "2026-11-21T05:06:34.968Z" of a time since 1970, counted in units of so many decimal digits of a
 * second (3: milliseconds). False where no calendar reaches it. */
bool pj_time_format(char text[PJ_TIME_TEXT_SIZE], int64_t time, int digits);

#endif
