/* SPDX-License-Identifier: Apache-2.0 */
/* The projections of render: a line here and one in system.c for a new one. */
#ifndef PJ_PROJECTIONS_RENDER_RENDER_PROJECTIONS_H
#define PJ_PROJECTIONS_RENDER_RENDER_PROJECTIONS_H

#include "projectionist/projection.h"

extern const struct pj_projection pj_render_access;
extern const struct pj_projection pj_render_jobs;
extern const struct pj_projection pj_render_metrics;
extern const struct pj_projection pj_render_storage;

#endif
