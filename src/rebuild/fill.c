/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills the shadow tables. Workers share the partitions as replicas of a consumer group do: each
 * runs a loop of its own with its own connections, and only locks in Postgres coordinate them. That
 * is enough because rows do not depend on which worker reads what when.
 */
#include "base/text.h"
#include "rebuild/rebuild_internal.h"

#include <string.h>

enum { CLOSE_MS = 2000 };

/* --- progress -------------------------------------------------------------------------------- */

static const struct pj_partition *partition_of(const struct pj_session *session,
                                               const struct pj_offset_range *range)
{
    size_t count;
    if (!session->topics_seen)
        return NULL;
    struct pj_partition *const *partitions = pj_consumer_partitions(session->consumer, &count);
    for (size_t p = 0; p < count; p++) {
        if (partitions[p]->number == range->partition && partitions[p]->epoch != 0 &&
            strcmp(partitions[p]->topic, range->topic) == 0)
            return partitions[p];
    }
    return NULL;
}

/* Stays the same when ranges are added. */
static struct pj_worker *worker_of(struct pj_rebuild *rebuild, size_t range)
{
    return &rebuild->workers[range % rebuild->worker_count];
}

/* Called by each worker; for the others with what they last reached. */
static void show_progress(struct pj_loop *loop)
{
    struct pj_worker *worker = loop->session.policy->context;
    struct pj_rebuild *rebuild = worker->rebuild;
    struct pj_rebuild_progress progress = {.partitions = rebuild->range_count};
    pthread_mutex_lock(&rebuild->showing);
    for (size_t s = 0; s < rebuild->range_count; s++) {
        const struct pj_offset_range *range = &rebuild->ranges[s];
        const struct pj_partition *partition =
            worker_of(rebuild, s) == worker ? partition_of(&loop->session, range) : NULL;
        if (partition != NULL)
            rebuild->reached[s] = partition->next_offset;
        progress.total += range->end - range->begin;
        progress.finished += rebuild->reached[s] >= range->end;
        if (rebuild->reached[s] > range->begin)
            progress.done += rebuild->reached[s] - range->begin;
    }
    rebuild->settings->progress(rebuild->settings->context, &progress);
    pthread_mutex_unlock(&rebuild->showing);
}

/* Surveys only while nothing comes. */
static void show_turn(struct pj_loop *loop)
{
    show_progress(loop);
    if (loop->next->count == 0)
        pj_stall_survey(&loop->stall);
}

/* --- the run of a worker --------------------------------------------------------------------- */

/* SQL functions of the projection find the shadow tables by the search_path. What a crash of
 * Postgres takes from the shadow is read again, so commits need not wait for the disk. */
static int use_shadow(const struct pj_session *session, struct pj_postgres *postgres,
                      struct pj_error *error)
{
    return pj_postgres_query(postgres,
                             "SELECT set_config('search_path', quote_ident($1) || ', ' || "
                             "current_setting('search_path'), false), "
                             "set_config('projectionist.tables_schema', '', false), "
                             "set_config('synchronous_commit', 'off', false)",
                             PJ_TEXTS(session->policy->schema), NULL, error);
}

static int request_ranges(struct pj_session *session, struct pj_error *error)
{
    const struct pj_worker *worker = session->policy->context;
    (void)error;
    pj_consumer_request(session->consumer, worker->due, worker->due_count);
    return 0;
}

static int say_lost(struct pj_session *session, struct pj_error *error)
{
    return pj_error_fatal(error, PJ_EXIT_GAP,
                          "retention removed records of %s's topics while they were being read; %s",
                          session->projection->name, session->policy->gap_remedy);
}

static int say_fenced(const struct pj_session *session, struct pj_error *error)
{
    const struct pj_error why = *error;
    (void)session;
    return pj_error_fatal(error, PJ_EXIT_FENCED,
                          "the shadow tables are not as they were left: another process works on "
                          "them, or Postgres recovered from a crash; nothing was changed; run the "
                          "same command again to start over (%s)",
                          why.message);
}

