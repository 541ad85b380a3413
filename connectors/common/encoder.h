/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes JSON as Kafka values: Avro by the schema of a topic, in the Confluent wire format.
 * avro/json_encode.h says what is refused. Encoding does not block, and is safe from any thread.
 */
#ifndef PJ_CONNECTORS_ENCODER_H
#define PJ_CONNECTORS_ENCODER_H

#include "avro/avro_schema.h"
#include "avro/registry.h"
#include "avro/wire.h"
#include "base/text.h"
#include "common/turns.h"

#include <jansson.h>

#define PJ_COMMANDS_TOPIC  "safari.commands"
#define PJ_TELEMETRY_TOPIC "safari.telemetry"
#define PJ_SESSIONS_TOPIC  "safari.sessions"

struct pj_encoder;

/* For a topic, by a schema of ours (schemas.h); both are borrowed. Does not ask the registry. */
struct pj_encoder *pj_encoder_new(const char *topic, const char *schema);
/* For a topic whose schema the registry has: its newest, which is not registered anew. It takes
 * plain JSON (pj_json_encode_plain). Blocks for at most one request; errors are those of
 * pj_registry_latest. */
int pj_encoder_find(struct pj_encoder **encoder, const char *topic, const char *topic_prefix,
                    struct pj_registry *registry, struct pj_error *error) PJ_MUST_CHECK;
void pj_encoder_free(struct pj_encoder *encoder); /* NULL is allowed */

const struct pj_schema *pj_encoder_schema(const struct pj_encoder *encoder);

/*
 * Registers the schema, or finds it, under the subject <topic>-value, with the prefix (or NULL)
 * before it, and keeps its id. Call it before the first event is encoded. Blocks for at most one
 * request. Errors are those of pj_registry_register: PJ_RETRY while the registry is away.
 */
int pj_encoder_register(struct pj_encoder *encoder, const char *topic_prefix,
                        struct pj_registry *registry, struct pj_error *error) PJ_MUST_CHECK;

/* The same for several; blocks while the registry is away. Returns 1 if it was stopped. */
int pj_encoder_register_all(struct pj_encoder *const *encoders, size_t count,
                            const char *topic_prefix, const struct pj_registry_settings *settings,
                            const struct pj_turns *turns, struct pj_error *error) PJ_MUST_CHECK;

/* Replaces what `encoded` holds, whose text the caller frees. Errors: PJ_POISON for the event,
 * PJ_FATAL where the schema was not registered. */
int pj_encode(const struct pj_encoder *encoder, const json_t *event, struct pj_builder *encoded,
              struct pj_error *error) PJ_MUST_CHECK;

static inline struct pj_bytes pj_encoded_bytes(const struct pj_builder *encoded)
{
    return (struct pj_bytes){encoded->text, encoded->length};
}

/* The other way, for people's forms (pj_avro_render); NULL where the value is not by this very
 * schema. */
json_t *pj_decode(const struct pj_encoder *encoder, struct pj_bytes value);

/* A string, or null where `data` is NULL; the text is UTF-8. */
json_t *pj_json_text(struct pj_bytes text);

#endif
