/* SPDX-License-Identifier: Apache-2.0 */
/* A batch folded, over a small town: people have titles and live in houses. */
#include "fold/fold.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* --- the town -------------------------------------------------------------------------------- */

enum { PERSON, TITLE, HOUSE_ID, RANK, NOTE, REFUSED, FIELDS };
enum { PEOPLE, HOUSES };             /* entity kinds */
enum { PERSON_TITLE, PERSON_HOUSE }; /* facts of a person */
enum { PERSON_TABLE, TITLE_TABLE, WORD_TABLE, HOUSE_TABLE, PLACE_PART, NOTE_TABLE, TABLES };

static const struct pj_column person_columns[] = {{"id", PJ_UUID, .key = true},
                                                  {"title", PJ_TEXT},
                                                  {"housed", PJ_BOOL},
                                                  {"house", PJ_UUID, .elsewhere = true}};
static const struct pj_column title_columns[] = {
    {"title", PJ_TEXT, .key = true}, {"holder", PJ_UUID}, {"kind", PJ_TEXT}};
static const struct pj_column word_columns[] = {{"word", PJ_TEXT, .key = true}, {"kind", PJ_TEXT}};
static const struct pj_column house_columns[] = {{"id", PJ_UUID, .key = true}, {"count", PJ_INT}};
static const struct pj_column place_columns[] = {{"id", PJ_UUID, .key = true}, {"house", PJ_UUID}};
static const struct pj_column note_columns[] = {{"id", PJ_UUID, .key = true}, {"note", PJ_TEXT}};

#define COLUMNS(list) .columns = (list), .column_count = sizeof(list) / sizeof(list)[0]

static const struct pj_table person_table = {.name = "person", COLUMNS(person_columns)};
static const struct pj_table title_table = {.name = "title", COLUMNS(title_columns)};
static const struct pj_table word_table = {.name = "word", COLUMNS(word_columns)};
static const struct pj_table house_table = {.name = "house", COLUMNS(house_columns)};
static const struct pj_table place_part = {
    .name = "person", COLUMNS(place_columns), .part_of = &person_table};
static const struct pj_table note_table = {
    .name = "note", .kind = PJ_APPEND_TABLE, COLUMNS(note_columns)};
static const struct pj_table *const tables[] = {
    [PERSON_TABLE] = &person_table, [TITLE_TABLE] = &title_table, [WORD_TABLE] = &word_table,
    [HOUSE_TABLE] = &house_table,   [PLACE_PART] = &place_part,   [NOTE_TABLE] = &note_table};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct pj_value *v = event->values;
    struct pj_order order = {.rank = {v[RANK].integer}};
    if (v[TITLE].present)
        pj_keep(observer, PEOPLE, v[PERSON].uuid, PERSON_TITLE, NULL, &order, &v[TITLE]);
    if (v[HOUSE_ID].present)
        pj_keep(observer, PEOPLE, v[PERSON].uuid, PERSON_HOUSE, NULL, &order, &v[HOUSE_ID]);
    if (v[NOTE].present) {
        struct pj_value *row = pj_append(observer, &note_table);
        row[0] = v[PERSON];
        row[1] = v[NOTE];
    }
    return v[REFUSED].present ? pj_error_set(error, PJ_POISON, "refused") : 0;
}

static void derive_person(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *title = pj_entity_fact(entity, PERSON_TITLE, NULL);
    const struct pj_fact *house = pj_entity_fact(entity, PERSON_HOUSE, NULL);
    struct pj_value self = pj_uuid(pj_entity_key(entity));
    struct pj_value *row = pj_row(derivation, &person_table);
    row[0] = self;
    row[1] = title != NULL ? title->values[0] : pj_null();
    row[2] = pj_bool(house != NULL);
    if (title != NULL && title->values[0].text.length > 0) {
        row = pj_row(derivation, &title_table);
        row[0] = title->values[0];
        row[1] = self;
        row[2] = pj_text("title");
        row = pj_row(derivation, &word_table);
        row[0] = title->values[0];
        row[1] = pj_text("word");
    }
    /* Nobody lives in the house of zeros. */
    static const uint8_t nowhere[16];
    if (house != NULL && memcmp(house->values[0].uuid, nowhere, 16) != 0) {
        struct pj_value name = title != NULL ? title->values[0] : pj_null();
        pj_contribute(derivation, HOUSES, house->values[0].uuid, 0, self.uuid, &name);
    }
}

