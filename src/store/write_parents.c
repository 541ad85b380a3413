/* SPDX-License-Identifier: Apache-2.0 */
/* Parents: rows that must exist for foreign keys, as placeholders where nobody wrote them yet. */
#include "store/write_internal.h"

#include <string.h>

/* Keys of parents that are known to exist: a cache that forgets by overwriting. */
enum { KNOWN_SLOTS = 1 << 15 };

struct ensure {
    const char *function;
    struct pj_statement statement;
    struct pj_statement release; /* name NULL: none */
    struct ensure *next;
};

struct pj_parents {
    struct ensure *ensures;
    uint8_t known[KNOWN_SLOTS][16];
};

static const uint32_t ensure_types[] = {PJ_OID_UUID_ARRAY, PJ_OID_TIMESTAMPTZ_ARRAY};

/* Several tables may have one kind of parent. */
static struct ensure *find(const struct pj_parents *parents, const struct pj_parent *parent)
{
    struct ensure *ensure = parents->ensures;
    while (ensure != NULL && strcmp(ensure->function, parent->ensure) != 0)
        ensure = ensure->next;
    return ensure;
}

static void add(struct pj_parents *parents, const struct pj_parent *parent, struct pj_arena *arena)
{
    struct ensure *ensure = find(parents, parent);
    if (ensure == NULL) {
        ensure = pj_arena_alloc(arena, sizeof *ensure);
        ensure->next = parents->ensures;
        parents->ensures = ensure;
    }
    ensure->function = parent->ensure;
    ensure->statement = (struct pj_statement){
        .name = pj_arena_printf(arena, "pj_%s", parent->ensure),
        .sql = pj_arena_printf(arena, "SELECT settled, created FROM %s($1, $2)", parent->ensure),
        .parameter_count = 2,
        .types = ensure_types,
    };
    if (parent->release != NULL)
        ensure->release = (struct pj_statement){
            .name = pj_arena_printf(arena, "pj_%s", parent->release),
            .sql = pj_arena_printf(arena, "SELECT %s($1)", parent->release),
            .parameter_count = 1,
            .types = ensure_types,
        };
}

struct pj_parents *pj_parents_new(const struct pj_projection *projection, struct pj_arena *arena)
{
    struct pj_parents *parents = pj_arena_alloc(arena, sizeof *parents);
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_parent *parent = projection->tables[t]->parents;
        for (; parent != NULL && parent->ensure != NULL; parent++)
            add(parents, parent, arena);
    }
    return parents;
}

void pj_parents_forget(struct pj_parents *parents)
{
    memset(parents->known, 0, sizeof parents->known);
}

static size_t slot(const uint8_t key[16])
{
    uint64_t bits;
    memcpy(&bits, key + 8, sizeof bits);
    bits ^= bits >> 29;
    return (size_t)(bits * UINT64_C(0x9e3779b97f4a7c15) >> 49) % KNOWN_SLOTS;
}

/* An empty slot holds zeros, so nothing is known of the key that is all zeros. */
static bool is_known(const struct pj_parents *parents, const uint8_t key[16])
{
    static const uint8_t nil[16];
    return memcmp(parents->known[slot(key)], key, 16) == 0 && memcmp(key, nil, 16) != 0;
}

/* A one-dimensional uuid[] in binary: a header of twenty bytes, then lengths and values. */
static void remember(struct pj_parents *parents, const char *array, int length)
{
    for (int at = 20; at + 20 <= length; at += 20) {
        const uint8_t *key = (const uint8_t *)array + at + 4;
        memcpy(parents->known[slot(key)], key, 16);
    }
}

static int ensure_parent(const struct pass *pass, const struct pj_parent *parent,
                         const struct rows *rows, struct pj_error *error)
{
    struct pj_parents *parents = pass->writer->parents;
    struct rows wanted = rows_new(pass->arena, rows->count);
    for (size_t i = 0; i < rows->count; i++) {
        const struct pj_value *key = &rows->items[i][parent->column];
        if (key->present && !is_known(parents, key->uuid))
            wanted.items[wanted.count++] = rows->items[i];
    }
    if (wanted.count == 0)
        return 0;
    struct pj_parameter parameters[2] = {
        pj_binary_array(pass->arena, PJ_UUID, wanted.items, wanted.count, (size_t)parent->column),
        pj_binary_array(pass->arena, PJ_TIMESTAMPTZ, wanted.items, wanted.count,
                        (size_t)parent->seen_at),
    };
    struct pj_result *result;
    if (pj_postgres_run(pass->postgres, &find(parents, parent)->statement, parameters, &result,
                        error) != 0)
        return -1;
    if (pj_result_rows(result) == 1) {
        int length = 0;
        const char *known = pj_result_value(result, 0, 0, &length);
        if (known != NULL)
            remember(parents, known, length);
        pass->written->placeholders += pj_result_int8(result, 0, 1);
    }
    pj_result_free(result);
    return 0;
}

int pj_parents_ensure(const struct pass *pass, const struct pj_table *table,
                      const struct rows *rows, struct pj_error *error)
{
    const struct pj_parent *parent = pass->writer->parents != NULL ? table->parents : NULL;
    for (; parent != NULL && parent->ensure != NULL; parent++) {
        if (ensure_parent(pass, parent, rows, error) != 0)
            return -1;
    }
    return 0;
}

static int release_parent(const struct pass *pass, const struct pj_parent *parent,
                          const struct pj_row_changes *changes, struct pj_error *error)
{
    struct rows left = rows_new(pass->arena, changes->count);
    for (size_t i = 0; i < changes->count; i++) {
        const struct pj_row_change *change = &changes->items[i];
        bool gone =
            change->operation == PJ_ROW_DELETE ||
            (change->operation == PJ_ROW_UPDATE && (change->changed >> parent->column & 1) != 0);
        if (gone && change->before[parent->column].present)
            left.items[left.count++] = change->before;
    }
    if (left.count == 0)
        return 0;
    struct pj_parameter parameter =
        pj_binary_array(pass->arena, PJ_UUID, left.items, left.count, (size_t)parent->column);
    return pj_postgres_queue(pass->postgres, &find(pass->writer->parents, parent)->release,
                             &parameter, error);
}

int pj_parents_release(const struct pass *pass, const struct pj_table *table,
                       const struct pj_row_changes *changes, struct pj_error *error)
{
    const struct pj_parent *parent = pass->writer->parents != NULL ? table->parents : NULL;
    for (; parent != NULL && parent->ensure != NULL; parent++) {
        if (parent->release != NULL && release_parent(pass, parent, changes, error) != 0)
            return -1;
    }
    return 0;
}
