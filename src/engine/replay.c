/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/replay.h"

#include "base/back_off.h"
#include "base/headers.h"
#include "base/memory.h"
#include "fold/claims.h"
#include "fold/fold.h"
#include "postgres/binary.h"
#include "store/schemas.h"
#include "store/unit.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { WAITS_MOST = 8 };

struct pj_replay {
    struct pj_replay_settings settings;
    struct pj_unit unit;
    struct pj_schemas *schemas;
    struct pj_arena *letters; /* the letter and its values */
};

/* A failure resumes at the step that failed. */
enum step { READ, APPLY, RUN_TIMERS, REFUSE, DONE };

struct letter {
    struct pj_replay *replay;
    int64_t id;
    enum step step;
    enum pj_replay_outcome outcome;
    struct pj_tries tries; /* of the step */
    int waits;
    struct pj_error reason; /* why it is refused */

    struct pj_identity identity;
    const struct pj_source *source;
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* -1: none */
    const void *value;
    size_t value_length;
    struct pj_value key;
    const struct pj_record_header *headers;
    size_t header_count;
    struct pj_value *values;
    bool heartbeat;
    int64_t resolved_at; /* by this replay */
};

int pj_replay_new(struct pj_replay **out, const struct pj_replay_settings *settings,
                  struct pj_error *error)
{
    struct pj_replay *replay = pj_alloc(sizeof *replay);
    replay->settings = *settings;
    replay->settings.projection = pj_claims_expand(settings->projection);
    if (pj_schemas_new(&replay->schemas, settings->projection, settings->registry,
                       settings->registry_name, error) != 0) {
        free(replay);
        return -1;
    }
    replay->unit = (struct pj_unit){
        .settings = settings->postgres,
        .projection = replay->settings.projection,
        .writer = pj_writer_new(replay->settings.projection, NULL, PJ_STATE_MOST),
        .work = pj_arena_new(),
    };
    replay->letters = pj_arena_new();
    *out = replay;
    return 0;
}

void pj_replay_free(struct pj_replay *replay)
{
    if (replay == NULL)
        return;
    pj_unit_close(&replay->unit);
    pj_writer_free(replay->unit.writer);
    pj_schemas_free(replay->schemas);
    pj_arena_free(replay->letters);
    pj_arena_free(replay->unit.work);
    free(replay);
}

/* --- the letter ------------------------------------------------------------------------------ */

static const struct pj_statement read_statement = {
    .name = "pj_letter_read",
    .sql = "SELECT cluster_id, consumer_group, topic, partition, record_offset, record_timestamp, "
           "value, status, key, headers::text FROM projectionist.dead_letters WHERE id = $1",
    PJ_TYPES(PJ_OID_INT8),
};
enum { CLUSTER, GROUP, TOPIC, PARTITION, OFFSET, TIMESTAMP, VALUE, STATUS, KEY, HEADERS };

/* Waits for another replay of the same letter; no row where that has applied it. */
static const struct pj_statement lock_statement = {
    .name = "pj_letter_lock",
    .sql = "SELECT clock_timestamp() FROM projectionist.dead_letters "
           "WHERE id = $1 AND status = 'open' FOR UPDATE",
    PJ_TYPES(PJ_OID_INT8),
};
static const struct pj_statement mark_statement = {
    .name = "pj_letter_mark",
    .sql = "WITH written AS (UPDATE projectionist.dead_letters SET status = 'replayed', "
           "resolved_at = $2 WHERE id = $1 RETURNING projection) "
           "SELECT CASE WHEN count(*) <> 1 THEN projectionist.refuse_unwritten(max(projection), "
           "'projectionist.dead_letters'::regclass, 'UPDATE', 1, count(*)) END FROM written",
    PJ_TYPES(PJ_OID_INT8, PJ_OID_TIMESTAMPTZ),
};
/* Waits for the transaction that marks it. Whoever resolved it meanwhile did so at another time. */
static const struct pj_statement marked_statement = {
    .name = "pj_letter_marked",
    .sql = "SELECT FROM (SELECT status, resolved_at FROM projectionist.dead_letters "
           "WHERE id = $1 FOR UPDATE) AS l WHERE status = 'replayed' AND resolved_at = $2",
    PJ_TYPES(PJ_OID_INT8, PJ_OID_TIMESTAMPTZ),
};

