/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

#include "base/back_off.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/projection_check.h"
#include "fold/claims.h"
#include "postgres/postgres_settings.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WAIT_MS = 100, /* the longest wait without looking around */
    KAFKA_TIMEOUT_MS = 5000,
    GROUP_COMMIT_MS = 1000,
    LAG_MS = 1000,
    REFUSED_MOST_MS = 300000, /* a password may be wrong for so long after it was right */
    EMPTY_SETTLE_MS = 3000,   /* an empty assignment may only be the first of two */
};

bool pj_engine_stopping(const struct pj_engine *engine)
{
    return *engine->stop > 0 || (engine->shadow != NULL && atomic_load(engine->shadow->halted));
}

void pj_engine_set_ready(struct pj_engine *engine, const char *reason)
{
    pj_text_show(engine->stall.waiting, sizeof engine->stall.waiting, "%s",
                 reason != NULL ? reason : "");
    if (engine->server != NULL && !engine->stall.stalled)
        pj_metrics_server_set_ready(engine->server, reason);
}

static void heartbeat(struct pj_engine *engine)
{
    if (engine->server != NULL)
        pj_metrics_server_heartbeat(engine->server);
}

/* --- Postgres -------------------------------------------------------------------------------- */

/* A stop waits for the batch, but not for a Postgres that says nothing any more. Whether it was
 * committed then is for the next owner to see. */
static void stop_waiting_in_time(struct pj_engine *engine)
{
    int64_t now = pj_clock_monotonic_ms();
    if (!pj_engine_stopping(engine))
        return;
    if (engine->stop_seen_at == 0)
        engine->stop_seen_at = now;
    if (now - engine->stop_seen_at >= engine->settings->shutdown_timeout_ms)
        pj_postgres_abandon(engine->unit.postgres);
}

/* While Postgres works on a batch, the next one is fetched and decoded. */
static bool work_ahead(void *context, int *fd)
{
    struct pj_engine *engine = context;
    heartbeat(engine);
    pj_stall_look(engine);
    stop_waiting_in_time(engine);
    if (pj_batch_full(engine, engine->next))
        return false;
    *fd = pj_consumer_fd(engine->consumer);
    return pj_batch_fill(engine, engine->next);
}

/* A host that says nothing may take long, and there may be several. */
static bool stop_connecting(void *context)
{
    heartbeat(context);
    return pj_engine_stopping(context);
}

/* SQL functions that the projection names find the shadow's tables this way. What a crash of
 * Postgres takes from the shadow is made anew, so nothing waits for its disk. */
static int use_shadow(const char *schema, struct pj_postgres *postgres, struct pj_error *error)
{
    struct pj_result *result;
    if (pj_postgres_query(postgres,
                          "SELECT set_config('search_path', quote_ident($1) || ', ' || "
                          "current_setting('search_path'), false), "
                          "set_config('projectionist.tables_schema', '', false), "
                          "set_config('synchronous_commit', 'off', false)",
                          1, &schema, &result, error) != 0)
        return -1;
    pj_result_free(result);
    return 0;
}

static int prepare(void *context, struct pj_postgres *postgres, struct pj_error *error)
{
    const struct pj_engine *engine = context;
    return engine->shadow != NULL ? use_shadow(engine->shadow->schema, postgres, error)
                                  : pj_offsets_mark_session(postgres, &engine->identity, error);
}

/*
 * A password that is being changed reaches server and file one after the other, and a database that
 * is being restored is away for a while: whoever was connected before tries again for some time.
 */
static int wait_for_admission(struct pj_engine *engine, struct pj_error *error)
{
    bool refused = strncmp(error->sqlstate, "28", 2) == 0 || strcmp(error->sqlstate, "3D000") == 0;
    int64_t now = pj_clock_monotonic_ms();
    if (!engine->unit.tables_checked || !refused)
        return -1;
    if (engine->refused_since == 0)
        engine->refused_since = now;
    if (now - engine->refused_since < REFUSED_MOST_MS)
        error->class = PJ_RETRY;
    return -1;
}

