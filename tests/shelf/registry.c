/* SPDX-License-Identifier: Apache-2.0 */
/* The projections of a projectionist command that knows this one alone. */
#include "projections/projections.h"

#include <string.h>

extern const struct pj_projection pj_shelf;

const struct pj_projection *const pj_projections[] = {&pj_shelf};
const size_t pj_projection_count = 1;

size_t pj_projection_find(const char *name)
{
    return strcmp(name, pj_shelf.name) == 0 ? 0 : 1;
}
