/* SPDX-License-Identifier: Apache-2.0 */
#include "base/config.h"
#include "base/curl.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "control-gateway/upstream_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    CONNECT_TIMEOUT_MS = 3000,
    KEPT_S = 1, /* servers close what is idle after some seconds: gunicorn 2, Node.js 5 */
};

/* --- replies --------------------------------------------------------------------------------- */

struct pj_reply *pj_reply_new(int status, const char *content_type, char *body, size_t length)
{
    struct pj_reply *reply = pj_alloc(sizeof *reply);
    atomic_store(&reply->references, 1);
    reply->status = status;
    if (content_type != NULL)
        PJ_CHECK(pj_fields_add(&reply->fields, "Content-Type", content_type),
                 "a reply has no room for its Content-Type");
    reply->body = body;
    reply->length = length;
    return reply;
}

struct pj_reply *pj_reply_json(int status, json_t *json)
{
    char *body = pj_must(json_dumps(pj_must(json), 0));
    json_decref(json);
    return pj_reply_new(status, "application/json", body, strlen(body));
}

json_t *pj_reply_load(const struct pj_reply *reply)
{
    return reply->body != NULL ? json_loadb(reply->body, reply->length, 0, NULL) : NULL;
}

struct pj_reply *pj_reply_keep(struct pj_reply *reply)
{
    atomic_fetch_add(&reply->references, 1);
    return reply;
}

void pj_reply_release(struct pj_reply *reply)
{
    if (reply == NULL || atomic_fetch_sub(&reply->references, 1) > 1)
        return;
    pj_fields_clear(&reply->fields);
    free(reply->body);
    free(reply);
}

/* --- opening --------------------------------------------------------------------------------- */

static int check_url(const char *text, struct pj_error *error)
{
    CURLU *url = pj_must(curl_url());
    char *scheme = NULL;
    char *path = NULL;
    bool parsed = curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                  curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                  curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK;
    /* The text is not shown: it may contain a password. */
    bool good = parsed && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
                strcmp(path, "/") == 0 && !pj_url_has_port_0(url) &&
                !pj_url_has(url, CURLUPART_USER) && !pj_url_has(url, CURLUPART_QUERY) &&
                !pj_url_has(url, CURLUPART_FRAGMENT);
    curl_free(scheme);
    curl_free(path);
    curl_url_cleanup(url);
    if (good)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "--gateway-upstream must be http:// or https:// with only a host and a "
                          "port, such as http://127.0.0.1:7070; a token is given by "
                          "PROJECTIONIST_GATEWAY_UPSTREAM_TOKEN_FILE");
}

int pj_upstream_open(struct pj_upstream **out, const struct pj_upstream_settings *settings,
                     struct pj_error *error)
{
    if (check_url(settings->url, error) != 0)
        return -1;
    struct pj_upstream *upstream = pj_alloc(sizeof *upstream);
    pthread_mutex_init(&upstream->mutex, NULL);
    upstream->url = pj_strdup(settings->url);
    for (size_t end = strlen(upstream->url); end > 0 && upstream->url[end - 1] == '/';)
        upstream->url[--end] = '\0';
    upstream->ca_file = pj_strdup(settings->ca_file);
    upstream->timeout_ms = settings->timeout_ms;
    upstream->token = settings->token;
    *out = upstream;
    return 0;
}

void pj_upstream_close(struct pj_upstream *upstream)
{
    if (upstream == NULL)
        return;
    for (size_t i = 0; i < upstream->multi_count; i++)
        curl_multi_cleanup(upstream->multis[i]);
    pthread_mutex_destroy(&upstream->mutex);
    free(upstream->url);
    free(upstream->ca_file);
    free(upstream);
}