static void derive_house(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *residents = pj_entity_facts(entity, 0, &count);
    struct pj_value *row = pj_row(derivation, &house_table);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[1] = pj_bigint((int64_t)count);
    for (size_t i = 0; i < count; i++) {
        row = pj_row(derivation, &place_part);
        row[0] = pj_uuid(residents[i].subkey);
        row[1] = pj_uuid(pj_entity_key(entity));
    }
}

static const enum pj_type text_type[] = {PJ_TEXT};
static const enum pj_type uuid_type[] = {PJ_UUID};
static const struct pj_fact_kind person_facts[] = {{"title", PJ_GREATEST, text_type, 1},
                                                   {"house", PJ_GREATEST, uuid_type, 1}};
static const struct pj_fact_kind house_facts[] = {{"resident", PJ_GREATEST, text_type, 1}};
static const struct pj_entity_kind entities[] = {{"person", person_facts, 2, derive_person},
                                                 {"house", house_facts, 1, derive_house}};
static const struct pj_source sources[] = {{.topic = "town", .observe = observe}};
static const struct pj_projection town = {
    .name = "town",
    .sources = sources,
    .source_count = 1,
    .entities = entities,
    .entity_count = 2,
    .tables = tables,
    .table_count = TABLES,
};

/* --- batches --------------------------------------------------------------------------------- */

/* The stored facts between batches: a database of a few slots. */
static struct {
    uint8_t key[16];
    char data[512];
    size_t length;
} states[2][16];
static size_t state_count[2];

static struct pj_arena *arena;
static struct pj_fold *fold;
static struct pj_stage stages[2]; /* of the last run, copies */
static struct pj_error error;

static void begin(void)
{
    fold = pj_fold_new(&town, NULL, arena);
}

static void start(void)
{
    arena = pj_arena_new();
    begin();
}

static void stop(void)
{
    pj_arena_free(arena);
}

TestSuite(fold, .init = start, .fini = stop);

static struct pj_value id(uint8_t number)
{
    uint8_t uuid[16] = {number};
    return pj_uuid(uuid);
}

static int say(uint8_t person, int64_t rank, const char *title, const struct pj_value *house,
               const char *note, bool refused)
{
    struct pj_value values[FIELDS] = {[PERSON] = id(person),
                                      [TITLE] = pj_text(title),
                                      [RANK] = pj_bigint(rank),
                                      [NOTE] = pj_text(note)};
    if (house != NULL)
        values[HOUSE_ID] = *house;
    values[REFUSED].present = refused;
    struct pj_event event = {.values = values, .topic = "town"};
    return pj_fold_observe(fold, &sources[0], &event, &error);
}

static void titled(uint8_t person, int64_t rank, const char *title)
{
    cr_assert_eq(say(person, rank, title, NULL, NULL, false), 0);
}

static void housed(uint8_t person, int64_t rank, uint8_t house)
{
    struct pj_value value = id(house);
    cr_assert_eq(say(person, rank, NULL, &value, NULL, false), 0);
}

static void load_states(size_t stage)
{
    for (size_t i = 0; i < state_count[stage]; i++) {
        const void *data = pj_arena_copy(arena, states[stage][i].data, states[stage][i].length);
        cr_assert_eq(pj_fold_load(fold, stage, states[stage][i].key, data, states[stage][i].length,
                                  0, &error),
                     0, "%s", error.message);
    }
}

static void save_state(size_t stage, const struct pj_touched *touched)
{
    size_t i = 0;
    while (i < state_count[stage] && memcmp(states[stage][i].key, touched->key, 16) != 0)
        i++;
    cr_assert_eq(touched->existed, i < state_count[stage]);
    state_count[stage] += i == state_count[stage];
    memcpy(states[stage][i].key, touched->key, 16);
    cr_assert_leq(touched->stored_length, sizeof states[stage][i].data);
    memcpy(states[stage][i].data, touched->stored, touched->stored_length);
    states[stage][i].length = touched->stored_length;
}

static void run(void)
{
    for (size_t stage = 0; stage < town.entity_count; stage++) {
        const struct pj_stage *touched = pj_fold_stage(fold, stage);
        load_states(stage);
        cr_assert_eq(pj_fold_merge(fold, stage, &error), 0, "%s", error.message);
        for (size_t i = 0; i < touched->count; i++) {
            if (touched->touched[i].changed)
                save_state(stage, &touched->touched[i]);
        }
        stages[stage] = *touched;
        stages[stage].touched =
            pj_arena_copy(arena, touched->touched, touched->count * sizeof *touched->touched);
        pj_fold_stage_saved(fold, stage);
    }
    cr_assert_eq(pj_fold_finish(fold, &error), 0, "%s", error.message);
}

