/* SPDX-License-Identifier: Apache-2.0 */
/* The bridge's place in the stream: what is known, new, after a restart, after a gap. */
#include "telemetry-bridge/bookmark.h"
#include "telemetry-bridge/cursor.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct pj_track track;

static struct pj_place at(int64_t ms, int64_t counter, unsigned id)
{
    struct pj_place place = {0};
    char text[PJ_CURSOR_TEXT_SIZE];
    snprintf(text, sizeof text, "%lld-%lld", (long long)ms, (long long)counter);
    cr_assert(pj_place_parse(text, strlen(text), &place));
    memcpy(place.event_id + 8, &id, sizeof id);
    place.event_id[0] = 1;
    return place;
}

/* The frame of that counter: its id is the counter's. */
static struct pj_verdict see(int64_t ms, int64_t counter)
{
    struct pj_place place = at(ms, counter, (unsigned)counter);
    return pj_track_frame(&track, &place);
}

/* The same of the service's next life: other ids. */
static struct pj_verdict see_anew(int64_t ms, int64_t counter)
{
    struct pj_place place = at(ms, counter, 1000000 + (unsigned)counter);
    return pj_track_frame(&track, &place);
}

static const char *greet(int64_t ms, int64_t counter, struct pj_verdict *verdict)
{
    struct pj_place greeting = at(ms, counter, 0);
    return pj_track_connected(&track, &greeting, verdict);
}

static struct pj_verdict subscribed(void)
{
    return pj_track_subscribed(&track, 10000);
}

/* Has published the frames 1 to 5 of the milliseconds 101 to 105, and has lost the connection. */
static void start_behind_five(void)
{
    struct pj_position nothing = {0};
    struct pj_verdict verdict;
    pj_track_init(&track, &nothing);
    cr_assert_str_eq(greet(101, 1, &verdict), PJ_CURSOR_NONE);
    for (int i = 1; i <= 5; i++)
        cr_assert_eq(see(100 + i, i).step, PJ_TAKE);
    subscribed();
}

/* The same, but by a bridge that was started again: all it knows is the bookmark. */
static void start_again_behind_five(void)
{
    start_behind_five();
    struct pj_bookmark bookmark = {.instance = "x", .position = track.position}, read;
    struct pj_error error;
    char *text = pj_bookmark_write(&bookmark);
    pj_track_free(&track);
    cr_assert_eq(pj_bookmark_read((struct pj_bytes){text, strlen(text)}, &read, &error), 0);
    free(text);
    pj_track_init(&track, &read.position);
}

static void end(void)
{
    pj_track_free(&track);
}

static bool is_place(const char *text)
{
    struct pj_place place;
    return pj_place_parse(text, strlen(text), &place);
}

