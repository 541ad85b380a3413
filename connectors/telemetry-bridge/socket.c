/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/socket.h"

#include "base/clock.h"
#include "base/log.h"
#include "telemetry-bridge/stream.h"

#include <jansson.h>
#include <libwebsockets.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_BYTES = 65536,
    TICK_MS = 1000,
    GREETING_MS = 2000,
    RECONNECT_FIRST_MS = 100,
    KEPT_OF_TOO_LONG = 65536,
};

struct pj_socket {
    const struct pj_bridge_settings *settings;
    const struct pj_bridge_metrics *metrics;
    char *url;   /* cut into pieces by lws_parse_uri */
    char *shown; /* the URL for the log: a query may be a secret */
    const char *host;
    char *path;
    int port;
    bool is_secure;
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    atomic_bool is_subscribed;
    atomic_llong last_turn_ms;
    /* All below is the thread's own, but for the context's wake-up. */
    struct lws_context *context;
    struct lws *wsi; /* NULL: not connected */
    lws_sorted_usec_list_t connect_timer;
    lws_sorted_usec_list_t tick_timer;
    struct pj_stream stream;
    char *message; /* what has come of it, at most the limit */
    size_t length, capacity, whole;
    bool must_subscribe, must_ping, is_paused, paused_told, is_up, lost_told;
    int64_t connected_ms, heard_ms, pinged_ms;
    int64_t reconnect_ms; /* the next wait */
};

/* --- messages -------------------------------------------------------------------------------- */

static void add_bytes(struct pj_socket *socket, const char *bytes, size_t count)
{
    size_t limit = (size_t)socket->settings->frame_size_limit;
    socket->whole += count;
    if (socket->length + count > limit)
        count = limit - socket->length;
    if (socket->length + count > socket->capacity) {
        socket->capacity = (socket->length + count) * 2;
        socket->message = realloc(socket->message, socket->capacity);
        if (socket->message == NULL)
            abort();
    }
    memcpy(socket->message + socket->length, bytes, count);
    socket->length += count;
}

static void forget_message(struct pj_socket *socket)
{
    socket->length = 0;
    socket->whole = 0;
    if (socket->capacity > READ_BYTES) { /* one large frame is no reason to keep its memory */
        free(socket->message);
        socket->message = NULL;
        socket->capacity = 0;
    }
}

/* -1: this connection is to end. */
static int obey(struct pj_socket *socket, enum pj_stream_action action)
{
    if (action == PJ_STREAM_RECONNECT) {
        socket->reconnect_ms = 0;
        return -1;
    }
    if (action == PJ_STREAM_SUBSCRIBE) {
        socket->must_subscribe = true;
        lws_callback_on_writable(socket->wsi);
    }
    return 0;
}

static void pause_reading(struct pj_socket *socket)
{
    if (socket->is_paused || !pj_buffer_is_full(socket->stream.buffer))
        return;
    socket->is_paused = true;
    pj_metric_add(socket->metrics->pauses, 1);
    pj_metric_set(socket->metrics->paused, 1);
    lws_rx_flow_control(socket->wsi, 0);
    if (!pj_buffer_is_full(socket->stream.buffer)) /* it was published in between */
        lws_cancel_service(socket->context);
}

static void go_on_reading(struct pj_socket *socket)
{
    if (!socket->is_paused || pj_buffer_is_full(socket->stream.buffer))
        return;
    socket->is_paused = false;
    socket->heard_ms = pj_clock_monotonic_ms();
    pj_metric_set(socket->metrics->paused, 0);
    if (socket->paused_told)
        pj_log(PJ_INFO, "the socket is read again");
    socket->paused_told = false;
    if (socket->wsi != NULL)
        lws_rx_flow_control(socket->wsi, 1 | LWS_RXFLOW_REASON_FLAG_PROCESS_NOW);
}

