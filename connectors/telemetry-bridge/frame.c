/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/frame.h"

#include "base/invariant.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/time_text.h"
#include "common/json_slice.h"
#include "projectionist/value.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

/* Numbers as reals: one that does not fit int64 is not the frame's fault. We publish the bytes that
 * came. */
enum { PARSE_FLAGS = JSON_DECODE_INT_AS_REAL };

struct parser {
    struct pj_frame *frame;
    json_t *root;
    char *next; /* free memory of the frame's block */
    char *end;
};

static const char *const names_of_control[] = {"connected", "subscribed", "pong", "error"};
static const enum pj_frame_kind kinds_of_control[] = {PJ_FRAME_CONNECTED, PJ_FRAME_SUBSCRIBED,
                                                      PJ_FRAME_PONG, PJ_FRAME_ERROR};

/* Returns false, so that `return refuse(…)` reads well. */
static bool refuse(struct parser *parser, const char *format, ...) PJ_PRINTF(2, 3);
static bool refuse(struct parser *parser, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pj_text_vshow(parser->frame->reason, sizeof parser->frame->reason, format, args);
    va_end(args);
    return false;
}

/* A copy in the frame's block, which has room for all texts of the message: unescaping makes none
 * longer, and each is copied at most twice. */
static const char *keep(struct parser *parser, const char *text, size_t length)
{
    PJ_CHECK((size_t)(parser->end - parser->next) > length,
             "a frame has more texts than room for them");
    char *copy = parser->next;
    memcpy(copy, text, length);
    copy[length] = '\0';
    parser->next += length + 1;
    return copy;
}

/* --- members --------------------------------------------------------------------------------- */

static bool is_absent(const json_t *value)
{
    return value == NULL || json_is_null(value);
}

/* A required string. */
static bool read_text(struct parser *parser, const json_t *object, const char *name,
                      const char **text)
{
    const json_t *value = json_object_get(object, name);
    if (is_absent(value))
        return refuse(parser, "it has no %s", name);
    if (!json_is_string(value) || json_string_length(value) == 0)
        return refuse(parser, "its %s is not a string", name);
    *text = keep(parser, json_string_value(value), json_string_length(value));
    return true;
}

/* A string that may be absent or null. */
static bool read_optional_text(struct parser *parser, const json_t *object, const char *name,
                               const char **text)
{
    return is_absent(json_object_get(object, name)) || read_text(parser, object, name, text);
}

static bool read_uuid(struct parser *parser, const json_t *object, const char *name, uuid_t uuid,
                      const char **text)
{
    char lower[PJ_UUID_TEXT_SIZE];
    const json_t *value = json_object_get(object, name);
    if (is_absent(value))
        return true;
    if (!json_is_string(value) || uuid_parse(json_string_value(value), uuid) != 0)
        return refuse(parser, "its %s is not a UUID", name);
    uuid_unparse_lower(uuid, lower);
    *text = keep(parser, lower, strlen(lower));
    return true;
}

/* RFC 3339; wire v2 also allows milliseconds. */
static bool read_time(struct parser *parser, const json_t *object, const char *name,
                      bool may_be_number)
{
    struct pj_error error;
    const json_t *value = json_object_get(object, name);
    if (is_absent(value))
        return refuse(parser, "it has no %s", name);
    if (json_is_number(value) && may_be_number) {
        double ms = json_number_value(value);
        if (fabs(ms) < 1e14) {
            parser->frame->emitted_at_us = (int64_t)ms * 1000;
            return true;
        }
    }
    if (!json_is_string(value) ||
        pj_time_parse(name, json_string_value(value), &parser->frame->emitted_at_us, &error) != 0)
        return refuse(parser, "its %s is not an RFC 3339 time", name);
    return true;
}

static bool read_object(struct parser *parser, const char *name, struct pj_bytes *slice)
{
    const json_t *value = json_object_get(parser->root, name);
    if (is_absent(value))
        return refuse(parser, "it has no %s", name);
    if (!json_is_object(value))
        return refuse(parser, "its %s is not an object", name);
    if (!pj_json_slice(parser->frame->raw, name, slice))
        return refuse(parser, "its %s cannot be located in the message", name);
    return true;
}

static bool read_target(struct parser *parser)
{
    struct pj_frame *frame = parser->frame;
    uuid_t uuid;
    const json_t *target = json_object_get(parser->root, "target");
    if (is_absent(target))
        return true;
    if (!json_is_object(target))
        return refuse(parser, "its target is not an object");
    frame->has_target = true;
    return read_uuid(parser, target, "session_id", uuid, &frame->target_session_id) &&
           read_uuid(parser, target, "account_id", uuid, &frame->target_account_id) &&
           read_optional_text(parser, target, "platform", &frame->target_platform);
}

/* --- status.changed -------------------------------------------------------------------------- */

