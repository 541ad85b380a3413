/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fit.h"
#include "fold/fold_internal.h"
#include "projectionist/typed.h"

#include <stdlib.h>
#include <uuid/uuid.h>

enum { FACTS_VERSION = 1 };

enum value_tag {
    TAG_NULL,
    TAG_FALSE,
    TAG_TRUE,
    TAG_INTEGER,
    TAG_DOUBLE,
    TAG_UUID,
    TAG_TEXT,
};

/* A value's, by its type's shape; of a boolean that is true, TAG_TRUE. */
static const uint8_t tag_of[] = {
    [PJ_SHAPE_BOOLEAN] = TAG_FALSE, [PJ_SHAPE_INTEGER] = TAG_INTEGER, [PJ_SHAPE_REAL] = TAG_DOUBLE,
    [PJ_SHAPE_UUID] = TAG_UUID,     [PJ_SHAPE_TEXT] = TAG_TEXT,
};

enum { FLAG_SUBKEY = 1, FLAG_TIE = 2 };

static const uint8_t zero[16];

/* --- order ----------------------------------------------------------------------------------- */

static int compare_place(const struct pj_fact *a, uint16_t kind, const uint8_t subkey[16])
{
    if (a->kind != kind)
        return a->kind < kind ? -1 : 1;
    return memcmp(a->subkey, subkey, 16);
}

int pj_facts_compare_place(const struct pj_fact *a, const struct pj_fact *b)
{
    return compare_place(a, b->kind, b->subkey);
}

int pj_order_compare(const struct pj_order *a, const struct pj_order *b)
{
    for (size_t i = 0; i < sizeof a->rank / sizeof a->rank[0]; i++) {
        if (a->rank[i] != b->rank[i])
            return a->rank[i] < b->rank[i] ? -1 : 1;
    }
    return memcmp(a->tie, b->tie, sizeof a->tie);
}

int pj_facts_compare(const struct pj_fact_kind *kind, const struct pj_fact *a,
                     const struct pj_fact *b)
{
    int compared = pj_order_compare(&a->order, &b->order);
    /* One id, two contents: the content decides, or the rows would depend on which came first. */
    for (size_t i = 0; compared == 0 && i < kind->value_count; i++)
        compared = pj_value_compare(kind->types[i], &a->values[i], &b->values[i]);
    return compared;
}

