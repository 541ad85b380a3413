/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static void append_field(struct pj_builder *text, const char *name, const char *value)
{
    pj_builder_add(text, "%s: %s\r\n", name, value);
}

static struct pj_http_connection *connection_of(struct pj_http_request *request)
{
    return (struct pj_http_connection *)request;
}

bool pj_http_add_field(struct pj_http_request *request, const char *name, const char *value)
{
    struct pj_http_connection *connection = connection_of(request);
    if (!pj_http_is_token(name) || !pj_http_is_value(value) || pj_http_is_of_connection(name))
        return false;
    if (strcasecmp(name, "Date") == 0)
        connection->has_date = true;
    append_field(&connection->fields, name, value);
    return true;
}

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } known[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].status == status)
            return known[i].reason;
    }
    return "Other";
}

void pj_http_compose(struct pj_http_connection *connection, int status, const char *body,
                     int64_t length)
{
    struct pj_builder *out = &connection->out;
    char line[64];
    bool has_none = status == 204 || status == 304;
    pj_builder_add(out, "HTTP/1.1 %d %s\r\n", status, reason_of(status));
    if (!connection->has_date) {
        time_t now = time(NULL);
        struct tm tm;
        strftime(line, sizeof line, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
        append_field(out, "Date", line);
    }
    pj_builder_add_bytes(out, connection->fields.text, connection->fields.length);
    connection->is_chunked = !has_none && length < 0 && !connection->head.is_1_0;
    if (connection->is_chunked) {
        append_field(out, "Transfer-Encoding", "chunked");
    } else if (!has_none && length >= 0) {
        pj_builder_add(out, "Content-Length: %lld\r\n", (long long)length);
    } else if (!has_none) {
        connection->closes = true; /* the end of the connection is the end of the body */
    }
    if (connection->closes)
        append_field(out, "Connection", "close");
    pj_builder_add(out, "\r\n");
    bool is_head = connection->head.method != NULL && strcmp(connection->head.method, "HEAD") == 0;
    if (body != NULL && !has_none && !is_head)
        pj_builder_add_bytes(out, body, (size_t)length);
}

void pj_http_answer(struct pj_http_request *request, int status, const char *body, size_t length)
{
    struct pj_http_connection *connection = connection_of(request);
    connection->is_answered = true;
    connection->status = status;
    connection->answer.length = 0;
    pj_builder_add_bytes(&connection->answer, body, length);
}

void pj_http_answer_fault(struct pj_http_connection *connection, const struct pj_http_fault *fault)
{
    struct pj_builder body = {0};
    connection->fields.length = 0;
    connection->has_date = false;
    append_field(&connection->fields, "Content-Type", "application/json");
    if (fault->status == 503)
        append_field(&connection->fields, "Retry-After", "1");
    pj_builder_add(&body, "{\"error\": \"%s\"}\n", fault->reason);
    pj_http_answer(&connection->request, fault->status, body.text, body.length);
    pj_builder_free(&body);
}

/* --- streams --------------------------------------------------------------------------------- */

/* has_more: the kernel may wait a moment for what follows. */
static int send_all(struct pj_http_connection *connection, const char *data, size_t length,
                    bool has_more)
{
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (has_more ? MSG_MORE : 0);
    while (length > 0 && !connection->is_broken) {
        ssize_t sent = send(connection->fd, data, length, flags);
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
            continue;
        }
        struct pollfd room = {.fd = connection->fd, .events = POLLOUT};
        bool waits = sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        if (sent < 0 && errno == EINTR)
            continue;
        if (!waits || poll(&room, 1, PJ_HTTP_SEND_TIMEOUT_MS) <= 0)
            connection->is_broken = true;
    }
    return connection->is_broken ? -1 : 0;
}

int pj_http_stream(struct pj_http_request *request, int status, int64_t length)
{
    struct pj_http_connection *connection = connection_of(request);
    connection->is_answered = connection->is_streamed = true;
    pj_http_compose(connection, status, NULL, length);
    bool has_body =
        length != 0 && status != 204 && status != 304 && strcmp(request->head->method, "HEAD") != 0;
    int result = send_all(connection, connection->out.text, connection->out.length, has_body);
    connection->out.length = 0;
    return result;
}

int pj_http_stream_write(struct pj_http_request *request, const char *data, size_t length)
{
    struct pj_http_connection *connection = connection_of(request);
    char size[32];
    if (length == 0 || strcmp(request->head->method, "HEAD") == 0)
        return connection->is_broken ? -1 : 0;
    if (!connection->is_chunked)
        return send_all(connection, data, length, false);
    size_t digits = pj_text_whole(size, sizeof size, "%zx\r\n", length);
    if (send_all(connection, size, digits, true) != 0 ||
        send_all(connection, data, length, true) != 0)
        return -1;
    return send_all(connection, "\r\n", 2, false);
}

void pj_http_stream_end(struct pj_http_request *request, bool is_whole)
{
    struct pj_http_connection *connection = connection_of(request);
    if (!is_whole)
        connection->is_broken = true;
    if (connection->is_chunked && strcmp(request->head->method, "HEAD") != 0)
        (void)send_all(connection, "0\r\n\r\n", 5, false);
}
