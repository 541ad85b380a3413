/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/avro_reader.h"

#include <string.h>

enum { NESTING_MOST = 64 };

void pj_avro_reader_init(struct pj_avro_reader *reader, const void *data, size_t length,
                         struct pj_error *error)
{
    reader->at = data;
    reader->end = reader->at + length;
    /* Every byte may enter a few types (a union, its branch, a record around it); what enters more
     * is an array of empty items whose count is a lie. */
    reader->budget = 16 * (uint64_t)length + 4096;
    reader->depth = 0;
    reader->error = error;
}

static int truncated(struct pj_avro_reader *reader)
{
    return pj_error_set(reader->error, PJ_POISON, "the Avro record ends too early");
}

int pj_avro_read_long(struct pj_avro_reader *reader, int64_t *value)
{
    uint64_t raw = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (reader->at == reader->end)
            return truncated(reader);
        uint8_t byte = *reader->at++;
        raw |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            if (shift == 63 && byte > 1)
                break;
            *value = (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
            return 0;
        }
    }
    return pj_error_set(reader->error, PJ_POISON, "an Avro number is longer than 64 bits");
}

int pj_avro_read_integer(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                         int64_t *value)
{
    if (pj_avro_read_long(reader, value) != 0)
        return -1;
    if (type->kind == PJ_AVRO_INT && (*value < INT32_MIN || *value > INT32_MAX))
        return pj_error_set(reader->error, PJ_POISON, "an Avro int does not fit 32 bits");
    return 0;
}

int pj_avro_read_boolean(struct pj_avro_reader *reader, bool *value)
{
    if (reader->at == reader->end)
        return truncated(reader);
    if (*reader->at > 1)
        return pj_error_set(reader->error, PJ_POISON, "an Avro boolean is neither 0 nor 1");
    *value = *reader->at++ == 1;
    return 0;
}

static int take(struct pj_avro_reader *reader, void *value, size_t size)
{
    if (reader->end - reader->at < (ptrdiff_t)size)
        return truncated(reader);
    memcpy(value, reader->at, size);
    reader->at += size;
    return 0;
}

int pj_avro_read_real(struct pj_avro_reader *reader, const struct pj_avro_type *type, double *value)
{
    float narrow;
    if (type->kind == PJ_AVRO_DOUBLE)
        return take(reader, value, sizeof *value);
    if (take(reader, &narrow, sizeof narrow) != 0)
        return -1;
    *value = (double)narrow;
    return 0;
}

int pj_avro_read_text(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                      const char **data, size_t *length)
{
    int64_t size = (int64_t)type->size;
    if (type->kind != PJ_AVRO_FIXED && pj_avro_read_long(reader, &size) != 0)
        return -1;
    if (size < 0)
        return pj_error_set(reader->error, PJ_POISON, "an Avro string has a negative length");
    if (size > reader->end - reader->at)
        return truncated(reader);
    *data = (const char *)reader->at;
    *length = (size_t)size;
    reader->at += size;
    return 0;
}

int pj_avro_read_index(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                       size_t *index)
{
    int64_t value;
    if (pj_avro_read_long(reader, &value) != 0)
        return -1;
    if (value < 0 || (uint64_t)value >= type->count)
        return pj_error_set(reader->error, PJ_POISON, "an Avro %s has no member %lld",
                            type->kind == PJ_AVRO_ENUM ? "enum" : "union", (long long)value);
    *index = (size_t)value;
    return 0;
}

int pj_avro_read_block(struct pj_avro_reader *reader, uint64_t *count)
{
    int64_t value;
    if (pj_avro_read_long(reader, &value) != 0)
        return -1;
    if (value < 0) {
        /* A negative count is followed by the block's size in bytes, which we need not know. */
        int64_t size;
        if (pj_avro_read_long(reader, &size) != 0)
            return -1;
        *count = 0 - (uint64_t)value;
    } else {
        *count = (uint64_t)value;
    }
    return 0;
}

int pj_avro_enter(struct pj_avro_reader *reader)
{
    if (reader->depth == NESTING_MOST)
        return pj_error_set(reader->error, PJ_POISON, "the Avro record is nested more than %d deep",
                            NESTING_MOST);
    if (reader->budget == 0)
        return pj_error_set(reader->error, PJ_POISON,
                            "the Avro record claims more items than its size can hold");
    reader->budget--;
    reader->depth++;
    return 0;
}

void pj_avro_leave(struct pj_avro_reader *reader)
{
    reader->depth--;
}

static int skip_items(struct pj_avro_reader *reader, const struct pj_avro_type *type)
{
    static const struct pj_avro_type key = {.kind = PJ_AVRO_STRING};
    uint64_t count;
    do {
        if (pj_avro_read_block(reader, &count) != 0)
            return -1;
        for (uint64_t i = 0; i < count; i++) {
            if (type->kind == PJ_AVRO_MAP && pj_avro_skip(reader, &key) != 0)
                return -1;
            if (pj_avro_skip(reader, type->branches[0]) != 0)
                return -1;
        }
    } while (count > 0);
    return 0;
}

static int skip_entered(struct pj_avro_reader *reader, const struct pj_avro_type *type)
{
    int64_t integer;
    double real;
    bool boolean;
    const char *data;
    size_t length;
    switch (type->kind) {
    case PJ_AVRO_NULL:
        return 0;
    case PJ_AVRO_BOOLEAN:
        return pj_avro_read_boolean(reader, &boolean);
    case PJ_AVRO_INT:
    case PJ_AVRO_LONG:
        return pj_avro_read_integer(reader, type, &integer);
    case PJ_AVRO_FLOAT:
    case PJ_AVRO_DOUBLE:
        return pj_avro_read_real(reader, type, &real);
    case PJ_AVRO_BYTES:
    case PJ_AVRO_STRING:
    case PJ_AVRO_FIXED:
        return pj_avro_read_text(reader, type, &data, &length);
    case PJ_AVRO_ENUM:
        return pj_avro_read_index(reader, type, &length);
    case PJ_AVRO_UNION:
        if (pj_avro_read_index(reader, type, &length) != 0)
            return -1;
        return pj_avro_skip(reader, type->branches[length]);
    case PJ_AVRO_RECORD:
        for (size_t i = 0; i < type->count; i++) {
            if (pj_avro_skip(reader, type->fields[i].type) != 0)
                return -1;
        }
        return 0;
    case PJ_AVRO_ARRAY:
    case PJ_AVRO_MAP:
        return skip_items(reader, type);
    }
    return 0;
}

int pj_avro_skip(struct pj_avro_reader *reader, const struct pj_avro_type *type)
{
    if (pj_avro_enter(reader) != 0)
        return -1;
    int status = skip_entered(reader, type);
    pj_avro_leave(reader);
    return status;
}
