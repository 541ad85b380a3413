/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of videos and of tenant_conflicts, by their rows in every order. */
#include "lib/captions_orders.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct captions_orders s;

enum { MINUTE = 60000 };

static void start(void)
{
    s = captions_orders_start(&pj_captions_catalog);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(captions_catalog, .init = start, .fini = stop);

#define ID(last) "00000000-0000-4000-8000-00000000000" last

/* --- events ---------------------------------------------------------------------------------- */

static struct captions_video *event(const char *body, int64_t ms)
{
    return CAPTIONS_EVENT(&s, captions_video, "videos", body, ms);
}

static struct captions_video *registered(int64_t ms)
{
    return event("VideoRegistered", ms);
}

static struct captions_video *by_another(struct captions_video *e)
{
    e->tenant_id = PJ_UUID(pj_orders_uuid(2));
    if (e->registered.present)
        e->storage_key = PJ_TEXT(captions_key(&s, e->tenant_id, e->video_id, "video.mp4"));
    return e;
}

static struct captions_video *run_started(unsigned run, int32_t run_count, int64_t ms)
{
    struct captions_video *e = event("ProcessingStarted", ms);
    e->started_run = PJ_UUID(pj_orders_uuid(run));
    e->started_count = PJ_INT(run_count);
    return e;
}

static struct captions_video *run_finished(unsigned run, int32_t run_count, const char *outcome,
                                           int64_t ms)
{
    struct captions_video *e = event("ProcessingFinished", ms);
    e->finished_run = PJ_UUID(pj_orders_uuid(run));
    e->finished_count = PJ_INT(run_count);
    e->outcome = PJ_TEXT(outcome);
    return e;
}

static struct captions_flow *flow(unsigned run, int32_t run_count, const char *state, int64_t ms)
{
    struct captions_flow *e = CAPTIONS_EVENT(&s, captions_flow, "flows", NULL, ms);
    e->flow_run_id = PJ_UUID(pj_orders_uuid(run));
    e->tenant_id = PJ_UUID(pj_null());
    e->video_id = PJ_UUID(pj_null());
    e->run_count = PJ_INT(run_count);
    e->state_type = PJ_TEXT(state);
    return e;
}

static struct captions_object *stored(const char *file, int64_t ms)
{
    struct captions_object *e = CAPTIONS_EVENT(&s, captions_object, "objects", NULL, ms);
    e->bucket = PJ_TEXT("b");
    e->key = PJ_TEXT(captions_key(&s, e->tenant_id, e->video_id, file));
    e->size_bytes = PJ_BIGINT(5);
    return e;
}

static struct captions_lock *locked(const char *body, unsigned lock, int64_t acquired, int64_t ms,
                                    int64_t expires)
{
    struct captions_lock *e = CAPTIONS_EVENT(&s, captions_lock, "locks", body, ms);
    struct pj_timestamptz at = PJ_TIMESTAMPTZ(pj_orders_time(expires));
    e->lock_id = PJ_UUID(pj_orders_uuid(lock));
    e->user_id = PJ_UUID(pj_orders_uuid(lock + 1));
    e->acquired_at = PJ_TIMESTAMPTZ(pj_orders_time(acquired));
    e->expires_at = e->acquired.present ? at : e->expires_at;
    e->new_expires_at = e->renewed.present ? at : e->new_expires_at;
    return e;
}

/* Stream time goes on. */
static void tick(int64_t ms)
{
    (void)flow(999, 0, "RUNNING", ms);
}

/* --- what there must be ---------------------------------------------------------------------- */

/* The columns, each as "|name=value|", of the one row of videos; in every order. */
#define EXPECT(...) expect((const char *const[]){__VA_ARGS__, NULL})

static void expect(const char *const *columns)
{
    char *rows = pj_orders_rows(&s.orders, false);
    char *row = strstr(rows, "videos|id=");
    char *end = row != NULL ? strchr(row, '\n') : NULL;
    bool all = end != NULL;
    if (all)
        *end = '|';
    for (; all && *columns != NULL; columns++) {
        char *found = strstr(row, *columns);
        if (found == NULL || found > end)
            fprintf(stderr, "%s is not in\n%s", *columns, row);
        all = found != NULL && found <= end;
    }
    free(rows);
    cr_assert(all);
    cr_assert(pj_orders_agree(&s.orders, 100, 7));
}

static void expect_no(const char *text)
{
    captions_refuse(&s, text);
    cr_assert(pj_orders_agree(&s.orders, 100, 7));
}

/* --- registration and tenancy ---------------------------------------------------------------- */

Test(captions_catalog, registered)
{
    struct captions_video *e = registered(1000);
    e->actor_user_id = PJ_UUID(pj_orders_uuid(5));
    e->size_bytes = PJ_BIGINT(9);
    e->duration = PJ_DOUBLE(59.94);
    EXPECT("videos|id=" ID("a") "|tenant_id=" ID("1") "|filename=t|", "|size_bytes=9|",
           "|status=uploading|duration_seconds=59.9399986|", "|uploaded_at=1000000|",
           "|uploaded_by_user_id=" ID("5") "|", "|purged_at=null|placeholder=null|");
    registered(2000)->filename = PJ_TEXT("later");
    e = registered(500);
    e->uploaded_at = PJ_TIMESTAMPTZ(pj_orders_time(7));
    e->filename = PJ_TEXT("earlier");
    EXPECT("|filename=earlier|", "|uploaded_at=7000|", "|size_bytes=null|");
}

/* Edge 2. */
Test(captions_catalog, registered_by_two)
{
    by_another(registered(2000));
    EXPECT("|tenant_id=" ID("2") "|");
    registered(1000);
    EXPECT("|tenant_id=" ID("1") "|");
    captions_expect(&s,
                    "tenant_conflicts|event_id=00000000-0000-4000-8000-0000000186a1|video_id=" ID(
                        "a") "|claimed_tenant_id=" ID("2") "|topic=captions.videos|"
                                                           "emitted_at=2000000\n");
}

/* Edge 3, and all the topics that are told of. */
Test(captions_catalog, what_strangers_say_changes_nothing)
{
    registered(1000);
    run_finished(30, 1, "succeeded", 2000);
    by_another(event("VideoSoftDeleted", 9000));
    by_another(event("VideoPurged", 500));
    by_another(run_finished(31, 1, "failed", 9000));
    struct captions_flow *f = flow(30, 9, "FAILED", 9000);
    f->tenant_id = PJ_UUID(pj_orders_uuid(2));
    f->video_id = PJ_UUID(pj_orders_uuid(10));
    struct captions_object *o = stored("video.mp4", 3000);
    o->tenant_id = PJ_UUID(pj_orders_uuid(2));
    locked("LockAcquired", 60, 8000, 8000, 90000)->tenant_id = PJ_UUID(pj_orders_uuid(2));
    struct captions_crop *c = CAPTIONS_EVENT(&s, captions_crop, "crops", "CropActivated", 9000);
    c->tenant_id = PJ_UUID(pj_orders_uuid(2));
    EXPECT("|status=active|", "|size_bytes=null|", "|locked_by_user_id=null|", "|deleted_at=null|",
           "|current_cropped_frames_version=null|");
    static const char *const topics[] = {"videos", "flows", "objects", "locks", "crops"};
    for (size_t i = 0; i < 5; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "|claimed_tenant_id=" ID("2") "|topic=captions.%s|",
                       topics[i]);
        captions_expect(&s, text);
    }
}

