/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/gateway.h"

#include "base/text.h"
#include "projectionist/value.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <uuid.h>

enum { AWAY_TIMEOUT_MS = 1000 };

struct pj_reply *pj_gateway_error(int status, const char *text, const char *command_id)
{
    const char *id = command_id != NULL && *command_id != '\0' ? command_id : NULL;
    json_t *json = json_pack("{s:s, s:s*}", "error", text, "command_id", id);
    if (json == NULL) /* text of a library that is not UTF-8 */
        json = json_pack("{s:s, s:s*}", "error", "failed", "command_id", id);
    struct pj_reply *reply = pj_reply_json(status, json);
    if (id != NULL)
        pj_text_whole(reply->command_id, sizeof reply->command_id, "%s", id);
    return reply;
}

void pj_gateway_event_id(const char *what, const char *id, char event_id[PJ_UUID_TEXT])
{
    char name[128];
    uint8_t uuid[16];
    pj_text_whole(name, sizeof name, "control-gateway %s %s", what, id);
    pj_uuid_of_name(name, strlen(name), uuid);
    uuid_unparse_lower(uuid, event_id);
}

void pj_gateway_status_event_id(const char *command_id, const char *status, int64_t emitted_at,
                                char event_id[PJ_UUID_TEXT])
{
    char name[PJ_UUID_TEXT + PJ_STATUS_MOST + 24];
    pj_text_whole(name, sizeof name, "%s %s %lld", command_id, status, (long long)emitted_at);
    pj_gateway_event_id("status", name, event_id);
}

/* Requests that wait while Kafka is away hold connections that others need. */
int64_t pj_gateway_publish_timeout_ms(struct pj_gateway *gateway)
{
    int64_t timeout_ms = gateway->settings->serving.publish_timeout_ms;
    return pj_publisher_is_away(gateway->publisher, NULL) && timeout_ms > AWAY_TIMEOUT_MS
               ? AWAY_TIMEOUT_MS
               : timeout_ms;
}

int pj_gateway_add_event(struct pj_gateway *gateway, struct pj_publication *publication,
                         size_t topic, const char *key, json_t *event, struct pj_error *error)
{
    struct pj_builder encoded = {0};
    int status =
        pj_encode(topic == PJ_TO_COMMANDS ? gateway->commands_encoder : gateway->sessions_encoder,
                  event, &encoded, error);
    json_decref(event);
    if (status == 0)
        pj_publication_add(publication, topic, pj_text_bytes(key), pj_encoded_bytes(&encoded));
    free(encoded.text);
    return status;
}

int pj_gateway_publish(struct pj_gateway *gateway, struct pj_publication *publication,
                       struct pj_error *error)
{
    if (pj_publisher_submit(gateway->publisher, publication, error) != 0)
        return -1;
    return pj_publisher_wait(gateway->publisher, publication,
                             pj_gateway_publish_timeout_ms(gateway), error);
}
