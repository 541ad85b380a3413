/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/facts.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { FIRST, LAST, EVERYTHING, KINDS };

static const enum pj_type text_type[] = {PJ_TEXT};
static const enum pj_type all_types[] = {
    PJ_BOOL,        PJ_INT,   PJ_BIGINT,  PJ_DOUBLE, PJ_TEXT, PJ_UUID,
    PJ_TIMESTAMPTZ, PJ_JSONB, PJ_NUMERIC, PJ_BYTEA,  PJ_BOOL,
};
enum { ALL = sizeof all_types / sizeof all_types[0] };

static const struct pj_fact_kind kinds[] = {
    [FIRST] = {"first", PJ_LEAST, text_type, 1},
    [LAST] = {"last", PJ_GREATEST, text_type, 1},
    [EVERYTHING] = {"everything", PJ_GREATEST, all_types, ALL},
};
static const struct pj_entity_kind thing = {.name = "thing", .facts = kinds, .fact_count = KINDS};

static struct pj_arena *arena;
static struct pj_entity entity;
static struct pj_error error;

static void start(void)
{
    arena = pj_arena_new();
    entity = (struct pj_entity){.kind = &thing, .key = {1, 2, 3}};
}

static void stop(void)
{
    pj_arena_free(arena);
}

TestSuite(facts, .init = start, .fini = stop, .timeout = 60);

/* --- merging --------------------------------------------------------------------------------- */

static struct pj_change text_change(uint16_t kind, uint8_t subkey, struct pj_order order,
                                    const char *text)
{
    struct pj_value value = pj_text(text);
    struct pj_change change = {.fact = {.kind = kind, .subkey = {subkey}, .order = order}};
    change.fact.values = pj_arena_copy(arena, &value, sizeof value);
    return change;
}

static bool say(uint16_t kind, struct pj_order order, const char *text)
{
    struct pj_change change = text_change(kind, 0, order, text);
    return pj_facts_apply(&entity, &change, arena);
}

static void keeps(uint16_t kind, const char *text)
{
    const struct pj_fact *fact = pj_entity_fact(&entity, kind, NULL);
    cr_assert_not_null(fact);
    cr_assert(pj_text_is(&fact->values[0], text), "%.*s", (int)fact->values[0].text.length,
              fact->values[0].text.data);
}

#define RANKS(...) ((struct pj_order){.rank = {__VA_ARGS__}})

Test(facts, the_greatest_stays)
{
    cr_assert(say(LAST, RANKS(5), "five"));
    cr_assert_not(say(LAST, RANKS(4), "four"));
    keeps(LAST, "five");
    cr_assert(say(LAST, RANKS(6), "six"));
    keeps(LAST, "six");
    cr_assert_not(say(LAST, RANKS(6), "six"));
    cr_assert_eq(entity.count, 1);
}

Test(facts, the_least_stays)
{
    cr_assert(say(FIRST, RANKS(5), "five"));
    cr_assert_not(say(FIRST, RANKS(6), "six"));
    keeps(FIRST, "five");
    cr_assert(say(FIRST, RANKS(-4), "less"));
    keeps(FIRST, "less");
    cr_assert_not(say(FIRST, RANKS(-4), "less"));
}

/* From the first rank to the last, as numbers; then the tie, as bytes; then the content. */
Test(facts, what_is_greater)
{
    struct pj_order orders[] = {
        RANKS(INT64_MIN, 9, 9, 9),
        RANKS(-1, 9, 9, 9),
        RANKS(0, INT64_MIN),
        RANKS(0, 0, -1),
        RANKS(0, 0, 0, -1),
        RANKS(0),
        RANKS(0),
        RANKS(0),
        RANKS(0, 0, 0, 1),
        RANKS(0, 0, 5),
        RANKS(0, 1),
        RANKS(INT64_MAX),
    };
    orders[6].tie[15] = 1;
    orders[7].tie[0] = 0x80;
    size_t count = sizeof orders / sizeof orders[0];
    for (size_t a = 0; a < count; a++) {
        for (size_t b = 0; b < count; b++) {
            entity.count = 0;
            say(LAST, orders[a], "a");
            say(FIRST, orders[a], "a");
            cr_assert_eq(say(LAST, orders[b], "a"), b > a, "%zu, %zu", a, b);
            cr_assert_eq(say(FIRST, orders[b], "a"), b < a, "%zu, %zu", a, b);
        }
    }
}

