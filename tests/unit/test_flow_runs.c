/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of flow_runs, by their rows in every order. */
#include "lib/captions_orders.h"

#include <criterion/criterion.h>

static struct captions_orders s;

static void start(void)
{
    s = captions_orders_start(&pj_flow_runs);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(flow_runs, .init = start, .fini = stop);

#define ID(last) "00000000-0000-4000-8000-00000000000" last

/* Without tags. */
static struct captions_flow *event(const char *state, int32_t run_count, int64_t ms)
{
    struct captions_flow *e = CAPTIONS_EVENT(&s, captions_flow, "flows", NULL, ms);
    e->tenant_id = PJ_UUID(pj_null());
    e->video_id = PJ_UUID(pj_null());
    e->state_type = PJ_TEXT(state);
    e->run_count = PJ_INT(run_count);
    return e;
}

Test(flow_runs, the_state_that_is_furthest)
{
    event("COMPLETED", 1, 1000);
    event("RUNNING", 1, 3000)->flow_name = PJ_TEXT("f");
    captions_expect(&s, "|tenant_id=null|video_id=null|flow_name=null|run_name=null|"
                        "state_type=COMPLETED|state_name=null|run_count=1|message=null|"
                        "first_seen_at=1000000|last_changed_at=1000000|tags=null");
    event("SCHEDULED", 2, 500)->state_name = PJ_TEXT("AwaitingRetry");
    captions_expect(&s, "|state_type=SCHEDULED|state_name=AwaitingRetry|run_count=2|message=null|"
                        "first_seen_at=500000|last_changed_at=500000|");
    event("Dreaming", 2, 100); /* further than one that waits */
    captions_expect(&s, "|state_type=Dreaming|");
}

Test(flow_runs, by_its_tags)
{
    struct captions_flow *e = event("RUNNING", 1, 1000);
    e->tenant_id = PJ_UUID(pj_orders_uuid(1));
    e->video_id = PJ_UUID(pj_orders_uuid(10));
    event("COMPLETED", 1, 2000);
    captions_expect(&s, "|tenant_id=" ID("1") "|video_id=" ID("a") "|flow_name=null|run_name=null|"
                                                                   "state_type=COMPLETED|");
}

Test(flow_runs, by_what_it_told_of_the_video)
{
    event("COMPLETED", 1, 2000);
    CAPTIONS_EVENT(&s, captions_crop, "crops", "CropStarted", 3000)->flow_run_id =
        PJ_UUID(pj_orders_uuid(50));
    captions_expect(&s, "|tenant_id=" ID("1") "|video_id=" ID("a") "|");
    struct captions_video *e =
        CAPTIONS_EVENT(&s, captions_video, "videos", "ProcessingStarted", 1000);
    e->started_run = PJ_UUID(pj_orders_uuid(50));
    e->video_id = PJ_UUID(pj_orders_uuid(11));
    captions_expect(&s, "|tenant_id=" ID("1") "|video_id=" ID("b") "|");
}

Test(flow_runs, of_another_tenant)
{
    struct captions_flow *e = event("FAILED", 9, 1000);
    e->tenant_id = PJ_UUID(pj_orders_uuid(2));
    e->video_id = PJ_UUID(pj_orders_uuid(10));
    captions_expect(&s, "|tenant_id=" ID("2") "|video_id=" ID("a") "|");
    CAPTIONS_EVENT(&s, captions_video, "videos", "VideoRegistered", 5000);
    captions_refuse(&s, "flow_runs|");
    event("RUNNING", 1, 1000);
    captions_expect(&s, "|tenant_id=null|video_id=null|flow_name=null|run_name=null|"
                        "state_type=RUNNING|");
}

Test(flow_runs, every_order)
{
    captions_agree(&s, 80, 300, 6);
}

Test(flow_runs, orders_of_more_events)
{
    captions_agree_for(&pj_flow_runs, 100, 10);
}
