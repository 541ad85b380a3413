/* SPDX-License-Identifier: Apache-2.0 */
/* The projections of safari: a line here and one in system.c for a new one. */
#ifndef PJ_PROJECTIONS_SAFARI_PROJECTIONS_H
#define PJ_PROJECTIONS_SAFARI_PROJECTIONS_H

#include "projectionist/projection.h"

extern const struct pj_projection pj_command_projector;
extern const struct pj_projection pj_event_recorder;
extern const struct pj_projection pj_video_catalog;
extern const struct pj_projection pj_watermark_metrics;
extern const struct pj_projection pj_session_tracker;

/* Tables that refer to each other. */
extern const struct pj_table safari_commands_table;
extern const struct pj_table safari_events_table;
extern const struct pj_table safari_videos_table;
extern const struct pj_table watermark_removals_table;

#endif
