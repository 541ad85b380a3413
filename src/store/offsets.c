/* SPDX-License-Identifier: Apache-2.0 */
#include "store/offsets.h"

#include "base/text.h"
#include "postgres/binary.h"

#include <endian.h>
#include <string.h>

enum { AHEAD_MOST_MS = 24 * 3600 * 1000 };

/* A rebuild knows by the last record of the group whose tables it rebuilds whether it reads the
 * same topic. */
static const struct pj_statement take_statement = {
    .name = "pj_take",
    .sql = "SELECT t.next_offset, t.epoch, t.topic, t.partition, t.topic_id, "
           "CASE WHEN $8 IS NULL THEN t.read_offset ELSE l.read_offset END, "
           "CASE WHEN $8 IS NULL THEN t.read_digest ELSE l.read_digest END, "
           "t.stop_code, t.stop_reason "
           "FROM projectionist.claim_partitions($1, $2, $3, $4, $5, $6, $7) AS t "
           "LEFT JOIN projectionist.consumer_offsets AS l ON l.cluster_id = $1 "
           "AND l.consumer_group = $8 AND l.topic = t.topic AND l.partition = t.partition",
    PJ_TYPES(PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT_ARRAY, PJ_OID_INT4_ARRAY,
             PJ_OID_INT8_ARRAY, PJ_OID_TEXT_ARRAY, PJ_OID_TEXT),
};

static const uint32_t partitions_types[] = {PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT_ARRAY,
                                            PJ_OID_INT4_ARRAY};
static const struct pj_statement advance_statement = {
    .name = "pj_advance",
    .sql = "SELECT projectionist.advance_offsets($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, "
           "$12, $13)",
    PJ_TYPES(PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT_ARRAY, PJ_OID_INT4_ARRAY, PJ_OID_INT8_ARRAY,
             PJ_OID_INT8_ARRAY, PJ_OID_INT8_ARRAY, PJ_OID_TIMESTAMPTZ_ARRAY, PJ_OID_INT8_ARRAY,
             PJ_OID_INT8_ARRAY, PJ_OID_TEXT, PJ_OID_INT8_ARRAY, PJ_OID_INT8_ARRAY),
};

static const struct pj_statement outcome_statement = {
    .name = "pj_outcome",
    .sql = "SELECT o.next_offset, o.epoch, o.topic, o.partition "
           "FROM projectionist.consumer_offsets o "
           "JOIN unnest($3, $4) AS g(topic, partition) USING (topic, partition) "
           "WHERE o.cluster_id = $1 AND o.consumer_group = $2 "
           "ORDER BY o.topic, o.partition FOR UPDATE OF o",
    .parameter_count = 4,
    .types = partitions_types,
};

#define NO_STOP "stop_code = NULL, stop_reason = NULL, stopped_at = NULL"

static const uint32_t stop_types[] = {PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_INT4,
                                      PJ_OID_INT8, PJ_OID_INT4, PJ_OID_TEXT};
static const struct pj_statement stop_statement = {
    .name = "pj_stop",
    .sql = "UPDATE projectionist.consumer_offsets SET stop_code = $6, stop_reason = $7, "
           "stopped_at = clock_timestamp() WHERE cluster_id = $1 AND consumer_group = $2 "
           "AND topic = $3 AND partition = $4 AND epoch = $5 RETURNING 1",
    .parameter_count = 7,
    .types = stop_types,
};
static const struct pj_statement go_on_statement = {
    .name = "pj_go_on",
    .sql = "UPDATE projectionist.consumer_offsets SET " NO_STOP " WHERE cluster_id = $1 "
           "AND consumer_group = $2 AND topic = $3 AND partition = $4 AND epoch = $5",
    .parameter_count = 5,
    .types = stop_types,
};

static const struct pj_statement group_statement = {
    .name = "pj_group",
    .sql = "SELECT o.next_offset, g.place - 1 FROM unnest($3, $4) WITH ORDINALITY "
           "AS g (topic, partition, place) JOIN projectionist.consumer_offsets AS o "
           "USING (topic, partition) WHERE o.cluster_id = $1 AND o.consumer_group = $2",
    .parameter_count = 4,
    .types = partitions_types,
};

