/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/flood.h"
#include "store/refusal.h"

#include <stdlib.h>
#include <string.h>

/* One batch against Postgres: the transaction, and what to do when it fails. */

enum { FENCES_MOST = 3, LOGGED_MOST = 10 };

/* Sets of partitions in one batch are small: what the group gave to one member. */
static void advance(struct pj_advance *advances, size_t *count, const struct pj_record *record,
                    int64_t stream_time)
{
    int64_t next_offset = record->offset + 1;
    uint64_t checksum = pj_offsets_checksum(record);
    for (size_t i = *count; i-- > 0;) {
        struct pj_advance *known = &advances[i];
        if (known->partition != record->partition)
            continue;
        if (next_offset > known->next_offset) {
            known->next_offset = next_offset;
            known->last = record;
        }
        if (stream_time > known->stream_time)
            known->stream_time = stream_time;
        known->records++;
        known->checksum ^= checksum;
        return;
    }
    advances[(*count)++] =
        (struct pj_advance){record->partition, next_offset, stream_time, 1, checksum, record};
}

static int compare_advances(const void *a, const void *b)
{
    const struct pj_partition *x = ((const struct pj_advance *)a)->partition;
    const struct pj_partition *y = ((const struct pj_advance *)b)->partition;
    int compared = strcmp(x->topic, y->topic);
    return compared != 0 ? compared : (x->number > y->number) - (x->number < y->number);
}

/* --- decoding what the fetch could not ------------------------------------------------------- */

static int decode_rest(struct pj_engine *engine, struct pj_batch *batch, size_t from, size_t to,
                       struct pj_error *error)
{
    for (size_t i = from; i < to; i++) {
        struct pj_item *item = &batch->items[i];
        const struct pj_record *record = &item->record;
        if (item->state != PJ_ITEM_FETCHED || !pj_item_live(item))
            continue;
        if (pj_schemas_decode(engine->schemas, engine->postgres, record->partition->topic_index,
                              record->value, record->value_length, batch->arena, item->values,
                              error) == 0) {
            item->state = PJ_ITEM_DECODED;
        } else if (error->class == PJ_POISON) {
            item->state = PJ_ITEM_REFUSED;
            item->reason = pj_arena_copy(batch->arena, error, sizeof *error);
        } else {
            return -1;
        }
    }
    return 0;
}

static int observe(struct pj_engine *engine, struct pj_batch *batch, struct pj_item *item,
                   struct pj_fold *fold, struct pj_error *error)
{
    const struct pj_record *record = &item->record;
    const struct pj_source *source = &engine->projection->sources[record->partition->topic_index];
    const char *prefix = engine->settings->topic_prefix;
    struct pj_event event = {
        .values = item->values,
        .topic = source->topic + (prefix != NULL ? strlen(prefix) : 0),
        .partition = record->partition->number,
        .offset = record->offset,
        .timestamp_ms = record->timestamp_ms,
    };
    if (pj_fold_observe(fold, source, &event, error) == 0)
        return 0;
    if (error->class != PJ_POISON)
        return -1;
    item->state = PJ_ITEM_REFUSED;
    item->reason = pj_arena_copy(batch->arena, error, sizeof *error);
    return 0;
}

/* --- the transaction ------------------------------------------------------------------------- */

struct outcome {
    size_t records;
    size_t dead_letters;
    size_t due;
    struct pj_written written;
};

static int write_dead_letters(struct pj_engine *engine, struct pj_batch *batch, size_t from,
                              size_t to, struct outcome *outcome, struct pj_error *error)
{
    for (size_t i = from; i < to; i++) {
        const struct pj_item *item = &batch->items[i];
        if (item->state != PJ_ITEM_REFUSED || !pj_item_live(item))
            continue;
        int32_t id = pj_schemas_wire_id(item->record.value, item->record.value_length);
        const char *headers = pj_record_headers(&item->record, engine->work);
        if (pj_offsets_dead_letter(engine->postgres, &engine->identity, &item->record, headers, id,
                                   item->reason, engine->work, error) != 0)
            return -1;
        /* The pipeline is bounded: a flood of bad records is settled piece by piece. */
        if (++outcome->dead_letters % 64 == 0 && pj_postgres_drain(engine->postgres, error) != 0)
            return -1;
    }
    return 0;
}