/* If we are out of descriptors, the service is not to blame. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct pj_upstream *upstream = context;
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    atomic_store(&upstream->lacks_descriptors, fd < 0 && (errno == EMFILE || errno == ENFILE));
    return fd >= 0 ? fd : CURL_SOCKET_BAD;
}

void pj_upstream_set_up(struct pj_upstream *upstream, CURL *curl, const char *method,
                        const char *uri, bool may_be_kept)
{
    char *url = pj_text_new("%s%s", upstream->url, uri);
    pj_curl_set_up(curl, url, upstream->ca_file,
                   upstream->timeout_ms < CONNECT_TIMEOUT_MS ? (long)upstream->timeout_ms
                                                             : (long)CONNECT_TIMEOUT_MS);
    free(url);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, upstream);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    /* libcurl resends on its own when a kept connection turns out to be closed. Only a GET may be
     * sent twice. */
    if (may_be_kept)
        curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, (long)KEPT_S);
    else if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
}

struct curl_slist *pj_upstream_fields(const struct pj_upstream *upstream,
                                      struct curl_slist *headers, const struct pj_fields *fields)
{
    if (upstream->token != NULL) {
        char *now = pj_config_token(upstream->token);
        char *line = pj_text_new("Authorization: Bearer %s", now);
        headers = pj_must(curl_slist_append(headers, line));
        free(line);
        free(now);
    }
    for (size_t i = 0; fields != NULL && i < fields->count; i++) {
        const struct pj_field *field = &fields->items[i];
        if (upstream->token != NULL && strcasecmp(field->name, "Authorization") == 0)
            continue;
        /* For libcurl "Name:" removes a header, and "Name;" sends it without a value. */
        char *line =
            pj_text_new(*field->value != '\0' ? "%s: %s" : "%s;", field->name, field->value);
        headers = pj_must(curl_slist_append(headers, line));
        free(line);
    }
    return headers;
}

bool pj_upstream_is_no_connection(CURLcode code)
{
    return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
           code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR;
}

int pj_upstream_fault(const struct pj_upstream *upstream, const char *fault, struct pj_error *error)
{
    return pj_error_set(error, PJ_POISON,
                        "the automation service at %.300s does not speak HTTP: %s", upstream->url,
                        fault);
}

static int failure(const struct pj_upstream *upstream, CURLcode code, const char *reason,
                   struct pj_error *error)
{
    if (code == CURLE_SEND_FAIL_REWIND)
        reason = "it was one kept from an earlier request"; /* and libcurl may not send it again */
    else if (*reason == '\0')
        reason = curl_easy_strerror(code);
    if (pj_upstream_is_no_connection(code) && atomic_load(&upstream->lacks_descriptors))
        return pj_error_set(
            error, PJ_RETRY,
            "the gateway has no file descriptor left for a connection to the automation "
            "service; raise control-gateway's limit of open files");
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY)
        return pj_upstream_fault(upstream, reason, error);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return pj_error_set(error, PJ_RETRY,
                            "the automation service at %.300s did not answer in time",
                            upstream->url);
    return pj_error_set(
        error, PJ_RETRY, "the automation service at %.300s %s (%s)", upstream->url,
        pj_upstream_is_no_connection(code) ? "cannot be reached" : "closed the connection", reason);
}

int pj_upstream_end(struct pj_upstream *upstream, CURLcode code, const char *reason,
                    struct pj_error *error)
{
    /* A closed connection says nothing about the service: the next request will. */
    bool is_away =
        (pj_upstream_is_no_connection(code) && !atomic_load(&upstream->lacks_descriptors)) ||
        code == CURLE_OPERATION_TIMEDOUT;
    if (code != CURLE_OK)
        (void)failure(upstream, code, reason, error);
    if (is_away && !atomic_exchange(&upstream->is_away, true))
        pj_log(PJ_WARN, "the automation service is away", pj_f_str("reason", error->message));
    if (code == CURLE_OK && atomic_exchange(&upstream->is_away, false))
        pj_log(PJ_INFO, "the automation service is back", pj_f_str("url", upstream->url));
    return code == CURLE_OK ? 0 : -1;
}
