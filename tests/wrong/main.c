/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consumer that is right, and a list of mistakes, of which one is made:
 *
 *     wrong-consumer MISTAKE [OPTION]...   runs the consumer with the mistake
 *     wrong-consumer --list                when<TAB>mistake<TAB>what it must say, one a line
 *
 * `when` is start (found before anything is read), run (by what the code does), or letter (no
 * mistake, but a record that nothing can hold). Built without the tests, too: what is deployed must
 * say the same as what is debugged (tests/integration/test_wrong.py).
 */
#include "projectionist/consumer.h"
#include "projectionist/typed.h"

#include <stdio.h>
#include <stdlib.h>

/* --- the consumer ---------------------------------------------------------------------------- */

enum { ID, NAME, COUNT, AT, FIELDS };
static const struct pj_field right_fields[FIELDS] = {
    [ID] = {"id", PJ_UUID, .required = true},
    [NAME] = {"name", PJ_TEXT, .most_chars = 100},
    [COUNT] = {"count", PJ_BIGINT},
    [AT] = {"at", PJ_TIMESTAMPTZ},
};
static const char schema[] =
    "{\"type\": \"record\", \"name\": \"Thing\", \"fields\": ["
    "{\"name\": \"id\", \"type\": \"string\"}, {\"name\": \"name\", \"type\": \"string\"},"
    "{\"name\": \"count\", \"type\": \"long\"},"
    "{\"name\": \"at\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}}]}";

enum { THING, PLACE, ENTITIES };
enum { SEEN, LAST, THING_FACTS };
enum { SEEN_NAME, SEEN_COUNT, SEEN_AT, SEEN_VALUES };
static const struct pj_fact_kind right_facts[] = {
    [SEEN] = {"seen", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT, PJ_INT, PJ_TIMESTAMPTZ)},
    [LAST] = {"last", PJ_LEAST, PJ_FACT_VALUES(PJ_TEXT)},
};
static const struct pj_fact_kind place_facts[] = {{"told", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT)}};

enum { T_ID, T_NAME, T_COUNT, T_PLACE, T_AT, T_COLUMNS };
static const struct pj_column right_columns[T_COLUMNS] = {
    [T_ID] = {"id", PJ_UUID, .key = true}, [T_NAME] = {"name", PJ_TEXT},
    [T_COUNT] = {"count", PJ_INT},         [T_PLACE] = {"place", PJ_TEXT, .elsewhere = true},
    [T_AT] = {"at", PJ_TIMESTAMPTZ},
};
static const struct pj_column right_part_columns[] = {{"id", PJ_UUID, .key = true},
                                                      {"place", PJ_TEXT}};
enum { D_DAY, D_THINGS, D_SIZES, D_COLUMNS };
static const struct pj_column right_daily_columns[D_COLUMNS] = {
    [D_DAY] = {"day", PJ_TIMESTAMPTZ, .key = true},
    [D_THINGS] = {"things", PJ_BIGINT, .measure = PJ_SUM},
    [D_SIZES] = {"sizes", PJ_COUNTS, .measure = PJ_SUM},
};
static const struct pj_column note_columns[] = {
    {"id", PJ_UUID, .key = true}, {"note", PJ_TEXT}, {"count", PJ_INT}, {"price", PJ_NUMERIC}};

/* What the mistakes are made in. */
static struct pj_field fields[FIELDS];
static struct pj_fact_kind facts[THING_FACTS];
static struct pj_column columns[T_COLUMNS], part_columns[2], daily_columns[D_COLUMNS];
static struct pj_column many[65];
static char names[65][8];
static struct pj_table things, place_part, things_daily, notes, unlisted, unlisted_notes;
static const struct pj_table *tables[65];
static struct pj_entity_kind entities[ENTITIES];
static struct pj_source sources[2];
static struct pj_parent parents[2];
static const struct pj_table *children[2];
static struct pj_setting settings[PJ_SETTINGS_MOST + 2];
static struct pj_counter counters[2];
static struct pj_projection projection;
static const char *mistake;

static bool makes(const char *name)
{
    return strcmp(mistake, name) == 0;
}

