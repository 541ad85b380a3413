/* SPDX-License-Identifier: Apache-2.0 */
#include "store/write_internal.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct pj_column columns[] = {
    {"id", PJ_UUID, .key = true},
    {"lang", PJ_TEXT, .key = true},
    {"note", PJ_TEXT},
};
static const struct pj_table table = {.name = "thing", .columns = columns, .column_count = 3};

static struct pj_arena *arena;

static void open_arena(void)
{
    arena = pj_arena_new();
}

static void close_arena(void)
{
    pj_arena_free(arena);
}

TestSuite(distinct, .init = open_arena, .fini = close_arena);

static const struct pj_value *row(uint32_t number, const char *lang, const char *note)
{
    uint8_t id[16] = {0};
    memcpy(id, &number, sizeof number);
    const struct pj_value values[] = {pj_uuid(id), pj_text(lang), pj_text(note)};
    return pj_arena_copy(arena, values, sizeof values);
}

static const struct pj_value **add(struct distinct *distinct, const struct pj_value *values)
{
    return pj_distinct_add(distinct, values, pj_distinct_hash(&table, distinct->columns, values));
}

Test(distinct, keeps_the_first_of_each_key)
{
    struct distinct *distinct = pj_distinct_new(arena, &table, NULL, 4000);
    for (uint32_t turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < 1000; i++) {
            const char *note = turn == 0 ? "first" : "again";
            bool added = add(distinct, row(i, "en", note)) == NULL;
            added = (add(distinct, row(i, "de", note)) == NULL) && added;
            cr_assert_eq(added, turn == 0, "%u in turn %u", i, turn);
        }
    }
    cr_assert_eq(distinct->rows.count, 2000);
    for (size_t i = 0; i < distinct->rows.count; i++)
        cr_assert(pj_text_is(&distinct->rows.items[i][2], "first"));
}

Test(distinct, one_hash_for_all_keeps_them_apart_still)
{
    struct distinct *distinct = pj_distinct_new(arena, &table, NULL, 100);
    for (uint32_t i = 0; i < 100; i++)
        cr_assert_null(pj_distinct_add(distinct, row(i, "en", ""), 1));
    const struct pj_value **there = pj_distinct_add(distinct, row(70, "en", "again"), 1);
    cr_assert_eq(there, &distinct->rows.items[70]);
}

/* As in rows of children. */
Test(distinct, finds_the_key_where_it_is_said_to_be)
{
    static const int places[] = {2, 0};
    uint8_t id[16] = {7};
    struct distinct *distinct = pj_distinct_new(arena, &table, places, 2);
    const struct pj_value one[] = {pj_text("en"), pj_text("a"), pj_uuid(id)};
    const struct pj_value same[] = {pj_text("en"), pj_text("b"), pj_uuid(id)};
    cr_assert_null(add(distinct, one));
    cr_assert_eq(*add(distinct, same), one);
}
