/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drama-jobs: the jobs of dramas, each by the events of its greatest attempt, and what follows for
 * the jobs that they are parts of.
 *
 * Of an event are read its job and, as far as what they are told changes, the jobs above it. What
 * concerns several jobs at once comes from kinds before:
 *
 *     drama   which of its deletions counts for jobs
 *     links   who is part of whom; read whole by creations alone, for rings and heights
 *     job     a job; and, as entities of the same kind, the shares of a job with children: each of
 *             these tells its share, the share tells the job, so that one child of thousands is one
 *             of some hundreds
 *
 * A deletion of the drama forgets what was before it, unless it comes after a new life began, which
 * nobody knows before all saves are known: so nothing is dropped, and what is forgotten is left out
 * here.
 */
#include "projectionist/ids.h"
#include "projections/drama/drama.h"
#include "projections/drama/drama_projections.h"
#include "schemas.h"

#include <stdlib.h>

enum { DRAMA, LINKS, JOB };
enum { DEPTH_MOST = 30000 }; /* of a tree of jobs, which is half as deep as that of their shares */

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

#define DRAMA_FACTS(FACT)                                                                          \
    FACT(drama_name, PJ_GREATEST, NAME, .is_name = true)                                           \
    FACT(life, PJ_GREATEST, LIFE)     /* that has a save, each */                                  \
    FACT(deletion, PJ_GREATEST, LIFE) /* each */
PJ_FACTS(drama, DRAMA, DRAMA_FACTS);

#define REVISION(VALUE) VALUE(revision, PJ_BIGINT)
#define NOTHING(VALUE)
#define LINK(VALUE)                                                                                \
    VALUE(parent, PJ_UUID) /* its key */                                                           \
    VALUE(parent_job_id, PJ_TEXT)

static void derive_known(const struct pj_entity *entity, const struct pj_fact *fact,
                         struct pj_derivation *derivation);

/* Those of a job are under its key. */
#define LINKS_FACTS(FACT)                                                                          \
    FACT(links_of, PJ_GREATEST, NAME)                                                              \
    FACT(deleted, PJ_GREATEST, REVISION, .shown = true) /* from the drama */                       \
    FACT(known, PJ_GREATEST, NOTHING, .wide = true, .derive = derive_known)                        \
    FACT(link, PJ_GREATEST, LINK, .wide = true)
PJ_FACTS(links, LINKS, LINKS_FACTS);

#define NAMED(VALUE)  VALUE(drama_id, PJ_TEXT) VALUE(job_id, PJ_TEXT)
#define HEIGHT(VALUE) VALUE(height, PJ_BIGINT)
#define CREATION(VALUE)                                                                            \
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
    VALUE(attempt, PJ_INT)                                                                         \
    VALUE(status, PJ_BIGINT)                                                                       \
    VALUE(at, PJ_TIMESTAMPTZ)                                                                      \
    VALUE(error, PJ_TEXT)                                                                          \
    VALUE(r2_url, PJ_TEXT)                                                                         \
    VALUE(r2_key, PJ_TEXT)                                                                         \
    VALUE(result, PJ_JSONB)
#define STEP(VALUE)                                                                                \
    VALUE(attempt, PJ_INT)                                                                         \
    VALUE(created, PJ_BOOL)                                                                        \
    VALUE(processing, PJ_BOOL)                                                                     \
    VALUE(at, PJ_TIMESTAMPTZ)                                                                      \
    VALUE(user_id, PJ_TEXT)
/* When an event was, in the order of events. */
#define MOMENT(VALUE) VALUE(revision, PJ_BIGINT) VALUE(event_id, PJ_UUID) VALUE(at, PJ_TIMESTAMPTZ)
PJ_VALUES(moment, MOMENT);
/* What children say: one to a share of its parent, the share to the parent. Three moments are in it
 * as their values. */
#define BELOW(VALUE)                                                                               \
    VALUE(parent, PJ_UUID) /* whose share it is; of what a share says, none */                     \
    VALUE(children, PJ_BIGINT)                                                                     \
    VALUE(completed, PJ_BIGINT)                                                                    \
    VALUE(failed, PJ_BIGINT)                                                                       \
    VALUE(running, PJ_BIGINT)                                                                      \
    VALUE(created, PJ_BIGINT) /* the earliest */                                                   \
    VALUE(created_by, PJ_UUID)                                                                     \
    VALUE(created_at, PJ_TIMESTAMPTZ)                                                              \
    VALUE(started, PJ_BIGINT) /* the earliest */                                                   \
    VALUE(started_by, PJ_UUID)                                                                     \
    VALUE(started_at, PJ_TIMESTAMPTZ)                                                              \
    VALUE(ended, PJ_BIGINT) /* the latest */                                                       \
    VALUE(ended_by, PJ_UUID)                                                                       \
    VALUE(ended_at, PJ_TIMESTAMPTZ)

