/* SPDX-License-Identifier: Apache-2.0 */
/*
 * render-jobs: jobs with their elements, the steps of their work, and what became of each word of
 * their status.
 *
 * A job is one entity, whose rows follow from all that is known of it; a deletion absorbs that. Two
 * things it cannot know by itself: whose an element is that several jobs have added, which the
 * element knows from them (a job that is deleted takes back what it has added); and what became of
 * the object in the storage that it uploaded, which anybody may delete.
 */
#include "projections/render/lifecycle.h"
#include "projections/render/render.h"
#include "projections/render/render_projections.h"

#include "base/text.h"
#include "projectionist/json.h"
#include "schemas.h"

#include <ctype.h>
#include <stdlib.h>
#include <uuid/uuid.h>

/* --- tables ---------------------------------------------------------------------------------- */

const struct pj_table render_jobs_table = {
    .name = "jobs",
    PJ_COLUMNS_OF(render_jobs),
    .children = (const struct pj_table *const[]){&render_storage_operations_table,
                                                 &render_access_logs_table, NULL},
    .placeholder = PJ_INDEX(render_jobs, placeholder),
    .first_seen = PJ_INDEX(render_jobs, created_at),
};

#define HISTORY(COLUMN)                                                                            \
    COLUMN(event_id, PJ_UUID, .key = true)                                                         \
    COLUMN(job_id, PJ_UUID)                                                                        \
    COLUMN(attempt, PJ_INT)                                                                        \
    COLUMN(from_status, PJ_TEXT, .sql_type = "job_status")                                         \
    COLUMN(to_status, PJ_TEXT, .sql_type = "job_status")                                           \
    COLUMN(at, PJ_TIMESTAMPTZ)                                                                     \
    COLUMN(verdict, PJ_TEXT)                                                                       \
    COLUMN(cause, PJ_TEXT)                                                                         \
    COLUMN(error_message, PJ_TEXT)                                                                 \
    COLUMN(error_code, PJ_TEXT)
PJ_COLUMNS(history, HISTORY);
static const struct pj_table history_table = {.name = "job_status_history", PJ_COLUMNS_OF(history)};

#define ELEMENTS(COLUMN)                                                                           \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(job_id, PJ_UUID)                                                                        \
    COLUMN(element_order, PJ_INT)                                                                  \
    COLUMN(type, PJ_TEXT, .sql_type = "element_type")                                              \
    COLUMN(source_url, PJ_TEXT)                                                                    \
    COLUMN(source_filename, PJ_TEXT)                                                               \
    COLUMN(source_size, PJ_BIGINT)                                                                 \
    COLUMN(source_duration, PJ_NUMERIC)                                                            \
    COLUMN(track, PJ_INT)                                                                          \
    COLUMN(x_position, PJ_TEXT)                                                                    \
    COLUMN(y_position, PJ_TEXT)                                                                    \
    COLUMN(width, PJ_TEXT)                                                                         \
    COLUMN(height, PJ_TEXT)                                                                        \
    COLUMN(fit_mode, PJ_TEXT, .sql_type = "fit_mode")                                              \
    COLUMN(start_time, PJ_NUMERIC)                                                                 \
    COLUMN(end_time, PJ_NUMERIC)                                                                   \
    COLUMN(downloaded, PJ_BOOL)                                                                    \
    COLUMN(processed, PJ_BOOL)                                                                     \
    COLUMN(error_message, PJ_TEXT)                                                                 \
    COLUMN(local_path, PJ_TEXT)                                                                    \
    COLUMN(processed_path, PJ_TEXT)                                                                \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(elements, ELEMENTS);
static const struct pj_table elements_table = {.name = "elements", PJ_COLUMNS_OF(elements)};

