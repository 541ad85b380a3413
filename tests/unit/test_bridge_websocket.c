/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/address.h"
#include "telemetry-bridge/handshake.h"
#include "telemetry-bridge/websocket.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- frames ---------------------------------------------------------------------------------- */

/* Reads a service's bytes, in pieces of that size, and writes what comes of them: "text(abc)". */
static const char *read_in(const char *bytes, size_t count, size_t limit, size_t piece)
{
    static char log[1024];
    struct pj_websocket_reader reader = {.limit = limit};
    size_t length = 0;
    *log = '\0';
    for (size_t from = 0; from < count; from += piece) {
        const char *at = bytes + from;
        size_t left = count - from < piece ? count - from : piece;
        for (;;) {
            struct pj_websocket_event event = pj_websocket_read(&reader, &at, &left);
            static const char *const names[] = {"", "text", "ping", "pong", "close", "broken"};
            if (event.kind == PJ_WEBSOCKET_MORE)
                break;
            length += (size_t)snprintf(log + length, sizeof log - length, "%s(", names[event.kind]);
            if (event.code != 0)
                length += (size_t)snprintf(log + length, sizeof log - length, "%d ", event.code);
            if (event.kind == PJ_WEBSOCKET_MESSAGE && event.whole != event.length)
                length += (size_t)snprintf(log + length, sizeof log - length, "%zu ", event.whole);
            if (event.kind != PJ_WEBSOCKET_BROKEN)
                length += (size_t)snprintf(log + length, sizeof log - length, "%.*s",
                                           (int)event.length, event.data);
            length += (size_t)snprintf(log + length, sizeof log - length, ")");
            if (event.kind >= PJ_WEBSOCKET_CLOSED) {
                pj_websocket_reset(&reader);
                return log;
            }
        }
    }
    pj_websocket_reset(&reader);
    return log;
}