#define JOB_FACTS(FACT)                                                                            \
    FACT(named, PJ_GREATEST, NAMED)        /* by its events; unknown ones by their children's */   \
    FACT(forgotten, PJ_GREATEST, REVISION) /* what is before it */                                 \
    FACT(ring, PJ_GREATEST, NOTHING)       /* it is on one */                                      \
    FACT(high, PJ_GREATEST, HEIGHT, .height = true)                                                \
    FACT(creation, PJ_GREATEST, CREATION) /* the latest */                                         \
    FACT(outcome, PJ_GREATEST, OUTCOME)   /* the latest event of each attempt */                   \
    FACT(step, PJ_GREATEST, STEP)         /* each, for the earliest that is not forgotten */       \
    FACT(below, PJ_GREATEST, BELOW, .recursive = true)
PJ_FACTS(job, JOB, JOB_FACTS);

/* --- what one event means -------------------------------------------------------------------- */

enum status { PENDING, PROCESSING, COMPLETED, FAILED };
static const char *const words[] = {"pending", "processing", "completed", "failed"};
static const struct pj_order always; /* of what an event says that says nothing new again */

static enum status status_of(struct pj_text word)
{
    const struct pj_text plain = drama_status(word);
    for (enum status s = PROCESSING; s <= FAILED; s++) {
        if (pj_text_is(&plain.value, words[s]))
            return s;
    }
    return PENDING;
}

static void key_of_job(struct pj_text drama_id, struct pj_text job_id, uint8_t key[16])
{
    const struct pj_value parts[] = {drama_id.value, job_id.value};
    pj_uuid_of_names(parts, PJ_COUNT(parts), key);
}

static void observe_creation(const struct drama_job_event *e, struct pj_observer *observer,
                             const uint8_t key[16], const struct pj_order *order)
{
    struct link link = {0};
    uint8_t links[16];
    pj_uuid_of_names(PJ_PARTS(e->drama_id), 1, links);
    if (e->parent_job_id.present &&
        pj_value_compare(PJ_TEXT, &e->parent_job_id.value, &e->job_id.value) != 0) {
        uint8_t parent[16];
        key_of_job(e->drama_id, e->parent_job_id, parent);
        link = (struct link){.parent = PJ_UUID(parent), .parent_job_id = e->parent_job_id};
    }
    PJ_KEEP(observer, links_of, links, NULL, &always, {.drama_id = e->drama_id});
    PJ_KEEP(observer, link, links, key, order, link);
    PJ_KEEP(observer, creation, key, NULL, order,
            {.user_id = e->user_id,
             .job_type = e->job_type,
             .parent_job_id = link.parent_job_id,
             .asset_id = e->asset_id,
             .node_type = e->node_type,
             .prompt = e->prompt,
             .depends_on = e->depends_on,
             .total_jobs = e->total_jobs,
             .title = e->title,
             .project_name = e->project_name,
             .metadata = e->metadata});
}

