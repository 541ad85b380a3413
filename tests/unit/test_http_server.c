/* SPDX-License-Identifier: Apache-2.0 */
/* What the server bounds, over a socket: heads, bodies, and bodies in chunks. */
#include "base/http_server.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER_MOST = 4096, BODY_MOST = 1 << 20 };

static struct pj_http_server *server;
static int port;

static void echo(void *context, struct pj_http_request *request)
{
    (void)context;
    pj_http_answer(request, 200, request->body, request->body_length);
}

static void set_up(void)
{
    struct pj_error error;
    const struct pj_http_settings settings = {
        .name = "test",
        .address = "127.0.0.1:0",
        .connections_most = 8,
        .header_most = HEADER_MOST,
        .body_most = BODY_MOST,
        .request_timeout_ms = 30000,
        .wait_timeout_ms = 30000,
        .workers = 1,
    };
    const struct pj_http_handler handler = {.handle = echo};
    cr_assert_eq(pj_http_server_start(&server, &settings, &handler, &error), 0, "%s",
                 error.message);
    port = pj_http_server_port(server);
}

static void tear_down(void)
{
    pj_http_server_stop(server, 0);
}

TestSuite(http_server, .init = set_up, .fini = tear_down, .timeout = 60);

/* Sends the request, and reads until the server closes. */
static char *exchange(const struct pj_builder *request)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct pj_builder answer = {0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    for (size_t sent = 0; sent < request->length;) {
        ssize_t count = send(fd, request->text + sent, request->length - sent, MSG_NOSIGNAL);
        if (count <= 0)
            break; /* refused before all of it was sent */
        sent += (size_t)count;
    }
    for (;;) {
        ssize_t count = recv(fd, pj_builder_reserve(&answer, 65536), 65536, 0);
        if (count <= 0)
            break;
        answer.length += (size_t)count;
    }
    close(fd);
    return pj_builder_take(&answer);
}

static void expect(struct pj_builder *request, const char *begin, const char *end)
{
    char *answer = exchange(request);
    size_t length = strlen(answer);
    cr_expect(strncmp(answer, begin, strlen(begin)) == 0, "%.200s", answer);
    cr_expect(length >= strlen(end) && strcmp(answer + length - strlen(end), end) == 0, "%.300s",
              answer);
    free(answer);
    pj_builder_free(request);
}

static void add_zeros(struct pj_builder *request, size_t count)
{
    memset(pj_builder_reserve(request, count), '0', count);
    request->length += count;
}

#define HEAD "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

Test(http_server, a_body_comes_whole)
{
    struct pj_builder request = {0};
    pj_builder_add(&request, HEAD "Content-Length: 5\r\n\r\nhello");
    expect(&request, "HTTP/1.1 200 OK\r\n", "\r\n\r\nhello");
    pj_builder_add(&request, HEAD "Content-Length: 0\r\n\r\n");
    expect(&request, "HTTP/1.1 200 OK\r\n", "\r\n\r\n");
    pj_builder_add(&request, HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    pj_builder_add(&request, "7\r\n, world\r\n0\r\n\r\n");
    expect(&request, "HTTP/1.1 200 OK\r\n", "\r\n\r\nhello, world");
}

Test(http_server, a_body_may_be_as_large_as_is_allowed)
{
    struct pj_builder request = {0};
    pj_builder_add(&request, HEAD "Content-Length: %d\r\n\r\n", BODY_MOST);
    add_zeros(&request, BODY_MOST - 4);
    pj_builder_add(&request, "last");
    expect(&request, "HTTP/1.1 200 OK\r\n", "0000last");
    pj_builder_add(&request, HEAD "Content-Length: %d\r\n\r\n", BODY_MOST + 1);
    expect(&request, "HTTP/1.1 413 ", "{\"error\": \"the body is larger than 1048576 bytes\"}\n");
    pj_builder_add(&request, HEAD "Transfer-Encoding: chunked\r\n\r\n%x\r\n", BODY_MOST + 1);
    add_zeros(&request, BODY_MOST + 1);
    pj_builder_add(&request, "\r\n0\r\n\r\n");
    expect(&request, "HTTP/1.1 413 ", "{\"error\": \"the body is larger than 1048576 bytes\"}\n");
}

Test(http_server, a_head_that_is_too_large_is_refused)
{
    struct pj_builder request = {0};
    pj_builder_add(&request, HEAD "X-Long: ");
    add_zeros(&request, HEADER_MOST);
    pj_builder_add(&request, "\r\n\r\n");
    expect(&request, "HTTP/1.1 431 ",
           "{\"error\": \"the head of the request is larger than 4096 bytes\"}\n");
    pj_builder_add(&request, "GET /");
    add_zeros(&request, HEADER_MOST);
    expect(&request, "HTTP/1.1 414 ",
           "{\"error\": \"the head of the request is larger than 4096 bytes\"}\n");
}