/* What there is before the batch that a test is about. */
static void run_and_begin(void)
{
    run();
    begin();
}

static void expect_rows(size_t table, size_t count)
{
    cr_assert_eq(pj_fold_rows(fold, table)->count, count, "%zu changes of %s, not %zu",
                 pj_fold_rows(fold, table)->count, tables[table]->name, count);
}

static const struct pj_row_change *row(size_t table, size_t index, enum pj_row_operation operation)
{
    cr_assert_lt(index, pj_fold_rows(fold, table)->count);
    const struct pj_row_change *change = &pj_fold_rows(fold, table)->items[index];
    cr_assert_eq(change->operation, operation);
    return change;
}

static bool is_id(const struct pj_value *value, uint8_t number)
{
    struct pj_value expected = id(number);
    return pj_value_compare(PJ_UUID, value, &expected) == 0;
}

/* --- rows ------------------------------------------------------------------------------------ */

Test(fold, new_rows_are_inserted)
{
    titled(2, 1, "mayor");
    titled(1, 1, "");
    run();
    expect_rows(PERSON_TABLE, 2);
    const struct pj_row_change *first = row(PERSON_TABLE, 0, PJ_ROW_INSERT);
    const struct pj_row_change *second = row(PERSON_TABLE, 1, PJ_ROW_INSERT);
    cr_assert(is_id(&first->values[0], 1), "they are sorted by key");
    cr_assert(is_id(&second->values[0], 2));
    cr_assert_null(first->before);
    cr_assert(pj_text_is(&second->values[1], "mayor"));
    cr_assert_not(second->values[2].boolean);
    expect_rows(TITLE_TABLE, 1);
    expect_rows(HOUSE_TABLE, 0);
}

Test(fold, an_update_has_the_changed_columns_and_no_other)
{
    titled(1, 1, "mayor");
    run_and_begin();
    housed(1, 1, 0);
    run();
    expect_rows(PERSON_TABLE, 1);
    const struct pj_row_change *change = row(PERSON_TABLE, 0, PJ_ROW_UPDATE);
    cr_assert_eq(change->changed, 1u << 2);
    cr_assert(change->values[2].boolean);
    cr_assert_not(change->before[2].boolean);
    cr_assert(pj_text_is(&change->values[1], "mayor"));
    expect_rows(TITLE_TABLE, 0);
}

Test(fold, a_row_no_longer_derived_is_deleted)
{
    titled(1, 1, "mayor");
    run_and_begin();
    titled(1, 2, "");
    run();
    const struct pj_row_change *change = row(TITLE_TABLE, 0, PJ_ROW_DELETE);
    cr_assert(pj_text_is(&change->values[0], "mayor"));
    cr_assert_eq(row(PERSON_TABLE, 0, PJ_ROW_UPDATE)->changed, 1u << 1);
}

Test(fold, what_changes_nothing_writes_nothing)
{
    titled(1, 5, "mayor");
    run_and_begin();
    titled(1, 4, "older");
    titled(1, 5, "mayor");
    run();
    for (size_t t = 0; t < TABLES; t++)
        expect_rows(t, 0);
    cr_assert_not(stages[0].touched[0].changed);
}

Test(fold, many_events_of_one_entity_are_one_change)
{
    for (int64_t rank = 0; rank < 100; rank++)
        titled(1, rank * 37 % 100, rank * 37 % 100 == 99 ? "last" : "other");
    run();
    expect_rows(PERSON_TABLE, 1);
    cr_assert(pj_text_is(&row(PERSON_TABLE, 0, PJ_ROW_INSERT)->values[1], "last"));
    expect_rows(TITLE_TABLE, 1);
}

/* --- moves ----------------------------------------------------------------------------------- */

