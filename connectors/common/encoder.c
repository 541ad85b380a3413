/* SPDX-License-Identifier: Apache-2.0 */
#include "common/encoder.h"

#include "avro/avro_schema.h"
#include "avro/decode.h"
#include "avro/json_encode.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/topic_name.h"

enum { SUBJECT_SIZE = PJ_TOPIC_NAME_SIZE + sizeof "-value" };

struct pj_encoder {
    const char *topic;
    const char *text;
    char *owned; /* what the text is, where it is from the registry */
    struct pj_schema *schema;
    bool is_registered, is_plain;
    int32_t id;
};

/* --- opening --------------------------------------------------------------------------------- */

struct pj_encoder *pj_encoder_new(const char *topic, const char *schema)
{
    struct pj_error error;
    struct pj_encoder *encoder = pj_alloc(sizeof *encoder);
    *encoder = (struct pj_encoder){.topic = topic, .text = schema};
    PJ_CHECK(pj_schema_parse(&encoder->schema, schema, &error) == 0,
             "a schema of ours is not valid Avro");
    return encoder;
}

void pj_encoder_free(struct pj_encoder *encoder)
{
    if (encoder == NULL)
        return;
    pj_schema_free(encoder->schema);
    free(encoder->owned);
    free(encoder);
}

const struct pj_schema *pj_encoder_schema(const struct pj_encoder *encoder)
{
    return encoder->schema;
}

static void name_subject(char subject[SUBJECT_SIZE], const char *topic_prefix, const char *topic)
{
    char name[PJ_TOPIC_NAME_SIZE];
    pj_text_whole(subject, SUBJECT_SIZE, "%s-value", pj_topic_name(name, topic_prefix, topic));
}

int pj_encoder_find(struct pj_encoder **out, const char *topic, const char *topic_prefix,
                    struct pj_registry *registry, struct pj_error *error)
{
    char subject[SUBJECT_SIZE];
    int32_t id;
    char *text = NULL;
    struct pj_schema *schema;
    name_subject(subject, topic_prefix, topic);
    if (pj_registry_latest(registry, subject, &id, &text, error) != 0)
        return -1;
    if (pj_schema_parse(&schema, text, error) != 0) {
        free(text);
        return -1;
    }
    struct pj_encoder *encoder = pj_alloc(sizeof *encoder);
    *encoder = (struct pj_encoder){.topic = topic,
                                   .text = text,
                                   .owned = text,
                                   .schema = schema,
                                   .is_registered = true,
                                   .is_plain = true,
                                   .id = id};
    *out = encoder;
    return 0;
}

int pj_encoder_register(struct pj_encoder *encoder, const char *topic_prefix,
                        struct pj_registry *registry, struct pj_error *error)
{
    char subject[SUBJECT_SIZE];
    name_subject(subject, topic_prefix, encoder->topic);
    if (pj_registry_register(registry, subject, encoder->text, &encoder->id, error) != 0)
        return -1;
    encoder->is_registered = true;
    return 0;
}

int pj_encoder_register_all(struct pj_encoder *const *encoders, size_t count,
                            const char *topic_prefix, const struct pj_registry_settings *settings,
                            const struct pj_turns *turns, struct pj_error *error)
{
    struct pj_registry *registry;
    if (pj_registry_open(&registry, settings, error) != 0)
        return -1;
    int status = 0, failures = 0;
    for (size_t i = 0; i < count && status == 0;) {
        if (pj_encoder_register(encoders[i], topic_prefix, registry, error) == 0) {
            i++;
            continue;
        }
        if (failures == 0 && error->class == PJ_RETRY)
            pj_log(PJ_WARN, "waiting for a server", pj_f_str("server", "schema registry"),
                   pj_f_str("error", error->message));
        status = error->class != PJ_RETRY                      ? -1
                 : pj_turns_back_off(turns, failures++, error) ? 0
                                                               : 1;
    }
    pj_registry_close(registry);
    return status;
}

/* --- events ---------------------------------------------------------------------------------- */

int pj_encode(const struct pj_encoder *encoder, const json_t *event, struct pj_builder *encoded,
              struct pj_error *error)
{
    if (!encoder->is_registered)
        return pj_error_set(error, PJ_FATAL, "the schema of %s has no id yet", encoder->topic);
    encoded->length = 0;
    if (encoder->is_plain)
        return pj_json_encode_plain(encoder->schema, encoder->id, event, encoded, error);
    return pj_json_encode_record(encoder->schema, encoder->id, event, encoded, error);
}

json_t *pj_decode(const struct pj_encoder *encoder, struct pj_bytes value)
{
    int32_t id;
    const char *text;
    size_t length;
    struct pj_error error;
    json_t *json = NULL;
    if (!pj_wire_schema_id(value, &id) || !encoder->is_registered || id != encoder->id)
        return NULL;
    struct pj_arena *arena = pj_arena_new();
    if (pj_avro_to_json(encoder->text, (const char *)value.data + PJ_WIRE_HEADER_SIZE,
                        value.length - PJ_WIRE_HEADER_SIZE, arena, &text, &length, &error) == 0)
        json = json_loadb(text, length, 0, NULL);
    pj_arena_free(arena);
    return json;
}

json_t *pj_json_text(struct pj_bytes text)
{
    return text.data == NULL ? json_null() : pj_must(json_stringn_nocheck(text.data, text.length));
}