static const struct pj_statement refuse_statement = {
    .name = "pj_letter_refuse",
    .sql = "UPDATE projectionist.dead_letters SET error_class = $2, sqlstate = $3, message = $4 "
           "WHERE id = $1 AND status = 'open'",
    PJ_TYPES(PJ_OID_INT8, PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT),
};

/* The event time counts for the group, as if the record had come in time. */
static const struct pj_statement time_statement = {
    .name = "pj_letter_time",
    .sql = "UPDATE projectionist.consumer_offsets SET stream_time = greatest(stream_time, $5) "
           "WHERE cluster_id = $1 AND consumer_group = $2 AND topic = $3 AND partition = $4 "
           "AND (stream_time IS NULL OR stream_time < $5)",
    PJ_TYPES(PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_INT4, PJ_OID_TIMESTAMPTZ),
};

/* Carries out what is queued and checks deferred constraints: all that a commit could refuse. */
static const struct pj_statement check_statement = {.name = "pj_letter_check",
                                                    .sql = "SET CONSTRAINTS ALL IMMEDIATE"};

static struct pj_parameter id_parameter(struct pj_arena *arena, const struct letter *letter)
{
    struct pj_value value = pj_bigint(letter->id);
    return pj_binary_scalar(arena, PJ_BIGINT, &value);
}

static const char *text_of(struct pj_arena *arena, const struct pj_result *result, int column)
{
    int length;
    const char *text = pj_result_value(result, 0, column, &length);
    return pj_arena_string(arena, text, (size_t)length);
}

static void fill(struct letter *letter, const struct pj_result *result)
{
    struct pj_arena *arena = letter->replay->letters;
    int length;
    uint32_t partition;
    letter->identity.cluster_id = text_of(arena, result, CLUSTER);
    letter->identity.group = text_of(arena, result, GROUP);
    letter->identity.projection = letter->replay->settings.projection->name;
    letter->topic = text_of(arena, result, TOPIC);
    memcpy(&partition, pj_result_value(result, 0, PARTITION, NULL), sizeof partition);
    letter->partition = (int32_t)be32toh(partition);
    letter->offset = pj_result_int8(result, 0, OFFSET);
    letter->timestamp_ms = -1;
    if (pj_result_value(result, 0, TIMESTAMP, NULL) != NULL)
        letter->timestamp_ms = pj_binary_time(pj_result_int8(result, 0, TIMESTAMP)) / 1000;
    const char *value = pj_result_value(result, 0, VALUE, &length);
    letter->value_length = value != NULL ? (size_t)length : 0;
    letter->value = value != NULL ? pj_arena_copy(arena, value, letter->value_length) : NULL;
    const char *key = pj_result_value(result, 0, KEY, &length);
    if (key != NULL)
        letter->key = pj_text_of(pj_arena_copy(arena, key, (size_t)length), (size_t)length);
    const char *headers = pj_result_value(result, 0, HEADERS, &length);
    letter->headers = pj_headers_from_json(headers, (size_t)length, arena, &letter->header_count);
}

static int decode(struct letter *letter, struct pj_error *error)
{
    struct pj_replay *replay = letter->replay;
    const struct pj_projection *projection = replay->settings.projection;
    size_t index = 0;
    while (index < projection->source_count &&
           strcmp(projection->sources[index].topic, letter->topic) != 0)
        index++;
    if (index == projection->source_count)
        return pj_error_set(error, PJ_POISON, "%s does not read the topic %s", projection->name,
                            letter->topic);
    letter->source = &projection->sources[index];
    letter->values =
        pj_arena_alloc(replay->letters, letter->source->field_count * sizeof *letter->values);
    pj_schemas_set_reader(replay->schemas, &letter->identity);
    return pj_schemas_decode(replay->schemas, replay->unit.postgres, index, letter->value,
                             letter->value_length, replay->letters, letter->values,
                             &letter->heartbeat, error);
}

/* Only the status of a letter changes: so it is read and decoded before the transaction, which must
 * not wait for the registry. */
static int read_letter(struct letter *letter, struct pj_error *error)
{
    struct pj_replay *replay = letter->replay;
    struct pj_parameter id = id_parameter(replay->letters, letter);
    struct pj_result *result;
    if (pj_postgres_run(replay->unit.postgres, &read_statement, &id, &result, error) != 0)
        return -1;
    bool open = pj_result_rows(result) == 1 &&
                strcmp(text_of(replay->letters, result, STATUS), "open") == 0;
    if (open)
        fill(letter, result);
    pj_result_free(result);
    if (open && decode(letter, error) != 0)
        return -1;
    letter->step = open ? APPLY : DONE;
    return 0;
}

