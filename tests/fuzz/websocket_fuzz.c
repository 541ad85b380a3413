/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes a connection of the bridge: the input is what a service sends, as an answer to our request
 * and as frames of a WebSocket, whose messages go on through parser, track and buffer. Where the
 * bridge would leave, it connects again and reads on. The first byte is how large the pieces are.
 */
#include "base/log.h"
#include "telemetry-bridge/handshake.h"
#include "telemetry-bridge/stream.h"
#include "telemetry-bridge/websocket.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT = 512, SERVICE_BUFFER = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static struct pj_bridge_metrics metrics;
static const struct pj_bridge_settings settings = {.frame_size_limit = LIMIT,
                                                   .service_buffer = SERVICE_BUFFER};

static void set_up(void)
{
    static struct pj_metrics *registry;
    if (registry != NULL)
        return;
    registry = pj_metrics_new();
    pj_bridge_metrics_add(&metrics, registry);
    pj_log_configure("fuzz", PJ_ERROR, PJ_LOG_LOGFMT);
}

static void shake_hands(const char *bytes, size_t length)
{
    struct pj_handshake_answer answer;
    for (int is_all = 0; is_all < 2; is_all++) {
        pj_handshake_read(&answer, bytes, length, is_all, "dGhlIHNhbXBsZSBub25jZQ==");
        require(answer.used <= length);
        require(strlen(answer.reason) < sizeof answer.reason);
        require((answer.end == PJ_HANDSHAKE_REFUSED) == (*answer.reason != '\0'));
        require(!is_all || answer.end != PJ_HANDSHAKE_MORE);
    }
}

/* What is published: no frame twice in a row. */
struct published {
    struct pj_buffer *buffer;
    struct pj_place last;
};

static void publish(struct published *published)
{
    struct pj_item *list = NULL;
    if (pj_buffer_frames(published->buffer) == 0)
        return;
    pj_buffer_take(published->buffer, 100, 0, &list);
    for (const struct pj_item *item = list; item != NULL; item = item->next) {
        require(item->frame != NULL || item->gap);
        if (item->frame == NULL || item->frame->place.text[0] == '\0')
            continue;
        require(memcmp(&item->frame->place, &published->last, sizeof published->last) != 0);
        published->last = item->frame->place;
    }
    pj_items_free(list);
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    return hash;
}

static bool is_left(struct pj_stream *stream, const struct pj_websocket_event *event)
{
    if (event->kind == PJ_WEBSOCKET_MESSAGE)
        return pj_stream_message(stream, event->data, event->length, event->whole) ==
               PJ_STREAM_RECONNECT;
    return event->kind >= PJ_WEBSOCKET_CLOSED;
}

/* The hash of all events, which must not depend on how they came. */
static uint64_t follow(const char *bytes, size_t size, size_t piece)
{
    const struct pj_position nothing = {0};
    struct published published = {.buffer = pj_buffer_new(1000, 1 << 20, NULL, NULL)};
    struct pj_stream stream = {
        .settings = &settings, .metrics = &metrics, .buffer = published.buffer};
    struct pj_websocket_reader reader = {.limit = LIMIT};
    uint64_t hash = 14695981039346656037u;
    pj_stream_init(&stream, &nothing);
    pj_stream_connected(&stream);
    for (size_t from = 0; from < size; from += piece) {
        const char *at = bytes + from;
        size_t left = size - from < piece ? size - from : piece;
        for (;;) {
            struct pj_websocket_event event = pj_websocket_read(&reader, &at, &left);
            require(left <= piece && reader.length <= LIMIT);
            if (event.kind == PJ_WEBSOCKET_MORE)
                break;
            require(event.data != NULL && event.data[event.length] == '\0');
            require(event.kind != PJ_WEBSOCKET_MESSAGE || event.whole >= event.length);
            require((event.code != 0) == (event.kind >= PJ_WEBSOCKET_CLOSED));
            hash = mix(hash, &event.kind, sizeof event.kind);
            hash = mix(hash, event.data, event.length);
            bool left_it = is_left(&stream, &event);
            publish(&published);
            if (left_it) {
                pj_websocket_reset(&reader);
                pj_stream_connected(&stream);
                (void)pj_stream_not_greeted(&stream);
            }
        }
        require(left == 0);
    }
    pj_websocket_reset(&reader);
    pj_stream_free(&stream);
    pj_buffer_free(published.buffer);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    set_up();
    const char *bytes = (const char *)data + 1;
    shake_hands(bytes, size - 1);
    require(follow(bytes, size - 1, size) == follow(bytes, size - 1, data[0] % 32 + 1));
    return 0;
}
