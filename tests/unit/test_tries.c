/* SPDX-License-Identifier: Apache-2.0 */
/* What comes after a try that failed. */
#include "base/back_off.h"
#include "base/text.h"
#include "store/unit.h"

#include <criterion/criterion.h>

static enum pj_next after(struct pj_tries *tries, bool divisible, enum pj_error_class class,
                          const char *sqlstate)
{
    struct pj_error error = {.class = class};
    pj_text_whole(error.sqlstate, sizeof error.sqlstate, "%s", sqlstate);
    return pj_tries_next(tries, divisible, &error);
}

Test(tries, each_kind_is_tried_at_once_as_often_as_helps)
{
    static const struct {
        enum pj_error_class class;
        const char *sqlstate;
        int times;
        enum pj_next then;
    } cases[] = {
        {PJ_RETRY, "40001", 8, PJ_LATER},    /* the other side of the conflict goes on */
        {PJ_RETRY, "40P01", 8, PJ_LATER},    /* likewise */
        {PJ_RETRY, "23505", 8, PJ_LATER},    /* another transaction claimed the entity */
        {PJ_POISON, "23503", 8, PJ_REFUSED}, /* a parent is gone */
        {PJ_POISON, "23505", 1, PJ_REFUSED}, /* a duplicate */
        {PJ_POISON, "22003", 0, PJ_REFUSED}, {PJ_POISON, "", 0, PJ_REFUSED},
        {PJ_RETRY, "57P01", 0, PJ_LATER},    {PJ_RETRY, "", 0, PJ_LATER},
        {PJ_FENCED, "PJ001", 0, PJ_GIVE_UP}, {PJ_FATAL, "42P01", 0, PJ_GIVE_UP},
        {PJ_FATAL, "23505", 0, PJ_GIVE_UP},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pj_tries tries = {0};
        for (int n = 0; n < cases[i].times; n++)
            cr_expect_eq(after(&tries, false, cases[i].class, cases[i].sqlstate), PJ_AGAIN,
                         "%s, time %d", cases[i].sqlstate, n);
        cr_expect_eq(after(&tries, false, cases[i].class, cases[i].sqlstate), cases[i].then, "%s",
                     cases[i].sqlstate);
    }
}

Test(tries, one_kind_tells_nothing_of_another)
{
    struct pj_tries tries = {0};
    for (int n = 0; n < 8; n++)
        cr_expect_eq(after(&tries, false, PJ_RETRY, "40001"), PJ_AGAIN);
    cr_expect_eq(after(&tries, false, PJ_POISON, "23503"), PJ_AGAIN);
    cr_expect_eq(after(&tries, false, PJ_POISON, "23505"), PJ_AGAIN);
    cr_expect(tries.duplicates && tries.parents == 1, "the next try is to know");
}

Test(tries, a_wait_begins_anew_but_for_what_must_be_loaded_whole)
{
    struct pj_tries tries = {.conflicts = 8, .parents = 3, .duplicates = true, .whole = true};
    cr_expect_eq(after(&tries, false, PJ_RETRY, "40001"), PJ_LATER);
    cr_expect(tries.conflicts == 0 && tries.parents == 0 && !tries.duplicates && tries.whole);
}

Test(tries, what_is_too_large_is_divided_and_only_then_loaded_whole)
{
    struct pj_tries tries = {0};
    cr_expect_eq(after(&tries, true, PJ_POISON, "PJ002"), PJ_REFUSED);
    cr_expect_not(tries.whole);
    cr_expect_eq(after(&tries, false, PJ_POISON, "PJ002"), PJ_AGAIN);
    cr_expect(tries.whole);
    cr_expect_eq(after(&tries, false, PJ_POISON, "PJ002"), PJ_REFUSED);
}

Test(back_off, doubles_up_to_five_seconds_of_which_half_is_chance)
{
    static const int64_t most[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    for (int failures = 0; failures < 9; failures++) {
        for (int n = 0; n < 100; n++) {
            int64_t wait = pj_back_off_ms(failures, 5000);
            cr_expect(wait >= most[failures] / 2 && wait <= most[failures], "%d: %lld", failures,
                      (long long)wait);
        }
    }
    cr_expect_leq(pj_back_off_ms(1000000, 5000), 5000);
    cr_expect_geq(pj_back_off_ms(1000000, 3600000), 1800000);
}
