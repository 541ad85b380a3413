/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PJ_FOLD_PREFIXED_H
#define PJ_FOLD_PREFIXED_H

#include "projectionist/projection.h"

/* The projection with the topics of its sources as Kafka names them; the projection itself where
 * there is no prefix. It is kept for as long as the process, as what is made of it points to it. */
const struct pj_projection *pj_projection_prefixed(const struct pj_projection *projection,
                                                   const char *prefix);

#endif
