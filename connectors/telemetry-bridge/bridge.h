/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the bridge share: its settings and its metrics. */
#ifndef PJ_TELEMETRY_BRIDGE_BRIDGE_H
#define PJ_TELEMETRY_BRIDGE_BRIDGE_H

#include "avro/registry.h"
#include "base/process.h"
#include "common/transactor.h"

#define PJ_DEAD_LETTERS_TOPIC "safari.telemetry.dead-letters"
#define PJ_CURSORS_TOPIC      "safari.bridge-cursors"

struct pj_bridge_settings {
    const char *telemetry_url;
    const char *bridge_id;
    const char *topic_prefix; /* or NULL */
    const char *token;
    const char *ca_file;
    struct pj_registry_settings registry; /* url NULL: none is configured */
    struct pj_process_settings process;
    int64_t frame_size_limit;
    int64_t buffer_bytes;
    int64_t buffer_frames;
    int64_t batch_frames;
    int64_t linger_ms;
    int64_t service_buffer;
    int64_t ping_ms;
    int64_t reconnect_most_ms;
    int64_t heartbeat_ms;
    int64_t transaction_timeout_ms;
    int64_t shutdown_timeout_ms;
};

extern const struct pj_option pj_bridge_options[];

struct pj_bridge_metrics {
    struct pj_metric *received_v1, *received_v2, *known, *misfits, *refused, *gaps, *restarts;
    struct pj_metric *connected, *connections, *pauses, *paused, *buffered;
    struct pj_metric *events, *statuses, *frame_time;
    struct pj_transactor_metrics transactor;
};

void pj_bridge_metrics_add(struct pj_bridge_metrics *metrics, struct pj_metrics *registry);

#endif
