/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/decode.h"

#include "avro/plan.h"
#include "base/fit.h"
#include "base/text.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Decoding: a plan walked over the bytes of one record. Making plans is in plan.c. */

struct decoding {
    struct pj_avro_reader reader;
    const struct pj_plan *plan;
    const struct pj_field *fields;
    struct pj_arena *arena;
    struct pj_value *values;
    size_t items_room; /* bytes that items may still take */
    bool named;        /* the error begins with the path of a field */
    struct pj_error *error;
};

enum { ITEMS_MOST = 10000, ITEMS_BYTES_MOST = 32 << 20 };

static int refuse(struct decoding *decoding, const char *format, ...) PJ_PRINTF(2, 3);

/* The text begins with the path of the field. */
static int refuse(struct decoding *decoding, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = pj_text_vnew(format, args);
    va_end(args);
    decoding->named = true;
    pj_error_set(decoding->error, PJ_POISON, "%s", text);
    free(text);
    return -1;
}

static int bad_field(struct decoding *decoding, size_t slot, const char *why)
{
    return refuse(decoding, "%s %s", decoding->fields[slot].path, why);
}

static int check_length(struct decoding *decoding, size_t slot)
{
    const struct pj_field *field = &decoding->fields[slot];
    const struct pj_value *value = &decoding->values[slot];
    if (field->most_chars == 0 || value->text.length <= field->most_chars)
        return 0;
    size_t chars = pj_utf8_count(value->text.data, value->text.length);
    if (chars <= field->most_chars)
        return 0;
    return refuse(decoding, "%s has %zu characters, at most %u fit", field->path, chars,
                  field->most_chars);
}

static int store_text(struct decoding *decoding, size_t slot, const char *data, size_t length)
{
    struct pj_value *value = &decoding->values[slot];
    enum pj_type type = decoding->fields[slot].type;
    if (type == PJ_UUID) {
        if (!pj_uuid_parse(data, length, value->uuid))
            return bad_field(decoding, slot, "is not a UUID");
        value->present = true;
        return 0;
    }
    value->present = true;
    value->text.data = data;
    value->text.length = length;
    return type == PJ_TEXT ? check_length(decoding, slot) : 0;
}

bool pj_plan_time(enum pj_avro_logical unit, int64_t raw, int64_t *micros)
{
    bool overflow = false;
    *micros = raw;
    switch (unit) {
    case PJ_LOGICAL_DATE:
        overflow = __builtin_mul_overflow(raw, INT64_C(86400000000), micros);
        break;
    case PJ_LOGICAL_TIMESTAMP_MILLIS:
        overflow = __builtin_mul_overflow(raw, INT64_C(1000), micros);
        break;
    case PJ_LOGICAL_TIMESTAMP_NANOS:
        *micros = raw / 1000 - (raw % 1000 < 0 ? 1 : 0);
        break;
    default:
        break;
    }
    /* timestamptz begins in 4714 BC; its end is beyond what 64 bits of microseconds hold. */
    return !overflow && *micros >= -INT64_C(210866803200000000);
}

static int store_time(struct decoding *decoding, const struct pj_plan_node *node, size_t slot,
                      int64_t raw)
{
    struct pj_value *value = &decoding->values[slot];
    if (!pj_plan_time(node->time_unit, raw, &value->integer))
        return bad_field(decoding, slot, "is a time that no timestamptz can hold");
    value->present = true;
    return 0;
}

static int store_integer(struct decoding *decoding, const struct pj_plan_node *node, size_t slot,
                         int64_t raw)
{
    struct pj_value *value = &decoding->values[slot];
    switch (decoding->fields[slot].type) {
    case PJ_TIMESTAMPTZ:
        return store_time(decoding, node, slot, raw);
    case PJ_DOUBLE:
        value->real = (double)raw;
        /* 2^63, which a double makes of some, is no integer any more. */
        if (value->real >= 9223372036854775808.0 || (int64_t)value->real != raw)
            return refuse(decoding, "%s is %lld, of which a PJ_DOUBLE would keep 53 bits only",
                          decoding->fields[slot].path, (long long)raw);
        break;
    case PJ_INT:
        if (raw < INT32_MIN || raw > INT32_MAX)
            return refuse(decoding,
                          "%s is %lld, which does not fit 32 bits: a PJ_INT holds "
                          "-2147483648 to 2147483647",
                          decoding->fields[slot].path, (long long)raw);
        value->integer = raw;
        break;
    default:
        value->integer = raw;
    }
    value->present = true;
    return 0;
}

