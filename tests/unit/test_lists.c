/* SPDX-License-Identifier: Apache-2.0 */
/* Facts that are the items of a list which events say whole: the last list is left, under every
 * order of events over three partitions. */
#include "base/arena.h"
#include "fold/facts.h"
#include "projectionist/testing.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { F_ID, F_JOB, F_AT, F_CREW, FIELDS };
static const struct pj_field texts[] = {{"", PJ_TEXT, .required = true}};
static const struct pj_items crew = {texts, 1};
static const struct pj_field fields[FIELDS] = {
    [F_ID] = {"id", PJ_UUID, .required = true},
    [F_JOB] = {"job", PJ_TEXT, .required = true},
    [F_AT] = {"at", PJ_BIGINT, .required = true},
    [F_CREW] = {"crew", .items = &crew},
};
static const char schema[] =
    "{\"type\":\"record\",\"name\":\"Manned\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"string\"},{\"name\":\"job\",\"type\":\"string\"},"
    "{\"name\":\"at\",\"type\":\"long\"},"
    "{\"name\":\"crew\",\"type\":{\"type\":\"array\",\"items\":\"string\"}}]}";

enum { MEMBER, MANNED, NAME, JOB_FACTS };
static const struct pj_fact_kind job_facts[JOB_FACTS] = {
    [MEMBER] = {"member", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT, PJ_BIGINT)},
    [MANNED] = {"manned", PJ_GREATEST, PJ_FACT_VALUES(PJ_BIGINT), .lists = 1 << MEMBER},
    [NAME] = {"name", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .is_name = true},
};

enum { C_JOB, C_PERSON, C_AT, COLUMNS };
static const struct pj_column columns[COLUMNS] = {
    [C_JOB] = {"job", PJ_TEXT, .key = true},
    [C_PERSON] = {"person", PJ_TEXT, .key = true},
    [C_AT] = {"at", PJ_BIGINT},
};
static const struct pj_table table = {.name = "crews", .columns = columns, .column_count = COLUMNS};
static const struct pj_table *const tables[] = {&table};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)error;
    const struct pj_value *v = event->values;
    struct pj_order order = {.rank = {v[F_AT].integer}};
    memcpy(order.tie, v[F_ID].uuid, 16);
    for (struct pj_array_item item = {0}; pj_items_next(&v[F_CREW], &item);) {
        const struct pj_value member[] = {item.values[0], v[F_AT]};
        uint8_t person[16];
        pj_uuid_of_names(item.values, 1, person);
        pj_keep_named(observer, 0, &v[F_JOB], MEMBER, person, &order, member);
    }
    pj_keep_named(observer, 0, &v[F_JOB], MANNED, NULL, &order, &v[F_AT]);
    return 0;
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *members = pj_entity_facts(entity, MEMBER, &count);
    cr_assert_eq(entity->count, count + 2, "something of an earlier list is left");
    for (size_t i = 0; i < count; i++) {
        struct pj_value *row = pj_row(derivation, &table);
        row[C_JOB] = *pj_entity_name(entity);
        row[C_PERSON] = members[i].values[0];
        row[C_AT] = members[i].values[1];
    }
}

static const struct pj_source source = {.topic = "manned",
                                        .schema = schema,
                                        .fields = fields,
                                        .field_count = FIELDS,
                                        .observe = observe};
static const struct pj_entity_kind job = {"job", job_facts, JOB_FACTS, derive};
static const struct pj_projection crews = {.name = "crews",
                                           .summary = "keep crews",
                                           .sources = &source,
                                           .source_count = 1,
                                           .entities = &job,
                                           .entity_count = 1,
                                           .tables = tables,
                                           .table_count = 1};

static struct pj_orders orders;

static void start(void)
{
    orders = pj_orders_of(&crews);
}

static void stop(void)
{
    pj_orders_free(&orders);
}

TestSuite(lists, .init = start, .fini = stop);

/* Who is in the crew, a letter each. */
static void manned(int64_t at, const char *people)
{
    struct pj_value *values = pj_arena_alloc(orders.arena, (strlen(people) + 1) * sizeof *values);
    for (size_t i = 0; i < strlen(people); i++)
        values[i] = pj_text_of(&people[i], 1);
    struct pj_value *v = pj_orders_event(&orders, 0, (int32_t)(orders.count % 3));
    v[F_ID] = pj_orders_uuid((unsigned)orders.count);
    v[F_JOB] = pj_text("keel");
    v[F_AT] = pj_bigint(at);
    v[F_CREW] = pj_items_of(values, strlen(people), 1);
}

Test(lists, the_last_one_is_left)
{
    manned(1, "abc");
    manned(2, "ca");
    cr_assert(pj_orders_expect(&orders, "crews|job=keel|person=a|at=2\n"
                                        "crews|job=keel|person=c|at=2\n"));
    cr_assert(pj_orders_refuse(&orders, "person=b"));
    cr_assert(pj_orders_agree(&orders, 200, 1));
}

Test(lists, an_empty_one_takes_all)
{
    manned(1, "abc");
    manned(3, "");
    manned(2, "d");
    cr_assert(pj_orders_refuse(&orders, "crews|"));
    cr_assert(pj_orders_agree(&orders, 200, 1));
}

/* Two lists of one time: the events' ids decide, and those of one have no mixture. */
Test(lists, of_one_time_are_not_mixed)
{
    manned(1, "ab");
    manned(1, "bc");
    cr_assert(pj_orders_expect(&orders, "crews|job=keel|person=b|at=1\n"
                                        "crews|job=keel|person=c|at=1\n"));
    cr_assert(pj_orders_refuse(&orders, "person=a"));
}

Test(lists, in_every_order)
{
    cr_assert(pj_orders_mixture(&orders, 120, 3, NULL));
    cr_assert(pj_orders_agree(&orders, 600, 7));
}
