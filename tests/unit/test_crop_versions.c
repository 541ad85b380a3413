/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of cropped_frames_versions, by their rows in every order. */
#include "lib/captions_orders.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct captions_orders s;

static void start(void)
{
    s = captions_orders_start(&pj_crop_versions);
    CAPTIONS_EVENT(&s, captions_video, "videos", "VideoRegistered", 1000);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(crop_versions, .init = start, .fini = stop);

static struct captions_crop *event(const char *body, unsigned version, int64_t ms)
{
    struct captions_crop *e = CAPTIONS_EVENT(&s, captions_crop, "crops", body, ms);
    e->version_id = PJ_UUID(pj_orders_uuid(20 + version));
    return e;
}

static struct captions_crop *started(unsigned version, int32_t number, int64_t ms)
{
    struct captions_crop *e = event("CropStarted", version, ms);
    e->version = PJ_INT(number);
    e->flow_run_id = PJ_UUID(pj_orders_uuid(40 + version));
    return e;
}

static void flow(unsigned version, const char *state, int64_t ms)
{
    struct captions_flow *e = CAPTIONS_EVENT(&s, captions_flow, "flows", NULL, ms);
    e->flow_run_id = PJ_UUID(pj_orders_uuid(40 + version));
    e->tenant_id = PJ_UUID(pj_null());
    e->video_id = PJ_UUID(pj_null());
    e->state_type = PJ_TEXT(state);
}

/* Versions 1 to 3 have the ids …15 to …17. */
#define ROW(last, number, status, active, archived)                                                \
    expect_row("cropped_frames_versions|id=00000000-0000-4000-8000-0000000000" last,               \
               "|version=" number "|", "|status=" status "|",                                      \
               "|activated_at=" active "|archived_at=" archived "|")

static void expect_row(const char *id, const char *number, const char *status, const char *times)
{
    char *rows = pj_orders_rows(&s.orders, false);
    char *row = strstr(rows, id);
    char *end = row != NULL ? strchr(row, '\n') : NULL;
    cr_assert_not_null(end, "no row of %s in\n%s", id, rows);
    *end = '\0';
    cr_assert(strstr(row, number) && strstr(row, status) && strstr(row, times), "%s", row);
    free(rows);
    cr_assert(pj_orders_agree(&s.orders, 100, 7));
}

Test(crop_versions, begun_encoded_and_activated)
{
    started(1, 1, 2000)->frame_rate = PJ_DOUBLE(9.7);
    struct captions_crop *e = event("CropEncoded", 1, 3000);
    e->chunk_count = PJ_INT(3);
    e->total_frames = PJ_INT(90);
    e->total_size_bytes = PJ_BIGINT(8589934592);
    flow(1, "COMPLETED", 4000);
    ROW("15|", "1", "processing", "null", "null");
    captions_expect(&s, "|frame_rate=9.69999981|chunk_count=3|total_frames=90|"
                        "total_size_bytes=8589934592|");
    event("CropActivated", 1, 5000);
    ROW("15|", "1", "active", "5000000", "null");
}

/* Edge 19. */
Test(crop_versions, an_older_version_is_activated_later)
{
    started(2, 2, 1000);
    started(3, 3, 2000);
    event("CropActivated", 3, 3000);
    event("CropActivated", 2, 4000);
    ROW("16|", "2", "active", "4000000", "null");
    ROW("17|", "3", "archived", "3000000", "4000000");
    event("CropActivated", 3, 3500);
    event("CropActivated", 2, 3200);
    ROW("17|", "3", "archived", "3000000", "4000000");
    ROW("16|", "2", "active", "3200000", "null");
}

/* Edge 20. */
Test(crop_versions, activated_before_it_began)
{
    event("CropActivated", 1, 2000);
    captions_refuse(&s, "cropped_frames_versions|");
    started(1, 1, 1000);
    ROW("15|", "1", "active", "2000000", "null");
}

/* Edge 21. */
Test(crop_versions, two_of_one_number)
{
    started(1, 4, 2000);
    started(2, 4, 1000);
    event("CropActivated", 1, 3000);
    ROW("16|", "4", "processing", "null", "null");
    captions_refuse(&s, "cropped_frames_versions|id=00000000-0000-4000-8000-000000000015");
    captions_expect(&s, "crop_version_conflicts|version_id=00000000-0000-4000-8000-000000000015|"
                        "video_id=00000000-0000-4000-8000-00000000000a|version=4|"
                        "kept_by=00000000-0000-4000-8000-000000000016|emitted_at=2000000");
}

/* Edge 22. */
Test(crop_versions, it_failed_after_it_was_active)
{
    started(1, 1, 1000);
    started(2, 2, 2000);
    event("CropActivated", 1, 3000);
    event("CropActivated", 2, 4000);
    event("CropFailed", 2, 5000);
    ROW("15|", "1", "active", "3000000", "null");
    ROW("16|", "2", "failed", "4000000", "null");
    /* Of the archived, those of failed versions count. */
    started(3, 3, 5500);
    event("CropActivated", 3, 6000);
    ROW("15|", "1", "archived", "3000000", "4000000");
}

/* Mistake 7. */
Test(crop_versions, its_flow_crashed)
{
    started(1, 1, 1000);
    flow(1, "CRASHED", 2000);
    ROW("15|", "1", "failed", "null", "null");
    event("CropActivated", 1, 3000);
    ROW("15|", "1", "active", "3000000", "null");
}

/* Mistake 5. */
Test(crop_versions, states_that_end_nothing)
{
    started(1, 1, 1000);
    flow(1, "PAUSED", 2000);
    ROW("15|", "1", "processing", "null", "null");
    flow(1, "Dreaming", 3000);
    ROW("15|", "1", "processing", "null", "null");
    flow(1, "CANCELLED", 2500);
    ROW("15|", "1", "failed", "null", "null");
}

/* Mistake 2. */
Test(crop_versions, of_another_tenant)
{
    struct captions_crop *e = started(1, 1, 1000);
    e->tenant_id = PJ_UUID(pj_orders_uuid(2));
    e->storage_prefix = PJ_TEXT(captions_key(&s, e->tenant_id, e->video_id, "c"));
    event("CropActivated", 1, 2000)->tenant_id = PJ_UUID(pj_orders_uuid(2));
    captions_refuse(&s, "cropped_frames_versions|");
    started(2, 1, 3000);
    ROW("16|", "1", "processing", "null", "null");
}

Test(crop_versions, purged)
{
    started(1, 4, 2000);
    started(2, 4, 1000);
    CAPTIONS_EVENT(&s, captions_video, "videos", "VideoPurged", 500);
    captions_refuse(&s, "crop");
    cr_assert(pj_orders_agree(&s.orders, 100, 1));
}

Test(crop_versions, dead_letters)
{
    struct captions_crop *e = started(1, 1, 1000);
    e->storage_prefix = PJ_TEXT(captions_key(&s, e->tenant_id, e->video_id, "a//b"));
    captions_is_dead_letter(&s, "storage_prefix has an empty, . or .. segment");
    e = started(1, 1, 1000);
    e->storage_prefix = PJ_TEXT(captions_key(&s, e->tenant_id, e->video_id, "../b"));
    captions_is_dead_letter(&s, "storage_prefix has an empty, . or .. segment");
    e = started(1, 1, 1000);
    e->layout_db_storage_key = PJ_TEXT("layout.db");
    captions_is_dead_letter(&s, "layout_db_storage_key does not begin with its tenant_id/video_id");
    started(1, 1, 1000)->frame_rate = PJ_DOUBLE(1e39);
    captions_is_dead_letter(&s, "frame_rate is not a number below 3.4e38");
}

Test(crop_versions, every_order)
{
    started(1, 1, 82800000);
    started(2, 1, 82800001);
    captions_agree(&s, 80, 300, 6);
}

Test(crop_versions, orders_of_more_events)
{
    captions_agree_for(&pj_crop_versions, 100, 10);
}