/* One leaf value for one slot; the reader is before the value and ends after it. */
static int store_leaf(struct decoding *decoding, const struct pj_plan_node *node, size_t slot)
{
    struct pj_avro_reader *reader = &decoding->reader;
    const struct pj_avro_type *type = node->type;
    struct pj_value *value = &decoding->values[slot];
    const char *data;
    size_t length;
    int64_t integer;
    switch (type->kind) {
    case PJ_AVRO_INT:
    case PJ_AVRO_LONG:
        if (pj_avro_read_integer(reader, type, &integer) != 0)
            return -1;
        return store_integer(decoding, node, slot, integer);
    case PJ_AVRO_FLOAT:
    case PJ_AVRO_DOUBLE:
        value->present = true;
        return pj_avro_read_real(reader, type, &value->real);
    case PJ_AVRO_BOOLEAN:
        value->present = true;
        return pj_avro_read_boolean(reader, &value->boolean);
    case PJ_AVRO_ENUM:
        if (pj_avro_read_index(reader, type, &length) != 0)
            return -1;
        return store_text(decoding, slot, type->symbols[length], strlen(type->symbols[length]));
    case PJ_AVRO_BYTES:
    case PJ_AVRO_STRING:
    case PJ_AVRO_FIXED:
        if (pj_avro_read_text(reader, type, &data, &length) != 0)
            return -1;
        if (decoding->fields[slot].type == PJ_NUMERIC && type->logical == PJ_LOGICAL_DECIMAL) {
            if (pj_avro_decimal_text(reader, data, length, type->scale, decoding->arena, &data) !=
                0)
                return -1;
            length = strlen(data);
        }
        if (decoding->fields[slot].type == PJ_UUID && type->kind == PJ_AVRO_FIXED) {
            *value = pj_uuid((const uint8_t *)data);
            return 0;
        }
        return store_text(decoding, slot, data, length);
    default:
        return pj_avro_skip(reader, type);
    }
}

static int decode(struct decoding *decoding, const struct pj_plan_node *node);

static void clear(const struct pj_field *fields, size_t count, struct pj_value *values)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (struct pj_value){.shape = (uint8_t)pj_type_shape(fields[i].type)};
}

/* Room for one more item of the array: its values. */
static struct pj_value *add_item(struct decoding *decoding, const struct pj_field *field,
                                 struct pj_value *array, size_t *capacity)
{
    size_t most = field->items->most != 0 ? field->items->most : ITEMS_MOST;
    size_t width = field->items->field_count * sizeof(struct pj_value);
    size_t count = array->items.count;
    if (count == most) {
        refuse(decoding, "%s has more than %zu items", field->path, most);
        return NULL;
    }
    if (count == *capacity) {
        *capacity = count == 0 ? 4 : count * 2;
        if (*capacity * width > decoding->items_room) {
            refuse(decoding, "%s has items beyond the %d MiB that those of a record may take",
                   field->path, ITEMS_BYTES_MOST >> 20);
            return NULL;
        }
        decoding->items_room -= *capacity * width;
        struct pj_value *bigger = pj_arena_alloc(decoding->arena, *capacity * width);
        if (count > 0)
            memcpy(bigger, array->items.values, count * width);
        array->items.values = bigger;
    }
    array->items.count++;
    return (struct pj_value *)&array->items.values[count * field->items->field_count];
}

static int decode_item(struct decoding *decoding, const struct pj_plan_node *item,
                       const struct pj_field *array, size_t index, struct pj_value *values)
{
    const struct decoding outer = *decoding;
    decoding->fields = array->items->fields;
    decoding->values = values;
    clear(decoding->fields, array->items->field_count, values);
    int status = decode(decoding, item);
    decoding->fields = outer.fields;
    decoding->values = outer.values;
    if (status != 0 && decoding->named)
        pj_error_in_item(decoding->error, array->path, index);
    return status;
}

static int decode_items(struct decoding *decoding, const struct pj_plan_node *item, size_t slot)
{
    const struct pj_field *field = &decoding->fields[slot];
    struct pj_value array = pj_items_of(NULL, 0, field->items->field_count);
    size_t capacity = 0;
    uint64_t left = 0;
    do {
        for (; left > 0; left--) {
            size_t index = array.items.count;
            struct pj_value *values = add_item(decoding, field, &array, &capacity);
            if (values == NULL || decode_item(decoding, item, field, index, values) != 0)
                return -1;
        }
        if (pj_avro_read_block(&decoding->reader, &left) != 0)
            return -1;
    } while (left > 0);
    decoding->values[slot] = array;
    return 0;
}

