/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Avro records into values, by their writer's schema.
 *
 * A decoder holds what a source wants of our schema. For each writer's schema it makes a plan,
 * once: which of the writer's fields go to which values, what is skipped, which defaults fill
 * what the writer lacks. Decoding walks the plan over the bytes: nothing is allocated but rendered
 * JSON, no length is believed before it is compared with what is left, and the work is bounded by
 * the record's size.
 */
#ifndef PJ_AVRO_DECODE_H
#define PJ_AVRO_DECODE_H

#include "base/arena.h"
#include "projectionist/projection.h"

struct pj_decoder;
struct pj_plan;

/* Fails, fatally, where the source's fields do not fit its own schema. `source` is kept. */
int pj_decoder_new(struct pj_decoder **decoder, const struct pj_source *source,
                   struct pj_error *error) PJ_MUST_CHECK;
void pj_decoder_free(struct pj_decoder *decoder); /* NULL is allowed */

/* A writer's schema that is no Avro or cannot be read as ours is PJ_POISON. The decoder must
 * outlive the plan. */
int pj_plan_new(struct pj_plan **plan, const struct pj_decoder *decoder, const char *writer_schema,
                struct pj_error *error) PJ_MUST_CHECK;
void pj_plan_free(struct pj_plan *plan); /* NULL is allowed */

/*
 * Decodes one Avro body (without the five bytes of the wire format) into the source's values.
 * Texts point into `body` or the arena. Errors are PJ_POISON and name the field.
 */
int pj_plan_decode(const struct pj_plan *plan, const void *body, size_t length,
                   struct pj_arena *arena, struct pj_value *values,
                   struct pj_error *error) PJ_MUST_CHECK;

/*
 * For people: one whole Avro body by its writer's schema alone, as JSON text in the arena (the
 * forms are those of pj_avro_render). Errors are PJ_POISON.
 */
int pj_avro_to_json(const char *writer_schema, const void *body, size_t length,
                    struct pj_arena *arena, const char **json, size_t *json_length,
                    struct pj_error *error) PJ_MUST_CHECK;

#endif
