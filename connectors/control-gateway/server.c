/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/server.h"

#include "base/clock.h"
#include "base/listen.h"
#include "control-gateway/connections.h"
#include "control-gateway/exchange.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPARE_CONNECTIONS = 32,    /* that are told that there are too many */
    SPARE_MEMORY = 8 << 10,    /* of a connection, for what is sent */
    IDLE_MS = 15000,           /* between requests */
    DISCARDED_MOST = 64 << 20, /* of a body that is refused, so that its sender hears the reason */
    BUFFERED_MOST = 64 << 20,  /* bodies of all requests together */
    STREAM_BLOCK = 16 << 10,
    WAIT_MS = 20,
};

/* --- what is known before the body ----------------------------------------------------------- */

/* In a time that depends on what is given, not on how much of it is right. */
static bool is_same(const char *expected, const char *given)
{
    size_t expected_length = strlen(expected), given_length = strlen(given);
    volatile unsigned char difference = expected_length != given_length;
    for (size_t i = 0; i < given_length; i++) {
        char other = expected_length > 0 ? expected[i % expected_length] : '\0';
        difference = (unsigned char)(difference | (unsigned char)(given[i] ^ other));
    }
    return difference == 0;
}

static bool is_authorized(const struct pj_exchange *exchange)
{
    static const char scheme[] = "Bearer ";
    const char *token = exchange->server->gateway->settings->token;
    const char *given = pj_fields_get(&exchange->fields, MHD_HTTP_HEADER_AUTHORIZATION);
    if (token == NULL || exchange->route == PJ_ROUTE_HEALTH)
        return true;
    return given != NULL && strncasecmp(given, scheme, sizeof scheme - 1) == 0 &&
           is_same(token, given + sizeof scheme - 1);
}

