/* SPDX-License-Identifier: Apache-2.0 */
/* The harness of orders: projections that depend on the order in one way each are found out, and
 * what is printed is as small as can be. */
#include "base/arena.h"
#include "fold/fold_internal.h"
#include "projectionist/testing.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { F_EVENT, F_THING, F_TEXT, F_AT, FIELDS };

static const struct pj_field fields[FIELDS] = {
    [F_EVENT] = {"event", PJ_UUID},
    [F_THING] = {"thing", PJ_UUID},
    [F_TEXT] = {"text", PJ_TEXT},
    [F_AT] = {"at", PJ_TIMESTAMPTZ},
};

static const struct pj_column columns[] = {
    {"thing", PJ_UUID, .key = true}, {"count", PJ_BIGINT}, {"text", PJ_TEXT}};

static const struct pj_table things = {
    .name = "things", .kind = PJ_ENTITY_TABLE, .columns = columns, .column_count = 3};

static const struct pj_table *const tables[] = {&things};
static const struct pj_fact_kind facts[] = {
    {"said", PJ_GREATEST, (const enum pj_type[]){PJ_TEXT}, 1}};

/* One row: how many facts there are, and the text of the last. */
static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *said = pj_entity_facts(entity, 0, &count);
    struct pj_value *row = pj_row(derivation, &things);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[1] = pj_bigint((int64_t)count);
    row[2] = said[count - 1].values[0];
}

static bool forgets_due; /* as it would be without pj_due */

/* As "expired" in the session tracker. */
static void derive_late(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    int64_t end = pj_entity_fact(entity, 0, NULL)->order.rank[0];
    struct pj_value *row = pj_row(derivation, &things);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[2] = pj_text(end < pj_stream_time(derivation) ? "late" : "in time");
    if (end >= pj_stream_time(derivation) && !forgets_due)
        pj_due(derivation, end);
}

/* Takes the stream time for one that no fact is ahead of, as it is where there is one owner. */
static void derive_ahead(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *said = pj_entity_facts(entity, 0, &count);
    bool ahead = false;
    for (size_t i = 0; i < count; i++)
        ahead = ahead || said[i].order.rank[0] > pj_stream_time(derivation);
    struct pj_value *row = pj_row(derivation, &things);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[2] = pj_text(ahead ? "ahead" : "in time");
}

static int64_t arrivals; /* what no projection may have */

static void keep(const struct pj_event *event, struct pj_observer *observer, int64_t rank,
                 int64_t subkey, const struct pj_value *text)
{
    struct pj_order order = {.rank = {rank}};
    uint8_t key[16] = {0};
    memcpy(key, &subkey, sizeof subkey);
    pj_keep(observer, 0, event->values[F_THING].uuid, 0, key, &order, text);
}

static int observe_well(const struct pj_event *event, struct pj_observer *observer,
                        struct pj_error *error)
{
    (void)error;
    keep(event, observer, event->values[F_AT].integer, 0, &event->values[F_TEXT]);
    return 0;
}

static int observe_each_event(const struct pj_event *event, struct pj_observer *observer,
                              struct pj_error *error)
{
    (void)error;
    int64_t at = event->values[F_AT].integer;
    keep(event, observer, at, at, &event->values[F_TEXT]);
    return 0;
}

static int observe_the_last_to_come(const struct pj_event *event, struct pj_observer *observer,
                                    struct pj_error *error)
{
    (void)error;
    keep(event, observer, ++arrivals, 0, &event->values[F_TEXT]);
    return 0;
}

static int observe_each_delivery(const struct pj_event *event, struct pj_observer *observer,
                                 struct pj_error *error)
{
    (void)error;
    struct pj_value text = pj_null();
    keep(event, observer, 0, ++arrivals, &text);
    return 0;
}

static int observe_how_a_batch_begins(const struct pj_event *event, struct pj_observer *observer,
                                      struct pj_error *error)
{
    (void)error;
    if (observer->fold->change_count == 0 || event->values[F_AT].integer == 0)
        keep(event, observer, 0, event->values[F_AT].integer, &event->values[F_TEXT]);
    else
        keep(event, observer, 0, 0, &event->values[F_TEXT]);
    return 0;
}

