/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that nobody meant well: each is a dead letter, in bounded time and memory. */
#include "avro/avro_reader.h"
#include "projections/safari/safari.h"
#include "schemas.h"
#include "unit/encode.h"

TestSuite(avro_reader, .init = given_start, .fini = given_stop, .timeout = 60);

/* --- numbers --------------------------------------------------------------------------------- */

static int read_long(const char *hex, int64_t *value)
{
    uint8_t bytes[16];
    struct pj_avro_reader reader;
    pj_avro_reader_init(&reader, bytes, unhex(hex, bytes), &given.error);
    return pj_avro_read_long(&reader, value);
}

Test(avro_reader, numbers)
{
    static const struct {
        const char *hex;
        int64_t value;
    } cases[] = {
        {"00", 0},
        {"01", -1},
        {"02", 1},
        {"7f", -64},
        {"8001", 64},
        {"808000", 0}, /* longer than it need be, but a number */
        {"feffffffffffffffff01", INT64_MAX},
        {"ffffffffffffffffff01", INT64_MIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value;
        cr_assert_eq(read_long(cases[i].hex, &value), 0, "%s", cases[i].hex);
        cr_assert_eq(value, cases[i].value, "%s", cases[i].hex);
    }
}

Test(avro_reader, numbers_that_never_end)
{
    static const char *const wrong[] = {
        "",
        "80",
        "ffffffffffffffffff",   /* nine, and the tenth is missing */
        "ffffffffffffffffff02", /* 65 bits */
        "ffffffffffffffffff7f",
        "80808080808080808080"
        "00", /* eleven */
        "ffffffffffffffffffffff01",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        int64_t value;
        cr_assert_eq(read_long(wrong[i], &value), -1, "%s", wrong[i]);
        cr_assert_eq(given.error.class, PJ_POISON);
    }
}

/* --- records of one field -------------------------------------------------------------------- */

/* The writer's field `a` of this type is read as ours of the other, from these bytes. */
static void decode_hex(const char *type, const char *hex, enum pj_type as)
{
    struct pj_field field = {"a", as};
    const char *schema = record_of(pj_arena_printf(given.arena, "{'name':'a','type':%s}", type));
    plan_for(schema, &field, 1, schema);
    cr_assert_eq(given.status, 0, "%s", given.error.message);
    given.length = unhex(hex, given.body);
    size_t before = pj_arena_used(given.arena);
    decode_body();
    cr_assert_lt(pj_arena_used(given.arena) - before, 1 << 20);
}

/* Passed over, and rendered. */
static void poisons(const char *type, const char *hex, const char *why)
{
    decode_hex(type, hex, PJ_BOOL);
    POISONED(why);
    decode_hex(type, hex, PJ_JSONB);
    POISONED(why);
}

#define ARRAY(items) "{'type':'array','items':" items "}"
#define MAP(values)  "{'type':'map','values':" values "}"

Test(avro_reader, lengths_of_strings)
{
    static const char *const types[] = {"'string'", "'bytes'"};
    for (int i = 0; i < 2; i++) {
        enum pj_type as = i == 0 ? PJ_TEXT : PJ_BYTEA;
        decode_hex(types[i], "0161", as);
        POISONED("negative length");
        decode_hex(types[i], "ffffffffffffffffff01", as); /* INT64_MIN */
        POISONED("negative length");
        decode_hex(types[i], "0461", as);
        POISONED("ends too early");
        decode_hex(types[i], "808080801061", as); /* 2^31 */
        POISONED("ends too early");
        decode_hex(types[i], "feffffffffffffffff0161", as);
        POISONED("ends too early");
        decode_hex(types[i], "00", as);
        DECODED();
    }
    poisons(ARRAY("'string'"), "020161", "negative length");
    poisons(MAP("'int'"), "02feffffffffffffffff0161", "ends too early");
    poisons("{'type':'array','items':{'type':'fixed','name':'F','size':1000000}}", "02aabb",
            "ends too early");
}

#define COUNT_2_60 "808080808080808020"

Test(avro_reader, many_items_that_take_no_bytes)
{
    static const char *const nothings[] = {
        "'null'",
        "{'type':'fixed','name':'F','size':0}",
        "{'type':'record','name':'E','fields':[]}",
        "{'type':'record','name':'N','fields':[{'name':'n','type':'null'}]}",
    };
    for (size_t i = 0; i < sizeof nothings / sizeof nothings[0]; i++) {
        const char *type = pj_arena_printf(given.arena, ARRAY("%s"), nothings[i]);
        poisons(type, COUNT_2_60 "00", "claims more items than its size can hold");
        poisons(type, "feffffffffffffffff0100", "claims more items than its size can hold");
        /* INT64_MIN items in a block of zero bytes */
        poisons(type, "ffffffffffffffffff010000", "claims more items than its size can hold");
    }
    decode_hex(ARRAY("'null'"), "0600", PJ_JSONB);
    IS_TEXT(0, "[null,null,null]");
}

Test(avro_reader, many_blocks_of_many_items)
{
    poisons(ARRAY("'int'"), COUNT_2_60 "0202", "ends too early");
    poisons(MAP("'null'"), COUNT_2_60 "000000", "ends too early");
    poisons(ARRAY("{'type':'array','items':'null'}"), "02" COUNT_2_60,
            "claims more items than its size can hold");
}

Test(avro_reader, blocks_with_a_size)
{
    /* -2 items in 2 bytes, then 1 item, then the end. */
    decode_hex(ARRAY("'int'"), "03040204020600", PJ_JSONB);
    IS_TEXT(0, "[1,2,3]");
    /* The size is a hint: a lie in it changes nothing. */
    decode_hex(ARRAY("'int'"), "03feffffffffffffffff01020400", PJ_JSONB);
    IS_TEXT(0, "[1,2]");
    decode_hex(ARRAY("'int'"), "0301020400", PJ_BOOL);
    IS_BOOL(0, true);
    poisons(ARRAY("'int'"), "03", "ends too early");
}

Test(avro_reader, indexes_out_of_range)
{
    poisons("['null','boolean']", "04", "union has no member 2");
    poisons("['null','boolean']", "01", "union has no member -1");
    poisons("['null','boolean']", "ffffffffffffffffff01", "union has no member");
    poisons(ARRAY("{'type':'enum','name':'E','symbols':['P']}"), "020200", "enum has no member 1");
    poisons(ARRAY("{'type':'enum','name':'E','symbols':[]}"), "020000", "enum has no member 0");
    decode_hex("{'type':'enum','name':'E','symbols':['P']}", "01", PJ_TEXT);
    POISONED("enum has no member -1");
}

Test(avro_reader, booleans)
{
    poisons("{'type':'array','items':'boolean'}", "020200", "neither 0 nor 1");
    decode_hex("'boolean'", "ff", PJ_BOOL);
    POISONED("neither 0 nor 1");
}

Test(avro_reader, ints_of_more_than_32_bits)
{
    decode_hex("'int'", "8080808010", PJ_INT); /* 2^31 */
    POISONED("does not fit 32 bits");
    decode_hex("'int'", "8080808010", PJ_JSONB);
    POISONED("does not fit 32 bits");
    decode_hex("{'type':'int','logicalType':'date'}", "feffffffffffffffff01", PJ_JSONB);
    POISONED("does not fit 32 bits");
    decode_hex(ARRAY("'int'"), "02808080801000", PJ_BOOL);
    POISONED("does not fit 32 bits");
}

Test(avro_reader, deep_data_of_a_recursive_schema)
{
    static const char list[] = "{'type':'record','name':'L','fields':["
                               "{'name':'next','type':['null','L']}]}";
    struct pj_field fields[] = {{"a", PJ_BOOL}, {"a", PJ_JSONB}};
    const char *schema = record_of(pj_arena_printf(given.arena, "{'name':'a','type':%s}", list));
    for (size_t i = 0; i < 2; i++) {
        plan_for(schema, &fields[i], 1, schema);
        memset(given.body, 2, 40000);
        given.length = 40000;
        decode_body();
        POISONED("nested more than 64 deep");
        /* Twenty are fine. */
        given.length = 20;
        given.body[19] = 0;
        decode_body();
        DECODED();
    }
    /* A record that holds itself has no end at all. */
    poisons("{'type':'record','name':'S','fields':[{'name':'s','type':'S'}]}", "00",
            "nested more than 64 deep");
    poisons(
        "{'type':'record','name':'A','fields':[{'name':'s','type':{'type':'array','items':'A'}}]"
        "}",
        "020202020202020202020202020202020202020202020202020202020202020202020202020202020202", "");
}

/* A schema with long names makes a small record a large JSON. */
Test(avro_reader, json_much_larger_than_its_record)
{
    char *name = pj_arena_alloc(given.arena, 100001);
    memset(name, 'n', 100000);
    const char *type = pj_arena_printf(
        given.arena,
        "{'type':'array','items':{'type':'record','name':'N','fields':[{'name':'%s','type':'null'}"
        "]}}",
        name);
    const char *symbols = pj_arena_printf(
        given.arena, "{'type':'array','items':{'type':'enum','name':'E','symbols':['%s']}}", name);
    decode_hex(type,
               "8020"
               "00",
               PJ_JSONB); /* 2,048 items */
    POISONED("as JSON");
    decode_hex(symbols, "2800000000000000000000000000000000000000000000", PJ_JSONB);
    POISONED("as JSON");
}

/* --- records of the topics ------------------------------------------------------------------- */

#define ID "11111111-2222-4333-8444-555555555555"

static void submitted(void)
{
    decode_whole(pj_schema_safari_commands, safari_command_fields, PJ_COUNT(safari_command_fields),
                 pj_schema_safari_commands,
                 "{'event_id':'" ID "','command_id':'" ID "','cursor':'1000-7','emitted_at':5,"
                 "'body':{'@0':{'type':'sora.generate','payload':'{}','idempotency_key':'k',"
                 "'requested_at':77,'target':{'session_id':'" ID "','platform':'x'}}}}");
    DECODED();
}

static void telemetry(void)
{
    decode_whole(pj_schema_safari_telemetry, safari_frame_fields, PJ_COUNT(safari_frame_fields),
                 pj_schema_safari_telemetry,
                 "{'event_id':'" ID "','version':'1.0','type':'status.changed','severity':'info',"
                 "'command_id':'" ID "','target':{'account_id':'" ID "'},'payload':'{}',"
                 "'cursor':'1-2','emitted_at':9}");
    DECODED();
}

/* From a block of its exact size, so that AddressSanitizer sees a read behind the end. */
static int decode_exactly(const uint8_t *data, size_t length)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    memcpy(copy, data, length);
    int status = pj_plan_decode(given.plan, copy, length, given.arena, given.values, &given.error);
    /* What it says of the texts is true. */
    for (size_t i = 0; status == 0 && i < given.source.field_count; i++) {
        enum pj_type type = given.source.fields[i].type;
        const struct pj_value *value = &given.values[i];
        unsigned sum = 0;
        for (size_t c = 0;
             value->present && (type == PJ_TEXT || type == PJ_JSONB) && c < value->text.length; c++)
            sum += (unsigned char)value->text.data[c];
        cr_assert_lt(sum, 1u << 30);
    }
    free(copy);
    return status;
}

