/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Web Tokens (RFC 7519) in the compact form, and the keys that they are signed with (RFC
 * 7517). What is signed how is decided by our keys, never by the token: HS256 only with the secret
 * of the settings, RS256 only with an RSA key, ES256 only with one of the curve P-256. The
 * signatures are libcrypto's. Pure.
 */
#ifndef PJ_EVENT_INGEST_JWT_H
#define PJ_EVENT_INGEST_JWT_H

#include "projectionist/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pj_jwt_keys; /* public ones */

/* {"keys": […]}. Keys of other kinds, and those for encryption, are left out; PJ_FATAL where none
 * is left. */
int pj_jwt_keys_parse(struct pj_jwt_keys **keys, const char *text, size_t length,
                      struct pj_error *error) PJ_MUST_CHECK;
void pj_jwt_keys_free(struct pj_jwt_keys *keys); /* NULL is allowed */

struct pj_jwt_rules {
    const char *secret;             /* or NULL */
    const struct pj_jwt_keys *keys; /* or NULL */
    const char *issuer, *audience;  /* or NULL: any */
    int64_t now_s;
};

enum pj_jwt_end {
    PJ_JWT_GOOD,
    PJ_JWT_BAD,         /* *error says why */
    PJ_JWT_UNKNOWN_KEY, /* it names a key that we do not have */
};

/* The claims of a token that is signed by one of ours, and valid now (give or take a minute). */
enum pj_jwt_end pj_jwt_verify(const char *token, const struct pj_jwt_rules *rules, json_t **claims,
                              struct pj_error *error) PJ_MUST_CHECK;

/* Whether a Bearer token looks like one. */
bool pj_jwt_is_one(const char *token);

#endif
