/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/safari/safari.h"

/* Lengths are those of the tables' columns: a longer text is refused before it reaches them. */

const struct pj_field safari_command_fields[COMMAND_FIELDS] = {
    [COMMAND_EVENT_ID] = {"event_id", PJ_UUID, .required = true},
    [COMMAND_ID] = {"command_id", PJ_UUID, .required = true},
    [COMMAND_CURSOR] = {"cursor", PJ_TEXT},
    [COMMAND_EMITTED_AT] = {"emitted_at", PJ_TIMESTAMPTZ, .required = true},
    [COMMAND_SUBMITTED] = {"body.CommandSubmitted", PJ_BOOL},
    [COMMAND_TYPE] = {"body.CommandSubmitted.type", PJ_TEXT, .required = true, .most_chars = 100},
    [COMMAND_PAYLOAD] = {"body.CommandSubmitted.payload", PJ_JSONB},
    [COMMAND_IDEMPOTENCY_KEY] = {"body.CommandSubmitted.idempotency_key", PJ_TEXT,
                                 .most_chars = 255},
    [COMMAND_CORRELATION_ID] = {"body.CommandSubmitted.correlation_id", PJ_UUID},
    [COMMAND_REQUESTED_AT] = {"body.CommandSubmitted.requested_at", PJ_TIMESTAMPTZ},
    [COMMAND_REQUESTER_SERVICE] = {"body.CommandSubmitted.requester_service", PJ_TEXT},
    [COMMAND_REQUESTER_INSTANCE] = {"body.CommandSubmitted.requester_instance", PJ_TEXT},
    [COMMAND_TARGET] = {"body.CommandSubmitted.target", PJ_JSONB},
    [COMMAND_TARGET_SESSION_ID] = {"body.CommandSubmitted.target.session_id", PJ_UUID},
    [COMMAND_TARGET_ACCOUNT_ID] = {"body.CommandSubmitted.target.account_id", PJ_UUID},
    [COMMAND_TARGET_PLATFORM] = {"body.CommandSubmitted.target.platform", PJ_TEXT,
                                 .most_chars = 50},
    [COMMAND_STATUS_CHANGED] = {"body.CommandStatusChanged", PJ_BOOL},
    [COMMAND_STATUS] = {"body.CommandStatusChanged.status", PJ_TEXT, .required = true},
    [COMMAND_RESULT] = {"body.CommandStatusChanged.result", PJ_JSONB},
    [COMMAND_ERROR] = {"body.CommandStatusChanged.error", PJ_TEXT},
};

const struct pj_field safari_telemetry_fields[TELEMETRY_FIELDS] = {
    [TELEMETRY_EVENT_ID] = {"event_id", PJ_UUID, .required = true},
    [TELEMETRY_VERSION] = {"version", PJ_TEXT, .most_chars = 20},
    [TELEMETRY_TYPE] = {"type", PJ_TEXT, .required = true, .most_chars = 100},
    [TELEMETRY_SEVERITY] = {"severity", PJ_TEXT, .most_chars = 20},
    [TELEMETRY_COMMAND_ID] = {"command_id", PJ_UUID},
    [TELEMETRY_CORRELATION_ID] = {"correlation_id", PJ_UUID},
    [TELEMETRY_TARGET] = {"target", PJ_JSONB},
    [TELEMETRY_TARGET_SESSION_ID] = {"target.session_id", PJ_UUID},
    [TELEMETRY_TARGET_PLATFORM] = {"target.platform", PJ_TEXT, .most_chars = 50},
    [TELEMETRY_PAYLOAD] = {"payload", PJ_JSONB},
    [TELEMETRY_CURSOR] = {"cursor", PJ_TEXT, .most_chars = 100},
    [TELEMETRY_EMITTED_AT] = {"emitted_at", PJ_TIMESTAMPTZ, .required = true},
};

const struct pj_field safari_session_fields[SESSION_FIELDS] = {
    [SESSION_EVENT_ID] = {"event_id", PJ_UUID, .required = true},
    [SESSION_ID] = {"session_id", PJ_UUID, .required = true},
    [SESSION_EMITTED_AT] = {"emitted_at", PJ_TIMESTAMPTZ, .required = true},
    [SESSION_OPENED] = {"body.SessionOpened", PJ_BOOL},
    [SESSION_PLATFORM] = {"body.SessionOpened.platform", PJ_TEXT, .required = true,
                          .most_chars = 50},
    [SESSION_ACCOUNT_ID] = {"body.SessionOpened.account_id", PJ_UUID},
    [SESSION_BROWSER_PID] = {"body.SessionOpened.browser_pid", PJ_INT},
    [SESSION_METADATA] = {"body.SessionOpened.metadata", PJ_JSONB},
    [SESSION_CLOSED] = {"body.SessionClosed", PJ_BOOL},
};