static void committed(struct pj_engine *engine, const struct pj_advance *advances, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (advances[i].next_offset > advances[i].partition->next_offset)
            advances[i].partition->next_offset = advances[i].next_offset;
    }
    pj_engine_recovered(engine);
    engine->fences = 0;
    engine->sweep_due = pj_writer_timed(engine->writer);
    pj_metric_add(engine->numbers.batches, 1);
    pj_metric_set(engine->numbers.last_commit, pj_clock_wall_ms() / 1000);
}

/* The commit's answer was lost with the connection: remember what it would have done. */
static void remember_doubt(struct pj_engine *engine, const struct pj_advance *advances,
                           size_t count)
{
    engine->doubt = calloc(count, sizeof *engine->doubt);
    if (engine->doubt == NULL)
        abort();
    memcpy(engine->doubt, advances, count * sizeof *advances);
    engine->doubt_count = count;
}

static void forget_doubt(struct pj_engine *engine)
{
    free(engine->doubt);
    engine->doubt = NULL;
    engine->doubt_count = 0;
}

static int settle_doubt(struct pj_engine *engine, struct pj_error *error)
{
    enum pj_commit_outcome outcome;
    if (engine->doubt == NULL)
        return 0;
    if (pj_offsets_outcome(engine->postgres, &engine->identity, engine->doubt, engine->doubt_count,
                           engine->work, &outcome, error) != 0)
        return -1;
    pj_log(PJ_INFO, "settled a commit whose answer was lost",
           pj_f_str("outcome", outcome == PJ_COMMITTED       ? "committed"
                               : outcome == PJ_NOT_COMMITTED ? "not committed"
                                                             : "taken over"));
    if (outcome == PJ_TAKEN_OVER) {
        forget_doubt(engine);
        return pj_error_set(error, PJ_FENCED, "another owner took over after a lost connection");
    }
    /* What was committed is no longer live: the batch goes on with the rest. */
    if (outcome == PJ_COMMITTED)
        committed(engine, engine->doubt, engine->doubt_count);
    forget_doubt(engine);
    return 0;
}

/* Of a projection with a timed kind: stream time, this batch included, and who is due by it. */
static int wake(struct pj_engine *engine, struct pj_fold *fold, size_t *due, struct pj_error *error)
{
    int64_t stream_time;
    *due = 0;
    if (!pj_writer_timed(engine->writer))
        return 0;
    if (pj_offsets_stream_time(engine->postgres, &engine->identity, &stream_time, error) != 0)
        return -1;
    return pj_writer_run_timers(engine->writer, engine->postgres, fold, stream_time, engine->work,
                                due, error);
}

static int try_transact(struct pj_engine *engine, struct pj_batch *batch, size_t from, size_t to,
                        struct pj_fold *fold, const struct pj_advance *advances, size_t count,
                        struct outcome *outcome, struct pj_error *error)
{
    struct pj_postgres *postgres = engine->postgres;
    if (pj_postgres_begin(postgres, error) != 0 ||
        (count > 0 && pj_offsets_advance(postgres, &engine->identity, advances, count, engine->work,
                                         error) != 0) ||
        (fold != NULL && (wake(engine, fold, &outcome->due, error) != 0 ||
                          pj_writer_write(engine->writer, postgres, fold, engine->work,
                                          &outcome->written, error) != 0)) ||
        (batch != NULL && (write_dead_letters(engine, batch, from, to, outcome, error) != 0 ||
                           pj_flood_accept(engine, batch, from, to, error) != 0))) {
        pj_postgres_rollback(postgres);
        return -1;
    }
    engine->stall.committing = true;
    if (pj_postgres_commit(postgres, error) != 0) {
        if (pj_postgres_broken(postgres) && count > 0)
            remember_doubt(engine, advances, count);
        pj_postgres_rollback(postgres);
        return -1;
    }
    return 0;
}

static int transact(struct pj_engine *engine, struct pj_batch *batch, size_t from, size_t to,
                    struct pj_fold *fold, const struct pj_advance *advances, size_t count,
                    struct outcome *outcome, struct pj_error *error)
{
    pj_stall_busy(engine, true);
    int status = try_transact(engine, batch, from, to, fold, advances, count, outcome, error);
    pj_stall_busy(engine, false);
    return status;
}

