/* SPDX-License-Identifier: Apache-2.0 */
/* Of the next version, safari alone. */
#include "projections/systems.h"

const struct pj_system *const pj_systems[] = {&pj_safari, NULL};