#define REFUSALS(COLUMN)                                                                           \
    COLUMN(element_id, PJ_UUID, .key = true)                                                       \
    COLUMN(job_id, PJ_UUID, .key = true)                                                           \
    COLUMN(element_order, PJ_INT)                                                                  \
    COLUMN(reason, PJ_TEXT)                                                                        \
    COLUMN(emitted_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(refusals, REFUSALS);
static const struct pj_table refusals_table = {.name = "element_refusals", PJ_COLUMNS_OF(refusals)};

#define TIMELINE(COLUMN)                                                                           \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(job_id, PJ_UUID)                                                                        \
    COLUMN(step, PJ_TEXT, .sql_type = "processing_step")                                           \
    COLUMN(step_order, PJ_INT)                                                                     \
    COLUMN(started_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(completed_at, PJ_TIMESTAMPTZ)                                                           \
    COLUMN(duration_ms, PJ_INT)                                                                    \
    COLUMN(success, PJ_BOOL)                                                                       \
    COLUMN(progress_percentage, PJ_INT)                                                            \
    COLUMN(details, PJ_JSONB)                                                                      \
    COLUMN(error_message, PJ_TEXT)                                                                 \
    COLUMN(cpu_usage, PJ_NUMERIC)                                                                  \
    COLUMN(memory_usage, PJ_BIGINT)                                                                \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(attempt, PJ_INT)
PJ_COLUMNS(timeline, TIMELINE);
static const struct pj_table timeline_table = {.name = "processing_timeline",
                                               PJ_COLUMNS_OF(timeline)};

/* --- facts ----------------------------------------------------------------------------------- */

enum { OBJECT, ADDITIONS, ELEMENT, JOB };

#define NOTHING(VALUE)

/* An object in the storage. Its latest upload by each job, and by nobody who says for which. */
#define OBJECT_NAME(VALUE) VALUE(bucket, PJ_TEXT) VALUE(key, PJ_TEXT)
#define ROLE(VALUE)        VALUE(word, PJ_TEXT)
#define UPLOAD(VALUE)      VALUE(region, PJ_TEXT) VALUE(file_size, PJ_BIGINT)
#define OBJECT_FACTS(FACT)                                                                         \
    FACT(object_name, PJ_GREATEST, OBJECT_NAME, .is_name = true)                                   \
    FACT(role, PJ_GREATEST, ROLE)                                                                  \
    FACT(uploaded, PJ_GREATEST, UPLOAD) /* by the job */                                           \
    FACT(found, PJ_GREATEST, UPLOAD)                                                               \
    FACT(removed, PJ_GREATEST, NOTHING)
PJ_FACTS(object, OBJECT, OBJECT_FACTS);

/* What a job has added, and whether it is still there to say so. */
#define ADDITION(VALUE) VALUE(at, PJ_TIMESTAMPTZ) VALUE(event_id, PJ_UUID)
#define ADDITIONS_FACTS(FACT)                                                                      \
    FACT(addition, PJ_LEAST, ADDITION) /* by the element */                                        \
    FACT(gone, PJ_LEAST, NOTHING, .absorbs = true)
PJ_FACTS(additions, ADDITIONS, ADDITIONS_FACTS);

#define CLAIM(VALUE)        VALUE(job_id, PJ_UUID) VALUE(at, PJ_TIMESTAMPTZ) VALUE(event_id, PJ_UUID)
#define ELEMENT_FACTS(FACT) FACT(claim, PJ_LEAST, CLAIM) /* by the job */
PJ_FACTS(element, ELEMENT, ELEMENT_FACTS);

#define CREATED(VALUE)                                                                             \
    VALUE(output_format, PJ_TEXT)                                                                  \
    VALUE(width, PJ_INT)                                                                           \
    VALUE(height, PJ_INT)                                                                          \
    VALUE(estimated_duration, PJ_INT)                                                              \
    VALUE(response_type, PJ_TEXT)                                                                  \
    VALUE(client_ip, PJ_TEXT)                                                                      \
    VALUE(user_agent, PJ_TEXT)                                                                     \
    VALUE(request_metadata, PJ_JSONB)                                                              \
    VALUE(owner_id, PJ_UUID)                                                                       \
    VALUE(created_at, PJ_TIMESTAMPTZ)
#define WORD(VALUE)                                                                                \
    VALUE(status, PJ_INT)                                                                          \
    VALUE(progress, PJ_BOOL)                                                                       \
    VALUE(attempt, PJ_INT)                                                                         \
    VALUE(error_message, PJ_TEXT)                                                                  \
    VALUE(error_code, PJ_TEXT)                                                                     \
    VALUE(processing_ms, PJ_BIGINT)                                                                \
    VALUE(result_url, PJ_TEXT)
#define PROGRESS(VALUE) VALUE(percent, PJ_INT)
#define PLACE(VALUE)    VALUE(step, PJ_TEXT)
#define ADDED(VALUE)                                                                               \
    VALUE(element_order, PJ_INT)                                                                   \
    VALUE(type, PJ_TEXT)                                                                           \
    VALUE(source_url, PJ_TEXT)                                                                     \
    VALUE(source_filename, PJ_TEXT)                                                                \
    VALUE(source_size, PJ_BIGINT)                                                                  \
    VALUE(source_duration, PJ_NUMERIC)                                                             \
    VALUE(track, PJ_INT)                                                                           \
    VALUE(x_position, PJ_TEXT)                                                                     \
    VALUE(y_position, PJ_TEXT)                                                                     \
    VALUE(width, PJ_TEXT)                                                                          \
    VALUE(height, PJ_TEXT)                                                                         \
    VALUE(fit_mode, PJ_TEXT)                                                                       \
    VALUE(start_time, PJ_NUMERIC)                                                                  \
    VALUE(end_time, PJ_NUMERIC)                                                                    \
    VALUE(metadata, PJ_JSONB)
#define FLAG(VALUE)     VALUE(is, PJ_BOOL)
#define LABEL(VALUE)    VALUE(is, PJ_TEXT)
#define SIZE(VALUE)     VALUE(is, PJ_BIGINT)
#define DURATION(VALUE) VALUE(is, PJ_NUMERIC)
#define BEGUN(VALUE)                                                                               \
    VALUE(step, PJ_TEXT)                                                                           \
    VALUE(step_order, PJ_INT)                                                                      \
    VALUE(attempt, PJ_INT)                                                                         \
    VALUE(at, PJ_TIMESTAMPTZ)                                                                      \
    VALUE(details, PJ_JSONB)
#define ENDED(VALUE)                                                                               \
    BEGUN(VALUE)                                                                                   \
    VALUE(success, PJ_BOOL)                                                                        \
    VALUE(progress, PJ_INT)                                                                        \
    VALUE(error_message, PJ_TEXT)                                                                  \
    VALUE(cpu_usage, PJ_NUMERIC)                                                                   \
    VALUE(memory_usage, PJ_BIGINT)
#define STORED(VALUE)                                                                              \
    VALUE(bucket, PJ_TEXT)                                                                         \
    VALUE(key, PJ_TEXT)                                                                            \
    VALUE(region, PJ_TEXT)                                                                         \
    VALUE(file_size, PJ_BIGINT)                                                                    \
    VALUE(at, PJ_TIMESTAMPTZ)                                                                      \
    VALUE(event_id, PJ_UUID)                                                                       \
    VALUE(removed, PJ_BOOL)

/* What progress does not change, and what is many, is kept apart. */
#define JOB_FACTS(FACT)                                                                            \
    FACT(created, PJ_LEAST, CREATED, .wide = true)                                                 \
    FACT(deleted, PJ_LEAST, NOTHING, .absorbs = true)                                              \
    FACT(word, PJ_LEAST, WORD, .wide = true) /* by the event */                                    \
    FACT(progress, PJ_GREATEST, PROGRESS)    /* by the attempt, like the next */                   \
    FACT(place, PJ_GREATEST, PLACE)                                                                \
    FACT(added, PJ_LEAST, ADDED, .wide = true) /* by the element, like the next */                 \
    FACT(downloaded, PJ_GREATEST, FLAG)                                                            \
    FACT(processed, PJ_GREATEST, FLAG)                                                             \
    FACT(local_path, PJ_GREATEST, LABEL)                                                           \
    FACT(processed_path, PJ_GREATEST, LABEL)                                                       \
    FACT(element_error, PJ_GREATEST, LABEL)                                                        \
    FACT(source_size, PJ_GREATEST, SIZE)                                                           \
    FACT(source_duration, PJ_GREATEST, DURATION)                                                   \
    FACT(elsewhere, PJ_LEAST, NOTHING)            /* it is another job's */                        \
    FACT(begun, PJ_GREATEST, BEGUN, .wide = true) /* by the step, like the next */                 \
    FACT(ended, PJ_GREATEST, ENDED, .wide = true)                                                  \
    FACT(stored, PJ_GREATEST, STORED) /* by the object */
PJ_FACTS(job, JOB, JOB_FACTS);

/* --- what an event means --------------------------------------------------------------------- */

static void number_key(int64_t number, uint8_t key[16])
{
    memset(key, 0, 16);
    memcpy(key, &number, sizeof number);
}

static void keep_progress(struct pj_observer *observer, const uint8_t *job, struct pj_int attempt,
                          struct pj_int percent)
{
    uint8_t of_attempt[16];
    number_key(attempt.integer, of_attempt);
    PJ_KEEP(observer, progress, job, of_attempt, &(struct pj_order){.rank = {percent.integer}},
            {.percent = percent});
}

static void keep_place(struct pj_observer *observer, const uint8_t *job, struct pj_int attempt,
                       const struct pj_order *order, struct pj_text step)
{
    uint8_t of_attempt[16];
    number_key(attempt.integer, of_attempt);
    PJ_KEEP(observer, place, job, of_attempt, order, {.step = step});
}

static struct pj_text response_type(const struct render_job_event *e)
{
    enum { IMMEDIATE_MOST = 30 };
    if (e->response_type.present)
        return e->response_type;
    return e->estimated_duration.present && e->estimated_duration.integer > IMMEDIATE_MOST
               ? PJ_TEXT("async")
               : PJ_TEXT("immediate");
}

static void observe_progress(const struct render_job_event *e, struct pj_observer *observer,
                             const struct pj_order *order)
{
    keep_progress(observer, e->job_id.uuid, e->attempt, e->progress);
    if (e->step.present)
        keep_place(observer, e->job_id.uuid, e->attempt, order, e->step);
    if (e->progress.integer == 100)
        PJ_KEEP(
            observer, word, e->job_id.uuid, e->event_id.uuid, order,
            {.status = PJ_INT(RENDER_COMPLETED), .progress = PJ_BOOL(true), .attempt = e->attempt});
}

static int observe_job(const struct pj_event *event, struct pj_observer *observer,
                       struct pj_error *error)
{
    const struct render_job_event *e = PJ_EVENT(event, render_job_event);
    const struct pj_order order = PJ_ORDER(e->event_id, e->emitted_at.integer);
    const uint8_t *job = e->job_id.uuid;
    if (render_check_job(e, error) != 0)
        return -1;
    if (e->created.present)
        PJ_KEEP(observer, created, job, NULL, &order,
                {.output_format = e->output_format,
                 .width = e->width,
                 .height = e->height,
                 .estimated_duration = e->estimated_duration,
                 .response_type = response_type(e),
                 .client_ip = e->client_ip,
                 .user_agent = e->user_agent,
                 .request_metadata = e->request_metadata,
                 .owner_id = e->owner_id,
                 .created_at = PJ_OR(e->requested_at, e->emitted_at)});
    if (e->status_changed.present)
        PJ_KEEP(observer, word, job, e->event_id.uuid, &order,
                {.status = PJ_INT(render_word(render_statuses, e->status)),
                 .progress = PJ_BOOL(false),
                 .attempt = e->attempt,
                 .error_message = e->error_message,
                 .error_code = e->error_code,
                 .processing_ms = e->processing_ms,
                 .result_url = e->result_url});
    if (e->progressed.present)
        observe_progress(e, observer, &order);
    if (e->deleted.present) {
        PJ_KEEP(observer, gone, job, NULL, &order, {});
        PJ_KEEP(observer, deleted, job, NULL, &order, {});
    }
    return 0;
}

#define KEEP_IF(fact, said)                                                                        \
    do {                                                                                           \
        if ((said).present)                                                                        \
            PJ_KEEP(observer, fact, job, element, &order, {.is = said});                           \
    } while (0)

static int observe_element(const struct pj_event *event, struct pj_observer *observer,
                           struct pj_error *error)
{
    const struct render_element_event *e = PJ_EVENT(event, render_element_event);
    const struct pj_order order = PJ_ORDER(e->event_id, e->emitted_at.integer);
    const uint8_t *job = e->job_id.uuid;
    const uint8_t *element = e->element_id.uuid;
    if (render_check_element(e, error) != 0)
        return -1;
    if (e->added.present) {
        PJ_KEEP(observer, addition, job, element, &order,
                {.at = e->emitted_at, .event_id = e->event_id});
        PJ_KEEP(observer, added, job, element, &order,
                {.element_order = e->element_order,
                 .type = e->type,
                 .source_url = e->source_url,
                 .source_filename = e->source_filename,
                 .source_size = e->source_size,
                 .source_duration = e->source_duration,
                 .track = e->track,
                 .x_position = e->x_position,
                 .y_position = e->y_position,
                 .width = e->width,
                 .height = e->height,
                 .fit_mode = e->fit_mode,
                 .start_time = e->start_time,
                 .end_time = e->end_time,
                 .metadata = e->metadata});
    }
    KEEP_IF(downloaded, e->downloaded);
    KEEP_IF(processed, e->processed);
    KEEP_IF(local_path, e->local_path);
    KEEP_IF(processed_path, e->processed_path);
    KEEP_IF(element_error, e->error_message);
    KEEP_IF(source_size, e->found_size);
    KEEP_IF(source_duration, e->found_duration);
    return 0;
}

/* The version 5 UUID of render.step/<job>/<step>/<step_order>. */
static void step_id(const struct render_step_event *e, uint8_t id[16])
{
    char job[37];
    char name[128];
    uuid_unparse_lower(e->job_id.uuid, job);
    size_t length =
        pj_text_whole(name, sizeof name, "render.step/%s/%.*s/%lld", job, (int)e->step.text.length,
                      e->step.text.data, (long long)e->step_order.integer);
    pj_uuid_of_name(name, length, id);
}

/* The earliest of the greatest attempt is the greatest. */
static struct pj_order begun_order(const struct render_step_event *e)
{
    struct pj_order order = {.rank = {e->attempt.integer, ~e->emitted_at.integer}};
    for (size_t i = 0; i < sizeof order.tie; i++)
        order.tie[i] = (uint8_t)~e->event_id.uuid[i];
    return order;
}

static int observe_step(const struct pj_event *event, struct pj_observer *observer,
                        struct pj_error *error)
{
    const struct render_step_event *e = PJ_EVENT(event, render_step_event);
    struct pj_order order = PJ_ORDER(e->event_id, e->emitted_at.integer);
    const uint8_t *job = e->job_id.uuid;
    uint8_t id[16];
    if (render_check_step(e, error) != 0)
        return -1;
    step_id(e, id);
    if (e->started.present) {
        const struct pj_order first = begun_order(e);
        keep_place(observer, job, e->attempt, &order, e->step);
        PJ_KEEP(observer, begun, job, id, &first,
                {.step = e->step,
                 .step_order = e->step_order,
                 .attempt = e->attempt,
                 .at = e->emitted_at,
                 .details = e->begun_details});
        return 0;
    }
    if (e->progress.present)
        keep_progress(observer, job, e->attempt, e->progress);
    order.rank[1] = order.rank[0];
    order.rank[0] = e->attempt.integer;
    PJ_KEEP(observer, ended, job, id, &order,
            {.step = e->step,
             .step_order = e->step_order,
             .attempt = e->attempt,
             .at = e->emitted_at,
             .details = e->details,
             .success = e->success,
             .progress = e->progress,
             .error_message = e->error_message,
             .cpu_usage = e->cpu_usage,
             .memory_usage = e->memory_usage});
    return 0;
}

static int observe_storage(const struct pj_event *event, struct pj_observer *observer,
                           struct pj_error *error)
{
    const struct render_storage_event *e = PJ_EVENT(event, render_storage_event);
    const struct pj_order order = PJ_ORDER(e->event_id, e->emitted_at.integer);
    const struct pj_value name[] = {e->bucket.value, e->key.value};
    if (render_check_storage(e, error) != 0)
        return -1;
    const json_t *metadata = pj_observer_json(observer, &e->metadata.value);
    const struct pj_text told =
        PJ_TEXT(pj_observer_text(observer, json_object_get(metadata, "role")));
    const bool upload = e->success.boolean && pj_text_is(&e->operation.value, "upload");
    if (told.present)
        PJ_KEEP_NAMED(observer, role, name, NULL, &order, {.word = told});
    if (upload && e->job_id.present)
        PJ_KEEP_NAMED(observer, uploaded, name, e->job_id.uuid, &order,
                      {.region = e->region, .file_size = e->file_size});
    else if (upload)
        PJ_KEEP_NAMED(observer, found, name, NULL, &order,
                      {.region = e->region, .file_size = e->file_size});
    if (e->success.boolean && pj_text_is(&e->operation.value, "delete"))
        PJ_KEEP_NAMED(observer, removed, name, NULL, &order, {});
    return 0;
}

/* --- objects and elements, which jobs hear of ------------------------------------------------ */

static int compare_events(const struct pj_fact *a, const struct pj_fact *b)
{
    if (a->order.rank[0] != b->order.rank[0])
        return a->order.rank[0] < b->order.rank[0] ? -1 : 1;
    return memcmp(a->order.tie, b->order.tie, sizeof a->order.tie);
}

/* An upload that nobody says the job of is of whoever uploaded there. */
static void derive_object(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct object_name *name = PJ_VIEW(object_name, pj_entity_name(entity));
    const struct pj_text said = PJ_SAID(entity, role)->word;
    const struct pj_fact *notice = pj_fact_of(entity, OBJECT, found_fact, NULL);
    const struct pj_fact *removal = pj_fact_of(entity, OBJECT, removed_fact, NULL);
    size_t count;
    const struct pj_fact *uploads = PJ_ALL(entity, uploaded, &count);
    if (said.present && !pj_text_is(&said.value, "result"))
        return;
    for (size_t i = 0; i < count; i++) {
        const bool noticed = notice != NULL && compare_events(notice, &uploads[i]) > 0;
        const struct pj_fact *last = noticed ? notice : &uploads[i];
        const struct uploaded *upload = PJ_SAYS(uploaded, last);
        const bool removed = removal != NULL && compare_events(removal, last) > 0;
        PJ_CONTRIBUTE(derivation, stored, uploads[i].subkey, pj_entity_key(entity),
                      {.bucket = name->bucket,
                       .key = name->key,
                       .region = upload->region,
                       .file_size = upload->file_size,
                       .at = PJ_TIMESTAMPTZ(last->order.rank[0]),
                       .event_id = PJ_UUID(last->order.tie),
                       .removed = PJ_BOOL(removed)});
    }
}

static void derive_additions(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const uint8_t *job = pj_entity_key(entity);
    const struct pj_fact *facts = PJ_ALL(entity, addition, &count);
    for (size_t i = 0; i < count; i++) {
        const struct addition *said = PJ_SAYS(addition, &facts[i]);
        PJ_CONTRIBUTE(derivation, claim, facts[i].subkey, job,
                      {.job_id = PJ_UUID(job), .at = said->at, .event_id = said->event_id});
    }
}

/* <0: a was first. */
static int compare_claims(const struct claim *a, const struct claim *b)
{
    if (a->at.integer != b->at.integer)
        return a->at.integer < b->at.integer ? -1 : 1;
    int compared = memcmp(a->event_id.uuid, b->event_id.uuid, sizeof a->event_id.uuid);
    return compared != 0 ? compared : memcmp(a->job_id.uuid, b->job_id.uuid, sizeof a->job_id.uuid);
}

/* Those who were not the first hear of it. */
static void derive_element(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *claims = PJ_ALL(entity, claim, &count);
    size_t first = 0;
    for (size_t i = 1; i < count; i++) {
        if (compare_claims(PJ_SAYS(claim, &claims[i]), PJ_SAYS(claim, &claims[first])) < 0)
            first = i;
    }
    for (size_t i = 0; i < count; i++) {
        if (i != first)
            PJ_CONTRIBUTE(derivation, elsewhere, PJ_SAYS(claim, &claims[i])->job_id.uuid,
                          pj_entity_key(entity), {});
    }
}

/* --- jobs: status ---------------------------------------------------------------------------- */

static struct render_word *collect_words(const struct pj_entity *entity,
                                         struct pj_derivation *derivation, size_t *count)
{
    const struct pj_fact *facts = PJ_ALL(entity, word, count);
    struct render_word *words = pj_derivation_alloc(derivation, *count * sizeof *words);
    for (size_t i = 0; i < *count; i++) {
        const struct word *said = PJ_SAYS(word, &facts[i]);
        words[i] = (struct render_word){
            .said = said,
            .at = facts[i].order.rank[0],
            .status = (enum render_status)said->status.integer,
            .progress = said->progress.boolean,
            .attempt = (int32_t)said->attempt.integer,
        };
        memcpy(words[i].event_id, facts[i].subkey, sizeof words[i].event_id);
    }
    return words;
}

static void derive_history(const struct pj_entity *entity, struct pj_derivation *derivation,
                           const struct render_word *words, size_t count)
{
    static const char *const verdicts[] = {"accepted", "implied start", "repeated", "rejected"};
    for (size_t i = 0; i < count; i++) {
        const struct word *said = words[i].said;
        *PJ_ROW(derivation, history) = (struct history){
            .event_id = PJ_UUID(words[i].event_id),
            .job_id = PJ_UUID(pj_entity_key(entity)),
            .attempt = PJ_INT(words[i].attempt),
            .from_status = PJ_TEXT(render_statuses[words[i].from]),
            .to_status = PJ_TEXT(render_statuses[words[i].status]),
            .at = PJ_TIMESTAMPTZ(words[i].at),
            .verdict = PJ_TEXT(verdicts[words[i].verdict]),
            .cause = PJ_TEXT(words[i].progress ? "progress" : "status"),
            .error_message = said->error_message,
            .error_code = said->error_code,
        };
    }
}

/* From one time to another in units of so many microseconds, half away from zero; within 0 and the
 * most that an integer of the table holds. */
static int32_t span(int64_t from, int64_t to, int64_t unit)
{
    int64_t length;
    if (to <= from)
        return 0;
    if (__builtin_sub_overflow(to, from, &length) || length / unit >= INT32_MAX)
        return INT32_MAX;
    return (int32_t)((length + unit / 2) / unit);
}

static struct pj_int actual_duration(const struct render_life *life)
{
    const struct render_word *end = life->end;
    if (end == NULL)
        return PJ_INT(pj_null());
    const struct word *said = end->said;
    if (said->processing_ms.present)
        return PJ_INT((int32_t)((said->processing_ms.integer + 500) / 1000));
    return life->start != NULL ? PJ_INT(span(life->start->at, end->at, 1000000))
                               : PJ_INT(pj_null());
}

/* --- jobs: what was uploaded ----------------------------------------------------------------- */

static const struct stored *last_stored(const struct pj_entity *entity)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(entity, stored, &count);
    const struct pj_fact *last = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct stored *a = PJ_SAYS(stored, &facts[i]);
        const struct stored *b = PJ_SAYS(stored, last);
        int compared = last == NULL ? 1
                       : a->at.integer != b->at.integer
                           ? (a->at.integer > b->at.integer ? 1 : -1)
                           : memcmp(a->event_id.uuid, b->event_id.uuid, 16);
        if (compared > 0)
            last = &facts[i];
    }
    return PJ_SAYS(stored, last);
}

