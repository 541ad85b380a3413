/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of video_objects, by their rows in every order. */
#include "lib/captions_orders.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct captions_orders s;

static void start(void)
{
    s = captions_orders_start(&pj_object_catalog);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(object_catalog, .init = start, .fini = stop);

#define ID(last) "00000000-0000-4000-8000-00000000000" last
#define FOLDER   ID("1") "/" ID("a") "/"

static struct captions_object *stored(const char *file, int64_t ms)
{
    struct captions_object *e = CAPTIONS_EVENT(&s, captions_object, "objects", NULL, ms);
    e->bucket = PJ_TEXT("b");
    e->key = PJ_TEXT(captions_key(&s, e->tenant_id, e->video_id, file));
    e->size_bytes = PJ_BIGINT(5);
    e->etag = PJ_TEXT("e");
    return e;
}

static struct captions_object *removed(const char *file, int64_t ms)
{
    struct captions_object *e = stored(file, ms);
    e->operation = PJ_TEXT("removed");
    e->size_bytes = PJ_BIGINT(pj_null());
    e->etag = PJ_TEXT(pj_null());
    return e;
}

/* Edge 26. */
Test(object_catalog, sequencers_are_numbers)
{
    removed("video.db", 1000)->sequencer = PJ_TEXT("A");
    stored("video.db", 2000)->sequencer = PJ_TEXT("9");
    captions_expect(&s, "|kind=video.db|size_bytes=null|etag=e|stored_at=2000000|"
                        "removed_at=1000000");
    stored("video.db", 500)->sequencer = PJ_TEXT("0055AED6DCD90281E5");
    captions_expect(&s, "|kind=video.db|size_bytes=5|etag=e|stored_at=500000|removed_at=null");
    removed("video.db", 9000); /* without one it is older than those with one */
    captions_expect(&s, "|size_bytes=5|");
    stored("video.db", 1)->sequencer = PJ_TEXT("0000ffffffffffffffffffffffffffffffff");
    captions_expect(&s, "|stored_at=1000|");
}

/* Edge 27. */
Test(object_catalog, of_a_video_that_nobody_knows)
{
    stored("layout.db", 1000);
    captions_expect(&s, "|tenant_id=" ID("1") "|video_id=" ID("a") "|bucket=b|key=" FOLDER
                                                                   "layout.db|kind=layout.db|");
    stored("x", 1000)->key = PJ_TEXT("backups/1.tar");
    captions_expect(&s, "|tenant_id=null|video_id=null|bucket=b|key=backups/1.tar|kind=other|");
}

/* Edge 28, and the other kinds. */
Test(object_catalog, kinds)
{
    static const char *const kinds[][2] = {
        {"cropped_frames/chunk_0000.webm", "chunk"},
        {"cropped_frames_v2/modulo_32/chunk_0000.webm", "chunk"},
        {"cropped_frames_v2/chunk_0000.webm", "other"},
        {"cropped_frames/chunk_00000.webm", "other"},
        {"cropped_frames/chunk_0000.webm.tmp", "other"},
        {"video.mp4", "video"},
        {"holiday.mov", "video"},
        {"notes/clip.mp4", "other"},
        {".mp4", "other"},
        {"fullOCR.db", "fullOCR.db"},
        {"captions.db", "captions.db"},
        {"state.db", "other"},
        {"cropping.db", "other"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char text[256];
        stored(kinds[i][0], 1000 + (int64_t)i);
        (void)snprintf(text, sizeof text, "|key=" FOLDER "%s|kind=%s|", kinds[i][0], kinds[i][1]);
        char *rows = pj_orders_rows(&s.orders, false);
        cr_expect_not_null(strstr(rows, text), "%s is not in\n%s", text, rows);
        free(rows);
    }
    cr_assert(pj_orders_agree(&s.orders, 20, 1));
}

Test(object_catalog, its_key_says_whose_it_is)
{
    struct captions_object *e = stored("layout.db", 1000);
    e->tenant_id = PJ_UUID(pj_null());
    e->video_id = PJ_UUID(pj_null());
    captions_expect(&s, "|tenant_id=" ID("1") "|video_id=" ID("a") "|");
    CAPTIONS_EVENT(&s, captions_video, "videos", "VideoRegistered", 1000);
    captions_expect(&s, "|tenant_id=" ID("1") "|video_id=" ID("a") "|");
    CAPTIONS_EVENT(&s, captions_video, "videos", "VideoPurged", 1000);
    captions_refuse(&s, "video_objects|");
    cr_assert(pj_orders_agree(&s.orders, 100, 1));
}

Test(object_catalog, of_another_tenant)
{
    struct captions_object *e = stored("video.mp4", 2000);
    e->tenant_id = PJ_UUID(pj_orders_uuid(2));
    stored("video.mp4", 1000)->size_bytes = PJ_BIGINT(7);
    captions_expect(&s, "|size_bytes=5|");
    CAPTIONS_EVENT(&s, captions_video, "videos", "VideoRegistered", 1000);
    captions_expect(&s, "|size_bytes=7|");
}

Test(object_catalog, dead_letters)
{
    stored("a", 1)->bucket = PJ_TEXT("a/b");
    captions_is_dead_letter(&s, "bucket has a slash");
    stored("a", 1)->sequencer = PJ_TEXT("xyz");
    captions_is_dead_letter(&s, "sequencer is not a hexadecimal number of up to 128 bits");
    stored("a", 1)->sequencer = PJ_TEXT("1ffffffffffffffffffffffffffffffff");
    captions_is_dead_letter(&s, "sequencer is not a hexadecimal number of up to 128 bits");
    stored("a", 1)->key.text.length = 1025;
    captions_is_dead_letter(&s, "key has 1025 bytes, and 1024 are the most");
}

Test(object_catalog, every_order)
{
    captions_agree(&s, 80, 300, 9);
}

Test(object_catalog, orders_of_more_events)
{
    captions_agree_for(&pj_object_catalog, 100, 10);
}
