/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/batch.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdlib.h>

/* Records are polled in pieces, with a look at Postgres in between. */
enum { PIECE = 512 };

bool pj_item_live(const struct pj_item *item)
{
    const struct pj_record *record = &item->record;
    const struct pj_partition *partition = record->partition;
    return partition->assigned && partition->generation == record->generation &&
           record->offset >= partition->next_offset;
}

bool pj_batch_full(const struct pj_batch *batch)
{
    return batch->count >= batch->records_most || batch->bytes >= batch->bytes_most;
}

void pj_batch_refuse(struct pj_batch *batch, struct pj_item *item, enum pj_refused_by by,
                     const struct pj_error *reason)
{
    item->refused_by = by;
    item->state = PJ_ITEM_REFUSED;
    item->reason = pj_arena_copy(batch->arena, reason, sizeof *reason);
}

/* False if the schema must be looked up, which failed or, without `postgres`, was not tried. */
static bool decode(struct pj_batch *batch, struct pj_item *item, struct pj_postgres *postgres,
                   struct pj_error *error)
{
    const struct pj_record *record = &item->record;
    size_t used = pj_arena_used(batch->arena);
    if (pj_schemas_decode(batch->schemas, postgres, record->partition->topic_index, record->value,
                          record->value_length, batch->arena, item->values, &item->heartbeat,
                          error) == 0)
        item->state = PJ_ITEM_DECODED;
    else if (error->class == PJ_POISON)
        pj_batch_refuse(batch, item, PJ_BY_DECODE, error);
    else
        return false;
    used = pj_arena_used(batch->arena) - used;
    batch->bytes += used > record->value_length ? used - record->value_length : 0;
    return true;
}

int pj_batch_decode_rest(const struct pj_piece *piece, struct pj_postgres *postgres,
                         struct pj_error *error)
{
    int64_t started = pj_clock_monotonic_us();
    for (size_t i = piece->from; i < piece->to; i++) {
        struct pj_item *item = &piece->batch->items[i];
        if (item->state == PJ_ITEM_FETCHED && pj_item_live(item) &&
            !decode(piece->batch, item, postgres, error))
            return -1;
    }
    piece->batch->decode_us += pj_clock_monotonic_us() - started;
    return 0;
}

void pj_batch_add(struct pj_batch *batch, const struct pj_record *record)
{
    size_t fields = batch->projection->sources[record->partition->topic_index].field_count;
    struct pj_error later;
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity != 0 ? batch->capacity * 2 : PIECE;
        batch->items = pj_resize(batch->items, batch->capacity, sizeof *batch->items);
    }
    struct pj_item *item = &batch->items[batch->count++];
    *item = (struct pj_item){.record = *record, .state = PJ_ITEM_FETCHED};
    item->values = pj_arena_alloc(batch->arena, fields * sizeof *item->values);
    batch->bytes += record->key_length + record->value_length;
    (void)decode(batch, item, NULL, &later);
}

int pj_batch_fill(struct pj_batch *batch, struct pj_consumer *consumer, struct pj_error *error)
{
    struct pj_record records[PIECE];
    size_t count = 0;
    /* A paused consumer is polled too, for rebalances. */
    if (pj_batch_full(batch) && !pj_consumer_paused(consumer))
        return 0;
    size_t room = batch->records_most > batch->count ? batch->records_most - batch->count : PIECE;
    int64_t started = pj_clock_monotonic_us();
    int status = pj_consumer_poll(consumer, records, room < PIECE ? room : PIECE, &count, error);
    int64_t fetched = pj_clock_monotonic_us();
    for (size_t i = 0; i < count; i++)
        pj_batch_add(batch, &records[i]);
    if (count > 0) {
        batch->fetch_us += fetched - started;
        batch->decode_us += pj_clock_monotonic_us() - fetched;
    }
    return status != 0 ? -1 : count > 0;
}

void pj_batch_clear(struct pj_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        pj_record_release(&batch->items[i].record);
    batch->count = 0;
    batch->bytes = 0;
    batch->fetch_us = batch->decode_us = 0;
    pj_arena_reset(batch->arena);
}

void pj_batch_free(struct pj_batch *batch)
{
    if (batch->arena == NULL)
        return;
    pj_batch_clear(batch);
    free(batch->items);
    pj_arena_free(batch->arena);
    *batch = (struct pj_batch){0};
}