static const char *header(const struct pj_exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

/* The length that the client says, -1 for chunks; false where it says nonsense. */
static bool read_length(struct pj_exchange *exchange)
{
    const char *length = header(exchange, MHD_HTTP_HEADER_CONTENT_LENGTH);
    exchange->has_body = length != NULL;
    exchange->body_length = 0;
    if (header(exchange, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL) {
        exchange->has_body = true;
        exchange->body_length = -1;
        return length == NULL; /* who believes which of the two is how requests are smuggled */
    }
    if (length == NULL)
        return true;
    char *end = NULL;
    long long value = strtoll(length, &end, 10);
    exchange->body_length = value;
    return *length >= '0' && *length <= '9' && *end == '\0' && value >= 0;
}

static struct pj_reply *too_large(const struct pj_exchange *exchange)
{
    char text[96];
    snprintf(text, sizeof text, "the body is larger than %lld bytes",
             (long long)exchange->server->gateway->settings->body_most);
    return pj_gateway_error(MHD_HTTP_CONTENT_TOO_LARGE, text, NULL);
}

/* NULL, or why it is not looked at further. */
static struct pj_reply *refusal(struct pj_exchange *exchange)
{
    const struct pj_gateway_settings *settings = exchange->server->gateway->settings;
    if (pj_connections_count(exchange->server->connections) > settings->connections_most)
        return pj_gateway_error(503, "there are too many connections; try again", NULL);
    if (exchange->route == PJ_ROUTE_BAD_METHOD)
        return pj_gateway_error(405, "the method is not known", NULL);
    if (exchange->route == PJ_ROUTE_BAD_PATH)
        return pj_gateway_error(400, "the path is not understood", NULL);
    if (!is_authorized(exchange))
        return pj_gateway_error(401, "Unauthorized", NULL);
    if (!read_length(exchange))
        return pj_gateway_error(400, "the length of the body is not understood", NULL);
    if (exchange->body_length > settings->body_most)
        return too_large(exchange);
    return NULL;
}

/* --- the body -------------------------------------------------------------------------------- */

static struct pj_reply *take_buffered(struct pj_exchange *exchange, const char *data, size_t length)
{
    struct pj_server *server = exchange->server;
    size_t most = (size_t)server->gateway->settings->body_most;
    if (exchange->length + length > exchange->capacity) {
        size_t capacity =
            (exchange->length + length) * 2 > most ? most : (exchange->length + length) * 2;
        size_t more = capacity - exchange->capacity;
        if (atomic_fetch_add(&server->buffered, more) + more > BUFFERED_MOST) {
            atomic_fetch_sub(&server->buffered, more);
            return pj_gateway_error(503, "there are too many large requests; try again", NULL);
        }
        char *body = realloc(exchange->body, capacity);
        if (body == NULL)
            abort();
        exchange->body = body;
        exchange->capacity = capacity;
    }
    memcpy(exchange->body + exchange->length, data, length);
    exchange->length += length;
    return NULL;
}

static struct pj_reply *take_streamed(struct pj_exchange *exchange, const char *data, size_t length)
{
    struct pj_error error;
    exchange->length += length;
    if (!pj_connection_works(exchange->slot)) /* the service's time is not the client's */
        return pj_gateway_error(408, "the request was not complete in time", NULL);
    int status = pj_transfer_write(exchange->transfer, data, length, &error);
    pj_connection_resumes(exchange->slot);
    return status == 0 ? NULL : pj_gateway_error(503, error.message, NULL);
}

/* What is refused is read to its end all the same: closing at once would cut off the answer. */
static enum MHD_Result take(struct pj_exchange *exchange, const char *data, size_t length)
{
    size_t most = (size_t)exchange->server->gateway->settings->body_most;
    if (exchange->reply != NULL) {
        exchange->discarded += length;
        return exchange->discarded <= DISCARDED_MOST ? MHD_YES : MHD_NO;
    }
    if (length > most - exchange->length)
        exchange->reply = too_large(exchange);
    else if (exchange->transfer != NULL)
        exchange->reply = take_streamed(exchange, data, length);
    else
        exchange->reply = take_buffered(exchange, data, length);
    if (exchange->reply != NULL)
        pj_exchange_drop_body(exchange);
    return MHD_YES;
}

void pj_exchange_drop_body(struct pj_exchange *exchange)
{
    pj_transfer_close(exchange->transfer);
    exchange->transfer = NULL;
    free(exchange->body);
    exchange->body = NULL;
    atomic_fetch_sub(&exchange->server->buffered, exchange->capacity);
    exchange->capacity = 0;
}

/* --- answers --------------------------------------------------------------------------------- */

static void count(struct pj_exchange *exchange, int status)
{
    static const char *const routes[] = {
        [PJ_ROUTE_BAD_PATH] = "none",       [PJ_ROUTE_BAD_METHOD] = "none",
        [PJ_ROUTE_COMMAND] = "command",     [PJ_ROUTE_OPEN] = "session-open",
        [PJ_ROUTE_CLOSE] = "session-close", [PJ_ROUTE_HEALTH] = "passed",
        [PJ_ROUTE_PASS] = "passed",
    };
    struct pj_metrics *metrics = exchange->server->gateway->metrics;
    char labels[64];
    snprintf(labels, sizeof labels, "route=\"%s\",code=\"%d\"", routes[exchange->route], status);
    pj_metric_add(pj_metrics_add(metrics, PJ_COUNTER, "projectionist_gateway_requests_total",
                                 labels, "Requests that were answered."),
                  1);
    snprintf(labels, sizeof labels, "route=\"%s\"", routes[exchange->route]);
    pj_metric_observe_us(pj_metrics_add(metrics, PJ_HISTOGRAM,
                                        "projectionist_gateway_request_seconds", labels,
                                        "Time from a request's last byte to its answer."),
                         pj_clock_monotonic_us() - exchange->start_us);
}

static void add_common(struct pj_exchange *exchange, struct MHD_Response *response, int status)
{
    if (atomic_load(&exchange->server->is_stopping))
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    count(exchange, status);
}

static enum MHD_Result queue(struct pj_exchange *exchange, struct MHD_Response *response,
                             int status, unsigned int idle_s)
{
    /* From 0, which it was while we worked, the silence is counted from now. */
    MHD_set_connection_option(exchange->connection, MHD_CONNECTION_OPTION_TIMEOUT, idle_s);
    enum MHD_Result result =
        MHD_queue_response(exchange->connection, (unsigned int)status, response);
    MHD_destroy_response(response);
    return result;
}

static void add_fields(struct MHD_Response *response, const struct pj_fields *fields)
{
    for (size_t i = 0; i < fields->count; i++)
        MHD_add_response_header(response, fields->items[i].name, fields->items[i].value);
}

static enum MHD_Result answer(struct pj_exchange *exchange, struct pj_reply *reply)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        reply->length, reply->body != NULL ? reply->body : (char *)"", MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    add_fields(response, &reply->fields);
    if (reply->command_id[0] != '\0')
        MHD_add_response_header(response, "Projectionist-Command-Id", reply->command_id);
    if (reply->repeated != NULL)
        MHD_add_response_header(response, "Projectionist-Repeated", reply->repeated);
    if (reply->status == 503 && pj_fields_get(&reply->fields, MHD_HTTP_HEADER_RETRY_AFTER) == NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (reply->status == 401 &&
        pj_fields_get(&reply->fields, MHD_HTTP_HEADER_WWW_AUTHENTICATE) == NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    add_common(exchange, response, reply->status);
    return queue(exchange, response, reply->status, IDLE_MS / 1000);
}

static ssize_t read_stream(void *context, uint64_t position, char *data, size_t most)
{
    struct pj_exchange *exchange = context;
    struct pj_error error;
    (void)position;
    pj_connection_sends(exchange->slot);
    int64_t length = pj_transfer_read(exchange->transfer, data, most, &error);
    return length > 0    ? (ssize_t)length
           : length == 0 ? MHD_CONTENT_READER_END_OF_STREAM
                         : MHD_CONTENT_READER_END_WITH_ERROR;
}

/* The service's answer, as it comes. */
static enum MHD_Result answer_stream(struct pj_exchange *exchange)
{
    struct pj_error error;
    int status = 0;
    if (pj_transfer_answer(exchange->transfer, &status, &error) != 0) {
        exchange->reply = pj_gateway_error(503, error.message, NULL);
        return answer(exchange, exchange->reply);
    }
    int64_t length = pj_transfer_length(exchange->transfer);
    struct MHD_Response *response =
        status == 204 || status == 304
            ? MHD_create_response_from_buffer(0, (char *)"", MHD_RESPMEM_PERSISTENT)
            : MHD_create_response_from_callback(length >= 0 ? (uint64_t)length : MHD_SIZE_UNKNOWN,
                                                STREAM_BLOCK, read_stream, exchange, NULL);
    if (response == NULL)
        return MHD_NO;
    add_fields(response, pj_transfer_fields(exchange->transfer));
    add_common(exchange, response, status);
    return queue(exchange, response, status, 0); /* connections.c has the time */
}

/* --- the way of a request -------------------------------------------------------------------- */

static enum MHD_Result add_field(void *fields, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    return name == NULL || pj_fields_add(fields, name, value != NULL ? value : "") ? MHD_YES
                                                                                   : MHD_NO;
}

/* libmicrohttpd has bounded them; more than we take are told so. */
static struct pj_reply *read_fields(struct pj_exchange *exchange)
{
    int count = MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, NULL, NULL);
    int read = MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, add_field,
                                         &exchange->fields);
    pj_fields_keep_end_to_end(&exchange->fields);
    return read == count ? NULL
                         : pj_gateway_error(MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE,
                                            "the headers are too large", NULL);
}

/* The headers are here. */
static enum MHD_Result begin(struct pj_exchange *exchange, const char *method)
{
    exchange->route = pj_route_of(method, exchange->uri, exchange->id);
    exchange->reply = read_fields(exchange);
    if (exchange->reply == NULL)
        exchange->reply = refusal(exchange);
    if (exchange->reply != NULL) {
        /* Who asks before sending a body, or has too much of it, is told at once. */
        if (header(exchange, MHD_HTTP_HEADER_EXPECT) == NULL &&
            exchange->body_length <= DISCARDED_MOST)
            return MHD_YES;
        pj_connection_works(exchange->slot);
        exchange->start_us = pj_clock_monotonic_us();
        return answer(exchange, exchange->reply);
    }
    if (exchange->route != PJ_ROUTE_PASS && exchange->route != PJ_ROUTE_HEALTH)
        return MHD_YES;
    bool sends = exchange->has_body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
                 strcmp(method, "PATCH") == 0;
    const struct pj_transfer_request request = {
        .method = method,
        .uri = exchange->uri,
        .fields = &exchange->fields,
        .has_body = sends,
        .body_length = exchange->body_length,
    };
    exchange->transfer = pj_transfer_open(exchange->server->gateway->upstream, &request);
    return MHD_YES;
}

/* All of it is here. */
static enum MHD_Result finish(struct pj_exchange *exchange)
{
    struct pj_gateway *gateway = exchange->server->gateway;
    const struct pj_request request = {.uri = exchange->uri,
                                       .fields = &exchange->fields,
                                       .body = {exchange->body, exchange->length}};
    if (!pj_connection_works(exchange->slot))
        return MHD_NO;
    MHD_set_connection_option(exchange->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
    exchange->start_us = pj_clock_monotonic_us();
    if (exchange->reply == NULL && exchange->transfer != NULL)
        return answer_stream(exchange);
    if (exchange->reply == NULL) {
        if (exchange->route == PJ_ROUTE_COMMAND)
            exchange->reply = pj_gateway_command(gateway, &request);
        else if (exchange->route == PJ_ROUTE_OPEN)
            exchange->reply = pj_gateway_open_session(gateway, &request);
        else
            exchange->reply = pj_gateway_close_session(gateway, &request, exchange->id);
    }
    return answer(exchange, exchange->reply);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    struct pj_exchange *exchange = *state;
    (void)context;
    (void)url;
    (void)version;
    if (!exchange->has_begun) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        exchange->connection = connection;
        exchange->slot = info->socket_context;
        exchange->has_begun = true;
        atomic_fetch_add(&exchange->server->in_flight, 1);
        return begin(exchange, method);
    }
    if (*upload_size > 0) {
        enum MHD_Result result = take(exchange, upload, *upload_size);
        *upload_size = 0;
        return result;
    }
    return finish(exchange);
}

/* --- what libmicrohttpd calls ---------------------------------------------------------------- */

static void *on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct pj_exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL)
        abort();
    exchange->server = context;
    exchange->uri = strdup(uri);
    if (exchange->uri == NULL)
        abort();
    pj_connection_receives(info->socket_context);
    return exchange;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct pj_exchange *exchange = *state;
    (void)context;
    (void)connection;
    (void)code;
    if (exchange == NULL)
        return;
    pj_exchange_drop_body(exchange);
    pj_reply_release(exchange->reply);
    if (exchange->has_begun) {
        pj_connection_rests(exchange->slot);
        MHD_set_connection_option(exchange->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                  (unsigned int)IDLE_MS / 1000U);
        atomic_fetch_sub(&exchange->server->in_flight, 1);
    }
    pj_fields_clear(&exchange->fields);
    free(exchange->uri);
    free(exchange);
    *state = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct pj_server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *slot = pj_connections_add(server->connections, info->connect_fd);
    } else if (*slot != NULL) {
        pj_connections_remove(server->connections, *slot);
        *slot = NULL;
    }
    pj_metric_set(server->open, pj_connections_count(server->connections));
}

