/* SPDX-License-Identifier: Apache-2.0 */
/* telemetry-bridge: the automation service's telemetry into Kafka, exactly once. */
#include "base/clock.h"
#include "base/log.h"
#include "base/status_page.h"
#include "base/topic_name.h"
#include "telemetry-bridge/publish.h"
#include "telemetry-bridge/socket.h"

#include <stdio.h>

enum { SOCKET_SILENT_MS = 30000 };

static void print_help(const struct pj_process *process)
{
    fputs("NAME\n"
          "    telemetry-bridge - publish the service's telemetry to Kafka, exactly once\n"
          "\n"
          "SYNOPSIS\n"
          "    telemetry-bridge [OPTION]...\n"
          "\n"
          "DESCRIPTION\n"
          "    Subscribes to the automation service's WebSocket after the last frame that\n"
          "    it published. Every frame goes to safari.telemetry, and every\n"
          "    status.changed to safari.commands too. Records and cursor (the topic\n"
          "    safari.bridge-cursors) share one Kafka transaction: consumers that read\n"
          "    with isolation.level=read_committed, as ours do, see each frame once,\n"
          "    whatever crashes.\n"
          "\n"
          "    Both wire formats of the service are read. A frame that fits neither goes\n"
          "    unchanged to safari.telemetry.dead-letters, with the reason in its headers. If\n"
          "    frames are lost because the service dropped them before the bridge read\n"
          "    them, a telemetry.gap event in safari.telemetry has the range. Wire v2\n"
          "    replays nothing: what it sends while no bridge is connected is lost.\n"
          "\n"
          "    While Kafka, the registry or the service is away, it waits: it reads ahead\n"
          "    of Kafka until its buffer is full, then stops reading. It takes over from a\n"
          "    bridge with the same --bridge-id, which then exits with code 5.\n"
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
          "    nothing is lost.\n"
          "\n"
          "EXIT STATUS\n"
          "    0  stopped\n"
          "    1  failed, for example a missing topic\n"
          "    2  a flag, variable or file setting is wrong\n"
          "    5  another bridge has taken over the same --bridge-id\n",
          stdout);
}

/* --- the page for people --------------------------------------------------------------------- */

static const struct pj_page_item charts[] = {
    {"Frames waiting for Kafka", "projectionist_bridge_frames_buffered", PJ_PAGE_SUM},
    {"Frames received", "projectionist_bridge_frames_received_total", PJ_PAGE_RATE},
    {"Events published", "projectionist_bridge_events_published_total", PJ_PAGE_RATE},
    {"Transactions", "projectionist_bridge_transactions_total", PJ_PAGE_RATE},
    {"Gaps", "projectionist_bridge_gaps_total", PJ_PAGE_SUM},
    {"Dead letters", "projectionist_bridge_dead_letters_total", PJ_PAGE_SUM},
    {0},
};

static const struct pj_page page = {
    .name = "telemetry-bridge",
    .well = "Subscribed to the service; every frame is in Kafka, or is on its way.",
    .charts = charts,
    .letters = "projectionist_bridge_dead_letters_total",
    .letters_hint =
        "They are records of safari.telemetry.dead-letters, with the reason in a header.",
};

/* --- running --------------------------------------------------------------------------------- */

struct bridge {
    const struct pj_bridge_settings *settings;
    struct pj_metrics *registry;
    struct pj_metrics_server *server; /* NULL: nothing listens */
    struct pj_bridge_metrics metrics;
    struct pj_socket *socket;
    struct pj_buffer *buffer;
    struct pj_bridge_publisher *publisher;
};

static void on_turn(void *context, const char *trouble)
{
    struct bridge *bridge = context;
    if (bridge->server == NULL)
        return;
    char text[700];
    if (trouble == NULL && bridge->publisher != NULL &&
        pj_socket_trouble(bridge->socket, text, sizeof text))
        trouble = text;
    pj_metrics_server_set_ready(bridge->server, trouble);
    /* The other thread must make progress as well. */
    int64_t turned = pj_socket_last_turn_ms(bridge->socket);
    if (turned == 0 || pj_clock_monotonic_ms() - turned < SOCKET_SILENT_MS)
        pj_metrics_server_heartbeat(bridge->server);
}

static void on_room(void *context)
{
    struct bridge *bridge = context;
    pj_socket_resume(bridge->socket);
}

/* From the first frame until it is stopped. */
static int publish_frames(struct bridge *bridge, struct pj_error *error)
{
    const struct pj_position *position = pj_bridge_publisher_position(bridge->publisher);
    pj_log(PJ_INFO, "started", pj_f_str("version", PJ_VERSION),
           pj_f_str("bridge_id", bridge->settings->bridge_id),
           pj_f_str("cursor", *position->last.text ? position->last.text : NULL));
    if (pj_socket_start(bridge->socket, position, bridge->buffer, error) != 0 ||
        pj_bridge_publisher_run(bridge->publisher, bridge->buffer, error) != 0)
        return -1;
    pj_socket_stop(bridge->socket);
    if (pj_bridge_publisher_finish(bridge->publisher, bridge->buffer, error) == 0)
        return 0;
    if (error->class != PJ_RETRY)
        return -1;
    pj_log(PJ_WARN, error->message); /* a requested stop stays one: nothing is lost */
    return 0;
}

static int run(const struct pj_process *process, const struct pj_config *config,
               struct pj_error *error)
{
    const struct pj_bridge_settings *settings = process->settings;
    struct bridge bridge = {.settings = settings, .registry = pj_metrics_new()};
    const struct pj_bridge_publisher_settings publisher = {.bridge = settings,
                                                           .kafka = &config->kafka,
                                                           .metrics = &bridge.metrics,
                                                           .registry = bridge.registry,
                                                           .stop = &pj_stop_requests,
                                                           .turn = on_turn,
                                                           .context = &bridge};
    if (pj_topic_prefix_check(settings->topic_prefix, error) != 0) {
        pj_metrics_free(bridge.registry);
        return -1;
    }
    const struct pj_label labels[] = {{"system", "safari"}, {"bridge", settings->bridge_id}, {0}};
    pj_bridge_metrics_add(&bridge.metrics, bridge.registry);
    bridge.buffer =
        pj_buffer_new(settings->buffer_frames, settings->buffer_bytes, on_room, &bridge);
    int status = pj_registry_check(&settings->registry, error);
    if (status == 0)
        status = pj_socket_open(&bridge.socket, settings, &bridge.metrics, error);
    if (status == 0)
        status = pj_process_show(&bridge.server, bridge.registry, labels, &page, process, error);
    if (status == 0)
        status = pj_bridge_publisher_open(&bridge.publisher, &publisher, error);
    if (status == 0)
        status = publish_frames(&bridge, error);
    pj_socket_close(bridge.socket);
    pj_bridge_publisher_close(bridge.publisher);
    pj_process_hide(bridge.server);
    pj_buffer_free(bridge.buffer);
    pj_metrics_free(bridge.registry);
    return status < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct pj_bridge_settings settings = {0};
    const struct pj_process process = {
        .name = "telemetry-bridge",
        .options = pj_bridge_options,
        .settings = &settings,
        .common = &settings.process,
        .print_help = print_help,
        .run = run,
    };
    return pj_process_main(&process, argc, argv);
}
