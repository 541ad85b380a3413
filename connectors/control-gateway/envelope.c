/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/envelope.h"

#include "base/decimal.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/time_text.h"
#include "base/utf8.h"
#include "common/encoder.h"
#include "common/json_slice.h"
#include "projectionist/value.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum {
    TYPE_MOST = 100,
    KEY_MOST = 255,
    PLATFORM_MOST = 50,
    NAME_MOST = 1000,
    TIME_MOST = 64,
};

/* --- JSON ------------------------------------------------------------------------------------ */

/* jansson's own messages quote what they reject, which may be anything. */
static const char *reason_of(const json_error_t *reason)
{
    switch (json_error_code(reason)) {
    case json_error_invalid_utf8:
        return "is not UTF-8";
    case json_error_stack_overflow:
        return "is nested too deeply";
    case json_error_premature_end_of_input:
        return "ends too early";
    case json_error_duplicate_key:
        return "names a member twice";
    case json_error_numeric_overflow:
        return "has a number that is too large";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "has a string with the character \\u0000";
    case json_error_out_of_memory:
        return "is too large";
    default:
        return "is not JSON";
    }
}

/* The same flags by which the consumers check what they store. */
static json_t *load_object(struct pj_bytes body, struct pj_error *error)
{
    json_error_t reason;
    const char *bytes = body.data != NULL ? body.data : "";
    /* The parser ignores a NUL after a number; what reads the bytes does not. */
    if (memchr(bytes, '\0', body.length) != NULL) {
        pj_error_set(error, PJ_POISON, "the body has a NUL byte, which JSON does not allow");
        return NULL;
    }
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

/* A member; null counts as absent. */
static json_t *member(const json_t *object, const char *name)
{
    json_t *found = json_object_get(object, name);
    return json_is_null(found) ? NULL : found;
}

/* What is read from one object into the fields of a record; names in errors begin with `place`. */
struct reading {
    const json_t *object;
    json_t *out;
    const char *place; /* "", "target." … */
    struct pj_error *error;
};

static int read_text(const struct reading *reading, const char *name, size_t most,
                     const char *field)
{
    json_t *found = member(reading->object, name);
    if (found == NULL)
        return 0;
    if (!json_is_string(found))
        return pj_error_set(reading->error, PJ_POISON, "%s%s must be a string", reading->place,
                            name);
    const char *chars = json_string_value(found);
    if (pj_utf8_count(chars, strlen(chars)) > most)
        return pj_error_set(reading->error, PJ_POISON, "%s%s must have at most %zu characters",
                            reading->place, name, most);
    return json_object_set(reading->out, field, found);
}

static int read_uuid(const struct reading *reading, const char *name, const char *field)
{
    char lower[PJ_UUID_TEXT] = "";
    if (read_text(reading, name, SIZE_MAX, field) != 0)
        return -1;
    const json_t *found = json_object_get(reading->out, field);
    const char *text = json_string_value(found);
    if (text == NULL)
        return 0;
    if (!pj_is_uuid((struct pj_bytes){text, json_string_length(found)}))
        return pj_error_set(reading->error, PJ_POISON, "%s%s must be a UUID", reading->place, name);
    for (size_t i = 0; text[i] != '\0'; i++)
        lower[i] = (char)tolower((unsigned char)text[i]);
    return json_object_set_new(reading->out, field, json_string(lower));
}

static int read_time(const struct reading *reading, const char *name)
{
    struct pj_error ignored;
    int64_t micros;
    if (read_text(reading, name, SIZE_MAX, name) != 0)
        return -1;
    const json_t *found = json_object_get(reading->out, name);
    if (found == NULL)
        return 0;
    if (json_string_length(found) > TIME_MOST ||
        pj_time_parse(name, json_string_value(found), &micros, &ignored) != 0)
        return pj_error_set(reading->error, PJ_POISON,
                            "%s%s must be a time such as 2026-11-21T05:06:34.968Z (RFC 3339)",
                            reading->place, name);
    return json_object_set_new(reading->out, name, json_integer(micros));
}

/* A member that is an object, to be read as `inner`; its object is NULL where absent. */
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

/* Moves a text out of the fields: a UUID, or "". */
static void take_uuid(json_t *fields, const char *field, char text[PJ_UUID_TEXT])
{
    const char *found = json_string_value(json_object_get(fields, field));
    pj_text_whole(text, PJ_UUID_TEXT, "%s", found != NULL ? found : "");
    json_object_del(fields, field);
}

/* --- a command ------------------------------------------------------------------------------- */

const char *pj_envelope_key(const struct pj_envelope *envelope)
{
    return json_string_value(json_object_get(envelope->submitted, "idempotency_key"));
}

static int read_required(const struct reading *reading, struct pj_envelope *envelope)
{
    if (read_text(reading, "type", TYPE_MOST, "type") != 0)
        return -1;
    if (json_string_length(json_object_get(reading->out, "type")) == 0)
        return pj_error_set(reading->error, PJ_POISON,
                            "type is required"); /* the service's words */
    if (read_uuid(reading, "command_id", "command_id") != 0 ||
        read_text(reading, "idempotency_key", KEY_MOST, "idempotency_key") != 0)
        return -1;
    const char *key = pj_envelope_key(envelope);
    if (key != NULL && *key == '\0')
        return pj_error_set(reading->error, PJ_POISON, "idempotency_key must not be empty");
    take_uuid(reading->out, "command_id", envelope->command_id);
    return 0;
}

static int read_optional(const struct reading *reading)
{
    struct reading inner;
    if (read_uuid(reading, "correlation_id", "correlation_id") != 0 ||
        read_time(reading, "requested_at") != 0 ||
        enter(reading, "requester", "requester.", &inner) != 0)
        return -1;
    if (inner.object != NULL &&
        (read_text(&inner, "service", NAME_MOST, "requester_service") != 0 ||
         read_text(&inner, "instance_id", NAME_MOST, "requester_instance") != 0))
        return -1;
    if (enter(reading, "target", "target.", &inner) != 0)
        return -1;
    if (inner.object == NULL)
        return 0;
    inner.out = json_object();
    json_object_set_new(reading->out, "target", inner.out);
    if (read_uuid(&inner, "session_id", "session_id") != 0 ||
        read_uuid(&inner, "account_id", "account_id") != 0)
        return -1;
    return read_text(&inner, "platform", PLATFORM_MOST, "platform");
}

/* The bytes of a member that the parser has found. */
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
    struct pj_bytes payload;
    const json_t *found = member(reading->object, "payload");
    if (found != NULL && !json_is_object(found))
        return pj_error_set(reading->error, PJ_POISON, "payload must be an object");
    if (slice(reading, envelope->body, "payload", &payload) != 0 ||
        slice(reading, envelope->body, "command_id", &envelope->command_id_slice) != 0 ||
        slice(reading, envelope->body, "idempotency_key", &envelope->key_slice) != 0)
        return -1;
    if (found == NULL)
        payload = (struct pj_bytes){"{}", 2};
    return json_object_set_new(reading->out, "payload", pj_json_text(payload));
}

