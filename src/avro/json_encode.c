/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/json_encode.h"

#include "avro/wire.h"
#include "base/decimal.h"
#include "base/json_numbers.h"
#include "base/jsonb.h"
#include "base/memory.h"
#include "base/time_text.h"
#include "projectionist/value.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* --- values ---------------------------------------------------------------------------------- */

struct writer {
    struct pj_builder *out;
    struct pj_error *error;
    bool is_plain;   /* branches are not named but by "type" */
    bool is_default; /* of the schema: bytes are in Avro's JSON encoding */
};

/* Where a value is; its own name last. */
struct path {
    const struct path *before;
    const char *name;
};

static void add_path(struct pj_builder *text, const struct path *path)
{
    if (path->before != NULL) {
        add_path(text, path->before);
        pj_builder_add(text, path->before->before != NULL ? ".%s" : "%s", path->name);
    }
}

static int refuse(const struct writer *writer, const struct path *path, const char *reason)
{
    struct pj_builder text = {0};
    add_path(&text, path);
    char *shown = pj_builder_take(&text);
    int status = *shown != '\0'
                     ? pj_error_set(writer->error, PJ_POISON, "the field %s %s", shown, reason)
                     : pj_error_set(writer->error, PJ_POISON, "the event %s", reason);
    free(shown);
    return status;
}

static void put_long(const struct writer *writer, int64_t number)
{
    uint64_t left = ((uint64_t)number << 1) ^ (uint64_t)(number >> 63);
    uint8_t bytes[10];
    size_t length = 0;
    for (; left > 0x7f; left >>= 7)
        bytes[length++] = (uint8_t)(left | 0x80);
    bytes[length++] = (uint8_t)left;
    pj_builder_add_bytes(writer->out, bytes, length);
}

static void put_text(const struct writer *writer, const char *text, size_t length)
{
    put_long(writer, (int64_t)length);
    pj_builder_add_bytes(writer->out, text, length);
}

static int put_value(const struct writer *writer, const struct pj_avro_type *type,
                     const json_t *value, const struct path *path);

static bool is_time(const struct pj_avro_type *type)
{
    return type->logical == PJ_LOGICAL_TIMESTAMP_MILLIS ||
           type->logical == PJ_LOGICAL_TIMESTAMP_MICROS ||
           type->logical == PJ_LOGICAL_TIMESTAMP_NANOS;
}

static int put_time(const struct writer *writer, const struct pj_avro_type *type,
                    const json_t *value, const struct path *path)
{
    int64_t time;
    if (!pj_time_read(json_string_value(value), &time))
        return refuse(writer, path, "is not a time like 2026-11-21T05:06:34Z");
    if (type->logical == PJ_LOGICAL_TIMESTAMP_MILLIS)
        time /= 1000;
    else if (type->logical == PJ_LOGICAL_TIMESTAMP_NANOS &&
             __builtin_mul_overflow(time, 1000, &time))
        return refuse(writer, path, "does not fit 64 bits");
    put_long(writer, time);
    return 0;
}

static int put_integer(const struct writer *writer, const struct pj_avro_type *type,
                       const json_t *value, const struct path *path)
{
    json_int_t number = json_integer_value(value);
    if (is_time(type) && json_is_string(value))
        return put_time(writer, type, value, path);
    if (!json_is_integer(value))
        return refuse(writer, path, "is not an integer");
    if (type->kind == PJ_AVRO_INT && number != (int32_t)number)
        return refuse(writer, path, "does not fit 32 bits");
    put_long(writer, number);
    return 0;
}

static int put_real(const struct writer *writer, const struct pj_avro_type *type,
                    const json_t *value, const struct path *path)
{
    double number = json_number_value(value);
    float shorter = (float)number;
    if (!json_is_number(value))
        return refuse(writer, path, "is not a number");
    if (type->kind == PJ_AVRO_FLOAT)
        pj_builder_add_bytes(writer->out, &shorter, sizeof shorter);
    else
        pj_builder_add_bytes(writer->out, &number, sizeof number);
    return 0;
}

