/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/schema_references.h"

#include <criterion/criterion.h>

static struct pj_error error;

static json_t *load(const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    cr_assert_not_null(json, "%s", text);
    return json;
}

static void expect(const char *schema, const char *definitions, const char *wanted)
{
    json_t *loaded = load(schema);
    json_t *defined = load(definitions);
    json_t *resolved = pj_schema_references_resolve(loaded, defined, &error);
    cr_assert_not_null(resolved, "%s", error.message);
    char *text = json_dumps(resolved, JSON_COMPACT | JSON_ENCODE_ANY);
    json_t *same = load(wanted);
    cr_assert(json_equal(resolved, same), "%s\nis not\n%s", text, wanted);
    free(text);
    json_decref(same);
    json_decref(resolved);
    json_decref(defined);
    json_decref(loaded);
}

Test(schema_references, a_name_becomes_its_definition_once)
{
    expect("{\"type\":\"record\",\"name\":\"a.R\",\"fields\":["
           "{\"name\":\"x\",\"type\":\"E\"},{\"name\":\"y\",\"type\":[\"null\",\"a.E\"]}]}",
           "{\"a.E\":{\"type\":\"enum\",\"name\":\"a.E\",\"symbols\":[\"S\"]}}",
           "{\"type\":\"record\",\"name\":\"a.R\",\"fields\":[{\"name\":\"x\",\"type\":"
           "{\"type\":\"enum\",\"name\":\"a.E\",\"symbols\":[\"S\"]}},"
           "{\"name\":\"y\",\"type\":[\"null\",\"a.E\"]}]}");
}

Test(schema_references, a_definition_keeps_its_namespace)
{
    expect(
        "{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a\",\"fields\":["
        "{\"name\":\"x\",\"type\":{\"type\":\"array\",\"items\":\"E\"}}]}",
        "{\"E\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"S\"]}}",
        "{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a\",\"fields\":["
        "{\"name\":\"x\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"enum\",\"name\":\"E\","
        "\"namespace\":\"\",\"symbols\":[\"S\"]}}}]}");
}

Test(schema_references, a_union_of_names_and_definitions_that_refer_to_others)
{
    expect("[\"b.X\",\"b.Y\"]",
           "{\"b.X\":{\"type\":\"record\",\"name\":\"X\",\"namespace\":\"b\",\"fields\":["
           "{\"name\":\"y\",\"type\":{\"type\":\"map\",\"values\":\"Y\"}}]},"
           "\"b.Y\":{\"type\":\"fixed\",\"name\":\"Y\",\"namespace\":\"b\",\"size\":2}}",
           "[{\"type\":\"record\",\"name\":\"X\",\"namespace\":\"b\",\"fields\":[{\"name\":\"y\","
           "\"type\":{\"type\":\"map\",\"values\":{\"type\":\"fixed\",\"name\":\"Y\","
           "\"namespace\":\"b\",\"size\":2}}}]},\"b.Y\"]");
}

Test(schema_references, what_refers_to_itself_by_its_own_name_ends)
{
    expect("\"L\"",
           "{\"L\":{\"type\":\"record\",\"name\":\"L\",\"fields\":["
           "{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]}}",
           "{\"type\":\"record\",\"name\":\"L\",\"namespace\":\"\",\"fields\":["
           "{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]}");
}

Test(schema_references, depth_is_bounded)
{
    json_t *deep = json_string("int");
    for (int i = 0; i < 1000; i++)
        deep = json_pack("{s:s, s:o}", "type", "array", "items", deep);
    json_t *none = json_object();
    cr_assert_null(pj_schema_references_resolve(deep, none, &error));
    cr_assert_eq(error.class, PJ_POISON);
    json_decref(none);
    json_decref(deep);
}
