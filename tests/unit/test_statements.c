/* SPDX-License-Identifier: Apache-2.0 */
/* The SQL of a small projection, word by word. */
#include "store/statements.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const struct pj_column thing_columns[] = {{"id", PJ_UUID, .key = true},
                                                 {"lang", PJ_TEXT, .key = true},
                                                 {"price", PJ_NUMERIC},
                                                 {"seen_at", PJ_TIMESTAMPTZ},
                                                 {"owner", PJ_UUID, .elsewhere = true}};
static const struct pj_column owner_columns[] = {
    {"id", PJ_UUID, .key = true}, {"lang", PJ_TEXT, .key = true}, {"owner", PJ_UUID}};
static const struct pj_column price_columns[] = {
    {"id", PJ_UUID, .key = true}, {"lang", PJ_TEXT, .key = true}, {"price", PJ_NUMERIC}};
static const struct pj_column note_columns[] = {{"id", PJ_UUID, .key = true}, {"note", PJ_JSONB}};
static const struct pj_column key_columns[] = {{"a", PJ_INT, .key = true},
                                               {"b", PJ_BOOL, .key = true}};

static const struct pj_table thing = {.name = "thing", .columns = thing_columns, .column_count = 5};
static const struct pj_table owner_part = {
    .name = "thing", .columns = owner_columns, .column_count = 3, .part_of = &thing};
static const struct pj_table price_part = {
    .name = "thing", .columns = price_columns, .column_count = 3, .part_of = &thing};
static const struct pj_table note = {
    .name = "note", .kind = PJ_APPEND_TABLE, .columns = note_columns, .column_count = 2};
static const struct pj_table long_name = {
    .name = "a_table_whose_name_is_as_long_as_postgres_lets_the_name_of_one",
    .columns = thing_columns,
    .column_count = 5};
static const struct pj_table keys_only = {
    .name = "pair", .columns = key_columns, .column_count = 2};
static const struct pj_column item_columns[] = {
    {"id", PJ_UUID, .key = true}, {"note", PJ_JSONB}, {"placeholder", PJ_BOOL}};
static const struct pj_table item = {
    .name = "item", .columns = item_columns, .column_count = 3, .placeholder = 2};
enum { THING, OWNER, PRICE, NOTE, PAIR, LONG, ITEM, TABLES };
static const struct pj_table *const tables[] = {&thing,     &owner_part, &price_part, &note,
                                                &keys_only, &long_name,  &item};
static const struct pj_entity_kind entities[] = {{.name = "thing"}, {.name = "owner"}};
static const struct pj_projection projection = {.name = "thing-keeper",
                                                .tables = tables,
                                                .table_count = TABLES,
                                                .entities = entities,
                                                .entity_count = 2};

static struct pj_statements *statements;

static void start(void)
{
    statements = pj_statements_new(&projection, NULL);
}

static void stop(void)
{
    pj_statements_free(statements);
}

TestSuite(statements, .init = start, .fini = stop);

static void is(const struct pj_statement *statement, const char *sql, int count,
               const uint32_t *types)
{
    cr_assert_str_eq(statement->sql, sql);
    cr_assert_eq(statement->parameter_count, count);
    for (int i = 0; i < count; i++)
        cr_assert_eq(statement->types[i], types[i], "parameter %d", i + 1);
}

/* What writes, and looks at how much it wrote. */
#define CHECKED(sql, table, verb)                                                                  \
    "WITH written AS (" sql " RETURNING 1) " REFUSED(table, verb) " FROM written"
#define REFUSED(table, verb)                                                                       \
    "SELECT CASE WHEN count(*) <> cardinality($1) THEN projectionist.refuse_unwritten("            \
    "'thing-keeper', '" table "'::regclass, '" verb "', cardinality($1), count(*)) END"

#define IS(statement, sql, ...)                                                                    \
    is(statement, sql, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),                       \
       (uint32_t[]){__VA_ARGS__})

