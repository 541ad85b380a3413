/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events made of what other services send by themselves. A template fills the fields that the
 * topic's schema has; what it knows besides is left out. Pure.
 */
#ifndef PJ_EVENT_INGEST_WEBHOOKS_H
#define PJ_EVENT_INGEST_WEBHOOKS_H

#include "avro/avro_schema.h"

#include <jansson.h>

/*
 * Of an event of Prefect about a flow run ({"id": …, "occurred": …, "resource": …, "related": …},
 * or that as the member "event"): event_id, flow_run_id, emitted_at, tenant_id and video_id (of the
 * tags tenant:<uuid> and video:<uuid>), flow_name, run_name, state_type, state_name, run_count,
 * message, tags. NULL with a sentence.
 */
json_t *pj_prefect_events(const json_t *json, const struct pj_avro_type *record,
                          struct pj_error *error);

/*
 * Of S3's notification {"Records": […]}, one for each: event_id (UUIDv5 of bucket, key, sequencer
 * or version or time, and the event's name), emitted_at, bucket, key, operation, size_bytes or
 * file_size, etag, version_id, sequencer, region, success; tenant_id and video_id where the key
 * begins with two UUIDs. `operations` has the words for what is stored and what is removed, with a
 * comma between them. An empty array for s3:TestEvent; NULL with a sentence.
 */
json_t *pj_s3_events(const json_t *json, const struct pj_avro_type *record, const char *operations,
                     struct pj_error *error);

#endif
