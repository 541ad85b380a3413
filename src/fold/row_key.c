/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/row_key.h"

#include "base/fit.h"
#include "base/time_text.h"
#include "base/utf8.h"
#include "fold/numeric.h"

#include <math.h>
#include <stdlib.h>
#include <uuid/uuid.h>

/* Postgres has one zero, and one NaN above all else. */
static int compare_doubles(double a, double b)
{
    if (isnan(a) || isnan(b))
        return (isnan(a) != 0) - (isnan(b) != 0);
    return (a > b) - (a < b);
}

/* --- keys ------------------------------------------------------------------------------------ */

int pj_column_compare(enum pj_type type, const struct pj_value *a, const struct pj_value *b)
{
    if (a->present && b->present && type == PJ_DOUBLE)
        return compare_doubles(a->real, b->real);
    if (a->present && b->present && type == PJ_NUMERIC)
        return pj_numeric_compare(a, b);
    return pj_value_compare(type, a, b);
}

int pj_row_key_compare(const struct pj_table *table, const struct pj_value *a,
                       const struct pj_value *b)
{
    int compared = 0;
    for (size_t c = 0; c < table->column_count && table->columns[c].key && compared == 0; c++)
        compared = pj_column_compare(table->columns[c].type, &a[c], &b[c]);
    return compared;
}

/* The length first, so that values of several columns cannot collide. */
static void print_bytes(struct pj_builder *out, const void *data, size_t length)
{
    uint64_t prefix = length;
    pj_builder_add_bytes(out, &prefix, sizeof prefix);
    pj_builder_add_bytes(out, data, length);
}

static void print_key(struct pj_builder *out, enum pj_type type, const struct pj_value *value)
{
    pj_builder_add_bytes(out, value->present ? "\1" : "\0", 1);
    if (!value->present)
        return;
    double real;
    switch (pj_type_shape(type)) {
    case PJ_SHAPE_BOOLEAN:
        pj_builder_add_bytes(out, value->boolean ? "\1" : "\0", 1);
        break;
    case PJ_SHAPE_INTEGER:
        print_bytes(out, &value->integer, sizeof value->integer);
        break;
    case PJ_SHAPE_REAL:
        real = isnan(value->real) ? NAN : value->real == 0 ? 0 : value->real;
        print_bytes(out, &real, sizeof real);
        break;
    case PJ_SHAPE_UUID:
        print_bytes(out, value->uuid, 16);
        break;
    default:
        if (type == PJ_NUMERIC)
            pj_numeric_print_key(out, value);
        else
            print_bytes(out, value->text.data, value->text.length);
    }
}

void pj_row_key_uuid(const struct pj_table *table, const struct pj_value *key, uint8_t uuid[16])
{
    struct pj_builder bytes = {0};
    for (size_t c = 0; c < table->column_count && table->columns[c].key; c++)
        print_key(&bytes, table->columns[c].type, &key[c]);
    pj_uuid_of_name(bytes.text, bytes.length, uuid);
    free(bytes.text);
}

/* --- names ----------------------------------------------------------------------------------- */

static void print_text(struct pj_builder *out, const struct pj_value *value, size_t most)
{
    size_t length = pj_utf8_cut(value->text.data, value->text.length, most);
    pj_builder_add_bytes(out, value->text.data, length);
    if (length < value->text.length)
        pj_builder_add(out, "…");
}

static void print_time(struct pj_builder *out, int64_t microseconds)
{
    char text[PJ_TIME_TEXT_SIZE];
    if (pj_time_format(text, microseconds, 6))
        pj_builder_add(out, "%s", text);
    else
        pj_builder_add(out, "%lld", (long long)microseconds);
}

void pj_value_print(struct pj_builder *out, enum pj_type type, const struct pj_value *value,
                    size_t most)
{
    char uuid[37];
    if (!value->present) {
        pj_builder_add(out, "null");
        return;
    }
    switch (type) {
    case PJ_BOOL:
        pj_builder_add(out, "%s", value->boolean ? "true" : "false");
        return;
    case PJ_INT:
    case PJ_BIGINT:
        pj_builder_add(out, "%lld", (long long)value->integer);
        return;
    case PJ_DOUBLE:
        pj_builder_add(out, "%.17g", value->real);
        return;
    case PJ_UUID:
        uuid_unparse_lower(value->uuid, uuid);
        pj_builder_add(out, "%s", uuid);
        return;
    case PJ_TIMESTAMPTZ:
        print_time(out, value->integer);
        return;
    case PJ_TEXT:
    case PJ_JSONB:
    case PJ_NUMERIC:
        print_text(out, value, most);
        return;
    case PJ_BYTEA:
    case PJ_COUNTS:
        pj_builder_add(out, "(%zu bytes)", value->text.length);
        return;
    }
}

const char *pj_row_key_name(struct pj_arena *arena, const struct pj_table *table,
                            const struct pj_value *key)
{
    enum { NAME_MOST = 80 };
    struct pj_builder out = {0};
    pj_builder_add(&out, "%s", table->name);
    for (size_t c = 0; c < table->column_count && table->columns[c].key; c++) {
        pj_builder_add(&out, "%s%s=", c > 0 ? ", " : " with ", table->columns[c].name);
        pj_value_print(&out, table->columns[c].type, &key[c], NAME_MOST);
    }
    const char *name = pj_arena_string(arena, out.text, out.length);
    free(out.text);
    return name;
}
