/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of decoded fields, facts and columns. A value does not own its text, which is static or
 * belongs to the batch and lives until that is committed.
 */
#ifndef PROJECTIONIST_VALUE_H
#define PROJECTIONIST_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum pj_type {
    PJ_BOOL,
    PJ_INT,    /* 32 bits */
    PJ_BIGINT, /* 64 bits */
    PJ_DOUBLE,
    PJ_TEXT, /* UTF-8, no NUL byte */
    PJ_UUID,
    PJ_TIMESTAMPTZ, /* microseconds since 1970-01-01 UTC, in `integer` */
    PJ_JSONB,       /* a JSON text */
    PJ_NUMERIC,     /* a decimal number as text, exact */
    PJ_BYTEA,
    PJ_COUNTS, /* bigint[], for measures: `text` is an array of int64_t, its length in bytes */
};

/* What the union of a value holds, so that a value of the wrong type for its column or fact is
 * detected. */
enum pj_shape {
    PJ_SHAPE_UNSAID, /* filled by hand: taken as declared */
    PJ_SHAPE_BOOLEAN,
    PJ_SHAPE_INTEGER,
    PJ_SHAPE_REAL,
    PJ_SHAPE_UUID,
    PJ_SHAPE_TEXT,
    PJ_SHAPE_ITEMS, /* of an array in an event: for observe alone */
};

struct pj_value {
    bool present;  /* false: SQL NULL, null in Avro, or a branch that was not taken */
    uint8_t shape; /* enum pj_shape */
    union {
        bool boolean;
        int64_t integer;
        double real;
        uint8_t uuid[16];
        struct {
            const char *data; /* not NUL-terminated */
            size_t length;
        } text;
        struct {
            const struct pj_value *values; /* of all items, one after the other */
            uint32_t count, width;         /* how many items, of how many fields */
        } items;
    };
};

static inline struct pj_value pj_null(void)
{
    return (struct pj_value){.present = false};
}

static inline struct pj_value pj_bool(bool value)
{
    return (struct pj_value){.present = true, .shape = PJ_SHAPE_BOOLEAN, .boolean = value};
}

/* For a PJ_INT, too; beyond 32 bits it makes the record a dead letter. */
static inline struct pj_value pj_bigint(int64_t value)
{
    return (struct pj_value){.present = true, .shape = PJ_SHAPE_INTEGER, .integer = value};
}

static inline struct pj_value pj_double(double value)
{
    return (struct pj_value){.present = true, .shape = PJ_SHAPE_REAL, .real = value};
}

static inline struct pj_value pj_timestamp(int64_t microseconds)
{
    return pj_bigint(microseconds);
}

/* For a PJ_JSONB, PJ_NUMERIC, PJ_BYTEA or PJ_COUNTS, too. */
static inline struct pj_value pj_text_of(const void *data, size_t length)
{
    struct pj_value value = {.present = true, .shape = PJ_SHAPE_TEXT};
    value.text.data = (const char *)data;
    value.text.length = length;
    return value;
}

static inline struct pj_value pj_text(const char *text) /* NULL gives null */
{
    return text != NULL ? pj_text_of(text, strlen(text)) : pj_null();
}

static inline struct pj_value pj_uuid(const uint8_t uuid[16])
{
    struct pj_value value = {.present = true, .shape = PJ_SHAPE_UUID};
    memcpy(value.uuid, uuid, 16);
    return value;
}

/* The items of an array, each of `width` values, as a decoded field of its source has them. */
static inline struct pj_value pj_items_of(const struct pj_value *values, size_t count, size_t width)
{
    struct pj_value value = {.present = true, .shape = PJ_SHAPE_ITEMS};
    value.items.values = values;
    value.items.count = (uint32_t)count;
    value.items.width = (uint32_t)width;
    return value;
}

struct pj_array_item {
    const struct pj_value *values; /* one per field of the items; NULL: before the first */
    size_t index;
};

/*
 * The next item of a field's array; false after the last, and where it is null.
 *
 *     for (struct pj_array_item line = {0}; pj_items_next(&v[ORDER_LINES], &line);)
 *         total += line.values[LINE_PRICE].integer;
 */
static inline bool pj_items_next(const struct pj_value *array, struct pj_array_item *item)
{
    size_t index = item->values != NULL ? item->index + 1 : 0;
    if (!array->present || index >= array->items.count)
        return false;
    item->index = index;
    item->values = &array->items.values[index * array->items.width];
    return true;
}

static inline size_t pj_items_count(const struct pj_value *array)
{
    return array->present ? array->items.count : 0;
}

static inline bool pj_text_is(const struct pj_value *value, const char *text)
{
    size_t length = strlen(text);
    return value->present && value->text.length == length &&
           memcmp(value->text.data, text, length) == 0;
}

/* The 36 characters of RFC 9562, in either case; false (and uuid untouched) for anything else. */
bool pj_uuid_parse(const char *text, size_t length, uint8_t uuid[16]);

/* The version 5 UUID of a name in Projectionist's own namespace, for keys that a replay repeats. */
void pj_uuid_of_name(const void *name, size_t length, uint8_t uuid[16]);

/* The same for a name of several parts, whatever is in them: ("a/b", "c") is not ("a", "b/c"). */
void pj_uuid_of_names(const struct pj_value *parts, size_t count, uint8_t uuid[16]);

/* <0, 0 or >0 for two values of one type; null sorts first. A total order, byte-wise for texts. */
int pj_value_compare(enum pj_type type, const struct pj_value *a, const struct pj_value *b);

#endif
