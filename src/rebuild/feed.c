/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that do not come from Kafka. Each feed is a partition of its own of every topic, with a
 * negative number (-1, -2, …): so it has an offset, its batches are committed like any other, and
 * an interrupted attempt goes on where it was. None of that reaches the live tables.
 */
#include "rebuild/rebuild_internal.h"

#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 5000 };

struct feeding {
    struct pj_rebuild *rebuild;
    const struct pj_feed *feed;
    struct pj_partition *partitions; /* one a source */
    int64_t *counts;                 /* records of each source that were seen */
    int64_t seen;
};

static int take(struct feeding *feeding, struct pj_error *error)
{
    struct pj_engine *engine = &feeding->rebuild->workers[0].engine;
    size_t count = engine->projection->source_count;
    for (;;) {
        pj_arena_reset(engine->unit.work);
        struct pj_partition **list = pj_arena_alloc(engine->unit.work, count * sizeof(void *));
        for (size_t i = 0; i < count; i++)
            list[i] = &feeding->partitions[i];
        if (pj_consumer_cluster_id(engine->consumer, TIMEOUT_MS, &engine->identity.cluster_id,
                                   error) == 0 &&
            pj_engine_connect(engine, error) == 0 &&
            pj_offsets_claim(engine->unit.postgres, &engine->identity, list, count,
                             engine->unit.work, error) == 0)
            return 0;
        if (error->class != PJ_RETRY || pj_engine_back_off(engine, error, error) != 0)
            return -1;
        if (pj_engine_stopping(engine))
            return PJ_REBUILD_STOPPED;
    }
}

/* Into the batch, unless nobody here reads its topic or an attempt before has committed it. */
static void add_record(struct feeding *feeding, const struct pj_fed_record *fed)
{
    struct pj_engine *engine = &feeding->rebuild->workers[0].engine;
    struct pj_batch *batch = engine->current;
    size_t source = 0;
    while (source < engine->projection->source_count &&
           strcmp(engine->projection->sources[source].topic, fed->topic) != 0)
        source++;
    if (source == engine->projection->source_count)
        return;
    int64_t offset = feeding->counts[source]++;
    if (offset < feeding->partitions[source].next_offset)
        return;
    const struct pj_record record = {
        .partition = &feeding->partitions[source],
        .offset = offset,
        .timestamp_ms = fed->timestamp_ms,
        .key = fed->key != NULL ? pj_arena_copy(batch->arena, fed->key, fed->key_length) : NULL,
        .key_length = fed->key_length,
        .value =
            fed->value != NULL ? pj_arena_copy(batch->arena, fed->value, fed->value_length) : NULL,
        .value_length = fed->value_length,
    };
    pj_batch_add(engine, batch, &record);
}

static int read_feed(struct feeding *feeding, struct pj_error *error)
{
    struct pj_engine *engine = &feeding->rebuild->workers[0].engine;
    const struct pj_rebuild_settings *settings = feeding->rebuild->settings;
    struct pj_fed_record fed;
    int more = 1;
    while (more == 1) {
        more = feeding->feed->next(feeding->feed->context, &fed, error);
        if (more < 0)
            return -1;
        if (more == 1) {
            add_record(feeding, &fed);
            feeding->seen++;
        }
        if (more == 1 && !pj_batch_full(engine, engine->current))
            continue;
        if (pj_engine_commit(engine, error) != 0)
            return -1;
        if (pj_engine_stopping(engine))
            return PJ_REBUILD_STOPPED;
        settings->progress(
            settings->context,
            &(struct pj_rebuild_progress){.done = feeding->seen, .total = feeding->feed->count});
    }
    return PJ_REBUILD_FILLED;
}

static int feed_one(struct pj_rebuild *rebuild, size_t index, struct pj_error *error)
{
    struct pj_engine *engine = &rebuild->workers[0].engine;
    size_t sources = engine->projection->source_count;
    struct feeding feeding = {
        .rebuild = rebuild,
        .feed = &rebuild->settings->feeds[index],
        .partitions = pj_arena_alloc(rebuild->arena, sources * sizeof *feeding.partitions),
        .counts = pj_arena_alloc(rebuild->arena, sources * sizeof *feeding.counts),
    };
    struct pj_schemas *live = engine->schemas;
    for (size_t i = 0; i < sources; i++)
        feeding.partitions[i] = (struct pj_partition){
            .topic_index = i,
            .topic = engine->projection->sources[i].topic,
            .topic_id = "",
            .number = -1 - (int32_t)index,
            .assigned = true,
        };
    if (pj_schemas_new(&engine->schemas, engine->projection, NULL, NULL, error) != 0) {
        engine->schemas = live;
        return -1;
    }
    pj_schemas_set_lookup(engine->schemas, feeding.feed->schema, feeding.feed->context);
    int status = take(&feeding, error);
    if (status == 0)
        status = read_feed(&feeding, error);
    pj_batch_clear(engine->current);
    pj_schemas_free(engine->schemas);
    engine->schemas = live;
    return status;
}

int pj_rebuild_read_feeds(struct pj_rebuild *rebuild, struct pj_error *error)
{
    for (size_t i = 0; i < rebuild->settings->feed_count; i++) {
        int status = feed_one(rebuild, i, error);
        if (status != PJ_REBUILD_FILLED)
            return status;
    }
    return PJ_REBUILD_FILLED;
}