Test(statements, insert_of_an_entity_table)
{
    IS(&statements->tables[THING].insert,
       CHECKED("INSERT INTO \"thing\" AS t (\"id\", \"lang\", \"price\", \"seen_at\", \"owner\") "
               "SELECT u.\"id\", u.\"lang\", u.\"price\"::numeric, u.\"seen_at\", u.\"owner\" "
               "FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::uuid[]) "
               "AS u(\"id\", \"lang\", \"price\", \"seen_at\", \"owner\") "
               "ON CONFLICT (\"id\", \"lang\") DO UPDATE SET \"id\" = projectionist.refuse_row("
               "concat('thing with ', 'id=', left(t.\"id\"::text, 80), ', lang=', "
               "left(t.\"lang\"::text, 80)), t.\"id\")",
               "\"thing\"", "INSERT"),
       PJ_OID_UUID_ARRAY, PJ_OID_TEXT_ARRAY, PJ_OID_TEXT_ARRAY, PJ_OID_TIMESTAMPTZ_ARRAY,
       PJ_OID_UUID_ARRAY);
}

Test(statements, insert_of_an_append_table)
{
    IS(&statements->tables[NOTE].insert,
       "INSERT INTO \"note\" AS t (\"id\", \"note\") SELECT u.\"id\", u.\"note\" "
       "FROM unnest($1::uuid[], $2::jsonb[]) AS u(\"id\", \"note\") "
       "ON CONFLICT (\"id\") DO NOTHING",
       PJ_OID_UUID_ARRAY, PJ_OID_JSONB_ARRAY);
}

Test(statements, what_an_insert_passes_over_is_there)
{
    IS(&statements->tables[NOTE].present,
       REFUSED("\"note\"",
               "INSERT") " FROM unnest($1::uuid[]) AS u(\"id\") "
                         "WHERE EXISTS (SELECT FROM \"note\" t WHERE t.\"id\" = u.\"id\")",
       PJ_OID_UUID_ARRAY);
    cr_assert_null(statements->tables[THING].present.sql);
}

Test(statements, which_rows_are_there)
{
    IS(&statements->tables[NOTE].found,
       "SELECT u.pj_place FROM unnest($1::uuid[]) WITH ORDINALITY AS u(\"id\", pj_place) "
       "JOIN \"note\" AS t ON t.\"id\" = u.\"id\"",
       PJ_OID_UUID_ARRAY);
    cr_assert_null(statements->tables[THING].found.sql);
}

Test(statements, insert_where_all_columns_are_the_key)
{
    IS(&statements->tables[PAIR].insert,
       CHECKED(
           "INSERT INTO \"pair\" AS t (\"a\", \"b\") SELECT u.\"a\", u.\"b\" "
           "FROM unnest($1::int4[], $2::bool[]) AS u(\"a\", \"b\") "
           "ON CONFLICT (\"a\", \"b\") DO UPDATE SET \"a\" = projectionist.refuse_row("
           "concat('pair with ', 'a=', left(t.\"a\"::text, 80), ', b=', left(t.\"b\"::text, 80)), "
           "t.\"a\")",
           "\"pair\"", "INSERT"),
       PJ_OID_INT4_ARRAY, PJ_OID_BOOL_ARRAY);
}

/* A row that others made so that foreign keys hold is there to be taken. */
Test(statements, insert_over_placeholders)
{
    IS(&statements->tables[ITEM].insert,
       CHECKED("INSERT INTO \"item\" AS t (\"id\", \"note\", \"placeholder\") "
               "SELECT u.\"id\", u.\"note\", u.\"placeholder\" "
               "FROM unnest($1::uuid[], $2::jsonb[], $3::bool[]) AS u(\"id\", \"note\", "
               "\"placeholder\") "
               "ON CONFLICT (\"id\") DO UPDATE SET \"note\" = EXCLUDED.\"note\", \"placeholder\" = "
               "CASE WHEN t.\"placeholder\" THEN EXCLUDED.\"placeholder\" ELSE "
               "projectionist.refuse_row("
               "concat('item with ', 'id=', left(t.\"id\"::text, 80)), t.\"placeholder\") END",
               "\"item\"", "INSERT"),
       PJ_OID_UUID_ARRAY, PJ_OID_JSONB_ARRAY, PJ_OID_BOOL_ARRAY);
}