Test(avro_reader, cut_off_at_every_byte)
{
    void (*const records[])(void) = {submitted, telemetry};
    for (int r = 0; r < 2; r++) {
        records[r]();
        for (size_t length = 0; length < given.length; length++) {
            cr_assert_eq(decode_exactly(given.body, length), -1, "of %zu bytes", length);
            cr_assert_eq(given.error.class, PJ_POISON);
        }
        cr_assert_eq(decode_exactly(given.body, given.length), 0);
    }
}

Test(avro_reader, every_byte_changed)
{
    void (*const records[])(void) = {submitted, telemetry};
    for (int r = 0; r < 2; r++) {
        records[r]();
        for (size_t at = 0; at < given.length; at++) {
            uint8_t right = given.body[at];
            for (unsigned byte = 0; byte < 256; byte++) {
                given.body[at] = (uint8_t)byte;
                if (decode_exactly(given.body, given.length) != 0)
                    cr_assert_eq(given.error.class, PJ_POISON);
            }
            given.body[at] = right;
        }
    }
}

static void random_bytes(unsigned seed, int tries)
{
    size_t before = pj_arena_used(given.arena);
    for (int i = 0; i < tries; i++) {
        uint8_t bytes[200];
        size_t length = (size_t)rand_r(&seed) % sizeof bytes;
        for (size_t b = 0; b < length; b++)
            bytes[b] = (uint8_t)(rand_r(&seed) >> (rand_r(&seed) % 8));
        if (decode_exactly(bytes, length) != 0)
            cr_assert_eq(given.error.class, PJ_POISON, "%s", given.error.message);
        if (i % 1000 == 999) {
            cr_assert_lt(pj_arena_used(given.arena) - before, 200 << 20);
            before = pj_arena_used(given.arena);
        }
    }
}

