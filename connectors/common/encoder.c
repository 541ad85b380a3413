/* SPDX-License-Identifier: Apache-2.0 */
#include "common/encoder.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/topic_name.h"
#include "schemas.h"

#include <avro.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOPICS = 3, COMMANDS = 0, TELEMETRY = 1, SESSIONS = 2 };

/* One topic: its schema, a value that is reused, and the schema's id in the registry. */
struct form {
    const char *topic;
    const char *text;
    avro_schema_t schema;
    avro_value_iface_t *class;
    avro_value_t value;
    bool is_registered;
    int32_t id;
};

struct pj_encoder {
    struct form forms[TOPICS];
    avro_writer_t writer;
};

/* --- opening --------------------------------------------------------------------------------- */

struct pj_encoder *pj_encoder_new(void)
{
    static const struct form forms[TOPICS] = {
        [COMMANDS] = {.topic = PJ_COMMANDS_TOPIC, .text = pj_schema_safari_commands},
        [TELEMETRY] = {.topic = PJ_TELEMETRY_TOPIC, .text = pj_schema_safari_telemetry},
        [SESSIONS] = {.topic = PJ_SESSIONS_TOPIC, .text = pj_schema_safari_sessions},
    };
    static char nothing[1];
    struct pj_encoder *encoder = pj_alloc(sizeof *encoder);
    memcpy(encoder->forms, forms, sizeof forms);
    encoder->writer = pj_must(avro_writer_memory(nothing, 0));
    for (size_t i = 0; i < TOPICS; i++) {
        struct form *form = &encoder->forms[i];
        PJ_CHECK(avro_schema_from_json_length(form->text, strlen(form->text), &form->schema) == 0,
                 "a schema of ours is not valid Avro");
        form->class = pj_must(avro_generic_class_from_schema(form->schema));
        PJ_CHECK(avro_generic_value_new(form->class, &form->value) == 0,
                 "no record can be made of a schema of ours");
    }
    return encoder;
}

void pj_encoder_free(struct pj_encoder *encoder)
{
    if (encoder == NULL)
        return;
    for (size_t i = 0; i < TOPICS; i++) {
        struct form *form = &encoder->forms[i];
        avro_value_decref(&form->value);
        avro_value_iface_decref(form->class);
        avro_schema_decref(form->schema);
    }
    avro_writer_free(encoder->writer);
    free(encoder);
}

int pj_encoder_register(struct pj_encoder *encoder, const char *topic, const char *topic_prefix,
                        struct pj_registry *registry, struct pj_error *error)
{
    char name[PJ_TOPIC_NAME_SIZE];
    char subject[PJ_TOPIC_NAME_SIZE + sizeof "-value"];
    for (size_t i = 0; i < TOPICS; i++) {
        struct form *form = &encoder->forms[i];
        if (strcmp(form->topic, topic) != 0)
            continue;
        pj_text_whole(subject, sizeof subject, "%s-value",
                      pj_topic_name(name, topic_prefix, topic));
        if (pj_registry_register(registry, subject, form->text, &form->id, error) != 0)
            return -1;
        form->is_registered = true;
        return 0;
    }
    return pj_error_set(error, PJ_FATAL, "no schema for the topic %s", topic);
}

