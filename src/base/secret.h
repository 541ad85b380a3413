/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secrets given to this process, so that none of them ever shows in a message: pj_error_set and
 * pj_log hide them, also those that libpq, librdkafka or a server put there. The code that reads
 * settings registers them. Thread-safe.
 */
#ifndef PJ_BASE_SECRET_H
#define PJ_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Registers a password or a token; NULL and anything shorter than 4 bytes is ignored, and one of
 * less than 8 is hidden only as a whole word. Copied. */
void pj_secret_keep(const char *secret);

/* Registers what is secret in a URL, a Postgres URI or key=value pairs: the password before the
 * host, and the values of names such as password, token and key, as given and with %XX decoded. */
void pj_secret_keep_url(const char *text);

/* Whether a text contains a secret, and the text with `***` in place of each. */
bool pj_secret_is_in(const char *text);
void pj_secret_hide(char *text);

/* The part of a URL that may be shown: without user, password, query and fragment. */
void pj_url_shown(const char *url, char *out, size_t size);

#endif