/* Where the fact is, or belongs. */
static size_t find(const struct pj_entity *entity, uint16_t kind, const uint8_t subkey[16],
                   bool *found)
{
    size_t low = 0;
    size_t high = entity->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int compared = compare_place(&entity->facts[middle], kind, subkey);
        if (compared == 0) {
            *found = true;
            return middle;
        }
        if (compared < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

/* --- merging --------------------------------------------------------------------------------- */

static void insert_at(struct pj_entity *entity, size_t at, const struct pj_fact *fact,
                      struct pj_arena *arena)
{
    if (entity->count == entity->capacity) {
        size_t capacity = entity->capacity != 0 ? entity->capacity * 2 : 4;
        struct pj_fact *facts = pj_arena_alloc(arena, capacity * sizeof *facts);
        if (entity->count > 0)
            memcpy(facts, entity->facts, entity->count * sizeof *facts);
        entity->facts = facts;
        entity->capacity = capacity;
    }
    memmove(&entity->facts[at + 1], &entity->facts[at],
            (entity->count - at) * sizeof *entity->facts);
    entity->facts[at] = *fact;
    entity->count++;
}

bool pj_facts_add(struct pj_entity *entity, const struct pj_fact *fact, struct pj_arena *arena)
{
    bool found;
    size_t at = find(entity, fact->kind, fact->subkey, &found);
    if (!found)
        insert_at(entity, at, fact, arena);
    return !found;
}

bool pj_facts_final(const struct pj_entity *entity)
{
    bool found = false;
    for (uint16_t f = 0; f < entity->kind->fact_count && !found; f++) {
        size_t at = entity->kind->facts[f].absorbs ? find(entity, f, zero, &found) : entity->count;
        found = found || (at < entity->count && entity->facts[at].kind == f);
    }
    return found;
}

static void drop_absorbed(struct pj_entity *entity)
{
    size_t kept = 0;
    for (size_t i = 0; i < entity->count; i++) {
        if (entity->kind->facts[entity->facts[i].kind].absorbs)
            entity->facts[kept++] = entity->facts[i];
    }
    entity->count = kept;
}

static bool lists(const struct pj_fact_kind *kind, uint16_t item)
{
    return item < PJ_LISTED_MOST && (kind->lists >> item & 1) != 0;
}

/* Whether a later list is known than that of which the fact is an item. */
static bool is_replaced(const struct pj_entity *entity, const struct pj_fact *fact)
{
    bool replaced = false;
    for (uint16_t f = 0; f < entity->kind->fact_count && !replaced; f++) {
        size_t at = lists(&entity->kind->facts[f], fact->kind) ? find(entity, f, zero, &replaced)
                                                               : entity->count;
        replaced = replaced && pj_order_compare(&entity->facts[at].order, &fact->order) > 0;
    }
    return replaced;
}

static void drop_replaced(struct pj_entity *entity, const struct pj_fact *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < entity->count; i++) {
        const struct pj_fact *fact = &entity->facts[i];
        if (!lists(&entity->kind->facts[list->kind], fact->kind) ||
            pj_order_compare(&fact->order, &list->order) >= 0)
            entity->facts[kept++] = *fact;
    }
    entity->count = kept;
}

bool pj_facts_apply(struct pj_entity *entity, const struct pj_change *change,
                    struct pj_arena *arena)
{
    if (change->timer)
        return true;
    const struct pj_fact *fact = &change->fact;
    const struct pj_fact_kind *kind = &entity->kind->facts[fact->kind];
    bool found;
    size_t at = find(entity, fact->kind, fact->subkey, &found);
    if (change->removed) {
        if (!found)
            return false;
        entity->count--;
        memmove(&entity->facts[at], &entity->facts[at + 1],
                (entity->count - at) * sizeof *entity->facts);
        return true;
    }
    if ((!found && !kind->absorbs && pj_facts_final(entity)) || is_replaced(entity, fact))
        return false;
    if (!found) {
        insert_at(entity, at, fact, arena);
        if (kind->absorbs)
            drop_absorbed(entity);
        if (kind->lists != 0)
            drop_replaced(entity, fact);
        return true;
    }
    if (change->older && memcmp(&fact->order, &entity->facts[at].order, sizeof fact->order) == 0)
        return false;
    int compared = pj_facts_compare(kind, fact, &entity->facts[at]);
    bool better = change->replaces ? compared != 0
                                   : (kind->keep == PJ_GREATEST ? compared > 0 : compared < 0);
    if (better)
        entity->facts[at] = *fact;
    if (better && kind->lists != 0)
        drop_replaced(entity, fact);
    return better;
}

struct pj_entity pj_facts_copy(const struct pj_entity *entity, size_t changes,
                               struct pj_arena *arena)
{
    struct pj_entity copy = *entity;
    /* Of an entity that is there, most changes are of facts that it has; a new one gets a fact of
     * most kinds. What it takes beyond that, it takes. */
    size_t most = entity->count > 0 ? 2 : entity->kind->fact_count;
    copy.capacity = entity->count + (changes < most ? changes : most);
    copy.facts = pj_arena_alloc(arena, copy.capacity * sizeof *copy.facts);
    if (entity->count > 0)
        memcpy(copy.facts, entity->facts, entity->count * sizeof *copy.facts);
    return copy;
}

/* --- the stored form ------------------------------------------------------------------------- */

struct writer {
    uint8_t *at;
};

static void put_varint(struct writer *writer, uint64_t value)
{
    while (value > 127) {
        *writer->at++ = (uint8_t)(value | 128);
        value >>= 7;
    }
    *writer->at++ = (uint8_t)value;
}

static void put_zigzag(struct writer *writer, int64_t value)
{
    put_varint(writer, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

static void put_bytes(struct writer *writer, const void *data, size_t length)
{
    if (length > 0)
        memcpy(writer->at, data, length);
    writer->at += length;
}

static void put_value(struct writer *writer, enum pj_type type, const struct pj_value *value)
{
    if (!value->present) {
        *writer->at++ = TAG_NULL;
        return;
    }
    uint8_t tag = tag_of[pj_type_shape(type)];
    *writer->at++ = tag == TAG_FALSE && value->boolean ? TAG_TRUE : tag;
    switch (tag) {
    case TAG_INTEGER:
        put_zigzag(writer, value->integer);
        return;
    case TAG_DOUBLE:
        put_bytes(writer, &value->real, sizeof value->real);
        return;
    case TAG_UUID:
        put_bytes(writer, value->uuid, 16);
        return;
    case TAG_TEXT:
        put_varint(writer, value->text.length);
        put_bytes(writer, value->text.data, value->text.length);
        return;
    }
}

static size_t bound(const struct pj_fact_kind *kind, const struct pj_fact *fact)
{
    size_t size = 3 + 1 + 16 + 4 * 10 + 16 + 3;
    for (size_t v = 0; v < kind->value_count; v++) {
        size += 1 + 17;
        if (fact->values[v].present && pj_type_shape(kind->types[v]) == PJ_SHAPE_TEXT)
            size += fact->values[v].text.length;
    }
    return size;
}

static void put_fact(struct writer *writer, const struct pj_fact_kind *kind,
                     const struct pj_fact *fact)
{
    bool subkey = memcmp(fact->subkey, zero, 16) != 0;
    bool tie = memcmp(fact->order.tie, zero, 16) != 0;
    put_varint(writer, fact->kind);
    *writer->at++ = (uint8_t)((subkey ? FLAG_SUBKEY : 0) | (tie ? FLAG_TIE : 0));
    if (subkey)
        put_bytes(writer, fact->subkey, 16);
    for (int r = 0; r < 4; r++)
        put_zigzag(writer, fact->order.rank[r]);
    if (tie)
        put_bytes(writer, fact->order.tie, 16);
    put_varint(writer, kind->value_count);
    for (size_t v = 0; v < kind->value_count; v++)
        put_value(writer, kind->types[v], &fact->values[v]);
}

static void encode(const struct pj_entity *entity, const struct pj_fact *facts, size_t count,
                   bool wide, struct pj_arena *arena, const void **data, size_t *length)
{
    const struct pj_fact_kind *kinds = entity->kind->facts;
    size_t size = 1 + 10;
    size_t among = 0;
    for (size_t i = 0; i < count; i++) {
        if (kinds[facts[i].kind].wide != wide)
            continue;
        size += bound(&kinds[facts[i].kind], &facts[i]);
        among++;
    }
    uint8_t *start = pj_arena_alloc(arena, size);
    struct writer writer = {start};
    *writer.at++ = FACTS_VERSION;
    put_varint(&writer, among);
    for (size_t i = 0; i < count; i++) {
        if (kinds[facts[i].kind].wide == wide)
            put_fact(&writer, &kinds[facts[i].kind], &facts[i]);
    }
    *data = start;
    *length = (size_t)(writer.at - start);
    pj_arena_cut(arena, start, size, *length);
}

void pj_facts_encode(const struct pj_entity *entity, struct pj_arena *arena, const void **data,
                     size_t *length)
{
    encode(entity, entity->facts, entity->count, false, arena, data, length);
}

void pj_facts_encode_one(const struct pj_entity *entity, const struct pj_fact *fact,
                         struct pj_arena *arena, const void **data, size_t *length)
{
    encode(entity, fact, 1, entity->kind->facts[fact->kind].wide, arena, data, length);
}

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static const void *take(struct reader *reader, size_t length)
{
    if (reader->failed || (size_t)(reader->end - reader->at) < length) {
        reader->failed = true;
        return zero; /* at least 16 readable bytes: every fixed-size read is at most that */
    }
    const void *at = reader->at;
    reader->at += length;
    return at;
}

static uint64_t take_varint(struct reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = *(const uint8_t *)take(reader, 1);
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
    reader->failed = true;
    return 0;
}

static int64_t take_zigzag(struct reader *reader)
{
    uint64_t value = take_varint(reader);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static struct pj_value take_value(struct reader *reader, enum pj_type type)
{
    struct pj_value value = {.present = true, .shape = (uint8_t)pj_type_shape(type)};
    uint8_t tag = *(const uint8_t *)take(reader, 1);
    if (tag == TAG_NULL)
        return pj_null();
    value.boolean = tag == TAG_TRUE;
    tag = tag == TAG_TRUE ? TAG_FALSE : tag;
    /* A tag that is not of the type would make a text of other bytes, and so a wild pointer. */
    if (tag != tag_of[value.shape])
        reader->failed = true;
    switch (reader->failed ? TAG_NULL : tag) {
    case TAG_INTEGER:
        value.integer = take_zigzag(reader);
        if (!pj_value_fits(type, &value))
            reader->failed = true;
        break;
    case TAG_DOUBLE:
        memcpy(&value.real, take(reader, sizeof value.real), sizeof value.real);
        break;
    case TAG_UUID:
        memcpy(value.uuid, take(reader, 16), 16);
        break;
    case TAG_TEXT:
        value.text.length = (size_t)take_varint(reader);
        value.text.data = take(reader, value.text.length);
        break;
    }
    return value;
}

static void take_fact(struct reader *reader, const struct pj_entity_kind *entity,
                      struct pj_fact *fact, struct pj_arena *arena)
{
    uint64_t kind = take_varint(reader);
    if (kind >= entity->fact_count) {
        reader->failed = true;
        return;
    }
    fact->kind = (uint16_t)kind;
    uint8_t flags = *(const uint8_t *)take(reader, 1);
    if (flags & FLAG_SUBKEY)
        memcpy(fact->subkey, take(reader, 16), 16);
    for (int r = 0; r < 4; r++)
        fact->order.rank[r] = take_zigzag(reader);
    if (flags & FLAG_TIE)
        memcpy(fact->order.tie, take(reader, 16), 16);
    size_t declared = entity->facts[kind].value_count;
    uint64_t stored = take_varint(reader);
    struct pj_value *values = pj_arena_alloc(arena, declared * sizeof *values);
    if (stored > declared)
        reader->failed = true;
    for (size_t v = 0; v < stored && !reader->failed; v++)
        values[v] = take_value(reader, entity->facts[kind].types[v]);
    fact->values = values;
}

int pj_facts_decode(struct pj_entity *entity, const void *data, size_t length,
                    struct pj_arena *arena, struct pj_error *error)
{
    struct reader reader = {.at = data, .end = (const uint8_t *)data + length};
    uint8_t version = *(const uint8_t *)take(&reader, 1);
    uint64_t count = take_varint(&reader);
    /* A fact takes at least seven bytes, so a damaged count cannot ask for much memory. */
    if (version == FACTS_VERSION && !reader.failed && count <= length / 7) {
        entity->capacity = (size_t)count;
        entity->facts = pj_arena_alloc(arena, (size_t)count * sizeof *entity->facts);
        for (entity->count = 0; entity->count < count && !reader.failed; entity->count++) {
            struct pj_fact *fact = &entity->facts[entity->count];
            take_fact(&reader, entity->kind, fact, arena);
            if (entity->count > 0 && compare_place(fact - 1, fact->kind, fact->subkey) >= 0)
                reader.failed = true; /* find() relies on their order */
        }
        if (!reader.failed && reader.at == reader.end)
            return 0;
    }
    char key[37];
    uuid_unparse_lower(entity->key, key);
    return pj_error_fatal(error, PJ_EXIT_DATABASE,
                          "the stored facts of %s %s are damaged or of a newer version; run the "
                          "version that wrote them, or restore them from a backup",
                          entity->kind->name, key);
}

/* --- what derive reads ----------------------------------------------------------------------- */

const uint8_t *pj_entity_key(const struct pj_entity *entity)
{
    return entity->key;
}

const struct pj_value *pj_entity_name(const struct pj_entity *entity)
{
    bool found;
    for (uint16_t f = 0; f < entity->kind->fact_count; f++) {
        size_t at = entity->kind->facts[f].is_name ? find(entity, f, zero, &found) : entity->count;
        if (at < entity->count && entity->facts[at].kind == f)
            return entity->facts[at].values;
    }
    return NULL;
}

/* Whether derive may ask for the fact. */
static bool is_seen(const struct pj_entity *entity, size_t fact)
{
    const struct pj_entity_kind *kind = entity->kind;
    if (entity->fold == NULL)
        return fact < kind->fact_count;
    if (fact >= kind->fact_count)
        pj_fold_mistake(entity->fold,
                        "derive of the entity kind %s asks for its fact %zu, and it has %zu: give "
                        "an index of its facts",
                        kind->name, fact, kind->fact_count);
    else if (entity->shown_only && !kind->facts[fact].shown && !kind->facts[fact].is_name)
        pj_fold_mistake(entity->fold,
                        "derive of a wide fact of the entity kind %s asks for the fact \"%s\", "
                        "which is not `shown`: declare it so",
                        kind->name, kind->facts[fact].name);
    else if (!entity->shown_only && kind->facts[fact].derive != NULL)
        pj_fold_mistake(entity->fold,
                        "derive of the entity kind %s asks for the fact \"%s\", which has a derive "
                        "of its own and is not loaded: leave out one of the two",
                        kind->name, kind->facts[fact].name);
    else
        return true;
    return false;
}

/* From the first fact of the kind to behind the last. */
static size_t find_range(const struct pj_entity *entity, size_t fact, size_t *end)
{
    bool found;
    size_t first = find(entity, (uint16_t)fact, zero, &found);
    *end = first;
    while (*end < entity->count && entity->facts[*end].kind == fact)
        ++*end;
    return first;
}

int64_t pj_facts_depth(const struct pj_entity *entity, size_t fact)
{
    int64_t depth = 0;
    size_t end;
    for (size_t i = find_range(entity, fact, &end); i < end; i++) {
        if (entity->facts[i].order.rank[0] > depth)
            depth = entity->facts[i].order.rank[0];
    }
    return depth;
}

bool pj_entity_too_deep(const struct pj_entity *entity, size_t fact)
{
    return is_seen(entity, fact) && entity->kind->facts[fact].recursive &&
           pj_facts_depth(entity, fact) > entity->kind->depth_most;
}

const struct pj_fact *pj_entity_fact(const struct pj_entity *entity, size_t fact,
                                     const uint8_t subkey[16])
{
    bool found;
    if (!is_seen(entity, fact) || pj_entity_too_deep(entity, fact))
        return NULL;
    size_t at = find(entity, (uint16_t)fact, subkey != NULL ? subkey : zero, &found);
    return found ? &entity->facts[at] : NULL;
}

const struct pj_fact *pj_entity_facts(const struct pj_entity *entity, size_t fact, size_t *count)
{
    size_t end;
    *count = 0;
    if (!is_seen(entity, fact) || pj_entity_too_deep(entity, fact))
        return entity->facts;
    size_t first = find_range(entity, fact, &end);
    *count = end - first;
    return &entity->facts[first];
}

/* Facts of another kind would be read as the structs of this one's lists. */
static bool is_of_kind(const struct pj_entity *entity, size_t kind)
{
    if (entity->fold == NULL || entity->kind == &entity->fold->projection->entities[kind])
        return true;
    pj_fold_mistake(entity->fold,
                    "derive of the entity kind %s asks for a fact that is listed for the kind %zu: "
                    "give one of its own, and PJ_FACTS the kind's number among the entities",
                    entity->kind->name, kind);
    return false;
}

const struct pj_fact *pj_fact_of(const struct pj_entity *entity, size_t kind, size_t fact,
                                 const uint8_t subkey[16])
{
    return is_of_kind(entity, kind) ? pj_entity_fact(entity, fact, subkey) : NULL;
}

const struct pj_fact *pj_facts_of(const struct pj_entity *entity, size_t kind, size_t fact,
                                  size_t *count)
{
    *count = 0;
    return is_of_kind(entity, kind) ? pj_entity_facts(entity, fact, count) : entity->facts;
}

static int compare_facts(const void *a, const void *b)
{
    const struct pj_fact *x = a;
    const struct pj_fact *y = b;
    int compared = pj_order_compare(&x->order, &y->order);
    return compared != 0 ? compared : memcmp(x->subkey, y->subkey, 16);
}

const struct pj_fact *pj_entity_facts_by_order(struct pj_derivation *derivation,
                                               const struct pj_entity *entity, size_t fact,
                                               size_t *count)
{
    const struct pj_fact *facts = pj_entity_facts(entity, fact, count);
    struct pj_fact *sorted =
        pj_arena_copy(derivation->fold->passing, facts, *count * sizeof *facts);
    if (*count > 1)
        qsort(sorted, *count, sizeof *sorted, compare_facts);
    return sorted;
}
