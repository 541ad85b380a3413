/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/commit.h"

#include "base/clock.h"
#include "base/headers.h"
#include "base/log.h"
#include "base/spans.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { LOGGED_MOST = 10 };

/* A batch has few partitions: those of one member. */
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

static int observe(struct pj_session *session, struct pj_batch *batch, struct pj_item *item,
                   const struct pj_value *values, struct pj_fold *fold, struct pj_error *error)
{
    const struct pj_record *record = &item->record;
    const struct pj_source *source = &session->projection->sources[record->partition->topic_index];
    const char *prefix = session->settings->topic_prefix;
    struct pj_event event = {
        .values = values,
        .topic = source->topic + (prefix != NULL ? strlen(prefix) : 0),
        .partition = record->partition->number,
        .offset = record->offset,
        .timestamp_ms = record->timestamp_ms,
        .tombstone = record->value == NULL,
        .key = record->key != NULL ? pj_text_of(record->key, record->key_length) : pj_null(),
    };
    if (source->headers)
        event.headers = pj_record_headers(record, session->unit.work, &event.header_count);
    if (pj_fold_observe(fold, source, &event, error) == 0)
        return 0;
    if (error->class != PJ_POISON)
        return -1;
    pj_batch_refuse(batch, item, PJ_BY_OBSERVE, error);
    return 0;
}

/* --- traces ---------------------------------------------------------------------------------- */

static void find_trace(const struct pj_record *record, struct pj_arena *arena,
                       struct pj_trace *trace)
{
    size_t count;
    const struct pj_record_header *headers = pj_record_headers(record, arena, &count);
    *trace = (struct pj_trace){0};
    for (size_t i = 0; i < count && *trace->trace_id == '\0'; i++) {
        const struct pj_value *value = &headers[i].value;
        if (strcmp(headers[i].name, PJ_TRACE_HEADER) == 0 && value->present)
            (void)pj_trace_parse(trace, value->text.data, value->text.length);
    }
}

/* One of the transaction, which names the traces of its first records. */
static void add_span(const struct pj_session *session, const struct pj_piece *piece, size_t records,
                     const struct pj_unit_work *work, int64_t microseconds)
{
    enum { LOOKED_AT_MOST = 4 * PJ_SPAN_LINKS_MOST };
    struct pj_trace links[PJ_SPAN_LINKS_MOST];
    struct pj_span span = {
        .name = "commit", .kind = PJ_SPAN_CONSUMER, .microseconds = microseconds, .links = links};
    char record_text[24], letter_text[24];
    if (!pj_spans_are_on())
        return;
    for (size_t i = piece->from;
         i < piece->to && i < piece->from + LOOKED_AT_MOST && span.link_count < PJ_SPAN_LINKS_MOST;
         i++) {
        struct pj_trace *link = &links[span.link_count];
        find_trace(&piece->batch->items[i].record, session->unit.work, link);
        span.link_count += *link->trace_id != '\0';
    }
    pj_text_whole(record_text, sizeof record_text, "%zu", records);
    pj_text_whole(letter_text, sizeof letter_text, "%zu", work->letter_count);
    span.attributes = (const struct pj_label[]){
        {"messaging.system", "kafka"},
        {"messaging.consumer.group.name", session->identity.group},
        {"messaging.batch.message_count", record_text},
        {"projectionist.dead_letters", letter_text},
        {0},
    };
    pj_trace_new(&span.trace);
    pj_spans_add(&span);
}

/* --- one try --------------------------------------------------------------------------------- */

static void committed(struct pj_commit *commit)
{
    struct pj_session *session = commit->session;
    pj_session_recovered(session);
    commit->commits++;
    commit->timers_due = pj_writer_timed(session->unit.writer);
    pj_metric_add(session->numbers.batches, 1);
    pj_metric_set(session->numbers.last_commit, pj_clock_wall_ms() / 1000);
}

