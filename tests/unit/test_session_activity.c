/* SPDX-License-Identifier: Apache-2.0 */
/* What opens and closes a session, what is activity in it, and which of several counts. */
#include "lib/safari_orders.h"

#include <criterion/criterion.h>

static struct safari_orders s;

#define ROW     "safari_sessions|session_id=00000000-0000-4000-8000-00000000000"
#define SEVEN   "\"session_id\":\"00000000-0000-4000-8000-000000000007\""
#define ACCOUNT "00000000-0000-4000-8000-000000000055"

static void start(void)
{
    s = safari_orders_start(&pj_session_tracker);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(session_activity, .init = start, .fini = stop);

static void again(void)
{
    stop();
    start();
}

static struct safari_command *run_in(unsigned session, unsigned command, int64_t ms)
{
    struct safari_command *v = safari_submitted(&s, command, ms, "flow.run", "[1]");
    v->session_id = PJ_UUID(pj_orders_uuid(session));
    return v;
}

static struct safari_frame *frame_in(unsigned session, int64_t ms)
{
    struct safari_frame *v = safari_telemetry(&s, 5, ms, "rate.limited", "{}");
    v->session_id = PJ_UUID(pj_orders_uuid(session));
    return v;
}

static struct safari_command *create(int64_t ms, const char *payload)
{
    struct safari_command *v = safari_submitted(&s, 1, ms, "session.create", payload);
    safari_status(&s, 1, ms + 1000, "SUCCEEDED", "{" SEVEN "}", NULL);
    return v;
}

/* --- opening --------------------------------------------------------------------------------- */

Test(session_activity, every_column_is_the_openings)
{
    struct safari_session *v = safari_session_opened(&s, 7, 1000, "sora");
    v->account_id = PJ_UUID(pj_orders_uuid(0x55));
    v->browser_pid = PJ_INT(12);
    v->metadata = PJ_JSONB("{\"a\":1}");
    frame_in(7, 500)->platform = PJ_TEXT("x");
    create(100, "{\"platform\":\"y\"}");
    safari_session_opened(&s, 7, 2000, "z");
    safari_expect(&s, ROW "7|platform=sora|account_id=" ACCOUNT "|status=active|browser_pid=12|"
                          "started_at=1000000|ended_at=null|metadata={\"a\":1}|"
                          "created_at=1000000|last_activity_at=2000000\n");
}

Test(session_activity, a_command_that_creates_one)
{
    frame_in(7, 500)->platform = PJ_TEXT("x");
    struct safari_command *v = create(1000, "{}");
    safari_expect(&s, ROW "7|platform=x|account_id=null|status=active|browser_pid=null|"
                          "started_at=2000000|ended_at=null|metadata=null|created_at=2000000|"
                          "last_activity_at=2000000\n");
    v->platform = PJ_TEXT("target");
    v->account_id = PJ_UUID(pj_orders_uuid(0x55));
    safari_expect(&s, ROW "7|platform=target|account_id=" ACCOUNT "|");
    v->payload = PJ_JSONB("{\"platform\":\"payload\",\"account_id\":\"00000000-0000-4000-8000-"
                          "000000000066\"}");
    safari_expect(&s, ROW "7|platform=payload|account_id=00000000-0000-4000-8000-000000000066|");
    v->payload = PJ_JSONB("{\"platform\":7,\"account_id\":\"nobody\"}");
    safari_expect(&s, ROW "7|platform=target|account_id=" ACCOUNT "|");
}

Test(session_activity, the_first_command_that_created_it_counts)
{
    create(5000, "{\"platform\":\"late\"}");
    safari_submitted(&s, 2, 3000, "session.create", "{\"platform\":\"early\"}");
    safari_status(&s, 2, 3500, "SUCCEEDED", "{" SEVEN "}", NULL);
    safari_expect(&s, ROW "7|platform=early|account_id=null|status=active|browser_pid=null|"
                          "started_at=3500000|ended_at=null|metadata=null|created_at=3500000|"
                          "last_activity_at=6000000\n");
}

Test(session_activity, of_a_command_sent_twice_the_earlier_content_counts)
{
    create(5000, "{\"platform\":\"late\"}");
    safari_submitted(&s, 1, 4999, "session.create", "{\"platform\":\"early\"}");
    safari_expect(&s, "platform=early|");
}

Test(session_activity, only_success_creates_or_closes)
{
    create(1000, "{}");
    safari_status(&s, 1, 9000, "FAILED", "{" SEVEN "}", NULL);
    safari_refuse(&s, ROW);
    again();
    safari_session_opened(&s, 7, 1000, "sora");
    safari_submitted(&s, 2, 1000, "session.close", "{" SEVEN "}");
    safari_status(&s, 2, 1100, "CANCELLED", NULL, NULL);
    safari_expect(&s, "status=active|");
}

Test(session_activity, other_commands_neither_create_nor_close)
{
    safari_submitted(&s, 1, 1000, "flow.run", "{" SEVEN "}");
    safari_status(&s, 1, 1100, "SUCCEEDED", "{" SEVEN "}", NULL);
    safari_refuse(&s, ROW);
}

Test(session_activity, a_result_without_a_session_creates_none)
{
    safari_submitted(&s, 1, 1000, "session.create", "{}");
    safari_status(&s, 1, 1100, "SUCCEEDED", "{\"session_id\":\"nothing\"}", NULL);
    safari_refuse(&s, ROW);
}

Test(session_activity, a_platform_as_long_as_its_column_fits)
{
#define FIFTY "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    create(1000, "{\"platform\":\"" FIFTY "\"}");
    safari_expect(&s, "platform=" FIFTY "|");
    again();
    create(1000, "{\"platform\":\"" FIFTY "x\"}");
    safari_refuse(&s, ROW);
    again();
    safari_submitted(&s, 1, 1000, "flow.run", "{\"platform\":\"" FIFTY "x\"}")->session_id =
        PJ_UUID(pj_orders_uuid(7));
    safari_expect(&s, ROW "7|platform=unknown|");
}

/* --- closing --------------------------------------------------------------------------------- */

Test(session_activity, a_command_closes_the_session_of_its_target_or_else_of_its_payload)
{
    struct safari_command *v = safari_submitted(&s, 1, 1000, "session.close", "{" SEVEN "}");
    safari_status(&s, 1, 2000, "SUCCEEDED", NULL, NULL);
    safari_expect(&s, ROW "7|platform=unknown|account_id=null|status=closed|browser_pid=null|"
                          "started_at=2000000|ended_at=2000000|metadata=null|"
                          "created_at=2000000|last_activity_at=null\n");
    v->session_id = PJ_UUID(pj_orders_uuid(8));
    safari_expect(&s, ROW "8|platform=unknown|account_id=null|status=closed|browser_pid=null|"
                          "started_at=1000000|ended_at=2000000|metadata=null|"
                          "created_at=1000000|last_activity_at=2000000\n");
    safari_refuse(&s, ROW "7");
}

Test(session_activity, the_first_closing_counts)
{
    safari_session_opened(&s, 7, 1000, "sora");
    safari_session_closed(&s, 7, 9000);
    safari_session_closed(&s, 7, 8000);
    safari_expect(&s, "ended_at=8000000|");
    for (unsigned command = 1; command <= 2; command++) {
        safari_submitted(&s, command, 1000, "session.close", "{" SEVEN "}");
        safari_status(&s, command, 5000 + command, "SUCCEEDED", NULL, NULL);
    }
    safari_expect(&s, "ended_at=5001000|");
    safari_session_closed(&s, 7, 4000);
    safari_expect(&s, "ended_at=4000000|");
}

/* --- activity -------------------------------------------------------------------------------- */

Test(session_activity, submissions_lifecycles_and_frames_are_it)
{
    run_in(7, 1, 2000);
    safari_expect(&s, ROW "7|platform=unknown|account_id=null|status=active|browser_pid=null|"
                          "started_at=2000000|ended_at=null|metadata=null|created_at=2000000|"
                          "last_activity_at=2000000\n");
    safari_status(&s, 1, 1000, "QUEUED", NULL, NULL);
    safari_status(&s, 1, 3000, "RUNNING", NULL, NULL);
    safari_status(&s, 1, 2500, "SUCCEEDED", NULL, NULL);
    safari_expect(&s, "started_at=1000000|ended_at=null|metadata=null|created_at=1000000|"
                      "last_activity_at=3000000\n");
    frame_in(7, 900);
    frame_in(7, 3100);
    safari_expect(&s, "started_at=900000|ended_at=null|metadata=null|created_at=900000|"
                      "last_activity_at=3100000\n");
    safari_expect(&s, ROW "7|");
}

Test(session_activity, a_lifecycle_is_that_of_each_session_it_was_sent_to)
{
    run_in(7, 1, 1000);
    run_in(8, 1, 2000);
    safari_status(&s, 1, 3000, "RUNNING", NULL, NULL);
    safari_expect(&s, ROW "7|platform=unknown|account_id=null|status=active|browser_pid=null|"
                          "started_at=1000000|ended_at=null|metadata=null|created_at=1000000|"
                          "last_activity_at=3000000\n");
    safari_expect(&s, ROW "8|platform=unknown|account_id=null|status=active|browser_pid=null|"
                          "started_at=2000000|ended_at=null|metadata=null|created_at=2000000|"
                          "last_activity_at=3000000\n");
}

Test(session_activity, the_platform_is_that_of_the_first_that_names_one)
{
    run_in(7, 1, 1000);
    run_in(7, 2, 3000)->platform = PJ_TEXT("x");
    safari_expect(&s, "platform=x|");
    frame_in(7, 2000)->platform = PJ_TEXT("y");
    safari_expect(&s, "platform=y|");
    safari_refuse(&s, "platform=x|");
}

Test(session_activity, being_created_is_activity_and_closing_is_none)
{
    create(1000, "{}");
    safari_session_closed(&s, 7, 9000);
    safari_expect(&s, "last_activity_at=2000000\n");
}

Test(session_activity, the_body_is_one_of_two)
{
    safari_session_opened(&s, 7, 1000, "sora")->opened = PJ_BOOL(pj_null());
    safari_refuse(&s, ROW);
}
