/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes the frames of RFC 6455 as a client. Knows no socket: bytes in, events out. What
 * a server must not send ends the connection with the code that the RFC gives for it. */
#ifndef PJ_TELEMETRY_BRIDGE_WEBSOCKET_H
#define PJ_TELEMETRY_BRIDGE_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pj_websocket_opcode {
    PJ_WEBSOCKET_CONTINUATION = 0,
    PJ_WEBSOCKET_TEXT = 1,
    PJ_WEBSOCKET_BINARY = 2,
    PJ_WEBSOCKET_CLOSE = 8,
    PJ_WEBSOCKET_PING = 9,
    PJ_WEBSOCKET_PONG = 10,
};

enum {
    PJ_WEBSOCKET_GOING_AWAY = 1001,
    PJ_WEBSOCKET_PROTOCOL_ERROR = 1002,
    PJ_WEBSOCKET_NO_CODE = 1005, /* a close without a code; never sent */
    PJ_WEBSOCKET_TOO_BIG = 1009,
    PJ_WEBSOCKET_CONTROL_MOST = 125,     /* bytes of a control frame's payload */
    PJ_WEBSOCKET_OVERHEAD = 14,          /* the longest header of a frame */
    PJ_WEBSOCKET_MESSAGE_MOST = 1 << 30, /* bytes of a message; fewer may be kept */
};

enum pj_websocket_kind {
    PJ_WEBSOCKET_MORE,    /* all bytes are consumed, and no event is complete */
    PJ_WEBSOCKET_MESSAGE, /* a text or binary message */
    PJ_WEBSOCKET_PINGED,  /* to be answered with the same data */
    PJ_WEBSOCKET_PONGED,
    PJ_WEBSOCKET_CLOSED, /* by the server: code, and its reason in data */
    PJ_WEBSOCKET_BROKEN, /* a protocol error of the server: code, and the reason in data */
};

struct pj_websocket_event {
    enum pj_websocket_kind kind;
    int code;
    const char *data; /* NUL after it; lives until the next read */
    size_t length;    /* of a message longer than the limit: only the beginning */
    size_t whole;     /* of a message: its full length */
};

struct pj_websocket_reader {
    size_t limit; /* how many bytes of a message are kept; set by the caller, the rest is private */
    unsigned char header[PJ_WEBSOCKET_OVERHEAD];
    size_t header_length;
    bool in_payload, in_message, is_final, is_given;
    unsigned opcode;
    uint64_t left; /* bytes of this frame's payload still to come */
    char *message;
    size_t length, capacity, whole;
    char control[PJ_WEBSOCKET_CONTROL_MOST + 1];
    size_t control_length;
};

/* Consumes bytes until an event: *bytes and *count are what is left. After CLOSED or BROKEN nothing
 * more may be read. */
struct pj_websocket_event pj_websocket_read(struct pj_websocket_reader *reader, const char **bytes,
                                            size_t *count);

/* Discards what has come, for a new connection; frees what it holds. */
void pj_websocket_reset(struct pj_websocket_reader *reader);

/* A whole masked frame into `out`, which has room for length + PJ_WEBSOCKET_OVERHEAD bytes. Returns
 * its length. */
size_t pj_websocket_write(char *out, enum pj_websocket_opcode opcode, const char *data,
                          size_t length, const unsigned char mask[4]);

#endif
