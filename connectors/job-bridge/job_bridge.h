/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of job-bridge share: its settings and its metrics. */
#ifndef PJ_JOB_BRIDGE_JOB_BRIDGE_H
#define PJ_JOB_BRIDGE_JOB_BRIDGE_H

#include "avro/registry.h"
#include "base/process.h"
#include "common/transactor.h"

#define PJ_JOBS_TOPIC             "studio.jobs"
#define PJ_JOBS_DEAD_LETTER_TOPIC "studio.jobs.dead-letters"
#define PJ_JOB_BRIDGES_TOPIC      "studio.bridge-cursors"

struct pj_job_bridge_settings {
    const char *redis_url;
    const char *redis_username; /* or NULL */
    const char *redis_password; /* or NULL */
    const char *redis_ca_file;  /* or NULL */
    const char *channel_prefix;
    const char *bridge_id;
    const char *topic_prefix; /* or NULL */
    struct pj_registry_settings registry;
    struct pj_process_settings process;
    int64_t message_size_limit;
    int64_t buffer_bytes;
    int64_t batch_messages;
    int64_t linger_ms;
    int64_t ping_ms;
    int64_t reconnect_most_ms;
    int64_t heartbeat_ms;
    int64_t transaction_timeout_ms;
    int64_t shutdown_timeout_ms;
};

extern const struct pj_option pj_job_bridge_options[];

struct pj_job_bridge_metrics {
    struct pj_metric *received, *published, *misfits, *refused;
    struct pj_metric *gaps, *gap_time, *pauses;
    struct pj_metric *connected, *connections, *buffered, *message_time;
    struct pj_transactor_metrics transactor;
};

void pj_job_bridge_metrics_add(struct pj_job_bridge_metrics *metrics, struct pj_metrics *registry);

#endif
