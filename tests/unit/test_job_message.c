/* SPDX-License-Identifier: Apache-2.0 */
/* What a renderer publishes about a job, and what it is in the contract. */
#include "job-bridge/inbox.h"
#include "job-bridge/job_message.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct pj_job_message *message_of(const char *channel, const char *text)
{
    return pj_job_message_new("JOB_", (struct pj_bytes){channel, strlen(channel)},
                              (struct pj_bytes){text, strlen(text)});
}

static void expect(const char *text, const char *wanted)
{
    struct pj_job_message *message = message_of("JOB_7", text);
    json_t *json = json_loads(wanted, 0, NULL);
    cr_assert_not_null(json, "%s", wanted);
    cr_assert_not_null(message->body, "%s: %s", text, message->reason);
    char *found = json_dumps(message->body, JSON_COMPACT);
    cr_assert(json_equal(message->body, json), "%s is %s", text, found);
    cr_assert_eq(message->form, PJ_JOB_EVENT);
    cr_assert_null(message->reason);
    free(found);
    json_decref(json);
    pj_job_message_free(message);
}

static void refuse(const char *channel, const char *text, const char *reason)
{
    struct pj_job_message *message = message_of(channel, text);
    cr_assert_null(message->body, "%s", text);
    cr_assert_eq(message->form, PJ_JOB_DEAD_LETTER);
    cr_assert(strstr(message->reason, reason) != NULL, "%s: %s", text, message->reason);
    cr_assert_eq(message->payload.length, strlen(text));
    cr_assert_eq(memcmp(message->payload.data, text, strlen(text)), 0);
    pj_job_message_free(message);
}

Test(job_message, progress_is_rounded_half_away_from_zero)
{
    expect("{\"type\":\"progress\",\"progress\":41}", "{\"JobProgressed\":{\"progress\":41}}");
    expect("{\"type\":\"progress\",\"progress\":41.5}", "{\"JobProgressed\":{\"progress\":42}}");
    expect("{\"type\":\"progress\",\"progress\":41.4999}", "{\"JobProgressed\":{\"progress\":41}}");
    expect("{\"type\":\"progress\",\"progress\":-0.5}", "{\"JobProgressed\":{\"progress\":-1}}");
    expect("{\"type\":\"progress\",\"progress\":2147483647}",
           "{\"JobProgressed\":{\"progress\":2147483647}}");
    refuse("JOB_7", "{\"type\":\"progress\",\"progress\":2147483648}", "32 bits");
    refuse("JOB_7", "{\"type\":\"progress\",\"progress\":null}", "no progress");
}

Test(job_message, what_ends_a_job_has_a_status_of_its_own)
{
    expect("{\"type\":\"error\"}", "{\"JobStatusChanged\":{\"status\":\"error\"}}");
    expect("{\"type\":\"error\",\"status\":\"timeout\"}",
           "{\"JobStatusChanged\":{\"status\":\"timeout\"}}");
    expect("{\"type\":\"complete\"}", "{\"JobStatusChanged\":{\"status\":\"success\"}}");
    expect("{\"type\":\"complete\",\"result\":null,\"message\":null}",
           "{\"JobStatusChanged\":{\"status\":\"success\"}}");
    expect("{\"type\":\"complete\",\"result\":{\"a\":1.10}}",
           "{\"JobStatusChanged\":{\"status\":\"success\",\"result\":\"{\\\"a\\\":1.10}\"}}");
    expect("{\"type\":\"complete\",\"result\":\"x\"}",
           "{\"JobStatusChanged\":{\"status\":\"success\",\"result\":\"\\\"x\\\"\"}}");
    refuse("JOB_7", "{\"type\":\"status\"}", "no status");
}

Test(job_message, the_job_is_in_the_channel_alone)
{
    struct pj_job_message *message =
        message_of("JOB_a b/\xc3\xa9", "{\"type\":\"error\",\"job_id\":\"other\"}");
    cr_assert_eq(message->job_id_length, strlen("a b/\xc3\xa9"));
    cr_assert_eq(memcmp(message->job_id, "a b/\xc3\xa9", message->job_id_length), 0);
    pj_job_message_free(message);
    refuse("JOB_", "{\"type\":\"error\"}", "names no job");
    refuse("JOB_\xff", "{\"type\":\"error\"}", "UTF-8");
    refuse("JOB", "{\"type\":\"error\"}", "names no job");
}

Test(job_message, what_kafka_refuses_takes_the_next_form)
{
    struct pj_job_message *message = message_of("JOB_7", "{\"type\":\"error\"}");
    cr_assert(pj_job_message_refuse(message, "too large"));
    cr_assert_eq(message->form, PJ_JOB_DEAD_LETTER);
    cr_assert(message->is_refused);
    cr_assert_str_eq(message->reason, "too large");
    cr_assert(pj_job_message_refuse(message, "again"));
    cr_assert(pj_job_message_refuse(message, "again"));
    cr_assert_eq(message->form, PJ_JOB_HEADERS_ALONE);
    cr_assert_not(pj_job_message_refuse(message, "again"));
    cr_assert_str_eq(message->reason, "too large");
    pj_job_message_free(message);
}

Test(inbox, is_full_until_half_of_it_is_free)
{
    struct pj_inbox *inbox = pj_inbox_new(2000);
    struct pj_job_message *list;
    size_t put = 0;
    for (; !pj_inbox_is_full(inbox); put++)
        pj_inbox_put(inbox, message_of("JOB_7", "{\"type\":\"error\"}"));
    cr_assert_gt(put, 2);
    cr_assert_eq(pj_inbox_take(inbox, 1, 0, &list), 1);
    cr_assert(pj_inbox_is_full(inbox));
    pj_job_message_free(list);
    cr_assert_eq(pj_inbox_take(inbox, put, 0, &list), put - 1);
    cr_assert_not(pj_inbox_is_full(inbox));
    cr_assert_eq(pj_inbox_count(inbox), 0);
    while (list != NULL) {
        struct pj_job_message *next = list->next;
        pj_job_message_free(list);
        list = next;
    }
    cr_assert_eq(pj_inbox_take(inbox, 1, 1, &list), 0);
    cr_assert_null(list);
    pj_inbox_put(inbox, message_of("JOB_7", "{\"type\":\"error\"}"));
    pj_inbox_free(inbox);
}