static int observe_job(const struct pj_event *event, struct pj_observer *observer,
                       struct pj_error *error)
{
    const struct drama_job_event *e = PJ_EVENT(event, drama_job_event);
    if (drama_check_job(e, error) != 0)
        return -1;
    const enum status status = e->created.present ? PENDING : status_of(e->status);
    const struct pj_order order = drama_order(e->revision.integer, 0, e->event_id);
    const struct pj_order ranked = drama_order(
        e->revision.integer, status < COMPLETED ? (int64_t)status : COMPLETED, e->event_id);
    uint8_t links[16];
    uint8_t job[16];
    uint8_t attempt[16];
    pj_uuid_of_names(PJ_PARTS(e->drama_id), 1, links);
    pj_uuid_of_names(PJ_PARTS(e->attempt), 1, attempt);
    key_of_job(e->drama_id, e->job_id, job);
    PJ_KEEP(observer, known, links, job, &always, {});
    PJ_KEEP(observer, named, job, NULL, &always, {.drama_id = e->drama_id, .job_id = e->job_id});
    if (e->created.present)
        observe_creation(e, observer, job, &order);
    PJ_KEEP(observer, outcome, job, attempt, &ranked,
            {.attempt = e->attempt,
             .status = PJ_BIGINT(status),
             .at = e->emitted_at,
             .error = e->error,
             .r2_url = e->r2_url,
             .r2_key = e->r2_key,
             .result = e->result});
    if (e->created.present || status == PROCESSING || e->user_id.present)
        PJ_KEEP(observer, step, job, e->event_id.uuid, &order,
                {.attempt = e->attempt,
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
    const struct pj_order order = {.rank = {e->revision.integer}};
    uint8_t subkey[16] = {0}; /* of a life; with a revision, of a deletion */
    memcpy(subkey, &e->life.integer, sizeof e->life.integer);
    if (e->saved.present)
        PJ_KEEP_NAMED(observer, life, PJ_PARTS(e->drama_id), subkey, &always, {.life = e->life});
    memcpy(subkey + 8, &e->revision.integer, sizeof e->revision.integer);
    if (e->deleted.present)
        PJ_KEEP_NAMED(observer, deletion, PJ_PARTS(e->drama_id), subkey, &order, {.life = e->life});
    return 0;
}

/* --- which deletion counts ------------------------------------------------------------------- */

/* The greatest revision of a deletion that no new life came before. */
static void derive_drama(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t life_count;
    size_t deletion_count;
    const struct pj_fact *lives = PJ_ALL(entity, life, &life_count);
    const struct pj_fact *deletions = PJ_ALL(entity, deletion, &deletion_count);
    struct pj_bigint last = PJ_BIGINT(pj_null());
    for (size_t d = 0; d < deletion_count; d++) {
        int64_t ended = PJ_SAYS(deletion, &deletions[d])->life.integer;
        int64_t revision = deletions[d].order.rank[0];
        bool counts = !last.present || revision > last.integer;
        for (size_t l = 0; l < life_count && counts; l++) {
            int64_t next = PJ_SAYS(life, &lives[l])->life.integer;
            counts = next <= ended || next > revision;
        }
        if (counts)
            last = PJ_BIGINT(revision);
    }
    if (last.present)
        PJ_CONTRIBUTE(derivation, deleted, pj_entity_key(entity), pj_entity_key(entity),
                      {.revision = last});
}

/* The revision, of the only fact of that kind that can be there; nothing is before INT64_MIN. */
static int64_t revision_of(const struct pj_entity *entity, size_t kind, size_t fact)
{
    size_t count;
    const struct pj_fact *facts = pj_facts_of(entity, kind, fact, &count);
    return count > 0 ? PJ_SAYS(deleted, &facts[0])->revision.integer : INT64_MIN;
}

static void derive_known(const struct pj_entity *entity, const struct pj_fact *fact,
                         struct pj_derivation *derivation)
{
    int64_t before = revision_of(entity, LINKS, deleted_fact);
    if (before != INT64_MIN)
        PJ_CONTRIBUTE(derivation, forgotten, fact->subkey, fact->subkey,
                      {.revision = PJ_BIGINT(before)});
}

/* --- who is part of whom --------------------------------------------------------------------- */

struct node {
    const struct pj_fact *link;
    struct node *parent; /* NULL: none, or nobody created it */
    size_t walk;         /* that came to it first; 0: none yet */
    int64_t height;
    size_t open; /* children whose height is not known yet */
    bool ring;
};

static int compare_node(const void *key, const void *node)
{
    return memcmp(key, ((const struct node *)node)->link->subkey, 16);
}

static struct node *parent_node(struct node *nodes, size_t count, const struct node *node)
{
    const struct link *link = PJ_SAYS(link, node->link);
    return link->parent.present
               ? bsearch(link->parent.uuid, nodes, count, sizeof *nodes, compare_node)
               : NULL;
}

static void find_rings(struct node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct node *node = &nodes[i];
        while (node != NULL && node->walk == 0) {
            node->walk = i + 1;
            node = node->parent;
        }
        for (; node != NULL && node->walk == i + 1 && !node->ring; node = node->parent)
            node->ring = true;
    }
}

/* From the leaves up, by the links that count. */
static void find_heights(struct node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!nodes[i].ring && nodes[i].parent != NULL)
            nodes[i].parent->open++;
    }
    for (size_t i = 0; i < count; i++) {
        struct node *node = &nodes[i];
        bool leaf = node->open == 0 && node->height == 0;
        for (; leaf && !node->ring && node->parent != NULL; node = node->parent) {
            if (node->parent->height <= node->height)
                node->parent->height = node->height + 1;
            if (--node->parent->open > 0)
                break;
        }
    }
}

