/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS Signature Version 4 of a GET without a body, in headers, as S3 wants it. libcurl has it too,
 * but its versions differ in what they make of a path and a query before they sign them, and the
 * newer ones sign no path as it is (CURLOPT_PATH_AS_IS). Pure.
 */
#ifndef PJ_DRAMA_IMPORT_SIGNATURE_H
#define PJ_DRAMA_IMPORT_SIGNATURE_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct pj_signature_key {
    const char *access_key, *secret_key, *region;
    const char *session_token; /* of credentials for a while; NULL: they are none */
};

/* As they are in the request: path and query encoded by pj_signature_encode, and the query's
 * members (name=value, always with =) in the order of their names. */
struct pj_signature_request {
    const char *host;  /* with the port where the header Host has it */
    const char *path;  /* from its first slash */
    const char *query; /* "": none */
};

/* The text with all bytes but RFC 3986's unreserved ones as %XX; slashes stay in paths. */
void pj_signature_encode(struct pj_builder *out, const char *text, bool keep_slashes);

enum {
    PJ_SIGNATURE_BODY,  /* x-amz-content-sha256 */
    PJ_SIGNATURE_DATE,  /* x-amz-date */
    PJ_SIGNATURE_SIGN,  /* Authorization */
    PJ_SIGNATURE_TOKEN, /* x-amz-security-token; NULL: there is none */
    PJ_SIGNATURE_HEADERS,
};

/* The headers ("name: value") that the request needs besides Host, each malloc'ed; it is good for
 * some minutes about that time, in seconds since 1970. */
void pj_signature_headers(char *headers[PJ_SIGNATURE_HEADERS], const struct pj_signature_key *key,
                          const struct pj_signature_request *request, int64_t time);

#endif
