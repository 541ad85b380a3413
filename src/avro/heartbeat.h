/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A heartbeat: a record that says that time has passed, and nothing else. Any topic may carry some
 * beside its own records; they are told from these by the name of their writer's schema.
 */
#ifndef PJ_AVRO_HEARTBEAT_H
#define PJ_AVRO_HEARTBEAT_H

#include "avro/decode.h"

#define PJ_HEARTBEAT_NAME "projectionist.Heartbeat"

/* Its schema, as JSON, of which newer writers may have more fields; and as a source, whose one
 * field is the time. */
extern const char pj_heartbeat_schema[];
extern const struct pj_source pj_heartbeat_source;

/* Whether a writer's schema is one of heartbeats. */
bool pj_heartbeat_is(const char *schema);

#endif
