/* SPDX-License-Identifier: Apache-2.0 */
#include "projectionist/consumer.h"

#include "base/clock.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/program.h"
#include "base/spans.h"
#include "base/status_page.h"
#include "base/text.h"
#include "base/topic_name.h"
#include "engine/loop.h"
#include "engine/projection_check.h"
#include "engine/system_check.h"
#include "fold/prefixed.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A consumer: the policy of its run, and its process. */

enum { OPTIONS_MOST = 64, FENCES_MOST = 3, GROUP_COMMIT_MS = 1000 };

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
           "    5  another process keeps claiming the same partitions, or our group.instance.id\n"
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

/* The context of the policy. */
struct clocks {
    int64_t group_committed_ms;
};

static void do_chores(struct pj_loop *loop)
{
    struct pj_session *session = &loop->session;
    struct clocks *clocks = session->policy->context;
    if (pj_clock_every(&clocks->group_committed_ms, GROUP_COMMIT_MS)) {
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

/* --- the run, once it is set up -------------------------------------------------------------- */

static int consume(struct pj_loop *loop, const struct pj_config *config, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    if (pj_offsets_check_group(session->identity.group, error) != 0 ||
        pj_loop_open(loop, config, error) != 0)
        return -1;
    pj_schemas_want_registry(session->schemas);
    pj_log(PJ_INFO, "started", pj_f_str("version", PJ_VERSION),
           pj_f_str("group", session->identity.group), pj_f_str("owner", session->identity.owner));
    if (pj_loop_run(loop, error) != 0)
        return -1;
    if (session->unit.async)
        pj_durable_wait(&loop->durable, session);
    pj_consumer_commit_to_group(session->consumer, session->unit.async);
    return 0;
}

static int run(const struct pj_process *process, const struct pj_config *config,
               struct pj_error *error)
{
    struct all_settings *all = process->settings;
    const struct pj_projection *projection = all->projection;
    const struct pj_settings *settings = &all->common;
    char owner[256];
    char group[PJ_TOPIC_NAME_SIZE];
    if (pj_topic_prefix_check(settings->topic_prefix, error) != 0)
        return -1;
    struct clocks clocks = {0};
    const struct pj_run_policy policy = {
        .in_group = true,
        .refuses_floods = true,
        .fences_most = FENCES_MOST,
        .prepare = mark_session,
        .join = subscribe,
        .rejoin = rejoin,
        .fenced = say_fenced,
        .gap_remedy = "continue without them with --accept-gap, and publish them again if a "
                      "recording has them",
        .remedy = pj_assignment_remedy,
        .turn = do_chores,
        .context = &clocks,
    };
    struct pj_loop loop = {
        .session =
            {
                .policy = &policy,
                .projection = pj_projection_prefixed(projection, settings->topic_prefix),
                .settings = settings,
                .setting_values = all->own,
                .identity =
                    {
                        .group =
                            settings->group != NULL
                                ? settings->group
                                : pj_topic_name(group, settings->topic_prefix, projection->name),
                        .owner = owner_name(settings, owner, sizeof owner),
                    },
                .metrics = pj_metrics_new(),
                .stop = &pj_stop_requests,
            },
    };
    struct pj_session *session = &loop.session;
    const struct pj_label labels[] = {{"system", settings->system},
                                      {"consumer", projection->name},
                                      {"group", session->identity.group},
                                      {0}};
    pj_metrics_set_labels(session->metrics, labels);
    int status = pj_process_serve_metrics(&session->server, session->metrics, process, error);
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
    if (session->server != NULL)
        pj_metrics_server_show(session->server, &page);
    if (status == 0)
        status = pj_spans_start(settings->process.otlp_endpoint, process->name, labels,
                                session->metrics, error);
    if (status == 0)
        status = consume(&loop, config, error);
    pj_loop_close(&loop);
    pj_metrics_server_stop(session->server);
    pj_spans_stop();
    pj_metrics_free(session->metrics);
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
