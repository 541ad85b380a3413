/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes events of the three topics as Kafka values: Avro in the Confluent wire format, by the
 * schemas in schemas/. (Uses avro-c; no other file of the connectors includes it.)
 *
 * Texts are UTF-8, need no NUL at the end and are only read; `data` NULL is Avro's null where a
 * field allows it. UUIDs are text of 36 characters, JSON is its text, times are microseconds since
 * 1970. An encoder is for one thread at a time.
 */
#ifndef PJ_CONNECTORS_ENCODER_H
#define PJ_CONNECTORS_ENCODER_H

#include "avro/registry.h"
#include "avro/wire.h"
#include "common/turns.h"
#include "projectionist/error.h"

#define PJ_COMMANDS_TOPIC  "safari.commands"
#define PJ_TELEMETRY_TOPIC "safari.telemetry"
#define PJ_SESSIONS_TOPIC  "safari.sessions"

struct pj_encoder;

/* Parses the schemas; does not ask the registry. */
struct pj_encoder *pj_encoder_new(void);
void pj_encoder_free(struct pj_encoder *encoder); /* NULL is allowed */

/*
 * Registers the topic's schema, or finds it, under the subject <topic>-value, with the prefix (or
 * NULL) before it, and keeps its id.
 * Call it once before the first event of the topic is encoded. Blocks for at most one request.
 * Errors are those of pj_registry_register: PJ_RETRY while the registry is away.
 */
int pj_encoder_register(struct pj_encoder *encoder, const char *topic, const char *topic_prefix,
                        struct pj_registry *registry, struct pj_error *error) PJ_MUST_CHECK;

/* The same for several topics; blocks while the registry is away. Returns 1 if it was stopped. */
int pj_encoder_register_all(struct pj_encoder *encoder, const char *const *topics, size_t count,
                            const char *topic_prefix, const struct pj_registry_settings *settings,
                            const struct pj_turns *turns, struct pj_error *error) PJ_MUST_CHECK;

/* The encoded bytes, owned by the caller. Grows as needed and can be reused; starts as {0}. */
struct pj_encoded {
    uint8_t *data;
    size_t length;
    size_t capacity;
};

void pj_encoded_free(struct pj_encoded *encoded);

static inline struct pj_bytes pj_encoded_bytes(const struct pj_encoded *encoded)
{
    return (struct pj_bytes){encoded->data, encoded->length};
}

struct pj_optional_time {
    bool present;
    int64_t micros;
};

struct pj_target {
    bool present;
    struct pj_bytes session_id; /* uuid or null */
    struct pj_bytes account_id; /* uuid or null */
    struct pj_bytes platform;   /* or null */
};

struct pj_command_submitted {
    struct pj_bytes type;
    struct pj_bytes payload;         /* JSON */
    struct pj_bytes idempotency_key; /* or null */
    struct pj_bytes correlation_id;  /* uuid or null */
    struct pj_optional_time requested_at;
    struct pj_bytes requester_service;  /* or null */
    struct pj_bytes requester_instance; /* or null */
    struct pj_target target;
};

struct pj_command_status_changed {
    struct pj_bytes status;
    struct pj_bytes result; /* JSON or null */
    struct pj_bytes error;  /* or null */
};

struct pj_command_event {
    struct pj_bytes event_id;   /* uuid */
    struct pj_bytes command_id; /* uuid */
    struct pj_bytes cursor;     /* or null */
    int64_t emitted_at;
    /* The body: one of the two, the other NULL. */
    const struct pj_command_submitted *submitted;
    const struct pj_command_status_changed *status_changed;
};

struct pj_telemetry_event {
    struct pj_bytes event_id; /* uuid */
    struct pj_bytes version;
    struct pj_bytes type;
    struct pj_bytes severity;
    struct pj_bytes command_id;     /* uuid or null */
    struct pj_bytes correlation_id; /* uuid or null */
    struct pj_target target;
    struct pj_bytes payload; /* JSON or null */
    struct pj_bytes cursor;  /* or null */
    int64_t emitted_at;
};

struct pj_session_opened {
    struct pj_bytes platform;
    struct pj_bytes account_id; /* uuid or null */
    bool has_browser_pid;
    int32_t browser_pid;
    struct pj_bytes metadata; /* JSON or null */
};

struct pj_session_closed {
    struct pj_bytes reason; /* or null */
};

struct pj_session_event {
    struct pj_bytes event_id;   /* uuid */
    struct pj_bytes session_id; /* uuid */
    int64_t emitted_at;
    /* The body: one of the two, the other NULL. */
    const struct pj_session_opened *opened;
    const struct pj_session_closed *closed;
};

/* Replaces what `encoded` holds. Errors: PJ_POISON where a required field is null or is not a UUID,
 * naming the field; PJ_FATAL where the topic was not registered. */
int pj_encode_command(struct pj_encoder *encoder, const struct pj_command_event *event,
                      struct pj_encoded *encoded, struct pj_error *error) PJ_MUST_CHECK;
int pj_encode_telemetry(struct pj_encoder *encoder, const struct pj_telemetry_event *event,
                        struct pj_encoded *encoded, struct pj_error *error) PJ_MUST_CHECK;
int pj_encode_session(struct pj_encoder *encoder, const struct pj_session_event *event,
                      struct pj_encoded *encoded, struct pj_error *error) PJ_MUST_CHECK;

/* The contents of a CommandStatusChanged. */
struct pj_decoded_status {
    char event_id[40]; /* longer ids are cut and end in "..." */
    char status[32];
    int64_t emitted_at;
};

/* Whether a value is a CommandStatusChanged. Only for records written with the same schema, as the
 * bridge's are. */
bool pj_decode_status(struct pj_encoder *encoder, struct pj_bytes value,
                      struct pj_decoded_status *status);

#endif
