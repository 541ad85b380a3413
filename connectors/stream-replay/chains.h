/* SPDX-License-Identifier: Apache-2.0 */
/* Files into recordings: those of one partition, that go on one after the other, are one. */
#ifndef PJ_STREAM_REPLAY_CHAINS_H
#define PJ_STREAM_REPLAY_CHAINS_H

#include "avro/recording.h"

/* A file without a head is a recording of its own. One that is missing between two others is an
 * error. The caller closes each and frees the array, after an error, too. */
int pj_chains_open(struct pj_recording ***recordings, size_t *count, char *const *paths,
                   size_t path_count, struct pj_error *error) PJ_MUST_CHECK;

#endif
