/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <criterion/criterion.h>
#include <string.h>

Test(utf8, the_length_of_a_character_is_told_where_it_is_well_formed)
{
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"a", 1},
        {"\x7f", 1},
        {"\xc2\x80", 2},
        {"\xe0\xa0\x80", 3},
        {"\xed\x9f\xbf", 3},
        {"\xef\xbf\xbf", 3},
        {"\xf0\x90\x80\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\x80", 0},
        {"\xc1\xbf", 0},         /* overlong */
        {"\xe0\x9f\xbf", 0},     /* overlong */
        {"\xed\xa0\x80", 0},     /* a surrogate */
        {"\xf0\x8f\xbf\xbf", 0}, /* overlong */
        {"\xf4\x90\x80\x80", 0}, /* beyond U+10FFFF */
        {"\xf5\x80\x80\x80", 0},
        {"\xc3", 0},
        {"\xe2\x82", 0},
        {"\xf0\x9f\x98", 0},
        {"\xe2\x82x", 0},
        {"\xc3(", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(pj_utf8_length(cases[i].text, strlen(cases[i].text)), cases[i].length, "%zu",
                     i);
    cr_expect_eq(pj_utf8_length("\xe2\x82\xac", 2), 0);
    cr_expect_eq(pj_utf8_length("", 1), 1);
}

Test(utf8, characters_are_counted_and_none_is_cut)
{
    static const char text[] = "a€😀é";
    cr_expect_eq(pj_utf8_count(text, strlen(text)), 4);
    static const size_t cuts[] = {0, 1, 1, 1, 4, 4, 4, 4, 8, 8, 10, 10};
    for (size_t most = 0; most < sizeof cuts / sizeof cuts[0]; most++)
        cr_expect_eq(pj_utf8_cut(text, strlen(text), most), cuts[most], "%zu", most);
}

Test(utf8, control_characters_are_known)
{
    cr_expect_eq(pj_utf8_control("\n"), 10);
    cr_expect_eq(pj_utf8_control("\x7f"), 0x7f);
    cr_expect_eq(pj_utf8_control("\xc2\x9b"), 0x9b);
    cr_expect_eq(pj_utf8_control("\xc2\xa0"), -1);
    cr_expect_eq(pj_utf8_control("\xc3\x89"), -1);
    cr_expect_eq(pj_utf8_control("a"), -1);
}

Test(utf8, what_is_put_is_well_formed)
{
    static const uint32_t codes[] = {0x24, 0xa2, 0x20ac, 0x1f600, 0x10ffff};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        char bytes[4];
        size_t length = pj_utf8_put(bytes, codes[i]);
        cr_expect_eq(pj_utf8_length(bytes, length), length);
    }
    char euro[4];
    cr_expect_eq(pj_utf8_put(euro, 0x20ac), 3);
    cr_expect_arr_eq(euro, "€", 3);
}
