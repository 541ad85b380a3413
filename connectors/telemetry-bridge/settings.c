/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/bridge.h"

#include "base/topic_name.h"

#define AT(member) offsetof(struct pj_bridge_settings, member)

const struct pj_option pj_bridge_options[] = {
    PJ_OPTION(STRING, "telemetry-url", AT(telemetry_url), "ws://127.0.0.1:7071/v1/stream", "URL",
              "The automation service's WebSocket: ws:// or wss://."),
    PJ_OPTION(STRING, "bridge-id", AT(bridge_id), "telemetry-bridge", "NAME",
              "The bridge's name, under which its cursor is kept; a second bridge with the same "
              "name takes over from the first. Use one per service.",
              .filled = true, .most = 200),
    PJ_TOPIC_PREFIX_OPTION(AT(topic_prefix)),
    PJ_OPTION(SECRET, "telemetry-token", AT(token), NULL, "TOKEN",
              "The Bearer token for the service; PROJECTIONIST_TELEMETRY_TOKEN_FILE names a file "
              "that holds it.",
              .token = true),
    PJ_OPTION(STRING, "telemetry-ca-file", AT(ca_file), NULL, "FILE",
              "CA certificates for the service, in PEM; the default is the system's.",
              .certificates = true, .filled = true),
    PJ_OPTION(SIZE, "frame-size-limit", AT(frame_size_limit), "1MiB", "SIZE",
              "Only the beginning of a longer frame is kept, as a dead letter. Must be less than a "
              "quarter of the topics' max.message.bytes.",
              .least = 1024, .most = 64 << 20),
    PJ_OPTION(SIZE, "buffer-bytes", AT(buffer_bytes), "64MiB", "SIZE",
              "How much is read ahead of Kafka before the socket is no longer read.", .least = 4096,
              .most = INT64_C(16) << 30),
    PJ_OPTION(INTEGER, "buffer-frames", AT(buffer_frames), "100000", "N",
              "The same limit in frames.", .least = 1, .most = 100000000),
    PJ_OPTION(INTEGER, "batch-frames", AT(batch_frames), "2000", "N",
              "The most frames in one transaction. A transaction takes what has arrived since the "
              "last one began, and waits for nothing.",
              .least = 1, .most = 100000),
    PJ_OPTION(DURATION, "linger", AT(linger_ms), "10ms", "TIME",
              "The longest pause after a transaction: half of what the commit took, but at least a "
              "third of this. Longer pauses cost the brokers less; after shorter ones the next "
              "transaction would wait for the last one to end, which takes longer.",
              .least = 0, .most = 10000),
    PJ_OPTION(INTEGER, "service-buffer", AT(service_buffer), "10000", "N",
              "How many events the service keeps for a replay. After a restart, a replay of this "
              "many may lack the first ones.",
              .least = 1, .most = INT64_MAX),
    PJ_OPTION(DURATION, "ping-interval", AT(ping_ms), "15s", "TIME",
              "The service is pinged after this long without a message, and the connection is "
              "closed after as long again.",
              .least = 1000, .most = 3600000),
    PJ_OPTION(DURATION, "reconnect-max", AT(reconnect_most_ms), "10s", "TIME",
              "The longest wait before reconnecting; the first is 100 ms, each further one up to "
              "twice as long as the one before.",
              .least = 100, .most = 3600000),
    PJ_OPTION(DURATION, "heartbeat", AT(heartbeat_ms), "5s", "TIME",
              "How often an idle bridge writes its cursor; it also learns then whether another "
              "bridge has taken its name.",
              .least = 100, .most = 3600000),
    PJ_TRANSACTION_TIMEOUT_OPTION(AT(transaction_timeout_ms), "a bridge"),
    PJ_REGISTRY_OPTIONS(AT(registry), "The URL of the schema registry's Confluent API."),
    PJ_OPTION(DURATION, "shutdown-timeout", AT(shutdown_timeout_ms), "10s", "TIME",
              "How long a stop waits for Kafka to take what was read. The rest is replayed at the "
              "next start.",
              .least = 100, .most = 600000),
    PJ_PROCESS_OPTIONS(AT(process)),
    {0},
};

void pj_bridge_metrics_add(struct pj_bridge_metrics *metrics, struct pj_metrics *registry)
{
    const struct pj_metric_line all[] = {
        {&metrics->received_v1, PJ_COUNTER, "projectionist_bridge_frames_received_total",
         "Frames received, including known ones", "wire=\"v1\""},
        {&metrics->received_v2, PJ_COUNTER, "projectionist_bridge_frames_received_total",
         "Frames received, including known ones", "wire=\"v2\""},
        {&metrics->known, PJ_COUNTER, "projectionist_bridge_frames_known_total",
         "Frames received again and dropped"},
        {&metrics->misfits, PJ_COUNTER, "projectionist_bridge_dead_letters_total",
         "Frames published as dead letters: they fit neither wire, or Kafka refused their records",
         "reason=\"frame\""},
        {&metrics->refused, PJ_COUNTER, "projectionist_bridge_dead_letters_total", "",
         "reason=\"kafka\""},
        {&metrics->gaps, PJ_COUNTER, "projectionist_bridge_gaps_total",
         "Gaps: the bridge's position was no longer in the service's buffer"},
        {&metrics->restarts, PJ_COUNTER, "projectionist_bridge_service_restarts_total",
         "Restarts of the service"},
        {&metrics->connected, PJ_GAUGE, "projectionist_bridge_connected",
         "1 while subscribed to the service"},
        {&metrics->connections, PJ_COUNTER, "projectionist_bridge_connects_total",
         "Attempts to connect to the service"},
        {&metrics->pauses, PJ_COUNTER, "projectionist_bridge_pauses_total",
         "Times the buffer filled up and the socket was paused"},
        {&metrics->paused, PJ_GAUGE, "projectionist_bridge_paused", "1 while the socket is paused"},
        {&metrics->buffered, PJ_GAUGE, "projectionist_bridge_frames_buffered",
         "Frames read and not published yet"},
        {&metrics->events, PJ_COUNTER, "projectionist_bridge_events_published_total",
         "Events committed to safari.telemetry"},
        {&metrics->statuses, PJ_COUNTER, "projectionist_bridge_statuses_published_total",
         "Status changes committed to safari.commands"},
        {&metrics->frame_time, PJ_HISTOGRAM, "projectionist_bridge_frame_seconds",
         "From a frame's arrival to its commit"},
        {0},
    };
    pj_metrics_add_all(registry, all);
    pj_transactor_metrics_add(&metrics->transactor, "bridge", registry);
}
