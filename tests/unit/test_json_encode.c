/* SPDX-License-Identifier: Apache-2.0 */
/* JSON to Avro's binary encoding: each type by its bytes, and what is refused. */
#include "avro/json_encode.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Apostrophes stand for quotes. */
static char *quoted(const char *text)
{
    char *copy = strdup(text);
    for (char *c = copy; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    return copy;
}

/* The bytes in hexadecimal, or the error. */
static void expect(const char *type, const char *json, const char *expected)
{
    struct pj_schema *schema = NULL;
    struct pj_builder out = {0};
    struct pj_error error = {0};
    char *schema_text = quoted(type);
    char *json_text = quoted(json);
    json_t *value = json_loads(json_text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    cr_assert_not_null(value, "%s", json);
    cr_assert_eq(pj_schema_parse(&schema, schema_text, &error), 0, "%s", error.message);
    char found[1024] = "";
    int status = pj_json_encode(pj_schema_root(schema), value, &out, &error);
    for (size_t i = 0; i < out.length && status == 0; i++)
        snprintf(found + 2 * i, sizeof found - 2 * i, "%02x", (unsigned char)out.text[i]);
    cr_assert_str_eq(status == 0 ? found : error.message, expected, "%s of %s", json, type);
    cr_assert(status == 0 || error.class == PJ_POISON);
    free(pj_builder_take(&out));
    json_decref(value);
    pj_schema_free(schema);
    free(schema_text);
    free(json_text);
}

#define TIME(unit) "{'type':'long','logicalType':'timestamp-" unit "'}"

Test(json_encode, plain_values)
{
    expect("'null'", "null", "");
    expect("'boolean'", "true", "01");
    expect("'int'", "-1", "01");
    expect("'long'", "64", "8001");
    expect("'long'", "-9223372036854775808", "ffffffffffffffffff01");
    expect("'float'", "1.5", "0000c03f");
    expect("'double'", "-2", "00000000000000c0");
    expect("'string'", "'häh'", "0868c3a468");
    expect("'bytes'", "'\\u0000\\u00ff\\u007f'", "0600ff7f");
    expect("{'type':'fixed','name':'f','size':2}", "'\\u0080\\u0001'", "8001");
    expect("{'type':'enum','name':'e','symbols':['A','B']}", "'B'", "02");
}

Test(json_encode, what_has_parts)
{
    expect("{'type':'array','items':'int'}", "[1,2]", "04020400");
    expect("{'type':'array','items':'int'}", "[]", "00");
    expect("{'type':'map','values':'int'}", "{'a':1}", "0202610200");
    expect("['null','long']", "null", "00");
    expect("['null','long']", "3", "0206");
    expect("['null','long']", "{'long':3}", "0206");
    expect("['null','long','string']", "'3'", "040233");
    expect("['null','long','string']", "{'string':'3'}", "040233");
    expect("['string',{'type':'record','name':'n.R','fields':[{'name':'a','type':'int'}]}]",
           "{'R':{'a':1}}", "0202");
    expect("{'type':'record','name':'R','fields':[{'name':'a','type':'int','default':5},"
           "{'name':'b','type':['null','string'],'default':null},{'name':'c','type':'int'}]}",
           "{'c':1}", "0a0002");
}

Test(json_encode, logical_types)
{
    expect(TIME("millis"), "'1970-01-01T00:00:01Z'", "d00f");
    expect(TIME("micros"), "'1970-01-01T00:00:00.000001Z'", "02");
    expect(TIME("nanos"), "'1970-01-01T00:00:00.000001Z'", "d00f");
    expect(TIME("micros"), "7", "0e");
    expect("{'type':'string','logicalType':'uuid'}", "'00000000-0000-4000-8000-000000000001'",
           "4830303030303030302d303030302d343030302d383030302d303030303030303030303031");
    expect("{'type':'fixed','name':'u','size':16,'logicalType':'uuid'}",
           "'00000000-0000-4000-8000-000000000001'", "00000000000040008000000000000001");
}

#define RECORD(type) "{'type':'record','name':'n.R','fields':[{'name':'a','type':" type "}]}"

Test(json_encode, what_does_not_fit)
{
    expect(RECORD("'int'"), "{'a':2147483648}", "the field a does not fit 32 bits");
    expect(RECORD("'long'"), "{'a':1.5}", "the field a is not an integer");
    expect(RECORD("'long'"), "{'a':'1970-01-01T00:00:01Z'}", "the field a is not an integer");
    expect(RECORD("['null','long']"), "{'a':'x'}", "the field a is not an integer");
    expect(RECORD("'bytes'"), "{'a':'\\u0100'}",
           "the field a has a character beyond U+00FF, which is no byte");
    expect(RECORD("{'type':'fixed','name':'f','size':2}"), "{'a':'x'}",
           "the field a is not of its size");
    expect(RECORD("{'type':'enum','name':'e','symbols':['A']}"), "{'a':'B'}",
           "the field a is none of its symbols");
    expect(RECORD("{'type':'string','logicalType':'uuid'}"), "{'a':'x'}",
           "the field a is not a UUID");
    expect(RECORD("{'type':'long','logicalType':'timestamp-micros'}"), "{'a':'today'}",
           "the field a is not a time like 2026-11-21T05:06:34Z");
    expect(RECORD("'int'"), "{}", "the field a is missing");
    expect(RECORD("'int'"), "{'a':1,'b':2}", "the field b is unknown");
    expect(RECORD("'int'"), "[]", "the event is not an object");
}
