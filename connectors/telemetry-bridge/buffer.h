/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that were read and are not published yet, in order, between the socket's thread and the
 * publisher's. It is bounded: when it is full the socket is not read until half of it is free. */
#ifndef PJ_TELEMETRY_BRIDGE_BUFFER_H
#define PJ_TELEMETRY_BRIDGE_BUFFER_H

#include "telemetry-bridge/frame.h"

/* How much of a dead letter is published; its headers always are. */
enum pj_cut { PJ_CUT_NOTHING, PJ_CUT_TO_BEGINNING, PJ_CUT_ALL };

struct pj_item {
    struct pj_item *next;
    struct pj_frame *frame; /* NULL: only a gap */
    bool gap;               /* frames before this one were lost */
    struct pj_place gap_after;
    struct pj_place gap_before;
    int64_t received_us; /* monotonic */
    bool is_retimed;     /* Kafka refuses its own timestamp: the record gets the current time */
    enum pj_cut cut;     /* of a dead letter that Kafka does not take as it is */
};

struct pj_buffer;

/* `has_room` is called in the publisher's thread when a full buffer is half empty. */
struct pj_buffer *pj_buffer_new(int64_t frames, int64_t bytes, void (*has_room)(void *context),
                                void *context);
void pj_buffer_free(struct pj_buffer *buffer); /* with what is in it; NULL is allowed */

/* Appends, even when full; takes ownership of the item. */
void pj_buffer_put(struct pj_buffer *buffer, struct pj_item *item);
bool pj_buffer_is_full(struct pj_buffer *buffer);

/* Takes up to `most` of the oldest items, waiting at most wait_ms for the first. Returns how many;
 * the list is the caller's. */
size_t pj_buffer_take(struct pj_buffer *buffer, size_t most, int64_t wait_ms,
                      struct pj_item **list);

int64_t pj_buffer_frames(struct pj_buffer *buffer);

void pj_items_free(struct pj_item *list);

#endif