/* --- the content ------------------------------------------------------------------------------ */

/*
 * Canonical form of a parsed body, the same however it was written: without blanks and escapes,
 * members sorted, numbers by their exact value. Not from the parsed values: those keep no number of
 * more than 53 bits.
 */
struct canon {
    const char *at; /* position in the body; each value ends before the body does */
    struct pj_builder out;
    size_t *members; /* where the members of each open object begin */
    size_t member_count, member_capacity;
    bool is_bad; /* a number's exponent has too many digits */
};

static void put(struct canon *canon, const void *data, size_t length)
{
    pj_builder_add_bytes(&canon->out, data, length);
}

static void skip_blanks(struct canon *canon)
{
    while (*canon->at == ' ' || *canon->at == '\t' || *canon->at == '\r' || *canon->at == '\n')
        canon->at++;
}

static unsigned read_hex(const char *at)
{
    char digits[5] = {at[0], at[1], at[2], at[3], '\0'};
    return (unsigned)strtoul(digits, NULL, 16);
}

/* \uXXXX, or a surrogate pair of them; `at` is after the u. Returns the end. */
static const char *put_character(struct canon *canon, const char *at)
{
    unsigned code = read_hex(at);
    at += 4;
    if (code >= 0xd800 && code < 0xdc00) {
        code = 0x10000 + ((code - 0xd800) << 10) + (read_hex(at + 2) - 0xdc00);
        at += 6;
    }
    char bytes[4];
    size_t length = pj_utf8_put(bytes, code);
    if (length == 1 && (*bytes == '"' || *bytes == '\\'))
        put(canon, "\\", 1);
    put(canon, bytes, length);
    return at;
}