static int on_receive(struct pj_socket *socket, const char *bytes, size_t count)
{
    socket->heard_ms = pj_clock_monotonic_ms();
    socket->pinged_ms = 0;
    add_bytes(socket, bytes, count);
    if (!lws_is_final_fragment(socket->wsi))
        return 0;
    size_t length = socket->length;
    if (socket->whole > length && length > KEPT_OF_TOO_LONG)
        length = KEPT_OF_TOO_LONG;
    enum pj_stream_action action =
        pj_stream_message(&socket->stream, socket->message, length, socket->whole);
    forget_message(socket);
    if (socket->stream.is_subscribed && !atomic_load(&socket->is_subscribed)) {
        socket->reconnect_ms = RECONNECT_FIRST_MS;
        atomic_store(&socket->is_subscribed, true);
        pj_metric_set(socket->metrics->connected, 1);
    }
    pause_reading(socket);
    return obey(socket, action);
}

static int send_text(struct pj_socket *socket, const char *text)
{
    size_t length = strlen(text);
    unsigned char *buffer = malloc(LWS_PRE + length);
    if (buffer == NULL)
        abort();
    memcpy(buffer + LWS_PRE, text, length);
    int written = lws_write(socket->wsi, buffer + LWS_PRE, length, LWS_WRITE_TEXT);
    free(buffer);
    return written < (int)length ? -1 : 0;
}

/* One message a turn: that is the contract of LWS_CALLBACK_CLIENT_WRITEABLE. */
static int on_writable(struct pj_socket *socket)
{
    int status = 0;
    if (socket->must_subscribe) {
        json_t *object =
            json_pack("{s:s, s:s}", "type", "subscribe", "cursor", socket->stream.subscribe_from);
        char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
        json_decref(object);
        if (text == NULL)
            abort();
        socket->must_subscribe = false;
        status = send_text(socket, text);
        free(text);
    } else if (socket->must_ping) {
        socket->must_ping = false;
        status = send_text(socket, "{\"type\":\"ping\"}");
    }
    if (status == 0 && socket->must_ping)
        lws_callback_on_writable(socket->wsi);
    return status;
}

/* --- the connection -------------------------------------------------------------------------- */

static void on_connect_timer(lws_sorted_usec_list_t *timer);

static void schedule_connect(struct pj_socket *socket)
{
    int64_t wait = socket->reconnect_ms;
    if (wait > 0) /* between half of it and all of it, so that bridges do not come all at once */
        wait = wait / 2 + random() % (wait / 2 + 1);
    int64_t next = socket->reconnect_ms > 0 ? socket->reconnect_ms * 2 : RECONNECT_FIRST_MS;
    socket->reconnect_ms =
        next < socket->settings->reconnect_most_ms ? next : socket->settings->reconnect_most_ms;
    lws_sul_schedule(socket->context, 0, &socket->connect_timer, on_connect_timer,
                     wait * LWS_US_PER_MS + 1);
}

static void on_lost(struct pj_socket *socket, const char *reason)
{
    socket->wsi = NULL;
    socket->is_up = false;
    socket->is_paused = false;
    socket->must_subscribe = false;
    socket->must_ping = false;
    socket->lost_told = true;
    pj_metric_set(socket->metrics->connected, 0);
    pj_metric_set(socket->metrics->paused, 0);
    atomic_store(&socket->is_subscribed, false);
    forget_message(socket);
    if (atomic_load(&socket->stop))
        return;
    pj_log(PJ_WARN, "not connected to the service", pj_f_str("url", socket->shown),
           pj_f_str("reason", reason), pj_f_int("next_try_within_ms", socket->reconnect_ms));
    /* A buffer that is full would only be made fuller by a replay. */
    if (!pj_buffer_is_full(socket->stream.buffer))
        schedule_connect(socket);
}