static void derive_links(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const int64_t before = revision_of(entity, LINKS, deleted_fact);
    const uint8_t *key = pj_entity_key(entity);
    size_t link_count;
    size_t count = 0;
    const struct pj_fact *links = PJ_ALL(entity, link, &link_count);
    struct node *nodes = pj_derivation_alloc(derivation, (link_count + 1) * sizeof *nodes);
    for (size_t i = 0; i < link_count; i++) {
        if (links[i].order.rank[0] >= before)
            nodes[count++] = (struct node){.link = &links[i]};
    }
    for (size_t i = 0; i < count; i++)
        nodes[i].parent = parent_node(nodes, count, &nodes[i]);
    find_rings(nodes, count);
    find_heights(nodes, count);
    for (size_t i = 0; i < count; i++) {
        const struct link *link = PJ_SAYS(link, nodes[i].link);
        if (nodes[i].ring)
            PJ_CONTRIBUTE(derivation, ring, nodes[i].link->subkey, key, {});
        if (nodes[i].height > 0)
            PJ_CONTRIBUTE(derivation, high, nodes[i].link->subkey, key,
                          {.height = PJ_BIGINT(nodes[i].height)});
        if (link->parent.present && nodes[i].parent == NULL)
            PJ_CONTRIBUTE(
                derivation, named, link->parent.uuid, key,
                {.drama_id = PJ_SAID(entity, links_of)->drama_id, .job_id = link->parent_job_id});
    }
}

/* --- a job, and what is below it ------------------------------------------------------------- */

/* The shares of a job with children; a power of two. With 5,000 of them one has some 300. */
enum { SHARES = 16 };

static bool is_earlier(const struct moment *a, const struct moment *b)
{
    if (!a->revision.present || !b->revision.present)
        return a->revision.present;
    if (a->revision.integer != b->revision.integer)
        return a->revision.integer < b->revision.integer;
    return memcmp(a->event_id.uuid, b->event_id.uuid, 16) < 0;
}

static void keep_earliest(struct moment *kept, const struct moment *other)
{
    if (is_earlier(other, kept))
        *kept = *other;
}

static void keep_latest(struct moment *kept, const struct moment *other)
{
    if (!kept->revision.present || is_earlier(kept, other))
        *kept = other->revision.present ? *other : *kept;
}

static struct moment moment_of(const struct pj_fact *fact, struct pj_timestamptz at)
{
    return (struct moment){PJ_BIGINT(fact->order.rank[0]), PJ_UUID(fact->order.tie), at};
}

struct sum {
    int64_t children, completed, failed, running;
    struct moment created, started, ended;
};

static struct sum sum_up(const struct pj_fact *facts, size_t count)
{
    struct sum sum = {0};
    for (size_t i = 0; i < count; i++) {
        const struct below *below = PJ_SAYS(below, &facts[i]);
        sum.children += below->children.integer;
        sum.completed += below->completed.integer;
        sum.failed += below->failed.integer;
        sum.running += below->running.integer;
        keep_earliest(&sum.created, PJ_VIEW(moment, PJ_PARTS(below->created)));
        keep_earliest(&sum.started, PJ_VIEW(moment, PJ_PARTS(below->started)));
        keep_latest(&sum.ended, PJ_VIEW(moment, PJ_PARTS(below->ended)));
    }
    return sum;
}

static void tell(struct pj_derivation *derivation, const struct pj_entity *entity,
                 const uint8_t key[16], struct pj_uuid parent, const struct sum *sum)
{
    PJ_CONTRIBUTE(derivation, below, key, pj_entity_key(entity),
                  {.parent = parent,
                   .children = PJ_BIGINT(sum->children),
                   .completed = PJ_BIGINT(sum->completed),
                   .failed = PJ_BIGINT(sum->failed),
                   .running = PJ_BIGINT(sum->running),
                   .created = sum->created.revision,
                   .created_by = sum->created.event_id,
                   .created_at = sum->created.at,
                   .started = sum->started.revision,
                   .started_by = sum->started.event_id,
                   .started_at = sum->started.at,
                   .ended = sum->ended.revision,
                   .ended_by = sum->ended.event_id,
                   .ended_at = sum->ended.at});
}