int pj_encoder_register_all(struct pj_encoder *encoder, const char *const *topics, size_t count,
                            const char *topic_prefix, const struct pj_registry_settings *settings,
                            const struct pj_turns *turns, struct pj_error *error)
{
    struct pj_registry *registry;
    if (pj_registry_open(&registry, settings, error) != 0)
        return -1;
    int status = 0, failures = 0;
    for (size_t i = 0; i < count && status == 0;) {
        if (pj_encoder_register(encoder, topics[i], topic_prefix, registry, error) == 0) {
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

void pj_encoded_free(struct pj_encoded *encoded)
{
    free(encoded->data);
    *encoded = (struct pj_encoded){0};
}

/* --- fields ---------------------------------------------------------------------------------- */

/* The record being filled, and the first error; after an error nothing more is done. */
struct filling {
    avro_value_t *record;
    struct pj_error *error;
    int status;
};

static void fail(struct filling *filling, const char *name, const char *reason)
{
    if (filling->status == 0)
        filling->status = pj_error_set(filling->error, PJ_POISON, "the field %s %s", name, reason);
}

static void check(struct filling *filling, const char *name, int code)
{
    if (code != 0 && filling->status == 0)
        filling->status =
            pj_error_set(filling->error, PJ_FATAL, "cannot fill %s: %s", name, avro_strerror());
}

static avro_value_t field(struct filling *filling, const char *name)
{
    avro_value_t found = {0};
    if (filling->status == 0)
        check(filling, name, avro_value_get_by_name(filling->record, name, &found, NULL));
    return found;
}

/* The branch of a union of null and another type to fill, or null and false. */
static bool choose(struct filling *filling, const char *name, bool present, avro_value_t *value)
{
    avro_value_t chosen = {0};
    *value = field(filling, name);
    if (filling->status != 0)
        return false;
    check(filling, name, avro_value_set_branch(value, present ? 1 : 0, &chosen));
    if (filling->status == 0 && !present)
        check(filling, name, avro_value_set_null(&chosen));
    *value = chosen;
    return filling->status == 0 && present;
}

/* Lent, not copied: the value is reset before the caller's bytes can go away. */
static void put(struct filling *filling, const char *name, avro_value_t *value,
                struct pj_bytes text)
{
    avro_wrapped_buffer_t lent;
    if (filling->status != 0)
        return;
    check(filling, name, avro_wrapped_buffer_new(&lent, text.data, text.length + 1));
    if (filling->status == 0)
        check(filling, name, avro_value_give_string_len(value, &lent));
}

static void put_text(struct filling *filling, const char *name, struct pj_bytes text)
{
    avro_value_t value = field(filling, name);
    if (text.data == NULL)
        fail(filling, name, "is missing");
    put(filling, name, &value, text);
}

static void put_uuid(struct filling *filling, const char *name, struct pj_bytes text)
{
    if (!pj_is_uuid(text))
        fail(filling, name, text.data == NULL ? "is missing" : "is not a UUID");
    put_text(filling, name, text);
}

static void put_optional_text(struct filling *filling, const char *name, struct pj_bytes text)
{
    avro_value_t value;
    if (choose(filling, name, text.data != NULL, &value))
        put(filling, name, &value, text);
}

static void put_optional_uuid(struct filling *filling, const char *name, struct pj_bytes text)
{
    if (text.data != NULL && !pj_is_uuid(text))
        fail(filling, name, "is not a UUID");
    put_optional_text(filling, name, text);
}

static void put_time(struct filling *filling, const char *name, int64_t micros)
{
    avro_value_t value = field(filling, name);
    if (filling->status == 0)
        check(filling, name, avro_value_set_long(&value, micros));
}

static void put_optional_time(struct filling *filling, const char *name,
                              const struct pj_optional_time *time)
{
    avro_value_t value;
    if (choose(filling, name, time->present, &value))
        check(filling, name, avro_value_set_long(&value, time->micros));
}

static void put_optional_int(struct filling *filling, const char *name, bool present,
                             int32_t number)
{
    avro_value_t value;
    if (choose(filling, name, present, &value))
        check(filling, name, avro_value_set_int(&value, number));
}

static void put_target(struct filling *filling, const struct pj_target *target)
{
    avro_value_t value;
    if (!choose(filling, "target", target->present, &value))
        return;
    struct filling inner = {.record = &value, .error = filling->error};
    put_optional_uuid(&inner, "session_id", target->session_id);
    put_optional_uuid(&inner, "account_id", target->account_id);
    put_optional_text(&inner, "platform", target->platform);
    filling->status = inner.status;
}

/* The branch of `body` that holds the record of this name. */
static avro_value_t choose_body(struct filling *filling, const char *record)
{
    avro_value_t body = field(filling, "body");
    avro_value_t chosen = {0};
    if (filling->status != 0)
        return chosen;
    avro_schema_t schema = avro_value_get_schema(&body);
    for (size_t i = 0; i < avro_schema_union_size(schema); i++) {
        if (strcmp(avro_schema_name(avro_schema_union_branch(schema, (int)i)), record) != 0)
            continue;
        check(filling, record, avro_value_set_branch(&body, (int)i, &chosen));
        return chosen;
    }
    fail(filling, "body", "has no such record");
    return chosen;
}

/* --- records --------------------------------------------------------------------------------- */

static void fill_submitted(struct filling *filling, const struct pj_command_submitted *submitted)
{
    put_text(filling, "type", submitted->type);
    put_text(filling, "payload", submitted->payload);
    put_optional_text(filling, "idempotency_key", submitted->idempotency_key);
    put_optional_uuid(filling, "correlation_id", submitted->correlation_id);
    put_optional_time(filling, "requested_at", &submitted->requested_at);
    put_optional_text(filling, "requester_service", submitted->requester_service);
    put_optional_text(filling, "requester_instance", submitted->requester_instance);
    put_target(filling, &submitted->target);
}

static void fill_status_changed(struct filling *filling,
                                const struct pj_command_status_changed *changed)
{
    put_text(filling, "status", changed->status);
    put_optional_text(filling, "result", changed->result);
    put_optional_text(filling, "error", changed->error);
}

static void fill_opened(struct filling *filling, const struct pj_session_opened *opened)
{
    put_text(filling, "platform", opened->platform);
    put_optional_uuid(filling, "account_id", opened->account_id);
    put_optional_int(filling, "browser_pid", opened->has_browser_pid, opened->browser_pid);
    put_optional_text(filling, "metadata", opened->metadata);
}

static int write_value(struct pj_encoder *encoder, struct form *form, struct pj_encoded *encoded,
                       struct pj_error *error)
{
    size_t size = 0;
    if (avro_value_sizeof(&form->value, &size) != 0)
        return pj_error_set(error, PJ_FATAL, "cannot encode a record of %s: %s", form->topic,
                            avro_strerror());
    if (encoded->capacity < PJ_WIRE_HEADER_SIZE + size) {
        encoded->capacity = PJ_WIRE_HEADER_SIZE + size + size / 2;
        encoded->data = pj_resize(encoded->data, encoded->capacity, 1);
    }
    pj_wire_put_header(encoded->data, form->id);
    avro_writer_memory_set_dest(encoder->writer, (const char *)encoded->data + PJ_WIRE_HEADER_SIZE,
                                (int64_t)size);
    if (avro_value_write(encoder->writer, &form->value) != 0)
        return pj_error_set(error, PJ_FATAL, "cannot encode a record of %s: %s", form->topic,
                            avro_strerror());
    encoded->length = PJ_WIRE_HEADER_SIZE + (size_t)avro_writer_tell(encoder->writer);
    return 0;
}

/* Resets the value, so that it holds none of the caller's bytes any more. */
static int finish(struct pj_encoder *encoder, struct form *form, const struct filling *filling,
                  struct pj_encoded *encoded)
{
    int status = filling->status;
    if (status == 0 && !form->is_registered)
        status =
            pj_error_set(filling->error, PJ_FATAL, "the schema of %s has no id yet", form->topic);
    if (status == 0)
        status = write_value(encoder, form, encoded, filling->error);
    if (avro_value_reset(&form->value) != 0 && status == 0)
        status = pj_error_set(filling->error, PJ_FATAL, "cannot reset a record of %s: %s",
                              form->topic, avro_strerror());
    return status;
}

int pj_encode_command(struct pj_encoder *encoder, const struct pj_command_event *event,
                      struct pj_encoded *encoded, struct pj_error *error)
{
    struct form *form = &encoder->forms[COMMANDS];
    struct filling filling = {.record = &form->value, .error = error};
    put_uuid(&filling, "event_id", event->event_id);
    put_uuid(&filling, "command_id", event->command_id);
    put_optional_text(&filling, "cursor", event->cursor);
    put_time(&filling, "emitted_at", event->emitted_at);
    bool submitted = event->submitted != NULL;
    avro_value_t body =
        choose_body(&filling, submitted ? "CommandSubmitted" : "CommandStatusChanged");
    filling.record = &body;
    if (submitted)
        fill_submitted(&filling, event->submitted);
    else if (event->status_changed != NULL)
        fill_status_changed(&filling, event->status_changed);
    else
        fail(&filling, "body", "is missing");
    return finish(encoder, form, &filling, encoded);
}

int pj_encode_telemetry(struct pj_encoder *encoder, const struct pj_telemetry_event *event,
                        struct pj_encoded *encoded, struct pj_error *error)
{
    struct form *form = &encoder->forms[TELEMETRY];
    struct filling filling = {.record = &form->value, .error = error};
    put_uuid(&filling, "event_id", event->event_id);
    put_text(&filling, "version", event->version);
    put_text(&filling, "type", event->type);
    put_text(&filling, "severity", event->severity);
    put_optional_uuid(&filling, "command_id", event->command_id);
    put_optional_uuid(&filling, "correlation_id", event->correlation_id);
    put_target(&filling, &event->target);
    put_optional_text(&filling, "payload", event->payload);
    put_optional_text(&filling, "cursor", event->cursor);
    put_time(&filling, "emitted_at", event->emitted_at);
    return finish(encoder, form, &filling, encoded);
}

int pj_encode_session(struct pj_encoder *encoder, const struct pj_session_event *event,
                      struct pj_encoded *encoded, struct pj_error *error)
{
    struct form *form = &encoder->forms[SESSIONS];
    struct filling filling = {.record = &form->value, .error = error};
    put_uuid(&filling, "event_id", event->event_id);
    put_uuid(&filling, "session_id", event->session_id);
    put_time(&filling, "emitted_at", event->emitted_at);
    bool opened = event->opened != NULL;
    avro_value_t body = choose_body(&filling, opened ? "SessionOpened" : "SessionClosed");
    filling.record = &body;
    if (opened)
        fill_opened(&filling, event->opened);
    else if (event->closed != NULL)
        put_optional_text(&filling, "reason", event->closed->reason);
    else
        fail(&filling, "body", "is missing");
    return finish(encoder, form, &filling, encoded);
}

/* --- decoding -------------------------------------------------------------------------------- */

static bool read_text(const avro_value_t *record, const char *name, char *text, size_t size)
{
    avro_value_t field;
    const char *found = NULL;
    size_t length = 0;
    if (avro_value_get_by_name(record, name, &field, NULL) != 0 ||
        avro_value_get_string(&field, &found, &length) != 0)
        return false;
    pj_text_show(text, size, "%s", found);
    return true;
}

static bool read_status(const avro_value_t *record, struct pj_decoded_status *status)
{
    avro_value_t body, branch, field;
    return avro_value_get_by_name(record, "body", &body, NULL) == 0 &&
           avro_value_get_current_branch(&body, &branch) == 0 &&
           read_text(&branch, "status", status->status, sizeof status->status) &&
           read_text(record, "event_id", status->event_id, sizeof status->event_id) &&
           avro_value_get_by_name(record, "emitted_at", &field, NULL) == 0 &&
           avro_value_get_long(&field, &status->emitted_at) == 0;
}

bool pj_decode_status(struct pj_encoder *encoder, struct pj_bytes value,
                      struct pj_decoded_status *status)
{
    struct form *form = &encoder->forms[COMMANDS];
    int32_t id;
    if (!pj_wire_schema_id(value, &id) || !form->is_registered || id != form->id)
        return false;
    avro_reader_t reader =
        pj_must(avro_reader_memory((const char *)value.data + PJ_WIRE_HEADER_SIZE,
                                   (int64_t)(value.length - PJ_WIRE_HEADER_SIZE)));
    bool is_status =
        avro_value_read(reader, &form->value) == 0 && read_status(&form->value, status);
    avro_reader_free(reader);
    (void)!avro_value_reset(&form->value);
    return is_status;
}