static void keep(const struct pj_event *event, struct pj_observer *observer)
{
    const struct pj_value *v = event->values;
    struct pj_order order = {.rank = {v[AT].integer}};
    struct pj_value seen[SEEN_VALUES] = {v[NAME], pj_bigint(1), v[AT]};
    if (makes("fact value of another type"))
        seen[SEEN_COUNT] = v[NAME];
    if (makes("fact beyond a PJ_INT"))
        seen[SEEN_COUNT] = v[COUNT];
    pj_keep(observer, makes("keep an entity that there is not") ? 7 : THING,
            makes("keep without a key") ? NULL : v[ID].uuid,
            makes("keep a fact that there is not") ? 9 : SEEN, NULL,
            makes("keep without an order") ? NULL : &order,
            makes("keep without values") ? NULL : seen);
}

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct pj_value *v = event->values;
    if (makes("refused without a reason"))
        return -1;
    if (makes("refused as fatal"))
        return pj_error_fatal(error, PJ_EXIT_FAILED, "this thing is odd");
    if (makes("array of a field without items"))
        (void)pj_observer_items(observer, &v[NAME]);
    keep(event, observer);
    struct pj_value *note =
        pj_append(observer, makes("append to a table not listed") ? &unlisted_notes
                            : makes("append to an entity table")  ? &things
                                                                  : &notes);
    note[0] = v[ID];
    note[1] = makes("appended value of another type") ? v[AT]
              : makes("text that ends in blanks")     ? pj_text("a thing ")
                                                      : v[NAME];
    note[2] = makes("appended beyond a PJ_INT") ? v[COUNT] : pj_bigint(2);
    note[3] = pj_text("12.3450");
    return 0;
}

static void derive_more(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const uint8_t *self = pj_entity_key(entity);
    struct pj_value text = pj_text("x");
    size_t count;
    if (makes("ask for a fact that there is not"))
        (void)pj_entity_fact(entity, 8, NULL);
    if (makes("ask for facts that there are not"))
        (void)pj_entity_facts(entity, 65536, &count);
    if (makes("ask for a fact of another kind"))
        (void)pj_fact_of(entity, PLACE, 0, NULL);
    if (makes("ask for facts of another kind"))
        (void)pj_facts_of(entity, PLACE, 0, &count);
    if (makes("ask for a setting that there is not"))
        (void)pj_setting_duration(derivation, 3);
    if (makes("ask for a setting of another type"))
        (void)pj_setting_text(derivation, 0);
    if (makes("ask for the stream time untimed"))
        (void)pj_stream_time(derivation);
    if (makes("be due untimed"))
        pj_due(derivation, 5);
    if (makes("contribute to its own kind"))
        pj_contribute(derivation, THING, self, LAST, NULL, &text);
    if (makes("contribute to no kind"))
        pj_contribute(derivation, 2, self, 0, NULL, &text);
    if (makes("contribute no fact"))
        pj_contribute(derivation, PLACE, self, 1, NULL, &text);
    if (makes("tell without an order"))
        pj_tell(derivation, PLACE, self, 0, NULL, NULL, &text);
    text = pj_bigint(7);
    if (makes("contribute a value of another type"))
        pj_contribute(derivation, PLACE, self, 0, NULL, &text);
}

static void derive_thing(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_value *seen = pj_entity_fact(entity, SEEN, NULL)->values;
    static const int64_t sizes[] = {1, 2};
    derive_more(entity, derivation);
    struct pj_value *row = pj_row(derivation, makes("row of a table not listed") ? &unlisted
                                              : makes("row of an append table")  ? &notes
                                                                                 : &things);
    row[T_ID] = makes("key of another type") ? seen[SEEN_NAME] : pj_uuid(pj_entity_key(entity));
    row[T_NAME] = makes("column of another type") ? seen[SEEN_COUNT] : seen[SEEN_NAME];
    if (makes("row of an append table"))
        return;
    row[T_COUNT] = makes("column beyond a PJ_INT")            ? pj_bigint(INT64_C(3000000000))
                   : makes("column with a default left null") ? pj_null()
                                                              : pj_bigint(1);
    row[T_AT] = makes("boolean as a time") ? pj_bool(true) : seen[SEEN_AT];
    pj_contribute(derivation, PLACE, pj_entity_key(entity), 0, NULL, &seen[SEEN_NAME]);
    struct pj_value *day = pj_row(derivation, &things_daily);
    day[D_DAY] = seen[SEEN_AT];
    day[D_THINGS] = makes("sum beyond 64 bits") ? pj_bigint(INT64_MAX) : pj_bigint(1);
    day[D_SIZES] = pj_text_of(sizes, makes("counts of half a number") ? 12 : sizeof sizes);
    if (makes("sum beyond 64 bits")) {
        struct pj_value *again = pj_row(derivation, &things_daily);
        memcpy(again, day, D_COLUMNS * sizeof *day);
    }
}

