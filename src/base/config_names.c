/* SPDX-License-Identifier: Apache-2.0 */
/* The PROJECTIONIST_ variables that exist besides those of the current program. */
#include "base/config_internal.h"
#include "base/text.h"

#include <string.h>

/* tests/integration/test_settings.py compares them with what the programs' --help shows. */
const char *const pj_config_names[] = {
    "accept-dead-letters",
    "accept-gap",
    "accept-version",
    "against-topic",
    "all",
    "as-of",
    "batch-bytes",
    "batch-frames",
    "batch-records",
    "batch-rows",
    "before",
    "bridge-id",
    "buffer-bytes",
    "buffer-frames",
    "check",
    "commit",
    "config",
    "cors-origins",
    "directory",
    "drop",
    "drop-retained",
    "dry-run",
    "expect",
    "file-size",
    "follow",
    "frame-size-limit",
    "from",
    "gateway-id",
    "gateway-listen",
    "gateway-token",
    "gateway-upstream",
    "gateway-upstream-ca-file",
    "gateway-upstream-token",
    "group",
    "hash",
    "hash-key",
    "hdr-log",
    "heartbeat",
    "heartbeat-interval",
    "heartbeat-topics",
    "idle-in-transaction-timeout",
    "import-id",
    "info",
    "ingest-id",
    "ingest-listen",
    "ingest-system",
    "ingest-tables",
    "ingest-tokens-file",
    "ingest-topics",
    "instance",
    "interval",
    "json",
    "jwt-audience",
    "jwt-ca-file",
    "jwt-issuer",
    "jwt-jwks",
    "jwt-rate",
    "jwt-secret",
    "jwt-service-role",
    "jwt-tenant-claim",
    "jwt-topics",
    "kafka.bootstrap.servers",
    "kafka.client.id",
    "kafka.sasl.password",
    "kafka.sasl.username",
    "kafka.security.protocol",
    "kafka.ssl.ca.location",
    "keep-retained",
    "key",
    "key-retention",
    "limit",
    "linger",
    "lock-timeout",
    "log-format",
    "log-level",
    "loop",
    "max-body",
    "max-concurrent",
    "max-connections",
    "max-header",
    "max-keys",
    "max-message-bytes",
    "metrics-address",
    "object-operations",
    "once",
    "otlp-endpoint",
    "outbox",
    "output",
    "p99",
    "partition",
    "partitions",
    "ping-interval",
    "poll-interval",
    "postgres-dsn",
    "postgres.password",
    "projection",
    "publish-timeout",
    "rate",
    "reason",
    "reconnect-max",
    "rekey",
    "relay-id",
    "replication-factor",
    "request-timeout",
    "resume",
    "retention-ms",
    "role-prefix",
    "s3-access-key",
    "s3-ca-file",
    "s3-endpoint",
    "s3-region",
    "s3-secret-key",
    "s3-session-token",
    "samples",
    "schema-refresh",
    "schema-registry-ca-file",
    "schema-registry-password",
    "schema-registry-url",
    "schema-registry-username",
    "service-buffer",
    "session-timeout",
    "shift",
    "shutdown-timeout",
    "since",
    "sns-ca-file",
    "sns-host",
    "sns-topics",
    "speed",
    "stall-timeout",
    "status",
    "systems",
    "table-connections",
    "table-timeout",
    "tables-schema",
    "telemetry-ca-file",
    "telemetry-token",
    "telemetry-url",
    "threads",
    "timeout",
    "to",
    "to-directory",
    "to-file",
    "topic",
    "topic-map",
    "topic-prefix",
    "transaction-timeout",
    "until",
    "until-caught-up",
    "upstream-timeout",
    "user",
    "verbose",
    "workers",
    "yes",
    NULL,
};

bool pj_config_is_others(const char *variable)
{
    static const char *const tools[] = {"BENCH_", "CLUSTER_", "SCENARIO_", "SOAK_"};
    static const char *const passed[] = {"KAFKA_", "POSTGRES_"};
    char name[PJ_CONFIG_NAME_MOST];
    char known[PJ_CONFIG_NAME_MOST];
    if (strcmp(variable, "BIN") == 0)
        return true;
    for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++) {
        if (pj_text_begins(variable, tools[i]))
            return true;
    }
    /* Whether the key exists is for librdkafka or libpq to say. */
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        if (strcmp(variable, passed[i]) == 0)
            return true;
    }
    if (!pj_text_fits(name, sizeof name, PJ_CONFIG_PREFIX "%s", variable))
        return false; /* no name is that long */
    for (size_t i = 0; pj_config_names[i] != NULL; i++) {
        size_t length = strlen(pj_config_names[i]) + strlen(PJ_CONFIG_PREFIX);
        pj_config_variable(pj_config_names[i], known);
        if (strncmp(name, known, length) == 0 &&
            (name[length] == '\0' || strcmp(name + length, "_FILE") == 0))
            return true;
    }
    return false;
}

bool pj_config_is_service_link(const char *variable, const char *value)
{
    static const char *const protocols[] = {"_TCP", "_UDP", "_SCTP"};
    static const char *const parts[] = {"", "_PROTO", "_PORT", "_ADDR"};
    if (pj_text_ends(variable, "_SERVICE_HOST") || pj_text_ends(variable, "_SERVICE_PORT") ||
        strstr(variable, "_SERVICE_PORT_") != NULL)
        return true;
    if (pj_text_ends(variable, "_PORT") || strcmp(variable, "PORT") == 0)
        return pj_text_begins(value, "tcp://") || pj_text_begins(value, "udp://") ||
               pj_text_begins(value, "sctp://");
    /* PORT_80_TCP, PORT_80_TCP_ADDR */
    const char *port = strstr(variable, "PORT_");
    if (port == NULL || (port != variable && port[-1] != '_'))
        return false;
    port += strlen("PORT_");
    size_t digits = strspn(port, "0123456789");
    for (size_t i = 0; digits > 0 && i < sizeof protocols / sizeof protocols[0]; i++) {
        if (!pj_text_begins(port + digits, protocols[i]))
            continue;
        for (size_t j = 0; j < sizeof parts / sizeof parts[0]; j++) {
            if (strcmp(port + digits + strlen(protocols[i]), parts[j]) == 0)
                return true;
        }
    }
    return false;
}
