/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/check.h"

#include <criterion/criterion.h>

static const struct pj_field fields[] = {{"name", PJ_TEXT}, {"payload", PJ_JSONB}};
static const struct pj_source source = {.topic = "t", .fields = fields, .field_count = 2};

static bool takes(size_t field, const char *data, size_t length, const char *sqlstate)
{
    struct pj_error error = {0};
    struct pj_value values[2] = {{0}};
    values[field].present = true;
    values[field].text.data = data;
    values[field].text.length = length;
    if (pj_check_values(&source, values, true, &error) == 0)
        return true;
    cr_expect_eq(error.class, PJ_POISON);
    cr_expect_str_eq(error.sqlstate, sqlstate, "%s", error.message);
    cr_expect_not_null(strstr(error.message, fields[field].path));
    return false;
}

#define TAKES(field, text)             cr_assert(takes(field, text, sizeof(text) - 1, ""), text)
#define REFUSES(field, text, sqlstate) cr_assert(!takes(field, text, sizeof(text) - 1, sqlstate))

Test(check, texts_that_postgres_takes)
{
    TAKES(0, "");
    TAKES(0, "plain\x01\x7f");
    TAKES(0, "\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf");
    TAKES(0, "\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf");
}

Test(check, texts_that_postgres_refuses)
{
    REFUSES(0, "a\0b", "22021");
    REFUSES(0, "\x80", "22021");
    REFUSES(0, "\xc0\x80", "22021");         /* overlong */
    REFUSES(0, "\xe0\x9f\xbf", "22021");     /* overlong */
    REFUSES(0, "\xed\xa0\x80", "22021");     /* a surrogate */
    REFUSES(0, "\xf4\x90\x80\x80", "22021"); /* beyond U+10FFFF */
    REFUSES(0, "\xf5\x80\x80\x80", "22021");
    REFUSES(0, "caf\xc3", "22021"); /* cut */
    REFUSES(0, "\xe2\x82", "22021");
    REFUSES(0, "\xe2\x82\x41", "22021");
}

Test(check, json_that_jsonb_takes)
{
    TAKES(1, "{\"a\":[1,2.5,null,true,\"\xc3\xa9\"]}");
    TAKES(1, "\"text\"");
    TAKES(1, "123456789012345678901234567890");
    TAKES(1, "[-0,1E+2,1e-300,\"1e-20000\",\"\\\"1e-20000\",{\"1e-20000\":0}]");
}

Test(check, json_that_jsonb_refuses)
{
    REFUSES(1, "", "22P02");
    REFUSES(1, "{\"a\":", "22P02");
    REFUSES(1, "{\"a\":1} x", "22P02");
    REFUSES(1, "{\"a\":\"\\u0000\"}", "22P05");
    REFUSES(1, "{\"\\u0000\":1}", "22P05");
    REFUSES(1, "\"\\ud800\"", "22P02");
    REFUSES(1, "\"\xff\"", "22P02");
    REFUSES(1, "[1\0,2]", "22021");
    REFUSES(1, "1e400", "22003");
    REFUSES(1, "1e-20000", "22003");
    REFUSES(1, "{\"a\":[\"\\\\\",0E9999999999]}", "22003");
    char many[20000] = "0.";
    memset(many + 2, '1', sizeof many - 2);
    cr_assert(!takes(1, many, sizeof many, "22003"));
}

Test(check, json_is_left_to_postgres_where_it_always_meets_it)
{
    struct pj_error error = {0};
    struct pj_value values[2] = {pj_null(), pj_text("{")};
    cr_assert_eq(pj_check_values(&source, values, false, &error), 0);
}
