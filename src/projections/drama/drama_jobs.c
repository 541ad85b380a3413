/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drama-jobs: the jobs of dramas, each by the events of its greatest attempt, and what follows for
 * the jobs that they are parts of.
 *
 * The jobs of a drama are one entity, so that rings and trees of any depth are settled in one walk;
 * its facts are kept apart, so that an event writes only its own. A deletion of the drama forgets
 * what was before it, unless it comes after a new life began, which nobody knows before all saves
 * are known: so nothing is dropped, and what is forgotten is left out here.
 */
#include "projectionist/ids.h"
#include "projections/drama/drama.h"
#include "projections/drama/drama_projections.h"
#include "schemas.h"

#include <stdlib.h>

/* --- the table ------------------------------------------------------------------------------- */

#define JOBS(COLUMN)                                                                               \
    COLUMN(drama_id, PJ_TEXT, .key = true)                                                         \
    COLUMN(job_id, PJ_TEXT, .key = true)                                                           \
    COLUMN(id, PJ_UUID)                                                                            \
    COLUMN(user_id, PJ_TEXT)                                                                       \
    COLUMN(job_type, PJ_TEXT)                                                                      \
    COLUMN(status, PJ_TEXT)                                                                        \
    COLUMN(own_status, PJ_TEXT)                                                                    \
    COLUMN(asset_id, PJ_TEXT)                                                                      \
    COLUMN(node_type, PJ_TEXT)                                                                     \
    COLUMN(parent_job_id, PJ_TEXT)                                                                 \
    COLUMN(prompt, PJ_TEXT)                                                                        \
    COLUMN(depends_on, PJ_JSONB)                                                                   \
    COLUMN(total_jobs, PJ_INT)                                                                     \
    COLUMN(completed_jobs, PJ_INT)                                                                 \
    COLUMN(failed_jobs, PJ_INT)                                                                    \
    COLUMN(running_jobs, PJ_INT)                                                                   \
    COLUMN(pending_jobs, PJ_INT)                                                                   \
    COLUMN(error, PJ_TEXT)                                                                         \
    COLUMN(r2_url, PJ_TEXT)                                                                        \
    COLUMN(r2_key, PJ_TEXT)                                                                        \
    COLUMN(result, PJ_JSONB)                                                                       \
    COLUMN(title, PJ_TEXT)                                                                         \
    COLUMN(project_name, PJ_TEXT)                                                                  \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(attempts, PJ_INT)                                                                       \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(started_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(completed_at, PJ_TIMESTAMPTZ)                                                           \
    COLUMN(revision, PJ_BIGINT)
PJ_COLUMNS(jobs_row, JOBS);
static const struct pj_table jobs_row_table = {.name = "jobs", PJ_COLUMNS_OF(jobs_row)};

/* --- facts ----------------------------------------------------------------------------------- */

#define NAME(VALUE) VALUE(drama_id, PJ_TEXT)
#define LIFE(VALUE) VALUE(life, PJ_BIGINT)
#define CREATION(VALUE)                                                                            \
    VALUE(job_id, PJ_TEXT)                                                                         \
    VALUE(user_id, PJ_TEXT)                                                                        \
    VALUE(job_type, PJ_TEXT)                                                                       \
    VALUE(parent_job_id, PJ_TEXT)                                                                  \
    VALUE(asset_id, PJ_TEXT)                                                                       \
    VALUE(node_type, PJ_TEXT)                                                                      \
    VALUE(prompt, PJ_TEXT)                                                                         \
    VALUE(depends_on, PJ_JSONB)                                                                    \
    VALUE(total_jobs, PJ_INT)                                                                      \
    VALUE(title, PJ_TEXT)                                                                          \
    VALUE(project_name, PJ_TEXT)                                                                   \
    VALUE(metadata, PJ_JSONB)
#define OUTCOME(VALUE)                                                                             \
    VALUE(job_id, PJ_TEXT)                                                                         \
    VALUE(attempt, PJ_INT)                                                                         \
    VALUE(status, PJ_BIGINT)                                                                       \
    VALUE(at, PJ_TIMESTAMPTZ)                                                                      \
    VALUE(error, PJ_TEXT)                                                                          \
    VALUE(r2_url, PJ_TEXT)                                                                         \
    VALUE(r2_key, PJ_TEXT)                                                                         \
    VALUE(result, PJ_JSONB)
#define STEP(VALUE)                                                                                \
    VALUE(job_id, PJ_TEXT)                                                                         \
    VALUE(attempt, PJ_INT)                                                                         \
    VALUE(created, PJ_BOOL)                                                                        \
    VALUE(processing, PJ_BOOL)                                                                     \
    VALUE(at, PJ_TIMESTAMPTZ)                                                                      \
    VALUE(user_id, PJ_TEXT)

#define JOBS_FACTS(FACT)                                                                           \
    FACT(name, PJ_GREATEST, NAME, .is_name = true)                                                 \
    FACT(life, PJ_GREATEST, LIFE)     /* that has a save, each */                                  \
    FACT(deletion, PJ_GREATEST, LIFE) /* each */                                                   \
    /* The latest of each job; the latest event of each attempt; and of each event when it was,    \
     * for the earliest that is not forgotten. */                                                  \
    FACT(creation, PJ_GREATEST, CREATION, .wide = true)                                            \
    FACT(outcome, PJ_GREATEST, OUTCOME, .wide = true)                                              \
    FACT(step, PJ_GREATEST, STEP, .wide = true)
PJ_FACTS(jobs, 0, JOBS_FACTS);

/* --- what one event means -------------------------------------------------------------------- */

enum status { PENDING, PROCESSING, COMPLETED, FAILED };
static const char *const words[] = {"pending", "processing", "completed", "failed"};

static enum status status_of(struct pj_text word)
{
    const struct pj_text plain = drama_status(word);
    for (enum status s = PROCESSING; s <= FAILED; s++) {
        if (pj_text_is(&plain.value, words[s]))
            return s;
    }
    return PENDING;
}

static int observe_job(const struct pj_event *event, struct pj_observer *observer,
                       struct pj_error *error)
{
    const struct drama_job_event *e = PJ_EVENT(event, drama_job_event);
    if (drama_check_job(e, error) != 0)
        return -1;
    const struct pj_value *drama = PJ_PARTS(e->drama_id);
    const struct pj_value attempt[] = {e->job_id.value, e->attempt.value};
    const enum status status = e->created.present ? PENDING : status_of(e->status);
    const struct pj_order order = drama_order(e->revision.integer, 0, e->event_id);
    const struct pj_order ranked = drama_order(
        e->revision.integer, status < COMPLETED ? (int64_t)status : COMPLETED, e->event_id);
    uint8_t of_job[16];
    uint8_t of_attempt[16];
    pj_uuid_of_names(attempt, 1, of_job);
    pj_uuid_of_names(attempt, 2, of_attempt);
    if (e->created.present)
        PJ_KEEP_NAMED(observer, creation, drama, of_job, &order,
                      {.job_id = e->job_id,
                       .user_id = e->user_id,
                       .job_type = e->job_type,
                       .parent_job_id = e->parent_job_id,
                       .asset_id = e->asset_id,
                       .node_type = e->node_type,
                       .prompt = e->prompt,
                       .depends_on = e->depends_on,
                       .total_jobs = e->total_jobs,
                       .title = e->title,
                       .project_name = e->project_name,
                       .metadata = e->metadata});
    PJ_KEEP_NAMED(observer, outcome, drama, of_attempt, &ranked,
                  {.job_id = e->job_id,
                   .attempt = e->attempt,
                   .status = PJ_BIGINT(status),
                   .at = e->emitted_at,
                   .error = e->error,
                   .r2_url = e->r2_url,
                   .r2_key = e->r2_key,
                   .result = e->result});
    if (e->created.present || status == PROCESSING || e->user_id.present)
        PJ_KEEP_NAMED(observer, step, drama, e->event_id.uuid, &order,
                      {.job_id = e->job_id,
                       .attempt = e->attempt,
                       .created = PJ_BOOL(e->created.present),
                       .processing = PJ_BOOL(status == PROCESSING),
                       .at = e->emitted_at,
                       .user_id = e->user_id});
    return 0;
}

static int observe_drama(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct drama_event *e = PJ_EVENT(event, drama_event);
    if (drama_check_event(e, error) != 0)
        return -1;
    const struct pj_order order = drama_order(e->revision.integer, 0, e->event_id);
    uint8_t subkey[16] = {0}; /* of a life; with a revision, of a deletion */
    memcpy(subkey, &e->life.integer, sizeof e->life.integer);
    if (e->saved.present)
        PJ_KEEP_NAMED(observer, life, PJ_PARTS(e->drama_id), subkey, &order, {.life = e->life});
    memcpy(subkey + 8, &e->revision.integer, sizeof e->revision.integer);
    if (e->deleted.present)
        PJ_KEEP_NAMED(observer, deletion, PJ_PARTS(e->drama_id), subkey, &order, {.life = e->life});
    return 0;
}

/* --- the jobs that are not forgotten --------------------------------------------------------- */

struct job {
    struct pj_text id;
    const struct creation *creation; /* the latest; NULL: only others tell of it */
    const struct outcome *outcome;   /* of the greatest attempt; NULL: it is only named */
    const struct pj_fact *created;   /* steps: the earliest creation, */
    const struct pj_fact *owned;     /* the earliest with a user */
    const struct pj_fact *started;   /* and the earliest processing of the attempt or of a child */
    const struct pj_fact *ended;     /* the outcome that ended it, its own or a child's */
    int64_t revision;
    enum status own, status;
    struct job *parent;     /* that it counts for */
    int32_t children, open; /* of these, how many are not settled yet */
    int32_t count[FAILED + 1];
    size_t walk; /* that came to it first; 0: none yet */
};

struct tree {
    struct job *jobs; /* by id */
    size_t count;
};

/* Before this nothing counts: the greatest revision of a deletion that no new life came before. */
static int64_t forgotten_before(const struct pj_entity *entity)
{
    size_t life_count;
    size_t deletion_count;
    const struct pj_fact *lives = PJ_ALL(entity, life, &life_count);
    const struct pj_fact *deletions = PJ_ALL(entity, deletion, &deletion_count);
    int64_t before = INT64_MIN;
    for (size_t d = 0; d < deletion_count; d++) {
        int64_t ended = PJ_SAYS(deletion, &deletions[d])->life.integer;
        int64_t revision = deletions[d].order.rank[0];
        bool counts = revision > before;
        for (size_t l = 0; l < life_count && counts; l++) {
            int64_t next = PJ_SAYS(life, &lives[l])->life.integer;
            counts = next <= ended || next > revision;
        }
        if (counts)
            before = revision;
    }
    return before;
}

static int compare_jobs(const void *a, const void *b)
{
    const struct job *x = a;
    const struct job *y = b;
    return pj_value_compare(PJ_TEXT, &x->id.value, &y->id.value);
}

static struct job *find_job(const struct tree *tree, struct pj_text id)
{
    const struct job wanted = {.id = id};
    return bsearch(&wanted, tree->jobs, tree->count, sizeof wanted, compare_jobs);
}

/* Every job that has an outcome (whatever is said of one is one) or is named as a parent. */
static struct tree collect(const struct pj_entity *entity, struct pj_derivation *derivation,
                           int64_t before)
{
    size_t outcome_count;
    size_t creation_count;
    const struct pj_fact *outcomes = PJ_ALL(entity, outcome, &outcome_count);
    const struct pj_fact *creations = PJ_ALL(entity, creation, &creation_count);
    struct tree tree = {0};
    size_t kept = 0;
    tree.jobs =
        pj_derivation_alloc(derivation, (outcome_count + creation_count + 1) * sizeof *tree.jobs);
    for (size_t i = 0; i < outcome_count; i++) {
        if (outcomes[i].order.rank[0] >= before)
            tree.jobs[tree.count++] = (struct job){.id = PJ_SAYS(outcome, &outcomes[i])->job_id};
    }
    for (size_t i = 0; i < creation_count; i++) {
        const struct creation *creation = PJ_SAYS(creation, &creations[i]);
        if (creations[i].order.rank[0] >= before && creation->parent_job_id.present)
            tree.jobs[tree.count++] = (struct job){.id = creation->parent_job_id};
    }
    if (tree.count > 1)
        qsort(tree.jobs, tree.count, sizeof *tree.jobs, compare_jobs);
    for (size_t i = 0; i < tree.count; i++) {
        if (kept == 0 || compare_jobs(&tree.jobs[kept - 1], &tree.jobs[i]) != 0)
            tree.jobs[kept++] = tree.jobs[i];
    }
    tree.count = kept;
    return tree;
}

/* By (revision, event id). */
static bool is_earlier(const struct pj_fact *a, const struct pj_fact *b)
{
    if (a == NULL || b == NULL)
        return a != NULL;
    if (a->order.rank[0] != b->order.rank[0])
        return a->order.rank[0] < b->order.rank[0];
    return memcmp(a->order.tie, b->order.tie, sizeof a->order.tie) < 0;
}

static void keep_earliest(const struct pj_fact **kept, const struct pj_fact *fact)
{
    if (is_earlier(fact, *kept))
        *kept = fact;
}

static void read_facts(const struct tree *tree, const struct pj_entity *entity, int64_t before)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(entity, creation, &count);
    for (size_t i = 0; i < count; i++) {
        if (facts[i].order.rank[0] >= before)
            find_job(tree, PJ_SAYS(creation, &facts[i])->job_id)->creation =
                PJ_SAYS(creation, &facts[i]);
    }
    facts = PJ_ALL(entity, outcome, &count);
    for (size_t i = 0; i < count; i++) {
        const struct outcome *outcome = PJ_SAYS(outcome, &facts[i]);
        int64_t revision = facts[i].order.rank[0];
        struct job *job = revision >= before ? find_job(tree, outcome->job_id) : NULL;
        if (job == NULL)
            continue;
        if (job->outcome == NULL || revision > job->revision)
            job->revision = revision;
        if (job->outcome == NULL || outcome->attempt.integer > job->outcome->attempt.integer) {
            job->outcome = outcome;
            job->own = (enum status)outcome->status.integer;
            job->ended = &facts[i];
        }
    }
    facts = PJ_ALL(entity, step, &count);
    for (size_t i = 0; i < count; i++) {
        const struct step *step = PJ_SAYS(step, &facts[i]);
        struct job *job = facts[i].order.rank[0] >= before ? find_job(tree, step->job_id) : NULL;
        if (job == NULL)
            continue;
        if (step->created.boolean)
            keep_earliest(&job->created, &facts[i]);
        if (step->user_id.present)
            keep_earliest(&job->owned, &facts[i]);
        if (step->processing.boolean && step->attempt.integer == job->outcome->attempt.integer)
            keep_earliest(&job->started, &facts[i]);
    }
}

