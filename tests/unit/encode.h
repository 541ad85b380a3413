/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of decoding: records encoded by avro-c, which knows nothing of our decoder, and the
 * decoder put around them. JSON is written with single quotes for double ones.
 *
 * A value for a union: null takes its null, `{'@1': x}` its branch 1, any other its first branch
 * that is not null. Bytes and fixed are written in hexadecimal.
 */
#ifndef PJ_TESTS_UNIT_ENCODE_H
#define PJ_TESTS_UNIT_ENCODE_H

#include "avro/decode.h"
#include "base/arena.h"

#include <avro.h>
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>

enum { GIVEN_FIELDS = 64, GIVEN_BYTES = 1 << 16 };

static struct {
    struct pj_arena *arena;
    struct pj_source source;
    struct pj_decoder *decoder;
    struct pj_plan *plan;
    uint8_t body[GIVEN_BYTES];
    size_t length;
    struct pj_value values[GIVEN_FIELDS];
    struct pj_error error;
    int status;
} given;

static inline void given_start(void)
{
    given.arena = pj_arena_new();
}

static inline void given_forget(void)
{
    pj_plan_free(given.plan);
    pj_decoder_free(given.decoder);
    given.plan = NULL;
    given.decoder = NULL;
}

static inline void given_stop(void)
{
    given_forget();
    pj_arena_free(given.arena);
}