/* Edge 4. */
Test(captions_catalog, dead_letters)
{
    struct captions_video *e = registered(1000);
    e->storage_key = PJ_TEXT(captions_key(&s, e->tenant_id, PJ_UUID(pj_orders_uuid(11)), "v"));
    captions_is_dead_letter(&s, "storage_key does not begin with its tenant_id/video_id");
    e = registered(1000);
    e->storage_key.text.length = 37 + 36; /* no file in the folder is one, too */
    cr_assert_eq(s.orders.count, 1);
    s.orders.count--;
    event("LayoutApproved", 1)->layout_db_key = PJ_TEXT("layout.db");
    captions_is_dead_letter(&s, "layout_db_key does not begin with");
    event("VideoPurged", 1)->tenant_id = PJ_UUID((const uint8_t[16]){0});
    captions_is_dead_letter(&s, "tenant_id is the nil UUID");
    event("VideoPurged", 1)->purged = PJ_BOOL(pj_null());
    captions_is_dead_letter(&s, "body is none of the records known here");
    locked("LockAcquired", 60, 1000, 1000, 1000);
    captions_is_dead_letter(&s, "expires_at is not after acquired_at");
    locked("LockRenewed", 60, 1000, 2000, 2001 + 15 * MINUTE);
    captions_is_dead_letter(&s, "expires_at is more than 15 minutes after emitted_at");
    run_finished(30, 1, "succeeded", 1)->measured_duration = PJ_DOUBLE(1e39);
    captions_is_dead_letter(&s, "duration_seconds is not a number below 3.4e38");
    flow(30, 1, "RUNNING", 1)->video_id = PJ_UUID((const uint8_t[16]){0});
    captions_is_dead_letter(&s, "video_id is the nil UUID");
}

