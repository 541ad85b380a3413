/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to spans where the collector is slow; tests/integration/test_traces.py has the rest.
 */
#include "base/spans.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pj_metrics *metrics;

static int64_t count(const char *name, const char *labels)
{
    return pj_metric_value(pj_metrics_add(metrics, PJ_COUNTER, name, labels, ""));
}

/* A socket that takes connections and never answers. */
static int listen_in_silence(char url[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(fd, 16), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    snprintf(url, 64, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}

Test(spans, what_does_not_fit_is_dropped_at_once_and_counted, .timeout = 60)
{
    enum { SPANS = 4000 };
    char url[64];
    struct pj_error error;
    struct pj_span span = {.name = "commit", .kind = PJ_SPAN_CONSUMER};
    int fd = listen_in_silence(url);
    metrics = pj_metrics_new();
    pj_spans_add(&span); /* off: nothing happens */
    cr_assert_not(pj_spans_are_on());
    cr_assert_eq(pj_spans_start(url, "test", NULL, metrics, &error), 0);
    cr_assert(pj_spans_are_on());
    for (int i = 0; i < SPANS; i++) {
        pj_trace_new(&span.trace);
        pj_spans_add(&span);
    }
    int64_t overflowed = count("projectionist_spans_dropped_total", "reason=\"queue\"");
    cr_assert_gt(overflowed, 0, "nobody waits for the collector");
    span.trace.sampled = false;
    pj_spans_add(&span);
    pj_spans_stop();
    cr_assert_eq(count("projectionist_spans_dropped_total", "reason=\"queue\""), overflowed);
    cr_assert_gt(count("projectionist_spans_dropped_total", "reason=\"collector\""), 0);
    cr_assert_eq(count("projectionist_spans_sent_total", NULL), 0);
    pj_spans_stop(); /* again: nothing happens */
    pj_metrics_free(metrics);
    close(fd);
}

Test(spans, an_endpoint_is_a_url)
{
    struct pj_error error;
    metrics = pj_metrics_new();
    cr_assert_eq(pj_spans_start("localhost:4318", "test", NULL, metrics, &error), -1);
    cr_assert_eq(error.exit_code, PJ_EXIT_USAGE);
    cr_assert_eq(pj_spans_start(NULL, "test", NULL, metrics, &error), 0);
    cr_assert_not(pj_spans_are_on());
    pj_metrics_free(metrics);
}
