/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of both wires, and what fits neither. */
#include "common/json_slice.h"
#include "telemetry-bridge/frame.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID      "0a1b2c3d-0000-4000-8000-00000000000f"
#define COMMAND "11111111-2222-4333-8444-555555555555"
#define HEAD                                                                                       \
    "{\"version\":\"1.0\",\"event_id\":\"" ID "\",\"cursor\":\"1795237594968-5\","                 \
    "\"emitted_at\":\"2026-11-21T05:06:34.968Z\",\"severity\":\"info\","

static struct pj_frame *parse(const char *text)
{
    return pj_frame_parse(text, strlen(text));
}

static void expect_bytes(struct pj_bytes bytes, const char *text)
{
    cr_assert(bytes.data != NULL && bytes.length == strlen(text) &&
                  memcmp(bytes.data, text, bytes.length) == 0,
              "%.*s is not %s", (int)bytes.length, (const char *)bytes.data, text);
}

static void expect_dead_letter(const char *text, const char *reason)
{
    struct pj_frame *frame = parse(text);
    cr_assert_eq(frame->kind, PJ_FRAME_DEAD_LETTER, "%s", text);
    cr_assert(strstr(frame->reason, reason) != NULL, "%s: %s", frame->reason, text);
    expect_bytes(frame->raw, text);
    cr_assert_eq(strlen(frame->event_id_text), 36);
    pj_frame_free(frame);
}

Test(frame, of_wire_v1)
{
    struct pj_frame *frame =
        parse(HEAD "\"type\":\"status.changed\",\"command_id\":\"" COMMAND "\",\"payload\":"
                   "{\"command_id\":\"" COMMAND "\",\"status\":\"RUNNING\"}}");
    cr_assert_eq(frame->kind, PJ_FRAME_EVENT, "%s", frame->reason);
    cr_assert_eq(frame->wire, 1);
    cr_assert_str_eq(frame->event_id_text, ID);
    cr_assert_str_eq(frame->place.text, "1795237594968-5");
    cr_assert_eq(memcmp(frame->place.event_id, frame->event_id, 16), 0);
    cr_assert_str_eq(frame->version, "1.0");
    cr_assert_str_eq(frame->type, "status.changed");
    cr_assert_str_eq(frame->severity, "info");
    cr_assert_str_eq(frame->command_id, COMMAND);
    cr_assert_null(frame->correlation_id);
    cr_assert_not(frame->has_target);
    cr_assert_eq(frame->emitted_at_us, 1795237594968000);
    cr_assert_str_eq(frame->status, "RUNNING");
    cr_assert_null(frame->result.data);
    cr_assert_null(frame->error);
    expect_bytes(frame->payload, "{\"command_id\":\"" COMMAND "\",\"status\":\"RUNNING\"}");
    pj_frame_free(frame);
}

Test(frame, keeps_the_payload_byte_for_byte)
{
    const char *const payload =
        "{ \"a\" : [1.10, 1e5, 12345678901234567890123, 0.1], \"payload\":{\"b\":\"}\\\"{\"},"
        "\"t\":\"\\u00e9\\/\" }";
    char text[1024];
    snprintf(text, sizeof text, HEAD "\"type\":\"new.type\",\"payload\":%s , \"other\": [{}]}",
             payload);
    struct pj_frame *frame = parse(text);
    cr_assert_eq(frame->kind, PJ_FRAME_EVENT, "%s", frame->reason);
    expect_bytes(frame->payload, payload);
    cr_assert_null(frame->status);
    pj_frame_free(frame);
}

