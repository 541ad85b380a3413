/* SPDX-License-Identifier: Apache-2.0 */
/* What /metrics says of a run: its counters, and a few gauges for each partition of ours. */
#ifndef PJ_ENGINE_NUMBERS_H
#define PJ_ENGINE_NUMBERS_H

#include "base/metrics.h"
#include "engine/batch.h"
#include "store/write.h"

/* Where the time of a batch goes. */
enum pj_batch_stage {
    PJ_STAGE_FETCH,
    PJ_STAGE_DECODE,
    PJ_STAGE_LOAD,
    PJ_STAGE_FOLD,
    PJ_STAGE_WRITE,
    PJ_STAGE_COMMIT,
    PJ_BATCH_STAGES
};

/* What one transaction does. */
struct pj_done {
    int64_t records; /* dead letters included */
    int64_t refused[PJ_REFUSERS];
    struct pj_written written;
};

struct pj_numbers {
    struct pj_metric *records, *batches, *batch_seconds, *retries, *fenced, *placeholders, *dropped;
    struct pj_metric *assignments, *revocations, *assigned, *last_commit, *stream_time, *stalled;
    struct pj_metric *stages[PJ_BATCH_STAGES];
    struct pj_metric *dead_letters[PJ_REFUSERS];
    struct pj_metric *(*rows)[PJ_ROW_KINDS]; /* of each table; NULL where it has none of a kind */
    size_t table_count;
    struct pj_metric **counted; /* what the projection counts: a series each */
    size_t counted_count;
    struct pj_metrics *metrics;
    struct pj_done *doubted; /* of the commit whose answer was lost; NULL: there is none */
    int64_t stream_time_us;  /* the greatest event time that was committed here */
};

void pj_numbers_add(struct pj_numbers *numbers, struct pj_metrics *metrics,
                    const struct pj_projection *projection);
void pj_numbers_free(struct pj_numbers *numbers); /* what was never added is allowed */

void pj_numbers_observe(const struct pj_numbers *numbers, enum pj_batch_stage stage,
                        int64_t microseconds);
/* It was committed. */
void pj_numbers_done(const struct pj_numbers *numbers, const struct pj_done *done);
/* Its answer was lost: it is copied until it is known what became of it. */
void pj_numbers_doubt(struct pj_numbers *numbers, const struct pj_done *done);
/* It is known now; allowed where there was no doubt. */
void pj_numbers_resolve(struct pj_numbers *numbers, bool committed);
/* An event time that was committed; INT64_MIN: none. */
void pj_numbers_advanced(struct pj_numbers *numbers, int64_t stream_time_us);

#endif
