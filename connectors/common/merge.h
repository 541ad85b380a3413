/* SPDX-License-Identifier: Apache-2.0 */
/* Reads several recordings as one, their messages ordered by timestamp. Each recording keeps its
 * own order; on equal timestamps the recording named first goes first. */
#ifndef PJ_CONNECTORS_MERGE_H
#define PJ_CONNECTORS_MERGE_H

#include "avro/recording.h"

struct pj_merge;

/* Starts at the first item of each. The recordings must outlive the merge, which advances them; the
 * array need not. */
int pj_merge_open(struct pj_merge **merge, struct pj_recording *const *recordings, size_t count,
                  struct pj_error *error) PJ_MUST_CHECK;
void pj_merge_close(struct pj_merge *merge); /* NULL is allowed */

/*
 * Returns 1 and the next message with the index of its recording, 0 at the end, -1 with *error.
 * RecordedSchema items are skipped. The message lives until the next call.
 */
int pj_merge_next(struct pj_merge *merge, const struct pj_recorded **message, size_t *recording,
                  struct pj_error *error) PJ_MUST_CHECK;

#endif
