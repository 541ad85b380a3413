/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/stream.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <string.h>

void pj_stream_init(struct pj_stream *stream, const struct pj_position *position)
{
    pj_track_init(&stream->track, position);
}

void pj_stream_free(struct pj_stream *stream)
{
    pj_track_free(&stream->track);
}

void pj_stream_connected(struct pj_stream *stream)
{
    stream->was_asked = false;
    stream->is_subscribed = false;
    if (stream->is_wire_v2)
        pj_log(PJ_WARN, "reconnected to a service of wire v2, which replays nothing: the frames "
                        "sent in between are lost, and how many is unknown");
}

/* --- what the track says --------------------------------------------------------------------- */

static void log_restart(struct pj_stream *stream)
{
    pj_metric_add(stream->metrics->restarts, 1);
    pj_log(PJ_WARN,
           "the service has restarted: frames that it had sent and the bridge had not read are "
           "lost, if there were any",
           pj_f_str("last_cursor", stream->track.position.last.text));
}

static void put(struct pj_stream *stream, struct pj_frame *frame, const struct pj_verdict *verdict)
{
    struct pj_item *item = pj_alloc(sizeof *item);
    item->frame = frame;
    item->received_us = pj_clock_monotonic_us();
    if (verdict->gap) {
        item->gap = true;
        item->gap_after = verdict->gap_after;
        item->gap_before = verdict->gap_before;
        pj_metric_add(stream->metrics->gaps, 1);
        pj_log(
            PJ_WARN,
            "frames are lost: our position is no longer in the service's buffer; a telemetry.gap "
            "event has the range",
            pj_f_str("after", verdict->gap_after.text),
            pj_f_str("before", verdict->gap_before.text));
    }
    pj_buffer_put(stream->buffer, item);
}

static enum pj_stream_action connected(struct pj_stream *stream, const struct pj_place *greeting)
{
    struct pj_verdict verdict;
    char last[PJ_CURSOR_TEXT_SIZE];
    memcpy(last, stream->track.position.last.text, sizeof last);
    stream->was_asked = true;
    stream->subscribe_from = pj_track_connected(&stream->track, greeting, &verdict);
    if (verdict.restarted)
        log_restart(stream);
    pj_log(PJ_INFO, "connected to the service",
           pj_f_str("its_cursor", greeting != NULL ? greeting->text : NULL),
           pj_f_str("last_cursor", *last ? last : NULL),
           pj_f_str("subscribing_from", stream->subscribe_from));
    return PJ_STREAM_SUBSCRIBE;
}

static enum pj_stream_action subscribed(struct pj_stream *stream)
{
    struct pj_verdict verdict =
        pj_track_subscribed(&stream->track, stream->settings->service_buffer);
    stream->is_subscribed = true;
    if (verdict.restarted)
        log_restart(stream);
    if (verdict.gap)
        put(stream, NULL, &verdict);
    pj_log(PJ_INFO, "subscribed", pj_f_int("replayed", stream->track.replayed));
    return verdict.step == PJ_RECONNECT ? PJ_STREAM_RECONNECT : PJ_STREAM_GO_ON;
}

static struct pj_verdict judge(struct pj_stream *stream, const struct pj_frame *frame)
{
    struct pj_mark mark;
    if (frame->place.text[0] != '\0')
        return pj_track_frame(&stream->track, &frame->place);
    if (frame->kind == PJ_FRAME_EVENT)
        return pj_track_id(&stream->track, frame->event_id);
    memcpy(mark.bytes, frame->event_id, sizeof mark.bytes);
    return pj_track_mark(&stream->track, &mark);
}

static enum pj_stream_action take_frame(struct pj_stream *stream, struct pj_frame *frame)
{
    struct pj_verdict verdict = judge(stream, frame);
    if (frame->kind == PJ_FRAME_EVENT) {
        stream->is_wire_v2 = frame->wire == 2;
        pj_metric_add(
            frame->wire == 2 ? stream->metrics->received_v2 : stream->metrics->received_v1, 1);
    }
    if (verdict.restarted)
        log_restart(stream);
    if (verdict.step == PJ_TAKE) {
        if (frame->kind == PJ_FRAME_DEAD_LETTER)
            pj_log(PJ_WARN, "a frame matches neither wire version and becomes a dead letter",
                   pj_f_str("reason", frame->reason), pj_f_str("id", frame->event_id_text));
        put(stream, frame, &verdict);
        return PJ_STREAM_GO_ON;
    }
    pj_metric_add(stream->metrics->known, 1);
    pj_frame_free(frame);
    return verdict.step == PJ_RECONNECT ? PJ_STREAM_RECONNECT : PJ_STREAM_GO_ON;
}

/* --- messages -------------------------------------------------------------------------------- */

enum pj_stream_action pj_stream_not_greeted(struct pj_stream *stream)
{
    return stream->was_asked ? PJ_STREAM_GO_ON : connected(stream, NULL);
}

enum pj_stream_action pj_stream_message(struct pj_stream *stream, const char *text, size_t length,
                                        size_t whole)
{
    struct pj_frame *frame =
        whole > length
            ? pj_frame_too_long(text, length, whole, (size_t)stream->settings->frame_size_limit)
            : pj_frame_parse(text, length);
    enum pj_stream_action action = PJ_STREAM_GO_ON;
    switch (frame->kind) {
    case PJ_FRAME_EVENT:
    case PJ_FRAME_DEAD_LETTER:
        return take_frame(stream, frame);
    case PJ_FRAME_CONNECTED:
        if (!stream->was_asked)
            action = connected(stream, frame->place.text[0] != '\0' ? &frame->place : NULL);
        break;
    case PJ_FRAME_SUBSCRIBED:
        action = subscribed(stream);
        break;
    case PJ_FRAME_ERROR:
        pj_log(PJ_WARN, "the service reports an error", pj_f_str("message", frame->type));
        break;
    case PJ_FRAME_PONG:
        break;
    }
    pj_frame_free(frame);
    return action;
}
