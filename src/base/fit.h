/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a value is what its column or fact is declared as. Checked where a projection's code
 * hands it over, so that nothing is cut or read as something else later.
 */
#ifndef PJ_BASE_FIT_H
#define PJ_BASE_FIT_H

#include "projectionist/error.h"
#include "projectionist/value.h"

/* "PJ_BIGINT"; "a type that there is not" for what is none. */
const char *pj_type_name(enum pj_type type);
bool pj_type_exists(enum pj_type type);

/* What values of the type hold. */
enum pj_shape pj_type_shape(enum pj_type type);

/* Of the shape and in the range of the type; null fits every type. */
bool pj_value_fits(enum pj_type type, const struct pj_value *value);

/*
 * Why it does not: -1, with *error PJ_POISON where the value is out of the type's range, which is
 * the record's fault, or PJ_FATAL (PJ_EXIT_DECLARATION) where it is of another type, which is that
 * of the projection's code. `what` names the column or fact.
 */
int pj_value_misfit(enum pj_type type, const struct pj_value *value, const char *what,
                    struct pj_error *error);

#endif
