/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/json_encode.h"

#include "avro/wire.h"
#include "base/time_text.h"
#include "projectionist/value.h"

#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {
    [PJ_AVRO_NULL] = "null",   [PJ_AVRO_BOOLEAN] = "boolean", [PJ_AVRO_INT] = "int",
    [PJ_AVRO_LONG] = "long",   [PJ_AVRO_FLOAT] = "float",     [PJ_AVRO_DOUBLE] = "double",
    [PJ_AVRO_BYTES] = "bytes", [PJ_AVRO_STRING] = "string",   [PJ_AVRO_RECORD] = "record",
    [PJ_AVRO_ENUM] = "enum",   [PJ_AVRO_ARRAY] = "array",     [PJ_AVRO_MAP] = "map",
    [PJ_AVRO_UNION] = "union", [PJ_AVRO_FIXED] = "fixed",
};

struct encoding {
    struct pj_builder *out;
    const char *field; /* the innermost one, for errors */
    struct pj_error *error;
};

static int encode(struct encoding *encoding, const struct pj_avro_type *type, const json_t *json);

static int wrong(const struct encoding *encoding, const struct pj_avro_type *type)
{
    return pj_error_set(encoding->error, PJ_POISON, "the field %s does not fit its type, %s%s%s",
                        encoding->field, kinds[type->kind], type->name != NULL ? " " : "",
                        type->name != NULL ? type->name : "");
}

/* --- what fits ------------------------------------------------------------------------------- */

static bool is_time(const struct pj_avro_type *type)
{
    return type->logical == PJ_LOGICAL_TIMESTAMP_MILLIS ||
           type->logical == PJ_LOGICAL_TIMESTAMP_MICROS ||
           type->logical == PJ_LOGICAL_TIMESTAMP_NANOS;
}

static int symbol_of(const struct pj_avro_type *type, const json_t *json)
{
    const char *text = json_string_value(json);
    for (size_t i = 0; text != NULL && i < type->count; i++) {
        if (strcmp(type->symbols[i], text) == 0)
            return (int)i;
    }
    return -1;
}

static const struct pj_avro_field *field_of(const struct pj_avro_type *record, const char *name)
{
    for (size_t i = 0; i < record->count; i++) {
        if (strcmp(record->fields[i].name, name) == 0)
            return &record->fields[i];
    }
    return NULL;
}

static bool has_fields(const struct pj_avro_type *record, const json_t *json)
{
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)json, name, member)
    {
        if (field_of(record, name) == NULL)
            return false;
    }
    for (size_t i = 0; i < record->count; i++) {
        if (record->fields[i].default_json == NULL &&
            json_object_get(json, record->fields[i].name) == NULL)
            return false;
    }
    return json_is_object(json);
}

static bool fits(const struct pj_avro_type *type, const json_t *json)
{
    switch (type->kind) {
    case PJ_AVRO_NULL:
        return json_is_null(json);
    case PJ_AVRO_BOOLEAN:
        return json_is_boolean(json);
    case PJ_AVRO_INT:
        return json_is_integer(json) &&
               (int32_t)json_integer_value(json) == json_integer_value(json);
    case PJ_AVRO_LONG:
        return json_is_integer(json) || (is_time(type) && json_is_string(json));
    case PJ_AVRO_FLOAT:
    case PJ_AVRO_DOUBLE:
        return json_is_number(json);
    case PJ_AVRO_BYTES:
    case PJ_AVRO_STRING:
    case PJ_AVRO_FIXED:
        return json_is_string(json);
    case PJ_AVRO_ENUM:
        return symbol_of(type, json) >= 0;
    case PJ_AVRO_ARRAY:
        return json_is_array(json);
    case PJ_AVRO_MAP:
        return json_is_object(json);
    case PJ_AVRO_RECORD:
        return has_fields(type, json);
    case PJ_AVRO_UNION:
        return false; /* is no branch of one */
    }
    return false;
}