int pj_engine_connect(struct pj_engine *engine, struct pj_error *error)
{
    if (pj_unit_open(&engine->unit, error) != 0)
        return wait_for_admission(engine, error);
    engine->refused_since = 0;
    return 0;
}

/* --- failures -------------------------------------------------------------------------------- */

/* One more failure for want of a server. A consumer waits for ever, and so does a rebuild. */
static int count_failure(struct pj_engine *engine, const struct pj_error *why,
                         struct pj_error *error)
{
    struct pj_error cause = *why; /* it may be the same */
    if (engine->failures++ == 0)
        engine->stall.moved_ms = pj_clock_monotonic_ms();
    if (!pj_stall_out_of_patience(engine))
        return 0;
    return pj_stall_give_up(engine, cause.message, error);
}

/* Who has partitions that are not at their ends is to get records; that a broker is away, nobody
 * tells us otherwise. */
static int miss_records(struct pj_engine *engine, struct pj_error *error)
{
    engine->stall.idle_ms = pj_clock_monotonic_ms();
    if (engine->failures > 0) /* it is another server that is away, and they are counted */
        engine->stall.moved_ms = engine->stall.idle_ms;
    if (engine->shadow != NULL)
        pj_stall_survey(engine);
    if (!pj_stall_out_of_patience(engine))
        return 0;
    return pj_stall_give_up(engine, NULL, error);
}

/* --- rebalances ------------------------------------------------------------------------------ */

static int rebalance(struct pj_engine *engine, struct pj_error *error)
{
    const struct pj_rebalance *pending = pj_consumer_rebalance(engine->consumer);
    switch (pending->kind) {
    case PJ_REBALANCE_NONE:
        return 0;
    case PJ_REBALANCE_REVOKE:
        pj_log(PJ_INFO, "partitions revoked", pj_f_int("count", (int64_t)pending->count));
        pj_metric_add(engine->numbers.assigned, -(int64_t)pending->count);
        pj_consumer_unassign(engine->consumer);
        return 0;
    case PJ_REBALANCE_ASSIGN:
        break;
    }
    if (pj_clock_monotonic_ms() < engine->assign_not_before)
        return 0;
    if (pj_engine_carry_out_assignment(engine, error) == 0) {
        engine->failures = 0;
        pj_engine_set_ready(engine, NULL);
        return 0;
    }
    if (error->class != PJ_RETRY)
        return -1;
    engine->assign_not_before = pj_clock_monotonic_ms() + pj_back_off_ms(engine->failures);
    if (count_failure(engine, error, error) != 0)
        return -1;
    char text[sizeof engine->stall.waiting];
    pj_text_show(text, sizeof text, "taking over partitions: %.600s", error->message);
    pj_engine_set_ready(engine, text);
    pj_metric_add(engine->numbers.retries, 1);
    pj_log(PJ_WARN, "cannot take over partitions yet", pj_f_str("reason", error->message));
    return 0;
}

/* What is revoked must be given back while we wait, and so must an assignment of nothing be taken,
 * or the whole group waits with us. New partitions need Postgres. */
static int rebalance_while_waiting(struct pj_engine *engine, struct pj_error *error)
{
    const struct pj_rebalance *pending = pj_consumer_rebalance(engine->consumer);
    if (pending->kind == PJ_REBALANCE_REVOKE)
        return rebalance(engine, error);
    if (pending->kind == PJ_REBALANCE_ASSIGN && pending->count == 0 &&
        pj_engine_carry_out_assignment(engine, error) != 0 && error->class != PJ_RETRY)
        return -1;
    return 0;
}

/* --- waiting --------------------------------------------------------------------------------- */

