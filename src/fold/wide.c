/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/fold_internal.h"

#include <stdlib.h>
#include <uuid/uuid.h>

bool pj_wide_has(const struct pj_entity_kind *kind)
{
    bool wide = false;
    for (size_t f = 0; f < kind->fact_count; f++)
        wide = wide || kind->facts[f].wide;
    return wide;
}

bool pj_wide_has_name(const struct pj_projection *projection, const char *name)
{
    for (size_t e = 0; e < projection->entity_count; e++) {
        const struct pj_entity_kind *kind = &projection->entities[e];
        size_t length = kind->name != NULL ? strlen(kind->name) : 0;
        if (length > 0 && pj_wide_has(kind) && strncmp(name, kind->name, length) == 0 &&
            strcmp(name + length, "_wide") == 0)
            return true;
    }
    return false;
}

/* --- loading --------------------------------------------------------------------------------- */

static void push(struct pj_fold *fold, struct pj_wide_rows *rows, const uint8_t key[16],
                 const struct pj_fact *fact, struct pj_value stored)
{
    const struct pj_value row[] = {pj_uuid(key), pj_bigint(fact->kind), pj_uuid(fact->subkey),
                                   stored};
    rows->items =
        pj_fold_grown(fold->staged, rows->items, rows->count, &rows->capacity, sizeof *rows->items);
    rows->items[rows->count++] = pj_arena_copy(fold->staged, row, sizeof row);
}

/* All facts of the kinds that have a derive of their own, or of those that have none. */
static void want_kinds(struct pj_fold *fold, size_t stage_index, const uint8_t key[16],
                       bool derived)
{
    const struct pj_entity_kind *kind = &fold->projection->entities[stage_index];
    for (size_t f = 0; f < kind->fact_count; f++) {
        const struct pj_fact fact = {.kind = (uint16_t)f};
        if (kind->facts[f].wide && (kind->facts[f].derive != NULL) == derived)
            push(fold, &fold->stages[stage_index].wanted_kinds, key, &fact, pj_null());
    }
}

static int compare_places(const void *a, const void *b)
{
    const struct pj_value *x = *(const struct pj_value *const *)a;
    const struct pj_value *y = *(const struct pj_value *const *)b;
    int compared = memcmp(x[0].uuid, y[0].uuid, 16);
    if (compared == 0)
        compared = (x[1].integer > y[1].integer) - (x[1].integer < y[1].integer);
    return compared != 0 ? compared : memcmp(x[2].uuid, y[2].uuid, 16);
}

/* Many events may be about one fact. */
static void drop_repeated(struct pj_wide_rows *rows)
{
    size_t kept = 0;
    if (rows->count > 1)
        qsort(rows->items, rows->count, sizeof *rows->items, compare_places);
    for (size_t i = 0; i < rows->count; i++) {
        if (kept == 0 || compare_places(&rows->items[kept - 1], &rows->items[i]) != 0)
            rows->items[kept++] = rows->items[i];
    }
    rows->count = kept;
}

/* A list drops items of earlier ones: all there are. */
static void want_listed(struct pj_fold *fold, size_t stage_index, const uint8_t key[16],
                        const struct pj_fact_kind *list)
{
    const struct pj_entity_kind *kind = &fold->projection->entities[stage_index];
    for (size_t f = 0; f < kind->fact_count && f < PJ_LISTED_MOST; f++) {
        const struct pj_fact fact = {.kind = (uint16_t)f};
        if ((list->lists >> f & 1) != 0 && kind->facts[f].derive != NULL)
            push(fold, &fold->stages[stage_index].wanted_kinds, key, &fact, pj_null());
    }
}

void pj_wide_want(struct pj_fold *fold, size_t stage_index, const struct pj_stage *fresh)
{
    struct pj_stage *stage = &fold->stages[stage_index];
    const struct pj_entity_kind *kind = &fold->projection->entities[stage_index];
    for (size_t i = 0; i < fresh->count; i++) {
        const struct pj_touched *touched = &fresh->touched[i];
        bool seen = kind->timed;
        for (size_t c = 0; c < touched->change_count; c++) {
            const struct pj_change *change = touched->changes[c];
            if (!change->timer && kind->facts[change->fact.kind].derive != NULL) {
                push(fold, &stage->wanted, touched->key, &change->fact, pj_null());
                continue;
            }
            seen = true;
            if (!change->timer)
                want_listed(fold, stage_index, touched->key, &kind->facts[change->fact.kind]);
        }
        if (seen)
            want_kinds(fold, stage_index, touched->key, false);
    }
    drop_repeated(&stage->wanted);
    drop_repeated(&stage->wanted_kinds);
}

