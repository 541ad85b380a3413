/* SPDX-License-Identifier: Apache-2.0 */
/* Times, UUIDs, decimals, lengths and presence, out of what a writer may have written for them. */
#include "unit/encode.h"

TestSuite(decode_types, .init = given_start, .fini = given_stop);

#define LOGICAL(type, logical) "{'name':'a','type':{'type':'" type "','logicalType':'" logical "'}}"
#define MICROS                 LOGICAL("long", "timestamp-micros")

static void decode_time(const char *writer, int64_t raw)
{
    GIVEN(MICROS, writer, pj_arena_printf(given.arena, "{'a':%lld}", (long long)raw),
          {"a", PJ_TIMESTAMPTZ});
}

Test(decode_types, the_writers_unit_counts)
{
    decode_time(MICROS, 1795237594968123);
    IS_INTEGER(0, 1795237594968123);
    decode_time(LOGICAL("long", "timestamp-millis"), 1795237594968);
    IS_INTEGER(0, 1795237594968000);
    decode_time(LOGICAL("long", "timestamp-nanos"), 1795237594968123999);
    IS_INTEGER(0, 1795237594968123);
    decode_time(LOGICAL("int", "date"), 20000);
    IS_INTEGER(0, 1728000000000000);
    decode_time(LOGICAL("long", "local-timestamp-millis"), 5);
    IS_INTEGER(0, 5000);
    decode_time(LOGICAL("long", "local-timestamp-micros"), 5);
    IS_INTEGER(0, 5);
    decode_time(LOGICAL("long", "local-timestamp-nanos"), 5999);
    IS_INTEGER(0, 5);
}

Test(decode_types, a_bare_long_has_our_unit)
{
    decode_time("{'name':'a','type':'long'}", 7);
    IS_INTEGER(0, 7);
    GIVEN(LOGICAL("long", "timestamp-millis"), "{'name':'a','type':'long'}", "{'a':7}",
          {"a", PJ_TIMESTAMPTZ});
    IS_INTEGER(0, 7000);
    GIVEN("{'name':'a','type':['null',{'type':'long','logicalType':'timestamp-millis'}]}",
          "{'name':'a','type':['long','null']}", "{'a':7}", {"a", PJ_TIMESTAMPTZ});
    IS_INTEGER(0, 7000);
}

Test(decode_types, before_1970_is_rounded_down)
{
    decode_time(MICROS, -1);
    IS_INTEGER(0, -1);
    decode_time(LOGICAL("long", "timestamp-millis"), -1);
    IS_INTEGER(0, -1000);
    decode_time(LOGICAL("long", "timestamp-nanos"), -1);
    IS_INTEGER(0, -1);
    decode_time(LOGICAL("long", "timestamp-nanos"), -1000);
    IS_INTEGER(0, -1);
    decode_time(LOGICAL("long", "timestamp-nanos"), -1001);
    IS_INTEGER(0, -2);
    decode_time(LOGICAL("int", "date"), -1);
    IS_INTEGER(0, -86400000000);
}

Test(decode_types, times_at_the_ends)
{
    decode_time(MICROS, INT64_MAX);
    IS_INTEGER(0, INT64_MAX);
    decode_time(MICROS, -210866803200000000); /* 4714-11-24 BC, where timestamptz begins */
    IS_INTEGER(0, -210866803200000000);
    decode_time(MICROS, -210866803200000001);
    POISONED("a is a time that no timestamptz can hold");
    decode_time(MICROS, INT64_MIN);
    POISONED("a is a time that no timestamptz can hold");
    decode_time(LOGICAL("long", "timestamp-millis"), INT64_MAX / 1000);
    IS_INTEGER(0, INT64_MAX / 1000 * 1000);
    decode_time(LOGICAL("long", "timestamp-millis"), INT64_MAX / 1000 + 1);
    POISONED("a is a time that no timestamptz can hold");
    decode_time(LOGICAL("long", "timestamp-millis"), INT64_MIN);
    POISONED("a is a time that no timestamptz can hold");
    decode_time(LOGICAL("long", "timestamp-nanos"), INT64_MIN);
    IS_INTEGER(0, INT64_MIN / 1000 - 1);
    decode_time(LOGICAL("int", "date"), 106751991);
    IS_INTEGER(0, 106751991 * INT64_C(86400000000));
    decode_time(LOGICAL("int", "date"), INT32_MAX);
    POISONED("a is a time that no timestamptz can hold");
    decode_time(LOGICAL("int", "date"), INT32_MIN);
    POISONED("a is a time that no timestamptz can hold");
}