static void wait_for_kafka(struct pj_engine *engine, int64_t timeout_ms)
{
    struct pollfd fd = {.fd = pj_consumer_fd(engine->consumer), .events = POLLIN};
    /* A signal ends the wait; so does whatever else is wrong, and the loop goes on. */
    (void)poll(&fd, 1, (int)timeout_ms);
}

int pj_engine_back_off(struct pj_engine *engine, const struct pj_error *why, struct pj_error *error)
{
    int64_t wait = pj_back_off_ms(engine->failures);
    char reason[sizeof why->message];
    pj_text_show(reason, sizeof reason, "%s", why->message); /* `error` may be the same */
    if (count_failure(engine, why, error) != 0)
        return -1;
    char text[sizeof engine->stall.waiting];
    pj_text_show(text, sizeof text, "waiting for a server: %.600s", reason);
    pj_engine_set_ready(engine, text);
    pj_metric_add(engine->numbers.retries, 1);
    pj_log(PJ_WARN, "waiting for a server; nothing is lost", pj_f_str("reason", reason),
           pj_f_int("milliseconds", wait), pj_f_int("failures", engine->failures));
    pj_consumer_pause(engine->consumer);
    int64_t deadline = pj_clock_monotonic_ms() + wait;
    for (;;) {
        int64_t left = deadline - pj_clock_monotonic_ms();
        if (left <= 0 || pj_engine_stopping(engine))
            return 0;
        heartbeat(engine);
        pj_stall_look(engine);
        pj_batch_fill(engine, engine->next);
        if (engine->poll_failed) {
            *error = engine->poll_error;
            return -1;
        }
        if (rebalance_while_waiting(engine, error) != 0)
            return -1;
        wait_for_kafka(engine, left < WAIT_MS ? left : WAIT_MS);
    }
}

void pj_engine_recovered(struct pj_engine *engine)
{
    /* A takeover that fails has a reason of its own, and says itself when it is over. */
    if (engine->failures == 0 || pj_consumer_rebalance(engine->consumer)->kind != PJ_REBALANCE_NONE)
        return;
    engine->failures = 0;
    pj_engine_set_ready(engine, NULL);
}

/* --- the loop -------------------------------------------------------------------------------- */

/* What is not known is not shown. */
static void show_gauge(struct pj_engine *engine, const struct pj_partition *partition,
                       struct pj_metric **gauge, int64_t value, const char *name, const char *help)
{
    char labels[300];
    if (value < 0) {
        if (*gauge != NULL)
            pj_metric_hide(*gauge);
        *gauge = NULL;
        return;
    }
    pj_text_show(labels, sizeof labels, "topic=\"%s\",partition=\"%d\"", partition->topic,
                 partition->number);
    if (*gauge == NULL)
        *gauge = pj_metrics_add(engine->metrics, PJ_GAUGE, name, labels, help);
    pj_metric_set(*gauge, value);
}

static void show_partition(struct pj_engine *engine, struct pj_partition *partition)
{
    int64_t held = -1;
    int64_t lag = partition->assigned ? pj_stall_lag(engine, partition, &held) : -1;
    show_gauge(engine, partition, &partition->lag_gauge, lag, "projectionist_lag_records",
               "Records behind the end of the partition; not there while that is not known.");
    show_gauge(engine, partition, &partition->held_gauge, lag >= 0 ? held : -1,
               "projectionist_open_transaction_records",
               "Of those, how many wait for an open transaction of a producer.");
}

static void show_lag(struct pj_engine *engine)
{
    size_t count;
    struct pj_partition *const *partitions = pj_consumer_partitions(engine->consumer, &count);
    for (size_t i = 0; i < count; i++)
        show_partition(engine, partitions[i]);
    int64_t dropped = pj_consumer_dropped(engine->consumer);
    pj_metric_add(engine->numbers.dropped, dropped - pj_metric_value(engine->numbers.dropped));
}

