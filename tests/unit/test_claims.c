/* SPDX-License-Identifier: Apache-2.0 */
/* Claims by entities of two kinds, on rows of as many columns as there can be, with a part that
 * another kind derives; and what one entity contributes twice in one place. */
#include "base/arena.h"
#include "projectionist/testing.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { F_EVENT, F_KIND, F_WHO, F_RANK, F_SEAT, FIELDS };
enum { GUEST, STAFF, SEAT_NOTE };

static const struct pj_field fields[FIELDS] = {
    [F_EVENT] = {"event", PJ_UUID}, [F_KIND] = {"kind", PJ_BIGINT}, [F_WHO] = {"who", PJ_UUID},
    [F_RANK] = {"rank", PJ_BIGINT}, [F_SEAT] = {"seat", PJ_DOUBLE},
};

enum { S_SEAT, S_ROW, S_WHO, S_NOTE, S_MORE, S_COLUMNS = PJ_COLUMNS_MOST };
static struct pj_column seat_columns[S_COLUMNS];
static const struct pj_table seats = {
    .name = "seats", .columns = seat_columns, .column_count = S_COLUMNS, .claimed = "seat"};
static const struct pj_column note_columns[] = {
    {"seat", PJ_DOUBLE, .key = true}, {"row", PJ_NUMERIC, .key = true}, {"note", PJ_BIGINT}};
static const struct pj_table notes = {
    .name = "seats", .columns = note_columns, .column_count = 3, .part_of = &seats};
static const struct pj_table *const tables[] = {&seats, &notes};

static const struct pj_fact_kind seat_facts[] = {{"sits", PJ_GREATEST, PJ_FACT_VALUES(PJ_DOUBLE)}};
static const struct pj_fact_kind note_facts[] = {
    {"note", PJ_GREATEST, PJ_FACT_VALUES(PJ_DOUBLE, PJ_BIGINT)}};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)error;
    const struct pj_value *v = event->values;
    struct pj_order order = {.rank = {v[F_RANK].integer}};
    pj_keep(observer, (size_t)v[F_KIND].integer, v[F_WHO].uuid, 0, NULL, &order, &v[F_SEAT]);
    return 0;
}

static void sit(const struct pj_entity *entity, struct pj_derivation *derivation, bool staff)
{
    const struct pj_fact *sits = pj_entity_fact(entity, 0, NULL);
    if (!sits->values[0].present)
        return;
    struct pj_order order = {.rank = {staff, sits->order.rank[0]}};
    struct pj_value *row = pj_claim(derivation, &seats, &order);
    row[S_SEAT] = sits->values[0];
    row[S_ROW] = pj_text("1.0");
    row[S_WHO] = pj_uuid(pj_entity_key(entity));
    for (size_t c = S_MORE; c < S_COLUMNS; c++)
        row[c] = pj_bigint((int64_t)c + sits->order.rank[0]);
    /* What is contributed last in one place is what is contributed there. */
    uint8_t self[16];
    memcpy(self, pj_entity_key(entity), 16);
    self[0] = staff; /* a guest may have the same id */
    const uint8_t key[16] = {(uint8_t)(int)fabs(sits->values[0].real)};
    struct pj_value note[] = {pj_double(fabs(sits->values[0].real)), pj_bigint(0)};
    pj_contribute(derivation, SEAT_NOTE, key, 0, self, note);
    note[1] = pj_bigint(sits->order.rank[0]);
    pj_contribute(derivation, SEAT_NOTE, key, 0, self, note);
}

static void derive_guest(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    sit(entity, derivation, false);
}

static void derive_staff(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    sit(entity, derivation, true);
}

/* The sum of what is noted, in a part of the seat's row. */
static void derive_note(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *noted = pj_entity_facts(entity, 0, &count);
    struct pj_value *row = pj_row(derivation, &notes);
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += noted[i].values[1].integer;
    row[0] = noted[0].values[0];
    row[1] = pj_text("1.00");
    row[2] = pj_bigint(sum);
}