/* The shadow's offset may be of an earlier attempt. */
static void say_remedy(const struct pj_session *session, const struct pj_partition *partition,
                       char *text, size_t size)
{
    char remedy[320];
    if (!partition->is_another) {
        pj_text_show(text, size, "nothing was changed; run the same command again to start over");
        return;
    }
    pj_assignment_remedy(session, partition, remedy, sizeof remedy);
    pj_text_show(text, size, "nothing was changed; %s", remedy);
}

static int open_worker(struct pj_rebuild *rebuild, struct pj_worker *worker, struct pj_error *error)
{
    const struct pj_rebuild_settings *settings = rebuild->settings;
    *worker = (struct pj_worker){
        .rebuild = rebuild,
        .policy =
            {
                .schema = rebuild->schema,
                .bulk = true,
                .fences_most = 1,
                .stall_timeout_ms = settings->stall_timeout_ms,
                .halted = &rebuild->halted,
                .prepare = use_shadow,
                .join = request_ranges,
                .rejoin = say_lost,
                .fenced = say_fenced,
                .gap_remedy = "start over with --keep-retained",
                .remedy = say_remedy,
                .turn = show_turn,
                .context = worker,
            },
        .loop.session =
            {
                .policy = &worker->policy,
                .projection = settings->projection,
                .settings = &rebuild->consumer_settings,
                .setting_values = settings->setting_values,
                .identity =
                    {
                        .group = rebuild->shadow_group,
                        .owner = rebuild->control_settings.application_name,
                        .rebuilt_group = settings->group,
                    },
                .metrics = pj_metrics_new(),
                .stop = settings->stop,
            },
    };
    return pj_loop_open(&worker->loop, settings->config, error);
}

static int open_workers(struct pj_rebuild *rebuild, struct pj_error *error)
{
    const struct pj_rebuild_settings *settings = rebuild->settings;
    size_t count =
        settings->workers < PJ_WORKERS_MOST ? (size_t)settings->workers : PJ_WORKERS_MOST;
    if (rebuild->worker_count > 0)
        return 0;
    if (count > rebuild->range_count)
        count = rebuild->range_count;
    if (count == 0)
        count = 1;
    rebuild->consumer_settings = *settings->consumer;
    rebuild->consumer_settings.until_caught_up = true;
    rebuild->consumer_settings.shutdown_timeout_ms = CLOSE_MS;
    while (rebuild->worker_count < count) {
        if (open_worker(rebuild, &rebuild->workers[rebuild->worker_count++], error) != 0)
            return -1;
    }
    return 0;
}

void pj_rebuild_close_workers(struct pj_rebuild *rebuild)
{
    for (size_t w = 0; w < rebuild->worker_count; w++) {
        pj_loop_close(&rebuild->workers[w].loop);
        pj_metrics_free(rebuild->workers[w].loop.session.metrics);
    }
}

/* --- one run --------------------------------------------------------------------------------- */

/* To where the live group's counts begin, to where they end, and to the end. */
enum pass { TO_COUNTED, THROUGH_COUNTED, TO_END };

static int64_t end_of(const struct pj_rebuild *rebuild, const struct pj_offset_range *range,
                      enum pass pass)
{
    const struct pj_offset_range *counted = pj_rebuild_counted(rebuild, range);
    if (pass == TO_END)
        return range->end;
    if (counted == NULL)
        return range->begin;
    return pass == TO_COUNTED ? counted->begin : counted->end;
}

/* Assigns the ranges that are not yet read to their ends in this pass; false: all are. */
static bool deal(struct pj_rebuild *rebuild, enum pass pass)
{
    bool any = false;
    rebuild->reached = pj_arena_alloc(rebuild->arena, rebuild->range_count * sizeof(int64_t));
    for (size_t w = 0; w < rebuild->worker_count; w++) {
        rebuild->workers[w].due =
            pj_arena_alloc(rebuild->arena, rebuild->range_count * sizeof(struct pj_offset_range));
        rebuild->workers[w].due_count = 0;
    }
    for (size_t s = 0; s < rebuild->range_count; s++) {
        const struct pj_offset_range *range = &rebuild->ranges[s];
        struct pj_worker *worker = worker_of(rebuild, s);
        const struct pj_partition *partition = partition_of(&worker->loop.session, range);
        rebuild->reached[s] = partition != NULL ? partition->next_offset : range->begin;
        int64_t end = end_of(rebuild, range, pass);
        /* An empty one must be claimed once, too. */
        if (partition == NULL ? pass == TO_END || end > range->begin
                              : partition->next_offset < end) {
            worker->due[worker->due_count] = *range;
            worker->due[worker->due_count++].end = end;
            any = true;
        }
    }
    return any;
}

