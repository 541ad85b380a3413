/* SPDX-License-Identifier: Apache-2.0 */
/* All projections of this build: one line here and in registry.c for a new one. */
#ifndef PJ_PROJECTIONS_PROJECTIONS_H
#define PJ_PROJECTIONS_PROJECTIONS_H

#include "projectionist/projection.h"

extern const struct pj_projection pj_command_projector;
extern const struct pj_projection pj_event_recorder;
extern const struct pj_projection pj_video_catalog;
extern const struct pj_projection pj_watermark_metrics;
extern const struct pj_projection pj_session_tracker;

extern const struct pj_projection *const pj_projections[];
extern const size_t pj_projection_count;

/* The place of a name in pj_projections; pj_projection_count where none has it. */
size_t pj_projection_find(const char *name);

#endif
