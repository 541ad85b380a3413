/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics in the Prometheus text format, and the HTTP server for them and the two probes.
 *
 * A metric is registered once and updated lock-free from any thread; /metrics reads it from the
 * server's own thread.
 */
#ifndef PJ_BASE_METRICS_H
#define PJ_BASE_METRICS_H

#include "projectionist/error.h"

#include <stddef.h>
#include <stdint.h>

struct pj_metrics;
struct pj_metric;

/* The value of a PJ_GAUGE_MILLI is in thousandths. */
enum pj_metric_kind { PJ_COUNTER, PJ_GAUGE, PJ_GAUGE_MILLI, PJ_HISTOGRAM };

/* A label; the value is any text. */
struct pj_label {
    const char *name; /* NULL ends a list */
    const char *value;
};

struct pj_metrics *pj_metrics_new(void);
void pj_metrics_free(struct pj_metrics *metrics); /* after the server has stopped */

/* The labels that every series has, such as the consumer's name. Before the server starts. */
void pj_metrics_set_labels(struct pj_metrics *metrics, const struct pj_label *labels);

/* Adds build_info, which says what version this is. */
void pj_metrics_add_build_info(struct pj_metrics *metrics, const char *version);

/* Labels as pj_metrics_add takes them; to be freed. */
char *pj_metrics_labels(const struct pj_label *labels);

/*
 * Registers (or finds) the series `name{labels}`; labels in Prometheus syntax without the braces,
 * such as `topic="safari.commands",partition="3"`, or NULL. Help and kind are those of the first
 * call for the name. Histograms have latency buckets in seconds from 0.5 ms to 60 s. Owned by
 * `metrics`; safe to call from any thread.
 */
struct pj_metric *pj_metrics_add(struct pj_metrics *metrics, enum pj_metric_kind kind,
                                 const char *name, const char *labels, const char *help);
/* All of a table, which one without a place ends. */
struct pj_metric_line {
    struct pj_metric **place;
    enum pj_metric_kind kind;
    const char *name, *help, *labels;
};
void pj_metrics_add_all(struct pj_metrics *metrics, const struct pj_metric_line *lines);
/* The same of what several programs have: projectionist_<of>_<name>. */
void pj_metrics_add_all_of(struct pj_metrics *metrics, const char *of,
                           const struct pj_metric_line *lines);

void pj_metric_add(struct pj_metric *metric, int64_t delta);               /* counter, gauge */
void pj_metric_set(struct pj_metric *metric, int64_t value);               /* gauge */
void pj_metric_observe_us(struct pj_metric *metric, int64_t microseconds); /* histogram */
int64_t pj_metric_value(const struct pj_metric *metric); /* counter, gauge; histogram: its count */
/* Removes a series from /metrics (a partition that went to another replica) until it is added or
 * set again. */
void pj_metric_hide(struct pj_metric *metric);

/* Calls with the own labels and the value of each series of that name that is not hidden; of a
 * histogram, how often it was observed. The callback registers nothing. */
void pj_metrics_each(struct pj_metrics *metrics, const char *name,
                     void (*each)(void *context, const char *labels, double value), void *context);
/* The labels that every series has, for people. */
const char *pj_metrics_shown_labels(const struct pj_metrics *metrics);

/* The whole text, malloc'ed. */
char *pj_metrics_render(struct pj_metrics *metrics);

struct pj_builder;
/* The process itself, under the names that Prometheus's own clients have: CPU, memory, file
 * descriptors, start. What /proc does not tell is left out. */
void pj_metrics_render_process(struct pj_builder *out);

/*
 * Serves GET (and HEAD) /, /metrics, /livez, /readyz on `address` ("127.0.0.1:9100", ":9100" for
 * all interfaces, port 0 for a free one) from a thread of its own, with bounded connections, header
 * sizes and time-outs. Other paths: 404; other methods: 405.
 */
struct pj_metrics_server;
struct pj_page;
int pj_metrics_server_start(struct pj_metrics_server **server, struct pj_metrics *metrics,
                            const char *address, struct pj_error *error) PJ_MUST_CHECK;
/* What / shows (status_page.h); 404 before. The main loop's calls of _heartbeat fill its pictures.
 */
void pj_metrics_server_show(struct pj_metrics_server *server, const struct pj_page *page);
void pj_metrics_server_stop(struct pj_metrics_server *server); /* NULL is allowed */
int pj_metrics_server_port(const struct pj_metrics_server *server);
/* /readyz is 503 "starting" until the first call, then 200 while the reason is NULL. */
void pj_metrics_server_set_ready(struct pj_metrics_server *server, const char *reason_or_null);
/*
 * The main loop calls this on every turn; /livez is 200 while the last call is at most 60 s ago: a
 * loop that hangs gets restarted, while a server that is away does not
 * make us unhealthy. The start counts as a call.
 */
void pj_metrics_server_heartbeat(struct pj_metrics_server *server);

#endif