Test(frame, has_what_is_designed_and_never_sent)
{
    struct pj_frame *frame = parse(
        HEAD "\"type\":\"x\",\"payload\":{},\"correlation_id\":\"" COMMAND "\",\"command_id\":null,"
             "\"target\":{\"session_id\":\"AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE\","
             "\"account_id\":null,\"platform\":\"sora\"}}");
    cr_assert_eq(frame->kind, PJ_FRAME_EVENT, "%s", frame->reason);
    cr_assert_str_eq(frame->correlation_id, COMMAND);
    cr_assert_str_eq(frame->target_session_id, "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee");
    cr_assert_null(frame->target_account_id);
    cr_assert_str_eq(frame->target_platform, "sora");
    cr_assert_null(frame->command_id);
    pj_frame_free(frame);
}

Test(frame, of_a_status_has_result_and_error)
{
    struct pj_frame *frame =
        parse(HEAD "\"type\":\"status.changed\",\"payload\":{\"status\":\"FAILED\","
                   "\"command_id\":\"" COMMAND "\",\"result\":{\"total\": 2.50 },"
                   "\"error\":\"no \\\"luck\\\"\"}}");
    cr_assert_eq(frame->kind, PJ_FRAME_EVENT, "%s", frame->reason);
    cr_assert_str_eq(frame->command_id, COMMAND);
    cr_assert_str_eq(frame->error, "no \"luck\"");
    expect_bytes(frame->result, "{\"total\": 2.50 }");
    pj_frame_free(frame);
    frame = parse(HEAD "\"type\":\"status.changed\",\"payload\":{\"status\":\"FAILED\","
                       "\"command_id\":\"" COMMAND "\",\"result\":null,\"error\":{\"code\":1.0}}}");
    cr_assert_str_eq(frame->error, "{\"code\":1.0}");
    cr_assert_null(frame->result.data);
    pj_frame_free(frame);
}

Test(frame, of_wire_v2)
{
    struct pj_frame *frame =
        parse("{\"type\":\"status.changed\",\"commandId\":\"" COMMAND "\",\"timestamp\":"
              "\"2026-11-21T05:06:34.968Z\",\"data\":{\"status\":\"SUCCEEDED\",\"videoPath\":"
              "\"/v.mp4\",\"fileSize\":7}}");
    cr_assert_eq(frame->kind, PJ_FRAME_EVENT, "%s", frame->reason);
    cr_assert_eq(frame->wire, 2);
    cr_assert_str_eq(frame->version, "2.0");
    cr_assert_str_eq(frame->place.text, "");
    cr_assert_str_eq(frame->command_id, COMMAND);
    cr_assert_str_eq(frame->status, "SUCCEEDED");
    cr_assert_eq(frame->event_id[6] >> 4, 5); /* a version 5 UUID */
    expect_bytes(frame->result,
                 "{\"status\":\"SUCCEEDED\",\"videoPath\":\"/v.mp4\",\"fileSize\":7}");
    pj_frame_free(frame);
}

Test(frame, of_wire_v2_has_an_id_of_its_content)
{
    const char *const same[] = {
        "{\"type\":\"progress\",\"timestamp\":1795237594968,\"data\":{\"a\":1,\"b\":2}}",
        "{ \"data\":{\"b\":2,\"a\":1}, \"timestamp\":1795237594968, \"type\":\"progress\" }"};
    struct pj_frame *one = parse(same[0]), *two = parse(same[1]);
    struct pj_frame *other =
        parse("{\"type\":\"progress\",\"timestamp\":1795237594968,\"data\":{\"a\":1,\"b\":3}}");
    cr_assert_eq(one->kind, PJ_FRAME_EVENT, "%s", one->reason);
    cr_assert_eq(one->emitted_at_us, 1795237594968000);
    cr_assert_str_eq(one->event_id_text, two->event_id_text);
    cr_assert_str_neq(one->event_id_text, other->event_id_text);
    pj_frame_free(one);
    pj_frame_free(two);
    pj_frame_free(other);
}

Test(frame, of_wire_v2_keeps_the_reason_of_a_failure)
{
    struct pj_frame *frame =
        parse("{\"type\":\"status.changed\",\"commandId\":\"" COMMAND "\",\"timestamp\":1,"
              "\"data\":{\"status\":\"VERIFICATION_FAILED\",\"message\":\"no frames\"}}");
    cr_assert_eq(frame->kind, PJ_FRAME_EVENT, "%s", frame->reason);
    cr_assert_str_eq(frame->error, "no frames");
    pj_frame_free(frame);
}

