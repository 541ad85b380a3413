/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job-board: what is to be done in a shipyard, and who does it. An event says all of a job, and the
 * last one counts. A job may be part of another one, to any depth: it knows the whole that it
 * belongs to, and what is left to do of it and all its parts. Somebody is in the crew that listed
 * them last; when that job lets them go, they are back in the one that listed them before.
 */
#include "schemas.h"
#include "yard.h"

/* --- tables ---------------------------------------------------------------------------------- */

enum { J_JOB, J_PARENT, J_TITLE, J_STATE, J_SKILLS, J_MINUTES, J_ROOT, J_DEPTH, J_LEFT, J_OPEN };
static const struct pj_column job_columns[] = {
    [J_JOB] = {"job", PJ_TEXT, .key = true},
    [J_PARENT] = {"parent", PJ_TEXT},
    [J_TITLE] = {"title", PJ_TEXT},
    [J_STATE] = {"state", PJ_TEXT, .sql_type = "job_state"},
    [J_SKILLS] = {"skills", PJ_TEXT, .sql_type = "text[]"},
    [J_MINUTES] = {"minutes", PJ_BIGINT},
    [J_ROOT] = {"root", PJ_TEXT},
    [J_DEPTH] = {"depth", PJ_BIGINT},
    [J_LEFT] = {"minutes_left", PJ_BIGINT},
    [J_OPEN] = {"jobs_open", PJ_BIGINT},
};
static const struct pj_table jobs = {
    .name = "jobs",
    .columns = job_columns,
    .column_count = sizeof job_columns / sizeof *job_columns,
};

enum { C_PERSON, C_JOB, C_PLACE, C_ROLE };
static const struct pj_column crew_columns[] = {
    [C_PERSON] = {"person", PJ_TEXT, .key = true},
    [C_JOB] = {"job", PJ_TEXT},
    [C_PLACE] = {"place", PJ_BIGINT},
    [C_ROLE] = {"role", PJ_TEXT},
};
static const struct pj_table crew = {
    .name = "crew",
    .columns = crew_columns,
    .column_count = sizeof crew_columns / sizeof *crew_columns,
    .claimed = "member",
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { SAID, NAME, MEMBER, PART, WHOLE, LEFT, JOB_FACTS };
enum { S_PARENT, S_TITLE, S_STATE, S_SKILLS, S_MINUTES, S_WITHDRAWN };
enum { M_PERSON, M_PLACE, M_ROLE };
enum { W_ROOT, W_DEPTH };
enum { L_MINUTES, L_OPEN };
static const struct pj_fact_kind job_facts[JOB_FACTS] = {
    [SAID] = {"said", PJ_GREATEST,
              PJ_FACT_VALUES(PJ_TEXT, PJ_TEXT, PJ_TEXT, PJ_TEXT, PJ_BIGINT, PJ_BOOL),
              .lists = 1 << MEMBER},
    [NAME] = {"name", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .is_name = true},
    [MEMBER] = {"member", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT, PJ_BIGINT, PJ_TEXT)},
    [PART] = {"part", PJ_GREATEST, NULL, 0},
    [WHOLE] = {"whole", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT, PJ_BIGINT), .recursive = true},
    [LEFT] = {"left", PJ_GREATEST, PJ_FACT_VALUES(PJ_BIGINT, PJ_BIGINT), .recursive = true},
};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)error;
    const struct pj_value *v = event->values;
    struct pj_order order = {.rank = {v[AT].integer}};
    memcpy(order.tie, v[EVENT_ID].uuid, sizeof order.tie);
    const struct pj_value said[] = {v[PARENT],  v[TITLE],
                                    v[STATE],   pj_observer_items(observer, &v[SKILLS]),
                                    v[MINUTES], v[WITHDRAWN]};
    pj_keep_named(observer, 0, &v[JOB], SAID, NULL, &order, said);
    for (struct pj_array_item member = {0}; pj_items_next(&v[CREW], &member);) {
        struct pj_value values[] = {member.values[PERSON], pj_bigint((int64_t)member.index),
                                    member.values[ROLE]};
        uint8_t person[16];
        pj_uuid_of_names(&values[M_PERSON], 1, person);
        pj_keep_named(observer, 0, &v[JOB], MEMBER, person, &order, values);
    }
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

static void claim_crew(const struct pj_entity *entity, struct pj_derivation *derivation,
                       const struct pj_order *order)
{
    size_t count;
    const struct pj_fact *members = pj_entity_facts(entity, MEMBER, &count);
    for (size_t i = 0; i < count; i++) {
        struct pj_value *row = pj_claim(derivation, &crew, order);
        row[C_PERSON] = members[i].values[M_PERSON];
        row[C_JOB] = *pj_entity_name(entity);
        row[C_PLACE] = members[i].values[M_PLACE];
        row[C_ROLE] = members[i].values[M_ROLE];
    }
}

/* Its root and how far away that is, which its parts are told; of a part whose parent is not there,
 * or on a ring, nothing is known. */
