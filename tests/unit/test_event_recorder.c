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

static struct safari_frame *frame(unsigned event, int64_t ms)
{
    struct safari_frame *v =
        PJ_ORDERS_EVENT(&s.orders, safari_frame, TELEMETRY_ALONE, (int32_t)(event % 3));
    v->event_id = PJ_UUID(pj_orders_uuid(event));
    v->type = PJ_TEXT("brand.new");
    v->severity = PJ_TEXT("warn");
    v->version = PJ_TEXT("1.0");
    v->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(ms));
    return v;
}

Test(event_recorder, every_column_is_the_frames)
{
    struct safari_frame *v = frame(5, 2000);
    v->command_id = PJ_UUID(pj_orders_uuid(1));
    v->correlation_id = PJ_UUID(pj_orders_uuid(2));
    v->payload = PJ_JSONB("{\"a\":1}");
    v->cursor = PJ_TEXT("2000-7");
    v->target = PJ_JSONB("{\"platform\":\"x\"}");
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
        frame(i, (int64_t)i % 7)->command_id = PJ_UUID(pj_orders_uuid(i % 4));
    cr_assert(pj_orders_agree(&s.orders, 400, 1));
}