/* --- what follows for parents ---------------------------------------------------------------- */

static struct pj_text parent_of(const struct job *job)
{
    const struct pj_text none = PJ_TEXT(pj_null());
    struct pj_text parent = job->creation != NULL ? job->creation->parent_job_id : none;
    return pj_value_compare(PJ_TEXT, &parent.value, &job->id.value) == 0 ? none : parent;
}

/* Who counts for whom: all but the links of rings. */
static void link_parents(const struct tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        struct pj_text parent = parent_of(&tree->jobs[i]);
        tree->jobs[i].parent = parent.present ? find_job(tree, parent) : NULL;
    }
    for (size_t i = 0; i < tree->count; i++) {
        struct job *job = &tree->jobs[i];
        while (job != NULL && job->walk == 0) {
            job->walk = i + 1;
            job = job->parent;
        }
        while (job != NULL && job->walk == i + 1 && job->parent != NULL) { /* a new ring */
            struct job *next = job->parent;
            job->parent = NULL;
            job = next;
        }
    }
    for (size_t i = 0; i < tree->count; i++) {
        if (tree->jobs[i].parent != NULL)
            tree->jobs[i].parent->children++;
    }
}

static int32_t total_of(const struct job *job)
{
    int64_t announced = job->creation != NULL && job->creation->total_jobs.present
                            ? job->creation->total_jobs.integer
                            : job->children;
    return announced > job->children ? (int32_t)announced : job->children;
}

