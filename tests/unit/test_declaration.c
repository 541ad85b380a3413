/* SPDX-License-Identifier: Apache-2.0 */
/* Mistakes in a declaration: each in one that is right otherwise. */
#include "engine/projection_check.h"
#include "engine/system_check.h"
#include "fold/claims.h"
#include "projections/systems.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { ID, TEXT, AT, FIELDS };
static struct pj_field fields[FIELDS];
static const struct pj_field right_fields[FIELDS] = {
    [ID] = {"id", PJ_UUID}, [TEXT] = {"text", PJ_TEXT}, [AT] = {"at", PJ_TIMESTAMPTZ}};

static const char schema[] =
    "{\"type\": \"record\", \"name\": \"Thing\", \"fields\": ["
    "{\"name\": \"id\", \"type\": \"string\"},"
    "{\"name\": \"text\", \"type\": [\"null\", \"string\"], \"default\": null},"
    "{\"name\": \"at\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}},"
    "{\"name\": \"cost\", \"type\": {\"type\": \"bytes\", \"logicalType\": \"decimal\","
    " \"precision\": 9, \"scale\": 2}, \"default\": \"\"}]}";

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)event;
    (void)observer;
    (void)error;
    return 0;
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    (void)entity;
    (void)derivation;
}

static void count(const struct pj_entity *before, const struct pj_entity *after, size_t news,
                  struct pj_tally *tally)
{
    (void)before;
    (void)after;
    (void)news;
    (void)tally;
}

