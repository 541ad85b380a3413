/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks, in one place, so that pure code cannot read them by accident. */
#ifndef PJ_BASE_CLOCK_H
#define PJ_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic milliseconds, for deadlines and rates. */
static inline int64_t pj_clock_monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Monotonic microseconds, for latencies. */
static inline int64_t pj_clock_monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Milliseconds since 1970, for log lines and for people; never for rows. */
static inline int64_t pj_clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
