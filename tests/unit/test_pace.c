/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules, latencies, other UUIDs, and the progress line: pure functions. */
#include "base/clock.h"
#include "base/progress.h"
#include "common/histogram.h"
#include "common/rekey.h"
#include "common/turns.h"
#include "stream-replay/schedule.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

Test(schedule, keeps_a_rate_whatever_was_late)
{
    const double rates[] = {1, 3, 7, 999, 50000, 1234567};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct pj_schedule schedule = {
            .kind = PJ_SCHEDULE_RATE, .rate = rates[i], .start_us = 42, .first = 10};
        cr_assert_eq(pj_schedule_due(&schedule, 10, 0), 42);
        /* A month later it is as exact as at the beginning. */
        int64_t month = (int64_t)(rates[i] * 30 * 86400);
        int64_t due_us = pj_schedule_due(&schedule, 10 + month, 0);
        cr_assert(llabs(due_us - 42 - INT64_C(30) * 86400 * 1000000) <= 1000000 / rates[i] + 1);
    }
}

Test(schedule, follows_the_recorded_times)
{
    struct pj_schedule schedule = {.kind = PJ_SCHEDULE_SPEED,
                                   .speed = 10,
                                   .start_us = 1000,
                                   .has_origin = true,
                                   .origin_ms = 5};
    cr_assert_eq(pj_schedule_due(&schedule, 0, 5), 1000);
    cr_assert_eq(pj_schedule_due(&schedule, 1, 25), 3000);
    /* One that is out of order is due with the one before it. */
    cr_assert_eq(pj_schedule_due(&schedule, 2, 7), 3000);
    cr_assert_eq(pj_schedule_due(&schedule, 3, 5 + INT64_C(90) * 86400 * 1000),
                 1000 + INT64_C(9) * 86400 * 1000000);
    /* One that is resumed begins where it was. */
    struct pj_schedule resumed = {.kind = PJ_SCHEDULE_SPEED, .speed = 0.5, .start_us = 7};
    cr_assert_eq(pj_schedule_due(&resumed, 1000, 123456), 7);
    cr_assert_eq(pj_schedule_due(&resumed, 1001, 123457), 2007);
    struct pj_schedule none = {.kind = PJ_SCHEDULE_MAX, .start_us = 7};
    cr_assert_eq(pj_schedule_due(&none, 1000, 5), 0);
}

Test(histogram, quantiles_are_within_a_thousandth)
{
    struct pj_histogram *histogram = pj_histogram_new();
    cr_assert_eq(pj_histogram_quantile(histogram, 0.5), 0);
    for (int64_t i = 1; i <= 100000; i++)
        pj_histogram_add(histogram, i);
    const double parts[] = {0.001, 0.5, 0.9, 0.99, 0.999, 1};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        double exact = parts[i] * 100000;
        double found = (double)pj_histogram_quantile(histogram, parts[i]);
        cr_assert(found >= exact && found <= exact * 1.001, "%f: %f", parts[i], found);
    }
    pj_histogram_add(histogram, -5);
    pj_histogram_add(histogram, INT64_MAX);
    cr_assert_eq(histogram->count, 100002);
    cr_assert_eq(pj_histogram_quantile(histogram, 1), INT64_C(24) * 3600 * 1000000);
    struct pj_histogram *other = pj_histogram_new();
    pj_histogram_merge(other, histogram);
    cr_assert_eq(other->count, 100002);
    pj_histogram_reset(histogram);
    cr_assert_eq(pj_histogram_quantile(histogram, 1), 0);
    pj_histogram_free(histogram);
    pj_histogram_free(other);
}

static void rekeyed(const char *from, int64_t round, char out[128])
{
    size_t length = strlen(from);
    memcpy(out, from, length + 1);
    pj_rekey((uint8_t *)out, length, round);
    cr_assert_eq(strlen(out), length);
}

Test(rekey, gives_the_same_for_the_same)
{
    static const char id[] = "0b5ccf1e-9d2c-4a3f-8c11-0123456789ab";
    static const char timed[] = "0191f0c0-1111-7abc-9def-0123456789ab";
    char one[128], two[128], both[128], other[128];
    rekeyed(id, 1, one);
    rekeyed(id, 2, two);
    cr_assert(strcmp(one, id) != 0 && strcmp(two, id) != 0 && strcmp(one, two) != 0);
    cr_assert(one[14] == '4' && strchr("89ab", one[19]) != NULL);
    rekeyed("{\"a\":\"0b5ccf1e-9d2c-4a3f-8c11-0123456789ab\",\"b\":"
            "\"0b5ccf1e-9d2c-4a3f-8c11-0123456789ab\"}",
            1, both);
    cr_assert(strncmp(both + 6, one, 36) == 0 && strncmp(both + 49, one, 36) == 0, "%s", both);
    rekeyed(timed, 1, other);
    cr_assert(strncmp(other, timed, 15) == 0 && strcmp(other, timed) != 0, "%s", other);
    /* upper case stays so; what is none is left */
    rekeyed("0B5CCF1E-9D2C-4A3F-8C11-0123456789AB", 1, other);
    cr_assert(strcasecmp(other, one) == 0 && strcmp(other, one) != 0);
    rekeyed("----------------------------------------", 1, other);
    cr_assert_str_eq(other, "----------------------------------------");
    rekeyed("0b5ccf1e-9d2c-4a3f-8c11-0123456789a", 1, other);
    cr_assert_str_eq(other, "0b5ccf1e-9d2c-4a3f-8c11-0123456789a");
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
