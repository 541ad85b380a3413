/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the telemetry knows of a command. A service that restarted has forgotten the commands it
 * accepted, but the first thing it does with a command is to report its status, and what the bridge
 * has published of that stays.
 */
#include "control-gateway/gateway.h"

#include "base/text.h"
#include "base/time_text.h"
#include "base/topic_name.h"

#include <string.h>

struct lookup {
    struct pj_gateway *gateway;
    const char *command_id;
    char *status;
    bool found;
};

/* What the gateway reports about a refused command is no sign that it ran. */
static bool is_ours(const char *command_id, const char *status, const json_t *event)
{
    char event_id[PJ_UUID_TEXT];
    int64_t emitted_at;
    struct pj_error error;
    const char *time = json_string_value(json_object_get(event, "emitted_at"));
    const char *id = json_string_value(json_object_get(event, "event_id"));
    if (id == NULL || time == NULL || strlen(status) >= PJ_STATUS_MOST ||
        pj_time_parse("emitted_at", time, &emitted_at, &error) != 0)
        return false;
    pj_gateway_status_event_id(command_id, status, emitted_at, event_id);
    return strcmp(event_id, id) == 0;
}

static int on_record(void *context, struct pj_bytes key, struct pj_bytes value,
                     struct pj_error *error)
{
    struct lookup *lookup = context;
    (void)error;
    if (key.length != strlen(lookup->command_id) ||
        memcmp(key.data, lookup->command_id, key.length) != 0)
        return 0;
    json_t *event = pj_decode(lookup->gateway->commands_encoder, value);
    const char *status =
        json_string_value(json_object_get(json_object_get(event, "body"), "status"));
    if (status != NULL && !is_ours(lookup->command_id, status, event)) {
        pj_text_show(lookup->status, PJ_STATUS_MOST, "%s", status); /* the last one wins */
        lookup->found = true;
    }
    json_decref(event);
    return 0;
}

int pj_gateway_look_for_status(struct pj_gateway *gateway, const struct pj_known *known,
                               char status[PJ_STATUS_MOST], struct pj_error *error)
{
    struct lookup lookup = {.gateway = gateway, .command_id = known->command_id, .status = status};
    /* All about a command is in one partition, after its CommandSubmitted, and not older than
     * it. */
    char topic[PJ_TOPIC_NAME_SIZE];
    const struct pj_compacted_settings settings = {
        .kafka = gateway->kafka,
        .client_id = "control-gateway",
        .topic = pj_topic_name(topic, gateway->settings->serving.topic_prefix, PJ_COMMANDS_TOPIC),
        .timeout_ms = gateway->settings->serving.publish_timeout_ms,
        .since_ms = known->updated_ms,
        .record = on_record,
        .context = &lookup,
    };
    while (sem_wait(&gateway->lookups) != 0)
        ; /* EINTR */
    int failed = pj_compacted_read(&settings, error);
    sem_post(&gateway->lookups);
    if (failed != 0)
        return -1;
    return lookup.found ? 1 : 0;
}
