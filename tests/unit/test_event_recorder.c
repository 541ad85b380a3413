/* SPDX-License-Identifier: Apache-2.0 */
/* safari_events: a row is a frame, column by column; in every order. */
#include "lib/safari_orders.h"

#include <criterion/criterion.h>

static struct safari_orders s;

enum { TELEMETRY_ALONE }; /* its only source */

static void start(void)
{
    s = safari_orders_start(&pj_event_recorder);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(event_recorder, .init = start, .fini = stop);

static struct pj_value *frame(unsigned event, int64_t ms)
{
    struct pj_value *v = pj_orders_event(&s.orders, TELEMETRY_ALONE, (int32_t)(event % 3));
    v[TELEMETRY_EVENT_ID] = pj_orders_uuid(event);
    v[TELEMETRY_TYPE] = pj_text("brand.new");
    v[TELEMETRY_SEVERITY] = pj_text("warn");
    v[TELEMETRY_VERSION] = pj_text("1.0");
    v[TELEMETRY_EMITTED_AT] = pj_orders_time(ms);
    return v;
}

Test(event_recorder, every_column_is_the_frames)
{
    struct pj_value *v = frame(5, 2000);
    v[TELEMETRY_COMMAND_ID] = pj_orders_uuid(1);
    v[TELEMETRY_CORRELATION_ID] = pj_orders_uuid(2);
    v[TELEMETRY_PAYLOAD] = pj_text("{\"a\":1}");
    v[TELEMETRY_CURSOR] = pj_text("2000-7");
    v[TELEMETRY_TARGET] = pj_text("{\"platform\":\"x\"}");
    safari_expect(&s, "safari_events|event_id=00000000-0000-4000-8000-000000000005|"
                      "command_id=00000000-0000-4000-8000-000000000001|"
                      "correlation_id=00000000-0000-4000-8000-000000000002|type=brand.new|"
                      "severity=warn|payload={\"a\":1}|cursor=2000-7|emitted_at=2000000|"
                      "version=1.0|target={\"platform\":\"x\"}\n");
}

Test(event_recorder, a_frame_of_no_command_is_a_row_too)
{
    frame(5, 2000);
    safari_expect(&s, "command_id=null|correlation_id=null|type=brand.new|severity=warn|"
                      "payload=null|cursor=null|emitted_at=2000000|version=1.0|target=null\n");
}

Test(event_recorder, order_independence)
{
    for (unsigned i = 0; i < 60; i++)
        frame(i, (int64_t)i % 7)[TELEMETRY_COMMAND_ID] = pj_orders_uuid(i % 4);
    cr_assert(pj_orders_agree(&s.orders, 400, 1));
}
