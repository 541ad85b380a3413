/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics, /livez and /readyz, by libmicrohttpd. */
#include "base/clock.h"
#include "base/listen.h"
#include "base/metrics.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECTIONS_MOST = 32,
    CONNECTION_MEMORY = 16 << 10,
    CONNECTION_TIMEOUT_S = 10,
    LIVENESS_LIMIT_MS = 60000,
    TEXT_MOST = 512,
};

struct pj_metrics_server {
    struct MHD_Daemon *daemon;
    struct pj_metrics *metrics;
    int port;
    _Atomic int64_t heartbeat_ms;
    _Atomic int64_t liveness_limit_ms;
    pthread_mutex_t mutex;     /* of not_ready */
    char not_ready[TEXT_MOST]; /* "" when ready */
};

/* --- requests -------------------------------------------------------------------------------- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned int status,
                              const char *type, const char *allow, char *text,
                              enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, mode);
    if (response == NULL) {
        if (mode == MHD_RESPMEM_MUST_FREE)
            free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (allow != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned int status,
                                   const char *allow, char *text)
{
    return answer(connection, status, "text/plain; charset=utf-8", allow, text,
                  MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result answer_live(struct pj_metrics_server *server,
                                   struct MHD_Connection *connection)
{
    char text[TEXT_MOST] = "ok\n";
    int64_t silent_ms = pj_clock_monotonic_ms() - atomic_load(&server->heartbeat_ms);
    if (silent_ms <= atomic_load(&server->liveness_limit_ms))
        return answer_text(connection, MHD_HTTP_OK, NULL, text);
    snprintf(text, sizeof text, "the main loop has not turned for %" PRId64 " ms\n", silent_ms);
    return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, NULL, text);
}

static enum MHD_Result answer_ready(struct pj_metrics_server *server,
                                    struct MHD_Connection *connection)
{
    char text[TEXT_MOST + 1];
    pthread_mutex_lock(&server->mutex);
    const int ready = server->not_ready[0] == '\0';
    snprintf(text, sizeof text, "%s\n", ready ? "ok" : server->not_ready);
    pthread_mutex_unlock(&server->mutex);
    return answer_text(connection, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, NULL, text);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    static int seen;
    static char not_found[] = "there is /metrics, /livez and /readyz\n";
    static char not_allowed[] = "only GET and HEAD\n";
    struct pj_metrics_server *server = context;
    const int metrics = strcmp(url, "/metrics") == 0;
    const int live = strcmp(url, "/livez") == 0;
    (void)version;
    (void)upload;
    /* The first call has the headers only; a body, if there is one, is thrown away. */
    if (*state == NULL) {
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (!metrics && !live && strcmp(url, "/readyz") != 0)
        return answer_text(connection, MHD_HTTP_NOT_FOUND, NULL, not_found);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, HEAD", not_allowed);
    if (live)
        return answer_live(server, connection);
    if (!metrics)
        return answer_ready(server, connection);
    return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", NULL,
                  pj_metrics_render(server->metrics), MHD_RESPMEM_MUST_FREE);
}

/* --- the server ------------------------------------------------------------------------------ */

/* Its thread takes no signals: they must interrupt the main loop. */
static struct MHD_Daemon *start_daemon(struct pj_metrics_server *server, int fd)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, handle, server,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS_MOST,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)CONNECTION_TIMEOUT_S, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

int pj_metrics_server_start(struct pj_metrics_server **out, struct pj_metrics *metrics,
                            const char *address, struct pj_error *error)
{
    int fd = pj_listen("metrics address", address, error);
    if (fd < 0)
        return -1;
    struct pj_metrics_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        abort();
    server->metrics = metrics;
    server->port = pj_listen_port(fd);
    snprintf(server->not_ready, sizeof server->not_ready, "starting");
    pthread_mutex_init(&server->mutex, NULL);
    atomic_store(&server->liveness_limit_ms, LIVENESS_LIMIT_MS);
    pj_metrics_server_heartbeat(server);
    server->daemon = start_daemon(server, fd);
    if (server->daemon == NULL) {
        /* The socket is libmicrohttpd's by now, or was never looked at; the program ends. */
        pthread_mutex_destroy(&server->mutex);
        free(server);
        return pj_error_fatal(error, PJ_EXIT_FAILED,
                              "cannot start the metrics server on %.200s: no thread or memory for "
                              "it; raise the limits of this process",
                              address);
    }
    *out = server;
    return 0;
}

void pj_metrics_server_stop(struct pj_metrics_server *server)
{
    if (server == NULL)
        return;
    MHD_stop_daemon(server->daemon);
    pthread_mutex_destroy(&server->mutex);
    free(server);
}

int pj_metrics_server_port(const struct pj_metrics_server *server)
{
    return server->port;
}

void pj_metrics_server_set_ready(struct pj_metrics_server *server, const char *reason_or_null)
{
    pthread_mutex_lock(&server->mutex);
    snprintf(server->not_ready, sizeof server->not_ready, "%s",
             reason_or_null == NULL    ? ""
             : *reason_or_null != '\0' ? reason_or_null
                                       : "not ready");
    pthread_mutex_unlock(&server->mutex);
}

void pj_metrics_server_heartbeat(struct pj_metrics_server *server)
{
    atomic_store(&server->heartbeat_ms, pj_clock_monotonic_ms());
}

void pj_metrics_server_set_liveness_limit(struct pj_metrics_server *server, int64_t limit_ms)
{
    atomic_store(&server->liveness_limit_ms, limit_ms);
}
