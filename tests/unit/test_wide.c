/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts kept apart: a project has a script, which its row shows, and clips, each of which has rows
 * of its own, counts for its word, claims it, and is told to it; a reel says which there are.
 * Whether a project is open is shown to its clips; what was erased is gone for good.
 */
#include "base/arena.h"
#include "fold/claims.h"
#include "fold/fold.h"
#include "projectionist/testing.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { ID, PROJECT, WHAT, CLIP, TEXT, FIELDS };
enum { PROJECT_KIND, WORD_KIND, KINDS };
enum { TITLE, SCRIPT, CLIPS, OPEN, REEL, GONE, PROJECT_FACTS };
enum { WORD_NAME, WORD_USE, WORD_FACTS };

static const char *const whats[] = {"title", "script", "clip",  "cut", "open",
                                    "close", "reel",   "erase", NULL};
static const struct pj_field fields[FIELDS] = {
    [ID] = {"id", PJ_UUID, .required = true},
    [PROJECT] = {"project", PJ_UUID, .required = true},
    [WHAT] = {"what", PJ_TEXT, .required = true, .words = whats},
    [CLIP] = {"clip", PJ_UUID, .required = true},
    [TEXT] = {"text", PJ_TEXT, .required = true},
};

static const struct pj_column project_columns[] = {
    {"project", PJ_UUID, .key = true}, {"title", PJ_TEXT}, {"script", PJ_TEXT}};
static const struct pj_table projects = {
    .name = "projects", .columns = project_columns, .column_count = 3};
static const struct pj_column clip_columns[] = {{"project", PJ_UUID, .key = true},
                                                {"clip", PJ_UUID, .key = true},
                                                {"text", PJ_TEXT},
                                                {"open", PJ_BOOL}};
static const struct pj_table clips = {.name = "clips", .columns = clip_columns, .column_count = 4};
static const struct pj_column count_columns[] = {{"word", PJ_TEXT, .key = true},
                                                 {"clips", PJ_BIGINT, .measure = PJ_SUM}};
static const struct pj_table counts = {.name = "counts",
                                       .kind = PJ_ROLLUP_TABLE,
                                       .columns = count_columns,
                                       .column_count = 2,
                                       .refresh = "refresh_counts"};
static const struct pj_column owner_columns[] = {
    {"word", PJ_TEXT, .key = true}, {"project", PJ_UUID}, {"clip", PJ_UUID}};
static const struct pj_table owners = {
    .name = "owners", .columns = owner_columns, .column_count = 3, .claimed = "owner"};
static const struct pj_column use_columns[] = {{"word", PJ_TEXT, .key = true},
                                               {"project", PJ_UUID, .key = true},
                                               {"clip", PJ_UUID, .key = true}};
static const struct pj_table uses = {.name = "uses", .columns = use_columns, .column_count = 3};

static void derive_clip(const struct pj_entity *entity, const struct pj_fact *fact,
                        struct pj_derivation *derivation)
{
    const struct pj_fact *open = pj_entity_fact(entity, OPEN, NULL);
    const struct pj_value *text = fact->values;
    if (!text->present)
        return; /* cut */
    struct pj_value *row = pj_row(derivation, &clips);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[1] = pj_uuid(fact->subkey);
    row[2] = *text;
    row[3] = open != NULL ? open->values[0] : pj_null();
    struct pj_value *share = pj_row(derivation, &counts);
    share[0] = *text;
    share[1] = pj_bigint(1);
    struct pj_value *claim = pj_claim(derivation, &owners, &fact->order);
    claim[0] = *text;
    claim[1] = row[0];
    claim[2] = row[1];
    uint8_t self[16]; /* two projects may have the same clip */
    pj_uuid_of_names(row, 2, self);
    if (open != NULL && open->values[0].boolean)
        pj_contribute_named(derivation, WORD_KIND, text, WORD_USE, self, row);
}

static void derive_project(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *title = pj_entity_fact(entity, TITLE, NULL);
    const struct pj_fact *script = pj_entity_fact(entity, SCRIPT, NULL);
    if (title == NULL)
        return;
    struct pj_value *row = pj_row(derivation, &projects);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[1] = title->values[0];
    row[2] = script != NULL ? script->values[0] : pj_null();
}

static void derive_use(const struct pj_entity *entity, const struct pj_fact *fact,
                       struct pj_derivation *derivation)
{
    struct pj_value *row = pj_row(derivation, &uses);
    row[0] = *pj_entity_name(entity);
    row[1] = fact->values[0];
    row[2] = fact->values[1];
}

