/* SPDX-License-Identifier: Apache-2.0 */
/* Avro values as JSON text. */
#include "unit/encode.h"

TestSuite(avro_render, .init = given_start, .fini = given_stop);

static void render(const char *type, const char *value)
{
    const char *field = pj_arena_printf(given.arena, "{'name':'a','type':%s}", type);
    GIVEN(field, field, pj_arena_printf(given.arena, "{'a':%s}", value), {"a", PJ_JSONB});
    DECODED();
    json_t *json = json_loadb(given.values[0].text.data, given.values[0].text.length,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    cr_assert_not_null(json, "%.*s is no JSON", (int)given.values[0].text.length,
                       given.values[0].text.data);
    json_decref(json);
}

static void renders(const char *type, const char *value, const char *expected)
{
    render(type, value);
    IS_JSON(0, expected);
}

#define LOGICAL(type, logical) "{'type':'" type "','logicalType':'" logical "'}"

Test(avro_render, everything_nested)
{
    renders("{'type':'record','name':'I','fields':["
            "{'name':'n','type':'null'},{'name':'t','type':'boolean'},{'name':'i','type':'int'},"
            "{'name':'l','type':'long'},{'name':'d','type':'double'},{'name':'s','type':'string'},"
            "{'name':'e','type':{'type':'enum','name':'E','symbols':['P','Q']}},"
            "{'name':'r','type':{'type':'record','name':'J','fields':[{'name':'x','type':'int'}]}},"
            "{'name':'m','type':{'type':'map','values':'long'}},"
            "{'name':'v','type':{'type':'array','items':['null','int','string']}}]}",
            "{'t':true,'i':-1,'l':9223372036854775807,'d':0.1,'s':'w','e':'Q','r':{'x':1},"
            "'m':{'k':2},'v':[null,{'@1':3},{'@2':'z'}]}",
            "{'n':null,'t':true,'i':-1,'l':9223372036854775807,'d':0.1,'s':'w',"
            "'e':'Q','r':{'x':1},'m':{'k':2},'v':[null,3,'z']}");
}

Test(avro_render, empty_things)
{
    renders("{'type':'record','name':'I','fields':[]}", "{}", "{}");
    renders("{'type':'map','values':'int'}", "{}", "{}");
    renders("{'type':'array','items':'int'}", "[]", "[]");
}

/* As JSON's text itself: a bound string is JSON already, one inside is quoted. */
Test(avro_render, strings)
{
    renders("'string'", "'{}'", "{}");
    render("{'type':'array','items':'string'}",
           "['q\\u0022 b\\\\ \\u0001\\u001f\\n\\t\\u007f ä€𐍈']");
    IS_TEXT(0, "[\"q\\\" b\\\\ \\u0001\\u001f\\u000a\\u0009\x7f ä€𐍈\"]");
    render("{'type':'map','values':'int'}", "{'k\\u0022\\n':1}");
    IS_TEXT(0, "{\"k\\\"\\u000a\":1}");
}

Test(avro_render, a_string_with_a_zero)
{
    struct pj_field field = {"a", PJ_JSONB};
    const char *schema = record_of("{'name':'a','type':{'type':'array','items':'string'}}");
    plan_for(schema, &field, 1, schema);
    given.length = unhex("02060061ff00", given.body); /* three bytes: 0, 'a', 255 */
    decode_body();
    DECODED();
    cr_assert_eq(given.values[0].text.length, 12);
    cr_assert_eq(memcmp(given.values[0].text.data, "[\"\\u0000a\xff\"]", 12), 0);
}

Test(avro_render, bytes_in_base64)
{
    renders("'bytes'", "''", "''");
    renders("'bytes'", "'66'", "'Zg=='");
    renders("'bytes'", "'666f'", "'Zm8='");
    renders("'bytes'", "'666f6f'", "'Zm9v'");
    renders("'bytes'", "'fbff00'", "'+/8A'");
    renders("{'type':'fixed','name':'F','size':4}", "'00ff00ff'", "'AP8A/w=='");
}

Test(avro_render, uuids)
{
    renders("{'type':'array','items':" LOGICAL("string", "uuid") "}", "['ABC']", "['ABC']");
    renders("{'type':'fixed','name':'F','size':16,'logicalType':'uuid'}",
            "'0123456789abcdef0123456789abcdef'", "'01234567-89ab-cdef-0123-456789abcdef'");
    /* Not sixteen bytes: no UUID, whatever it is called. */
    renders("{'type':'fixed','name':'F','size':1,'logicalType':'uuid'}", "'66'", "'Zg=='");
}

Test(avro_render, decimals)
{
    renders("{'type':'bytes','logicalType':'decimal','precision':9,'scale':2}", "'3039'", "123.45");
    renders("{'type':'fixed','name':'D','size':2,'logicalType':'decimal','precision':4,'scale':3}",
            "'fffb'", "-0.005");
}

Test(avro_render, times)
{
    renders(LOGICAL("long", "timestamp-millis"), "1795237594968", "'2026-11-21T05:06:34.968Z'");
    renders(LOGICAL("long", "timestamp-millis"), "-1", "'1969-12-31T23:59:59.999Z'");
    renders(LOGICAL("long", "timestamp-micros"), "-1", "'1969-12-31T23:59:59.999999Z'");
    renders(LOGICAL("long", "timestamp-micros"), "-1000000", "'1969-12-31T23:59:59.000000Z'");
    renders(LOGICAL("long", "timestamp-nanos"), "1", "'1970-01-01T00:00:00.000000001Z'");
    renders(LOGICAL("int", "date"), "-1", "'1969-12-31'");
    renders(LOGICAL("int", "date"), "20000", "'2024-10-04'");
    renders(LOGICAL("int", "time-millis"), "5", "5");
    renders("'long'", "5", "5");
}

/* Years that no calendar has are still JSON, and no crash. */
Test(avro_render, times_at_the_ends)
{
    render(LOGICAL("long", "timestamp-millis"), "9223372036854775807");
    render(LOGICAL("long", "timestamp-millis"), "-9223372036854775808");
    render(LOGICAL("long", "timestamp-micros"), "9223372036854775807");
    render(LOGICAL("long", "timestamp-micros"), "-9223372036854775808");
    renders(LOGICAL("long", "timestamp-nanos"), "-9223372036854775808",
            "'1677-09-21T00:12:43.145224192Z'");
    render(LOGICAL("int", "date"), "2147483647");
    render(LOGICAL("int", "date"), "-2147483648");
}

static void render_bits(const char *type, const char *hex)
{
    struct pj_field field = {"a", PJ_JSONB};
    const char *schema = record_of(pj_arena_printf(given.arena, "{'name':'a','type':'%s'}", type));
    plan_for(schema, &field, 1, schema);
    given.length = unhex(hex, given.body);
    decode_body();
}

Test(avro_render, numbers_that_json_lacks)
{
    render_bits("double", "000000000000f87f");
    IS_JSON(0, "'NaN'");
    render_bits("double", "000000000000f07f");
    IS_JSON(0, "'Infinity'");
    render_bits("float", "000080ff");
    IS_JSON(0, "'-Infinity'");
    render_bits("float", "cdcccc3d");
    IS_TEXT(0, "0.100000001");
}
