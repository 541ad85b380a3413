/* SPDX-License-Identifier: Apache-2.0 */
/* The systems that are built into the projectionist command: a line here and one in systems.c. */
#ifndef PJ_PROJECTIONS_SYSTEMS_H
#define PJ_PROJECTIONS_SYSTEMS_H

#include "projectionist/system.h"

extern const struct pj_system pj_captions;
extern const struct pj_system pj_drama;
extern const struct pj_system pj_render;
extern const struct pj_system pj_safari;
extern const struct pj_system pj_studio;

extern const struct pj_system *const pj_systems[]; /* NULL ends it */

#endif