/* --- the server ------------------------------------------------------------------------------ */

static struct MHD_Daemon *start_daemon(struct pj_server *server, int fd)
{
    const struct pj_gateway_settings *settings = server->gateway->settings;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC,
        0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT,
        (unsigned int)settings->connections_most + (unsigned int)SPARE_CONNECTIONS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)settings->header_most + SPARE_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)(IDLE_MS / 1000), MHD_OPTION_URI_LOG_CALLBACK,
        on_uri, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

int pj_server_start(struct pj_server **out, struct pj_gateway *gateway, struct pj_error *error)
{
    int fd = pj_listen("gateway address", gateway->settings->listen, error);
    if (fd < 0)
        return -1;
    struct pj_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        abort();
    server->gateway = gateway;
    server->port = pj_listen_port(fd);
    server->open = pj_metrics_add(gateway->metrics, PJ_GAUGE, "projectionist_gateway_connections",
                                  NULL, "Connections that are open.");
    server->connections = pj_connections_start(
        gateway->settings->request_timeout_ms, IDLE_MS,
        pj_metrics_add(gateway->metrics, PJ_COUNTER, "projectionist_gateway_timeouts_total", NULL,
                       "Connections that were cut because a request or its reader was slow."));
    server->daemon = start_daemon(server, fd);
    if (server->daemon == NULL) {
        pj_connections_stop(server->connections);
        free(server);
        return pj_error_set(error, PJ_FATAL, "cannot start the HTTP server: no thread or memory");
    }
    *out = server;
    return 0;
}

int pj_server_port(const struct pj_server *server)
{
    return server->port;
}

void pj_server_stop(struct pj_server *server, int64_t timeout_ms)
{
    if (server == NULL)
        return;
    int64_t deadline_ms = pj_clock_monotonic_ms() + timeout_ms;
    atomic_store(&server->is_stopping, true);
    MHD_socket listening = MHD_quiesce_daemon(server->daemon);
    while (atomic_load(&server->in_flight) > 0 && pj_clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, WAIT_MS);
    MHD_stop_daemon(server->daemon);
    if (listening != MHD_INVALID_SOCKET)
        pj_listen_close(listening);
    pj_connections_stop(server->connections);
    free(server);
}
