/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/cursor.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* --- places ---------------------------------------------------------------------------------- */

/* Reads digits up to `end`; false where there are none, or they do not fit 63 bits. */
static bool read_number(const char **text, const char *end, int64_t *number)
{
    const char *start = *text;
    *number = 0;
    for (; *text < end && **text >= '0' && **text <= '9'; (*text)++) {
        if (__builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, **text - '0', number))
            return false;
    }
    return *text > start;
}

bool pj_place_parse(const char *text, size_t length, struct pj_place *place)
{
    const char *at = text, *end = text + length;
    int64_t ms, counter;
    if (length >= sizeof place->text || !read_number(&at, end, &ms) || at == end || *at++ != '-' ||
        !read_number(&at, end, &counter) || at != end)
        return false;
    place->ms = ms;
    place->counter = counter;
    memcpy(place->text, text, length);
    place->text[length] = '\0';
    return true;
}

static bool is_place(const struct pj_place *place)
{
    return place->text[0] != '\0';
}

static bool is_same_cursor(const struct pj_place *a, const struct pj_place *b)
{
    return a->ms == b->ms && a->counter == b->counter;
}

static bool is_same(const struct pj_place *a, const struct pj_place *b)
{
    return is_same_cursor(a, b) && memcmp(a->event_id, b->event_id, sizeof a->event_id) == 0;
}

/* By (ms, counter), as two integers. */
static bool is_later(const struct pj_place *a, const struct pj_place *b)
{
    return a->ms != b->ms ? a->ms > b->ms : a->counter > b->counter;
}

/* --- the position ---------------------------------------------------------------------------- */

static void add_mark(struct pj_unplaced *unplaced, const struct pj_mark *mark)
{
    if (unplaced->count == PJ_UNPLACED_MOST) {
        memmove(&unplaced->marks[0], &unplaced->marks[1],
                (PJ_UNPLACED_MOST - 1) * sizeof unplaced->marks[0]);
        unplaced->count--;
    }
    unplaced->marks[unplaced->count++] = *mark;
}

static bool remove_mark(struct pj_unplaced *unplaced, const struct pj_mark *mark)
{
    for (size_t i = 0; i < unplaced->count; i++) {
        if (memcmp(&unplaced->marks[i], mark, sizeof *mark) != 0)
            continue;
        unplaced->marks[i] = unplaced->marks[--unplaced->count];
        return true;
    }
    return false;
}

void pj_position_place(struct pj_position *position, const struct pj_place *place)
{
    position->previous = position->last;
    position->last = *place;
    position->before_last = position->after_last;
    position->after_last.count = 0;
}

void pj_position_mark(struct pj_position *position, const struct pj_mark *mark)
{
    add_mark(&position->after_last, mark);
}

/* --- ids that were seen ---------------------------------------------------------------------- */

/* More than the 10,000 that the service replays, in each of two generations: when the younger one
 * is full, the older one is dropped. A table is at most half full. */
enum { IDS_A_GENERATION = 16384, IDS_SLOTS = 32768 };

struct pj_recent_ids {
    uint8_t ids[2][IDS_SLOTS][16]; /* all zeros: free */
    size_t count;                  /* in the younger one */
    int younger;
};

static const uint8_t no_id[16];

/* The slot that holds the id, or where it would go. */
static uint8_t *find_slot(uint8_t (*ids)[16], const uint8_t id[16])
{
    uint64_t hash;
    memcpy(&hash, id + 8, sizeof hash); /* random in every kind of UUID that is in use */
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    size_t slot = (size_t)(hash >> 49) % IDS_SLOTS;
    while (memcmp(ids[slot], no_id, 16) != 0 && memcmp(ids[slot], id, 16) != 0)
        slot = (slot + 1) % IDS_SLOTS;
    return ids[slot];
}

static bool is_recent(struct pj_recent_ids *recent, const uint8_t id[16])
{
    return memcmp(id, no_id, 16) != 0 && (memcmp(find_slot(recent->ids[0], id), id, 16) == 0 ||
                                          memcmp(find_slot(recent->ids[1], id), id, 16) == 0);
}

static void remember(struct pj_recent_ids *recent, const uint8_t id[16])
{
    if (recent->count == IDS_A_GENERATION) {
        recent->younger = !recent->younger;
        memset(recent->ids[recent->younger], 0, sizeof recent->ids[0]);
        recent->count = 0;
    }
    uint8_t *slot = find_slot(recent->ids[recent->younger], id);
    if (memcmp(slot, id, 16) == 0)
        return;
    memcpy(slot, id, 16);
    recent->count++;
}

/* --- the track ------------------------------------------------------------------------------- */

void pj_track_init(struct pj_track *track, const struct pj_position *position)
{
    *track = (struct pj_track){.position = *position, .recent = pj_alloc(sizeof *track->recent)};
    if (is_place(&position->previous))
        remember(track->recent, position->previous.event_id);
    if (is_place(&position->last))
        remember(track->recent, position->last.event_id);
}

void pj_track_free(struct pj_track *track)
{
    free(track->recent);
    track->recent = NULL;
}

static void begin_new_life(struct pj_track *track, struct pj_verdict *verdict)
{
    /* Reported once, however often we connect before the new life sends its first frame. */
    verdict->restarted = !track->former_life;
    track->former_life = true;
    track->phase = PJ_TRACK_LIVE;
}

