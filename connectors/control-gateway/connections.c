/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/connections.h"

#include "base/clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { LOOK_MS = 200, SEND_TIMEOUT_MS = 60000 };

enum stage { RECEIVING, WORKING, SENDING, EXPIRED };

struct pj_connection {
    struct pj_connection *next, **place;
    struct pj_connections *all;
    int fd;
    enum stage stage;
    int64_t deadline_ms;
    int64_t left_ms; /* of the time for the request, while it is worked on */
};

struct pj_connections {
    pthread_mutex_t mutex;
    pthread_cond_t stopping;
    pthread_t thread;
    struct pj_connection *first;
    int64_t count;
    int64_t request_timeout_ms, idle_ms;
    struct pj_metric *timeouts;
    bool is_stopping;
};

/* Under the mutex, so that the socket is not closed, and its number not another's, meanwhile. */
static void expire(struct pj_connection *connection)
{
    static const char text[] = "HTTP/1.1 408 Request Timeout\r\n"
                               "Content-Type: application/json\r\n"
                               "Content-Length: 51\r\n"
                               "Connection: close\r\n\r\n"
                               "{\"error\": \"the request was not complete in time\"}\r\n";
    if (connection->stage == RECEIVING)
        (void)!send(connection->fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    connection->stage = EXPIRED;
    shutdown(connection->fd, SHUT_RDWR);
    pj_metric_add(connection->all->timeouts, 1);
}

static void *look(void *context)
{
    struct pj_connections *all = context;
    pthread_mutex_lock(&all->mutex);
    while (!all->is_stopping) {
        int64_t now_ms = pj_clock_monotonic_ms();
        for (struct pj_connection *one = all->first; one != NULL; one = one->next) {
            if ((one->stage == RECEIVING || one->stage == SENDING) && now_ms >= one->deadline_ms)
                expire(one);
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        pthread_cond_timedwait(&all->stopping, &all->mutex, &until);
    }
    pthread_mutex_unlock(&all->mutex);
    return NULL;
}

struct pj_connections *pj_connections_start(int64_t request_timeout_ms, int64_t idle_ms,
                                            struct pj_metric *timeouts)
{
    sigset_t every, before;
    pthread_condattr_t attributes;
    struct pj_connections *all = calloc(1, sizeof *all);
    if (all == NULL)
        abort();
    all->request_timeout_ms = request_timeout_ms;
    all->idle_ms = idle_ms;
    all->timeouts = timeouts;
    pthread_mutex_init(&all->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&all->stopping, &attributes);
    pthread_condattr_destroy(&attributes);
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    if (pthread_create(&all->thread, NULL, look, all) != 0)
        abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return all;
}

void pj_connections_stop(struct pj_connections *all)
{
    pthread_mutex_lock(&all->mutex);
    all->is_stopping = true;
    pthread_cond_broadcast(&all->stopping);
    pthread_mutex_unlock(&all->mutex);
    pthread_join(all->thread, NULL);
    pthread_cond_destroy(&all->stopping);
    pthread_mutex_destroy(&all->mutex);
    free(all);
}

struct pj_connection *pj_connections_add(struct pj_connections *all, int fd)
{
    struct pj_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        abort();
    connection->all = all;
    connection->fd = fd;
    pthread_mutex_lock(&all->mutex);
    connection->deadline_ms = pj_clock_monotonic_ms() + all->request_timeout_ms;
    connection->next = all->first;
    connection->place = &all->first;
    if (all->first != NULL)
        all->first->place = &connection->next;
    all->first = connection;
    all->count++;
    pthread_mutex_unlock(&all->mutex);
    return connection;
}

void pj_connections_remove(struct pj_connections *all, struct pj_connection *connection)
{
    pthread_mutex_lock(&all->mutex);
    *connection->place = connection->next;
    if (connection->next != NULL)
        connection->next->place = connection->place;
    all->count--;
    pthread_mutex_unlock(&all->mutex);
    free(connection);
}

int64_t pj_connections_count(struct pj_connections *all)
{
    pthread_mutex_lock(&all->mutex);
    int64_t count = all->count;
    pthread_mutex_unlock(&all->mutex);
    return count;
}

static bool enter(struct pj_connection *connection, enum stage stage, int64_t within_ms)
{
    struct pj_connections *all = connection->all;
    pthread_mutex_lock(&all->mutex);
    bool in_time = connection->stage != EXPIRED;
    if (in_time) {
        connection->stage = stage;
        connection->deadline_ms = pj_clock_monotonic_ms() + within_ms;
    }
    pthread_mutex_unlock(&all->mutex);
    return in_time;
}

void pj_connection_receives(struct pj_connection *connection)
{
    enter(connection, RECEIVING, connection->all->request_timeout_ms);
}

bool pj_connection_works(struct pj_connection *connection)
{
    connection->left_ms = connection->deadline_ms - pj_clock_monotonic_ms();
    return enter(connection, WORKING, 0);
}

void pj_connection_resumes(struct pj_connection *connection)
{
    enter(connection, RECEIVING, connection->left_ms);
}

void pj_connection_sends(struct pj_connection *connection)
{
    enter(connection, SENDING, SEND_TIMEOUT_MS);
}

void pj_connection_rests(struct pj_connection *connection)
{
    enter(connection, RECEIVING, connection->all->idle_ms + connection->all->request_timeout_ms);
}
