/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/batch.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum {
    PIECE = 512,             /* records are polled in pieces, with a look at Postgres in between */
    LARGE_RECORD = 64 << 10, /* its bytes are what its message takes */
};

struct pj_batch pj_batch_new(const struct pj_projection *projection, struct pj_schemas *schemas,
                             size_t records_most, size_t bytes_most)
{
    size_t fields = 0;
    for (size_t s = 0; s < projection->source_count; s++)
        fields = projection->sources[s].field_count > fields ? projection->sources[s].field_count
                                                             : fields;
    return (struct pj_batch){
        .arena = pj_arena_new(),
        .values = pj_calloc(fields, sizeof(struct pj_value)),
        .projection = projection,
        .schemas = schemas,
        .records_most = records_most,
        .bytes_most = bytes_most,
    };
}

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

/* --- values ---------------------------------------------------------------------------------- */

/*
 * Of the many fields of a topic, a record has those of one branch. They are packed: a bit for each
 * field, then the values that are not null.
 */
enum { BITS = 64 };

static size_t words(size_t fields)
{
    return (fields + BITS - 1) / BITS;
}

static const void *pack(struct pj_arena *arena, const struct pj_value *values, size_t fields)
{
    size_t bits = words(fields) * sizeof(uint64_t);
    size_t count = 0;
    for (size_t f = 0; f < fields; f++)
        count += values[f].present;
    char *packed = pj_arena_alloc(arena, bits + count * sizeof *values);
    uint64_t *present = (uint64_t *)packed;
    struct pj_value *next = (struct pj_value *)(packed + bits);
    for (size_t f = 0; f < fields; f++) {
        if (!values[f].present)
            continue;
        present[f / BITS] |= UINT64_C(1) << f % BITS;
        *next++ = values[f];
    }
    return packed;
}

static size_t field_count(const struct pj_batch *batch, const struct pj_record *record)
{
    return batch->projection->sources[record->partition->topic_index].field_count;
}

const struct pj_value *pj_batch_values(const struct pj_batch *batch, const struct pj_item *item)
{
    size_t fields = field_count(batch, &item->record);
    const uint64_t *present = item->packed;
    const struct pj_value *next = (const struct pj_value *)(present + words(fields));
    for (size_t f = 0; f < fields; f++)
        batch->values[f] = (present[f / BITS] >> f % BITS & 1) != 0 ? *next++ : pj_null();
    return batch->values;
}

/* --- records --------------------------------------------------------------------------------- */

/*
 * A message of librdkafka takes several times the bytes of a small record, and each one keeps the
 * whole fetch that it came with.
 */
static void take_over(struct pj_arena *arena, struct pj_record *record)
{
    if (record->message != NULL && record->key_length + record->value_length > LARGE_RECORD)
        return;
    size_t count;
    const struct pj_record_header *headers = pj_record_headers(record, arena, &count);
    struct pj_record_header *copies =
        count > 0 ? pj_arena_alloc(arena, count * sizeof *copies) : NULL;
    for (size_t i = 0; i < count; i++) {
        const struct pj_value *value = &headers[i].value;
        copies[i].name = pj_arena_string(arena, headers[i].name, strlen(headers[i].name));
        copies[i].value = *value;
        if (value->present)
            copies[i].value.text.data = pj_arena_copy(arena, value->text.data, value->text.length);
    }
    record->headers = copies;
    record->header_count = count;
    if (record->key != NULL)
        record->key = pj_arena_copy(arena, record->key, record->key_length);
    if (record->value != NULL)
        record->value = pj_arena_copy(arena, record->value, record->value_length);
    pj_record_release(record);
}

/* False if the schema must be looked up, which failed or, without `postgres`, was not tried. */
static bool decode(struct pj_batch *batch, struct pj_item *item, struct pj_postgres *postgres,
                   struct pj_error *error)
{
    const struct pj_record *record = &item->record;
    size_t used = pj_arena_used(batch->arena);
    if (pj_schemas_decode(batch->schemas, postgres, record->partition->topic_index, record->value,
                          record->value_length, batch->arena, batch->values, &item->heartbeat,
                          error) == 0)
        item->state = PJ_ITEM_DECODED;
    else if (error->class == PJ_POISON)
        pj_batch_refuse(batch, item, PJ_BY_DECODE, error);
    else
        return false;
    used = pj_arena_used(batch->arena) - used;
    batch->bytes += used > record->value_length ? used - record->value_length : 0;
    if (item->state == PJ_ITEM_DECODED)
        item->packed = pack(batch->arena, batch->values, field_count(batch, record));
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
    struct pj_error later;
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity != 0 ? batch->capacity * 2 : PIECE;
        batch->items = pj_resize(batch->items, batch->capacity, sizeof *batch->items);
    }
    struct pj_item *item = &batch->items[batch->count++];
    *item = (struct pj_item){.record = *record, .state = PJ_ITEM_FETCHED};
    take_over(batch->arena, &item->record);
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
    free(batch->values);
    pj_arena_free(batch->arena);
    *batch = (struct pj_batch){0};
}
