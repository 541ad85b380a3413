/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "projectionist/consumer.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/topic_name.h"
#include "engine/engine.h"
#include "engine/projection_check.h"
#include "engine/system_check.h"
#include "fold/prefixed.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The process around the engine: what a person or Kubernetes sees of a consumer. */

enum { OPTIONS_MOST = 64 };

struct all_settings {
    struct pj_settings common;
    const struct pj_projection *projection;
    int64_t own[PJ_SETTINGS_MOST]; /* the projection's settings */
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
           "    away, and sets records that cannot be applied aside as dead letters.\n\n"
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
           "    SIGTERM, SIGINT: finish the batch, leave the group, end with 0. A second one ends\n"
           "    at once; nothing is lost by it.\n"
           "\nEXIT STATUS\n"
           "    0  stopped, or caught up with --until-caught-up\n"
           "    1  failed; also where the first 100 records of a topic are all refused for one\n"
           "       reason (--accept-dead-letters)\n"
           "    2  a flag, variable or file setting is wrong\n"
           "    3  retention removed records that were never read (--accept-gap)\n"
           "    4  a topic was recreated, or has lost the end of its log: it ends before our\n"
           "       offset, has another record there, or another id (which librdkafka tells from\n"
           "       2.3 on)\n"
           "    5  another process keeps taking the same partitions, or our group.instance.id\n"
           "    6  tables are missing or not as declared, or a right is missing (run\n"
           "       `projectionist migrate`)\n"
           "    8  the declaration or the code of the consumer itself is wrong: its author's\n"
           "    9  a schema id means another schema at the registry than what was kept of it\n"
           "    3 and 4 stay, however often it is started, until a person acts: --accept-gap,\n"
           "    `projectionist offsets set`, `projectionist rebuild`.\n");
}

/* HOST:PID, unless the operator named it. */
static const char *owner_name(const struct pj_settings *settings, char *buffer, size_t size)
{
    if (settings->instance != NULL)
        return settings->instance;
    char host[128] = "localhost";
    gethostname(host, sizeof host - 1);
    pj_text_whole(buffer, size, "%s:%d", host, (int)getpid());
    return buffer;
}

static int run(const struct pj_process *process, const struct pj_config *config,
               struct pj_error *error)
{
    struct all_settings *all = process->settings;
    const struct pj_projection *projection = all->projection;
    const struct pj_settings *settings = &all->common;
    char owner[256];
    struct pj_engine engine = {
        .stop = &pj_stop_requests, .metrics = pj_metrics_new(), .setting_values = all->own};
    engine.identity.group = settings->group != NULL ? settings->group : projection->name;
    engine.identity.owner = owner_name(settings, owner, sizeof owner);
    if (pj_topic_prefix_check(settings->topic_prefix, error) != 0)
        return -1;
    projection = pj_projection_prefixed(projection, settings->topic_prefix);
    int status =
        pj_process_serve_metrics(&engine.server, engine.metrics, &settings->process, error);
    if (status == 0)
        status = pj_engine_open(&engine, projection, settings, config, error);
    if (status == 0) {
        pj_log(PJ_INFO, "started", pj_f_str("version", PJ_VERSION),
               pj_f_str("group", engine.identity.group), pj_f_str("owner", engine.identity.owner));
        status = pj_engine_run(&engine, error);
    }
    pj_engine_close(&engine);
    pj_metrics_server_stop(engine.server);
    pj_metrics_free(engine.metrics);
    return status;
}

/* The options of every consumer, then the projection's own. */
static void list_options(const struct pj_system *system, const struct pj_projection *projection,
                         struct pj_option options[OPTIONS_MOST])
{
    size_t count = 0;
    while (pj_consumer_options[count].name != NULL)
        count++;
    PJ_CHECK(count + PJ_SETTINGS_MOST < OPTIONS_MOST, "there are more options than room for them");
    memcpy(options, pj_consumer_options, count * sizeof *options);
    for (size_t i = 0; i < count; i++) {
        if (options[i].offset == offsetof(struct pj_settings, tables_schema))
            options[i].fallback = system->tables_schema;
    }
    const struct pj_setting *setting = projection->settings;
    for (size_t i = 0; setting != NULL && setting[i].name != NULL; i++)
        options[count++] = pj_setting_option(&setting[i], offsetof(struct all_settings, own) +
                                                              i * sizeof(int64_t));
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
    struct all_settings all = {.projection = projection};
    const struct pj_process process = {
        .name = projection->name,
        .version = system->version,
        .options = options,
        .settings = &all,
        .common = &all.common.process,
        .print_help = print_help,
        .run = run,
    };
    list_options(system, projection, options);
    return pj_process_main(&process, argc, argv);
}
