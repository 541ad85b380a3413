/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/replay.h"

#include "fold/claims.h"
#include "fold/fold.h"
#include "postgres/binary.h"
#include "store/access.h"
#include "store/offsets.h"
#include "store/refusal.h"
#include "store/schemas.h"
#include "store/write.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAITS_MOST = 6, WAIT_FIRST_MS = 150 };

struct pj_replay {
    struct pj_replay_settings settings;
    struct pj_postgres *postgres; /* NULL: to be opened */
    struct pj_schemas *schemas;
    struct pj_writer *writer;
    struct pj_arena *letters; /* the letter and its values */
    struct pj_arena *work;    /* of one try of one transaction */
};

/* A letter as it is kept, and decoded. */
struct letter {
    int64_t id;
    struct pj_identity identity;
    const struct pj_source *source;
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    const void *value;
    size_t value_length;
    struct pj_value *values;
    bool in_doubt; /* a commit of it was sent, and its answer lost */
};

int pj_replay_new(struct pj_replay **out, const struct pj_replay_settings *settings,
                  struct pj_error *error)
{
    struct pj_replay *replay = calloc(1, sizeof *replay);
    if (replay == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    replay->settings = *settings;
    replay->settings.projection = pj_claims_expand(settings->projection);
    if (pj_schemas_new(&replay->schemas, settings->projection, settings->registry,
                       settings->registry_name, error) != 0) {
        free(replay);
        return -1;
    }
    replay->writer = pj_writer_new(replay->settings.projection, NULL, PJ_STATE_MOST);
    replay->letters = pj_arena_new();
    replay->work = pj_arena_new();
    *out = replay;
    return 0;
}

void pj_replay_free(struct pj_replay *replay)
{
    if (replay == NULL)
        return;
    pj_postgres_close(replay->postgres);
    pj_writer_free(replay->writer);
    pj_schemas_free(replay->schemas);
    pj_arena_free(replay->letters);
    pj_arena_free(replay->work);
    free(replay);
}

static int connect_postgres(struct pj_replay *replay, struct pj_error *error)
{
    if (replay->postgres != NULL && pj_postgres_broken(replay->postgres)) {
        pj_postgres_close(replay->postgres);
        replay->postgres = NULL;
    }
    if (replay->postgres != NULL)
        return 0;
    if (pj_postgres_open(&replay->postgres, replay->settings.postgres, error) != 0)
        return -1;
    if (pj_postgres_script(replay->postgres, "SET plan_cache_mode = force_custom_plan", error) ==
            0 &&
        pj_access_check(replay->postgres, replay->settings.projection, error) == 0 &&
        pj_writer_learn(replay->writer, replay->postgres, error) == 0)
        return 0;
    pj_postgres_close(replay->postgres);
    replay->postgres = NULL;
    return -1;
}

/* --- the letter ------------------------------------------------------------------------------ */

static const uint32_t id_types[] = {PJ_OID_INT8};
static const struct pj_statement read_statement = {
    .name = "pj_letter_read",
    .sql = "SELECT cluster_id, consumer_group, topic, partition, record_offset, record_timestamp, "
           "value, status FROM projectionist.dead_letters WHERE id = $1",
    .parameter_count = 1,
    .types = id_types,
};
enum { CLUSTER, GROUP, TOPIC, PARTITION, OFFSET, TIMESTAMP, VALUE, STATUS };

/* Waits for another replay of the same letter; no row where that one has done it. */
static const struct pj_statement lock_statement = {
    .name = "pj_letter_lock",
    .sql = "SELECT id FROM projectionist.dead_letters WHERE id = $1 AND status = 'open' FOR UPDATE",
    .parameter_count = 1,
    .types = id_types,
};
static const struct pj_statement mark_statement = {
    .name = "pj_letter_mark",
    .sql = "WITH written AS (UPDATE projectionist.dead_letters SET status = 'replayed', "
           "resolved_at = clock_timestamp() WHERE id = $1 RETURNING projection) "
           "SELECT CASE WHEN count(*) <> 1 THEN projectionist.refuse_unwritten(max(projection), "
           "'projectionist.dead_letters'::regclass, 'UPDATE', 1, count(*)) END FROM written",
    .parameter_count = 1,
    .types = id_types,
};

static const uint32_t refuse_types[] = {PJ_OID_INT8, PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT};
static const struct pj_statement refuse_statement = {
    .name = "pj_letter_refuse",
    .sql = "UPDATE projectionist.dead_letters SET error_class = $2, sqlstate = $3, message = $4 "
           "WHERE id = $1 AND status = 'open'",
    .parameter_count = 4,
    .types = refuse_types,
};

/* The greatest event time counts for the group, as if the record had come in time. */
static const uint32_t time_types[] = {PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_INT4,
                                      PJ_OID_TIMESTAMPTZ};
static const struct pj_statement time_statement = {
    .name = "pj_letter_time",
    .sql = "UPDATE projectionist.consumer_offsets SET stream_time = greatest(stream_time, $5) "
           "WHERE cluster_id = $1 AND consumer_group = $2 AND topic = $3 AND partition = $4 "
           "AND (stream_time IS NULL OR stream_time < $5)",
    .parameter_count = 5,
    .types = time_types,
};

/* What is queued is carried out, deferred constraints are checked: all that a commit could find. */
static const struct pj_statement settle_statement = {.name = "pj_letter_settle",
                                                     .sql = "SET CONSTRAINTS ALL IMMEDIATE"};

static struct pj_parameter id_parameter(struct pj_arena *arena, int64_t id)
{
    struct pj_value value = pj_bigint(id);
    return pj_binary_scalar(arena, PJ_BIGINT, &value);
}

static const char *text_of(struct pj_replay *replay, const struct pj_result *result, int column)
{
    int length;
    const char *text = pj_result_value(result, 0, column, &length);
    return pj_arena_string(replay->letters, text, (size_t)length);
}

static void fill(struct pj_replay *replay, struct letter *letter, const struct pj_result *result)
{
    int length;
    int32_t partition;
    letter->identity.cluster_id = text_of(replay, result, CLUSTER);
    letter->identity.group = text_of(replay, result, GROUP);
    letter->identity.projection = replay->settings.projection->name;
    letter->topic = text_of(replay, result, TOPIC);
    memcpy(&partition, pj_result_value(result, 0, PARTITION, NULL), sizeof partition);
    letter->partition = (int32_t)be32toh((uint32_t)partition);
    letter->offset = pj_result_int8(result, 0, OFFSET);
    letter->timestamp_ms = -1;
    if (pj_result_value(result, 0, TIMESTAMP, NULL) != NULL)
        letter->timestamp_ms = pj_binary_time(pj_result_int8(result, 0, TIMESTAMP)) / 1000;
    const char *value = pj_result_value(result, 0, VALUE, &length);
    letter->value_length = value != NULL ? (size_t)length : 0;
    letter->value =
        value != NULL ? pj_arena_copy(replay->letters, value, letter->value_length) : NULL;
}

/* What is in a letter never changes, only its status does: so it is read and decoded before the
 * transaction, for which the registry must not be waited. */
static int read_letter(struct pj_replay *replay, struct letter *letter,
                       enum pj_replay_outcome *outcome, struct pj_error *error)
{
    struct pj_parameter parameter = id_parameter(replay->letters, letter->id);
    struct pj_result *result;
    if (pj_postgres_run(replay->postgres, &read_statement, &parameter, &result, error) != 0)
        return -1;
    *outcome = PJ_REPLAY_RESOLVED;
    if (pj_result_rows(result) == 1) {
        if (strcmp(text_of(replay, result, STATUS), "open") == 0)
            *outcome = PJ_REPLAY_APPLIED;
        fill(replay, letter, result);
    }
    pj_result_free(result);
    return 0;
}

static int decode(struct pj_replay *replay, struct letter *letter, struct pj_error *error)
{
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
    return pj_schemas_decode(replay->schemas, replay->postgres, index, letter->value,
                             letter->value_length, replay->letters, letter->values, error);
}

/* --- the transaction ------------------------------------------------------------------------- */

static int count_time(struct pj_replay *replay, const struct letter *letter, struct pj_error *error)
{
    int64_t at = pj_offsets_event_time(letter->source, letter->values, letter->timestamp_ms);
    if (at == INT64_MIN)
        return 0;
    struct pj_value partition = pj_bigint(letter->partition);
    struct pj_value time = pj_timestamp(at);
    struct pj_parameter parameters[] = {
        pj_binary_text(letter->identity.cluster_id),
        pj_binary_text(letter->identity.group),
        pj_binary_text(letter->topic),
        pj_binary_scalar(replay->work, PJ_INT, &partition),
        pj_binary_scalar(replay->work, PJ_TIMESTAMPTZ, &time),
    };
    return pj_postgres_queue(replay->postgres, &time_statement, parameters, error);
}

/* Folds and writes, and whoever is due by the stream time as well (see transaction.c). */
static int write_rows(struct pj_replay *replay, const struct letter *letter, struct pj_fold *fold,
                      size_t *due, struct pj_error *error)
{
    struct pj_written written;
    int64_t stream_time;
    *due = 0;
    if (pj_writer_timed(replay->writer) &&
        (pj_offsets_stream_time(replay->postgres, &letter->identity, &stream_time, error) != 0 ||
         pj_writer_run_timers(replay->writer, replay->postgres, fold, stream_time, replay->work,
                              due, error) != 0))
        return -1;
    return pj_writer_write(replay->writer, replay->postgres, fold, replay->work, &written, error);
}

static struct pj_fold *new_fold(struct pj_replay *replay)
{
    return pj_fold_new(replay->settings.projection, replay->settings.setting_values, replay->work);
}

static int apply(struct pj_replay *replay, struct letter *letter, enum pj_replay_outcome *outcome,
                 struct pj_error *error)
{
    struct pj_parameter id = id_parameter(replay->work, letter->id);
    const char *prefix = replay->settings.topic_prefix;
    struct pj_event event = {
        .values = letter->values,
        .topic = letter->topic + (prefix != NULL ? strlen(prefix) : 0),
        .partition = letter->partition,
        .offset = letter->offset,
        .timestamp_ms = letter->timestamp_ms,
    };
    struct pj_fold *fold = new_fold(replay);
    struct pj_result *locked;
    size_t due;
    if (pj_postgres_begin(replay->postgres, error) != 0 ||
        pj_postgres_run(replay->postgres, &lock_statement, &id, &locked, error) != 0)
        return -1;
    bool open = pj_result_rows(locked) == 1;
    pj_result_free(locked);
    *outcome = open ? PJ_REPLAY_APPLIED : PJ_REPLAY_RESOLVED;
    if (!open)
        return 0;
    letter->in_doubt = false;
    if (pj_fold_observe(fold, letter->source, &event, error) != 0 ||
        count_time(replay, letter, error) != 0 ||
        write_rows(replay, letter, fold, &due, error) != 0)
        return -1;
    return pj_postgres_queue(replay->postgres, &mark_statement, &id, error);
}

/* One try. */
static int transact(struct pj_replay *replay, struct letter *letter,
                    enum pj_replay_outcome *outcome, struct pj_error *error)
{
    pj_arena_reset(replay->work);
    int status = apply(replay, letter, outcome, error);
    if (status == 0 && (replay->settings.dry_run || *outcome == PJ_REPLAY_RESOLVED)) {
        status = pj_postgres_run(replay->postgres, &settle_statement, NULL, NULL, error);
        pj_postgres_rollback(replay->postgres);
        return status;
    }
    if (status == 0) {
        status = pj_postgres_commit(replay->postgres, error);
        letter->in_doubt = status != 0 && pj_postgres_broken(replay->postgres);
    }
    if (status != 0)
        pj_postgres_rollback(replay->postgres);
    return status;
}

/* Whoever moved stream time on looks again after the commit, until nobody is due any more. */
static int sweep(struct pj_replay *replay, const struct letter *letter, struct pj_error *error)
{
    size_t due;
    if (!pj_writer_timed(replay->writer))
        return 0;
    do {
        pj_arena_reset(replay->work);
        if (connect_postgres(replay, error) != 0)
            return -1;
        if (pj_postgres_begin(replay->postgres, error) != 0 ||
            write_rows(replay, letter, new_fold(replay), &due, error) != 0 ||
            pj_postgres_commit(replay->postgres, error) != 0) {
            pj_postgres_rollback(replay->postgres);
            return -1;
        }
    } while (due > 0);
    return 0;
}

/* --- when it fails --------------------------------------------------------------------------- */

static void wait_a_little(int waits)
{
    int64_t milliseconds = (int64_t)WAIT_FIRST_MS << waits;
    milliseconds += random() % (milliseconds / 2);
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int keep_reason(struct pj_replay *replay, const struct letter *letter,
                       const struct pj_error *reason, struct pj_error *error)
{
    if (replay->settings.dry_run)
        return 0;
    struct pj_parameter parameters[] = {
        id_parameter(replay->letters, letter->id),
        pj_binary_text(pj_error_class_name(PJ_POISON)),
        pj_binary_text(*reason->sqlstate ? reason->sqlstate : NULL),
        pj_binary_text(pj_offsets_reason_text(replay->letters, reason)),
    };
    return pj_postgres_run(replay->postgres, &refuse_statement, parameters, NULL, error);
}

/* Where the letter is on its way: a failure begins again at the step that failed. */
enum step { READ, APPLY, SWEEP, REFUSE, DONE };

static int take_step(struct pj_replay *replay, struct letter *letter, enum step *step,
                     enum pj_replay_outcome *outcome, const struct pj_error *reason,
                     struct pj_error *error)
{
    if (connect_postgres(replay, error) != 0)
        return -1;
    switch (*step) {
    case READ:
        if (read_letter(replay, letter, outcome, error) != 0)
            return -1;
        if (*outcome == PJ_REPLAY_RESOLVED) {
            *step = DONE;
            return 0;
        }
        if (decode(replay, letter, error) != 0)
            return -1;
        *step = APPLY;
        return 0;
    case APPLY:
        if (transact(replay, letter, outcome, error) != 0)
            return -1;
        /* A commit whose answer was lost did happen, if the letter is no longer open. */
        if (*outcome == PJ_REPLAY_RESOLVED && letter->in_doubt)
            *outcome = PJ_REPLAY_APPLIED;
        *step = *outcome == PJ_REPLAY_APPLIED && !replay->settings.dry_run ? SWEEP : DONE;
        return 0;
    case SWEEP:
        if (sweep(replay, letter, error) != 0)
            return -1;
        *step = DONE;
        return 0;
    case REFUSE:
        if (keep_reason(replay, letter, reason, error) != 0)
            return -1;
        *outcome = PJ_REPLAY_REFUSED;
        *step = DONE;
        return 0;
    case DONE:
        return 0;
    }
    return 0;
}

int pj_replay_letter(struct pj_replay *replay, int64_t id, enum pj_replay_outcome *outcome,
                     struct pj_error *error)
{
    struct letter letter = {.id = id};
    struct pj_error reason = {.class = PJ_POISON};
    enum step step = READ;
    struct pj_writer_tries tries = {0};
    int waits = 0;
    bool whole = false;
    pj_arena_reset(replay->letters);
    while (step != DONE) {
        pj_writer_set_whole(replay->writer, whole);
        if (take_step(replay, &letter, &step, outcome, &reason, error) == 0) {
            whole = false;
            continue;
        }
        if (pj_writer_too_large(error) && !whole) {
            whole = true;
            continue;
        }
        if (pj_writer_retry_at_once(replay->writer, error, &tries))
            continue;
        if (replay->postgres != NULL)
            pj_refusal_judge(replay->postgres, replay->settings.projection, error);
        if (error->class == PJ_RETRY && waits < WAITS_MOST) {
            wait_a_little(waits++);
        } else if (error->class == PJ_POISON && step != REFUSE) {
            reason = *error;
            step = REFUSE;
        } else {
            return -1;
        }
    }
    if (*outcome == PJ_REPLAY_REFUSED)
        *error = reason;
    return 0;
}