const char *pj_track_connected(struct pj_track *track, const struct pj_place *greeting,
                               struct pj_verdict *verdict)
{
    const struct pj_place *last = &track->position.last;
    *verdict = (struct pj_verdict){.step = PJ_DROP};
    track->replaying = true;
    track->has_cursors = greeting != NULL;
    track->replayed = 0;
    track->first = (struct pj_place){0};
    track->expected = track->position.before_last;
    for (size_t i = 0; i < track->position.after_last.count; i++)
        add_mark(&track->expected, &track->position.after_last.marks[i]);
    track->phase = PJ_TRACK_LIVE;
    if (!is_place(last) || track->former_life)
        return PJ_CURSOR_NONE;
    /* The greeting carries the newest cursor: in the same life it is ours or a later one. */
    if (greeting != NULL && greeting->counter <= last->counter && !is_same_cursor(greeting, last)) {
        begin_new_life(track, verdict);
        return PJ_CURSOR_NONE;
    }
    track->phase = PJ_TRACK_JUDGING;
    return is_place(&track->position.previous) ? track->position.previous.text : PJ_CURSOR_NONE;
}

static struct pj_verdict take(struct pj_track *track, const struct pj_place *place,
                              struct pj_verdict verdict)
{
    verdict.step = PJ_TAKE;
    track->phase = PJ_TRACK_LIVE;
    if (track->former_life) {
        track->former = track->position.last;
        track->first = *place;
        track->former_life = false;
    }
    pj_position_place(&track->position, place);
    remember(track->recent, place->event_id);
    return verdict;
}

/* The first frame of a replay shows what became of our place. */
static struct pj_verdict judge(struct pj_track *track, const struct pj_place *place)
{
    const struct pj_place *last = &track->position.last;
    struct pj_verdict verdict = {.step = PJ_DROP};
    bool is_probing = track->phase == PJ_TRACK_PROBING;
    if (is_probing && place->counter < last->counter)
        return verdict;
    if (is_probing) {
        /* It went past our counter without our frame: another life, of which we have nothing. */
        begin_new_life(track, &verdict);
        verdict.step = PJ_RECONNECT;
        return verdict;
    }
    if (place->counter > last->counter) {
        verdict.gap = place->counter != last->counter + 1;
        verdict.gap_after = *last;
        verdict.gap_before = *place;
        return take(track, place, verdict);
    }
    if (place->counter == last->counter || is_later(place, last)) {
        begin_new_life(track, &verdict);
        return take(track, place, verdict);
    }
    /* Earlier by clock and counter: either all of it is known, or the service restarted with its
     * clock set back. What follows decides; until then nothing is taken. */
    track->phase = PJ_TRACK_PROBING;
    return verdict;
}

struct pj_verdict pj_track_frame(struct pj_track *track, const struct pj_place *place)
{
    const struct pj_place *last = &track->position.last;
    struct pj_verdict verdict = {.step = PJ_DROP};
    track->replayed += track->replaying;
    if (is_place(last) && !track->former_life && is_same(place, last)) {
        track->phase = PJ_TRACK_LIVE;
        return verdict;
    }
    if (is_recent(track->recent, place->event_id)) {
        /* An id that we have, at a place that only a new life can give it. */
        if (track->phase == PJ_TRACK_JUDGING && place->counter <= last->counter &&
            is_later(place, last))
            begin_new_life(track, &verdict);
        return verdict;
    }
    if (!is_place(last) || track->former_life)
        return take(track, place, verdict);
    if (track->phase != PJ_TRACK_LIVE)
        return judge(track, place);
    if (place->counter > last->counter)
        return take(track, place, verdict);
    if (is_later(place, last)) {
        /* The service behind this very connection restarted. */
        begin_new_life(track, &verdict);
        return take(track, place, verdict);
    }
    return verdict;
}

struct pj_verdict pj_track_id(struct pj_track *track, const uint8_t event_id[16])
{
    if (is_recent(track->recent, event_id))
        return (struct pj_verdict){.step = PJ_DROP};
    remember(track->recent, event_id);
    return (struct pj_verdict){.step = PJ_TAKE};
}

struct pj_verdict pj_track_mark(struct pj_track *track, const struct pj_mark *mark)
{
    if (track->replaying && remove_mark(&track->expected, mark))
        return (struct pj_verdict){.step = PJ_DROP};
    pj_position_mark(&track->position, mark);
    return (struct pj_verdict){.step = PJ_TAKE};
}

struct pj_verdict pj_track_subscribed(struct pj_track *track, int64_t capacity)
{
    struct pj_verdict verdict = {.step = PJ_DROP};
    track->expected.count = 0;
    if (!track->replaying)
        return verdict;
    track->replaying = false;
    if (track->phase == PJ_TRACK_PROBING) {
        begin_new_life(track, &verdict);
        verdict.step = PJ_RECONNECT;
    } else if (track->phase == PJ_TRACK_JUDGING && track->has_cursors) {
        /* In the same life, our last frame is in the buffer or later ones are. */
        begin_new_life(track, &verdict);
    } else if (is_place(&track->first) && track->first.counter > 1 && track->replayed >= capacity) {
        /* The buffer is full and no longer holds the start of the new life. */
        verdict.gap = true;
        verdict.gap_after = track->former;
        verdict.gap_before = track->first;
    }
    track->phase = PJ_TRACK_LIVE;
    return verdict;
}
