/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of generation_jobs, by their rows in every order. A number in a name is that of the
 * mistake or the edge case. */
#include "lib/json_orders.h"
#include "projections/studio/studio_projections.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define P   "aaaaaaaa-0000-4000-8000-000000000001"
#define Q   "aaaaaaaa-0000-4000-8000-000000000002"
#define JOB "bbbbbbbb-0000-4000-8000-00000000000b"

static struct json_orders j;

static void start(void)
{
    j = json_orders_start(&pj_studio_jobs);
}

static void stop(void)
{
    json_orders_stop(&j);
}

TestSuite(studio_jobs, .init = start, .fini = stop);

static void say(const char *job, const char *project, long revision, const char *body)
{
    json_say(&j, 0, "{'job_id':'%s','project_id':%s,'revision':%ld,'body':{%s}}", job, project,
             revision, body);
}

static void said(long revision, const char *body)
{
    say("j", "null", revision, body);
}

static void status(long revision, const char *word)
{
    json_say(&j, 0,
             "{'job_id':'j','revision':%ld,'body':{'type':'JobStatusChanged','status':'%s'}}",
             revision, word);
}

static void progress(long revision, int percent)
{
    json_say(&j, 0,
             "{'job_id':'j','revision':%ld,'body':{'type':'JobProgressed','progress':%d,"
             "'message':'at %d'}}",
             revision, percent, percent);
}

static void delete_project(const char *project, long revision)
{
    json_say(&j, 1, "{'project_id':'%s','revision':%ld,'body':{'type':'ProjectDeleted'}}", project,
             revision);
}

Test(studio_jobs, a_job_from_beginning_to_end)
{
    say("j", "'" P "'", 1, "'JobRegistered':{'type':'clip','message':'m'}");
    json_expect(&j, "|project_id=" P "|type=clip|status=queued|progress=0|message=m|"
                    "created_at=1000000|job_id=j|result=null|started_at=null|completed_at=null|"
                    "project_deleted_at=null|revision=1\n");
    json_expect(&j, "generation_jobs|id=624cd756-7967-5c0c-83fe-41294db71d0b|");
    progress(3, 40);
    json_expect(&j, "|status=running|progress=40|message=at 40|created_at=1000000|job_id=j|"
                    "result=null|started_at=3000000|completed_at=null|");
    status(2, "processing");
    json_expect(&j, "|status=running|progress=40|");
    json_expect(&j, "|started_at=2000000|completed_at=null|");
    said(4, "'type':'JobStatusChanged','status':'succeeded','result':{'url':'u'}");
    json_expect(&j, "|status=success|progress=100|message=at 40|created_at=1000000|job_id=j|"
                    "result={\"url\":\"u\"}|started_at=2000000|completed_at=4000000|"
                    "project_deleted_at=null|revision=4\n");
}

Test(studio_jobs, case_20_and_mistake_11_what_follows_an_end)
{
    status(5, "success");
    progress(6, 100);
    status(4, "running");
    json_expect(&j, "|status=success|progress=100|");
    json_expect(&j, "|started_at=4000000|completed_at=5000000|");
    json_say(&j, 0,
             "{'job_id':'k','revision':1,'body':{'type':'JobStatusChanged',"
             "'status':'error','progress':30,'result':[1]}}");
    json_say(&j, 0, "{'job_id':'k','revision':2,'body':{'type':'JobProgressed','progress':31}}");
    json_expect(&j, "|status=error|progress=31|message=null|created_at=1000000|job_id=k|"
                    "result=[1]|started_at=2000000|completed_at=1000000|");
}

Test(studio_jobs, case_21_words)
{
    static const char *const words[][2] = {
        {"pending", "queued"},  {"queued", "queued"},     {"processing", "running"},
        {"running", "running"}, {"completed", "success"}, {"succeeded", "success"},
        {"done", "success"},    {"success", "success"},   {"failed", "error"},
        {"timeout", "error"},   {"error", "error"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "|status=%s|", words[i][1]);
        status(1, words[i][0]);
        json_expect(&j, wanted);
        stop();
        start();
    }
    json_refused(&j, 0, "\"cooking\", but must be one of",
                 "{'job_id':'j','revision':1,'body':{'type':'JobStatusChanged',"
                 "'status':'cooking'}}");
    json_refused(&j, 0, "progress",
                 "{'job_id':'j','revision':1,'body':{'type':'JobProgressed',"
                 "'progress':101}}");
    json_refused(&j, 0, "progress",
                 "{'job_id':'j','revision':1,'body':{'type':'JobProgressed',"
                 "'progress':-1}}");
    json_refused(&j, 0, "progress",
                 "{'job_id':'j','revision':1,'body':{'type':'JobStatusChanged',"
                 "'status':'done','progress':101}}");
    status(2, "running");
    json_expect(&j, "|status=running|");
}