static void derive_place(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_value *told = pj_entity_fact(entity, 0, NULL)->values;
    struct pj_value *row = pj_row(derivation, &place_part);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[1] = told[0];
    if (makes("contribute to an earlier kind"))
        pj_contribute(derivation, THING, pj_entity_key(entity), LAST, NULL, told);
}

static void count(const struct pj_entity *before, const struct pj_entity *after, size_t news,
                  struct pj_tally *tally)
{
    (void)before;
    (void)after;
    pj_count(tally, makes("count what there is not") ? 1 : 0,
             makes("count a word that there is not") ? 2 : 0, news);
}

static void start(void)
{
    static const char *const kinds[] = {"odd", "even", NULL};
    memcpy(fields, right_fields, sizeof fields);
    memcpy(facts, right_facts, sizeof facts);
    memcpy(columns, right_columns, sizeof columns);
    memcpy(part_columns, right_part_columns, sizeof part_columns);
    memcpy(daily_columns, right_daily_columns, sizeof daily_columns);
    for (size_t c = 0; c < 65; c++) {
        snprintf(names[c], sizeof names[c], "c%zu", c);
        many[c] = (struct pj_column){names[c], PJ_TEXT, .key = c == 0};
    }
    things = (struct pj_table){.name = "things", .columns = columns, .column_count = T_COLUMNS};
    place_part = (struct pj_table){
        .name = "things", .columns = part_columns, .column_count = 2, .part_of = &things};
    things_daily = (struct pj_table){.name = "things_daily",
                                     .kind = PJ_ROLLUP_TABLE,
                                     .columns = daily_columns,
                                     .column_count = D_COLUMNS};
    notes = (struct pj_table){
        .name = "notes", .kind = PJ_APPEND_TABLE, .columns = note_columns, .column_count = 4};
    unlisted = things;
    unlisted.name = "unlisted";
    unlisted_notes = notes;
    unlisted_notes.name = "unlisted_notes";
    tables[0] = &things;
    tables[1] = &place_part;
    tables[2] = &things_daily;
    tables[3] = &notes;
    entities[THING] = (struct pj_entity_kind){"thing", facts, THING_FACTS, derive_thing};
    entities[THING].count = count;
    counters[0] = (struct pj_counter){"things", "Things that were told of.", "kind", kinds};
    entities[PLACE] = (struct pj_entity_kind){"place", place_facts, 1, derive_place};
    sources[0] = (struct pj_source){.topic = "wrong.things",
                                    .schema = schema,
                                    .fields = fields,
                                    .field_count = FIELDS,
                                    .event_time = AT,
                                    .observe = observe};
    settings[0] = (struct pj_setting){"thing-timeout", "5m", "When a thing is late."};
    projection = (struct pj_projection){.name = "wrong-consumer",
                                        .summary = "make one mistake",
                                        .sources = sources,
                                        .source_count = 1,
                                        .entities = entities,
                                        .entity_count = ENTITIES,
                                        .tables = tables,
                                        .table_count = 4,
                                        .settings = settings,
                                        .counters = counters};
}

/* --- the mistakes ---------------------------------------------------------------------------- */