static struct pj_text url_of(struct pj_derivation *derivation, const struct stored *stored)
{
    struct pj_builder url = {0};
    pj_builder_add(&url, "https://%.*s.s3.%.*s.amazonaws.com/", (int)stored->bucket.text.length,
                   stored->bucket.text.data, (int)stored->region.text.length,
                   stored->region.text.data);
    for (size_t i = 0; i < stored->key.text.length; i++) {
        unsigned char c = (unsigned char)stored->key.text.data[i];
        bool plain = c < 0x80 && (isalnum(c) || strchr("-._~/", c) != NULL);
        pj_builder_add(&url, plain ? "%c" : "%%%02X", c);
    }
    char *text = pj_derivation_alloc(derivation, url.length);
    memcpy(text, url.text, url.length);
    struct pj_text result = PJ_TEXT(pj_text_of(text, url.length));
    pj_builder_free(&url);
    return result;
}

static struct pj_text result_url(struct pj_derivation *derivation, const struct render_life *life,
                                 const struct stored *stored)
{
    const struct word *said = life->end != NULL ? life->end->said : NULL;
    if (stored->removed.present && stored->removed.boolean)
        return PJ_TEXT(pj_null());
    if (said != NULL && said->result_url.present)
        return said->result_url;
    return stored->key.present ? url_of(derivation, stored) : PJ_TEXT(pj_null());
}