static bool is_discarded(const struct pj_engine *engine, const struct pj_record *record)
{
    const struct pj_shadow *shadow = engine->shadow;
    struct pj_offset_range place = {record->partition->topic, record->partition->number,
                                    record->offset, record->offset + 1};
    return shadow != NULL && shadow->discarded_count > 0 &&
           bsearch(&place, shadow->discarded, shadow->discarded_count, sizeof place,
                   pj_offset_range_compare) != NULL;
}

/* One try of the records [from, to) that are still ours. */
static int try_range(struct pj_engine *engine, struct pj_batch *batch, size_t from, size_t to,
                     struct pj_error *error)
{
    struct outcome outcome = {0};
    int64_t started = pj_clock_monotonic_us();
    pj_arena_reset(engine->work);
    if (pj_engine_connect(engine, error) != 0 || settle_doubt(engine, error) != 0 ||
        decode_rest(engine, batch, from, to, error) != 0)
        return -1;
    size_t partitions;
    pj_consumer_partitions(engine->consumer, &partitions);
    /* Records that are fed have a partition of their own for each source. */
    partitions += engine->projection->source_count;
    struct pj_advance *advances = pj_arena_alloc(engine->work, (partitions + 1) * sizeof *advances);
    size_t count = 0;
    struct pj_fold *fold = pj_fold_new(engine->projection, engine->setting_values, engine->work);
    for (size_t i = from; i < to; i++) {
        struct pj_item *item = &batch->items[i];
        if (!pj_item_live(item))
            continue;
        outcome.records++;
        const struct pj_record *record = &item->record;
        bool counts = item->state == PJ_ITEM_DECODED && !is_discarded(engine, record);
        if (counts && observe(engine, batch, item, fold, error) != 0)
            return -1;
        counts = counts && item->state == PJ_ITEM_DECODED;
        const struct pj_source *source =
            &engine->projection->sources[record->partition->topic_index];
        advance(advances, &count, record,
                counts ? pj_offsets_event_time(source, item->values, record->timestamp_ms)
                       : INT64_MIN);
    }
    if (count == 0)
        return 0;
    qsort(advances, count, sizeof *advances, compare_advances);
    if (pj_flood_check(engine, batch, from, to, error) != 0 ||
        transact(engine, batch, from, to, fold, advances, count, &outcome, error) != 0)
        return -1;
    pj_flood_accepted(engine, batch, from, to);
    committed(engine, advances, count);
    pj_metric_add(engine->numbers.records, (int64_t)outcome.records);
    pj_metric_add(engine->numbers.rows, outcome.written.rows);
    pj_metric_add(engine->numbers.placeholders, outcome.written.placeholders);
    pj_metric_add(engine->numbers.dead_letters, (int64_t)outcome.dead_letters);
    pj_metric_observe_us(engine->numbers.batch_seconds, pj_clock_monotonic_us() - started);
    pj_log(PJ_DEBUG, "batch committed", pj_f_int("records", (int64_t)outcome.records),
           pj_f_int("rows", outcome.written.rows),
           pj_f_int("dead_letters", (int64_t)outcome.dead_letters),
           pj_f_int("microseconds", pj_clock_monotonic_us() - started));
    return 0;
}

/* --- when it fails --------------------------------------------------------------------------- */

static int fenced(struct pj_engine *engine, struct pj_error *error)
{
    if (engine->shadow != NULL)
        return pj_error_fatal(error, PJ_EXIT_FENCED,
                              "the tables beside the live ones are not as they were left: another "
                              "process works on them, or Postgres came back from a crash; nothing "
                              "was changed, and the same command begins anew (%s)",
                              error->message);
    pj_metric_add(engine->numbers.fenced, 1);
    pj_log(PJ_WARN, "fenced: the batch is forgotten, joining the group anew",
           pj_f_str("reason", error->message));
    forget_doubt(engine);
    if (++engine->fences >= FENCES_MOST)
        return pj_error_fatal(error, PJ_EXIT_FENCED,
                              "another process keeps taking the partitions of group %s; see "
                              "`projectionist status` for its owner and stop one of the two",
                              engine->identity.group);
    return pj_consumer_rejoin(engine->consumer, error);
}

