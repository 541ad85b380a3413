/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session-tracker: every browser session, in safari_sessions.
 *
 * A session is opened and closed by its own events or by commands, and kept alive by whatever
 * happens in it. Commands tell their sessions; what is activity once stays activity, so a session
 * keeps only the first and the last of it. Expiry is by stream time: a session whose last activity
 * lies further back than the time-out has expired, until it is active again.
 */
#include "projections/safari/safari.h"
#include "schemas.h"

/* --- the table ------------------------------------------------------------------------------- */

enum {
    X_SESSION_ID,
    X_PLATFORM,
    X_ACCOUNT_ID,
    X_STATUS,
    X_BROWSER_PID,
    X_STARTED_AT,
    X_ENDED_AT,
    X_METADATA,
    X_CREATED_AT,
    X_LAST_ACTIVITY_AT,
    X_COLUMNS,
};

static const struct pj_column session_columns[X_COLUMNS] = {
    [X_SESSION_ID] = {"session_id", PJ_UUID, .key = true},
    [X_PLATFORM] = {"platform", PJ_TEXT},
    [X_ACCOUNT_ID] = {"account_id", PJ_UUID},
    [X_STATUS] = {"status", PJ_TEXT},
    [X_BROWSER_PID] = {"browser_pid", PJ_INT},
    [X_STARTED_AT] = {"started_at", PJ_TIMESTAMPTZ},
    [X_ENDED_AT] = {"ended_at", PJ_TIMESTAMPTZ},
    [X_METADATA] = {"metadata", PJ_JSONB},
    [X_CREATED_AT] = {"created_at", PJ_TIMESTAMPTZ},
    [X_LAST_ACTIVITY_AT] = {"last_activity_at", PJ_TIMESTAMPTZ},
};

