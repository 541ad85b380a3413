/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/envelope.h"

#include "base/time_text.h"
#include "common/json_slice.h"
#include "projectionist/value.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TYPE_MOST = 100,
    KEY_MOST = 255,
    PLATFORM_MOST = 50,
    NAME_MOST = 1000,
    TIME_MOST = 64,
    EXPONENT_DIGITS = 16,
    EXPONENT_TEXT = 24,
};

/* --- JSON ------------------------------------------------------------------------------------ */

/* jansson's own texts quote what they choke on, which may be anything. */
static const char *reason_of(const json_error_t *reason)
{
    switch (json_error_code(reason)) {
    case json_error_invalid_utf8:
        return "is not UTF-8";
    case json_error_stack_overflow:
        return "is nested too deep";
    case json_error_premature_end_of_input:
        return "ends too early";
    case json_error_duplicate_key:
        return "names a member twice";
    case json_error_numeric_overflow:
        return "has a number that is too large";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "has a text with the character \\u0000";
    case json_error_out_of_memory:
        return "is too large";
    default:
        return "is not JSON";
    }
}

/* The flags are those by which the consumers check what they store. */
static json_t *load_object(struct pj_bytes body, struct pj_error *error)
{
    json_error_t reason;
    const char *bytes = body.data != NULL ? body.data : "";
    json_t *json =
        json_loadb(bytes, body.length,
                   JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES, &reason);
    if (json == NULL) {
        pj_error_set(error, PJ_POISON, "the body %s (line %d, column %d)", reason_of(&reason),
                     reason.line, reason.column);
    } else if (!json_is_object(json)) {
        pj_error_set(error, PJ_POISON, "the body must be a JSON object");
        json_decref(json);
        json = NULL;
    }
    return json;
}

/* A member; null counts as not there. */
static const json_t *member(const json_t *object, const char *name)
{
    const json_t *found = json_object_get(object, name);
    return json_is_null(found) ? NULL : found;
}

