/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pace.h"

enum { SECOND_US = 1000000 };

void pj_pace_start(struct pj_pace *pace, int64_t rate, int64_t now_us)
{
    *pace = (struct pj_pace){.rate = rate, .start_us = now_us};
}

int64_t pj_pace_next(struct pj_pace *pace, int64_t now_us)
{
    if (pace->rate <= 0)
        return 0;
    /* Whole seconds are split off, so that the product stays small however long the run is. */
    int64_t due_us = pace->start_us + pace->done / pace->rate * SECOND_US +
                     pace->done % pace->rate * SECOND_US / pace->rate;
    if (now_us < due_us)
        return due_us - now_us;
    if (now_us - due_us > SECOND_US) {
        pace->start_us = now_us;
        pace->done = 0;
    }
    pace->done++;
    return 0;
}