#define EXPECT(text, bytes)                                                                        \
    for (size_t piece = 1; piece <= sizeof bytes; piece++)                                         \
    cr_assert_str_eq(read_in(bytes, sizeof bytes - 1, 8, piece), text, "%s, %zu at a time: %s",    \
                     #bytes, piece, read_in(bytes, sizeof bytes - 1, 8, piece))

Test(bridge_websocket, messages_and_control_frames_are_read_in_any_pieces)
{
    EXPECT("text(abc)", "\x81\x03"
                        "abc");
    EXPECT("text()text(b)", "\x81\x00\x82\x01"
                            "b");
    EXPECT("text(abcd)", "\x01\x01"
                         "a\x00\x02"
                         "bc\x80\x01"
                         "d");
    EXPECT("ping(p)text(ab)", "\x01\x01"
                              "a\x89\x01"
                              "p\x80\x01"
                              "b");
    EXPECT("pong(x)close(1000 bye)", "\x8a\x01"
                                     "x\x88\x05\x03\xe8"
                                     "bye");
    EXPECT("close(1005 )", "\x88\x00");
    EXPECT("text(ab)", "\x81\x7e\x00\x02"
                       "ab");
    EXPECT("text(ab)", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x02"
                       "ab");
}

Test(bridge_websocket, of_a_message_that_is_too_long_the_beginning_is_kept)
{
    EXPECT("text(10 abcdefgh)text(x)", "\x81\x0a"
                                       "abcdefghij\x81\x01"
                                       "x");
    EXPECT("text(12 abcdefgh)", "\x01\x06"
                                "abcdef\x80\x06"
                                "ghijkl");
}

Test(bridge_websocket, what_a_server_must_not_send_ends_the_connection)
{
    EXPECT("broken(1002 )", "\x81\x83\x01\x02\x03\x04xyz"); /* masked */
    EXPECT("broken(1002 )", "\x81\x80\x00\x00\x00\x00");    /* masked by nothing, and empty */
    EXPECT("broken(1002 )", "\xc1\x01x");                   /* reserved bits */
    EXPECT("broken(1002 )", "\xa1\x01x");
    EXPECT("broken(1002 )", "\x91\x01x");
    EXPECT("broken(1002 )", "\x83\x01x"); /* opcodes */
    EXPECT("broken(1002 )", "\x8b\x01x");
    EXPECT("broken(1002 )", "\x8f\x01x");
    EXPECT("broken(1002 )", "\x80\x01x");          /* a continuation of nothing */
    EXPECT("broken(1002 )", "\x01\x01x\x81\x01y"); /* two messages at once */
    EXPECT("broken(1002 )", "\x09\x01x");          /* control frames: fragmented, too long */
    EXPECT("broken(1002 )", "\x89\x7e\x00\x7e");
    EXPECT("broken(1002 )", "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x01"); /* a negative length */
    EXPECT("broken(1009 )", "\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00");
    EXPECT("broken(1009 )", "\x01\x01x\x80\x7f\x00\x00\x00\x00\x40\x00\x00\x00"); /* together */
    EXPECT("broken(1002 )", "\x88\x01\x03");                                      /* half a code */
    EXPECT("broken(1002 )", "\x88\x02\x03\xed");
    EXPECT("broken(1002 )", "\x88\x02\x03\xe7");
    EXPECT("broken(1002 )", "\x88\x02\x07\xd0");
    EXPECT("broken(1002 )", "\x88\x02\xff\xff");
}

Test(bridge_websocket, our_frames_are_masked_and_as_short_as_they_can_be)
{
    static const unsigned char mask[4] = {1, 2, 3, 4};
    char *out = malloc(70000 + PJ_WEBSOCKET_OVERHEAD);
    char *data = calloc(1, 70000);
    cr_assert_eq(pj_websocket_write(out, PJ_WEBSOCKET_TEXT, "abcde", 5, mask), 11);
    cr_assert_arr_eq(out, "\x81\x85\x01\x02\x03\x04\x60\x60\x60\x60\x64", 11);
    cr_assert_eq(pj_websocket_write(out, PJ_WEBSOCKET_TEXT, data, 126, mask), 126 + 8);
    cr_assert_arr_eq(out, "\x81\xfe\x00\x7e", 4);
    cr_assert_eq(pj_websocket_write(out, PJ_WEBSOCKET_PONG, data, 70000, mask), 70000 + 14);
    cr_assert_arr_eq(out, "\x8a\xff\x00\x00\x00\x00\x00\x01\x11\x70", 10);
    free(out);
    free(data);
}

/* --- the URL --------------------------------------------------------------------------------- */

Test(bridge_websocket, a_url_is_asked_for_as_it_is_written)
{
    static const char *const urls[][5] = {
        {"ws://host", "http://host:80/", "host", "/", "ws://host"},
        {"ws://host/", "http://host:80/", "host", "/", "ws://host/"},
        {"ws://host:80/", "http://host:80/", "host", "/", "ws://host:80/"},
        {"wss://host:443/x", "https://host:443/", "host", "/x", "wss://host:443/x"},
        {"ws://host:443/x", "http://host:443/", "host:443", "/x", "ws://host:443/x"},
        {"WS://host:7071?a=b", "http://host:7071/", "host:7071", "/?a=b", "WS://host:7071"},
        {"wss://host/v1/stream?a=b&c=/d", "https://host:443/", "host", "/v1/stream?a=b&c=/d",
         "wss://host/v1/stream"},
        {"ws://[::1]:7071/x", "http://[::1]:7071/", "[::1]:7071", "/x", "ws://[::1]:7071/x"},
        {"wss://[::1]", "https://[::1]:443/", "[::1]", "/", "wss://[::1]"},
        {"ws://host/a/../b//c/./d", "http://host:80/", "host", "/a/../b//c/./d",
         "ws://host/a/../b//c/./d"},
        {"ws://host/%2F?q=%20", "http://host:80/", "host", "/%2F?q=%20", "ws://host/%2F"},
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct pj_address address;
        struct pj_error error;
        cr_assert_eq(pj_address_parse(&address, urls[i][0], &error), 0, "%s: %s", urls[i][0],
                     error.message);
        cr_assert_str_eq(address.connect, urls[i][1]);
        cr_assert_str_eq(address.host, urls[i][2]);
        cr_assert_str_eq(address.path, urls[i][3]);
        cr_assert_str_eq(address.shown, urls[i][4]);
        pj_address_free(&address);
    }
}

Test(bridge_websocket, a_url_that_is_none_is_refused_and_not_shown)
{
    static const char *const urls[][2] = {
        {"", "no scheme"},
        {"host:7071/canary", "no scheme"},
        {"http://host/canary", "neither ws:// nor wss://"},
        {"wsss://host/canary", "neither ws:// nor wss://"},
        {"ws://me:canary@host/", "name or password"},
        {"ws://host/#canary", "has a #"},
        {"ws://host:notaport/canary", "a port that is not a number"},
        {"ws://host:0/canary", "a port that is not a number"},
        {"ws://host:70000/canary", "a port that is not a number"},
        {"ws://host:-1/canary", "a port that is not a number"},
        {"ws:///canary", "telemetry-url"},
        {"ws://ho st/canary", "telemetry-url"},
        {"ws://[::1/canary", "telemetry-url"},
        {"ws://host/\r\nX: canary", "telemetry-url"},
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct pj_address address;
        struct pj_error error;
        cr_assert_eq(pj_address_parse(&address, urls[i][0], &error), -1, "%s", urls[i][0]);
        cr_assert_eq(pj_error_exit_code(&error), PJ_EXIT_USAGE);
        cr_assert_not_null(strstr(error.message, urls[i][1]), "%s: %s", urls[i][0], error.message);
        cr_assert_null(strstr(error.message, "canary"), "%s", error.message);
    }
}

/* --- the handshake --------------------------------------------------------------------------- */

#define KEY    "dGhlIHNhbXBsZSBub25jZQ==" /* that of RFC 6455 */
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define UP     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

static const char *judged(const char *text)
{
    static struct pj_handshake_answer answer;
    static char shown[600];
    pj_handshake_read(&answer, text, strlen(text), true, KEY);
    if (answer.end == PJ_HANDSHAKE_OPEN)
        snprintf(shown, sizeof shown, "open, then '%s'", text + answer.used);
    else
        snprintf(shown, sizeof shown, "%s",
                 answer.end == PJ_HANDSHAKE_MORE ? "more" : answer.reason);
    return shown;
}

Test(bridge_websocket, only_a_whole_upgrade_opens)
{
    static const char *const answers[][2] = {
        {UP ACCEPT "\r\n", "open, then ''"},
        {UP ACCEPT "\r\n\x81\x01x", "open, then '\x81\x01x'"},
        {"HTTP/1.1 101 \r\nconnection: keep-alive, upgrade\r\nUPGRADE:WebSocket\r\n" ACCEPT "\r\n",
         "open, then ''"},
        {UP "\r\n", "does not match the key sent"},
        {UP "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n\r\n",
         "does not match the key sent"},
        {UP ACCEPT ACCEPT "\r\n", "does not match the key sent"},
        {UP ACCEPT "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "an extension"},
        {UP ACCEPT "Sec-WebSocket-Protocol: x\r\n\r\n", "a subprotocol"},
        {"HTTP/1.1 101 X\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" ACCEPT "\r\n",
         "without Upgrade"},
        {"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n" ACCEPT "\r\n", "without Connection"},
        {"HTTP/1.1 302 Found\r\nLocation: https://me:pw@evil:1/x?token=y\r\n\r\n",
         "it redirects (HTTP 302) to https://evil:1/x, and redirects are not followed"},
        {"HTTP/1.1 308 X\r\nLocation: /elsewhere\r\n\r\n", "it redirects (HTTP 308) to /elsewhere"},
        {"HTTP/1.1 401 X\r\nContent-Length: 3\r\n\r\nbad", "it refuses our token"},
        {"HTTP/1.1 401 X\r\nContent-Length: 3\r\n\r\nbad", "it answers HTTP 401: bad"},
        {"HTTP/1.1 404 X\r\n\r\n", "no such path"},
        {"HTTP/1.1 503 Busy\r\n\r\nnot now\r\n", "it answers HTTP 503: not now"},
        {"HTTP/1.1 200 OK\r\n\r\n", "it answers HTTP 200"},
        {"SSH-2.0-OpenSSH\r\n", "does not answer like an HTTP server"},
        {"HTTP/1.1 1x1\r\n\r\n", "does not answer like an HTTP server"},
        {"HTTP/1.1 101 X\r\nUpg", "in the middle of its answer"},
        {"", "without answering"},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        cr_assert_not_null(strstr(judged(answers[i][0]), answers[i][1]), "%s: %s", answers[i][0],
                           judged(answers[i][0]));
    cr_assert_null(strstr(judged(answers[10][0]), "pw"));
    cr_assert_null(strstr(judged(answers[10][0]), "token=y"));
}

Test(bridge_websocket, an_answer_may_come_in_pieces)
{
    static const char text[] = UP ACCEPT "\r\n";
    struct pj_handshake_answer answer;
    for (size_t length = 0; length < sizeof text - 1; length++) {
        pj_handshake_read(&answer, text, length, false, KEY);
        cr_assert_eq(answer.end, PJ_HANDSHAKE_MORE, "%zu: %s", length, answer.reason);
    }
    pj_handshake_read(&answer, text, sizeof text - 1, false, KEY);
    cr_assert_eq(answer.end, PJ_HANDSHAKE_OPEN);
}

Test(bridge_websocket, the_request_has_the_port_and_the_token)
{
    struct pj_address address;
    struct pj_error error;
    cr_assert_eq(pj_address_parse(&address, "ws://[::1]:7071?a=b", &error), 0);
    char *request = pj_handshake_request(&address, KEY, "tok");
    cr_assert_eq(strncmp(request, "GET /?a=b HTTP/1.1\r\nHost: [::1]:7071\r\n", 38), 0, "%s",
                 request);
    cr_assert_not_null(strstr(request, "\r\nAuthorization: Bearer tok\r\n\r\n"), "%s", request);
    free(request);
    request = pj_handshake_request(&address, KEY, NULL);
    cr_assert_null(strstr(request, "Authorization"));
    free(request);
    pj_address_free(&address);
}