Test(facts, content_decides_between_equals)
{
    const char *texts[] = {NULL, "", "a", "aa", "b", "ä"};
    for (size_t a = 0; a < 6; a++) {
        for (size_t b = 0; b < 6; b++) {
            entity.count = 0;
            say(LAST, RANKS(1), texts[a]);
            cr_assert_eq(say(LAST, RANKS(1), texts[b]), b > a, "%zu, %zu", a, b);
        }
    }
}

Test(facts, told_facts_replace_and_are_taken_back)
{
    struct pj_change change = text_change(LAST, 7, RANKS(0), "m");
    change.replaces = true;
    cr_assert(pj_facts_apply(&entity, &change, arena));
    cr_assert_not(pj_facts_apply(&entity, &change, arena), "the same again");
    /* Neither greater nor less: what is told now counts. */
    struct pj_change less = text_change(LAST, 7, RANKS(0), "a");
    less.replaces = true;
    cr_assert(pj_facts_apply(&entity, &less, arena));
    uint8_t subkey[16] = {7};
    cr_assert(pj_text_is(&pj_entity_fact(&entity, LAST, subkey)->values[0], "a"));
    struct pj_change other = text_change(LAST, 8, RANKS(0), "other");
    other.replaces = other.removed = true;
    cr_assert_not(pj_facts_apply(&entity, &other, arena), "there was none");
    less.removed = true;
    cr_assert(pj_facts_apply(&entity, &less, arena));
    cr_assert_null(pj_entity_fact(&entity, LAST, subkey));
    cr_assert_eq(entity.count, 0);
    cr_assert_not(pj_facts_apply(&entity, &less, arena), "it is gone already");
}

Test(facts, facts_of_a_kind_by_subkey)
{
    static const uint8_t said[] = {9, 3, 200, 0, 5, 3};
    struct pj_change between = text_change(EVERYTHING, 1, RANKS(0), "");
    struct pj_value values[ALL] = {0};
    between.fact.values = values;
    pj_facts_apply(&entity, &between, arena);
    for (size_t i = 0; i < sizeof said; i++) {
        struct pj_change change = text_change(LAST, said[i], RANKS((int64_t)i), "x");
        pj_facts_apply(&entity, &change, arena);
    }
    say(FIRST, RANKS(0), "y");
    size_t count;
    const struct pj_fact *facts = pj_entity_facts(&entity, LAST, &count);
    static const uint8_t sorted[] = {0, 3, 5, 9, 200};
    cr_assert_eq(count, 5);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(facts[i].subkey[0], sorted[i]);
        cr_assert_eq(facts[i].kind, LAST);
    }
    cr_assert_eq(facts[1].order.rank[0], 5, "the later of the two with subkey 3");
    pj_entity_facts(&entity, FIRST, &count);
    cr_assert_eq(count, 1);
    entity.count = 0;
    pj_entity_facts(&entity, LAST, &count);
    cr_assert_eq(count, 0);
}

Test(facts, a_copy_is_independent)
{
    say(LAST, RANKS(1), "old");
    struct pj_entity before = entity;
    entity = pj_facts_copy(&before, 1, arena);
    say(LAST, RANKS(2), "new");
    say(FIRST, RANKS(2), "more");
    cr_assert_eq(before.count, 1);
    cr_assert(pj_text_is(&pj_entity_fact(&before, LAST, NULL)->values[0], "old"));
    keeps(LAST, "new");
}

/* --- the stored form ------------------------------------------------------------------------- */

static struct pj_value *all_values(void)
{
    struct pj_value *values = pj_arena_alloc(arena, ALL * sizeof *values);
    static const uint8_t uuid[16] = {0xff, 1, 0, 3};
    struct pj_value bytes = {.present = true};
    bytes.text.data = "\0\377\0";
    bytes.text.length = 3;
    values[0] = pj_bool(true);
    values[1] = pj_bigint(INT32_MIN);
    values[2] = pj_bigint(INT64_MIN);
    values[3] = (struct pj_value){.present = true, .real = -0.1};
    values[4] = pj_text("tëxt");
    values[5] = pj_uuid(uuid);
    values[6] = pj_timestamp(INT64_MAX);
    values[7] = pj_text("{\"a\":1}");
    values[8] = pj_text("-123.45");
    values[9] = bytes;
    values[10] = pj_bool(false);
    return values;
}

