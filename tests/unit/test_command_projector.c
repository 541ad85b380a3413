/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of safari_commands, each by its rows, and every order of a set that has them all. */
#include "base/arena.h"
#include "projectionist/testing.h"
#include "projections/safari/projections.h"
#include "projections/safari/safari.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct pj_orders orders;
static unsigned next_event;

static void start(void)
{
    orders = pj_orders_of(&pj_command_projector);
    next_event = 1;
}

static void stop(void)
{
    pj_orders_free(&orders);
}

TestSuite(command_projector, .init = start, .fini = stop);

static struct safari_command *event(unsigned command, int64_t ms)
{
    struct safari_command *v = PJ_ORDERS_EVENT(&orders, safari_command, 0, (int32_t)(command % 3));
    v->event_id = PJ_UUID(pj_orders_uuid(1000 + next_event++));
    v->command_id = PJ_UUID(pj_orders_uuid(command));
    v->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(ms));
    return v;
}

static struct safari_command *submitted(unsigned command, int64_t ms, const char *key)
{
    struct safari_command *v = event(command, ms);
    v->submitted = PJ_BOOL(true);
    v->type = PJ_TEXT("sora.generate");
    v->payload = PJ_JSONB("{\"prompt\":\"x\"}");
    v->idempotency_key = PJ_TEXT(key);
    return v;
}

static struct safari_command *status(unsigned command, int64_t ms, const char *cursor,
                                     const char *word)
{
    struct safari_command *v = event(command, ms);
    v->status_changed = PJ_BOOL(true);
    v->status = PJ_TEXT(word);
    v->cursor = PJ_TEXT(cursor);
    return v;
}

/* In every order: the rows contain the text. */
static void expect(const char *text)
{
    char *rows = pj_orders_rows(&orders, false);
    char *at_once = pj_orders_rows(&orders, true);
    cr_assert_str_eq(rows, at_once, "one batch gives other rows");
    cr_assert_not_null(strstr(rows, text), "%s\nis not in\n%s", text, rows);
    free(rows);
    free(at_once);
    cr_assert(pj_orders_agree(&orders, 300, 7));
}

static void refuse(const char *text)
{
    char *rows = pj_orders_rows(&orders, false);
    cr_assert_null(strstr(rows, text), "%s\nis in\n%s", text, rows);
    free(rows);
}

Test(command_projector, a_whole_life)
{
    submitted(1, 1000, NULL);
    status(1, 1000, "1000-1", "QUEUED");
    status(1, 2000, "2000-2", "RUNNING");
    struct safari_command *v = status(1, 3000, "3000-3", "SUCCEEDED");
    v->result = PJ_JSONB("{\"video_path\":\"/v\"}");
    expect("type=sora.generate|status=SUCCEEDED|payload={\"prompt\":\"x\"}|"
           "result={\"video_path\":\"/v\"}|target=null|error_message=null|idempotency_key=null|"
           "created_at=1000000|started_at=2000000|completed_at=3000000|");
}

Test(command_projector, the_counter_is_a_number)
{
    submitted(1, 1000, NULL);
    status(1, 1000, "1000-99", "RUNNING");
    status(1, 1000, "1000-100", "FAILED");
    expect("status=FAILED");
}

Test(command_projector, executed_although_cancelled)
{
    submitted(1, 1000, NULL);
    status(1, 1000, "1000-1", "QUEUED");
    status(1, 1100, "1100-2", "CANCELLED");
    status(1, 1200, "1200-3", "RUNNING");
    status(1, 1300, "1300-4", "SUCCEEDED");
    expect("status=SUCCEEDED");
}

Test(command_projector, running_after_cancelled_has_not_completed)
{
    status(1, 1100, "1100-2", "CANCELLED");
    status(1, 1200, "1200-3", "RUNNING");
    expect("status=RUNNING|payload=null|result=null|target=null|error_message=null|"
           "idempotency_key=null|created_at=1100000|started_at=1200000|completed_at=null|");
}

Test(command_projector, without_cursors_time_then_rank_decides)
{
    status(1, 1000, NULL, "SUCCEEDED");
    status(1, 1000, NULL, "RUNNING");
    status(1, 1000, NULL, "QUEUED");
    expect("status=SUCCEEDED");
}

Test(command_projector, a_mixture_has_one_winner)
{
    status(1, 1000, "1000-5", "RUNNING");
    status(1, 1000, NULL, "FAILED");
    status(1, 1000, "1000-3", "SUCCEEDED");
    expect("status=RUNNING");
}

