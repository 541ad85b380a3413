/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies that several threads measure: of the whole run, and by the second in a log. */
#ifndef PJ_STREAM_REPLAY_TIMING_H
#define PJ_STREAM_REPLAY_TIMING_H

#include "common/histogram.h"
#include "stream-replay/stream_replay.h"

#include <pthread.h>

struct pj_timing {
    pthread_mutex_t mutex;
    struct pj_histogram *all, *interval;
};

void pj_timing_init(struct pj_timing *timing);
void pj_timing_free(struct pj_timing *timing);
void pj_timing_add(struct pj_timing *timing, int64_t microseconds);
/* What came since the last call, where that is anything. */
void pj_timing_log(struct pj_timing *timing, FILE *log, const char *tag, int64_t begin_us,
                   int64_t end_us);
struct pj_quantiles pj_timing_quantiles(struct pj_timing *timing);

#endif
