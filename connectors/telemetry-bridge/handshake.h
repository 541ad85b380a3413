/* SPDX-License-Identifier: Apache-2.0 */
/* How a WebSocket is opened: the request, and the service's answer. Knows no socket. */
#ifndef PJ_TELEMETRY_BRIDGE_HANDSHAKE_H
#define PJ_TELEMETRY_BRIDGE_HANDSHAKE_H

#include "telemetry-bridge/address.h"

#include <stdbool.h>
#include <stddef.h>

enum { PJ_HANDSHAKE_MOST = 65536, PJ_HANDSHAKE_KEY_SIZE = 25, PJ_HANDSHAKE_REASON_SIZE = 512 };

enum pj_handshake_end {
    PJ_HANDSHAKE_MORE,    /* the answer is incomplete */
    PJ_HANDSHAKE_OPEN,    /* `used` bytes are the answer, frames follow */
    PJ_HANDSHAKE_REFUSED, /* `reason` says why */
};

struct pj_handshake_answer {
    enum pj_handshake_end end;
    size_t used;
    char reason[PJ_HANDSHAKE_REASON_SIZE];
};

/* A new random key. */
void pj_handshake_key(char key[PJ_HANDSHAKE_KEY_SIZE]);

/* The request, malloc'ed; `token` may be NULL. */
char *pj_handshake_request(const struct pj_address *address, const char *key, const char *token);

/* Parses what has come so far; `is_all`: nothing more will come. Redirects are not followed. */
void pj_handshake_read(struct pj_handshake_answer *answer, const char *bytes, size_t length,
                       bool is_all, const char *key);

#endif
