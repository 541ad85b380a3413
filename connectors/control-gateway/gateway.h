/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of control-gateway share: its settings, its parts, and the handling of requests.
 */
#ifndef PJ_CONTROL_GATEWAY_GATEWAY_H
#define PJ_CONTROL_GATEWAY_GATEWAY_H

#include "common/encoder.h"
#include "common/serving.h"
#include "control-gateway/callers.h"
#include "control-gateway/keys.h"
#include "control-gateway/upstream.h"

#include <pthread.h>
#include <semaphore.h>

struct pj_gateway_settings {
    const char *upstream;
    const char *id;
    const char *token;
    const char *upstream_token;
    const char *upstream_ca_file;
    struct pj_serving_settings serving;
    struct pj_process_settings process;
    int64_t upstream_timeout_ms;
};

struct pj_sessions; /* the sessions being opened and closed */

struct pj_gateway {
    const struct pj_gateway_settings *settings;
    const struct pj_properties *kafka;
    struct pj_callers *callers;
    struct pj_keys *keys;
    struct pj_sessions *sessions;
    struct pj_publisher *publisher;
    struct pj_upstream *upstream;
    struct pj_encoder *commands_encoder, *sessions_encoder;
    sem_t parsers; /* how many may parse at a time: a parsed body takes many times its size */
    sem_t lookups; /* how many may read the telemetry at a time */
    struct pj_metrics *metrics;
    struct pj_metric *repeated, *conflicts, *refused, *unpublished, *known, *expired,
        *unknown_sessions;
};

/* {"error": text, "command_id": …}; the id may be NULL or "". */
struct pj_reply *pj_gateway_error(int status, const char *text, const char *command_id);

/* A client's request. */
struct pj_request {
    const char *uri;                /* as received */
    const struct pj_fields *fields; /* end-to-end ones */
    struct pj_bytes body;
};

/* POST /v1/commands: blocks until it is published and the service has answered, or a time-out. */
struct pj_reply *pj_gateway_command(struct pj_gateway *gateway, const struct pj_request *request);

/* Forgets some of the commands that are past the keys' retention; true: there are more. */
bool pj_gateway_expire_commands(struct pj_gateway *gateway);

/* Asks the service about a claimed command whose outcome the previous gateway did not record, and
 * releases it. False: the service is away. */
bool pj_gateway_resolve_command(struct pj_gateway *gateway, struct pj_known *known);

/* Whether the telemetry shows that the service accepted a published command: 1, with its status; 0:
 * no; -1: that cannot be found out now. Reads safari.commands from the command on. */
int pj_gateway_look_for_status(struct pj_gateway *gateway, const struct pj_known *known,
                               char status[PJ_STATUS_MOST], struct pj_error *error) PJ_MUST_CHECK;

struct pj_sessions *pj_sessions_new(void);
void pj_sessions_free(struct pj_sessions *sessions); /* NULL is allowed */
/* A pj_compacted_record; the context is the sessions. */
int pj_sessions_record(void *context, struct pj_bytes key, struct pj_bytes value,
                       struct pj_error *error) PJ_MUST_CHECK;

/* POST /v1/sessions and DELETE /v1/sessions/:id, as pj_gateway_command. */
struct pj_reply *pj_gateway_open_session(struct pj_gateway *gateway,
                                         const struct pj_request *request);
struct pj_reply *pj_gateway_close_session(struct pj_gateway *gateway,
                                          const struct pj_request *request, const char *id);

/* Before the first request: reports sessions that the previous gateway was opening. */
void pj_gateway_resolve_openings(struct pj_gateway *gateway);
/* Those that the previous gateway was closing: how many. */
size_t pj_gateway_list_closing(struct pj_gateway *gateway, char (*ids)[PJ_UUID_TEXT], size_t most);
/*
 * Publishes that one of them is closed, if it is gone. One that is still open is dropped, or
 * (serves) left to the request that may be closing it and to the next start. False: this cannot be
 * found out now.
 */
bool pj_gateway_resolve_closing(struct pj_gateway *gateway, const char *id, bool serves);

/* --- helpers --------------------------------------------------------------------------------- */

/* The event_id of an event that happens once to the entity with this id: a retry has the same. */
void pj_gateway_event_id(const char *what, const char *id, char event_id[PJ_UUID_TEXT]);
/* The same for a status that the gateway itself publishes for a command. */
void pj_gateway_status_event_id(const char *command_id, const char *status, int64_t emitted_at,
                                char event_id[PJ_UUID_TEXT]);

static inline struct pj_bytes pj_text_bytes(const char *text)
{
    struct pj_bytes bytes = {text, 0};
    while (text != NULL && text[bytes.length] != '\0')
        bytes.length++;
    return bytes;
}

/* Encodes an event, which it takes, and adds it to the publication: to PJ_TO_COMMANDS or
 * PJ_TO_SESSIONS. */
int pj_gateway_add_event(struct pj_gateway *gateway, struct pj_publication *publication,
                         size_t topic, const char *key, json_t *event,
                         struct pj_error *error) PJ_MUST_CHECK;

/* Submits and waits, as pj_publisher_wait; 1 also where it was taken back (*is_back). Waits for
 * less time while Kafka is known to be away. */
int pj_gateway_publish(struct pj_gateway *gateway, struct pj_publication *publication,
                       struct pj_error *error) PJ_MUST_CHECK;
int64_t pj_gateway_publish_timeout_ms(struct pj_gateway *gateway);

#endif
