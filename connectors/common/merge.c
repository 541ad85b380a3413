/* SPDX-License-Identifier: Apache-2.0 */
#include "common/merge.h"

#include "base/memory.h"

#include <stdlib.h>

struct head {
    struct pj_recording *recording;
    size_t index;
    struct pj_recorded message;
};

struct pj_merge {
    struct head *heads; /* one for each recording */
    struct head **heap; /* those that have a message, the earliest at 0 */
    size_t heap_count;
    bool first_was_given; /* the caller holds the message at 0 until the next call */
};

static bool is_before(const struct head *a, const struct head *b)
{
    if (a->message.timestamp_ms != b->message.timestamp_ms)
        return a->message.timestamp_ms < b->message.timestamp_ms;
    return a->index < b->index;
}

static void sink(struct pj_merge *merge, size_t at)
{
    struct head **heap = merge->heap;
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < merge->heap_count; child++) {
            if (is_before(heap[child], heap[least]))
                least = child;
        }
        if (least == at)
            return;
        struct head *moved = heap[at];
        heap[at] = heap[least];
        heap[least] = moved;
        at = least;
    }
}

/* Returns 1 when the head has a message, 0 at its end, or -1. */
static int advance(struct head *head, struct pj_error *error)
{
    int status;
    do
        status = pj_recording_next(head->recording, &head->message, error);
    while (status == 1 && head->message.kind != PJ_RECORDED_MESSAGE);
    return status;
}

static int fill(struct pj_merge *merge, struct pj_recording *const *recordings, size_t count,
                struct pj_error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct head *head = &merge->heads[i];
        head->recording = recordings[i];
        head->index = i;
        int status = pj_recording_rewind(head->recording, error);
        if (status == 0)
            status = advance(head, error);
        if (status < 0)
            return -1;
        if (status == 1)
            merge->heap[merge->heap_count++] = head;
    }
    for (size_t i = merge->heap_count; i-- > 0;)
        sink(merge, i);
    return 0;
}

int pj_merge_open(struct pj_merge **out, struct pj_recording *const *recordings, size_t count,
                  struct pj_error *error)
{
    struct pj_merge *merge = pj_alloc(sizeof *merge);
    merge->heads = pj_calloc(count, sizeof *merge->heads);
    merge->heap = pj_calloc(count, sizeof(struct head *));
    if (fill(merge, recordings, count, error) != 0) {
        pj_merge_close(merge);
        return -1;
    }
    *out = merge;
    return 0;
}

void pj_merge_close(struct pj_merge *merge)
{
    if (merge == NULL)
        return;
    free(merge->heads);
    free(merge->heap);
    free(merge);
}

int pj_merge_next(struct pj_merge *merge, const struct pj_recorded **message, size_t *recording,
                  struct pj_error *error)
{
    if (merge->first_was_given && merge->heap_count > 0) {
        int status = advance(merge->heap[0], error);
        if (status < 0)
            return -1;
        if (status == 0)
            merge->heap[0] = merge->heap[--merge->heap_count];
        sink(merge, 0);
    }
    merge->first_was_given = true;
    if (merge->heap_count == 0)
        return 0;
    *message = &merge->heap[0]->message;
    *recording = merge->heap[0]->index;
    return 1;
}
