/* SPDX-License-Identifier: Apache-2.0 */
#include "base/topic_name.h"
#include "job-bridge/job_bridge.h"

#define AT(member) offsetof(struct pj_job_bridge_settings, member)

const struct pj_option pj_job_bridge_options[] = {
    PJ_OPTION(STRING, "redis-url", AT(redis_url), "redis://127.0.0.1:6379", "URL",
              "Where jobs are published: redis://HOST:PORT, or rediss:// with TLS.",
              .filled = true),
    PJ_OPTION(STRING, "redis-username", AT(redis_username), NULL, "NAME",
              "The user of Redis, where it is not the default one; read again as the password is.",
              .filled = true, .most = 200),
    PJ_OPTION(
        SECRET, "redis-password", AT(redis_password), NULL, "PASSWORD",
        "The password of Redis; PROJECTIONIST_REDIS_PASSWORD_FILE names a file that holds it, "
        "which is read again at each connection."),
    PJ_OPTION(STRING, "redis-ca-file", AT(redis_ca_file), NULL, "FILE",
              "CA certificates for Redis, in PEM; the default is the system's.",
              .certificates = true, .filled = true),
    PJ_OPTION(STRING, "channel-prefix", AT(channel_prefix), "OMEGAFRAME_JOB_", "TEXT",
              "What the channels' names begin with; the rest is the job's id.", .filled = true,
              .most = 200),
    PJ_OPTION(
        STRING, "bridge-id", AT(bridge_id), "job-bridge", "NAME",
        "The bridge's name; a second bridge with the same name takes over from the first. Use "
        "one per Redis.",
        .filled = true, .most = 200),
    PJ_TOPIC_PREFIX_OPTION(AT(topic_prefix)),
    PJ_OPTION(SIZE, "message-size-limit", AT(message_size_limit), "512KiB", "SIZE",
              "A longer message becomes a dead letter. Must be less than half of the topics' "
              "max.message.bytes.",
              .least = 1024, .most = 64 << 20),
    PJ_OPTION(
        SIZE, "buffer-bytes", AT(buffer_bytes), "64MiB", "SIZE",
        "How much is read ahead of Kafka before Redis is no longer read, which then drops the "
        "connection; what it drops is a gap.",
        .least = 4096, .most = INT64_C(16) << 30),
    PJ_OPTION(
        INTEGER, "batch-messages", AT(batch_messages), "2000", "N",
        "The most messages in one transaction. A transaction takes what has arrived since the "
        "last one began, and waits for nothing.",
        .least = 1, .most = 100000),
    PJ_OPTION(DURATION, "linger", AT(linger_ms), "10ms", "TIME",
              "The pause after a transaction. Longer ones cost the brokers less.", .least = 0,
              .most = 10000),
    PJ_OPTION(DURATION, "ping-interval", AT(ping_ms), "5s", "TIME",
              "Redis is pinged after this long without a message, and the connection is closed "
              "after as long again.",
              .least = 100, .most = 3600000),
    PJ_OPTION(DURATION, "reconnect-max", AT(reconnect_most_ms), "2s", "TIME",
              "The longest wait before reconnecting; the first is 100 ms, each further one up to "
              "twice as long as the one before.",
              .least = 100, .most = 3600000),
    PJ_OPTION(DURATION, "heartbeat", AT(heartbeat_ms), "5s", "TIME",
              "How often an idle bridge records until when it has listened; it also learns then "
              "whether another bridge has taken its name.",
              .least = 100, .most = 3600000),
    PJ_TRANSACTION_TIMEOUT_OPTION(AT(transaction_timeout_ms), "a bridge"),
    PJ_REGISTRY_OPTIONS(AT(registry), "The URL of the schema registry's Confluent API."),
    PJ_OPTION(DURATION, "shutdown-timeout", AT(shutdown_timeout_ms), "10s", "TIME",
              "How long a stop waits for Kafka to take what was read. The rest is lost, and "
              "the log says how much.",
              .least = 100, .most = 600000),
    PJ_PROCESS_OPTIONS(AT(process)),
    {0},
};

void pj_job_bridge_metrics_add(struct pj_job_bridge_metrics *metrics, struct pj_metrics *registry)
{
    const struct pj_metric_line all[] = {
        {&metrics->received, PJ_COUNTER, "projectionist_bridge_messages_received_total",
         "Messages that Redis sent"},
        {&metrics->published, PJ_COUNTER, "projectionist_bridge_events_published_total",
         "Events committed to studio.jobs"},
        {&metrics->misfits, PJ_COUNTER, "projectionist_bridge_dead_letters_total",
         "Messages published as dead letters: they are not what jobs send, or Kafka refused their "
         "records",
         "reason=\"message\""},
        {&metrics->refused, PJ_COUNTER, "projectionist_bridge_dead_letters_total", "",
         "reason=\"kafka\""},
        {&metrics->gaps, PJ_COUNTER, "projectionist_bridge_gaps_total",
         "Times when nobody listened to Redis; what was published meanwhile is lost"},
        {&metrics->gap_time, PJ_GAUGE_MILLI, "projectionist_bridge_gap_seconds",
         "How long nobody listened the last time"},
        {&metrics->pauses, PJ_COUNTER, "projectionist_bridge_pauses_total",
         "Times the buffer filled up and Redis was not read"},
        {&metrics->connected, PJ_GAUGE, "projectionist_bridge_connected",
         "1 while subscribed to Redis"},
        {&metrics->connections, PJ_COUNTER, "projectionist_bridge_connects_total",
         "Attempts to connect to Redis"},
        {&metrics->buffered, PJ_GAUGE, "projectionist_bridge_messages_buffered",
         "Messages read and not published yet"},
        {&metrics->message_time, PJ_HISTOGRAM, "projectionist_bridge_message_seconds",
         "From a message's arrival to its commit"},
        {0},
    };
    pj_metrics_add_all(registry, all);
    pj_transactor_metrics_add(&metrics->transactor, "bridge", registry);
}
