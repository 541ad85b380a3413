/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes what is in the buffer: batches, each in one Kafka transaction with the bookmark after
 * it. A transaction that did not end cleanly is looked up (the bookmark tells) and published again
 * if it did not commit. Runs in the main thread.
 */
#ifndef PJ_TELEMETRY_BRIDGE_PUBLISH_H
#define PJ_TELEMETRY_BRIDGE_PUBLISH_H

#include "telemetry-bridge/bookmark.h"
#include "telemetry-bridge/bridge.h"
#include "telemetry-bridge/buffer.h"

#include <stdatomic.h>

struct pj_bridge_publisher;

struct pj_bridge_publisher_settings {
    const struct pj_bridge_settings *bridge;
    const struct pj_properties *kafka;
    const struct pj_bridge_metrics *metrics;
    struct pj_metrics *registry; /* where the metrics are */
    const atomic_int *stop;      /* set by a signal: publish what is left, then return */
    /* Called on every turn, also while Kafka is away or refuses everything (`trouble` is the
     * reason, valid during the call; else NULL). */
    void (*turn)(void *context, const char *trouble);
    void *context;
};

/*
 * Opens the producer (fencing an earlier one with the same id), reads the bookmark back, and writes
 * it with our name. Waits while Kafka or the registry is away; returns 1 if `stop` was set
 * meanwhile. PJ_FENCED (PJ_EXIT_FENCED): another bridge took the id.
 */
int pj_bridge_publisher_open(struct pj_bridge_publisher **publisher,
                             const struct pj_bridge_publisher_settings *settings,
                             struct pj_error *error) PJ_MUST_CHECK;
void pj_bridge_publisher_close(struct pj_bridge_publisher *publisher); /* NULL is allowed */

/* Where the stream continues. */
const struct pj_position *pj_bridge_publisher_position(const struct pj_bridge_publisher *publisher);

/* Publishes until `stop` is set. */
int pj_bridge_publisher_run(struct pj_bridge_publisher *publisher, struct pj_buffer *buffer,
                            struct pj_error *error) PJ_MUST_CHECK;

/* Publishes what is left in the buffer, for at most the shutdown time-out. -1 if some of it was not
 * published: the next start replays it. */
int pj_bridge_publisher_finish(struct pj_bridge_publisher *publisher, struct pj_buffer *buffer,
                               struct pj_error *error) PJ_MUST_CHECK;

#endif