static const struct pj_statement gap_statement = {
    .name = "pj_gap",
    .sql =
        "WITH moved AS (UPDATE projectionist.consumer_offsets SET next_offset = $6, "
        "updated_at = clock_timestamp(), " NO_STOP " WHERE cluster_id = $1 AND consumer_group = $2 "
        "AND topic = $3 AND partition = $4 AND next_offset = $5 RETURNING 1) "
        "INSERT INTO projectionist.gaps "
        "(cluster_id, consumer_group, topic, partition, from_offset, to_offset, reason) "
        "SELECT $1, $2, $3, $4, $5, $6, 'removed by retention before it was read' FROM moved",
    PJ_TYPES(PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_INT4, PJ_OID_INT8, PJ_OID_INT8),
};

enum { TOPIC, NUMBER, FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH, SEVENTH, EIGHTH, COLUMNS };

/* One row of values per partition; columns become arrays. */
static struct pj_value *partition_row(struct pj_arena *arena, const struct pj_partition *partition)
{
    struct pj_value *row = pj_arena_alloc(arena, COLUMNS * sizeof *row);
    row[TOPIC] = pj_text(partition->topic);
    row[NUMBER] = pj_bigint(partition->number);
    return row;
}

/* The parameters that statements about partitions of the group begin with. */
static void name_rows(struct pj_parameter parameters[4], const struct pj_identity *identity,
                      const struct pj_value *const *rows, size_t count, struct pj_arena *arena)
{
    parameters[0] = pj_binary_text(identity->cluster_id);
    parameters[1] = pj_binary_text(identity->group);
    parameters[2] = pj_binary_array(arena, PJ_TEXT, rows, count, TOPIC);
    parameters[3] = pj_binary_array(arena, PJ_INT, rows, count, NUMBER);
}

void pj_offsets_parameters(struct pj_parameter parameters[4], const struct pj_identity *identity,
                           struct pj_partition *const *partitions, size_t count,
                           struct pj_arena *arena)
{
    const struct pj_value **rows = pj_arena_alloc(arena, count * sizeof(void *));
    for (size_t i = 0; i < count; i++)
        rows[i] = partition_row(arena, partitions[i]);
    name_rows(parameters, identity, rows, count, arena);
}

static int32_t int4(const struct pj_result *result, int row, int column)
{
    uint32_t raw;
    memcpy(&raw, pj_result_value(result, row, column, NULL), sizeof raw);
    return (int32_t)be32toh(raw);
}

static bool names(const struct pj_result *result, int row, const struct pj_partition *partition)
{
    int length;
    const char *topic = pj_result_value(result, row, 2, &length);
    return strlen(partition->topic) == (size_t)length &&
           memcmp(partition->topic, topic, (size_t)length) == 0 &&
           int4(result, row, 3) == partition->number;
}

static void take_row(struct pj_partition *partition, const struct pj_result *result, int row)
{
    int length = 0;
    const char *id = pj_result_value(result, row, 4, &length);
    int64_t next_offset = pj_result_int8(result, row, 0);
    if (partition->next_offset != next_offset) /* moved before the stop could be written */
        pj_partition_stop(partition, 0, NULL, 0);
    partition->next_offset = next_offset;
    partition->durable_offset = next_offset; /* a claim waits for the disk */
    partition->noted_offset = -1;
    partition->epoch = pj_result_int8(result, row, 1);
    pj_text_show(partition->read_topic_id, sizeof partition->read_topic_id, "%.*s",
                 id != NULL ? length : 0, id != NULL ? id : "");
    partition->read_offset =
        pj_result_value(result, row, 5, NULL) != NULL ? pj_result_int8(result, row, 5) : -1;
    partition->read_digest = pj_result_int8(result, row, 6);
    partition->is_another = false;
    partition->stop_written = pj_result_value(result, row, 7, NULL) != NULL;
    if (!partition->stop_written)
        return;
    const char *reason = pj_result_value(result, row, 8, &length);
    pj_partition_stop(partition, int4(result, row, 7), reason != NULL ? reason : "",
                      reason != NULL ? (size_t)length : 0);
}

