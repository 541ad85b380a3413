/* SPDX-License-Identifier: Apache-2.0 */
/* Pacing: N events a second on an absolute schedule, so that the errors of single waits do not add
 * up. Pure: the clock comes from outside. */
#ifndef PJ_CONNECTORS_PACE_H
#define PJ_CONNECTORS_PACE_H

#include <stdint.h>

struct pj_pace {
    int64_t rate;     /* events a second; 0: as fast as possible */
    int64_t start_us; /* when event number 0 of the schedule was due */
    int64_t done;     /* of the schedule */
};

void pj_pace_start(struct pj_pace *pace, int64_t rate, int64_t now_us);

/*
 * Microseconds until the next event is due; 0: now, and it counts as done. Who falls behind by more
 * than a second (the broker stalled) does not make up for it in a burst: the schedule moves.
 */
int64_t pj_pace_next(struct pj_pace *pace, int64_t now_us);

#endif
