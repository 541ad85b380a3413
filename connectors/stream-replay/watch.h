/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long it takes until what was published is in a group's rows: its offsets in Postgres, which
 * are committed with the rows, are looked at over and over. Measured from when a message was due:
 * a consumer that stands still is late for all that came meanwhile.
 */
#ifndef PJ_STREAM_REPLAY_WATCH_H
#define PJ_STREAM_REPLAY_WATCH_H

#include "postgres/postgres.h"
#include "stream-replay/timing.h"

struct pj_watch;

struct pj_watch_settings {
    struct pj_postgres_settings postgres;
    const char *group;
    const char *cluster_id;
    const char *const *topics; /* as Kafka names them; the numbers of pj_watch_expect */
    size_t topic_count;
};

/* PJ_EXIT_FAILED where the group has no offset of these topics. Starts a thread. */
int pj_watch_start(struct pj_watch **watch, const struct pj_watch_settings *settings,
                   struct pj_error *error) PJ_MUST_CHECK;
/* NULL is allowed. */
void pj_watch_close(struct pj_watch *watch);

/* This message, which the brokers have, was due then. Any thread; a topic that the group does not
 * read is ignored. */
void pj_watch_expect(struct pj_watch *watch, size_t topic, int32_t partition, int64_t offset,
                     int64_t due_us);

/* How many are not visible yet, and when one last became so. -1 where the watch itself failed. */
int pj_watch_pending(struct pj_watch *watch, int64_t *pending, int64_t *progress_ms,
                     struct pj_error *error) PJ_MUST_CHECK;
struct pj_timing *pj_watch_timing(struct pj_watch *watch);

#endif
