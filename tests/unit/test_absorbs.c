/* SPDX-License-Identifier: Apache-2.0 */
/* Final facts: what a deleted person was, contributed and claimed, under every order of events; and
 * facts in the order of their orders. */
#include "base/arena.h"
#include "fold/facts.h"
#include "projectionist/testing.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { F_ID, F_PERSON, F_TEAM, F_AT, F_SAYS, FIELDS };
static const struct pj_field fields[FIELDS] = {
    [F_ID] = {"id", PJ_UUID, .required = true},
    [F_PERSON] = {"person", PJ_TEXT, .required = true},
    [F_TEAM] = {"team", PJ_UUID, .required = true},
    [F_AT] = {"at", PJ_BIGINT, .required = true},
    [F_SAYS] = {"says", PJ_TEXT, .required = true},
};

enum { PERSON, TEAM, ENTITIES };
enum { NAME, NOTE, GONE, PERSON_FACTS };
static const struct pj_fact_kind person_facts[PERSON_FACTS] = {
    [NAME] = {"name", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .is_name = true},
    [NOTE] = {"note", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT, PJ_UUID)},
    [GONE] = {"gone", PJ_LEAST, PJ_FACT_VALUES(PJ_BIGINT), .absorbs = true},
};
enum { MEMBER, CLOSED, TEAM_FACTS };
static const struct pj_fact_kind team_facts[TEAM_FACTS] = {
    [MEMBER] = {"member", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT)},
    [CLOSED] = {"closed", PJ_GREATEST, NULL, 0, .absorbs = true},
};

static const struct pj_column person_columns[] = {
    {"key", PJ_UUID, .key = true}, {"name", PJ_TEXT}, {"notes", PJ_TEXT}, {"gone_at", PJ_BIGINT}};
static const struct pj_table persons = {
    .name = "persons", .columns = person_columns, .column_count = 4};
static const struct pj_column team_columns[] = {
    {"key", PJ_UUID, .key = true}, {"members", PJ_BIGINT}, {"closed", PJ_BOOL}};
static const struct pj_table teams = {.name = "teams", .columns = team_columns, .column_count = 3};
static const struct pj_column desk_columns[] = {{"desk", PJ_TEXT, .key = true}, {"name", PJ_TEXT}};
static const struct pj_table desks = {
    .name = "desks", .columns = desk_columns, .column_count = 2, .claimed = "desk"};
static const struct pj_table *const tables[] = {&persons, &teams, &desks};

/* Texts "a" to "d": "d" closes the team, "c" ends the person, the others are notes. */
static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)error;
    const struct pj_value *v = event->values;
    struct pj_order order = {.rank = {v[F_AT].integer}};
    memcpy(order.tie, v[F_ID].uuid, 16);
    const struct pj_value note[] = {v[F_SAYS], v[F_TEAM]};
    if (pj_text_is(&v[F_SAYS], "d"))
        pj_keep(observer, TEAM, v[F_TEAM].uuid, CLOSED, NULL, &order, NULL);
    else if (pj_text_is(&v[F_SAYS], "c"))
        pj_keep_named(observer, PERSON, &v[F_PERSON], GONE, NULL, &order, &v[F_AT]);
    else
        pj_keep_named(observer, PERSON, &v[F_PERSON], NOTE, v[F_ID].uuid, &order, note);
    return 0;
}

static void derive_person(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *gone = pj_entity_fact(entity, GONE, NULL);
    size_t count;
    const struct pj_fact *notes = pj_entity_facts_by_order(derivation, entity, NOTE, &count);
    struct pj_value *row = pj_row(derivation, &persons);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[1] = gone == NULL ? *pj_entity_name(entity) : pj_null();
    row[3] = gone != NULL ? gone->values[0] : pj_null();
    if (gone != NULL) {
        cr_assert(entity->count == 1 && pj_entity_name(entity) == NULL, "something is left");
        return;
    }
    char *said = pj_derivation_alloc(derivation, count + 1);
    for (size_t i = 0; i < count; i++) {
        said[i] = notes[i].values[0].text.data[0];
        pj_contribute(derivation, TEAM, notes[i].values[1].uuid, MEMBER, pj_entity_key(entity),
                      &row[1]);
    }
    row[2] = pj_text(said);
    struct pj_value *desk = pj_claim(derivation, &desks, &notes[count - 1].order);
    desk[0] = notes[count - 1].values[0];
    desk[1] = row[1];
}

