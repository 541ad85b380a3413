/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/heartbeat.h"

#include "avro/avro_schema.h"

#include <string.h>

const char pj_heartbeat_schema[] =
    "{\"type\": \"record\", \"name\": \"Heartbeat\", \"namespace\": \"projectionist\", "
    "\"doc\": \"Says that time has passed; consumers take it for their stream time alone.\", "
    "\"fields\": [{\"name\": \"emitted_at\", "
    "\"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-micros\"}}]}";

static const struct pj_field fields[] = {{"emitted_at", PJ_TIMESTAMPTZ, .required = true}};

const struct pj_source pj_heartbeat_source = {
    .topic = "heartbeats", .schema = pj_heartbeat_schema, .fields = fields, .field_count = 1};

bool pj_heartbeat_is(const char *schema)
{
    struct pj_schema *parsed;
    struct pj_error ignored;
    if (strstr(schema, "Heartbeat") == NULL || pj_schema_parse(&parsed, schema, &ignored) != 0)
        return false;
    const struct pj_avro_type *root = pj_schema_root(parsed);
    bool is = root->kind == PJ_AVRO_RECORD && strcmp(root->name, PJ_HEARTBEAT_NAME) == 0;
    pj_schema_free(parsed);
    return is;
}
