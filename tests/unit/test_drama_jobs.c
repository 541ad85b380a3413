/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of jobs, by their rows in every order. A number in a name is that of the edge case. */
#include "lib/json_orders.h"
#include "projections/drama/drama_projections.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct json_orders j;

static void start(void)
{
    j = json_orders_start(&pj_drama_jobs);
}

static void stop(void)
{
    json_orders_stop(&j);
}

TestSuite(drama_jobs, .init = start, .fini = stop);

/* Of the drama "d". What is after the job's name goes into the event ("'attempt':2,"). */
static void event(const char *job, int attempt, long revision, const char *body)
{
    json_say(&j, 0, "{'drama_id':'d','job_id':'%s','attempt':%d,'revision':%ld,'body':{%s}}", job,
             attempt, revision, body);
}

static void created(const char *job, const char *parent, long revision)
{
    char body[96];
    snprintf(body, sizeof body, "'type':'JobCreated','job_type':'t'%s%s%s",
             parent != NULL ? ",'parent_job_id':'" : "", parent != NULL ? parent : "",
             parent != NULL ? "'" : "");
    event(job, 1, revision, body);
}

static void status(const char *job, const char *word, long revision)
{
    char body[96];
    snprintf(body, sizeof body, "'type':'JobStatusChanged','status':'%s'", word);
    event(job, 1, revision, body);
}

static void of_drama(const char *type, long life, long revision)
{
    json_say(&j, 1, "{'drama_id':'d','life':%ld,'revision':%ld,'body':{'type':'%s'}}", life,
             revision, type);
}

/* The job's row has these texts. */
static void is(const char *job, const char *own, const char *text)
{
    char row[64];
    snprintf(row, sizeof row, "jobs|drama_id=d|job_id=%s|", job);
    char *rows = pj_orders_rows(&j.orders, false);
    const char *at = strstr(rows, row);
    cr_assert_not_null(at, "no row of %s in:\n%s", job, rows);
    char line[1024];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n") + 1, at);
    cr_assert_not_null(strstr(line, own), "not %s: %s", own, line);
    cr_assert_not_null(strstr(line, text), "not %s: %s", text, line);
    json_expect(&j, line); /* in a hundred orders, too */
    free(rows);
}

static void is_no_row(const char *job)
{
    char row[64];
    snprintf(row, sizeof row, "jobs|drama_id=d|job_id=%s|", job);
    json_unexpected(&j, row);
}

#define COUNTS(total, completed, failed, running, pending)                                         \
    "|total_jobs=" #total "|completed_jobs=" #completed "|failed_jobs=" #failed                    \
    "|running_jobs=" #running "|pending_jobs=" #pending "|"

/* --- one job --------------------------------------------------------------------------------- */

Test(drama_jobs, a_job_alone)
{
    json_say(&j, 0,
             "{'drama_id':'d','job_id':'a','user_id':'u','revision':1,'body':{'type':'JobCreated',"
             "'job_type':'generate_image','asset_id':'x','node_type':'scene','prompt':'p',"
             "'depends_on':['b'],'title':'t','project_name':'n','metadata':{'m':1}}}");
    is("a",
       "|user_id=u|job_type=generate_image|status=pending|own_status=pending|asset_id=x|"
       "node_type=scene|parent_job_id=null|prompt=p|depends_on=[\"b\"]|total_jobs=1|",
       "|error=null|r2_url=null|r2_key=null|result=null|title=t|project_name=n|"
       "metadata={\"m\":1}|attempts=1|created_at=1000000|started_at=null|completed_at=null|"
       "revision=1\n");
    status("a", "running", 2);
    is("a", "|status=processing|own_status=processing|",
       "|started_at=2000000|completed_at=null|revision=2\n");
    json_say(&j, 0,
             "{'drama_id':'d','job_id':'a','revision':3,'body':{'type':'JobStatusChanged',"
             "'status':'completed','r2_url':'u','r2_key':'k','result':[1]}}");
    is("a", COUNTS(1, 0, 0, 0, 0),
       "|error=null|r2_url=u|r2_key=k|result=[1]|title=t|project_name=n|metadata={\"m\":1}|"
       "attempts=1|created_at=1000000|started_at=2000000|completed_at=3000000|revision=3\n");
}

Test(drama_jobs, mistake_9_running_in_either_word)
{
    created("p", NULL, 1);
    created("a", "p", 2);
    created("b", "p", 3);
    status("a", "running", 4);
    status("b", "processing", 5);
    is("p", "|status=processing|", COUNTS(2, 0, 0, 2, 0));
}

