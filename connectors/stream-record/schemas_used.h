/* SPDX-License-Identifier: Apache-2.0 */
/* The schemas of what is recorded, by the ids in keys and values, from the registry. */
#ifndef PJ_STREAM_RECORD_SCHEMAS_USED_H
#define PJ_STREAM_RECORD_SCHEMAS_USED_H

#include "avro/registry.h"
#include "avro/wire.h"

#include <stdatomic.h>

struct pj_schemas_used;

/* Without a URL no schema is known. */
int pj_schemas_used_open(struct pj_schemas_used **used, const struct pj_registry_settings *registry,
                         int64_t timeout_ms, const atomic_int *stop,
                         struct pj_error *error) PJ_MUST_CHECK;
void pj_schemas_used_close(struct pj_schemas_used *used); /* NULL is allowed */

struct pj_schema_used {
    int32_t id;
    char *text; /* NULL: the registry has no such schema */
};

/*
 * The schema of a key or value, NULL where it has none: it is not in the wire format, or its id is
 * none of the registry's (then *is_unknown). Waits for a registry that is away, as long as the
 * time-out allows. Returns 1 on a stop. It lives until close.
 */
int pj_schemas_used_find(struct pj_schemas_used *used, struct pj_bytes bytes,
                         const struct pj_schema_used **found, bool *is_unknown,
                         struct pj_error *error) PJ_MUST_CHECK;

/* Whether the registry has a subject of this name, and its newest schema is Avro. Waits, and
 * returns 1 on a stop, likewise; without a URL there is none. */
int pj_schemas_used_has_subject(struct pj_schemas_used *used, const char *subject, bool *has,
                                struct pj_error *error) PJ_MUST_CHECK;

#endif
