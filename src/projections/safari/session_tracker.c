/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session-tracker: every browser session, in safari_sessions.
 *
 * A session is opened and closed by its own events or by commands, and kept alive by whatever
 * happens in it. Commands tell their sessions; what is activity once stays activity, so a session
 * keeps only the first and the last of it. Expiry is by stream time: a session whose last activity
 * lies further back than the time-out has expired, until it is active again.
 */
#include "projections/safari/projections.h"
#include "projections/safari/session_facts.h"
#include "schemas.h"

/* --- the table ------------------------------------------------------------------------------- */

#define SAFARI_SESSIONS_COLUMNS(COLUMN)                                                            \
    COLUMN(session_id, PJ_UUID, .key = true)                                                       \
    COLUMN(platform, PJ_TEXT)                                                                      \
    COLUMN(account_id, PJ_UUID)                                                                    \
    COLUMN(status, PJ_TEXT)                                                                        \
    COLUMN(browser_pid, PJ_INT)                                                                    \
    COLUMN(started_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(ended_at, PJ_TIMESTAMPTZ)                                                               \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(last_activity_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(safari_sessions, SAFARI_SESSIONS_COLUMNS);

static const struct pj_table safari_sessions_table = {
    .name = "safari_sessions",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(safari_sessions),
};

/* --- what events mean ------------------------------------------------------------------------ */

void session_keep_activity(struct pj_observer *observer, const struct pj_uuid *session,
                           struct pj_timestamptz at, const struct pj_order *order,
                           struct pj_text platform)
{
    PJ_KEEP(observer, first_activity, session->uuid, NULL, order, {.at = at});
    PJ_KEEP(observer, last_activity, session->uuid, NULL, order, {.at = at});
    if (safari_nonempty(platform).present)
        PJ_KEEP(observer, first_platform, session->uuid, NULL, order, {.platform = platform});
}

static int observe_session(const struct pj_event *event, struct pj_observer *observer,
                           struct pj_error *error)
{
    const struct safari_session *e = PJ_EVENT(event, safari_session);
    struct pj_order order = PJ_ORDER(e->event_id, e->emitted_at.integer);
    if (e->opened.present) {
        PJ_KEEP(observer, opened, e->session_id.uuid, NULL, &order,
                {
                    .platform = safari_nonempty(e->platform),
                    .account_id = e->account_id,
                    .browser_pid = e->browser_pid,
                    .metadata = e->metadata,
                    .at = e->emitted_at,
                });
        session_keep_activity(observer, &e->session_id, e->emitted_at, &order, PJ_TEXT(pj_null()));
        return 0;
    }
    if (!e->closed.present)
        return pj_error_set(error, PJ_POISON, "body is neither SessionOpened nor SessionClosed");
    PJ_KEEP(observer, closed, e->session_id.uuid, NULL, &order, {.at = e->emitted_at});
    return 0;
}

static int observe_telemetry(const struct pj_event *event, struct pj_observer *observer,
                             struct pj_error *error)
{
    (void)error;
    const struct safari_frame *e = PJ_EVENT(event, safari_frame);
    struct pj_order order = PJ_ORDER(e->event_id, e->emitted_at.integer);
    if (e->session_id.present)
        session_keep_activity(observer, &e->session_id, e->emitted_at, &order, e->platform);
    return 0;
}

/* --- the row --------------------------------------------------------------------------------- */

static struct pj_timestamptz earlier(struct pj_timestamptz a, struct pj_timestamptz b)
{
    return a.present && (!b.present || a.integer <= b.integer) ? a : b;
}

static void set_opening(const struct pj_entity *entity, struct safari_sessions *row)
{
    size_t count;
    const struct opened *opened = PJ_FACT(entity, opened);
    const struct pj_fact *openings = PJ_ALL(entity, opened_by_command, &count);
    const struct opened_by_command *by_command = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct opened_by_command *o = PJ_SAYS(opened_by_command, &openings[i]);
        if (by_command == NULL || o->at.integer < by_command->at.integer)
            by_command = o;
        if (o->at.integer > row->last_activity_at.integer || !row->last_activity_at.present)
            row->last_activity_at = o->at; /* every opening is activity, too */
    }
    if (opened != NULL) {
        row->platform = opened->platform;
        row->account_id = opened->account_id;
        row->browser_pid = opened->browser_pid;
        row->metadata = opened->metadata;
        row->started_at = opened->at;
    } else if (by_command != NULL) {
        row->platform = by_command->platform;
        row->account_id = by_command->account_id;
        row->started_at = by_command->at;
    } else {
        row->started_at = PJ_SAID(entity, first_activity)->at;
    }
    row->platform =
        PJ_OR(row->platform, PJ_OR(PJ_SAID(entity, first_platform)->platform, PJ_TEXT("unknown")));
}

static void derive_session(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *closings = PJ_ALL(entity, closed_by_command, &count);
    struct pj_timestamptz closed = PJ_SAID(entity, closed)->at;
    for (size_t i = 0; i < count; i++)
        closed = earlier(closed, PJ_SAYS(closed_by_command, &closings[i])->at);
    struct safari_sessions *row = PJ_ROW(derivation, safari_sessions);
    row->session_id = PJ_UUID(pj_entity_key(entity));
    row->last_activity_at = PJ_SAID(entity, last_activity)->at;
    set_opening(entity, row);
    row->started_at = PJ_OR(row->started_at, closed);
    row->created_at = row->started_at;
    row->status = PJ_TEXT(closed.present ? "closed" : "active");
    row->ended_at = closed;
    if (closed.present)
        return;
    int64_t end;
    if (__builtin_add_overflow(row->last_activity_at.integer,
                               pj_setting_duration(derivation, 0) * 1000, &end))
        end = INT64_MAX;
    if (end < pj_stream_time(derivation)) {
        row->status = PJ_TEXT("expired");
        row->ended_at = PJ_TIMESTAMPTZ(end);
    } else {
        pj_due(derivation, end);
    }
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_session_tracker = {
    .name = "session-tracker",
    .summary = "keep safari_sessions: every browser session",
    PJ_SOURCES(SAFARI_COMMANDS(session_observe_command), SAFARI_TELEMETRY(observe_telemetry),
               SAFARI_SESSIONS(observe_session)),
    PJ_ENTITIES([SESSION_COMMAND] = {.name = "command",
                                     PJ_FACTS_OF(session_command),
                                     .derive = session_derive_command},
                [SESSION] = {.name = "session",
                             PJ_FACTS_OF(session),
                             .derive = derive_session,
                             .timed = true}),
    PJ_TABLES(&safari_sessions_table),
    .settings =
        (const struct pj_setting[]){
            {"session-timeout", "30m",
             "A session has expired when its last activity lies further back than this in stream "
             "time."},
            {0},
        },
};