static void derive_team(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    (void)pj_entity_facts(entity, MEMBER, &count);
    struct pj_value *row = pj_row(derivation, &teams);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[1] = pj_bigint((int64_t)count);
    row[2] = pj_bool(pj_entity_fact(entity, CLOSED, NULL) != NULL);
    cr_assert(!row[2].boolean || entity->count == 1, "something is left");
}

static const char schema[] =
    "{\"type\":\"record\",\"name\":\"Said\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"string\"},{\"name\":\"person\",\"type\":\"string\"},"
    "{\"name\":\"team\",\"type\":\"string\"},{\"name\":\"at\",\"type\":\"long\"},"
    "{\"name\":\"says\",\"type\":\"string\"}]}";
static const struct pj_source sources[] = {{.topic = "said",
                                            .schema = schema,
                                            .fields = fields,
                                            .field_count = FIELDS,
                                            .observe = observe}};
static const struct pj_entity_kind entities[ENTITIES] = {
    [PERSON] = {"person", person_facts, PERSON_FACTS, derive_person},
    [TEAM] = {"team", team_facts, TEAM_FACTS, derive_team},
};
static const struct pj_projection office = {.name = "office",
                                            .summary = "keep persons",
                                            .sources = sources,
                                            .source_count = 1,
                                            .entities = entities,
                                            .entity_count = ENTITIES,
                                            .tables = tables,
                                            .table_count = 3};
static struct pj_orders orders;
static unsigned said_count;

static void start(void)
{
    orders = pj_orders_of(&office);
    said_count = 0;
}

static void stop(void)
{
    pj_orders_free(&orders);
}

TestSuite(absorbs, .init = start, .fini = stop);

static void says(const char *person, unsigned team, int64_t at, const char *text)
{
    struct pj_value *v = pj_orders_event(&orders, 0, (int32_t)(said_count % 3));
    v[F_ID] = pj_orders_uuid(++said_count);
    v[F_PERSON] = pj_text(person);
    v[F_TEAM] = pj_orders_uuid(team);
    v[F_AT] = pj_bigint(at);
    v[F_SAYS] = pj_text(text);
}

Test(absorbs, facts_come_by_their_order)
{
    says("ann", 1, 3, "a");
    says("ann", 1, 1, "b");
    says("ann", 1, 2, "a");
    says("ann", 1, 3, "b");
    cr_assert(pj_orders_expect(&orders, "|name=ann|notes=baab|gone_at=null"));
}

Test(absorbs, nothing_is_left_of_one_who_is_gone_and_nothing_comes_again)
{
    says("ann", 1, 5, "a");
    says("bob", 1, 1, "a");
    says("ann", 1, 2, "c");
    cr_assert(pj_orders_expect(&orders, "|name=null|notes=null|gone_at=2"));
    cr_assert(pj_orders_expect(&orders, "|members=1|closed=false"));
    cr_assert(pj_orders_expect(&orders, "desks|desk=a|name=bob"));
    says("ann", 2, 9, "b");
    cr_assert(pj_orders_refuse(&orders, "ann"));
    cr_assert(pj_orders_agree(&orders, 200, 1));
    says("ann", 1, 1, "c"); /* of two final ones the least stays, as declared */
    cr_assert(pj_orders_expect(&orders, "|gone_at=1"));
}

Test(absorbs, what_others_contribute_is_dropped_too)
{
    says("ann", 1, 1, "a");
    says("bob", 1, 4, "d");
    says("bob", 1, 9, "a");
    cr_assert(pj_orders_expect(&orders, "|members=0|closed=true"));
    says("ann", 1, 2, "c");
    cr_assert(pj_orders_expect(&orders, "|members=0|closed=true"));
}

/* Twelve persons, of whom some go, and some teams too. */
static void fill(struct pj_orders *of, size_t source, struct pj_value *values, unsigned *seed)
{
    int what = rand_r(seed) % 16;
    (void)source;
    values[F_PERSON] = pj_orders_text(of, "%c", 'a' + rand_r(seed) % 12);
    values[F_SAYS] = pj_text(what == 0 ? "d" : what < 3 ? "c" : what % 2 == 0 ? "a" : "b");
}

Test(absorbs, a_mixture_agrees_in_every_order)
{
    cr_assert(pj_orders_mixture(&orders, 60, 5, fill));
    cr_assert(pj_orders_agree(&orders, 1000, 42));
}