static const char schema[] =
    "{\"type\": \"record\", \"name\": \"Thing\", \"fields\": ["
    "{\"name\": \"event\", \"type\": \"string\"}, {\"name\": \"thing\", \"type\": \"string\"},"
    "{\"name\": \"text\", \"type\": \"string\"}, {\"name\": \"at\", \"type\": \"long\"}]}";
static struct pj_source source = {.topic = "t",
                                  .schema = schema,
                                  .fields = fields,
                                  .field_count = FIELDS,
                                  .event_time = F_AT,
                                  .observe = observe_well};
static struct pj_entity_kind kind = {"thing", facts, 1, derive};
static const struct pj_projection projection = {.name = "broken",
                                                .summary = "depend on the order",
                                                .sources = &source,
                                                .source_count = 1,
                                                .entities = &kind,
                                                .entity_count = 1,
                                                .tables = tables,
                                                .table_count = 1};
static struct pj_orders orders;

static void start(void)
{
    orders = pj_orders_of(&projection);
}

static void stop(void)
{
    pj_orders_free(&orders);
}

TestSuite(orders, .init = start, .fini = stop);

/* That many events about a few things, spread over the partitions. */
static void happen(unsigned count, unsigned partitions)
{
    for (unsigned i = 0; i < count; i++) {
        struct pj_value *v = pj_orders_event(&orders, 0, (int32_t)(i % partitions));
        v[F_EVENT] = pj_orders_uuid(i);
        v[F_THING] = pj_orders_uuid(i * 7 % 3);
        v[F_TEXT] = pj_text(pj_arena_printf(orders.arena, "text %u", i));
        v[F_AT] = pj_orders_time(i);
    }
}

/* What is printed while so many orders are tried, or (-1) looked at for its reach. */
static char *printed(int times, bool *holds)
{
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    cr_assert(file != NULL && before >= 0);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    *holds = times < 0 ? pj_orders_reaches(&orders) : pj_orders_agree(&orders, times, 1);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    size_t size = (size_t)lseek(fileno(file), 0, SEEK_END);
    char *text = calloc(1, size + 1);
    cr_assert_eq(pread(fileno(file), text, size, 0), (ssize_t)size);
    fclose(file);
    return text;
}

/* What is printed when rows depend on the order, from "but in this order" on. */
static char *explanation(int times)
{
    bool holds;
    char *text = printed(times, &holds);
    cr_assert_not(holds, "rows depend on the order, but nobody sees it");
    char *order = strstr(text, "but in this order");
    cr_assert_not_null(order, "nothing is explained:\n%s", text);
    memmove(text, order, strlen(order) + 1);
    return text;
}

static size_t times(const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        count++;
    return count;
}

static void expect_broken(size_t deliveries, size_t once_more, size_t commits)
{
    char *text = explanation(400);
    cr_assert_eq(times(text, "\n  t ["), deliveries, "%s", text);
    cr_assert_eq(times(text, "(once more)"), once_more, "%s", text);
    cr_assert_eq(times(text, "-- commit --"), commits, "%s", text);
    free(text);
}

Test(orders, one_that_keeps_it_is_not_suspected)
{
    source.observe = observe_well;
    happen(60, 4);
    cr_assert(pj_orders_agree(&orders, 400, 1));
}

Test(orders, an_order_between_partitions)
{
    source.observe = observe_the_last_to_come;
    happen(60, 4);
    expect_broken(2, 0, 0);
}

Test(orders, an_event_that_is_sent_again)
{
    /* All in one partition: a, b, a. */
    source.observe = observe_the_last_to_come;
    happen(60, 1);
    expect_broken(3, 1, 0);
}

Test(orders, a_delivery_that_is_counted)
{
    source.observe = observe_each_delivery;
    happen(60, 4);
    expect_broken(2, 1, 0);
}

