/* SPDX-License-Identifier: Apache-2.0 */
/* Heartbeats are told from a topic's own records, and read, whoever wrote them. */
#include "avro/heartbeat.h"
#include "base/arena.h"
#include "projectionist/value.h"

#include <criterion/criterion.h>

#define RECORD(name, fields) "{\"type\":\"record\",\"name\":\"" name "\",\"fields\":[" fields "]}"
#define TIME(name, unit)                                                                           \
    "{\"name\":\"" name "\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-" unit "\"}}"

/* Of a newer writer, in milliseconds. */
static const char newer[] = RECORD(
    PJ_HEARTBEAT_NAME, "{\"name\":\"by\",\"type\":\"string\"}," TIME("emitted_at", "millis"));

Test(heartbeat, it_is_told_by_its_full_name)
{
    cr_assert(pj_heartbeat_is(pj_heartbeat_schema));
    cr_assert(pj_heartbeat_is(newer));
    cr_assert_not(pj_heartbeat_is(RECORD("Heartbeat", TIME("emitted_at", "millis"))));
    cr_assert_not(pj_heartbeat_is(RECORD("theirs.Heartbeat", TIME("emitted_at", "millis"))));
    cr_assert_not(pj_heartbeat_is(RECORD("Event", "{\"name\":\"Heartbeat\",\"type\":\"int\"}")));
    cr_assert_not(pj_heartbeat_is("\"projectionist.Heartbeat\""));
    cr_assert_not(pj_heartbeat_is("{\"type\":\"enum\",\"name\":\"" PJ_HEARTBEAT_NAME
                                  "\",\"symbols\":[\"A\"]}"));
}

Test(heartbeat, its_time_is_read_by_the_writers_schema)
{
    static const char bytes[] = {4, 'm', 'e', 14}; /* "me", 7 ms */
    struct pj_decoder *decoder;
    struct pj_plan *plan;
    struct pj_error error;
    struct pj_value value;
    struct pj_arena *arena = pj_arena_new();
    cr_assert_eq(pj_decoder_new(&decoder, &pj_heartbeat_source, &error), 0, "%s", error.message);
    cr_assert_eq(pj_plan_new(&plan, decoder, newer, &error), 0, "%s", error.message);
    cr_assert_eq(pj_plan_decode(plan, bytes, sizeof bytes, arena, &value, &error), 0);
    cr_assert(value.present && value.integer == 7000);
    pj_plan_free(plan);
    pj_decoder_free(decoder);
    pj_arena_free(arena);
}
