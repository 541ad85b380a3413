/* SPDX-License-Identifier: Apache-2.0 */
#include "projectionist/consumer.h"

#include "base/log.h"
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The process around the engine: what a person or Kubernetes sees of a consumer. */

static volatile sig_atomic_t stop_requests;

/* The first one finishes the batch and leaves the group; the second ends at once. */
static void on_stop(int signal_number)
{
    if (++stop_requests > 1)
        _exit(128 + signal_number);
}

static void handle_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

static void print_help(const struct pj_projection *projection, const struct pj_option *options)
{
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
    pj_config_print_options(stdout, options, 80);
    printf("\nSIGNALS\n"
           "    SIGTERM, SIGINT: finish the batch, leave the group, end with 0. A second one ends\n"
           "    at once; nothing is lost by it.\n"
           "\nEXIT STATUS\n"
           "    0  stopped, or caught up with --until-caught-up\n"
           "    1  failed\n"
           "    2  a flag, variable or file setting is wrong\n"
           "    3  retention removed records that were never read (--accept-gap)\n"
           "    4  a topic was created anew: it ends before our offset, or has another id (which\n"
           "       librdkafka tells from 2.3 on)\n"
           "    5  another process keeps taking the same partitions\n"
           "    6  tables are missing or a right is (run `projectionist migrate`)\n");
}

static enum pj_log_level log_level(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum pj_log_level)i;
    }
    return PJ_INFO;
}

/* HOST:PID, unless the operator named it. */
static const char *owner_name(const struct pj_settings *settings, char *buffer, size_t size)
{
    if (settings->instance != NULL)
        return settings->instance;
    char host[128] = "localhost";
    gethostname(host, sizeof host - 1);
    snprintf(buffer, size, "%s:%d", host, (int)getpid());
    return buffer;
}

static int run(const struct pj_projection *projection, const struct pj_settings *settings,
               int64_t *setting_values, const struct pj_config *config, struct pj_error *error)
{
    char owner[256];
    struct pj_engine engine = {
        .stop = &stop_requests, .metrics = pj_metrics_new(), .setting_values = setting_values};
    engine.identity.group = settings->group != NULL ? settings->group : projection->name;
    engine.identity.owner = owner_name(settings, owner, sizeof owner);
    int status = 0;
    if (settings->metrics_address != NULL) {
        status = pj_metrics_server_start(&engine.server, engine.metrics, settings->metrics_address,
                                         error);
        if (status == 0)
            pj_log(PJ_INFO, "metrics are served",
                   pj_f_int("port", pj_metrics_server_port(engine.server)));
    }
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

enum { SETTINGS_MOST = 8, OPTIONS_MOST = 64 };

struct all_settings {
    struct pj_settings common;
    int64_t own[SETTINGS_MOST];
};

/* The options of every consumer, then the projection's own. */
static void list_options(const struct pj_projection *projection,
                         struct pj_option options[OPTIONS_MOST])
{
    size_t count = 0;
    while (pj_consumer_options[count].name != NULL)
        count++;
    memcpy(options, pj_consumer_options, count * sizeof *options);
    const struct pj_setting *setting = projection->settings;
    for (size_t i = 0; setting != NULL && setting[i].name != NULL && i < SETTINGS_MOST; i++)
        options[count++] = (struct pj_option){
            .name = setting[i].name,
            .kind = PJ_OPTION_DURATION,
            .offset = offsetof(struct all_settings, own) + i * sizeof(int64_t),
            .fallback = setting[i].fallback,
            .argument = "TIME",
            .help = setting[i].help,
            .least = 1,
            .most = INT64_C(1000) * 86400 * 3650,
        };
    options[count] = (struct pj_option){0};
}

int pj_consumer_main(const struct pj_projection *projection, int argc, char **argv)
{
    struct pj_option options[OPTIONS_MOST];
    struct all_settings all = {0};
    const struct pj_settings *settings = &all.common;
    list_options(projection, options);
    struct pj_config config;
    struct pj_error error;
    int status = 0;
    if (pj_config_read(&config, options, &all, argc, argv, &error) != 0) {
        fprintf(stderr, "%s: %s\n", projection->name, error.message);
        return pj_error_exit_code(&error);
    }
    if (config.help) {
        print_help(projection, options);
    } else if (config.version) {
        printf("%s %s\n", projection->name, PJ_VERSION);
    } else if (config.operand_count > 0) {
        fprintf(stderr, "%s: it takes no arguments, but \"%s\" was given; see --help\n",
                projection->name, config.operands[0]);
        status = PJ_EXIT_USAGE;
    } else {
        pj_log_configure(projection->name, log_level(settings->log_level),
                         strcmp(settings->log_format, "json") == 0 ? PJ_LOG_JSON : PJ_LOG_LOGFMT);
        handle_signals();
        srandom((unsigned)getpid());
        if (run(projection, settings, all.own, &config, &error) != 0) {
            status = pj_error_exit_code(&error);
            pj_log(PJ_ERROR, error.message, pj_f_int("exit_code", status));
        }
    }
    pj_config_free(&config);
    return status;
}