/* A string as it is, anything else as JSON. `slice` is the object that holds it. */
static bool read_error(struct parser *parser, const json_t *object, struct pj_bytes slice,
                       const char *name)
{
    struct pj_bytes text;
    const json_t *value = json_object_get(object, name);
    if (is_absent(value) || parser->frame->error != NULL)
        return true;
    if (json_is_string(value)) {
        parser->frame->error = keep(parser, json_string_value(value), json_string_length(value));
    } else {
        if (!pj_json_slice(slice, name, &text))
            return refuse(parser, "its %s cannot be located in the message", name);
        parser->frame->error = keep(parser, text.data, text.length);
    }
    return true;
}

static bool read_status_v1(struct parser *parser)
{
    struct pj_frame *frame = parser->frame;
    const json_t *payload = json_object_get(parser->root, "payload");
    uuid_t uuid;
    const char *named = NULL;
    if (!read_text(parser, payload, "status", &frame->status) ||
        !read_uuid(parser, payload, "command_id", uuid, &named) ||
        !read_error(parser, payload, frame->payload, "error"))
        return false;
    if (frame->command_id == NULL)
        frame->command_id = named;
    if (frame->command_id == NULL)
        return refuse(parser, "it is a status.changed without a command_id");
    if (!is_absent(json_object_get(payload, "result")) &&
        !pj_json_slice(frame->payload, "result", &frame->result))
        return refuse(parser, "its result cannot be located in the message");
    return true;
}

static bool is_bad_end(const char *status)
{
    return strcmp(status, "FAILED") == 0 || strcmp(status, "VERIFICATION_FAILED") == 0;
}

/* What v1 has in `result` is next to the status here. */
static bool read_status_v2(struct parser *parser)
{
    struct pj_frame *frame = parser->frame;
    json_t *data = json_object_get(parser->root, "data");
    const char *name;
    json_t *value;
    if (!read_text(parser, data, "status", &frame->status) ||
        !read_error(parser, data, frame->payload, "error"))
        return false;
    if (is_bad_end(frame->status) && !read_error(parser, data, frame->payload, "message"))
        return false;
    if (frame->command_id == NULL)
        return refuse(parser, "it is a status.changed without a commandId");
    json_object_foreach(data, name, value)
    {
        if (strcmp(name, "status") != 0 && strcmp(name, "error") != 0)
            frame->result = frame->payload;
    }
    return true;
}

/* --- the two wires --------------------------------------------------------------------------- */

/* Read first, so that a dead letter keeps its place too, where it has one. */
static void read_place(struct parser *parser)
{
    struct pj_frame *frame = parser->frame;
    const json_t *cursor = json_object_get(parser->root, "cursor");
    const json_t *event_id = json_object_get(parser->root, "event_id");
    if (json_is_string(event_id))
        (void)!uuid_parse(json_string_value(event_id), frame->event_id);
    if (json_is_string(cursor))
        (void)!pj_place_parse(json_string_value(cursor), json_string_length(cursor), &frame->place);
}

static bool read_v1(struct parser *parser)
{
    struct pj_frame *frame = parser->frame;
    const char *event_id = NULL;
    uuid_t uuid;
    frame->wire = 1;
    frame->severity = "info";
    if (is_absent(json_object_get(parser->root, "event_id")))
        return refuse(parser, "it has no event_id");
    if (is_absent(json_object_get(parser->root, "cursor")))
        return refuse(parser, "it has no cursor");
    if (frame->place.text[0] == '\0')
        return refuse(parser, "its cursor is not <milliseconds>-<counter>");
    if (!read_uuid(parser, parser->root, "event_id", frame->event_id, &event_id) ||
        !read_text(parser, parser->root, "version", &frame->version) ||
        !read_time(parser, parser->root, "emitted_at", false) ||
        !read_optional_text(parser, parser->root, "severity", &frame->severity) ||
        !read_text(parser, parser->root, "type", &frame->type) ||
        !read_uuid(parser, parser->root, "command_id", uuid, &frame->command_id) ||
        !read_uuid(parser, parser->root, "correlation_id", uuid, &frame->correlation_id) ||
        !read_target(parser) || !read_object(parser, "payload", &frame->payload))
        return false;
    return strcmp(frame->type, "status.changed") != 0 || read_status_v1(parser);
}

/* The same frame has the same id, whatever the order and spacing of its members. */
static void make_event_id(struct parser *parser)
{
    char *canonical = pj_must(json_dumps(parser->root, JSON_COMPACT | JSON_SORT_KEYS));
    char *name = pj_text_new("telemetry frame of wire v2 %s", canonical);
    pj_uuid_of_name(name, strlen(name), parser->frame->event_id);
    free(name);
    free(canonical);
}

