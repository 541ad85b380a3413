/* SPDX-License-Identifier: Apache-2.0 */
/* Lists (projectionist/typed.h): that their structs are the arrays that the engine knows. */
#include "projectionist/testing.h"
#include "unit/typed.c"

#include <criterion/criterion.h>

static struct pj_orders orders;

static void stop(void)
{
    pj_orders_free(&orders);
}

TestSuite(typed, .fini = stop);

static struct order_placed *place(unsigned number, int64_t ms, const char *buyer)
{
    struct order_placed *e = PJ_ORDERS_EVENT(&orders, order_placed, 0, 0);
    e->event_id = PJ_UUID(pj_orders_uuid(number));
    e->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(ms));
    e->buyer = PJ_TEXT(buyer);
    return e;
}

Test(typed, members_are_the_elements_of_the_arrays)
{
    cr_assert_eq(PJ_INDEX(orders, total), 2);
    cr_assert_str_eq(orders_columns[PJ_INDEX(orders, total)].name, "total");
    cr_assert_eq(orders_columns[PJ_INDEX(orders, total)].type, PJ_BIGINT);
    cr_assert(orders_columns[0].key && !orders_columns[1].key);
    cr_assert_str_eq(order_placed_fields[2].path, "body.buyer");
    cr_assert_eq(order_placed_fields[2].most_chars, 100);
    cr_assert_eq(order_placed_fields[4].items, &order_lines);
    cr_assert_eq((int)last_order_entity, BUYER);
    cr_assert(last_order_fact == 0 && buyer_name_fact == 1);
    cr_assert_str_eq(buyer_facts[1].name, "buyer_name");
    cr_assert(buyer_facts[1].is_name && buyer_facts[1].keep == PJ_LEAST);
    cr_assert_eq(buyer_facts[0].value_count, 2);
    cr_assert_eq(buyer_facts[0].types[1], PJ_BOOL);
    cr_assert_eq(typed_projection.entity_count, 2);
}

Test(typed, values_have_one_layout_whatever_their_type)
{
    static const uint8_t uuid[16] = {1, 2, 3};
    cr_assert_eq(PJ_BIGINT(7).value.integer, 7);
    cr_assert_eq(PJ_TIMESTAMPTZ(7).value.integer, 7);
    cr_assert(PJ_BOOL(true).value.boolean && PJ_BOOL(true).boolean);
    cr_assert_eq(PJ_DOUBLE(0.5).value.real, 0.5);
    cr_assert_eq(memcmp(PJ_UUID(uuid).value.uuid, PJ_UUID(pj_uuid(uuid)).uuid, 16), 0);
    cr_assert_eq(PJ_TEXT("abc").text.length, 3);
    cr_assert_eq(PJ_JSONB("{}").value.text.length, 2);
    cr_assert_not(PJ_TEXT(NULL).present);
    cr_assert_not((struct placed){.at = PJ_TIMESTAMPTZ(1)}.buyer.present);
    cr_assert_eq(PJ_OR((struct pj_bigint){0}, PJ_BIGINT(3)).integer, 3);
    cr_assert_eq(PJ_OR(PJ_BIGINT(2), PJ_BIGINT(3)).integer, 2);
}

Test(typed, rows_follow_whatever_the_order)
{
    orders = pj_orders_of(&typed_projection);
    struct order_line lines[] = {{PJ_TEXT("a"), PJ_BIGINT(5)}, {.name = PJ_TEXT("b")}};
    place(1, 1000, "ann")->lines.value = pj_items_of(PJ_PARTS(lines), 2, 2);
    place(2, 2000, "ann")->paid = PJ_BOOL(true);
    cr_assert(pj_orders_expect(&orders, "buyers|buyer=ann|"
                                        "last_order=00000000-0000-4000-8000-000000000002|paid=t"));
    cr_assert(pj_orders_expect(&orders, "|buyer=ann|total=1005|placed_at=1000000\n"));
    cr_assert(pj_orders_mixture(&orders, 40, 1, NULL));
    cr_assert(pj_orders_agree(&orders, 200, 1));
}
