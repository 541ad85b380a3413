/* SPDX-License-Identifier: Apache-2.0 */
/* The sixth's line of src/projections/projections.h, for its test. */
#ifndef PJ_TESTS_SIXTH_REGISTRY_H
#define PJ_TESTS_SIXTH_REGISTRY_H

#include "projectionist/projection.h"

extern const struct pj_projection pj_platform_activity;

#endif
