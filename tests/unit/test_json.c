/* SPDX-License-Identifier: Apache-2.0 */
/* JSON in observe and derive: of each document a row says what was read from it. */
#include "fold/fold.h"
#include "projectionist/json.h"

#include <criterion/criterion.h>

enum { ID, DOCUMENT, FIELDS };
enum { R_ID, R_OBSERVED, R_DERIVED, R_SIZE, R_OWNER, R_PRICE, R_TREE, R_COLUMNS };
enum { F_DOCUMENT, F_NAME };

static const struct pj_column columns[R_COLUMNS] = {
    [R_ID] = {"id", PJ_UUID, .key = true}, [R_OBSERVED] = {"observed", PJ_TEXT},
    [R_DERIVED] = {"derived", PJ_TEXT},    [R_SIZE] = {"size", PJ_BIGINT},
    [R_OWNER] = {"owner", PJ_UUID},        [R_PRICE] = {"price", PJ_NUMERIC},
    [R_TREE] = {"tree", PJ_JSONB},
};
static const struct pj_table documents = {
    .name = "documents", .columns = columns, .column_count = R_COLUMNS};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct pj_value *v = event->values;
    const json_t *document = pj_observer_json(observer, &v[DOCUMENT]);
    struct pj_value values[] = {v[DOCUMENT],
                                pj_observer_text(observer, json_object_get(document, "name"))};
    struct pj_order order = {0};
    cr_assert_eq(document, pj_observer_json(observer, &v[DOCUMENT]), "parsed twice");
    if (v[DOCUMENT].present && !json_is_object(document))
        return pj_error_set(error, PJ_POISON, "no object");
    pj_keep(observer, 0, v[ID].uuid, 0, NULL, &order, values);
    return 0;
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_value *fact = pj_entity_fact(entity, 0, NULL)->values;
    const json_t *document = pj_derivation_json(derivation, &fact[F_DOCUMENT]);
    struct pj_value *row = pj_row(derivation, &documents);
    cr_assert_eq(document, pj_derivation_json(derivation, &fact[F_DOCUMENT]), "parsed twice");
    row[R_ID] = pj_uuid(pj_entity_key(entity));
    row[R_OBSERVED] = fact[F_NAME];
    row[R_DERIVED] = pj_derivation_text(derivation, json_object_get(document, "name"));
    row[R_SIZE] = pj_json_integer(json_object_get(document, "size"));
    row[R_OWNER] = pj_json_uuid(json_object_get(document, "owner"));
    row[R_PRICE] =
        pj_derivation_numeric(derivation, json_array_get(json_object_get(document, "prices"), 1));
    row[R_TREE] = pj_derivation_subtree(derivation, json_object_get(document, "tree"));
}

static const struct pj_source source = {.topic = "documents", .observe = observe};
static const struct pj_table *const tables[] = {&documents};
static const struct pj_fact_kind facts[] = {
    {"document", PJ_LEAST, (const enum pj_type[]){PJ_JSONB, PJ_TEXT}, 2}};
static const struct pj_entity_kind entities[] = {{"document", facts, 1, derive}};
static const struct pj_projection projection = {
    .name = "documents",
    .sources = &source,
    .source_count = 1,
    .entities = entities,
    .entity_count = 1,
    .tables = tables,
    .table_count = 1,
};

static struct pj_arena *arena;
static struct pj_fold *fold;
static struct pj_error error;

static void start(void)
{
    arena = pj_arena_new();
    fold = pj_fold_new(&projection, NULL, arena);
}

static void stop(void)
{
    pj_arena_free(arena);
}

TestSuite(json, .init = start, .fini = stop);

static int see(uint8_t id, const char *document)
{
    const uint8_t key[16] = {id};
    const struct pj_value values[FIELDS] = {
        [ID] = pj_uuid(key), [DOCUMENT] = document != NULL ? pj_text(document) : pj_null()};
    const struct pj_event event = {.values = values, .topic = "documents"};
    return pj_fold_observe(fold, &source, &event, &error);
}

/* The row of the only document. */
static const struct pj_value *row_of(const char *document)
{
    cr_assert_eq(see(1, document), 0);
    pj_fold_stage(fold, 0);
    cr_assert_eq(pj_fold_merge(fold, 0, &error), 0, "%s", error.message);
    cr_assert_eq(pj_fold_finish(fold, &error), 0, "%s", error.message);
    cr_assert_eq(pj_fold_rows(fold, 0)->count, 1);
    return pj_fold_rows(fold, 0)->items[0].values;
}

static int64_t size_of(const char *document)
{
    const struct pj_value *row = row_of(document);
    return row[R_SIZE].present ? row[R_SIZE].integer : INT64_MIN;
}

Test(json, texts_outlive_the_tree)
{
    const struct pj_value *row = row_of("{\"name\":\"K\\u00e4the\"}");
    cr_assert(pj_text_is(&row[R_OBSERVED], "K\xc3\xa4the"));
    cr_assert(pj_text_is(&row[R_DERIVED], "K\xc3\xa4the"));
}

Test(json, a_null_value_has_nothing)
{
    const struct pj_value *row = row_of(NULL);
    for (int c = R_OBSERVED; c < R_COLUMNS; c++)
        cr_assert_not(row[c].present);
}

Test(json, members_of_other_types_are_not_there)
{
    const struct pj_value *row = row_of("{\"name\":7,\"size\":\"7\",\"owner\":\"me\"}");
    for (int c = R_OBSERVED; c < R_COLUMNS; c++)
        cr_assert_not(row[c].present);
}

Test(json, a_uuid_is_read_from_a_string)
{
    const struct pj_value *row = row_of("{\"owner\":\"00112233-4455-6677-8899-aabbccddeeff\"}");
    cr_assert(row[R_OWNER].present);
    cr_assert_eq(row[R_OWNER].uuid[15], 0xff);
}

