/* SPDX-License-Identifier: Apache-2.0 */
/* Times as people and other services write them. */
#ifndef PJ_BASE_TIME_TEXT_H
#define PJ_BASE_TIME_TEXT_H

#include "projectionist/error.h"

#include <stdint.h>

/* RFC 3339 ("2026-11-21T05:06:34.968Z", "2026-11-21T06:06:34+01:00"), to microseconds since 1970;
 * fails with PJ_EXIT_USAGE and `name`, the option. */
int pj_time_parse(const char *name, const char *text, int64_t *microseconds,
                  struct pj_error *error) PJ_MUST_CHECK;

#endif
