/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plans of the writers' schemas, by registry id: made once, found in memory, else in
 * projectionist.schemas, else at the registry (and then kept in both), so that a rebuild needs no
 * registry. What is kept is held against what the registry says: an id that means another schema
 * there ends the work (PJ_EXIT_REGISTRY), because records of before would be read wrongly.
 */
#ifndef PJ_STORE_SCHEMAS_H
#define PJ_STORE_SCHEMAS_H

#include "avro/decode.h"
#include "avro/registry.h"
#include "postgres/postgres.h"

struct pj_schemas;
struct pj_identity;

/* `registry` and `registry_name` (its URL) may be NULL: then only what Postgres has is known. All
 * are kept, not owned. */
int pj_schemas_new(struct pj_schemas **schemas, const struct pj_projection *projection,
                   struct pj_registry *registry, const char *registry_name,
                   struct pj_error *error) PJ_MUST_CHECK;
/* Who reads: to a group, an id means what it learned from any registry, whatever its URL was.
 * The cluster's id may be filled in later, before anything is decoded. */
void pj_schemas_set_reader(struct pj_schemas *schemas, const struct pj_identity *reader);
/* Ids mean what this says, and nothing else: for records of another registry. */
void pj_schemas_set_lookup(struct pj_schemas *schemas,
                           const char *(*lookup)(void *context, int32_t id), void *context);
/* Where there is no registry, an id that Postgres does not keep is PJ_FATAL and not PJ_POISON: a
 * registry that was never asked is no reason for a dead letter. */
void pj_schemas_want_registry(struct pj_schemas *schemas);
void pj_schemas_free(struct pj_schemas *schemas); /* NULL is allowed */

/*
 * Decodes a Kafka value in the wire format (byte 0, schema id, Avro) into the values of the source;
 * data NULL, where the source takes tombstones, gives nulls. *heartbeat: it is one, not to be
 * observed; its time is the value of the source's event_time, all others are null.
 * `postgres` NULL: only plans in memory are used, nothing blocks; an id that is not there is
 * PJ_RETRY. Otherwise the id is looked up, outside of any transaction: PJ_RETRY while Postgres or
 * the registry is away, PJ_POISON for bytes that are not the wire format, an id that the registry
 * does not know, and records that do not decode.
 */
int pj_schemas_decode(struct pj_schemas *schemas, struct pj_postgres *postgres, size_t source,
                      const void *data, size_t length, struct pj_arena *arena,
                      struct pj_value *values, bool *heartbeat,
                      struct pj_error *error) PJ_MUST_CHECK;

/* Asks the registry about one of the ids in use, in turns, where it is time: one that was recreated
 * while we run gives other meanings to known ids. Blocks for a request at most. */
int pj_schemas_look_again(struct pj_schemas *schemas, struct pj_error *error) PJ_MUST_CHECK;

/* The schema id of a value in the wire format, or -1. */
int32_t pj_schemas_wire_id(const void *data, size_t length);

#endif