int pj_offsets_claim(struct pj_postgres *postgres, const struct pj_identity *identity,
                     struct pj_partition *const *partitions, size_t count, struct pj_arena *arena,
                     struct pj_error *error)
{
    const struct pj_value **rows = pj_arena_alloc(arena, count * sizeof(void *));
    for (size_t i = 0; i < count; i++) {
        struct pj_value *row = partition_row(arena, partitions[i]);
        row[FIRST] = pj_bigint(partitions[i]->start_offset >= 0 ? partitions[i]->start_offset
                                                                : partitions[i]->low);
        if (*partitions[i]->topic_id != '\0')
            row[SECOND] = pj_text(partitions[i]->topic_id);
        rows[i] = row;
    }
    struct pj_parameter parameters[] = {
        pj_binary_text(identity->cluster_id),
        pj_binary_text(identity->group),
        pj_binary_text(identity->owner),
        pj_binary_array(arena, PJ_TEXT, rows, count, TOPIC),
        pj_binary_array(arena, PJ_INT, rows, count, NUMBER),
        pj_binary_array(arena, PJ_BIGINT, rows, count, FIRST),
        pj_binary_array(arena, PJ_TEXT, rows, count, SECOND),
        pj_binary_text(identity->rebuilt_group),
    };
    struct pj_result *result;
    if (pj_postgres_run(postgres, &take_statement, parameters, &result, error) != 0) {
        if (strcmp(error->sqlstate, "42883") == 0 || strcmp(error->sqlstate, "42703") == 0)
            pj_error_fatal(error, PJ_EXIT_DATABASE,
                           "the database is older than this program; run `projectionist migrate`");
        return -1;
    }
    size_t found = 0;
    for (int row = 0; row < pj_result_rows(result); row++) {
        for (size_t i = 0; i < count; i++) {
            if (!names(result, row, partitions[i]))
                continue;
            take_row(partitions[i], result, row);
            found++;
        }
    }
    pj_result_free(result);
    if (found != count)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "projectionist.claim_partitions answered for %zu of %zu partitions; "
                              "run `projectionist migrate`",
                              found, count);
    return 0;
}