/* --- UUIDs ----------------------------------------------------------------------------------- */

static void decode_uuid(const char *writer, const char *text)
{
    GIVEN(LOGICAL("string", "uuid"), writer, pj_arena_printf(given.arena, "{'a':'%s'}", text),
          {"a", PJ_UUID});
}

Test(decode_types, uuids)
{
    decode_uuid("{'name':'a','type':'string'}", "0123abcd-4567-89ef-0123-456789abcdef");
    IS_UUID(0, "0123abcd456789ef0123456789abcdef");
    decode_uuid("{'name':'a','type':'string'}", "0123ABCD-4567-89EF-0123-456789ABCDEF");
    IS_UUID(0, "0123abcd456789ef0123456789abcdef");
    decode_uuid("{'name':'a','type':{'type':'fixed','name':'F','size':16}}",
                "0123abcd456789ef0123456789abcdef");
    IS_UUID(0, "0123abcd456789ef0123456789abcdef");
}

Test(decode_types, what_is_no_uuid)
{
    static const char *const wrong[] = {
        "",
        "0123abcd456789ef0123456789abcdef",
        "0123abcd-4567-89ef-0123-456789abcdeg",
        "0123abcd-4567-89ef-0123-456789abcdef0",
        "0123abcd-4567-89ef-0123-456789abcde",
        "0123abcd-4567-89ef-0123_456789abcdef",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        decode_uuid("{'name':'a','type':'string'}", wrong[i]);
        POISONED("a is not a UUID");
    }
    decode_uuid("{'name':'a','type':{'type':'fixed','name':'F','size':4}}", "01020304");
    POISONED("a is of the type fixed");
}

/* --- decimals -------------------------------------------------------------------------------- */

static void decode_decimal(int scale, const char *hex)
{
    const char *type = pj_arena_printf(
        given.arena,
        "{'name':'a','type':{'type':'bytes','logicalType':'decimal','precision':600,"
        "'scale':%d}}",
        scale);
    GIVEN(type, type, pj_arena_printf(given.arena, "{'a':'%s'}", hex), {"a", PJ_NUMERIC});
}

