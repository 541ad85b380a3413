/* SPDX-License-Identifier: Apache-2.0 */
/* When each message is due: an open loop, which never waits for what was sent before. Pure. */
#ifndef PJ_STREAM_REPLAY_SCHEDULE_H
#define PJ_STREAM_REPLAY_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

struct pj_schedule {
    enum { PJ_SCHEDULE_MAX, PJ_SCHEDULE_RATE, PJ_SCHEDULE_SPEED } kind;
    double rate;         /* messages a second */
    double speed;        /* recorded seconds a second */
    int64_t start_us;    /* when the first one is due, by the monotonic clock */
    bool has_origin;     /* false: its timestamp is taken when it comes */
    int64_t origin_ms;   /* its timestamp */
    int64_t first;       /* how many there were before it */
    int64_t last_due_us; /* of this lane: none is due before one that was */
};

/* By the monotonic clock; 0: now. `number` counts from 0. */
static inline int64_t pj_schedule_due(struct pj_schedule *schedule, int64_t number,
                                      int64_t timestamp_ms)
{
    double after_us;
    if (schedule->kind == PJ_SCHEDULE_MAX)
        return 0;
    if (!schedule->has_origin) {
        schedule->has_origin = true;
        schedule->origin_ms = timestamp_ms;
    }
    if (schedule->kind == PJ_SCHEDULE_RATE)
        after_us = (double)(number - schedule->first) * 1e6 / schedule->rate;
    else
        after_us = (double)(timestamp_ms - schedule->origin_ms) * 1e3 / schedule->speed;
    int64_t due_us = schedule->start_us + (int64_t)after_us;
    if (due_us < schedule->last_due_us)
        due_us = schedule->last_due_us;
    return schedule->last_due_us = due_us;
}

#endif
