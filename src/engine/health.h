/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the probes say of a process with several workers: it is alive while all of them are, ready
 * when all are, and stalled as soon as one is. Safe to call from any thread; NULL is allowed as the
 * health of runs that nobody probes.
 */
#ifndef PJ_ENGINE_HEALTH_H
#define PJ_ENGINE_HEALTH_H

#include "base/metrics.h"

#include <stdbool.h>

struct pj_health;

/* `server` (NULL: none) is borrowed. */
struct pj_health *pj_health_new(struct pj_metrics_server *server, size_t workers);
void pj_health_free(struct pj_health *health);

void pj_health_heartbeat(struct pj_health *health, size_t worker);
/* Why the worker is not ready; NULL: it is. */
void pj_health_set_ready(struct pj_health *health, size_t worker, const char *reason);
/* Notes whether the worker is stalled; returns whether any is. */
bool pj_health_note_stall(struct pj_health *health, size_t worker, bool stalled);
/* The worker has ended: it is not asked for any more. */
void pj_health_leave(struct pj_health *health, size_t worker);

#endif