static int put_string(const struct writer *writer, const struct pj_avro_type *type,
                      const json_t *value, const struct path *path)
{
    const struct pj_bytes text = {json_string_value(value), json_string_length(value)};
    if (text.data == NULL)
        return refuse(writer, path, "is not a string");
    if (type->logical == PJ_LOGICAL_UUID && !pj_is_uuid(text))
        return refuse(writer, path, "is not a UUID");
    put_text(writer, text.data, text.length);
    return 0;
}

/* The number times ten to the power of the scale, as a big integer with its last byte first;
 * its length, 0 where it has more digits than there is room for. */
static size_t unscaled(const struct pj_decimal *decimal, int scale, uint8_t *bytes, size_t most)
{
    size_t length = 1;
    int64_t digits = decimal->sign == 0 ? 0 : decimal->point + scale;
    const char *at = decimal->digits;
    bytes[0] = 0;
    for (int64_t i = 0; i < digits; i++) {
        unsigned carry = i < decimal->count ? (unsigned)(pj_decimal_digit(decimal, &at) - '0') : 0;
        for (size_t k = 0; k < length; k++) {
            carry += bytes[k] * 10u;
            bytes[k] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry != 0 && length == most)
            return 0;
        if (carry != 0)
            bytes[length++] = (uint8_t)carry;
    }
    return length;
}

/* Of the number, in two's complement, the first byte first; it is at least so long. */
static size_t put_twos(uint8_t *out, const uint8_t *magnitude, size_t length, bool is_negative,
                       size_t least)
{
    size_t count = length + (magnitude[length - 1] >> 7);
    unsigned carry = 1;
    if (count < least)
        count = least;
    for (size_t i = 0; i < count; i++) {
        unsigned byte = i < length ? magnitude[i] : 0;
        if (is_negative) {
            byte = (byte ^ 0xffu) + carry;
            carry = byte >> 8;
        }
        out[count - 1 - i] = (uint8_t)byte;
    }
    return count;
}

