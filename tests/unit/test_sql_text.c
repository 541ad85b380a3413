/* SPDX-License-Identifier: Apache-2.0 */
#include "postgres/sql_text.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const struct pj_column columns[] = {{"id", PJ_UUID, .key = true},
                                           {"lang", PJ_TEXT, .key = true},
                                           {"price", PJ_NUMERIC},
                                           {"buckets", PJ_COUNTS}};
static const struct pj_table table = {.name = "thing", .columns = columns, .column_count = 4};

static void is(struct pj_builder *sql, const char *expected)
{
    char *text = pj_builder_take(sql);
    cr_assert_str_eq(text, expected);
    free(text);
}

Test(sql_text, a_name_is_quoted)
{
    cr_assert_str_eq(pj_sql_name("order").text, "\"order\"");
    cr_assert_str_eq(pj_sql_name("a\"b").text, "\"a\"\"b\"");
    cr_assert_str_eq(pj_sql_qualified("s", "t").text, "\"s\".\"t\"");
    cr_assert_str_eq(pj_sql_table(&table).text, "\"thing\"");
}

Test(sql_text, the_longest_name_fits)
{
    char name[PJ_SQL_IDENTIFIER_MOST + 1] = "";
    memset(name, '"', PJ_SQL_IDENTIFIER_MOST);
    cr_assert_eq(strlen(pj_sql_qualified(name, name).text),
                 sizeof((struct pj_sql_name){""}.text) - 1);
}

Test(sql_text, columns_in_their_order)
{
    struct pj_builder sql = {0};
    pj_sql_columns(&sql, &table, pj_sql_key(&table), " AND ", "t.@ = u.@");
    is(&sql, "t.\"id\" = u.\"id\" AND t.\"lang\" = u.\"lang\"");
    pj_sql_columns(&sql, &table, pj_sql_all(&table), ", ", "$#::![]");
    is(&sql, "$1::uuid[], $2::text[], $3::text[], $4::text[]");
    pj_sql_columns(&sql, &table, pj_sql_all(&table) & ~pj_sql_key(&table), ", ", "u.@^");
    is(&sql, "u.\"price\"::numeric, u.\"buckets\"::bigint[]");
    pj_sql_columns(&sql, &table, 0, ", ", "@");
    is(&sql, "");
}

Test(sql_text, an_array_of_texts)
{
    struct pj_builder array = {0};
    char *text = pj_sql_array_take(&array);
    cr_assert_str_eq(text, "{}");
    free(text);
    pj_sql_array_add(&array, "\"a\".\"b\"");
    pj_sql_array_add(&array, "c\\d, e");
    text = pj_sql_array_take(&array);
    cr_assert_str_eq(text, "{\"\\\"a\\\".\\\"b\\\"\",\"c\\\\d, e\"}");
    free(text);
}
