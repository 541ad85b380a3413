/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a value fits the declared type of its column or fact. Checked where a projection's code
 * hands it over, so that nothing is cut or misread later. */
#ifndef PJ_BASE_FIT_H
#define PJ_BASE_FIT_H

#include "projectionist/error.h"
#include "projectionist/value.h"

/* "PJ_BIGINT"; "an unknown type" for any other number. */
const char *pj_type_name(enum pj_type type);
bool pj_type_exists(enum pj_type type);

/* How values of the type are stored. */
enum pj_shape pj_type_shape(enum pj_type type);

/* Has the shape and range of the type; null fits every type. */
bool pj_value_fits(enum pj_type type, const struct pj_value *value);

/*
 * Why it does not fit: -1, with *error PJ_POISON where the value is out of the type's range (the
 * record's fault), or PJ_FATAL (PJ_EXIT_DECLARATION) where it has another type (the projection's
 * fault). `what` names the column or fact.
 */
int pj_value_misfit(enum pj_type type, const struct pj_value *value, const char *what,
                    struct pj_error *error);

/* The error of an item of an array: the message, which begins with a path in the item or where that
 * is the item itself with a blank, begins with the array's path and the index now. */
void pj_error_in_item(struct pj_error *error, const char *path, size_t index);

#endif
