/* SPDX-License-Identifier: Apache-2.0 */
/* What commands say of sessions: those that create or close one, when they succeed, and those that
 * act in one, which are activity. */
#include "projections/safari/session_facts.h"

static int observe_submitted(const struct safari_command *e, struct pj_observer *observer,
                             struct pj_error *error)
{
    bool creates = pj_text_is(&e->type.value, "session.create");
    bool about_sessions = creates || pj_text_is(&e->type.value, "session.close");
    if (creates && safari_check_length(pj_observer_json(observer, &e->payload.value), "platform",
                                       50, error) != 0)
        return -1;
    struct pj_order order = PJ_ORDER(e->event_id, e->emitted_at.integer);
    PJ_KEEP(observer, submission, e->command_id.uuid, NULL, &order,
            {
                .type = e->type,
                .payload = about_sessions ? e->payload : PJ_JSONB(pj_null()),
                .session_id = e->session_id,
                .account_id = e->account_id,
                .platform = safari_nonempty(e->platform),
            });
    if (e->session_id.present) {
        PJ_KEEP(observer, acts_in, e->command_id.uuid, e->session_id.uuid, &order,
                {.at = e->emitted_at});
        session_keep_activity(observer, &e->session_id, e->emitted_at, &order, e->platform);
    }
    return 0;
}

int session_observe_command(const struct pj_event *event, struct pj_observer *observer,
                            struct pj_error *error)
{
    const struct safari_command *e = PJ_EVENT(event, safari_command);
    const uint8_t *command = e->command_id.uuid;
    struct safari_lifecycle lifecycle;
    if (e->submitted.present)
        return observe_submitted(e, observer, error);
    if (safari_read_lifecycle(e, &lifecycle, error) != 0)
        return -1;
    PJ_KEEP(observer, last_status, command, NULL, &lifecycle.order,
            {
                .succeeded = PJ_BOOL(pj_text_is(&lifecycle.status.value, "SUCCEEDED")),
                .result = e->result,
                .at = e->emitted_at,
            });
    PJ_KEEP(observer, first_event, command, NULL, &lifecycle.time, {.at = e->emitted_at});
    PJ_KEEP(observer, last_event, command, NULL, &lifecycle.time, {.at = e->emitted_at});
    return 0;
}

/* --- what a command tells its sessions ------------------------------------------------------- */

static struct pj_uuid uuid_member(const json_t *object, const char *name, const char *camel_case)
{
    return PJ_UUID(pj_json_uuid(safari_member(object, name, camel_case)));
}

/* What a command that succeeded says of a session. */
static void tell_success(const struct pj_entity *entity, const struct submission *submitted,
                         const struct last_status *last, struct pj_derivation *derivation)
{
    const json_t *payload = pj_derivation_json(derivation, &submitted->payload.value);
    const json_t *result = pj_derivation_json(derivation, &last->result.value);
    if (pj_text_is(&submitted->type.value, "session.create")) {
        struct pj_uuid session = uuid_member(result, "session_id", "sessionId");
        struct pj_text platform =
            PJ_TEXT(pj_derivation_text(derivation, json_object_get(payload, "platform")));
        if (session.present)
            PJ_CONTRIBUTE(derivation, opened_by_command, session.uuid, pj_entity_key(entity),
                          {
                              .platform = PJ_OR(safari_nonempty(platform), submitted->platform),
                              .account_id = PJ_OR(uuid_member(payload, "account_id", "accountId"),
                                                  submitted->account_id),
                              .at = last->at,
                          });
    } else if (pj_text_is(&submitted->type.value, "session.close")) {
        struct pj_uuid session =
            PJ_OR(submitted->session_id, uuid_member(payload, "session_id", "sessionId"));
        if (session.present)
            PJ_CONTRIBUTE(derivation, closed_by_command, session.uuid, pj_entity_key(entity),
                          {.at = last->at});
    }
}

void session_derive_command(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct submission *submitted = PJ_FACT(entity, submission);
    const struct last_status *last = PJ_FACT(entity, last_status);
    const struct pj_fact *first_event = pj_entity_fact(entity, first_event_fact, NULL);
    const struct pj_fact *last_event = pj_entity_fact(entity, last_event_fact, NULL);
    const struct pj_fact *targets = PJ_ALL(entity, acts_in, &count);
    for (size_t i = 0; last_event != NULL && i < count; i++) {
        PJ_TELL(derivation, first_activity, targets[i].subkey, NULL, &first_event->order,
                {.at = PJ_SAYS(first_event, first_event)->at});
        PJ_TELL(derivation, last_activity, targets[i].subkey, NULL, &last_event->order,
                {.at = PJ_SAYS(last_event, last_event)->at});
    }
    if (submitted != NULL && last != NULL && last->succeeded.boolean)
        tell_success(entity, submitted, last, derivation);
}
