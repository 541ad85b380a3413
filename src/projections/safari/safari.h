/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the Safari projections share: the fields of the three topics' records, and the rules about
 * cursors and statuses that more than one table follows.
 */
#ifndef PJ_PROJECTIONS_SAFARI_SAFARI_H
#define PJ_PROJECTIONS_SAFARI_SAFARI_H

#include "projectionist/json.h"
#include "projectionist/projection.h"

/* --- safari.commands ------------------------------------------------------------------------- */

enum safari_command_field {
    COMMAND_EVENT_ID,
    COMMAND_ID,
    COMMAND_CURSOR,
    COMMAND_EMITTED_AT,
    COMMAND_SUBMITTED, /* bool: the body is CommandSubmitted … */
    COMMAND_TYPE,
    COMMAND_PAYLOAD,
    COMMAND_IDEMPOTENCY_KEY,
    COMMAND_CORRELATION_ID,
    COMMAND_REQUESTED_AT,
    COMMAND_REQUESTER_SERVICE,
    COMMAND_REQUESTER_INSTANCE,
    COMMAND_TARGET, /* JSON */
    COMMAND_TARGET_SESSION_ID,
    COMMAND_TARGET_ACCOUNT_ID,
    COMMAND_TARGET_PLATFORM,
    COMMAND_STATUS_CHANGED, /* bool: … or CommandStatusChanged */
    COMMAND_STATUS,
    COMMAND_RESULT,
    COMMAND_ERROR,
    COMMAND_FIELDS,
};

extern const struct pj_field safari_command_fields[COMMAND_FIELDS];

#define SAFARI_COMMANDS(observe_function)                                                          \
    {                                                                                              \
        .topic = "safari.commands", .schema = pj_schema_safari_commands,                           \
        .fields = safari_command_fields, .field_count = COMMAND_FIELDS,                            \
        .event_time = COMMAND_EMITTED_AT, .observe = (observe_function),                           \
    }

/* --- safari.telemetry ------------------------------------------------------------------------ */

enum safari_telemetry_field {
    TELEMETRY_EVENT_ID,
    TELEMETRY_VERSION,
    TELEMETRY_TYPE,
    TELEMETRY_SEVERITY,
    TELEMETRY_COMMAND_ID,
    TELEMETRY_CORRELATION_ID,
    TELEMETRY_TARGET, /* JSON */
    TELEMETRY_TARGET_SESSION_ID,
    TELEMETRY_TARGET_PLATFORM,
    TELEMETRY_PAYLOAD,
    TELEMETRY_CURSOR,
    TELEMETRY_EMITTED_AT,
    TELEMETRY_FIELDS,
};

extern const struct pj_field safari_telemetry_fields[TELEMETRY_FIELDS];

#define SAFARI_TELEMETRY(observe_function)                                                         \
    {                                                                                              \
        .topic = "safari.telemetry", .schema = pj_schema_safari_telemetry,                         \
        .fields = safari_telemetry_fields, .field_count = TELEMETRY_FIELDS,                        \
        .event_time = TELEMETRY_EMITTED_AT, .observe = (observe_function),                         \
    }

/* --- safari.sessions ------------------------------------------------------------------------- */

enum safari_session_field {
    SESSION_EVENT_ID,
    SESSION_ID,
    SESSION_EMITTED_AT,
    SESSION_OPENED, /* bool */
    SESSION_PLATFORM,
    SESSION_ACCOUNT_ID,
    SESSION_BROWSER_PID,
    SESSION_METADATA,
    SESSION_CLOSED, /* bool */
    SESSION_FIELDS,
};

extern const struct pj_field safari_session_fields[SESSION_FIELDS];

#define SAFARI_SESSIONS(observe_function)                                                          \
    {                                                                                              \
        .topic = "safari.sessions", .schema = pj_schema_safari_sessions,                           \
        .fields = safari_session_fields, .field_count = SESSION_FIELDS,                            \
        .event_time = SESSION_EMITTED_AT, .observe = (observe_function),                           \
    }

/* --- rules ----------------------------------------------------------------------------------- */

enum safari_rank { SAFARI_QUEUED, SAFARI_RUNNING, SAFARI_TERMINAL };

/*
 * Where a lifecycle event stands among those of its command: by (ms, counter) of its cursor, or by
 * emitted_at where it has none; then emitted_at, then rank, then event id. One order for both
 * kinds, so that a mixture has one winner too.
 */
struct pj_order safari_lifecycle_order(const struct pj_value *cursor,
                                       const struct pj_value *emitted_at, enum safari_rank rank,
                                       const struct pj_value *event_id);

/* A CommandStatusChanged. */
struct safari_lifecycle {
    const char *status; /* as the tables hold it, whichever wire's word it was */
    enum safari_rank rank;
    struct pj_order order; /* safari_lifecycle_order */
    struct pj_order time;  /* safari_time_order */
    struct pj_value error; /* with the service's word as the reason, where that is all it says */
};

/* Fails, as a dead letter, where the status is no known word. */
int safari_read_lifecycle(const struct pj_value *values, struct safari_lifecycle *lifecycle,
                          struct pj_error *error) PJ_MUST_CHECK;

/* The text, or null where it is empty: many clients send "" for what they do not know. */
static inline struct pj_value safari_nonempty(struct pj_value text)
{
    text.present = text.present && text.text.length > 0;
    return text;
}

/* A member of a JSON object by its name on either wire (camel_case NULL: it has one name only);
 * NULL where there is none, or no object. */
const json_t *safari_member(const json_t *object, const char *name, const char *camel_case);

/* Fails, as a dead letter, where the text member of a payload is longer than its column, which
 * would refuse it only when it is written, and so not always. The object may be NULL. */
int safari_check_length(const json_t *object, const char *name, size_t most_chars,
                        struct pj_error *error) PJ_MUST_CHECK;

/* By time, the earlier first; then by event id. */
struct pj_order safari_time_order(const struct pj_value *at, const struct pj_value *event_id);

#endif