/* --- runs ------------------------------------------------------------------------------------ */

/* Edge 1. */
Test(captions_catalog, finished_before_it_was_registered)
{
    struct captions_video *e = run_finished(30, 1, "succeeded", 2000);
    e->frame_count = PJ_INT(91);
    e->measured_duration = PJ_DOUBLE(12.5);
    expect_no("videos|");
    registered(1000);
    EXPECT("|status=active|duration_seconds=12.5|", "|frame_count=91|", "|failed_batches=0|",
           "|prefect_flow_run_id=00000000-0000-4000-8000-00000000001e|");
}

/* Edge 5. */
Test(captions_catalog, failed_then_succeeded)
{
    registered(1000);
    run_finished(31, 1, "succeeded", 5000);
    run_started(31, 1, 4000);
    run_finished(30, 1, "failed", 3000)->error = PJ_TEXT("boom");
    run_started(30, 1, 2000);
    EXPECT("|status=active|", "|failure=null|",
           "|prefect_flow_run_id=00000000-0000-4000-8000-00000000001f|");
}

/* Edge 6, and mistake 11 as far as it is about the video. */
Test(captions_catalog, succeeded_then_failed)
{
    registered(1000);
    run_finished(30, 1, "succeeded", 3000);
    struct captions_video *e = run_finished(31, 1, "failed", 5000);
    e->error = PJ_TEXT("boom");
    e->failed_batches = PJ_INT(2);
    EXPECT("|status=active|", "|failure=boom|", "|failed_batches=2|");
}

/* Edge 7. */
Test(captions_catalog, begun_again)
{
    registered(1000);
    run_started(30, 2, 2000);
    run_finished(30, 1, "failed", 3000)->error = PJ_TEXT("boom");
    EXPECT("|status=processing|", "|failure=null|", "|failed_batches=null|");
}

/* Edge 8. */
Test(captions_catalog, crashed)
{
    registered(1000);
    run_started(30, 1, 2000);
    flow(30, 1, "CRASHED", 3000)->message = PJ_TEXT("out of memory");
    EXPECT("|status=failed|", "|failure=out of memory|", "|frame_count=null|");
    flow(30, 2, "CANCELLED", 3000)->message = PJ_TEXT("");
    EXPECT("|status=failed|", "|failure=cancelled|");
    run_started(30, 3, 4000); /* a later try, of which nothing is told */
    EXPECT("|status=processing|");
}

