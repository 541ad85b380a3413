/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks, in one place, so that pure code cannot read them by accident. */
#ifndef PJ_BASE_CLOCK_H
#define PJ_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

static inline int64_t pj_clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Monotonic microseconds, for latencies. */
static inline int64_t pj_clock_monotonic_us(void)
{
    return pj_clock_us(CLOCK_MONOTONIC);
}

/* Monotonic milliseconds, for deadlines and rates. */
static inline int64_t pj_clock_monotonic_ms(void)
{
    return pj_clock_monotonic_us() / 1000;
}

/* Microseconds and milliseconds since 1970, for log lines and for people; never for rows. */
static inline int64_t pj_clock_wall_us(void)
{
    return pj_clock_us(CLOCK_REALTIME);
}

static inline int64_t pj_clock_wall_ms(void)
{
    return pj_clock_wall_us() / 1000;
}

/* Is it time again, so long after the last time (0: never)? Then this is the last time. */
static inline bool pj_clock_every(int64_t *last_ms, int64_t every_ms)
{
    int64_t now = pj_clock_monotonic_ms();
    bool again = now - *last_ms >= every_ms;
    if (again)
        *last_ms = now;
    return again;
}

/* How long something has lasted that was first asked for when *since_ms was 0. */
static inline int64_t pj_clock_since(int64_t *since_ms)
{
    int64_t now = pj_clock_monotonic_ms();
    if (*since_ms == 0)
        *since_ms = now;
    return now - *since_ms;
}

#endif
