/* SPDX-License-Identifier: Apache-2.0 */
#include "common/encoder.h"

#include "avro/avro_schema.h"
#include "avro/decode.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/topic_name.h"

#include <string.h>

struct pj_encoder {
    const char *topic;
    const char *text;
    struct pj_schema *schema;
    bool is_registered;
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
    free(encoder);
}

int pj_encoder_register(struct pj_encoder *encoder, const char *topic_prefix,
                        struct pj_registry *registry, struct pj_error *error)
{
    char name[PJ_TOPIC_NAME_SIZE];
    char subject[PJ_TOPIC_NAME_SIZE + sizeof "-value"];
    pj_text_whole(subject, sizeof subject, "%s-value",
                  pj_topic_name(name, topic_prefix, encoder->topic));
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

/* --- values ---------------------------------------------------------------------------------- */

struct writer {
    struct pj_builder *out;
    struct pj_error *error;
};

/* Where a value is; its own name last. */
struct path {
    const struct path *before;
    const char *name;
};

static void add_path(struct pj_builder *text, const struct path *path)
{
    if (path->before != NULL) {
        add_path(text, path->before);
        pj_builder_add(text, path->before->before != NULL ? ".%s" : "%s", path->name);
    }
}

static int refuse(const struct writer *writer, const struct path *path, const char *reason)
{
    struct pj_builder text = {0};
    add_path(&text, path);
    char *shown = pj_builder_take(&text);
    int status = *shown != '\0'
                     ? pj_error_set(writer->error, PJ_POISON, "the field %s %s", shown, reason)
                     : pj_error_set(writer->error, PJ_POISON, "the event %s", reason);
    free(shown);
    return status;
}

static void put_long(const struct writer *writer, int64_t number)
{
    uint64_t left = ((uint64_t)number << 1) ^ (uint64_t)(number >> 63);
    uint8_t bytes[10];
    size_t length = 0;
    for (; left > 0x7f; left >>= 7)
        bytes[length++] = (uint8_t)(left | 0x80);
    bytes[length++] = (uint8_t)left;
    pj_builder_add_bytes(writer->out, bytes, length);
}

static void put_text(const struct writer *writer, const char *text, size_t length)
{
    put_long(writer, (int64_t)length);
    pj_builder_add_bytes(writer->out, text, length);
}

static int put_value(const struct writer *writer, const struct pj_avro_type *type,
                     const json_t *value, const struct path *path);

static int put_integer(const struct writer *writer, const struct pj_avro_type *type,
                       const json_t *value, const struct path *path)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value))
        return refuse(writer, path, "is not an integer");
    if (type->kind == PJ_AVRO_INT && number != (int32_t)number)
        return refuse(writer, path, "does not fit 32 bits");
    put_long(writer, number);
    return 0;
}

static int put_real(const struct writer *writer, const struct pj_avro_type *type,
                    const json_t *value, const struct path *path)
{
    double number = json_number_value(value);
    float shorter = (float)number;
    if (!json_is_number(value))
        return refuse(writer, path, "is not a number");
    if (type->kind == PJ_AVRO_FLOAT)
        pj_builder_add_bytes(writer->out, &shorter, sizeof shorter);
    else
        pj_builder_add_bytes(writer->out, &number, sizeof number);
    return 0;
}

static int put_string(const struct writer *writer, const struct pj_avro_type *type,
                      const json_t *value, const struct path *path)
{
    const struct pj_bytes text = {json_string_value(value), json_string_length(value)};
    if (text.data == NULL)
        return refuse(writer, path, "is not a string");
    if (type->logical == PJ_LOGICAL_UUID && !pj_is_uuid(text))
        return refuse(writer, path, "is not a UUID");
    put_text(writer, text.data, text.length);
    return 0;
}

static int put_symbol(const struct writer *writer, const struct pj_avro_type *type,
                      const json_t *value, const struct path *path)
{
    const char *text = json_string_value(value);
    for (size_t i = 0; text != NULL && i < type->count; i++) {
        if (strcmp(type->symbols[i], text) == 0) {
            put_long(writer, (int64_t)i);
            return 0;
        }
    }
    return refuse(writer, path, "is none of its symbols");
}

static bool allows_null(const struct pj_avro_type *type)
{
    for (size_t i = 0; type->kind == PJ_AVRO_UNION && i < type->count; i++) {
        if (type->branches[i]->kind == PJ_AVRO_NULL)
            return true;
    }
    return type->kind == PJ_AVRO_NULL;
}

/* `chosen`: the member that named the record, or NULL. */
static int put_record(const struct writer *writer, const struct pj_avro_type *type,
                      const json_t *value, const char *chosen, const struct path *path)
{
    size_t count = 0;
    if (!json_is_object(value))
        return refuse(writer, path, "is not an object");
    for (size_t i = 0; i < type->count; i++) {
        const struct pj_avro_field *field = &type->fields[i];
        const struct path inner = {path, field->name};
        const json_t *member = json_object_get(value, field->name);
        count += member != NULL;
        if (member == NULL)
            member = allows_null(field->type) ? json_null() : field->default_json;
        if (put_value(writer, field->type, member, &inner) != 0)
            return -1;
    }
    if (count + (chosen != NULL) == json_object_size(value))
        return 0;
    for (void *at = json_object_iter((json_t *)(uintptr_t)value);;
         at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
        const struct path inner = {path, json_object_iter_key(at)};
        bool is_known = chosen != NULL && strcmp(inner.name, chosen) == 0;
        for (size_t i = 0; i < type->count && !is_known; i++)
            is_known = strcmp(type->fields[i].name, inner.name) == 0;
        if (!is_known)
            return refuse(writer, &inner, "is unknown");
    }
}

