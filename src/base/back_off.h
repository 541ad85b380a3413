/* SPDX-License-Identifier: Apache-2.0 */
/* The back-off between attempts to reach a server. */
#ifndef PJ_BASE_BACK_OFF_H
#define PJ_BASE_BACK_OFF_H

#include <stdint.h>

/* Milliseconds after so many failures in a row before this one: 100, doubled with each, up to 5 s,
 * of which up to half is random, so that replicas do not return in step. */
int64_t pj_back_off_ms(int failures);
/* Sleeps for that long. */
void pj_back_off(int failures);

#endif