static enum status status_of_parent(const struct job *job)
{
    if (job->own == FAILED)
        return FAILED;
    if (job->count[COMPLETED] + job->count[FAILED] == total_of(job))
        return job->count[FAILED] > 0 ? FAILED : COMPLETED;
    return job->count[PENDING] < job->children ? PROCESSING : PENDING;
}

/* From the leaves up. */
static void settle(struct job *job)
{
    for (; job != NULL && job->open == 0; job = job->parent) {
        job->status = job->children > 0 ? status_of_parent(job) : job->own;
        struct job *parent = job->parent;
        if (parent == NULL)
            return;
        parent->open--;
        parent->count[job->status]++;
        keep_earliest(&parent->started, job->started);
        if (parent->creation == NULL)
            keep_earliest(&parent->created, job->created);
        if (job->status >= COMPLETED && parent->own != FAILED &&
            (parent->count[COMPLETED] + parent->count[FAILED] == 1 ||
             is_earlier(parent->ended, job->ended)))
            parent->ended = job->ended;
    }
}

static void settle_all(const struct tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        tree->jobs[i].open = tree->jobs[i].children;
    for (size_t i = 0; i < tree->count; i++) {
        if (tree->jobs[i].children == 0)
            settle(&tree->jobs[i]);
    }
}