/* What is due now and then, whatever the batches do. */
static void chores(struct pj_engine *engine)
{
    int64_t now = pj_clock_monotonic_ms();
    heartbeat(engine);
    pj_stall_look(engine);
    if (engine->shadow != NULL) {
        engine->shadow->progress(engine->shadow->context, engine);
        return;
    }
    if (now - engine->group_committed_at >= GROUP_COMMIT_MS) {
        pj_consumer_commit_to_group(engine->consumer);
        engine->group_committed_at = now;
    }
    pj_stall_survey(engine);
    if (now - engine->lag_shown_at >= LAG_MS) {
        show_lag(engine);
        engine->lag_shown_at = now;
    }
}

static bool caught_up(struct pj_engine *engine)
{
    size_t count;
    size_t assigned = 0;
    struct pj_partition *const *partitions = pj_consumer_partitions(engine->consumer, &count);
    if (!pj_consumer_settled(engine->consumer) || engine->next->count > 0 ||
        engine->unit.in_doubt != NULL || engine->timers_due)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct pj_partition *partition = partitions[i];
        assigned += partition->assigned;
        if (!partition->assigned)
            continue;
        /* An end that was seen may be from before the range grew; the range's is not. */
        if (partition->stop_offset >= 0) {
            if (partition->next_offset < partition->stop_offset)
                return false;
            continue;
        }
        if (!partition->at_end || partition->end_offset > partition->next_offset)
            return false;
    }
    return (assigned > 0 || pj_clock_monotonic_ms() - engine->settled_since > EMPTY_SETTLE_MS) &&
           pj_stall_others_caught_up(engine);
}

/* A topic that is not there yet may come; a run that is to end cannot wait for it. */
static int look_for_topics(struct pj_engine *engine, struct pj_error *error)
{
    char trouble[512];
    if (engine->topics_seen)
        return 0;
    if (pj_consumer_survey(engine->consumer, KAFKA_TIMEOUT_MS, error) != 0)
        return pj_engine_back_off(engine, error, error);
    enum pj_topics topics = pj_consumer_topic_trouble(engine->consumer, trouble, sizeof trouble);
    if (topics == PJ_TOPICS_KNOWN) {
        engine->topics_seen = true;
        engine->failures = 0;
        if (engine->shadow == NULL)
            return pj_consumer_subscribe(engine->consumer, error);
        pj_consumer_request(engine->consumer, engine->shadow->ranges, engine->shadow->range_count);
        return 0;
    }
    pj_error_fatal(error, PJ_EXIT_FAILED, "%s", trouble);
    return engine->settings->until_caught_up && topics == PJ_TOPICS_MISSING
               ? -1
               : pj_engine_back_off(engine, error, error);
}

static int join_anew(struct pj_engine *engine, struct pj_error *error)
{
    if (engine->shadow == NULL)
        return pj_consumer_rejoin(engine->consumer, error);
    return pj_error_fatal(error, PJ_EXIT_GAP,
                          "retention removed records of %s's topics while they were being read; "
                          "begin anew, with --keep-retained",
                          engine->projection->name);
}

/* One turn: what was fetched is committed; when nothing was, the ends, and a wait. */
static int turn(struct pj_engine *engine, bool *done, struct pj_error *error)
{
    while (!pj_batch_full(engine, engine->next) && pj_batch_fill(engine, engine->next)) {
    }
    if (engine->poll_failed) {
        *error = engine->poll_error;
        return -1;
    }
    if (pj_consumer_lost_position(engine->consumer) && join_anew(engine, error) != 0)
        return -1;
    if (rebalance(engine, error) != 0 || pj_engine_check_topics(engine, error) != 0 ||
        pj_schemas_look_again(engine->schemas, error) != 0)
        return -1;
    chores(engine);
    if (engine->next->count > 0) {
        struct pj_batch *fetched = engine->next;
        engine->next = engine->current;
        engine->current = fetched;
        int status = pj_engine_commit(engine, error);
        engine->stall.moved_ms = pj_clock_monotonic_ms(); /* a commit may take long */
        return status;
    }
    if (pj_engine_advance_to_ends(engine, error) != 0)
        return -1;
    if (engine->timers_due && engine->identity.cluster_id != NULL)
        return pj_engine_run_timers(engine, error);
    if (pj_engine_check_ownership(engine, error) != 0)
        return -1;
    *done = engine->settings->until_caught_up && caught_up(engine);
    if (*done)
        return 0;
    wait_for_kafka(engine, WAIT_MS);
    return miss_records(engine, error);
}

