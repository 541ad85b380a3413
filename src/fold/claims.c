/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/claims.h"

#include "base/memory.h"
#include "fold/declaration_internal.h"
#include "fold/fold_internal.h"

#include <endian.h>

/* --- kinds ----------------------------------------------------------------------------------- */

/* Never freed: others point to it. */
struct expanded {
    const struct pj_projection *original;
    struct pj_projection projection;
    struct expanded *next;
};

static struct expanded *all_expanded;

/* Ties are decided by content, then by claimant, never by the order of events. */
static const struct pj_fact *greatest(const struct pj_entity *entity)
{
    size_t count;
    const struct pj_fact *claims = pj_entity_facts(entity, 0, &count);
    const struct pj_fact *best = &claims[0];
    for (size_t i = 1; i < count; i++) {
        int compared = pj_facts_compare(&entity->kind->facts[0], &claims[i], best);
        if (compared > 0 || (compared == 0 && memcmp(claims[i].subkey, best->subkey, 16) > 0))
            best = &claims[i];
    }
    return best;
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_table *table = pj_claims_table(derivation->fold->projection, entity->kind);
    memcpy(pj_fold_row(derivation, table), greatest(entity)->values,
           table->column_count * sizeof(struct pj_value));
}

bool pj_claims_is_kind(const struct pj_entity_kind *kind)
{
    return kind->derive == derive;
}

const struct pj_table *pj_claims_table(const struct pj_projection *projection,
                                       const struct pj_entity_kind *kind)
{
    for (size_t t = 0; t < projection->table_count && pj_claims_is_kind(kind); t++) {
        const struct pj_table *table = projection->tables[t];
        if (table->claimed != NULL && strcmp(table->claimed, kind->name) == 0)
            return table;
    }
    return NULL;
}

static struct pj_entity_kind make_kind(const struct pj_table *table)
{
    enum pj_type *types = pj_calloc(table->column_count, sizeof *types);
    for (size_t c = 0; c < table->column_count; c++)
        types[c] = table->columns[c].type;
    const struct pj_fact_kind claim = {"claim", PJ_GREATEST, types, table->column_count};
    return (struct pj_entity_kind){table->claimed, pj_copy(&claim, sizeof claim), 1, derive, false};
}

static struct expanded *expand(const struct pj_projection *projection, size_t claimed)
{
    struct expanded *expanded = pj_alloc(sizeof *expanded);
    size_t count = projection->entity_count;
    struct pj_entity_kind *kinds = pj_calloc(count + claimed, sizeof *kinds);
    for (size_t e = 0; e < count; e++)
        kinds[e] = projection->entities[e];
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t]->claimed != NULL)
            kinds[count++] = make_kind(projection->tables[t]);
    }
    expanded->original = projection;
    expanded->projection = *projection;
    expanded->projection.entities = kinds;
    expanded->projection.entity_count = count;
    return expanded;
}

const struct pj_projection *pj_claims_expand(const struct pj_projection *projection)
{
    size_t claimed = 0;
    for (size_t t = 0; t < projection->table_count; t++)
        claimed += projection->tables[t]->claimed != NULL;
    for (size_t e = 0; e < projection->entity_count; e++)
        claimed = pj_claims_is_kind(&projection->entities[e]) ? 0 : claimed;
    if (claimed == 0)
        return projection;
    struct expanded *expanded = all_expanded;
    while (expanded != NULL && expanded->original != projection)
        expanded = expanded->next;
    if (expanded == NULL) {
        expanded = expand(projection, claimed);
        expanded->next = all_expanded;
        all_expanded = expanded;
    }
    return &expanded->projection;
}

