/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 server: one thread that owns all connections and reads requests to their end (heads
 * by base/http.h, bodies whole, bounded), and a bounded number of workers that answer them.
 *
 * Under overload those already served come first: a new connection for which there is no room, or
 * no descriptor, gets 503, unless one that has been idle for a while can make room. Requests wait
 * for a worker in the order of whose client has the fewest in work: a client (an address) with many
 * requests only holds up itself. Some workers stay free of long requests (is_long).
 */
#ifndef PJ_BASE_HTTP_SERVER_H
#define PJ_BASE_HTTP_SERVER_H

#include "base/http.h"
#include "base/metrics.h"
#include "projectionist/error.h"

struct pj_http_server;

struct pj_http_request {
    const struct pj_http_head *head;
    const char *body; /* in handle: the whole of it */
    size_t body_length;
    bool is_long; /* begin sets it for what may take long: it has its own share of the workers */
    void *state;  /* the handler's */
};

struct pj_http_handler {
    void *context;
    /* The head is here. On the server's thread: must not block. If it answers (pj_http_answer), the
     * body is discarded and handle is not called. NULL is allowed. */
    void (*begin)(void *context, struct pj_http_request *request);
    /* The body is here: answers, on a worker's thread, and may block. */
    void (*handle)(void *context, struct pj_http_request *request);
    /* After the answer is sent, or cannot be; for every request that began. NULL is allowed. */
    void (*end)(void *context, struct pj_http_request *request);
};

struct pj_http_settings {
    const char *name;           /* such as "gateway": for the log, and in errors */
    const char *address;        /* to listen on, as pj_listen takes it */
    int64_t connections_most;   /* beyond: 503 */
    int64_t spared_ms;          /* an idle connection keeps its place for this long */
    int64_t header_most;        /* bytes of a head; more: 431 */
    int64_t body_most;          /* of a body; more: 413 */
    int64_t request_timeout_ms; /* from a request's first byte to its last; later: 408 */
    int64_t wait_timeout_ms;    /* for a worker; later: 503 */
    int workers;                /* 0: begin answers everything */
    int descriptors_kept;       /* descriptors reserved for what the workers open */
    struct pj_metrics *metrics; /* for projectionist_<name>_connections and the like; or NULL */
};

/* Listens. Copies the settings and the handler. PJ_EXIT_USAGE where the address is not available.
 */
int pj_http_server_start(struct pj_http_server **server, const struct pj_http_settings *settings,
                         const struct pj_http_handler *handler,
                         struct pj_error *error) PJ_MUST_CHECK;
int pj_http_server_port(const struct pj_http_server *server);
/* Accepts no more connections, waits at most timeout_ms for the requests that are here, and ends
 * after those in work. NULL is allowed. */
void pj_http_server_stop(struct pj_http_server *server, int64_t timeout_ms);

/* --- answers --------------------------------------------------------------------------------- */

/* Before the answer. False (left out) for what is not a header field, and for fields of the
 * connection. */
bool pj_http_add_field(struct pj_http_request *request, const char *name, const char *value);

/* The whole answer; the body is copied. At most one per request. */
void pj_http_answer(struct pj_http_request *request, int status, const char *body, size_t length);

/*
 * An answer in pieces, in handle only; `length` -1: unknown. Blocks while the client is slow to
 * read; -1: it has gone, or is too slow. is_whole false: the client sees that the answer is cut
 * off.
 */
int pj_http_stream(struct pj_http_request *request, int status, int64_t length) PJ_MUST_CHECK;
int pj_http_stream_write(struct pj_http_request *request, const char *data,
                         size_t length) PJ_MUST_CHECK;
void pj_http_stream_end(struct pj_http_request *request, bool is_whole);

#endif