Test(cursor, is_two_integers)
{
    struct pj_place place;
    cr_assert(pj_place_parse("1795237594968-5", 15, &place));
    cr_assert_eq(place.ms, 1795237594968);
    cr_assert_eq(place.counter, 5);
    cr_assert_str_eq(place.text, "1795237594968-5");
    cr_assert(is_place("1-100") && is_place("0-0") && is_place("007-01"));
    cr_assert(is_place("9223372036854775807-9223372036854775807"));
    const char *const wrong[] = {"",
                                 "-",
                                 "1-",
                                 "-1",
                                 "1",
                                 "1-2-3",
                                 "a-1",
                                 "1-a",
                                 " 1-1",
                                 "1-1 ",
                                 "+1-1",
                                 "1--1",
                                 "1.0-1",
                                 "9223372036854775808-1",
                                 "1-99999999999999999999",
                                 "00000000000000000000000000000000000000000000000001-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_not(is_place(wrong[i]), "%s", wrong[i]);
}

Test(cursor, a_replay_repeats_the_last_frame_and_goes_on, .fini = end)
{
    struct pj_verdict verdict;
    for (int again = 0; again < 2; again++) {
        if (again)
            start_again_behind_five();
        else
            start_behind_five();
        cr_assert_str_eq(greet(107, 7, &verdict), "104-4");
        cr_assert_not(verdict.restarted);
        cr_assert_eq(see(105, 5).step, PJ_DROP);
        verdict = see(106, 6);
        cr_assert_eq(verdict.step, PJ_TAKE);
        cr_assert_not(verdict.gap || verdict.restarted);
        cr_assert_eq(see(106, 7).step, PJ_TAKE);
        verdict = subscribed();
        cr_assert_not(verdict.gap || verdict.restarted);
        cr_assert_eq(verdict.step, PJ_DROP);
        if (!again)
            end();
    }
}

Test(cursor, nothing_new_is_no_restart, .init = start_again_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    greet(105, 5, &verdict);
    cr_assert_eq(see(105, 5).step, PJ_DROP);
    verdict = subscribed();
    cr_assert_not(verdict.gap || verdict.restarted);
    cr_assert_eq(see(105, 6).step, PJ_TAKE); /* live, in the same millisecond */
}

Test(cursor, many_share_a_millisecond, .init = start_again_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    greet(105, 120, &verdict);
    see(105, 5);
    /* As text "105-10" comes before "105-9", and "105-100" before both. */
    for (int counter = 6; counter <= 120; counter++)
        cr_assert_eq(see(105, counter).step, PJ_TAKE, "%d", counter);
    for (int counter = 1; counter <= 120; counter++)
        cr_assert_eq(see(105, counter).step, PJ_DROP, "%d", counter);
}

Test(cursor, all_of_it_again_is_all_known, .init = start_again_behind_five, .fini = end)
{
    /* As of a service that does not find our cursor, though it has the frames. */
    struct pj_verdict verdict;
    greet(107, 7, &verdict);
    for (int i = 1; i <= 5; i++)
        cr_assert_eq(see(100 + i, i).step, PJ_DROP, "%d", i);
    verdict = see(107, 6);
    cr_assert_eq(verdict.step, PJ_TAKE);
    cr_assert_not(verdict.gap || verdict.restarted);
}

Test(cursor, a_gap_has_its_range, .init = start_again_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    greet(130, 30, &verdict);
    verdict = see(121, 21);
    cr_assert_eq(verdict.step, PJ_TAKE);
    cr_assert(verdict.gap);
    cr_assert_not(verdict.restarted);
    cr_assert_str_eq(verdict.gap_after.text, "105-5");
    cr_assert_str_eq(verdict.gap_before.text, "121-21");
    cr_assert_not(see(122, 22).gap);
    cr_assert_not(subscribed().gap);
}

Test(cursor, the_next_counter_is_no_gap, .init = start_again_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    greet(130, 30, &verdict);
    verdict = see(106, 6); /* our last frame was just forgotten */
    cr_assert_eq(verdict.step, PJ_TAKE);
    cr_assert_not(verdict.gap || verdict.restarted);
}

Test(cursor, a_smaller_counter_in_the_greeting_is_a_restart, .init = start_again_behind_five,
     .fini = end)
{
    struct pj_verdict verdict;
    cr_assert_str_eq(greet(200, 2, &verdict), PJ_CURSOR_NONE);
    cr_assert(verdict.restarted);
    verdict = see_anew(199, 1);
    cr_assert_eq(verdict.step, PJ_TAKE);
    cr_assert_not(verdict.gap || verdict.restarted);
    cr_assert_eq(see_anew(200, 2).step, PJ_TAKE);
    cr_assert_not(subscribed().gap);
    cr_assert_eq(see_anew(200, 2).step, PJ_DROP);
    cr_assert_str_eq(track.position.last.text, "200-2");
}

Test(cursor, a_restart_while_the_clock_was_set_back, .init = start_again_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    greet(50, 2, &verdict);
    cr_assert(verdict.restarted);
    cr_assert_eq(see_anew(49, 1).step, PJ_TAKE);
    cr_assert_eq(see_anew(50, 2).step, PJ_TAKE);
}

Test(cursor, the_same_counter_at_another_time_is_a_restart, .init = start_again_behind_five,
     .fini = end)
{
    struct pj_verdict verdict;
    greet(300, 5, &verdict);
    cr_assert(verdict.restarted);
}

Test(cursor, our_cursor_with_another_id_is_a_restart, .init = start_again_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    greet(105, 5, &verdict);
    cr_assert_not(verdict.restarted);
    verdict = see_anew(105, 5);
    cr_assert(verdict.restarted);
    cr_assert_eq(verdict.step, PJ_TAKE);
}

Test(cursor, an_empty_buffer_is_a_restart_whatever_was_burned, .init = start_again_behind_five,
     .fini = end)
{
    struct pj_verdict verdict;
    greet(900, 60, &verdict); /* sixty connections found it empty */
    cr_assert_not(verdict.restarted);
    verdict = subscribed();
    cr_assert(verdict.restarted);
    verdict = see_anew(901, 62);
    cr_assert_eq(verdict.step, PJ_TAKE);
    cr_assert_not(verdict.gap || verdict.restarted);
}

Test(cursor, a_restart_that_overtook_us, .init = start_again_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    cr_assert_str_eq(greet(210, 9, &verdict), "104-4");
    cr_assert_not(verdict.restarted);
    verdict = see_anew(201, 1);
    cr_assert(verdict.restarted);
    cr_assert_eq(verdict.step, PJ_TAKE);
    cr_assert_not(verdict.gap);
    for (int counter = 2; counter <= 9; counter++)
        cr_assert_eq(see_anew(201 + counter, counter).step, PJ_TAKE, "%d", counter);
    cr_assert_not(subscribed().gap);
}

Test(cursor, a_restart_that_overtook_us_with_its_clock_set_back, .init = start_again_behind_five,
     .fini = end)
{
    struct pj_verdict verdict;
    greet(59, 9, &verdict);
    /* Known or another life? Nothing is taken until it is certain, and then all of it. */
    for (int counter = 1; counter <= 4; counter++)
        cr_assert_eq(see_anew(50 + counter, counter).step, PJ_DROP);
    verdict = see_anew(55, 5);
    cr_assert_eq(verdict.step, PJ_RECONNECT);
    cr_assert(verdict.restarted);
    cr_assert_str_eq(greet(59, 9, &verdict), PJ_CURSOR_NONE);
    cr_assert_not(verdict.restarted); /* it was told */
    for (int counter = 1; counter <= 9; counter++)
        cr_assert_eq(see_anew(50 + counter, counter).step, PJ_TAKE, "%d", counter);
}

Test(cursor, a_clock_set_back_loses_nothing, .init = start_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    cr_assert_eq(see(90, 6).step, PJ_TAKE); /* live */
    cr_assert_eq(see(91, 7).step, PJ_TAKE);
    cr_assert_str_eq(greet(93, 9, &verdict), "90-6");
    cr_assert_not(verdict.restarted);
    cr_assert_eq(see(91, 7).step, PJ_DROP);
    cr_assert_eq(see(80, 8).step, PJ_TAKE); /* and back once more */
    cr_assert_eq(see(93, 9).step, PJ_TAKE);
    cr_assert_not(subscribed().restarted);
}

Test(cursor, a_restart_that_lost_its_beginning_is_a_gap, .init = start_again_behind_five,
     .fini = end)
{
    struct pj_verdict verdict;
    greet(200, 4, &verdict);
    for (int counter = 2; counter <= 4; counter++)
        see_anew(200, counter);
    verdict = pj_track_subscribed(&track, 3); /* its buffer is full */
    cr_assert(verdict.gap);
    cr_assert_str_eq(verdict.gap_after.text, "105-5");
    cr_assert_str_eq(verdict.gap_before.text, "200-2");
}

Test(cursor, an_id_is_taken_once_whatever_its_cursor, .init = start_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    struct pj_place again = at(200, 1, 3);
    greet(200, 1, &verdict);
    cr_assert(verdict.restarted);
    cr_assert_eq(pj_track_frame(&track, &again).step, PJ_DROP);
    cr_assert_eq(pj_track_id(&track, again.event_id).step, PJ_DROP);
}

Test(cursor, an_id_that_comes_again_hides_no_restart, .init = start_again_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    struct pj_place again = at(200, 5, 4); /* of 104-4 */
    greet(300, 30, &verdict);
    verdict = pj_track_frame(&track, &again);
    cr_assert(verdict.restarted);
    cr_assert_eq(verdict.step, PJ_DROP);
    verdict = see_anew(201, 6);
    cr_assert_eq(verdict.step, PJ_TAKE);
    cr_assert_not(verdict.gap);
}

Test(cursor, ids_are_remembered_for_longer_than_the_buffer, .fini = end)
{
    struct pj_position nothing = {0};
    pj_track_init(&track, &nothing);
    for (unsigned i = 1; i <= 100000; i++) {
        struct pj_place place = at(1, i, i);
        cr_assert_eq(pj_track_id(&track, place.event_id).step, PJ_TAKE);
    }
    for (unsigned i = 100000 - 12000; i <= 100000; i++) {
        struct pj_place place = at(1, i, i);
        cr_assert_eq(pj_track_id(&track, place.event_id).step, PJ_DROP, "%u", i);
    }
}

Test(cursor, a_service_without_cursors_never_restarts, .init = start_again_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    pj_track_connected(&track, NULL, &verdict);
    cr_assert_not(verdict.restarted);
    cr_assert_not(subscribed().restarted);
}

static struct pj_verdict see_mark(uint8_t byte)
{
    struct pj_mark mark = {{byte}};
    return pj_track_mark(&track, &mark);
}

Test(cursor, frames_without_a_cursor_come_once, .init = start_behind_five, .fini = end)
{
    struct pj_verdict verdict;
    cr_assert_eq(see_mark(1).step, PJ_TAKE);
    cr_assert_eq(see(106, 6).step, PJ_TAKE);
    cr_assert_eq(see_mark(2).step, PJ_TAKE);
    cr_assert_eq(see_mark(2).step, PJ_TAKE); /* live: twice is twice */
    greet(107, 7, &verdict);
    cr_assert_eq(see_mark(1).step, PJ_DROP);
    cr_assert_eq(see(106, 6).step, PJ_DROP);
    cr_assert_eq(see_mark(2).step, PJ_DROP);
    cr_assert_eq(see_mark(2).step, PJ_DROP);
    cr_assert_eq(see_mark(2).step, PJ_TAKE); /* a third one */
    cr_assert_eq(see(107, 7).step, PJ_TAKE);
    subscribed();
    cr_assert_eq(see_mark(1).step, PJ_TAKE);
}

Test(bookmark, keeps_all_of_a_position, .init = start_behind_five, .fini = end)
{
    struct pj_error error;
    see_mark(7);
    see(106, 6);
    see_mark(8);
    see_mark(9);
    struct pj_bookmark bookmark = {
        .instance = "i", .sequence = INT64_C(1) << 60, .position = track.position};
    struct pj_bookmark read;
    char *text = pj_bookmark_write(&bookmark);
    cr_assert_eq(pj_bookmark_read((struct pj_bytes){text, strlen(text)}, &read, &error), 0);
    cr_assert_eq(read.sequence, bookmark.sequence);
    cr_assert_str_eq(read.position.last.text, "106-6");
    cr_assert_str_eq(read.position.previous.text, "105-5");
    cr_assert_eq(memcmp(read.position.last.event_id, bookmark.position.last.event_id, 16), 0);
    cr_assert_eq(read.position.after_last.count, 2);
    cr_assert_eq(read.position.before_last.count, 1);
    cr_assert_eq(read.position.after_last.marks[1].bytes[0], 9);
    free(text);
}

Test(bookmark, what_is_none_is_refused)
{
    const char *const wrong[] = {"",
                                 "null",
                                 "[]",
                                 "{}",
                                 "{\"format\":2,\"instance\":\"x\"}",
                                 "{\"format\":1,\"instance\":\"x\",\"sequence\":1,\"last\":3}",
                                 "{\"format\":1,\"instance\":\"x\",\"sequence\":1,"
                                 "\"last\":{\"cursor\":\"1-1\",\"event_id\":\"no\"}}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct pj_bookmark bookmark;
        struct pj_error error;
        struct pj_bytes value = {wrong[i], strlen(wrong[i])};
        cr_assert_eq(pj_bookmark_read(value, &bookmark, &error), -1, "%s", wrong[i]);
    }
}

Test(bookmark, one_that_is_too_long_is_refused)
{
    static char text[70000];
    struct pj_bookmark bookmark;
    struct pj_error error;
    memset(text, ' ', sizeof text);
    cr_assert_eq(pj_bookmark_read((struct pj_bytes){text, sizeof text}, &bookmark, &error), -1);
    cr_assert_not_null(strstr(error.message, "70000 bytes"), "%s", error.message);
}
