/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/loop.h"

#include <criterion/criterion.h>

static int64_t pace(size_t records, int64_t since_ms)
{
    static struct pj_loop loop;
    loop.begun_ms = 1000000;
    loop.begun_with = records;
    return pj_loop_pace(&loop, loop.begun_ms + since_ms);
}

Test(loop, records_that_come_fast_share_a_transaction)
{
    cr_assert_eq(pace(PJ_PACE_RECORDS + 1, 0), PJ_PACE_MS);
    cr_assert_eq(pace(PJ_PACE_RECORDS + 1, PJ_PACE_MS - 1), 1);
    cr_assert_eq(pace(5000, 2), PJ_PACE_MS - 2);
}

Test(loop, nothing_waits_after_its_time_or_for_few)
{
    cr_assert_eq(pace(5000, PJ_PACE_MS), 0);
    cr_assert_eq(pace(5000, 60000), 0);
    cr_assert_eq(pace(PJ_PACE_RECORDS, 0), 0);
    cr_assert_eq(pace(0, 0), 0);
}
