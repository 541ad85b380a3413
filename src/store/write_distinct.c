/* SPDX-License-Identifier: Apache-2.0 */
#include "store/write_internal.h"

#include <string.h>

static uint64_t mix(uint64_t hash, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        size_t left = length - i;
        memcpy(&word, (const char *)bytes + i, left < sizeof word ? left : sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return (hash ^ length) * UINT64_C(0xbf58476d1ce4e5b9);
}

static const struct pj_value *key_at(const int *columns, const struct pj_value *row, size_t k)
{
    return &row[columns != NULL ? (size_t)columns[k] : k];
}

uint64_t pj_distinct_hash(const struct pj_table *table, const int *columns,
                          const struct pj_value *row)
{
    uint64_t hash = mix(0, &table, sizeof table);
    for (size_t k = 0; k < table->column_count && table->columns[k].key; k++) {
        const struct pj_value *value = key_at(columns, row, k);
        switch (table->columns[k].type) {
        case PJ_UUID:
            hash = mix(hash, value->uuid, sizeof value->uuid);
            break;
        case PJ_TEXT:
        case PJ_NUMERIC:
        case PJ_BYTEA:
            hash = mix(hash, value->text.data, value->text.length);
            break;
        case PJ_BOOL:
            hash = mix(hash, &value->boolean, sizeof value->boolean);
            break;
        default:
            hash = mix(hash, &value->integer, sizeof value->integer);
        }
    }
    return hash | 1;
}

struct distinct *pj_distinct_new(struct pj_arena *arena, const struct pj_table *table,
                                 const int *columns, size_t most)
{
    struct distinct *distinct = pj_arena_alloc(arena, sizeof *distinct);
    distinct->table = table;
    distinct->columns = columns;
    distinct->rows = rows_new(arena, most);
    distinct->slots = 2;
    while (distinct->slots < 2 * most)
        distinct->slots *= 2;
    distinct->places = pj_arena_alloc(arena, distinct->slots * sizeof *distinct->places);
    return distinct;
}

static bool same(const struct distinct *distinct, const struct pj_value *a,
                 const struct pj_value *b)
{
    const struct pj_table *table = distinct->table;
    for (size_t k = 0; k < table->column_count && table->columns[k].key; k++) {
        if (pj_value_compare(table->columns[k].type, key_at(distinct->columns, a, k),
                             key_at(distinct->columns, b, k)) != 0)
            return false;
    }
    return true;
}

const struct pj_value **pj_distinct_add(struct distinct *distinct, const struct pj_value *row,
                                        uint64_t hash)
{
    struct rows *rows = &distinct->rows;
    size_t at = (hash >> 1) & (distinct->slots - 1); /* the lowest bit is set in each */
    for (; distinct->places[at] != 0; at = (at + 1) & (distinct->slots - 1)) {
        const struct pj_value **there = &rows->items[distinct->places[at] - 1];
        if (same(distinct, *there, row))
            return there;
    }
    rows->items[rows->count++] = row;
    distinct->places[at] = rows->count;
    return NULL;
}
