/* SPDX-License-Identifier: Apache-2.0 */
/* The projections of captions: a line here and one in system.c for a new one. */
#ifndef PJ_PROJECTIONS_CAPTIONS_PROJECTIONS_H
#define PJ_PROJECTIONS_CAPTIONS_PROJECTIONS_H

#include "projectionist/projection.h"

extern const struct pj_projection pj_captions_tenants;

/* Tables that others refer to. */
extern const struct pj_table captions_tenants_table;

#endif
