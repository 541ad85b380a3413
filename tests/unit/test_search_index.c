/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of video_search_index, by their rows in every order. */
#include "lib/captions_orders.h"

#include <criterion/criterion.h>

static struct captions_orders s;

static void start(void)
{
    s = captions_orders_start(&pj_search_index);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(search_index, .init = start, .fini = stop);

static struct captions_video *video(const char *body, int64_t ms)
{
    return CAPTIONS_EVENT(&s, captions_video, "videos", body, ms);
}

static struct captions_frame *indexed(int32_t index, unsigned run, const char *text)
{
    struct captions_frame *e =
        CAPTIONS_EVENT(&s, captions_frame, "search", "FrameTextIndexed", 9000 - run);
    e->frame_index = PJ_INT(index);
    e->index_run = PJ_UUID(pj_orders_uuid(run));
    e->run_started_at = PJ_TIMESTAMPTZ(pj_orders_time(run));
    e->ocr_text = PJ_TEXT(text);
    return e;
}

static struct captions_frame *captioned(int32_t index, int64_t ms, const char *text)
{
    struct captions_frame *e = CAPTIONS_EVENT(&s, captions_frame, "search", "FrameCaptioned", ms);
    e->frame_index = PJ_INT(index);
    e->caption_text = PJ_TEXT(text);
    return e;
}

Test(search_index, waits_for_the_registration)
{
    indexed(0, 1, "a");
    captions_refuse(&s, "video_search_index|");
    video("VideoRegistered", 1000);
    captions_expect(&s, "video_search_index|video_id=00000000-0000-4000-8000-00000000000a|"
                        "frame_index=0|tenant_id=00000000-0000-4000-8000-000000000001|"
                        "ocr_text=a|caption_text=null");
}

/* Mistake 4. */
Test(search_index, a_frame_twice_is_one_row)
{
    video("VideoRegistered", 1000);
    indexed(0, 1, "a");
    indexed(0, 1, "a");
    captions_expect(&s, "frame_index=0|tenant_id=00000000-0000-4000-8000-000000000001|ocr_text=a|"
                        "caption_text=null\n");
}

/* Edge 13, mistake 10. */
Test(search_index, purged)
{
    video("VideoPurged", 5000);
    video("VideoRegistered", 1000);
    indexed(0, 1, "a secret");
    captioned(1, 1, "another");
    video("VideoRestored", 6000);
    captions_refuse(&s, "video_search_index|");
    cr_assert(pj_orders_agree(&s.orders, 100, 1));
}

/* Edge 14. */
Test(search_index, an_older_run_comes_late)
{
    video("VideoRegistered", 1000);
    indexed(0, 2, "new");
    indexed(0, 1, "old");
    captions_expect(&s, "ocr_text=new|");
}

/* A flow that is tried again may have found another text, or none. */
Test(search_index, a_run_tells_a_frame_again)
{
    video("VideoRegistered", 1000);
    indexed(0, 1, "z, first")->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(5000));
    indexed(0, 1, "a, then")->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(6000));
    captions_expect(&s, "ocr_text=a, then|");
    indexed(0, 1, NULL)->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(7000));
    captions_refuse(&s, "video_search_index|");
}

/* Edge 15, mistake 11: frames of a batch that failed are not told of and keep their text. */
Test(search_index, nothing_is_found_any_more)
{
    video("VideoRegistered", 1000);
    indexed(0, 1, "old");
    indexed(1, 1, "old");
    indexed(2, 1, "kept");
    indexed(0, 2, NULL);
    indexed(1, 2, NULL);
    captioned(1, 3000, "by hand");
    captions_refuse(&s, "frame_index=0|");
    captions_expect(&s, "frame_index=1|tenant_id=00000000-0000-4000-8000-000000000001|"
                        "ocr_text=null|caption_text=by hand");
    captions_expect(&s, "ocr_text=kept|");
}

/* Edge 16. */
Test(search_index, a_caption_alone)
{
    video("VideoRegistered", 1000);
    captioned(3, 2000, "late");
    captioned(3, 1000, "early");
    captions_expect(&s, "ocr_text=null|caption_text=late");
}

Test(search_index, of_another_tenant)
{
    indexed(0, 2, "stolen")->tenant_id = PJ_UUID(pj_orders_uuid(2));
    indexed(0, 1, "right");
    video("VideoRegistered", 1000);
    struct captions_video *e = video("VideoRegistered", 2000);
    e->tenant_id = PJ_UUID(pj_orders_uuid(2));
    e->storage_key = PJ_TEXT(captions_key(&s, e->tenant_id, e->video_id, "video.mp4"));
    captions_expect(&s, "ocr_text=right|");
    captions_refuse(&s, "stolen");
    e = video("VideoPurged", 3000);
    e->tenant_id = PJ_UUID(pj_orders_uuid(2));
    captions_expect(&s, "ocr_text=right|");
}

static void expect_foreign(int64_t count)
{
    cr_expect_eq(pj_orders_counted(&s.orders, 0, 0, false), count);
    cr_expect_eq(pj_orders_counted(&s.orders, 0, 0, true), count);
}

/* Each event of another tenant once: also two of one frame, and none that is delivered again. */
Test(search_index, what_another_tenant_says_is_counted)
{
    video("VideoRegistered", 1000);
    indexed(0, 1, "own");
    expect_foreign(0);
    indexed(0, 1, "stolen")->tenant_id = PJ_UUID(pj_orders_uuid(2));
    indexed(0, 2, "stolen")->tenant_id = PJ_UUID(pj_orders_uuid(2));
    struct captions_frame *e = captioned(0, 3000, "stolen");
    struct pj_uuid event_id = e->event_id;
    e->tenant_id = PJ_UUID(pj_orders_uuid(2));
    indexed(1, 2, NULL)->tenant_id = PJ_UUID(pj_orders_uuid(3));
    expect_foreign(4);
    e = captioned(0, 3000, "stolen");
    e->event_id = event_id;
    e->tenant_id = PJ_UUID(pj_orders_uuid(2));
    expect_foreign(4);
    captions_refuse(&s, "stolen");
}

/* Whose the video is may be known late, and another's after all. */
Test(search_index, it_is_counted_once_the_video_is_known)
{
    indexed(0, 1, "a")->tenant_id = PJ_UUID(pj_orders_uuid(2));
    captioned(0, 3000, "b")->tenant_id = PJ_UUID(pj_orders_uuid(2));
    indexed(1, 1, "own");
    expect_foreign(0);
    video("VideoRegistered", 1000);
    expect_foreign(2);
    video("VideoPurged", 5000);
    indexed(2, 1, "c")->tenant_id = PJ_UUID(pj_orders_uuid(2));
    expect_foreign(3);
}

Test(search_index, dead_letters)
{
    static char text[100002];
    memset(text, 'a', 100001);
    indexed(0, 1, text);
    captions_is_dead_letter(&s, "ocr_text has 100001 bytes, and 100000 are the most");
    captioned(0, 1, text);
    captions_is_dead_letter(&s, "caption_text has 100001 bytes");
    indexed(0, 1, "a")->video_id = PJ_UUID((const uint8_t[16]){0});
    captions_is_dead_letter(&s, "video_id is the nil UUID");
}

Test(search_index, every_order)
{
    captions_agree(&s, 80, 300, 5);
}

Test(search_index, orders_of_more_events)
{
    captions_agree_for(&pj_search_index, 100, 10);
}
