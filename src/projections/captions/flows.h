/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a video is, and the state of the flow runs: what captions-catalog, crop-versions and
 * flow-runs share. A run's event that names a video counts unless that is another tenant's; so the
 * video tells its owner to the runs that name it, and the run picks its state from what is left.
 */
#ifndef PJ_PROJECTIONS_CAPTIONS_FLOWS_H
#define PJ_PROJECTIONS_CAPTIONS_FLOWS_H

#include "projections/captions/captions.h"

/* Kinds with these numbers in the projections that include this. */
enum { OWNER, RUN };

#define CAPTIONS_HERE(VALUE) VALUE(here, PJ_BOOL)
#define CAPTIONS_BY(VALUE)   VALUE(tenant_id, PJ_UUID)

#define OWNER_FACTS(FACT)                                                                          \
    FACT(registered_by, PJ_LEAST, CAPTIONS_BY)                                                     \
    FACT(named_by_run, PJ_LEAST, CAPTIONS_HERE) /* by the run */
PJ_FACTS(owner, OWNER, OWNER_FACTS);

#define CAPTIONS_STATE(VALUE)                                                                      \
    VALUE(tenant_id, PJ_UUID)                                                                      \
    VALUE(video_id, PJ_UUID)                                                                       \
    VALUE(flow_name, PJ_TEXT)                                                                      \
    VALUE(run_name, PJ_TEXT)                                                                       \
    VALUE(state_type, PJ_TEXT)                                                                     \
    VALUE(state_name, PJ_TEXT)                                                                     \
    VALUE(run_count, PJ_INT)                                                                       \
    VALUE(message, PJ_TEXT)                                                                        \
    VALUE(tags, PJ_JSONB)                                                                          \
    VALUE(at, PJ_TIMESTAMPTZ)
#define CAPTIONS_SEEN(VALUE)                                                                       \
    VALUE(tenant_id, PJ_UUID) VALUE(video_id, PJ_UUID) VALUE(at, PJ_TIMESTAMPTZ)

/* All but the last two by the claim (captions_claim). */
#define RUN_FACTS(FACT)                                                                            \
    FACT(state, PJ_GREATEST, CAPTIONS_STATE)                                                       \
    FACT(first_seen, PJ_LEAST, CAPTIONS_SEEN)                                                      \
    FACT(worked_on, PJ_LEAST, CAPTIONS_SEEN) /* as the run itself told it */                       \
    FACT(awaited_by, PJ_LEAST, CAPTIONS_HERE)                                                      \
    FACT(owned_by, PJ_LEAST, CAPTIONS_BY) /* by the video */
PJ_FACTS(run, RUN, RUN_FACTS);

/* A record of captions.flows; fails as a dead letter. */
int flows_observe(const struct pj_event *event, struct pj_observer *observer,
                  struct pj_error *error);

/* What a VideoRegistered says of the owner. */
void flows_keep_owner(struct pj_observer *observer, const struct captions_video *e);

/* Tells the runs that name the video whose it is. */
void flows_derive_owner(const struct pj_entity *entity, struct pj_derivation *derivation);
/* The same; and whose the video is, with the claim that is theirs, or NULL. */
const struct registered_by *flows_owner(const struct pj_entity *entity,
                                        struct pj_derivation *derivation, uint8_t claim[16]);

/* Whether the claim is of another tenant than the video's. */
bool flows_is_foreign(const struct pj_entity *run, struct pj_uuid tenant, struct pj_uuid video);

/* Its state by the events that count, or NULL; of those alone that name a video, if `of_video`. */
const struct pj_fact *flows_state(const struct pj_entity *run, bool of_video);

/* The state of a run that ended without success: "failed" or "cancelled"; else NULL. */
const char *flows_broken(const struct state *state);

#endif