/* The slots that want this very value, all but JSON and presence reading it as a leaf. */
static int store(struct decoding *decoding, const struct pj_plan_node *node)
{
    struct pj_avro_reader *reader = &decoding->reader;
    const uint8_t *start = reader->at;
    for (size_t i = 0; i < node->slot_count; i++) {
        size_t slot = node->slots[i].slot;
        struct pj_value *value = &decoding->values[slot];
        enum pj_type type = decoding->fields[slot].type;
        reader->at = start;
        if (node->type->kind == PJ_AVRO_NULL) {
            if (decoding->fields[slot].required)
                return bad_field(decoding, slot, "is null");
        } else if (node->slots[i].item != NULL) {
            if (decode_items(decoding, node->slots[i].item, slot) != 0)
                return -1;
        } else if (type == PJ_BOOL && node->type->kind != PJ_AVRO_BOOLEAN) {
            *value = pj_bool(true);
        } else if (type == PJ_JSONB && !node->text) {
            value->present = true;
            if (pj_avro_render(reader, node->type, decoding->arena, &value->text.data,
                               &value->text.length) != 0)
                return -1;
        } else if (store_leaf(decoding, node, slot) != 0) {
            return -1;
        }
    }
    reader->at = start;
    return 0;
}

static int decode_record(struct decoding *decoding, const struct pj_plan_node *node)
{
    if (node->missing != NULL)
        return refuse(decoding, "%s is missing in the writer's schema and has no default",
                      node->missing);
    for (size_t i = 0; i < node->type->count; i++) {
        const struct pj_plan_node *child = node->children[i];
        int status = child != NULL ? decode(decoding, child)
                                   : pj_avro_skip(&decoding->reader, node->type->fields[i].type);
        if (status != 0)
            return -1;
    }
    for (size_t i = 0; i < node->default_count; i++)
        decoding->values[node->defaults[i].slot] = node->defaults[i].value;
    return 0;
}

static int decode_union(struct decoding *decoding, const struct pj_plan_node *node)
{
    size_t branch;
    if (pj_avro_read_index(&decoding->reader, node->type, &branch) != 0)
        return -1;
    if (node->children[branch] != NULL)
        return decode(decoding, node->children[branch]);
    return pj_avro_skip(&decoding->reader, node->type->branches[branch]);
}

static int decode(struct decoding *decoding, const struct pj_plan_node *node)
{
    if (pj_avro_enter(&decoding->reader) != 0)
        return -1;
    if (node->refused != NULL)
        return refuse(decoding, "%s", node->refused);
    int status;
    if (node->slot_count > 0 && store(decoding, node) != 0)
        return -1;
    if (node->children == NULL)
        status = pj_avro_skip(&decoding->reader, node->type);
    else if (node->type->kind == PJ_AVRO_UNION)
        status = decode_union(decoding, node);
    else
        status = decode_record(decoding, node);
    pj_avro_leave(&decoding->reader);
    return status;
}

int pj_plan_next(const struct pj_plan *plan, struct pj_avro_reader *reader, struct pj_arena *arena,
                 struct pj_value *values, struct pj_error *error)
{
    const struct pj_source *source = plan->decoder->source;
    struct decoding decoding = {.reader = *reader,
                                .plan = plan,
                                .fields = source->fields,
                                .arena = arena,
                                .values = values,
                                .items_room = ITEMS_BYTES_MOST,
                                .error = error};
    decoding.reader.error = error;
    clear(source->fields, source->field_count, values);
    int status = decode(&decoding, plan->root);
    *reader = decoding.reader;
    return status;
}

static int check_end(const struct pj_avro_reader *reader)
{
    return reader->at == reader->end ? 0
                                     : pj_error_set(reader->error, PJ_POISON,
                                                    "%td bytes are left over after the Avro record",
                                                    reader->end - reader->at);
}

int pj_plan_decode(const struct pj_plan *plan, const void *body, size_t length,
                   struct pj_arena *arena, struct pj_value *values, struct pj_error *error)
{
    struct pj_avro_reader reader;
    pj_avro_reader_init(&reader, body, length, error);
    return pj_plan_next(plan, &reader, arena, values, error) != 0 ? -1 : check_end(&reader);
}

int pj_avro_to_json(const char *writer_schema, const void *body, size_t length,
                    struct pj_arena *arena, const char **json, size_t *json_length,
                    struct pj_error *error)
{
    struct pj_schema *schema;
    struct pj_avro_reader reader;
    if (pj_schema_parse(&schema, writer_schema, error) != 0)
        return -1;
    pj_avro_reader_init(&reader, body, length, error);
    int status = pj_avro_render(&reader, pj_schema_root(schema), arena, json, json_length);
    if (status == 0)
        status = check_end(&reader);
    pj_schema_free(schema);
    return status;
}
