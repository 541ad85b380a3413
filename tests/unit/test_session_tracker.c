/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of safari_sessions, by their rows in every order. */
#include "lib/safari_orders.h"
#include "store/offsets.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct safari_orders s;

enum { MINUTE = 60000 };

static void start(void)
{
    s = safari_orders_start(&pj_session_tracker);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(session_tracker, .init = start, .fini = stop);

Test(session_tracker, opened_and_closed)
{
    safari_session_opened(&s, 7, 1000, "sora");
    safari_expect(&s, "platform=sora|account_id=null|status=active|browser_pid=null|"
                      "started_at=1000000|ended_at=null|metadata=null|created_at=1000000|"
                      "last_activity_at=1000000\n");
    safari_session_closed(&s, 7, 5000);
    safari_expect(&s, "status=closed|browser_pid=null|started_at=1000000|ended_at=5000000|");
}

Test(session_tracker, known_by_activity_alone)
{
    struct safari_frame *v = safari_telemetry(&s, 1, 2000, "rate.limited", "{}");
    v->session_id = PJ_UUID(pj_orders_uuid(7));
    v->platform = PJ_TEXT("x");
    safari_expect(&s, "platform=x|account_id=null|status=active|browser_pid=null|"
                      "started_at=2000000|");
}

Test(session_tracker, an_empty_platform_is_none)
{
    struct safari_frame *v = safari_telemetry(&s, 1, 2000, "rate.limited", "{}");
    v->session_id = PJ_UUID(pj_orders_uuid(7));
    v->platform = PJ_TEXT("");
    safari_expect(&s, "platform=unknown|");
    safari_session_opened(&s, 7, 1000, "");
    safari_expect(&s, "platform=unknown|");
    v = safari_telemetry(&s, 1, 3000, "rate.limited", "{}");
    v->session_id = PJ_UUID(pj_orders_uuid(7));
    v->platform = PJ_TEXT("x");
    safari_expect(&s, "platform=x|");
}

Test(session_tracker, the_lifecycle_of_its_commands_is_activity)
{
    safari_session_opened(&s, 7, 1000, "sora");
    safari_status(&s, 1, 9000, "RUNNING", NULL, NULL);
    struct safari_command *v = safari_submitted(&s, 1, 2000, "flow.run", "{}");
    v->session_id = PJ_UUID(pj_orders_uuid(7));
    safari_expect(&s, "last_activity_at=9000000\n");
}

Test(session_tracker, it_expires_in_stream_time_and_comes_back)
{
    safari_session_opened(&s, 7, 0, "sora");
    safari_telemetry(&s, 1, 30 * MINUTE, "tick", "{}");
    safari_expect(&s, "status=active|");
    safari_telemetry(&s, 1, 30 * MINUTE + 1, "tick", "{}");
    safari_expect(&s, "status=expired|browser_pid=null|started_at=0|ended_at=1800000000|");
    struct safari_frame *v = safari_telemetry(&s, 1, 31 * MINUTE, "tick", "{}");
    v->session_id = PJ_UUID(pj_orders_uuid(7));
    safari_expect(&s, "status=active|browser_pid=null|started_at=0|ended_at=null|");
}

/* An end of it that no number holds is never reached; which of the two comes first is all one. */
Test(session_tracker, active_to_the_end_of_time)
{
    struct safari_frame *v = safari_telemetry(&s, 1, 0, "tick", "{}");
    v->session_id = PJ_UUID(pj_orders_uuid(7));
    v->emitted_at = PJ_TIMESTAMPTZ(INT64_MAX);
    safari_expect(&s, "status=active|browser_pid=null|started_at=9223372036854775807|"
                      "ended_at=null|");
    safari_session_closed(&s, 7, 5000);
    safari_expect(&s, "status=closed|");
}

Test(session_tracker, closed_stays_closed)
{
    safari_session_opened(&s, 7, 0, "sora");
    safari_session_closed(&s, 7, 10);
    safari_telemetry(&s, 1, 90 * MINUTE, "tick", "{}");
    struct safari_frame *v = safari_telemetry(&s, 1, 91 * MINUTE, "tick", "{}");
    v->session_id = PJ_UUID(pj_orders_uuid(7));
    safari_expect(&s, "status=closed|browser_pid=null|started_at=0|ended_at=10000|");
}

Test(session_tracker, opened_and_closed_by_commands)
{
    safari_submitted(&s, 1, 1000, "session.create", "{\"platform\":\"tiktok\"}");
    safari_status(&s, 1, 2000, "SUCCEEDED",
                  "{\"session_id\":\"00000000-0000-4000-8000-000000000007\"}", NULL);
    safari_expect(&s, "platform=tiktok|account_id=null|status=active|browser_pid=null|"
                      "started_at=2000000|");
    safari_submitted(&s, 2, 3000, "session.close",
                     "{\"session_id\":\"00000000-0000-4000-8000-000000000007\"}");
    safari_status(&s, 2, 4000, "SUCCEEDED", NULL, NULL);
    safari_expect(&s, "status=closed|browser_pid=null|started_at=2000000|ended_at=4000000|");
    safari_status(&s, 2, 5000, "FAILED", NULL, NULL);
    safari_expect(&s, "status=active|");
}

Test(session_tracker, wire_v2_names_sessions_in_camel_case)
{
    safari_submitted(&s, 1, 1000, "session.create",
                     "{\"accountId\":\"00000000-0000-4000-8000-000000000009\"}");
    safari_status(&s, 1, 2000, "SUCCEEDED",
                  "{\"sessionId\":\"00000000-0000-4000-8000-000000000007\"}", NULL);
    safari_expect(&s, "platform=unknown|account_id=00000000-0000-4000-8000-000000000009|"
                      "status=active|browser_pid=null|started_at=2000000|");
    safari_submitted(&s, 2, 3000, "session.close",
                     "{\"sessionId\":\"00000000-0000-4000-8000-000000000007\"}");
    safari_status(&s, 2, 4000, "SUCCEEDED", NULL, NULL);
    safari_expect(&s, "status=closed|browser_pid=null|started_at=2000000|ended_at=4000000|");
}

Test(session_tracker, a_create_that_failed_after_all_has_opened_nothing)
{
    safari_submitted(&s, 1, 1000, "session.create", "{\"platform\":\"tiktok\"}");
    safari_status(&s, 1, 2000, "SUCCEEDED",
                  "{\"session_id\":\"00000000-0000-4000-8000-000000000007\"}", NULL);
    safari_status(&s, 1, 3000, "FAILED", NULL, "it has crashed");
    char *rows = pj_orders_rows(&s.orders, false);
    cr_assert_str_empty(rows);
    free(rows);
    cr_assert(pj_orders_agree(&s.orders, 50, 7));
}

Test(session_tracker, a_clock_more_than_a_day_ahead_does_not_move_stream_time)
{
    const int64_t day = INT64_C(24) * 60 * MINUTE * 1000;
    const int64_t timestamp_ms = 1000;
    const struct pj_source *source = &pj_session_tracker.sources[2];
    struct safari_session e = {0};
    e.emitted_at = PJ_TIMESTAMPTZ(timestamp_ms * 1000 + day);
    cr_assert_eq(pj_offsets_event_time(source, PJ_PARTS(e), timestamp_ms),
                 timestamp_ms * 1000 + day);
    e.emitted_at.integer++;
    cr_assert_eq(pj_offsets_event_time(source, PJ_PARTS(e), timestamp_ms), INT64_MIN);
    cr_assert_eq(pj_offsets_event_time(source, PJ_PARTS(e), -1), timestamp_ms * 1000 + day + 1);
    cr_assert_eq(pj_offsets_event_time(source, PJ_PARTS(e), INT64_MAX),
                 timestamp_ms * 1000 + day + 1);
}

/* The rows after a session.create of a platform, whose payload has the text `times` times. */
static char *created_on(const char *text, int times)
{
    char payload[400];
    int length = snprintf(payload, sizeof payload, "{\"platform\":\"");
    for (int i = 0; i < times; i++)
        length += snprintf(payload + length, sizeof payload - (size_t)length, "%s", text);
    snprintf(payload + length, sizeof payload - (size_t)length, "\"}");
    safari_submitted(&s, 1, 1000, "session.create", payload);
    safari_status(&s, 1, 2000, "SUCCEEDED",
                  "{\"session_id\":\"00000000-0000-4000-8000-000000000007\"}", NULL);
    return pj_orders_rows(&s.orders, false);
}

Test(session_tracker, a_platform_is_as_long_as_it_has_characters)
{
    char *rows = created_on("\u65e5", 30);
    cr_assert_not_null(strstr(rows, "platform=\u65e5\u65e5"), "%s", rows);
    free(rows);
}

Test(session_tracker, a_platform_that_is_too_long_is_refused)
{
    char *rows = created_on("\u65e5", 51);
    cr_assert_str_empty(rows);
    free(rows);
}

Test(session_tracker, a_close_has_no_platform_that_could_be_too_long)
{
    char payload[200];
    snprintf(payload, sizeof payload,
             "{\"session_id\":\"00000000-0000-4000-8000-000000000007\",\"platform\":\"%060d\"}", 0);
    safari_session_opened(&s, 7, 1000, "sora");
    safari_submitted(&s, 1, 2000, "session.close", payload);
    safari_status(&s, 1, 3000, "SUCCEEDED", NULL, NULL);
    safari_expect(&s, "status=closed|");
}

Test(session_tracker, a_payload_without_members_says_nothing)
{
    safari_session_opened(&s, 7, 1000, "sora");
    struct safari_command *v = safari_submitted(&s, 1, 2000, "session.close", "null");
    v->session_id = PJ_UUID(pj_orders_uuid(7));
    safari_status(&s, 1, 3000, "SUCCEEDED", NULL, NULL);
    safari_expect(&s, "status=closed|");
    safari_submitted(&s, 2, 2000, "session.create", "[1]");
    safari_status(&s, 2, 4000, "SUCCEEDED",
                  "{\"session_id\":\"00000000-0000-4000-8000-000000000008\"}", NULL);
    safari_expect(&s, "session_id=00000000-0000-4000-8000-000000000008|platform=unknown|");
}

Test(session_tracker, order_independence)
{
    safari_orders_mixture(&s, 80, 3);
    cr_assert(pj_orders_agree(&s.orders, 400, 1));
}
