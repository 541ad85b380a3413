/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/records.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "projectionist/value.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

enum { CUT_BYTES = 65536 }; /* of a dead letter that is too large for the topic */

static struct pj_bytes bytes_of(const char *text)
{
    return (struct pj_bytes){text, text != NULL ? strlen(text) : 0};
}

static struct pj_header header(const char *name, const char *value)
{
    return (struct pj_header){bytes_of(name), bytes_of(value)};
}

/* --- events ---------------------------------------------------------------------------------- */

/* The command_id if there is one, else the session_id, else the event_id. */
static const char *key_of(const struct pj_frame *frame)
{
    if (frame->command_id != NULL)
        return frame->command_id;
    return frame->target_session_id != NULL ? frame->target_session_id : frame->event_id_text;
}

/*
 * The record's timestamp, which Kafka's retention uses and by which consumers bound stream time;
 * the event's own time is in its value in any case. It is never in the future, and Kafka has no
 * timestamps before 1970. 0 means now.
 */
static int64_t time_of_record(const struct pj_item *item, int64_t emitted_at_us)
{
    int64_t ms = emitted_at_us / 1000;
    return item->is_retimed || ms < 0 || ms > pj_clock_wall_ms() ? 0 : ms;
}

/* Takes the event. */
static int send_event(struct pj_records *records, size_t topic, const char *key, json_t *event,
                      int64_t ms, struct pj_error *error)
{
    const struct pj_encoder *encoder =
        topic == PJ_TO_COMMANDS ? records->commands : records->telemetry;
    int status = pj_encode(encoder, event, &records->encoded, error);
    json_decref(event);
    const struct pj_header traced = header(PJ_TRACE_HEADER, records->trace);
    const struct pj_producer_message message = {.key = bytes_of(key),
                                                .value = pj_encoded_bytes(&records->encoded),
                                                .timestamp_ms = ms,
                                                .headers = &traced,
                                                .header_count = *records->trace != '\0'};
    return status == 0 ? pj_transactor_send(records->transactor, topic, message, error) : -1;
}

static json_t *text_of(const char *text)
{
    return pj_json_text(bytes_of(text));
}

static json_t *cursor_of(const struct pj_frame *frame)
{
    return text_of(frame->place.text[0] != '\0' ? frame->place.text : NULL);
}

static int send_telemetry(struct pj_records *records, const struct pj_item *item,
                          struct pj_error *error)
{
    const struct pj_frame *frame = item->frame;
    json_t *target = !frame->has_target ? json_null()
                                        : json_pack("{s:o, s:o, s:o}", "session_id",
                                                    text_of(frame->target_session_id), "account_id",
                                                    text_of(frame->target_account_id), "platform",
                                                    text_of(frame->target_platform));
    json_t *event = pj_must(json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "event_id", frame->event_id_text,
        "version", text_of(frame->version), "type", text_of(frame->type), "severity",
        text_of(frame->severity), "command_id", text_of(frame->command_id), "correlation_id",
        text_of(frame->correlation_id), "target", target, "payload", pj_json_text(frame->payload),
        "cursor", cursor_of(frame), "emitted_at", (json_int_t)frame->emitted_at_us));
    return send_event(records, PJ_TO_TELEMETRY, key_of(frame), event,
                      time_of_record(item, frame->emitted_at_us), error);
}

static int send_status(struct pj_records *records, const struct pj_item *item,
                       struct pj_error *error)
{
    const struct pj_frame *frame = item->frame;
    json_t *event =
        pj_must(json_pack("{s:s, s:o, s:o, s:I, s:{s:{s:o, s:o, s:o}}}", "event_id",
                          frame->event_id_text, "command_id", text_of(frame->command_id), "cursor",
                          cursor_of(frame), "emitted_at", (json_int_t)frame->emitted_at_us, "body",
                          "CommandStatusChanged", "status", text_of(frame->status), "result",
                          pj_json_text(frame->result), "error", text_of(frame->error)));
    return send_event(records, PJ_TO_COMMANDS, frame->command_id, event,
                      time_of_record(item, frame->emitted_at_us), error);
}

/* --- gaps ------------------------------------------------------------------------------------ */

