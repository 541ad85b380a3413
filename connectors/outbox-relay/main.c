/* SPDX-License-Identifier: Apache-2.0 */
/* outbox-relay: rows that functions wrote into an outbox of Postgres, to Kafka, at least once. */
#include "base/log.h"
#include "base/status_page.h"
#include "base/topic_name.h"
#include "outbox-relay/outbox.h"
#include "outbox-relay/relay.h"
#include "postgres/postgres_settings.h"

#include <stdio.h>
#include <string.h>

static void print_help(const struct pj_process *process)
{
    fputs("NAME\n"
          "    outbox-relay - publish an outbox in Postgres to Kafka, each event at least once\n"
          "\n"
          "SYNOPSIS\n"
          "    outbox-relay --outbox SCHEMA [OPTION]...\n"
          "\n"
          "DESCRIPTION\n"
          "    Publishes what functions of a system write into SCHEMA.outbox in the\n"
          "    transactions of their callers: each row that was committed, and none that\n"
          "    was rolled back, as a record of the row's topic and key, encoded with\n"
          "    the newest schema that the registry has for the subject TOPIC-value. Then it\n"
          "    deletes the row. After a crash in between it publishes rows again, with the\n"
          "    same event_id. Rows of one key are published in the order of their ids;\n"
          "    writers hold a lock on the key until they commit.\n"
          "\n"
          "    A row that can never be published (it does not fit its schema, or Kafka\n"
          "    refuses it for good) moves to SCHEMA.outbox_failed with the reason. Rows for\n"
          "    a topic that is missing in Kafka or in the registry, or that Kafka does not\n"
          "    accept records for, wait, and those for other topics go on; /readyz says so.\n"
          "\n"
          "    One relay of an outbox publishes at a time, held by a lock in Postgres;\n"
          "    others stand by. While Kafka, the registry or Postgres is away, it waits.\n"
          "\n"
          "OPTIONS\n",
          stdout);
    pj_config_print_options(stdout, process->options, PJ_HELP_WIDTH);
    fputs("\n"
          "    The outbox, the addresses of Kafka, PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS, of\n"
          "    Postgres and of the registry are required.\n"
          "\n"
          "SIGNALS\n"
          "    SIGTERM, SIGINT: end the transaction under way, then exit 0. A second one\n"
          "    exits at once; nothing is lost.\n"
          "\n"
          "EXIT STATUS\n"
          "    0  stopped\n"
          "    1  failed, for example refused by Kafka\n"
          "    2  a flag, variable or file setting is wrong\n"
          "    5  a relay of another outbox publishes under the same --relay-id\n"
          "    6  the outbox is missing, or a right to it\n",
          stdout);
}

/* --- the page for people --------------------------------------------------------------------- */

static const struct pj_page_item charts[] = {
    {"Rows pending", "projectionist_outbox_pending_rows", PJ_PAGE_SUM},
    {"Oldest pending row", "projectionist_outbox_oldest_seconds", PJ_PAGE_SECONDS},
    {"Rows published", "projectionist_outbox_published_total", PJ_PAGE_RATE},
    {"Transactions", "projectionist_outbox_transactions_total", PJ_PAGE_RATE},
    {"Rows in outbox_failed", "projectionist_outbox_failed_rows", PJ_PAGE_SUM},
    {"Topics that wait", "projectionist_outbox_waiting_topics", PJ_PAGE_SUM},
    {0},
};

static const struct pj_page page = {
    .name = "outbox-relay",
    .well = "Every committed row is in Kafka, or is on its way; or another relay sees to that.",
    .charts = charts,
    .letters = "projectionist_outbox_failed_total",
    .letters_hint = "They are rows of outbox_failed, with the reason; projectionist.retry_outbox "
                    "puts them back.",
};

/* --- running --------------------------------------------------------------------------------- */

static int check_settings(const struct pj_relay_settings *settings, const struct pj_config *config,
                          struct pj_error *error)
{
    const struct pj_postgres_settings postgres = {.dsn = settings->postgres_dsn,
                                                  .properties = &config->postgres};
    if (settings->outbox == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no outbox is named: set PROJECTIONIST_OUTBOX or give --outbox "
                              "SCHEMA, such as captions_private");
    if (!pj_postgres_is_named(&postgres))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no database is named: set PROJECTIONIST_POSTGRES_DSN or give "
                              "--postgres-dsn");
    if (pj_postgres_check_settings(&postgres, error) != 0 ||
        pj_postgres_check_files(&postgres, error) != 0 ||
        pj_topic_prefix_check(settings->topic_prefix, error) != 0)
        return -1;
    return pj_registry_check(&settings->registry, error);
}

static int run(const struct pj_process *process, const struct pj_config *config,
               struct pj_error *error)
{
    struct pj_relay_settings *settings = process->settings;
    if (check_settings(settings, config, error) != 0)
        return -1;
    if (settings->relay_id == NULL)
        settings->relay_id = settings->outbox;
    struct pj_relay_metrics metrics;
    struct pj_metrics *registry = pj_metrics_new();
    struct pj_metrics_server *server = NULL;
    char system[PJ_SQL_IDENTIFIER_MOST + 1];
    pj_text_whole(system, sizeof system, "%.*s", pj_outbox_system_length(settings->outbox),
                  settings->outbox);
    const struct pj_label labels[] = {{"system", system}, {"relay", settings->relay_id}, {0}};
    pj_relay_metrics_add(&metrics, registry);
    int status = pj_process_show(&server, registry, labels, &page, process, error);
    const struct pj_relay_surroundings surroundings = {settings, config, &metrics, registry,
                                                       server};
    if (status == 0)
        status = pj_relay_run(&surroundings, error);
    pj_process_hide(server);
    pj_metrics_free(registry);
    return status;
}

int main(int argc, char **argv)
{
    struct pj_relay_settings settings = {0};
    const struct pj_process process = {
        .name = "outbox-relay",
        .options = pj_relay_options,
        .settings = &settings,
        .common = &settings.process,
        .print_help = print_help,
        .run = run,
    };
    return pj_process_main(&process, argc, argv);
}