static int check_name(const struct pj_projection *projection, size_t index, struct pj_error *error)
{
    const struct pj_table *table = projection->tables[index];
    const char *name = table->claimed;
    bool taken = pj_wide_has_name(projection, name);
    for (size_t e = 0; e < projection->entity_count; e++)
        taken = taken || (strcmp(projection->entities[e].name, name) == 0 &&
                          !pj_claims_is_kind(&projection->entities[e]));
    for (size_t t = 0; t < index; t++)
        taken = taken || (projection->tables[t]->claimed != NULL &&
                          strcmp(projection->tables[t]->claimed, name) == 0);
    if (!pj_declaration_is_word(name, pj_declaration_sql_name) || taken)
        return PJ_WRONG(error,
                        "the `claimed` of %s is '%.100s', and must be a name of lower-case "
                        "letters, digits and underscores that no entity kind and no other "
                        "table of %s has",
                        table->name, name, projection->name);
    if (strlen("state__") + strlen(projection->name) + strlen(name) >= PJ_STATE_NAME_SIZE)
        return PJ_WRONG(error,
                        "state_%s_%s is longer than the %d bytes that the name of a table "
                        "can have; shorten the `claimed` of %s",
                        projection->name, name, PJ_STATE_NAME_SIZE - 1, table->name);
    return 0;
}

int pj_claims_check(const struct pj_projection *projection, struct pj_error *error)
{
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *table = projection->tables[t];
        if (table->claimed == NULL)
            continue;
        if (table->kind != PJ_ENTITY_TABLE)
            return PJ_WRONG(error,
                            "%s is `claimed`, which only an entity table can be: what "
                            "entities count for in a rollup is added up, and appended rows "
                            "are never changed",
                            table->name);
        if (check_name(projection, t, error) != 0)
            return -1;
    }
    return 0;
}

/* --- claiming -------------------------------------------------------------------------------- */

static size_t kind_of(const struct pj_projection *projection, const struct pj_table *table)
{
    size_t index = 0;
    while (index < projection->entity_count &&
           !(pj_claims_is_kind(&projection->entities[index]) &&
             strcmp(projection->entities[index].name, table->claimed) == 0))
        index++;
    return index;
}

struct pj_value *pj_claim(struct pj_derivation *derivation, const struct pj_table *table,
                          const struct pj_order *order)
{
    struct pj_fold *fold = derivation->fold;
    struct pj_value *row = pj_arena_alloc(fold->passing, table->column_count * sizeof *row);
    size_t kind = table->claimed != NULL ? kind_of(fold->projection, table) : 0;
    if (table->claimed == NULL || order == NULL || kind == fold->projection->entity_count) {
        pj_fold_mistake(fold, "derive of the entity kind %s claims a row of %s, which is %s",
                        fold->projection->entities[derivation->stage].name, table->name,
                        order == NULL            ? "without an order: give pj_claim one"
                        : table->claimed == NULL ? "not `claimed`: declare it so, or use pj_row"
                                                 : "not among its tables: list it there");
        return row;
    }
    struct pj_change *change = pj_fold_contribution(derivation);
    change->replaces = true;
    change->entity = kind;
    change->fact.order = *order;
    change->fact.values = row;
    return row;
}

/* Whoever claims, a wide fact with its entity. */
static void name_claimant(const struct pj_entity *entity, const struct pj_fact *by,
                          struct pj_arena *arena, uint8_t claimant[16])
{
    size_t length = strlen(entity->kind->name);
    size_t whole = length + 16 + (by != NULL ? 18 : 0);
    char *name = pj_arena_alloc(arena, whole);
    memcpy(name, entity->kind->name, length);
    memcpy(name + length, entity->key, 16);
    if (by != NULL) {
        const uint16_t kind = htobe16(by->kind);
        memcpy(name + length + 16, &kind, 2);
        memcpy(name + length + 18, by->subkey, 16);
    }
    pj_uuid_of_name(name, whole, claimant);
}

void pj_claims_complete(struct pj_derivation *derivation, const struct pj_entity *entity)
{
    struct pj_fold *fold = derivation->fold;
    for (size_t i = 0; i < derivation->contribution_count; i++) {
        struct pj_change *change = &derivation->contributions[i];
        const struct pj_entity_kind *kind = &fold->projection->entities[change->entity];
        if (!pj_claims_is_kind(kind))
            continue;
        name_claimant(entity, change->by, fold->passing, change->fact.subkey);
        pj_row_key_uuid(pj_claims_table(fold->projection, kind), change->fact.values, change->key);
    }
}