Test(decode_types, decimals)
{
    static const struct {
        int scale;
        const char *hex, *number;
    } cases[] = {
        {2, "3039", "123.45"},
        {0, "3039", "12345"},
        {2, "cfc7", "-123.45"},
        {0, "00", "0"},
        {2, "00", "0.00"},
        {3, "05", "0.005"},
        {3, "fb", "-0.005"},
        {0, "", "0"},
        {2, "0000003039", "123.45"},
        {2, "ffffffcfc7", "-123.45"},
        {0, "80", "-128"},
        {0, "0080", "128"},
        {1, "ff", "-0.1"},
        {0, "8000000000000000", "-9223372036854775808"},
        {0, "00ffffffffffffffffffffffffffffffff", "340282366920938463463374607431768211455"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        decode_decimal(cases[i].scale, cases[i].hex);
        IS_TEXT(0, cases[i].number);
    }
}

Test(decode_types, a_decimal_in_a_fixed)
{
    static const char type[] = "{'name':'a','type':{'type':'fixed','name':'D','size':4,"
                               "'logicalType':'decimal','precision':9,'scale':2}}";
    GIVEN(type, type, "{'a':'ffffcfc7'}", {"a", PJ_NUMERIC});
    IS_TEXT(0, "-123.45");
}

Test(decode_types, a_decimal_of_another_scale_keeps_its_value)
{
    GIVEN("{'name':'a','type':{'type':'bytes','logicalType':'decimal','precision':9,'scale':4}}",
          "{'name':'a','type':{'type':'bytes','logicalType':'decimal','precision':9,'scale':1}}",
          "{'a':'3039'}", {"a", PJ_NUMERIC});
    IS_TEXT(0, "1234.5");
}

/* 2^2047 - 1, and one byte more. */
Test(decode_types, the_longest_decimal)
{
    char hex[515] = "7f";
    memset(hex + 2, 'f', 510);
    decode_decimal(0, hex);
    DECODED();
    cr_assert_eq(given.values[0].text.length, 617);
    cr_assert_eq(memcmp(given.values[0].text.data, "161585030356555036", 18), 0);
    cr_assert_eq(memcmp(given.values[0].text.data + 597, "77926805529798115327", 20), 0);
    memset(hex, 'f', 514);
    hex[0] = '0';
    hex[1] = '0';
    decode_decimal(0, hex);
    POISONED("longer than 256 bytes");
}

Test(decode_types, a_decimal_of_the_greatest_scale)
{
    static const char type[] = "{'name':'a','type':{'type':'bytes','logicalType':'decimal',"
                               "'precision':1000,'scale':1000}}";
    GIVEN(type, type, "{'a':'07'}", {"a", PJ_NUMERIC});
    DECODED();
    cr_assert_eq(given.values[0].text.length, 1002);
    cr_assert_eq(memcmp(given.values[0].text.data, "0.000", 5), 0);
    cr_assert_eq(given.values[0].text.data[1001], '7');
}

Test(decode_types, bytes_are_no_number)
{
    GIVEN("{'name':'a','type':{'type':'bytes','logicalType':'decimal','precision':9,'scale':1}}",
          "{'name':'a','type':'bytes'}", "{'a':'01'}", {"a", PJ_NUMERIC});
    POISONED("a is of the type bytes");
}

/* --- bytes, lengths, presence ---------------------------------------------------------------- */

Test(decode_types, bytes)
{
    GIVEN("{'name':'a','type':'bytes'},{'name':'b','type':'string'}",
          "{'name':'a','type':{'type':'fixed','name':'F','size':3}},{'name':'b','type':'bytes'}",
          "{'a':'00ff41','b':'6869'}", {"a", PJ_BYTEA}, {"b", PJ_TEXT});
    DECODED();
    cr_assert_eq(given.values[0].text.length, 3);
    cr_assert_eq(memcmp(given.values[0].text.data, "\0\377A", 3), 0);
    IS_TEXT(1, "hi");
}

static void decode_text(uint32_t most, const char *text)
{
    GIVEN("{'name':'a','type':'string'}", "{'name':'a','type':'string'}",
          pj_arena_printf(given.arena, "{'a':'%s'}", text), {"a", PJ_TEXT, .most_chars = most});
}

Test(decode_types, characters_are_counted_not_bytes)
{
    decode_text(3, "abc");
    IS_TEXT(0, "abc");
    decode_text(3, "abcd");
    POISONED("a has 4 characters, at most 3 fit");
    decode_text(3, "ä€𐍈");
    IS_TEXT(0, "ä€𐍈");
    decode_text(3, "ä€𐍈ü");
    POISONED("a has 4 characters, at most 3 fit");
    decode_text(0, "no bound at all");
    IS_TEXT(0, "no bound at all");
    decode_text(1, "");
    IS_TEXT(0, "");
}

Test(decode_types, a_too_long_enum_symbol)
{
    GIVEN("{'name':'a','type':'string'}",
          "{'name':'a','type':{'type':'enum','name':'E','symbols':['SHORT','MUCH_LONGER']}}",
          "{'a':'MUCH_LONGER'}", {"a", PJ_TEXT, .most_chars = 5});
    POISONED("a has 11 characters, at most 5 fit");
}

Test(decode_types, presence)
{
    static const char type[] =
        "{'name':'r','type':['null',{'type':'record','name':'I','fields':[]}]},"
        "{'name':'m','type':['null',{'type':'map','values':'int'}]},"
        "{'name':'l','type':['null',{'type':'array','items':'int'}]}";
    GIVEN(type, type, "{'r':{},'m':{},'l':[1]}", {"r", PJ_BOOL}, {"m", PJ_BOOL}, {"l", PJ_BOOL});
    IS_BOOL(0, true);
    IS_BOOL(1, true);
    IS_BOOL(2, true);
    GIVEN(type, type, "{}", {"r", PJ_BOOL}, {"m", PJ_BOOL}, {"l", PJ_BOOL});
    DECODED();
    IS_NULL(0);
    IS_NULL(1);
    IS_NULL(2);
}

Test(decode_types, one_field_bound_twice)
{
    static const char type[] = "{'name':'r','type':{'type':'record','name':'I','fields':["
                               "{'name':'x','type':'int'},{'name':'y','type':'string'}]}},"
                               "{'name':'z','type':'boolean'}";
    GIVEN(type, type, "{'r':{'x':1,'y':'w'},'z':true}", {"r", PJ_JSONB}, {"r", PJ_BOOL},
          {"r.x", PJ_BIGINT}, {"r.x", PJ_DOUBLE}, {"r.y", PJ_TEXT}, {"z", PJ_BOOL});
    IS_JSON(0, "{'x':1,'y':'w'}");
    IS_BOOL(1, true);
    IS_INTEGER(2, 1);
    IS_REAL(3, 1.0);
    IS_TEXT(4, "w");
    IS_BOOL(5, true);
}
