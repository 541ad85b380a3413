/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of platform_activity and platform_last_command, by their rows in every order. */
#include "lib/safari_orders.h"
#include "sixth/platform.h"

#include <criterion/criterion.h>

static struct safari_orders s;

enum { HOUR = 3600000 };

static void start(void)
{
    s = safari_orders_start(&pj_platform_activity);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(platform_activity, .init = start, .fini = stop);

static void submit(unsigned command, int64_t ms, const char *platform)
{
    struct safari_command *v = safari_submitted(&s, command, ms, "flow.run", NULL);
    v->platform = PJ_TEXT(platform);
}

Test(platform_activity, a_command_counts_on_the_day_it_was_submitted)
{
    submit(1, 23 * HOUR, "sora");
    submit(2, 24 * HOUR, "sora");
    safari_status(&s, 1, 25 * HOUR, "SUCCEEDED", NULL, NULL);
    safari_expect(&s, "platform_activity|platform=sora|day=0|submitted=1|succeeded=1|failed=0\n"
                      "platform_activity|platform=sora|day=86400000000|submitted=1|succeeded=0|"
                      "failed=0\n");
}

Test(platform_activity, the_last_status_counts)
{
    submit(1, 0, "sora");
    safari_status(&s, 1, 2000, "FAILED", NULL, "oh");
    safari_expect(&s, "submitted=1|succeeded=0|failed=1\n");
    safari_status(&s, 1, 3000, "SUCCEEDED", NULL, NULL);
    safari_expect(&s, "submitted=1|succeeded=1|failed=0\n");
}

Test(platform_activity, the_earliest_submission_counts)
{
    submit(1, 5000, "flow");
    submit(1, 1000, "sora");
    safari_expect(&s, "platform_activity|platform=sora|day=0|submitted=1|");
    char *rows = pj_orders_rows(&s.orders, false);
    cr_assert_null(strstr(rows, "platform_activity|platform=flow"), "an empty bucket is left");
    free(rows);
}

Test(platform_activity, the_last_command_of_each_platform)
{
    submit(1, 1000, "sora");
    submit(2, 2000, "sora");
    submit(3, 3000, "flow");
    submit(4, 4000, NULL);
    safari_expect(&s, "platform=flow|command_id=00000000-0000-4000-8000-000000000003|");
    safari_expect(&s, "platform=sora|command_id=00000000-0000-4000-8000-000000000002|"
                      "type=flow.run|submitted_at=2000000\n");
}

Test(platform_activity, order_independence)
{
    safari_orders_mixture(&s, 40, 1);
    cr_assert(pj_orders_agree(&s.orders, 1000, 42));
}
