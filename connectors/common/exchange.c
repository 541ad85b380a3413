/* SPDX-License-Identifier: Apache-2.0 */
#include "common/exchange.h"

#include "base/clock.h"
#include "base/text.h"

#include <string.h>

void pj_exchange_begin(struct pj_exchange *exchange, const struct pj_http_head *head)
{
    struct pj_trace client = {0};
    const char *given = pj_http_field(head, PJ_TRACE_HEADER);
    exchange->start_us = pj_clock_monotonic_us();
    if (given != NULL && pj_http_count(head, PJ_TRACE_HEADER) == 1)
        (void)pj_trace_parse(&client, given, strlen(given));
    pj_trace_child(&exchange->trace, &client);
    memcpy(exchange->parent, client.span_id, sizeof exchange->parent);
}

static void count(const struct pj_exchange *exchange, const char *route, int status,
                  struct pj_metrics *metrics, const char *of)
{
    char answered[64], taken[64];
    struct pj_metric *requests, *seconds;
    pj_text_whole(answered, sizeof answered, "route=\"%s\",code=\"%d\"", route, status);
    pj_text_whole(taken, sizeof taken, "route=\"%s\"", route);
    const struct pj_metric_line all[] = {
        {&requests, PJ_COUNTER, "requests_total", "Requests answered.", answered},
        {&seconds, PJ_HISTOGRAM, "request_seconds",
         "Time from a request's last byte to its answer.", taken},
        {0},
    };
    pj_metrics_add_all_of(metrics, of, all);
    pj_metric_add(requests, 1);
    pj_metric_observe_us(seconds, pj_clock_monotonic_us() - exchange->start_us);
}

void pj_exchange_end(const struct pj_exchange *exchange, const struct pj_http_head *head,
                     const char *route, int status, struct pj_metrics *metrics, const char *of)
{
    char name[96], code[8];
    count(exchange, route, status, metrics, of);
    if (!pj_spans_are_on())
        return;
    pj_text_show(name, sizeof name, "%s %s", head->method, route);
    pj_text_whole(code, sizeof code, "%d", status);
    pj_spans_add(&(struct pj_span){
        .name = name,
        .kind = PJ_SPAN_SERVER,
        .trace = exchange->trace,
        .parent = *exchange->parent != '\0' ? exchange->parent : NULL,
        .microseconds = pj_clock_monotonic_us() - exchange->start_us,
        .failed = status >= 500,
        .attributes = (const struct pj_label[]){{"http.request.method", head->method},
                                                {"http.route", route},
                                                {"http.response.status_code", code},
                                                {0}},
    });
}
