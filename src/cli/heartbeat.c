/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist heartbeat: tells an idle system's consumers that time has passed. */
#include "avro/heartbeat.h"
#include "avro/json_encode.h"
#include "base/clock.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/writer.h"

enum { PIECE_MS = 200 };

struct settings {
    struct pj_cli_servers servers;
    int64_t interval_ms;
    bool once;
};

/* One to each partition, and all of them delivered. */
static int beat(const struct pj_cli_writer *writer, int64_t timeout_ms, struct pj_error *error)
{
    struct pj_builder value = {0};
    json_t *event = json_pack("{s:I}", "emitted_at", (json_int_t)pj_clock_wall_us());
    int status = pj_json_encode_record(writer->schema, writer->schema_id, event, &value, error);
    json_decref(event);
    for (int32_t p = 0; p < writer->partitions && status == 0; p++) {
        const struct pj_producer_message message = {
            .topic = writer->topic, .partition = p, .value = {value.text, value.length}};
        status = pj_producer_send(writer->producer, &message, error);
    }
    pj_builder_free(&value);
    return status == 0 ? pj_producer_flush(writer->producer, timeout_ms, error) : status;
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    char name[PJ_TOPIC_NAME_SIZE];
    struct pj_cli_writer writer = {0};
    if (cli->config->operand_count != 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "a topic is expected");
    pj_topic_name(name, cli->servers->topic_prefix, cli->config->operands[0]);
    pj_process_handle_signals();
    int status =
        pj_cli_writer_open(&writer, cli, name, PJ_HEARTBEAT_NAME, pj_heartbeat_schema, error);
    while (status == 0 && pj_stop_requests == 0) {
        int64_t next_ms = pj_clock_monotonic_ms() + settings->interval_ms;
        status = beat(&writer, settings->servers.timeout_ms, error);
        if (settings->once)
            break;
        while (status == 0 && pj_stop_requests == 0 && pj_clock_monotonic_ms() < next_ms)
            status = pj_producer_poll(writer.producer, PIECE_MS, error);
    }
    pj_cli_writer_close(&writer);
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
