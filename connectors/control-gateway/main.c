/* SPDX-License-Identifier: Apache-2.0 */
/* control-gateway: the HTTP API of the automation service, with every command published first. */
#include "base/log.h"
#include "base/status_page.h"
#include "control-gateway/gateway.h"
#include "control-gateway/resolve.h"
#include "control-gateway/server.h"
#include "schemas.h"

#include <malloc.h>
#include <stdio.h>

enum {
    PARSERS = 2,
    LOOKUPS = 8,
    ARENAS = 2,
    KEYS_TIMEOUT_MS = 120000,
};

#define AT(member) offsetof(struct pj_gateway_settings, member)

static const struct pj_option options[] = {
    PJ_OPTION(
        STRING, "gateway-listen", AT(serving.listen), "127.0.0.1:7080", "ADDRESS",
        "Address for clients, who use it instead of the service's: HOST:PORT, or :PORT for all "
        "interfaces; port 0 picks a free one, which is logged."),
    PJ_OPTION(STRING, "gateway-upstream", AT(upstream), "http://127.0.0.1:7070", "URL",
              "The URL of the automation service.", .most = 300 /* as much as errors show */),
    PJ_OPTION(STRING, "gateway-id", AT(id), "default", "NAME",
              "Of the gateways with the same id only the newest works; the older ones exit. Use "
              "another id only for a gateway of another service and another Kafka.",
              .filled = true, .most = 200),
    PJ_OPTION(SECRET, "gateway-token", AT(token), NULL, "TOKEN",
              "The Bearer token that clients must send, except for /health and /ready. Without it "
              "none is required.",
              .token = true),
    PJ_OPTION(
        SECRET, "gateway-upstream-token", AT(upstream_token), NULL, "TOKEN",
        "The Bearer token for the service. Without it the service gets the one that the client "
        "shows.",
        .token = true),
    PJ_OPTION(STRING, "gateway-upstream-ca-file", AT(upstream_ca_file), NULL, "FILE",
              "CA certificates for the service, in PEM; the default is the system's.",
              .certificates = true, .filled = true),
    PJ_SERVING_OPTIONS(AT(serving)),
    PJ_OPTION(SIZE, "max-body", AT(serving.body_most), "1MiB", "SIZE",
              "Largest request body in bytes; larger ones get 413.", .least = 1024,
              .most = 32 << 20),
    PJ_OPTION(INTEGER, "max-concurrent", AT(serving.concurrent_most), "256", "N",
              "The most requests served at a time, and so sent to the service; each has a thread. "
              "Others wait, taking turns by client address; beyond 32 times as many, or after "
              "--upstream-timeout, they get 503. Requests that are passed through, which may be "
              "slow, take up at most three quarters of them, and those of one client half.",
              .least = 4, .most = 1000),
    PJ_OPTION(DURATION, "upstream-timeout", AT(upstream_timeout_ms), "30s", "TIME",
              "How long the service may take to answer, or be silent in the middle of an answer.",
              .least = 100, .most = 3600000),
    PJ_OPTION(DURATION, "key-retention", AT(serving.key_retention_ms), "168h", "TIME",
              "How long a command's idempotency_key and command_id are known after the service "
              "accepted it; a later retry is a new command. All of them are in memory, some 400 "
              "bytes each.",
              .least = 1000, .most = INT64_C(10) * 366 * 86400000),
    PJ_PROCESS_OPTIONS(AT(process)),
    {0},
};

static void print_help(const struct pj_process *process)
{
    fputs(
        "NAME\n"
        "    control-gateway - the automation service's API, with every command published first\n"
        "\n"
        "SYNOPSIS\n"
        "    control-gateway [OPTION]...\n"
        "\n"
        "DESCRIPTION\n"
        "    Sits in front of the automation service, with the same paths and answers: a client\n"
        "    changes nothing but the address.\n"
        "\n"
        "    POST /v1/commands is checked (400 names the field), published to safari.commands,\n"
        "    then forwarded, each once: a retry with the same idempotency_key or command_id is\n"
        "    neither published nor executed again, and is answered with the first command's id\n"
        "    and its current state. So is a retry with other content (with the header\n"
        "    Projectionist-Repeated: different-content), as by the service itself, unless the\n"
        "    first one has not been executed yet (409). A command that the service refuses is\n"
        "    FAILED, and its key is free again. Where clients send the service's token, keys are\n"
        "    per token, and nothing is published before the service accepts it. While the service\n"
        "    or Kafka is away the answer is 503 with the command_id, and says whether the command\n"
        "    is published. The keys are kept in the topic safari.idempotency-keys, which is read\n"
        "    at the start.\n"
        "\n"
        "    POST and DELETE /v1/sessions are forwarded, then published to safari.sessions, then\n"
        "    answered; a session that cannot be published is closed again. Everything else is\n"
        "    passed through.\n"
        "\n"
        "    'projectionist topics create' creates the topics. Of the gateways with the same\n"
        "    --gateway-id only the newest works.\n"
        "\n"
        "OPTIONS\n",
        stdout);
    pj_config_print_options(stdout, process->options, PJ_HELP_WIDTH);
    fputs("\n"
          "    Kafka's address, PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS, is required. Tokens are\n"
          "    read from the files that PROJECTIONIST_GATEWAY_TOKEN_FILE and\n"
          "    PROJECTIONIST_GATEWAY_UPSTREAM_TOKEN_FILE name.\n"
          "\n"
          "SIGNALS\n"
          "    SIGTERM, SIGINT: accept no more connections, finish the requests, exit 0. A\n"
          "    second one exits at once; nothing is lost.\n"
          "\n"
          "EXIT STATUS\n"
          "    0  stopped\n"
          "    1  failed, for example a missing topic\n"
          "    2  a flag, variable or file setting is wrong\n"
          "    5  another gateway with the same id has taken over\n",
          stdout);
}