static void say_everything(uint8_t subkey, struct pj_value *values)
{
    struct pj_change change =
        text_change(EVERYTHING, subkey, RANKS(-1, INT64_MIN, INT64_MAX, 7), "");
    change.fact.values = values;
    change.fact.order.tie[5] = 9;
    pj_facts_apply(&entity, &change, arena);
}

static int decode(struct pj_entity *out, const void *data, size_t length)
{
    *out = (struct pj_entity){.kind = &thing, .key = {1, 2, 3}};
    return pj_facts_decode(out, data, length, arena, &error);
}

Test(facts, stored_and_read_again)
{
    const void *data;
    size_t length;
    struct pj_value *nulls = pj_arena_alloc(arena, ALL * sizeof *nulls);
    char *longer = pj_arena_alloc(arena, 100001);
    memset(longer, 'l', 100000);
    say_everything(0, all_values());
    say_everything(1, nulls);
    say(FIRST, RANKS(0), "");
    say(LAST, RANKS(1), longer);
    pj_facts_encode(&entity, arena, &data, &length);
    struct pj_entity again;
    cr_assert_eq(decode(&again, data, length), 0, "%s", error.message);
    cr_assert_eq(again.count, 4);
    for (size_t i = 0; i < 4; i++) {
        const struct pj_fact *was = &entity.facts[i];
        const struct pj_fact *is = &again.facts[i];
        const struct pj_fact_kind *kind = &kinds[was->kind];
        cr_assert_eq(is->kind, was->kind);
        cr_assert_arr_eq(is->subkey, was->subkey, 16);
        cr_assert_arr_eq(is->order.rank, was->order.rank, sizeof is->order.rank);
        cr_assert_arr_eq(is->order.tie, was->order.tie, 16);
        for (size_t v = 0; v < kind->value_count; v++)
            cr_assert_eq(pj_value_compare(kind->types[v], &is->values[v], &was->values[v]), 0,
                         "fact %zu, value %zu", i, v);
    }
    /* And what was read is stored the same. */
    const void *twice;
    size_t twice_length;
    pj_facts_encode(&again, arena, &twice, &twice_length);
    cr_assert_eq(twice_length, length);
    cr_assert_eq(memcmp(twice, data, length), 0);
}

Test(facts, no_facts_at_all)
{
    const void *data;
    size_t length;
    pj_facts_encode(&entity, arena, &data, &length);
    struct pj_entity again;
    cr_assert_eq(decode(&again, data, length), 0);
    cr_assert_eq(again.count, 0);
    cr_assert_eq(decode(&again, data, 0), -1);
}

Test(facts, values_added_later_read_as_null)
{
    static const enum pj_type more_types[] = {PJ_TEXT, PJ_UUID, PJ_TEXT};
    static const struct pj_fact_kind more_kinds[] = {
        [FIRST] = {"first", PJ_LEAST, text_type, 1}, [LAST] = {"last", PJ_GREATEST, more_types, 3}};
    static const struct pj_entity_kind newer = {.name = "thing", more_kinds, 2, NULL};
    const void *data;
    size_t length;
    say(LAST, RANKS(1), "kept");
    pj_facts_encode(&entity, arena, &data, &length);
    struct pj_entity again = {.kind = &newer};
    cr_assert_eq(pj_facts_decode(&again, data, length, arena, &error), 0);
    cr_assert(pj_text_is(&again.facts[0].values[0], "kept"));
    cr_assert_not(again.facts[0].values[1].present);
    cr_assert_not(again.facts[0].values[2].present);
    /* What a newer version stored is not read by an older one. */
    pj_facts_encode(&again, arena, &data, &length);
    cr_assert_eq(decode(&entity, data, length), -1);
    cr_assert_eq(error.class, PJ_FATAL);
    cr_assert_eq(error.exit_code, PJ_EXIT_DATABASE);
    cr_assert_not_null(strstr(error.message, "thing 01020300-0000-0000-0000-000000000000"));
}

