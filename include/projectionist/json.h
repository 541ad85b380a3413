/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON values (payloads, results) in observe and derive, read with jansson.
 *
 *     const json_t *payload = pj_observer_json(observer, &event->values[PAYLOAD]);
 *     struct pj_value prompt = pj_observer_text(observer, json_object_get(payload, "prompt"));
 *     struct pj_value size = pj_json_integer(json_object_get(payload, "file_size"));
 *
 * A text is parsed once per call of observe, and once for the two calls of derive around a change.
 * The engine owns the tree and frees it then; the functions below copy what they return. Like
 * jansson's, they take NULL for "not there".
 */
#ifndef PROJECTIONIST_JSON_H
#define PROJECTIONIST_JSON_H

#include "projectionist/projection.h"

#include <jansson.h>

/*
 * NULL where the value is null. (In a projection with entities, a record with invalid JSON is a
 * dead letter before observe.) An integer beyond 64 bits is a real; a real has about 15 digits
 * here, and all of them through the functions for numerics.
 */
const json_t *pj_observer_json(struct pj_observer *observer, const struct pj_value *json);
const json_t *pj_derivation_json(struct pj_derivation *derivation, const struct pj_value *json);

/* The text of a JSON string, which lives as long as the batch; null if it is not a string. */
struct pj_value pj_observer_text(struct pj_observer *observer, const json_t *string);
struct pj_value pj_derivation_text(struct pj_derivation *derivation, const json_t *string);

/* A PJ_NUMERIC with all digits of a number, taken from a text that is parsed here; null if it is
 * not a number. */
struct pj_value pj_observer_numeric(struct pj_observer *observer, const json_t *number);
struct pj_value pj_derivation_numeric(struct pj_derivation *derivation, const json_t *number);

/* A PJ_BIGINT of a number without a fraction, however written (12, 12.0, 1.2e1; beyond 2^53 only as
 * an integer); else null. */
struct pj_value pj_json_integer(const json_t *number);

/* The same for a PJ_INT: null beyond 32 bits. */
struct pj_value pj_json_int(const json_t *number);

/* A PJ_DOUBLE of a number, a PJ_BOOL of true or false, a PJ_UUID of a string that is one, a
 * PJ_TIMESTAMPTZ of a string as in RFC 3339 (2026-11-21T05:06:34.968Z); else null. */
struct pj_value pj_json_double(const json_t *number);
struct pj_value pj_json_bool(const json_t *json);
struct pj_value pj_json_uuid(const json_t *string);
struct pj_value pj_json_time(const json_t *string);

/* A PJ_JSONB of a part of a tree, with all digits of its numbers; null for NULL. */
struct pj_value pj_observer_subtree(struct pj_observer *observer, const json_t *json);
struct pj_value pj_derivation_subtree(struct pj_derivation *derivation, const json_t *json);

/* Of a JSON array of strings, numbers, booleans and nulls: as pj_observer_array; else null. */
struct pj_value pj_observer_json_array(struct pj_observer *observer, const json_t *array);
struct pj_value pj_derivation_json_array(struct pj_derivation *derivation, const json_t *array);

#endif
