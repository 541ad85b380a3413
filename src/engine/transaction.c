/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/flood.h"

#include <stdlib.h>
#include <string.h>

/* What is committed when, and what to do when a commit fails: divide it, wait, or give it up. */

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
        if (pj_schemas_decode(engine->schemas, engine->unit.postgres,
                              record->partition->topic_index, record->value, record->value_length,
                              batch->arena, item->values, error) == 0) {
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

/* --- one try --------------------------------------------------------------------------------- */

static void committed(struct pj_engine *engine)
{
    pj_engine_recovered(engine);
    engine->fences = 0;
    engine->timers_due = pj_writer_timed(engine->unit.writer);
    pj_metric_add(engine->numbers.batches, 1);
    pj_metric_set(engine->numbers.last_commit, pj_clock_wall_ms() / 1000);
}

/* On a connection, with no commit in doubt. What turns out to be committed is no longer live: the
 * batch goes on with the rest. */
static int connect_and_resolve(struct pj_engine *engine, struct pj_error *error)
{
    enum pj_commit_outcome outcome;
    if (pj_engine_connect(engine, error) != 0 ||
        pj_unit_resolve(&engine->unit, &outcome, error) != 0)
        return -1;
    if (outcome == PJ_COMMITTED)
        committed(engine);
    return 0;
}

/* Those of the records that are refused by now. */
static struct pj_dead_letter *list_letters(struct pj_engine *engine, const struct pj_batch *batch,
                                           size_t from, size_t to, size_t *count)
{
    struct pj_dead_letter *letters =
        pj_arena_alloc(engine->unit.work, (to - from) * sizeof *letters);
    *count = 0;
    for (size_t i = from; i < to; i++) {
        const struct pj_item *item = &batch->items[i];
        if (item->state == PJ_ITEM_REFUSED && pj_item_live(item))
            letters[(*count)++] = (struct pj_dead_letter){
                .record = &item->record,
                .headers = pj_record_headers(&item->record, engine->unit.work),
                .reason = item->reason,
            };
    }
    return letters;
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

/* Folds those of the records that are still ours; *records: how many there are. */
static int fold_records(struct pj_engine *engine, struct pj_batch *batch, size_t from, size_t to,
                        struct pj_unit_work *work, size_t *records, struct pj_error *error)
{
    size_t partitions;
    pj_consumer_partitions(engine->consumer, &partitions);
    /* Records that are fed have a partition of their own for each source. */
    partitions += engine->projection->source_count;
    struct pj_advance *advances =
        pj_arena_alloc(engine->unit.work, (partitions + 1) * sizeof *advances);
    work->fold = pj_fold_new(engine->projection, engine->setting_values, engine->unit.work);
    for (size_t i = from; i < to; i++) {
        struct pj_item *item = &batch->items[i];
        if (!pj_item_live(item))
            continue;
        ++*records;
        const struct pj_record *record = &item->record;
        bool counts = item->state == PJ_ITEM_DECODED && !is_discarded(engine, record);
        if (counts && observe(engine, batch, item, work->fold, error) != 0)
            return -1;
        counts = counts && item->state == PJ_ITEM_DECODED;
        const struct pj_source *source =
            &engine->projection->sources[record->partition->topic_index];
        advance(advances, &work->advance_count, record,
                counts ? pj_offsets_event_time(source, item->values, record->timestamp_ms)
                       : INT64_MIN);
    }
    qsort(advances, work->advance_count, sizeof *advances, compare_advances);
    work->advances = advances;
    return 0;
}

/* Of the records [from, to) that are still ours. */
static int try_range(struct pj_engine *engine, struct pj_batch *batch, size_t from, size_t to,
                     const struct pj_tries *tries, struct pj_error *error)
{
    size_t records = 0;
    struct pj_unit_result result;
    struct pj_unit_work work = {.tries = tries};
    int64_t started = pj_clock_monotonic_us();
    pj_arena_reset(engine->unit.work);
    if (connect_and_resolve(engine, error) != 0 ||
        decode_rest(engine, batch, from, to, error) != 0 ||
        fold_records(engine, batch, from, to, &work, &records, error) != 0)
        return -1;
    if (records == 0)
        return 0;
    const char **topics =
        pj_arena_alloc(engine->unit.work, engine->projection->source_count * sizeof *topics);
    work.letters = list_letters(engine, batch, from, to, &work.letter_count);
    work.accepted = topics;
    work.accepted_count = pj_flood_accept(engine, batch, from, to, topics);
    if (pj_flood_check(engine, batch, from, to, error) != 0 ||
        pj_unit_try(&engine->unit, &work, &result, error) != 0)
        return -1;
    pj_flood_accepted(engine, batch, from, to);
    committed(engine);
    pj_metric_add(engine->numbers.records, (int64_t)records);
    pj_metric_add(engine->numbers.rows, result.written.rows);
    pj_metric_add(engine->numbers.placeholders, result.written.placeholders);
    pj_metric_add(engine->numbers.dead_letters, (int64_t)work.letter_count);
    pj_metric_observe_us(engine->numbers.batch_seconds, pj_clock_monotonic_us() - started);
    pj_log(PJ_DEBUG, "batch committed", pj_f_int("records", (int64_t)records),
           pj_f_int("rows", result.written.rows),
           pj_f_int("dead_letters", (int64_t)work.letter_count),
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
    pj_unit_forget(&engine->unit);
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

int pj_engine_survive(struct pj_engine *engine, struct pj_error *error)
{
    if (error->class == PJ_RETRY)
        return pj_engine_back_off(engine, error, error);
    return error->class == PJ_FENCED ? fenced(engine, error) : -1;
}

static int commit_range(struct pj_engine *engine, struct pj_batch *batch, size_t from, size_t to,
                        struct pj_error *error)
{
    struct pj_tries tries = {0};
    while (try_range(engine, batch, from, to, &tries, error) != 0) {
        switch (pj_unit_next(&engine->unit, &tries, to - from > 1, error)) {
        case PJ_AGAIN:
            continue;
        case PJ_LATER:
            if (pj_engine_survive(engine, error) != 0)
                return -1;
            if (pj_engine_stopping(engine))
                return 0; /* nothing of it is committed: the next owner begins where we did */
            continue;
        case PJ_GIVE_UP:
            return pj_engine_survive(engine, error);
        case PJ_REFUSED:
            break;
        }
        if (to - from > 1) {
            size_t middle = from + (to - from) / 2;
            if (commit_range(engine, batch, from, middle, error) != 0)
                return -1;
            /* A stop does not wait for a flood to be divided. Where it came before the first half
             * was committed, the second must not move the offsets past it. */
            if (pj_engine_stopping(engine) || any_live(batch, from, middle))
                return 0;
            return commit_range(engine, batch, middle, to, error);
        }
        struct pj_item *item = &batch->items[from];
        if (item->state == PJ_ITEM_REFUSED)
            return pj_error_set(error, PJ_FATAL, "a dead letter cannot be written: %s",
                                error->message);
        item->state = PJ_ITEM_REFUSED;
        item->reason = pj_arena_copy(batch->arena, error, sizeof *error);
    }
    return 0;
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
    pj_arena_reset(engine->unit.work);
    struct pj_advance *advances =
        pj_arena_alloc(engine->unit.work, (partition_count + 1) * sizeof *advances);
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
    if (count == 0 && engine->unit.in_doubt == NULL)
        return 0;
    if (connect_and_resolve(engine, error) != 0)
        return -1;
    if (count == 0)
        return 0;
    const struct pj_tries first = {0};
    const struct pj_unit_work work = {
        .tries = &first, .advances = advances, .advance_count = count};
    struct pj_unit_result result;
    qsort(advances, count, sizeof *advances, compare_advances);
    if (pj_unit_try(&engine->unit, &work, &result, error) != 0)
        return -1;
    committed(engine);
    return 0;
}

int pj_engine_advance_to_ends(struct pj_engine *engine, struct pj_error *error)
{
    if (try_ends(engine, error) == 0) {
        /* After a wait that had no batch; nobody else would wake the partitions then. */
        pj_consumer_resume(engine->consumer);
        return 0;
    }
    return pj_engine_survive(engine, error);
}

/* --- ownership ------------------------------------------------------------------------------- */

enum { CHECK_MS = 1000, HELD_MS = 60000 };

static int try_check(struct pj_engine *engine, struct pj_error *error)
{
    size_t known;
    size_t count = 0;
    struct pj_partition *const *partitions = pj_consumer_partitions(engine->consumer, &known);
    pj_arena_reset(engine->unit.work);
    struct pj_partition **ours = pj_arena_alloc(engine->unit.work, (known + 1) * sizeof(void *));
    for (size_t i = 0; i < known; i++) {
        if (partitions[i]->assigned)
            ours[count++] = partitions[i];
    }
    if (count == 0)
        return 0;
    if (pj_engine_connect(engine, error) != 0 ||
        pj_offsets_check(engine->unit.postgres, &engine->identity, ours, count, engine->unit.work,
                         error) != 0)
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
    return pj_engine_survive(engine, error);
}

/* --- timers ---------------------------------------------------------------------------------- */

/*
 * A transaction that touches an entity sees the stream time that was committed then; another
 * replica may move it on while this one is not committed yet. So whoever commits looks again
 * afterwards: the last of them sees everything. No fence is needed: rows follow from committed
 * facts and committed stream time, whoever derives them.
 */
static int try_timers(struct pj_engine *engine, const struct pj_tries *tries,
                      struct pj_unit_result *result, struct pj_error *error)
{
    pj_arena_reset(engine->unit.work);
    if (pj_engine_connect(engine, error) != 0)
        return -1;
    const struct pj_unit_work work = {
        .tries = tries,
        .fold = pj_fold_new(engine->projection, engine->setting_values, engine->unit.work),
    };
    return pj_unit_try(&engine->unit, &work, result, error);
}

int pj_engine_run_timers(struct pj_engine *engine, struct pj_error *error)
{
    struct pj_tries tries = {0};
    struct pj_unit_result result;
    while (try_timers(engine, &tries, &result, error) != 0) {
        if (pj_unit_next(&engine->unit, &tries, false, error) != PJ_AGAIN)
            return pj_engine_survive(engine, error);
    }
    engine->timers_due = result.due > 0;
    pj_engine_recovered(engine);
    return 0;
}
