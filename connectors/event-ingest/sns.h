/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of Amazon SNS over HTTP. They have no token: who sent them is told by their signature
 * (version 1 or 2), by a certificate of a host of SNS's, and by the topic's ARN, which must be one
 * that is expected.
 */
#ifndef PJ_EVENT_INGEST_SNS_H
#define PJ_EVENT_INGEST_SNS_H

#include "projectionist/error.h"

#include <jansson.h>
#include <stdbool.h>

struct pj_sns_settings {
    const char *arns; /* with blanks between them; or NULL: none is expected */
    const char *host; /* HOST or HOST:PORT that takes the place of SNS's own; or NULL */
    const char *ca_file;
};

struct pj_sns;
struct pj_sns *pj_sns_new(const struct pj_sns_settings *settings);
void pj_sns_free(struct pj_sns *sns); /* NULL is allowed */

enum pj_sns_kind {
    PJ_SNS_NOTIFICATION, /* *message is what it carries, the caller's */
    PJ_SNS_CONFIRMED,    /* nothing more is to be done */
    PJ_SNS_REFUSED,      /* *status is that of the answer, with a sentence */
};

/* Verifies a message; one that asks for the confirmation of a subscription is confirmed. Blocks
 * while a certificate is fetched (the first time) and while it confirms. */
enum pj_sns_kind pj_sns_take(struct pj_sns *sns, const json_t *envelope, char **message,
                             int *status, struct pj_error *error) PJ_MUST_CHECK;

/* --- pure parts, for tests -------------------------------------------------------------------- */

/* Whether a URL is https at a host of SNS's (or `host`), with a path that ends so ("" : any). */
bool pj_sns_is_url(const char *url, const char *host, const char *path_end);

/* What is signed, malloc'ed; NULL where a member is missing. */
char *pj_sns_signed_text(const json_t *envelope);

/* Whether the signature is by the certificate (PEM), which must be valid now. */
bool pj_sns_is_signed(const json_t *envelope, const char *certificate, struct pj_error *error);

#endif