static size_t count_chars(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

/* What is read of one object; names in errors begin with `place`. */
struct reading {
    const json_t *object;
    const char *place; /* "", "target." … */
    struct pj_arena *arena;
    struct pj_error *error;
};

static int read_text(const struct reading *reading, const char *name, size_t most,
                     struct pj_bytes *text)
{
    const json_t *found = member(reading->object, name);
    *text = (struct pj_bytes){0};
    if (found == NULL)
        return 0;
    if (!json_is_string(found))
        return pj_error_set(reading->error, PJ_POISON, "%s%s must be a text", reading->place, name);
    const char *chars = json_string_value(found);
    if (count_chars(chars) > most)
        return pj_error_set(reading->error, PJ_POISON, "%s%s must have at most %zu characters",
                            reading->place, name, most);
    text->length = json_string_length(found);
    text->data = pj_arena_string(reading->arena, chars, text->length);
    return 0;
}

static int read_uuid(const struct reading *reading, const char *name, struct pj_bytes *text)
{
    if (read_text(reading, name, SIZE_MAX, text) != 0)
        return -1;
    if (text->data == NULL)
        return 0;
    if (!pj_is_uuid(*text))
        return pj_error_set(reading->error, PJ_POISON, "%s%s must be a UUID", reading->place, name);
    char *chars = pj_arena_string(reading->arena, text->data, text->length);
    for (char *c = chars; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    text->data = chars;
    return 0;
}

static int read_time(const struct reading *reading, const char *name, struct pj_optional_time *time)
{
    struct pj_bytes text;
    struct pj_error ignored;
    *time = (struct pj_optional_time){0};
    if (read_text(reading, name, SIZE_MAX, &text) != 0)
        return -1;
    if (text.data == NULL)
        return 0;
    if (text.length > TIME_MOST || pj_time_parse(name, text.data, &time->micros, &ignored) != 0)
        return pj_error_set(reading->error, PJ_POISON,
                            "%s%s must be a time such as 2026-11-21T05:06:34.968Z (RFC 3339)",
                            reading->place, name);
    time->present = true;
    return 0;
}

/* A member that is an object, to be read as `inner`; its object NULL where it is not there. */
static int enter(const struct reading *reading, const char *name, const char *place,
                 struct reading *inner)
{
    const json_t *found = member(reading->object, name);
    *inner = *reading;
    inner->object = found;
    inner->place = place;
    if (found != NULL && !json_is_object(found))
        return pj_error_set(reading->error, PJ_POISON, "%s must be an object", name);
    return 0;
}

/* --- a command ------------------------------------------------------------------------------- */

static int read_required(const struct reading *reading, struct pj_envelope *envelope)
{
    struct pj_command_submitted *submitted = &envelope->submitted;
    struct pj_bytes id;
    if (read_text(reading, "type", TYPE_MOST, &submitted->type) != 0)
        return -1;
    if (submitted->type.length == 0)
        return pj_error_set(reading->error, PJ_POISON,
                            "type is required"); /* the service's words */
    if (read_uuid(reading, "command_id", &id) != 0 ||
        read_text(reading, "idempotency_key", KEY_MOST, &submitted->idempotency_key) != 0)
        return -1;
    if (submitted->idempotency_key.data != NULL && submitted->idempotency_key.length == 0)
        return pj_error_set(reading->error, PJ_POISON, "idempotency_key must not be empty");
    if (id.data != NULL)
        memcpy(envelope->command_id, id.data, sizeof envelope->command_id);
    return 0;
}

static int read_optional(const struct reading *reading, struct pj_command_submitted *submitted)
{
    struct reading inner;
    if (read_uuid(reading, "correlation_id", &submitted->correlation_id) != 0 ||
        read_time(reading, "requested_at", &submitted->requested_at) != 0 ||
        enter(reading, "requester", "requester.", &inner) != 0)
        return -1;
    if (inner.object != NULL &&
        (read_text(&inner, "service", NAME_MOST, &submitted->requester_service) != 0 ||
         read_text(&inner, "instance_id", NAME_MOST, &submitted->requester_instance) != 0))
        return -1;
    if (enter(reading, "target", "target.", &inner) != 0)
        return -1;
    if (inner.object == NULL)
        return 0;
    submitted->target.present = true;
    if (read_uuid(&inner, "session_id", &submitted->target.session_id) != 0 ||
        read_uuid(&inner, "account_id", &submitted->target.account_id) != 0)
        return -1;
    return read_text(&inner, "platform", PLATFORM_MOST, &submitted->target.platform);
}

/* The bytes of a member, which the parser has seen. */
static int slice(const struct reading *reading, struct pj_bytes body, const char *name,
                 struct pj_bytes *found)
{
    *found = (struct pj_bytes){0};
    if (json_object_get(reading->object, name) == NULL || pj_json_slice(body, name, found))
        return 0;
    return pj_error_set(reading->error, PJ_POISON, "the name %s must be written without escapes",
                        name);
}

static int read_slices(const struct reading *reading, struct pj_envelope *envelope)
{
    struct pj_bytes *payload = &envelope->submitted.payload;
    const json_t *found = member(reading->object, "payload");
    if (found != NULL && !json_is_object(found))
        return pj_error_set(reading->error, PJ_POISON, "payload must be an object");
    if (slice(reading, envelope->body, "payload", payload) != 0 ||
        slice(reading, envelope->body, "command_id", &envelope->command_id_slice) != 0 ||
        slice(reading, envelope->body, "idempotency_key", &envelope->key_slice) != 0)
        return -1;
    if (found == NULL)
        *payload = (struct pj_bytes){"{}", 2};
    return 0;
}

/* --- the content ------------------------------------------------------------------------------ */

/* A text that is built within what was allocated for it. */
struct building {
    char *at;
};

static void append(struct building *out, const void *data, size_t length)
{
    if (length > 0)
        out->at = mempcpy(out->at, data, length);
}

/*
 * A number as a text of its exact value: the same for 1, 1.0 and 10e-1, another one for
 * 9007199254740993 than for 9007199254740992. Returns behind it; NULL: its exponent is beyond
 * EXPONENT_DIGITS.
 */
static const char *append_number(struct building *out, const char *at, const char *end)
{
    char *begin = out->at;
    int64_t exponent = 0, written = 0;
    bool is_fraction = false, is_negative = *at == '-';
    append(out, is_negative ? "\"n-" : "\"n", is_negative ? 3 : 2);
    char *digits = out->at;
    for (at += is_negative; at < end && (isdigit((unsigned char)*at) || *at == '.'); at++) {
        if (*at == '.') {
            is_fraction = true;
            continue;
        }
        exponent -= is_fraction;
        if (*at != '0' || out->at > digits)
            append(out, at, 1);
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        char *behind = NULL;
        written = strtoll(at + 1, &behind, 10);
        if (behind - at > EXPONENT_DIGITS)
            return NULL;
        at = behind;
    }
    for (exponent += written; out->at > digits && out->at[-1] == '0'; out->at--)
        exponent++;
    if (out->at == digits)
        out->at = mempcpy(begin, "\"n0", 3); /* also -0 */
    else
        out->at += snprintf(out->at, EXPONENT_TEXT, "e%lld", (long long)exponent);
    append(out, "\"", 1);
    return at;
}

/*
 * A JSON text, which has been parsed, with each number as a text and each text (also a name) marked
 * as one, so that what reads it compares numbers by their digits. NULL where a number cannot be
 * told; the bytes are the caller's to free.
 */
static char *mark_values(struct pj_bytes body)
{
    enum { LONGER = 4, SPARE = 64 }; /* 1, becomes "n1e0", */
    const char *at = body.data, *end = at + body.length;
    char *text = malloc(body.length * LONGER + SPARE);
    struct building out = {text};
    bool is_text = false;
    if (text == NULL)
        return NULL;
    while (at < end) {
        if (!is_text && (*at == '-' || isdigit((unsigned char)*at))) {
            at = append_number(&out, at, end);
            if (at == NULL) {
                free(text);
                return NULL;
            }
            continue;
        }
        size_t length = is_text && *at == '\\' ? 2 : 1;
        bool begins = *at == '"' && !is_text;
        is_text = *at == '"' ? !is_text : is_text;
        append(&out, at, length);
        append(&out, "s", begins);
        at += length;
    }
    *out.at = '\0';
    return text;
}

/* Of what is asked for, not of who asks and when: so that a retry, which may write the same in
 * another order, is the same. */
static int make_digest(struct pj_envelope *envelope, struct pj_error *error)
{
    static const char *const not_content[] = {"scommand_id", "sidempotency_key", "scorrelation_id",
                                              "srequested_at", "srequester"};
    char *marked = mark_values(envelope->body);
    json_t *content = marked != NULL ? json_loads(marked, 0, NULL) : NULL;
    const char *name;
    json_t *value;
    void *next;
    free(marked);
    if (content == NULL)
        return pj_error_set(error, PJ_POISON, "the body has a number that is too large");
    for (size_t i = 0; i < sizeof not_content / sizeof not_content[0]; i++)
        json_object_del(content, not_content[i]);
    json_object_foreach_safe(content, next, name, value)
    {
        if (json_is_null(value))
            json_object_del(content, name); /* as if it were not there */
    }
    if (json_object_get(content, "spayload") == NULL)
        json_object_set_new(content, "spayload", json_object());
    char *text = json_dumps(content, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(content);
    if (text == NULL)
        return pj_error_set(error, PJ_POISON, "the body is too large");
    pj_uuid_of_name(text, strlen(text), envelope->digest);
    free(text);
    return 0;
}

int pj_envelope_parse(struct pj_bytes body, struct pj_arena *arena, struct pj_envelope *envelope,
                      struct pj_error *error)
{
    *envelope = (struct pj_envelope){.body = body};
    json_t *json = load_object(body, error);
    if (json == NULL)
        return -1;
    const struct reading reading = {.object = json, .place = "", .arena = arena, .error = error};
    int status = read_required(&reading, envelope);
    if (status == 0)
        status = read_optional(&reading, &envelope->submitted);
    if (status == 0)
        status = read_slices(&reading, envelope);
    json_decref(json); /* which is large, and so is what comes now */
    return status == 0 ? make_digest(envelope, error) : -1;
}

/* --- forwarding ------------------------------------------------------------------------------ */

static void append_member(struct building *out, const char *name, const char *value)
{
    append(out, "\"", 1);
    append(out, name, strlen(name));
    append(out, "\":", 2);
    append(out, value, strlen(value));
    append(out, ",", 1);
}

struct pj_bytes pj_envelope_forwarded(const struct pj_envelope *envelope, const char *command_id,
                                      const char *key, struct pj_arena *arena)
{
    json_t *quoted = json_string(key);
    char *key_text = quoted != NULL ? json_dumps(quoted, JSON_ENCODE_ANY) : NULL;
    json_decref(quoted);
    if (key_text == NULL)
        abort();
    const char *id_text = pj_arena_printf(arena, "\"%s\"", command_id);
    const char *body = envelope->body.data;
    const char *end = body + envelope->body.length;
    const char *brace = memchr(body, '{', envelope->body.length);
    char *text = pj_arena_alloc(arena, envelope->body.length + strlen(key_text) + strlen(id_text) +
                                           sizeof "command_id idempotency_key      ");
    struct building out = {text};
    /* In the order of the body: what is there is replaced, what is not is put first. */
    struct change {
        struct pj_bytes slice;
        const char *name, *value;
    } changes[2] = {{envelope->command_id_slice, "command_id", id_text},
                    {envelope->key_slice, "idempotency_key", key_text}};
    const char *from = brace + 1;
    append(&out, body, (size_t)(from - body));
    for (size_t i = 0; i < 2; i++) {
        if (changes[i].slice.data == NULL)
            append_member(&out, changes[i].name, changes[i].value);
    }
    if ((const char *)changes[0].slice.data > (const char *)changes[1].slice.data) {
        struct change first = changes[1];
        changes[1] = changes[0];
        changes[0] = first;
    }
    for (size_t i = 0; i < 2; i++) {
        const char *slice_at = changes[i].slice.data;
        if (slice_at == NULL)
            continue;
        append(&out, from, (size_t)(slice_at - from));
        append(&out, changes[i].value, strlen(changes[i].value));
        from = slice_at + changes[i].slice.length;
    }
    append(&out, from, (size_t)(end - from));
    free(key_text);
    return (struct pj_bytes){text, (size_t)(out.at - text)};
}

/* --- sessions -------------------------------------------------------------------------------- */

static int read_session(const struct reading *reading, struct pj_session_opened *opened)
{
    const json_t *pid = member(reading->object, "browser_pid");
    if (read_text(reading, "platform", PLATFORM_MOST, &opened->platform) != 0 ||
        read_uuid(reading, "account_id", &opened->account_id) != 0)
        return -1;
    if (pid == NULL)
        return 0;
    double number = json_number_value(pid);
    if (!json_is_number(pid) || number < 0 || number > INT32_MAX ||
        number - (double)(int32_t)number > 0)
        return pj_error_set(reading->error, PJ_POISON, "browser_pid must be a whole number");
    opened->has_browser_pid = true;
    opened->browser_pid = (int32_t)number;
    return 0;
}

static bool is_blank(struct pj_bytes body)
{
    const char *bytes = body.data;
    for (size_t i = 0; i < body.length; i++) {
        if (!isspace((unsigned char)bytes[i]))
            return false;
    }
    return true;
}

int pj_session_request_check(struct pj_bytes body, struct pj_error *error)
{
    struct pj_session_opened opened = {0};
    if (is_blank(body))
        return 0;
    json_t *json = load_object(body, error);
    if (json == NULL)
        return -1;
    struct pj_arena *arena = pj_arena_new();
    const struct reading reading = {.object = json, .place = "", .arena = arena, .error = error};
    int status = read_session(&reading, &opened);
    pj_arena_free(arena);
    json_decref(json);
    return status;
}

/* What else the answer says: `metadata` alone, or all that has no field of its own. */
static void read_metadata(const struct reading *reading, struct pj_bytes body,
                          struct pj_bytes *metadata)
{
    static const char *const known[] = {"id",       "created_at", "status",
                                        "platform", "account_id", "browser_pid"};
    json_t *rest = json_copy((json_t *)(uintptr_t)reading->object);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        json_object_del(rest, known[i]);
    if (json_object_size(rest) == 1 && json_is_object(json_object_get(rest, "metadata")) &&
        pj_json_slice(body, "metadata", metadata)) {
        json_decref(rest);
        return;
    }
    char *text = json_object_size(rest) > 0 ? json_dumps(rest, JSON_COMPACT) : NULL;
    if (text != NULL)
        *metadata =
            (struct pj_bytes){pj_arena_string(reading->arena, text, strlen(text)), strlen(text)};
    free(text);
    json_decref(rest);
}

int pj_session_answer_parse(struct pj_bytes body, struct pj_arena *arena,
                            struct pj_session_answer *answer, struct pj_error *error)
{
    struct pj_bytes id = {0};
    struct pj_error ignored;
    *answer = (struct pj_session_answer){0};
    json_t *json = load_object(body, error);
    if (json == NULL)
        return -1;
    struct reading reading = {.object = json, .place = "", .arena = arena, .error = error};
    int status = read_uuid(&reading, "id", &id);
    if (status == 0 && id.data == NULL)
        status = pj_error_set(error, PJ_POISON, "id is missing");
    if (status == 0) {
        memcpy(answer->session_id, id.data, sizeof answer->session_id);
        status = read_session(&reading, &answer->opened);
    }
    if (status == 0) {
        reading.error = &ignored; /* without it, the time is ours */
        if (read_time(&reading, "created_at", &answer->created_at) != 0)
            answer->created_at = (struct pj_optional_time){0};
        if (answer->opened.platform.length == 0)
            answer->opened.platform = (struct pj_bytes){"unknown", 7};
        read_metadata(&reading, body, &answer->opened.metadata);
    }
    json_decref(json);
    return status;
}
