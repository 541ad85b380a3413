/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/avro_schema.h"

#include "base/arena.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct pj_arena *arena;
static struct pj_schema *schema;
static struct pj_error error;

static void start(void)
{
    arena = pj_arena_new();
}

static void stop(void)
{
    pj_schema_free(schema);
    pj_arena_free(arena);
}

TestSuite(schema, .init = start, .fini = stop, .timeout = 30);

/* Single quotes stand for double ones. */
static int parse(const char *text)
{
    char *copy = pj_arena_string(arena, text, strlen(text));
    for (char *c = copy; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    pj_schema_free(schema);
    schema = NULL;
    return pj_schema_parse(&schema, copy, &error);
}

static const struct pj_avro_type *root_of(const char *text)
{
    cr_assert_eq(parse(text), 0, "%s", error.message);
    return pj_schema_root(schema);
}

static void refuses(const char *text, const char *why)
{
    cr_assert_eq(parse(text), -1, "%.200s", text);
    cr_assert_eq(error.class, PJ_POISON);
    cr_assert_not_null(strstr(error.message, why), "%s", error.message);
    cr_assert_null(schema);
}

Test(schema, primitives)
{
    static const struct {
        const char *text;
        enum pj_avro_kind kind;
    } cases[] = {
        {"'null'", PJ_AVRO_NULL},        {"'boolean'", PJ_AVRO_BOOLEAN},
        {"'int'", PJ_AVRO_INT},          {"'long'", PJ_AVRO_LONG},
        {"'float'", PJ_AVRO_FLOAT},      {"'double'", PJ_AVRO_DOUBLE},
        {"'bytes'", PJ_AVRO_BYTES},      {"'string'", PJ_AVRO_STRING},
        {"{'type':'int'}", PJ_AVRO_INT}, {"{'type':{'type':'long'}}", PJ_AVRO_LONG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct pj_avro_type *root = root_of(cases[i].text);
        cr_assert_eq(root->kind, cases[i].kind, "%s", cases[i].text);
        cr_assert_null(root->name);
    }
}

Test(schema, a_record)
{
    const struct pj_avro_type *root = root_of(
        "{'type':'record','name':'R','namespace':'a.b','aliases':['Old'],'doc':'x','fields':["
        "{'name':'n','type':['null','string'],'default':null,'aliases':['m','o']},"
        "{'name':'e','type':{'type':'enum','name':'E','symbols':['P','Q']},'default':'Q'},"
        "{'name':'l','type':{'type':'array','items':'int'}},"
        "{'name':'m','type':{'type':'map','values':'E'}},"
        "{'name':'f','type':{'type':'fixed','name':'F','size':7}}]}");
    cr_assert_eq(root->kind, PJ_AVRO_RECORD);
    cr_assert_str_eq(root->name, "a.b.R");
    cr_assert_str_eq(pj_schema_short_name(root->name), "R");
    cr_assert_str_eq(json_string_value(json_array_get(root->aliases, 0)), "Old");
    cr_assert_eq(root->count, 5);
    const struct pj_avro_field *fields = root->fields;
    cr_assert_str_eq(fields[0].name, "n");
    cr_assert_eq(fields[0].type->kind, PJ_AVRO_UNION);
    cr_assert_eq(fields[0].type->count, 2);
    cr_assert_eq(fields[0].type->branches[1]->kind, PJ_AVRO_STRING);
    cr_assert(json_is_null(fields[0].default_json));
    cr_assert_eq(json_array_size(fields[0].aliases), 2);
    cr_assert_eq(fields[1].type->kind, PJ_AVRO_ENUM);
    cr_assert_str_eq(fields[1].type->name, "a.b.E");
    cr_assert_str_eq(fields[1].type->symbols[1], "Q");
    cr_assert_str_eq(json_string_value(fields[1].default_json), "Q");
    cr_assert_null(fields[2].default_json);
    cr_assert_null(fields[2].aliases);
    cr_assert_eq(fields[2].type->branches[0]->kind, PJ_AVRO_INT);
    cr_assert_eq(fields[3].type->branches[0], fields[1].type);
    cr_assert_eq(fields[4].type->size, 7);
}

/* --- names ----------------------------------------------------------------------------------- */

/* The type of field x of the record "a.R" that declares "a.T" (an enum) and "T" (a fixed). */
static const struct pj_avro_type *named(const char *reference)
{
    const struct pj_avro_type *root = root_of(
        pj_arena_printf(arena,
                        "{'type':'record','name':'a.R','fields':["
                        "{'name':'p','type':{'type':'enum','name':'T','symbols':['P']}},"
                        "{'name':'q','type':{'type':'fixed','name':'T','namespace':'','size':1}},"
                        "{'name':'r','type':{'type':'record','name':'b.c.S','fields':["
                        "{'name':'s','type':{'type':'array','items':'S'}}]}},"
                        "{'name':'x','type':%s}]}",
                        reference));
    return root->fields[3].type;
}

Test(schema, names_resolve_in_the_enclosing_namespace)
{
    cr_assert_eq(named("'T'")->kind, PJ_AVRO_ENUM);
    cr_assert_eq(named("'a.T'")->kind, PJ_AVRO_ENUM);
    cr_assert_str_eq(named("'b.c.S'")->name, "b.c.S");
    /* "S" inside b.c.S was b.c.S, outside it is a.S, which there is not. */
    refuses("{'type':'record','name':'a.R','fields':[{'name':'r','type':{'type':'record',"
            "'name':'b.S','fields':[]}},{'name':'x','type':'S'}]}",
            "names an unknown type \"S\"");
}

Test(schema, a_name_of_no_namespace_is_found_from_everywhere)
{
    const struct pj_avro_type *root =
        root_of("{'type':'record','name':'R','fields':[{'name':'p','type':{'type':'enum',"
                "'name':'T','symbols':['P']}},{'name':'s','type':{'type':'record','name':'a.S',"
                "'fields':[{'name':'x','type':'T'}]}}]}");
    cr_assert_eq(root->fields[1].type->fields[0].type, root->fields[0].type);
}

Test(schema, an_inner_record_has_the_outer_namespace)
{
    const struct pj_avro_type *root =
        root_of("{'type':'record','name':'R','namespace':'a','fields':[{'name':'p','type':"
                "{'type':'record','name':'I','fields':[{'name':'q','type':{'type':'record',"
                "'name':'J','namespace':'b','fields':[{'name':'k','type':{'type':'fixed',"
                "'name':'K','size':1}}]}}]}}]}");
    const struct pj_avro_type *inner = root->fields[0].type;
    cr_assert_str_eq(inner->name, "a.I");
    cr_assert_str_eq(inner->fields[0].type->name, "b.J");
    cr_assert_str_eq(inner->fields[0].type->fields[0].type->name, "b.K");
}

Test(schema, recursive_types)
{
    const struct pj_avro_type *root =
        root_of("{'type':'record','name':'a.L','fields':[{'name':'next','type':['null','L']},"
                "{'name':'many','type':{'type':'array','items':'a.L'}}]}");
    cr_assert_eq(root->fields[0].type->branches[1], root);
    cr_assert_eq(root->fields[1].type->branches[0], root);
}

/* --- logical types --------------------------------------------------------------------------- */

Test(schema, logical_types)
{
    static const struct {
        const char *text;
        enum pj_avro_logical logical;
    } cases[] = {
        {"{'type':'string','logicalType':'uuid'}", PJ_LOGICAL_UUID},
        {"{'type':'fixed','name':'F','size':16,'logicalType':'uuid'}", PJ_LOGICAL_UUID},
        {"{'type':'int','logicalType':'date'}", PJ_LOGICAL_DATE},
        {"{'type':'int','logicalType':'time-millis'}", PJ_LOGICAL_TIME_MILLIS},
        {"{'type':'long','logicalType':'time-micros'}", PJ_LOGICAL_TIME_MICROS},
        {"{'type':'long','logicalType':'timestamp-millis'}", PJ_LOGICAL_TIMESTAMP_MILLIS},
        {"{'type':'long','logicalType':'timestamp-micros'}", PJ_LOGICAL_TIMESTAMP_MICROS},
        {"{'type':'long','logicalType':'timestamp-nanos'}", PJ_LOGICAL_TIMESTAMP_NANOS},
        {"{'type':'long','logicalType':'local-timestamp-nanos'}", PJ_LOGICAL_TIMESTAMP_NANOS},
        {"{'type':'bytes','logicalType':'decimal','precision':4,'scale':4}", PJ_LOGICAL_DECIMAL},
        {"{'type':'bytes','logicalType':'decimal','precision':4}", PJ_LOGICAL_DECIMAL},
        {"{'type':'fixed','name':'F','size':2,'logicalType':'decimal','precision':4}",
         PJ_LOGICAL_DECIMAL},
        /* On another type, unknown or impossible: the underlying type is what counts. */
        {"{'type':'long','logicalType':'uuid'}", PJ_LOGICAL_NONE},
        {"{'type':'fixed','name':'F','size':15,'logicalType':'uuid'}", PJ_LOGICAL_NONE},
        {"{'type':'long','logicalType':'date'}", PJ_LOGICAL_NONE},
        {"{'type':'int','logicalType':'timestamp-millis'}", PJ_LOGICAL_NONE},
        {"{'type':'string','logicalType':'decimal','precision':4}", PJ_LOGICAL_NONE},
        {"{'type':'string','logicalType':'colour'}", PJ_LOGICAL_NONE},
        {"{'type':'string','logicalType':7}", PJ_LOGICAL_NONE},
        {"{'type':'bytes','logicalType':'decimal'}", PJ_LOGICAL_NONE},
        {"{'type':'bytes','logicalType':'decimal','precision':0}", PJ_LOGICAL_NONE},
        {"{'type':'bytes','logicalType':'decimal','precision':4,'scale':5}", PJ_LOGICAL_NONE},
        {"{'type':'bytes','logicalType':'decimal','precision':4,'scale':-1}", PJ_LOGICAL_NONE},
        {"{'type':'bytes','logicalType':'decimal','precision':9999,'scale':1001}", PJ_LOGICAL_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(root_of(cases[i].text)->logical, cases[i].logical, "%s", cases[i].text);
    cr_assert_eq(root_of("{'type':'bytes','logicalType':'decimal','precision':9,'scale':3}")->scale,
                 3);
}

Test(schema, a_logical_type_is_of_one_place)
{
    const struct pj_avro_type *root = root_of(
        "['string',{'type':'record','name':'R','fields':[{'name':'u','type':{'type':'string',"
        "'logicalType':'uuid'}},{'name':'s','type':'string'}]}]");
    cr_assert_eq(root->branches[0]->logical, PJ_LOGICAL_NONE);
    cr_assert_eq(root->branches[1]->fields[0].type->logical, PJ_LOGICAL_UUID);
    cr_assert_eq(root->branches[1]->fields[1].type->logical, PJ_LOGICAL_NONE);
}

/* --- what is refused ------------------------------------------------------------------------- */

Test(schema, what_is_no_schema)
{
    refuses("", "is not JSON");
    refuses("{", "is not JSON");
    refuses("{'type':'int'} trailing", "is not JSON");
    refuses("7", "neither a name, an object nor a union");
    refuses("null", "neither a name, an object nor a union");
    refuses("{}", "neither a name, an object nor a union");
    refuses("'colour'", "names an unknown type \"colour\"");
    refuses("{'type':'colour'}", "names an unknown type \"colour\"");
    refuses("[]", "empty union");
    refuses("['null',[]]", "empty union");
    refuses("{'type':'record','fields':[]}", "named type without a name");
    refuses("{'type':'record','name':'','fields':[]}", "named type without a name");
    refuses("{'type':'enum','symbols':['P']}", "named type without a name");
    refuses("{'type':'fixed','size':1}", "named type without a name");
    refuses("{'type':'record','name':'R'}", "record without fields: \"R\"");
    refuses("{'type':'record','name':'R','fields':{}}", "record without fields: \"R\"");
    refuses("{'type':'record','name':'R','fields':[{'type':'int'}]}", "field without a name");
    refuses("{'type':'record','name':'R','fields':['x']}", "field without a name");
    refuses("{'type':'record','name':'R','fields':[{'name':'x'}]}", "neither a name");
    refuses("{'type':'enum','name':'E','symbols':[1]}", "symbol that is not a string");
    refuses("{'type':'array'}", "neither a name");
    refuses("{'type':'map'}", "neither a name");
    refuses("{'type':'fixed','name':'F','size':-1}", "impossible size");
    refuses("{'type':'fixed','name':'F','size':'16'}", "impossible size");
    refuses("{'type':'fixed','name':'F'}", "impossible size");
    refuses("{'type':'fixed','name':'F','size':1048577}", "impossible size");
    refuses("{'type':'record','name':'R','fields':[{'name':'x','type':'Later'},{'name':'y','type':"
            "{'type':'enum','name':'Later','symbols':['P']}}]}",
            "names an unknown type \"Later\"");
}

static char *repeated(const char *open, int times, const char *middle, const char *close)
{
    size_t size = (size_t)times * (strlen(open) + strlen(close)) + strlen(middle) + 1;
    char *text = pj_arena_alloc(arena, size);
    char *at = text;
    for (int i = 0; i < times; i++)
        at = stpcpy(at, open);
    at = stpcpy(at, middle);
    for (int i = 0; i < times; i++)
        at = stpcpy(at, close);
    return text;
}

Test(schema, too_deep)
{
    root_of(repeated("{'type':'array','items':", 60, "'int'", "}"));
    refuses(repeated("{'type':'array','items':", 70, "'int'", "}"), "nested more than 64 deep");
    refuses(repeated("{'type':", 70, "'int'", "}"), "nested more than 64 deep");
    refuses(repeated("['null',", 70, "'int'", "]"), "nested more than 64 deep");
    refuses(repeated("[", 100000, "", "]"), "is not JSON");
}

Test(schema, too_large)
{
    char *text = pj_arena_alloc(arena, (1 << 20) + 2);
    memset(text, ' ', (1 << 20) + 1);
    memcpy(text, "\"int\"", 5);
    text[1 << 20] = '\0';
    cr_assert_eq(parse(text), 0);
    text[1 << 20] = ' ';
    refuses(text, "larger than 1 MiB");
}