/* A flood of bad records must not become a flood of lines: all are in the table. */
static void log_dead_letters(const struct pj_batch *batch)
{
    int64_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct pj_item *item = &batch->items[i];
        /* What is still ours to write was not written. */
        if (item->state != PJ_ITEM_REFUSED || pj_item_live(item) || ++count > LOGGED_MOST)
            continue;
        pj_log(PJ_WARN, "dead letter", pj_f_str("topic", item->record.partition->topic),
               pj_f_int("partition", item->record.partition->number),
               pj_f_int("offset", item->record.offset), pj_f_str("reason", item->reason->message));
    }
    if (count > LOGGED_MOST)
        pj_log(PJ_WARN, "more dead letters in the same batch",
               pj_f_int("count", count - LOGGED_MOST));
}

static bool any_live(const struct pj_batch *batch, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (pj_item_live(&batch->items[i]))
            return true;
    }
    return false;
}

static int commit_range(struct pj_engine *engine, struct pj_batch *batch, size_t from, size_t to,
                        struct pj_error *error)
{
    struct pj_writer_tries tries = {0};
    bool whole = false;
    for (;;) {
        pj_writer_set_whole(engine->writer, whole);
        if (try_range(engine, batch, from, to, error) == 0)
            return 0;
        if (pj_writer_retry_at_once(engine->writer, error, &tries))
            continue;
        if (engine->postgres != NULL)
            pj_refusal_judge(engine->postgres, engine->projection, error);
        switch (error->class) {
        case PJ_RETRY:
            if (pj_engine_back_off(engine, error, error) != 0)
                return -1;
            if (pj_engine_stopping(engine))
                return 0; /* nothing of it is committed: the next owner begins where we did */
            tries = (struct pj_writer_tries){0};
            continue;
        case PJ_FENCED:
            return fenced(engine, error);
        case PJ_POISON:
            if (to - from > 1) {
                size_t middle = from + (to - from) / 2;
                if (commit_range(engine, batch, from, middle, error) != 0)
                    return -1;
                /* A stop does not wait for a flood to be divided. Where it came before the first
                 * half was committed, the second must not move the offsets past it. */
                if (pj_engine_stopping(engine) || any_live(batch, from, middle))
                    return 0;
                return commit_range(engine, batch, middle, to, error);
            }
            /* It is no fault of the record's that there is more than we like to load at once. */
            if (pj_writer_too_large(error) && !whole) {
                whole = true;
                continue;
            }
            if (batch->items[from].state == PJ_ITEM_REFUSED)
                return pj_error_set(error, PJ_FATAL, "a dead letter cannot be written: %s",
                                    error->message);
            batch->items[from].state = PJ_ITEM_REFUSED;
            batch->items[from].reason = pj_arena_copy(batch->arena, error, sizeof *error);
            continue;
        case PJ_FATAL:
            return -1;
        }
    }
}

int pj_engine_commit(struct pj_engine *engine, struct pj_error *error)
{
    struct pj_batch *batch = engine->current;
    int status = commit_range(engine, batch, 0, batch->count, error);
    log_dead_letters(batch);
    pj_batch_clear(batch);
    if (status == 0)
        pj_consumer_resume(engine->consumer);
    return status;
}

/* --- the ends -------------------------------------------------------------------------------- */

static int try_ends(struct pj_engine *engine, struct pj_error *error)
{
    size_t partition_count;
    struct pj_partition *const *partitions =
        pj_consumer_partitions(engine->consumer, &partition_count);
    pj_arena_reset(engine->work);
    struct pj_advance *advances =
        pj_arena_alloc(engine->work, (partition_count + 1) * sizeof *advances);
    size_t count = 0;
    for (size_t i = 0; i < partition_count; i++) {
        struct pj_partition *partition = partitions[i];
        if (partition->assigned && partition->at_end &&
            partition->end_offset > partition->next_offset)
            advances[count++] = (struct pj_advance){
                .partition = partition,
                .next_offset = partition->end_offset,
                .stream_time = INT64_MIN,
            };
    }
    if (count == 0 && engine->doubt == NULL)
        return 0;
    if (pj_engine_connect(engine, error) != 0 || settle_doubt(engine, error) != 0)
        return -1;
    if (count == 0)
        return 0;
    struct outcome outcome = {0};
    qsort(advances, count, sizeof *advances, compare_advances);
    if (transact(engine, NULL, 0, 0, NULL, advances, count, &outcome, error) != 0)
        return -1;
    committed(engine, advances, count);
    return 0;
}