/* What turns out to be committed is no longer live: the batch goes on with the rest. */
static int connect_and_resolve(struct pj_commit *commit, struct pj_error *error)
{
    enum pj_commit_outcome outcome;
    if (pj_session_connect(commit->session, error) != 0 ||
        pj_unit_resolve(&commit->session->unit, &outcome, error) != 0)
        return -1;
    pj_numbers_resolve(&commit->session->numbers, outcome == PJ_COMMITTED);
    if (outcome == PJ_COMMITTED)
        committed(commit);
    return 0;
}

/* The refused ones of the records, and how many by what refused them. */
static struct pj_dead_letter *list_letters(const struct pj_piece *piece, struct pj_arena *arena,
                                           size_t *count, int64_t refused[PJ_REFUSERS])
{
    struct pj_dead_letter *letters =
        pj_arena_alloc(arena, (piece->to - piece->from) * sizeof *letters);
    *count = 0;
    for (size_t i = piece->from; i < piece->to; i++) {
        const struct pj_item *item = &piece->batch->items[i];
        if (item->state != PJ_ITEM_REFUSED || !pj_item_live(item))
            continue;
        refused[item->refused_by]++;
        size_t header_count;
        const struct pj_record_header *headers =
            pj_record_headers(&item->record, arena, &header_count);
        letters[(*count)++] = (struct pj_dead_letter){
            .record = &item->record,
            .headers = pj_headers_to_json(headers, header_count, arena),
            .reason = item->reason,
        };
    }
    return letters;
}

static bool is_discarded(const struct pj_run_policy *policy, const struct pj_record *record)
{
    struct pj_offset_range place = {record->partition->topic, record->partition->number,
                                    record->offset, record->offset + 1};
    return policy->discarded_count > 0 &&
           bsearch(&place, policy->discarded, policy->discarded_count, sizeof place,
                   pj_offset_range_compare) != NULL;
}

/* Folds the records that are still ours; *records: how many. */
static int fold_records(struct pj_session *session, const struct pj_piece *piece,
                        struct pj_unit_work *work, size_t *records, struct pj_error *error)
{
    struct pj_arena *arena = session->unit.work;
    const struct pj_projection *projection = session->projection;
    size_t partitions;
    pj_consumer_partitions(session->consumer, &partitions);
    /* Records of a feed have a partition of their own for each source. */
    partitions += projection->source_count;
    struct pj_advance *advances = pj_arena_alloc(arena, (partitions + 1) * sizeof *advances);
    work->fold = pj_fold_new(projection, session->setting_values, arena);
    for (size_t i = piece->from; i < piece->to; i++) {
        struct pj_item *item = &piece->batch->items[i];
        if (!pj_item_live(item))
            continue;
        ++*records;
        const struct pj_record *record = &item->record;
        bool counts = item->state == PJ_ITEM_DECODED && !is_discarded(session->policy, record);
        const struct pj_value *values = counts ? pj_batch_values(piece->batch, item) : NULL;
        if (counts && !item->heartbeat &&
            observe(session, piece->batch, item, values, work->fold, error) != 0)
            return -1;
        counts = counts && item->state == PJ_ITEM_DECODED;
        const struct pj_source *source = &projection->sources[record->partition->topic_index];
        advance(advances, &work->advance_count, record,
                counts ? pj_offsets_event_time(source, values, record->timestamp_ms) : INT64_MIN);
    }
    qsort(advances, work->advance_count, sizeof *advances, compare_advances);
    work->advances = advances;
    return 0;
}

static void count(struct pj_session *session, const struct pj_unit_work *work,
                  const struct pj_done *done, int64_t commit_us, int64_t us)
{
    struct pj_numbers *numbers = &session->numbers;
    pj_numbers_done(numbers, done);
    for (size_t i = 0; i < work->advance_count; i++)
        pj_numbers_advanced(numbers, work->advances[i].stream_time);
    pj_numbers_observe(numbers, PJ_STAGE_LOAD, done->written.load_us);
    pj_numbers_observe(numbers, PJ_STAGE_FOLD, done->written.fold_us);
    pj_numbers_observe(numbers, PJ_STAGE_WRITE, done->written.write_us);
    pj_numbers_observe(numbers, PJ_STAGE_COMMIT, commit_us);
    pj_metric_observe_us(numbers->batch_seconds, us);
    pj_log(PJ_DEBUG, "batch committed", pj_f_int("records", done->records),
           pj_f_int("rows", done->written.rows),
           pj_f_int("dead_letters", (int64_t)work->letter_count), pj_f_int("microseconds", us));
}