int pj_wide_check_stored(const struct pj_entity *entity, struct pj_error *error)
{
    for (size_t i = 0; i < entity->count; i++) {
        const struct pj_fact_kind *kind = &entity->kind->facts[entity->facts[i].kind];
        char key[37];
        uuid_unparse_lower(entity->key, key);
        if (kind->wide)
            return pj_error_fatal(error, PJ_EXIT_DATABASE,
                                  "the fact \"%s\" of %s %s was stored before its kind was `wide`; "
                                  "run `projectionist rebuild` once",
                                  kind->name, entity->kind->name, key);
    }
    return 0;
}

static bool is_shown(const struct pj_fact_kind *kind)
{
    return kind->shown || kind->is_name || kind->absorbs;
}

/* The next fact in the place of the lesser of the two; NULL on a side that has none there. */
static bool next_pair(const struct pj_touched *touched, size_t *b, size_t *a,
                      const struct pj_fact **before, const struct pj_fact **after)
{
    const struct pj_entity *from = &touched->before;
    const struct pj_entity *to = &touched->after;
    if (*b == from->count && *a == to->count)
        return false;
    *before = *b < from->count ? &from->facts[*b] : NULL;
    *after = *a < to->count ? &to->facts[*a] : NULL;
    int compared = *before == NULL  ? 1
                   : *after == NULL ? -1
                                    : pj_facts_compare_place(*before, *after);
    if (compared <= 0)
        ++*b;
    if (compared >= 0)
        ++*a;
    *before = compared > 0 ? NULL : *before;
    *after = compared < 0 ? NULL : *after;
    return true;
}

static bool differs(const struct pj_fact_kind *kind, const struct pj_fact *before,
                    const struct pj_fact *after)
{
    return before == NULL || after == NULL || pj_facts_compare(kind, before, after) != 0;
}

void pj_wide_want_shown(struct pj_fold *fold, size_t stage_index, const struct pj_touched *touched)
{
    const struct pj_fact *before;
    const struct pj_fact *after;
    for (size_t b = 0, a = 0; next_pair(touched, &b, &a, &before, &after);) {
        const struct pj_fact_kind *kind =
            &touched->before.kind->facts[before != NULL ? before->kind : after->kind];
        if (!is_shown(kind) || !differs(kind, before, after))
            continue;
        want_kinds(fold, stage_index, touched->key, true);
        return;
    }
}

int pj_fold_load_wide(struct pj_fold *fold, size_t stage_index, const uint8_t key[16],
                      const void *data, size_t length, struct pj_error *error)
{
    struct pj_touched *touched = pj_fold_find_touched(&fold->stages[stage_index], key);
    /* An entity that was not there could not be locked: what is there of it now is half of what
     * somebody else has committed since, and this transaction will fail at their row. */
    if (touched == NULL || !touched->existed)
        return 0;
    struct pj_entity one = {.kind = touched->before.kind};
    memcpy(one.key, key, 16);
    if (pj_facts_decode(&one, data, length, fold->staged, error) != 0)
        return -1;
    for (size_t i = 0; i < one.count; i++) {
        /* Those loaded later are not among the changes; only a final fact concerns them. */
        if (pj_facts_add(&touched->before, &one.facts[i], fold->staged) &&
            touched->after.kind != NULL && !pj_facts_final(&touched->after))
            (void)pj_facts_add(&touched->after, &one.facts[i], fold->staged);
    }
    return 0;
}

/* --- writing --------------------------------------------------------------------------------- */

static void store_wide(struct pj_fold *fold, struct pj_stage *stage,
                       const struct pj_touched *touched, const struct pj_fact *before,
                       const struct pj_fact *after)
{
    const void *data;
    size_t length;
    if (after == NULL) {
        push(fold, &stage->gone, touched->key, before, pj_null());
        return;
    }
    pj_facts_encode_one(&touched->after, after, fold->staged, &data, &length);
    push(fold, &stage->kept, touched->key, after, pj_text_of(data, length));
}

void pj_wide_store(struct pj_fold *fold, size_t stage_index, struct pj_touched *touched)
{
    const struct pj_entity_kind *entity = touched->before.kind;
    bool changed = !touched->existed || entity->timed;
    const struct pj_fact *before;
    const struct pj_fact *after;
    for (size_t b = 0, a = 0; next_pair(touched, &b, &a, &before, &after);) {
        const struct pj_fact_kind *kind =
            &entity->facts[before != NULL ? before->kind : after->kind];
        if (kind->wide && differs(kind, before, after))
            store_wide(fold, &fold->stages[stage_index], touched, before, after);
        changed = changed || (!kind->wide && differs(kind, before, after));
    }
    if (changed)
        pj_facts_encode(&touched->after, fold->staged, &touched->stored, &touched->stored_length);
}