static void derive_row(const struct pj_entity *entity, struct pj_derivation *derivation,
                       const struct render_life *life)
{
    const struct created *created = PJ_FACT(entity, created);
    const struct stored *stored = last_stored(entity);
    const struct word *end = life->end != NULL ? life->end->said : NULL;
    const bool completed = life->status == RENDER_COMPLETED;
    const bool excused = end == NULL || completed;
    uint8_t attempt[16];
    number_key(life->attempt, attempt);
    const struct pj_int reached =
        PJ_SAYS(progress, pj_entity_fact(entity, progress_fact, attempt))->percent;
    *PJ_ROW(derivation, render_jobs) = (struct render_jobs){
        .id = PJ_UUID(pj_entity_key(entity)),
        .status = PJ_TEXT(render_statuses[life->status]),
        .response_type = created->response_type,
        .output_format = created->output_format,
        .width = created->width,
        .height = created->height,
        .estimated_duration = created->estimated_duration,
        .actual_duration = actual_duration(life),
        .processing_started_at = life->started_at != NULL ? PJ_TIMESTAMPTZ(*life->started_at)
                                                          : PJ_TIMESTAMPTZ(pj_null()),
        .processing_completed_at =
            life->end != NULL ? PJ_TIMESTAMPTZ(life->end->at) : PJ_TIMESTAMPTZ(pj_null()),
        .s3_bucket = stored->bucket,
        .s3_key = stored->key,
        .s3_region = stored->region,
        .file_size = stored->file_size,
        .result_url = result_url(derivation, life, stored),
        .progress_percentage = completed ? PJ_INT(100) : PJ_OR(reached, PJ_INT(0)),
        .current_step = PJ_SAYS(place, pj_entity_fact(entity, place_fact, attempt))->step,
        .error_message = excused ? PJ_TEXT(pj_null()) : end->error_message,
        .error_code = excused ? PJ_TEXT(pj_null()) : end->error_code,
        .retry_count = PJ_INT(life->retries),
        .client_ip = created->client_ip,
        .user_agent = created->user_agent,
        .request_metadata = created->request_metadata,
        .created_at = created->created_at,
        .owner_id = created->owner_id,
    };
}

