/* SPDX-License-Identifier: Apache-2.0 */
#include "base/jsonb.h"
#include "fold/check.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct pj_field fields[] = {{"name", PJ_TEXT}, {"payload", PJ_JSONB}};
static const struct pj_source source = {.topic = "t", .fields = fields, .field_count = 2};

static bool takes(size_t field, const char *data, size_t length, const char *sqlstate)
{
    struct pj_error error = {0};
    struct pj_value values[2] = {{0}};
    values[field].present = true;
    values[field].text.data = data;
    values[field].text.length = length;
    if (pj_check_values(&source, values, true, NULL, &error) == 0)
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

/* What is told without the parser is what the parser takes, whatever is done to a text. */
Test(check, json_is_told_as_the_parser_tells_it)
{
    static const char *const seeds[] = {
        "{\"prompt\": \"A lighthouse\", \"duration\": \"10s\"}",
        " [ -0.5 , 12 , true,false , null, {} , [ ], {\"a\\n\\\\\" :[\"\\u00e9\"]}]\t\r\n",
        "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"",
        "[[[[[[[[[[[[[[[[[[[[[[7]]]]]]]]]]]]]]]]]]]]]]",
        "[123456789012345, 1234567890123456789, 1.5E+3]",
    };
    static const char bytes[] = "{}[]\",:\\/ntrue0123456789.-+eE \t\n\x01\x7f\xc3\xa9\xed\xa0\x80";
    unsigned random = 7;
    size_t taken = 0;
    for (int i = 0; i < 200000; i++) {
        char text[128];
        const char *seed = seeds[i % 5];
        size_t length = strlen(seed);
        memcpy(text, seed, length);
        for (int edits = i / 5 % 3; edits > 0; edits--) {
            random = random * 1103515245 + 12345;
            size_t at = (random >> 16) % length;
            random = random * 1103515245 + 12345;
            if (random >> 30 == 0)
                memmove(text + at, text + at + 1, --length - at);
            else
                text[at] = bytes[(random >> 16) % sizeof bytes];
        }
        struct pj_jsonb_fault fault;
        json_t *tree =
            memchr(text, '\0', length) == NULL
                ? json_loadb(text, length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL)
                : NULL;
        bool holds = pj_jsonb_holds(text, length, &fault);
        cr_assert(tree != NULL || !holds, "%.*s", (int)length, text);
        /* Exponents may be what only Postgres refuses. */
        cr_assert(tree == NULL || holds || memchr(text, 'e', length) != NULL ||
                      memchr(text, 'E', length) != NULL,
                  "%.*s: %s", (int)length, text, fault.reason);
        taken += holds;
        json_decref(tree);
    }
    cr_assert_gt(taken, 50000);
    cr_assert_lt(taken, 150000);
}

Test(check, json_is_left_to_postgres_where_it_always_meets_it)
{
    struct pj_error error = {0};
    struct pj_value values[2] = {pj_null(), pj_text("{")};
    cr_assert_eq(pj_check_values(&source, values, false, NULL, &error), 0);
}

/* --- rules ----------------------------------------------------------------------------------- */

static const char *said(struct pj_field field, struct pj_value value)
{
    static struct pj_error error;
    const struct pj_source one = {.topic = "t", .fields = &field, .field_count = 1};
    error = (struct pj_error){0};
    static struct pj_arena *arena;
    pj_arena_free(arena);
    arena = pj_arena_new();
    return pj_check_values(&one, &value, true, arena, &error) == 0 ? "" : error.message;
}

Test(check, words)
{
    static const char *const words[] = {"open", "closed", NULL};
    const struct pj_field state = {"state", PJ_TEXT, .words = words};
    cr_assert_str_eq(said(state, pj_text("closed")), "");
    cr_assert_str_eq(said(state, pj_null()), "");
    cr_assert_str_eq(said(state, pj_text("close")),
                     "state is \"close\", but must be one of open, closed");
}

Test(check, bounds)
{
    const struct pj_field count = {"count", PJ_INT, .least = "1", .most = "10"};
    const struct pj_field part = {"part", PJ_DOUBLE, .least = "0", .most = "1"};
    const struct pj_field price = {"price", PJ_NUMERIC, .least = "0.01", .most = "100.5"};
    cr_assert_str_eq(said(count, pj_bigint(1)), "");
    cr_assert_str_eq(said(count, pj_bigint(10)), "");
    cr_assert_str_eq(said(count, pj_bigint(11)), "count is 11, but must be at most 10");
    cr_assert_str_eq(said(count, pj_bigint(-2)), "count is -2, but must be at least 1");
    cr_assert_str_eq(said(part, pj_double(1)), "");
    cr_assert_str_eq(said(part, pj_double(1.5)), "part is 1.5, but must be at most 1");
    cr_assert_neq(*said(part, pj_double((double)NAN)), '\0');
    cr_assert_str_eq(said(price, pj_text("100.500")), "");
    cr_assert_str_eq(said(price, pj_text("1e2")), "");
    cr_assert_str_eq(said(price, pj_text("100.51")), "price is 100.51, but must be at most 100.5");
    cr_assert_neq(*said(price, pj_text("NaN")), '\0');
}

Test(check, digits_of_a_numeric)
{
    const struct pj_field price = {"price", PJ_NUMERIC, .precision = 5, .scale = 2};
    cr_assert_str_eq(said(price, pj_text("-999.99")), "");
    cr_assert_str_eq(said(price, pj_text("0.10000")), "");
    cr_assert_str_eq(said(price, pj_text("0")), "");
    cr_assert_str_eq(said(price, pj_text("1e-2")), "");
    cr_assert_str_eq(said(price, pj_text("1000")), "price is 1000, but must fit a NUMERIC(5, 2)");
    cr_assert_str_eq(said(price, pj_text("0.001")), "price is 0.001, but must fit a NUMERIC(5, 2)");
}

static struct pj_value checked(struct pj_field field, struct pj_value value, struct pj_arena *arena)
{
    const struct pj_source one = {.topic = "t", .fields = &field, .field_count = 1};
    struct pj_error error = {0};
    cr_assert_eq(pj_check_values(&one, &value, true, arena, &error), 0, "%s", error.message);
    return value;
}

Test(check, digits_that_are_rounded)
{
    const struct pj_field price = {"price", PJ_NUMERIC, .precision = 5, .scale = 2,
                                   .rounded = true};
    static const char *const cases[][2] = {
        {"0.005", "0.01"},     {"-0.005", "-0.01"},   {"0.00499999", "0"},
        {"-0.004", "0"},       {"999.994", "999.99"}, {"1.50", "1.50"},
        {"1e-3", "0"},         {"9.9951", "10"},      {"0", "0"},
        {"12.345678", "12.35"}};
    struct pj_arena *arena = pj_arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pj_value is = checked(price, pj_text(cases[i][0]), arena);
        cr_expect(pj_text_is(&is, cases[i][1]), "%s: %.*s", cases[i][0], (int)is.text.length,
                  is.text.data);
        is = checked(price, is, arena);
        cr_expect(pj_text_is(&is, cases[i][1]), "again %s", cases[i][0]);
    }
    pj_arena_free(arena);
    cr_assert_str_eq(said(price, pj_text("NaN")), "price is NaN, but must fit a NUMERIC(5, 2)");
    cr_assert_str_eq(said(price, pj_text("1e5000")),
                     "price is 1e5000, but must fit a NUMERIC(5, 2)");
    cr_assert_str_eq(said(price, pj_text("999.996")),
                     "price is 1000, but must fit a NUMERIC(5, 2)");
}

