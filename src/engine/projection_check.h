/* SPDX-License-Identifier: Apache-2.0 */
/* Checks a projection against projection.h: its declaration (fold/declaration.h), its fields
 * against its schemas, its settings. */
#ifndef PJ_ENGINE_PROJECTION_CHECK_H
#define PJ_ENGINE_PROJECTION_CHECK_H

#include "projectionist/projection.h"

/* PJ_FATAL (PJ_EXIT_DECLARATION) with the first mistake and how to fix it; before anything else
 * uses the projection. NULL is a mistake. */
int pj_projection_check(const struct pj_projection *projection,
                        struct pj_error *error) PJ_MUST_CHECK;

#endif