static bool read_v2(struct parser *parser)
{
    struct pj_frame *frame = parser->frame;
    uuid_t uuid;
    frame->wire = 2;
    frame->version = "2.0";
    frame->severity = "info";
    make_event_id(parser);
    if (!read_text(parser, parser->root, "type", &frame->type) ||
        !read_time(parser, parser->root, "timestamp", true) ||
        !read_uuid(parser, parser->root, "commandId", uuid, &frame->command_id) ||
        !read_object(parser, "data", &frame->payload))
        return false;
    return strcmp(frame->type, "status.changed") != 0 || read_status_v2(parser);
}

static bool has(const struct parser *parser, const char *name)
{
    return json_object_get(parser->root, name) != NULL;
}

/* `connected` and the like have neither an id nor data. */
static bool read_control(struct parser *parser)
{
    const char *type = json_string_value(json_object_get(parser->root, "type"));
    if (type == NULL || has(parser, "event_id") || has(parser, "data") || has(parser, "payload"))
        return false;
    for (size_t i = 0; i < sizeof names_of_control / sizeof names_of_control[0]; i++) {
        if (strcmp(type, names_of_control[i]) != 0)
            continue;
        parser->frame->kind = kinds_of_control[i];
        const char *message = json_string_value(json_object_get(parser->root, "message"));
        parser->frame->type =
            keep(parser, message != NULL ? message : "", message != NULL ? strlen(message) : 0);
        read_place(parser);
        return true;
    }
    return false;
}

/* False: it fits neither, and the reason is set. */
static bool read(struct parser *parser)
{
    json_error_t fault;
    const struct pj_bytes raw = parser->frame->raw;
    /* The parser ignores a NUL after a number; what reads the bytes does not. */
    if (memchr(raw.data, '\0', raw.length) != NULL)
        return refuse(parser, "it has a NUL byte, which JSON does not allow");
    parser->root = json_loadb(raw.data, raw.length, PARSE_FLAGS, &fault);
    if (parser->root == NULL)
        return refuse(parser, "it is not JSON: %s", fault.text);
    if (!json_is_object(parser->root))
        return refuse(parser, "it is JSON, but not an object");
    if (read_control(parser))
        return true;
    read_place(parser);
    if (has(parser, "event_id") || has(parser, "cursor") || has(parser, "payload"))
        return read_v1(parser);
    if (has(parser, "timestamp") || has(parser, "data"))
        return read_v2(parser);
    return refuse(parser, "it matches neither wire v1 nor v2");
}

/* --- frames ---------------------------------------------------------------------------------- */

/* Tells apart dead letters that have no event_id of their own. */
static void finish(struct pj_frame *frame)
{
    static const uint8_t none[16];
    if (memcmp(frame->event_id, none, sizeof none) == 0)
        pj_uuid_of_name(frame->raw.data, frame->raw.length, frame->event_id);
    memcpy(frame->place.event_id, frame->event_id, sizeof frame->event_id);
    uuid_unparse_lower(frame->event_id, frame->event_id_text);
}

/* With room for `texts` more bytes, which begin at *rest. */
static struct pj_frame *new_frame(const char *text, size_t length, size_t texts, char **rest)
{
    struct pj_frame *frame = pj_alloc(sizeof *frame + length + 1 + texts);
    char *copy = (char *)(frame + 1);
    *frame = (struct pj_frame){.raw = {copy, length}, .size = sizeof *frame + length + 1 + texts};
    memcpy(copy, text, length);
    copy[length] = '\0';
    *rest = copy + length + 1;
    return frame;
}

struct pj_frame *pj_frame_parse(const char *text, size_t length)
{
    enum { TEXTS_OF_OURS = 512 }; /* string terminators, and UUIDs */
    struct parser parser = {0};
    size_t texts = length + TEXTS_OF_OURS;
    parser.frame = new_frame(text, length, texts, &parser.next);
    parser.end = parser.next + texts;
    if (!read(&parser))
        parser.frame->kind = PJ_FRAME_DEAD_LETTER;
    json_decref(parser.root);
    finish(parser.frame);
    return parser.frame;
}

struct pj_frame *pj_frame_too_long(const char *text, size_t length, size_t whole, size_t limit)
{
    char *rest;
    struct pj_frame *frame = new_frame(text, length, 0, &rest);
    frame->kind = PJ_FRAME_DEAD_LETTER;
    pj_text_show(frame->reason, sizeof frame->reason,
                 "it has %zu bytes, more than the %zu of --frame-size-limit: this is its beginning",
                 whole, limit);
    finish(frame);
    return frame;
}

void pj_frame_free(struct pj_frame *frame)
{
    free(frame);
}

void pj_frame_refuse(struct pj_frame *frame, const char *reason)
{
    frame->kind = PJ_FRAME_DEAD_LETTER;
    frame->is_refused = true;
    pj_text_show(frame->reason, sizeof frame->reason, "%s", reason);
}
