/* SPDX-License-Identifier: Apache-2.0 */
/* How far a lane of a replay is: a record in a compacted topic, written in the transaction of the
 * messages before it. */
#ifndef PJ_STREAM_REPLAY_REPLAY_CURSOR_H
#define PJ_STREAM_REPLAY_REPLAY_CURSOR_H

#include "stream-replay/lane.h"

#define PJ_REPLAY_CURSORS "projectionist.replay-cursors"

/* The key of the lane's record, and its transactional id; the caller frees it. */
char *pj_cursor_key(const struct pj_lane *lane);
/* The value that says this position; the caller frees it. */
char *pj_cursor_value(const struct pj_lane *lane, int64_t position);

/* Fills in the lane's position, 0 where there is none. PJ_EXIT_USAGE where it is that of another
 * replay. */
int pj_cursor_read(struct pj_lane *lane, struct pj_error *error) PJ_MUST_CHECK;

#endif