/* --- the transaction ------------------------------------------------------------------------- */

static int count_time(const struct letter *letter, struct pj_error *error)
{
    struct pj_unit *unit = &letter->replay->unit;
    int64_t at = pj_offsets_event_time(letter->source, letter->values, letter->timestamp_ms);
    if (at == INT64_MIN)
        return 0;
    struct pj_value partition = pj_bigint(letter->partition);
    struct pj_value time = pj_timestamp(at);
    struct pj_parameter parameters[] = {
        pj_binary_text(letter->identity.cluster_id),
        pj_binary_text(letter->identity.group),
        pj_binary_text(letter->topic),
        pj_binary_scalar(unit->work, PJ_INT, &partition),
        pj_binary_scalar(unit->work, PJ_TIMESTAMPTZ, &time),
    };
    return pj_postgres_queue(unit->postgres, &time_statement, parameters, error);
}

static struct pj_fold *new_fold(struct pj_replay *replay)
{
    return pj_fold_new(replay->settings.projection, replay->settings.setting_values,
                       replay->unit.work);
}

/* *open: neither replayed nor discarded. */
static int lock_letter(struct letter *letter, bool *open, struct pj_error *error)
{
    struct pj_unit *unit = &letter->replay->unit;
    struct pj_parameter id = id_parameter(unit->work, letter);
    struct pj_result *locked;
    if (pj_postgres_run(unit->postgres, &lock_statement, &id, &locked, error) != 0)
        return -1;
    *open = pj_result_rows(locked) == 1;
    if (*open)
        letter->resolved_at = pj_binary_time(pj_result_int8(locked, 0, 0));
    pj_result_free(locked);
    return 0;
}

static int write_letter(struct letter *letter, struct pj_error *error)
{
    struct pj_replay *replay = letter->replay;
    const char *prefix = replay->settings.topic_prefix;
    const struct pj_event event = {
        .values = letter->values,
        .topic = letter->topic + (prefix != NULL ? strlen(prefix) : 0),
        .partition = letter->partition,
        .offset = letter->offset,
        .timestamp_ms = letter->timestamp_ms,
        .tombstone = letter->value == NULL,
        .key = letter->key,
        .headers = letter->source->headers ? letter->headers : NULL,
        .header_count = letter->source->headers ? letter->header_count : 0,
    };
    struct pj_fold *fold = new_fold(replay);
    struct pj_written written;
    size_t due;
    bool open;
    if (pj_unit_begin(&replay->unit, &letter->tries, error) != 0 ||
        lock_letter(letter, &open, error) != 0)
        return -1;
    letter->outcome = open ? PJ_REPLAY_APPLIED : PJ_REPLAY_RESOLVED;
    if (!open)
        return 0;
    if ((!letter->heartbeat && pj_fold_observe(fold, letter->source, &event, error) != 0) ||
        count_time(letter, error) != 0 ||
        pj_unit_write(&replay->unit, fold, &written, &due, error) != 0)
        return -1;
    const struct pj_parameter marked[] = {
        id_parameter(replay->unit.work, letter),
        pj_binary_number(replay->unit.work, PJ_TIMESTAMPTZ, letter->resolved_at),
    };
    return pj_postgres_queue(replay->unit.postgres, &mark_statement, marked, error);
}

/* A commit whose answer was lost did happen, if the letter is resolved as it would have been. */
static int ask_letter(struct pj_unit *unit, void *context, enum pj_commit_outcome *outcome,
                      struct pj_error *error)
{
    const struct letter *letter = context;
    const struct pj_parameter marked[] = {
        id_parameter(unit->work, letter),
        pj_binary_number(unit->work, PJ_TIMESTAMPTZ, letter->resolved_at),
    };
    struct pj_result *found;
    if (pj_postgres_run(unit->postgres, &marked_statement, marked, &found, error) != 0)
        return -1;
    *outcome = pj_result_rows(found) == 1 ? PJ_COMMITTED : PJ_NOT_COMMITTED;
    pj_result_free(found);
    return 0;
}

