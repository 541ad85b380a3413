/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the HTTP server: http_server.c, http_answer.c, http_queue.c. */
#ifndef PJ_BASE_HTTP_INTERNAL_H
#define PJ_BASE_HTTP_INTERNAL_H

#include "base/http_server.h"
#include "base/text.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PJ_HTTP_SEND_TIMEOUT_MS = 60000 };

/* A client: everything from one address. */
struct pj_http_client {
    struct pj_http_client *next;
    unsigned char address[16];
    int connections;
    int waiting, working, long_working; /* requests; under the queue's mutex */
};

/*
 * The server's thread owns a connection in every stage but AWAY: then the queue does, and a worker.
 */
enum pj_http_stage {
    PJ_HTTP_HEAD, /* waiting for a head, or reading it */
    PJ_HTTP_IDLE, /* between requests */
    PJ_HTTP_BODY,
    PJ_HTTP_AWAY,
    PJ_HTTP_SENDING,
    PJ_HTTP_LINGER, /* answered; further input is discarded, so that the client reads the answer */
    PJ_HTTP_CLOSED,
};

struct pj_http_connection {
    struct pj_http_request request; /* first */
    struct pj_http_server *server;
    struct pj_http_client *client;
    struct pj_http_connection *next, **place; /* all connections */
    struct pj_http_connection *next_one;      /* the queue, those done, or those closed */
    int fd;
    enum pj_http_stage stage;
    int64_t since_ms, deadline_ms;
    bool is_refused; /* accepted only to be refused */
    bool was_served; /* its last request was, rather than refused for want of room */
    /* Input that was not parsed yet. */
    struct pj_builder in;
    struct pj_http_scan scan;
    /* The request. */
    struct pj_http_head head;
    struct pj_http_chunks chunks;
    struct pj_builder body;
    int64_t body_left;
    size_t discarded;
    bool has_begun, is_whole;
    bool waits; /* in the queue; under its mutex */
    /* The answer. A whole one keeps status and body, and is composed when it is sent. */
    int status;
    struct pj_builder fields, answer, out;
    size_t sent;
    bool is_answered, is_streamed, closes, has_date, is_chunked, is_broken;
};

/* Writes an answer to `out`: with its body, or (body NULL) only its head. length -1: unknown. */
void pj_http_compose(struct pj_http_connection *connection, int status, const char *body,
                     int64_t length);
/* Answers {"error": reason}, whatever was answered before. */
void pj_http_answer_fault(struct pj_http_connection *connection, const struct pj_http_fault *fault);

/* --- requests that wait for a worker --------------------------------------------------------- */

struct pj_http_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct pj_http_connection *first, **last;
    int workers, count, long_working;
    bool is_ended;
};

void pj_http_queue_init(struct pj_http_queue *queue, int workers);
void pj_http_queue_free(struct pj_http_queue *queue);
void pj_http_queue_end(struct pj_http_queue *queue);
/* false: it is full, or this client's share of it. */
bool pj_http_queue_put(struct pj_http_queue *queue, struct pj_http_connection *connection);
/* The next one, counted as in work; waits for it. NULL: the queue has ended. */
struct pj_http_connection *pj_http_queue_take(struct pj_http_queue *queue);
void pj_http_queue_done(struct pj_http_queue *queue, struct pj_http_connection *connection);
/* Takes one out that is still waiting; false: a worker has it. */
bool pj_http_queue_remove(struct pj_http_queue *queue, struct pj_http_connection *connection);

#endif