/* The transaction of the work, and what it does. */
static int try_work(struct pj_session *session, const struct pj_unit_work *work,
                    struct pj_done *done, int64_t *commit_us, struct pj_error *error)
{
    struct pj_unit_result result;
    int status = pj_unit_try(&session->unit, work, &result, error);
    done->written = result.written;
    *commit_us = result.commit_us;
    if (status != 0 && session->unit.in_doubt != NULL)
        pj_numbers_doubt(&session->numbers, done);
    return status;
}

static int try_piece(struct pj_commit *commit, const struct pj_piece *piece,
                     const struct pj_tries *tries, struct pj_error *error)
{
    struct pj_session *session = commit->session;
    struct pj_unit *unit = &session->unit;
    size_t records = 0;
    struct pj_done done = {0};
    int64_t commit_us;
    struct pj_unit_work work = {.tries = tries};
    int64_t started = pj_clock_monotonic_us();
    pj_arena_reset(unit->work);
    if (connect_and_resolve(commit, error) != 0 ||
        pj_batch_decode_rest(piece, unit->postgres, error) != 0)
        return -1;
    int64_t observed_us = -pj_clock_monotonic_us();
    if (fold_records(session, piece, &work, &records, error) != 0)
        return -1;
    observed_us += pj_clock_monotonic_us();
    if (records == 0)
        return 0;
    const char **topics =
        pj_arena_alloc(unit->work, session->projection->source_count * sizeof *topics);
    work.letters = list_letters(piece, unit->work, &work.letter_count, done.refused);
    done.records = (int64_t)records;
    work.accepted = topics;
    work.accepted_count = pj_flood_accept(&commit->flood, session, piece, topics);
    if (pj_flood_check(&commit->flood, session, piece, error) != 0 ||
        try_work(session, &work, &done, &commit_us, error) != 0)
        return -1;
    pj_flood_accepted(&commit->flood, session, topics, work.accepted_count);
    committed(commit);
    done.written.fold_us += observed_us;
    count(session, &work, &done, commit_us, pj_clock_monotonic_us() - started);
    add_span(session, piece, records, &work, pj_clock_monotonic_us() - started);
    return 0;
}

/* --- when it fails --------------------------------------------------------------------------- */

static int commit_piece(struct pj_commit *commit, const struct pj_piece *piece,
                        struct pj_error *error);

static int divide(struct pj_commit *commit, const struct pj_piece *piece, struct pj_error *error)
{
    size_t middle = piece->from + (piece->to - piece->from) / 2;
    const struct pj_piece first = {piece->batch, piece->from, middle};
    const struct pj_piece second = {piece->batch, middle, piece->to};
    if (commit_piece(commit, &first, error) != 0)
        return -1;
    /* A stop does not wait until all is divided: the next owner begins with the rest. */
    return pj_session_stopping(commit->session) ? 0 : commit_piece(commit, &second, error);
}

static int commit_piece(struct pj_commit *commit, const struct pj_piece *piece,
                        struct pj_error *error)
{
    bool divisible = piece->to - piece->from > 1;
    struct pj_tries tries = {0};
    while (try_piece(commit, piece, &tries, error) != 0) {
        switch (pj_unit_next(&commit->session->unit, &tries, divisible, error)) {
        case PJ_AGAIN:
            continue;
        case PJ_LATER:
        case PJ_GIVE_UP:
            return -1;
        case PJ_REFUSED:
            break;
        }
        if (divisible)
            return divide(commit, piece, error);
        struct pj_item *item = &piece->batch->items[piece->from];
        if (item->state == PJ_ITEM_REFUSED)
            return pj_error_set(error, PJ_FATAL, "a dead letter cannot be written: %s",
                                error->message);
        pj_batch_refuse(piece->batch, item, *error->sqlstate != '\0' ? PJ_BY_POSTGRES : PJ_BY_ROWS,
                        error);
    }
    return 0;
}

