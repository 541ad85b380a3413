/* SPDX-License-Identifier: Apache-2.0 */
#include "base/back_off.h"

#include <stdlib.h>
#include <time.h>

enum { FIRST_MS = 100, MOST_MS = 5000, SHIFT_MOST = 6 };

int64_t pj_back_off_ms(int failures)
{
    int64_t wait = (int64_t)FIRST_MS << (failures < SHIFT_MOST ? failures : SHIFT_MOST);
    if (wait > MOST_MS)
        wait = MOST_MS;
    return wait / 2 + random() % (wait / 2 + 1);
}

void pj_back_off(int failures)
{
    int64_t wait = pj_back_off_ms(failures);
    struct timespec time = {wait / 1000, wait % 1000 * 1000000};
    nanosleep(&time, NULL);
}
