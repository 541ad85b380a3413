/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What captions-catalog remembers: of each tenant that speaks of a video what it says (VIDEO, by
 * the claim), of the objects that a row may name, and of each event whose it said the video is.
 */
#ifndef PJ_PROJECTIONS_CAPTIONS_CATALOG_H
#define PJ_PROJECTIONS_CAPTIONS_CATALOG_H

#include "projections/captions/crops.h"

enum { OBJECT = CROPS + 1, VIDEO, TENANCY };

/* --- objects, by claim and key --------------------------------------------------------------- */

#define CATALOG_STORED(VALUE)                                                                      \
    VALUE(claim, PJ_UUID) VALUE(key, PJ_TEXT) VALUE(size_bytes, PJ_BIGINT) VALUE(captions, PJ_BOOL)
#define OBJECT_FACTS(FACT)                                                                         \
    FACT(stored, PJ_GREATEST, CATALOG_STORED)                                                      \
    FACT(wanted, PJ_LEAST, CAPTIONS_HERE) /* a registration names it */
PJ_FACTS(object, OBJECT, OBJECT_FACTS);

/* --- videos ---------------------------------------------------------------------------------- */

#define CATALOG_HELD(VALUE) VALUE(video_id, PJ_UUID) VALUE(tenant_id, PJ_UUID)
#define CATALOG_REGISTERED(VALUE)                                                                  \
    VALUE(filename, PJ_TEXT)                                                                       \
    VALUE(storage_key, PJ_TEXT)                                                                    \
    VALUE(size_bytes, PJ_BIGINT)                                                                   \
    VALUE(duration, PJ_DOUBLE)                                                                     \
    VALUE(annotations_db_key, PJ_TEXT)                                                             \
    VALUE(uploaded_by, PJ_UUID)                                                                    \
    VALUE(uploaded_at, PJ_TIMESTAMPTZ)
#define CATALOG_AT(VALUE)     VALUE(at, PJ_TIMESTAMPTZ)
#define CATALOG_MARK(VALUE)   VALUE(set, PJ_BOOL) VALUE(at, PJ_TIMESTAMPTZ)
#define CATALOG_LAYOUT(VALUE) VALUE(by, PJ_UUID) VALUE(hash, PJ_TEXT) VALUE(at, PJ_TIMESTAMPTZ)
#define CATALOG_RUN(VALUE)                                                                         \
    VALUE(run_count, PJ_INT)                                                                       \
    VALUE(outcome, PJ_TEXT) /* null while it has not ended */                                      \
    VALUE(error, PJ_TEXT)                                                                          \
    VALUE(frame_count, PJ_INT)                                                                     \
    VALUE(indexed_frames, PJ_INT)                                                                  \
    VALUE(failed_batches, PJ_INT)
#define CATALOG_DURATION(VALUE) VALUE(seconds, PJ_DOUBLE)
#define CATALOG_STATE(VALUE)                                                                       \
    VALUE(state_type, PJ_TEXT)                                                                     \
    VALUE(run_count, PJ_INT)                                                                       \
    VALUE(message, PJ_TEXT)                                                                        \
    VALUE(at, PJ_TIMESTAMPTZ)
#define CATALOG_LOCK(VALUE)                                                                        \
    VALUE(lock_id, PJ_UUID) VALUE(user_id, PJ_UUID) VALUE(acquired_at, PJ_TIMESTAMPTZ)
#define CATALOG_LOCK_END(VALUE) VALUE(lock_id, PJ_UUID) VALUE(at, PJ_TIMESTAMPTZ)
#define CATALOG_NUMBER(VALUE)   VALUE(number, PJ_INT)
#define CATALOG_SOURCE(VALUE)                                                                      \
    VALUE(key, PJ_TEXT) VALUE(size_bytes, PJ_BIGINT) VALUE(captions, PJ_BOOL)

#define VIDEO_FACTS(FACT)                                                                          \
    FACT(held, PJ_LEAST, CATALOG_HELD) /* the video is the tenant's */                             \
    FACT(registered, PJ_LEAST, CATALOG_REGISTERED)                                                 \
    FACT(purged, PJ_LEAST, CATALOG_AT)                                                             \
    FACT(deleted, PJ_GREATEST, CATALOG_MARK)                                                       \
    FACT(archived, PJ_GREATEST, CATALOG_MARK)                                                      \
    FACT(approved, PJ_GREATEST, CATALOG_LAYOUT)                                                    \
    FACT(run_first, PJ_LEAST, CATALOG_AT) /* these by the run … */                               \
    FACT(run_last, PJ_GREATEST, CATALOG_RUN)                                                       \
    FACT(run_measured, PJ_GREATEST, CATALOG_DURATION)                                              \
    FACT(run_state, PJ_LEAST, CATALOG_STATE)                                                       \
    FACT(lock, PJ_GREATEST, CATALOG_LOCK)                                                          \
    FACT(lock_expiry, PJ_GREATEST, CATALOG_LOCK_END)                                               \
    FACT(lock_release, PJ_GREATEST, CATALOG_LOCK_END)                                              \
    FACT(active_crop, PJ_LEAST, CATALOG_NUMBER)                                                    \
    FACT(source, PJ_LEAST, CATALOG_SOURCE) /* … and by the object */
PJ_FACTS(video, VIDEO, VIDEO_FACTS);

/* --- tenancy, by the video ------------------------------------------------------------------- */

#define CATALOG_TOLD(VALUE)                                                                        \
    VALUE(tenant_id, PJ_UUID) VALUE(topic, PJ_TEXT) VALUE(at, PJ_TIMESTAMPTZ)

void catalog_derive_told(const struct pj_entity *entity, const struct pj_fact *fact,
                         struct pj_derivation *derivation);

#define TENANCY_FACTS(FACT)                                                                        \
    FACT(tenancy, PJ_LEAST, CAPTIONS_BY, .shown = true)                                            \
    FACT(told, PJ_LEAST, CATALOG_TOLD, .wide = true, .derive = catalog_derive_told) /* by event */
PJ_FACTS(tenancy_of, TENANCY, TENANCY_FACTS);

/* --- functions ------------------------------------------------------------------------------- */

int catalog_observe_video(const struct pj_event *event, struct pj_observer *observer,
                          struct pj_error *error);
int catalog_observe_flow(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error);
int catalog_observe_object(const struct pj_event *event, struct pj_observer *observer,
                           struct pj_error *error);
int catalog_observe_crop(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error);
int catalog_observe_lock(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error);

/* What the runs of a video come to. */
struct catalog_runs {
    const struct pj_fact *latest; /* its run_first, or NULL: there is none */
    const char *status;           /* NULL: there is none */
    struct pj_text failure;       /* of the latest */
    struct pj_double duration;    /* of the latest that told one */
};
struct catalog_runs catalog_runs_of(const struct pj_entity *entity,
                                    struct pj_derivation *derivation);

#endif
