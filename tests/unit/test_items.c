/* SPDX-License-Identifier: Apache-2.0 */
/* Items of arrays, by the fields that they have in our schema, whoever wrote them. */
#include "fold/check.h"
#include "unit/encode.h"

TestSuite(items, .init = given_start, .fini = given_stop);

#define PRICE "{'name':'price','type':'int'}"
#define LINE(fields)                                                                               \
    "{'name':'lines','type':{'type':'array','items':{'type':'record','name':'Line','fields':"      \
    "[" fields "]}}}"
#define OURS                                                                                       \
    LINE(PRICE ",{'name':'count','type':'int','default':1},"                                       \
               "{'name':'name','aliases':['title'],'type':['null','string'],'default':null},"      \
               "{'name':'tags','type':{'type':'array','items':'string'},'default':['none']}")

enum { L_PRICE, L_COUNT, L_NAME, L_TAGS, LINE_FIELDS };

static const struct pj_field tag_fields[] = {{"", PJ_TEXT, .most_chars = 8}};
static const struct pj_items tags = {tag_fields, 1, .most = 3};
static const struct pj_field line_fields[LINE_FIELDS] = {
    [L_PRICE] = {"price", PJ_INT, .required = true, .least = "0"},
    [L_COUNT] = {"count", PJ_INT},
    [L_NAME] = {"name", PJ_TEXT, .required = true},
    [L_TAGS] = {"tags", .items = &tags},
};
static const struct pj_items lines = {line_fields, LINE_FIELDS, .most = 100};
static const struct pj_field fields[] = {{"lines", .items = &lines}};

static void decode_lines(const char *writer, const char *value)
{
    decode_whole(record_of(OURS), fields, 1, record_of(writer), value);
}

/* "price*count name[tag,tag]; …" */
static void are(const char *expected)
{
    char shown[512] = "";
    size_t length = 0;
    for (struct pj_array_item line = {0}; pj_items_next(&given.values[0], &line);) {
        const struct pj_value *v = line.values;
        length += (size_t)snprintf(shown + length, sizeof shown - length, "%lld*%lld %.*s[",
                                   (long long)v[L_PRICE].integer, (long long)v[L_COUNT].integer,
                                   (int)v[L_NAME].text.length, v[L_NAME].text.data);
        for (struct pj_array_item tag = {0}; pj_items_next(&v[L_TAGS], &tag);)
            length += (size_t)snprintf(shown + length, sizeof shown - length, "%.*s,",
                                       (int)tag.values->text.length, tag.values->text.data);
        length += (size_t)snprintf(shown + length, sizeof shown - length, "]; ");
    }
    cr_assert_eq(given.status, 0, "%s", given.error.message);
    cr_assert_str_eq(shown, expected);
}

Test(items, by_our_own_schema)
{
    decode_lines(OURS, "{'lines':[{'price':5,'count':2,'name':'a','tags':['x','y']},"
                       "{'price':7,'count':1,'name':'b','tags':[]}]}");
    are("5*2 a[x,y,]; 7*1 b[]; ");
    cr_assert_eq(pj_items_count(&given.values[0]), 2);
}

Test(items, none)
{
    decode_lines(OURS, "{'lines':[]}");
    are("");
    cr_assert(given.values[0].present);
}

/* What the older writer lacks has our default; the newer one's field is skipped, its name is an
 * alias of ours. */
Test(items, by_the_schemas_of_others)
{
    decode_lines(LINE("{'name':'title','type':'string'},{'name':'extra','type':'long'}," PRICE),
                 "{'lines':[{'title':'a','extra':9,'price':5}]}");
    are("5*1 a[none,]; ");
}

Test(items, more_than_a_block_and_than_the_room_at_first)
{
    char value[4096] = "{'lines':[";
    for (int i = 0; i < 100; i++)
        snprintf(value + strlen(value), sizeof value - strlen(value), "{'price':%d,'name':'n'}%s",
                 i, i < 99 ? "," : "]}");
    decode_lines(LINE(PRICE ",{'name':'name','type':'string'}"), value);
    cr_assert_eq(given.status, 0, "%s", given.error.message);
    size_t sum = 0;
    for (struct pj_array_item line = {0}; pj_items_next(&given.values[0], &line);)
        sum += (size_t)line.values[L_PRICE].integer * (line.index + 1);
    cr_assert_eq(sum, 333300);
}