static char *describe_gap(const struct pj_records *records, const struct pj_item *item)
{
    json_t *payload = pj_must(json_pack("{s:s, s:s, s:s}", "bridge", records->bridge_id, "after",
                                        item->gap_after.text, "before", item->gap_before.text));
    /* Within one life every frame has the next counter. */
    int64_t lost = item->gap_before.counter - item->gap_after.counter - 1;
    if (lost > 0)
        json_object_set_new(payload, "lost_at_most", json_integer(lost));
    char *text = pj_must(json_dumps(payload, JSON_COMPACT));
    json_decref(payload);
    return text;
}

/* The same gap has the same id, so that it counts once, however often it is reported. */
static void identify_gap(const struct pj_records *records, const struct pj_item *item,
                         char id[PJ_UUID_TEXT_SIZE])
{
    uint8_t uuid[16];
    char *name = pj_text_new("telemetry.gap %s %s %s", records->bridge_id, item->gap_after.text,
                             item->gap_before.text);
    pj_uuid_of_name(name, strlen(name), uuid);
    uuid_unparse_lower(uuid, id);
    free(name);
}

static int send_gap(struct pj_records *records, const struct pj_item *item, struct pj_error *error)
{
    char id[PJ_UUID_TEXT_SIZE];
    char *text = describe_gap(records, item);
    identify_gap(records, item, id);
    int64_t emitted_at;
    if (__builtin_mul_overflow(item->gap_before.ms, 1000, &emitted_at))
        emitted_at = pj_clock_wall_ms() * 1000; /* a cursor need not be a time */
    json_t *event = pj_must(json_pack("{s:s, s:s, s:s, s:s, s:o, s:I}", "event_id", id, "version",
                                      "1.0", "type", "telemetry.gap", "severity", "warn", "payload",
                                      text_of(text), "emitted_at", (json_int_t)emitted_at));
    free(text);
    return send_event(records, PJ_TO_TELEMETRY, id, event, time_of_record(item, emitted_at), error);
}

/* --- dead letters and the bookmark ----------------------------------------------------------- */

static int send_dead_letter(struct pj_records *records, const struct pj_item *item,
                            struct pj_error *error)
{
    const struct pj_frame *frame = item->frame;
    char size[24];
    struct pj_header headers[6];
    size_t count = 0;
    pj_text_whole(size, sizeof size, "%zu", frame->raw.length);
    headers[count++] = header("reason", frame->reason);
    headers[count++] = header("bridge", records->bridge_id);
    headers[count++] = header("size", size);
    if (frame->place.text[0] != '\0')
        headers[count++] = header("cursor", frame->place.text);
    if (item->cut != PJ_CUT_NOTHING)
        headers[count++] = header("cut", "true");
    headers[count++] = header(PJ_TRACE_HEADER, records->trace);
    struct pj_producer_message message = {.key = bytes_of(frame->event_id_text),
                                          .value = frame->raw,
                                          .headers = headers,
                                          .header_count = count};
    if (item->cut == PJ_CUT_TO_BEGINNING && message.value.length > CUT_BYTES)
        message.value.length = CUT_BYTES;
    if (item->cut == PJ_CUT_ALL)
        message.value.length = 0;
    return pj_transactor_send(records->transactor, PJ_TO_DEAD_LETTERS, message, error);
}

int pj_records_send(struct pj_records *records, const struct pj_item *item, struct pj_error *error)
{
    const struct pj_frame *frame = item->frame;
    *records->trace = '\0';
    if (item->gap && send_gap(records, item, error) != 0)
        return -1;
    if (frame == NULL)
        return 0;
    struct pj_trace trace;
    pj_trace_of_id(&trace, frame->event_id);
    pj_trace_text(&trace, records->trace);
    if (frame->kind == PJ_FRAME_DEAD_LETTER)
        return send_dead_letter(records, item, error);
    if (send_telemetry(records, item, error) != 0)
        return -1;
    return frame->status != NULL ? send_status(records, item, error) : 0;
}

int pj_records_send_bookmark(struct pj_records *records, const struct pj_bookmark *bookmark,
                             struct pj_error *error)
{
    char *text = pj_bookmark_write(bookmark);
    const struct pj_producer_message message = {.key = bytes_of(records->bridge_id),
                                                .value = bytes_of(text)};
    int status = pj_transactor_send(records->transactor, PJ_TO_CURSORS, message, error);
    free(text);
    return status;
}