int pj_engine_advance_to_ends(struct pj_engine *engine, struct pj_error *error)
{
    if (try_ends(engine, error) == 0) {
        /* After a wait that had no batch; nobody else would wake the partitions then. */
        pj_consumer_resume(engine->consumer);
        return 0;
    }
    if (error->class == PJ_RETRY)
        return pj_engine_back_off(engine, error, error);
    return error->class == PJ_FENCED ? fenced(engine, error) : -1;
}

/* --- ownership ------------------------------------------------------------------------------- */

enum { CHECK_MS = 1000, HELD_MS = 60000 };

static int try_check(struct pj_engine *engine, struct pj_error *error)
{
    size_t known;
    size_t count = 0;
    struct pj_partition *const *partitions = pj_consumer_partitions(engine->consumer, &known);
    pj_arena_reset(engine->work);
    struct pj_partition **ours = pj_arena_alloc(engine->work, (known + 1) * sizeof(void *));
    for (size_t i = 0; i < known; i++) {
        if (partitions[i]->assigned)
            ours[count++] = partitions[i];
    }
    if (count == 0)
        return 0;
    if (pj_engine_connect(engine, error) != 0 ||
        pj_offsets_check(engine->postgres, &engine->identity, ours, count, engine->work, error) !=
            0)
        return -1;
    pj_engine_recovered(engine); /* where nothing comes, no commit tells */
    return 0;
}

int pj_engine_check_ownership(struct pj_engine *engine, struct pj_error *error)
{
    int64_t now = pj_clock_monotonic_ms();
    if (now - engine->checked_at < CHECK_MS)
        return 0;
    engine->checked_at = now;
    if (try_check(engine, error) == 0) {
        /* Whoever took the partitions before has done with them. */
        if (now - engine->settled_since > HELD_MS)
            engine->fences = 0;
        return 0;
    }
    if (error->class == PJ_RETRY)
        return pj_engine_back_off(engine, error, error);
    return error->class == PJ_FENCED ? fenced(engine, error) : -1;
}

/* --- sweeping -------------------------------------------------------------------------------- */

/*
 * A transaction that touches an entity sees the stream time that was committed then; another
 * replica may move it on while this one is not committed yet. So whoever commits looks again
 * afterwards: the last of them sees everything. No fence is needed: rows follow from committed
 * facts and committed stream time, whoever derives them.
 */
static int try_sweep(struct pj_engine *engine, struct outcome *outcome, struct pj_error *error)
{
    pj_arena_reset(engine->work);
    if (pj_engine_connect(engine, error) != 0)
        return -1;
    struct pj_fold *fold = pj_fold_new(engine->projection, engine->setting_values, engine->work);
    return transact(engine, NULL, 0, 0, fold, NULL, 0, outcome, error);
}

int pj_engine_write(struct pj_engine *engine, struct pj_fold *fold, bool whole,
                    struct pj_error *error)
{
    pj_writer_set_whole(engine->writer, whole);
    struct outcome outcome = {0};
    return transact(engine, NULL, 0, 0, fold, NULL, 0, &outcome, error);
}

int pj_engine_sweep(struct pj_engine *engine, struct pj_error *error)
{
    struct outcome outcome = {0};
    pj_writer_set_whole(engine->writer, false);
    int status = try_sweep(engine, &outcome, error);
    if (status != 0 && pj_writer_too_large(error)) {
        pj_writer_set_whole(engine->writer, true);
        status = try_sweep(engine, &outcome, error);
    }
    if (status == 0) {
        engine->sweep_due = outcome.due > 0;
        pj_engine_recovered(engine);
        return 0;
    }
    struct pj_writer_tries tries = {0};
    if (error->class == PJ_RETRY && pj_writer_retry_at_once(engine->writer, error, &tries))
        return 0;
    return error->class == PJ_RETRY ? pj_engine_back_off(engine, error, error) : -1;
}