Test(fold, a_row_that_moves_between_entities_is_one_update)
{
    for (int way = 0; way < 2; way++) {
        uint8_t from = way == 0 ? 1 : 4;
        uint8_t to = way == 0 ? 2 : 3;
        const char *title = way == 0 ? "mayor" : "judge";
        titled(from, 1, title);
        run_and_begin();
        titled(from, 2, "");
        titled(to, 2, title);
        run();
        expect_rows(TITLE_TABLE, 1);
        const struct pj_row_change *change = row(TITLE_TABLE, 0, PJ_ROW_UPDATE);
        cr_assert_eq(change->changed, 1u << 1);
        cr_assert(is_id(&change->values[1], to));
        cr_assert(is_id(&change->before[1], from));
        begin();
    }
}

/* The word's row is the same whoever's it is. An update of no column would be no SQL. */
Test(fold, a_row_that_moves_unchanged_is_not_written)
{
    titled(1, 1, "mayor");
    run_and_begin();
    titled(1, 2, "");
    titled(2, 2, "mayor");
    run();
    expect_rows(WORD_TABLE, 0);
}

Test(fold, two_swap)
{
    titled(1, 1, "mayor");
    titled(2, 1, "judge");
    run_and_begin();
    titled(1, 2, "judge");
    titled(2, 2, "mayor");
    run();
    expect_rows(TITLE_TABLE, 2);
    cr_assert(is_id(&row(TITLE_TABLE, 0, PJ_ROW_UPDATE)->values[1], 1)); /* judge */
    cr_assert(is_id(&row(TITLE_TABLE, 1, PJ_ROW_UPDATE)->values[1], 2)); /* mayor */
    expect_rows(WORD_TABLE, 0);
}

/* --- stages ---------------------------------------------------------------------------------- */

Test(fold, one_entity_tells_a_later_one)
{
    housed(1, 1, 9);
    housed(2, 1, 9);
    run();
    expect_rows(HOUSE_TABLE, 1);
    const struct pj_row_change *house = row(HOUSE_TABLE, 0, PJ_ROW_INSERT);
    cr_assert(is_id(&house->values[0], 9));
    cr_assert_eq(house->values[1].integer, 2);
}

Test(fold, what_was_told_is_taken_back)
{
    housed(1, 1, 9);
    housed(2, 1, 9);
    run_and_begin();
    housed(1, 2, 8);
    run();
    expect_rows(HOUSE_TABLE, 2);
    cr_assert_eq(row(HOUSE_TABLE, 0, PJ_ROW_INSERT)->values[1].integer, 1);
    const struct pj_row_change *old = row(HOUSE_TABLE, 1, PJ_ROW_UPDATE);
    cr_assert(is_id(&old->values[0], 9));
    cr_assert_eq(old->values[1].integer, 1);
}

Test(fold, an_entity_that_nobody_tells_any_more_has_no_rows)
{
    housed(1, 1, 9);
    run_and_begin();
    housed(1, 2, 0);
    run();
    expect_rows(HOUSE_TABLE, 1);
    cr_assert(is_id(&row(HOUSE_TABLE, 0, PJ_ROW_DELETE)->values[0], 9));
    /* Its state is there and empty; it can come back. */
    begin();
    housed(2, 3, 9);
    run();
    cr_assert_eq(row(HOUSE_TABLE, 0, PJ_ROW_INSERT)->values[1].integer, 1);
}

Test(fold, what_is_told_anew_unchanged_touches_nobody)
{
    housed(1, 1, 9);
    run_and_begin();
    housed(1, 2, 9);
    run();
    cr_assert(stages[0].touched[0].changed, "the fact's rank is newer");
    cr_assert_eq(stages[1].count, 0, "a house was loaded for nothing");
    expect_rows(PERSON_TABLE, 0);
    expect_rows(HOUSE_TABLE, 0);
    expect_rows(PLACE_PART, 0);
}

/* --- parts ----------------------------------------------------------------------------------- */

Test(fold, a_part_travels_with_the_insert_of_its_row)
{
    housed(1, 1, 9);
    run();
    expect_rows(PERSON_TABLE, 1);
    cr_assert(is_id(&row(PERSON_TABLE, 0, PJ_ROW_INSERT)->values[3], 9));
    expect_rows(PLACE_PART, 0);
}

