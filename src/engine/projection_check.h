/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A projection, held against what projection.h asks of it, before anything is done with it: its
 * declaration (fold/declaration.h), its fields against its schemas, its settings.
 */
#ifndef PJ_ENGINE_PROJECTION_CHECK_H
#define PJ_ENGINE_PROJECTION_CHECK_H

#include "projectionist/projection.h"

/* PJ_FATAL (PJ_EXIT_DECLARATION) with the first mistake, and what is right. Nothing of the
 * projection is looked at before; NULL is a mistake, too. */
int pj_projection_check(const struct pj_projection *projection,
                        struct pj_error *error) PJ_MUST_CHECK;

#endif
