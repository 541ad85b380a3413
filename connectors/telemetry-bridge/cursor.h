/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our position in the service's stream, and what a frame means to us: known, new, the first after a
 * restart of the service, or the first after a gap. Pure: no clock, no I/O.
 *
 * A cursor is `<epoch ms>-<counter>`. Within one life of the service the counter only grows, while
 * its clock may be set back; a restart begins again at 1. So within a life the counter decides.
 *
 * The service does not say whether our cursor was still in its buffer when it replays. So we
 * subscribe from the frame before our last one: if the last one comes again, nothing was lost; if
 * something else comes in its place, there was a restart or a gap.
 */
#ifndef PJ_TELEMETRY_BRIDGE_CURSOR_H
#define PJ_TELEMETRY_BRIDGE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PJ_CURSOR_TEXT_SIZE = 48, PJ_UNPLACED_MOST = 128 };

/* Before everything: no service knows it, so it replays all that it has. */
#define PJ_CURSOR_NONE "0-0"

/* A frame's place in the stream. */
struct pj_place {
    char text[PJ_CURSOR_TEXT_SIZE]; /* the cursor as it was sent; "": none */
    int64_t ms;
    int64_t counter;
    uint8_t event_id[16];
};

/* False where the text is not a cursor. Leaves the event_id as it is. */
bool pj_place_parse(const char *text, size_t length, struct pj_place *place);

/* The hash of a frame that has no cursor. */
struct pj_mark {
    uint8_t bytes[16];
};

/* Frames without a cursor between two that have one; the oldest are dropped. */
struct pj_unplaced {
    struct pj_mark marks[PJ_UNPLACED_MOST];
    size_t count;
};

/* Kept in Kafka with the records, so that it says exactly what was published. */
struct pj_position {
    struct pj_place last;
    struct pj_place previous; /* the one before */
    struct pj_unplaced after_last;
    struct pj_unplaced before_last; /* after `previous` */
};

void pj_position_place(struct pj_position *position, const struct pj_place *place);
void pj_position_mark(struct pj_position *position, const struct pj_mark *mark);

struct pj_track {
    struct pj_position position; /* after everything that was taken */
    enum pj_track_phase {
        PJ_TRACK_LIVE,
        PJ_TRACK_JUDGING, /* connected; the replay has not yet shown what became of our place */
        PJ_TRACK_PROBING, /* what comes is either all known or from another life: not taken yet */
    } phase;
    bool replaying;               /* between `connected` and `subscribed` */
    bool former_life;             /* our place belongs to an earlier life of the service */
    int64_t replayed;             /* frames of this replay */
    bool has_cursors;             /* `connected` had one: wire v1 */
    struct pj_place first;        /* of a new life, taken in this replay */
    struct pj_place former;       /* our last one in the previous life */
    struct pj_unplaced expected;  /* frames without a cursor that this replay will send again */
    struct pj_recent_ids *recent; /* of the last frames taken */
};

/* Starts after `position`. */
void pj_track_init(struct pj_track *track, const struct pj_position *position);
void pj_track_free(struct pj_track *track);

struct pj_verdict {
    enum { PJ_TAKE, PJ_DROP, PJ_RECONNECT } step; /* RECONNECT: connect and subscribe again */
    bool restarted;                               /* the service has restarted */
    bool gap;                                     /* frames between the two are lost */
    struct pj_place gap_after, gap_before;
};

/*
 * Connected. `greeting` is the cursor of `connected`, NULL where it had none. Returns the cursor to
 * subscribe from. The text lives until the next call.
 */
const char *pj_track_connected(struct pj_track *track, const struct pj_place *greeting,
                               struct pj_verdict *verdict);

/* A frame that has a cursor; if it is taken, it becomes the last one. */
struct pj_verdict pj_track_frame(struct pj_track *track, const struct pj_place *place);

/* A frame that has an event_id and no cursor (wire v2). */
struct pj_verdict pj_track_id(struct pj_track *track, const uint8_t event_id[16]);

/* A frame that has neither. */
struct pj_verdict pj_track_mark(struct pj_track *track, const struct pj_mark *mark);

/* The replay is over. `capacity`: how many frames the service's buffer holds. */
struct pj_verdict pj_track_subscribed(struct pj_track *track, int64_t capacity);

#endif
