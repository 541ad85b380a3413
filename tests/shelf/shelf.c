/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shelf: a projection of the tests, for what the product's own have not: rows that several entities
 * claim or derive twice, tables that refer to each other against the order of their declaration,
 * values that are swapped under unique constraints, a parent by two columns. It reads commands
 * whose payload is
 *
 *     {"drama": "A", "version": 1, "title": "t", "code": "c", "sequel_of": "B",
 *      "mood": "glad", "tags": ["x"], "spot": "(1,2)", "price": 1.50,
 *      "episodes": [{"id": "e1", "title": "t"}], "props": [{"id": 1, "name": "n"}],
 *      "room": "r", "number": 1, "width": 9}
 *
 * or has "gone": true, or "erased": true, after which nothing is known of it; "logged": true
 * appends it to a log that is trimmed. A record without a value, whose key is the drama and whose
 * header "version" has the number, says that it is gone. Episodes are claimed, props are not. With
 * a width a drama makes the place that it else only refers to. It reads orders, too, whose lines
 * are appended. Books are kept apart: of one a command says
 *
 *     {"book": "A", "version": 1, "cover": "c"}, or "page": "1" with its "text", or "shut": true,
 *
 * or "burnt": true, after which nothing is known of it.
 */
#include "projectionist/json.h"
#include "projections/safari/safari.h"
#include "schemas.h"

/* --- tables ---------------------------------------------------------------------------------- */

enum { P_ID, P_DRAMA, P_NAME, P_COLUMNS };
static const struct pj_column prop_columns[P_COLUMNS] = {
    [P_ID] = {"id", PJ_DOUBLE, .key = true},
    [P_DRAMA] = {"drama_id", PJ_TEXT},
    [P_NAME] = {"name", PJ_TEXT},
};

enum { E_ID, E_DRAMA, E_TITLE, E_PLACE, E_COLUMNS };
static const struct pj_column episode_columns[E_COLUMNS] = {
    [E_ID] = {"id", PJ_TEXT, .key = true},
    [E_DRAMA] = {"drama_id", PJ_TEXT},
    [E_TITLE] = {"title", PJ_TEXT},
    [E_PLACE] = {"place", PJ_BIGINT},
};

/* A drama's place, a parent by two columns, which only an event of the place itself writes. */
enum { S_ROOM, S_NUMBER, S_WIDTH, S_MATERIAL, S_PLACEHOLDER, S_COLUMNS };
static const struct pj_column place_columns[S_COLUMNS] = {
    [S_ROOM] = {"room", PJ_TEXT, .key = true},
    [S_NUMBER] = {"number", PJ_INT, .key = true},
    [S_WIDTH] = {"width", PJ_BIGINT},
    [S_MATERIAL] = {"material", PJ_TEXT, .in_placeholder = "nobody's"},
    [S_PLACEHOLDER] = {"placeholder", PJ_BOOL},
};

enum {
    D_ID,
    D_TITLE,
    D_CODE,
    D_SEQUEL_OF,
    D_MOOD,
    D_TAGS,
    D_SPOT,
    D_PRICE,
    D_ROOM,
    D_NUMBER,
    D_SAGA,
    D_COLUMNS
};
static const struct pj_column drama_columns[D_COLUMNS] = {
    [D_ID] = {"id", PJ_TEXT, .key = true},
    [D_TITLE] = {"title", PJ_TEXT},
    [D_CODE] = {"code", PJ_TEXT},
    [D_SEQUEL_OF] = {"sequel_of", PJ_TEXT},
    [D_MOOD] = {"mood", PJ_TEXT, .sql_type = "shelf_mood"},
    [D_TAGS] = {"tags", PJ_TEXT, .sql_type = "text[]"},
    [D_SPOT] = {"spot", PJ_TEXT, .sql_type = "point"},
    [D_PRICE] = {"price", PJ_NUMERIC},
    [D_ROOM] = {"room", PJ_TEXT},
    [D_NUMBER] = {"number", PJ_INT},
    [D_SAGA] = {"saga", PJ_TEXT}, /* the first drama of all before it; null on a ring */
};