Test(avro_reader, random_records)
{
    submitted();
    random_bytes(1, 50000);
    telemetry();
    random_bytes(2, 50000);
}

/* A schema with everything in it, so that garbage gets further. */
Test(avro_reader, random_records_of_a_generous_schema)
{
    static const char schema[] =
        "{'type':'record','name':'R','fields':[{'name':'a','type':{'type':'map','values':["
        "'null','boolean','int',{'type':'long','logicalType':'timestamp-millis'},'float','double',"
        "'bytes','string',{'type':'array','items':'R'},{'type':'enum','name':'E','symbols':['P','Q'"
        "]},{'type':'fixed','name':'F','size':2},{'type':'int','logicalType':'date'}]}},"
        "{'name':'b','type':['null','R',{'type':'array','items':'null'}]},"
        "{'name':'c','type':['null',{'type':'bytes','logicalType':'decimal','precision':9,"
        "'scale':2}]}]}";
    static const struct pj_field fields[] = {
        {"a", PJ_JSONB}, {"b", PJ_BOOL}, {"b.a", PJ_JSONB}, {"c", PJ_NUMERIC}};
    plan_for(schema, fields, 4, schema);
    cr_assert_eq(given.status, 0, "%s", given.error.message);
    unsigned seed = 3;
    int good = 0;
    for (int i = 0; i < 100000; i++) {
        uint8_t bytes[60];
        size_t length = (size_t)rand_r(&seed) % sizeof bytes;
        for (size_t b = 0; b < length; b++)
            bytes[b] = (uint8_t)(rand_r(&seed) % 8 > 0 ? rand_r(&seed) % 3 * 2 : rand_r(&seed));
        if (decode_exactly(bytes, length) == 0 || strstr(given.error.message, "left over") != NULL)
            good++;
        if (i % 1000 != 999)
            continue;
        cr_assert_lt(pj_arena_used(given.arena), 200 << 20);
        pj_arena_reset(given.arena);
        plan_for(schema, fields, 4, schema);
    }
    cr_assert_gt(good, 1000, "%d", good);
}
