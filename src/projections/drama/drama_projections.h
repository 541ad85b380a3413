/* SPDX-License-Identifier: Apache-2.0 */
/* The projections of drama: a line here and one in system.c for a new one. */
#ifndef PJ_PROJECTIONS_DRAMA_DRAMA_PROJECTIONS_H
#define PJ_PROJECTIONS_DRAMA_DRAMA_PROJECTIONS_H

#include "projectionist/projection.h"

extern const struct pj_projection pj_drama_catalog;
extern const struct pj_projection pj_drama_jobs;
extern const struct pj_projection pj_drama_users;

#endif