Test(items, what_is_wrong_with_one_names_its_place)
{
    decode_lines(OURS, "{'lines':[{'price':5,'count':1,'name':'a','tags':[]},"
                       "{'price':5,'count':1,'name':null,'tags':[]}]}");
    POISONED("lines[1].name is null");
    decode_lines(OURS, "{'lines':[{'price':5,'count':1,'name':'a','tags':['x','much too long']}]}");
    POISONED("lines[0].tags[1] has 13 characters, at most 8 fit");
    decode_lines(OURS, "{'lines':[{'price':5,'count':1,'name':'a','tags':['1','2','3','4']}]}");
    POISONED("lines[0].tags has more than 3 items");
    decode_lines(LINE("{'name':'price','type':'string'}"), "{'lines':[{'price':'5'}]}");
    POISONED("lines[0].name is missing in the writer's schema and has no default");
    decode_lines("{'name':'lines','type':'string'}", "{'lines':'none'}");
    POISONED("lines is of the type string in the writer's schema");
    decode_lines("{'name':'lines','type':{'type':'array','items':'string'}}", "{'lines':['none']}");
    POISONED("lines[0] is of the type string in the writer's schema");
}

Test(items, rules)
{
    const struct pj_source source = {.topic = "t", .fields = fields, .field_count = 1};
    struct pj_error error = {0};
    decode_lines(OURS, "{'lines':[{'price':5,'count':1,'name':'a','tags':['x']},"
                       "{'price':-5,'count':1,'name':'a','tags':['x']}]}");
    cr_assert_eq(given.status, 0);
    cr_assert_eq(pj_check_values(&source, given.values, true, given.arena, &error), -1);
    cr_assert_str_eq(error.message, "lines[1].price is -5, but must be at least 0");
    decode_lines(OURS, "{'lines':[{'price':5,'count':1,'name':'a','tags':['ok']}]}");
    cr_assert_eq(pj_check_values(&source, given.values, true, given.arena, &error), 0);
}

/* An array of records without fields takes no bytes, whatever it claims. */
Test(items, that_take_no_bytes_are_bounded)
{
    static const struct pj_field nothing[] = {{"x", PJ_TEXT}, {"y", PJ_TEXT}};
    static const struct pj_items empty = {nothing, 2, .most = UINT32_MAX};
    static const struct pj_field of[] = {{"lines", .items = &empty}};
    const char *schema = LINE("{'name':'x','type':['null','string'],'default':null},"
                              "{'name':'y','type':['null','string'],'default':null}");
    plan_for(record_of(schema), of, 1, record_of(LINE("")));
    struct pj_value values[1];
    /* 2^40 items in one block */
    const uint8_t body[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00};
    struct pj_arena *arena = pj_arena_new();
    struct pj_error error = {0};
    cr_assert_eq(pj_plan_decode(given.plan, body, sizeof body, arena, values, &error), -1);
    cr_assert_eq(error.class, PJ_POISON);
    cr_assert_lt(pj_arena_used(arena), 100 << 20);
    pj_arena_free(arena);
}

Test(items, fields_that_our_schema_has_not)
{
    static const struct pj_field wrong[] = {{"cost", PJ_INT}};
    static const struct pj_items wrong_items = {wrong, 1};
    static const struct pj_field of[] = {{"lines", .items = &wrong_items}};
    static const struct pj_field no_array[] = {{"lines", PJ_TEXT}};
    struct pj_source source = {
        .topic = "t", .schema = quoted(record_of(OURS)), .fields = of, .field_count = 1};
    struct pj_decoder *decoder;
    struct pj_error error = {0};
    cr_assert_eq(pj_decoder_new(&decoder, &source, &error), -1);
    cr_assert_str_eq(error.message, "the schema of t has no field cost");
    source.fields = no_array;
    cr_assert_eq(pj_decoder_new(&decoder, &source, &error), -1);
}

/* Whatever the bytes are: an error, or values that are there. */
Test(items, any_bytes)
{
    unsigned seed = 1;
    size_t decoded = 0;
    const struct pj_source source = {.topic = "t", .fields = fields, .field_count = 1};
    plan_for(record_of(OURS), fields, 1, record_of(OURS));
    for (int i = 0; i < 30000; i++) {
        size_t length = (size_t)rand_r(&seed) % 24;
        uint8_t *body = malloc(length + 1);
        for (size_t b = 0; b < length; b++)
            body[b] = (uint8_t)(rand_r(&seed) % 3 == 0 ? rand_r(&seed) : rand_r(&seed) % 5);
        struct pj_value values[1];
        struct pj_error error = {0};
        struct pj_arena *arena = given.arena;
        int status = pj_plan_decode(given.plan, body, length, arena, values, &error);
        cr_assert(status == 0 || error.class == PJ_POISON);
        if (status == 0) {
            decoded++;
            (void)!pj_check_values(&source, values, true, arena, &error);
        }
        free(body);
        if (i % 100 == 0)
            cr_assert_lt(pj_arena_used(arena), 100 << 20);
    }
    cr_assert_gt(decoded, 10);
}
