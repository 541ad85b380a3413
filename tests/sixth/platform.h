/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PJ_TESTS_SIXTH_PLATFORM_H
#define PJ_TESTS_SIXTH_PLATFORM_H

#include "projectionist/system.h"

extern const struct pj_projection pj_platform_activity;
extern const struct pj_system pj_platform;

#endif