static int apply(struct letter *letter, struct pj_error *error)
{
    struct pj_replay *replay = letter->replay;
    pj_arena_reset(replay->unit.work);
    int status = write_letter(letter, error);
    if (status == 0 && !replay->settings.dry_run && letter->outcome == PJ_REPLAY_APPLIED)
        return pj_unit_commit(&replay->unit, ask_letter, letter, error);
    if (status == 0)
        status = pj_postgres_run(replay->unit.postgres, &check_statement, NULL, NULL, error);
    pj_postgres_rollback(replay->unit.postgres);
    return status;
}

/* After the commit, until none is due by the stream time that the letter may have advanced. */
static int run_timers(struct letter *letter, struct pj_error *error)
{
    struct pj_replay *replay = letter->replay;
    struct pj_unit_result result = {.due = pj_writer_timed(replay->unit.writer)};
    while (result.due > 0) {
        pj_arena_reset(replay->unit.work);
        const struct pj_unit_work work = {.tries = &letter->tries, .fold = new_fold(replay)};
        if (pj_unit_try(&replay->unit, &work, &result, error) != 0)
            return -1;
    }
    return 0;
}

static int keep_reason(const struct letter *letter, struct pj_error *error)
{
    struct pj_replay *replay = letter->replay;
    if (replay->settings.dry_run)
        return 0;
    struct pj_parameter parameters[] = {
        id_parameter(replay->letters, letter),
        pj_binary_text(pj_error_class_name(PJ_POISON)),
        pj_binary_text(*letter->reason.sqlstate ? letter->reason.sqlstate : NULL),
        pj_binary_text(pj_dead_letter_reason(replay->letters, &letter->reason)),
    };
    return pj_postgres_run(replay->unit.postgres, &refuse_statement, parameters, NULL, error);
}

/* --- the steps ------------------------------------------------------------------------------- */

static int take_step(struct letter *letter, struct pj_error *error)
{
    struct pj_replay *replay = letter->replay;
    enum pj_commit_outcome in_doubt;
    if (pj_unit_open(&replay->unit, error) != 0 ||
        pj_unit_resolve(&replay->unit, &in_doubt, error) != 0)
        return -1;
    switch (letter->step) {
    case READ:
        return read_letter(letter, error);
    case APPLY:
        if (in_doubt != PJ_COMMITTED && apply(letter, error) != 0)
            return -1;
        letter->step =
            letter->outcome == PJ_REPLAY_APPLIED && !replay->settings.dry_run ? RUN_TIMERS : DONE;
        return 0;
    case RUN_TIMERS:
        if (run_timers(letter, error) != 0)
            return -1;
        break;
    case REFUSE:
        if (keep_reason(letter, error) != 0)
            return -1;
        letter->outcome = PJ_REPLAY_REFUSED;
        break;
    case DONE:
        break;
    }
    letter->step = DONE;
    return 0;
}

/* After a step that failed: 0 when there is another; -1 with *error. */
static int recover(struct letter *letter, struct pj_error *error)
{
    switch (pj_unit_next(&letter->replay->unit, &letter->tries, false, error)) {
    case PJ_AGAIN:
        return 0;
    case PJ_LATER:
        if (letter->waits == WAITS_MOST)
            return -1;
        pj_back_off(letter->waits++);
        return 0;
    case PJ_REFUSED:
        if (letter->step == REFUSE)
            return -1;
        letter->reason = *error;
        letter->step = REFUSE;
        return 0;
    case PJ_GIVE_UP:
        break;
    }
    return -1;
}

int pj_replay_letter(struct pj_replay *replay, int64_t id, enum pj_replay_outcome *outcome,
                     struct pj_error *error)
{
    struct letter letter = {.replay = replay, .id = id, .outcome = PJ_REPLAY_RESOLVED};
    int status = 0;
    replay->unit.identity = &letter.identity;
    pj_arena_reset(replay->letters);
    while (letter.step != DONE && status == 0) {
        if (take_step(&letter, error) == 0)
            letter.tries = (struct pj_tries){0};
        else
            status = recover(&letter, error);
    }
    pj_unit_forget(&replay->unit); /* whether it was replayed shows in the letter */
    *outcome = letter.outcome;
    if (status == 0 && *outcome == PJ_REPLAY_REFUSED)
        *error = letter.reason;
    return status;
}