static void put_text(struct canon *canon)
{
    static const char names[] = "bfnrt/", characters[] = "\b\f\n\r\t/";
    put(canon, "\"", 1);
    const char *at = canon->at + 1;
    while (*at != '"') {
        const char *plain = at;
        while (*at != '"' && *at != '\\')
            at++;
        put(canon, plain, (size_t)(at - plain));
        if (*at == '"')
            break;
        const char *name = strchr(names, at[1]);
        if (at[1] == 'u') {
            at = put_character(canon, at + 2);
            continue;
        }
        if (name != NULL)
            put(canon, &characters[name - names], 1);
        else
            put(canon, at, 2); /* \" and \\ stay */
        at += 2;
    }
    put(canon, "\"", 1);
    canon->at = at + 1;
}

/* As 1e0 for 1, 1.0 and 10e-1; 0 for 0 and -0. */
static void put_number(struct canon *canon)
{
    struct pj_decimal number;
    size_t length = strspn(canon->at, "+-.0123456789eE");
    char exponent[24];
    if (!pj_decimal_read(canon->at, length, &number) || number.is_cut)
        canon->is_bad = true;
    canon->at += length;
    if (number.sign == 0) {
        put(canon, "0", 1);
        return;
    }
    if (number.sign < 0)
        put(canon, "-", 1);
    const char *at = number.digits;
    for (char digit; (digit = pj_decimal_digit(&number, &at)) != '\0';)
        put(canon, &digit, 1);
    put(canon, exponent,
        pj_text_whole(exponent, sizeof exponent, "e%lld",
                      (long long)(number.point - number.count)));
}

/* About who asks and when, not about what is asked for; or null, which counts as absent. */
static bool is_no_content(const char *member, size_t length)
{
    static const char *const names[] = {
        "\"command_id\":", "\"idempotency_key\":", "\"correlation_id\":", "\"requested_at\":",
        "\"requester\":"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (length > strlen(names[i]) && memcmp(member, names[i], strlen(names[i])) == 0)
            return true;
    }
    return length > 5 && memcmp(member + length - 5, ":null", 5) == 0;
}

static void begin_member(struct canon *canon)
{
    if (canon->member_count == canon->member_capacity) {
        canon->member_capacity = canon->member_capacity > 0 ? canon->member_capacity * 2 : 64;
        canon->members = pj_resize(canon->members, canon->member_capacity, sizeof *canon->members);
    }
    canon->members[canon->member_count++] = canon->out.length;
}

static int compare_members(const void *a, const void *b)
{
    const struct pj_bytes *one = a, *other = b;
    size_t length = one->length < other->length ? one->length : other->length;
    int order = memcmp(one->data, other->data, length);
    return order != 0 ? order : one->length < other->length ? -1 : one->length > other->length;
}

/* Sorts the members from `first` on; they end where the text does, each with a comma. */
static void sort_members(struct canon *canon, size_t first)
{
    size_t count = canon->member_count - first;
    canon->member_count = first;
    if (count < 2)
        return;
    const size_t *starts = &canon->members[first];
    size_t bytes = canon->out.length - starts[0];
    struct pj_bytes *members = pj_calloc(count, sizeof *members);
    char *sorted = pj_alloc(bytes);
    for (size_t i = 0; i < count; i++) {
        size_t end = i + 1 < count ? starts[i + 1] : canon->out.length;
        members[i] = (struct pj_bytes){canon->out.text + starts[i], end - starts[i]};
    }
    qsort(members, count, sizeof *members, compare_members);
    char *out = sorted;
    for (size_t i = 0; i < count; i++)
        out = mempcpy(out, members[i].data, members[i].length);
    memcpy(canon->out.text + starts[0], sorted, bytes);
    free(members);
    free(sorted);
}

static void put_value(struct canon *canon, bool is_body);

