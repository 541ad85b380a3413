/* SPDX-License-Identifier: Apache-2.0 */
/* How long whoever waits for a server waits before the next try. */
#ifndef PJ_BASE_BACK_OFF_H
#define PJ_BASE_BACK_OFF_H

#include <stdint.h>

/* Milliseconds after so many failures in a row before this one: 100, doubled with each, up to 5 s,
 * of which up to half is left to chance, so that replicas do not come back as one. */
int64_t pj_back_off_ms(int failures);
/* Waits for so long. Who has something to do meanwhile waits by himself. */
void pj_back_off(int failures);

#endif