/* --- starting -------------------------------------------------------------------------------- */

static int on_record(void *context, struct pj_bytes key, struct pj_bytes value,
                     struct pj_error *error)
{
    struct pj_gateway *gateway = context;
    if (pj_keys_record(gateway->keys, key, value, error) != 0)
        return -1;
    return pj_sessions_record(gateway->sessions, key, value, error);
}

static int open_parts(struct pj_gateway *gateway, const struct pj_config *config,
                      struct pj_metrics_server *server, struct pj_error *error)
{
    const struct pj_gateway_settings *settings = gateway->settings;
    const struct pj_upstream_settings upstream = {.url = settings->upstream,
                                                  .token = settings->upstream_token,
                                                  .ca_file = settings->upstream_ca_file,
                                                  .timeout_ms = settings->upstream_timeout_ms};
    static const char *const topics[PJ_GATEWAY_TOPICS] = {
        [PJ_TO_COMMANDS] = PJ_COMMANDS_TOPIC,
        [PJ_TO_SESSIONS] = PJ_SESSIONS_TOPIC,
        [PJ_TO_KEYS] = PJ_KEYS_TOPIC,
    };
    const struct pj_publisher_settings publisher = {
        .transactor =
            {
                .kafka = &config->kafka,
                .client_id = "control-gateway",
                .name = "projectionist-control-gateway",
                .id = settings->id,
                .topic_prefix = settings->serving.topic_prefix,
                .transaction_timeout_ms = settings->serving.transaction_timeout_ms,
                .topics = topics,
                .topic_count = PJ_GATEWAY_TOPICS,
                .state_topic = PJ_KEYS_TOPIC,
                .read_timeout_ms = KEYS_TIMEOUT_MS,
                .record = on_record,
                .context = gateway,
                .stop = &pj_stop_requests,
                .metrics = gateway->metrics,
            },
        .state = PJ_TO_KEYS,
        .server = server,
        .metrics_of = "gateway",
    };
    if (pj_serving_check(&settings->serving, "gateway", "control-gateway", &config->kafka, error) !=
            0 ||
        pj_upstream_open(&gateway->upstream, &upstream, error) != 0)
        return -1;
    gateway->commands_encoder = pj_encoder_new(PJ_COMMANDS_TOPIC, pj_schema_safari_commands);
    gateway->sessions_encoder = pj_encoder_new(PJ_SESSIONS_TOPIC, pj_schema_safari_sessions);
    struct pj_encoder *const encoders[] = {gateway->commands_encoder, gateway->sessions_encoder};
    const struct pj_turns turns = pj_serving_turns(server);
    int status = pj_encoder_register_all(encoders, 2, settings->serving.topic_prefix,
                                         &settings->serving.registry, &turns, error);
    if (status == 0)
        status = pj_publisher_open(&gateway->publisher, &publisher, error);
    if (status != 0)
        return status;
    pj_metric_set(gateway->known, (int64_t)pj_keys_count(gateway->keys));
    return 0;
}

static bool expire(void *context)
{
    return pj_gateway_expire_commands(context);
}

