/* SPDX-License-Identifier: Apache-2.0 */
/* Forms that the text of a field may be required to have (enum pj_form). */
#ifndef PJ_BASE_FORM_H
#define PJ_BASE_FORM_H

#include "projectionist/projection.h"

bool pj_form_holds(enum pj_form form, const struct pj_value *text);

/* "a UUID" */
const char *pj_form_name(enum pj_form form);

#endif
