/* SPDX-License-Identifier: Apache-2.0 */
/* A request to one of our HTTP servers: its metrics, its trace and its span. */
#ifndef PJ_CONNECTORS_EXCHANGE_H
#define PJ_CONNECTORS_EXCHANGE_H

#include "base/http.h"
#include "base/spans.h"

struct pj_exchange {
    int64_t start_us; /* of pj_clock_monotonic_us; the owner moves it to where its work begins */
    struct pj_trace trace;
    char parent[PJ_SPAN_ID_SIZE]; /* the client's span; "": none */
};

/* A part of the client's trace, where it names one that is valid, else one of its own. */
void pj_exchange_begin(struct pj_exchange *exchange, const struct pj_http_head *head);

/* For each answer: counts it, as projectionist_<of>_requests_total and _request_seconds, and adds
 * the span. */
void pj_exchange_end(const struct pj_exchange *exchange, const struct pj_http_head *head,
                     const char *route, int status, struct pj_metrics *metrics, const char *of);

#endif