/* --- jobs: elements -------------------------------------------------------------------------- */

enum { ELEMENTS_MOST = 10 };

#define OF_ELEMENT(fact) PJ_SAYS(fact, pj_entity_fact(entity, fact##_fact, added->subkey))->is

static void take_element(const struct pj_entity *entity, struct pj_derivation *derivation,
                         const struct pj_fact *added)
{
    const struct added *said = PJ_SAYS(added, added);
    *PJ_ROW(derivation, elements) = (struct elements){
        .id = PJ_UUID(added->subkey),
        .job_id = PJ_UUID(pj_entity_key(entity)),
        .element_order = said->element_order,
        .type = said->type,
        .source_url = said->source_url,
        .source_filename = said->source_filename,
        .source_size = PJ_OR(OF_ELEMENT(source_size), said->source_size),
        .source_duration = PJ_OR(OF_ELEMENT(source_duration), said->source_duration),
        .track = said->track,
        .x_position = said->x_position,
        .y_position = said->y_position,
        .width = said->width,
        .height = said->height,
        .fit_mode = said->fit_mode,
        .start_time = said->start_time,
        .end_time = said->end_time,
        .downloaded = PJ_OR(OF_ELEMENT(downloaded), PJ_BOOL(false)),
        .processed = PJ_OR(OF_ELEMENT(processed), PJ_BOOL(false)),
        .error_message = OF_ELEMENT(element_error),
        .local_path = OF_ELEMENT(local_path),
        .processed_path = OF_ELEMENT(processed_path),
        .metadata = said->metadata,
        .created_at = PJ_TIMESTAMPTZ(added->order.rank[0]),
    };
}