/* --- bytes ----------------------------------------------------------------------------------- */

static void put(const struct encoding *encoding, const void *bytes, size_t length)
{
    pj_builder_add_bytes(encoding->out, bytes, length);
}

static void put_long(const struct encoding *encoding, int64_t value)
{
    uint64_t rest = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    do {
        uint8_t byte = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        put(encoding, &byte, 1);
        rest >>= 7;
    } while (rest != 0);
}

/* The characters up to U+00FF are a byte each. */
static int encode_bytes(struct encoding *encoding, const struct pj_avro_type *type,
                        const json_t *json)
{
    const char *text = json_string_value(json);
    struct pj_builder bytes = {0};
    uint8_t uuid[16];
    bool good = true;
    if (type->logical == PJ_LOGICAL_UUID && pj_uuid_parse(text, strlen(text), uuid)) {
        put(encoding, uuid, sizeof uuid);
        return 0;
    }
    for (size_t i = 0; i < json_string_length(json) && good; i++) {
        uint8_t byte = (uint8_t)text[i];
        good = byte < 0xc4; /* U+0100 begins with it */
        if (byte >= 0xc2)
            byte = (uint8_t)((byte << 6) | ((uint8_t)text[++i] & 0x3f));
        pj_builder_add_bytes(&bytes, &byte, 1);
    }
    good = good && (type->kind == PJ_AVRO_BYTES || bytes.length == type->size);
    if (good && type->kind == PJ_AVRO_BYTES)
        put_long(encoding, (int64_t)bytes.length);
    size_t length = bytes.length;
    char *data = pj_builder_take(&bytes);
    if (good)
        put(encoding, data, length);
    free(data);
    return good ? 0 : wrong(encoding, type);
}

static int encode_text(struct encoding *encoding, const struct pj_avro_type *type,
                       const json_t *json)
{
    const struct pj_bytes text = {json_string_value(json), json_string_length(json)};
    if (type->logical == PJ_LOGICAL_UUID && !pj_is_uuid(text))
        return pj_error_set(encoding->error, PJ_POISON, "the field %s is not a UUID",
                            encoding->field);
    put_long(encoding, (int64_t)text.length);
    put(encoding, text.data, text.length);
    return 0;
}

static int encode_long(struct encoding *encoding, const struct pj_avro_type *type,
                       const json_t *json)
{
    int64_t value = json_integer_value(json);
    if (json_is_string(json)) {
        if (pj_time_parse(encoding->field, json_string_value(json), &value, encoding->error) != 0) {
            encoding->error->class = PJ_POISON;
            return -1;
        }
        if (type->logical == PJ_LOGICAL_TIMESTAMP_MILLIS)
            value /= 1000;
        else if (type->logical == PJ_LOGICAL_TIMESTAMP_NANOS &&
                 __builtin_mul_overflow(value, 1000, &value))
            return wrong(encoding, type);
    }
    put_long(encoding, value);
    return 0;
}

static void encode_real(const struct encoding *encoding, const struct pj_avro_type *type,
                        const json_t *json)
{
    double value = json_number_value(json);
    float single = (float)value;
    uint64_t bits = 0;
    if (type->kind == PJ_AVRO_FLOAT)
        memcpy(&bits, &single, sizeof single);
    else
        memcpy(&bits, &value, sizeof value);
    bits = htole64(bits);
    put(encoding, &bits, type->kind == PJ_AVRO_FLOAT ? 4 : 8);
}

/* --- what has parts -------------------------------------------------------------------------- */

