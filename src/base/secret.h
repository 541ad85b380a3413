/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secrets that this process was given, so that none of them is ever in a message: pj_error_set
 * and pj_log hide them, whoever put them there (libpq, librdkafka, a server's own words). What
 * reads settings keeps them. Thread-safe.
 */
#ifndef PJ_BASE_SECRET_H
#define PJ_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Keeps a password or a token; NULL and what is shorter than 4 bytes is passed over, and one of
 * less than 8 is hidden only where it is a word of its own. Copied. */
void pj_secret_keep(const char *secret);

/* Keeps what is secret in a URL, a URI of Postgres or key=value pairs: the password before the
 * host, and the values of names such as password, token and key, as they are and with %XX decoded.
 */
void pj_secret_keep_url(const char *text);

/* Whether a text holds a secret, and `***` in the place of each. */
bool pj_secret_is_in(const char *text);
void pj_secret_hide(char *text);

/* The part of a URL that may be shown: without user, password, query and fragment. */
void pj_url_shown(const char *url, char *out, size_t size);

#endif