/* The branch of that name, or the count. */
static size_t find_branch(const struct pj_avro_type *type, const char *name)
{
    size_t i = 0;
    while (i < type->count && (type->branches[i]->name == NULL || name == NULL ||
                               strcmp(pj_schema_short_name(type->branches[i]->name), name) != 0))
        i++;
    return i;
}

static int put_union(const struct writer *writer, const struct pj_avro_type *type,
                     const json_t *value, const struct path *path)
{
    static const char tag[] = "type";
    bool is_null = json_is_null(value);
    size_t others = 0, last = 0;
    for (size_t i = 0; i < type->count; i++) {
        if ((type->branches[i]->kind == PJ_AVRO_NULL) == is_null) {
            others++;
            last = i;
        }
    }
    if (is_null && others == 0)
        return refuse(writer, path, "is missing");
    if (others == 1) {
        put_long(writer, (int64_t)last);
        return put_value(writer, type->branches[last], value, path);
    }
    const char *only = json_object_size(value) == 1
                           ? json_object_iter_key(json_object_iter((json_t *)(uintptr_t)value))
                           : NULL;
    size_t chosen = find_branch(type, only);
    if (chosen < type->count) {
        const struct path inner = {path, only};
        put_long(writer, (int64_t)chosen);
        return put_value(writer, type->branches[chosen], json_object_get(value, only), &inner);
    }
    chosen = find_branch(type, json_string_value(json_object_get(value, tag)));
    if (chosen == type->count || type->branches[chosen]->kind != PJ_AVRO_RECORD)
        return refuse(writer, path, "does not say which record it is");
    put_long(writer, (int64_t)chosen);
    return put_record(writer, type->branches[chosen], value, tag, path);
}

/* One block, and the end. */
static int put_items(const struct writer *writer, const struct pj_avro_type *type,
                     const json_t *value, const struct path *path)
{
    bool is_map = type->kind == PJ_AVRO_MAP;
    size_t count = is_map ? json_object_size(value) : json_array_size(value);
    void *at = is_map ? json_object_iter((json_t *)(uintptr_t)value) : NULL;
    if (is_map ? !json_is_object(value) : !json_is_array(value))
        return refuse(writer, path, is_map ? "is not an object" : "is not an array");
    if (count > 0)
        put_long(writer, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        char number[24];
        struct path inner = {path, number};
        const json_t *item = is_map ? json_object_iter_value(at) : json_array_get(value, i);
        pj_text_whole(number, sizeof number, "%zu", i);
        if (is_map) {
            inner.name = json_object_iter_key(at);
            put_text(writer, inner.name, strlen(inner.name));
            at = json_object_iter_next((json_t *)(uintptr_t)value, at);
        }
        if (put_value(writer, type->branches[0], item, &inner) != 0)
            return -1;
    }
    put_long(writer, 0);
    return 0;
}

static int put_value(const struct writer *writer, const struct pj_avro_type *type,
                     const json_t *value, const struct path *path)
{
    if (value == NULL || (json_is_null(value) && !allows_null(type)))
        return refuse(writer, path, "is missing");
    switch (type->kind) {
    case PJ_AVRO_NULL:
        return json_is_null(value) ? 0 : refuse(writer, path, "is not null");
    case PJ_AVRO_BOOLEAN:
        if (!json_is_boolean(value))
            return refuse(writer, path, "is not true or false");
        pj_builder_add_bytes(writer->out, json_is_true(value) ? "\1" : "\0", 1);
        return 0;
    case PJ_AVRO_INT:
    case PJ_AVRO_LONG:
        return put_integer(writer, type, value, path);
    case PJ_AVRO_FLOAT:
    case PJ_AVRO_DOUBLE:
        return put_real(writer, type, value, path);
    case PJ_AVRO_STRING:
        return put_string(writer, type, value, path);
    case PJ_AVRO_RECORD:
        return put_record(writer, type, value, NULL, path);
    case PJ_AVRO_ENUM:
        return put_symbol(writer, type, value, path);
    case PJ_AVRO_ARRAY:
    case PJ_AVRO_MAP:
        return put_items(writer, type, value, path);
    case PJ_AVRO_UNION:
        return put_union(writer, type, value, path);
    case PJ_AVRO_BYTES:
    case PJ_AVRO_FIXED:
        break;
    }
    return refuse(writer, path, "has bytes, which are not encoded from JSON");
}

/* --- events ---------------------------------------------------------------------------------- */

int pj_encode(const struct pj_encoder *encoder, const json_t *event, struct pj_builder *encoded,
              struct pj_error *error)
{
    const struct writer writer = {encoded, error};
    const struct path path = {0};
    uint8_t header[PJ_WIRE_HEADER_SIZE];
    if (!encoder->is_registered)
        return pj_error_set(error, PJ_FATAL, "the schema of %s has no id yet", encoder->topic);
    pj_wire_put_header(header, encoder->id);
    encoded->length = 0;
    pj_builder_add_bytes(encoded, header, sizeof header);
    return put_value(&writer, pj_schema_root(encoder->schema), event, &path);
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
