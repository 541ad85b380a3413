/* SPDX-License-Identifier: Apache-2.0 */
#include "common/turns.h"

#include "base/back_off.h"
#include "base/clock.h"
#include "base/process.h"

#include <poll.h>

/* Clients of the gateway wait meanwhile. */
enum { EVERY_MS = 50, MOST_MS = 1000 };

bool pj_turns_go_on(struct pj_stopping *stopping, bool has_work)
{
    if (pj_stop_requests == 0)
        return true;
    if (!has_work)
        return false;
    if (stopping->deadline_ms == 0)
        stopping->deadline_ms = pj_clock_monotonic_ms() + stopping->timeout_ms;
    return pj_clock_monotonic_ms() < stopping->deadline_ms;
}

bool pj_turns_back_off(const struct pj_turns *turns, int failures, const struct pj_error *trouble)
{
    int64_t until_ms = pj_clock_monotonic_ms() + pj_back_off_ms(failures, MOST_MS);
    while (pj_clock_monotonic_ms() < until_ms) {
        if (!pj_turn(turns, trouble))
            return false;
        poll(NULL, 0, EVERY_MS);
    }
    return pj_turn(turns, trouble);
}
