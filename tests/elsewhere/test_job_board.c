/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of job-board, each by its rows, and in every order of events. */
#include "yard.h"

#include <projectionist/testing.h>
#include <stdio.h>

static struct pj_orders orders;
static unsigned events;

/* An event in one of three partitions, a second after the one before. */
static struct job_event *say(const char *job, const char *parent, const char *state)
{
    struct job_event *e = PJ_ORDERS_EVENT(&orders, job_event, 0, (int32_t)(events++ % 3));
    e->event_id = PJ_UUID(pj_orders_uuid(events));
    e->at = PJ_TIMESTAMPTZ(pj_orders_time(1000 * (int64_t)events));
    e->job = PJ_TEXT(job);
    e->parent = PJ_TEXT(parent);
    e->title = PJ_TEXT("caulk");
    e->state = PJ_TEXT(state);
    e->minutes = PJ_BIGINT(10);
    e->withdrawn = PJ_BOOL(false);
    return e;
}

/* A job and its crew, a letter each. */
static void man(const char *job, const char *people)
{
    enum { CREW_MOST = 4, EVENTS_MOST = 8 };
    static struct crew_member crews[EVENTS_MOST][CREW_MOST];
    struct job_event *e = say(job, NULL, "begun");
    struct crew_member *members = crews[events % EVENTS_MOST];
    size_t count = strlen(people);
    for (size_t i = 0; i < count; i++)
        members[i].person = PJ_TEXT(pj_text_of(&people[i], 1));
    e->crew.value = pj_items_of(PJ_PARTS(members[0]), count, PJ_COUNT(crew_member_fields));
}

static void withdraw(const char *job)
{
    say(job, NULL, "planned")->withdrawn = PJ_BOOL(true);
}

static bool the_last_that_was_said_counts(void)
{
    const struct skill skills[] = {{PJ_TEXT("tar")}};
    say("keel", NULL, "planned");
    say("keel", NULL, "done")->skills.value = pj_items_of(PJ_PARTS(skills[0]), 1, 1);
    say("deck", NULL, "done");
    withdraw("deck");
    return pj_orders_expect(&orders, "jobs|job=keel|parent=null|title=caulk|state=done|"
                                     "skills={\"tar\"}|minutes=10|") &&
           pj_orders_refuse(&orders, "job=deck");
}

static bool everybody_is_where_they_were_listed_last(void)
{
    man("keel", "ab");
    man("deck", "b");
    man("mast", "cb");
    man("mast", "c");
    return pj_orders_expect(&orders, "crew|person=a|job=keel|place=0|role=null\n"
                                     "crew|person=b|job=deck|place=0|role=null\n"
                                     "crew|person=c|job=mast|place=0|role=null\n");
}

static bool who_is_let_go_is_back_where_they_were_listed_before(void)
{
    man("keel", "ab");
    man("deck", "b");
    withdraw("deck");
    return pj_orders_expect(&orders, "crew|person=b|job=keel|place=1|role=null\n");
}

static bool a_job_knows_its_whole_and_what_is_left(void)
{
    say("nail", "plank", "done");
    say("plank", "hull", "begun");
    say("paint", "hull", "planned");
    say("hull", NULL, "begun");
    return pj_orders_expect(&orders, "|root=hull|depth=0|minutes_left=30|jobs_open=3\n") &&
           pj_orders_expect(&orders, "|root=hull|depth=2|minutes_left=0|jobs_open=0\n");
}

static bool a_tree_that_moves_has_another_root(void)
{
    say("hull", NULL, "begun");
    say("boat", NULL, "begun");
    say("plank", "hull", "begun");
    say("nail", "plank", "begun");
    say("plank", "boat", "begun");
    return pj_orders_expect(&orders, "job=nail|parent=plank|title=caulk|state=begun|skills=null|"
                                     "minutes=10|root=boat|depth=2|minutes_left=10|jobs_open=1\n");
}

static bool a_ring_has_no_root(void)
{
    say("a", "b", "begun");
    say("b", "a", "begun");
    say("c", "b", "begun");
    return pj_orders_expect(&orders, "|parent=b|title=caulk|state=begun|skills=null|minutes=10|"
                                     "root=null|depth=null|minutes_left=null|jobs_open=null\n") &&
           pj_orders_expect(&orders, "|root=null|depth=null|minutes_left=10|jobs_open=1\n");
}

static bool parts_of_a_job_that_is_not_there_have_no_root(void)
{
    say("plank", "hull", "begun");
    say("hull", NULL, "begun");
    withdraw("hull");
    return pj_orders_expect(&orders, "|root=null|depth=null|minutes_left=10|jobs_open=1\n") &&
           pj_orders_refuse(&orders, "job=hull");
}

static bool order_makes_no_difference(void)
{
    return pj_orders_mixture(&orders, 60, 1, NULL) && pj_orders_agree(&orders, 1000, 42);
}

static const struct {
    const char *name;
    bool (*holds)(void);
} tests[] = {
    {"the last that was said counts", the_last_that_was_said_counts},
    {"everybody is where they were listed last", everybody_is_where_they_were_listed_last},
    {"who is let go is back where they were listed before",
     who_is_let_go_is_back_where_they_were_listed_before},
    {"a job knows its whole and what is left", a_job_knows_its_whole_and_what_is_left},
    {"a tree that moves has another root", a_tree_that_moves_has_another_root},
    {"a ring has no root", a_ring_has_no_root},
    {"parts of a job that is not there have no root",
     parts_of_a_job_that_is_not_there_have_no_root},
    {"order makes no difference", order_makes_no_difference},
};

int main(void)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        orders = pj_orders_of(&yard_job_board);
        events = 0;
        bool holds = tests[i].holds();
        pj_orders_free(&orders);
        printf("%s: %s\n", tests[i].name, holds ? "ok" : "FAILED");
        failed += holds ? 0 : 1;
    }
    return failed > 0;
}
