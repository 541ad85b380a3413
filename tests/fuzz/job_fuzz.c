/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes what job-bridge is told: the input is a channel, a line feed and a message. Whatever comes
 * is an event that its schema takes, or a dead letter with a reason and with all that came. */
#include "avro/avro_schema.h"
#include "avro/json_encode.h"
#include "job-bridge/job_message.h"
#include "schemas.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_event(const struct pj_job_message *message)
{
    static struct pj_schema *schema;
    struct pj_builder encoded = {0};
    struct pj_error error;
    if (schema == NULL)
        require(pj_schema_parse(&schema, pj_schema_studio_jobs, &error) == 0);
    json_t *event =
        json_pack("{s:s, s:o, s:I, s:I, s:O}", "event_id", message->event_id, "job_id",
                  json_stringn(message->job_id, message->job_id_length), "revision", (json_int_t)1,
                  "emitted_at", (json_int_t)message->emitted_us, "body", message->body);
    require(event != NULL);
    require(pj_json_encode_record(schema, 1, event, &encoded, &error) == 0);
    json_decref(event);
    pj_builder_free(&encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *line = size > 0 ? memchr(text, '\n', size) : NULL;
    if (line == NULL)
        return 0;
    struct pj_bytes channel = {text, (size_t)(line - text)};
    struct pj_bytes payload = {line + 1, size - channel.length - 1};
    struct pj_job_message *message = pj_job_message_new("J", channel, payload);
    require((message->body != NULL) == (message->reason == NULL));
    require(message->payload.length == payload.length &&
            memcmp(message->payload.data, payload.data, payload.length) == 0);
    if (message->body != NULL)
        check_event(message);
    while (pj_job_message_refuse(message, "too large"))
        require(*message->reason != '\0');
    pj_job_message_free(message);
    return 0;
}
