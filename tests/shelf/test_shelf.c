/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that several entities claim: who has them, under every order of events. */
#include "base/arena.h"
#include "lib/safari_orders.h"

#include <criterion/criterion.h>

extern const struct pj_projection pj_shelf;

static struct safari_orders s;

static void start(void)
{
    s = safari_orders_start(&pj_shelf);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(shelf, .init = start, .fini = stop);

/* A letter each: the episodes of a drama, in its partition. */
static void saved(const char *drama, int64_t version, const char *episodes)
{
    char *payload = pj_arena_alloc(s.orders.arena, 4096);
    size_t length =
        (size_t)snprintf(payload, 4096, "{\"drama\":\"%s\",\"version\":%lld,\"episodes\":[", drama,
                         (long long)version);
    for (const char *e = episodes; *e != '\0'; e++)
        length += (size_t)snprintf(payload + length, 4096 - length, "%s{\"id\":\"%c\"}",
                                   e > episodes ? "," : "", *e);
    snprintf(payload + length, 4096 - length, "]}");
    struct safari_command *values = PJ_ORDERS_EVENT(&s.orders, safari_command, 0, drama[0] - 'A');
    values->event_id = PJ_UUID(pj_orders_uuid(s.next_event++));
    values->command_id = PJ_UUID(pj_orders_uuid(1));
    values->emitted_at = PJ_TIMESTAMPTZ(pj_orders_time(version));
    values->payload = PJ_JSONB(payload);
}

static void deleted(const char *drama, const char *version)
{
    struct pj_record_header *header = pj_arena_alloc(s.orders.arena, sizeof *header);
    *header = (struct pj_record_header){"version", pj_text(version)};
    pj_orders_event(&s.orders, 0, drama[0] - 'A');
    struct pj_orders_event *event = pj_orders_last(&s.orders);
    event->tombstone = true;
    event->key = pj_text(drama);
    event->headers = header;
    event->header_count = 1;
}

/* "id drama" of each episode. */
static void expect(const char *rows)
{
    for (int one_batch = 0; one_batch < 2; one_batch++) {
        char *found = pj_orders_rows(&s.orders, one_batch != 0);
        char shortened[1024] = "";
        size_t length = 0;
        for (char *at = found; (at = strstr(at, "shelf_episodes|id=")) != NULL; at++)
            length += (size_t)snprintf(shortened + length, sizeof shortened - length, "%c%c ",
                                       at[18], *(strstr(at, "drama_id=") + 9));
        cr_assert_str_eq(shortened, rows, "%s", found);
        free(found);
    }
    cr_assert(pj_orders_agree(&s.orders, 400, 1));
}

Test(shelf, an_episode_that_moves_is_there)
{
    saved("A", 1, "e");
    saved("B", 1, "e");
    saved("A", 2, "");
    expect("eB ");
}

Test(shelf, the_greatest_claim_has_it)
{
    saved("A", 3, "ef");
    saved("B", 2, "eg");
    saved("C", 4, "e");
    expect("eC fA gB ");
}

Test(shelf, the_next_best_takes_over)
{
    saved("A", 3, "e");
    saved("B", 2, "e");
    saved("C", 1, "e");
    saved("A", 4, "");
    expect("eB ");
    saved("B", 5, "");
    expect("eC ");
    saved("C", 6, "");
    expect("");
}

Test(shelf, a_tombstone_of_a_later_version_deletes)
{
    saved("A", 2, "e");
    saved("B", 1, "e");
    deleted("A", "1");
    expect("eA ");
    deleted("A", "3");
    expect("eB ");
    deleted("B", "2");
    expect("");
}

Test(shelf, lines_of_an_order_are_rows)
{
    static const struct pj_value tag[] = {
        {.present = true, .shape = PJ_SHAPE_TEXT, .text = {"new", 3}}};
    const struct pj_value values[2][4] = {
        {pj_text("lamp"), pj_bigint(1), pj_text("9.50"), pj_items_of(tag, 1, 1)},
        {pj_text("desk"), pj_bigint(0), pj_text("5"), pj_items_of(tag, 1, 1)}};
    struct pj_value *order = pj_orders_event(&s.orders, 1, 0);
    order[0] = pj_text("o1");
    order[1] = pj_items_of(values[0], 1, 4);
    order = pj_orders_event(&s.orders, 1, 0); /* its second line breaks a rule */
    order[0] = pj_text("o2");
    order[1] = pj_items_of(values[0], 2, 4);
    cr_assert(pj_orders_expect(
        &s.orders,
        "shelf_lines|order_id=o1|place=0|item=lamp|count=1|price=9.50|tags={\"new\"}\n"));
    cr_assert(pj_orders_refuse(&s.orders, "o2"));
    cr_assert(pj_orders_agree(&s.orders, 50, 1));
}

Test(shelf, equal_orders_are_decided_by_content)
{
    saved("A", 1, "e");
    saved("B", 1, "e");
    saved("C", 1, "e");
    expect("eC ");
}

Test(shelf, a_claim_that_is_made_twice_is_a_dead_letter)
{
    saved("A", 1, "eef");
    saved("B", 1, "e");
    expect("eB ");
    cr_assert_eq(pj_orders_dead_letters(&s.orders, true), 1);
    saved("A", 2, "ef");
    expect("eA fA ");
}

Test(shelf, many_moves_in_every_order)
{
    unsigned seed = 7;
    for (int64_t version = 1; version <= 40; version++) {
        char drama[2] = {(char)('A' + rand_r(&seed) % 5), '\0'};
        char held[8] = "";
        size_t count = 0;
        for (char e = 'a'; e <= 'f'; e++) {
            if (rand_r(&seed) % 3 == 0)
                held[count++] = e;
        }
        saved(drama, version, held);
    }
    cr_assert(pj_orders_agree(&s.orders, 600, 3));
}
