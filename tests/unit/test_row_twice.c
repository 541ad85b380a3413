/* SPDX-License-Identifier: Apache-2.0 */
/* A row that follows twice: from one entity, from two, in one batch and in several; and what is one
 * key for Postgres. */
#include "base/arena.h"
#include "fold/row_key.h"
#include "projectionist/testing.h"
#include "testing/memory_store.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { F_EVENT, F_SHELF, F_RANK, F_BOOKS, FIELDS };

static const struct pj_field fields[FIELDS] = {
    [F_EVENT] = {"event", PJ_UUID},
    [F_SHELF] = {"shelf", PJ_UUID},
    [F_RANK] = {"rank", PJ_BIGINT},
    [F_BOOKS] = {"books", PJ_TEXT}, /* a letter each; a capital is the same book, told otherwise */
};

static const struct pj_column columns[] = {
    {"book", PJ_TEXT, .key = true}, {"shelf", PJ_UUID}, {"told", PJ_TEXT}};
static const struct pj_table books = {.name = "books", .columns = columns, .column_count = 3};
static const struct pj_table *const tables[] = {&books};
static const struct pj_fact_kind facts[] = {{"books", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT)}};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)error;
    struct pj_order order = {.rank = {event->values[F_RANK].integer}};
    pj_keep(observer, 0, event->values[F_SHELF].uuid, 0, NULL, &order, &event->values[F_BOOKS]);
    return 0;
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_value *said = pj_entity_fact(entity, 0, NULL)->values;
    for (size_t i = 0; i < said->text.length; i++) {
        char *book = pj_derivation_alloc(derivation, 2);
        book[0] = (char)(said->text.data[i] | 0x20);
        struct pj_value *row = pj_row(derivation, &books);
        row[0] = pj_text(book);
        row[1] = pj_uuid(pj_entity_key(entity));
        row[2].present = true;
        row[2].text.data = &said->text.data[i];
        row[2].text.length = 1;
    }
}

static const char schema[] =
    "{\"type\": \"record\", \"name\": \"Shelf\", \"fields\": ["
    "{\"name\": \"event\", \"type\": \"string\"}, {\"name\": \"shelf\", \"type\": \"string\"},"
    "{\"name\": \"rank\", \"type\": \"long\"}, {\"name\": \"books\", \"type\": \"string\"}]}";

static const struct pj_source sources[] = {{.topic = "shelves",
                                            .schema = schema,
                                            .fields = fields,
                                            .field_count = FIELDS,
                                            .observe = observe}};
static const struct pj_entity_kind entities[] = {{"shelf", facts, 1, derive}};
static const struct pj_projection library = {.name = "library",
                                             .summary = "keep books",
                                             .sources = sources,
                                             .source_count = 1,
                                             .entities = entities,
                                             .entity_count = 1,
                                             .tables = tables,
                                             .table_count = 1};
static struct pj_orders orders;

static void start(void)
{
    orders = pj_orders_of(&library);
}

static void stop(void)
{
    pj_orders_free(&orders);
}

TestSuite(row_twice, .init = start, .fini = stop);

static void holds(unsigned shelf, int64_t rank, const char *what)
{
    struct pj_value *values = pj_orders_event(&orders, 0, (int32_t)shelf);
    values[F_EVENT] = pj_orders_uuid((unsigned)orders.count);
    values[F_SHELF] = pj_orders_uuid(shelf);
    values[F_RANK] = pj_bigint(rank);
    values[F_BOOKS] = pj_text(what);
}

static void expect(bool one_batch, size_t letters, const char *rows)
{
    char *found = pj_orders_rows(&orders, one_batch);
    char *at = found;
    char shortened[256] = "";
    size_t length = 0;
    for (; (at = strstr(at, "book=")) != NULL; at++) {
        const char *shelf = strstr(at, "shelf=") + strlen("shelf=") + 35;
        length +=
            (size_t)snprintf(shortened + length, sizeof shortened - length, "%c%c ", at[5], *shelf);
    }
    free(found);
    cr_assert_str_eq(shortened, rows);
    cr_assert_eq(pj_orders_dead_letters(&orders, one_batch), letters);
}

Test(row_twice, from_one_entity_is_the_fault_of_its_record)
{
    holds(1, 1, "aab");
    expect(true, 1, "");
    expect(false, 1, "");
    holds(2, 1, "c");
    expect(true, 1, "c2 "); /* its neighbours land */
    holds(1, 2, "ab");      /* and a corrected event makes the rows; in one batch it is in time */
    expect(true, 0, "a1 b1 c2 ");
    expect(false, 1, "a1 b1 c2 ");
    cr_assert(pj_orders_agree(&orders, 300, 1));
}

Test(row_twice, with_other_contents_it_is_so_too)
{
    holds(1, 1, "aA");
    holds(1, 2, "Aba");
    expect(false, 2, "");
    holds(1, 3, "b");
    expect(false, 2, "b1 ");
    cr_assert(pj_orders_agree(&orders, 300, 1));
}

