/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokens' file:
 *
 *     {"tokens": [{"name": "backend", "sha256": "<of the token, in hexadecimal>",
 *                  "topics": ["captions.videos", "captions.*"], "tenant": "<id>", "user": "<id>",
 *                  "rate": 100, "import": false, "revoked": false}]}
 *
 * What follows the topics may be left out. Pure.
 */
#ifndef PJ_EVENT_INGEST_TOKENS_H
#define PJ_EVENT_INGEST_TOKENS_H

#include "event-ingest/admission.h"

enum { PJ_SHA256 = 32 };

struct pj_token {
    char *topics; /* a list for pj_topic_is_of */
    unsigned char sha256[PJ_SHA256];
    bool is_revoked;
    struct pj_caller caller;
};

struct pj_tokens {
    struct pj_token *items;
    size_t count;
};

/* PJ_FATAL with a sentence that names the token. */
int pj_tokens_parse(struct pj_tokens **tokens, const char *text, size_t length,
                    struct pj_error *error) PJ_MUST_CHECK;
void pj_tokens_free(struct pj_tokens *tokens); /* NULL is allowed */

/* The token that a client shows, also a revoked one, or NULL. Takes the same time wherever it is in
 * the file, and whatever is wrong with it. */
const struct pj_token *pj_tokens_find(const struct pj_tokens *tokens, const char *shown);

#endif
