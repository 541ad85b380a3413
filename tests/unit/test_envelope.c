/* SPDX-License-Identifier: Apache-2.0 */
/* What control-gateway makes of a request's body and path. */
#include "control-gateway/envelope.h"
#include "control-gateway/route.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define ID   "0f0e0d0c-0b0a-4908-8706-050403020100"
#define ID_2 "11111111-2222-4333-8444-555555555555"

static struct {
    struct pj_arena *arena;
    struct pj_envelope envelope;
    struct pj_error error;
    int status;
} given;

static void set_up(void)
{
    given.arena = pj_arena_new();
}

static void tear_down(void)
{
    json_decref(given.envelope.submitted);
    pj_arena_free(given.arena);
}

TestSuite(envelope, .init = set_up, .fini = tear_down);

static void parse(const char *body)
{
    json_decref(given.envelope.submitted);
    given.status =
        pj_envelope_parse((struct pj_bytes){body, strlen(body)}, &given.envelope, &given.error);
}

static void is_good(const char *body)
{
    parse(body);
    cr_assert_eq(given.status, 0, "%s", given.error.message);
}

static void is_bad(const char *body, const char *message)
{
    parse(body);
    cr_assert_eq(given.status, -1, "it was taken: %s", body);
    cr_assert_eq(given.error.class, PJ_POISON);
    cr_assert_str_eq(given.error.message, message);
}

static void is_text(struct pj_bytes text, const char *expected)
{
    cr_assert_eq(text.length, strlen(expected));
    cr_assert_arr_eq(text.data, expected, text.length);
}

/* A member of an object; NULL: it is not there. */
static void is_member(const json_t *object, const char *name, const char *expected)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (expected == NULL)
        cr_assert_null(json_object_get(object, name));
    else
        cr_assert(text != NULL && strcmp(text, expected) == 0, "%s is %s", name, text);
}

static void forwards(const char *body, const char *expected)
{
    is_good(body);
    is_text(pj_envelope_forwarded(&given.envelope, ID, "k\"", given.arena), expected);
}

Test(envelope, least)
{
    is_good("{\"type\":\"x\"}");
    is_member(given.envelope.submitted, "type", "x");
    is_member(given.envelope.submitted, "payload", "{}");
    cr_assert_str_eq(given.envelope.command_id, "");
    is_member(given.envelope.submitted, "idempotency_key", NULL);
    is_member(given.envelope.submitted, "target", NULL);
    is_member(given.envelope.submitted, "requested_at", NULL);
}

Test(envelope, null_is_as_if_it_were_not_there)
{
    is_good("{\"type\":\"x\",\"payload\":null,\"command_id\":null,\"idempotency_key\":null,"
            "\"target\":null,\"requester\":null,\"requested_at\":null,\"correlation_id\":null}");
    is_member(given.envelope.submitted, "payload", "{}");
    is_member(given.envelope.submitted, "idempotency_key", NULL);
}

Test(envelope, payload_is_as_it_was_written)
{
    is_good("{ \"payload\" : {\"a\": 1.10, \"type\":\"}\\\"\", \"b\":[{}]} , \"type\":\"x\"}");
    is_member(given.envelope.submitted, "payload", "{\"a\": 1.10, \"type\":\"}\\\"\", \"b\":[{}]}");
}

Test(envelope, names_the_field)
{
    is_bad("{\"payload\":{}}", "type is required");
    is_bad("{\"type\":\"\"}", "type is required");
    is_bad("{\"type\":1}", "type must be a string");
    is_bad("{\"type\":\"x\",\"payload\":1}", "payload must be an object");
    is_bad("{\"type\":\"x\",\"command_id\":\"" ID "0\"}", "command_id must be a UUID");
    is_bad("{\"type\":\"x\",\"correlation_id\":\"1\"}", "correlation_id must be a UUID");
    is_bad("{\"type\":\"x\",\"idempotency_key\":\"\"}", "idempotency_key must not be empty");
    is_bad("{\"type\":\"x\",\"target\":1}", "target must be an object");
    is_bad("{\"type\":\"x\",\"target\":{\"account_id\":\"1\"}}",
           "target.account_id must be a UUID");
    is_bad("{\"type\":\"x\",\"requester\":{\"instance_id\":1}}",
           "requester.instance_id must be a string");
    is_bad("{\"type\":\"x\",\"requested_at\":\"now\"}",
           "requested_at must be a time such as 2026-11-21T05:06:34.968Z (RFC 3339)");
    is_bad("{\"type\":\"x\",\"comm\\u0061nd_id\":\"" ID "\"}",
           "the name command_id must be written without escapes");
}

Test(envelope, says_what_is_wrong_with_the_json)
{
    is_bad("", "the body ends too early (line 1, column 0)");
    is_bad("{\"type\":\"x\"", "the body ends too early (line 1, column 11)");
    is_bad("{\"type\":\"x\",}", "the body is not JSON (line 1, column 13)");
    is_bad("7", "the body must be a JSON object");
    is_bad("{\"type\":\"x\",\"type\":\"x\"}", "the body names a member twice (line 1, column 18)");
    parse("{\"type\":\"\xff\"}");
    cr_assert_not_null(strstr(given.error.message, "is not UTF-8"), "%s", given.error.message);
}

