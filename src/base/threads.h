/* SPDX-License-Identifier: Apache-2.0 */
/* Threads beside the main one, and how they wait for each other. */
#ifndef PJ_BASE_THREADS_H
#define PJ_BASE_THREADS_H

#include "projectionist/error.h"

#include <pthread.h>
#include <stdint.h>

/* Starts a thread that gets no signals, which are for the main thread. */
int pj_thread_start(pthread_t *thread, void *(*run)(void *context), void *context,
                    struct pj_error *error) PJ_MUST_CHECK;

/* For pthread_cond_timedwait until a pj_in_ms, which no change of the clock moves. */
void pj_condition_init(pthread_cond_t *condition);
struct timespec pj_in_ms(int64_t ms);

#endif
