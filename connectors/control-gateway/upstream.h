/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The automation service, as seen from the gateway (libcurl). Two ways to talk to it: a call, with
 * request and answer whole in memory, and a transfer, which streams both. Safe from any thread; a
 * transfer is for one thread.
 */
#ifndef PJ_CONTROL_GATEWAY_UPSTREAM_H
#define PJ_CONTROL_GATEWAY_UPSTREAM_H

#include "avro/wire.h"
#include "control-gateway/fields.h"
#include "projectionist/error.h"

#include <jansson.h>
#include <stdatomic.h>

/* An answer, the service's or ours; shared by the requests that wait for it. */
struct pj_reply {
    atomic_int references;
    int status;
    struct pj_fields fields; /* end-to-end ones; Content-Type among them */
    char *body;
    size_t length;
    char command_id[40];  /* for a header; "": none */
    const char *repeated; /* for a header: "same" or "different-content"; or NULL */
};

/* Takes ownership of a malloc'ed body; content_type may be NULL. */
struct pj_reply *pj_reply_new(int status, const char *content_type, char *body, size_t length);
struct pj_reply *pj_reply_json(int status, json_t *json); /* takes the reference; not NULL */
/* Its body; NULL where it is not JSON. */
json_t *pj_reply_load(const struct pj_reply *reply);
struct pj_reply *pj_reply_keep(struct pj_reply *reply);
void pj_reply_release(struct pj_reply *reply); /* NULL is allowed */

struct pj_upstream;

struct pj_upstream_settings {
    const char *url;     /* http:// or https://, without a path */
    const char *token;   /* or NULL: the client's Authorization is passed on */
    const char *ca_file; /* or NULL */
    int64_t timeout_ms;  /* of a call; of a transfer, without a byte */
};

/* Fails with PJ_EXIT_USAGE. Copies the strings. */
int pj_upstream_open(struct pj_upstream **upstream, const struct pj_upstream_settings *settings,
                     struct pj_error *error) PJ_MUST_CHECK;
void pj_upstream_close(struct pj_upstream *upstream); /* NULL is allowed */

/* --- calls ----------------------------------------------------------------------------------- */

struct pj_call {
    const char *method;
    const char *path;               /* with its query */
    const struct pj_fields *fields; /* the client's, end-to-end ones; NULL: there is no client */
    bool is_question;               /* our own request on the client's behalf: without its fields
                                     * about what it sends or accepts */
    struct pj_bytes body;           /* null: none */
    bool may_be_kept; /* it may be sent on a connection that was used just before, which
                       * the service may close at that moment: see PJ_CALL_CLOSED */
};

enum pj_call_end {
    PJ_CALL_ANSWERED, /* *reply is the caller's */
    PJ_CALL_NOT_SENT, /* the service has certainly not received it */
    PJ_CALL_UNKNOWN,  /* it may have */
    PJ_CALL_CLOSED,   /* it may have, but more likely closed a kept connection before it did */
};

/* Never sends twice, unlike libcurl on a connection that turns out to be closed. The error is for
 * the client; it names the service's URL, which holds no secret. */
enum pj_call_end pj_upstream_call(struct pj_upstream *upstream, const struct pj_call *call,
                                  struct pj_reply **reply, struct pj_error *error);

/* --- transfers ------------------------------------------------------------------------------- */

struct pj_transfer;

struct pj_transfer_request {
    const char *method;
    const char *uri;                /* as received */
    const struct pj_fields *fields; /* the client's, end-to-end ones */
    bool has_body;
    int64_t body_length;
    bool may_be_kept; /* as of pj_call; a request without a body is never sent so */
};

/* Does not connect yet. */
struct pj_transfer *pj_transfer_open(struct pj_upstream *upstream,
                                     const struct pj_transfer_request *request);
/* Blocks until the bytes are sent; bytes after the answer are dropped. */
int pj_transfer_write(struct pj_transfer *transfer, const void *data, size_t length,
                      struct pj_error *error) PJ_MUST_CHECK;

/* The body is complete: waits for the answer's status and headers. */
int pj_transfer_answer(struct pj_transfer *transfer, int *status,
                       struct pj_error *error) PJ_MUST_CHECK;
int64_t pj_transfer_length(const struct pj_transfer *transfer); /* of the answer's body, or -1 */
/* The answer's end-to-end ones. */
const struct pj_fields *pj_transfer_fields(const struct pj_transfer *transfer);

/* The next bytes of the answer's body: more than 0; 0 at its end; -1. */
int64_t pj_transfer_read(struct pj_transfer *transfer, void *data, size_t size,
                         struct pj_error *error) PJ_MUST_CHECK;

void pj_transfer_close(struct pj_transfer *transfer); /* NULL is allowed */

#endif