Test(orders, what_shares_a_batch)
{
    /* What comes twice is another fact where it does not begin the transaction. */
    source.observe = observe_how_a_batch_begins;
    happen(60, 4);
    expect_broken(2, 1, 0);
}

Test(orders, two_owners_whose_transactions_overlap)
{
    /* One commits what the other, of an older stream time, finds there. */
    source.observe = observe_each_event;
    kind.derive = derive_ahead;
    kind.timed = true;
    happen(60, 4);
    char *text = explanation(400);
    cr_assert_eq(times(text, "\n  t ["), 2, "%s", text);
    cr_assert_not_null(strstr(text, "    -- owner 1 commits --\n"), "%s", text);
    cr_assert_not_null(strstr(text, "    -- owner 2 commits --\n"), "%s", text);
    free(text);
}

Test(orders, what_shares_a_batch_is_seen_in_no_other_order)
{
    source.observe = observe_how_a_batch_begins;
    happen(60, 4);
    free(explanation(0));
}

Test(orders, tables_that_no_event_reaches)
{
    bool reaches;
    char *text = printed(-1, &reaches);
    cr_assert_not(reaches);
    cr_assert_str_eq(text, "the events make no row of things\n");
    free(text);
    source.observe = observe_well;
    happen(1, 1);
    cr_assert(pj_orders_reaches(&orders));
}

static void derive_no_key(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    (void)entity;
    pj_row(derivation, &things)[2] = pj_text("?");
}

Test(orders, a_row_without_its_key)
{
    bool holds;
    kind.derive = derive_no_key;
    happen(1, 1);
    char *text = printed(1, &holds);
    cr_assert_not(holds);
    cr_assert_str_eq(text,
                     "a row of things has null for thing, which is of its key: Postgres would "
                     "refuse it\n");
    free(text);
}

Test(orders, stream_time_that_wakes_nobody)
{
    source.observe = observe_well;
    kind.derive = derive_late;
    happen(60, 4);
    kind.timed = true;
    cr_assert(pj_orders_agree(&orders, 100, 1));
    forgets_due = true;
    free(explanation(400));
}

Test(orders, the_values_of_an_event_are_printed)
{
    source.observe = observe_each_delivery;
    happen(1, 1);
    char *text = explanation(1000);
    cr_assert_not_null(strstr(text, "\n  t [0] event=00000000-0000-4000-8000-000000000000 "
                                    "thing=00000000-0000-4000-8000-000000000000 text=text 0 at=0\n"
                                    "  t [0] event="),
                       "%s", text);
    free(text);
}

static void fill_thing(struct pj_orders *of, size_t index, struct pj_value *v, unsigned *seed)
{
    v[F_TEXT] = pj_orders_text(of, "%zu, %d", index, rand_r(seed) % 2);
}

Test(orders, a_mixture_is_filled_by_types)
{
    source.observe = observe_well;
    cr_assert(pj_orders_mixture(&orders, 40, 1, NULL));
    cr_assert_eq(orders.count, 40);
    unsigned given = 0;
    for (size_t i = 0; i < orders.count; i++) {
        const struct pj_value *v = orders.events[i].values;
        given += v[F_TEXT].present;
        cr_assert(v[F_EVENT].present);
        cr_assert(!v[F_TEXT].present ||
                  (v[F_TEXT].text.length == 1 && *v[F_TEXT].text.data <= 'd'));
        cr_assert(i == 0 ||
                  memcmp(v[F_EVENT].uuid, orders.events[i - 1].values[F_EVENT].uuid, 16) != 0);
    }
    cr_assert(given > 20 && given < 40, "%u", given);
    cr_assert(pj_orders_agree(&orders, 200, 1));
}

Test(orders, a_mixture_that_is_corrected)
{
    source.observe = observe_well;
    cr_assert(pj_orders_mixture(&orders, 10, 2, fill_thing));
    cr_assert(pj_orders_expect(&orders, "text=0, "));
    cr_assert(pj_orders_refuse(&orders, "text=a"));
    cr_assert_not(pj_orders_expect(&orders, "text=a"));
    cr_assert_not(pj_orders_refuse(&orders, "text=0, "));
}
