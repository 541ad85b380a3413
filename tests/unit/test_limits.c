/* SPDX-License-Identifier: Apache-2.0 */
#include "store/limits.h"

#include <criterion/criterion.h>

/* Whether a column of the type that holds `most` takes the value. */
static bool takes(enum pj_type type, int most, struct pj_value value)
{
    const struct pj_column columns[] = {{"id", PJ_UUID, .key = true}, {"price", type}};
    const struct pj_table table = {.name = "things", .columns = columns, .column_count = 2};
    const struct pj_limit limits[] = {{0}, {.set = true, .most = most}};
    const struct pj_value row[] = {pj_null(), value};
    struct pj_error error = {0};
    if (pj_limits_check(limits, &table, row, &error) == 0)
        return true;
    cr_expect_eq(error.class, PJ_POISON);
    cr_expect_not_null(strstr(error.message, "the column price of things holds"));
    return false;
}

static bool takes_number(int scale, const char *number)
{
    return takes(PJ_NUMERIC, scale, pj_text(number));
}

Test(limits, numbers_that_would_be_rounded)
{
    static const char *const fit[] = {"0",       "1.25",  "-1.2500",  "1.25e0", "125e-2",   "1e300",
                                      "0.00000", "0e-99", "12.5e-1",  "NaN",    "Infinity", " 7 ",
                                      "0x1f",    "",      "1_000.25", ".25",    "25."};
    static const char *const round[] = {"1.255", "-0.001", "1255e-3",   "1.2e-2",
                                        ".001",  "1E-300", "0.0100001", "12.345e-000000000001"};
    for (size_t i = 0; i < sizeof fit / sizeof fit[0]; i++)
        cr_expect(takes_number(2, fit[i]), "%s", fit[i]);
    for (size_t i = 0; i < sizeof round / sizeof round[0]; i++)
        cr_expect(!takes_number(2, round[i]), "%s", round[i]);
    cr_expect(takes_number(-2, "100") && takes_number(-2, "1e2") && takes_number(-2, "0"));
    cr_expect(!takes_number(-2, "110") && !takes_number(-2, "1e1") && !takes_number(0, "0.5"));
}

Test(limits, times_that_would_be_rounded)
{
    cr_expect(takes(PJ_TIMESTAMPTZ, 3, pj_timestamp(1500000123000)));
    cr_expect(!takes(PJ_TIMESTAMPTZ, 3, pj_timestamp(1500000123001)));
    cr_expect(!takes(PJ_TIMESTAMPTZ, 0, pj_timestamp(-1)));
    cr_expect(takes(PJ_TIMESTAMPTZ, 0, pj_timestamp(-7000000)) &&
              takes(PJ_TIMESTAMPTZ, 0, pj_timestamp(0)) &&
              takes(PJ_TIMESTAMPTZ, 0, pj_timestamp(INT64_MAX)) &&
              takes(PJ_TIMESTAMPTZ, 0, pj_timestamp(INT64_MIN)));
}

Test(limits, texts_that_would_be_cut)
{
    cr_expect(takes(PJ_TEXT, 3, pj_text("äöü")) && takes(PJ_TEXT, 3, pj_text("a  ")));
    cr_expect(!takes(PJ_TEXT, 3, pj_text("a   ")) && !takes(PJ_TEXT, 3, pj_text("äöü ")));
    cr_expect(takes(PJ_TEXT, 3, pj_null()));
}
