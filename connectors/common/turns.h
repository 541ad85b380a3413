/* SPDX-License-Identifier: Apache-2.0 */
/* What a connector does while it waits for a server: it keeps its probes up to date, and looks
 * whether it is to stop. */
#ifndef PJ_CONNECTORS_TURNS_H
#define PJ_CONNECTORS_TURNS_H

#include "projectionist/error.h"

#include <stdbool.h>
#include <stdint.h>

struct pj_turns {
    /* Called at least twice a second; must not block. `trouble` is what is waited for, or NULL.
     * False: it is time to stop. */
    bool (*turn)(void *context, const struct pj_error *trouble);
    void *context;
};

static inline bool pj_turn(const struct pj_turns *turns, const struct pj_error *trouble)
{
    return turns->turn(turns->context, trouble);
}

/* The end of a program that was asked to stop (pj_stop_requests). */
struct pj_stopping {
    int64_t timeout_ms;  /* for what is under way then */
    int64_t deadline_ms; /* 0: not asked yet */
};

/* False when it is time to stop: at once while there is nothing to finish, else at the deadline. */
bool pj_turns_go_on(struct pj_stopping *stopping, bool has_work);

/* Blocks for pj_back_off_ms, at most 1 s, with a turn every 50 ms. False: it is time to stop. */
bool pj_turns_back_off(const struct pj_turns *turns, int failures, const struct pj_error *trouble);

#endif
