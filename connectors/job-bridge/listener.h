/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that listens to the channels of Redis: connects, subscribes by pattern, and puts what
 * comes into the inbox, for ever. Redis keeps nothing for those who do not listen: how long nobody
 * did is measured, counted and logged. While the inbox is full it does not read, and Redis drops
 * the connection in time.
 */
#ifndef PJ_JOB_BRIDGE_LISTENER_H
#define PJ_JOB_BRIDGE_LISTENER_H

#include "base/config.h"
#include "job-bridge/inbox.h"
#include "job-bridge/job_bridge.h"

struct pj_listener;

/* Checks the settings: PJ_EXIT_USAGE. Does not connect. All is borrowed. */
int pj_listener_open(struct pj_listener **listener, const struct pj_job_bridge_settings *settings,
                     const struct pj_config *config, const struct pj_job_bridge_metrics *metrics,
                     struct pj_inbox *inbox, struct pj_error *error) PJ_MUST_CHECK;
int pj_listener_start(struct pj_listener *listener, struct pj_error *error) PJ_MUST_CHECK;
void pj_listener_stop(struct pj_listener *listener);
void pj_listener_close(struct pj_listener *listener); /* stops it; NULL is allowed */

/* Once: until when a former bridge of this name listened, since 1970. The gap since then ends with
 * the first subscription. */
void pj_listener_heard_until(struct pj_listener *listener, int64_t wall_us);

/* Since when it is subscribed for the first time, since 1970; 0: it was not yet. */
int64_t pj_listener_subscribed_us(struct pj_listener *listener);
/* Until when all that was published is in the inbox, since 1970; 0: not yet. */
int64_t pj_listener_listened_us(struct pj_listener *listener);

/* True with a sentence while it is not subscribed. */
bool pj_listener_trouble(struct pj_listener *listener, char *text, size_t size);
/* Where Redis has refused it for good: PJ_FATAL; 0 else. */
int pj_listener_check(struct pj_listener *listener, struct pj_error *error) PJ_MUST_CHECK;
/* When it last did something, monotonic; 0: it has not started. */
int64_t pj_listener_last_turn_ms(struct pj_listener *listener);

#endif
