/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Avro schemas that refer to others by name: each definition is inlined where its name comes first,
 * so that the schema is self-contained.
 */
#ifndef PJ_AVRO_SCHEMA_REFERENCES_H
#define PJ_AVRO_SCHEMA_REFERENCES_H

#include "projectionist/error.h"

#include <jansson.h>

/*
 * `definitions`: by full name, each of a named type; they may refer to one another. Gives a new
 * schema, or NULL with PJ_POISON where it is nested too deeply.
 */
json_t *pj_schema_references_resolve(const json_t *schema, const json_t *definitions,
                                     struct pj_error *error) PJ_MUST_CHECK;

#endif
