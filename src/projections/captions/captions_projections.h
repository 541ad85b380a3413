/* SPDX-License-Identifier: Apache-2.0 */
/* The projections of captions: a line here and one in system.c for a new one. */
#ifndef PJ_PROJECTIONS_CAPTIONS_CAPTIONS_PROJECTIONS_H
#define PJ_PROJECTIONS_CAPTIONS_CAPTIONS_PROJECTIONS_H

#include "projectionist/projection.h"

extern const struct pj_projection pj_captions_tenants;
extern const struct pj_projection pj_captions_users;
extern const struct pj_projection pj_captions_catalog;
extern const struct pj_projection pj_search_index;
extern const struct pj_projection pj_crop_versions;
extern const struct pj_projection pj_flow_runs;
extern const struct pj_projection pj_object_catalog;

/* Tables that refer to each other. */
extern const struct pj_table captions_tenants_table;
extern const struct pj_table captions_profiles_table;
extern const struct pj_table captions_videos_table;
extern const struct pj_table captions_search_table;
extern const struct pj_table captions_crops_table;

#endif
