/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PJ_FOLD_PREFIXED_H
#define PJ_FOLD_PREFIXED_H

#include "projectionist/projection.h"

/* The projection with the prefix before the topics of its sources; itself where there is none.
 * Lives as long as the process. */
const struct pj_projection *pj_projection_prefixed(const struct pj_projection *projection,
                                                   const char *prefix);

#endif