/* Edge 9; mistake 6: COMPLETED proves nothing. */
Test(captions_catalog, completed_without_an_end)
{
    registered(1000);
    run_started(30, 1, 2000);
    flow(30, 1, "COMPLETED", MINUTE);
    EXPECT("|status=processing|");
    tick(11 * MINUTE);
    EXPECT("|status=processing|");
    tick(11 * MINUTE + 1);
    EXPECT("|status=failed|", "|failure=failed|");
    run_finished(30, 1, "succeeded", 6 * MINUTE);
    EXPECT("|status=active|", "|failure=null|");
}

/* Mistake 5. */
Test(captions_catalog, states_that_end_nothing)
{
    registered(1000);
    run_started(30, 1, 2000);
    flow(30, 1, "PAUSED", 3000);
    EXPECT("|status=processing|");
    flow(30, 1, "Dreaming", 4000);
    tick(60 * MINUTE);
    EXPECT("|status=processing|");
}

/* Edge 10. */
Test(captions_catalog, cancelled)
{
    registered(1000);
    run_finished(30, 1, "cancelled", 2000);
    EXPECT("|status=failed|", "|failure=cancelled|");
}

/* The latest run is that whose first event came last, whatever it told later. */
Test(captions_catalog, which_run_is_the_latest)
{
    registered(1000);
    run_started(31, 1, 3000);
    run_started(30, 1, 2000);
    run_finished(30, 1, "succeeded", 9000)->measured_duration = PJ_DOUBLE(7);
    EXPECT("|status=processing|duration_seconds=7|",
           "|prefect_flow_run_id=00000000-0000-4000-8000-00000000001f|");
}

/* --- what people do -------------------------------------------------------------------------- */

/* Edge 11. */
Test(captions_catalog, the_deletion_is_delivered_last)
{
    registered(1000);
    event("VideoRestored", 3000);
    event("VideoSoftDeleted", 2000);
    EXPECT("|status=uploading|", "|deleted_at=null|");
    event("VideoSoftDeleted", 4000);
    EXPECT("|status=soft_deleted|", "|deleted_at=4000000|");
}

/* Edge 12. */
Test(captions_catalog, a_restore_ends_both)
{
    registered(1000);
    run_finished(30, 1, "succeeded", 1500);
    event("VideoArchived", 2000);
    EXPECT("|status=archived|", "|deleted_at=null|");
    event("VideoSoftDeleted", 3000);
    EXPECT("|status=soft_deleted|", "|deleted_at=3000000|");
    event("VideoRestored", 4000);
    EXPECT("|status=active|", "|deleted_at=null|");
}

/* Edge 13. */
Test(captions_catalog, purged)
{
    event("VideoPurged", 5000);
    expect_no("videos|");
    struct captions_video *e = registered(1000);
    e->actor_user_id = PJ_UUID(pj_orders_uuid(5));
    e->size_bytes = PJ_BIGINT(9);
    e->duration = PJ_DOUBLE(7);
    e->annotations_db_key = PJ_TEXT("k");
    stored("video.mp4", 2000);
    e = event("LayoutApproved", 2000);
    e->layout_db_hash = PJ_TEXT("h");
    e->actor_user_id = PJ_UUID(pj_orders_uuid(5));
    run_finished(30, 1, "failed", 3000)->frame_count = PJ_INT(4);
    locked("LockAcquired", 60, 4000, 4000, 90000);
    event("VideoRestored", 6000);
    event("VideoPurged", 7000);
    EXPECT("|filename=(purged)|",
           "|size_bytes=null|status=purged|duration_seconds=null|"
           "annotations_db_key=null|locked_by_user_id=null|locked_at=null|"
           "uploaded_by_user_id=null|uploaded_at=1000000|",
           "|deleted_at=5000000|current_cropped_frames_version=null|layout_approved_at=null|"
           "layout_approved_by=null|layout_db_hash=null|failure=null|frame_count=4|",
           "|purged_at=5000000|");
}

Test(captions_catalog, the_layout_is_approved)
{
    registered(1000);
    event("LayoutApproved", 3000)->layout_db_hash = PJ_TEXT("new");
    struct captions_video *e = event("LayoutApproved", 2000);
    e->layout_db_hash = PJ_TEXT("old");
    e->actor_user_id = PJ_UUID(pj_orders_uuid(5));
    EXPECT("|layout_approved_at=3000000|layout_approved_by=null|layout_db_hash=new|");
}