static void find_whole(const struct pj_entity *entity, struct pj_derivation *derivation,
                       const struct pj_value *parent, struct pj_value *row)
{
    struct pj_value whole[] = {*pj_entity_name(entity), pj_bigint(0)};
    size_t count;
    if (parent->present) {
        uint8_t above[16];
        pj_uuid_of_names(parent, 1, above);
        const struct pj_fact *told = pj_entity_fact(entity, WHOLE, above);
        whole[W_ROOT] = told != NULL ? told->values[W_ROOT] : pj_null();
        whole[W_DEPTH] =
            whole[W_ROOT].present ? pj_bigint(told->values[W_DEPTH].integer + 1) : pj_null();
    }
    const struct pj_fact *parts = pj_entity_facts(entity, PART, &count);
    for (size_t i = 0; i < count; i++)
        pj_contribute(derivation, 0, parts[i].subkey, WHOLE, pj_entity_key(entity), whole);
    row[J_ROOT] = whole[W_ROOT];
    row[J_DEPTH] = whole[W_DEPTH];
}

/* What is left to do of it and its parts, which the job that it is part of is told. */
static void sum_up(const struct pj_entity *entity, struct pj_derivation *derivation,
                   const struct pj_value *said, struct pj_value *row)
{
    bool open = !pj_text_is(&said[S_STATE], "done");
    struct pj_value left[] = {pj_bigint(open ? said[S_MINUTES].integer : 0), pj_bigint(open)};
    size_t count;
    const struct pj_fact *parts = pj_entity_facts(entity, LEFT, &count);
    for (size_t i = 0; i < count; i++) {
        left[L_MINUTES].integer += parts[i].values[L_MINUTES].integer;
        left[L_OPEN].integer += parts[i].values[L_OPEN].integer;
    }
    if (said[S_PARENT].present) {
        pj_contribute_named(derivation, 0, &said[S_PARENT], PART, pj_entity_key(entity), NULL);
        pj_contribute_named(derivation, 0, &said[S_PARENT], LEFT, pj_entity_key(entity), left);
    }
    if (pj_entity_too_deep(entity, LEFT)) /* on a ring */
        return;
    row[J_LEFT] = left[L_MINUTES];
    row[J_OPEN] = left[L_OPEN];
}

static void derive_job(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *fact = pj_entity_fact(entity, SAID, NULL);
    if (fact == NULL || fact->values[S_WITHDRAWN].boolean)
        return;
    const struct pj_value *said = fact->values;
    struct pj_value *row = pj_row(derivation, &jobs);
    row[J_JOB] = *pj_entity_name(entity);
    row[J_PARENT] = said[S_PARENT];
    row[J_TITLE] = said[S_TITLE];
    row[J_STATE] = said[S_STATE];
    row[J_SKILLS] = said[S_SKILLS];
    row[J_MINUTES] = said[S_MINUTES];
    find_whole(entity, derivation, &said[S_PARENT], row);
    sum_up(entity, derivation, said, row);
    claim_crew(entity, derivation, &fact->order);
}

/* --- the projection -------------------------------------------------------------------------- */

static const struct pj_items skills = {
    .fields = (const struct pj_field[]){[0] = {"", PJ_TEXT}}, .field_count = 1, .most = 20};
static const struct pj_field member_fields[MEMBER_FIELDS] = {
    [PERSON] = {"person", PJ_TEXT, .required = true, .most_chars = 40},
    [ROLE] = {"role", PJ_TEXT},
};
static const struct pj_items members = {.fields = member_fields, .field_count = MEMBER_FIELDS};
static const struct pj_field fields[EVENT_FIELDS] = {
    [EVENT_ID] = {"event_id", PJ_UUID, .required = true},
    [AT] = {"at", PJ_TIMESTAMPTZ, .required = true},
    [JOB] = {"job", PJ_TEXT, .required = true, .most_chars = 40},
    [PARENT] = {"parent", PJ_TEXT, .most_chars = 40},
    [TITLE] = {"title", PJ_TEXT},
    [STATE] = {"state", PJ_TEXT, .required = true},
    [SKILLS] = {"skills", .items = &skills},
    [MINUTES] = {"minutes", PJ_BIGINT, .required = true, .least = "0"},
    [CREW] = {"crew", .items = &members},
    [WITHDRAWN] = {"withdrawn", PJ_BOOL, .required = true},
};
static const struct pj_source source = {
    .topic = "yard.jobs",
    .schema = pj_schema_yard_jobs,
    .fields = fields,
    .field_count = EVENT_FIELDS,
    .event_time = AT,
    .observe = observe,
};
static const struct pj_entity_kind job = {"job", job_facts, JOB_FACTS, derive_job,
                                          .depth_most = 40};
static const struct pj_table *const tables[] = {&jobs, &crew};

const struct pj_projection yard_job_board = {
    .name = "job-board",
    .summary = "keep jobs and crew: what is to be done, and who does it",
    .sources = &source,
    .source_count = 1,
    .entities = &job,
    .entity_count = 1,
    .tables = tables,
    .table_count = 2,
};