static void *work(void *context)
{
    struct pj_worker *worker = context;
    worker->status = 0;
    worker->policy.discarded = worker->rebuild->discarded;
    worker->policy.discarded_count = worker->rebuild->discarded_count;
    if (worker->loop.session.topics_seen)
        worker->status = request_ranges(&worker->loop.session, &worker->error);
    if (worker->due_count > 0)
        worker->status = pj_loop_run(&worker->loop, &worker->error);
    if (worker->status != 0)
        atomic_store(&worker->rebuild->halted, true);
    return NULL;
}

/* Runs all to their ends; the error is that of the first that failed. */
static int run_workers(struct pj_rebuild *rebuild, struct pj_error *error)
{
    size_t started = 1;
    atomic_store(&rebuild->halted, false);
    while (started < rebuild->worker_count &&
           pthread_create(&rebuild->workers[started].thread, NULL, work,
                          &rebuild->workers[started]) == 0)
        started++;
    /* Without a thread of its own, a share is read here afterwards. */
    work(&rebuild->workers[0]);
    for (size_t w = 1; w < rebuild->worker_count; w++) {
        if (w < started)
            pthread_join(rebuild->workers[w].thread, NULL);
        else
            work(&rebuild->workers[w]);
    }
    for (size_t w = 0; w < rebuild->worker_count; w++) {
        if (rebuild->workers[w].status == 0)
            continue;
        *error = rebuild->workers[w].error;
        return -1;
    }
    return 0;
}

static int read_pass(struct pj_rebuild *rebuild, enum pass pass, struct pj_error *error)
{
    if (!deal(rebuild, pass))
        return PJ_REBUILD_FILLED;
    if (run_workers(rebuild, error) != 0)
        return -1;
    return *rebuild->settings->stop > 0 ? PJ_REBUILD_STOPPED : PJ_REBUILD_FILLED;
}

/* What the live group has counted, and whether that is still what there is. */
static int read_counted(struct pj_rebuild *rebuild, struct pj_error *error)
{
    if (rebuild->counts_checked || rebuild->counted_count == 0)
        return PJ_REBUILD_FILLED;
    int status = read_pass(rebuild, TO_COUNTED, error);
    if (status == PJ_REBUILD_FILLED)
        status = pj_rebuild_note_passed(rebuild, error);
    if (status == PJ_REBUILD_FILLED)
        status = read_pass(rebuild, THROUGH_COUNTED, error);
    if (status == PJ_REBUILD_FILLED)
        status = pj_rebuild_check_counts(rebuild, error);
    rebuild->counts_checked = status == PJ_REBUILD_FILLED;
    return status;
}

int pj_rebuild_fill(struct pj_rebuild *rebuild, struct pj_error *error)
{
    if (open_workers(rebuild, error) != 0)
        return -1;
    if (!rebuild->feeds_read && rebuild->settings->feed_count > 0) {
        int status = pj_rebuild_read_feeds(rebuild, error);
        if (status != PJ_REBUILD_FILLED)
            return status;
    }
    rebuild->feeds_read = true;
    int status = read_counted(rebuild, error);
    if (status == PJ_REBUILD_FILLED)
        status = read_pass(rebuild, TO_END, error);
    if (status != PJ_REBUILD_FILLED)
        return status;
    if (!rebuild->settings->keep_retained || rebuild->retained_kept)
        return PJ_REBUILD_FILLED;
    rebuild->retained_kept = true;
    return pj_rebuild_keep_retained(rebuild, error);
}
