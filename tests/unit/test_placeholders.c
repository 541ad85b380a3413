/* SPDX-License-Identifier: Apache-2.0 */
/* The SQL of placeholders, of a parent with two key columns and two children. */
#include "store/placeholders.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const struct pj_column shelf_columns[] = {{"room", PJ_TEXT, .key = true},
                                                 {"number", PJ_INT, .key = true},
                                                 {"kind", PJ_TEXT, .in_placeholder = "it's"},
                                                 {"note", PJ_JSONB},
                                                 {"made_at", PJ_TIMESTAMPTZ},
                                                 {"placeholder", PJ_BOOL}};
static const struct pj_column book_columns[] = {
    {"id", PJ_UUID, .key = true}, {"in", PJ_TEXT}, {"at", PJ_INT}, {"seen_at", PJ_TIMESTAMPTZ}};
static struct pj_table shelves;
static const struct pj_parent parents[] = {{&shelves, {1, 2}, 3}, {0}};
static const struct pj_table books = {
    .name = "books", .columns = book_columns, .column_count = 4, .parents = parents};
static const struct pj_table maps = {.name = "maps",
                                     .schema = "far",
                                     .columns = book_columns,
                                     .column_count = 4,
                                     .parents = parents};
static struct pj_table shelves = {
    .name = "shelves",
    .columns = shelf_columns,
    .column_count = 6,
    .children = (const struct pj_table *const[]){&books, &maps, NULL},
    .placeholder = 5,
    .first_seen = 4,
};

#define MATCH "t.\"room\" = u.\"room\" AND t.\"number\" = u.\"number\""
#define BOOKS "FROM \"books\" AS c WHERE c.\"in\" = t.\"room\" AND c.\"at\" = t.\"number\""
#define MAPS  "FROM \"far\".\"maps\" AS c WHERE c.\"in\" = t.\"room\" AND c.\"at\" = t.\"number\""

static void is(void (*add)(struct pj_builder *sql, const struct pj_table *table,
                           const char *source),
               const char *expected)
{
    struct pj_builder sql = {0};
    add(&sql, &shelves, "source AS u");
    char *text = pj_builder_take(&sql);
    cr_assert_str_eq(text, expected);
    free(text);
}

Test(placeholders, ensure)
{
    is(pj_placeholders_ensure,
       "WITH wanted AS (SELECT u.\"room\", u.\"number\", min(u.pj_place) AS pj_place, "
       "min(u.pj_seen) AS pj_seen FROM source AS u GROUP BY u.\"room\", u.\"number\"), "
       "known AS (SELECT u.*, t.\"room\" IS NOT NULL AND t.\"placeholder\" IS NOT TRUE AS pj_real, "
       "t.\"room\" IS NULL AS pj_missing, t.\"room\" IS NULL OR (t.\"placeholder\" "
       "AND t.\"made_at\" > u.pj_seen) AS pj_due "
       "FROM wanted AS u LEFT JOIN \"shelves\" AS t ON " MATCH "), "
       "made AS (INSERT INTO \"shelves\" AS t (\"room\", \"number\", \"kind\", \"made_at\", "
       "\"placeholder\") SELECT k.\"room\", k.\"number\", 'it''s', k.pj_seen, true "
       "FROM known AS k WHERE k.pj_due ORDER BY k.\"room\", k.\"number\" "
       "ON CONFLICT (\"room\", \"number\") DO UPDATE SET \"made_at\" = excluded.\"made_at\" "
       "WHERE t.\"placeholder\" AND t.\"made_at\" > excluded.\"made_at\" "
       "RETURNING t.\"room\", t.\"number\") "
       "SELECT NULL::bigint, count(*) FROM made AS t JOIN known AS u ON " MATCH
       " WHERE u.pj_missing UNION ALL SELECT k.pj_place, 0 FROM known AS k WHERE k.pj_real");
}

/* A value that differs from placeholder to placeholder. */
Test(placeholders, the_key_in_a_value)
{
    static const struct pj_column columns[] = {
        {"id", PJ_UUID, .key = true},
        {"number", PJ_INT, .key = true},
        {"slug", PJ_TEXT, .in_placeholder = "it's {id}/{number}/{other}{}"},
        {"placeholder", PJ_BOOL},
    };
    const struct pj_table table = {
        .name = "tenants", .columns = columns, .column_count = 4, .placeholder = 3};
    struct pj_builder sql = {0};
    pj_placeholders_ensure(&sql, &table, "source AS u");
    char *text = pj_builder_take(&sql);
    cr_assert_not_null(strstr(text, "SELECT k.\"id\", k.\"number\", "
                                    "replace(replace('it''s {id}/{number}/{other}{}', '{id}', "
                                    "k.\"id\"::text), '{number}', k.\"number\"::text), true "),
                       "%s", text);
    free(text);
}

