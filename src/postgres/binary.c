/* SPDX-License-Identifier: Apache-2.0 */
#include "postgres/binary.h"

#include <endian.h>
#include <string.h>

/* Microseconds from 1970 to 2000, where Postgres counts from. */
static const int64_t postgres_epoch = INT64_C(946684800000000);

static const struct {
    const char *sql;
    uint32_t element;
    uint32_t array;
} types[] = {
    [PJ_BOOL] = {"bool", PJ_OID_BOOL, PJ_OID_BOOL_ARRAY},
    [PJ_INT] = {"int4", PJ_OID_INT4, PJ_OID_INT4_ARRAY},
    [PJ_BIGINT] = {"int8", PJ_OID_INT8, PJ_OID_INT8_ARRAY},
    [PJ_DOUBLE] = {"float8", PJ_OID_FLOAT8, PJ_OID_FLOAT8_ARRAY},
    [PJ_TEXT] = {"text", PJ_OID_TEXT, PJ_OID_TEXT_ARRAY},
    [PJ_UUID] = {"uuid", PJ_OID_UUID, PJ_OID_UUID_ARRAY},
    [PJ_TIMESTAMPTZ] = {"timestamptz", PJ_OID_TIMESTAMPTZ, PJ_OID_TIMESTAMPTZ_ARRAY},
    [PJ_JSONB] = {"jsonb", PJ_OID_JSONB, PJ_OID_JSONB_ARRAY},
    [PJ_NUMERIC] = {"text", PJ_OID_TEXT, PJ_OID_TEXT_ARRAY},
    [PJ_BYTEA] = {"bytea", PJ_OID_BYTEA, PJ_OID_BYTEA_ARRAY},
    [PJ_COUNTS] = {"text", PJ_OID_TEXT, PJ_OID_TEXT_ARRAY},
};

const char *pj_binary_sql_type(enum pj_type type)
{
    return types[type].sql;
}

uint32_t pj_binary_array_oid(enum pj_type type)
{
    return types[type].array;
}

static size_t value_size(enum pj_type type, const struct pj_value *value)
{
    if (!value->present)
        return 0;
    switch (type) {
    case PJ_BOOL:
        return 1;
    case PJ_INT:
        return 4;
    case PJ_BIGINT:
    case PJ_DOUBLE:
    case PJ_TIMESTAMPTZ:
        return 8;
    case PJ_UUID:
        return 16;
    case PJ_JSONB:
        return value->text.length + 1;
    case PJ_TEXT:
    case PJ_NUMERIC:
    case PJ_BYTEA:
    case PJ_COUNTS:
        return value->text.length;
    }
    return 0;
}

static char *put32(char *at, uint32_t value)
{
    uint32_t big = htobe32(value);
    memcpy(at, &big, sizeof big);
    return at + sizeof big;
}

static char *put64(char *at, uint64_t value)
{
    uint64_t big = htobe64(value);
    memcpy(at, &big, sizeof big);
    return at + sizeof big;
}

static char *put_bytes(char *at, const void *data, size_t length)
{
    if (length > 0)
        memcpy(at, data, length);
    return at + length;
}

static char *put_value(char *at, enum pj_type type, const struct pj_value *value)
{
    uint64_t bits;
    switch (type) {
    case PJ_BOOL:
        *at++ = (char)value->boolean;
        return at;
    case PJ_INT:
        return put32(at, (uint32_t)(int32_t)value->integer);
    case PJ_BIGINT:
        return put64(at, (uint64_t)value->integer);
    case PJ_TIMESTAMPTZ:
        return put64(at, value->integer == INT64_MIN ? (uint64_t)INT64_MIN
                                                     : (uint64_t)(value->integer - postgres_epoch));
    case PJ_DOUBLE:
        memcpy(&bits, &value->real, sizeof bits);
        return put64(at, bits);
    case PJ_UUID:
        return put_bytes(at, value->uuid, 16);
    case PJ_JSONB:
        *at++ = 1; /* the version of jsonb's wire format */
        return put_bytes(at, value->text.data, value->text.length);
    case PJ_TEXT:
    case PJ_NUMERIC:
    case PJ_BYTEA:
    case PJ_COUNTS:
        return put_bytes(at, value->text.data, value->text.length);
    }
    return at;
}

/* A length and the value; -1 for null. */
static char *put_sized(char *at, enum pj_type type, const struct pj_value *value)
{
    if (!value->present)
        return put32(at, UINT32_MAX);
    at = put32(at, (uint32_t)value_size(type, value));
    return put_value(at, type, value);
}

struct pj_parameter pj_binary_array(struct pj_arena *arena, enum pj_type type,
                                    const struct pj_value *const *rows, size_t count, size_t column)
{
    size_t size = 20;
    bool nulls = false;
    for (size_t i = 0; i < count; i++) {
        size += 4 + value_size(type, &rows[i][column]);
        nulls = nulls || !rows[i][column].present;
    }
    char *data = pj_arena_alloc(arena, size);
    char *at = put32(data, 1); /* dimensions */
    at = put32(at, nulls);
    at = put32(at, types[type].element);
    at = put32(at, (uint32_t)count);
    at = put32(at, 1); /* the first index */
    for (size_t i = 0; i < count; i++)
        at = put_sized(at, type, &rows[i][column]);
    return (struct pj_parameter){data, (size_t)(at - data)};
}

struct pj_parameter pj_binary_scalar(struct pj_arena *arena, enum pj_type type,
                                     const struct pj_value *value)
{
    if (!value->present)
        return (struct pj_parameter){NULL, 0};
    char *data = pj_arena_alloc(arena, value_size(type, value));
    char *end = put_value(data, type, value);
    return (struct pj_parameter){data, (size_t)(end - data)};
}

int64_t pj_binary_time(int64_t postgres_microseconds)
{
    /* -infinity is INT64_MIN there and here. */
    return postgres_microseconds == INT64_MIN ? INT64_MIN : postgres_microseconds + postgres_epoch;
}

/* --- COPY ------------------------------------------------------------------------------------ */

void pj_copy_start(struct pj_builder *buffer)
{
    static const char header[19] = "PGCOPY\n\377\r\n";
    buffer->length = 0;
    pj_builder_add_bytes(buffer, header, sizeof header);
}

void pj_copy_row(struct pj_builder *buffer, const struct pj_table *table,
                 const struct pj_value *row)
{
    size_t size = 2;
    for (size_t c = 0; c < table->column_count; c++)
        size += 4 + value_size(table->columns[c].type, &row[c]);
    char *start = pj_builder_reserve(buffer, size);
    uint16_t columns = htobe16((uint16_t)table->column_count);
    char *at = put_bytes(start, &columns, sizeof columns);
    for (size_t c = 0; c < table->column_count; c++)
        at = put_sized(at, table->columns[c].type, &row[c]);
    buffer->length += size;
}

void pj_copy_finish(struct pj_builder *buffer)
{
    pj_builder_add_bytes(buffer, "\xff\xff", 2);
}

bool pj_copy_possible(const struct pj_table *table)
{
    for (size_t c = 0; c < table->column_count; c++) {
        if (table->columns[c].type == PJ_NUMERIC || table->columns[c].sql_type != NULL)
            return false;
    }
    return true;
}
