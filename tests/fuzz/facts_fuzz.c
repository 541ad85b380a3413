/* SPDX-License-Identifier: Apache-2.0 */
/* The stored form of facts, damaged in any way. What is read can be merged, stored, read again. */
#include "fold/facts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum pj_type all_types[] = {PJ_BOOL, PJ_INT,         PJ_BIGINT, PJ_DOUBLE,  PJ_TEXT,
                                         PJ_UUID, PJ_TIMESTAMPTZ, PJ_JSONB,  PJ_NUMERIC, PJ_BYTEA};
static const struct pj_fact_kind kinds[] = {
    {"all", PJ_GREATEST, all_types, 10},
    {"some", PJ_LEAST, all_types + 3, 3},
    {"none", PJ_LEAST, all_types, 0},
};
static const struct pj_entity_kind thing = {.name = "thing", .facts = kinds, .fact_count = 3};

static void merge_itself(const struct pj_entity *entity, struct pj_arena *arena)
{
    struct pj_entity copy = pj_facts_copy(entity, 1, arena);
    for (size_t i = 0; i < entity->count; i++) {
        struct pj_change change = {.fact = entity->facts[i], .replaces = i % 2 == 1};
        if (pj_facts_apply(&copy, &change, arena))
            abort(); /* merging what is there makes no difference */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pj_arena *arena;
    struct pj_entity entity = {.kind = &thing};
    struct pj_entity again = {.kind = &thing};
    struct pj_error error;
    const void *stored;
    const void *twice;
    size_t length;
    size_t twice_length;
    if (arena == NULL)
        arena = pj_arena_new();
    pj_arena_reset(arena);
    if (pj_facts_decode(&entity, data, size, arena, &error) != 0)
        return 0;
    merge_itself(&entity, arena);
    pj_facts_encode(&entity, arena, &stored, &length);
    if (pj_facts_decode(&again, stored, length, arena, &error) != 0)
        abort();
    pj_facts_encode(&again, arena, &twice, &twice_length);
    if (twice_length != length || memcmp(stored, twice, length) != 0)
        abort();
    if (pj_arena_used(arena) > (1u << 20) + 1000 * size)
        abort();
    return 0;
}
