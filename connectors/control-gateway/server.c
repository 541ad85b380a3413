/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/server.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/memory.h"
#include "base/text.h"
#include "common/exchange.h"
#include "control-gateway/route.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { STREAM_BLOCK = 16 << 10, DESCRIPTORS_OF_REQUEST = 3 };

/* What is known of a request besides its bytes. */
struct exchange {
    enum pj_route route;
    char id[PJ_ROUTE_ID_MOST];
    struct pj_fields fields; /* end-to-end ones */
    struct pj_exchange traced;
};

/* --- answers --------------------------------------------------------------------------------- */

static void count(const struct pj_gateway *gateway, const struct pj_http_request *request,
                  int status)
{
    const struct exchange *exchange = request->state;
    static const char *const routes[] = {
        [PJ_ROUTE_BAD_PATH] = "none",       [PJ_ROUTE_BAD_METHOD] = "none",
        [PJ_ROUTE_COMMAND] = "command",     [PJ_ROUTE_OPEN] = "session-open",
        [PJ_ROUTE_CLOSE] = "session-close", [PJ_ROUTE_HEALTH] = "passed",
        [PJ_ROUTE_PASS] = "passed",
    };
    pj_exchange_end(&exchange->traced, request->head, routes[exchange->route], status,
                    gateway->metrics, "gateway");
}

static void add_fields(struct pj_http_request *request, const struct pj_fields *fields)
{
    for (size_t i = 0; i < fields->count; i++)
        pj_http_add_field(request, fields->items[i].name, fields->items[i].value);
}

static void answer(struct pj_gateway *gateway, struct pj_http_request *request,
                   struct pj_reply *reply)
{
    add_fields(request, &reply->fields);
    if (reply->command_id[0] != '\0')
        pj_http_add_field(request, "Projectionist-Command-Id", reply->command_id);
    if (reply->repeated != NULL)
        pj_http_add_field(request, "Projectionist-Repeated", reply->repeated);
    if (reply->status == 503 && pj_fields_get(&reply->fields, "Retry-After") == NULL)
        pj_http_add_field(request, "Retry-After", "1");
    if (reply->status == 401 && pj_fields_get(&reply->fields, "WWW-Authenticate") == NULL)
        pj_http_add_field(request, "WWW-Authenticate", "Bearer");
    if (reply->status == 405 && pj_fields_get(&reply->fields, "Allow") == NULL)
        pj_http_add_field(request, "Allow", PJ_ROUTE_METHODS);
    count(gateway, request, reply->status);
    pj_http_answer(request, reply->status, reply->body, reply->length);
    pj_reply_release(reply);
}

/* --- passing through ------------------------------------------------------------------------- */

static struct pj_transfer *open_transfer(struct pj_gateway *gateway,
                                         const struct pj_http_request *request)
{
    const struct pj_http_head *head = request->head;
    const struct exchange *exchange = request->state;
    const char *method = head->method;
    bool sends = head->has_body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
                 strcmp(method, "PATCH") == 0;
    const struct pj_transfer_request asked = {
        .method = method,
        .uri = head->target,
        .fields = &exchange->fields,
        .has_body = sends,
        .body_length = (int64_t)request->body_length,
    };
    return pj_transfer_open(gateway->upstream, &asked);
}

/* Streams the service's answer; 0 also where the client has gone. */
static int stream(struct pj_gateway *gateway, struct pj_http_request *request,
                  struct pj_transfer *transfer, struct pj_error *error)
{
    char data[STREAM_BLOCK];
    int status = 0;
    if (pj_transfer_write(transfer, request->body, request->body_length, error) != 0 ||
        pj_transfer_answer(transfer, &status, error) != 0)
        return -1;
    add_fields(request, pj_transfer_fields(transfer));
    count(gateway, request, status);
    bool has_none = status == 204 || status == 304;
    int64_t length = has_none ? 0 : 1;
    if (pj_http_stream(request, status, pj_transfer_length(transfer)) != 0)
        return 0;
    while (length > 0) {
        length = pj_transfer_read(transfer, data, sizeof data, error);
        if (length > 0 && pj_http_stream_write(request, data, (size_t)length) != 0)
            return 0;
    }
    pj_http_stream_end(request, length == 0);
    return 0;
}

static void pass(struct pj_gateway *gateway, struct pj_http_request *request)
{
    struct pj_error error;
    struct pj_transfer *transfer = open_transfer(gateway, request);
    if (stream(gateway, request, transfer, &error) != 0)
        answer(gateway, request,
               pj_gateway_error(error.class == PJ_POISON ? 502 : 503, error.message, NULL));
    pj_transfer_close(transfer);
}

/* --- what is known before the body ----------------------------------------------------------- */

/* Takes a time that depends on the input's length, not on how much of it is right. */
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