/* Each is mixed well enough (the finalizer of SplitMix64) that none cancels another out. */
uint64_t pj_offsets_checksum(const struct pj_record *record)
{
    uint64_t mixed = (uint64_t)record->offset * UINT64_C(0x9e3779b97f4a7c15) ^
                     (uint64_t)record->timestamp_ms * UINT64_C(0xd1342543de82ef95) ^
                     (uint64_t)record->value_length * UINT64_C(0xaf251af3b0f025b5);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

int pj_offsets_advance(struct pj_postgres *postgres, const struct pj_identity *identity,
                       const struct pj_advance *advances, size_t count, struct pj_arena *arena,
                       struct pj_error *error)
{
    const struct pj_value **rows = pj_arena_alloc(arena, count * sizeof(void *));
    for (size_t i = 0; i < count; i++) {
        const struct pj_partition *partition = advances[i].partition;
        struct pj_value *row = partition_row(arena, partition);
        row[FIRST] = pj_bigint(partition->epoch);
        row[SECOND] = pj_bigint(partition->next_offset);
        row[THIRD] = pj_bigint(advances[i].next_offset);
        if (advances[i].stream_time != INT64_MIN)
            row[FOURTH] = pj_timestamp(advances[i].stream_time);
        row[FIFTH] = pj_bigint(advances[i].records);
        row[SIXTH] = pj_bigint((int64_t)advances[i].checksum);
        if (advances[i].last != NULL) {
            row[SEVENTH] = pj_bigint(advances[i].last->offset);
            row[EIGHTH] = pj_bigint(pj_record_digest(advances[i].last));
        }
        rows[i] = row;
    }
    struct pj_parameter parameters[13];
    name_rows(parameters, identity, rows, count, arena);
    parameters[4] = pj_binary_array(arena, PJ_BIGINT, rows, count, FIRST);
    parameters[5] = pj_binary_array(arena, PJ_BIGINT, rows, count, SECOND);
    parameters[6] = pj_binary_array(arena, PJ_BIGINT, rows, count, THIRD);
    parameters[7] = pj_binary_array(arena, PJ_TIMESTAMPTZ, rows, count, FOURTH);
    parameters[8] = pj_binary_array(arena, PJ_BIGINT, rows, count, FIFTH);
    parameters[9] = pj_binary_array(arena, PJ_BIGINT, rows, count, SIXTH);
    parameters[10] = pj_binary_text(identity->rebuilt_group == NULL ? identity->projection : NULL);
    parameters[11] = pj_binary_array(arena, PJ_BIGINT, rows, count, SEVENTH);
    parameters[12] = pj_binary_array(arena, PJ_BIGINT, rows, count, EIGHTH);
    return pj_postgres_queue(postgres, &advance_statement, parameters, error);
}

static const struct pj_statement stream_time_statement = {
    .name = "pj_stream_time",
    .sql = "SELECT max(stream_time) FROM projectionist.consumer_offsets "
           "WHERE cluster_id = $1 AND consumer_group = $2",
    PJ_TYPES(PJ_OID_TEXT, PJ_OID_TEXT),
};

int pj_offsets_stream_time(struct pj_postgres *postgres, const struct pj_identity *identity,
                           int64_t *stream_time, struct pj_error *error)
{
    struct pj_parameter parameters[] = {
        pj_binary_text(identity->cluster_id),
        pj_binary_text(identity->group),
    };
    struct pj_result *result;
    if (pj_postgres_run(postgres, &stream_time_statement, parameters, &result, error) != 0)
        return -1;
    *stream_time = INT64_MIN;
    if (pj_result_rows(result) == 1 && pj_result_value(result, 0, 0, NULL) != NULL)
        *stream_time = pj_binary_time(pj_result_int8(result, 0, 0));
    pj_result_free(result);
    return 0;
}

static const struct pj_statement check_statement = {
    .name = "pj_check",
    .sql = "SELECT CASE WHEN o.epoch IS DISTINCT FROM g.epoch THEN format("
           "'another owner has claimed partition %s [%s] (%s)', g.topic, g.partition, "
           "coalesce(o.owner, 'nobody')) ELSE format("
           "'Postgres has lost commits of %s [%s]: its offset is %s and was %s', g.topic, "
           "g.partition, o.next_offset, g.next_offset) END "
           "FROM unnest($3, $4, $5, $6) AS g(topic, partition, epoch, next_offset) "
           "LEFT JOIN projectionist.consumer_offsets o ON o.cluster_id = $1 "
           "AND o.consumer_group = $2 AND o.topic = g.topic AND o.partition = g.partition "
           "WHERE o.epoch IS DISTINCT FROM g.epoch OR o.next_offset < g.next_offset LIMIT 1",
    PJ_TYPES(PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT_ARRAY, PJ_OID_INT4_ARRAY, PJ_OID_INT8_ARRAY,
             PJ_OID_INT8_ARRAY),
};

int pj_offsets_check(struct pj_postgres *postgres, const struct pj_identity *identity,
                     struct pj_partition *const *partitions, size_t count, struct pj_arena *arena,
                     struct pj_error *error)
{
    const struct pj_value **rows = pj_arena_alloc(arena, count * sizeof(void *));
    for (size_t i = 0; i < count; i++) {
        struct pj_value *row = partition_row(arena, partitions[i]);
        row[FIRST] = pj_bigint(partitions[i]->epoch);
        row[SECOND] = pj_bigint(partitions[i]->next_offset);
        rows[i] = row;
    }
    struct pj_parameter parameters[6];
    name_rows(parameters, identity, rows, count, arena);
    parameters[4] = pj_binary_array(arena, PJ_BIGINT, rows, count, FIRST);
    parameters[5] = pj_binary_array(arena, PJ_BIGINT, rows, count, SECOND);
    struct pj_result *result;
    if (pj_postgres_run(postgres, &check_statement, parameters, &result, error) != 0)
        return -1;
    int status = 0;
    if (pj_result_rows(result) > 0) {
        int length;
        const char *why = pj_result_value(result, 0, 0, &length);
        status = pj_error_set(error, PJ_FENCED, "%.*s", length, why);
    }
    pj_result_free(result);
    return status;
}

static const struct pj_statement log_statement = {
    .name = "pj_log",
    .sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, "
           "(pg_current_wal_flush_lsn() - '0/0')::bigint",
};

int pj_offsets_ask_log(struct pj_postgres *postgres, int64_t *written, int64_t *flushed,
                       struct pj_error *error)
{
    struct pj_result *result;
    if (pj_postgres_run(postgres, &log_statement, NULL, &result, error) != 0)
        return -1;
    *written = pj_result_int8(result, 0, 0);
    *flushed = pj_result_int8(result, 0, 1);
    pj_result_free(result);
    return 0;
}

int pj_offsets_outcome(struct pj_postgres *postgres, const struct pj_identity *identity,
                       const struct pj_advance *advances, size_t count, struct pj_arena *arena,
                       enum pj_commit_outcome *outcome, struct pj_error *error)
{
    const struct pj_value **rows = pj_arena_alloc(arena, count * sizeof(void *));
    for (size_t i = 0; i < count; i++)
        rows[i] = partition_row(arena, advances[i].partition);
    struct pj_parameter parameters[4];
    name_rows(parameters, identity, rows, count, arena);
    struct pj_result *result;
    if (pj_postgres_run(postgres, &outcome_statement, parameters, &result, error) != 0)
        return -1;
    size_t committed = 0;
    size_t unchanged = 0;
    for (int row = 0; row < pj_result_rows(result); row++) {
        for (size_t i = 0; i < count; i++) {
            const struct pj_partition *partition = advances[i].partition;
            if (!names(result, row, partition) ||
                pj_result_int8(result, row, 1) != partition->epoch)
                continue;
            int64_t offset = pj_result_int8(result, row, 0);
            committed += offset == advances[i].next_offset;
            unchanged += offset == partition->next_offset;
        }
    }
    pj_result_free(result);
    *outcome = committed == count   ? PJ_COMMITTED
               : unchanged == count ? PJ_NOT_COMMITTED
                                    : PJ_TAKEN_OVER;
    return 0;
}

int pj_offsets_accept_gap(struct pj_postgres *postgres, const struct pj_identity *identity,
                          const struct pj_partition *partition, struct pj_arena *arena,
                          struct pj_error *error)
{
    struct pj_parameter parameters[] = {
        pj_binary_text(identity->cluster_id),
        pj_binary_text(identity->group),
        pj_binary_text(partition->topic),
        pj_binary_number(arena, PJ_INT, partition->number),
        pj_binary_number(arena, PJ_BIGINT, partition->next_offset),
        pj_binary_number(arena, PJ_BIGINT, partition->low),
    };
    return pj_postgres_queue(postgres, &gap_statement, parameters, error);
}

int pj_offsets_stop(struct pj_postgres *postgres, const struct pj_identity *identity,
                    const struct pj_partition *partition, struct pj_arena *arena,
                    struct pj_error *error)
{
    struct pj_parameter parameters[] = {
        pj_binary_text(identity->cluster_id),
        pj_binary_text(identity->group),
        pj_binary_text(partition->topic),
        pj_binary_number(arena, PJ_INT, partition->number),
        pj_binary_number(arena, PJ_BIGINT, partition->epoch),
        pj_binary_number(arena, PJ_INT, partition->stop_code),
        pj_binary_text(partition->stop_reason),
    };
    struct pj_result *result = NULL;
    if (partition->stop_code == 0)
        return pj_postgres_run(postgres, &go_on_statement, parameters, NULL, error);
    if (pj_postgres_run(postgres, &stop_statement, parameters, &result, error) != 0)
        return -1;
    bool ours = pj_result_rows(result) == 1;
    pj_result_free(result);
    return ours ? 0
                : pj_error_set(error, PJ_FENCED, "another owner has claimed partition %s [%d]",
                               partition->topic, partition->number);
}

int pj_offsets_of_group(struct pj_postgres *postgres, const struct pj_identity *identity,
                        struct pj_partition *const *partitions, size_t count, int64_t *offsets,
                        struct pj_arena *arena, struct pj_error *error)
{
    struct pj_parameter parameters[4];
    pj_offsets_parameters(parameters, identity, partitions, count, arena);
    for (size_t i = 0; i < count; i++)
        offsets[i] = -1;
    struct pj_result *result;
    if (pj_postgres_run(postgres, &group_statement, parameters, &result, error) != 0)
        return -1;
    for (int row = 0; row < pj_result_rows(result); row++) {
        int64_t place = pj_result_int8(result, row, 1);
        if (place >= 0 && (size_t)place < count)
            offsets[place] = pj_result_int8(result, row, 0);
    }
    pj_result_free(result);
    return 0;
}

/* A clock that runs a day ahead must not expire what is alive. */
static bool is_far_ahead(int64_t at, int64_t timestamp_ms)
{
    int64_t most;
    return timestamp_ms >= 0 && !__builtin_add_overflow(timestamp_ms, AHEAD_MOST_MS, &most) &&
           !__builtin_mul_overflow(most, 1000, &most) && at > most;
}

int64_t pj_offsets_event_time(const struct pj_source *source, const struct pj_value *values,
                              int64_t timestamp_ms)
{
    const struct pj_value *time = &values[source->event_time];
    if (source->event_time == 0 || !time->present || is_far_ahead(time->integer, timestamp_ms))
        return INT64_MIN;
    return time->integer;
}

int pj_offsets_check_group(const char *group, struct pj_error *error)
{
    static const char *const endings[] = {"/verify", "/rebuild"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (pj_text_ends(group, endings[i]))
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "a group whose name ends in %s is that of a verify or rebuild, "
                                  "which removes its offsets; give --group another name than %s",
                                  endings[i], group);
    }
    return 0;
}
