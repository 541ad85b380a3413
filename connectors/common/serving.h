/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the connectors with an HTTP API do alike: their options, the checks at the start, the time
 * until they are stopped, and what the page for people shows of them.
 */
#ifndef PJ_CONNECTORS_SERVING_H
#define PJ_CONNECTORS_SERVING_H

#include "avro/registry.h"
#include "base/http_server.h"
#include "base/process.h"
#include "base/topic_name.h"
#include "common/publisher.h"

/* The part of a connector's settings that PJ_SERVING_OPTIONS fill; what has another default or
 * another meaning in each of them has options of its own. */
struct pj_serving_settings {
    const char *listen;       /* of its own option */
    const char *topic_prefix; /* or NULL */
    struct pj_registry_settings registry;
    int64_t body_most;        /* of its own option */
    int64_t key_retention_ms; /* likewise */
    int64_t concurrent_most;  /* likewise */
    int64_t header_most;
    int64_t connections_most;
    int64_t request_timeout_ms;
    int64_t publish_timeout_ms;
    int64_t transaction_timeout_ms;
    int64_t shutdown_timeout_ms;
};

/* Its options, where `at` is its offset in the program's settings. */
#define PJ_SERVING_AT(at, member) ((at) + offsetof(struct pj_serving_settings, member))
#define PJ_SERVING_OPTIONS(at)                                                                     \
    PJ_TOPIC_PREFIX_OPTION(PJ_SERVING_AT(at, topic_prefix)),                                       \
        PJ_REGISTRY_OPTIONS(PJ_SERVING_AT(at, registry),                                           \
                            "The URL of the schema registry's Confluent API."),                    \
        PJ_OPTION(SIZE, "max-header", PJ_SERVING_AT(at, header_most), "16KiB", "SIZE",             \
                  "Largest request headers in bytes; larger ones get 431.", .least = 1024,         \
                  .most = 1 << 20),                                                                \
        PJ_OPTION(INTEGER, "max-connections", PJ_SERVING_AT(at, connections_most), "4096", "N",    \
                  "The most open connections. A new one beyond that gets 503, unless it can take " \
                  "the place of one that has been idle for 5 s.",                                  \
                  .least = 1, .most = 10000),                                                      \
        PJ_OPTION(DURATION, "request-timeout", PJ_SERVING_AT(at, request_timeout_ms), "10s",       \
                  "TIME", "A request that is still incomplete after this gets 408.", .least = 100, \
                  .most = 3600000),                                                                \
        PJ_OPTION(DURATION, "publish-timeout", PJ_SERVING_AT(at, publish_timeout_ms), "10s",       \
                  "TIME", "How long a request waits for Kafka.", .least = 100, .most = 600000),    \
        PJ_OPTION(DURATION, "transaction-timeout", PJ_SERVING_AT(at, transaction_timeout_ms),      \
                  "60s", "TIME",                                                                   \
                  "After this Kafka aborts a transaction whose process hangs; at most the "        \
                  "brokers' transaction.max.timeout.ms.",                                          \
                  .least = 5000, .most = 900000),                                                  \
        PJ_OPTION(DURATION, "shutdown-timeout", PJ_SERVING_AT(at, shutdown_timeout_ms), "15s",     \
                  "TIME", "How long a stop waits for requests in flight.", .least = 100,           \
                  .most = 600000)

/* Settings that are used only once servers have answered, checked before waiting for them. `name`
 * is that of the server, such as "gateway". */
int pj_serving_check(const struct pj_serving_settings *settings, const char *name,
                     const char *client_id, const struct pj_properties *kafka,
                     struct pj_error *error) PJ_MUST_CHECK;

/* Of an HTTP server with these settings; the rest is its connector's. */
struct pj_http_settings pj_serving_http(const struct pj_serving_settings *settings,
                                        const char *name, struct pj_metrics *metrics);

/* While the registry is away, before there is a publisher: keeps the probes up to date, which may
 * be NULL, until a signal. */
struct pj_turns pj_serving_turns(struct pj_metrics_server *probes);

struct pj_serving {
    const struct pj_serving_settings *settings;
    struct pj_http_server *server;
    struct pj_publisher *publisher;
    struct pj_metrics_server *probes; /* or NULL */
    void *context;
    /* Forgets some of the keys that are past their retention; true: there are more. */
    bool (*expire)(void *context);
    void (*chores)(void *context); /* ten times a second; or NULL */
};

/* Ready until a signal, or the end of the publisher, then stops the server. -1: the publisher has
 * failed. */
int pj_serving_run(const struct pj_serving *serving, struct pj_error *error);

/* The first charts of its page, and the rows of its table. */
#define PJ_SERVING_CHARTS(name)                                                                    \
    {"Requests", "projectionist_" name "_requests_total", PJ_PAGE_RATE},                           \
        {"Connections", "projectionist_" name "_connections", PJ_PAGE_SUM},                        \
        {"Records published", "projectionist_" name "_records_total", PJ_PAGE_RATE},               \
    {                                                                                              \
        "Transactions", "projectionist_" name "_transactions_total", PJ_PAGE_RATE                  \
    }
#define PJ_SERVING_ROWS(name)                                                                      \
    .rows_title = "Requests", .rows = (const struct pj_page_item[])                                \
    {                                                                                              \
        {"Since the start", "projectionist_" name "_requests_total", PJ_PAGE_SUM},                 \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

#endif