Test(check, what_is_empty_is_null)
{
    const struct pj_field address = {"ip", PJ_TEXT, .form = PJ_FORM_INET, .empty_is_null = true};
    cr_assert_not(checked(address, pj_text(""), NULL).present);
    cr_assert(checked(address, pj_text("::1"), NULL).present);
    cr_assert_str_eq(said(address, pj_text(" ")), "ip is \" \", but must be an IP address");
}

Test(check, items_that_change_are_copied)
{
    static const struct pj_field name = {"", PJ_TEXT, .empty_is_null = true};
    static const struct pj_items names = {&name, 1};
    const struct pj_value given[] = {pj_text("a"), pj_text("")};
    struct pj_arena *arena = pj_arena_new();
    struct pj_value is =
        checked((struct pj_field){"names", .items = &names}, pj_items_of(given, 2, 1), arena);
    cr_assert(is.items.values[0].present && !is.items.values[1].present);
    cr_assert(given[1].present);
    pj_arena_free(arena);
}

static bool holds(enum pj_form form, const char *text)
{
    return *said((struct pj_field){"f", PJ_TEXT, .form = form}, pj_text(text)) == '\0';
}

Test(check, forms)
{
    cr_assert(holds(PJ_FORM_UUID, "0f0e0d0c-0b0a-4009-8807-060504030201"));
    cr_assert_not(holds(PJ_FORM_UUID, "0f0e0d0c"));
    cr_assert(holds(PJ_FORM_INET, "10.0.0.1") && holds(PJ_FORM_INET, "10.0.0.0/8"));
    cr_assert(holds(PJ_FORM_INET, "2001:db8::1") && holds(PJ_FORM_INET, "::/128"));
    cr_assert_not(holds(PJ_FORM_INET, "10.0.0") || holds(PJ_FORM_INET, "10.0.0.0/33") ||
                  holds(PJ_FORM_INET, "10.0.0.0/") || holds(PJ_FORM_INET, "10.0.0.0/8x"));
    cr_assert(holds(PJ_FORM_DATE, "2024-02-29"));
    cr_assert_not(holds(PJ_FORM_DATE, "2023-02-29") || holds(PJ_FORM_DATE, "24-2-9"));
    cr_assert(holds(PJ_FORM_TIME, "23:59:59") && holds(PJ_FORM_TIME, "00:00:00.123456"));
    cr_assert_not(holds(PJ_FORM_TIME, "24:00:00") || holds(PJ_FORM_TIME, "05:06:07Z"));
    cr_assert(holds(PJ_FORM_TIMESTAMP, "2026-11-21T05:06:34.5+01:00"));
    cr_assert_str_eq(said((struct pj_field){"at", PJ_TEXT, .form = PJ_FORM_DATE}, pj_text("soon")),
                     "at is \"soon\", but must be a date such as 2026-11-21");
}

Test(check, bytes_that_are_a_text)
{
    struct pj_value bytes = pj_text("caf\xc3\xa9");
    cr_assert(pj_bytes_text(&bytes).present);
    bytes = pj_text("caf\xc3");
    cr_assert_not(pj_bytes_text(&bytes).present);
}