static inline const char *quoted(const char *text)
{
    if (strchr(text, '"') != NULL) /* a schema file, with apostrophes in its texts */
        return text;
    char *copy = pj_arena_string(given.arena, text, strlen(text));
    for (char *c = copy; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    return copy;
}

/* A record "ns.R" of these fields. */
static inline const char *record_of(const char *fields)
{
    return pj_arena_printf(given.arena,
                           "{'type':'record','name':'R','namespace':'ns','fields':[%s]}", fields);
}

/* --- encoding -------------------------------------------------------------------------------- */

static inline void fill(avro_value_t *value, const json_t *json);

static inline size_t unhex(const char *hex, uint8_t *bytes)
{
    size_t length = strlen(hex) / 2;
    for (size_t i = 0; i < length; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return length;
}

static inline void fill_union(avro_value_t *value, const json_t *json)
{
    avro_schema_t schema = avro_value_get_schema(value);
    size_t count = avro_schema_union_size(schema);
    const char *key = json_object_iter_key(json_object_iter((json_t *)json));
    int branch = 0;
    if (key != NULL && key[0] == '@') {
        branch = (int)strtol(key + 1, NULL, 10);
        json = json_object_get(json, key);
    } else {
        while ((size_t)branch < count &&
               is_avro_null(avro_schema_union_branch(schema, branch)) != json_is_null(json))
            branch++;
    }
    cr_assert_lt((size_t)branch, count);
    avro_value_t taken;
    cr_assert_eq(avro_value_set_branch(value, branch, &taken), 0);
    fill(&taken, json);
}

static inline void fill_record(avro_value_t *value, const json_t *json)
{
    size_t count;
    avro_value_get_size(value, &count);
    for (size_t i = 0; i < count; i++) {
        avro_value_t field;
        const char *name;
        cr_assert_eq(avro_value_get_by_index(value, i, &field, &name), 0);
        const json_t *own = json_object_get(json, name);
        fill(&field, own != NULL ? own : json_null());
    }
}

static inline void fill_items(avro_value_t *value, const json_t *json)
{
    const char *key;
    size_t i;
    json_t *item;
    avro_value_t element;
    json_array_foreach(json, i, item)
    {
        cr_assert_eq(avro_value_append(value, &element, NULL), 0);
        fill(&element, item);
    }
    json_object_foreach((json_t *)json, key, item)
    {
        cr_assert_eq(avro_value_add(value, key, &element, NULL, NULL), 0);
        fill(&element, item);
    }
}

static inline int fill_leaf(avro_value_t *value, const json_t *json)
{
    uint8_t bytes[4096];
    size_t length;
    int symbol;
    switch (avro_value_get_type(value)) {
    case AVRO_NULL:
        return avro_value_set_null(value);
    case AVRO_BOOLEAN:
        return avro_value_set_boolean(value, json_is_true(json));
    case AVRO_INT32:
        return avro_value_set_int(value, (int32_t)json_integer_value(json));
    case AVRO_INT64:
        return avro_value_set_long(value, json_integer_value(json));
    case AVRO_FLOAT:
        return avro_value_set_float(value, (float)json_number_value(json));
    case AVRO_DOUBLE:
        return avro_value_set_double(value, json_number_value(json));
    case AVRO_STRING:
        return avro_value_set_string(value, json_string_value(json));
    case AVRO_BYTES:
        length = unhex(json_string_value(json), bytes);
        return avro_value_set_bytes(value, bytes, length);
    case AVRO_FIXED:
        length = unhex(json_string_value(json), bytes);
        return avro_value_set_fixed(value, bytes, length);
    case AVRO_ENUM:
        symbol =
            avro_schema_enum_get_by_name(avro_value_get_schema(value), json_string_value(json));
        return avro_value_set_enum(value, symbol);
    default:
        return -1;
    }
}

static inline void fill(avro_value_t *value, const json_t *json)
{
    switch (avro_value_get_type(value)) {
    case AVRO_UNION:
        fill_union(value, json);
        return;
    case AVRO_RECORD:
        fill_record(value, json);
        return;
    case AVRO_ARRAY:
    case AVRO_MAP:
        fill_items(value, json);
        return;
    default:
        cr_assert_eq(fill_leaf(value, json), 0, "%s", avro_strerror());
    }
}

/* Fills given.body. */
static inline void encode(const char *schema_text, const char *value_text)
{
    avro_schema_t schema;
    avro_value_t value;
    const char *text = quoted(schema_text);
    cr_assert_eq(avro_schema_from_json_length(text, strlen(text), &schema), 0, "%s",
                 avro_strerror());
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_generic_value_new(class, &value);
    json_t *json = json_loads(quoted(value_text), 0, NULL);
    cr_assert_not_null(json, "%s", value_text);
    fill(&value, json);
    avro_writer_t writer = avro_writer_memory((char *)given.body, sizeof given.body);
    cr_assert_eq(avro_value_write(writer, &value), 0, "%s", avro_strerror());
    given.length = (size_t)avro_writer_tell(writer);
    avro_writer_free(writer);
    json_decref(json);
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
}

/* --- decoding -------------------------------------------------------------------------------- */

static inline void plan_for(const char *reader, const struct pj_field *fields, size_t count,
                            const char *writer)
{
    given_forget();
    given.source = (struct pj_source){
        .topic = "test",
        .schema = quoted(reader),
        .fields = pj_arena_copy(given.arena, fields, count * sizeof *fields),
        .field_count = count,
    };
    cr_assert_leq(count, GIVEN_FIELDS);
    cr_assert_eq(pj_decoder_new(&given.decoder, &given.source, &given.error), 0, "%s",
                 given.error.message);
    given.status = pj_plan_new(&given.plan, given.decoder, quoted(writer), &given.error);
}

static inline void decode_body(void)
{
    given.status = pj_plan_decode(given.plan, given.body, given.length, given.arena, given.values,
                                  &given.error);
}

static inline void decode_whole(const char *reader, const struct pj_field *fields, size_t count,
                                const char *writer, const char *value)
{
    plan_for(reader, fields, count, writer);
    cr_assert_eq(given.status, 0, "%s", given.error.message);
    encode(writer, value);
    decode_body();
}

/* Our record's fields, the writer's, a value; then what is bound. */
#define GIVEN(reader, writer, value, ...)                                                          \
    decode_whole(record_of(reader), (struct pj_field[]){__VA_ARGS__},                              \
                 sizeof((struct pj_field[]){__VA_ARGS__}) / sizeof(struct pj_field),               \
                 record_of(writer), value)

#define DECODED() cr_assert_eq(given.status, 0, "%s", given.error.message)

#define POISONED(text)                                                                             \
    do {                                                                                           \
        cr_assert_eq(given.status, -1, "it was decoded");                                          \
        cr_assert_eq(given.error.class, PJ_POISON);                                                \
        cr_assert_not_null(strstr(given.error.message, text), "%s", given.error.message);          \
    } while (0)

#define IS_NULL(slot) cr_assert_not(given.values[slot].present)

#define IS_INTEGER(slot, expected)                                                                 \
    do {                                                                                           \
        DECODED();                                                                                 \
        cr_assert(given.values[slot].present);                                                     \
        cr_assert_eq(given.values[slot].integer, expected, "%lld",                                 \
                     (long long)given.values[slot].integer);                                       \
    } while (0)

#define IS_REAL(slot, expected)                                                                    \
    do {                                                                                           \
        DECODED();                                                                                 \
        cr_assert(given.values[slot].present &&given.values[slot].real == (expected));             \
    } while (0)

#define IS_TEXT(slot, expected)                                                                    \
    do {                                                                                           \
        DECODED();                                                                                 \
        cr_assert(given.values[slot].present);                                                     \
        cr_assert(pj_text_is(&given.values[slot], expected), "%.*s",                               \
                  (int)given.values[slot].text.length, given.values[slot].text.data);              \
    } while (0)

#define IS_JSON(slot, expected) IS_TEXT(slot, quoted(expected))

#define IS_BOOL(slot, expected)                                                                    \
    do {                                                                                           \
        DECODED();                                                                                 \
        cr_assert(given.values[slot].present &&given.values[slot].boolean == (expected));          \
    } while (0)

#define IS_UUID(slot, expected)                                                                    \
    do {                                                                                           \
        uint8_t uuid_[16];                                                                         \
        DECODED();                                                                                 \
        unhex(expected, uuid_);                                                                    \
        cr_assert(given.values[slot].present);                                                     \
        cr_assert_arr_eq(given.values[slot].uuid, uuid_, 16);                                      \
    } while (0)

#endif
