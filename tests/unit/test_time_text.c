/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time_text.h"

#include <criterion/criterion.h>

static void expect(int64_t time, int digits, const char *wanted)
{
    char text[PJ_TIME_TEXT_SIZE];
    cr_assert(pj_time_format(text, time, digits), "%s", wanted);
    cr_expect_str_eq(text, wanted);
}

Test(time_text, times_are_written_as_rfc_3339)
{
    expect(0, 3, "1970-01-01T00:00:00.000Z");
    expect(1795237594968, 3, "2026-11-21T05:06:34.968Z");
    expect(-1, 3, "1969-12-31T23:59:59.999Z");
    expect(-1000, 3, "1969-12-31T23:59:59.000Z");
    expect(-1, 6, "1969-12-31T23:59:59.999999Z");
    expect(1, 9, "1970-01-01T00:00:00.000000001Z");
    expect(INT64_MIN, 9, "1677-09-21T00:12:43.145224192Z");
    expect(INT64_MAX, 3, "292278994-08-17T07:12:55.807Z");
    expect(INT64_MIN, 3, "-292275055-05-16T16:47:04.192Z");
}

Test(time_text, what_no_calendar_reaches_is_not_written)
{
    char text[PJ_TIME_TEXT_SIZE];
    cr_assert_not(pj_time_format(text, INT64_MAX, 0));
}

Test(time_text, what_is_written_is_read_back)
{
    char text[PJ_TIME_TEXT_SIZE];
    struct pj_error error;
    int64_t read;
    cr_assert(pj_time_format(text, 1795237594968123, 6));
    cr_assert_eq(pj_time_parse("--since", text, &read, &error), 0);
    cr_assert_eq(read, 1795237594968123);
}
