/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes what the bridge reads: the input is messages of a service, one a line, as they go through
 * the parser and the track, with a restart of the bridge in between. */
#include "telemetry-bridge/bookmark.h"
#include "telemetry-bridge/frame.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* What is published as JSON must be JSON. */
static void require_json(struct pj_bytes text)
{
    json_t *value =
        json_loadb(text.data, text.length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    require(value != NULL);
    json_decref(value);
}

static void check_event(const struct pj_frame *frame)
{
    require(frame->wire == 1 || frame->wire == 2);
    require(frame->type != NULL && frame->version != NULL && frame->severity != NULL);
    require((frame->wire == 1) == (frame->place.text[0] != '\0'));
    require(frame->payload.data != NULL && *(const char *)frame->payload.data == '{');
    require_json(frame->payload);
    if (frame->result.data != NULL)
        require_json(frame->result);
    if (frame->status != NULL)
        require(frame->command_id != NULL);
}

static void restart(struct pj_track *track)
{
    const struct pj_bookmark bookmark = {.instance = "fuzz", .position = track->position};
    struct pj_bookmark read;
    struct pj_error error;
    char *text = pj_bookmark_write(&bookmark);
    require(text != NULL);
    require(pj_bookmark_read((struct pj_bytes){text, strlen(text)}, &read, &error) == 0);
    free(text);
    require(memcmp(&read.position.last, &track->position.last, sizeof read.position.last) == 0);
    pj_track_free(track);
    pj_track_init(track, &read.position);
}

static void follow(struct pj_track *track, const struct pj_frame *frame)
{
    struct pj_verdict verdict;
    struct pj_mark mark;
    switch (frame->kind) {
    case PJ_FRAME_CONNECTED:
        restart(track);
        require(pj_track_connected(track, frame->place.text[0] != '\0' ? &frame->place : NULL,
                                   &verdict) != NULL);
        break;
    case PJ_FRAME_SUBSCRIBED:
        verdict = pj_track_subscribed(track, 3);
        require(verdict.step != PJ_TAKE);
        break;
    case PJ_FRAME_EVENT:
    case PJ_FRAME_DEAD_LETTER:
        if (frame->place.text[0] != '\0') {
            verdict = pj_track_frame(track, &frame->place);
            /* A frame that was taken is known. */
            if (verdict.step == PJ_TAKE)
                require(pj_track_frame(track, &frame->place).step == PJ_DROP);
        } else if (frame->kind == PJ_FRAME_EVENT) {
            (void)pj_track_id(track, frame->event_id);
            require(pj_track_id(track, frame->event_id).step == PJ_DROP);
        } else {
            memcpy(mark.bytes, frame->event_id, sizeof mark.bytes);
            (void)pj_track_mark(track, &mark);
        }
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pj_position nothing = {0};
    struct pj_track track;
    const char *text = (const char *)data, *end = text + size;
    if (size == 0)
        return 0;
    pj_track_init(&track, &nothing);
    while (text < end) {
        const char *line = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((line != NULL ? line : end) - text);
        struct pj_frame *frame = pj_frame_parse(text, length);
        require(frame->kind != PJ_FRAME_DEAD_LETTER || frame->reason[0] != '\0');
        require(frame->raw.length == length && memcmp(frame->raw.data, text, length) == 0);
        if (frame->kind == PJ_FRAME_EVENT)
            check_event(frame);
        follow(&track, frame);
        pj_frame_free(frame);
        text += length + 1;
    }
    pj_track_free(&track);
    return 0;
}