/* Many bad records must not become as many lines: all are in the table. */
static void log_dead_letters(const struct pj_batch *batch, struct pj_arena *arena)
{
    int64_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct pj_item *item = &batch->items[i];
        /* A live one was not written. */
        if (item->state != PJ_ITEM_REFUSED || pj_item_live(item) || ++count > LOGGED_MOST)
            continue;
        struct pj_trace trace;
        find_trace(&item->record, arena, &trace);
        pj_trace_enter(&trace);
        pj_log(PJ_WARN, "dead letter", pj_f_str("topic", item->record.partition->topic),
               pj_f_int("partition", item->record.partition->number),
               pj_f_int("offset", item->record.offset), pj_f_str("reason", item->reason->message));
        pj_trace_enter(NULL);
    }
    if (count > LOGGED_MOST)
        pj_log(PJ_WARN, "more dead letters in the same batch",
               pj_f_int("count", count - LOGGED_MOST));
}

int pj_commit_batch(struct pj_commit *commit, struct pj_batch *batch, struct pj_error *error)
{
    const struct pj_piece all = {batch, 0, batch->count};
    int status = commit_piece(commit, &all, error);
    if (status != 0 && error->class == PJ_RETRY)
        return -1;
    pj_numbers_observe(&commit->session->numbers, PJ_STAGE_FETCH, batch->fetch_us);
    pj_numbers_observe(&commit->session->numbers, PJ_STAGE_DECODE, batch->decode_us);
    log_dead_letters(batch, commit->session->unit.work);
    pj_batch_clear(batch);
    return status;
}

/* --- without records ------------------------------------------------------------------------- */

int pj_commit_ends(struct pj_commit *commit, struct pj_error *error)
{
    struct pj_unit *unit = &commit->session->unit;
    size_t partition_count;
    struct pj_partition *const *partitions =
        pj_consumer_partitions(commit->session->consumer, &partition_count);
    pj_arena_reset(unit->work);
    struct pj_advance *advances =
        pj_arena_alloc(unit->work, (partition_count + 1) * sizeof *advances);
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
    if (count == 0 && unit->in_doubt == NULL)
        return 0;
    if (connect_and_resolve(commit, error) != 0)
        return -1;
    if (count == 0)
        return 0;
    const struct pj_tries first = {0};
    const struct pj_unit_work work = {
        .tries = &first, .advances = advances, .advance_count = count};
    struct pj_unit_result result;
    qsort(advances, count, sizeof *advances, compare_advances);
    if (pj_unit_try(unit, &work, &result, error) != 0)
        return -1;
    committed(commit);
    return 0;
}

static int try_timers(struct pj_session *session, const struct pj_tries *tries,
                      struct pj_unit_result *result, struct pj_error *error)
{
    pj_arena_reset(session->unit.work);
    if (pj_session_connect(session, error) != 0)
        return -1;
    const struct pj_unit_work work = {
        .tries = tries,
        .fold = pj_fold_new(session->projection, session->setting_values, session->unit.work),
    };
    return pj_unit_try(&session->unit, &work, result, error);
}

/*
 * A transaction that touches an entity sees the stream time committed by then; another replica may
 * advance it before this one commits. So every commit is followed by another look: the last one
 * sees everything. No fence is needed: rows follow from committed facts and stream time, whichever
 * replica derives them.
 */
int pj_commit_timers(struct pj_commit *commit, struct pj_error *error)
{
    struct pj_session *session = commit->session;
    struct pj_tries tries = {0};
    struct pj_unit_result result;
    while (try_timers(session, &tries, &result, error) != 0) {
        if (pj_unit_next(&session->unit, &tries, false, error) != PJ_AGAIN)
            return -1;
    }
    commit->timers_due = result.due > 0;
    pj_numbers_done(&session->numbers, &(struct pj_done){.written = result.written});
    pj_session_recovered(session);
    return 0;
}
