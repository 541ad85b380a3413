/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

/* Records are taken in pieces, so that the wait for Postgres is looked at in between. */
enum { PIECE = 512 };

bool pj_item_live(const struct pj_item *item)
{
    const struct pj_record *record = &item->record;
    const struct pj_partition *partition = record->partition;
    return partition->assigned && partition->generation == record->generation &&
           record->offset >= partition->next_offset;
}

bool pj_batch_full(const struct pj_engine *engine, const struct pj_batch *batch)
{
    return batch->count >= (size_t)engine->settings->batch_records ||
           batch->bytes >= (size_t)engine->settings->batch_bytes;
}

static void decode(struct pj_engine *engine, struct pj_batch *batch, struct pj_item *item)
{
    const struct pj_record *record = &item->record;
    size_t source = record->partition->topic_index;
    size_t fields = engine->projection->sources[source].field_count;
    struct pj_error error;
    item->state = PJ_ITEM_FETCHED;
    item->values = pj_arena_alloc(batch->arena, fields * sizeof *item->values);
    if (pj_schemas_decode(engine->schemas, NULL, source, record->value, record->value_length,
                          batch->arena, item->values, &error) == 0) {
        item->state = PJ_ITEM_DECODED;
    } else if (error.class == PJ_POISON) {
        item->state = PJ_ITEM_REFUSED;
        item->reason = pj_arena_copy(batch->arena, &error, sizeof error);
    }
}

void pj_batch_add(struct pj_engine *engine, struct pj_batch *batch, const struct pj_record *record)
{
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity != 0 ? batch->capacity * 2 : PIECE;
        batch->items = realloc(batch->items, batch->capacity * sizeof *batch->items);
        if (batch->items == NULL)
            abort();
    }
    struct pj_item *item = &batch->items[batch->count++];
    *item = (struct pj_item){.record = *record};
    batch->bytes += record->key_length + record->value_length;
    decode(engine, batch, item);
}

bool pj_batch_fill(struct pj_engine *engine, struct pj_batch *batch)
{
    struct pj_record records[PIECE];
    size_t count = 0;
    /* A paused consumer is polled all the same: rebalances come that way. */
    if (engine->poll_failed ||
        (pj_batch_full(engine, batch) && !pj_consumer_paused(engine->consumer)))
        return false;
    size_t room = (size_t)engine->settings->batch_records;
    room = room > batch->count ? room - batch->count : PIECE;
    if (pj_consumer_poll(engine->consumer, records, room < PIECE ? room : PIECE, &count,
                         &engine->poll_error) != 0)
        engine->poll_failed = true;
    for (size_t i = 0; i < count; i++)
        pj_batch_add(engine, batch, &records[i]);
    return count > 0;
}

void pj_batch_clear(struct pj_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        pj_record_release(&batch->items[i].record);
    batch->count = 0;
    batch->bytes = 0;
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
