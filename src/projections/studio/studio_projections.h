/* SPDX-License-Identifier: Apache-2.0 */
/* The projections of studio: a line here and one in system.c for a new one. */
#ifndef PJ_PROJECTIONS_STUDIO_STUDIO_PROJECTIONS_H
#define PJ_PROJECTIONS_STUDIO_STUDIO_PROJECTIONS_H

#include "projectionist/projection.h"

extern const struct pj_projection pj_studio_catalog;
extern const struct pj_projection pj_studio_jobs;
extern const struct pj_projection pj_studio_objects;
extern const struct pj_projection pj_studio_voices;

#endif
