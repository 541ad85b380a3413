/* SPDX-License-Identifier: Apache-2.0 */
#include "base/back_off.h"

#include <stdlib.h>
#include <time.h>

enum { FIRST_MS = 100, SHIFT_MOST = 20 };

int64_t pj_back_off_ms(int failures, int64_t most_ms)
{
    int64_t wait = (int64_t)FIRST_MS << (failures < SHIFT_MOST ? failures : SHIFT_MOST);
    if (wait > most_ms)
        wait = most_ms;
    return wait / 2 + random() % (wait / 2 + 1);
}

void pj_back_off(int failures)
{
    int64_t wait = pj_back_off_ms(failures, PJ_BACK_OFF_MOST_MS);
    struct timespec time = {wait / 1000, wait % 1000 * 1000000};
    nanosleep(&time, NULL);
}
