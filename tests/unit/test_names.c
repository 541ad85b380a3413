/* SPDX-License-Identifier: Apache-2.0 */
/* Entities with names of several parts: a file is in a bucket and has a path; a bucket counts its
 * files, and the projection's context says what a byte costs; a path once used stays known. */
#include "projectionist/ids.h"
#include "projectionist/testing.h"

#include <criterion/criterion.h>

enum { EVENT, BUCKET, PATH, SIZE, FIELDS };
enum { FILE_KIND, BUCKET_KIND, PATH_KIND, KINDS };
enum { FILE_SIZE, FILE_NAME, FILE_FACTS };
enum { BUCKET_FILE, BUCKET_NAME, BUCKET_FACTS };
enum { PATH_USED, PATH_NAME, PATH_FACTS };

static const struct pj_field fields[FIELDS] = {
    [EVENT] = {"event", PJ_UUID, .required = true},
    [BUCKET] = {"bucket", PJ_TEXT, .required = true},
    [PATH] = {"path", PJ_TEXT, .required = true},
    [SIZE] = {"size", PJ_BIGINT, .least = "0"},
};
static const struct pj_column file_columns[] = {
    {"bucket", PJ_TEXT, .key = true}, {"path", PJ_TEXT, .key = true}, {"size", PJ_BIGINT}};
static const struct pj_column bucket_columns[] = {
    {"bucket", PJ_TEXT, .key = true}, {"files", PJ_BIGINT}, {"cost", PJ_BIGINT}};
static const struct pj_column path_columns[] = {{"path", PJ_TEXT, .key = true}};
static const struct pj_table paths = {.name = "paths", .columns = path_columns, .column_count = 1};
static const struct pj_table files = {.name = "files", .columns = file_columns, .column_count = 3};
static const struct pj_table buckets = {
    .name = "buckets", .columns = bucket_columns, .column_count = 3};
static const struct pj_fact_kind file_facts[FILE_FACTS] = {
    [FILE_SIZE] = {"size", PJ_GREATEST, PJ_FACT_VALUES(PJ_BIGINT)},
    [FILE_NAME] = {"name", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT, PJ_TEXT), .is_name = true},
};
static const struct pj_fact_kind bucket_facts[BUCKET_FACTS] = {
    [BUCKET_FILE] = {"file", PJ_GREATEST, PJ_FACT_VALUES(PJ_BIGINT)},
    [BUCKET_NAME] = {"name", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .is_name = true},
};

static const struct pj_fact_kind path_facts[PATH_FACTS] = {
    [PATH_USED] = {"used", PJ_GREATEST, NULL, 0},
    [PATH_NAME] = {"name", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .is_name = true},
};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct pj_value *v = event->values;
    struct pj_order order = {.rank = {event->timestamp_ms}};
    (void)error;
    memcpy(order.tie, v[EVENT].uuid, 16);
    pj_keep_named(observer, FILE_KIND, &v[BUCKET], FILE_SIZE, NULL, &order, &v[SIZE]);
    return 0;
}

/* A file without a size is deleted. */
static void derive_file(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_value *name = pj_entity_name(entity);
    const struct pj_value *size = pj_entity_fact(entity, FILE_SIZE, NULL)->values;
    pj_tell_named(derivation, PATH_KIND, &name[1], PATH_USED, NULL, &(struct pj_order){{1}}, NULL);
    if (!size->present)
        return;
    struct pj_value *row = pj_row(derivation, &files);
    row[0] = name[0];
    row[1] = name[1];
    row[2] = *size;
    pj_contribute_named(derivation, BUCKET_KIND, name, BUCKET_FILE, pj_entity_key(entity), size);
}

static void derive_bucket(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *of = pj_entity_facts(entity, BUCKET_FILE, &count);
    const int64_t *price = pj_derivation_context(derivation);
    struct pj_value *row = pj_row(derivation, &buckets);
    row[0] = *pj_entity_name(entity);
    row[1] = pj_bigint((int64_t)count);
    row[2] = pj_bigint(0);
    for (size_t i = 0; i < count; i++)
        row[2].integer += of[i].values[0].integer * *price;
}

static void derive_path(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    if (pj_entity_fact(entity, PATH_USED, NULL) != NULL)
        pj_row(derivation, &paths)[0] = *pj_entity_name(entity);
}