Test(command_projector, words_of_the_other_wire)
{
    status(1, 1000, NULL, "PENDING");
    status(2, 1000, NULL, "POLLING");
    struct safari_command *v = status(3, 1000, NULL, "VERIFICATION_FAILED");
    v->error = PJ_TEXT("no proof");
    expect("0001|type=unknown|status=QUEUED");
    expect("0002|type=unknown|status=RUNNING");
    status(4, 1000, NULL, "VERIFICATION_FAILED");
    expect("0003|type=unknown|status=FAILED|payload=null|result=null|target=null|"
           "error_message=no proof");
    expect("0004|type=unknown|status=FAILED|payload=null|result=null|target=null|"
           "error_message=VERIFICATION_FAILED");
}

Test(command_projector, unknown_words_say_nothing)
{
    status(1, 1000, NULL, "DANCING");
    char *rows = pj_orders_rows(&orders, false);
    cr_assert_str_empty(rows);
    free(rows);
}

Test(command_projector, sent_twice_the_earlier_counts)
{
    struct safari_command *v = submitted(1, 2000, NULL);
    v->type = PJ_TEXT("late");
    v = submitted(1, 1000, NULL);
    v->type = PJ_TEXT("early");
    expect("type=early");
}

Test(command_projector, requested_at_is_when_it_was_created)
{
    struct safari_command *v = submitted(1, 2000, NULL);
    v->requested_at = PJ_TIMESTAMPTZ(pj_orders_time(1500));
    expect("created_at=1500000");
}

Test(command_projector, the_older_command_keeps_the_key)
{
    submitted(1, 2000, "k");
    submitted(2, 1000, "k");
    submitted(3, 3000, "k");
    expect("idempotency_conflicts|idempotency_key=k|"
           "command_id=00000000-0000-4000-8000-000000000001|"
           "kept_by=00000000-0000-4000-8000-000000000002\n");
    expect("command_id=00000000-0000-4000-8000-000000000002|type=sora.generate|status=QUEUED|"
           "payload={\"prompt\":\"x\"}|result=null|target=null|error_message=null|"
           "idempotency_key=k|");
    refuse("0002|kept_by=00000000-0000-4000-8000-000000000001");
}

Test(command_projector, an_empty_key_is_none)
{
    for (unsigned command = 1; command <= 2; command++)
        submitted(command, 1000, "");
    refuse("idempotency_key=|");
    refuse("idempotency_key=\n");
    refuse("kept_by=");
}

Test(command_projector, of_two_as_old_the_smaller_id_keeps_it)
{
    submitted(2, 1000, "k");
    submitted(1, 1000, "k");
    expect("command_id=00000000-0000-4000-8000-000000000002|"
           "kept_by=00000000-0000-4000-8000-000000000001");
}

Test(command_projector, a_key_goes_to_the_next_when_its_keeper_had_another)
{
    /* The earlier submission of command 1 has the key b, so a is command 2's. */
    submitted(1, 2000, "a");
    submitted(2, 3000, "a");
    submitted(1, 1000, "b");
    expect("0002|type=sora.generate|status=QUEUED|payload={\"prompt\":\"x\"}|result=null|"
           "target=null|error_message=null|idempotency_key=a|");
    refuse("idempotency_conflicts");
}

Test(command_projector, keys_swapped)
{
    submitted(1, 2000, "a");
    submitted(2, 2000, "b");
    submitted(1, 1000, "b");
    submitted(2, 1000, "a");
    expect("0001|type=sora.generate|status=QUEUED|payload={\"prompt\":\"x\"}|result=null|"
           "target=null|error_message=null|idempotency_key=b|");
}

Test(command_projector, one_id_two_contents)
{
    struct safari_command *v = submitted(1, 1000, NULL);
    struct pj_uuid id = v->event_id;
    v = submitted(1, 1000, NULL);
    v->event_id = id;
    v->type = PJ_TEXT("other");
    expect("type=other");
}

Test(command_projector, every_column_of_a_submission)
{
    struct safari_command *v = submitted(1, 1000, NULL);
    v->target = PJ_JSONB("{\"platform\":\"x\"}");
    v->correlation_id = PJ_UUID(pj_orders_uuid(9));
    v->requester_service = PJ_TEXT("studio");
    v->requester_instance = PJ_TEXT("a");
    expect("payload={\"prompt\":\"x\"}|result=null|target={\"platform\":\"x\"}|"
           "error_message=null|idempotency_key=null|created_at=1000000|started_at=null|"
           "completed_at=null|correlation_id=00000000-0000-4000-8000-000000000009|"
           "requester_service=studio|requester_instance=a|placeholder=null\n");
}

Test(command_projector, the_submission_of_the_earlier_emitted_at_counts_then_of_the_smaller_id)
{
    struct safari_command *v = submitted(1, 2000, NULL);
    v->type = PJ_TEXT("requested early");
    v->requested_at = PJ_TIMESTAMPTZ(pj_orders_time(100));
    v = submitted(1, 1000, NULL);
    v->type = PJ_TEXT("smaller");
    v->requested_at = PJ_TIMESTAMPTZ(pj_orders_time(900));
    v = submitted(1, 1000, NULL);
    v->type = PJ_TEXT("greater");
    expect("type=smaller|");
    expect("created_at=900000|");
}