static int serve(struct pj_gateway *gateway, struct pj_metrics_server *probes,
                 struct pj_error *error)
{
    struct pj_serving serving = {.settings = &gateway->settings->serving,
                                 .publisher = gateway->publisher,
                                 .probes = probes,
                                 .context = gateway,
                                 .expire = expire};
    struct pj_resolver *resolver = pj_resolver_start(gateway);
    int status = pj_gateway_serve(&serving.server, gateway, error);
    if (status == 0) {
        pj_log(PJ_INFO, "listening", pj_f_int("port", pj_http_server_port(serving.server)),
               pj_f_str("upstream", gateway->settings->upstream),
               pj_f_int("known_commands", (int64_t)pj_keys_count(gateway->keys)));
        status = pj_serving_run(&serving, error);
    }
    pj_resolver_stop(resolver);
    if (status != 0 && error->class == PJ_FENCED)
        pj_error_fatal(error, PJ_EXIT_FENCED,
                       "another control-gateway with the id '%s' has taken over; give each its own "
                       "--gateway-id and service, or stop one",
                       gateway->settings->id);
    return status;
}

static void add_metrics(struct pj_gateway *gateway)
{
    const struct pj_metric_line all[] = {
        {&gateway->repeated, PJ_COUNTER, "projectionist_gateway_repeated_commands_total",
         "Commands that were already known."},
        {&gateway->conflicts, PJ_COUNTER, "projectionist_gateway_key_conflicts_total",
         "Known keys or ids that were reused with other content."},
        {&gateway->refused, PJ_COUNTER, "projectionist_gateway_refused_commands_total",
         "Commands that the service refused; they are FAILED."},
        {&gateway->unpublished, PJ_COUNTER, "projectionist_gateway_unpublished_sessions_total",
         "Sessions opened that cannot be published because the answer has no UUID."},
        {&gateway->unknown_sessions, PJ_COUNTER, "projectionist_gateway_unknown_sessions_total",
         "Sessions that the service may have opened and whose id was lost."},
        {&gateway->known, PJ_GAUGE, "projectionist_gateway_known_commands",
         "Commands whose keys are kept."},
        {&gateway->expired, PJ_COUNTER, "projectionist_gateway_expired_commands_total",
         "Commands whose keys expired after --key-retention."},
        {0},
    };
    pj_metrics_add_all(gateway->metrics, all);
}

static const struct pj_page_item charts[] = {
    PJ_SERVING_CHARTS("gateway"),
    {"Commands repeated", "projectionist_gateway_repeated_commands_total", PJ_PAGE_RATE},
    {"Keys kept", "projectionist_gateway_known_commands", PJ_PAGE_SUM},
    {0},
};
static const struct pj_page page = {
    .name = "control-gateway",
    .well = "Requests are answered, and what they ask for is published.",
    .charts = charts,
    PJ_SERVING_ROWS("gateway"),
    .letters = "projectionist_gateway_refused_commands_total",
    .letters_title = "Commands that the service refused",
    .letters_hint = "Their status is FAILED; the log has the reason of each.",
};

static int run(const struct pj_process *process, const struct pj_config *config,
               struct pj_error *error)
{
    const struct pj_gateway_settings *settings = process->settings;
    struct pj_gateway gateway = {.settings = settings,
                                 .kafka = &config->kafka,
                                 .callers = pj_callers_new(),
                                 .keys = pj_keys_new(),
                                 .sessions = pj_sessions_new(),
                                 .metrics = pj_metrics_new()};
    struct pj_metrics_server *server = NULL;
    int status = 0;
    /* Many threads: with an arena per thread, freed memory would stay with its thread. */
    mallopt(M_ARENA_MAX, ARENAS);
    sem_init(&gateway.parsers, 0, PARSERS);
    sem_init(&gateway.lookups, 0, LOOKUPS);
    const struct pj_label labels[] = {{"system", "safari"}, {"gateway", settings->id}, {0}};
    add_metrics(&gateway);
    status = pj_process_show(&server, gateway.metrics, labels, &page, process, error);
    if (status == 0)
        status = open_parts(&gateway, config, server, error);
    if (status == 0)
        status = serve(&gateway, server, error);
    pj_publisher_close(gateway.publisher, settings->serving.shutdown_timeout_ms);
    pj_process_hide(server);
    pj_upstream_close(gateway.upstream);
    pj_encoder_free(gateway.commands_encoder);
    pj_encoder_free(gateway.sessions_encoder);
    pj_callers_free(gateway.callers);
    pj_keys_free(gateway.keys);
    pj_sessions_free(gateway.sessions);
    pj_metrics_free(gateway.metrics);
    sem_destroy(&gateway.parsers);
    sem_destroy(&gateway.lookups);
    return status > 0 ? 0 : status;
}

int main(int argc, char **argv)
{
    struct pj_gateway_settings settings = {0};
    const struct pj_process process = {
        .name = "control-gateway",
        .options = options,
        .settings = &settings,
        .common = &settings.process,
        .print_help = print_help,
        .run = run,
    };
    return pj_process_main(&process, argc, argv);
}
