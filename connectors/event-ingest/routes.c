/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/routes.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "common/exchange.h"
#include "event-ingest/hooks.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    KEY_MOST = 200,        /* bytes of an Idempotency-Key */
    BEACON_MOST = 64 << 10 /* bytes of a text/plain body: what browsers send at an unload */
};

/* What is known of a request besides its bytes. */
struct state {
    struct pj_exchange exchange;
    const char *route; /* for the metrics */
    const struct pj_topic_of *topic;
    struct pj_caller caller;
    bool is_caller_unknown; /* yet */
};

/* --- answers --------------------------------------------------------------------------------- */

static void send_answer(struct pj_ingest *ingest, struct pj_http_request *request,
                        struct pj_answer *answer)
{
    char seconds[24];
    if (answer->status == 503 && answer->retry_after_s == 0)
        answer->retry_after_s = 1;
    pj_text_whole(seconds, sizeof seconds, "%lld", (long long)answer->retry_after_s);
    if (answer->retry_after_s > 0)
        pj_http_add_field(request, "Retry-After", seconds);
    if (answer->status == 401)
        pj_http_add_field(request, "WWW-Authenticate", "Bearer");
    if (answer->status == 405)
        pj_http_add_field(request, "Allow", "POST, OPTIONS");
    if (answer->is_repetition && answer->status == 202)
        pj_http_add_field(request, "Projectionist-Repeated", "same");
    if (answer->body != NULL)
        pj_http_add_field(request, "Content-Type", "application/json");
    const struct state *state = request->state;
    pj_exchange_end(&state->exchange, request->head, state->route, answer->status, ingest->metrics,
                    "ingest");
    pj_http_answer(request, answer->status, answer->body != NULL ? answer->body : "",
                   answer->body != NULL ? strlen(answer->body) : 0);
    free(answer->body);
}

static void refuse(struct pj_ingest *ingest, struct pj_http_request *request, int status,
                   const char *text)
{
    struct pj_answer answer = {0};
    pj_answer_error(&answer, status, text);
    send_answer(ingest, request, &answer);
}

/* --- CORS ------------------------------------------------------------------------------------ */

/* Whether the page is of a listed origin; then it may read the answer. */
static bool allow_origin(const struct pj_ingest *ingest, struct pj_http_request *request)
{
    const char *origin = pj_http_field(request->head, "Origin");
    const char *list = ingest->settings->cors_origins;
    if (origin == NULL || list == NULL)
        return false;
    pj_http_add_field(request, "Vary", "Origin");
    if (!pj_text_is_of(list, ' ', origin))
        return false;
    pj_http_add_field(request, "Access-Control-Allow-Origin", origin);
    pj_http_add_field(request, "Access-Control-Expose-Headers",
                      "Retry-After, Projectionist-Repeated");
    return true;
}

static void preflight(struct pj_ingest *ingest, struct pj_http_request *request, bool is_allowed)
{
    struct pj_answer answer = {.status = 204};
    if (!is_allowed) {
        refuse(ingest, request, 403, "the origin is not one of --cors-origins");
        return;
    }
    pj_http_add_field(request, "Access-Control-Allow-Methods", "POST");
    pj_http_add_field(request, "Access-Control-Allow-Headers",
                      "Authorization, Content-Type, Idempotency-Key, If-Match, traceparent");
    pj_http_add_field(request, "Access-Control-Max-Age", "600");
    send_answer(ingest, request, &answer);
}

/* --- what is known before the body ----------------------------------------------------------- */

struct route {
    const char *path; /* before the topic */
    const char *name;
    void (*handle)(struct pj_ingest *ingest, const struct pj_posted *posted,
                   struct pj_answer *answer);
    bool is_signed; /* the body says who it is from, and no token does */
};

static const struct route routes[] = {
    {"/v1/events/", "events", pj_ingest_events, false},
    {"/v1/webhooks/prefect/", "prefect", pj_ingest_prefect, false},
    {"/v1/webhooks/s3/", "s3", pj_ingest_s3, false},
    {"/v1/webhooks/sns/", "sns", pj_ingest_sns, true},
};

/* NULL: none. Paths are compared as they come, without escapes: no topic needs any. */
static const struct route *route_of(const char *target)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (pj_text_begins(target, routes[i].path))
            return &routes[i];
    }
    return NULL;
}

static const struct route *route_named(const char *name)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (strcmp(routes[i].name, name) == 0)
            return &routes[i];
    }
    return NULL;
}

/* Whether a media type is that one, whatever its parameters. */
static bool is_type(const char *given, const char *type)
{
    size_t length = strcspn(given, "; \t");
    return length == strlen(type) && strncasecmp(given, type, length) == 0;
}

