/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics, /livez, /readyz, and the page for people. */
#include "base/clock.h"
#include "base/http_server.h"
#include "base/memory.h"
#include "base/status_page.h"
#include "base/text.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECTIONS_MOST = 32,
    SPARED_MS = 100, /* an idle connection must not keep a probe waiting */
    HEADER_MOST = 8 << 10,
    REQUEST_TIMEOUT_MS = 10000,
    LIVENESS_LIMIT_MS = 60000,
    TEXT_MOST = 512,
};

struct pj_metrics_server {
    struct pj_http_server *http;
    struct pj_metrics *metrics;
    const struct pj_page *_Atomic page; /* NULL: none yet */
    struct pj_page_history *history;
    _Atomic int64_t heartbeat_ms;
    pthread_mutex_t mutex;     /* guards not_ready, and the history */
    char not_ready[TEXT_MOST]; /* "" when ready */
};

/* --- requests -------------------------------------------------------------------------------- */

static void answer(struct pj_http_request *request, int status, const char *text)
{
    pj_http_add_field(request, "Content-Type", "text/plain; charset=utf-8");
    pj_http_answer(request, status, text, strlen(text));
}

static void answer_live(struct pj_metrics_server *server, struct pj_http_request *request)
{
    char text[TEXT_MOST];
    int64_t silent_ms = pj_clock_monotonic_ms() - atomic_load(&server->heartbeat_ms);
    if (silent_ms <= LIVENESS_LIMIT_MS) {
        answer(request, 200, "ok\n");
        return;
    }
    pj_text_show(text, sizeof text, "the main loop has been stuck for %" PRId64 " ms\n", silent_ms);
    answer(request, 503, text);
}

static void answer_ready(struct pj_metrics_server *server, struct pj_http_request *request)
{
    char text[TEXT_MOST + 1];
    pthread_mutex_lock(&server->mutex);
    const int ready = server->not_ready[0] == '\0';
    pj_text_show(text, sizeof text, "%s\n", ready ? "ok" : server->not_ready);
    pthread_mutex_unlock(&server->mutex);
    answer(request, ready ? 200 : 503, text);
}

static void answer_metrics(struct pj_metrics_server *server, struct pj_http_request *request)
{
    struct pj_builder text = {0};
    char *ours = pj_metrics_render(server->metrics);
    pj_builder_add_bytes(&text, ours, strlen(ours));
    free(ours);
    pj_metrics_render_process(&text);
    pj_http_add_field(request, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    size_t length = text.length;
    char *whole = pj_builder_take(&text);
    pj_http_answer(request, 200, whole, length);
    free(whole);
}

static void answer_page(struct pj_metrics_server *server, struct pj_http_request *request)
{
    struct pj_builder out = {0};
    char trouble[TEXT_MOST];
    int64_t silent_ms = pj_clock_monotonic_ms() - atomic_load(&server->heartbeat_ms);
    pthread_mutex_lock(&server->mutex);
    pj_text_show(trouble, sizeof trouble, "%s", server->not_ready);
    if (silent_ms > LIVENESS_LIMIT_MS)
        pj_text_show(trouble, sizeof trouble, "the main loop has been stuck for %" PRId64 " ms",
                     silent_ms);
    pj_page_render(&out, atomic_load(&server->page), server->history, server->metrics,
                   *trouble != '\0' ? trouble : NULL);
    pthread_mutex_unlock(&server->mutex);
    pj_http_add_field(request, "Content-Type", "text/html; charset=utf-8");
    pj_http_add_field(request, "Content-Security-Policy", pj_page_policy());
    pj_http_add_field(request, "X-Content-Type-Options", "nosniff");
    pj_http_add_field(request, "Referrer-Policy", "no-referrer");
    pj_http_add_field(request, "Cache-Control", "no-store");
    pj_http_answer(request, 200, out.text, out.length);
    pj_builder_free(&out);
}

/* The server's thread answers everything: no worker can keep a probe waiting. */
static void begin(void *context, struct pj_http_request *request)
{
    struct pj_metrics_server *server = context;
    const struct pj_http_head *head = request->head;
    size_t length = strcspn(head->target, "?");
    const bool metrics = length == 8 && memcmp(head->target, "/metrics", length) == 0;
    const bool live = length == 6 && memcmp(head->target, "/livez", length) == 0;
    const bool ready = length == 7 && memcmp(head->target, "/readyz", length) == 0;
    const bool page = length == 1 && atomic_load(&server->page) != NULL;
    if (!metrics && !live && !ready && !page) {
        answer(request, 404, "only /, /metrics, /livez and /readyz are served\n");
    } else if (strcmp(head->method, "GET") != 0 && strcmp(head->method, "HEAD") != 0) {
        pj_http_add_field(request, "Allow", "GET, HEAD");
        answer(request, 405, "only GET and HEAD are allowed\n");
    } else if (live) {
        answer_live(server, request);
    } else if (ready) {
        answer_ready(server, request);
    } else if (page) {
        answer_page(server, request);
    } else {
        answer_metrics(server, request);
    }
}

/* --- the server ------------------------------------------------------------------------------ */

int pj_metrics_server_start(struct pj_metrics_server **out, struct pj_metrics *metrics,
                            const char *address, struct pj_error *error)
{
    struct pj_metrics_server *server = pj_alloc(sizeof *server);
    server->metrics = metrics;
    pj_text_show(server->not_ready, sizeof server->not_ready, "starting");
    pthread_mutex_init(&server->mutex, NULL);
    pj_metrics_server_heartbeat(server);
    const struct pj_http_settings settings = {
        .name = "metrics",
        .address = address,
        .connections_most = CONNECTIONS_MOST,
        .spared_ms = SPARED_MS,
        .header_most = HEADER_MOST,
        .request_timeout_ms = REQUEST_TIMEOUT_MS,
    };
    const struct pj_http_handler handler = {.context = server, .begin = begin};
    if (pj_http_server_start(&server->http, &settings, &handler, error) != 0) {
        pthread_mutex_destroy(&server->mutex);
        free(server);
        return -1;
    }
    *out = server;
    return 0;
}

void pj_metrics_server_stop(struct pj_metrics_server *server)
{
    if (server == NULL)
        return;
    pj_http_server_stop(server->http, 0);
    pj_page_history_free(server->history);
    pthread_mutex_destroy(&server->mutex);
    free(server);
}

int pj_metrics_server_port(const struct pj_metrics_server *server)
{
    return pj_http_server_port(server->http);
}

void pj_metrics_server_set_ready(struct pj_metrics_server *server, const char *reason_or_null)
{
    pthread_mutex_lock(&server->mutex);
    pj_text_show(server->not_ready, sizeof server->not_ready, "%s",
                 reason_or_null == NULL    ? ""
                 : *reason_or_null != '\0' ? reason_or_null
                                           : "not ready");
    pthread_mutex_unlock(&server->mutex);
}

void pj_metrics_server_heartbeat(struct pj_metrics_server *server)
{
    atomic_store(&server->heartbeat_ms, pj_clock_monotonic_ms());
    if (atomic_load(&server->page) == NULL)
        return;
    pthread_mutex_lock(&server->mutex);
    pj_page_history_look(server->history, server->metrics);
    pthread_mutex_unlock(&server->mutex);
}

void pj_metrics_server_show(struct pj_metrics_server *server, const struct pj_page *page)
{
    server->history = pj_page_history_new(page);
    atomic_store(&server->page, page);
}
