/* SPDX-License-Identifier: Apache-2.0 */
/* The back-off between attempts to reach a server. */
#ifndef PJ_BASE_BACK_OFF_H
#define PJ_BASE_BACK_OFF_H

#include <stdint.h>

enum { PJ_BACK_OFF_MOST_MS = 5000 }; /* where nobody waits for an answer */

/* Milliseconds after so many failures in a row before this one: 100, doubled with each, up to most,
 * of which up to half is random, so that replicas do not return in step. */
int64_t pj_back_off_ms(int failures, int64_t most_ms);
/* Sleeps for that long, at most PJ_BACK_OFF_MOST_MS. */
void pj_back_off(int failures);

#endif
