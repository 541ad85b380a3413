/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PJ_ENGINE_SYSTEM_CHECK_H
#define PJ_ENGINE_SYSTEM_CHECK_H

#include "projectionist/system.h"

/* PJ_FATAL (PJ_EXIT_DECLARATION) with the first mistake in a system's own declaration and how to
 * fix it; projections have a check of their own. NULL is a mistake. */
int pj_system_check(const struct pj_system *system, struct pj_error *error) PJ_MUST_CHECK;

#endif
