/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http_internal.h"

enum { WAITING_FOR_EACH = 32 /* worker */ };

void pj_http_queue_init(struct pj_http_queue *queue, int workers)
{
    *queue = (struct pj_http_queue){.workers = workers};
    queue->last = &queue->first;
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->filled, NULL);
}

void pj_http_queue_free(struct pj_http_queue *queue)
{
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->mutex);
}

void pj_http_queue_end(struct pj_http_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->is_ended = true;
    pthread_cond_broadcast(&queue->filled);
    pthread_mutex_unlock(&queue->mutex);
}

/* Long requests leave a quarter of the places to the others, and one client some to the rest. Who
 * was served just now leaves a quarter to who was not: of many who ask again at once, those that
 * are refused and wait before they do would never find a place. */
static bool has_place(const struct pj_http_queue *queue,
                      const struct pj_http_connection *connection)
{
    int most = queue->workers * WAITING_FOR_EACH;
    bool is_long = connection->request.is_long;
    int places = is_long ? most * 3 / 4 : most;
    int share = is_long ? most / 2 : most * 3 / 4;
    if (connection->was_served) {
        places -= places / 4;
        share -= share / 4;
    }
    return queue->count < places && connection->client->waiting < share;
}

bool pj_http_queue_put(struct pj_http_queue *queue, struct pj_http_connection *connection)
{
    pthread_mutex_lock(&queue->mutex);
    bool has_room = has_place(queue, connection);
    if (has_room) {
        connection->waits = true;
        connection->next_one = NULL;
        *queue->last = connection;
        queue->last = &connection->next_one;
        queue->count++;
        connection->client->waiting++;
        pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->mutex);
    return has_room;
}

static void unlink_one(struct pj_http_queue *queue, struct pj_http_connection **place)
{
    struct pj_http_connection *connection = *place;
    *place = connection->next_one;
    if (*place == NULL)
        queue->last = place;
    queue->count--;
    connection->waits = false;
    connection->client->waiting--;
}

/* Long requests leave a quarter of the workers free, and one client some to the others: a client
 * that reads slowly holds up nobody else. */
static bool may_start(const struct pj_http_queue *queue,
                      const struct pj_http_connection *connection)
{
    return !connection->request.is_long ||
           (queue->long_working < (queue->workers * 3 + 3) / 4 &&
            connection->client->long_working < (queue->workers + 1) / 2);
}

/* Of those whose client has the fewest in work, the one that came first. */
static struct pj_http_connection **find_next(struct pj_http_queue *queue)
{
    struct pj_http_connection **found = NULL;
    for (struct pj_http_connection **place = &queue->first; *place != NULL;
         place = &(*place)->next_one) {
        if (may_start(queue, *place) &&
            (found == NULL || (*place)->client->working < (*found)->client->working))
            found = place;
        if (found != NULL && (*found)->client->working == 0)
            break;
    }
    return found;
}

struct pj_http_connection *pj_http_queue_take(struct pj_http_queue *queue)
{
    struct pj_http_connection **place = NULL, *connection = NULL;
    pthread_mutex_lock(&queue->mutex);
    while (!queue->is_ended && (place = find_next(queue)) == NULL)
        pthread_cond_wait(&queue->filled, &queue->mutex);
    if (!queue->is_ended) {
        connection = *place;
        unlink_one(queue, place);
        connection->client->working++;
        queue->long_working += connection->request.is_long;
        connection->client->long_working += connection->request.is_long;
    }
    pthread_mutex_unlock(&queue->mutex);
    return connection;
}

void pj_http_queue_done(struct pj_http_queue *queue, struct pj_http_connection *connection)
{
    pthread_mutex_lock(&queue->mutex);
    connection->client->working--;
    if (connection->request.is_long) {
        queue->long_working--;
        connection->client->long_working--;
        pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->mutex);
}

bool pj_http_queue_remove(struct pj_http_queue *queue, struct pj_http_connection *connection)
{
    pthread_mutex_lock(&queue->mutex);
    bool waits = connection->waits;
    struct pj_http_connection **place = &queue->first;
    while (waits && *place != connection)
        place = &(*place)->next_one;
    if (waits)
        unlink_one(queue, place);
    pthread_mutex_unlock(&queue->mutex);
    return waits;
}