Test(envelope, with_a_nul_byte_anywhere_is_refused)
{
    static const char body[] =
        "{\"type\":\"x\",\"payload\":{\"a\":[1,2.0],\"b\":true},\"idempotency_key\":\"k\"}";
    for (size_t i = 0; i < sizeof body; i++) {
        char with[sizeof body];
        memcpy(with, body, i);
        with[i] = '\0';
        memcpy(with + i + 1, body + i, sizeof body - 1 - i);
        cr_assert_eq(
            pj_envelope_parse((struct pj_bytes){with, sizeof with}, &given.envelope, &given.error),
            -1, "taken with one at %zu", i);
        cr_assert_eq(given.error.class, PJ_POISON);
        cr_assert_str_eq(given.error.message, "the body has a NUL byte, which JSON does not allow");
    }
}

Test(envelope, counts_characters_not_bytes)
{
    char body[1200] = "{\"type\":\"x\",\"idempotency_key\":\"";
    char *end = body + strlen(body);
    for (int i = 0; i < 255; i++)
        end = mempcpy(end, "\xc3\xbc", 2);
    memcpy(end, "\"}", 3);
    is_good(body);
    memcpy(end, "u\"}", 4);
    is_bad(body, "idempotency_key must have at most 255 characters");
}

Test(envelope, ids_are_in_lower_case)
{
    is_good("{\"type\":\"x\",\"command_id\":\"0F0E0D0C-0B0A-4908-8706-050403020100\"}");
    cr_assert_str_eq(given.envelope.command_id, ID);
}

Test(envelope, forwarded_with_what_was_missing)
{
    forwards("{\"type\":\"x\"}",
             "{\"command_id\":\"" ID "\",\"idempotency_key\":\"k\\\"\",\"type\":\"x\"}");
    forwards(
        " { \"idempotency_key\" : \"other\" , \"type\":\"x\", \"n\":1.10, \"command_id\":null}",
        " { \"idempotency_key\" : \"k\\\"\" , \"type\":\"x\", \"n\":1.10, \"command_id\":\"" ID
        "\"}");
    forwards("{\"command_id\":\"" ID_2 "\",\"type\":\"x\"}",
             "{\"idempotency_key\":\"k\\\"\",\"command_id\":\"" ID "\",\"type\":\"x\"}");
}

Test(envelope, digest_is_of_the_content)
{
    uint8_t first[16];
    is_good("{\"type\":\"x\",\"payload\":{\"a\":1,\"b\":2},\"idempotency_key\":\"k\"}");
    memcpy(first, given.envelope.digest, sizeof first);
    is_good("{\"payload\":{\"b\":2, \"a\":1.0},\"type\":\"x\",\"requester\":{}}");
    cr_assert_arr_eq(given.envelope.digest, first, sizeof first);
    is_good("{\"type\":\"x\",\"payload\":{\"a\":1,\"b\":3},\"idempotency_key\":\"k\"}");
    cr_assert_arr_neq(given.envelope.digest, first, sizeof first);
}

static bool is_same_content(const char *a, const char *b)
{
    uint8_t first[16];
    is_good(a);
    memcpy(first, given.envelope.digest, sizeof first);
    is_good(b);
    return memcmp(first, given.envelope.digest, sizeof first) == 0;
}

Test(envelope, content_is_the_same_however_it_is_written)
{
    cr_assert(is_same_content("{\"type\":\"x\"}", " { \"payload\" : { } , \"type\" : \"x\" } "));
    cr_assert(is_same_content(
        "{\"type\":\"x\",\"payload\":{\"b\":[1,{\"d\":2,\"c\":[]}],\"a\":"
        "\"\\u00e4\\ud83d\\ude00\\n\\/"
        "\\u0022\\u005c\"}}",
        "{\"payload\":{\"a\":\"\xc3\xa4\xf0\x9f\x98\x80\\u000a/\\\"\\\\\",\"b\":[1e0,{\"c\":[ ],"
        "\"d\":20e-1}]},\"type\":\"x\",\"priority\":null,\"requested_at\":\"1970-01-01T00:00:"
        "00Z\"}"));
    cr_assert_not(is_same_content("{\"type\":\"x\",\"payload\":{\"a\":\"\\\\n\"}}",
                                  "{\"type\":\"x\",\"payload\":{\"a\":\"\\n\"}}"));
    cr_assert_not(is_same_content("{\"type\":\"x\",\"payload\":{\"a\":\"\\\",\\\"b\\\":1\"}}",
                                  "{\"type\":\"x\",\"payload\":{\"a\":\"\",\"b\":1}}"));
    cr_assert_not(is_same_content("{\"type\":\"x\",\"payload\":{\"a\":{\"b\":1}}}",
                                  "{\"type\":\"x\",\"payload\":{\"a\":{},\"b\":1}}"));
    cr_assert_not(is_same_content("{\"type\":\"x\",\"payload\":{\"requester\":1}}",
                                  "{\"type\":\"x\",\"payload\":{\"requester\":2}}"));
    cr_assert_not(is_same_content("{\"type\":\"x\",\"payload\":{\"a\":[true]}}",
                                  "{\"type\":\"x\",\"payload\":{\"a\":[\"true\"]}}"));
}

