/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist heartbeat: tells an idle system's consumers that time has passed. */
#include "avro/heartbeat.h"
#include "avro/json_encode.h"
#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/cli.h"
#include "kafka/producer.h"

#include <stdlib.h>

enum { LINGER_MS = 5, PIECE_MS = 200 };

struct settings {
    struct pj_cli_servers servers;
    int64_t interval_ms;
    bool once;
};

struct beating {
    const struct settings *settings;
    struct pj_producer *producer;
    struct pj_producer_topic *handle;
    struct pj_producer_topic_info info;
    struct pj_schema *schema;
    int32_t schema_id;
};

/* One to each partition, and all of them delivered. */
static int beat(const struct beating *beating, struct pj_error *error)
{
    struct pj_builder value = {0};
    json_t *event = json_pack("{s:I}", "emitted_at", (json_int_t)pj_clock_wall_ms() * 1000);
    int status = pj_json_encode_record(beating->schema, beating->schema_id, event, &value, error);
    json_decref(event);
    for (int32_t p = 0; p < beating->info.partitions && status == 0; p++) {
        const struct pj_producer_message message = {
            .topic = beating->handle, .partition = p, .value = {value.text, value.length}};
        status = pj_producer_send(beating->producer, &message, error);
    }
    pj_builder_free(&value);
    if (status == 0)
        status = pj_producer_flush(beating->producer, beating->settings->servers.timeout_ms, error);
    return status;
}

static int open_servers(struct beating *beating, struct pj_cli *cli, struct pj_error *error)
{
    const struct pj_producer_settings producer = {.kafka = &cli->config->kafka,
                                                  .client_id = pj_program(),
                                                  .linger_ms = LINGER_MS,
                                                  .stall_ms = cli->servers->timeout_ms};
    if (pj_schema_parse(&beating->schema, pj_heartbeat_schema, error) != 0 ||
        pj_producer_open(&beating->producer, &producer, error) != 0 ||
        pj_producer_describe(beating->producer, &beating->info, 1, cli->servers->timeout_ms,
                             error) != 0)
        return -1;
    if (beating->info.partitions == 0)
        return pj_error_fatal(error, PJ_EXIT_FAILED, "Kafka has no topic %s", beating->info.name);
    if (pj_cli_registry(cli, error) != 0 ||
        pj_registry_register(cli->registry, PJ_HEARTBEAT_NAME, pj_heartbeat_schema,
                             &beating->schema_id, error) != 0)
        return -1;
    return pj_producer_topic(beating->producer, beating->info.name, &beating->handle, error);
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    char name[PJ_TOPIC_NAME_SIZE];
    struct beating beating = {.settings = opaque};
    if (cli->config->operand_count != 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "a topic is expected");
    beating.info.name = pj_topic_name(name, cli->servers->topic_prefix, cli->config->operands[0]);
    pj_process_handle_signals();
    int status = open_servers(&beating, cli, error);
    while (status == 0 && pj_stop_requests == 0) {
        int64_t next_ms = pj_clock_monotonic_ms() + beating.settings->interval_ms;
        status = beat(&beating, error);
        if (beating.settings->once)
            break;
        while (status == 0 && pj_stop_requests == 0 && pj_clock_monotonic_ms() < next_ms)
            status = pj_producer_poll(beating.producer, PIECE_MS, error);
    }
    pj_producer_close(beating.producer);
    pj_schema_free(beating.schema);
    return status;
}

static const struct pj_option options[] = {
    PJ_OPTION(DURATION, "interval", offsetof(struct settings, interval_ms), "10s", "TIME",
              "How long until the next one.", .least = 100, .most = 86400000),
    PJ_CLI_BOOL_OPTION(struct settings, once, "once", 0, "Write one to each partition, and exit."),
    PJ_CLI_REGISTRY_OPTIONS,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_heartbeat = {
    .name = "heartbeat",
    .summary = "tell consumers of an idle topic that time has passed",
    .description =
        "  Writes a heartbeat to each partition of TOPIC at an interval, until it is\n"
        "  stopped: a record of the schema projectionist.Heartbeat, which consumers take\n"
        "  for their stream time and nothing else. Without one, timers of an idle system\n"
        "  (a session that expires) stand still until the next event. It is recorded, so\n"
        "  a rebuild sees the same time.\n"
        "\n"
        "  Other readers of the topic meet these records, too: where they know no such\n"
        "  schema, give heartbeats a topic that only consumers of this kind read. Start\n"
        "  one for a topic; two do no harm. Where a server is away it exits, to be\n"
        "  restarted.\n",
    .examples = "  projectionist heartbeat orders --interval 30s\n"
                "  projectionist heartbeat orders --once\n",
    .operands = "TOPIC",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