/* One statement each; its name is the statement. */
#define MISTAKES                                                                                   \
    M(projection.name = NULL, "the projection's name is ''")                                       \
    M(projection.name = "Wrong", "lower-case letters, digits and dashes")                          \
    M(projection.version = -1, "the version of wrong-consumer is -1")                              \
    M(projection.name = "a-consumer-whose-name-is-too-long-for-its-shadow",                        \
      "shorten the projection's")                                                                  \
    M(projection.summary = NULL, "wrong-consumer has no summary")                                  \
    M(projection.source_count = 0, "wrong-consumer has 0 sources")                                 \
    M(projection.sources = NULL, "wrong-consumer has 0 sources")                                   \
    M(projection.source_count = 2, "the source of the projection has no topic")                    \
    M(projection.table_count = 65, "65 tables, which must be 1 to 64")                             \
    M(projection.tables = NULL, "wrong-consumer has 0 tables")                                     \
    M(projection.entities = NULL, "wrong-consumer has no entities")                                \
    M(projection.entity_count = 0, "wrong-consumer has no entity kinds")                           \
    M(sources[0].topic = "wrong things", "is not a valid Kafka topic name")                        \
    M(sources[0].schema = NULL, "the source of wrong.things has no schema")                        \
    M(sources[0].schema = "[", "the source wrong.things: ")                                        \
    M(sources[0].observe = NULL, "the source of wrong.things has no observe function")             \
    M(sources[0].fields = NULL, "the source of wrong.things has no fields")                        \
    M(sources[0].event_time = NAME, "is not one of its PJ_TIMESTAMPTZ fields")                     \
    M((sources[1] = sources[0], projection.source_count = 2), "two sources of wrong-consumer")     \
    M(fields[NAME].path = NULL, "field 1 of the source wrong.things has no path")                  \
    M(fields[NAME].path = "nam", "the schema of wrong.things has no field nam")                    \
    M(fields[NAME].type = PJ_UUID, "has most_chars, which a PJ_UUID cannot have")                  \
    M(fields[COUNT].type = PJ_UUID, "declared as PJ_UUID, but is of the type long")                \
    M(fields[AT].type = PJ_COUNTS, "which a field cannot be")                                      \
    M(entities[THING].derive = NULL, "entity kind 0 of wrong-consumer has no derive")              \
    M(entities[PLACE].name = "thing", "two entity kinds of wrong-consumer have the name thing")    \
    M(entities[PLACE].name = "a \"place\"", "lower-case letters, digits and underscores")          \
    M(entities[PLACE].fact_count = 0, "there is no entity without a fact")                         \
    M(facts[LAST].name = NULL, "fact kind 1 of the entity kind thing is not declared")             \
    M(facts[LAST].name = "seen", "two fact kinds of the entity kind thing")                        \
    M(facts[LAST].value_count = 17, "has 17 values, and 16 is the most")                           \
    M(facts[LAST].types = NULL, "lacks the types of its 1 values")                                 \
    M(facts[LAST].keep = 9, "keeps by the unknown rule 9")                                         \
    M(facts[LAST].lists = 1 << SEEN, "`lists` others, so it must be PJ_GREATEST")                  \
    M(facts[SEEN].lists = 1 << LAST, "`lists` \"last\", which must be another one")                \
    M(facts[SEEN].lists = 1 << 7, "`lists` the kind 7, and there are 2")                           \
    M(tables[3] = NULL, "table 3 of wrong-consumer is not declared")                               \
    M(tables[3] = &things, "things is twice among the tables")                                     \
    M(notes.name = "things", "two tables of wrong-consumer have the name things")                  \
    M(notes.name = "", "a name is not empty")                                                      \
    M(notes.name = "no\"tes", "has no quotes")                                                     \
    M(notes.schema = "", "a name is not empty")                                                    \
    M(notes.kind = 5, "notes is of an unknown kind")                                               \
    M((notes.columns = many, notes.column_count = 65), "notes has 65 columns")                     \
    M(notes.columns = NULL, "notes has 0 columns")                                                 \
    M(columns[T_NAME].name = NULL, "column 1 of things is not declared")                           \
    M(columns[T_NAME].name = "", "a name is not empty")                                            \
    M(columns[T_NAME].name = "count", "two columns of things have the name count")                 \
    M(columns[T_NAME].type = 99, "is of an unknown type")                                          \
    M(columns[T_ID].key = false, "the first column of things, id, is not of its key")              \
    M(columns[T_AT].key = true, "key columns come first")                                          \
    M(columns[T_ID].type = PJ_JSONB, "whose values can be written in several ways")                \
    M(columns[T_NAME].measure = PJ_SUM, "has a measure, which only columns of a rollup have")      \
    M(columns[T_NAME].elsewhere = true, "none of the tables that are parts of it have it")         \
    M(columns[T_PLACE].elsewhere = false, "not in its whole with the same type")                   \
    M(part_columns[1].type = PJ_BIGINT, "not in its whole with the same type")                     \
    M(part_columns[1].key = true, "does not have the same key as its whole")                       \
    M(place_part.part_of = &unlisted, "none of the tables that are parts of it have it")           \
    M((place_part.kind = PJ_ROLLUP_TABLE, part_columns[1].measure = PJ_MAX),                       \
      "a part and its whole are entity tables")                                                    \
    M(daily_columns[D_THINGS].measure = 0, "is neither a key nor has a measure")                   \
    M(daily_columns[D_THINGS].type = PJ_TEXT, "must be a PJ_BIGINT, PJ_NUMERIC or PJ_COUNTS")      \
    M(things.refresh = "refresh_things",                                                           \
      "things is not a rollup, so `refresh` would never be called")                                \
    M(things_daily.refresh = "refresh(); --", "which is not the name of an SQL function")          \
    M((children[0] = NULL, notes.children = children), "notes has children, so it must be an")     \
    M(things.placeholder = T_NAME, "the placeholder of things is not a PJ_BOOL column of it")      \
    M((parents[0] = (struct pj_parent){&unlisted, {T_ID}, T_AT}, things.parents = parents),        \
      "is a parent of things, which its children do not list")                                     \
    M(settings[1] = settings[0], "the name of the setting thing-timeout of wrong-consumer is")     \
    M(settings[0].name = "group", "the name of the setting group of wrong-consumer is taken")      \
    M(settings[0].fallback = "five", "is not a duration")                                          \
    M(counters[0].label = "group", "and none that all metrics have")                               \
    M(projection.counters = NULL, "with a count function, and no counters")