/* Ids that are the same in every drama, and at every run of one. */
Test(drama_jobs, mistake_12_one_id_in_two_dramas_and_in_two_runs)
{
    created("job_ep1", NULL, 1);
    json_say(&j, 0,
             "{'drama_id':'e','job_id':'job_ep1','revision':2,'body':{'type':'JobStatusChanged',"
             "'status':'failed'}}");
    json_say(&j, 0,
             "{'drama_id':'e','job_id':'job_ep1','revision':1,'body':{'type':'JobCreated',"
             "'job_type':'t'}}");
    is("job_ep1", "|status=pending|", "|attempts=1|");
    json_expect(&j, "jobs|drama_id=e|job_id=job_ep1|");
    created("job_drama_d", NULL, 1);
    created("below", "job_drama_d", 2);
    status("below", "completed", 3);
    is("job_drama_d", "|status=completed|", "|attempts=1|");
    event("job_drama_d", 2, 4, "'type':'JobCreated','job_type':'t'");
    event("below", 2, 5, "'type':'JobCreated','job_type':'t','parent_job_id':'job_drama_d'");
    is("job_drama_d", "|status=pending|", "|attempts=2|");
}

Test(drama_jobs, case_13_status_events_alone_are_no_row)
{
    status("a", "completed", 1);
    is_no_row("a");
}

Test(drama_jobs, case_14_a_job_needs_no_drama)
{
    created("a", NULL, 5);
    is("a", "|status=pending|", "|revision=5\n");
    of_drama("DramaSaved", 9, 9);
    is("a", "|status=pending|", "|revision=5\n");
}

Test(drama_jobs, case_21_a_second_attempt)
{
    created("p", NULL, 1);
    created("a", "p", 2);
    event("a", 1, 3, "'type':'JobStatusChanged','status':'failed','error':'e'");
    is("p", "|status=failed|", "|error=null|");
    is("a", "|status=failed|", "|error=e|");
    event("a", 2, 4, "'type':'JobCreated','job_type':'t','parent_job_id':'p'");
    is("a", "|status=pending|", "|error=null|");
    is("a", "|attempts=2|created_at=2000000|", "|completed_at=null|revision=4\n");
    is("p", "|status=pending|", COUNTS(1, 0, 0, 0, 1));
    event("a", 2, 5, "'type':'JobStatusChanged','status':'completed'"); /* mistake 11 */
    is("a", "|status=completed|", "|error=null|");
    event("a", 1, 9, "'type':'JobStatusChanged','status':'failed','error':'late'");
    is("a", "|status=completed|", "|revision=9\n");
}

Test(drama_jobs, it_started_when_its_last_attempt_did)
{
    created("a", NULL, 1);
    status("a", "running", 2);
    event("a", 2, 4, "'type':'JobCreated','job_type':'t'");
    is("a", "|status=pending|", "|started_at=null|");
    event("a", 2, 6, "'type':'JobStatusChanged','status':'running'");
    is("a", "|status=processing|", "|started_at=6000000|");
}

Test(drama_jobs, case_22_a_late_processing)
{
    created("a", NULL, 1);
    status("a", "completed", 5);
    status("a", "processing", 4);
    is("a", "|status=completed|", "|started_at=4000000|completed_at=5000000|");
}

/* The events' ids are their numbers. */
Test(drama_jobs, of_two_ends_at_one_revision_the_greater_id_counts)
{
    created("a", NULL, 1);
    status("a", "failed", 5);
    status("a", "completed", 5);
    is("a", "|status=completed|", "|error=null|");
    created("b", NULL, 1);
    status("b", "completed", 5);
    status("b", "failed", 5);
    is("b", "|status=failed|", "|revision=5\n");
}

Test(drama_jobs, of_one_revision_the_furthest_counts)
{
    created("a", NULL, 1);
    status("a", "completed", 1);
    status("a", "processing", 1);
    is("a", "|status=completed|", "|started_at=1000000|completed_at=1000000|");
}

Test(drama_jobs, case_23_a_status_that_nobody_knows)
{
    json_refused(&j, 0, "status",
                 "{'drama_id':'d','job_id':'a','revision':1,"
                 "'body':{'type':'JobStatusChanged','status':'queued'}}");
    json_refused(&j, 0, "parent_job_id is empty",
                 "{'drama_id':'d','job_id':'a','revision':1,"
                 "'body':{'type':'JobCreated','job_type':'t','parent_job_id':''}}");
    json_refused(&j, 1, "level", /* what the catalog refuses */
                 "{'drama_id':'d','life':1,'revision':1,"
                 "'body':{'type':'MediaSet','level':'prop','path':[]}}");
}

