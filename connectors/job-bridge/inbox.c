/* SPDX-License-Identifier: Apache-2.0 */
#include "job-bridge/inbox.h"

#include "base/memory.h"
#include "base/threads.h"

#include <errno.h>
#include <stdlib.h>

struct pj_inbox {
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t not_empty;
    struct pj_job_message *first, **end;
    int64_t count, bytes, bytes_most;
    bool is_full;
};

struct pj_inbox *pj_inbox_new(int64_t bytes_most)
{
    struct pj_inbox *inbox = pj_alloc(sizeof *inbox);
    inbox->bytes_most = bytes_most;
    inbox->end = &inbox->first;
    pthread_mutex_init(&inbox->mutex, NULL);
    pj_condition_init(&inbox->not_empty);
    return inbox;
}

void pj_inbox_free(struct pj_inbox *inbox)
{
    if (inbox == NULL)
        return;
    while (inbox->first != NULL) {
        struct pj_job_message *message = inbox->first;
        inbox->first = message->next;
        pj_job_message_free(message);
    }
    pthread_cond_destroy(&inbox->not_empty);
    pthread_mutex_destroy(&inbox->mutex);
    free(inbox);
}

void pj_inbox_put(struct pj_inbox *inbox, struct pj_job_message *message)
{
    message->next = NULL;
    pthread_mutex_lock(&inbox->mutex);
    *inbox->end = message;
    inbox->end = &message->next;
    inbox->count++;
    inbox->bytes += (int64_t)message->size;
    if (inbox->bytes >= inbox->bytes_most)
        inbox->is_full = true;
    pthread_cond_signal(&inbox->not_empty);
    pthread_mutex_unlock(&inbox->mutex);
}

bool pj_inbox_is_full(struct pj_inbox *inbox)
{
    pthread_mutex_lock(&inbox->mutex);
    bool is_full = inbox->is_full;
    pthread_mutex_unlock(&inbox->mutex);
    return is_full;
}

size_t pj_inbox_take(struct pj_inbox *inbox, size_t most, int64_t wait_ms,
                     struct pj_job_message **list)
{
    size_t taken = 0;
    struct pj_job_message **end = list;
    struct timespec until = pj_in_ms(wait_ms);
    pthread_mutex_lock(&inbox->mutex);
    while (inbox->first == NULL &&
           pthread_cond_timedwait(&inbox->not_empty, &inbox->mutex, &until) != ETIMEDOUT)
        ;
    for (; taken < most && inbox->first != NULL; taken++) {
        struct pj_job_message *message = inbox->first;
        inbox->first = message->next;
        inbox->bytes -= (int64_t)message->size;
        *end = message;
        end = &message->next;
    }
    *end = NULL;
    inbox->count -= (int64_t)taken;
    if (inbox->first == NULL)
        inbox->end = &inbox->first;
    if (inbox->bytes <= inbox->bytes_most / 2)
        inbox->is_full = false;
    pthread_mutex_unlock(&inbox->mutex);
    return taken;
}

int64_t pj_inbox_count(struct pj_inbox *inbox)
{
    pthread_mutex_lock(&inbox->mutex);
    int64_t count = inbox->count;
    pthread_mutex_unlock(&inbox->mutex);
    return count;
}
