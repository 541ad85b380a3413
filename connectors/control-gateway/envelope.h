/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The envelope of a command, and the request for a session, as clients post them. Pure: bytes in,
 * fields or one sentence out.
 *
 * What passes here never becomes a dead letter: the limits are those of the tables.
 */
#ifndef PJ_CONTROL_GATEWAY_ENVELOPE_H
#define PJ_CONTROL_GATEWAY_ENVELOPE_H

#include "avro/wire.h"
#include "base/arena.h"
#include "projectionist/error.h"

#include <jansson.h>

enum { PJ_UUID_TEXT = 37 }; /* with its NUL */

struct pj_envelope {
    struct pj_bytes body;             /* as received; borrowed */
    char command_id[PJ_UUID_TEXT];    /* in lower case; "" if the caller gave none */
    json_t *submitted;                /* a CommandSubmitted for the encoder, its payload as written;
                                       * the caller's */
    uint8_t digest[16];               /* of all members but command_id, idempotency_key,
                                       * correlation_id, requested_at and requester: exact,
                                       * however they are written */
    char caller[PJ_UUID_TEXT];        /* the owner (callers.h); set by the caller of this
                                       * module */
    struct pj_bytes command_id_slice; /* where in the body; null: absent */
    struct pj_bytes key_slice;
};

/* Parses a command's envelope. Costs memory and time in proportion to the body. Errors are
 * PJ_POISON and name the field, for the client. */
int pj_envelope_parse(struct pj_bytes body, struct pj_envelope *envelope,
                      struct pj_error *error) PJ_MUST_CHECK;
/* Its idempotency key, or NULL. */
const char *pj_envelope_key(const struct pj_envelope *envelope);

/* The body to forward: as received, but with this command_id and this idempotency_key. */
struct pj_bytes pj_envelope_forwarded(const struct pj_envelope *envelope, const char *command_id,
                                      const char *key, struct pj_arena *arena);

/* Checks the body that asks for a session (an empty one counts as {}). Errors as above. */
int pj_session_request_check(struct pj_bytes body, struct pj_error *error) PJ_MUST_CHECK;

/* The service's answer. */
struct pj_session_answer {
    char session_id[PJ_UUID_TEXT]; /* in lower case */
    int64_t created_at;            /* microseconds since 1970, or PJ_NO_TIME */
    json_t *opened;                /* a SessionOpened for the encoder; the caller's */
};

#define PJ_NO_TIME INT64_MIN

/* Fails with PJ_POISON where the answer is not a session with a UUID. */
int pj_session_answer_parse(struct pj_bytes body, struct pj_session_answer *answer,
                            struct pj_error *error) PJ_MUST_CHECK;

#endif