enum { L_ORDER, L_PLACE, L_ITEM, L_COUNT, L_PRICE, L_TAGS, L_COLUMNS };
static const struct pj_column line_columns[L_COLUMNS] = {
    [L_ORDER] = {"order_id", PJ_TEXT, .key = true},
    [L_PLACE] = {"place", PJ_BIGINT, .key = true},
    [L_ITEM] = {"item", PJ_TEXT},
    [L_COUNT] = {"count", PJ_INT},
    [L_PRICE] = {"price", PJ_NUMERIC},
    [L_TAGS] = {"tags", PJ_TEXT, .sql_type = "text[]"},
};

static const struct pj_table lines = {.name = "shelf_lines",
                                      .kind = PJ_APPEND_TABLE,
                                      .columns = line_columns,
                                      .column_count = L_COLUMNS};

enum { G_EVENT, G_DRAMA, G_AT, G_COLUMNS };
static const struct pj_column log_columns[G_COLUMNS] = {
    [G_EVENT] = {"event_id", PJ_UUID, .key = true},
    [G_DRAMA] = {"drama_id", PJ_TEXT},
    [G_AT] = {"at", PJ_TIMESTAMPTZ},
};
static const struct pj_table drama_log = {.name = "shelf_log",
                                          .kind = PJ_APPEND_TABLE,
                                          .columns = log_columns,
                                          .column_count = G_COLUMNS,
                                          .trimmed_by = G_AT};

enum { B_ID, B_COVER, B_SHUT, B_COLUMNS };
static const struct pj_column book_columns[B_COLUMNS] = {
    [B_ID] = {"id", PJ_TEXT, .key = true},
    [B_COVER] = {"cover", PJ_TEXT},
    [B_SHUT] = {"shut", PJ_BOOL},
};
enum { PG_BOOK, PG_PAGE, PG_TEXT, PG_SHUT, PG_COLUMNS };
static const struct pj_column page_columns[PG_COLUMNS] = {
    [PG_BOOK] = {"book", PJ_TEXT, .key = true},
    [PG_PAGE] = {"page", PJ_TEXT, .key = true},
    [PG_TEXT] = {"text", PJ_TEXT},
    [PG_SHUT] = {"shut", PJ_BOOL},
};
static const struct pj_table books = {
    .name = "shelf_books", .columns = book_columns, .column_count = B_COLUMNS};
static const struct pj_table pages = {
    .name = "shelf_pages", .columns = page_columns, .column_count = PG_COLUMNS};

static const struct pj_table props = {
    .name = "shelf_props", .columns = prop_columns, .column_count = P_COLUMNS};
static const struct pj_table episodes = {.name = "shelf_episodes",
                                         .columns = episode_columns,
                                         .column_count = E_COLUMNS,
                                         .claimed = "episode"};
static const struct pj_table dramas;
static const struct pj_table places = {
    .name = "shelf_places",
    .columns = place_columns,
    .column_count = S_COLUMNS,
    .children = (const struct pj_table *const[]){&dramas, NULL},
    .placeholder = S_PLACEHOLDER,
};
static const struct pj_table dramas = {
    .name = "shelf_dramas",
    .columns = drama_columns,
    .column_count = D_COLUMNS,
    .parents = (const struct pj_parent[]){{&places, {D_ROOM, D_NUMBER}, 0}, {0}},
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { NEWEST, NAME, ERASED, SEQUEL, SAGA, DRAMA_FACTS };
enum { N_PAYLOAD, N_VERSION, N_VALUES };
static const struct pj_fact_kind drama_facts[DRAMA_FACTS] = {
    [NEWEST] = {"newest", PJ_GREATEST, PJ_FACT_VALUES(PJ_JSONB, PJ_BIGINT)},
    [NAME] = {"name", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .is_name = true},
    [ERASED] = {"erased", PJ_LEAST, NULL, 0, .absorbs = true},
    [SEQUEL] = {"sequel", PJ_GREATEST, NULL, 0},
    [SAGA] = {"saga", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .recursive = true},
};

static void derive_page(const struct pj_entity *entity, const struct pj_fact *fact,
                        struct pj_derivation *derivation);

enum { COVER, PAGE, SHUT, BURNT, BOOK_NAME, BOOK_FACTS };
static const struct pj_fact_kind book_facts[BOOK_FACTS] = {
    [COVER] = {"cover", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .wide = true},
    [PAGE] = {"page", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT, PJ_TEXT), .wide = true,
              .derive = derive_page},
    [SHUT] = {"shut", PJ_GREATEST, PJ_FACT_VALUES(PJ_BOOL), .shown = true},
    [BURNT] = {"burnt", PJ_LEAST, NULL, 0, .absorbs = true},
    [BOOK_NAME] = {"name", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .is_name = true},
};