/* Where nothing says when a parent was first mentioned. */
Test(placeholders, ensure_without_a_time)
{
    shelves.first_seen = 0;
    is(pj_placeholders_ensure,
       "WITH wanted AS (SELECT u.\"room\", u.\"number\", min(u.pj_place) AS pj_place "
       "FROM source AS u GROUP BY u.\"room\", u.\"number\"), "
       "known AS (SELECT u.*, t.\"room\" IS NOT NULL AND t.\"placeholder\" IS NOT TRUE AS pj_real, "
       "t.\"room\" IS NULL AS pj_missing, t.\"room\" IS NULL AS pj_due "
       "FROM wanted AS u LEFT JOIN \"shelves\" AS t ON " MATCH "), "
       "made AS (INSERT INTO \"shelves\" AS t (\"room\", \"number\", \"kind\", \"placeholder\") "
       "SELECT k.\"room\", k.\"number\", 'it''s', true FROM known AS k WHERE k.pj_due "
       "ORDER BY k.\"room\", k.\"number\" ON CONFLICT (\"room\", \"number\") DO NOTHING "
       "RETURNING t.\"room\", t.\"number\") "
       "SELECT NULL::bigint, count(*) FROM made AS t JOIN known AS u ON " MATCH
       " WHERE u.pj_missing UNION ALL SELECT k.pj_place, 0 FROM known AS k WHERE k.pj_real");
}

Test(placeholders, lock_in_the_order_of_the_keys)
{
    is(pj_placeholders_lock, "SELECT FROM \"shelves\" AS t JOIN source AS u ON " MATCH
                             " ORDER BY t.\"room\", t.\"number\" FOR UPDATE OF t");
}

Test(placeholders, refer_as_a_foreign_key_does)
{
    is(pj_placeholders_refer, "SELECT FROM \"shelves\" AS t JOIN source AS u ON " MATCH
                              " ORDER BY t.\"room\", t.\"number\" FOR KEY SHARE OF t");
}

Test(placeholders, lower_to_the_first_mention)
{
    is(pj_placeholders_lower,
       "WITH due AS (SELECT t.\"room\", t.\"number\", u.pj_seen FROM \"shelves\" AS t JOIN "
       "(SELECT u.\"room\", u.\"number\", min(u.pj_seen) AS pj_seen FROM source AS u "
       "GROUP BY u.\"room\", u.\"number\") AS u ON " MATCH
       " WHERE t.\"placeholder\" AND t.\"made_at\" > u.pj_seen ORDER BY t.\"room\", t.\"number\" "
       "FOR NO KEY UPDATE OF t) UPDATE \"shelves\" AS t SET \"made_at\" = u.pj_seen FROM due AS u "
       "WHERE " MATCH " AND t.\"placeholder\" AND t.\"made_at\" > u.pj_seen");
}

Test(placeholders, raise_to_the_first_mention_that_is_left)
{
    is(pj_placeholders_raise,
       "UPDATE \"shelves\" AS t SET \"made_at\" = u.pj_seen FROM (SELECT t.\"room\", t.\"number\", "
       "(SELECT min(s.seen) FROM (SELECT min(c.\"seen_at\") " BOOKS
       " UNION ALL SELECT min(c.\"seen_at\") " MAPS ") AS s (seen)) AS pj_seen "
       "FROM \"shelves\" AS t JOIN source AS u ON " MATCH
       " WHERE t.\"placeholder\") AS u WHERE " MATCH " AND u.pj_seen > t.\"made_at\"");
}

Test(placeholders, release_what_no_child_refers_to)
{
    is(pj_placeholders_release,
       "DELETE FROM \"shelves\" AS t USING source AS u WHERE " MATCH
       " AND t.\"placeholder\" AND NOT EXISTS (SELECT " BOOKS ") AND NOT EXISTS (SELECT " MAPS ")");
}

Test(placeholders, restore_what_children_refer_to)
{
    is(pj_placeholders_restore,
       "UPDATE \"shelves\" AS t SET \"placeholder\" = true, \"kind\" = 'it''s', \"note\" = "
       "DEFAULT, "
       "\"made_at\" = (SELECT min(s.seen) FROM (SELECT min(c.\"seen_at\") " BOOKS
       " UNION ALL SELECT min(c.\"seen_at\") " MAPS ") AS s (seen)) FROM source AS u WHERE " MATCH
       " AND (EXISTS (SELECT " BOOKS ") OR EXISTS (SELECT " MAPS "))");
}

Test(placeholders, remove_what_is_none)
{
    is(pj_placeholders_remove, "DELETE FROM \"shelves\" AS t USING source AS u WHERE " MATCH
                               " AND t.\"placeholder\" IS NOT TRUE");
}
