/* SPDX-License-Identifier: Apache-2.0 */
/* GET of an https URL (or one at 127.0.0.1, for tests): keys, certificates, confirmations. Blocks
 * for at most 5 s; redirects are not followed. */
#ifndef PJ_EVENT_INGEST_FETCH_H
#define PJ_EVENT_INGEST_FETCH_H

#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Whether it is such a URL. */
bool pj_fetch_allows(const char *url);

/* The body of a 2xx, malloc'ed with a NUL after it. ca_file may be NULL. PJ_RETRY where it was not
 * answered, PJ_FATAL where the answer is another one. */
char *pj_fetch(const char *url, const char *ca_file, size_t *length, struct pj_error *error);

#endif