/* --- parents --------------------------------------------------------------------------------- */

Test(drama_jobs, case_15_an_unknown_parent)
{
    created("a", "p", 2);
    created("b", "p", 1);
    status("a", "processing", 3);
    is("p", "|id=", "|job_type=unknown|status=processing|own_status=pending|");
    is("p", COUNTS(2, 0, 0, 1, 1),
       "|attempts=null|created_at=1000000|started_at=3000000|completed_at=null|revision=null\n");
    status("p", "failed", 4);
    is("p", "|job_type=unknown|status=failed|", "|attempts=1|");
    is("p", "|completed_at=4000000|", "|revision=4\n");
    created("p", NULL, 5);
    is("p", "|job_type=t|status=processing|own_status=pending|", "|created_at=5000000|");
}

Test(drama_jobs, case_16_rings)
{
    created("self", "self", 1);
    is("self", "|status=pending|", "|parent_job_id=null|");
    created("a", "b", 1);
    created("b", "a", 1);
    status("a", "completed", 2);
    is("a", "|status=completed|", "|parent_job_id=b|");
    is("a", "|status=completed|", COUNTS(1, 0, 0, 0, 0));
    is("b", "|status=pending|", COUNTS(1, 0, 0, 0, 0));
    created("tail", "a", 3);
    status("tail", "failed", 4);
    is("a", "|status=failed|", COUNTS(1, 0, 1, 0, 0));
    is("b", "|status=pending|", COUNTS(1, 0, 0, 0, 0));
    created("b", NULL, 5); /* the ring is broken */
    is("b", "|status=failed|", COUNTS(1, 0, 1, 0, 0));
}

Test(drama_jobs, case_17_a_child_moves)
{
    created("a", "p", 1);
    status("a", "completed", 2);
    created("p", NULL, 1);
    created("q", NULL, 1);
    created("a", "q", 3);
    is("p", "|status=pending|", COUNTS(1, 0, 0, 0, 0));
    is("q", "|status=pending|", COUNTS(1, 0, 0, 0, 1));
}

Test(drama_jobs, case_17_an_unknown_parent_goes_with_its_last_child)
{
    created("a", "p", 1);
    created("a", NULL, 2);
    is_no_row("p");
}

Test(drama_jobs, case_18_a_leaf_fails_deep_down)
{
    created("1", NULL, 1);
    created("2", "1", 1);
    created("3", "2", 1);
    created("4", "3", 1);
    created("5", "4", 1);
    created("6", "4", 1);
    status("5", "failed", 2);
    is("1", "|status=processing|", COUNTS(1, 0, 0, 1, 0));
    status("6", "completed", 9);
    is("4", "|status=failed|", COUNTS(2, 1, 1, 0, 0));
    is("1", "|status=failed|own_status=pending|", COUNTS(1, 0, 1, 0, 0));
    is("1", "|status=failed|", "|completed_at=9000000|");
}

Test(drama_jobs, case_19_a_parents_own_end)
{
    created("p", NULL, 1);
    created("a", "p", 1);
    status("a", "processing", 2);
    status("p", "completed", 3);
    is("p", "|status=processing|own_status=completed|", "|completed_at=null|");
    event("p", 1, 4, "'type':'JobStatusChanged','status':'failed','error':'e'");
    is("p", "|status=failed|own_status=failed|", "|error=e|");
    status("a", "completed", 9);
    is("p", "|status=failed|", "|completed_at=4000000|");
}

Test(drama_jobs, case_20_more_and_fewer_children_than_announced)
{
    event("p", 1, 1, "'type':'JobCreated','job_type':'t','total_jobs':1");
    event("q", 1, 1, "'type':'JobCreated','job_type':'t','total_jobs':56");
    created("a", "p", 1);
    created("b", "p", 1);
    created("c", "q", 1);
    created("d", "q", 1);
    status("a", "completed", 2);
    status("c", "completed", 2);
    status("d", "completed", 2);
    is("p", "|status=processing|", COUNTS(2, 1, 0, 0, 1));
    is("q", "|status=processing|", COUNTS(56, 2, 0, 0, 54)); /* mistake 8 */
    status("b", "completed", 3);
    is("p", "|status=completed|", COUNTS(2, 2, 0, 0, 0));
}

Test(drama_jobs, mistake_7_a_parent_without_children_is_not_completed)
{
    event("p", 1, 1, "'type':'JobCreated','job_type':'t','total_jobs':0");
    is("p", "|status=pending|", COUNTS(0, 0, 0, 0, 0));
}

