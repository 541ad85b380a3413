/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP server share: http_server.c, http_answer.c, http_queue.c. */
#ifndef PJ_BASE_HTTP_INTERNAL_H
#define PJ_BASE_HTTP_INTERNAL_H

#include "base/http_server.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PJ_HTTP_SEND_TIMEOUT_MS = 60000 };

/* A connection's client: all that comes from its address. */
struct pj_http_client {
    struct pj_http_client *next;
    unsigned char address[16];
    int connections;
    int waiting, working, long_working; /* requests; under the queue's mutex */
};

struct pj_http_text {
    char *data;
    size_t length, capacity;
};

/* The server's thread has a connection in all stages but AWAY: then it is the queue's, and a
 * worker's. */
enum pj_http_stage {
    PJ_HTTP_HEAD, /* a head is to come, or is coming */
    PJ_HTTP_IDLE, /* between requests */
    PJ_HTTP_BODY,
    PJ_HTTP_AWAY,
    PJ_HTTP_SENDING,
    PJ_HTTP_LINGER, /* has its answer; what it still sends is thrown away, so that it reads that */
    PJ_HTTP_CLOSED,
};

struct pj_http_connection {
    struct pj_http_request request; /* first */
    struct pj_http_server *server;
    struct pj_http_client *client;
    struct pj_http_connection *next, **place; /* of all */
    struct pj_http_connection *next_one;      /* of the queue, of those done, of those closed */
    int fd;
    enum pj_http_stage stage;
    int64_t since_ms, deadline_ms;
    bool is_refused; /* a newcomer without a place */
    /* What came and was not looked at yet. */
    struct pj_http_text in;
    struct pj_http_scan scan;
    /* The request. */
    struct pj_http_head head;
    struct pj_http_chunks chunks;
    struct pj_http_text body;
    int64_t body_left;
    size_t discarded;
    bool has_begun, is_whole;
    bool waits; /* in the queue; under its mutex */
    /* The answer: of a whole one, status and body, which are composed when it is sent. */
    int status;
    struct pj_http_text fields, answer, out;
    size_t sent;
    bool is_answered, is_streamed, closes, has_date, is_chunked, is_broken;
};

void pj_http_reserve(struct pj_http_text *text, size_t capacity);
void pj_http_append(struct pj_http_text *text, const char *data, size_t length);
void pj_http_text_free(struct pj_http_text *text);
int64_t pj_http_now_ms(void);

/* Writes an answer to `out`: with its body, or (body NULL) its head alone. length -1: unknown. */
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
/* false: it is full, or this client's part of it. */
bool pj_http_queue_put(struct pj_http_queue *queue, struct pj_http_connection *connection);
/* The next one, and its work counts; waits for it. NULL: the queue has ended. */
struct pj_http_connection *pj_http_queue_take(struct pj_http_queue *queue);
void pj_http_queue_done(struct pj_http_queue *queue, struct pj_http_connection *connection);
/* Takes one back that waits; false: a worker has it. */
bool pj_http_queue_remove(struct pj_http_queue *queue, struct pj_http_connection *connection);

#endif
