/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON to Avro's binary encoding, by a schema. Strict: a member that is unknown or missing, or has
 * another type than its field, is refused with its path.
 *
 *   int, long          an integer that fits; a timestamp also as RFC 3339
 *   float, double      a number
 *   string             a string; a UUID where the schema says so
 *   bytes, fixed       a string of the characters U+0000 to U+00FF, as in Avro's JSON encoding
 *   decimal            a number or its text, of no more digits than the schema has room for
 *   enum               one of its symbols
 *   null and another   null or the other; what is null need not be there, nor what has a default
 *   other unions       {"branch": value}; a record also as {"type": "RecordName", ...}, unless it
 * has a field of that name; all else as a value of the first branch that it suits
 *
 * A string whose field's doc begins with "JSON text" is also taken as the JSON that it holds.
 */
#ifndef PJ_AVRO_JSON_ENCODE_H
#define PJ_AVRO_JSON_ENCODE_H

#include "avro/avro_schema.h"
#include "base/text.h"

/* Appends to the builder; PJ_POISON with a sentence. Does not block, and is safe from any thread.
 */
int pj_json_encode(const struct pj_avro_type *type, const json_t *json, struct pj_builder *out,
                   struct pj_error *error) PJ_MUST_CHECK;

/* The same of a schema's root, after the header that names the schema in Kafka. */
int pj_json_encode_record(const struct pj_schema *schema, int32_t schema_id, const json_t *json,
                          struct pj_builder *out, struct pj_error *error) PJ_MUST_CHECK;

/* The same, with only {"type": "RecordName", ...} for what says its branch, and {"RecordName":
 * {...}} where the record has a "type" of its own: {"string": "x"} is an object then, as in any
 * other JSON. What a field holds as JSON text must be what a jsonb holds.
 */
int pj_json_encode_plain(const struct pj_schema *schema, int32_t schema_id, const json_t *json,
                         struct pj_builder *out, struct pj_error *error) PJ_MUST_CHECK;

#endif
