/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the two files of the service's client: upstream.c and transfer.c. */
#ifndef PJ_CONTROL_GATEWAY_UPSTREAM_INTERNAL_H
#define PJ_CONTROL_GATEWAY_UPSTREAM_INTERNAL_H

#include "control-gateway/upstream.h"

#include <curl/curl.h>
#include <pthread.h>

enum { PJ_UPSTREAM_KEPT = 256 };

struct pj_upstream {
    char *url; /* without a trailing slash */
    char *ca_file;
    const char *token; /* the settings', or NULL */
    int64_t timeout_ms;
    pthread_mutex_t mutex; /* guards the kept connections */
    CURLM *multis[PJ_UPSTREAM_KEPT];
    size_t multi_count;
    atomic_bool is_away; /* and that was logged */
    atomic_bool lacks_descriptors;
};

/* URL, method and what every request has. may_be_kept: its connection may be one that was used just
 * before; the caller sees to it that libcurl cannot send it twice then. */
void pj_upstream_set_up(struct pj_upstream *upstream, CURL *curl, const char *method,
                        const char *uri, bool may_be_kept);
/* The client's fields (NULL: none), with our own token instead of its Authorization where we have
 * one. */
struct curl_slist *pj_upstream_fields(const struct pj_upstream *upstream,
                                      struct curl_slist *headers, const struct pj_fields *fields);
/* Whether libcurl failed before there was a connection. */
bool pj_upstream_is_no_connection(CURLcode code);
/* What the service sent is not an answer: PJ_POISON. */
int pj_upstream_fault(const struct pj_upstream *upstream, const char *fault,
                      struct pj_error *error);
/* The outcome of a request as an error or, for CURLE_OK, 0; `reason` is libcurl's own, such as what
 * is wrong with a certificate, or "". Logs when the service goes away and when it is back. */
int pj_upstream_end(struct pj_upstream *upstream, CURLcode code, const char *reason,
                    struct pj_error *error);

#endif