static struct pj_value number_of(const struct pj_value *digits)
{
    int64_t number = 0;
    for (size_t i = 0; digits->present && i < digits->text.length; i++)
        number = number * 10 + digits->text.data[i] - '0';
    return digits->present ? pj_bigint(number) : pj_null();
}

enum { DRAMA, BOOK, ENTITIES };

static void observe_book(struct pj_observer *observer, const json_t *payload,
                         const struct pj_order *order)
{
    const struct pj_value book = pj_observer_text(observer, json_object_get(payload, "book"));
    const struct pj_value cover = pj_observer_text(observer, json_object_get(payload, "cover"));
    const struct pj_value shut = pj_json_bool(json_object_get(payload, "shut"));
    const struct pj_value page[] = {
        pj_observer_text(observer, json_object_get(payload, "page")),
        pj_observer_text(observer, json_object_get(payload, "text")),
    };
    uint8_t subkey[16];
    if (cover.present)
        pj_keep_named(observer, BOOK, &book, COVER, NULL, order, &cover);
    if (shut.present)
        pj_keep_named(observer, BOOK, &book, SHUT, NULL, order, &shut);
    if (json_is_true(json_object_get(payload, "burnt")))
        pj_keep_named(observer, BOOK, &book, BURNT, NULL, order, NULL);
    if (page[0].present) {
        pj_uuid_of_names(page, 1, subkey);
        pj_keep_named(observer, BOOK, &book, PAGE, subkey, order, page);
    }
}

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct safari_command *e = PJ_EVENT(event, safari_command);
    const json_t *payload = pj_observer_json(observer, &e->payload.value);
    struct pj_value drama = pj_observer_text(observer, json_object_get(payload, "drama"));
    struct pj_value version = pj_json_integer(json_object_get(payload, "version"));
    if (event->tombstone) {
        struct pj_value header = pj_event_header(event, "version");
        drama = pj_bytes_text(&event->key);
        version = number_of(&header);
    }
    struct pj_order order = {.rank = {version.integer}};
    memcpy(order.tie, e->event_id.uuid, 16);
    if (json_object_get(payload, "book") != NULL) {
        observe_book(observer, payload, &order);
        return 0;
    }
    if (!drama.present || !version.present)
        return pj_error_set(error, PJ_POISON, "no drama, or no version");
    if (json_is_true(json_object_get(payload, "logged"))) {
        struct pj_value *row = pj_append(observer, &drama_log);
        row[G_EVENT] = e->event_id.value;
        row[G_DRAMA] = drama;
        row[G_AT] = e->emitted_at.value;
    }
    if (json_is_true(json_object_get(payload, "erased"))) {
        pj_keep_named(observer, DRAMA, &drama, ERASED, NULL, &order, NULL);
        return 0;
    }
    struct pj_value newest[N_VALUES] = {e->payload.value, version};
    pj_keep_named(observer, DRAMA, &drama, NEWEST, NULL, &order, newest);
    return 0;
}

/* --- orders ---------------------------------------------------------------------------------- */

static const char order_schema[] =
    "{\"type\":\"record\",\"name\":\"Order\",\"fields\":["
    "{\"name\":\"order_id\",\"type\":\"string\"},"
    "{\"name\":\"lines\",\"type\":{\"type\":\"array\",\"items\":"
    "{\"type\":\"record\",\"name\":\"Line\",\"fields\":["
    "{\"name\":\"item\",\"type\":\"string\",\"aliases\":[\"name\"]},"
    "{\"name\":\"count\",\"type\":\"int\",\"default\":1},"
    "{\"name\":\"price\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\","
    "\"precision\":10,\"scale\":2}},"
    "{\"name\":\"tags\",\"type\":{\"type\":\"array\",\"items\":\"string\"},\"default\":[]}"
    "]}}}]}";