static const int64_t price = 3;
static const struct pj_source source = {
    .topic = "files",
    .schema = "{\"type\":\"record\",\"name\":\"File\",\"fields\":["
              "{\"name\":\"event\",\"type\":\"string\"},{\"name\":\"bucket\",\"type\":\"string\"},"
              "{\"name\":\"path\",\"type\":\"string\"},"
              "{\"name\":\"size\",\"type\":[\"null\",\"long\"]}]}",
    .fields = fields,
    .field_count = FIELDS,
    .observe = observe,
};
static const struct pj_entity_kind kinds[KINDS] = {
    [FILE_KIND] = {"file", file_facts, FILE_FACTS, derive_file},
    [BUCKET_KIND] = {"bucket", bucket_facts, BUCKET_FACTS, derive_bucket},
    [PATH_KIND] = {"path", path_facts, PATH_FACTS, derive_path},
};
static const struct pj_table *const tables[] = {&files, &buckets, &paths};
static const struct pj_projection projection = {
    .name = "files",
    .summary = "keep files",
    .sources = &source,
    .source_count = 1,
    .entities = kinds,
    .entity_count = KINDS,
    .tables = tables,
    .table_count = 3,
    .context = &price,
};

static struct pj_orders orders;

static void start(void)
{
    orders = pj_orders_of(&projection);
}

static void stop(void)
{
    pj_orders_free(&orders);
}

TestSuite(names, .init = start, .fini = stop);

static void put(int64_t ms, const char *bucket, const char *path, struct pj_value size)
{
    struct pj_value *v = pj_orders_event(&orders, 0, 0);
    pj_orders_last(&orders)->timestamp_ms = ms;
    v[EVENT] = pj_orders_uuid((unsigned)orders.count);
    v[BUCKET] = pj_text(bucket);
    v[PATH] = pj_text(path);
    v[SIZE] = size;
}

Test(names, parts_do_not_run_together)
{
    put(1, "a/b", "c", pj_bigint(1));
    put(2, "a", "b/c", pj_bigint(2));
    put(3, "a", "b/c", pj_bigint(4));
    cr_assert(pj_orders_expect(&orders, "buckets|bucket=a/b|files=1|cost=3\n"
                                        "buckets|bucket=a|files=1|cost=12\n"
                                        "files|bucket=a/b|path=c|size=1\n"
                                        "files|bucket=a|path=b/c|size=4\n"));
}

Test(names, a_name_that_nobody_contributes_to_any_more_is_gone)
{
    put(1, "a", "b", pj_bigint(1));
    put(2, "a", "b", pj_null());
    cr_assert(pj_orders_refuse(&orders, "bucket"));
    cr_assert(pj_orders_expect(&orders, "paths|path=b\n")); /* it was told, not contributed */
}

Test(names, every_order)
{
    cr_assert(pj_orders_mixture(&orders, 60, 1, NULL));
    cr_assert(pj_orders_agree(&orders, 300, 2));
}

Test(names, a_value_that_breaks_a_rule_says_nothing)
{
    put(1, "a", "b", pj_bigint(-1));
    cr_assert(pj_orders_refuse(&orders, "bucket"));
}

static void key_of(const struct pj_value *parts, size_t count, uint8_t key[16])
{
    pj_uuid_of_names(parts, count, key);
}

Test(names, keys_differ_by_parts_types_and_nulls)
{
    const uint8_t zeros[16] = {0};
    const struct pj_value names[][2] = {
        {pj_text("a"), pj_text("b")},    {pj_text("ab"), pj_text("")},
        {pj_text(""), pj_text("ab")},    {pj_text("ab"), pj_null()},
        {pj_null(), pj_text("ab")},      {pj_bigint(0), pj_bigint(1)},
        {pj_bool(false), pj_bool(true)}, {pj_uuid(zeros), pj_text("a")},
    };
    enum { COUNT = sizeof names / sizeof names[0] };
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < COUNT; j++) {
            uint8_t a[16];
            uint8_t b[16];
            key_of(names[i], 2, a);
            key_of(names[j], 2, b);
            cr_assert_eq(memcmp(a, b, 16) == 0, i == j, "%zu %zu", i, j);
        }
    }
}

/* As Python makes them, by uuid.uuid5 of the namespace and "13:drama/initial,1:u,". */
Test(names, texts_have_the_uuid_that_others_compute)
{
    const struct {
        struct pj_value texts[3];
        size_t count;
        const char *uuid;
    } cases[] = {
        {{pj_text("drama/initial"), pj_text("u")}, 2, "ada966d3-0d4a-5fb2-a456-0cd9dd718f8d"},
        {{pj_text("Gr\xc3\xbc\xc3\x9f\x65"), pj_null(), pj_text("x")},
         3,
         "32dd0283-f709-5740-b067-0fad91ce6b74"},
        {{pj_null()}, 0, "24eda26e-0a29-59bc-9dee-9d1c40f4891a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t wanted[16], found[16];
        cr_assert(pj_uuid_parse(cases[i].uuid, 36, wanted));
        pj_uuid_of_texts(cases[i].texts, cases[i].count, found);
        cr_assert_eq(memcmp(found, wanted, sizeof found), 0, "%zu", i);
    }
}
