/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans for an OpenTelemetry collector, over OTLP/HTTP in JSON; of a process, as its log is. Off
 * until it is started. Adding a span never blocks and never fails: what does not fit into the
 * queue, or what the collector does not take in four tries, is dropped and counted.
 */
#ifndef PJ_BASE_SPANS_H
#define PJ_BASE_SPANS_H

#include "base/metrics.h"
#include "base/trace.h"

enum { PJ_SPAN_LINKS_MOST = 32 };

struct pj_span {
    const char *name;
    enum { PJ_SPAN_SERVER = 2, PJ_SPAN_PRODUCER = 4, PJ_SPAN_CONSUMER = 5 } kind;
    struct pj_trace trace;
    const char *parent;   /* its span_id, or NULL */
    int64_t microseconds; /* how long it took; it has just ended */
    bool failed;
    const struct pj_label *attributes; /* a value of digits alone is a number */
    const struct pj_trace *links;
    size_t link_count; /* at most PJ_SPAN_LINKS_MOST */
};

/* `endpoint` is the collector's URL without /v1/traces; NULL: nothing is started. The labels say
 * whose spans they are; counters are added to the metrics. */
int pj_spans_start(const char *endpoint, const char *service, const struct pj_label *labels,
                   struct pj_metrics *metrics, struct pj_error *error) PJ_MUST_CHECK;
bool pj_spans_are_on(void);
void pj_spans_add(const struct pj_span *span);
/* The span of a transaction that published so many messages, some of whose traces it links to. */
void pj_spans_add_published(const char *name, size_t count, const struct pj_trace *links,
                            size_t link_count, int64_t microseconds);
/* Sends what is queued, for four seconds at most. */
void pj_spans_stop(void);

#endif