static void derive_nothing(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    (void)entity;
    (void)derivation;
}

static const struct pj_fact_kind project_facts[PROJECT_FACTS] = {
    [TITLE] = {"title", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT)},
    [SCRIPT] = {"script", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .wide = true},
    [CLIPS] = {"clip", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .wide = true, .derive = derive_clip},
    [OPEN] = {"open", PJ_GREATEST, PJ_FACT_VALUES(PJ_BOOL), .shown = true},
    [REEL] = {"reel", PJ_GREATEST, NULL, 0, .lists = 1 << CLIPS},
    [GONE] = {"gone", PJ_GREATEST, NULL, 0, .absorbs = true},
};
static const struct pj_fact_kind word_facts[WORD_FACTS] = {
    [WORD_NAME] = {"name", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .is_name = true},
    [WORD_USE] = {"use", PJ_GREATEST, PJ_FACT_VALUES(PJ_UUID, PJ_UUID), .wide = true,
                  .derive = derive_use},
};
static const struct pj_entity_kind kinds[KINDS] = {
    [PROJECT_KIND] = {"project", project_facts, PROJECT_FACTS, derive_project},
    [WORD_KIND] = {"word", word_facts, WORD_FACTS, derive_nothing},
};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct pj_value *v = event->values;
    const char what = v[WHAT].text.data[0];
    const char second = v[WHAT].text.data[1];
    struct pj_order order = {{0}};
    struct pj_value text = what == 'c' && second == 'u' ? pj_null() : v[TEXT];
    struct pj_value open = pj_bool(what == 'o');
    (void)error;
    memcpy(order.tie, v[ID].uuid, 16);
    if (what == 'r') /* and its clip */
        pj_keep(observer, PROJECT_KIND, v[PROJECT].uuid, REEL, NULL, &order, NULL);
    if (what == 't')
        pj_keep(observer, PROJECT_KIND, v[PROJECT].uuid, TITLE, NULL, &order, &text);
    else if (what == 's')
        pj_keep(observer, PROJECT_KIND, v[PROJECT].uuid, SCRIPT, NULL, &order, &text);
    else if (what == 'e')
        pj_keep(observer, PROJECT_KIND, v[PROJECT].uuid, GONE, NULL, &order, NULL);
    else if (what == 'o' || (what == 'c' && second == 'l' && v[WHAT].text.length == 5))
        pj_keep(observer, PROJECT_KIND, v[PROJECT].uuid, OPEN, NULL, &order, &open);
    else
        pj_keep(observer, PROJECT_KIND, v[PROJECT].uuid, CLIPS, v[CLIP].uuid, &order, &text);
    return 0;
}

static const struct pj_source source = {
    .topic = "projects",
    .schema = "{\"type\":\"record\",\"name\":\"Project\",\"fields\":["
              "{\"name\":\"id\",\"type\":\"string\"},{\"name\":\"project\",\"type\":\"string\"},"
              "{\"name\":\"what\",\"type\":\"string\"},{\"name\":\"clip\",\"type\":\"string\"},"
              "{\"name\":\"text\",\"type\":\"string\"}]}",
    .fields = fields,
    .field_count = FIELDS,
    .observe = observe,
};
static const struct pj_table *const tables[] = {&projects, &clips, &counts, &owners, &uses};
static const struct pj_projection projection = {
    .name = "catalog",
    .summary = "keep projects",
    .sources = &source,
    .source_count = 1,
    .entities = kinds,
    .entity_count = KINDS,
    .tables = tables,
    .table_count = 5,
};

static struct pj_orders orders;

static void start(void)
{
    orders = pj_orders_of(&projection);
}

static void stop(void)
{
    pj_orders_free(&orders);
}

TestSuite(wide, .init = start, .fini = stop);

static void put(unsigned project, const char *what, unsigned clip, const char *text)
{
    struct pj_value *v = pj_orders_event(&orders, 0, (int32_t)orders.count % 3);
    v[ID] = pj_orders_uuid(1000 + (unsigned)orders.count);
    v[PROJECT] = pj_orders_uuid(project);
    v[WHAT] = pj_text(what);
    v[CLIP] = pj_orders_uuid(clip);
    v[TEXT] = pj_text(text);
}

#define UUID(digit) "00000000-0000-4000-8000-00000000000" digit

