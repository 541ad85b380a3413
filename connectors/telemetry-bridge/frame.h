/* SPDX-License-Identifier: Apache-2.0 */
/* Parses what the service sends: frames of wire v1 and v2 as events, and the messages around them.
 * Pure, and safe for any bytes. */
#ifndef PJ_TELEMETRY_BRIDGE_FRAME_H
#define PJ_TELEMETRY_BRIDGE_FRAME_H

#include "avro/wire.h"
#include "telemetry-bridge/cursor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pj_frame_kind {
    PJ_FRAME_EVENT,
    PJ_FRAME_DEAD_LETTER, /* fits neither wire: `reason` says why */
    PJ_FRAME_CONNECTED,
    PJ_FRAME_SUBSCRIBED,
    PJ_FRAME_PONG,
    PJ_FRAME_ERROR, /* the service reports an error: `type` is its text */
};

enum { PJ_UUID_TEXT_SIZE = 37, PJ_REASON_SIZE = 512 };

struct pj_frame {
    enum pj_frame_kind kind;
    int wire;              /* 1 or 2; of an event */
    struct pj_place place; /* text "": no cursor; set for a dead letter too, where it has one */
    uint8_t event_id[16];  /* of a dead letter without one: a hash of its bytes */
    char event_id_text[PJ_UUID_TEXT_SIZE];
    struct pj_bytes raw; /* the message as received */
    /* The event. NULL or data NULL: absent. */
    const char *version;
    const char *type;
    const char *severity;
    const char *command_id; /* UUIDs are in lower case */
    const char *correlation_id;
    bool has_target;
    const char *target_session_id;
    const char *target_account_id;
    const char *target_platform;
    struct pj_bytes payload; /* JSON, byte for byte as received */
    int64_t emitted_at_us;   /* since 1970 */
    /* A status.changed: */
    const char *status;     /* NULL: not a status.changed */
    struct pj_bytes result; /* JSON */
    const char *error;
    char reason[PJ_REASON_SIZE]; /* of a dead letter */
    bool is_refused;             /* by Kafka */
    size_t size;                 /* in memory, all of it */
};

/* Parses a message; free the frame with pj_frame_free. */
struct pj_frame *pj_frame_parse(const char *text, size_t length);

/* A dead letter of a message that was too long to read: its beginning, and how long it was. */
struct pj_frame *pj_frame_too_long(const char *text, size_t length, size_t whole, size_t limit);

void pj_frame_free(struct pj_frame *frame); /* NULL is allowed */

/* Makes a dead letter of an event that cannot be published after all. */
void pj_frame_refuse(struct pj_frame *frame, const char *reason);

#endif
