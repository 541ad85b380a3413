/* SPDX-License-Identifier: Apache-2.0 */
/* job-bridge: what Redis publishes about jobs, into Kafka. */
#include "base/clock.h"
#include "base/log.h"
#include "base/status_page.h"
#include "base/topic_name.h"
#include "job-bridge/job_publish.h"

#include <stdio.h>

enum { LISTENER_SILENT_MS = 30000 };

static void print_help(const struct pj_process *process)
{
    fputs("NAME\n"
          "    job-bridge - publish the job messages of Redis to Kafka\n"
          "\n"
          "SYNOPSIS\n"
          "    job-bridge [OPTION]...\n"
          "\n"
          "DESCRIPTION\n"
          "    Subscribes to the channels OMEGAFRAME_JOB_* of Redis, and publishes each\n"
          "    message as an event of studio.jobs; the job's id is the rest of the\n"
          "    channel's name. From there on each message counts once, whatever crashes.\n"
          "    Anything else (not JSON, an unknown type) goes unchanged to\n"
          "    studio.jobs.dead-letters, with the reason in its headers.\n"
          "\n"
          "    Redis keeps nothing for subscribers that are away. How long nobody listened,\n"
          "    after a lost connection or a restart, is logged and counted as a gap.\n"
          "\n"
          "    While Kafka or the registry is away, it goes on reading until its buffer is\n"
          "    full. It takes over from a bridge with the same --bridge-id, which then exits\n"
          "    with code 5; both listen meanwhile, so that nothing is missed.\n"
          "\n"
          "OPTIONS\n",
          stdout);
    pj_config_print_options(stdout, process->options, PJ_HELP_WIDTH);
    fputs("\n"
          "    The addresses of Kafka, PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS, and of the\n"
          "    registry are required.\n"
          "\n"
          "SIGNALS\n"
          "    SIGTERM, SIGINT: publish what was read, then exit 0. A second one exits at once;\n"
          "    what was not published is lost.\n"
          "\n"
          "EXIT STATUS\n"
          "    0  stopped\n"
          "    1  failed, for example refused by Redis, or a missing topic\n"
          "    2  a flag, variable or file setting is wrong\n"
          "    5  another bridge has taken over the same --bridge-id\n",
          stdout);
}

/* --- the page for people --------------------------------------------------------------------- */

static const struct pj_page_item charts[] = {
    {"Messages waiting for Kafka", "projectionist_bridge_messages_buffered", PJ_PAGE_SUM},
    {"Messages received", "projectionist_bridge_messages_received_total", PJ_PAGE_RATE},
    {"Events published", "projectionist_bridge_events_published_total", PJ_PAGE_RATE},
    {"Transactions", "projectionist_bridge_transactions_total", PJ_PAGE_RATE},
    {"Gaps", "projectionist_bridge_gaps_total", PJ_PAGE_SUM},
    {"Dead letters", "projectionist_bridge_dead_letters_total", PJ_PAGE_SUM},
    {0},
};

static const struct pj_page page = {
    .name = "job-bridge",
    .well = "Subscribed to Redis; every message is in Kafka, or is on its way.",
    .charts = charts,
    .letters = "projectionist_bridge_dead_letters_total",
    .letters_hint = "They are records of studio.jobs.dead-letters, with the reason in a header.",
};

/* --- running --------------------------------------------------------------------------------- */

struct bridge {
    const struct pj_job_bridge_settings *settings;
    struct pj_metrics *registry;
    struct pj_metrics_server *server; /* NULL: nothing listens */
    struct pj_job_bridge_metrics metrics;
    struct pj_inbox *inbox;
    struct pj_listener *listener;
    struct pj_job_publisher *publisher;
};

static void on_turn(void *context, const char *trouble)
{
    struct bridge *bridge = context;
    char text[700];
    if (bridge->server == NULL)
        return;
    if (trouble == NULL && bridge->publisher != NULL &&
        pj_listener_trouble(bridge->listener, text, sizeof text))
        trouble = text;
    pj_metrics_server_set_ready(bridge->server, trouble);
    /* The other thread must make progress as well. */
    int64_t turned = pj_listener_last_turn_ms(bridge->listener);
    if (turned == 0 || pj_clock_monotonic_ms() - turned < LISTENER_SILENT_MS)
        pj_metrics_server_heartbeat(bridge->server);
}

static int publish_until_stopped(struct bridge *bridge, struct pj_error *error)
{
    pj_log(PJ_INFO, "started", pj_f_str("version", PJ_VERSION),
           pj_f_str("bridge_id", bridge->settings->bridge_id));
    if (pj_job_publisher_run(bridge->publisher, error) != 0)
        return -1;
    pj_listener_stop(bridge->listener);
    if (pj_job_publisher_finish(bridge->publisher, error) == 0)
        return 0;
    if (error->class != PJ_RETRY)
        return -1;
    pj_log(PJ_WARN, error->message, pj_f_int("messages", pj_inbox_count(bridge->inbox)));
    return 0;
}

static int run(const struct pj_process *process, const struct pj_config *config,
               struct pj_error *error)
{
    const struct pj_job_bridge_settings *settings = process->settings;
    struct bridge bridge = {.settings = settings};
    const struct pj_label labels[] = {{"system", "studio"}, {"bridge", settings->bridge_id}, {0}};
    if (pj_topic_prefix_check(settings->topic_prefix, error) != 0 ||
        pj_registry_check(&settings->registry, error) != 0)
        return -1;
    bridge.registry = pj_metrics_new();
    pj_job_bridge_metrics_add(&bridge.metrics, bridge.registry);
    bridge.inbox = pj_inbox_new(settings->buffer_bytes);
    int status =
        pj_listener_open(&bridge.listener, settings, config, &bridge.metrics, bridge.inbox, error);
    if (status == 0)
        status = pj_process_show(&bridge.server, bridge.registry, labels, &page, process, error);
    const struct pj_job_publisher_settings publisher = {.bridge = settings,
                                                        .config = config,
                                                        .metrics = &bridge.metrics,
                                                        .registry = bridge.registry,
                                                        .listener = bridge.listener,
                                                        .inbox = bridge.inbox,
                                                        .turn = on_turn,
                                                        .context = &bridge};
    if (status == 0)
        status = pj_job_publisher_open(&bridge.publisher, &publisher, error);
    if (status == 0)
        status = publish_until_stopped(&bridge, error);
    pj_listener_close(bridge.listener);
    pj_job_publisher_close(bridge.publisher);
    pj_process_hide(bridge.server);
    pj_inbox_free(bridge.inbox);
    pj_metrics_free(bridge.registry);
    return status < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct pj_job_bridge_settings settings = {0};
    const struct pj_process process = {
        .name = "job-bridge",
        .options = pj_job_bridge_options,
        .settings = &settings,
        .common = &settings.process,
        .print_help = print_help,
        .run = run,
    };
    return pj_process_main(&process, argc, argv);
}
