/* SPDX-License-Identifier: Apache-2.0 */
#include "projectionist/consumer.h"

#include "base/clock.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/program.h"
#include "base/status_page.h"
#include "base/text.h"
#include "base/threads.h"
#include "base/topic_name.h"
#include "engine/loop.h"
#include "engine/projection_check.h"
#include "engine/system_check.h"
#include "fold/prefixed.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A consumer: the policy of its run, and its process. */

enum { OPTIONS_MOST = 64, FENCES_MOST = 3, GROUP_COMMIT_MS = 1000, LARGE_BLOCK = 128 << 10 };

struct all_settings {
    struct pj_settings common;
    const struct pj_projection *projection;
    union pj_setting_value own[PJ_SETTINGS_MOST]; /* the projection's settings */
};

static void print_help(const struct pj_process *process)
{
    const struct all_settings *all = process->settings;
    const struct pj_projection *projection = all->projection;
    printf("NAME\n    %s - %s\n\n", projection->name, projection->summary);
    printf("SYNOPSIS\n    %s [OPTION]...\n\n", projection->name);
    printf("DESCRIPTION\n"
           "    Reads its topics in a consumer group and keeps its tables in Postgres, exactly\n"
           "    once: rows and offsets are committed in one transaction. Any number of replicas\n"
           "    share the partitions. It waits while Kafka, Postgres or the schema registry is\n"
           "    unavailable, and dead-letters records that cannot be applied.\n\n"
           "    topics:");
    for (size_t i = 0; i < projection->source_count; i++)
        printf(" %s", projection->sources[i].topic);
    printf("\n    tables:");
    for (size_t i = 0; i < projection->table_count; i++) {
        if (projection->tables[i]->part_of == NULL)
            printf(" %s", projection->tables[i]->name);
    }
    printf("\n\nOPTIONS\n");
    pj_config_print_options(stdout, process->options, PJ_HELP_WIDTH);
    printf("\nSIGNALS\n"
           "    SIGTERM, SIGINT: finish the batch, leave the group, exit with 0. A second one\n"
           "    exits at once; nothing is lost.\n"
           "\nEXIT STATUS\n"
           "    0  stopped, or caught up with --until-caught-up\n"
           "    1  failed; also where the first 100 records of a topic are all refused for one\n"
           "       reason (--accept-dead-letters)\n"
           "    2  a flag, variable or file setting is wrong\n"
           "    3  retention removed records that were never read (--accept-gap)\n"
           "    4  a topic was recreated, or has lost the end of its log: it ends before our\n"
           "       offset, has another record there, or another id (known with librdkafka 2.3\n"
           "       or newer)\n"
           "    5  another process keeps claiming the same partitions, or the group has another\n"
           "       member with our group.instance.id\n"
           "    6  tables are missing or not as declared, or a right is missing (run\n"
           "       `%s migrate`)\n"
           "    8  the consumer's own declaration or code is wrong\n"
           "    9  the registry has another schema under an id than the one kept in Postgres\n"
           "    3 and 4 come back at every start until you act: --accept-gap,\n"
           "    `%s offsets set`, `%s rebuild`.\n",
           pj_program(), pj_program(), pj_program());
}

static const char *owner_name(const struct pj_settings *settings, char *buffer, size_t size)
{
    if (settings->instance != NULL)
        return settings->instance;
    char host[128] = "localhost";
    gethostname(host, sizeof host - 1);
    pj_text_whole(buffer, size, "%s:%d", host, (int)getpid());
    return buffer;
}

/* --- the run --------------------------------------------------------------------------------- */

/* A member of the group, with a thread of its own but for the first. */
struct worker {
    struct pj_run_policy policy;
    struct pj_loop loop;
    int64_t group_committed_ms;
    char owner[PJ_GROUP_MOST + 24];
    atomic_bool *halted; /* of the process: one has failed */
    pthread_t thread;
    int status;
    struct pj_error error;
};

static void do_chores(struct pj_loop *loop)
{
    struct pj_session *session = &loop->session;
    struct worker *worker = session->policy->context;
    if (pj_clock_every(&worker->group_committed_ms, GROUP_COMMIT_MS)) {
        if (session->unit.async)
            pj_durable_look(&loop->durable, session);
        pj_consumer_commit_to_group(session->consumer, session->unit.async);
    }
    pj_stall_survey(&loop->stall);
}

static int mark_session(const struct pj_session *session, struct pj_postgres *postgres,
                        struct pj_error *error)
{
    return pj_owner_mark_session(postgres, &session->identity, error);
}

