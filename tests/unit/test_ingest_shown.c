/* SPDX-License-Identifier: Apache-2.0 */
/* What event-ingest makes of the row that a table shows: who may write, and on which version. */
#include "avro/avro_schema.h"
#include "event-ingest/event.h"
#include "event-ingest/shown.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define UUID  "0f0e0d0c-0b0a-4908-8706-05040302010a"
#define TABLE "t.a=dramas,key=id:drama_id,owner=user_id,revision=revision,life=life"

static const char schema_text[] =
    "{\"type\":\"record\",\"name\":\"t.Event\",\"fields\":["
    "{\"name\":\"drama_id\",\"type\":[\"null\",\"string\"]},{\"name\":\"life\",\"type\":\"long\"},"
    "{\"name\":\"n\",\"type\":\"long\"},{\"name\":\"revision\",\"type\":\"long\"},"
    "{\"name\":\"body\",\"type\":["
    "{\"type\":\"record\",\"name\":\"Saved\",\"fields\":["
    "{\"name\":\"base_revision\",\"type\":[\"null\",\"long\"]}]},"
    "{\"type\":\"record\",\"name\":\"Deleted\",\"fields\":[]}]}]}";

static struct pj_topics *topics;
static struct pj_shown_tables *tables;
static struct pj_schema *schema;

static void set_up(void)
{
    struct pj_error error;
    cr_assert_eq(pj_topics_parse(&topics, "t", "t.b=id t.a=drama_id", &error), 0, "%s",
                 error.message);
    cr_assert_eq(pj_shown_parse(&tables, topics, TABLE, &error), 0, "%s", error.message);
    cr_assert_eq(pj_schema_parse(&schema, schema_text, &error), 0, "%s", error.message);
}

static void tear_down(void)
{
    pj_shown_free(tables);
    pj_topics_free(topics);
    pj_schema_free(schema);
}

TestSuite(shown, .init = set_up, .fini = tear_down);

/* --- the list -------------------------------------------------------------------------------- */

Test(shown, a_table_is_that_of_its_topic)
{
    const struct pj_shown_table *table = &tables->items[1];
    cr_assert_null(tables->items[0].text);
    cr_assert_str_eq(table->table, "dramas");
    cr_assert_str_eq(table->columns[0], "id");
    cr_assert_str_eq(table->members[0], "drama_id");
    cr_assert_str_eq(table->owner, "user_id");
    cr_assert_str_eq(table->life, "life");
}

static void is_refused(const char *list, const char *part)
{
    struct pj_shown_tables *refused;
    struct pj_error error;
    cr_assert_eq(pj_shown_parse(&refused, topics, list, &error), -1, "%s", list);
    cr_assert_eq(error.exit_code, PJ_EXIT_USAGE);
    cr_assert_not_null(strstr(error.message, part), "%s: %s", list, error.message);
}

Test(shown, a_list_of_tables_is_checked)
{
    is_refused("t.a", "says no table");
    is_refused("t.c=x,key=id,owner=o", "of no topic of --ingest-topics");
    is_refused(TABLE " " TABLE, "has one already");
    is_refused("t.a=,key=id,owner=o", "names no table");
    is_refused("t.a=x,owner=o", "has no key=");
    is_refused("t.a=x,key=id", "neither owner= nor revision=");
    is_refused("t.a=x,key=,owner=o", "COLUMN or COLUMN:MEMBER");
    is_refused("t.a=x,key=id:,owner=o", "COLUMN or COLUMN:MEMBER");
    is_refused("t.a=x,key=a,key=b,key=c,key=d,key=e,owner=o", "more than four columns");
    is_refused("t.a=x,key=id,owner=o,owner=p", "a column twice");
    is_refused("t.a=x,key=id,owner=", "a column twice, or none");
    is_refused("t.a=x,key=id,tenant=o", "more than key=");
    is_refused("t.a=x,key=id,,owner=o", "more than key=");
}

Test(shown, a_schema_has_what_the_list_names)
{
    struct pj_error error;
    struct pj_shown_tables *other;
    const struct pj_avro_type *record = pj_schema_root(schema);
    cr_assert_eq(pj_shown_check_schema(&tables->items[1], "t.a", record, &error), 0);
    cr_assert_eq(pj_shown_parse(&other, topics, "t.a=x,key=id,owner=o", &error), 0);
    cr_assert_eq(pj_shown_check_schema(&other->items[1], "t.a", record, &error), -1);
    cr_assert_not_null(strstr(error.message, "the schema of t.a has no id"), "%s", error.message);
    pj_shown_free(other);
}

/* --- rows ------------------------------------------------------------------------------------ */

/* The row of life 5 and revision 9, of ann. */
static const struct pj_shown row = {.is_there = true,
                                    .has_owner = true,
                                    .has_revision = true,
                                    .has_life = true,
                                    .owner = "ann",
                                    .revision = 9,
                                    .life = 5};

/* 0, or the status of the answer. */
static int judge(const struct pj_shown *shown, const char *event_text, int64_t match,
                 const char *user)
{
    struct pj_error error;
    struct pj_claim_of *claim = calloc(1, sizeof *claim);
    json_t *event = json_loads(event_text, 0, NULL);
    int status = 0;
    cr_assert_not_null(event, "%s", event_text);
    cr_assert(pj_shown_claim(&tables->items[1], pj_schema_root(schema), event,
                             match >= 0 ? &match : NULL, claim));
    cr_assert_str_eq(claim->keys[0], "d");
    bool is_good = pj_shown_judge(&tables->items[1], shown, claim, user, &status, &error) == 0;
    json_decref(event);
    pj_shown_claims_free(claim, 1);
    return is_good ? 0 : status;
}