/* 0, or the status to refuse it with. */
static int check_head(const struct pj_http_head *head, const char **reason)
{
    const char *type = pj_http_field(head, "Content-Type");
    const char *encoding = pj_http_field(head, "Content-Encoding");
    const char *key = pj_http_field(head, "Idempotency-Key");
    *reason = "the Content-Type is neither application/json nor text/plain";
    if (type != NULL && !is_type(type, "application/json") && !is_type(type, "text/plain"))
        return 415;
    *reason = "the body is compressed; send it as it is";
    if (encoding != NULL && strcasecmp(encoding, "identity") != 0)
        return 415;
    *reason = "there is more than one Authorization";
    if (pj_http_count(head, "Authorization") > 1)
        return 400;
    *reason = "there is more than one If-Match";
    if (pj_http_count(head, "If-Match") > 1)
        return 400;
    *reason = "the Idempotency-Key is not one of 1 to 200 bytes";
    if (key != NULL &&
        (*key == '\0' || strlen(key) > KEY_MOST || pj_http_count(head, "Idempotency-Key") > 1))
        return 400;
    return 0;
}

/* False: it is answered, or (may_block false) the caller is still to be found. */
static bool admit(struct pj_ingest *ingest, struct pj_http_request *request, bool may_block)
{
    struct state *state = request->state;
    struct pj_error error = {0};
    const char *shown = pj_http_field(request->head, "Authorization");
    enum pj_admission admission = pj_callers_find(
        ingest->callers, shown, pj_topic_of_name(state->topic), may_block, &state->caller, &error);
    state->is_caller_unknown = admission == PJ_ASK_AGAIN;
    if (admission == PJ_UNKNOWN_CALLER)
        refuse(ingest, request, 401, error.message);
    if (admission == PJ_FOREIGN_TOPIC)
        refuse(ingest, request, 403, error.message);
    return admission == PJ_LET_IN;
}

static void begin(void *context, struct pj_http_request *request)
{
    struct pj_ingest *ingest = context;
    const struct pj_http_head *head = request->head;
    struct state *state = pj_alloc(sizeof *state);
    request->state = state;
    state->route = "none";
    pj_exchange_begin(&state->exchange, head);
    const struct route *route = route_of(head->target);
    if (route != NULL)
        state->topic = pj_topics_find(ingest->topics, head->target + strlen(route->path));
    bool is_allowed = allow_origin(ingest, request);
    const char *reason;
    int status = check_head(head, &reason);
    if (route == NULL) {
        refuse(ingest, request, 404,
               "there is nothing at this path; events are posted to "
               "/v1/events/<topic>");
        return;
    }
    state->route = route->name;
    if (strcmp(head->method, "OPTIONS") == 0)
        preflight(ingest, request, is_allowed);
    else if (strcmp(head->method, "POST") != 0)
        refuse(ingest, request, 405, "events are posted: the method is POST");
    else if (status != 0)
        refuse(ingest, request, status, reason);
    else if (state->topic == NULL)
        refuse(ingest, request, 404, "there is no such topic");
    else if (!route->is_signed)
        (void)admit(ingest, request, false);
    else
        state->caller = (struct pj_caller){.name = "sns", .is_import = true};
}

/* --- the way of a request -------------------------------------------------------------------- */

static void handle(void *context, struct pj_http_request *request)
{
    struct pj_ingest *ingest = context;
    struct state *state = request->state;
    struct pj_answer answer = {0};
    const char *type = pj_http_field(request->head, "Content-Type");
    state->exchange.start_us = pj_clock_monotonic_us();
    if (state->is_caller_unknown && !admit(ingest, request, true))
        return;
    const struct pj_posted posted = {
        .topic = state->topic,
        .caller = &state->caller,
        .body = {request->body, request->body_length},
        .key = pj_http_field(request->head, "Idempotency-Key"),
        .match = pj_http_field(request->head, "If-Match"),
    };
    pj_trace_enter(&state->exchange.trace);
    const struct route *route = route_named(state->route);
    if (!route->is_signed && type != NULL && is_type(type, "text/plain") &&
        request->body_length > BEACON_MOST)
        pj_answer_error(&answer, 413,
                        "a text/plain body is larger than 64 KiB; send application/json");
    else
        route->handle(ingest, &posted, &answer);
    send_answer(ingest, request, &answer);
    pj_trace_enter(NULL);
}

static void end(void *context, struct pj_http_request *request)
{
    (void)context;
    free(request->state);
}

/* --- the server ------------------------------------------------------------------------------ */

int pj_ingest_serve(struct pj_http_server **server, struct pj_ingest *ingest,
                    struct pj_error *error)
{
    const struct pj_http_settings http =
        pj_serving_http(&ingest->settings->serving, "ingest", ingest->metrics);
    const struct pj_http_handler handler = {ingest, begin, handle, end};
    return pj_http_server_start(server, &http, &handler, error);
}