/* What the tests spoil; made anew for each. */
static struct pj_source source;
static struct pj_source sources[2];
static struct pj_column columns[4];
static struct pj_column place_columns[2];
static struct pj_column daily_columns[3];
static struct pj_table whole, part, daily;
static const struct pj_table *tables[3];
static struct pj_fact_kind facts[2];
static const struct pj_fact_kind right_facts[2] = {
    {"seen", PJ_LEAST, PJ_FACT_VALUES(PJ_TEXT)},
    {"left", PJ_GREATEST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
};
static struct pj_entity_kind entities[2];
static struct pj_setting settings[PJ_SETTINGS_MOST + 2];
static struct pj_counter counters[PJ_COUNTERS_MOST + 2];
static struct pj_projection projection;

static void start(void)
{
    memcpy(fields, right_fields, sizeof fields);
    source = (struct pj_source){.topic = "t",
                                .schema = schema,
                                .fields = fields,
                                .field_count = FIELDS,
                                .event_time = AT,
                                .observe = observe};
    columns[0] = (struct pj_column){"id", PJ_UUID, .key = true};
    columns[1] = (struct pj_column){"name", PJ_TEXT};
    columns[2] = (struct pj_column){"place", PJ_TEXT, .elsewhere = true};
    columns[3] = (struct pj_column){"guess", PJ_BOOL};
    place_columns[0] = columns[0];
    place_columns[1] = (struct pj_column){"place", PJ_TEXT};
    daily_columns[0] = (struct pj_column){"day", PJ_TIMESTAMPTZ, .key = true};
    daily_columns[1] = (struct pj_column){"things", PJ_BIGINT, .measure = PJ_SUM};
    daily_columns[2] = (struct pj_column){"first_at", PJ_TIMESTAMPTZ, .measure = PJ_MIN};
    whole = (struct pj_table){
        .name = "things", .columns = columns, .column_count = 4, .placeholder = 3};
    part = (struct pj_table){
        .name = "things", .columns = place_columns, .column_count = 2, .part_of = &whole};
    daily = (struct pj_table){.name = "things_daily",
                              .kind = PJ_ROLLUP_TABLE,
                              .columns = daily_columns,
                              .column_count = 3,
                              .refresh = "refresh_things_daily"};
    tables[0] = &whole;
    tables[1] = &part;
    tables[2] = &daily;
    facts[0] = right_facts[0];
    facts[1] = right_facts[1];
    entities[0] = (struct pj_entity_kind){"thing", facts, 2, derive};
    entities[1] = (struct pj_entity_kind){"place", facts, 1, derive};
    memset(settings, 0, sizeof settings);
    memset(counters, 0, sizeof counters);
    counters[0] = (struct pj_counter){"odd_things", "Things that are odd."};
    settings[0] = (struct pj_setting){"thing-timeout", "5m", "When a thing is late."};
    projection = (struct pj_projection){.name = "thing-keeper",
                                        .summary = "keep things",
                                        .sources = &source,
                                        .source_count = 1,
                                        .entities = entities,
                                        .entity_count = 2,
                                        .tables = tables,
                                        .table_count = 3,
                                        .settings = settings};
}

TestSuite(declaration, .init = start);

static void refuse(const char *what)
{
    struct pj_error error = {0};
    cr_assert_eq(pj_projection_check(&projection, &error), -1, "it is taken");
    cr_expect_eq(error.class, PJ_FATAL);
    cr_expect_eq(error.exit_code, PJ_EXIT_DECLARATION);
    cr_assert_not_null(strstr(error.message, what), "%s\nis not in\n%s", what, error.message);
}

static void take(void)
{
    struct pj_error error = {0};
    cr_assert_eq(pj_projection_check(&projection, &error), 0, "%s", error.message);
}

Test(declaration, all_that_there_are)
{
    for (size_t s = 0; pj_systems[s] != NULL; s++) {
        struct pj_error error = {0};
        cr_assert_eq(pj_system_check(pj_systems[s], &error), 0, "%s", error.message);
        for (size_t i = 0; i < pj_systems[s]->projection_count; i++) {
            projection = *pj_systems[s]->projections[i];
            take();
        }
    }
    start();
    take();
}

Test(declaration, claimed_tables)
{
    whole.claimed = "claimed_thing";
    take();
    struct pj_projection expanded = *pj_claims_expand(&projection);
    cr_assert_eq(expanded.entity_count, 3);
    cr_assert_str_eq(expanded.entities[2].name, "claimed_thing");
    cr_assert_eq(pj_claims_expand(&projection), pj_claims_expand(&projection));
    const struct pj_projection *again = pj_claims_expand(pj_claims_expand(&projection));
    cr_assert_eq(again->entity_count, 3);
    projection = expanded;
    take();
    start();
    daily.claimed = "day";
    refuse("things_daily is `claimed`, which only an entity table can be");
    start();
    whole.claimed = "place";
    refuse("the `claimed` of things is 'place'");
    whole.claimed = "A Thing";
    refuse("lower-case letters, digits and underscores");
    whole.claimed = "a_name_with_which_the_table_of_its_states_is_longer_than_can_be";
    refuse("shorten the `claimed` of things");
}

static bool has_projection(const char *name)
{
    for (size_t s = 0; pj_systems[s] != NULL; s++) {
        for (size_t i = 0; i < pj_systems[s]->projection_count; i++) {
            if (strcmp(pj_systems[s]->projections[i]->name, name) == 0)
                return true;
        }
    }
    return false;
}

Test(declaration, each_consumer_is_of_a_system)
{
    static const char *const consumers[] = {PJ_CONSUMERS};
    for (size_t c = 0; c < sizeof consumers / sizeof consumers[0]; c++)
        cr_assert(
            has_projection(consumers[c]),
            "%s is in CMakeLists.txt, but its projection is in no system, or has another name",
            consumers[c]);
}

static void derive_fact(const struct pj_entity *entity, const struct pj_fact *fact,
                        struct pj_derivation *derivation)
{
    (void)entity;
    (void)fact;
    (void)derivation;
}

Test(declaration, wide_facts)
{
    facts[1].wide = true;
    facts[1].derive = derive_fact;
    facts[0].shown = true;
    take();
    facts[1].shown = true;
    refuse("the fact kind \"left\" of thing is `wide`, which a name, a final fact");
    facts[1].shown = false;
    entities[1].name = "thing_wide";
    refuse("the entity kind thing_wide of thing-keeper has the name of the wide facts of another");
    entities[1].name = "place";
    whole.claimed = "thing_wide";
    refuse("the `claimed` of things is 'thing_wide'");
    start();
    facts[1].derive = derive_fact;
    refuse("the fact kind \"left\" of thing has a derive of its own, and is not `wide`");
    start();
    facts[1].wide = true;
    entities[0].depth_most = 3;
    refuse("one of a kind with depth_most");
    entities[0].depth_most = 0;
    entities[0].name = "thing_whose_name_is_long_as_long_as_can";
    take();
    entities[0].name = "thing_whose_name_is_long_as_long_as_can_be";
    refuse("_wide is longer than the 63 bytes");
}

Test(declaration, a_height)
{
    facts[1].height = true;
    facts[1].types = &(const enum pj_type){PJ_BIGINT};
    refuse("is a `height`, which is of a kind with depth_most");
    entities[0].depth_most = 3;
    take();
    facts[1].recursive = true;
    refuse("is not recursive, and has a PJ_BIGINT first");
    facts[1].recursive = false;
    facts[1].types = &(const enum pj_type){PJ_TEXT};
    refuse("is not recursive, and has a PJ_BIGINT first");
}

Test(declaration, a_name)
{
    projection.name = "thing_keeper";
    refuse("'thing_keeper', and must be lower-case letters, digits and dashes");
    projection.name = NULL;
    refuse("name is ''");
    projection.name = "7th";
    refuse("'7th'");
    projection.name = "keeper-of-things-that-have-the-longest-of-all-the-names";
    refuse("longer than the 63 bytes");
}

Test(declaration, a_source)
{
    source.event_time = TEXT;
    refuse("the event_time of the source t is not one of its PJ_TIMESTAMPTZ fields");
    source.event_time = FIELDS;
    refuse("event_time");
    source.event_time = 0;
    take();
    source.observe = NULL;
    refuse("the source of t has no observe function");
    source.observe = observe;
    source.schema = NULL;
    refuse("the source of t has no schema");
    source.schema = "{";
    refuse("the source t: ");
    source.schema = schema;
    source.topic = "a topic";
    refuse("\"a topic\" is not a valid Kafka topic name");
    source.topic = "t";
    sources[0] = sources[1] = source;
    projection.sources = sources;
    projection.source_count = 2;
    refuse("two sources of thing-keeper are of the topic t");
    projection.sources = NULL;
    refuse("thing-keeper has 0 sources");
    projection.sources = &source;
    projection.source_count = 0;
    refuse("thing-keeper has 0 sources");
}

Test(declaration, a_field)
{
    fields[TEXT].type = PJ_BIGINT;
    refuse("the field text is declared as PJ_BIGINT, but is of the type string in the schema of t");
    fields[TEXT].type = PJ_COUNTS;
    refuse("the field text of the source t is of PJ_COUNTS");
    fields[TEXT].type = PJ_TEXT;
    fields[TEXT].path = "txt";
    refuse("the schema of t has no field txt");
    fields[TEXT].path = NULL;
    refuse("field 1 of the source t has no path");
    fields[TEXT] = right_fields[TEXT];
    fields[ID].most_chars = 36;
    refuse("the field id of the source t has most_chars, which a PJ_UUID cannot have");
    start();
    fields[ID].least = "1";
    refuse("the field id of the source t has least, which a PJ_UUID cannot have");
    start();
    fields[ID].rounded = true;
    refuse("the field id of the source t has rounded, which a PJ_UUID cannot have");
    start();
    fields[ID].empty_is_null = true;
    refuse("the field id of the source t has empty_is_null, which a PJ_UUID cannot have");
    start();
    fields[TEXT].type = PJ_NUMERIC;
    fields[TEXT].rounded = true;
    refuse("the field text of the source t is rounded to nothing");
    start();
    fields[TEXT].required = fields[TEXT].empty_is_null = true;
    refuse("the field text of the source t is required and has empty_is_null");
}

Test(declaration, an_entity_kind)
{
    entities[1].name = "Place";
    refuse("the name of entity kind 1 of thing-keeper is \"Place\"");
    entities[1].name = "place";
    entities[1].fact_count = 0;
    refuse("the entity kind place of thing-keeper has 0 fact kinds");
    entities[1].fact_count = 1;

    entities[1].derive = NULL;
    refuse("entity kind 1 of thing-keeper has no derive");
    entities[1] = (struct pj_entity_kind){0};
    refuse("entity kind 1 of thing-keeper has no name");
    entities[1] = entities[0];
    refuse("two entity kinds of thing-keeper have the name thing");
}

Test(declaration, a_fact_kind)
{
    facts[1].value_count = PJ_FACT_VALUES_MOST + 1;
    refuse("\"left\" has 17 values, and 16 is the most");
    facts[1].value_count = 1;
    facts[1].types = NULL;
    refuse("\"left\" of thing lacks the types of its 1 values");
    facts[1].types = (const enum pj_type[]){(enum pj_type)77};
    refuse("value 0 of the fact kind \"left\"");
    facts[1].value_count = 0;
    facts[1].keep = (enum pj_keep_rule)7;
    refuse("keeps by the unknown rule 7");
    facts[1].keep = PJ_LEAST;
    facts[1].name = "seen";
    refuse("two fact kinds of the entity kind thing have the name seen");
    facts[1].name = NULL;
    refuse("fact kind 1 of the entity kind thing is not declared");
}

Test(declaration, a_key)
{
    columns[0].key = false;
    refuse("the first column of things, id, is not of its key");
    columns[0].key = true;
    columns[3].key = true;
    refuse("the key column guess of things comes after place");
    columns[3].key = false;
    columns[0].elsewhere = true;
    refuse("the column id of things is both a key column and marked `elsewhere`");
    columns[0].elsewhere = false;
    columns[0].type = PJ_JSONB;
    refuse("the key column id of things is a PJ_JSONB");
}

Test(declaration, columns)
{
    columns[3].name = "name";
    refuse("two columns of things have the name name");
    columns[3].name = "";
    refuse("the name of a column of things is \"\"");
    columns[3].name = "gue\"ss";
    refuse("has no quotes");
    columns[3].name = "a_column_whose_name_is_one_byte_longer_than_all_that_postgres_keeps";
    refuse("is longer than the 63 bytes that Postgres keeps of one");
    columns[3].name = "guess";
    columns[3].type = (enum pj_type)11;
    refuse("the column guess of things is of an unknown type");
    columns[3].name = NULL;
    refuse("column 3 of things is not declared");
    whole.column_count = 65;
    refuse("things has 65 columns");
}

Test(declaration, a_measure)
{
    daily_columns[1].measure = PJ_NOT_A_MEASURE;
    refuse("the column things of the rollup things_daily is neither a key nor has a measure");
    daily_columns[1].measure = PJ_SUM;
    daily_columns[1].type = PJ_INT;
    refuse("the column things of things_daily is a PJ_SUM");
    daily_columns[1].type = PJ_COUNTS;
    take();
    daily_columns[1].measure = PJ_MAX;
    refuse("the column things of things_daily is PJ_COUNTS but not a PJ_SUM");
    start();
    columns[1].sql_type = "inet; DROP TABLE things";
    refuse("which is not the name of a type");
    columns[1].sql_type = "inet";
    columns[1].type = PJ_BIGINT;
    refuse("the column name of things has a sql_type, so it must be a PJ_TEXT");
    start();
    daily_columns[1].measure = PJ_SUM;
    daily_columns[0].measure = PJ_MIN;
    refuse("the column day of things_daily has a measure");
    daily_columns[0].measure = PJ_NOT_A_MEASURE;
    columns[1].measure = PJ_MAX;
    refuse("the column name of things has a measure");
}

Test(declaration, what_belongs_to_one_kind_of_table)
{
    whole.refresh = "refresh_things";
    refuse("things is not a rollup");
    whole.refresh = NULL;
    whole.placeholder = 1;
    refuse("the placeholder of things is not a PJ_BOOL");
}

Test(declaration, parents)
{
    static struct pj_column of_columns[4];
    static struct pj_table of;
    static struct pj_parent parents[2];
    static const struct pj_table *children[2];
    of_columns[0] = (struct pj_column){"shelf", PJ_TEXT, .key = true};
    of_columns[1] = (struct pj_column){"made_at", PJ_TIMESTAMPTZ};
    of_columns[2] = (struct pj_column){"guess", PJ_BOOL};
    of = (struct pj_table){.name = "shelves",
                           .columns = of_columns,
                           .column_count = 3,
                           .placeholder = 2,
                           .first_seen = 1};
    parents[0] = (struct pj_parent){&of, {1}, 1};
    whole.parents = parents;
    refuse("shelves is a parent of things, which its children do not list");
    of.children = children;
    refuse("shelves is a parent of things, which its children do not list");
    children[0] = &whole;
    parents[0].columns[0] = 99;
    refuse("things refers to the shelf of its parent shelves by the column of index 99");
    parents[0].columns[0] = 0;
    refuse(
        "things refers to the shelf of its parent shelves by the column of index 0, which is not a "
        "PJ_TEXT");
    parents[0].columns[0] = 1;
    refuse("the seen_at of the parent shelves of things (index 1) is not a PJ_TIMESTAMPTZ");
    of.first_seen = 0;
    take();
    of_columns[0].key = false;
    refuse("the key of shelves, a parent of things, has 0 columns");
    whole.parents = NULL;
    daily.parents = parents;
    refuse("things_daily is a rollup");
}

Test(declaration, children)
{
    static struct pj_parent parents[2];
    static const struct pj_table *children[2];
    whole.children = children;
    take();
    children[0] = &daily;
    refuse("things lists the child things_daily, which does not name it as a parent");
    children[0] = &whole;
    parents[0] = (struct pj_parent){&whole, {0}, 0};
    whole.parents = parents;
    take();
    children[0] = NULL;
    whole.parents = NULL;
    whole.first_seen = 1;
    refuse("the first_seen of things is not a PJ_TIMESTAMPTZ");
    whole.first_seen = 0;
    whole.placeholder = 0;
    refuse("things has children, so it must be an entity table with a column that is its "
           "`placeholder`");
}

static struct pj_column many[65];
static char names[65][16];

static void make_wide(bool keys)
{
    for (size_t c = 0; c < 65; c++) {
        snprintf(names[c], sizeof names[c], "c%zu", c);
        many[c] = (struct pj_column){names[c], PJ_TEXT, .key = keys || c == 0};
    }
    daily = (struct pj_table){.name = "wide", .columns = many, .column_count = 64};
}

Test(declaration, the_widest_table)
{
    make_wide(false);
    take();
    make_wide(true);
    refuse("wide has more than 32 key columns");
}

Test(declaration, a_part)
{
    part.kind = PJ_ROLLUP_TABLE;
    refuse("place of the rollup things is neither a key nor has a measure");
    place_columns[1].measure = PJ_MAX;
    refuse("things is a part of things, and one of the two is not an entity table");
    place_columns[1].measure = PJ_NOT_A_MEASURE;
    part.kind = PJ_ENTITY_TABLE;
    part.name = "places";
    refuse("a part of the table things has the name places");
    part.name = "things";
    place_columns[1].key = true;
    refuse("a part of things does not have the same key as its whole");
    place_columns[1].key = false;
    tables[1] = &daily;
    projection.table_count = 2;
    refuse("the column place of things is marked `elsewhere`, and none of the tables");
    tables[1] = &part;
    projection.table_count = 3;
    columns[2].elsewhere = false;
    refuse("the column place of a part of things is not in its whole");
    columns[2].elsewhere = true;
    place_columns[1].type = PJ_UUID;
    refuse("the column place of a part of things");
    tables[0] = &daily;
    projection.table_count = 2;
    refuse("a part of things is among the tables of thing-keeper, but its whole is not");
}

Test(declaration, tables)
{
    tables[2] = &whole;
    refuse("things is twice among the tables of thing-keeper");
    tables[2] = &daily;
    daily.name = "things";
    refuse("two tables of thing-keeper have the name things");
    daily.schema = "other";
    take();
    daily.schema = "";
    refuse("the name of the schema of things is \"\"");
    daily.schema = NULL;
    daily.name = "things_daily";
    daily.kind = (enum pj_table_kind)3;
    refuse("things_daily is of an unknown kind");
    daily.kind = PJ_ROLLUP_TABLE;
    daily.refresh = "refresh(things)";
    refuse("the `refresh` of things_daily is \"refresh(things)\"");
    projection.entity_count = 0;
    refuse("the rows of things come from derive, and thing-keeper has no entity kinds");
    tables[2] = NULL;
    projection.entity_count = 2;
    refuse("table 2 of thing-keeper is not declared");
    projection.table_count = 0;
    refuse("thing-keeper has 0 tables");
}

Test(declaration, settings)
{
    settings[0].fallback = "soon";
    refuse("the fallback of a setting of thing-keeper is wrong: thing-timeout: 'soon' is not a "
           "duration");
    settings[0].fallback = NULL;
    refuse("the setting thing-timeout of thing-keeper lacks its fallback");
    settings[0].fallback = "5m";
    settings[0].type = (enum pj_setting_type)9;
    refuse("the setting thing-timeout of thing-keeper is of an unknown type");
    settings[0].type = PJ_SETTING_DURATION;
    settings[0].most = 1;
    refuse("the setting thing-timeout of thing-keeper has bounds, which only an integer");
    settings[0].most = 0;
    settings[0].words = "a|b";
    refuse("the setting thing-timeout of thing-keeper has words, which only a text");
    settings[0].type = PJ_SETTING_TEXT;
    refuse("thing-timeout: must be one of a, b, not '5m'");
    settings[0] = (struct pj_setting){"thing-most", "5", "Many.", PJ_SETTING_INTEGER, 6, 7, NULL};
    refuse("thing-most: must be between 6 and 7, not 5");
    settings[0].least = 8;
    refuse("the setting thing-most of thing-keeper has bounds between which nothing lies");
    settings[0] = (struct pj_setting){"thing-timeout", "5m", "When a thing is late."};
    settings[1] = settings[0];
    refuse("the name of the setting thing-timeout of thing-keeper is taken");
    settings[1].name = "batch-records";
    refuse("the name of the setting batch-records");
    settings[1].name = "Late";
    refuse("a setting of thing-keeper has the name \"Late\"");
    for (size_t i = 0; i <= PJ_SETTINGS_MOST; i++)
        settings[i] = settings[0];
    refuse("thing-keeper has more than 8 settings");
}

Test(declaration, counters)
{
    static const char *const kinds[] = {"late", "early", NULL};
    static const char *const same[] = {"late", "late", NULL};
    static const char *many_words[PJ_COUNTER_WORDS_MOST + 2];
    static char words[PJ_COUNTER_WORDS_MOST + 1][8];
    projection.counters = counters;
    refuse("thing-keeper has counters, and no entity kind with a count function");
    entities[1].count = count;
    take();
    projection.counters = NULL;
    refuse("thing-keeper has an entity kind with a count function, and no counters");
    projection.counters = counters;
    counters[0].name = "odd-things";
    refuse("a counter of thing-keeper has the name \"odd-things\"");
    counters[0].name = "odd_things";
    counters[0].help = NULL;
    refuse("the counter odd_things of thing-keeper lacks its help");
    counters[0].help = "Things that are odd.";
    counters[0].label = "kind";
    refuse("the counter odd_things of thing-keeper has a label and no words");
    counters[0].words = kinds;
    take();
    counters[0].label = NULL;
    refuse("the counter odd_things of thing-keeper has words and no label");
    counters[0].label = "consumer";
    refuse("the label of the counter odd_things of thing-keeper is \"consumer\"");
    counters[0].label = "kind";
    counters[0].words = same;
    refuse("the counter odd_things of thing-keeper has the word \"late\" twice");
    counters[0].words = many_words;
    for (size_t i = 0; i <= PJ_COUNTER_WORDS_MOST; i++) {
        snprintf(words[i], sizeof words[i], "w%zu", i);
        many_words[i] = words[i];
    }
    refuse("the counter odd_things of thing-keeper has more than 16 words");
    counters[0].words = kinds;
    counters[1] = counters[0];
    refuse("two counters of thing-keeper have the name odd_things");
    static char many_names[PJ_COUNTERS_MOST + 1][8];
    for (size_t i = 0; i <= PJ_COUNTERS_MOST; i++) {
        snprintf(many_names[i], sizeof many_names[i], "c%zu", i);
        counters[i] = (struct pj_counter){many_names[i], "Counted."};
    }
    refuse("thing-keeper has more than 8 counters");
}
