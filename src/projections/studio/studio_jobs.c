/* SPDX-License-Identifier: Apache-2.0 */
/*
 * studio-jobs: what is generated and rendered.
 *
 * A project that is deleted marks its jobs. It knows the jobs that name it, and tells each of them
 * when it was deleted; there may be thousands, which are kept apart.
 */
#include "projectionist/ids.h"
#include "projections/studio/studio.h"
#include "projections/studio/studio_projections.h"
#include "schemas.h"

#include <uuid/uuid.h>

enum { PROJECT, JOB };

/* --- the table ------------------------------------------------------------------------------- */

#define JOBS(COLUMN)                                                                               \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(project_id, PJ_UUID)                                                                    \
    COLUMN(type, PJ_TEXT)                                                                          \
    COLUMN(status, PJ_TEXT)                                                                        \
    COLUMN(progress, PJ_INT)                                                                       \
    COLUMN(message, PJ_TEXT)                                                                       \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(job_id, PJ_TEXT)                                                                        \
    COLUMN(result, PJ_JSONB)                                                                       \
    COLUMN(started_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(completed_at, PJ_TIMESTAMPTZ)                                                           \
    COLUMN(project_deleted_at, PJ_TIMESTAMPTZ)                                                     \
    COLUMN(revision, PJ_BIGINT)
PJ_COLUMNS(jobs, JOBS);
static const struct pj_table jobs_table = {.name = "generation_jobs", PJ_COLUMNS_OF(jobs)};

/* --- facts ----------------------------------------------------------------------------------- */

#define NOTHING(VALUE)
#define AT(VALUE) VALUE(at, PJ_TIMESTAMPTZ)

static void derive_names(const struct pj_entity *entity, const struct pj_fact *fact,
                         struct pj_derivation *derivation);

#define PROJECT_FACTS(FACT)                                                                        \
    FACT(deleted, PJ_LEAST, AT, .shown = true)                                                     \
    FACT(named_by, PJ_LEAST, NOTHING, .wide = true, .derive = derive_names) /* by the job */
PJ_FACTS(project, PROJECT, PROJECT_FACTS);

#define FIRST(VALUE)      VALUE(job_id, PJ_TEXT) VALUE(at, PJ_TIMESTAMPTZ)
#define REGISTERED(VALUE) VALUE(type, PJ_TEXT) VALUE(at, PJ_TIMESTAMPTZ)
#define WORKS_FOR(VALUE)  VALUE(project_id, PJ_UUID)
#define OUTCOME(VALUE)                                                                             \
    VALUE(status, PJ_BIGINT)                                                                       \
    VALUE(at, PJ_TIMESTAMPTZ)                                                                      \
    VALUE(result, PJ_JSONB)
#define PROGRESS(VALUE) VALUE(percent, PJ_INT)
#define MESSAGE(VALUE)  VALUE(text, PJ_TEXT)
#define GONE(VALUE)     VALUE(project_id, PJ_UUID) VALUE(at, PJ_TIMESTAMPTZ)
#define JOB_FACTS(FACT)                                                                            \
    FACT(first, PJ_LEAST, FIRST)                                                                   \
    FACT(registered, PJ_LEAST, REGISTERED)                                                         \
    FACT(works_for, PJ_LEAST, WORKS_FOR)                                                           \
    FACT(outcome, PJ_GREATEST, OUTCOME)                                                            \
    FACT(progressed, PJ_GREATEST, NOTHING)                                                         \
    FACT(progress, PJ_GREATEST, PROGRESS)                                                          \
    FACT(message, PJ_GREATEST, MESSAGE)                                                            \
    FACT(started, PJ_LEAST, AT)                                                                    \
    FACT(revised, PJ_GREATEST, NOTHING)                                                            \
    FACT(gone, PJ_LEAST, GONE) /* projects that are deleted */
PJ_FACTS(job, JOB, JOB_FACTS);

/* --- what one event means -------------------------------------------------------------------- */

enum status { QUEUED, RUNNING, SUCCESS, ERROR };
static const char *const words[] = {"queued", "running", "success", "error"};

static enum status status_of(struct pj_text word)
{
    static const struct {
        const char *word;
        enum status status;
    } known[] = {
        {"running", RUNNING},   {"processing", RUNNING}, {"success", SUCCESS},
        {"completed", SUCCESS}, {"succeeded", SUCCESS},  {"done", SUCCESS},
        {"error", ERROR},       {"failed", ERROR},       {"timeout", ERROR},
    };
    for (size_t i = 0; i < PJ_COUNT(known); i++) {
        if (pj_text_is(&word.value, known[i].word))
            return known[i].status;
    }
    return QUEUED;
}

/* Its row's, and the job_id as it is shown: UUIDs in lower case. */
static struct pj_text read_id(const struct studio_job_event *e, struct pj_observer *observer,
                              uint8_t id[16])
{
    const struct pj_value parts[] = {pj_text("studio/job"), e->job_id.value};
    if (!pj_uuid_parse(e->job_id.text.data, e->job_id.text.length, id)) {
        pj_uuid_of_texts(parts, PJ_COUNT(parts), id);
        return e->job_id;
    }
    char *text = pj_observer_alloc(observer, UUID_STR_LEN);
    uuid_unparse_lower(id, text);
    return PJ_TEXT((const char *)text);
}

static void keep_status(const struct studio_job_event *e, struct pj_observer *observer,
                        const uint8_t id[16], enum status status)
{
    const struct pj_order ranked =
        studio_order(e->revision, status < SUCCESS ? (int64_t)status : SUCCESS, e->event_id);
    PJ_KEEP(observer, outcome, id, NULL, &ranked,
            {.status = PJ_BIGINT(status), .at = e->emitted_at, .result = e->result});
}

static int observe_job(const struct pj_event *event, struct pj_observer *observer,
                       struct pj_error *error)
{
    const struct studio_job_event *e = PJ_EVENT(event, studio_job_event);
    const struct pj_order order = studio_order(e->revision, 0, e->event_id);
    const struct pj_int percent = PJ_OR(e->progress, e->status_progress);
    const struct pj_text text =
        PJ_OR(e->registered_message, PJ_OR(e->progress_message, e->status_message));
    const enum status status = e->status_changed.present ? status_of(e->status) : QUEUED;
    uint8_t id[16];
    if (studio_check_job(e, error) != 0)
        return -1;
    PJ_KEEP(observer, first, id, NULL, &order,
            {.job_id = read_id(e, observer, id), .at = e->emitted_at});
    PJ_KEEP(observer, revised, id, NULL, &order, {});
    if (e->project_id.present) {
        PJ_KEEP(observer, works_for, id, NULL, &order, {.project_id = e->project_id});
        PJ_KEEP(observer, named_by, e->project_id.uuid, id, &(struct pj_order){0}, {});
    }
    if (e->registered.present)
        PJ_KEEP(observer, registered, id, NULL, &order, {.type = e->type, .at = e->emitted_at});
    if (e->registered.present || e->status_changed.present)
        keep_status(e, observer, id, status);
    if (e->progressed.present)
        PJ_KEEP(observer, progressed, id, NULL, &order, {});
    if (e->progressed.present || status == RUNNING)
        PJ_KEEP(observer, started, id, NULL, &order, {.at = e->emitted_at});
    if (percent.present)
        PJ_KEEP(observer, progress, id, NULL, &order, {.percent = percent});
    if (text.present)
        PJ_KEEP(observer, message, id, NULL, &order, {.text = text});
    return 0;
}

static int observe_project(const struct pj_event *event, struct pj_observer *observer,
                           struct pj_error *error)
{
    const struct studio_project_event *e = PJ_EVENT(event, studio_project_event);
    const struct pj_order order = studio_order(e->revision, 0, e->event_id);
    if (studio_check_project(e, error) != 0)
        return -1;
    if (e->deleted.present)
        PJ_KEEP(observer, deleted, e->project_id.uuid, NULL, &order, {.at = e->emitted_at});
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

static void derive_project(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    (void)entity; /* all is said by what follows */
    (void)derivation;
}

static void derive_names(const struct pj_entity *entity, const struct pj_fact *fact,
                         struct pj_derivation *derivation)
{
    const struct deleted *deleted = PJ_FACT(entity, deleted);
    const struct pj_uuid project = PJ_UUID(pj_entity_key(entity));
    const struct pj_value parts[] = {project.value, pj_uuid(fact->subkey)};
    uint8_t subkey[16];
    if (deleted == NULL)
        return;
    pj_uuid_of_names(parts, PJ_COUNT(parts), subkey);
    PJ_CONTRIBUTE(derivation, gone, fact->subkey, subkey,
                  {.project_id = project, .at = deleted->at});
}

/* Of that project, if it was. */
static struct pj_timestamptz deleted_at(const struct pj_entity *job, struct pj_uuid project)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(job, gone, &count);
    for (size_t i = 0; i < count; i++) {
        const struct gone *gone = PJ_SAYS(gone, &facts[i]);
        if (pj_value_compare(PJ_UUID, &gone->project_id.value, &project.value) == 0)
            return gone->at;
    }
    return PJ_TIMESTAMPTZ(pj_null());
}

/* Progress that is told later than the status, or of the same revision, says that it runs. */
static enum status shown_status(const struct pj_entity *entity)
{
    const struct pj_fact *outcome = pj_entity_fact(entity, outcome_fact, NULL);
    const struct pj_fact *progressed = pj_entity_fact(entity, progressed_fact, NULL);
    if (outcome == NULL)
        return RUNNING; /* nothing else is known of it */
    enum status said = (enum status)PJ_SAYS(outcome, outcome)->status.integer;
    if (said == QUEUED && progressed != NULL && progressed->order.rank[0] >= outcome->order.rank[0])
        return RUNNING;
    return said;
}

static void derive_job(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct first *first = PJ_FACT(entity, first);
    if (first == NULL) /* it is only named */
        return;
    const struct registered *registered = PJ_SAID(entity, registered);
    const struct outcome *outcome = PJ_SAID(entity, outcome);
    const struct pj_uuid project = PJ_SAID(entity, works_for)->project_id;
    const enum status shown = shown_status(entity);
    struct jobs *row = PJ_ROW(derivation, jobs);
    *row = (struct jobs){
        .id = PJ_UUID(pj_entity_key(entity)),
        .project_id = project,
        .type = PJ_OR(registered->type, PJ_TEXT("unknown")),
        .status = PJ_TEXT(words[shown]),
        .progress = PJ_OR(PJ_SAID(entity, progress)->percent, PJ_INT(0)),
        .message = PJ_SAID(entity, message)->text,
        .created_at = PJ_OR(registered->at, first->at),
        .job_id = first->job_id,
        .started_at = PJ_SAID(entity, started)->at,
        .revision = PJ_BIGINT(pj_entity_fact(entity, revised_fact, NULL)->order.rank[0]),
    };
    if (project.present)
        row->project_deleted_at = deleted_at(entity, project);
    if (shown == SUCCESS)
        row->progress = PJ_INT(100);
    if (shown >= SUCCESS) {
        row->completed_at = outcome->at;
        row->result = outcome->result;
    }
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_studio_jobs = {
    .name = "studio-jobs",
    .summary = "keep generation_jobs: what is generated and rendered",
    .version = 1,
    PJ_SOURCES(PJ_SOURCE("studio.jobs", pj_schema_studio_jobs, studio_job_event, observe_job),
               PJ_SOURCE("studio.projects", pj_schema_studio_projects, studio_project_event,
                         observe_project)),
    PJ_ENTITIES([PROJECT] = {.name = "project", PJ_FACTS_OF(project), .derive = derive_project},
                [JOB] = {.name = "job", PJ_FACTS_OF(job), .derive = derive_job}),
    PJ_TABLES(&jobs_table),
};