Test(statements, update_of_some_columns)
{
    IS(pj_statements_update(statements, THING, 1u << 2 | 1u << 3),
       CHECKED(
           "UPDATE \"thing\" t SET \"price\" = u.\"price\"::numeric, \"seen_at\" = u.\"seen_at\" "
           "FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) "
           "AS u(\"id\", \"lang\", \"price\", \"seen_at\") "
           "WHERE t.\"id\" = u.\"id\" AND t.\"lang\" = u.\"lang\"",
           "\"thing\"", "UPDATE"),
       PJ_OID_UUID_ARRAY, PJ_OID_TEXT_ARRAY, PJ_OID_TEXT_ARRAY, PJ_OID_TIMESTAMPTZ_ARRAY);
    IS(pj_statements_update(statements, THING, 1u << 3),
       CHECKED("UPDATE \"thing\" t SET \"seen_at\" = u.\"seen_at\" "
               "FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS u(\"id\", \"lang\", "
               "\"seen_at\") "
               "WHERE t.\"id\" = u.\"id\" AND t.\"lang\" = u.\"lang\"",
               "\"thing\"", "UPDATE"),
       PJ_OID_UUID_ARRAY, PJ_OID_TEXT_ARRAY, PJ_OID_TIMESTAMPTZ_ARRAY);
}

Test(statements, an_update_is_made_once)
{
    const struct pj_statement *first = pj_statements_update(statements, THING, 4);
    const struct pj_statement *other = pj_statements_update(statements, THING, 8);
    cr_assert_neq(first, other);
    cr_assert_str_neq(first->name, other->name);
    cr_assert_eq(pj_statements_update(statements, THING, 4), first);
    cr_assert_eq(pj_statements_update(statements, THING, 8), other);
}

Test(statements, remove_by_key)
{
    IS(&statements->tables[THING].remove,
       CHECKED(
           "DELETE FROM \"thing\" t USING unnest($1::uuid[], $2::text[]) AS u(\"id\", \"lang\") "
           "WHERE t.\"id\" = u.\"id\" AND t.\"lang\" = u.\"lang\"",
           "\"thing\"", "DELETE"),
       PJ_OID_UUID_ARRAY, PJ_OID_TEXT_ARRAY);
}

Test(statements, release_of_a_part)
{
    IS(&statements->tables[OWNER].release,
       CHECKED("UPDATE \"thing\" t SET \"owner\" = NULL FROM unnest($1::uuid[], $2::text[]) "
               "AS u(\"id\", \"lang\") WHERE t.\"id\" = u.\"id\" AND t.\"lang\" = u.\"lang\"",
               "\"thing\"", "UPDATE"),
       PJ_OID_UUID_ARRAY, PJ_OID_TEXT_ARRAY);
    cr_assert_null(statements->tables[THING].release.sql);
}

Test(statements, copy_of_an_append_table)
{
    cr_assert_str_eq(statements->tables[NOTE].copy.sql,
                     "COPY \"note\" (\"id\", \"note\") FROM STDIN (FORMAT binary)");
    cr_assert_null(statements->tables[THING].copy.sql);
}