static int encode_record(struct encoding *encoding, const struct pj_avro_type *type,
                         const json_t *json)
{
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)json, name, member)
    {
        if (field_of(type, name) == NULL)
            return pj_error_set(encoding->error, PJ_POISON, "%s has no field %.100s", type->name,
                                name);
    }
    for (size_t i = 0; i < type->count; i++) {
        const struct pj_avro_field *field = &type->fields[i];
        const json_t *value = json_object_get(json, field->name);
        encoding->field = field->name;
        if (value == NULL && field->default_json == NULL)
            return pj_error_set(encoding->error, PJ_POISON, "the field %s is missing", field->name);
        if (encode(encoding, field->type, value != NULL ? value : field->default_json) != 0)
            return -1;
    }
    return 0;
}

/* All items in one block, then the empty one. */
static int encode_items(struct encoding *encoding, const struct pj_avro_type *type,
                        const json_t *json)
{
    size_t count = json_is_array(json) ? json_array_size(json) : json_object_size(json);
    if (count > 0)
        put_long(encoding, (int64_t)count);
    for (size_t i = 0; i < json_array_size(json); i++) {
        if (encode(encoding, type->branches[0], json_array_get(json, i)) != 0)
            return -1;
    }
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)json, name, member)
    {
        put_long(encoding, (int64_t)strlen(name));
        put(encoding, name, strlen(name));
        if (encode(encoding, type->branches[0], member) != 0)
            return -1;
    }
    put_long(encoding, 0);
    return 0;
}

static bool is_branch(const struct pj_avro_type *branch, const char *name)
{
    const char *full = branch->name != NULL ? branch->name : kinds[branch->kind];
    return strcmp(full, name) == 0 || strcmp(pj_schema_short_name(full), name) == 0;
}

static int encode_union(struct encoding *encoding, const struct pj_avro_type *type,
                        const json_t *json)
{
    void *only = json_object_size(json) == 1 ? json_object_iter((json_t *)json) : NULL;
    for (int named = only != NULL; named >= 0; named--) {
        const json_t *value = named ? json_object_iter_value(only) : json;
        for (size_t i = 0; i < type->count; i++) {
            const struct pj_avro_type *branch = type->branches[i];
            if (named ? !is_branch(branch, json_object_iter_key(only)) : !fits(branch, value))
                continue;
            put_long(encoding, (int64_t)i);
            return encode(encoding, branch, value);
        }
    }
    return wrong(encoding, type);
}

static int encode(struct encoding *encoding, const struct pj_avro_type *type, const json_t *json)
{
    /* What a record lacks or has too much has a sentence of its own. */
    bool is_record = type->kind == PJ_AVRO_RECORD && json_is_object(json);
    if (type->kind != PJ_AVRO_UNION && !is_record && !fits(type, json))
        return wrong(encoding, type);
    switch (type->kind) {
    case PJ_AVRO_NULL:
        return 0;
    case PJ_AVRO_BOOLEAN:
        put(encoding, json_is_true(json) ? "\1" : "\0", 1);
        return 0;
    case PJ_AVRO_INT:
    case PJ_AVRO_LONG:
        return encode_long(encoding, type, json);
    case PJ_AVRO_FLOAT:
    case PJ_AVRO_DOUBLE:
        encode_real(encoding, type, json);
        return 0;
    case PJ_AVRO_BYTES:
    case PJ_AVRO_FIXED:
        return encode_bytes(encoding, type, json);
    case PJ_AVRO_STRING:
        return encode_text(encoding, type, json);
    case PJ_AVRO_ENUM:
        put_long(encoding, symbol_of(type, json));
        return 0;
    case PJ_AVRO_ARRAY:
    case PJ_AVRO_MAP:
        return encode_items(encoding, type, json);
    case PJ_AVRO_RECORD:
        return encode_record(encoding, type, json);
    case PJ_AVRO_UNION:
        break;
    }
    return encode_union(encoding, type, json);
}

int pj_json_encode(const struct pj_avro_type *type, const json_t *json, struct pj_builder *out,
                   struct pj_error *error)
{
    struct encoding encoding = {.out = out, .field = "of the event", .error = error};
    return encode(&encoding, type, json);
}