static const struct word {
    const char *word;
    const char *status;
    enum safari_rank rank;
} words[] = {
    {"QUEUED", "QUEUED", SAFARI_QUEUED},
    {"PENDING", "QUEUED", SAFARI_QUEUED},
    {"RUNNING", "RUNNING", SAFARI_RUNNING},
    {"POLLING", "RUNNING", SAFARI_RUNNING},
    {"SUCCEEDED", "SUCCEEDED", SAFARI_TERMINAL},
    {"FAILED", "FAILED", SAFARI_TERMINAL},
    {"VERIFICATION_FAILED", "FAILED", SAFARI_TERMINAL},
    {"CANCELLED", "CANCELLED", SAFARI_TERMINAL},
};

/* Digits up to `end`; at most 18, so that it fits. */
static bool digits(const char *at, const char *end, int64_t *value)
{
    if (at == end || end - at > 18)
        return false;
    *value = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return false;
        *value = *value * 10 + (*at - '0');
    }
    return true;
}

/* `<epoch ms>-<counter>`; the counter is not zero-padded, so only numbers sort it. */
static bool read_cursor(const struct pj_value *cursor, int64_t *ms, int64_t *counter)
{
    if (!cursor->present)
        return false;
    const char *text = cursor->text.data;
    const char *end = text + cursor->text.length;
    const char *dash = memchr(text, '-', cursor->text.length);
    return dash != NULL && digits(text, dash, ms) && digits(dash + 1, end, counter);
}

static int64_t floor_ms(int64_t microseconds)
{
    return microseconds / 1000 - (microseconds % 1000 < 0 ? 1 : 0);
}

struct pj_order safari_lifecycle_order(const struct pj_value *cursor,
                                       const struct pj_value *emitted_at, enum safari_rank rank,
                                       const struct pj_value *event_id)
{
    struct pj_order order = {
        .rank = {floor_ms(emitted_at->integer), -1, emitted_at->integer, rank}};
    int64_t ms;
    int64_t counter;
    if (read_cursor(cursor, &ms, &counter)) {
        order.rank[0] = ms;
        order.rank[1] = counter;
    }
    memcpy(order.tie, event_id->uuid, 16);
    return order;
}

struct pj_order safari_time_order(const struct pj_value *at, const struct pj_value *event_id)
{
    struct pj_order order = {.rank = {at->integer}};
    memcpy(order.tie, event_id->uuid, 16);
    return order;
}

int safari_read_lifecycle(const struct pj_value *values, struct safari_lifecycle *lifecycle,
                          struct pj_error *error)
{
    const struct pj_value *word = &values[COMMAND_STATUS];
    const struct pj_value *at = &values[COMMAND_EMITTED_AT];
    const struct pj_value *event_id = &values[COMMAND_EVENT_ID];
    if (!values[COMMAND_STATUS_CHANGED].present)
        return pj_error_set(error, PJ_POISON,
                            "body is neither CommandSubmitted nor CommandStatusChanged");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!pj_text_is(word, words[i].word))
            continue;
        lifecycle->status = words[i].status;
        lifecycle->rank = words[i].rank;
        lifecycle->order =
            safari_lifecycle_order(&values[COMMAND_CURSOR], at, lifecycle->rank, event_id);
        lifecycle->time = safari_time_order(at, event_id);
        lifecycle->error = values[COMMAND_ERROR];
        if (!lifecycle->error.present && strcmp(words[i].word, "VERIFICATION_FAILED") == 0)
            lifecycle->error = pj_text(words[i].word);
        return 0;
    }
    return pj_error_set(error, PJ_POISON, "status \"%.*s\" is not a known word",
                        (int)(word->text.length < 64 ? word->text.length : 64), word->text.data);
}

const json_t *safari_member(const json_t *object, const char *name, const char *camel_case)
{
    const json_t *value = json_object_get(object, name);
    return value != NULL ? value : json_object_get(object, camel_case);
}

int safari_check_length(const json_t *object, const char *name, size_t most_chars,
                        struct pj_error *error)
{
    const char *text = json_string_value(json_object_get(object, name));
    size_t chars = 0;
    for (; text != NULL && *text; text++)
        chars += ((unsigned char)*text & 0xc0) != 0x80;
    if (chars <= most_chars)
        return 0;
    return pj_error_set(error, PJ_POISON, "payload.%s has %zu characters, at most %zu fit", name,
                        chars, most_chars);
}