Test(statements, states)
{
    IS(&statements->entities[0].load,
       "SELECT key, octet_length(facts), CASE WHEN octet_length(facts) <= $2 THEN facts END "
       "FROM \"projectionist\".\"state_thing_keeper_thing\" "
       "WHERE key = ANY($1) ORDER BY key FOR NO KEY UPDATE",
       PJ_OID_UUID_ARRAY, PJ_OID_INT4);
    IS(&statements->entities[1].insert,
       CHECKED("INSERT INTO \"projectionist\".\"state_thing_keeper_owner\" AS t (\"key\", "
               "\"facts\") SELECT u.\"key\", u.\"facts\" "
               "FROM unnest($1::uuid[], $2::bytea[]) AS u(\"key\", \"facts\")",
               "\"projectionist\".\"state_thing_keeper_owner\"", "INSERT"),
       PJ_OID_UUID_ARRAY, PJ_OID_BYTEA_ARRAY);
    IS(&statements->entities[1].update,
       CHECKED("UPDATE \"projectionist\".\"state_thing_keeper_owner\" t SET \"facts\" = "
               "u.\"facts\" FROM unnest($1::uuid[], $2::bytea[]) AS u(\"key\", \"facts\") "
               "WHERE t.\"key\" = u.\"key\"",
               "\"projectionist\".\"state_thing_keeper_owner\"", "UPDATE"),
       PJ_OID_UUID_ARRAY, PJ_OID_BYTEA_ARRAY);
}

Test(statements, in_the_shadow_of_a_rebuild)
{
    struct pj_statements *shadow = pj_statements_new(&projection, "projectionist_rebuild");
    cr_assert_str_eq(shadow->tables[NOTE].copy.sql,
                     "COPY \"projectionist_rebuild\".\"note\" (\"id\", \"note\") "
                     "FROM STDIN (FORMAT binary)");
    cr_assert_not_null(strstr(shadow->tables[THING].insert.sql,
                              "INSERT INTO \"projectionist_rebuild\".\"thing\" AS t ("));
    cr_assert_not_null(strstr(shadow->tables[THING].remove.sql,
                              "DELETE FROM \"projectionist_rebuild\".\"thing\" t USING"));
    cr_assert_not_null(strstr(shadow->entities[0].load.sql,
                              "FROM \"projectionist_rebuild\".\"state_thing_keeper_thing\""));
    pj_statements_free(shadow);
}

/* A name is prepared once per connection, and Postgres looks at 63 bytes of it: two statements of
 * one name would be one. */
Test(statements, every_name_is_its_own)
{
    const struct pj_statement *all[64];
    size_t count = 0;
    for (size_t t = 0; t < projection.table_count; t++) {
        all[count++] = &statements->tables[t].insert;
        all[count++] = &statements->tables[t].remove;
        if (statements->tables[t].present.sql != NULL)
            all[count++] = &statements->tables[t].present;
        all[count++] = pj_statements_update(statements, t, 4);
        all[count++] = pj_statements_update(statements, t, 12);
        if (statements->tables[t].release.sql != NULL)
            all[count++] = &statements->tables[t].release;
    }
    for (size_t e = 0; e < projection.entity_count; e++) {
        all[count++] = &statements->entities[e].load;
        all[count++] = &statements->entities[e].insert;
        all[count++] = &statements->entities[e].update;
    }
    for (size_t a = 0; a < count; a++) {
        for (size_t b = a + 1; b < count; b++)
            cr_assert(strncmp(all[a]->name, all[b]->name, 63) != 0 ||
                          strcmp(all[a]->sql, all[b]->sql) == 0,
                      "%s is\n%s\nand\n%s", all[a]->name, all[a]->sql, all[b]->sql);
    }
}

/* As many columns as a table may have, with names of some length. */
Test(statements, the_widest_table)
{
    struct pj_column columns[64];
    char names[64][64];
    for (int c = 0; c < 64; c++) {
        snprintf(names[c], sizeof names[c], "a_column_of_a_rather_long_name_%02d", c);
        columns[c] = (struct pj_column){.name = names[c], .type = PJ_TIMESTAMPTZ, .key = c == 0};
    }
    const struct pj_table wide = {.name = "wide", .columns = columns, .column_count = 64};
    const struct pj_table *const one[] = {&wide};
    const struct pj_projection widest = {.name = "wide", .tables = one, .table_count = 1};
    struct pj_statements *wide_statements = pj_statements_new(&widest, NULL);
    cr_assert_eq(wide_statements->tables[0].insert.parameter_count, 64);
    cr_assert_eq(pj_statements_update(wide_statements, 0, UINT64_MAX)->parameter_count, 64);
    pj_statements_free(wide_statements);
}