Test(fold, a_part_of_a_row_that_is_there_is_written_by_itself)
{
    titled(1, 1, "mayor");
    run_and_begin();
    housed(1, 1, 9);
    run();
    cr_assert_eq(row(PERSON_TABLE, 0, PJ_ROW_UPDATE)->changed, 1u << 2,
                 "the part's column is not the row's");
    cr_assert(is_id(&row(PLACE_PART, 0, PJ_ROW_INSERT)->values[1], 9));
    begin();
    housed(1, 2, 8);
    run();
    /* From one house to the other: one update of the part. */
    expect_rows(PLACE_PART, 1);
    const struct pj_row_change *moved = row(PLACE_PART, 0, PJ_ROW_UPDATE);
    cr_assert_eq(moved->changed, 1u << 1);
    cr_assert(is_id(&moved->values[1], 8));
    begin();
    housed(1, 3, 0);
    run();
    row(PLACE_PART, 0, PJ_ROW_DELETE);
    expect_rows(PERSON_TABLE, 0);
}

/* --- appends, refusals, damage --------------------------------------------------------------- */

Test(fold, rows_are_appended_in_their_order)
{
    cr_assert_eq(say(2, 1, NULL, NULL, "one", false), 0);
    cr_assert_eq(say(1, 1, NULL, NULL, "two", false), 0);
    run();
    const struct pj_appended *notes = pj_fold_appended(fold, NOTE_TABLE);
    cr_assert_eq(notes->count, 2);
    cr_assert(pj_text_is(&notes->rows[0][1], "one"));
    cr_assert(pj_text_is(&notes->rows[1][1], "two"));
    cr_assert_eq(stages[0].count, 0);
}

Test(fold, a_refused_event_says_nothing)
{
    struct pj_value house = id(9);
    cr_assert_eq(say(1, 1, "mayor", NULL, "kept", false), 0);
    cr_assert_eq(say(1, 2, "usurper", &house, "undone", true), -1);
    cr_assert_eq(error.class, PJ_POISON);
    cr_assert_eq(say(2, 1, NULL, NULL, "kept too", false), 0);
    run();
    expect_rows(PERSON_TABLE, 1);
    cr_assert(pj_text_is(&row(PERSON_TABLE, 0, PJ_ROW_INSERT)->values[1], "mayor"));
    expect_rows(HOUSE_TABLE, 0);
    const struct pj_appended *notes = pj_fold_appended(fold, NOTE_TABLE);
    cr_assert_eq(notes->count, 2);
    cr_assert(pj_text_is(&notes->rows[1][1], "kept too"));
}

Test(fold, a_damaged_state_is_an_error)
{
    titled(1, 1, "mayor");
    run_and_begin();
    states[0][0].data[0] = 77;
    titled(1, 2, "judge");
    pj_fold_stage(fold, 0);
    cr_assert_eq(
        pj_fold_load(fold, 0, states[0][0].key, states[0][0].data, states[0][0].length, 0, &error),
        -1);
    cr_assert_eq(error.class, PJ_FATAL);
    cr_assert_not_null(strstr(error.message, "person"));
}

/* Values of an event may be gone once it was observed: only their texts live on. */
Test(fold, an_events_values_are_copied)
{
    titled(1, 1, "mayor");
    char *scratch = pj_arena_alloc(arena, 4096); /* and the stack of say() is used again */
    memset(scratch, 0xff, 4096);
    titled(2, 1, "judge");
    run();
    cr_assert(pj_text_is(&row(PERSON_TABLE, 0, PJ_ROW_INSERT)->values[1], "mayor"));
}

Test(fold, a_large_batch)
{
    for (unsigned i = 0; i < 5000; i++) {
        uint8_t person[16] = {(uint8_t)(i >> 8), (uint8_t)i, 1};
        struct pj_value values[FIELDS] = {[PERSON] = pj_uuid(person), [RANK] = pj_bigint(1)};
        values[HOUSE_ID] = id((uint8_t)(1 + i % 7));
        struct pj_event event = {.values = values, .topic = "town"};
        cr_assert_eq(pj_fold_observe(fold, &sources[0], &event, &error), 0);
    }
    for (size_t stage = 0; stage < 2; stage++) {
        pj_fold_stage(fold, stage);
        cr_assert_eq(pj_fold_merge(fold, stage, &error), 0, "%s", error.message);
    }
    cr_assert_eq(pj_fold_finish(fold, &error), 0, "%s", error.message);
    expect_rows(PERSON_TABLE, 5000);
    expect_rows(HOUSE_TABLE, 7);
    expect_rows(PLACE_PART, 0);
    for (size_t i = 0; i < 5000; i++)
        cr_assert(row(PERSON_TABLE, i, PJ_ROW_INSERT)->values[3].present);
    cr_assert_eq(row(HOUSE_TABLE, 0, PJ_ROW_INSERT)->values[1].integer, 715);
}
