/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a job is by all words of its status: the state machine, which refuses what makes no sense,
 * and a job's words in the order in which it takes them.
 *
 * A word is a status that was told, or a progress of 100 %, which is the weakest of its attempt. A
 * cancellation has no attempt of its own: it stands in the greatest one that was heard of before.
 */
#ifndef PJ_PROJECTIONS_RENDER_LIFECYCLE_H
#define PJ_PROJECTIONS_RENDER_LIFECYCLE_H

#include "projectionist/value.h"

/* In the order of render_statuses. */
enum render_status {
    RENDER_PENDING,
    RENDER_PROCESSING,
    RENDER_COMPLETED,
    RENDER_FAILED,
    RENDER_CANCELLED,
    RENDER_TIMEOUT,
};

enum render_verdict { RENDER_ACCEPTED, RENDER_IMPLIED_START, RENDER_REPEATED, RENDER_REJECTED };

struct render_word {
    const void *said; /* the caller's */
    uint8_t event_id[16];
    int64_t at;
    enum render_status status;
    bool progress;   /* it is a progress of 100 % */
    int32_t attempt; /* in: the worker's; out: where it stands */
    /* out */
    enum render_status from; /* what the job was before it */
    enum render_verdict verdict;
};

struct render_life {
    enum render_status status;
    int32_t attempt;                 /* that holds: of the word that was accepted last; else 1 */
    const struct render_word *end;   /* that holds; NULL: pending or processing */
    const struct render_word *start; /* of the attempt that holds; NULL: nobody told of it */
    const int64_t *started_at;       /* the earliest that was told; or NULL */
    const int64_t *ended_at;         /* since when it is completed or cancelled; or NULL */
    int32_t retries;
};

/* Sorts the words as the job takes them and fills what is `out`. The result points into them. */
struct render_life render_live(struct render_word *words, size_t count);

#endif
