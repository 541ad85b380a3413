/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the relay share: its settings and its metrics; and the relay itself, which
 * takes rows of an outbox to Kafka, each at least once, in the order of their ids.
 */
#ifndef PJ_OUTBOX_RELAY_RELAY_H
#define PJ_OUTBOX_RELAY_RELAY_H

#include "avro/registry.h"
#include "base/process.h"
#include "common/transactor.h"

struct pj_relay_settings {
    const char *outbox; /* a schema of Postgres */
    const char *relay_id;
    const char *topic_prefix; /* or NULL */
    const char *postgres_dsn; /* or NULL */
    const char *heartbeat_topics;
    int64_t heartbeat_ms;
    int64_t batch_rows;
    int64_t poll_ms;
    int64_t transaction_timeout_ms;
    int64_t shutdown_timeout_ms;
    struct pj_registry_settings registry;
    struct pj_process_settings process;
};

extern const struct pj_option pj_relay_options[];

struct pj_relay_metrics {
    struct pj_metric *active, *pending, *oldest, *failed_rows, *waiting_topics;
    struct pj_metric *published, *unfit, *refused, *heartbeats;
    struct pj_metric *reconnects, *delay;
    struct pj_transactor_metrics transactor;
};

void pj_relay_metrics_add(struct pj_relay_metrics *metrics, struct pj_metrics *registry);

/* Borrowed for as long as the relay runs. */
struct pj_relay_surroundings {
    const struct pj_relay_settings *settings;
    const struct pj_config *config;
    const struct pj_relay_metrics *metrics;
    struct pj_metrics *registry;
    struct pj_metrics_server *server; /* or NULL */
};

/* Until it is stopped (pj_stop_requests), whatever is away meanwhile. Errors: PJ_EXIT_DATABASE
 * where there is no outbox, PJ_EXIT_FENCED where another relay has the id, and what its servers
 * refuse. */
int pj_relay_run(const struct pj_relay_surroundings *surroundings,
                 struct pj_error *error) PJ_MUST_CHECK;

#endif