static void derive_elements(const struct pj_entity *entity, struct pj_derivation *derivation,
                            const struct render_life *life)
{
    int64_t orders[ELEMENTS_MOST];
    size_t taken = 0;
    size_t count;
    const struct pj_fact *all = pj_entity_facts_by_order(derivation, entity, added_fact, &count);
    for (size_t i = 0; i < count; i++) {
        const struct pj_int order = PJ_SAYS(added, &all[i])->element_order;
        const char *reason = NULL;
        bool free_place = true;
        for (size_t t = 0; t < taken; t++)
            free_place = free_place && orders[t] != order.integer;
        if (pj_entity_fact(entity, elsewhere_fact, all[i].subkey) != NULL)
            reason = "another job's";
        else if (life->ended_at != NULL && *life->ended_at <= all[i].order.rank[0])
            reason = "job has ended";
        else if (!free_place)
            reason = "order taken";
        else if (taken == ELEMENTS_MOST)
            reason = "eleventh";
        if (reason == NULL) {
            orders[taken++] = order.integer;
            take_element(entity, derivation, &all[i]);
            continue;
        }
        *PJ_ROW(derivation, refusals) = (struct refusals){
            .element_id = PJ_UUID(all[i].subkey),
            .job_id = PJ_UUID(pj_entity_key(entity)),
            .element_order = order,
            .reason = PJ_TEXT(reason),
            .emitted_at = PJ_TIMESTAMPTZ(all[i].order.rank[0]),
        };
    }
}