Test(studio_jobs, ties)
{
    status(1, "error");
    status(1, "running");
    status(1, "queued");
    json_expect(&j, "|status=error|");
    json_say(&j, 0, "{'job_id':'k','revision':1,'body':{'type':'JobProgressed','progress':1}}");
    json_say(&j, 0, "{'job_id':'k','revision':1,'body':{'JobRegistered':{'type':'t'}}}");
    json_expect(&j, "|type=t|status=running|progress=1|");
    json_say(&j, 0,
             "{'job_id':'k','revision':2,'body':{'type':'JobStatusChanged',"
             "'status':'pending'}}");
    json_expect(&j, "|type=t|status=queued|progress=1|");
    stop();
    start();
    status(1, "error"); /* of two ends the one with the greater event_id */
    status(1, "success");
    json_expect(&j, "|status=success|");
}

Test(studio_jobs, progress_alone)
{
    progress(7, 3);
    json_expect(&j, "|project_id=null|type=unknown|status=running|progress=3|message=at 3|"
                    "created_at=7000000|");
}

Test(studio_jobs, the_earliest_project_and_type_count)
{
    say("j", "'" Q "'", 3, "'JobRegistered':{'type':'second'}");
    say("j", "'" P "'", 2, "'JobRegistered':{'type':'first'}");
    progress(1, 0);
    json_expect(&j, "|project_id=" P "|type=first|status=queued|progress=0|message=at 0|"
                    "created_at=2000000|");
}

Test(studio_jobs, ids_that_are_uuids)
{
    say("BBBBBBBB-0000-4000-8000-00000000000B", "null", 1, "'JobRegistered':{'type':'t'}");
    say(JOB, "null", 2, "'type':'JobProgressed','progress':5");
    json_expect(&j, "generation_jobs|id=" JOB "|project_id=null|type=t|status=running|progress=5|"
                    "message=null|created_at=1000000|job_id=" JOB "|");
}

Test(studio_jobs, case_22_a_job_of_a_deleted_project)
{
    say("j", "'" P "'", 1, "'JobRegistered':{'type':'t'}");
    say("k", "'" Q "'", 1, "'JobRegistered':{'type':'t'}");
    json_unexpected(&j, "project_deleted_at=5");
    delete_project(P, 6);
    delete_project(P, 5);
    json_expect(&j, "|job_id=j|result=null|started_at=null|completed_at=null|"
                    "project_deleted_at=5000000|");
    json_expect(&j, "|job_id=k|result=null|started_at=null|completed_at=null|"
                    "project_deleted_at=null|");
    say("k", "'" P "'", 0, "'type':'JobProgressed','progress':5"); /* it was that project's */
    json_unexpected(&j, "project_deleted_at=null");
    say("later", "'" P "'", 9, "'JobRegistered':{'type':'t'}");
    json_expect(&j, "|job_id=later|result=null|started_at=null|completed_at=null|"
                    "project_deleted_at=5000000|");
    json_agree(&j, 500, 22);
}

Test(studio_jobs, a_project_that_it_worked_for_later_is_none_of_its)
{
    say("j", "'" P "'", 1, "'JobRegistered':{'type':'t'}");
    say("j", "'" Q "'", 2, "'type':'JobProgressed','progress':5");
    delete_project(Q, 3);
    json_expect(&j, "|completed_at=null|project_deleted_at=null|");
    delete_project(P, 4);
    json_expect(&j, "|completed_at=null|project_deleted_at=4000000|");
}

Test(studio_jobs, a_status_tells_progress_and_a_message)
{
    said(1, "'JobRegistered':{'type':'t','message':'m'}");
    said(2, "'type':'JobStatusChanged','status':'running','progress':30,'message':'at last'");
    json_expect(&j, "|status=running|progress=30|message=at last|");
}

Test(studio_jobs, every_order)
{
    static const char *const bodies[] = {
        "'JobRegistered':{'type':'a','message':'m'}",
        "'JobRegistered':{'type':'b'}",
        "'type':'JobProgressed','progress':10",
        "'type':'JobProgressed','progress':20,'message':'n'",
        "'type':'JobStatusChanged','status':'running'",
        "'type':'JobStatusChanged','status':'queued','progress':1",
        "'type':'JobStatusChanged','status':'done','result':1",
        "'type':'JobStatusChanged','status':'error','result':2",
    };
    static const char *const projects[] = {"'" P "'", "'" Q "'", "null"};
    for (unsigned seed = 1; seed <= 6; seed++) {
        unsigned chance = seed;
        for (int i = 0; i < 20; i++)
            say(rand_r(&chance) % 3 == 0 ? JOB : "j", projects[rand_r(&chance) % 3],
                rand_r(&chance) % 6, bodies[(size_t)rand_r(&chance) % (seed > 3 ? 6 : 8)]);
        delete_project(P, 3);
        delete_project(seed % 2 == 0 ? P : Q, 4);
        json_agree(&j, 250, seed);
        stop();
        start();
    }
}