static void put_object(struct canon *canon, bool is_body)
{
    size_t first = canon->member_count;
    bool has_payload = false;
    put(canon, "{", 1);
    canon->at++;
    for (skip_blanks(canon); *canon->at != '}'; skip_blanks(canon)) {
        if (*canon->at == ',') {
            canon->at++;
            continue;
        }
        size_t begin = canon->out.length;
        begin_member(canon);
        put_text(canon);
        skip_blanks(canon);
        canon->at++; /* the colon */
        put(canon, ":", 1);
        put_value(canon, false);
        if (is_body && is_no_content(canon->out.text + begin, canon->out.length - begin)) {
            canon->out.length = begin;
            canon->member_count--;
            continue;
        }
        has_payload |= canon->out.length - begin > 10 &&
                       memcmp(canon->out.text + begin, "\"payload\":", 10) == 0;
        put(canon, ",", 1);
    }
    if (is_body && !has_payload) {
        begin_member(canon);
        put(canon, "\"payload\":{},", 13);
    }
    canon->at++;
    sort_members(canon, first);
    put(canon, "}", 1);
}

static void put_array(struct canon *canon)
{
    put(canon, "[", 1);
    canon->at++;
    for (skip_blanks(canon); *canon->at != ']'; skip_blanks(canon)) {
        if (*canon->at == ',') {
            canon->at++;
            continue;
        }
        put_value(canon, false);
        put(canon, ",", 1);
    }
    canon->at++;
    put(canon, "]", 1);
}

static void put_value(struct canon *canon, bool is_body)
{
    skip_blanks(canon);
    const char *at = canon->at;
    if (*at == '{') {
        put_object(canon, is_body);
    } else if (*at == '[') {
        put_array(canon);
    } else if (*at == '"') {
        put_text(canon);
    } else if (*at == '-' || isdigit((unsigned char)*at)) {
        put_number(canon);
    } else {
        while (isalpha((unsigned char)*canon->at))
            canon->at++;
        put(canon, at, (size_t)(canon->at - at));
    }
}

/* So that a retry which is written differently is still the same. */
static int make_digest(struct pj_envelope *envelope, struct pj_error *error)
{
    struct canon canon = {.at = envelope->body.data};
    put_value(&canon, true);
    if (!canon.is_bad)
        pj_uuid_of_name(canon.out.text, canon.out.length, envelope->digest);
    free(canon.out.text);
    free(canon.members);
    return canon.is_bad ? pj_error_set(error, PJ_POISON, "the body has a number that is too large")
                        : 0;
}

int pj_envelope_parse(struct pj_bytes body, struct pj_envelope *envelope, struct pj_error *error)
{
    *envelope = (struct pj_envelope){.body = body};
    json_t *json = load_object(body, error);
    if (json == NULL)
        return -1;
    envelope->submitted = json_object();
    const struct reading reading = {json, envelope->submitted, "", error};
    int status = read_required(&reading, envelope);
    if (status == 0)
        status = read_optional(&reading);
    if (status == 0)
        status = read_slices(&reading, envelope);
    json_decref(json);
    if (status == 0)
        status = make_digest(envelope, error);
    if (status != 0) {
        json_decref(envelope->submitted);
        envelope->submitted = NULL;
    }
    return status;
}

/* --- forwarding ------------------------------------------------------------------------------ */