struct job {
    const struct creation *creation; /* the latest that is not forgotten; NULL: none */
    const struct outcome *outcome;   /* of the greatest attempt; NULL: it is only named */
    struct pj_bigint revision;
    struct moment created; /* the earliest creation, */
    struct moment owned;   /* the earliest event with a user */
    struct pj_text user_id;
    struct moment started; /* and the earliest processing of the attempt or of a child */
    struct moment ended;   /* by the event that ended it, its own or a child's */
    enum status own, status;
    struct sum sum; /* of its children */
};

static void read_outcomes(struct job *job, const struct pj_entity *entity, int64_t before)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(entity, outcome, &count);
    for (size_t i = 0; i < count; i++) {
        const struct outcome *outcome = PJ_SAYS(outcome, &facts[i]);
        int64_t revision = facts[i].order.rank[0];
        if (revision < before)
            continue;
        if (!job->revision.present || revision > job->revision.integer)
            job->revision = PJ_BIGINT(revision);
        if (job->outcome == NULL || outcome->attempt.integer > job->outcome->attempt.integer) {
            job->outcome = outcome;
            job->own = (enum status)outcome->status.integer;
            job->ended = moment_of(&facts[i], outcome->at);
        }
    }
}

static void read_steps(struct job *job, const struct pj_entity *entity, int64_t before)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(entity, step, &count);
    for (size_t i = 0; i < count; i++) {
        const struct step *step = PJ_SAYS(step, &facts[i]);
        const struct moment moment = moment_of(&facts[i], step->at);
        if (facts[i].order.rank[0] < before)
            continue;
        if (step->created.boolean)
            keep_earliest(&job->created, &moment);
        if (step->user_id.present && is_earlier(&moment, &job->owned)) {
            job->owned = moment;
            job->user_id = step->user_id;
        }
        if (step->processing.boolean && step->attempt.integer == job->outcome->attempt.integer)
            keep_earliest(&job->started, &moment);
    }
}

static int64_t total_of(const struct job *job)
{
    int64_t announced = job->creation != NULL && job->creation->total_jobs.present
                            ? job->creation->total_jobs.integer
                            : 0;
    return announced > job->sum.children ? announced : job->sum.children;
}

static enum status status_of_parent(const struct job *job)
{
    const struct sum *sum = &job->sum;
    if (job->own == FAILED)
        return FAILED;
    if (sum->completed + sum->failed == total_of(job))
        return sum->failed > 0 ? FAILED : COMPLETED;
    return sum->completed + sum->failed + sum->running > 0 ? PROCESSING : PENDING;
}

static struct job read_job(const struct pj_entity *entity)
{
    const int64_t before = revision_of(entity, JOB, forgotten_fact);
    const struct pj_fact *creation = pj_entity_fact(entity, creation_fact, NULL);
    struct job job = {0};
    size_t count;
    const struct pj_fact *below = PJ_ALL(entity, below, &count);
    if (creation != NULL && creation->order.rank[0] >= before)
        job.creation = PJ_SAYS(creation, creation);
    read_outcomes(&job, entity, before);
    read_steps(&job, entity, before);
    job.sum = sum_up(below, count);
    keep_earliest(&job.started, &job.sum.started);
    if (job.creation == NULL)
        job.created = job.sum.created;
    job.status = job.sum.children > 0 ? status_of_parent(&job) : job.own;
    if (job.own != FAILED && job.sum.ended.revision.present)
        job.ended = job.sum.ended;
    return job;
}

static void tell_parent(const struct job *job, const struct pj_entity *entity,
                        struct pj_text drama_id, struct pj_derivation *derivation)
{
    const uint8_t *key = pj_entity_key(entity);
    uint8_t parent[16];
    uint8_t share[16];
    key_of_job(drama_id, job->creation->parent_job_id, parent);
    const struct pj_value parts[] = {pj_uuid(parent), pj_bigint(key[15] % SHARES)};
    pj_uuid_of_names(parts, PJ_COUNT(parts), share);
    struct sum sum = {
        .children = 1,
        .completed = job->status == COMPLETED,
        .failed = job->status == FAILED,
        .running = job->status == PROCESSING,
        .created = job->created,
        .started = job->started,
    };
    if (job->status >= COMPLETED)
        sum.ended = job->ended;
    tell(derivation, entity, share, PJ_UUID(parent), &sum);
}

