/* SPDX-License-Identifier: Apache-2.0 */
/* What happens with the service's messages: new frames go into the buffer, in order, and the
 * greetings tell where to subscribe. Knows no socket. For one thread. */
#ifndef PJ_TELEMETRY_BRIDGE_STREAM_H
#define PJ_TELEMETRY_BRIDGE_STREAM_H

#include "telemetry-bridge/bridge.h"
#include "telemetry-bridge/buffer.h"
#include "telemetry-bridge/cursor.h"

struct pj_stream {
    const struct pj_bridge_settings *settings;
    const struct pj_bridge_metrics *metrics;
    struct pj_buffer *buffer;
    struct pj_track track;
    const char *subscribe_from; /* the cursor to subscribe from */
    bool was_asked;             /* to subscribe, on this connection */
    bool is_subscribed;
    bool is_wire_v2; /* the last frame was: nothing is replayed */
};

enum pj_stream_action {
    PJ_STREAM_GO_ON,
    PJ_STREAM_SUBSCRIBE, /* from subscribe_from */
    PJ_STREAM_RECONNECT,
};

void pj_stream_init(struct pj_stream *stream, const struct pj_position *position);
void pj_stream_free(struct pj_stream *stream);

/* A new connection. */
void pj_stream_connected(struct pj_stream *stream);

/* No greeting came in time. */
enum pj_stream_action pj_stream_not_greeted(struct pj_stream *stream);

/* A message of `whole` bytes, of which `length` are here: fewer only if it was too long. */
enum pj_stream_action pj_stream_message(struct pj_stream *stream, const char *text, size_t length,
                                        size_t whole);

#endif
