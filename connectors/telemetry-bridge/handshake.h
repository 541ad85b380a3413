/* SPDX-License-Identifier: Apache-2.0 */
/* How a WebSocket is opened: the request, and what the service says to it. Knows no socket. */
#ifndef PJ_TELEMETRY_BRIDGE_HANDSHAKE_H
#define PJ_TELEMETRY_BRIDGE_HANDSHAKE_H

#include "telemetry-bridge/address.h"

#include <stdbool.h>
#include <stddef.h>

enum { PJ_HANDSHAKE_MOST = 65536, PJ_HANDSHAKE_KEY_SIZE = 25, PJ_HANDSHAKE_REASON_SIZE = 512 };

enum pj_handshake_end {
    PJ_HANDSHAKE_MORE,    /* the answer is not whole */
    PJ_HANDSHAKE_OPEN,    /* `used` bytes are the answer, what follows are frames */
    PJ_HANDSHAKE_REFUSED, /* for the reason */
};

struct pj_handshake_answer {
    enum pj_handshake_end end;
    size_t used;
    char reason[PJ_HANDSHAKE_REASON_SIZE];
};

/* A new key, at random. */
void pj_handshake_key(char key[PJ_HANDSHAKE_KEY_SIZE]);

/* The request, malloc'ed; `token` may be NULL. */
char *pj_handshake_request(const struct pj_address *address, const char *key, const char *token);

/* Reads what has come so far; `is_all`: there will be no more. Redirects are not followed. */
void pj_handshake_read(struct pj_handshake_answer *answer, const char *bytes, size_t length,
                       bool is_all, const char *key);

#endif
