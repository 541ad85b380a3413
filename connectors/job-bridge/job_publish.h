/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes what is in the inbox, in transactions, with what the bridge must know after a restart:
 * its greatest revision and until when it listened. An event has its id and its revision from
 * before its first transaction on, so that one in doubt is sent again and counts once.
 *
 * For one thread; blocks while Kafka is away.
 */
#ifndef PJ_JOB_BRIDGE_JOB_PUBLISH_H
#define PJ_JOB_BRIDGE_JOB_PUBLISH_H

#include "base/config.h"
#include "job-bridge/inbox.h"
#include "job-bridge/job_bridge.h"
#include "job-bridge/listener.h"

struct pj_job_publisher;

/* Borrowed. */
struct pj_job_publisher_settings {
    const struct pj_job_bridge_settings *bridge;
    const struct pj_config *config;
    const struct pj_job_bridge_metrics *metrics;
    struct pj_metrics *registry;
    struct pj_listener *listener;
    struct pj_inbox *inbox;
    void (*turn)(void *context, const char *trouble); /* must not block */
    void *context;
};

/* Checks the settings, waits for the registry, starts the listener, and claims the bridge's id: so
 * both listen while one takes over from another. Returns 1 when it is time to stop. */
int pj_job_publisher_open(struct pj_job_publisher **publisher,
                          const struct pj_job_publisher_settings *settings,
                          struct pj_error *error) PJ_MUST_CHECK;
void pj_job_publisher_close(struct pj_job_publisher *publisher); /* NULL is allowed */

/* Until it is stopped. PJ_EXIT_FENCED where another bridge has the id. */
int pj_job_publisher_run(struct pj_job_publisher *publisher, struct pj_error *error) PJ_MUST_CHECK;
/* What is left once the listener has stopped; PJ_RETRY where Kafka did not take it in time. */
int pj_job_publisher_finish(struct pj_job_publisher *publisher,
                            struct pj_error *error) PJ_MUST_CHECK;

#endif