/* What the code does. */
static const struct {
    const char *name, *says;
} runs[] =
    {
        {"row of a table not listed", "makes a row of unlisted, which is not among its tables"},
        {"row of an append table", "makes a row of notes, which is an append table"},
        {"append to a table not listed", "names unlisted_notes, which is not among its tables"},
        {"append to an entity table", "names things, which is not an append table"},
        {"keep an entity that there is not", "pj_keep names the entity kind 7, and there are 2"},
        {"array of a field without items", "gives pj_observer_items what is no field with items"},
        {"keep a fact that there is not", "names the fact 9 of the entity kind thing, which has 2"},
        {"keep without a key", "pj_keep gives no key"},
        {"keep without an order", "pj_keep gives no order"},
        {"keep without values", "pj_keep gives no values"},
        {"fact value of another type", "value 1 of the fact \"seen\" of thing is a PJ_INT"},
        {"appended value of another type", "the column note of notes is a PJ_TEXT"},
        {"key of another type", "the column id of things is a PJ_UUID, but was given a string"},
        {"column of another type",
         "the column name of things is a PJ_TEXT, but was given an integer"},
        {"boolean as a time",
         "the column at of things is a PJ_TIMESTAMPTZ, but was given a boolean"},
        {"counts of half a number", "the column sizes of things_daily is a PJ_COUNTS"},
        {"ask for a fact that there is not", "asks for its fact 8, and it has 2"},
        {"ask for facts that there are not", "asks for its fact 65536, and it has 2"},
        {"ask for a fact of another kind", "asks for a fact that is listed for the kind 1"},
        {"ask for facts of another kind", "asks for a fact that is listed for the kind 1"},
        {"ask for a setting that there is not", "asks for the setting 3, and there are 1"},
        {"ask for a setting of another type",
         "asks for the setting thing-timeout by pj_setting_text, and it is of another type: use "
         "pj_setting_duration"},
        {"ask for the stream time untimed", "calls pj_stream_time, but the kind is not .timed"},
        {"be due untimed", "calls pj_due, but the kind is not .timed"},
        {"contribute to its own kind", "contributes to the kind thing, which is its own"},
        {"contribute to an earlier kind", "contributes to the kind thing, which is an earlier one"},
        {"contribute to no kind", "pj_contribute names the entity kind 2, and there are 2"},
        {"contribute no fact", "names the fact 1 of the entity kind place, which has 1"},
        {"contribute a value of another type",
         "value 0 of the fact \"told\" of place is a PJ_TEXT"},
        {"tell without an order", "gives pj_tell no order"},
        {"count what there is not", "pj_count names the word 0 of the counter 1"},
        {"count a word that there is not", "pj_count names the word 2 of the counter 0"},
},
  letters[] = {
      {"fact beyond a PJ_INT", "value 1 of the fact \"seen\" of thing is 3000000000"},
      {"appended beyond a PJ_INT", "the column count of notes is 3000000000"},
      {"column beyond a PJ_INT", "the column count of things is 3000000000"},
      {"sum beyond 64 bits", "the column things of things_daily does not fit 64 bits"},
      {"refused without a reason", "observe refused it and did not say why"},
      {"refused as fatal", "this thing is odd"},
};

static void list(void)
{
#define M(statement, says) printf("start\t%s\t%s\n", #statement, says);
    MISTAKES
#undef M
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        printf("run\t%s\t%s\n", runs[i].name, runs[i].says);
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        printf("letter\t%s\t%s\n", letters[i].name, letters[i].says);
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--list") == 0) {
        list();
        return 0;
    }
    start();
    mistake = argv[1];
#define M(statement, says)                                                                         \
    if (makes(#statement))                                                                         \
        (void)(statement);
    MISTAKES
#undef M
    argv[1] = argv[0];
    static const struct pj_system system = {.name = "wrong", .tables_schema = "public"};
    return pj_consumer_main(&system, &projection, argc - 1, argv + 1);
}
