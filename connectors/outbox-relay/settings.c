/* SPDX-License-Identifier: Apache-2.0 */
#include "outbox-relay/relay.h"

#include "base/topic_name.h"
#include "postgres/postgres.h"

#define AT(member) offsetof(struct pj_relay_settings, member)

const struct pj_option pj_relay_options[] = {
    PJ_OPTION(STRING, "outbox", AT(outbox), NULL, "SCHEMA",
              "The schema of Postgres that has the tables outbox and outbox_failed, such as "
              "captions_private.",
              .filled = true, .most = PJ_SQL_IDENTIFIER_MOST),
    PJ_OPTION(STRING, "relay-id", AT(relay_id), NULL, "NAME",
              "The relay's name in Kafka; by default that of the schema. Relays of one outbox need "
              "the same name, those of other outboxes in this Kafka another.",
              .filled = true, .most = 200),
    PJ_TOPIC_PREFIX_OPTION(AT(topic_prefix)),
    PJ_OPTION(STRING, "postgres-dsn", AT(postgres_dsn), NULL, "DSN",
              "Postgres, as a postgresql:// URI or key=value text. What it leaves out comes from "
              "libpq's own variables (PGHOST and so on). No pooler in transaction mode."),
    PJ_REGISTRY_OPTIONS(AT(registry), "The URL of the schema registry's Confluent API."),
    PJ_OPTION(STRING, "heartbeat-topics", AT(heartbeat_topics), NULL, "TOPICS",
              "Topics, separated by commas, that get a heartbeat in each of their partitions while "
              "the outbox is empty, so that timers of an idle system go on. None by default.",
              .filled = true),
    PJ_OPTION(DURATION, "heartbeat-interval", AT(heartbeat_ms), "10s", "TIME",
              "How long until the next one.", .least = 100, .most = 86400000),
    PJ_OPTION(INTEGER, "batch-rows", AT(batch_rows), "1000", "N",
              "The most rows in one transaction.", .least = 1, .most = 10000),
    PJ_OPTION(DURATION, "poll-interval", AT(poll_ms), "1s", "TIME",
              "The outbox is read when Postgres notifies of new rows, and at least this often.",
              .least = 10, .most = 60000),
    PJ_TRANSACTION_TIMEOUT_OPTION(AT(transaction_timeout_ms), "a relay"),
    PJ_OPTION(DURATION, "shutdown-timeout", AT(shutdown_timeout_ms), "10s", "TIME",
              "How long a stop waits for the transaction under way. Rows of one that does not end "
              "are published by the next start.",
              .least = 100, .most = 600000),
    PJ_PROCESS_OPTIONS(AT(process)),
    {0},
};

void pj_relay_metrics_add(struct pj_relay_metrics *metrics, struct pj_metrics *registry)
{
    const struct pj_metric_line all[] = {
        {&metrics->active, PJ_GAUGE, "projectionist_outbox_active",
         "1 while this relay is the one that publishes"},
        {&metrics->pending, PJ_GAUGE, "projectionist_outbox_pending_rows",
         "Committed rows that are not published yet, counted up to 100,000"},
        {&metrics->oldest, PJ_GAUGE_MILLI, "projectionist_outbox_oldest_seconds",
         "How long ago the oldest of them was written"},
        {&metrics->failed_rows, PJ_GAUGE, "projectionist_outbox_failed_rows",
         "Rows of outbox_failed"},
        {&metrics->waiting_topics, PJ_GAUGE, "projectionist_outbox_waiting_topics",
         "Topics whose rows wait: Kafka has no such topic or does not take what is written to it, "
         "or the registry has no schema"},
        {&metrics->published, PJ_COUNTER, "projectionist_outbox_published_total", "Rows published"},
        {&metrics->unfit, PJ_COUNTER, "projectionist_outbox_failed_total",
         "Rows moved to outbox_failed: they do not fit their schema, or Kafka refused them",
         "reason=\"schema\""},
        {&metrics->refused, PJ_COUNTER, "projectionist_outbox_failed_total", "",
         "reason=\"kafka\""},
        {&metrics->heartbeats, PJ_COUNTER, "projectionist_outbox_heartbeats_total",
         "Heartbeats published"},
        {&metrics->reconnects, PJ_COUNTER, "projectionist_outbox_reconnects_total",
         "Connections to Postgres after the first"},
        {&metrics->delay, PJ_HISTOGRAM, "projectionist_outbox_delay_seconds",
         "From the writing of a row to its commit in Kafka"},
        {0},
    };
    pj_metrics_add_all(registry, all);
    pj_transactor_metrics_add(&metrics->transactor, "outbox", registry);
}
