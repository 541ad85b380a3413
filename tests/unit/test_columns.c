/* SPDX-License-Identifier: Apache-2.0 */
/* Numerics as numbers, in rollups too, and arrays as the text of a column. */
#include "base/arena.h"
#include "fold/fold_internal.h"
#include "fold/numeric.h"
#include "projectionist/json.h"
#include "projectionist/testing.h"

#include <criterion/criterion.h>

/* --- numbers --------------------------------------------------------------------------------- */

static struct pj_arena *arena;

static void sum_is(const char *a, const char *b, int sign, const char *expected)
{
    struct pj_value x = pj_text(a);
    struct pj_value y = pj_text(b);
    struct pj_value sum;
    bool any = pj_numeric_add(&x, &y, sign, arena, &sum);
    cr_assert_eq(any, expected != NULL, "%s %d %s", a, sign, b);
    if (any)
        cr_assert(pj_text_is(&sum, expected), "%s %d %s is %.*s", a, sign, b, (int)sum.text.length,
                  sum.text.data);
}

Test(columns, sums_of_numerics)
{
    arena = pj_arena_new();
    sum_is("0", "0", 1, "0");
    sum_is("1.5", "1.50", 1, "3");
    sum_is("1.5", "1.50", -1, "0");
    sum_is("0.1", "0.2", 1, "0.3");
    sum_is("999", "1", 1, "1000");
    sum_is("-1", "1000.001", 1, "999.001");
    sum_is("1", "1000.001", -1, "-999.001");
    sum_is("-0.5", "0.25", -1, "-0.75");
    sum_is("0", "0.25", -1, "-0.25");
    sum_is("0.25", "0", -1, "0.25");
    sum_is("1e3", "1e-3", 1, "1000.001");
    sum_is("123456789012345678901234567890", "1", 1, "123456789012345678901234567891");
    sum_is("1e2000", "1", 1, NULL);
    sum_is("NaN", "1", 1, NULL);
    pj_arena_free(arena);
}

static int compared(const char *a, const char *b)
{
    struct pj_value x = pj_text(a);
    struct pj_value y = pj_text(b);
    return pj_numeric_compare(&x, &y);
}

Test(columns, numerics_are_compared_as_postgres_does)
{
    cr_assert_lt(compared("9", "10"), 0);
    cr_assert_eq(compared("1.0", "1.00"), 0);
    cr_assert_gt(compared("NaN", "1e100"), 0);
    cr_assert_gt(compared("NaN", "Infinity"), 0);
    cr_assert_lt(compared("-Infinity", "-1e100"), 0);
    cr_assert_gt(compared("Infinity", "1e100"), 0);
}

/* --- a rollup and an array ------------------------------------------------------------------- */

enum { EVENT, SHOP, PRICE, TAGS, FIELDS };

static const struct pj_field fields[FIELDS] = {
    [EVENT] = {"event", PJ_UUID, .required = true},
    [SHOP] = {"shop", PJ_TEXT, .required = true},
    [PRICE] = {"price", PJ_NUMERIC, .required = true, .precision = 10, .scale = 2},
    [TAGS] = {"tags", PJ_JSONB},
};
static const struct pj_column shop_columns[] = {{"shop", PJ_TEXT, .key = true},
                                                {"total", PJ_NUMERIC, .measure = PJ_SUM},
                                                {"least", PJ_NUMERIC, .measure = PJ_MIN},
                                                {"most", PJ_NUMERIC, .measure = PJ_MAX}};
static const struct pj_column sale_columns[] = {{"id", PJ_UUID, .key = true},
                                                {"tags", PJ_TEXT, .sql_type = "text[]"},
                                                {"pair", PJ_TEXT, .sql_type = "text[]"},
                                                {"price", PJ_NUMERIC}};
static const struct pj_table shops = {.name = "shops",
                                      .kind = PJ_ROLLUP_TABLE,
                                      .columns = shop_columns,
                                      .column_count = 4,
                                      .refresh = "refresh_shops"};