Test(command_projector, a_claim_is_as_old_as_its_command)
{
    /* Not as its submission's emitted_at, nor as what was first heard of it. */
    submitted(1, 2000, "k")->requested_at = PJ_TIMESTAMPTZ(pj_orders_time(500));
    submitted(2, 1000, "k");
    status(2, 100, "100-1", "QUEUED");
    expect("idempotency_conflicts|idempotency_key=k|"
           "command_id=00000000-0000-4000-8000-000000000002|"
           "kept_by=00000000-0000-4000-8000-000000000001\n");
}

Test(command_projector, started_at_is_that_of_the_earliest_running)
{
    status(1, 3000, "3000-3", "RUNNING");
    status(1, 2000, "2000-2", "RUNNING");
    status(1, 1000, "1000-1", "QUEUED");
    expect("created_at=1000000|started_at=2000000|completed_at=null|");
}

/* Where a cursor is no pair of numbers of at most 18 digits, the time stands for it. */
Test(command_projector, an_odd_cursor_is_none)
{
    static const char *const odd[] = {"",
                                      "9",
                                      "9999-",
                                      "-9999",
                                      "9999-1-1",
                                      "9999-x",
                                      "x-1",
                                      "+9999-1",
                                      "9999 -1",
                                      "9999-0x1",
                                      "1234567890123456789-1",
                                      "9999-1234567890123456789"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        status(1, 1000, odd[i], "FAILED");
        status(1, 1001, NULL, "RUNNING");
        expect("status=RUNNING|");
        stop();
        start();
    }
    status(1, 1000, "123456789012345678-123456789012345678", "FAILED");
    status(1, 1001, "123456789012345678-123456789012345677", "RUNNING");
    expect("status=FAILED|");
}

Test(command_projector, without_cursors_microseconds_count_and_go_down_before_1970)
{
    status(1, 1000, NULL, "FAILED")->emitted_at = PJ_TIMESTAMPTZ(1000000);
    status(1, 1000, NULL, "RUNNING")->emitted_at = PJ_TIMESTAMPTZ(1000001);
    expect("status=RUNNING|");
    status(2, 0, "-1-5", "RUNNING")->emitted_at = PJ_TIMESTAMPTZ(-1);
    status(2, 0, "0-1", "FAILED")->emitted_at = PJ_TIMESTAMPTZ(-1000);
    expect("0002|type=unknown|status=FAILED|");
    status(3, 0, NULL, "RUNNING")->emitted_at = PJ_TIMESTAMPTZ(-1);
    status(3, 0, "0-0", "FAILED")->emitted_at = PJ_TIMESTAMPTZ(-1000);
    expect("0003|type=unknown|status=FAILED|");
}

Test(command_projector, a_cursor_counts_more_than_its_absence)
{
    status(2, 1000, "999-5", "RUNNING");
    status(2, 1000, NULL, "FAILED");
    expect("0002|type=unknown|status=FAILED|");
    status(1, 1000, "1000-0", "RUNNING");
    status(1, 1000, NULL, "FAILED")->emitted_at = PJ_TIMESTAMPTZ(1000999);
    expect("status=RUNNING|");
}

Test(command_projector, of_two_that_are_equal_in_all_the_greater_id_counts)
{
    status(1, 1000, "1000-1", "FAILED");
    status(1, 1000, "1000-1", "SUCCEEDED");
    expect("status=SUCCEEDED|");
    status(2, 1000, "1000-1", "SUCCEEDED");
    status(2, 1000, "1000-1", "FAILED");
    expect("0002|type=unknown|status=FAILED|");
}

Test(command_projector, order_independence)
{
    static const char *const words[] = {"QUEUED",  "RUNNING",   "SUCCEEDED", "FAILED",
                                        "PENDING", "CANCELLED", "POLLING",   "NONSENSE"};
    static const char *const cursors[] = {"1000-1", "1000-9", "1000-10", "999-11",
                                          "odd",    NULL,     "2000-1",  "1000-2"};
    static const char *const keys[] = {"k", "l", NULL};
    unsigned seed = 11;
    for (int i = 0; i < 60; i++) {
        unsigned command = 1 + (unsigned)rand_r(&seed) % 5;
        int64_t ms = 999 + rand_r(&seed) % 3;
        if (rand_r(&seed) % 4 == 0)
            submitted(command, ms, keys[rand_r(&seed) % 3]);
        else
            status(command, ms, cursors[rand_r(&seed) % 8], words[rand_r(&seed) % 8]);
    }
    cr_assert(pj_orders_agree(&orders, 1500, 1));
}