static int subscribe(struct pj_session *session, struct pj_error *error)
{
    return pj_consumer_subscribe(session->consumer, error);
}

static int rejoin(struct pj_session *session, struct pj_error *error)
{
    return pj_consumer_rejoin(session->consumer, error);
}

static int say_fenced(const struct pj_session *session, struct pj_error *error)
{
    return pj_error_fatal(error, PJ_EXIT_FENCED,
                          "another process keeps claiming the partitions of group %s; see "
                          "`projectionist status` for their owner and stop one of the two",
                          session->identity.group);
}

/* --- the page for people --------------------------------------------------------------------- */

static const struct pj_page_item charts[] = {
    {"Behind", "projectionist_lag_seconds", PJ_PAGE_SECONDS},
    {"Records to read", "projectionist_lag_records", PJ_PAGE_SUM},
    {"Records read", "projectionist_records_total", PJ_PAGE_RATE},
    {"Rows written", "projectionist_rows_total", PJ_PAGE_RATE},
    {"Retention used", "projectionist_retention_used_ratio", PJ_PAGE_PERCENT},
    {"Dead letters", "projectionist_dead_letters_total", PJ_PAGE_SUM},
    {0},
};
static const struct pj_page_item partition_rows[] = {
    {"To read", "projectionist_lag_records", PJ_PAGE_SUM},
    {"Behind", "projectionist_lag_seconds", PJ_PAGE_SECONDS},
    {"Open", "projectionist_open_transaction_records", PJ_PAGE_SUM},
    {"Retention", "projectionist_retention_used_ratio", PJ_PAGE_PERCENT},
    {"Epoch", "projectionist_partition_epoch", PJ_PAGE_SUM},
    {0},
};

/* --- workers --------------------------------------------------------------------------------- */

static void *work(void *context)
{
    struct worker *worker = context;
    struct pj_session *session = &worker->loop.session;
    worker->status = pj_loop_run(&worker->loop, &worker->error);
    if (worker->status != 0) {
        atomic_store(worker->halted, true);
    } else {
        if (session->unit.async)
            pj_durable_wait(&worker->loop.durable, session);
        pj_consumer_commit_to_group(session->consumer, session->unit.async);
    }
    /* At once: the others get its partitions. */
    pj_loop_close(&worker->loop);
    pj_health_leave(session->health, session->worker);
    return NULL;
}

/* All to their ends; the error is that of the first that failed. */
static int run_workers(struct worker *workers, size_t count, struct pj_error *error)
{
    size_t started = 1;
    int status = 0;
    while (started < count &&
           pj_thread_start(&workers[started].thread, work, &workers[started], error) == 0)
        started++;
    if (started < count) {
        status = -1;
        atomic_store(workers[0].halted, true);
    }
    work(&workers[0]);
    for (size_t w = 1; w < started; w++)
        pthread_join(workers[w].thread, NULL);
    for (size_t w = started; w < count; w++)
        pj_loop_close(&workers[w].loop);
    for (size_t w = 0; w < started && status == 0; w++) {
        status = workers[w].status;
        if (status != 0)
            *error = workers[w].error;
    }
    return status;
}

static int consume(struct worker *workers, size_t count, const struct pj_config *config,
                   struct pj_error *error)
{
    const struct pj_identity *identity = &workers[0].loop.session.identity;
    size_t opened = 0;
    int status = pj_offsets_check_group(identity->group, error);
    while (status == 0 && opened < count) {
        struct pj_loop *loop = &workers[opened++].loop;
        status = pj_loop_open(loop, config, error);
        if (status == 0)
            pj_schemas_want_registry(loop->session.schemas);
    }
    if (status != 0) {
        while (opened > 0)
            pj_loop_close(&workers[--opened].loop);
        return -1;
    }
    pj_log(PJ_INFO, "started", pj_f_str("version", PJ_VERSION), pj_f_str("group", identity->group),
           pj_f_str("owner", identity->owner), pj_f_int("workers", (int64_t)count));
    return run_workers(workers, count, error);
}

