/* SPDX-License-Identifier: Apache-2.0 */
/* One thread of a replay: some of the recordings, merged by time, through a producer of its own. */
#ifndef PJ_STREAM_REPLAY_LANE_H
#define PJ_STREAM_REPLAY_LANE_H

#include "base/topic_name.h"
#include "common/merge.h"
#include "common/survey.h"
#include "kafka/producer.h"
#include "stream-replay/refused.h"
#include "stream-replay/schedule.h"
#include "stream-replay/stream_replay.h"
#include "stream-replay/timing.h"
#include "stream-replay/watch.h"

#include <stdatomic.h>

/* What all lanes have in common; read only, but for what says otherwise. */
struct pj_replay_plan {
    const struct pj_replay_settings *settings;
    const struct pj_survey *survey;
    const char *const *topics;  /* as Kafka names them, in the survey's order */
    int64_t start_us;           /* of the schedule, by the monotonic clock */
    int64_t start_wall_ms;      /* the same by the wall clock */
    int64_t span_ms;            /* between one round and the next */
    struct pj_timing *lateness; /* locked by itself */
    struct pj_watch *watch;     /* likewise; or NULL */
    const char *cursor_topic;   /* NULL: nothing is resumed */
    const char *fingerprint;    /* of what is replayed, and how */
    atomic_bool *failed;        /* set by the first lane that fails: all end */
};

struct pj_lane {
    const struct pj_replay_plan *plan;
    int index;
    struct pj_recording **recordings; /* its own */
    size_t *indexes;                  /* theirs in the survey */
    size_t recording_count;
    int64_t messages; /* of one round */
    int64_t planned;  /* of all rounds, or the limit */
    int64_t position; /* how many an earlier run has committed */
    struct pj_schedule schedule;
    atomic_llong delivered; /* for the progress */
    int64_t refused_count;
    int status;
    struct pj_error error;

    /* private */
    struct pj_survey survey; /* with a buffer of its own */
    struct pj_producer *producer;
    struct pj_producer_topic **handles;
    struct pj_producer_topic *cursor;
    struct pj_merge *merge;
    struct pj_lane_sents *sents; /* messages under way */
    struct pj_lane_sent *free_sent;
    struct pj_refused_list refused; /* not handled yet */
    bool has_failed;
    struct pj_error failure; /* of a message, for a reason other than itself */
    uint8_t *rekeyed;
    size_t rekeyed_most;
    bool in_transaction;
    int64_t begun_us;    /* the transaction */
    int64_t uncommitted; /* messages in it */
    int64_t progress_ms; /* when something was last committed */
};

/* Opens the producer; with a cursor, ends what a former one left behind. */
int pj_lane_open(struct pj_lane *lane, struct pj_error *error) PJ_MUST_CHECK;
/* Reads `position`, once all lanes are open: the transaction of one that is not would hold it up.
 * Returns 1 on a stop. */
int pj_lane_resume(struct pj_lane *lane, struct pj_error *error) PJ_MUST_CHECK;
/* Publishes all: status and error. A stop is not an error. */
void pj_lane_run(struct pj_lane *lane);
void pj_lane_close(struct pj_lane *lane);

#endif