Test(envelope, session_requests)
{
    static const struct pj_bytes blank = {" \r\n", 3};
    cr_assert_eq(pj_session_request_check((struct pj_bytes){0}, &given.error), 0);
    cr_assert_eq(pj_session_request_check(blank, &given.error), 0);
    cr_assert_eq(
        pj_session_request_check((struct pj_bytes){"{\"browser_pid\":-1}", 18}, &given.error), -1);
    cr_assert_str_eq(given.error.message, "browser_pid must be a whole number");
}

Test(envelope, session_answers)
{
    static const char body[] =
        "{\"id\":\"" ID "\",\"created_at\":\"1970-01-01T00:00:01Z\",\"status\":\"active\","
        "\"platform\":\"x\",\"browser_pid\":7,\"metadata\":{\"n\": 1.10}}";
    static const char more[] = "{\"id\":\"" ID "\",\"created_at\":7,\"a\":true,\"metadata\":1}";
    struct pj_session_answer answer;
    cr_assert_eq(
        pj_session_answer_parse((struct pj_bytes){body, sizeof body - 1}, &answer, &given.error),
        0);
    cr_assert_str_eq(answer.session_id, ID);
    cr_assert_eq(answer.created_at, 1000000);
    cr_assert_eq(json_integer_value(json_object_get(answer.opened, "browser_pid")), 7);
    is_member(answer.opened, "metadata", "{\"n\": 1.10}");
    json_decref(answer.opened);
    cr_assert_eq(
        pj_session_answer_parse((struct pj_bytes){more, sizeof more - 1}, &answer, &given.error),
        0);
    is_member(answer.opened, "platform", "unknown");
    cr_assert_eq(answer.created_at, PJ_NO_TIME);
    cr_assert_not_null(json_object_get(answer.opened, "metadata"));
    json_decref(answer.opened);
    cr_assert_eq(pj_session_answer_parse((struct pj_bytes){"{}", 2}, &answer, &given.error), -1);
    static const char longer[] = "{\"id\":\"" ID "-and-more\"}";
    cr_assert_eq(pj_session_answer_parse((struct pj_bytes){longer, sizeof longer - 1}, &answer,
                                         &given.error),
                 -1);
    cr_assert_str_eq(given.error.message, "id must be a UUID");
}

/* --- routes ---------------------------------------------------------------------------------- */

static enum pj_route route(const char *method, const char *uri)
{
    char id[PJ_ROUTE_ID_MOST];
    return pj_route_of(method, uri, id);
}

Test(route, the_same_request_in_other_words)
{
    static const char *const same[] = {"/v1/commands",    "/v1/commands/",  "//v1//commands",
                                       "/V1/COMMANDS",    "/v1/%63ommands", "/v1/commands?a=/../b",
                                       "/%76%31/commands"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        cr_assert_eq(route("POST", same[i]), PJ_ROUTE_COMMAND, "%s", same[i]);
        cr_assert_eq(route("GET", same[i]), PJ_ROUTE_PASS, "%s", same[i]);
    }
}

Test(route, what_could_mean_two_things)
{
    static const char *const bad[] = {
        "",        "*",           "v1/commands", "http://x/v1/commands",
        "/v1/./a", "/v1/%2e%2E/", "/a%2Fb",      "/a\\b",
        "/a%5cb",  "/a%",         "/a%4",        "/a%zz",
        "/a%00b",  "/a%20b",      "/a%252e",     "/a#b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(route("POST", bad[i]), PJ_ROUTE_BAD_PATH, "%s", bad[i]);
    cr_assert_eq(route("post", "/v1/commands"), PJ_ROUTE_BAD_METHOD);
    cr_assert_eq(route("CONNECT", "/"), PJ_ROUTE_BAD_METHOD);
}

Test(route, sessions)
{
    char id[PJ_ROUTE_ID_MOST];
    cr_assert_eq(pj_route_of("DELETE", "/v1/sessions/%41b/?x", id), PJ_ROUTE_CLOSE);
    cr_assert_str_eq(id, "Ab");
    cr_assert_eq(pj_route_of("DELETE", "/v1/sessions", id), PJ_ROUTE_PASS);
    cr_assert_eq(pj_route_of("POST", "/v1/sessions", id), PJ_ROUTE_OPEN);
    cr_assert_eq(pj_route_of("GET", "/health", id), PJ_ROUTE_HEALTH);
    cr_assert_eq(pj_route_of("POST", "/v1/commands/" ID "/cancel", id), PJ_ROUTE_PASS);
}