struct pj_bytes pj_envelope_forwarded(const struct pj_envelope *envelope, const char *command_id,
                                      const char *key, struct pj_arena *arena)
{
    json_t *quoted = pj_must(json_string(key));
    char *key_text = pj_must(json_dumps(quoted, JSON_ENCODE_ANY));
    json_decref(quoted);
    const char *id_text = pj_arena_printf(arena, "\"%s\"", command_id);
    const char *body = envelope->body.data, *end = body + envelope->body.length;
    const char *from = (const char *)memchr(body, '{', envelope->body.length) + 1;
    struct pj_builder out = {0};
    /* In the order of the body: existing members are replaced, missing ones go first. */
    struct change {
        struct pj_bytes slice;
        const char *name, *value;
    } changes[2] = {{envelope->command_id_slice, "command_id", id_text},
                    {envelope->key_slice, "idempotency_key", key_text}};
    pj_builder_add_bytes(&out, body, (size_t)(from - body));
    for (size_t i = 0; i < 2; i++) {
        if (changes[i].slice.data == NULL)
            pj_builder_add(&out, "\"%s\":%s,", changes[i].name, changes[i].value);
    }
    bool is_key_first = (const char *)changes[0].slice.data > (const char *)changes[1].slice.data;
    for (size_t i = 0; i < 2; i++) {
        const struct change *change = &changes[is_key_first ? 1 - i : i];
        const char *slice_at = change->slice.data;
        if (slice_at == NULL)
            continue;
        pj_builder_add_bytes(&out, from, (size_t)(slice_at - from));
        pj_builder_add(&out, "%s", change->value);
        from = slice_at + change->slice.length;
    }
    pj_builder_add_bytes(&out, from, (size_t)(end - from));
    free(key_text);
    struct pj_bytes forwarded = {pj_arena_copy(arena, out.text, out.length), out.length};
    free(out.text);
    return forwarded;
}

/* --- sessions -------------------------------------------------------------------------------- */

static int read_session(const struct reading *reading)
{
    const json_t *pid = member(reading->object, "browser_pid");
    if (read_text(reading, "platform", PLATFORM_MOST, "platform") != 0 ||
        read_uuid(reading, "account_id", "account_id") != 0)
        return -1;
    if (pid == NULL)
        return 0;
    double number = json_number_value(pid);
    if (!json_is_number(pid) || number < 0 || number > INT32_MAX ||
        number - (double)(int32_t)number > 0)
        return pj_error_set(reading->error, PJ_POISON, "browser_pid must be a whole number");
    return json_object_set_new(reading->out, "browser_pid", json_integer((json_int_t)number));
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
    if (is_blank(body))
        return 0;
    json_t *json = load_object(body, error);
    if (json == NULL)
        return -1;
    const struct reading reading = {json, json_object(), "", error};
    int status = read_session(&reading);
    json_decref(reading.out);
    json_decref(json);
    return status;
}

/* What else the answer says: `metadata` alone, or everything that has no field of its own. */
static void read_metadata(const struct reading *reading, struct pj_bytes body)
{
    static const char *const known[] = {"id",       "created_at", "status",
                                        "platform", "account_id", "browser_pid"};
    struct pj_bytes metadata;
    json_t *rest = json_copy((json_t *)(uintptr_t)reading->object);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        json_object_del(rest, known[i]);
    if (json_object_size(rest) == 1 && json_is_object(json_object_get(rest, "metadata")) &&
        pj_json_slice(body, "metadata", &metadata)) {
        json_object_set_new(reading->out, "metadata", pj_json_text(metadata));
    } else if (json_object_size(rest) > 0) {
        char *text = json_dumps(rest, JSON_COMPACT);
        json_object_set_new(reading->out, "metadata", json_string(text));
        free(text);
    }
    json_decref(rest);
}

int pj_session_answer_parse(struct pj_bytes body, struct pj_session_answer *answer,
                            struct pj_error *error)
{
    struct pj_error ignored;
    *answer = (struct pj_session_answer){.created_at = PJ_NO_TIME};
    json_t *json = load_object(body, error);
    if (json == NULL)
        return -1;
    struct reading reading = {json, json_object(), "", error};
    int status = read_uuid(&reading, "id", "id");
    if (status == 0)
        take_uuid(reading.out, "id", answer->session_id);
    if (status == 0 && answer->session_id[0] == '\0')
        status = pj_error_set(error, PJ_POISON, "id is missing");
    if (status == 0)
        status = read_session(&reading);
    if (status == 0) {
        reading.error = &ignored; /* without it, we use our own time */
        if (read_time(&reading, "created_at") == 0 &&
            json_object_get(reading.out, "created_at") != NULL)
            answer->created_at = json_integer_value(json_object_get(reading.out, "created_at"));
        json_object_del(reading.out, "created_at");
        if (json_string_length(json_object_get(reading.out, "platform")) == 0)
            json_object_set_new(reading.out, "platform", json_string("unknown"));
        read_metadata(&reading, body);
        answer->opened = reading.out;
    } else {
        json_decref(reading.out);
    }
    json_decref(json);
    return status;
}
