/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow-runs: each run of a flow, and its state, in flow_runs.
 *
 * A run without tags has its ids from the first ProcessingStarted or CropStarted that names it.
 */
#include "projections/captions/captions_projections.h"
#include "projections/captions/flows.h"
#include "schemas.h"

#define FLOW_RUNS(COLUMN)                                                                          \
    COLUMN(flow_run_id, PJ_UUID, .key = true)                                                      \
    COLUMN(tenant_id, PJ_UUID)                                                                     \
    COLUMN(video_id, PJ_UUID)                                                                      \
    COLUMN(flow_name, PJ_TEXT)                                                                     \
    COLUMN(run_name, PJ_TEXT)                                                                      \
    COLUMN(state_type, PJ_TEXT)                                                                    \
    COLUMN(state_name, PJ_TEXT)                                                                    \
    COLUMN(run_count, PJ_INT)                                                                      \
    COLUMN(message, PJ_TEXT)                                                                       \
    COLUMN(first_seen_at, PJ_TIMESTAMPTZ)                                                          \
    COLUMN(last_changed_at, PJ_TIMESTAMPTZ)                                                        \
    COLUMN(tags, PJ_JSONB)
PJ_COLUMNS(captions_runs, FLOW_RUNS);

static const struct pj_table captions_runs_table = {
    .name = "flow_runs",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(captions_runs),
};

/* --- what an event means --------------------------------------------------------------------- */

static void keep_work(struct pj_observer *observer, struct pj_uuid run, struct pj_uuid tenant,
                      struct pj_uuid video, struct pj_timestamptz at, struct pj_uuid event_id)
{
    struct pj_order order = PJ_ORDER(event_id, at.integer);
    uint8_t claim[16];
    captions_claim(tenant, video, claim);
    PJ_KEEP(observer, worked_on, run.uuid, claim, &order,
            {.tenant_id = tenant, .video_id = video, .at = at});
    PJ_KEEP(observer, named_by_run, video.uuid, run.uuid, &(struct pj_order){0},
            {.here = PJ_BOOL(true)});
}

static int observe_video(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct captions_video *e = PJ_EVENT(event, captions_video);
    if (captions_check_video(e, error) != 0)
        return -1;
    if (e->registered.present)
        flows_keep_owner(observer, e);
    if (e->started.present)
        keep_work(observer, e->started_run, e->tenant_id, e->video_id, e->emitted_at, e->event_id);
    return 0;
}

static int observe_crop(const struct pj_event *event, struct pj_observer *observer,
                        struct pj_error *error)
{
    const struct captions_crop *e = PJ_EVENT(event, captions_crop);
    if (captions_check_crop(e, error) != 0)
        return -1;
    if (e->flow_run_id.present)
        keep_work(observer, e->flow_run_id, e->tenant_id, e->video_id, e->emitted_at, e->event_id);
    return 0;
}

/* --- the row --------------------------------------------------------------------------------- */

static const struct pj_fact *first_of(const struct pj_entity *run, const struct pj_fact *facts,
                                      size_t count)
{
    const struct pj_fact *first = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct first_seen *seen = PJ_SAYS(first_seen, &facts[i]);
        if (!flows_is_foreign(run, seen->tenant_id, seen->video_id) &&
            (first == NULL || pj_order_compare(&facts[i].order, &first->order) < 0))
            first = &facts[i];
    }
    return first;
}

static void derive_run(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t seen_count, work_count;
    const struct pj_fact *seen = PJ_ALL(entity, first_seen, &seen_count);
    const struct pj_fact *work = PJ_ALL(entity, worked_on, &work_count);
    const struct pj_fact *last = flows_state(entity, false);
    const struct pj_fact *tagged = flows_state(entity, true);
    if (last == NULL)
        return;
    const struct state *state = PJ_SAYS(state, last);
    const struct first_seen *told = PJ_SAYS(first_seen, first_of(entity, work, work_count));
    bool tags = tagged != NULL;
    *PJ_ROW(derivation, captions_runs) = (struct captions_runs){
        .flow_run_id = PJ_UUID(pj_entity_key(entity)),
        .tenant_id = tags ? PJ_SAYS(state, tagged)->tenant_id : told->tenant_id,
        .video_id = tags ? PJ_SAYS(state, tagged)->video_id : told->video_id,
        .flow_name = state->flow_name,
        .run_name = state->run_name,
        .state_type = state->state_type,
        .state_name = state->state_name,
        .run_count = state->run_count,
        .message = state->message,
        .first_seen_at = PJ_SAYS(first_seen, first_of(entity, seen, seen_count))->at,
        .last_changed_at = state->at,
        .tags = state->tags,
    };
}

const struct pj_projection pj_flow_runs = {
    .name = "flow-runs",
    .summary = "keep flow_runs: each run of a flow, and its state",
    .version = 1,
    PJ_SOURCES(CAPTIONS_SOURCE(flows, captions_flow, flows_observe),
               CAPTIONS_SOURCE(videos, captions_video, observe_video),
               CAPTIONS_SOURCE(crops, captions_crop, observe_crop)),
    PJ_ENTITIES([OWNER] = {.name = "owner", PJ_FACTS_OF(owner), .derive = flows_derive_owner},
                [RUN] = {.name = "run", PJ_FACTS_OF(run), .derive = derive_run}),
    PJ_TABLES(&captions_runs_table),
};
