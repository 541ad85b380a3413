/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as a person writes an event, to Avro's binary encoding by a schema:
 *
 * - a field that is left out has its default, and must have one; a field that the schema lacks is
 *   an error;
 * - a value of a union is of the first branch that it fits, or {"<branch>": value} names one, as in
 *   Avro's JSON encoding (a record also by its name without the namespace);
 * - a timestamp is a number in its unit, or RFC 3339; bytes and fixed are texts of the characters
 *   U+0000 to U+00FF, as in Avro's JSON encoding, and so is a decimal.
 */
#ifndef PJ_AVRO_JSON_ENCODE_H
#define PJ_AVRO_JSON_ENCODE_H

#include "avro/avro_schema.h"
#include "base/text.h"

/* Appends to the builder; PJ_POISON with one sentence that names the field. */
int pj_json_encode(const struct pj_avro_type *type, const json_t *json, struct pj_builder *out,
                   struct pj_error *error) PJ_MUST_CHECK;

#endif