/* --- objects, crops -------------------------------------------------------------------------- */

Test(captions_catalog, its_objects)
{
    registered(1000)->size_bytes = PJ_BIGINT(9);
    stored("captions.db", 1000);
    stored("other.mp4", 2000)->size_bytes = PJ_BIGINT(8);
    EXPECT("|status=uploading|", "|size_bytes=9|",
           "|annotations_db_key=" ID("1") "/" ID("a") "/captions.db|");
    stored("video.mp4", 3000)->size_bytes = PJ_BIGINT(7);
    stored("video.mp4", 2000)->size_bytes = PJ_BIGINT(6);
    EXPECT("|status=processing|", "|size_bytes=7|");
    struct captions_object *e = stored("video.mp4", 1000);
    e->sequencer = PJ_TEXT("1");
    EXPECT("|size_bytes=5|");
    stored("video.mp4", 9000)->operation = PJ_TEXT("removed");
    EXPECT("|status=processing|", "|size_bytes=5|");
}

Test(captions_catalog, the_active_crop)
{
    registered(1000);
    for (unsigned i = 1; i <= 2; i++) {
        struct captions_crop *e =
            CAPTIONS_EVENT(&s, captions_crop, "crops", "CropStarted", 1000 * i);
        e->version_id = PJ_UUID(pj_orders_uuid(20 + i));
        e->version = PJ_INT((int32_t)i + 3);
        e = CAPTIONS_EVENT(&s, captions_crop, "crops", "CropActivated", 9000 - 1000 * i);
        e->version_id = PJ_UUID(pj_orders_uuid(20 + i));
    }
    EXPECT("|current_cropped_frames_version=4|");
    CAPTIONS_EVENT(&s, captions_crop, "crops", "CropFailed", 1)->version_id =
        PJ_UUID(pj_orders_uuid(21));
    EXPECT("|current_cropped_frames_version=5|");
}

/* --- locks ----------------------------------------------------------------------------------- */

/* Edge 23. */
Test(captions_catalog, a_late_release)
{
    registered(1000);
    locked("LockAcquired", 60, 1000, 1000, MINUTE);
    locked("LockAcquired", 70, 2 * MINUTE, 2 * MINUTE, 9 * MINUTE);
    locked("LockReleased", 60, 1000, 5 * MINUTE, 0);
    EXPECT("|locked_by_user_id=00000000-0000-4000-8000-000000000047|locked_at=120000000|");
    locked("LockReleased", 70, 2 * MINUTE, 6 * MINUTE, 0);
    EXPECT("|locked_by_user_id=null|locked_at=null|");
}

/* Edge 24. */
Test(captions_catalog, a_lock_without_an_end)
{
    registered(1000);
    locked("LockAcquired", 60, 1000, 1000, MINUTE);
    tick(MINUTE);
    EXPECT("|locked_by_user_id=00000000-0000-4000-8000-00000000003d|locked_at=1000000|");
    tick(MINUTE + 1);
    EXPECT("|locked_by_user_id=null|locked_at=null|");
}

/* Edge 25. */
Test(captions_catalog, renewals_out_of_order)
{
    registered(1000);
    locked("LockRenewed", 60, 1000, 2000, 3 * MINUTE);
    locked("LockRenewed", 60, 1000, 3000, 2 * MINUTE);
    locked("LockAcquired", 60, 1000, 1000, MINUTE);
    tick(3 * MINUTE);
    EXPECT("|locked_at=1000000|");
    tick(3 * MINUTE + 1);
    EXPECT("|locked_at=null|");
}

/* --- all of it, edge 32 ---------------------------------------------------------------------- */

Test(captions_catalog, every_order)
{
    captions_agree(&s, 120, 300, 11);
}

Test(captions_catalog, orders_of_more_events)
{
    captions_agree_for(&pj_captions_catalog, 100, 10);
}
