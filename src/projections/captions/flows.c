/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/captions/flows.h"

/* How far a run is in a state; of a type that is not known, as far as one that runs. */
static int64_t rank_of(const struct pj_text *type)
{
    static const char *const ended[] = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"};
    if (pj_text_is(&type->value, "SCHEDULED") || pj_text_is(&type->value, "PENDING"))
        return 0;
    for (size_t i = 0; i < sizeof ended / sizeof ended[0]; i++) {
        if (pj_text_is(&type->value, ended[i]))
            return 2;
    }
    return 1;
}

int flows_observe(const struct pj_event *event, struct pj_observer *observer,
                  struct pj_error *error)
{
    const struct captions_flow *e = PJ_EVENT(event, captions_flow);
    const uint8_t *run = e->flow_run_id.uuid;
    struct pj_order time = CAPTIONS_ORDER(e);
    struct pj_order order = {
        .rank = {e->run_count.integer, rank_of(&e->state_type), e->emitted_at.integer}};
    uint8_t claim[16];
    if (captions_check_flow(e, error) != 0)
        return -1;
    memcpy(order.tie, e->event_id.uuid, sizeof order.tie);
    captions_claim(e->tenant_id, e->video_id, claim);
    PJ_KEEP(observer, state, run, claim, &order,
            {
                .tenant_id = e->tenant_id,
                .video_id = e->video_id,
                .flow_name = e->flow_name,
                .run_name = e->run_name,
                .state_type = e->state_type,
                .state_name = e->state_name,
                .run_count = e->run_count,
                .message = e->message,
                .tags = e->tags,
                .at = e->emitted_at,
            });
    PJ_KEEP(observer, first_seen, run, claim, &time,
            {.tenant_id = e->tenant_id, .video_id = e->video_id, .at = e->emitted_at});
    if (e->tenant_id.present && e->video_id.present)
        PJ_KEEP(observer, named_by_run, e->video_id.uuid, run, &(struct pj_order){0},
                {.here = PJ_BOOL(true)});
    return 0;
}

void flows_keep_owner(struct pj_observer *observer, const struct captions_video *e)
{
    struct pj_order order = CAPTIONS_ORDER(e);
    PJ_KEEP(observer, registered_by, e->video_id.uuid, NULL, &order, {.tenant_id = e->tenant_id});
}

void flows_derive_owner(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct registered_by *owner = PJ_FACT(entity, registered_by);
    const struct pj_fact *runs = PJ_ALL(entity, named_by_run, &count);
    for (size_t i = 0; owner != NULL && i < count; i++)
        PJ_CONTRIBUTE(derivation, owned_by, runs[i].subkey, pj_entity_key(entity),
                      {.tenant_id = owner->tenant_id});
}

const struct registered_by *flows_owner(const struct pj_entity *entity,
                                        struct pj_derivation *derivation, uint8_t claim[16])
{
    const struct registered_by *owner = PJ_FACT(entity, registered_by);
    flows_derive_owner(entity, derivation);
    if (owner != NULL)
        captions_claim(owner->tenant_id, PJ_UUID(pj_entity_key(entity)), claim);
    return owner;
}

bool flows_is_foreign(const struct pj_entity *run, struct pj_uuid tenant, struct pj_uuid video)
{
    const struct pj_fact *owner =
        tenant.present && video.present ? pj_fact_of(run, RUN, owned_by_fact, video.uuid) : NULL;
    return owner != NULL &&
           memcmp(PJ_SAYS(owned_by, owner)->tenant_id.uuid, tenant.uuid, sizeof tenant.uuid) != 0;
}

const struct pj_fact *flows_state(const struct pj_entity *run, bool of_video)
{
    size_t count;
    const struct pj_fact *best = NULL;
    const struct pj_fact *states = PJ_ALL(run, state, &count);
    for (size_t i = 0; i < count; i++) {
        const struct state *state = PJ_SAYS(state, &states[i]);
        if ((of_video && !state->video_id.present) ||
            flows_is_foreign(run, state->tenant_id, state->video_id))
            continue;
        if (best == NULL || pj_order_compare(&states[i].order, &best->order) > 0)
            best = &states[i];
    }
    return best;
}

const char *flows_broken(const struct state *state)
{
    const struct pj_value *type = &state->state_type.value;
    return pj_text_is(type, "FAILED") || pj_text_is(type, "CRASHED") ? "failed"
           : pj_text_is(type, "CANCELLED")                           ? "cancelled"
                                                                     : NULL;
}