/* As one replica of many would be, but for what they share: metrics, the probes, and the end. */
static void set_up(struct worker *worker, size_t number, const struct all_settings *all,
                   const struct pj_session *shared, atomic_bool *halted)
{
    char name[PJ_GROUP_MOST + 1];
    const char *owner = owner_name(&all->common, name, sizeof name);
    if (number == 0)
        pj_text_show(worker->owner, sizeof worker->owner, "%s", owner);
    else
        pj_text_show(worker->owner, sizeof worker->owner, "%s/%zu", owner, number + 1);
    worker->halted = halted;
    worker->policy = (struct pj_run_policy){
        .in_group = true,
        .refuses_floods = true,
        .fences_most = FENCES_MOST,
        .halted = halted,
        .prepare = mark_session,
        .join = subscribe,
        .rejoin = rejoin,
        .fenced = say_fenced,
        .gap_remedy = "continue without them with --accept-gap, and publish them again if a "
                      "recording has them",
        .remedy = pj_assignment_remedy,
        .turn = do_chores,
        .context = worker,
    };
    worker->loop.session = *shared;
    worker->loop.session.policy = &worker->policy;
    worker->loop.session.worker = number;
    worker->loop.session.identity.owner = worker->owner;
}

/* --- the run, once it is set up -------------------------------------------------------------- */

static int run(const struct pj_process *process, const struct pj_config *config,
               struct pj_error *error)
{
    struct all_settings *all = process->settings;
    const struct pj_projection *projection = all->projection;
    const struct pj_settings *settings = &all->common;
    size_t count = (size_t)settings->workers;
    char group[PJ_TOPIC_NAME_SIZE];
    if (pj_topic_prefix_check(settings->topic_prefix, error) != 0)
        return -1;
    struct pj_session shared = {
        .projection = pj_projection_prefixed(projection, settings->topic_prefix),
        .settings = settings,
        .setting_values = all->own,
        .identity.group = settings->group != NULL
                              ? settings->group
                              : pj_topic_name(group, settings->topic_prefix, projection->name),
        .metrics = pj_metrics_new(),
        .stop = &pj_stop_requests,
    };
    const struct pj_label labels[] = {{"system", settings->system},
                                      {"consumer", projection->name},
                                      {"group", shared.identity.group},
                                      {0}};
    const struct pj_page page = {
        .name = projection->name,
        .well = "All that is in Kafka is in the tables, or is on its way.",
        .behind = "projectionist_lag_seconds",
        .charts = charts,
        .rows_title = "Partitions",
        .rows = partition_rows,
        .letters = "projectionist_dead_letters_total",
        .letters_hint = "The command dead-letters list shows them, and replay takes them in again.",
    };
    struct pj_metrics_server *server = NULL;
    struct worker *workers = pj_calloc(count, sizeof *workers);
    atomic_bool halted = false;
    int status = pj_process_show(&server, shared.metrics, labels, &page, process, error);
    shared.health = pj_health_new(server, count);
    for (size_t w = 0; w < count; w++)
        set_up(&workers[w], w, all, &shared, &halted);
    if (status == 0)
        status = consume(workers, count, config, error);
    pj_process_hide(server);
    pj_health_free(shared.health);
    pj_metrics_free(shared.metrics);
    free(workers);
    return status;
}

/* --- the program ----------------------------------------------------------------------------- */

/* The options of every consumer, then the projection's own. */
static void list_options(const struct pj_projection *projection,
                         struct pj_option options[OPTIONS_MOST])
{
    size_t count = 0;
    while (pj_consumer_options[count].name != NULL)
        count++;
    PJ_CHECK(count + PJ_SETTINGS_MOST < OPTIONS_MOST, "there are more options than room for them");
    memcpy(options, pj_consumer_options, count * sizeof *options);
    const struct pj_setting *setting = projection->settings;
    for (size_t i = 0; setting != NULL && setting[i].name != NULL; i++)
        options[count++] = pj_setting_option(&setting[i], offsetof(struct all_settings, own) +
                                                              i * sizeof(union pj_setting_value));
    options[count] = (struct pj_option){0};
}

int pj_consumer_main(const struct pj_system *system, const struct pj_projection *projection,
                     int argc, char **argv)
{
    struct pj_option options[OPTIONS_MOST];
    struct pj_error error;
    if (pj_system_check(system, &error) != 0 || pj_projection_check(projection, &error) != 0) {
        fprintf(stderr, "%s: %s\n",
                projection != NULL && projection->name != NULL ? projection->name : argv[0],
                error.message);
        return pj_error_exit_code(&error);
    }
    /* glibc would raise it to the largest block that was ever freed, and keep all such blocks. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    struct all_settings all = {
        .projection = projection,
        .common = {.system = system->name, .default_schema = system->tables_schema},
    };
    const struct pj_process process = {
        .name = projection->name,
        .version = system->version,
        .options = options,
        .settings = &all,
        .common = &all.common.process,
        .print_help = print_help,
        .run = run,
    };
    list_options(projection, options);
    return pj_process_main(&process, argc, argv);
}