Test(drama_jobs, mistake_6_children_finish_in_any_order)
{
    char child[16];
    j.partitions = 7;
    event("p", 1, 1, "'type':'JobCreated','job_type':'t','total_jobs':56");
    for (int i = 0; i < 56; i++) {
        snprintf(child, sizeof child, "c%d", i);
        created(child, "p", 2 + i);
        status(child, "running", 100 + i * 7 % 56);
        status(child, "completed", 200 + i * 11 % 56);
    }
    is("p", "|status=completed|", COUNTS(56, 56, 0, 0, 0));
    is("p", "|started_at=100000000|", "|completed_at=255000000|"); /* mistake 10 */
}

Test(drama_jobs, of_equal_revisions_the_lesser_event_id_came_first)
{
    for (int emitted = 7; emitted > 4; emitted--)
        json_say(&j, 0,
                 "{'drama_id':'d','job_id':'a','revision':1,'emitted_at':%d,"
                 "'body':{'type':'JobCreated','job_type':'t'}}",
                 emitted);
    is("a", "|status=pending|", "|created_at=7|");
    for (int emitted = 12; emitted > 9; emitted--)
        json_say(&j, 0,
                 "{'drama_id':'d','job_id':'a','revision':2,'emitted_at':%d,"
                 "'body':{'type':'JobStatusChanged','status':'running'}}",
                 emitted);
    is("a", "|status=processing|", "|started_at=12|");
}

/* The row alone, of one batch: a hundred orders of so many events would take minutes. */
static void is_once(const char *job, const char *text)
{
    char row[64];
    snprintf(row, sizeof row, "jobs|drama_id=d|job_id=%s|", job);
    char *rows = pj_orders_rows(&j.orders, true);
    const char *at = strstr(rows, row);
    cr_assert_not_null(at, "no row of %s", job);
    char line[1024];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n") + 1, at);
    cr_assert_not_null(strstr(line, text), "not %s: %s", text, line);
    free(rows);
}

Test(drama_jobs, a_tree_of_many_levels)
{
    enum { LEVELS = 60 };
    char job[16], above[16];
    created("0", NULL, 1);
    for (int i = 1; i < LEVELS; i++) {
        snprintf(above, sizeof above, "%d", i - 1);
        snprintf(job, sizeof job, "%d", i);
        created(job, above, 1 + i);
    }
    status(job, "processing", 1000);
    is_once("0", "|status=processing|");
    is_once("0", "|started_at=1000000000|");
    status(job, "failed", 1001);
    is_once("0", "|status=failed|own_status=pending|");
    is_once("30", COUNTS(1, 0, 1, 0, 0));
    is_once("0", "|completed_at=1001000000|");
    created("0", job, 2000); /* a ring of all of them: nobody counts for anybody */
    is_once("0", "|status=pending|own_status=pending|");
    is_once("30", COUNTS(1, 0, 0, 0, 0));
    created("0", NULL, 2001);
    is_once("0", "|status=failed|own_status=pending|");
    json_agree(&j, 3, 7);
}

Test(drama_jobs, many_children_are_each_counted_once)
{
    enum { CHILDREN = 120 };
    char job[16];
    for (int i = 0; i < CHILDREN; i++) {
        snprintf(job, sizeof job, "c%d", i);
        created(job, "p", 1 + i);
        if (i % 4 != 0)
            status(job, i % 4 == 1 ? "completed" : i % 4 == 2 ? "failed" : "processing", 1000 + i);
    }
    is_once("p", "|job_type=unknown|status=processing|");
    is_once("p", COUNTS(120, 30, 30, 30, 30));
    is_once("p", "|created_at=1000000|started_at=1003000000|completed_at=null|");
    for (int i = 0; i < CHILDREN; i++) {
        snprintf(job, sizeof job, "c%d", i);
        status(job, "completed", 5000 + i * 7 % CHILDREN);
    }
    is_once("p", "|job_type=unknown|status=completed|");
    is_once("p", "|completed_at=5119000000|");
    of_drama("DramaDeleted", 0, 120); /* all but the last of them */
    is_once("p", COUNTS(1, 1, 0, 0, 0));
    is_once("p", "|created_at=120000000|");
    json_agree(&j, 2, 8);
}

/* --- deletion -------------------------------------------------------------------------------- */

