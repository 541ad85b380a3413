/* SPDX-License-Identifier: Apache-2.0 */
/* The versions of a video's cropped frames: what captions-catalog and crop-versions share. */
#ifndef PJ_PROJECTIONS_CAPTIONS_CROPS_H
#define PJ_PROJECTIONS_CAPTIONS_CROPS_H

#include "projections/captions/flows.h"

/* A kind with this number in both: what one tenant says of a video's versions, by the claim. */
enum { CROPS = RUN + 1 };

#define CROP_HOLDS(VALUE) VALUE(video_id, PJ_UUID) VALUE(tenant_id, PJ_UUID)
#define CROP_STARTED(VALUE)                                                                        \
    VALUE(number, PJ_INT)                                                                          \
    VALUE(storage_prefix, PJ_TEXT)                                                                 \
    VALUE(layout_db_storage_key, PJ_TEXT)                                                          \
    VALUE(layout_db_hash, PJ_TEXT)                                                                 \
    VALUE(crop_bounds, PJ_JSONB)                                                                   \
    VALUE(frame_rate, PJ_DOUBLE)                                                                   \
    VALUE(created_by, PJ_UUID)                                                                     \
    VALUE(flow_run_id, PJ_UUID)                                                                    \
    VALUE(at, PJ_TIMESTAMPTZ)
#define CROP_ENCODED(VALUE)                                                                        \
    VALUE(chunk_count, PJ_INT) VALUE(total_frames, PJ_INT) VALUE(total_size_bytes, PJ_BIGINT)
#define CROP_ACTIVATED(VALUE) VALUE(version_id, PJ_UUID) VALUE(at, PJ_TIMESTAMPTZ)
#define CROP_RUN(VALUE)       VALUE(broken, PJ_BOOL)

#define CROPS_FACTS(FACT)                                                                          \
    FACT(crops_held, PJ_LEAST, CROP_HOLDS) /* the video is the tenant's */                         \
    FACT(crops_purged, PJ_LEAST, CAPTIONS_HERE)                                                    \
    FACT(crop_started, PJ_LEAST, CROP_STARTED) /* these by the version's id … */                 \
    FACT(crop_encoded, PJ_GREATEST, CROP_ENCODED)                                                  \
    FACT(crop_failed, PJ_LEAST, CAPTIONS_HERE)                                                     \
    FACT(crop_activated, PJ_LEAST, CROP_ACTIVATED) /* … each, by the event's id … */           \
    FACT(crop_run, PJ_LEAST, CROP_RUN)             /* … and by the flow run, how that ended */
PJ_FACTS(crops, CROPS, CROPS_FACTS);

/* A version that was begun. */
struct crop {
    const struct pj_fact *start;
    const uint8_t *kept_by; /* the version that has its number: its own id, or that of another */
    const struct pj_fact *first, *last; /* of its activations, or NULL */
    bool failed, active;
    struct pj_timestamptz archived_at; /* of one that was activated: when another was, after it */
};

/* All of them, an array by their ids that lives as long as the derivation's rows. */
struct crop *crops_of(const struct pj_entity *entity, struct pj_derivation *derivation,
                      size_t *count);

/* A record of captions.crops; fails as a dead letter. */
int crops_observe(const struct pj_event *event, struct pj_observer *observer,
                  struct pj_error *error);

#endif