#define EVENT(life, revision, body)                                                                \
    "{\"drama_id\":\"d\",\"life\":" #life ",\"revision\":" #revision ",\"body\":{" body "}}"
#define SAVED(life, revision, base)                                                                \
    EVENT(life, revision, "\"type\":\"Saved\",\"base_revision\":" #base)
#define DELETED(life) EVENT(life, 12, "\"type\":\"Deleted\"")

Test(shown, what_nobody_has_may_be_written)
{
    const struct pj_shown none = {0};
    cr_assert_eq(judge(&none, SAVED(7, 7, null), -1, "bob"), 0);
    cr_assert_eq(judge(&none, SAVED(7, 12, 9), -1, "bob"), 0);
    cr_assert_eq(judge(&none, DELETED(7), 3, "bob"), 0);
}

Test(shown, what_is_somebody_elses_may_not)
{
    struct pj_shown nobodys = row, uuids = row;
    nobodys.has_owner = false;
    memcpy(uuids.owner, UUID, sizeof UUID);
    cr_assert_eq(judge(&row, DELETED(5), -1, "bob"), 403);
    cr_assert_eq(judge(&row, SAVED(5, 12, 9), -1, "bob"), 403);
    cr_assert_eq(judge(&row, DELETED(5), -1, "Ann"), 403);
    cr_assert_eq(judge(&row, DELETED(5), -1, "ann"), 0);
    cr_assert_eq(judge(&row, DELETED(5), -1, NULL), 0);
    cr_assert_eq(judge(&nobodys, DELETED(5), -1, "bob"), 0);
    cr_assert_eq(judge(&uuids, DELETED(5), -1, "0F0E0D0C-0B0A-4908-8706-05040302010A"), 0);
}

Test(shown, what_was_made_on_another_revision_is_refused)
{
    struct pj_shown unversioned = row;
    unversioned.has_revision = false;
    cr_assert_eq(judge(&row, SAVED(5, 12, 8), -1, "ann"), 409);
    cr_assert_eq(judge(&row, SAVED(5, 12, 8), -1, NULL), 409);
    cr_assert_eq(judge(&row, SAVED(5, 12, 9), -1, "ann"), 0);
    /* Who has seen 10, or says so, waits until the table shows it. */
    cr_assert_eq(judge(&row, SAVED(5, 12, 10), -1, "ann"), 409);
    /* What the row shows is this very save. */
    cr_assert_eq(judge(&row, SAVED(5, 9, 8), -1, "ann"), 0);
    cr_assert_eq(judge(&unversioned, SAVED(5, 12, 8), -1, "ann"), 0);
}

Test(shown, an_expected_revision_is_for_all_kinds_of_events)
{
    cr_assert_eq(judge(&row, DELETED(5), 8, "ann"), 409);
    cr_assert_eq(judge(&row, DELETED(5), 10, "ann"), 409);
    cr_assert_eq(judge(&row, DELETED(5), 9, "ann"), 0);
}

Test(shown, a_life_is_one_at_a_time)
{
    cr_assert_eq(judge(&row, SAVED(12, 12, null), -1, "ann"), 409);
    cr_assert_eq(judge(&row, SAVED(0, 12, null), -1, NULL), 409);
    cr_assert_eq(judge(&row, SAVED(5, 5, null), -1, "ann"), 0);
    cr_assert_eq(judge(&row, DELETED(4), -1, "ann"), 409);
    cr_assert_eq(judge(&row, SAVED(4, 12, 9), -1, "ann"), 409);
    /* The table lags behind a life that began since. */
    cr_assert_eq(judge(&row, DELETED(6), -1, "ann"), 0);
    cr_assert_eq(judge(&row, SAVED(6, 12, 7), -1, "ann"), 409);
}

Test(shown, what_names_nothing_is_not_looked_up)
{
    struct pj_claim_of claim;
    json_t *event = json_loads("{\"drama_id\":null}", 0, NULL);
    cr_assert_not(pj_shown_claim(&tables->items[1], pj_schema_root(schema), event, NULL, &claim));
    json_decref(event);
}

/* --- If-Match -------------------------------------------------------------------------------- */

static int expect(const char *text, json_t **event)
{
    struct pj_error error;
    *event = json_loads(text, 0, NULL);
    return pj_event_expect(*event, pj_schema_root(schema), 9, &error);
}

static json_t *base_of(const json_t *event)
{
    return json_object_get(json_object_get(event, "body"), "base_revision");
}

Test(shown, what_is_expected_is_what_it_was_made_on)
{
    json_t *event;
    cr_assert_eq(expect(SAVED(5, 12, null), &event), 0);
    cr_assert_eq(json_integer_value(base_of(event)), 9);
    json_decref(event);
    cr_assert_eq(expect(SAVED(5, 12, 9), &event), 0);
    json_decref(event);
    cr_assert_eq(expect(SAVED(5, 12, 8), &event), -1);
    json_decref(event);
    cr_assert_eq(expect(DELETED(5), &event), 0);
    cr_assert_null(base_of(event));
    json_decref(event);
}
