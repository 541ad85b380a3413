/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/render/lifecycle.h"

#include <stdlib.h>

static int compare(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_times(const void *a, const void *b)
{
    const struct render_word *x = a;
    const struct render_word *y = b;
    int compared = compare(x->at, y->at);
    return compared != 0 ? compared : memcmp(x->event_id, y->event_id, sizeof x->event_id);
}

static int phase(const struct render_word *word)
{
    return word->progress ? 2 : word->status > RENDER_PROCESSING;
}

static int compare_turns(const void *a, const void *b)
{
    const struct render_word *x = a;
    const struct render_word *y = b;
    int compared = compare(x->attempt, y->attempt);
    if (compared == 0)
        compared = compare(phase(x), phase(y));
    return compared != 0 ? compared : compare_times(a, b);
}

/* Puts cancellations where they stand; returns the greatest attempt of the others, or 1. */
static int32_t place(struct render_word *words, size_t count)
{
    int32_t greatest = 1;
    qsort(words, count, sizeof *words, compare_times);
    for (size_t i = 0; i < count; i++) {
        if (words[i].status == RENDER_CANCELLED)
            words[i].attempt = greatest;
        else if (words[i].attempt > greatest)
            greatest = words[i].attempt;
    }
    return greatest;
}

/* `last`: no attempt is greater, so that its worker did not fail after 100 %. */
static enum render_verdict judge(const struct render_life *life, const struct render_word *word,
                                 bool last)
{
    const enum render_status now = life->status;
    const bool open = now == RENDER_PENDING || now == RENDER_PROCESSING;
    const bool again = now == RENDER_FAILED || now == RENDER_TIMEOUT;
    const enum render_verdict ends = now == RENDER_PROCESSING ? RENDER_ACCEPTED
                                     : open || again          ? RENDER_IMPLIED_START
                                                              : RENDER_REJECTED;
    if (word->status == RENDER_PENDING)
        return now == RENDER_PENDING ? RENDER_REPEATED : RENDER_REJECTED;
    if (word->status == now && word->attempt == life->attempt)
        return RENDER_REPEATED;
    if (word->progress)
        return last && open ? ends : RENDER_REJECTED;
    if (word->status == RENDER_PROCESSING)
        return open || again ? RENDER_ACCEPTED : RENDER_REJECTED;
    if (word->status == RENDER_CANCELLED)
        return open ? RENDER_ACCEPTED : RENDER_REJECTED;
    return ends;
}

/* Takes a word that was accepted. */
static void take(struct render_life *life, const struct render_word *word, int32_t *starts)
{
    const bool starting = word->status == RENDER_PROCESSING;
    if (starting || word->verdict == RENDER_IMPLIED_START)
        ++*starts;
    if (starting && (life->started_at == NULL || word->at < *life->started_at))
        life->started_at = &word->at;
    if (starting)
        life->start = word;
    else if (word->verdict == RENDER_IMPLIED_START || word->attempt != life->attempt)
        life->start = NULL; /* that there was is of another attempt */
    life->end = starting ? NULL : word;
    if (word->status == RENDER_COMPLETED || word->status == RENDER_CANCELLED)
        life->ended_at = &word->at;
    life->status = word->status;
    life->attempt = word->attempt;
}

struct render_life render_live(struct render_word *words, size_t count)
{
    struct render_life life = {.status = RENDER_PENDING, .attempt = 1};
    int32_t greatest = place(words, count);
    int32_t starts = 0;
    qsort(words, count, sizeof *words, compare_turns);
    for (size_t i = 0; i < count; i++) {
        struct render_word *word = &words[i];
        word->from = life.status;
        word->verdict = judge(&life, word, word->attempt == greatest);
        if (word->verdict == RENDER_ACCEPTED || word->verdict == RENDER_IMPLIED_START)
            take(&life, word, &starts);
    }
    life.retries = starts > 1 ? starts - 1 : 0;
    return life;
}
