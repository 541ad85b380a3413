/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/webhooks/…/<topic>: as pj_ingest_events, of what other services send. What is refused is
 * also said in the log: nobody reads the answer. */
#ifndef PJ_EVENT_INGEST_HOOKS_H
#define PJ_EVENT_INGEST_HOOKS_H

#include "event-ingest/ingest.h"

void pj_ingest_prefect(struct pj_ingest *ingest, const struct pj_posted *posted,
                       struct pj_answer *answer);
void pj_ingest_s3(struct pj_ingest *ingest, const struct pj_posted *posted,
                  struct pj_answer *answer);
/* Without a caller: the signature tells who it is. */
void pj_ingest_sns(struct pj_ingest *ingest, const struct pj_posted *posted,
                   struct pj_answer *answer);

#endif