Test(wide, rows_follow_from_facts_kept_apart)
{
    put(1, "script", 0, "once");
    put(1, "title", 0, "tale");
    put(1, "clip", 1, "sun");
    put(1, "clip", 2, "sun");
    put(1, "script", 0, "upon");
    cr_assert(pj_orders_expect(
        &orders,
        "clips|project=" UUID("1") "|clip=" UUID(
            "1") "|text=sun|open=null\n"
                 "clips|project=" UUID("1") "|clip=" UUID(
                     "2") "|text=sun|open=null\n"
                          "counts|word=sun|clips=2\n"
                          "owners|word=sun|project=" UUID("1") "|clip=" UUID(
                              "2") "\n"
                                   "projects|project=" UUID("1") "|title=tale|script=upon\n"));
}

Test(wide, what_is_shown_to_them_changes_all_of_them)
{
    put(1, "clip", 1, "sun");
    put(1, "clip", 2, "moon");
    put(1, "open", 0, "");
    cr_assert(pj_orders_expect(&orders, "|clip=" UUID("1") "|text=sun|open=true\n"));
    cr_assert(pj_orders_expect(&orders, "|clip=" UUID("2") "|text=moon|open=true\n"));
    cr_assert(
        pj_orders_expect(&orders, "uses|word=moon|project=" UUID("1") "|clip=" UUID("2") "\n"));
    put(1, "close", 0, "");
    cr_assert(pj_orders_expect(&orders, "|text=moon|open=false\n"));
    cr_assert(pj_orders_refuse(&orders, "uses"));
}

Test(wide, what_is_cut_gives_up_what_it_had)
{
    put(1, "clip", 1, "sun");
    put(2, "clip", 2, "sun");
    put(2, "cut", 2, "");
    cr_assert(pj_orders_expect(&orders, "counts|word=sun|clips=1\n"));
    cr_assert(pj_orders_expect(&orders, "owners|word=sun|project=" UUID("1")));
}

Test(wide, a_reel_is_all_clips_there_are)
{
    put(1, "clip", 1, "sun");
    put(1, "clip", 2, "moon");
    put(1, "reel", 3, "star");
    cr_assert(pj_orders_expect(&orders, "counts|word=star|clips=1\n"));
    cr_assert(pj_orders_refuse(&orders, "sun"));
    put(1, "clip", 1, "rain");
    cr_assert(pj_orders_expect(&orders, "counts|word=rain|clips=1\ncounts|word=star|clips=1\n"));
}

Test(wide, nothing_is_left_of_what_was_erased)
{
    put(1, "title", 0, "tale");
    put(1, "clip", 1, "sun");
    put(1, "erase", 0, "");
    put(1, "clip", 2, "moon");
    put(1, "script", 0, "late");
    char *rows = pj_orders_rows(&orders, false);
    cr_assert_str_eq(rows, "");
    free(rows);
    cr_assert(pj_orders_agree(&orders, 100, 3));
}

/* All that there is to say; of the projects, one is erased. */
static void fill(struct pj_orders *of, size_t index, struct pj_value *values, unsigned *seed)
{
    size_t what = (size_t)rand_r(seed) / 16 % (values[PROJECT].uuid[15] == 3 ? 8 : 7);
    (void)of;
    (void)index;
    values[WHAT] = pj_text(whats[what]);
}

Test(wide, every_order)
{
    cr_assert(pj_orders_mixture(&orders, 80, 5, fill));
    cr_assert(pj_orders_agree(&orders, 1000, 42));
}

/* --- what is loaded and written -------------------------------------------------------------- */

static struct pj_arena *arena;
static struct pj_fold *fold;
static const struct pj_stage *stage;
static const uint8_t *key;

static void observe_unknown(unsigned project, const char *what, unsigned clip, const char *text)
{
    struct pj_error error;
    arena = pj_arena_new();
    put(project, what, clip, text);
    const struct pj_event event = {.values = orders.events[orders.count - 1].values};
    fold = pj_fold_new(pj_claims_expand(&projection), NULL, arena);
    cr_assert_eq(pj_fold_observe(fold, &source, &event, &error), 0);
    stage = pj_fold_stage(fold, PROJECT_KIND);
    cr_assert_eq(stage->count, 1);
    key = stage->touched[0].key;
}

