/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far each partition of ours is behind, in /metrics: in records, in seconds, and as a part of
 * the topic's retention. What is not known is not shown.
 *
 * The age of what is unread is that of the first record that was fetched and is not committed.
 * Where none is fetched it is at least as old as our knowledge that there is one.
 */
#ifndef PJ_ENGINE_LAG_H
#define PJ_ENGINE_LAG_H

struct pj_loop;

/* Now and then; cheap, never blocks. Also while a server is away. */
void pj_lag_show(struct pj_loop *loop);

#endif