Test(frame, greetings_are_no_frames)
{
    struct pj_frame *frame =
        parse("{\"type\":\"connected\",\"message\":\"hi\",\"cursor\":\"12-34\"}");
    cr_assert_eq(frame->kind, PJ_FRAME_CONNECTED);
    cr_assert_eq(frame->place.counter, 34);
    pj_frame_free(frame);
    frame = parse("{\"type\":\"connected\",\"message\":\"hi\"}");
    cr_assert_eq(frame->kind, PJ_FRAME_CONNECTED);
    cr_assert_str_eq(frame->place.text, "");
    pj_frame_free(frame);
    frame = parse("{\"type\":\"subscribed\",\"cursor\":null}");
    cr_assert_eq(frame->kind, PJ_FRAME_SUBSCRIBED);
    pj_frame_free(frame);
    frame = parse("{\"type\":\"pong\",\"timestamp\":\"2026-11-21T05:06:34.968Z\"}");
    cr_assert_eq(frame->kind, PJ_FRAME_PONG);
    pj_frame_free(frame);
    frame = parse("{\"type\":\"error\",\"message\":\"what?\"}");
    cr_assert_eq(frame->kind, PJ_FRAME_ERROR);
    cr_assert_str_eq(frame->type, "what?");
    pj_frame_free(frame);
    frame = parse("{\"type\":\"error\",\"timestamp\":1,\"data\":{}}"); /* an event of wire v2 */
    cr_assert_eq(frame->kind, PJ_FRAME_EVENT);
    pj_frame_free(frame);
}

Test(frame, with_a_nul_byte_is_a_dead_letter)
{
    static const char text[] = HEAD "\"payload\":{\"a\":[1\0,2]}}";
    struct pj_frame *frame = pj_frame_parse(text, sizeof text - 1);
    cr_assert_eq(frame->kind, PJ_FRAME_DEAD_LETTER);
    cr_assert_str_eq(frame->reason, "it has a NUL byte, which JSON does not allow");
    cr_assert_eq(frame->raw.length, sizeof text - 1);
    pj_frame_free(frame);
}

