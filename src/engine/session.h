/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a run (Postgres, Kafka, the schema registry), its metrics and /readyz, and
 * requests to stop. It knows nothing of batches.
 */
#ifndef PJ_ENGINE_SESSION_H
#define PJ_ENGINE_SESSION_H

#include "base/arena.h"
#include "base/metrics.h"
#include "engine/health.h"
#include "engine/numbers.h"
#include "engine/policy.h"
#include "engine/settings.h"
#include "kafka/consumer.h"
#include "store/owner.h"
#include "store/schemas.h"
#include "store/unit.h"

#include <stdatomic.h>

struct pj_session {
    /* Set by the caller. */
    const struct pj_run_policy *policy;
    const struct pj_projection *projection; /* with its claims, once it is open */
    const struct pj_settings *settings;
    const union pj_setting_value *setting_values; /* of the projection's settings */
    struct pj_identity identity;                  /* the cluster's id comes from the brokers */
    struct pj_metrics *metrics;
    struct pj_health *health; /* NULL: nobody probes it */
    size_t worker;            /* of the process, from 0 */
    atomic_int *stop;         /* how often we were asked to stop */
    /* Called while Postgres works. */
    pj_postgres_idle *meanwhile;
    void *context;

    struct pj_unit unit; /* what asks and writes in Postgres */
    struct pj_consumer *consumer;
    struct pj_registry *registry; /* NULL: none is named */
    struct pj_schemas *schemas;
    struct pj_numbers numbers;
    bool topics_seen;
    bool version_checked; /* of the rules that the rows follow */
    int failures;         /* in a row: a server was unavailable */

    /* Its own. */
    struct pj_postgres_settings postgres_settings;
    int64_t refused_since; /* by a server that accepted us before; 0: it does not */
    int64_t stopping_since;
    char waiting[640]; /* what the loop waits for; "" */
    bool stalled;
};

/* Opens all but the connections, which are made when they are needed. */
int pj_session_open(struct pj_session *session, const struct pj_config *config,
                    struct pj_error *error) PJ_MUST_CHECK;
/* Leaves the group, within the shutdown timeout. */
void pj_session_close(struct pj_session *session);

/* Opens Postgres where it is not open (pj_unit_open). One try. */
int pj_session_connect(struct pj_session *session, struct pj_error *error) PJ_MUST_CHECK;

/* Postgres has answered: the failures are over. */
void pj_session_recovered(struct pj_session *session);

bool pj_session_stopping(const struct pj_session *session);
/* A stop waits for the batch, but gives up an unresponsive Postgres after the shutdown timeout. The
 * next owner finds out whether it was committed. */
void pj_session_stop_in_time(struct pj_session *session);
void pj_session_heartbeat(struct pj_session *session);

/* What /readyz reports: what the loop waits for (NULL: it is ready), unless it is stalled: then why
 * (NULL: it is not). */
void pj_session_wait_for(struct pj_session *session, const char *reason);
void pj_session_stall(struct pj_session *session, const char *why);

#endif
