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

#define JOBS(COLUMN)                                                                               \
    COLUMN(job, PJ_TEXT, .key = true)                                                              \
    COLUMN(parent, PJ_TEXT)                                                                        \
    COLUMN(title, PJ_TEXT)                                                                         \
    COLUMN(state, PJ_TEXT, .sql_type = "job_state")                                                \
    COLUMN(skills, PJ_TEXT, .sql_type = "text[]")                                                  \
    COLUMN(minutes, PJ_BIGINT)                                                                     \
    COLUMN(root, PJ_TEXT)                                                                          \
    COLUMN(depth, PJ_BIGINT)                                                                       \
    COLUMN(minutes_left, PJ_BIGINT)                                                                \
    COLUMN(jobs_open, PJ_BIGINT)
PJ_COLUMNS(jobs, JOBS);
static const struct pj_table jobs_table = {.name = "jobs", PJ_COLUMNS_OF(jobs)};

#define CREW(COLUMN)                                                                               \
    COLUMN(person, PJ_TEXT, .key = true)                                                           \
    COLUMN(job, PJ_TEXT)                                                                           \
    COLUMN(place, PJ_BIGINT)                                                                       \
    COLUMN(role, PJ_TEXT)
PJ_COLUMNS(crew, CREW);
static const struct pj_table crew_table = {
    .name = "crew", PJ_COLUMNS_OF(crew), .claimed = "member"};

/* --- facts ----------------------------------------------------------------------------------- */

#define SAID(VALUE)                                                                                \
    VALUE(parent, PJ_TEXT)                                                                         \
    VALUE(title, PJ_TEXT)                                                                          \
    VALUE(state, PJ_TEXT)                                                                          \
    VALUE(skills, PJ_TEXT)                                                                         \
    VALUE(minutes, PJ_BIGINT)                                                                      \
    VALUE(withdrawn, PJ_BOOL)
#define NAME(VALUE)   VALUE(job, PJ_TEXT)
#define MEMBER(VALUE) VALUE(person, PJ_TEXT) VALUE(place, PJ_BIGINT) VALUE(role, PJ_TEXT)
#define PART(VALUE)
#define WHOLE(VALUE) VALUE(root, PJ_TEXT) VALUE(depth, PJ_BIGINT)
#define LEFT(VALUE)  VALUE(minutes, PJ_BIGINT) VALUE(jobs, PJ_BIGINT)
#define JOB_FACTS(FACT)                                                                            \
    FACT(said, PJ_GREATEST, SAID, .lists = 1 << member_fact)                                       \
    FACT(name, PJ_GREATEST, NAME, .is_name = true)                                                 \
    FACT(member, PJ_GREATEST, MEMBER)                                                              \
    FACT(part, PJ_GREATEST, PART)                                                                  \
    FACT(whole, PJ_GREATEST, WHOLE, .recursive = true)                                             \
    FACT(left, PJ_GREATEST, LEFT, .recursive = true)
PJ_FACTS(job, 0, JOB_FACTS);

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)error;
    const struct job_event *e = PJ_EVENT(event, job_event);
    struct pj_order order = PJ_ORDER(e->event_id, e->at.integer);
    PJ_KEEP_NAMED(observer, said, PJ_PARTS(e->job), NULL, &order,
                  {.parent = e->parent,
                   .title = e->title,
                   .state = e->state,
                   .skills = PJ_TEXT(pj_observer_items(observer, &e->skills.value)),
                   .minutes = e->minutes,
                   .withdrawn = e->withdrawn});
    for (struct pj_array_item item = {0}; pj_items_next(&e->crew.value, &item);) {
        const struct crew_member *m = PJ_VIEW(crew_member, item.values);
        uint8_t person[16];
        pj_uuid_of_names(PJ_PARTS(m->person), 1, person);
        PJ_KEEP_NAMED(
            observer, member, PJ_PARTS(e->job), person, &order,
            {.person = m->person, .place = PJ_BIGINT((int64_t)item.index), .role = m->role});
    }
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