static const char schema[] =
    "{\"type\":\"record\",\"name\":\"Seat\",\"fields\":["
    "{\"name\":\"event\",\"type\":\"string\"},{\"name\":\"kind\",\"type\":\"long\"},"
    "{\"name\":\"who\",\"type\":\"string\"},{\"name\":\"rank\",\"type\":\"long\"},"
    "{\"name\":\"seat\",\"type\":\"double\"}]}";
static const struct pj_source sources[] = {{.topic = "seats",
                                            .schema = schema,
                                            .fields = fields,
                                            .field_count = FIELDS,
                                            .observe = observe}};
static const struct pj_entity_kind entities[] = {{"guest", seat_facts, 1, derive_guest},
                                                 {"staff", seat_facts, 1, derive_staff},
                                                 {"note", note_facts, 1, derive_note}};
static const struct pj_projection house = {.name = "house",
                                           .summary = "keep seats",
                                           .sources = sources,
                                           .source_count = 1,
                                           .entities = entities,
                                           .entity_count = 3,
                                           .tables = tables,
                                           .table_count = 2};
static char names[S_COLUMNS][8];
static struct pj_orders orders;

static void start(void)
{
    static const struct pj_column first[] = {{"seat", PJ_DOUBLE, .key = true},
                                             {"row", PJ_NUMERIC, .key = true},
                                             {"who", PJ_UUID},
                                             {"note", PJ_BIGINT, .elsewhere = true}};
    for (size_t c = 0; c < S_COLUMNS; c++) {
        snprintf(names[c], sizeof names[c], "c%zu", c);
        seat_columns[c] = c < S_MORE ? first[c] : (struct pj_column){names[c], PJ_BIGINT};
    }
    orders = pj_orders_of(&house);
}

static void stop(void)
{
    pj_orders_free(&orders);
}

TestSuite(claims, .init = start, .fini = stop);

static void sits(int kind, unsigned who, int64_t rank, double seat)
{
    struct pj_value *values = pj_orders_event(&orders, 0, (int32_t)(who % 3));
    values[F_EVENT] = pj_orders_uuid((unsigned)orders.count);
    values[F_KIND] = pj_bigint(kind);
    values[F_WHO] = pj_orders_uuid(who);
    values[F_RANK] = pj_bigint(rank);
    values[F_SEAT] = isnan(seat) ? pj_null() : pj_double(seat);
}

static void expect(double seat, unsigned who, int64_t note)
{
    char *rows = pj_orders_rows(&orders, false);
    char key[32];
    char rest[64];
    snprintf(key, sizeof key, "seat=%g|", fabs(seat));
    snprintf(rest, sizeof rest, "%012x|note=%lld|", who, (long long)note);
    char *row = strstr(rows, key);
    cr_assert(who == 0 ? row == NULL : row != NULL && strstr(row, rest) != NULL, "%s%s in %s", key,
              rest, rows);
    free(rows);
}

Test(claims, of_two_kinds_on_a_wide_row)
{
    sits(GUEST, 1, 5, 3);
    expect(3, 1, 5);
    sits(STAFF, 2, 1, 3);
    expect(3, 2, 6);
    sits(GUEST, 1, 6, NAN);
    expect(3, 2, 1);
    sits(STAFF, 2, 7, 4);
    expect(3, 0, 0);
    expect(4, 2, 7);
    cr_assert(pj_orders_agree(&orders, 300, 1));
}

/* One entity of each kind may have the same id. */
Test(claims, who_claims_is_the_kind_too)
{
    sits(GUEST, 1, 5, 3);
    sits(STAFF, 1, 1, 3);
    expect(3, 1, 6);
    sits(STAFF, 1, 2, NAN);
    expect(3, 1, 5);
    cr_assert(pj_orders_agree(&orders, 300, 1));
}

Test(claims, in_every_order)
{
    unsigned seed = 5;
    for (int64_t rank = 1; rank <= 60; rank++)
        sits(rand_r(&seed) % 2, 1 + (unsigned)rand_r(&seed) % 6, rank,
             rand_r(&seed) % 4 == 0 ? (double)NAN : (double)(1 + rand_r(&seed) % 4));
    cr_assert(pj_orders_agree(&orders, 600, 1));
}