/* One event, of a project that is stored with a title, and with so many clips. */
static void observe_one(unsigned project, const char *what, unsigned clip, const char *text)
{
    struct pj_error error;
    observe_unknown(project, what, clip, text);
    struct pj_entity stored = {.kind = &kinds[PROJECT_KIND]};
    const struct pj_value tale = pj_text("tale");
    const struct pj_fact title = {.kind = TITLE, .values = &tale};
    cr_assert(pj_facts_add(&stored, &title, arena));
    const void *data;
    size_t length;
    pj_facts_encode(&stored, arena, &data, &length);
    cr_assert_eq(pj_fold_load(fold, PROJECT_KIND, key, data, length, 0, &error), 0);
}

static void load_clip(unsigned clip)
{
    struct pj_error error;
    const struct pj_entity stored = {.kind = &kinds[PROJECT_KIND]};
    const struct pj_value sun = pj_text("sun");
    struct pj_fact fact = {.kind = CLIPS, .values = &sun};
    const struct pj_value subkey = pj_orders_uuid(clip);
    memcpy(fact.subkey, subkey.uuid, 16);
    const void *data;
    size_t length;
    pj_facts_encode_one(&stored, &fact, arena, &data, &length);
    cr_assert_eq(pj_fold_load_wide(fold, PROJECT_KIND, key, data, length, &error), 0);
}

static bool merge(void)
{
    struct pj_error error;
    const struct pj_stage *fresh;
    cr_assert_eq(pj_fold_merge(fold, PROJECT_KIND, &error), 0);
    cr_assert_eq(pj_fold_again(fold, PROJECT_KIND, &fresh, &error), 0);
    return fresh != NULL;
}

Test(wide, one_clip_is_loaded_and_written_whatever_others_there_are)
{
    observe_one(1, "clip", 7, "moon");
    cr_assert_eq(stage->wanted.count, 1);
    cr_assert_eq(memcmp(stage->wanted.items[0][2].uuid, pj_orders_uuid(7).uuid, 16), 0);
    cr_assert_eq(stage->wanted_kinds.count, 0);
    load_clip(7);
    cr_assert_not(merge());
    cr_assert_eq(stage->kept.count, 1);
    cr_assert_null(stage->touched[0].stored); /* its other facts stay as they are */
    pj_arena_free(arena);
}

Test(wide, a_title_wants_the_script_and_no_clip)
{
    observe_one(1, "title", 0, "new");
    cr_assert_eq(stage->wanted.count, 0);
    cr_assert_eq(stage->wanted_kinds.count, 1);
    cr_assert_eq(stage->wanted_kinds.items[0][1].integer, SCRIPT);
    cr_assert_not(merge());
    cr_assert_eq(stage->kept.count + stage->gone.count, 0);
    cr_assert_not_null(stage->touched[0].stored);
    pj_arena_free(arena);
}

Test(wide, what_is_shown_wants_all_clips_once_it_has_changed)
{
    observe_one(1, "open", 0, "");
    cr_assert(merge());
    cr_assert_eq(stage->wanted_kinds.count, 1);
    cr_assert_eq(stage->wanted_kinds.items[0][1].integer, CLIPS);
    load_clip(1);
    load_clip(2);
    cr_assert_not(merge());
    cr_assert_eq(stage->kept.count, 0); /* only their rows have changed */
    pj_arena_free(arena);
}

Test(wide, what_somebody_else_has_committed_of_a_new_entity_is_not_half_seen)
{
    observe_unknown(1, "title", 0, "new");
    load_clip(1); /* since its other facts were looked for, and not there */
    cr_assert_not(merge());
    cr_assert_eq(stage->touched[0].before.count, 0);
    pj_arena_free(arena);
}

Test(wide, facts_of_before_they_were_kept_apart_are_refused)
{
    struct pj_error error;
    observe_one(1, "clip", 7, "moon");
    const struct pj_entity stored = {.kind = &kinds[PROJECT_KIND]};
    const struct pj_value text = pj_text("x");
    const struct pj_fact script = {.kind = SCRIPT, .values = &text};
    const void *data;
    size_t length;
    pj_facts_encode_one(&stored, &script, arena, &data, &length);
    cr_assert_neq(pj_fold_load(fold, PROJECT_KIND, key, data, length, 0, &error), 0);
    cr_assert_not_null(
        strstr(error.message,
               "the fact \"script\" of project " UUID(
                   "1") " was stored before its kind was `wide`; run `projectionist rebuild"),
        "%s", error.message);
    pj_arena_free(arena);
}