/* --- jobs: steps ----------------------------------------------------------------------------- */

/* Of the greatest attempt that is known: its start, its end or both; the other is NULL. */
static void derive_step(const struct pj_entity *entity, struct pj_derivation *derivation,
                        const uint8_t id[16])
{
    const struct pj_fact *start = pj_entity_fact(entity, begun_fact, id);
    const struct pj_fact *end = pj_entity_fact(entity, ended_fact, id);
    if (start != NULL && end != NULL && start->order.rank[0] != end->order.rank[0]) {
        if (start->order.rank[0] > end->order.rank[0])
            end = NULL;
        else
            start = NULL;
    }
    const struct begun *begun = PJ_SAYS(begun, start);
    const struct ended *ended = PJ_SAYS(ended, end);
    const struct pj_timestamptz at = PJ_OR(begun->at, ended->at);
    *PJ_ROW(derivation, timeline) = (struct timeline){
        .id = PJ_UUID(id),
        .job_id = PJ_UUID(pj_entity_key(entity)),
        .step = PJ_OR(begun->step, ended->step),
        .step_order = PJ_OR(begun->step_order, ended->step_order),
        .started_at = at,
        .completed_at = ended->at,
        .duration_ms = start != NULL && end != NULL
                           ? PJ_INT(span(begun->at.integer, ended->at.integer, 1000))
                           : PJ_INT(pj_null()),
        .success = ended->success,
        .progress_percentage = PJ_OR(ended->progress, PJ_INT(0)),
        .details = PJ_OR(ended->details, begun->details),
        .error_message = ended->error_message,
        .cpu_usage = ended->cpu_usage,
        .memory_usage = ended->memory_usage,
        .created_at = at,
        .attempt = PJ_OR(begun->attempt, ended->attempt),
    };
}