enum { O_ID, O_LINES, O_FIELDS };
enum { O_ITEM, O_COUNT, O_PRICE, O_TAGS, O_LINE_FIELDS };

static const struct pj_field tag_fields[] = {{"", PJ_TEXT}};
static const struct pj_items order_tags = {tag_fields, 1, .most = 8};
static const struct pj_field order_line_fields[O_LINE_FIELDS] = {
    [O_ITEM] = {"item", PJ_TEXT, .required = true, .most_chars = 20},
    [O_COUNT] = {"count", PJ_INT, .least = "1"},
    [O_PRICE] = {"price", PJ_NUMERIC, .required = true, .least = "0"},
    [O_TAGS] = {"tags", .items = &order_tags},
};
static const struct pj_items order_lines = {order_line_fields, O_LINE_FIELDS};
static const struct pj_field order_fields[O_FIELDS] = {
    [O_ID] = {"order_id", PJ_TEXT, .required = true},
    [O_LINES] = {"lines", .items = &order_lines},
};

static int observe_order(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct pj_value *v = event->values;
    (void)error;
    for (struct pj_array_item line = {0}; pj_items_next(&v[O_LINES], &line);) {
        struct pj_value *row = pj_append(observer, &lines);
        row[L_ORDER] = v[O_ID];
        row[L_PLACE] = pj_bigint((int64_t)line.index);
        row[L_ITEM] = line.values[O_ITEM];
        row[L_COUNT] = line.values[O_COUNT];
        row[L_PRICE] = line.values[O_PRICE];
        row[L_TAGS] = pj_observer_items(observer, &line.values[O_TAGS]);
    }
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

/* Tells the drama before that this is its sequel, and each of its own sequels the saga. */
static struct pj_value tell_saga(const struct pj_entity *entity, struct pj_derivation *derivation,
                                 const struct pj_value *id, const struct pj_value *sequel_of)
{
    struct pj_value saga = *id;
    size_t count;
    const struct pj_fact *sequels = pj_entity_facts(entity, SEQUEL, &count);
    if (sequel_of->present) {
        uint8_t before[16];
        pj_uuid_of_names(sequel_of, 1, before);
        const struct pj_fact *told = pj_entity_fact(entity, SAGA, before);
        saga = told != NULL ? told->values[0] : pj_null();
        pj_contribute_named(derivation, DRAMA, sequel_of, SEQUEL, pj_entity_key(entity), NULL);
    }
    for (size_t i = 0; i < count; i++)
        pj_contribute(derivation, DRAMA, sequels[i].subkey, SAGA, pj_entity_key(entity), &saga);
    return saga;
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_value none = pj_null();
    const struct pj_fact *fact = pj_entity_fact(entity, NEWEST, NULL);
    if (fact == NULL) { /* erased, or known by its sequels alone */
        (void)tell_saga(entity, derivation, &none, &none);
        return;
    }
    const struct pj_value *newest = fact->values;
    const json_t *payload = pj_derivation_json(derivation, &newest[N_PAYLOAD]);
    struct pj_value id = *pj_entity_name(entity);
    struct pj_order order = {.rank = {newest[N_VERSION].integer}};
    const json_t *item;
    size_t i;
    if (payload == NULL || json_is_true(json_object_get(payload, "gone"))) {
        (void)tell_saga(entity, derivation, &none, &none);
        return;
    }
    struct pj_value *row = pj_row(derivation, &dramas);
    row[D_ID] = id;
    row[D_TITLE] = pj_derivation_text(derivation, json_object_get(payload, "title"));
    row[D_CODE] = pj_derivation_text(derivation, json_object_get(payload, "code"));
    row[D_SEQUEL_OF] = pj_derivation_text(derivation, json_object_get(payload, "sequel_of"));
    row[D_SAGA] = tell_saga(entity, derivation, &id, &row[D_SEQUEL_OF]);
    row[D_ROOM] = pj_derivation_text(derivation, json_object_get(payload, "room"));
    row[D_NUMBER] = pj_json_integer(json_object_get(payload, "number"));
    if (json_object_get(payload, "width") != NULL) {
        struct pj_value *place = pj_row(derivation, &places);
        place[S_ROOM] = row[D_ROOM];
        place[S_NUMBER] = row[D_NUMBER];
        place[S_WIDTH] = pj_json_integer(json_object_get(payload, "width"));
    }
    row[D_MOOD] = pj_derivation_text(derivation, json_object_get(payload, "mood"));
    row[D_TAGS] = pj_derivation_json_array(derivation, json_object_get(payload, "tags"));
    row[D_SPOT] = pj_derivation_text(derivation, json_object_get(payload, "spot"));
    row[D_PRICE] = pj_derivation_numeric(derivation, json_object_get(payload, "price"));
    const json_t *list = json_object_get(payload, "episodes");
    for (i = 0; i < json_array_size(list) && (item = json_array_get(list, i)) != NULL; i++) {
        row = pj_claim(derivation, &episodes, &order);
        row[E_ID] = pj_derivation_text(derivation, json_object_get(item, "id"));
        row[E_DRAMA] = id;
        row[E_TITLE] = pj_derivation_text(derivation, json_object_get(item, "title"));
        row[E_PLACE] = pj_bigint((int64_t)i);
    }
    list = json_object_get(payload, "props");
    for (i = 0; i < json_array_size(list) && (item = json_array_get(list, i)) != NULL; i++) {
        row = pj_row(derivation, &props);
        row[P_ID].present = true;
        row[P_ID].real = json_number_value(json_object_get(item, "id"));
        row[P_DRAMA] = id;
        row[P_NAME] = pj_derivation_text(derivation, json_object_get(item, "name"));
    }
}

static void derive_book(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *cover = pj_entity_fact(entity, COVER, NULL);
    const struct pj_fact *shut = pj_entity_fact(entity, SHUT, NULL);
    if (pj_entity_name(entity) == NULL) /* burnt */
        return;
    struct pj_value *row = pj_row(derivation, &books);
    row[B_ID] = *pj_entity_name(entity);
    row[B_COVER] = cover != NULL ? cover->values[0] : pj_null();
    row[B_SHUT] = shut != NULL ? shut->values[0] : pj_null();
}

static void derive_page(const struct pj_entity *entity, const struct pj_fact *fact,
                        struct pj_derivation *derivation)
{
    const struct pj_fact *shut = pj_entity_fact(entity, SHUT, NULL);
    struct pj_value *row = pj_row(derivation, &pages);
    row[PG_BOOK] = *pj_entity_name(entity);
    row[PG_PAGE] = fact->values[0];
    row[PG_TEXT] = fact->values[1];
    row[PG_SHUT] = shut != NULL ? shut->values[0] : pj_null();
}

/* --- the projection -------------------------------------------------------------------------- */

static const struct pj_source sources[] = {
    {
        .topic = "safari.commands",
        .schema = pj_schema_safari_commands,
        PJ_FIELDS_OF(safari_command),
        .headers = true,
        .tombstones = true,
        .event_time = PJ_INDEX(safari_command, emitted_at),
        .observe = observe,
    },
    {
        .topic = "shelf.orders",
        .schema = order_schema,
        .fields = order_fields,
        .field_count = O_FIELDS,
        .observe = observe_order,
    },
};
static const struct pj_entity_kind entities[ENTITIES] = {
    [DRAMA] = {"drama", drama_facts, DRAMA_FACTS, derive, .depth_most = 60},
    [BOOK] = {"book", book_facts, BOOK_FACTS, derive_book},
};
static const struct pj_table *const tables[] = {&lines,  &props,     &episodes, &dramas,
                                                &places, &drama_log, &books,    &pages};

const struct pj_projection pj_shelf = {
    .name = "shelf",
    .summary = "keep dramas, episodes and props",
    .sources = sources,
    .source_count = 2,
    .entities = entities,
    .entity_count = ENTITIES,
    .tables = tables,
    .table_count = 8,
};
