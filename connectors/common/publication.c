/* SPDX-License-Identifier: Apache-2.0 */
#include "common/publisher_internal.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/threads.h"

#include <stdlib.h>
#include <string.h>

enum { WAITING_MOST = 10000, WAITING_BYTES_MOST = 64 << 20 };

struct pj_publication *pj_publication_new(void)
{
    struct pj_publication *publication = pj_alloc(sizeof *publication);
    atomic_store(&publication->references, 1);
    pj_condition_init(&publication->changed);
    if (pj_trace_current() != NULL)
        publication->trace = *pj_trace_current();
    return publication;
}

void pj_publication_add(struct pj_publication *publication, size_t topic, struct pj_bytes key,
                        struct pj_bytes value)
{
    size_t count = publication->record_count;
    if ((count & (count - 1)) == 0)
        publication->records = pj_resize(publication->records, count > 0 ? 2 * count : 1,
                                         sizeof *publication->records);
    publication->records[publication->record_count++] =
        (struct record){.topic = topic,
                        .key = pj_copy(key.data, key.length),
                        .key_length = key.length,
                        .value = value.data != NULL ? pj_copy(value.data, value.length) : NULL,
                        .value_length = value.length};
    publication->bytes += key.length + value.length;
}

void pj_publication_allow_wait(struct pj_publication *publication, int64_t wait_ms)
{
    publication->wait_ms = wait_ms;
}

void pj_publication_allow_loss(struct pj_publication *publication)
{
    publication->may_be_lost = true;
}

struct pj_publication *pj_publication_keep(struct pj_publication *publication)
{
    atomic_fetch_add(&publication->references, 1);
    return publication;
}

void pj_publication_release(struct pj_publication *publication)
{
    if (publication == NULL || atomic_fetch_sub(&publication->references, 1) > 1)
        return;
    for (size_t i = 0; i < publication->record_count; i++) {
        free(publication->records[i].key);
        free(publication->records[i].value);
    }
    free(publication->records);
    pthread_cond_destroy(&publication->changed);
    free(publication);
}

int pj_publisher_submit(struct pj_publisher *publisher, struct pj_publication *publication,
                        struct pj_error *error)
{
    int status = 0;
    pthread_mutex_lock(&publisher->mutex);
    if (publisher->has_ended) {
        status = pj_error_set(error, PJ_RETRY, "publishing has stopped");
    } else if (publisher->waiting >= WAITING_MOST ||
               publisher->waiting_bytes + publication->bytes > WAITING_BYTES_MOST) {
        status = pj_error_set(error, PJ_RETRY, "too much is already waiting for Kafka");
    } else {
        atomic_fetch_add(&publication->references, 1);
        publication->next = NULL;
        publication->due_ms = pj_clock_monotonic_ms() + publication->wait_ms;
        *publisher->last = publication;
        publisher->last = &publication->next;
        publisher->waiting++;
        publisher->urgent += publication->wait_ms == 0;
        publisher->waiting_bytes += publication->bytes;
        pthread_cond_signal(&publisher->filled);
    }
    pthread_mutex_unlock(&publisher->mutex);
    return status;
}

int pj_publisher_wait(struct pj_publisher *publisher, struct pj_publication *publication,
                      int64_t timeout_ms, struct pj_error *error)
{
    struct timespec until = pj_in_ms(timeout_ms);
    int status = 0;
    pthread_mutex_lock(&publisher->mutex);
    while (publication->state < DONE && !publisher->has_ended && status == 0)
        status = pthread_cond_timedwait(&publication->changed, &publisher->mutex, &until);
    if (publication->state == DONE) {
        status = 0;
    } else if (publication->state == REFUSED) {
        *error = publication->error;
        status = -1;
    } else if (publisher->has_ended) {
        status = pj_error_set(error, PJ_RETRY, "publishing has stopped");
    } else {
        const struct pj_hold *hold = pj_publisher_hold_of(publisher, publication);
        const char *why =
            hold != NULL && hold->is_held ? hold->why.message : publisher->trouble.message;
        pj_error_set(error, PJ_RETRY, "%s", why[0] != '\0' ? why : "Kafka did not answer in time");
        status = 1;
    }
    pthread_mutex_unlock(&publisher->mutex);
    return status;
}

struct pj_hold *pj_publisher_hold_of(struct pj_publisher *publisher,
                                     const struct pj_publication *publication)
{
    for (size_t i = 0; i < publication->record_count; i++) {
        if (publication->records[i].topic != publisher->settings.state)
            return &publisher->holds[publication->records[i].topic];
    }
    return NULL;
}

bool pj_publisher_is_held(struct pj_publisher *publisher, size_t topic)
{
    pthread_mutex_lock(&publisher->mutex);
    bool is_held = publisher->holds[topic].is_held;
    pthread_mutex_unlock(&publisher->mutex);
    return is_held;
}

void pj_publisher_take_out(struct pj_publisher *publisher, struct pj_publication **place)
{
    struct pj_publication *publication = *place;
    *place = publication->next;
    if (publisher->last == &publication->next)
        publisher->last = place;
    publisher->waiting--;
    publisher->urgent -= publication->wait_ms == 0;
    publisher->waiting_bytes -= publication->bytes;
    publication->next = NULL;
}

bool pj_publisher_cancel(struct pj_publisher *publisher, struct pj_publication *publication)
{
    pthread_mutex_lock(&publisher->mutex);
    struct pj_publication **place = &publisher->first;
    while (*place != NULL && *place != publication)
        place = &(*place)->next;
    bool found = *place != NULL;
    if (found)
        pj_publisher_take_out(publisher, place);
    pthread_mutex_unlock(&publisher->mutex);
    if (found)
        pj_publication_release(publication);
    return found;
}

bool pj_publisher_is_away(struct pj_publisher *publisher, struct pj_error *reason)
{
    pthread_mutex_lock(&publisher->mutex);
    bool is_away = publisher->trouble.message[0] != '\0';
    if (is_away && reason != NULL)
        *reason = publisher->trouble;
    pthread_mutex_unlock(&publisher->mutex);
    return is_away;
}

bool pj_publisher_finds_too_large(const struct pj_error *error)
{
    return strstr(error->message, "(MSG_SIZE_TOO_LARGE)") != NULL;
}

bool pj_publisher_has_failed(struct pj_publisher *publisher, struct pj_error *error)
{
    pthread_mutex_lock(&publisher->mutex);
    bool failed = publisher->has_failed;
    if (failed)
        *error = publisher->failure;
    pthread_mutex_unlock(&publisher->mutex);
    return failed;
}
