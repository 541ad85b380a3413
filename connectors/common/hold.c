/* SPDX-License-Identifier: Apache-2.0 */
#include "common/hold.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

enum { TIMES = 4 };

void pj_hold(struct pj_hold *hold, int64_t took_ms, const struct pj_error *why)
{
    if (!hold->is_held || strcmp(hold->why.message, why->message) != 0)
        pj_log(PJ_WARN, "records of a topic wait", pj_f_str("topic", hold->topic),
               pj_f_str("reason", why->message));
    hold->is_held = true;
    hold->why = *why;
    hold->until_ms =
        pj_clock_monotonic_ms() + (took_ms * TIMES > PJ_HOLD_MS ? took_ms * TIMES : PJ_HOLD_MS);
}

void pj_hold_end(struct pj_hold *hold)
{
    if (hold->is_held)
        pj_log(PJ_INFO, "records of a topic go on", pj_f_str("topic", hold->topic));
    hold->is_held = hold->is_suspect = false;
}

int64_t pj_hold_left_ms(const struct pj_hold *hold)
{
    int64_t now_ms = pj_clock_monotonic_ms();
    return hold->is_held && hold->until_ms > now_ms ? hold->until_ms - now_ms : 0;
}

bool pj_hold_may_share(const struct pj_hold *first, const struct pj_hold *hold)
{
    return hold == NULL || hold == first ||
           (!hold->is_suspect && (first == NULL || !first->is_suspect));
}

bool pj_hold_refused(struct pj_hold *const *holds, size_t count, int failures, int64_t took_ms,
                     const struct pj_error *why)
{
    struct pj_hold *first = NULL;
    bool is_one = true;
    for (size_t i = 0; i < count; i++) {
        if (first == NULL)
            first = holds[i];
        is_one &= holds[i] == NULL || holds[i] == first;
    }
    if (first == NULL || (failures == 0 && !first->is_suspect))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (holds[i] != NULL)
            holds[i]->is_suspect = true;
    }
    if (is_one)
        pj_hold(first, took_ms, why);
    return true;
}

void pj_hold_taken(struct pj_hold *const *holds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (holds[i] != NULL)
            pj_hold_end(holds[i]);
    }
}
