/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that do not come from Kafka. Each feed is a partition of its own in every topic, with a
 * negative number (-1, -2, …): so it has offsets, its batches are committed like any other, and an
 * interrupted attempt resumes where it was. The live tables see none of that.
 */
#include "rebuild/rebuild_internal.h"

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
    struct pj_loop *loop = &feeding->rebuild->workers[0].loop;
    struct pj_session *session = &loop->session;
    size_t count = session->projection->source_count;
    for (;;) {
        pj_arena_reset(session->unit.work);
        struct pj_partition **list = pj_arena_alloc(session->unit.work, count * sizeof(void *));
        for (size_t i = 0; i < count; i++)
            list[i] = &feeding->partitions[i];
        if (pj_consumer_cluster_id(session->consumer, TIMEOUT_MS, &session->identity.cluster_id,
                                   error) == 0 &&
            pj_session_connect(session, error) == 0 &&
            pj_offsets_claim(session->unit.postgres, &session->identity, list, count,
                             session->unit.work, error) == 0)
            return 0;
        if (pj_loop_recover(loop, error) != 0)
            return -1;
        if (pj_session_stopping(session))
            return PJ_REBUILD_STOPPED;
    }
}

/* Adds it to the batch, unless no source reads its topic or an earlier attempt committed it. */
static void add_record(struct feeding *feeding, const struct pj_fed_record *fed)
{
    struct pj_batch *batch = feeding->rebuild->workers[0].loop.current;
    const struct pj_projection *projection = batch->projection;
    size_t source = 0;
    while (source < projection->source_count &&
           strcmp(projection->sources[source].topic, fed->topic) != 0)
        source++;
    if (source == projection->source_count)
        return;
    int64_t offset = feeding->counts[source]++;
    if (offset < feeding->partitions[source].next_offset)
        return;
    const struct pj_record record = {
        .partition = &feeding->partitions[source],
        .offset = offset,
        .timestamp_ms = fed->timestamp_ms,
        .key = fed->key,
        .key_length = fed->key_length,
        .value = fed->value,
        .value_length = fed->value_length,
        .headers = fed->headers,
        .header_count = fed->header_count,
    };
    pj_batch_add(batch, &record);
}

static int read_feed(struct feeding *feeding, struct pj_error *error)
{
    struct pj_loop *loop = &feeding->rebuild->workers[0].loop;
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
        if (more == 1 && !pj_batch_full(loop->current))
            continue;
        if (pj_loop_commit(loop, error) != 0)
            return -1;
        if (pj_session_stopping(&loop->session))
            return PJ_REBUILD_STOPPED;
        settings->progress(
            settings->context,
            &(struct pj_rebuild_progress){.done = feeding->seen, .total = feeding->feed->count});
    }
    return PJ_REBUILD_FILLED;
}

static int feed_one(struct pj_rebuild *rebuild, size_t index, struct pj_error *error)
{
    struct pj_batch *batch = rebuild->workers[0].loop.current;
    const struct pj_projection *projection = batch->projection;
    size_t sources = projection->source_count;
    struct feeding feeding = {
        .rebuild = rebuild,
        .feed = &rebuild->settings->feeds[index],
        .partitions = pj_arena_alloc(rebuild->arena, sources * sizeof *feeding.partitions),
        .counts = pj_arena_alloc(rebuild->arena, sources * sizeof *feeding.counts),
    };
    struct pj_schemas *live = batch->schemas;
    struct pj_schemas *own;
    for (size_t i = 0; i < sources; i++)
        feeding.partitions[i] = (struct pj_partition){
            .topic_index = i,
            .topic = projection->sources[i].topic,
            .topic_id = "",
            .number = -1 - (int32_t)index,
            .assigned = true,
        };
    if (pj_schemas_new(&own, projection, NULL, NULL, error) != 0)
        return -1;
    pj_schemas_set_lookup(own, feeding.feed->schema, feeding.feed->context);
    batch->schemas = own;
    int status = take(&feeding, error);
    if (status == 0)
        status = read_feed(&feeding, error);
    pj_batch_clear(batch);
    batch->schemas = live;
    pj_schemas_free(own);
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
