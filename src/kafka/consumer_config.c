/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/consumer_internal.h"

#include "base/log.h"

#include <string.h>

static int set(rd_kafka_conf_t *conf, const char *key, const char *value, struct pj_error *error)
{
    char reason[256];
    if (rd_kafka_conf_set(conf, key, value, reason, sizeof reason) == RD_KAFKA_CONF_OK)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_USAGE, "kafka.%s: %s", key, reason);
}

/* What keeps exactly-once is not the operator's to change. */
static const char *const fixed[][2] = {
    {"enable.auto.commit", "false"},       {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},        {"enable.partition.eof", "true"},
    {"isolation.level", "read_committed"},
};

/* Memory at full load is bounded by the queue; the rest keeps latency low. */
static const char *const defaults[][2] = {
    {"partition.assignment.strategy", "cooperative-sticky"},
    {"allow.auto.create.topics", "false"},
    {"session.timeout.ms", "10000"},
    {"heartbeat.interval.ms", "2000"},
    {"fetch.wait.max.ms", "250"},
    {"queued.min.messages", "20000"},
    {"queued.max.messages.kbytes", "4096"},
    {"fetch.message.max.bytes", "131072"},
    {"reconnect.backoff.max.ms", "2000"},
    {"log.connection.close", "false"},
};

/* For bulk: Postgres must never wait for Kafka. */
static const char *const bulk_defaults[][2] = {
    {"queued.min.messages", "100000"},
    {"queued.max.messages.kbytes", "8192"},
    {"fetch.message.max.bytes", "524288"},
};

/* librdkafka before 2.6.1 sends Kafka 4 a SCRAM message that it refuses. */
static void warn_scram(const struct pj_properties *properties)
{
    const char *mechanism = pj_properties_get(properties, "sasl.mechanism");
    if (mechanism == NULL)
        mechanism = pj_properties_get(properties, "sasl.mechanisms");
    if (mechanism != NULL && strncmp(mechanism, "SCRAM", 5) == 0 && rd_kafka_version() < 0x02060100)
        pj_log(PJ_WARN,
               "this librdkafka fails SCRAM against Kafka 4 with \"invalid credentials\", however "
               "right the password is; use 2.6.1 or later, PLAIN over TLS, or mTLS",
               pj_f_str("librdkafka", rd_kafka_version_str()));
}

int pj_consumer_configure(rd_kafka_conf_t *conf, const struct pj_consumer_settings *settings,
                          struct pj_error *error)
{
    const struct pj_properties *properties = settings->properties;
    char reason[256];
    warn_scram(properties);
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        if (set(conf, defaults[i][0], defaults[i][1], error) != 0)
            return -1;
    }
    for (size_t i = 0; settings->bulk && i < sizeof bulk_defaults / sizeof bulk_defaults[0]; i++) {
        if (set(conf, bulk_defaults[i][0], bulk_defaults[i][1], error) != 0)
            return -1;
    }
    /* From 2.2 on; before, the pause after a full queue cannot be set. */
    rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "20", reason, sizeof reason);
    /* There it is a second, unless something else wakes the broker's thread (measured). */
    if (rd_kafka_version() < 0x02020000 &&
        set(conf, "topic.metadata.refresh.interval.ms", "100", error) != 0)
        return -1;
    for (size_t i = 0; i < properties->count; i++) {
        const struct pj_property *property = &properties->items[i];
        for (size_t f = 0; f < sizeof fixed / sizeof fixed[0]; f++) {
            if (strcmp(property->key, fixed[f][0]) == 0)
                return pj_error_fatal(error, PJ_EXIT_USAGE,
                                      "kafka.%s cannot be set: offsets are kept in Postgres and "
                                      "need it to be %s",
                                      fixed[f][0], fixed[f][1]);
        }
        if (strcmp(property->key, "group.id") == 0)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "kafka.group.id cannot be set: use --group");
        if (set(conf, property->key, property->value, error) != 0)
            return -1;
    }
    for (size_t f = 0; f < sizeof fixed / sizeof fixed[0]; f++) {
        if (set(conf, fixed[f][0], fixed[f][1], error) != 0)
            return -1;
    }
    if (set(conf, "group.id", settings->group, error) != 0 ||
        (pj_properties_get(properties, "client.id") == NULL &&
         set(conf, "client.id", settings->client_id, error) != 0))
        return -1;
    if (pj_properties_get(properties, "bootstrap.servers") == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no Kafka brokers are named: set "
                              "PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS or "
                              "--kafka.bootstrap.servers");
    return 0;
}
