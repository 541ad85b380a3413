/* SPDX-License-Identifier: Apache-2.0 */
#include "base/decimal.h"

#include <criterion/criterion.h>
#include <string.h>

Test(decimal, a_number_is_its_sign_digits_and_point)
{
    static const struct {
        const char *text;
        int sign;
        const char *digits;
        int64_t point;
    } cases[] = {
        {"0", 0, "", 1},
        {"-0.000", 0, "", 1},
        {"1", 1, "1", 1},
        {"-1200", -1, "12", 4},
        {"+001200.00", 1, "12", 4},
        {"1.0200", 1, "102", 1},
        {"0.00305", 1, "305", -2},
        {".5", 1, "5", 0},
        {"25.", 1, "25", 2},
        {" 1_000.25\n", 1, "100025", 4},
        {"12.5e3", 1, "125", 5},
        {"12.5E-3", 1, "125", -1},
        {"1e99999999999", 1, "1", 1 + 9999999},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pj_decimal decimal;
        char digits[32] = "";
        cr_assert(pj_decimal_read(cases[i].text, strlen(cases[i].text), &decimal), "%s",
                  cases[i].text);
        const char *at = decimal.digits;
        size_t count = 0;
        for (char digit; (digit = pj_decimal_digit(&decimal, &at)) != '\0';)
            digits[count++] = digit;
        cr_expect_eq(decimal.sign, cases[i].sign, "%s", cases[i].text);
        cr_expect_str_eq(digits, cases[i].digits);
        cr_expect_eq(decimal.count, (int64_t)count, "%s", cases[i].text);
        if (decimal.sign != 0)
            cr_expect_eq(decimal.point, cases[i].point, "%s", cases[i].text);
    }
}

Test(decimal, what_is_no_decimal_number_is_refused)
{
    static const char *const texts[] = {"",     " ",     "-",   ".",  "NaN",  "Infinity",
                                        "0x1f", "1.2.3", "1 2", "e5", "1e5x", "_1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct pj_decimal decimal;
        cr_expect_not(pj_decimal_read(texts[i], strlen(texts[i]), &decimal), "%s", texts[i]);
    }
}