Test(drama_jobs, case_29_jobs_of_a_deleted_drama)
{
    created("p", NULL, 10);
    created("a", "p", 11);
    status("a", "completed", 30);
    created("b", "p", 25);
    of_drama("DramaSaved", 5, 5);
    of_drama("DramaDeleted", 5, 20);
    is_no_row("a");
    is("b", "|status=pending|", "|parent_job_id=p|");
    is("p", "|job_type=unknown|", COUNTS(1, 0, 0, 0, 1));
    created("a", "p", 40);
    is("a", "|status=pending|", "|created_at=40000000|");
}

Test(drama_jobs, what_was_before_a_deletion_is_forgotten)
{
    event("a", 3, 1, "'type':'JobCreated','job_type':'old'");
    event("a", 1, 2, "'type':'JobStatusChanged','status':'processing'");
    json_say(&j, 0,
             "{'drama_id':'d','job_id':'a','revision':3,'user_id':'old','body':"
             "{'type':'JobStatusChanged','status':'processing'}}");
    of_drama("DramaDeleted", 0, 10);
    created("a", NULL, 10); /* of equal revision, it stays */
    is("a", "|user_id=null|job_type=t|status=pending|",
       "|attempts=1|created_at=10000000|started_at=null|completed_at=null|revision=10\n");
    status("a", "processing", 11);
    is("a", "|status=processing|", "|started_at=11000000|");
}

Test(drama_jobs, a_deletion_of_an_old_life_takes_nothing_of_the_new_one)
{
    created("a", NULL, 15);
    of_drama("DramaSaved", 5, 5);
    of_drama("DramaDeleted", 5, 20);
    is_no_row("a");
    of_drama("DramaSaved", 12, 12);
    is("a", "|status=pending|", "|revision=15\n");
    of_drama("DramaDeleted", 5, 11); /* before the new life began */
    is("a", "|status=pending|", "|revision=15\n");
    of_drama("DramaDeleted", 12, 30);
    is_no_row("a");
    of_drama("DramaSaved", 40, 40); /* a life that began after it gives nothing back */
    is_no_row("a");
}

Test(drama_jobs, of_deletions_that_count_the_greatest_revision)
{
    created("a", NULL, 25);
    of_drama("DramaDeleted", 1, 30);
    of_drama("DramaDeleted", 2, 20);
    is_no_row("a");
    of_drama("DramaSaved", 30, 30); /* a new life that begins with the deletion */
    is("a", "|status=pending|", "|revision=25\n");
}

Test(drama_jobs, what_was_said_of_an_unknown_parent_is_forgotten)
{
    status("p", "failed", 5);
    created("c", "p", 15);
    of_drama("DramaDeleted", 0, 10);
    is("p", "|job_type=unknown|status=pending|", "|attempts=null|");
}

/* --- order ----------------------------------------------------------------------------------- */

static void mixture(int count, unsigned seed)
{
    static const char *const jobs[] = {"a", "b", "c", "d", "e", "f"};
    for (int i = 0; i < count; i++) {
        const char *job = jobs[rand_r(&seed) % 6];
        int revision = rand_r(&seed) % 12;
        int attempt = 1 + rand_r(&seed) % 2;
        const char *user = rand_r(&seed) % 3 == 0 ? "'user_id':'u'," : "";
        char body[160] = "";
        static const char *const words[] = {"pending", "running", "completed", "failed"};
        switch (rand_r(&seed) % 8) {
        case 0:
            of_drama("DramaDeleted", rand_r(&seed) % 8, revision);
            continue;
        case 1:
            of_drama("DramaSaved", rand_r(&seed) % 8, revision);
            continue;
        case 2:
        case 3:
            snprintf(body, sizeof body, "'type':'JobCreated','job_type':'r','total_jobs':%d",
                     rand_r(&seed) % 3);
            break;
        case 4:
            snprintf(body, sizeof body, "'type':'JobCreated','job_type':'t','parent_job_id':'%s'",
                     jobs[rand_r(&seed) % 6]);
            break;
        default:
            snprintf(body, sizeof body,
                     "'type':'JobStatusChanged','status':'%s','error':'e','r2_key':'k%d'",
                     words[rand_r(&seed) % 4], i);
        }
        json_say(&j, 0, "{'drama_id':'d','job_id':'%s','attempt':%d,'revision':%d,%s'body':{%s}}",
                 job, attempt, revision, user, body);
    }
}

Test(drama_jobs, order_makes_no_difference)
{
    j.partitions = 5;
    mixture(60, 3);
    cr_assert(pj_orders_reaches(&j.orders));
    json_agree(&j, 200, 42);
}

Test(drama_jobs, order_makes_no_difference_to_a_few)
{
    for (unsigned seed = 1; seed <= 25; seed++) {
        stop();
        start();
        mixture(14, seed);
        json_agree(&j, 40, seed);
    }
}