/* --- rows ------------------------------------------------------------------------------------ */

static void derive_job(const struct job *job, const struct pj_text drama_id,
                       struct pj_derivation *derivation)
{
    const struct pj_value parts[] = {pj_text("drama/job"), drama_id.value, job->id.value};
    const struct creation *creation = PJ_SAYS(creation, NULL);
    const struct outcome *outcome = PJ_SAYS(outcome, NULL);
    uint8_t id[16];
    pj_uuid_of_texts(parts, PJ_COUNT(parts), id);
    if (job->creation != NULL)
        creation = job->creation;
    if (job->outcome != NULL)
        outcome = job->outcome;
    struct jobs_row *row = PJ_ROW(derivation, jobs_row);
    *row = (struct jobs_row){
        .drama_id = drama_id,
        .job_id = job->id,
        .id = PJ_UUID(id),
        .user_id = PJ_OR(creation->user_id, PJ_SAYS(step, job->owned)->user_id),
        .job_type = PJ_OR(creation->job_type, PJ_TEXT("unknown")),
        .status = PJ_TEXT(words[job->status]),
        .own_status = PJ_TEXT(words[job->own]),
        .asset_id = creation->asset_id,
        .node_type = creation->node_type,
        .parent_job_id = parent_of(job),
        .prompt = creation->prompt,
        .depends_on = creation->depends_on,
        .total_jobs = PJ_OR(creation->total_jobs, PJ_INT(1)),
        .completed_jobs = PJ_INT(job->count[COMPLETED]),
        .failed_jobs = PJ_INT(job->count[FAILED]),
        .running_jobs = PJ_INT(job->count[PROCESSING]),
        .pending_jobs = PJ_INT((int32_t)0),
        .error = job->own == FAILED ? outcome->error : PJ_TEXT(pj_null()),
        .r2_url = outcome->r2_url,
        .r2_key = outcome->r2_key,
        .result = outcome->result,
        .title = creation->title,
        .project_name = creation->project_name,
        .metadata = creation->metadata,
        .attempts = outcome->attempt,
        .created_at = PJ_SAYS(step, job->created)->at,
        .started_at = PJ_SAYS(step, job->started)->at,
    };
    if (job->outcome != NULL)
        row->revision = PJ_BIGINT(job->revision);
    if (job->status >= COMPLETED)
        row->completed_at = PJ_SAYS(outcome, job->ended)->at;
    if (job->children > 0) {
        row->total_jobs = PJ_INT(total_of(job));
        row->pending_jobs = PJ_INT(total_of(job) - job->count[COMPLETED] - job->count[FAILED] -
                                   job->count[PROCESSING]);
    }
}

static void derive_jobs(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const int64_t before = forgotten_before(entity);
    const struct tree tree = collect(entity, derivation, before);
    read_facts(&tree, entity, before);
    link_parents(&tree);
    settle_all(&tree);
    for (size_t i = 0; i < tree.count; i++) {
        if (tree.jobs[i].creation != NULL || tree.jobs[i].children > 0)
            derive_job(&tree.jobs[i], PJ_VIEW(name, pj_entity_name(entity))->drama_id, derivation);
    }
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_drama_jobs = {
    .name = "drama-jobs",
    .summary = "keep jobs: what is made for dramas, as trees of jobs",
    .version = 1,
    PJ_SOURCES(DRAMA_SOURCE("drama.jobs", pj_schema_drama_jobs, drama_job_event, observe_job),
               DRAMA_SOURCE("drama.dramas", pj_schema_drama_dramas, drama_event, observe_drama)),
    PJ_ENTITIES({.name = "jobs", PJ_FACTS_OF(jobs), .derive = derive_jobs}),
    PJ_TABLES(&jobs_row_table),
};
