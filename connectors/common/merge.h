/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several recordings as one: their messages by timestamp, as they happened. Each recording keeps
 * its own order; where timestamps are equal, the recording that was named first goes first.
 */
#ifndef PJ_CONNECTORS_MERGE_H
#define PJ_CONNECTORS_MERGE_H

#include "avro/recording.h"

struct pj_merge;

/* Reads from the first item of each. The recordings must outlive the merge, which moves them; the
 * array need not. */
int pj_merge_open(struct pj_merge **merge, struct pj_recording *const *recordings, size_t count,
                  struct pj_error *error) PJ_MUST_CHECK;
void pj_merge_close(struct pj_merge *merge); /* NULL is allowed */

/*
 * Returns 1 and the next message with the index of its recording, 0 at the end, -1 with *error.
 * RecordedSchema items are passed over. The message lives until the next call.
 */
int pj_merge_next(struct pj_merge *merge, const struct pj_recorded **message, size_t *recording,
                  struct pj_error *error) PJ_MUST_CHECK;

#endif