static void on_connect_timer(lws_sorted_usec_list_t *timer)
{
    struct pj_socket *socket = lws_container_of(timer, struct pj_socket, connect_timer);
    struct lws_client_connect_info info = {
        .context = socket->context,
        .address = socket->host,
        .port = socket->port,
        .path = socket->path,
        .host = socket->host,
        .origin = socket->host,
        .ssl_connection = socket->is_secure ? LCCSCF_USE_SSL : 0,
        .local_protocol_name = "telemetry",
        .alpn = "http/1.1",
        .pwsi = &socket->wsi,
    };
    pj_metric_add(socket->metrics->connections, 1);
    socket->lost_told = false;
    /* On failure CLIENT_CONNECTION_ERROR may have been told already, or not. */
    if (lws_client_connect_via_info(&info) == NULL && socket->wsi == NULL && !socket->lost_told)
        on_lost(socket, "its address cannot be found, or not be connected to: look at "
                        "PROJECTIONIST_TELEMETRY_URL");
}

static void on_refused(struct pj_socket *socket, struct lws *wsi, const char *reason)
{
    unsigned code = lws_http_client_http_response(wsi);
    if (code == 401 || code == 403)
        reason = "it refuses our token: look at PROJECTIONIST_TELEMETRY_TOKEN_FILE";
    else if (code == 404)
        reason = "it has no such path: look at PROJECTIONIST_TELEMETRY_URL";
    on_lost(socket, reason != NULL ? reason : "it does not answer");
}

static void on_tick(lws_sorted_usec_list_t *timer)
{
    struct pj_socket *socket = lws_container_of(timer, struct pj_socket, tick_timer);
    int64_t now = pj_clock_monotonic_ms();
    atomic_store(&socket->last_turn_ms, now);
    lws_sul_schedule(socket->context, 0, timer, on_tick, TICK_MS * LWS_US_PER_MS);
    if (socket->is_paused && !socket->paused_told) {
        socket->paused_told = true;
        pj_log(PJ_WARN, "the buffer is full, the socket is not read until half of it is published");
    }
    /* Who does not read hears nothing, also of a service that is well. */
    if (!socket->is_up || socket->is_paused)
        return;
    if (now - socket->connected_ms >= GREETING_MS)
        (void)obey(socket, pj_stream_not_greeted(&socket->stream));
    if (socket->pinged_ms != 0 && now - socket->pinged_ms >= socket->settings->ping_ms) {
        pj_log(PJ_WARN, "the service does not answer a ping");
        lws_set_timeout(socket->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
    } else if (socket->pinged_ms == 0 && now - socket->heard_ms >= socket->settings->ping_ms) {
        socket->pinged_ms = now;
        socket->must_ping = true;
        lws_callback_on_writable(socket->wsi);
    }
}

static int add_token(struct pj_socket *socket, struct lws *wsi, unsigned char **place,
                     unsigned char *end)
{
    char value[4096];
    const char *token = socket->settings->token;
    if (token == NULL)
        return 0;
    int length = snprintf(value, sizeof value, "Bearer %s", token);
    if (length >= (int)sizeof value)
        return -1;
    return lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_AUTHORIZATION,
                                        (const unsigned char *)value, length, place, end);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t length)
{
    struct pj_socket *socket = lws_context_user(lws_get_context(wsi));
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return add_token(socket, wsi, in, *(unsigned char **)in + length);
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        socket->wsi = wsi;
        socket->is_up = true;
        socket->connected_ms = socket->heard_ms = pj_clock_monotonic_ms();
        socket->pinged_ms = 0;
        pj_stream_connected(&socket->stream);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return on_receive(socket, in, length);
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return on_writable(socket);
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        on_refused(socket, wsi, in);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        on_lost(socket, "the connection was closed");
        return 0;
    case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
        go_on_reading(socket);
        /* It was lost while the buffer was full. */
        if (socket->wsi == NULL && lws_dll2_is_detached(&socket->connect_timer.list) &&
            !atomic_load(&socket->stop) && !pj_buffer_is_full(socket->stream.buffer))
            schedule_connect(socket);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "telemetry", .callback = on_event, .rx_buffer_size = READ_BYTES},
    {0},
};

/* --- the thread ------------------------------------------------------------------------------ */

static void *run(void *argument)
{
    struct pj_socket *socket = argument;
    socket->reconnect_ms = 0;
    schedule_connect(socket);
    on_tick(&socket->tick_timer);
    while (!atomic_load(&socket->stop) && lws_service(socket->context, 0) >= 0) {
    }
    lws_sul_cancel(&socket->connect_timer);
    lws_sul_cancel(&socket->tick_timer);
    return NULL;
}

