/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/systems.h"

const struct pj_system *const pj_systems[] = {&pj_safari, &pj_captions, &pj_drama,
                                              &pj_studio, &pj_render,   NULL};