static void claim_crew(const struct pj_entity *entity, struct pj_derivation *derivation,
                       struct pj_text job)
{
    size_t count;
    const struct pj_fact *members = PJ_ALL(entity, member, &count);
    for (size_t i = 0; i < count; i++) {
        const struct member *m = PJ_SAYS(member, &members[i]);
        struct crew *row = PJ_CLAIM(derivation, crew, &members[i].order);
        row->person = m->person;
        row->job = job;
        row->place = m->place;
        row->role = m->role;
    }
}

/* Its root and how far away that is, which its parts are told; of a part whose parent is not there,
 * or on a ring, nothing is known. */
static void find_whole(const struct pj_entity *entity, struct pj_derivation *derivation,
                       struct jobs *row)
{
    struct whole whole = {.root = row->job, .depth = PJ_BIGINT(0)};
    size_t count;
    if (row->parent.present) {
        uint8_t above[16];
        pj_uuid_of_names(PJ_PARTS(row->parent), 1, above);
        whole = *PJ_SAYS(whole, pj_entity_fact(entity, whole_fact, above));
        whole.depth.integer++;
    }
    const struct pj_fact *parts = PJ_ALL(entity, part, &count);
    for (size_t i = 0; i < count; i++)
        PJ_CONTRIBUTE(derivation, whole, parts[i].subkey, pj_entity_key(entity), whole);
    row->root = whole.root;
    row->depth = whole.depth;
}

/* What is left to do of it and its parts, which the job that it is part of is told. */
static void sum_up(const struct pj_entity *entity, struct pj_derivation *derivation,
                   struct jobs *row)
{
    bool open = !pj_text_is(&row->state.value, "done");
    struct left left = {.minutes = PJ_BIGINT(open ? row->minutes.integer : 0),
                        .jobs = PJ_BIGINT(open)};
    size_t count;
    const struct pj_fact *parts = PJ_ALL(entity, left, &count);
    for (size_t i = 0; i < count; i++) {
        left.minutes.integer += PJ_SAYS(left, &parts[i])->minutes.integer;
        left.jobs.integer += PJ_SAYS(left, &parts[i])->jobs.integer;
    }
    if (row->parent.present) {
        const struct pj_value *parent = PJ_PARTS(row->parent);
        PJ_CONTRIBUTE_NAMED(derivation, part, parent, pj_entity_key(entity), {});
        PJ_CONTRIBUTE_NAMED(derivation, left, parent, pj_entity_key(entity), left);
    }
    if (pj_entity_too_deep(entity, left_fact)) /* on a ring */
        return;
    row->minutes_left = left.minutes;
    row->jobs_open = left.jobs;
}

static void derive_job(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct said *said = PJ_FACT(entity, said);
    if (said == NULL || said->withdrawn.boolean)
        return;
    struct jobs *row = PJ_ROW(derivation, jobs);
    row->job = PJ_VIEW(name, pj_entity_name(entity))->job;
    row->parent = said->parent;
    row->title = said->title;
    row->state = said->state;
    row->skills = said->skills;
    row->minutes = said->minutes;
    find_whole(entity, derivation, row);
    sum_up(entity, derivation, row);
    claim_crew(entity, derivation, row->job);
}

const struct pj_projection yard_job_board = {
    .name = "job-board",
    .summary = "keep jobs and crew: what is to be done, and who does it",
    PJ_SOURCES({.topic = "yard.jobs",
                .schema = pj_schema_yard_jobs,
                PJ_FIELDS_OF(job_event),
                .event_time = PJ_INDEX(job_event, at),
                .observe = observe}),
    PJ_ENTITIES({.name = "job", PJ_FACTS_OF(job), .derive = derive_job, .depth_most = 40}),
    PJ_TABLES(&jobs_table, &crew_table),
};
