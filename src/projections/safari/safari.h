/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the Safari projections share: the fields of the three topics' records, and the rules about
 * cursors and statuses that more than one table follows.
 */
#ifndef PJ_PROJECTIONS_SAFARI_SAFARI_H
#define PJ_PROJECTIONS_SAFARI_SAFARI_H

#include "projectionist/json.h"
#include "projectionist/typed.h"

/*
 * The fields of each topic that the tables follow from. Lengths are those of the tables' columns: a
 * longer text is refused before it reaches them.
 */

/* --- safari.commands ------------------------------------------------------------------------- */

#define SAFARI_COMMAND(FIELD)                                                                      \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(command_id, "command_id", PJ_UUID, .required = true)                                     \
    FIELD(cursor, "cursor", PJ_TEXT)                                                               \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    /* Either the body is CommandSubmitted … */                                                  \
    FIELD(submitted, "body.CommandSubmitted", PJ_BOOL)                                             \
    FIELD(type, "body.CommandSubmitted.type", PJ_TEXT, .required = true, .most_chars = 100)        \
    FIELD(payload, "body.CommandSubmitted.payload", PJ_JSONB)                                      \
    FIELD(idempotency_key, "body.CommandSubmitted.idempotency_key", PJ_TEXT, .most_chars = 255)    \
    FIELD(correlation_id, "body.CommandSubmitted.correlation_id", PJ_UUID)                         \
    FIELD(requested_at, "body.CommandSubmitted.requested_at", PJ_TIMESTAMPTZ)                      \
    FIELD(requester_service, "body.CommandSubmitted.requester_service", PJ_TEXT)                   \
    FIELD(requester_instance, "body.CommandSubmitted.requester_instance", PJ_TEXT)                 \
    FIELD(target, "body.CommandSubmitted.target", PJ_JSONB)                                        \
    FIELD(session_id, "body.CommandSubmitted.target.session_id", PJ_UUID)                          \
    FIELD(account_id, "body.CommandSubmitted.target.account_id", PJ_UUID)                          \
    FIELD(platform, "body.CommandSubmitted.target.platform", PJ_TEXT, .most_chars = 50)            \
    /* … or CommandStatusChanged. */                                                             \
    FIELD(status_changed, "body.CommandStatusChanged", PJ_BOOL)                                    \
    FIELD(status, "body.CommandStatusChanged.status", PJ_TEXT, .required = true)                   \
    FIELD(result, "body.CommandStatusChanged.result", PJ_JSONB)                                    \
    FIELD(error, "body.CommandStatusChanged.error", PJ_TEXT)
PJ_FIELDS(safari_command, SAFARI_COMMAND);

/* --- safari.telemetry ------------------------------------------------------------------------ */

#define SAFARI_FRAME(FIELD)                                                                        \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(version, "version", PJ_TEXT, .most_chars = 20)                                           \
    FIELD(type, "type", PJ_TEXT, .required = true, .most_chars = 100)                              \
    FIELD(severity, "severity", PJ_TEXT, .most_chars = 20)                                         \
    FIELD(command_id, "command_id", PJ_UUID)                                                       \
    FIELD(correlation_id, "correlation_id", PJ_UUID)                                               \
    FIELD(target, "target", PJ_JSONB)                                                              \
    FIELD(session_id, "target.session_id", PJ_UUID)                                                \
    FIELD(platform, "target.platform", PJ_TEXT, .most_chars = 50)                                  \
    FIELD(payload, "payload", PJ_JSONB)                                                            \
    FIELD(cursor, "cursor", PJ_TEXT, .most_chars = 100)                                            \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)
PJ_FIELDS(safari_frame, SAFARI_FRAME);

/* --- safari.sessions ------------------------------------------------------------------------- */

#define SAFARI_SESSION(FIELD)                                                                      \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(session_id, "session_id", PJ_UUID, .required = true)                                     \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(opened, "body.SessionOpened", PJ_BOOL)                                                   \
    FIELD(platform, "body.SessionOpened.platform", PJ_TEXT, .required = true, .most_chars = 50)    \
    FIELD(account_id, "body.SessionOpened.account_id", PJ_UUID)                                    \
    FIELD(browser_pid, "body.SessionOpened.browser_pid", PJ_INT)                                   \
    FIELD(metadata, "body.SessionOpened.metadata", PJ_JSONB)                                       \
    FIELD(closed, "body.SessionClosed", PJ_BOOL)
PJ_FIELDS(safari_session, SAFARI_SESSION);

/* The topics as sources. A file that uses them includes schemas.h. */
#define SAFARI_COMMANDS(observe_function)                                                          \
    PJ_SOURCE("safari.commands", pj_schema_safari_commands, safari_command, observe_function)
#define SAFARI_TELEMETRY(observe_function)                                                         \
    PJ_SOURCE("safari.telemetry", pj_schema_safari_telemetry, safari_frame, observe_function)
#define SAFARI_SESSIONS(observe_function)                                                          \
    PJ_SOURCE("safari.sessions", pj_schema_safari_sessions, safari_session, observe_function)

/* --- rules ----------------------------------------------------------------------------------- */

enum safari_rank { SAFARI_QUEUED, SAFARI_RUNNING, SAFARI_TERMINAL };

/*
 * Where a lifecycle event stands among those of its command: by (ms, counter) of its cursor, or by
 * emitted_at where it has none; then emitted_at, then rank, then event id. One order for both
 * kinds, so that a mixture has one winner too.
 */
struct pj_order safari_lifecycle_order(struct pj_text cursor, struct pj_timestamptz emitted_at,
                                       enum safari_rank rank, struct pj_uuid event_id);

/* A CommandStatusChanged. */
struct safari_lifecycle {
    struct pj_text status; /* as the tables hold it, whichever wire's word it was */
    enum safari_rank rank;
    struct pj_order order; /* safari_lifecycle_order */
    struct pj_order time;  /* emitted_at, the earlier first */
    struct pj_text error;  /* with the service's word as the reason, where that is all it says */
};

/* Fails, as a dead letter, where the status is no known word. */
int safari_read_lifecycle(const struct safari_command *event, struct safari_lifecycle *lifecycle,
                          struct pj_error *error) PJ_MUST_CHECK;

/* The text, or null where it is empty: many clients send "" for what they do not know. */
static inline struct pj_text safari_nonempty(struct pj_text text)
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

#endif