Test(row_twice, a_bad_record_leaves_the_rows_as_they_were)
{
    holds(1, 1, "ab");
    holds(1, 2, "abb");
    expect(true, 1, "a1 b1 ");
    expect(false, 1, "a1 b1 ");
    holds(1, 3, "b");
    expect(true, 0, "b1 ");
    expect(false, 1, "b1 ");
}

Test(row_twice, from_two_entities_it_stays_the_first_ones)
{
    holds(1, 1, "a");
    holds(2, 1, "ab");
    expect(true, 1, "a1 ");
    expect(false, 1, "a1 ");
    holds(1, 2, "");
    holds(2, 2, "ab");
    expect(true, 0, "a2 b2 ");
    expect(false, 1, "a2 b2 ");
}

Test(row_twice, a_row_that_moves_is_no_row_twice)
{
    holds(1, 1, "ab");
    holds(2, 1, "c");
    holds(1, 2, "a");
    holds(2, 2, "bc");
    expect(true, 0, "a1 b2 c2 ");
    expect(false, 0, "a1 b2 c2 ");
}

Test(row_twice, the_sentence_names_the_row)
{
    struct pj_arena *arena = pj_arena_new();
    const struct pj_column key[] = {{"at", PJ_TIMESTAMPTZ, .key = true},
                                    {"id", PJ_UUID, .key = true},
                                    {"name", PJ_TEXT, .key = true},
                                    {"count", PJ_INT, .key = true}};
    const struct pj_table table = {.name = "things", .columns = key, .column_count = 4};
    const struct pj_value values[] = {pj_timestamp(-1), pj_orders_uuid(7), pj_text("a"), pj_null()};
    cr_assert_str_eq(pj_row_key_name(arena, &table, values),
                     "things with at=1969-12-31T23:59:59.999999Z, "
                     "id=00000000-0000-4000-8000-000000000007, name=a, count=null");
    char text[200];
    memset(text, 'x', sizeof text);
    memcpy(text + 79, "\xc3\xa4", 2); /* is not cut in two */
    const struct pj_value longer[] = {{.present = true, .text = {text, sizeof text}}};
    const struct pj_table named = {.name = "t", .columns = &key[2], .column_count = 1};
    const char *name = pj_row_key_name(arena, &named, longer);
    cr_assert_eq(strlen(name), strlen("t with name=") + 79 + strlen("…"));
    pj_arena_free(arena);
}

static int numbers(const char *a, const char *b)
{
    static const struct pj_column key[] = {{"n", PJ_NUMERIC, .key = true}};
    static const struct pj_table table = {.name = "t", .columns = key, .column_count = 1};
    struct pj_value x = pj_text(a);
    struct pj_value y = pj_text(b);
    int compared = pj_row_key_compare(&table, &x, &y);
    cr_assert_eq(pj_row_key_compare(&table, &y, &x), -compared);
    return compared;
}

Test(row_twice, numbers_that_postgres_takes_for_one)
{
    static const char *const one[][2] = {
        {"1", "1.00"},     {"1.0", "+1"},      {"0", "-0.00"}, {"0010.50", "10.5"},
        {"1e3", "1000.0"}, {".5", "0.5"},      {"5.", "5"},    {"1E-2", ".01"},
        {"100", "1e2"},    {"0.0010", "1e-3"}, {"NaN", "NaN"},
    };
    for (size_t i = 0; i < sizeof one / sizeof one[0]; i++)
        cr_assert_eq(numbers(one[i][0], one[i][1]), 0, "%s and %s", one[i][0], one[i][1]);
    static const char *const rising[] = {"-100", "-10.5", "-10.25", "-1", "-0.1", "0",     "0.01",
                                         "0.1",  "0.11",  "1",      "2",  "10",   "100.5", "NaN"};
    for (size_t i = 0; i + 1 < sizeof rising / sizeof rising[0]; i++)
        cr_assert_lt(numbers(rising[i], rising[i + 1]), 0, "%s and %s", rising[i], rising[i + 1]);
    static const struct pj_column key[] = {{"d", PJ_DOUBLE, .key = true}};
    static const struct pj_table table = {.name = "t", .columns = key, .column_count = 1};
    const double doubles[] = {-1, -0.0, 0.0, 1, NAN, -NAN};
    for (size_t a = 0; a < 6; a++) {
        for (size_t b = 0; b < 6; b++) {
            struct pj_value x = {.present = true, .real = doubles[a]};
            struct pj_value y = {.present = true, .real = doubles[b]};
            bool same = a == b || (a + b == 3 && a > 0 && b > 0) || (a > 3 && b > 3);
            cr_assert_eq(pj_row_key_compare(&table, &x, &y) == 0, same);
        }
    }
}