Test(json, an_integer_is_one_however_it_is_written)
{
    cr_assert_eq(size_of("{\"size\":12.0}"), 12);
    stop();
    start();
    cr_assert_eq(size_of("{\"size\":-1.2e1}"), -12);
    stop();
    start();
    cr_assert_eq(size_of("{\"size\":9223372036854775807}"), INT64_MAX);
}

Test(json, what_is_no_integer_is_not_rounded)
{
    cr_assert_eq(size_of("{\"size\":12.5}"), INT64_MIN);
    stop();
    start();
    cr_assert_eq(size_of("{\"size\":1e300}"), INT64_MIN);
    stop();
    start();
    cr_assert_eq(size_of("{\"size\":null}"), INT64_MIN);
}

/* jsonb holds such numbers, so they must not hide what stands beside them. */
Test(json, a_huge_integer_leaves_the_rest_readable)
{
    const struct pj_value *row =
        row_of("{\"id\":18446744073709551616,\"name\":\"n\",\"size\":1048576}");
    cr_assert(pj_text_is(&row[R_DERIVED], "n"));
    cr_assert_eq(row[R_SIZE].integer, 1048576);
}

/* A document that is refused, and many in one batch: the trees are all given back (leaks show). */
Test(json, trees_are_given_back)
{
    cr_assert_eq(see(1, "[1,2,3]"), -1);
    for (uint8_t id = 2; id < 200; id++)
        cr_assert_eq(see(id, "{\"name\":\"n\"}"), 0);
    pj_fold_stage(fold, 0);
    cr_assert_eq(pj_fold_merge(fold, 0, &error), 0, "%s", error.message);
    cr_assert_eq(pj_fold_finish(fold, &error), 0, "%s", error.message);
    cr_assert_eq(pj_fold_rows(fold, 0)->count, 198);
}

static void price_is(const char *document, const char *price)
{
    const struct pj_value *row = row_of(document);
    if (price == NULL)
        cr_assert_not(row[R_PRICE].present, "%s", document);
    else
        cr_assert(pj_text_is(&row[R_PRICE], price), "%s: %.*s", document,
                  (int)row[R_PRICE].text.length, row[R_PRICE].text.data);
    stop();
    start();
}

Test(json, a_number_keeps_all_its_digits)
{
    price_is("{\"prices\":[1.5,123456789012456.7891]}", "123456789012456.7891");
    price_is("{\"a\":\"1.5\",\"prices\":[{\"b\":2.50},-0.10]}", "-0.10");
    price_is("{\"prices\":[1,9223372036854775807]}", "9223372036854775807");
    price_is("{\"prices\":[1,123456789012345678901234567890]}", "123456789012345678901234567890");
    price_is("{\"prices\":[1,1.000000000000000000001e-7]}", "1.000000000000000000001e-7");
    price_is("{\"\\\"p\":[\"\\\\\",7.25],\"prices\":[\"[1\\\"\",3.3]}", "3.3");
    price_is("{\"prices\":[1,\"2.5\"]}", NULL);
    price_is("{\"prices\":[1.5]}", NULL);
}

Test(json, integers_beside_one_beyond_64_bits)
{
    const struct pj_value *row =
        row_of("{\"wide\":123456789012345678901234567890,\"size\":9007199254740993}");
    cr_assert_eq(row[R_SIZE].integer, INT64_C(9007199254740993));
}

Test(json, a_real_that_may_have_been_rounded_is_no_integer)
{
    cr_assert_not(row_of("{\"size\":9007199254740992.5}")[R_SIZE].present);
}

static void tree_is(const char *document, const char *tree)
{
    const struct pj_value *row = row_of(document);
    cr_assert(pj_text_is(&row[R_TREE], tree), "%s: %.*s", document, (int)row[R_TREE].text.length,
              row[R_TREE].text.data);
    stop();
    start();
}

Test(json, a_subtree_keeps_its_digits_and_order)
{
    tree_is("{\"a\":0.1,\"tree\":{\"z\":[1.10,{}, []],\"a\\\"\":\"\\n\\u0001\",\"b\":null}}",
            "{\"z\":[1.10,{},[]],\"a\\\"\":\"\\n\\u0001\",\"b\":null}");
    tree_is("{\"tree\":123456789012345678901234567890}", "123456789012345678901234567890");
    tree_is("{\"tree\":[true,-0.10]}", "[true,-0.10]");
}

Test(json, scalars)
{
    json_t *json =
        json_pack("{s:b,s:i,s:I,s:f,s:s,s:n}", "true", 1, "int", 7, "wide", (json_int_t)1 << 40,
                  "real", 2.5, "time", "2026-11-21T05:06:34.5Z", "null");
    cr_assert(pj_json_bool(json_object_get(json, "true")).boolean);
    cr_assert_not(pj_json_bool(json_object_get(json, "int")).present);
    cr_assert_eq(pj_json_int(json_object_get(json, "int")).integer, 7);
    cr_assert_not(pj_json_int(json_object_get(json, "wide")).present);
    cr_assert_eq(pj_json_integer(json_object_get(json, "wide")).integer, INT64_C(1) << 40);
    cr_assert_eq(pj_json_double(json_object_get(json, "real")).real, 2.5);
    cr_assert_eq(pj_json_double(json_object_get(json, "int")).real, 7);
    cr_assert_not(pj_json_double(json_object_get(json, "null")).present);
    cr_assert_eq(pj_json_time(json_object_get(json, "time")).integer, 1795237594500000);
    cr_assert_not(pj_json_time(json_object_get(json, "null")).present);
    cr_assert_not(pj_json_time(NULL).present || pj_json_bool(NULL).present);
    json_decref(json);
}
