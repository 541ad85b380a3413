/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/buffer.h"

#include "base/memory.h"
#include "base/threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct pj_buffer {
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t not_empty;
    struct pj_item *first;
    struct pj_item **end;
    int64_t frames, frames_most;
    int64_t bytes, bytes_most;
    bool is_full; /* until half of it is free again */
    void (*has_room)(void *context);
    void *context;
};

struct pj_buffer *pj_buffer_new(int64_t frames, int64_t bytes, void (*has_room)(void *context),
                                void *context)
{
    struct pj_buffer *buffer = pj_alloc(sizeof *buffer);
    buffer->frames_most = frames;
    buffer->bytes_most = bytes;
    buffer->has_room = has_room;
    buffer->context = context;
    buffer->end = &buffer->first;
    pthread_mutex_init(&buffer->mutex, NULL);
    pj_condition_init(&buffer->not_empty);
    return buffer;
}

void pj_items_free(struct pj_item *list)
{
    while (list != NULL) {
        struct pj_item *item = list;
        list = item->next;
        pj_frame_free(item->frame);
        free(item);
    }
}

void pj_buffer_free(struct pj_buffer *buffer)
{
    if (buffer == NULL)
        return;
    pj_items_free(buffer->first);
    pthread_cond_destroy(&buffer->not_empty);
    pthread_mutex_destroy(&buffer->mutex);
    free(buffer);
}

static int64_t size_of(const struct pj_item *item)
{
    return (int64_t)(sizeof *item + (item->frame != NULL ? item->frame->size : 0));
}

void pj_buffer_put(struct pj_buffer *buffer, struct pj_item *item)
{
    item->next = NULL;
    pthread_mutex_lock(&buffer->mutex);
    *buffer->end = item;
    buffer->end = &item->next;
    buffer->frames++;
    buffer->bytes += size_of(item);
    if (buffer->frames >= buffer->frames_most || buffer->bytes >= buffer->bytes_most)
        buffer->is_full = true;
    pthread_cond_signal(&buffer->not_empty);
    pthread_mutex_unlock(&buffer->mutex);
}

bool pj_buffer_is_full(struct pj_buffer *buffer)
{
    pthread_mutex_lock(&buffer->mutex);
    bool is_full = buffer->is_full;
    pthread_mutex_unlock(&buffer->mutex);
    return is_full;
}

size_t pj_buffer_take(struct pj_buffer *buffer, size_t most, int64_t wait_ms, struct pj_item **list)
{
    size_t count = 0;
    bool has_room = false;
    struct pj_item **end = list;
    struct timespec until = pj_in_ms(wait_ms);
    *list = NULL;
    pthread_mutex_lock(&buffer->mutex);
    while (buffer->first == NULL &&
           pthread_cond_timedwait(&buffer->not_empty, &buffer->mutex, &until) != ETIMEDOUT)
        ;
    for (; count < most && buffer->first != NULL; count++) {
        struct pj_item *item = buffer->first;
        buffer->first = item->next;
        buffer->frames--;
        buffer->bytes -= size_of(item);
        *end = item;
        end = &item->next;
    }
    *end = NULL;
    if (buffer->first == NULL)
        buffer->end = &buffer->first;
    if (buffer->is_full && buffer->frames <= buffer->frames_most / 2 &&
        buffer->bytes <= buffer->bytes_most / 2) {
        buffer->is_full = false;
        has_room = true;
    }
    pthread_mutex_unlock(&buffer->mutex);
    if (has_room && buffer->has_room != NULL)
        buffer->has_room(buffer->context);
    return count;
}

int64_t pj_buffer_frames(struct pj_buffer *buffer)
{
    pthread_mutex_lock(&buffer->mutex);
    int64_t frames = buffer->frames;
    pthread_mutex_unlock(&buffer->mutex);
    return frames;
}