/* Read as other types than it was stored with: refused, never a text out of another's bytes. */
Test(facts, values_of_another_type)
{
    for (enum pj_type from = PJ_BOOL; from <= PJ_BYTEA; from++) {
        for (enum pj_type to = PJ_BOOL; to <= PJ_BYTEA; to++) {
            const struct pj_fact_kind was = {"f", PJ_LEAST, &from, 1};
            const struct pj_fact_kind is = {"f", PJ_LEAST, &to, 1};
            const struct pj_entity_kind was_kind = {"thing", &was, 1, NULL};
            const struct pj_entity_kind is_kind = {"thing", &is, 1, NULL};
            struct pj_change change = {0};
            change.fact.values = &all_values()[from];
            struct pj_entity stored = {.kind = &was_kind};
            pj_facts_apply(&stored, &change, arena);
            const void *data;
            size_t length;
            pj_facts_encode(&stored, arena, &data, &length);
            struct pj_entity again = {.kind = &is_kind};
            bool integers = (from == PJ_INT || from == PJ_BIGINT || from == PJ_TIMESTAMPTZ) &&
                            (to == PJ_BIGINT || to == PJ_TIMESTAMPTZ); /* too large for 32 bits */
            bool texts = (from == PJ_TEXT || from >= PJ_JSONB) && (to == PJ_TEXT || to >= PJ_JSONB);
            bool fits = from == to || integers || texts;
            cr_assert_eq(pj_facts_decode(&again, data, length, arena, &error) == 0, fits,
                         "%d read as %d", (int)from, (int)to);
        }
    }
}

/* Whatever is read can be compared and stored again. */
static void read_damaged(const uint8_t *data, size_t length)
{
    uint8_t *exact = malloc(length > 0 ? length : 1);
    memcpy(exact, data, length);
    struct pj_entity again;
    if (decode(&again, exact, length) != 0) {
        cr_assert_eq(error.class, PJ_FATAL);
        cr_assert_eq(error.exit_code, PJ_EXIT_DATABASE);
    } else {
        const void *stored;
        size_t stored_length;
        pj_facts_encode(&again, arena, &stored, &stored_length);
        for (size_t i = 1; i < again.count; i++) {
            struct pj_change change = {.fact = again.facts[i]};
            pj_facts_apply(&again, &change, arena);
        }
    }
    free(exact);
    pj_arena_reset(arena);
}

static uint8_t stored[4096];

static size_t store_some(void)
{
    const void *data;
    size_t length;
    say_everything(0, all_values());
    say_everything(1, all_values());
    say(FIRST, RANKS(0), "first");
    say(LAST, RANKS(1), NULL);
    pj_facts_encode(&entity, arena, &data, &length);
    cr_assert_lt(length, sizeof stored);
    memcpy(stored, data, length);
    return length;
}

Test(facts, damaged_at_every_byte)
{
    size_t length = store_some();
    for (size_t at = 0; at < length; at++) {
        uint8_t right = stored[at];
        for (unsigned byte = 0; byte < 256; byte++) {
            stored[at] = (uint8_t)byte;
            read_damaged(stored, length);
        }
        stored[at] = right;
    }
}

Test(facts, cut_off_at_every_byte)
{
    size_t length = store_some();
    struct pj_entity again;
    for (size_t shorter = 0; shorter < length; shorter++) {
        read_damaged(stored, shorter);
        cr_assert_eq(decode(&again, stored, shorter), -1, "of %zu bytes", shorter);
    }
    stored[length] = 0;
    cr_assert_eq(decode(&again, stored, length + 1), -1, "with a byte left over");
    cr_assert_eq(decode(&again, stored, length), 0);
}

Test(facts, another_version)
{
    size_t length = store_some();
    struct pj_entity again;
    stored[0]++;
    cr_assert_eq(decode(&again, stored, length), -1);
    cr_assert_not_null(strstr(error.message, "newer version"));
}

Test(facts, random_bytes)
{
    unsigned seed = 5;
    for (int i = 0; i < 100000; i++) {
        size_t length = (size_t)rand_r(&seed) % 80;
        for (size_t b = 0; b < length; b++)
            stored[b] = (uint8_t)(rand_r(&seed) % (rand_r(&seed) % 2 ? 8 : 256));
        stored[0] = 1;
        read_damaged(stored, length);
    }
}
