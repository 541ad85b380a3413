/* SPDX-License-Identifier: Apache-2.0 */
/* Fetched records, decoded as far as that needs no server. */
#ifndef PJ_ENGINE_BATCH_H
#define PJ_ENGINE_BATCH_H

#include "base/arena.h"
#include "kafka/consumer.h"
#include "postgres/postgres.h"
#include "store/schemas.h"

/* What refused a record; the label of dead letters in /metrics. */
enum pj_refused_by {
    PJ_BY_DECODE,   /* no event of the topic's schema */
    PJ_BY_OBSERVE,  /* the projection, or a rule of its fields */
    PJ_BY_ROWS,     /* its rows cannot be derived, or a value does not fit its column */
    PJ_BY_POSTGRES, /* a constraint or a trigger */
    PJ_REFUSERS
};

struct pj_item {
    struct pj_record record; /* what it points to is the batch's */
    enum {
        PJ_ITEM_FETCHED, /* its schema is not in memory yet */
        PJ_ITEM_DECODED,
        PJ_ITEM_REFUSED, /* a dead letter */
    } state;
    const void *packed; /* its values: pj_batch_values */
    bool heartbeat;     /* it counts for stream time alone */
    const struct pj_error *reason;
    enum pj_refused_by refused_by;
};

struct pj_batch {
    struct pj_item *items;
    size_t count;
    size_t capacity;
    size_t bytes;
    struct pj_arena *arena;  /* the items' records, values and texts */
    struct pj_value *values; /* of one of them, unpacked */
    const struct pj_projection *projection;
    struct pj_schemas *schemas; /* borrowed */
    size_t records_most;
    size_t bytes_most;
    int64_t fetch_us, decode_us; /* how long that took, of the records in it */
};

/* The records of one transaction: [from, to). */
struct pj_piece {
    struct pj_batch *batch;
    size_t from;
    size_t to;
};

/* An empty one; the schemas are borrowed. */
struct pj_batch pj_batch_new(const struct pj_projection *projection, struct pj_schemas *schemas,
                             size_t records_most, size_t bytes_most);
/* Fetches what is there and decodes it: 1 when something came, 0 when nothing did or the batch is
 * full, -1 on a fatal error. Never blocks. */
int pj_batch_fill(struct pj_batch *batch, struct pj_consumer *consumer,
                  struct pj_error *error) PJ_MUST_CHECK;
/* Adds a record, decoded if its schema is in memory; its message, if it has one, is taken over, and
 * all else copied. */
void pj_batch_add(struct pj_batch *batch, const struct pj_record *record);
/* Of one that is decoded, the values of its source's fields; until the next call, or the next
 * record that is decoded. */
const struct pj_value *pj_batch_values(const struct pj_batch *batch, const struct pj_item *item);
bool pj_batch_full(const struct pj_batch *batch);
void pj_batch_clear(struct pj_batch *batch);
void pj_batch_free(struct pj_batch *batch);

/* Decodes the rest; looks schemas up, outside of any transaction. */
int pj_batch_decode_rest(const struct pj_piece *piece, struct pj_postgres *postgres,
                         struct pj_error *error) PJ_MUST_CHECK;
/* Makes the record a dead letter. */
void pj_batch_refuse(struct pj_batch *batch, struct pj_item *item, enum pj_refused_by by,
                     const struct pj_error *reason);

/* Still ours to write: neither revoked nor committed since. */
bool pj_item_live(const struct pj_item *item);

#endif