int pj_engine_run(struct pj_engine *engine, struct pj_error *error)
{
    bool done = false;
    engine->stall.moved_ms = pj_clock_monotonic_ms();
    pj_engine_set_ready(engine, "starting");
    while (!done && !pj_engine_stopping(engine)) {
        heartbeat(engine);
        if (!engine->topics_seen) {
            if (look_for_topics(engine, error) != 0)
                return -1;
            continue;
        }
        if (turn(engine, &done, error) != 0)
            return -1;
    }
    pj_engine_set_ready(engine, "stopping");
    pj_log(PJ_INFO, done ? "caught up" : "stopping");
    if (engine->shadow == NULL)
        pj_consumer_commit_to_group(engine->consumer);
    return 0;
}

/* --- opening and closing --------------------------------------------------------------------- */

static void add_numbers(struct pj_engine *engine)
{
    struct pj_metrics *metrics = engine->metrics;
    struct pj_engine_metrics *numbers = &engine->numbers;
    const struct {
        struct pj_metric **metric;
        enum pj_metric_kind kind;
        const char *name;
        const char *help;
    } all[] = {
        {&numbers->records, PJ_COUNTER, "projectionist_records_total",
         "Records committed, dead letters included."},
        {&numbers->rows, PJ_COUNTER, "projectionist_rows_total", "Rows written."},
        {&numbers->batches, PJ_COUNTER, "projectionist_batches_total", "Transactions committed."},
        {&numbers->batch_seconds, PJ_HISTOGRAM, "projectionist_batch_seconds",
         "Time from the first fold of a batch to its commit."},
        {&numbers->dead_letters, PJ_COUNTER, "projectionist_dead_letters_total",
         "Records set aside because they cannot be applied."},
        {&numbers->retries, PJ_COUNTER, "projectionist_retries_total",
         "Waits because Postgres, Kafka or the registry did not answer."},
        {&numbers->fenced, PJ_COUNTER, "projectionist_fenced_total",
         "Batches given up because another owner had taken the partitions."},
        {&numbers->placeholders, PJ_COUNTER, "projectionist_placeholders_total",
         "Rows made only so that a foreign key holds."},
        {&numbers->dropped, PJ_COUNTER, "projectionist_dropped_records_total",
         "Records fetched again although they were committed, and passed over."},
        {&numbers->rebalances, PJ_COUNTER, "projectionist_assignments_total",
         "Assignments carried out."},
        {&numbers->assigned, PJ_GAUGE, "projectionist_assigned_partitions", "Partitions owned."},
        {&numbers->last_commit, PJ_GAUGE, "projectionist_last_commit_timestamp_seconds",
         "When the last transaction was committed."},
        {&numbers->stalled, PJ_GAUGE, "projectionist_stalled",
         "1 while nothing is done of what there is to do; /readyz has the reason."},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        *all[i].metric = pj_metrics_add(metrics, all[i].kind, all[i].name, NULL, all[i].help);
}

/* Facts are some times as long as what changes them; who wants small batches means both. */
static size_t state_most(const struct pj_settings *settings)
{
    enum { TIMES = 8, LEAST = 1 << 20 };
    int64_t most = settings->batch_bytes * TIMES;
    return most < LEAST ? LEAST : most > PJ_STATE_MOST ? PJ_STATE_MOST : (size_t)most;
}

static int open_registry(struct pj_engine *engine, struct pj_error *error)
{
    const struct pj_settings *settings = engine->settings;
    if (settings->registry.url != NULL &&
        pj_registry_open(&engine->registry, &settings->registry, error) != 0)
        return -1;
    if (pj_schemas_new(&engine->schemas, engine->projection, engine->registry,
                       settings->registry.url, error) != 0)
        return -1;
    pj_schemas_set_reader(engine->schemas, &engine->identity);
    if (engine->shadow == NULL)
        pj_schemas_want_registry(engine->schemas);
    return 0;
}

static int open_consumer(struct pj_engine *engine, const struct pj_config *config,
                         struct pj_error *error)
{
    const char *topics[64];
    const struct pj_projection *projection = engine->projection;
    for (size_t i = 0; i < projection->source_count && i < 64; i++)
        topics[i] = projection->sources[i].topic;
    const struct pj_consumer_settings consumer = {
        .properties = &config->kafka,
        .group = engine->identity.group,
        .client_id = engine->identity.owner,
        .topics = topics,
        .topic_count = projection->source_count,
        .bulk = engine->shadow != NULL,
    };
    return pj_consumer_open(&engine->consumer, &consumer, error);
}

int pj_engine_open(struct pj_engine *engine, const struct pj_projection *projection,
                   const struct pj_settings *settings, const struct pj_config *config,
                   struct pj_error *error)
{
    engine->projection = projection;
    engine->settings = settings;
    engine->postgres_settings = (struct pj_postgres_settings){
        .dsn = settings->postgres_dsn,
        .properties = &config->postgres,
        .application_name = engine->identity.owner,
        .tables_schema = settings->tables_schema,
        .lock_timeout_ms = settings->lock_timeout_ms,
        .idle_in_transaction_timeout_ms = settings->idle_in_transaction_timeout_ms,
        .waiting = stop_connecting,
        .waiting_context = engine,
    };
    engine->identity.projection = projection->name;
    engine->unit = (struct pj_unit){
        .settings = &engine->postgres_settings,
        .identity = &engine->identity,
        .schema = engine->shadow != NULL ? engine->shadow->schema : NULL,
        .work = pj_arena_new(),
        .prepare = prepare,
        .idle = work_ahead,
        .context = engine,
    };
    engine->accepted = calloc(projection->source_count + 1, sizeof *engine->accepted);
    if (engine->accepted == NULL)
        abort();
    for (int i = 0; i < 2; i++)
        engine->batches[i].arena = pj_arena_new();
    if (pj_projection_check(projection, error) != 0 ||
        (engine->shadow == NULL && pj_offsets_check_group(engine->identity.group, error) != 0))
        return -1;
    projection = pj_claims_expand(projection);
    engine->projection = projection;
    if (!pj_postgres_is_named(&engine->postgres_settings))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no database is named: set PROJECTIONIST_POSTGRES_DSN or give "
                              "--postgres-dsn");
    if (pj_postgres_check_settings(&engine->postgres_settings, error) != 0 ||
        pj_postgres_check_files(&engine->postgres_settings, error) != 0)
        return -1;
    engine->unit.projection = projection;
    engine->unit.writer = pj_writer_new(projection, engine->unit.schema, state_most(settings));
    engine->current = &engine->batches[0];
    engine->next = &engine->batches[1];
    add_numbers(engine);
    return open_registry(engine, error) != 0 ? -1 : open_consumer(engine, config, error);
}

void pj_engine_close(struct pj_engine *engine)
{
    for (int i = 0; i < 2; i++)
        pj_batch_free(&engine->batches[i]);
    /* The transaction is over: a rollback, if it comes to that, is Postgres's to do. */
    pj_unit_close(&engine->unit);
    pj_consumer_close(engine->consumer,
                      engine->settings != NULL ? engine->settings->shutdown_timeout_ms : 0);
    pj_schemas_free(engine->schemas);
    pj_registry_close(engine->registry);
    pj_writer_free(engine->unit.writer);
    pj_arena_free(engine->unit.work);
    free(engine->accepted);
}