static const struct pj_table sessions = {
    .name = "safari_sessions",
    .kind = PJ_ENTITY_TABLE,
    .columns = session_columns,
    .column_count = X_COLUMNS,
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { COMMAND, SESSION, ENTITIES };

enum {
    COMMAND_SUBMISSION, /* the earliest */
    COMMAND_LAST,       /* the winning lifecycle event */
    COMMAND_SESSION,    /* per session that any submission targets */
    COMMAND_FIRST_EVENT,
    COMMAND_LAST_EVENT,
    COMMAND_FACTS,
};
enum { S_TYPE, S_PAYLOAD, S_SESSION_ID, S_ACCOUNT_ID, S_PLATFORM };
enum { L_SUCCEEDED, L_RESULT, L_AT };

static const struct pj_fact_kind command_facts[COMMAND_FACTS] = {
    [COMMAND_SUBMISSION] = {"submitted", PJ_LEAST,
                            PJ_FACT_VALUES(PJ_TEXT, PJ_JSONB, PJ_UUID, PJ_UUID, PJ_TEXT)},
    [COMMAND_LAST] = {"last status", PJ_GREATEST,
                      PJ_FACT_VALUES(PJ_BOOL, PJ_JSONB, PJ_TIMESTAMPTZ)},
    [COMMAND_SESSION] = {"session it acts in", PJ_LEAST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
    [COMMAND_FIRST_EVENT] = {"first lifecycle event", PJ_LEAST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
    [COMMAND_LAST_EVENT] = {"last lifecycle event", PJ_GREATEST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
};

enum {
    SESSION_OPEN,            /* by its own event: the earliest */
    SESSION_OPEN_BY_COMMAND, /* per command */
    SESSION_CLOSE,
    SESSION_CLOSE_BY_COMMAND, /* per command */
    SESSION_FIRST_ACTIVITY,
    SESSION_LAST_ACTIVITY,
    SESSION_FIRST_PLATFORM, /* of the earliest activity that names one */
    SESSION_FACTS,
};
enum { O_PLATFORM, O_ACCOUNT_ID, O_BROWSER_PID, O_METADATA, O_AT };
enum { Q_PLATFORM, Q_ACCOUNT_ID, Q_AT };

static const struct pj_fact_kind session_facts[SESSION_FACTS] = {
    [SESSION_OPEN] = {"opened", PJ_LEAST,
                      PJ_FACT_VALUES(PJ_TEXT, PJ_UUID, PJ_INT, PJ_JSONB, PJ_TIMESTAMPTZ)},
    [SESSION_OPEN_BY_COMMAND] = {"opened by a command", PJ_LEAST,
                                 PJ_FACT_VALUES(PJ_TEXT, PJ_UUID, PJ_TIMESTAMPTZ)},
    [SESSION_CLOSE] = {"closed", PJ_LEAST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
    [SESSION_CLOSE_BY_COMMAND] = {"closed by a command", PJ_LEAST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
    [SESSION_FIRST_ACTIVITY] = {"first activity", PJ_LEAST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
    [SESSION_LAST_ACTIVITY] = {"last activity", PJ_GREATEST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
    [SESSION_FIRST_PLATFORM] = {"first platform", PJ_LEAST, PJ_FACT_VALUES(PJ_TEXT)},
};

/* --- what events mean ------------------------------------------------------------------------ */

static void keep_activity(struct pj_observer *observer, const uint8_t session[16],
                          const struct pj_value *at, const struct pj_value *event_id,
                          const struct pj_value *platform)
{
    struct pj_order order = safari_time_order(at, event_id);
    pj_keep(observer, SESSION, session, SESSION_FIRST_ACTIVITY, NULL, &order, at);
    pj_keep(observer, SESSION, session, SESSION_LAST_ACTIVITY, NULL, &order, at);
    if (platform != NULL && safari_nonempty(*platform).present)
        pj_keep(observer, SESSION, session, SESSION_FIRST_PLATFORM, NULL, &order, platform);
}

static int observe_session(const struct pj_event *event, struct pj_observer *observer,
                           struct pj_error *error)
{
    const struct pj_value *v = event->values;
    const uint8_t *session = v[SESSION_ID].uuid;
    struct pj_order order = safari_time_order(&v[SESSION_EMITTED_AT], &v[SESSION_EVENT_ID]);
    if (v[SESSION_OPENED].present) {
        struct pj_value opened[] = {safari_nonempty(v[SESSION_PLATFORM]), v[SESSION_ACCOUNT_ID],
                                    v[SESSION_BROWSER_PID], v[SESSION_METADATA],
                                    v[SESSION_EMITTED_AT]};
        pj_keep(observer, SESSION, session, SESSION_OPEN, NULL, &order, opened);
        keep_activity(observer, session, &v[SESSION_EMITTED_AT], &v[SESSION_EVENT_ID], NULL);
        return 0;
    }
    if (!v[SESSION_CLOSED].present)
        return pj_error_set(error, PJ_POISON, "body is neither SessionOpened nor SessionClosed");
    pj_keep(observer, SESSION, session, SESSION_CLOSE, NULL, &order, &v[SESSION_EMITTED_AT]);
    return 0;
}

static int observe_telemetry(const struct pj_event *event, struct pj_observer *observer,
                             struct pj_error *error)
{
    (void)error;
    const struct pj_value *v = event->values;
    if (v[TELEMETRY_TARGET_SESSION_ID].present)
        keep_activity(observer, v[TELEMETRY_TARGET_SESSION_ID].uuid, &v[TELEMETRY_EMITTED_AT],
                      &v[TELEMETRY_EVENT_ID], &v[TELEMETRY_TARGET_PLATFORM]);
    return 0;
}

static bool about_sessions(const struct pj_value *type)
{
    return pj_text_is(type, "session.create") || pj_text_is(type, "session.close");
}

static int observe_submitted(const struct pj_value *v, struct pj_observer *observer,
                             struct pj_error *error)
{
    const uint8_t *command = v[COMMAND_ID].uuid;
    const struct pj_value *session = &v[COMMAND_TARGET_SESSION_ID];
    bool wanted = about_sessions(&v[COMMAND_TYPE]);
    if (pj_text_is(&v[COMMAND_TYPE], "session.create") &&
        safari_check_length(pj_observer_json(observer, &v[COMMAND_PAYLOAD]), "platform", 50,
                            error) != 0)
        return -1;
    struct pj_order order = safari_time_order(&v[COMMAND_EMITTED_AT], &v[COMMAND_EVENT_ID]);
    struct pj_value submitted[] = {v[COMMAND_TYPE], wanted ? v[COMMAND_PAYLOAD] : pj_null(),
                                   *session, v[COMMAND_TARGET_ACCOUNT_ID],
                                   safari_nonempty(v[COMMAND_TARGET_PLATFORM])};
    pj_keep(observer, COMMAND, command, COMMAND_SUBMISSION, NULL, &order, submitted);
    if (session->present) {
        pj_keep(observer, COMMAND, command, COMMAND_SESSION, session->uuid, &order,
                &v[COMMAND_EMITTED_AT]);
        keep_activity(observer, session->uuid, &v[COMMAND_EMITTED_AT], &v[COMMAND_EVENT_ID],
                      &v[COMMAND_TARGET_PLATFORM]);
    }
    return 0;
}

static int observe_command(const struct pj_event *event, struct pj_observer *observer,
                           struct pj_error *error)
{
    const struct pj_value *v = event->values;
    const uint8_t *command = v[COMMAND_ID].uuid;
    struct safari_lifecycle lifecycle;
    if (v[COMMAND_SUBMITTED].present)
        return observe_submitted(v, observer, error);
    if (safari_read_lifecycle(v, &lifecycle, error) != 0)
        return -1;
    struct pj_value last[] = {pj_bool(strcmp(lifecycle.status, "SUCCEEDED") == 0),
                              v[COMMAND_RESULT], v[COMMAND_EMITTED_AT]};
    pj_keep(observer, COMMAND, command, COMMAND_LAST, NULL, &lifecycle.order, last);
    pj_keep(observer, COMMAND, command, COMMAND_FIRST_EVENT, NULL, &lifecycle.time,
            &v[COMMAND_EMITTED_AT]);
    pj_keep(observer, COMMAND, command, COMMAND_LAST_EVENT, NULL, &lifecycle.time,
            &v[COMMAND_EMITTED_AT]);
    return 0;
}

/* --- what a command tells its sessions ------------------------------------------------------- */

static struct pj_value uuid_member(const json_t *object, const char *name, const char *camel_case)
{
    return pj_json_uuid(safari_member(object, name, camel_case));
}

static void derive_create(const struct pj_entity *entity, const struct pj_value *submitted,
                          const struct pj_value *last, struct pj_derivation *derivation)
{
    const json_t *payload = pj_derivation_json(derivation, &submitted[S_PAYLOAD]);
    const json_t *result = pj_derivation_json(derivation, &last[L_RESULT]);
    struct pj_value session = uuid_member(result, "session_id", "sessionId");
    struct pj_value opened[] = {
        safari_nonempty(pj_derivation_text(derivation, json_object_get(payload, "platform"))),
        uuid_member(payload, "account_id", "accountId"), last[L_AT]};
    if (!opened[Q_PLATFORM].present)
        opened[Q_PLATFORM] = submitted[S_PLATFORM];
    if (!opened[Q_ACCOUNT_ID].present)
        opened[Q_ACCOUNT_ID] = submitted[S_ACCOUNT_ID];
    if (session.present)
        pj_contribute(derivation, SESSION, session.uuid, SESSION_OPEN_BY_COMMAND,
                      pj_entity_key(entity), opened);
}

static void derive_close(const struct pj_entity *entity, const struct pj_value *submitted,
                         const struct pj_value *last, struct pj_derivation *derivation)
{
    const json_t *payload = pj_derivation_json(derivation, &submitted[S_PAYLOAD]);
    struct pj_value session = submitted[S_SESSION_ID];
    if (!session.present)
        session = uuid_member(payload, "session_id", "sessionId");
    if (session.present)
        pj_contribute(derivation, SESSION, session.uuid, SESSION_CLOSE_BY_COMMAND,
                      pj_entity_key(entity), &last[L_AT]);
}

static void derive_command(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *submission = pj_entity_fact(entity, COMMAND_SUBMISSION, NULL);
    const struct pj_fact *last = pj_entity_fact(entity, COMMAND_LAST, NULL);
    const struct pj_fact *first_event = pj_entity_fact(entity, COMMAND_FIRST_EVENT, NULL);
    const struct pj_fact *last_event = pj_entity_fact(entity, COMMAND_LAST_EVENT, NULL);
    const struct pj_fact *targets = pj_entity_facts(entity, COMMAND_SESSION, &count);
    for (size_t i = 0; last_event != NULL && i < count; i++) {
        pj_tell(derivation, SESSION, targets[i].subkey, SESSION_FIRST_ACTIVITY, NULL,
                &first_event->order, first_event->values);
        pj_tell(derivation, SESSION, targets[i].subkey, SESSION_LAST_ACTIVITY, NULL,
                &last_event->order, last_event->values);
    }
    if (submission == NULL || last == NULL || !last->values[L_SUCCEEDED].boolean)
        return;
    if (pj_text_is(&submission->values[S_TYPE], "session.create"))
        derive_create(entity, submission->values, last->values, derivation);
    else if (pj_text_is(&submission->values[S_TYPE], "session.close"))
        derive_close(entity, submission->values, last->values, derivation);
}

/* --- the row --------------------------------------------------------------------------------- */

static const struct pj_fact *earliest(const struct pj_entity *entity, size_t fact, int at)
{
    size_t count;
    const struct pj_fact *facts = pj_entity_facts(entity, fact, &count);
    const struct pj_fact *first = NULL;
    for (size_t i = 0; i < count; i++) {
        if (first == NULL || facts[i].values[at].integer < first->values[at].integer)
            first = &facts[i];
    }
    return first;
}

static struct pj_value least(struct pj_value a, const struct pj_fact *fact, int at)
{
    if (fact == NULL || (a.present && a.integer <= fact->values[at].integer))
        return a;
    return fact->values[at];
}

static struct pj_value greatest(struct pj_value a, const struct pj_fact *fact, int at)
{
    if (fact == NULL || (a.present && a.integer >= fact->values[at].integer))
        return a;
    return fact->values[at];
}

/* Every opening by a command is activity, too. */
static struct pj_value last_activity(const struct pj_entity *entity)
{
    size_t count;
    const struct pj_fact *by_command = pj_entity_facts(entity, SESSION_OPEN_BY_COMMAND, &count);
    struct pj_value last =
        greatest(pj_null(), pj_entity_fact(entity, SESSION_LAST_ACTIVITY, NULL), 0);
    for (size_t i = 0; i < count; i++)
        last = greatest(last, &by_command[i], Q_AT);
    return last;
}

static void set_opening(const struct pj_entity *entity, struct pj_value *row)
{
    const struct pj_fact *opened = pj_entity_fact(entity, SESSION_OPEN, NULL);
    const struct pj_fact *by_command = earliest(entity, SESSION_OPEN_BY_COMMAND, Q_AT);
    const struct pj_fact *platform = pj_entity_fact(entity, SESSION_FIRST_PLATFORM, NULL);
    const struct pj_fact *activity = pj_entity_fact(entity, SESSION_FIRST_ACTIVITY, NULL);
    if (opened != NULL) {
        row[X_PLATFORM] = opened->values[O_PLATFORM];
        row[X_ACCOUNT_ID] = opened->values[O_ACCOUNT_ID];
        row[X_BROWSER_PID] = opened->values[O_BROWSER_PID];
        row[X_METADATA] = opened->values[O_METADATA];
        row[X_STARTED_AT] = opened->values[O_AT];
    } else if (by_command != NULL) {
        row[X_PLATFORM] = by_command->values[Q_PLATFORM];
        row[X_ACCOUNT_ID] = by_command->values[Q_ACCOUNT_ID];
        row[X_STARTED_AT] = by_command->values[Q_AT];
    } else if (activity != NULL) {
        row[X_STARTED_AT] = activity->values[0];
    }
    if (!row[X_PLATFORM].present)
        row[X_PLATFORM] = platform != NULL ? platform->values[0] : pj_text("unknown");
}

static void derive_session(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    struct pj_value closed = least(pj_null(), pj_entity_fact(entity, SESSION_CLOSE, NULL), 0);
    closed = least(closed, earliest(entity, SESSION_CLOSE_BY_COMMAND, 0), 0);
    struct pj_value *row = pj_row(derivation, &sessions);
    row[X_SESSION_ID] = pj_uuid(pj_entity_key(entity));
    row[X_LAST_ACTIVITY_AT] = last_activity(entity);
    set_opening(entity, row);
    if (!row[X_STARTED_AT].present)
        row[X_STARTED_AT] = closed;
    row[X_CREATED_AT] = row[X_STARTED_AT];
    row[X_STATUS] = pj_text("active");
    if (closed.present) {
        row[X_STATUS] = pj_text("closed");
        row[X_ENDED_AT] = closed;
        return;
    }
    int64_t end;
    if (__builtin_add_overflow(row[X_LAST_ACTIVITY_AT].integer,
                               pj_setting_duration(derivation, 0) * 1000, &end))
        end = INT64_MAX;
    if (end < pj_stream_time(derivation)) {
        row[X_STATUS] = pj_text("expired");
        row[X_ENDED_AT] = pj_timestamp(end);
    } else {
        pj_due(derivation, end);
    }
}

/* --- the projection -------------------------------------------------------------------------- */

static const struct pj_source sources[] = {
    SAFARI_COMMANDS(observe_command),
    SAFARI_TELEMETRY(observe_telemetry),
    SAFARI_SESSIONS(observe_session),
};

static const struct pj_entity_kind entities[ENTITIES] = {
    [COMMAND] = {"command", command_facts, COMMAND_FACTS, derive_command},
    [SESSION] = {"session", session_facts, SESSION_FACTS, derive_session, .timed = true},
};

static const struct pj_table *const tables[] = {&sessions};

static const struct pj_setting settings[] = {
    {"session-timeout", "30m",
     "A session has expired when its last activity lies further back than this in stream time."},
    {0},
};

const struct pj_projection pj_session_tracker = {
    .name = "session-tracker",
    .summary = "keep safari_sessions: every browser session",
    .sources = sources,
    .source_count = 3,
    .entities = entities,
    .entity_count = ENTITIES,
    .tables = tables,
    .table_count = 1,
    .settings = settings,
};