static const struct pj_table sales = {.name = "sales", .columns = sale_columns, .column_count = 4};
static const struct pj_fact_kind facts[] = {
    {"sale", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT, PJ_NUMERIC, PJ_TEXT)}};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct pj_value *v = event->values;
    const json_t *tags = pj_observer_json(observer, &v[TAGS]);
    const struct pj_order order = {.rank = {event->timestamp_ms}};
    const struct pj_value values[] = {v[SHOP], v[PRICE], pj_observer_json_array(observer, tags)};
    (void)error;
    pj_keep(observer, 0, v[EVENT].uuid, 0, NULL, &order, values);
    return 0;
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_value *sale = pj_entity_fact(entity, 0, NULL)->values;
    struct pj_value *row = pj_row(derivation, &shops);
    const struct pj_value pair[] = {sale[0], pj_null(), pj_bigint(-7), pj_bool(true)};
    row[0] = sale[0];
    row[1] = row[2] = row[3] = sale[1];
    row = pj_row(derivation, &sales);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[1] = sale[2];
    row[2] = pj_derivation_array(derivation, pair, 4);
    row[3] = sale[1];
}

static const struct pj_source source = {
    .topic = "sales",
    .schema = "{\"type\":\"record\",\"name\":\"Sale\",\"fields\":["
              "{\"name\":\"event\",\"type\":\"string\"},{\"name\":\"shop\",\"type\":\"string\"},"
              "{\"name\":\"price\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\","
              "\"precision\":20,\"scale\":2}},{\"name\":\"tags\",\"type\":\"string\"}]}",
    .fields = fields,
    .field_count = FIELDS,
    .observe = observe,
};
static const struct pj_entity_kind kinds[] = {{"sale", facts, 1, derive}};
static const struct pj_table *const tables[] = {&shops, &sales};
static const struct pj_projection projection = {
    .name = "sales",
    .summary = "keep sales",
    .sources = &source,
    .source_count = 1,
    .entities = kinds,
    .entity_count = 1,
    .tables = tables,
    .table_count = 2,
};

static void sell(struct pj_orders *orders, unsigned id, const char *shop, const char *price,
                 const char *tags)
{
    struct pj_value *v = pj_orders_event(orders, 0, (int32_t)(id % 3));
    pj_orders_last(orders)->timestamp_ms = (int64_t)orders->count;
    v[EVENT] = pj_orders_uuid(id);
    v[SHOP] = pj_text(shop);
    v[PRICE] = pj_text(price);
    v[TAGS] = pj_text(tags);
}

Test(columns, a_number_in_another_text_is_no_change)
{
    static const struct pj_column columns[] = {{"id", PJ_BIGINT, .key = true}, {"n", PJ_NUMERIC}};
    static const struct pj_table table = {.name = "t", .columns = columns, .column_count = 2};
    const struct pj_value before[] = {pj_bigint(1), pj_text("1.0")};
    const struct pj_value same[] = {pj_bigint(1), pj_text("1.00")};
    const struct pj_value other[] = {pj_bigint(1), pj_text("1.01")};
    cr_assert_eq(pj_fold_changed_columns(&table, before, same), 0);
    cr_assert_eq(pj_fold_changed_columns(&table, before, other), 2);
}

/* Which of its texts a row has depends on what was written when, and means nothing. */
Test(columns, orders_agree_on_numbers_not_on_their_texts)
{
    struct pj_orders orders = pj_orders_of(&projection);
    sell(&orders, 1, "a", "2.0", "[]");
    sell(&orders, 1, "a", "2.00", "[]");
    cr_assert(pj_orders_agree(&orders, 10, 5));
    pj_orders_free(&orders);
}

Test(columns, a_rollup_of_numerics_and_an_array)
{
    struct pj_orders orders = pj_orders_of(&projection);
    sell(&orders, 1, "a", "9.50", "[\"x\",\"b\\\"\\\\{}\",null,1.50,true]");
    sell(&orders, 2, "a", "10.25", "[]");
    sell(&orders, 3, "b", "0.10", "{}");
    sell(&orders, 4, "b", "1000.005", "[]"); /* too fine: a dead letter */
    cr_assert(pj_orders_expect(&orders, "shops|shop=a|total=19.75|least=9.50|most=10.25\n"
                                        "shops|shop=b|total=0.1|least=0.10|most=0.10\n"));
    cr_assert(pj_orders_expect(&orders, "|tags={\"x\",\"b\\\"\\\\{}\",NULL,\"1.50\",\"true\"}"
                                        "|pair={\"a\",NULL,-7,t}|price=9.50\n"));
    cr_assert(pj_orders_expect(&orders, "|tags={}|"));
    cr_assert(pj_orders_expect(&orders, "|tags=null|"));
    sell(&orders, 2, "b", "2.00", "[]");
    cr_assert(pj_orders_expect(&orders, "shops|shop=a|total=9.5|least=9.50|most=9.50\n"
                                        "shops|shop=b|total=2.1|least=0.10|most=2.00\n"));
    cr_assert(pj_orders_agree(&orders, 300, 5));
    pj_orders_free(&orders);
}
