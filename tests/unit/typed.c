/* SPDX-License-Identifier: Apache-2.0 */
/* A projection by lists. tests/unit/typed_refuses compiles it with a statement in its derive,
 * STATEMENT: right ones without a warning, and wrong ones not at all. test_typed.c folds it. */
#include "projectionist/typed.h"

#ifndef STATEMENT
#define STATEMENT
#endif

#define ORDER_LINE(FIELD)                                                                          \
    FIELD(name, "name", PJ_TEXT, .required = true)                                                 \
    FIELD(price, "price", PJ_BIGINT)
PJ_FIELDS(order_line, ORDER_LINE);

static const struct pj_items order_lines = {PJ_FIELDS_OF(order_line)};

#define ORDER_PLACED(FIELD)                                                                        \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(buyer, "body.buyer", PJ_TEXT, .required = true, .most_chars = 100)                       \
    FIELD(paid, "paid", PJ_BOOL)                                                                   \
    FIELD(lines, "lines", PJ_ITEMS, .items = &order_lines)
PJ_FIELDS(order_placed, ORDER_PLACED);

#define ORDERS(COLUMN)                                                                             \
    COLUMN(order_id, PJ_UUID, .key = true)                                                         \
    COLUMN(buyer, PJ_TEXT)                                                                         \
    COLUMN(total, PJ_BIGINT)                                                                       \
    COLUMN(placed_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(orders, ORDERS);

static const struct pj_table orders_table = {
    .name = "orders",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(orders),
};

#define BUYERS(COLUMN)                                                                             \
    COLUMN(buyer, PJ_TEXT, .key = true)                                                            \
    COLUMN(last_order, PJ_UUID)                                                                    \
    COLUMN(paid, PJ_BOOL)
PJ_COLUMNS(buyers, BUYERS);

static const struct pj_table buyers_table = {
    .name = "buyers",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(buyers),
};

enum { ORDER, BUYER };

#define PLACED(VALUE) VALUE(buyer, PJ_TEXT) VALUE(at, PJ_TIMESTAMPTZ)
#define LINE(VALUE)   VALUE(price, PJ_BIGINT)
#define ORDER_FACTS(FACT)                                                                          \
    FACT(placed, PJ_LEAST, PLACED)                                                                 \
    FACT(line, PJ_LEAST, LINE)
PJ_FACTS(order, ORDER, ORDER_FACTS);

#define LAST_ORDER(VALUE) VALUE(id, PJ_UUID) VALUE(paid, PJ_BOOL)
#define BUYER_NAME(VALUE) VALUE(buyer, PJ_TEXT)
#define BUYER_FACTS(FACT)                                                                          \
    FACT(last_order, PJ_GREATEST, LAST_ORDER)                                                      \
    FACT(buyer_name, PJ_LEAST, BUYER_NAME, .is_name = true)
PJ_FACTS(buyer, BUYER, BUYER_FACTS);

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)error;
    const struct order_placed *e = PJ_EVENT(event, order_placed);
    struct pj_order order = {.rank = {e->emitted_at.integer}};
    memcpy(order.tie, e->event_id.uuid, sizeof order.tie);
    PJ_KEEP(observer, placed, e->event_id.uuid, NULL, &order,
            {.buyer = e->buyer, .at = e->emitted_at});
    PJ_KEEP_NAMED(observer, last_order, PJ_PARTS(e->buyer), NULL, &order,
                  {.id = e->event_id, .paid = e->paid});
    for (struct pj_array_item item = {0}; pj_items_next(&e->lines.value, &item);) {
        const struct order_line *line = PJ_VIEW(order_line, item.values);
        uint8_t subkey[16] = {(uint8_t)item.index};
        PJ_KEEP(observer, line, e->event_id.uuid, subkey, &order, {.price = line->price});
    }
    return 0;
}

static void derive_order(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct placed *placed = PJ_FACT(entity, placed);
    const struct pj_fact *lines = PJ_ALL(entity, line, &count);
    struct orders *row = PJ_ROW(derivation, orders);
    row->order_id = PJ_UUID(pj_entity_key(entity));
    row->buyer = placed->buyer;
    row->placed_at = PJ_SAID(entity, placed)->at;
    row->total = PJ_BIGINT(0);
    for (size_t i = 0; i < count; i++)
        row->total.integer += PJ_OR(PJ_SAYS(line, &lines[i])->price, PJ_BIGINT(1000)).integer;
    STATEMENT
}

static void derive_buyer(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct last_order *last = PJ_FACT(entity, last_order);
    *PJ_ROW(derivation, buyers) = (struct buyers){
        .buyer = PJ_VIEW(buyer_name, pj_entity_name(entity))->buyer,
        .last_order = last->id,
        .paid = last->paid,
    };
}

static const char schema[] =
    "{\"type\": \"record\", \"name\": \"Order\", \"fields\": ["
    " {\"name\": \"event_id\", \"type\": \"string\"}, {\"name\": \"paid\", \"type\": [\"null\", "
    "\"boolean\"]},"
    " {\"name\": \"emitted_at\", \"type\": {\"type\": \"long\", \"logicalType\": "
    "\"timestamp-millis\"}},"
    " {\"name\": \"body\", \"type\": {\"type\": \"record\", \"name\": \"Body\", \"fields\": ["
    "   {\"name\": \"buyer\", \"type\": \"string\"}]}},"
    " {\"name\": \"lines\", \"type\": {\"type\": \"array\", \"items\": {\"type\": \"record\", "
    "\"name\": \"Line\","
    "   \"fields\": [{\"name\": \"name\", \"type\": \"string\"},"
    "              {\"name\": \"price\", \"type\": [\"null\", \"long\"]}]}}}]}";

extern const struct pj_projection typed_projection;
const struct pj_projection typed_projection = {
    .name = "typed",
    .summary = "keep orders and buyers",
    PJ_SOURCES({
        .topic = "orders",
        .schema = schema,
        PJ_FIELDS_OF(order_placed),
        .event_time = PJ_INDEX(order_placed, emitted_at),
        .observe = observe,
    }),
    PJ_ENTITIES([ORDER] = {.name = "order", PJ_FACTS_OF(order), .derive = derive_order},
                [BUYER] = {.name = "buyer", PJ_FACTS_OF(buyer), .derive = derive_buyer}),
    PJ_TABLES(&orders_table, &buyers_table),
};