/* False: it is no number, or one of more digits than a double keeps. */
static bool decimal_text(const json_t *value, char number[PJ_REAL_TEXT], const char **text)
{
    *text = number;
    if (json_is_integer(value)) {
        pj_text_whole(number, PJ_REAL_TEXT, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        pj_text_whole(number, PJ_REAL_TEXT, "%.15g", json_real_value(value));
        return strtod(number, NULL) == json_real_value(value);
    } else {
        *text = json_string_value(value);
    }
    return *text != NULL && (*text)[strspn(*text, "+-.0123456789eE")] == '\0';
}

static int put_decimal(const struct writer *writer, const struct pj_avro_type *type,
                       const json_t *value, const struct path *path)
{
    enum { BYTES_MOST = 250 };
    char number[PJ_REAL_TEXT];
    uint8_t magnitude[BYTES_MOST], bytes[BYTES_MOST + 1];
    const char *text;
    struct pj_decimal decimal;
    if (!decimal_text(value, number, &text) || !pj_decimal_read(text, strlen(text), &decimal))
        return refuse(writer, path,
                      json_is_real(value)
                          ? "has more digits than a JSON number keeps; send it as text"
                          : "is not a decimal number");
    if (decimal.sign != 0 && decimal.count - decimal.point > type->scale)
        return refuse(writer, path, "has too many digits after the point");
    if (decimal.sign != 0 && decimal.point + type->scale > type->precision)
        return refuse(writer, path, "has too many digits");
    size_t length = unscaled(&decimal, type->scale, magnitude, sizeof magnitude);
    bool is_fixed = type->kind == PJ_AVRO_FIXED;
    if (length == 0 || (is_fixed && type->size > BYTES_MOST))
        return refuse(writer, path, "has too many digits");
    length = put_twos(bytes, magnitude, length, decimal.sign < 0, is_fixed ? type->size : 0);
    if (is_fixed && length != type->size)
        return refuse(writer, path, "has too many digits");
    if (!is_fixed)
        put_long(writer, (int64_t)length);
    pj_builder_add_bytes(writer->out, bytes, length);
    return 0;
}

/* Characters up to U+00FF are a byte each, as in Avro's JSON encoding. */
static int put_bytes(const struct writer *writer, const struct pj_avro_type *type,
                     const json_t *value, const struct path *path)
{
    const uint8_t *text = (const uint8_t *)json_string_value(value);
    size_t length = json_string_length(value);
    struct pj_builder bytes = {0};
    uint8_t uuid[16];
    if (type->logical == PJ_LOGICAL_DECIMAL && !writer->is_default)
        return put_decimal(writer, type, value, path);
    if (text == NULL)
        return refuse(writer, path, "is not a string");
    if (type->logical == PJ_LOGICAL_UUID) {
        if (!pj_uuid_parse((const char *)text, length, uuid))
            return refuse(writer, path, "is not a UUID");
        pj_builder_add_bytes(writer->out, uuid, sizeof uuid);
        return 0;
    }
    for (size_t i = 0; i < length; i++) {
        /* In UTF-8, which jansson has checked: U+0080 to U+00FF begin with 0xc2 or 0xc3. */
        uint8_t byte = text[i];
        if (byte >= 0x80)
            byte = (uint8_t)(byte << 6 | (text[i + 1] & 0x3f));
        if (text[i] > 0xc3) {
            free(pj_builder_take(&bytes));
            return refuse(writer, path, "has a character beyond U+00FF, which is not a byte");
        }
        i += text[i] >= 0x80;
        pj_builder_add_bytes(&bytes, &byte, 1);
    }
    length = bytes.length;
    char *data = pj_builder_take(&bytes);
    bool fits = type->kind == PJ_AVRO_BYTES || length == type->size;
    if (fits && type->kind == PJ_AVRO_BYTES)
        put_long(writer, (int64_t)length);
    if (fits)
        pj_builder_add_bytes(writer->out, data, length);
    free(data);
    return fits ? 0 : refuse(writer, path, "is not of its size");
}

static int put_symbol(const struct writer *writer, const struct pj_avro_type *type,
                      const json_t *value, const struct path *path)
{
    const char *text = json_string_value(value);
    for (size_t i = 0; text != NULL && i < type->count; i++) {
        if (strcmp(type->symbols[i], text) == 0) {
            put_long(writer, (int64_t)i);
            return 0;
        }
    }
    return refuse(writer, path, "is none of its symbols");
}

static bool allows_null(const struct pj_avro_type *type)
{
    for (size_t i = 0; type->kind == PJ_AVRO_UNION && i < type->count; i++) {
        if (type->branches[i]->kind == PJ_AVRO_NULL)
            return true;
    }
    return type->kind == PJ_AVRO_NULL;
}

/* JSON in a text, which consumers bind as jsonb: plain JSON is held against that. */
static int put_json(const struct writer *writer, const struct pj_avro_type *type,
                    const json_t *text, const struct path *path)
{
    struct pj_jsonb_fault fault;
    return !writer->is_plain ||
                   pj_jsonb_holds(json_string_value(text), json_string_length(text), &fault)
               ? put_value(writer, type, text, path)
               : refuse(writer, path, fault.reason);
}

static int put_held(const struct writer *writer, const struct pj_avro_type *type,
                    const json_t *json, const struct path *path)
{
    struct pj_builder text = {0};
    pj_json_put(&text, json);
    json_t *held = pj_must(json_stringn_nocheck(text.text, text.length));
    int status = put_json(writer, type, held, path);
    json_decref(held);
    pj_builder_free(&text);
    return status;
}

/* A field of a record; `member` NULL: it is not there. */
static int put_field(const struct writer *writer, const struct pj_avro_field *field,
                     const json_t *member, const struct path *path)
{
    struct writer inner = *writer;
    if (member == NULL && !allows_null(field->type)) {
        inner.is_default = true;
        return put_value(&inner, field->type, field->default_json, path);
    }
    if (member == NULL || json_is_null(member) || !field->holds_json)
        return put_value(writer, field->type, member != NULL ? member : json_null(), path);
    return json_is_string(member) ? put_json(writer, field->type, member, path)
                                  : put_held(writer, field->type, member, path);
}

/* `chosen`: the member that named the record, or NULL. */
static int put_record(const struct writer *writer, const struct pj_avro_type *type,
                      const json_t *value, const char *chosen, const struct path *path)
{
    size_t count = 0;
    if (!json_is_object(value))
        return refuse(writer, path, "is not an object");
    for (size_t i = 0; i < type->count; i++) {
        const struct pj_avro_field *field = &type->fields[i];
        const struct path inner = {path, field->name};
        const json_t *member = json_object_get(value, field->name);
        count += member != NULL;
        if (put_field(writer, field, member, &inner) != 0)
            return -1;
    }
    if (count + (chosen != NULL) == json_object_size(value))
        return 0;
    for (void *at = json_object_iter((json_t *)(uintptr_t)value);;
         at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
        const struct path inner = {path, json_object_iter_key(at)};
        bool is_known = chosen != NULL && strcmp(inner.name, chosen) == 0;
        for (size_t i = 0; i < type->count && !is_known; i++)
            is_known = strcmp(type->fields[i].name, inner.name) == 0;
        if (!is_known)
            return refuse(writer, &inner, "is unknown");
    }
}

/* The branch of that name, or the count. */
static size_t find_branch(const struct pj_avro_type *type, const char *name)
{
    size_t i = 0;
    for (; i < type->count && name != NULL; i++) {
        const char *full = type->branches[i]->name;
        const char *own =
            full != NULL ? pj_schema_short_name(full) : pj_avro_kind_name(type->branches[i]->kind);
        if (strcmp(own, name) == 0 || (full != NULL && strcmp(full, name) == 0))
            return i;
    }
    return type->count;
}

/* Whether a value can be of the branch without saying so. */
static bool suits(const struct pj_avro_type *branch, const json_t *value)
{
    json_int_t number = json_integer_value(value);
    switch (branch->kind) {
    case PJ_AVRO_BOOLEAN:
        return json_is_boolean(value);
    case PJ_AVRO_INT:
        return json_is_integer(value) && number == (int32_t)number;
    case PJ_AVRO_LONG:
        return json_is_integer(value) || (is_time(branch) && json_is_string(value));
    case PJ_AVRO_FLOAT:
    case PJ_AVRO_DOUBLE:
        return json_is_number(value);
    case PJ_AVRO_STRING:
    case PJ_AVRO_BYTES:
    case PJ_AVRO_FIXED:
    case PJ_AVRO_ENUM:
        return json_is_string(value);
    case PJ_AVRO_ARRAY:
        return json_is_array(value);
    case PJ_AVRO_MAP:
        return json_is_object(value);
    case PJ_AVRO_NULL:
    case PJ_AVRO_RECORD: /* says which one it is */
    case PJ_AVRO_UNION:
        break;
    }
    return false;
}

static int put_branch(const struct writer *writer, const struct pj_avro_type *type, size_t branch,
                      const json_t *value, const struct path *path)
{
    put_long(writer, (int64_t)branch);
    return put_value(writer, type->branches[branch], value, path);
}

/* Whether the record has a field of the name that else says which record it is. */
static bool has_field(const struct pj_avro_type *type, const char *name)
{
    for (size_t i = 0; type->kind == PJ_AVRO_RECORD && i < type->count; i++) {
        if (strcmp(type->fields[i].name, name) == 0)
            return true;
    }
    return false;
}

static int put_union(const struct writer *writer, const struct pj_avro_type *type,
                     const json_t *value, const struct path *path)
{
    static const char tag[] = "type";
    bool is_null = json_is_null(value);
    size_t others = 0, last = 0;
    for (size_t i = 0; i < type->count; i++) {
        if ((type->branches[i]->kind == PJ_AVRO_NULL) == is_null) {
            others++;
            last = i;
        }
    }
    if (is_null && others == 0)
        return refuse(writer, path, "is missing");
    const char *only = json_object_size(value) == 1
                           ? json_object_iter_key(json_object_iter((json_t *)(uintptr_t)value))
                           : NULL;
    size_t chosen = find_branch(type, only);
    if (chosen < type->count && (!writer->is_plain || has_field(type->branches[chosen], tag))) {
        const struct path inner = {path, only};
        return put_branch(writer, type, chosen, json_object_get(value, only), &inner);
    }
    const json_t *named = json_object_get(value, tag);
    if (others == 1 && (type->branches[last]->kind != PJ_AVRO_RECORD || !json_is_string(named) ||
                        has_field(type->branches[last], tag)))
        return put_branch(writer, type, last, value, path);
    chosen = find_branch(type, json_string_value(named));
    if (chosen < type->count && has_field(type->branches[chosen], tag))
        return refuse(writer, path,
                      "is a record with a \"type\" of its own: say which one by {\"Name\": {…}}");
    if (chosen < type->count && type->branches[chosen]->kind == PJ_AVRO_RECORD) {
        put_long(writer, (int64_t)chosen);
        return put_record(writer, type->branches[chosen], value, tag, path);
    }
    for (size_t i = 0; i < type->count; i++) {
        if (suits(type->branches[i], value))
            return put_branch(writer, type, i, value, path);
    }
    return refuse(writer, path, "does not say which record it is");
}

/* One block, and the end. */
static int put_items(const struct writer *writer, const struct pj_avro_type *type,
                     const json_t *value, const struct path *path)
{
    bool is_map = type->kind == PJ_AVRO_MAP;
    size_t count = is_map ? json_object_size(value) : json_array_size(value);
    void *at = is_map ? json_object_iter((json_t *)(uintptr_t)value) : NULL;
    if (is_map ? !json_is_object(value) : !json_is_array(value))
        return refuse(writer, path, is_map ? "is not an object" : "is not an array");
    if (count > 0)
        put_long(writer, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        char number[24];
        struct path inner = {path, number};
        const json_t *item = is_map ? json_object_iter_value(at) : json_array_get(value, i);
        pj_text_whole(number, sizeof number, "%zu", i);
        if (is_map) {
            inner.name = json_object_iter_key(at);
            put_text(writer, inner.name, strlen(inner.name));
            at = json_object_iter_next((json_t *)(uintptr_t)value, at);
        }
        if (put_value(writer, type->branches[0], item, &inner) != 0)
            return -1;
    }
    put_long(writer, 0);
    return 0;
}

static int put_value(const struct writer *writer, const struct pj_avro_type *type,
                     const json_t *value, const struct path *path)
{
    if (value == NULL || (json_is_null(value) && !allows_null(type)))
        return refuse(writer, path, "is missing");
    switch (type->kind) {
    case PJ_AVRO_NULL:
        return json_is_null(value) ? 0 : refuse(writer, path, "is not null");
    case PJ_AVRO_BOOLEAN:
        if (!json_is_boolean(value))
            return refuse(writer, path, "is not true or false");
        pj_builder_add_bytes(writer->out, json_is_true(value) ? "\1" : "\0", 1);
        return 0;
    case PJ_AVRO_INT:
    case PJ_AVRO_LONG:
        return put_integer(writer, type, value, path);
    case PJ_AVRO_FLOAT:
    case PJ_AVRO_DOUBLE:
        return put_real(writer, type, value, path);
    case PJ_AVRO_STRING:
        return put_string(writer, type, value, path);
    case PJ_AVRO_RECORD:
        return put_record(writer, type, value, NULL, path);
    case PJ_AVRO_ENUM:
        return put_symbol(writer, type, value, path);
    case PJ_AVRO_ARRAY:
    case PJ_AVRO_MAP:
        return put_items(writer, type, value, path);
    case PJ_AVRO_UNION:
        return put_union(writer, type, value, path);
    case PJ_AVRO_BYTES:
    case PJ_AVRO_FIXED:
        return put_bytes(writer, type, value, path);
    }
    return refuse(writer, path, "has no type");
}

int pj_json_encode(const struct pj_avro_type *type, const json_t *json, struct pj_builder *out,
                   struct pj_error *error)
{
    const struct writer writer = {out, error, false, false};
    const struct path path = {0};
    return put_value(&writer, type, json, &path);
}

int pj_json_encode_plain(const struct pj_schema *schema, int32_t schema_id, const json_t *json,
                         struct pj_builder *out, struct pj_error *error)
{
    const struct writer writer = {out, error, true, false};
    const struct path path = {0};
    uint8_t header[PJ_WIRE_HEADER_SIZE];
    pj_wire_put_header(header, schema_id);
    pj_builder_add_bytes(out, header, sizeof header);
    return put_value(&writer, pj_schema_root(schema), json, &path);
}

int pj_json_encode_record(const struct pj_schema *schema, int32_t schema_id, const json_t *json,
                          struct pj_builder *out, struct pj_error *error)
{
    uint8_t header[PJ_WIRE_HEADER_SIZE];
    pj_wire_put_header(header, schema_id);
    pj_builder_add_bytes(out, header, sizeof header);
    return pj_json_encode(pj_schema_root(schema), json, out, error);
}