static void on_lws_log(int level, const char *line)
{
    pj_log(level == LLL_ERR ? PJ_INFO : PJ_DEBUG, "libwebsockets", pj_f_str("text", line));
}

/* --- opening and closing --------------------------------------------------------------------- */

static int parse_url(struct pj_socket *socket, struct pj_error *error)
{
    const char *url = socket->settings->telemetry_url;
    const char *scheme, *path;
    bool is_plain = strncmp(url, "ws://", 5) == 0;
    socket->is_secure = strncmp(url, "wss://", 6) == 0;
    if (strchr(url, '@') != NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the URL of the telemetry must not hold a name or password; "
                              "PROJECTIONIST_TELEMETRY_TOKEN_FILE names the file of a token");
    socket->url = strdup(url);
    if (socket->url == NULL || !(is_plain || socket->is_secure) ||
        lws_parse_uri(socket->url, &scheme, &socket->host, &socket->port, &path) != 0 ||
        *socket->host == '\0' || socket->port <= 0 || socket->port > 65535)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "'%s' is no URL of the telemetry, such as "
                              "ws://127.0.0.1:7071/v1/stream or wss://HOST/v1/stream",
                              url);
    socket->shown = strndup(url, strcspn(url, "?#"));
    if (socket->shown == NULL || asprintf(&socket->path, "/%s", path) < 0)
        abort();
    return 0;
}

int pj_socket_open(struct pj_socket **out, const struct pj_bridge_settings *settings,
                   const struct pj_bridge_metrics *metrics, struct pj_error *error)
{
    struct pj_socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL)
        abort();
    socket->settings = settings;
    socket->metrics = metrics;
    if (parse_url(socket, error) != 0) {
        pj_socket_close(socket);
        return -1;
    }
    *out = socket;
    return 0;
}

int pj_socket_start(struct pj_socket *socket, const struct pj_position *position,
                    struct pj_buffer *buffer, struct pj_error *error)
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .user = socket,
        .fd_limit_per_thread = 32,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .client_ssl_ca_filepath = socket->settings->ca_file,
    };
    sigset_t all, before;
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    socket->context = lws_create_context(&info);
    if (socket->context == NULL)
        return pj_error_set(error, PJ_FATAL, "libwebsockets cannot start%s%s",
                            socket->settings->ca_file != NULL ? ", maybe because of " : "",
                            socket->settings->ca_file != NULL ? socket->settings->ca_file : "");
    socket->stream.settings = socket->settings;
    socket->stream.metrics = socket->metrics;
    socket->stream.buffer = buffer;
    pj_stream_init(&socket->stream, position);
    /* Signals are the main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    socket->has_thread = pthread_create(&socket->thread, NULL, run, socket) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return socket->has_thread ? 0 : pj_error_set(error, PJ_FATAL, "cannot start a thread");
}

void pj_socket_stop(struct pj_socket *socket)
{
    if (!socket->has_thread)
        return;
    atomic_store(&socket->stop, true);
    lws_cancel_service(socket->context);
    pthread_join(socket->thread, NULL);
    socket->has_thread = false;
}

void pj_socket_close(struct pj_socket *socket)
{
    if (socket == NULL)
        return;
    pj_socket_stop(socket);
    if (socket->context != NULL) {
        lws_context_destroy(socket->context); /* tells us of the connection's end */
        pj_stream_free(&socket->stream);
    }
    free(socket->message);
    free(socket->path);
    free(socket->url);
    free(socket->shown);
    free(socket);
}

void pj_socket_resume(struct pj_socket *socket)
{
    if (socket->has_thread)
        lws_cancel_service(socket->context);
}

bool pj_socket_is_subscribed(const struct pj_socket *socket)
{
    return atomic_load(&socket->is_subscribed);
}

int64_t pj_socket_last_turn_ms(const struct pj_socket *socket)
{
    return atomic_load(&socket->last_turn_ms);
}
