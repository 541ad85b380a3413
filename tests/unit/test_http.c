/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct pj_http_head head;
static struct pj_http_fault fault;

static void tear_down(void)
{
    pj_http_head_free(&head);
}

TestSuite(http, .fini = tear_down, .timeout = 30);

static int parse(const char *text)
{
    pj_http_head_free(&head);
    return pj_http_head_parse(&head, text, strlen(text), &fault);
}

Test(http, a_request)
{
    cr_assert_eq(parse("POST /v1/%63?a=[b]|c HTTP/1.1\r\nhOST: a:1\r\nX-Empty:\r\n"
                       "X-Blanks: \t a b \t\r\nContent-Length: 007\r\nConnection: , x-a ,,Close\r\n"
                       "Expect: 100-Continue\r\n\r\n"),
                 0, "%s", fault.reason);
    cr_assert_str_eq(head.method, "POST");
    cr_assert_str_eq(head.target, "/v1/%63?a=[b]|c");
    cr_assert_str_eq(pj_http_field(&head, "x-empty"), "");
    cr_assert_str_eq(pj_http_field(&head, "X-BLANKS"), "a b");
    cr_assert_null(pj_http_field(&head, "X-None"));
    cr_assert_eq(head.body_length, 7);
    cr_assert(head.has_body && head.expects_continue && !head.keeps_alive && !head.is_1_0);
}

Test(http, what_a_proxy_is_asked)
{
    cr_assert_eq(parse("GET HTTP://A:1/b?c HTTP/1.1\r\nHost: a:1\r\n\r\n"), 0);
    cr_assert_str_eq(head.target, "/b?c");
    static const char *const refused[] = {
        "http://a",        "http://a?b", "http:///b",      "http://a:2/b", "http://b@a:1/b",
        "https://a:1",     "http:/a/b",  "http://a:1\\/b", "a:1",          "//a:1/b c",
        "http://a:1/%b\"",
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a:1\r\n\r\n", refused[i]);
        cr_assert_eq(parse(text), -1, "%s", refused[i]);
        cr_assert_eq(fault.status, 400);
    }
    cr_assert_eq(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 0);
    cr_assert_eq(parse("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), -1);
}

Test(http, how_a_head_arrives_makes_no_difference)
{
    static const char text[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /";
    struct pj_http_scan scan = {0};
    for (size_t i = 0; i < strlen(text) - 5; i++)
        cr_assert_eq(pj_http_scan(&scan, text, i, &fault), 0, "%zu", i);
    cr_assert_eq(pj_http_scan(&scan, text, strlen(text), &fault), (int64_t)strlen(text) - 5);
    cr_assert_eq(pj_http_head_parse(&head, text, strlen(text), &fault), -1, "more than one head");
}

Test(http, lengths_at_their_bounds)
{
    cr_assert_eq(parse("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999999999\r\n\r\n"),
                 0);
    cr_assert_eq(head.body_length, 999999999999999999);
    cr_assert_eq(parse("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000000000\r\n\r\n"),
                 -1);
    struct pj_http_chunks most = {0}, more = {0};
    const char *piece = NULL;
    size_t length = 0;
    cr_assert_eq(pj_http_chunks_take(&most, "fffffffffffffff\r\nab", 19, &piece, &length, &fault),
                 19);
    cr_assert_eq(length, 2);
    cr_assert_eq(pj_http_chunks_take(&more, "1000000000000000\r\n", 18, &piece, &length, &fault),
                 -1);
}

Test(http, nothing_is_taken_behind_the_last_chunk)
{
    static const char text[] = "3;a=\"b;c\"\r\nabc\r\n00\r\nX: \xff\r\n\r\nGET";
    struct pj_http_chunks chunks = {0};
    const char *piece = NULL;
    size_t length = 0, at = 0;
    while (!chunks.is_whole) {
        int64_t taken =
            pj_http_chunks_take(&chunks, text + at, strlen(text) - at, &piece, &length, &fault);
        cr_assert_gt(taken, 0);
        cr_assert(length == 0 || (length == 3 && memcmp(piece, "abc", 3) == 0));
        at += (size_t)taken;
    }
    cr_assert_str_eq(text + at, "GET");
    cr_assert_eq(pj_http_chunks_take(&chunks, text + at, 3, &piece, &length, &fault), 0);
}

Test(http, names_of_a_connection)
{
    static const char *const those[] = {"connection", "CONTENT_LENGTH", "transfer-Encoding", "te",
                                        "Host",       "Keep_Alive",     "HTTP2-Settings"};
    static const char *const others[] = {"Content-Type", "TEX", "", "Hosts", "X-Connection"};
    for (size_t i = 0; i < sizeof those / sizeof those[0]; i++)
        cr_assert(pj_http_is_of_connection(those[i]), "%s", those[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        cr_assert_not(pj_http_is_of_connection(others[i]), "%s", others[i]);
    cr_assert(pj_http_list_has(" a ,\tB\t,,c", "b"));
    cr_assert_not(pj_http_list_has("a b", "b"));
    cr_assert_not(pj_http_list_has("", "b"));
}
