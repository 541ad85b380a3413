/* SPDX-License-Identifier: Apache-2.0 */
/* Pacing and the progress line: pure functions of time. */
#include "base/clock.h"
#include "base/progress.h"
#include "common/pace.h"
#include "common/turns.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SECOND_US = 1000000 };

/* Runs a clock that stands still while nothing waits; each wait takes `late_us` too long. */
static int64_t run(struct pj_pace *pace, int64_t events, int64_t late_us)
{
    int64_t now_us = pace->start_us;
    for (int64_t i = 0; i < events; i++) {
        int64_t wait_us;
        while ((wait_us = pj_pace_next(pace, now_us)) > 0)
            now_us += wait_us + late_us;
    }
    return now_us - pace->start_us;
}

Test(pace, keeps_the_rate)
{
    const int64_t rates[] = {1, 3, 7, 999, 50000, 1234567};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct pj_pace pace;
        pj_pace_start(&pace, rates[i], 42);
        int64_t spent_us = run(&pace, 10 * rates[i] + 1, 0);
        cr_assert(spent_us >= 10 * SECOND_US && spent_us <= 10 * SECOND_US + 1, "%lld",
                  (long long)spent_us);
    }
}

Test(pace, does_not_add_up_late_waits)
{
    struct pj_pace pace;
    pj_pace_start(&pace, 10000, 0);
    int64_t spent_us = run(&pace, 100001, 1700);
    cr_assert(spent_us >= 10 * SECOND_US && spent_us < 10 * SECOND_US + 2000, "%lld",
              (long long)spent_us);
}

Test(pace, does_not_burst_after_a_stall)
{
    struct pj_pace pace;
    pj_pace_start(&pace, 100, 0);
    cr_assert_eq(pj_pace_next(&pace, 0), 0);
    int64_t now_us = 60 * SECOND_US;
    cr_assert_eq(pj_pace_next(&pace, now_us), 0);
    cr_assert_eq(pj_pace_next(&pace, now_us), SECOND_US / 100);
}

Test(pace, without_a_rate_never_waits)
{
    struct pj_pace pace;
    pj_pace_start(&pace, 0, 0);
    cr_assert_eq(run(&pace, 1000, 5), 0);
}

static const struct pj_progress_state half = {
    .label = "publishing", .unit = "records", .done = 1234567, .total = 2469134, .rate = 10000};

static void renders(const struct pj_progress_state *state, int width, bool bar,
                    const char *expected)
{
    char line[256];
    pj_progress_render(line, sizeof line, state, width, bar);
    cr_assert(strcmp(line, expected) == 0, "got '%s'", line);
    cr_assert(strlen(line) <= (size_t)width);
}

Test(progress, draws_what_fits)
{
    renders(&half, 200, false,
            "publishing  50% 1,234,567/2,469,134 records, 10,000/s, 2m 03s left");
    renders(&half, 80, true,
            "publishing  50% [#####------] 1,234,567/2,469,134 records, 10,000/s, 2m 03s left");
    renders(&half, 60, true, "publishing  50% 1,234,567/2,469,134 records, 10,000/s");
    renders(&half, 20, true, "publishing  50%");
    renders(&half, 5, true, "");
}

Test(progress, leaves_out_what_it_does_not_know)
{
    struct pj_progress_state state = {.label = "reading", .unit = "records", .done = 999};
    renders(&state, 80, true, "reading 999 records");
    state.rate = 50;
    renders(&state, 80, true, "reading 999 records, 50/s");
    state.total = 999;
    renders(&state, 60, false, "reading 100% 999/999 records, 50/s");
}

Test(progress, says_no_time_left_while_nothing_moves)
{
    struct pj_progress_state state = {
        .label = "reading", .unit = "records", .done = 10, .total = 1000, .rate = 0.0000001};
    renders(&state, 200, false, "reading   1% 10/1,000 records");
    state.rate = 1;
    renders(&state, 200, false, "reading   1% 10/1,000 records, 1/s, 16m 30s left");
}

Test(progress, any_width_is_safe)
{
    char line[64];
    for (int width = -1; width < 300; width++) {
        for (size_t size = 1; size <= sizeof line; size++) {
            pj_progress_render(line, size, &half, width, true);
            cr_assert(strlen(line) < size);
            cr_assert(width <= 0 || strlen(line) <= (size_t)width);
        }
    }
}

Test(progress, times_are_for_people)
{
    char text[32];
    pj_progress_format_time(text, sizeof text, 59);
    cr_assert_str_eq(text, "59s");
    pj_progress_format_time(text, sizeof text, 61);
    cr_assert_str_eq(text, "1m 01s");
    pj_progress_format_time(text, sizeof text, 3 * 3600 + 120);
    cr_assert_str_eq(text, "3h 02m");
}

/* --- turns ----------------------------------------------------------------------------------- */

static bool count_turn(void *context, const struct pj_error *trouble)
{
    (void)trouble;
    return ++*(int *)context < 1000;
}

/* However long Kafka was away: clients of the gateway wait for it. */
Test(turns, back_off_for_a_second_at_the_most)
{
    int count = 0;
    const struct pj_turns turns = {count_turn, &count};
    int64_t start_ms = pj_clock_monotonic_ms();
    cr_assert(pj_turns_back_off(&turns, 30, NULL));
    int64_t wait_ms = pj_clock_monotonic_ms() - start_ms;
    cr_expect(wait_ms >= 500 && wait_ms < 2000, "%lld ms", (long long)wait_ms);
    cr_expect_geq(count, 3);
}