Test(frame, that_fits_neither_is_a_dead_letter_with_the_reason)
{
    expect_dead_letter("", "not JSON");
    expect_dead_letter("not json", "not JSON");
    expect_dead_letter("{\"type\":", "not JSON");
    expect_dead_letter("[]", "not an object");
    expect_dead_letter("{}", "neither wire");
    expect_dead_letter("{\"type\":\"x\"}", "neither wire");
    expect_dead_letter("{\"type\":\"\xff\"}", "not JSON");
    expect_dead_letter("{\"type\":\"\\u0000\"}", "not JSON");
    expect_dead_letter(HEAD "\"payload\":{}}", "no type");
    expect_dead_letter(HEAD "\"type\":7,\"payload\":{}}", "type is not a string");
    expect_dead_letter(HEAD "\"type\":\"x\"}", "no payload");
    expect_dead_letter(HEAD "\"type\":\"x\",\"payload\":\"y\"}", "payload is not an object");
    expect_dead_letter(HEAD "\"type\":\"x\",\"payload\":{},\"command_id\":\"y\"}",
                       "command_id is not a UUID");
    expect_dead_letter(HEAD "\"type\":\"x\",\"payload\":{},\"command_id\":5}",
                       "command_id is not a UUID");
    expect_dead_letter(HEAD "\"type\":\"x\",\"payload\":{},\"target\":[]}",
                       "target is not an object");
    expect_dead_letter(HEAD "\"type\":\"x\",\"payload\":{},\"target\":{\"session_id\":\"z\"}}",
                       "session_id is not a UUID");
    expect_dead_letter(HEAD "\"type\":\"status.changed\",\"payload\":{}}", "no status");
    expect_dead_letter(HEAD "\"type\":\"status.changed\",\"payload\":{\"status\":\"X\"}}",
                       "without a command_id");
    expect_dead_letter("{\"event_id\":\"x\",\"cursor\":\"1-1\",\"payload\":{}}",
                       "event_id is not a UUID");
    expect_dead_letter("{\"event_id\":\"" ID "\",\"cursor\":\"x\",\"payload\":{}}",
                       "cursor is not");
    expect_dead_letter("{\"event_id\":\"" ID "\",\"cursor\":5,\"payload\":{}}", "cursor is not");
    expect_dead_letter("{\"event_id\":\"" ID "\",\"payload\":{}}", "no cursor");
    expect_dead_letter("{\"version\":\"1.0\",\"event_id\":\"" ID
                       "\",\"cursor\":\"1-1\",\"payload\":{},"
                       "\"emitted_at\":\"yesterday\"}",
                       "emitted_at is not an RFC 3339 time");
    expect_dead_letter("{\"type\":\"x\",\"timestamp\":true,\"data\":{}}",
                       "timestamp is not an RFC 3339 time");
    expect_dead_letter("{\"type\":\"x\",\"timestamp\":1e300,\"data\":{}}",
                       "timestamp is not an RFC 3339 time");
    expect_dead_letter("{\"type\":\"x\",\"timestamp\":1,\"data\":[]}", "data is not an object");
    expect_dead_letter("{\"type\":\"status.changed\",\"timestamp\":1,\"data\":{\"status\":\"X\"}}",
                       "without a commandId");
}

Test(frame, that_is_a_dead_letter_keeps_its_place)
{
    struct pj_frame *frame = parse(HEAD "\"type\":7,\"payload\":{}}");
    cr_assert_str_eq(frame->place.text, "1795237594968-5");
    cr_assert_str_eq(frame->event_id_text, ID);
    pj_frame_free(frame);
    struct pj_frame *one = parse("garbage"), *two = parse("garbage"), *other = parse("other");
    cr_assert_str_eq(one->place.text, "");
    cr_assert_str_eq(one->event_id_text, two->event_id_text);
    cr_assert_str_neq(one->event_id_text, other->event_id_text);
    pj_frame_free(one);
    pj_frame_free(two);
    pj_frame_free(other);
}

Test(frame, may_be_as_deep_as_it_likes)
{
    enum { DEPTH = 10000 };
    char *text = malloc(DEPTH * 2 + 512);
    char *at = text + snprintf(text, 256, HEAD "\"type\":\"x\",\"payload\":{\"a\":");
    memset(at, '[', DEPTH);
    memset(at + DEPTH, ']', DEPTH);
    memcpy(at + 2 * DEPTH, "}}", 3);
    expect_dead_letter(text, "not JSON");
    free(text);
}

Test(frame, that_is_too_long_keeps_its_beginning)
{
    struct pj_frame *frame = pj_frame_too_long("{\"type\":\"x", 10, 5000, 1000);
    cr_assert_eq(frame->kind, PJ_FRAME_DEAD_LETTER);
    cr_assert(strstr(frame->reason, "5000") != NULL && strstr(frame->reason, "1000") != NULL);
    expect_bytes(frame->raw, "{\"type\":\"x");
    pj_frame_free(frame);
}

Test(slice, finds_the_last_member_of_the_name)
{
    const char *const text = " { \"a\" : 1 , \"b\":[\"]\",{\"a\":2}],\"a\":-3.5e+7}";
    struct pj_bytes object = {text, strlen(text)}, slice;
    cr_assert(pj_json_slice(object, "a", &slice));
    expect_bytes(slice, "-3.5e+7");
    cr_assert(pj_json_slice(object, "b", &slice));
    expect_bytes(slice, "[\"]\",{\"a\":2}]");
    cr_assert_not(pj_json_slice(object, "c", &slice));
}