static bool is_authorized(const struct pj_gateway *gateway, const struct exchange *exchange)
{
    static const char scheme[] = "Bearer ";
    const char *token = gateway->settings->token;
    const char *given = pj_fields_get(&exchange->fields, "Authorization");
    if (token == NULL || exchange->route == PJ_ROUTE_HEALTH)
        return true;
    if (given == NULL || strncasecmp(given, scheme, sizeof scheme - 1) != 0)
        return false;
    char *now = pj_config_token(token);
    bool is_right = is_same(now, given + sizeof scheme - 1);
    free(now);
    return is_right;
}

/* NULL, or the refusal. */
static struct pj_reply *refusal(const struct pj_gateway *gateway, const struct exchange *exchange,
                                const struct pj_http_head *head)
{
    if (exchange->route == PJ_ROUTE_BAD_METHOD)
        return pj_gateway_error(405, "the method is unknown", NULL);
    if (exchange->route == PJ_ROUTE_BAD_PATH)
        return pj_gateway_error(400, "the path is ambiguous", NULL);
    /* With two, one might be accepted and the other identify the caller. */
    if (pj_http_count(head, "Authorization") > 1)
        return pj_gateway_error(400, "there is more than one Authorization", NULL);
    if (!is_authorized(gateway, exchange))
        return pj_gateway_error(401, "Unauthorized", NULL);
    return NULL;
}

/* --- the way of a request -------------------------------------------------------------------- */

/* The fields to pass on; false: too many. */
static bool read_fields(struct exchange *exchange, const struct pj_http_head *head)
{
    char trace[PJ_TRACE_TEXT_SIZE];
    pj_trace_text(&exchange->traced.trace, trace);
    bool has_room = pj_fields_add(&exchange->fields, PJ_TRACE_HEADER, trace);
    for (size_t i = 0; i < head->field_count && has_room; i++) {
        const char *name = head->fields[i].name;
        /* What else there is of a trace means nothing without a valid beginning. */
        bool replaced = strcasecmp(name, PJ_TRACE_HEADER) == 0 ||
                        (strcasecmp(name, "tracestate") == 0 && *exchange->traced.parent == '\0');
        has_room = replaced || pj_fields_add(&exchange->fields, name, head->fields[i].value);
    }
    pj_fields_keep_end_to_end(&exchange->fields);
    return has_room;
}

static void begin(void *context, struct pj_http_request *request)
{
    struct pj_gateway *gateway = context;
    const struct pj_http_head *head = request->head;
    struct exchange *exchange = pj_alloc(sizeof *exchange);
    request->state = exchange;
    exchange->route = pj_route_of(head->method, head->target, exchange->id);
    request->is_long = exchange->route == PJ_ROUTE_PASS;
    pj_exchange_begin(&exchange->traced, head);
    struct pj_reply *reply = read_fields(exchange, head)
                                 ? refusal(gateway, exchange, head)
                                 : pj_gateway_error(431, "the headers are too large", NULL);
    if (reply != NULL)
        answer(gateway, request, reply);
}

static void handle(void *context, struct pj_http_request *request)
{
    struct pj_gateway *gateway = context;
    struct exchange *exchange = request->state;
    const struct pj_request asked = {.uri = request->head->target,
                                     .fields = &exchange->fields,
                                     .body = {request->body, request->body_length}};
    exchange->traced.start_us = pj_clock_monotonic_us();
    pj_trace_enter(&exchange->traced.trace);
    if (exchange->route == PJ_ROUTE_COMMAND)
        answer(gateway, request, pj_gateway_command(gateway, &asked));
    else if (exchange->route == PJ_ROUTE_OPEN)
        answer(gateway, request, pj_gateway_open_session(gateway, &asked));
    else if (exchange->route == PJ_ROUTE_CLOSE)
        answer(gateway, request, pj_gateway_close_session(gateway, &asked, exchange->id));
    else
        pass(gateway, request);
    pj_trace_enter(NULL);
}

static void end(void *context, struct pj_http_request *request)
{
    struct exchange *exchange = request->state;
    (void)context;
    pj_fields_clear(&exchange->fields);
    free(exchange);
}

/* --- the server ------------------------------------------------------------------------------ */

int pj_gateway_serve(struct pj_http_server **server, struct pj_gateway *gateway,
                     struct pj_error *error)
{
    const struct pj_gateway_settings *settings = gateway->settings;
    struct pj_http_settings http = pj_serving_http(&settings->serving, "gateway", gateway->metrics);
    http.wait_timeout_ms = settings->upstream_timeout_ms;
    http.descriptors_kept = http.workers * DESCRIPTORS_OF_REQUEST;
    const struct pj_http_handler handler = {gateway, begin, handle, end};
    return pj_http_server_start(server, &http, &handler, error);
}
