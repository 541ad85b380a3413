/* SPDX-License-Identifier: Apache-2.0 */
/* Records on their way: fetched, and decoded as far as that needs no server. */
#ifndef PJ_ENGINE_BATCH_H
#define PJ_ENGINE_BATCH_H

#include "base/arena.h"
#include "kafka/consumer.h"
#include "postgres/postgres.h"
#include "store/schemas.h"

struct pj_item {
    struct pj_record record;
    enum {
        PJ_ITEM_FETCHED, /* its schema is not in memory yet */
        PJ_ITEM_DECODED,
        PJ_ITEM_REFUSED, /* a dead letter, for the reason */
    } state;
    struct pj_value *values;
    const struct pj_error *reason;
};

struct pj_batch {
    struct pj_item *items;
    size_t count;
    size_t capacity;
    size_t bytes;
    struct pj_arena *arena; /* values and texts of the items */
    const struct pj_projection *projection;
    struct pj_schemas *schemas; /* borrowed */
    size_t records_most;
    size_t bytes_most;
};

/* Those of its records that are committed at once: [from, to). */
struct pj_piece {
    struct pj_batch *batch;
    size_t from;
    size_t to;
};

/* Fetches what is there and decodes it: 1 when something came, 0 when nothing did or there is no
 * room, -1 on what ends the process. Never blocks. */
int pj_batch_fill(struct pj_batch *batch, struct pj_consumer *consumer,
                  struct pj_error *error) PJ_MUST_CHECK;
/* One record more, decoded where its schema is in memory. */
void pj_batch_add(struct pj_batch *batch, const struct pj_record *record);
bool pj_batch_full(const struct pj_batch *batch);
void pj_batch_clear(struct pj_batch *batch);
void pj_batch_free(struct pj_batch *batch);

/* Decodes what the fetch could not; looks schemas up, outside of any transaction. */
int pj_batch_decode_rest(const struct pj_piece *piece, struct pj_postgres *postgres,
                         struct pj_error *error) PJ_MUST_CHECK;
/* The record is a dead letter, for the reason. */
void pj_batch_refuse(struct pj_batch *batch, struct pj_item *item, const struct pj_error *reason);

/* Still ours to write: not revoked since, not committed already. */
bool pj_item_live(const struct pj_item *item);

#endif