static void derive_row(const struct job *job, const struct named *named,
                       struct pj_derivation *derivation)
{
    const struct pj_value parts[] = {pj_text("drama/job"), named->drama_id.value,
                                     named->job_id.value};
    const struct creation *creation = job->creation;
    const struct outcome *outcome = job->outcome;
    uint8_t id[16];
    pj_uuid_of_texts(parts, PJ_COUNT(parts), id);
    if (creation == NULL)
        creation = PJ_SAYS(creation, NULL);
    if (outcome == NULL)
        outcome = PJ_SAYS(outcome, NULL);
    struct jobs_row *row = PJ_ROW(derivation, jobs_row);
    *row = (struct jobs_row){
        .drama_id = named->drama_id,
        .job_id = named->job_id,
        .id = PJ_UUID(id),
        .user_id = PJ_OR(creation->user_id, job->user_id),
        .job_type = PJ_OR(creation->job_type, PJ_TEXT("unknown")),
        .status = PJ_TEXT(words[job->status]),
        .own_status = PJ_TEXT(words[job->own]),
        .asset_id = creation->asset_id,
        .node_type = creation->node_type,
        .parent_job_id = creation->parent_job_id,
        .prompt = creation->prompt,
        .depends_on = creation->depends_on,
        .total_jobs = PJ_OR(creation->total_jobs, PJ_INT(1)),
        .completed_jobs = PJ_INT((int32_t)job->sum.completed),
        .failed_jobs = PJ_INT((int32_t)job->sum.failed),
        .running_jobs = PJ_INT((int32_t)job->sum.running),
        .pending_jobs = PJ_INT((int32_t)0),
        .error = job->own == FAILED ? outcome->error : PJ_TEXT(pj_null()),
        .r2_url = outcome->r2_url,
        .r2_key = outcome->r2_key,
        .result = outcome->result,
        .title = creation->title,
        .project_name = creation->project_name,
        .metadata = creation->metadata,
        .attempts = outcome->attempt,
        .created_at = job->created.at,
        .started_at = job->started.at,
        .revision = job->revision,
    };
    if (job->status >= COMPLETED)
        row->completed_at = job->ended.at;
    if (job->sum.children > 0) {
        int64_t total = total_of(job);
        row->total_jobs = PJ_INT((int32_t)total);
        row->pending_jobs =
            PJ_INT((int32_t)(total - job->sum.completed - job->sum.failed - job->sum.running));
    }
}

/* A job, or one of its shares. */
static void derive_job(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(entity, below, &count);
    if (count > 0 && PJ_SAYS(below, &facts[0])->parent.present) {
        const struct pj_uuid parent = PJ_SAYS(below, &facts[0])->parent;
        const struct sum sum = sum_up(facts, count);
        tell(derivation, entity, parent.uuid, PJ_UUID(pj_null()), &sum);
        return;
    }
    const struct job job = read_job(entity);
    facts = PJ_ALL(entity, named, &count);
    if (count == 0)
        return;
    const struct named *named = PJ_SAYS(named, &facts[0]);
    if (job.creation != NULL || job.sum.children > 0)
        derive_row(&job, named, derivation);
    (void)PJ_ALL(entity, ring, &count);
    if (count == 0 && job.creation != NULL && job.creation->parent_job_id.present)
        tell_parent(&job, entity, named->drama_id, derivation);
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_drama_jobs = {
    .name = "drama-jobs",
    .summary = "keep jobs: what is made for dramas, as trees of jobs",
    .version = 2,
    PJ_SOURCES(PJ_SOURCE("drama.jobs", pj_schema_drama_jobs, drama_job_event, observe_job),
               PJ_SOURCE("drama.dramas", pj_schema_drama_dramas, drama_event, observe_drama)),
    PJ_ENTITIES([DRAMA] = {.name = "drama", PJ_FACTS_OF(drama), .derive = derive_drama},
                [LINKS] = {.name = "links", PJ_FACTS_OF(links), .derive = derive_links},
                [JOB] = {.name = "job",
                         PJ_FACTS_OF(job),
                         .derive = derive_job,
                         .depth_most = 2 * DEPTH_MOST}),
    PJ_TABLES(&jobs_row_table),
};
