/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that were read and are not published yet, in order, between the thread that listens and
 * the one that publishes. */
#ifndef PJ_JOB_BRIDGE_INBOX_H
#define PJ_JOB_BRIDGE_INBOX_H

#include "job-bridge/job_message.h"

struct pj_inbox;

struct pj_inbox *pj_inbox_new(int64_t bytes_most);
void pj_inbox_free(struct pj_inbox *inbox); /* with what is in it; NULL is allowed */

void pj_inbox_put(struct pj_inbox *inbox, struct pj_job_message *message); /* takes it */
bool pj_inbox_is_full(struct pj_inbox *inbox); /* until half of it is free again */

/* Takes up to `most` of the oldest, waiting at most wait_ms for the first. Returns how many; the
 * list is the caller's. */
size_t pj_inbox_take(struct pj_inbox *inbox, size_t most, int64_t wait_ms,
                     struct pj_job_message **list);
int64_t pj_inbox_count(struct pj_inbox *inbox);

#endif
