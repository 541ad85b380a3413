/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where we are in the service's stream, and what a frame is to us: known, new, the first of a
 * restarted service, or the first after a gap. Pure: no clock, no I/O.
 *
 * A cursor is `<epoch ms>-<counter>`. Within one life of the service the counter only grows, while
 * its clock may be set back; a restart begins again at 1. So within a life the counter decides.
 *
 * The service does not say whether our cursor was still in its buffer when it replays. So we
 * subscribe from the frame before the last one that we have: while the last one comes again,
 * nothing was lost; where something else comes in its place, there was a restart or a gap.
 */
#ifndef PJ_TELEMETRY_BRIDGE_CURSOR_H
#define PJ_TELEMETRY_BRIDGE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PJ_CURSOR_TEXT_SIZE = 48, PJ_UNPLACED_MOST = 128 };

/* Before everything: no service knows it, so that it replays all that it has. */
#define PJ_CURSOR_NONE "0-0"

/* A frame's place in the stream. */
struct pj_place {
    char text[PJ_CURSOR_TEXT_SIZE]; /* the cursor as it was sent; "": there is no place */
    int64_t ms;
    int64_t counter;
    uint8_t event_id[16];
};

/* False where the text is no cursor. Leaves the event_id as it is. */
bool pj_place_parse(const char *text, size_t length, struct pj_place *place);

/* The hash of a frame that has no cursor. */
struct pj_mark {
    uint8_t bytes[16];
};

/* Frames without a cursor between two that have one; the oldest are forgotten. */
struct pj_unplaced {
    struct pj_mark marks[PJ_UNPLACED_MOST];
    size_t count;
};

/* What is kept in Kafka, with the records, so that it tells exactly what was published. */
struct pj_position {
    struct pj_place last;
    struct pj_place previous; /* the one before */
    struct pj_unplaced after_last;
    struct pj_unplaced before_last; /* after the previous one */
};

void pj_position_place(struct pj_position *position, const struct pj_place *place);
void pj_position_mark(struct pj_position *position, const struct pj_mark *mark);

struct pj_track {
    struct pj_position position; /* behind all that was taken */
    enum pj_track_phase {
        PJ_TRACK_LIVE,
        PJ_TRACK_JUDGING, /* connected; the replay has not yet shown what became of our place */
        PJ_TRACK_PROBING, /* what comes is either all known, or of another life: not taken yet */
    } phase;
    bool replaying;               /* between `connected` and `subscribed` */
    bool former_life;             /* our place belongs to a life of the service that is over */
    int64_t replayed;             /* frames of this replay */
    bool has_cursors;             /* `connected` had one: it is wire v1 */
    struct pj_place first;        /* of a new life, taken in this replay */
    struct pj_place former;       /* our last one of the life before */
    struct pj_unplaced expected;  /* frames without a cursor that this replay will send again */
    struct pj_recent_ids *recent; /* of the frames that were taken last */
};

/* Starts behind `position`. Never fails: it aborts where there is no memory for its table. */
void pj_track_init(struct pj_track *track, const struct pj_position *position);
void pj_track_free(struct pj_track *track);

struct pj_verdict {
    enum { PJ_TAKE, PJ_DROP, PJ_RECONNECT } step; /* RECONNECT: and subscribe again */
    bool restarted;                               /* the service has begun anew */
    bool gap;                                     /* frames between the two are lost */
    struct pj_place gap_after, gap_before;
};

/*
 * Connected. `greeting` is the cursor of `connected`, NULL where it had none. Returns the cursor to
 * subscribe from. The text lives until the next call.
 */
const char *pj_track_connected(struct pj_track *track, const struct pj_place *greeting,
                               struct pj_verdict *verdict);

/* A frame that has a cursor; where it is taken it is the last one from now on. */
struct pj_verdict pj_track_frame(struct pj_track *track, const struct pj_place *place);

/* A frame that has an event_id and no cursor (wire v2). */
struct pj_verdict pj_track_id(struct pj_track *track, const uint8_t event_id[16]);

/* A frame that has neither. */
struct pj_verdict pj_track_mark(struct pj_track *track, const struct pj_mark *mark);

/* The replay is over. `capacity`: how many frames the service's buffer holds. */
struct pj_verdict pj_track_subscribed(struct pj_track *track, int64_t capacity);

#endif