static void derive_steps(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *starts = PJ_ALL(entity, begun, &count);
    for (size_t i = 0; i < count; i++)
        derive_step(entity, derivation, starts[i].subkey);
    const struct pj_fact *ends = PJ_ALL(entity, ended, &count);
    for (size_t i = 0; i < count; i++) {
        if (pj_entity_fact(entity, begun_fact, ends[i].subkey) == NULL)
            derive_step(entity, derivation, ends[i].subkey);
    }
}

static void derive_job(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    if (PJ_FACT(entity, created) == NULL)
        return; /* what is known waits for it; and where it was deleted, for ever */
    struct render_word *words = collect_words(entity, derivation, &count);
    const struct render_life life = render_live(words, count);
    derive_row(entity, derivation, &life);
    derive_history(entity, derivation, words, count);
    derive_elements(entity, derivation, &life);
    derive_steps(entity, derivation);
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_render_jobs = {
    .name = "render-jobs",
    .summary = "keep jobs, their elements, steps and the history of their status",
    .version = 1,
    PJ_SOURCES(
        PJ_SOURCE("render.jobs", pj_schema_render_jobs, render_job_event, observe_job),
        PJ_SOURCE("render.elements", pj_schema_render_elements, render_element_event,
                  observe_element),
        PJ_SOURCE("render.timeline", pj_schema_render_timeline, render_step_event, observe_step),
        PJ_SOURCE("render.storage", pj_schema_render_storage, render_storage_event,
                  observe_storage)),
    PJ_ENTITIES([OBJECT] = {.name = "object", PJ_FACTS_OF(object), .derive = derive_object},
                [ADDITIONS] = {.name = "additions",
                               PJ_FACTS_OF(additions),
                               .derive = derive_additions},
                [ELEMENT] = {.name = "element", PJ_FACTS_OF(element), .derive = derive_element},
                [JOB] = {.name = "job", PJ_FACTS_OF(job), .derive = derive_job}),
    PJ_TABLES(&render_jobs_table, &elements_table, &refusals_table, &timeline_table,
              &history_table),
};
