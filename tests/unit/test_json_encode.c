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

static bool given_plain; /* with the header of Kafka's values */

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
    int status = given_plain ? pj_json_encode_plain(schema, 0, value, &out, &error)
                             : pj_json_encode(pj_schema_root(schema), value, &out, &error);
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

#define DECIMAL(precision, scale)                                                                  \
    "{'type':'bytes','logicalType':'decimal','precision':" precision ",'scale':" scale "}"

Test(json_encode, decimals)
{
    expect(DECIMAL("18", "6"), "'1.5'", "0616e360");
    expect(DECIMAL("18", "6"), "1.5", "0616e360");
    expect(DECIMAL("18", "6"), "'-1.5'", "06e91ca0");
    expect(DECIMAL("18", "6"), "0", "0200");
    expect(DECIMAL("5", "2"), "1.28", "040080");
    expect(DECIMAL("5", "2"), "-1.28", "04ff80");
    expect(DECIMAL("5", "2"), "'12.80e-1'", "040080");
    expect(DECIMAL("18", "0"), "123456789012345678", "1001b69b4ba630f34e");
    expect("{'type':'fixed','name':'d','size':4,'logicalType':'decimal','precision':5,'scale':2}",
           "-1.28", "ffffff80");
    expect("{'type':'record','name':'R','fields':[{'name':'a','type':" DECIMAL("5", "2") //
           ",'default':'\\u0001'}]}",
           "{}", "0201");
}

Test(json_encode, decimals_that_do_not_fit)
{
    expect(DECIMAL("5", "2"), "1.285", "the event has too many digits after the point");
    expect(DECIMAL("5", "2"), "'1000'", "the event has too many digits");
    expect(DECIMAL("5", "2"), "1e300", "the event has too many digits");
    expect(DECIMAL("5", "2"), "'1e99999999999'", "the event has too many digits");
    expect(DECIMAL("18", "6"), "0.30000000000000004",
           "the event has more digits than a JSON number keeps; send it as text");
    expect(DECIMAL("5", "2"), "'NaN'", "the event is not a decimal number");
    expect(DECIMAL("5", "2"), "'1_0'", "the event is not a decimal number");
    expect(DECIMAL("5", "2"), "true", "the event is not a decimal number");
    expect("{'type':'fixed','name':'d','size':1,'logicalType':'decimal','precision':5,'scale':2}",
           "1.28", "the event has too many digits");
}

Test(json_encode, json_in_a_text)
{
#define HOLDER "{'type':'record','name':'R','fields':[{'name':'a','doc':'JSON text: all','type':"
    expect(HOLDER "'string'}]}", "{'a':{'b':[1,2.5,0.1,null,'\u00e9']}}",
           "367b2262223a5b312c322e352c302e312c6e756c6c2c22c3a9225d7d");
    expect(HOLDER "['null','string']}]}", "{'a':[]}", "02045b5d");
    expect(HOLDER "['null','string']}]}", "{'a':null}", "00");
    expect(HOLDER "['null','string']}]}", "{'a':'{}'}", "02047b7d");
    expect(RECORD("'string'"), "{'a':'no JSON'}", "0e6e6f204a534f4e");
    expect(RECORD("'string'"), "{'a':{}}", "the field a is not a string");
}

Test(json_encode, plain_json_in_a_text_is_what_jsonb_holds)
{
    expect(HOLDER "'string'}]}", "{'a':'no JSON'}", "0e6e6f204a534f4e");
    given_plain = true;
    expect(HOLDER "'string'}]}", "{'a':'7'}",
           "0000000000"
           "0237");
    expect(HOLDER "'string'}]}", "{'a':'no JSON'}",
           "the field a is not JSON that jsonb can hold: invalid token near 'no'");
    expect(HOLDER "'string'}]}", "{'a':''}",
           "the field a is not JSON that jsonb can hold: unexpected token near end of file");
    expect(HOLDER "'string'}]}", "{'a':'1e100000'}",
           "the field a is not JSON that jsonb can hold: real number overflow near '1e100000'");
    given_plain = false;
}

Test(json_encode, plain_json_names_no_branches)
{
    given_plain = true;
    expect("['null','string']", "{'string':'x'}", "the event is not a string");
    expect(RECORD("['null','string']"), "{'a':{'string':'x'}}", "the field a is not a string");
#define ONE "{'type':'record','name':'n.One','fields':[{'name':'a','type':'int'}]}"
    expect("[" ONE "]", "{'type':'One','a':1}", "00000000000002");
    expect("[" ONE "]", "{'One':{'a':1}}", "the field a is missing");
    given_plain = false;
}

Test(json_encode, a_record_with_a_type_of_its_own)
{
#define TYPED "{'type':'record','name':'n.Typed','fields':[{'name':'type','type':'string'}]}"
    static const char wrong[] =
        "the event is a record with a \"type\" of its own: say which one by {\"Name\": {…}}";
    for (int plain = 0; plain < 2; plain++) {
        given_plain = plain == 1;
        expect("[" ONE "," TYPED "]", "{'Typed':{'type':'clip'}}",
               plain ? "0000000000020863"
                       "6c6970"
                     : "020863"
                       "6c6970");
        expect("[" ONE "," TYPED "]", "{'type':'Typed'}", wrong);
        expect("[" ONE "," TYPED "]", "{'type':'n.Typed'}", wrong);
        expect("[" ONE "," TYPED "]", "{'Typed':{'type':'clip','more':1}}",
               "the field Typed.more is unknown");
        expect("['null'," TYPED "]", "{'type':'Typed'}",
               plain ? "0000000000020a54"
                       "79706564"
                     : "020a54"
                       "79706564");
    }
    given_plain = false;
}

Test(json_encode, what_does_not_fit)
{
    expect(RECORD("'int'"), "{'a':2147483648}", "the field a does not fit 32 bits");
    expect(RECORD("'long'"), "{'a':1.5}", "the field a is not an integer");
    expect(RECORD("'long'"), "{'a':'1970-01-01T00:00:01Z'}", "the field a is not an integer");
    expect(RECORD("['null','long']"), "{'a':'x'}", "the field a is not an integer");
    expect(RECORD("'bytes'"), "{'a':'\\u0100'}",
           "the field a has a character beyond U+00FF, which is not a byte");
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
