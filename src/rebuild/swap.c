/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a rebuild: compares shadow and live tables at one moment, or writes the difference. */
#include "base/back_off.h"
#include "base/memory.h"
#include "base/text.h"
#include "postgres/sql_text.h"
#include "rebuild/rebuild_internal.h"
#include "store/rules.h"

#include <stdlib.h>
#include <string.h>

enum { TRIES_MOST = 10, ROUNDS_MOST = 4 };

/* Where the live group has passed a range's end, the range grows. A new partition begins where the
 * live group began. */
static int follow(struct pj_rebuild *rebuild, bool *grew, struct pj_error *error)
{
    struct pj_result *rows;
    *grew = false;
    if (pj_rebuild_read_live(rebuild, true, &rows, error) != 0)
        return -1;
    int status = 0;
    for (int row = 0; row < pj_result_rows(rows) && status == 0; row++) {
        const char *topic = pj_result_value(rows, row, 0, NULL);
        int32_t partition = (int32_t)pj_rebuild_number(rows, row, 1);
        int64_t next = pj_rebuild_number(rows, row, 2);
        struct pj_offset_range *range =
            pj_rebuild_range(rebuild, topic, partition, pj_rebuild_number(rows, row, 3));
        if (next > range->end && rebuild->settings->follow) {
            range->end = next;
            *grew = true;
        } else if (next < range->end && rebuild->settings->verify) {
            status = pj_error_fatal(error, PJ_EXIT_FAILED,
                                    "the offset of %s [%d] was set back to %lld meanwhile; try "
                                    "again",
                                    topic, (int)partition, (long long)next);
        }
    }
    pj_result_free(rows);
    return status == 0 && *grew ? pj_rebuild_hold_newer(rebuild, error) : status;
}

/* In the transaction that it begins, the live tables are locked, and the shadow has caught up with
 * them. Offsets are locked first, in the order of every commit. */
static int hold_still(struct pj_rebuild *rebuild, struct pj_error *error)
{
    bool grew;
    if (pj_postgres_script(rebuild->control.postgres, "BEGIN", error) != 0 ||
        follow(rebuild, &grew, error) != 0 ||
        pj_difference_lock(rebuild->control.postgres, rebuild->settings->projection, error) != 0)
        return -1;
    return grew ? pj_rebuild_fill(rebuild, error) : PJ_REBUILD_FILLED;
}

/* Reads most of what came meanwhile before live consumers have to wait. */
static int catch_up(struct pj_rebuild *rebuild, struct pj_error *error)
{
    bool grew = true;
    int status = PJ_REBUILD_FILLED;
    for (int round = 0; round < ROUNDS_MOST && grew && status == PJ_REBUILD_FILLED; round++) {
        if (follow(rebuild, &grew, error) != 0)
            return -1;
        if (grew)
            status = pj_rebuild_fill(rebuild, error);
    }
    return status;
}

static void find_settings(const struct pj_rebuild *rebuild, struct pj_difference_settings *find)
{
    *find = (struct pj_difference_settings){
        .projection = rebuild->settings->projection,
        .shadow = rebuild->schema,
        .keep_retained = rebuild->settings->keep_retained,
        .samples = rebuild->settings->samples,
    };
}

/* In the transaction that compares: the shadow is what was read. A crash of Postgres empties
 * unlogged tables, but not the offsets. */
static int check_shadow(struct pj_rebuild *rebuild, struct pj_postgres *postgres,
                        struct pj_error *error)
{
    struct pj_result *result;
    const char *sql = pj_arena_printf(rebuild->arena, "SELECT FROM %s LIMIT 1",
                                      pj_sql_qualified(rebuild->schema, "ranges").text);
    if (pj_postgres_query(postgres, sql, 0, NULL, &result, error) != 0)
        return -1;
    bool whole = pj_result_rows(result) == 1;
    pj_result_free(result);
    if (!whole)
        return pj_error_fatal(error, PJ_EXIT_UNAVAILABLE,
                              "Postgres recovered from a crash, which emptied the shadow tables; "
                              "nothing was changed; run the same command again to start over");
    char digest[40];
    if (pj_rebuild_digest_letters(rebuild, postgres, digest, error) != 0)
        return -1;
    if (strcmp(digest, rebuild->letters_digest) == 0)
        return pj_rebuild_check_letters(rebuild, postgres, error);
    return pj_error_fatal(error, PJ_EXIT_FAILED,
                          "dead letters were discarded%s meanwhile; nothing was changed; run the "
                          "same command again to start over",
                          rebuild->settings->keep_retained ? " or replayed" : "");
}

/* --- what a swap writes besides rows --------------------------------------------------------- */

/* The live group continues where the shadow ends. Every partition gets a new epoch, which fences
 * its owner: nothing folded before the swap may be committed after it. The greatest event time of a
 * topic may come from a recording. */
static int move_offsets(struct pj_rebuild *rebuild, struct pj_error *error)
{
    const char *parameters[] = {rebuild->settings->cluster_id, rebuild->settings->group,
                                rebuild->shadow_group};
    if (pj_rebuild_execute(
            rebuild,
            "WITH shadow AS (SELECT * FROM projectionist.consumer_offsets "
            "WHERE cluster_id = $1 AND consumer_group = $3 AND partition >= 0 "
            "ORDER BY topic, partition) "
            "SELECT projectionist.set_offsets($1, $2, array_agg(topic), array_agg(partition), "
            "array_agg(next_offset), 'rebuild', array_agg(topic_id)) FROM shadow "
            "HAVING count(*) > 0",
            3, parameters, error) != 0)
        return -1;
    return pj_rebuild_execute(
        rebuild,
        "UPDATE projectionist.consumer_offsets AS o SET owner = s.owner, "
        "counted_from = s.counted_from, counted_to = s.counted_to, "
        "records = s.records, checksum = s.checksum, "
        "stream_time = greatest(s.stream_time, (SELECT max(f.stream_time) "
        "FROM projectionist.consumer_offsets AS f WHERE f.cluster_id = $1 "
        "AND f.consumer_group = $3 AND f.topic = s.topic AND f.partition < 0)) "
        "FROM projectionist.consumer_offsets AS s "
        "WHERE o.cluster_id = $1 AND o.consumer_group = $2 AND s.cluster_id = $1 "
        "AND s.consumer_group = $3 AND s.topic = o.topic "
        "AND s.partition = o.partition",
        3, parameters, error);
}

#define LETTER_COLUMNS                                                                             \
    "cluster_id, consumer_group, projection, topic, partition, record_offset, record_timestamp, "  \
    "key, value, headers, schema_id, error_class, sqlstate, message, failed_at"

static int resolve_letters(struct pj_rebuild *rebuild, struct pj_error *error)
{
    const struct pj_sql_name letters = pj_sql_qualified(rebuild->schema, "dead_letters");
    const char *resolve =
        pj_arena_printf(rebuild->arena,
                        "UPDATE projectionist.dead_letters AS l "
                        "SET status = 'replayed', resolved_at = clock_timestamp() "
                        "FROM projectionist.consumer_offsets AS s "
                        "WHERE l.cluster_id = $1 AND l.consumer_group = $2 AND l.status = 'open' "
                        "AND s.cluster_id = $1 AND s.consumer_group = $3 AND s.topic = l.topic "
                        "AND s.partition = l.partition AND l.record_offset >= s.start_offset "
                        "AND l.record_offset < s.next_offset AND l.id <> ALL ($4::bigint[]) AND "
                        "NOT EXISTS (SELECT FROM %s AS d "
                        "WHERE d.topic = l.topic AND d.partition = l.partition "
                        "AND d.record_offset = l.record_offset)",
                        letters.text);
    const char *open = pj_arena_printf(
        rebuild->arena,
        "INSERT INTO projectionist.dead_letters AS l (" LETTER_COLUMNS ") "
        "SELECT " LETTER_COLUMNS " FROM %s WHERE partition >= 0 "
        "ON CONFLICT (cluster_id, consumer_group, topic, partition, record_offset) DO UPDATE "
        "SET status = 'open', resolved_at = NULL, error_class = excluded.error_class, "
        "sqlstate = excluded.sqlstate, message = excluded.message WHERE l.status <> 'discarded'",
        letters.text);
    if (pj_rebuild_execute(rebuild, resolve,
                           PJ_TEXTS(rebuild->settings->cluster_id, rebuild->settings->group,
                                    rebuild->shadow_group,
                                    pj_arena_printf(rebuild->arena, "{%s}", rebuild->held)),
                           error) != 0)
        return -1;
    return pj_rebuild_execute(rebuild, open, 0, NULL, error);
}

static char *ranges_json(const struct pj_rebuild *rebuild)
{
    json_t *object = json_object();
    for (size_t i = 0; i < rebuild->range_count; i++) {
        const struct pj_offset_range *range = &rebuild->ranges[i];
        char name[300];
        pj_text_whole(name, sizeof name, "%s/%d", range->topic, (int)range->partition);
        json_object_set_new(object, name,
                            json_pack("[I, I]", (json_int_t)range->begin, (json_int_t)range->end));
    }
    char *text = pj_must(json_dumps(object, JSON_COMPACT));
    json_decref(object);
    return text;
}

static int write_down(struct pj_rebuild *rebuild, const struct pj_difference *difference,
                      struct pj_error *error)
{
    const struct pj_rebuild_settings *settings = rebuild->settings;
    char started[24];
    char total[24];
    json_t *tables = pj_difference_json(difference);
    char *differences = pj_must(json_dumps(tables, JSON_COMPACT));
    char *ranges = ranges_json(rebuild);
    json_decref(tables);
    pj_text_whole(started, sizeof started, "%lld", (long long)rebuild->started_ms);
    pj_text_whole(total, sizeof total, "%lld", (long long)difference->total);
    struct pj_result *result;
    int status = pj_postgres_query(
        rebuild->control.postgres,
        "INSERT INTO projectionist.rebuilds (kind, projection, cluster_id, consumer_group, "
        "started_at, differing_rows, differences, ranges, kept_retained) VALUES ($1, $2, $3, $4, "
        "'epoch'::timestamptz + $5::bigint * interval '1 millisecond', $6::bigint, $7::jsonb, "
        "$8::jsonb, $9::boolean) RETURNING id",
        PJ_TEXTS(settings->verify ? "verify" : "rebuild", settings->projection->name,
                 settings->cluster_id, settings->group, started, total, differences, ranges,
                 settings->keep_retained ? "true" : "false"),
        &result, error);
    free(differences);
    free(ranges);
    if (status != 0)
        return -1;
    pj_text_whole(rebuild->id, sizeof rebuild->id, "%s", pj_result_value(result, 0, 0, NULL));
    pj_result_free(result);
    return 0;
}

/* Of the rules that the live rows follow. */
static int read_version(struct pj_rebuild *rebuild, struct pj_error *error)
{
    const char *parameters[] = {rebuild->settings->cluster_id, rebuild->settings->group};
    struct pj_result *result;
    if (pj_postgres_query(rebuild->control.postgres,
                          "SELECT version FROM projectionist.rules "
                          "WHERE cluster_id = $1 AND consumer_group = $2",
                          2, parameters, &result, error) != 0)
        return -1;
    rebuild->rows_version =
        pj_result_rows(result) == 1 ? (int32_t)pj_rebuild_number(result, 0, 0) : -1;
    pj_result_free(result);
    return 0;
}

static int write_version(struct pj_rebuild *rebuild, struct pj_error *error)
{
    const struct pj_rebuild_settings *settings = rebuild->settings;
    const struct pj_identity identity = {.cluster_id = settings->cluster_id,
                                         .group = settings->group,
                                         .projection = settings->projection->name};
    int32_t of_rows;
    return pj_rules_version(rebuild->control.postgres, &identity, settings->projection->version,
                            true, &of_rows, error);
}

static int note_sources(struct pj_rebuild *rebuild, struct pj_error *error)
{
    const struct pj_rebuild_settings *settings = rebuild->settings;
    const char *parameters[] = {settings->cluster_id, settings->group, NULL};
    if (settings->drop_retained &&
        pj_rebuild_execute(rebuild,
                           "DELETE FROM projectionist.other_sources "
                           "WHERE cluster_id = $1 AND consumer_group = $2",
                           2, parameters, error) != 0)
        return -1;
    for (size_t i = 0; i < settings->feed_count; i++) {
        parameters[2] = settings->feeds[i].name;
        if (pj_rebuild_execute(rebuild,
                               "INSERT INTO projectionist.other_sources "
                               "(cluster_id, consumer_group, source) VALUES ($1, $2, $3) "
                               "ON CONFLICT DO NOTHING",
                               3, parameters, error) != 0)
            return -1;
    }
    return 0;
}

/* --- comparing and swapping ----------------------------------------------------------------------
 */

/* Comparing needs only a snapshot: live consumers continue as soon as it is taken. */
static int try_compare(struct pj_rebuild *rebuild, struct pj_difference *difference,
                       struct pj_error *error)
{
    struct pj_difference_settings find;
    struct pj_unit snapshot = {.settings = &rebuild->control_settings,
                               .projection = rebuild->settings->projection};
    find_settings(rebuild, &find);
    int status = hold_still(rebuild, error);
    if (status == PJ_REBUILD_FILLED)
        status = read_version(rebuild, error);
    if (status == PJ_REBUILD_FILLED)
        status = pj_unit_open(&snapshot, error);
    if (status == PJ_REBUILD_FILLED)
        status = pj_postgres_script(snapshot.postgres,
                                    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1", error);
    pj_postgres_rollback(rebuild->control.postgres);
    if (status == PJ_REBUILD_FILLED)
        status = check_shadow(rebuild, snapshot.postgres, error);
    if (status == PJ_REBUILD_FILLED)
        status = pj_difference_find(difference, snapshot.postgres, &find, error);
    if (snapshot.postgres != NULL)
        pj_postgres_rollback(snapshot.postgres);
    pj_unit_close(&snapshot);
    return status;
}

/* The shadow has neither triggers nor foreign keys. Consumers dead-letter the record, and the next
 * rebuild skips it. */
static void refused_rows(struct pj_error *error)
{
    struct pj_error cause = *error;
    (void)pj_error_fatal(error, PJ_EXIT_FAILED,
                         "the live tables refuse a row (%.400s), so nothing was changed; let the "
                         "consumers read to the end, which dead-letters its record, or fix what "
                         "refuses it, and run the same command again",
                         cause.message);
    memcpy(error->sqlstate, cause.sqlstate, sizeof error->sqlstate);
}

/* A commit whose answer was lost did happen, if its row in rebuilds is there. */
static int ask_swap(struct pj_unit *unit, void *context, enum pj_commit_outcome *outcome,
                    struct pj_error *error)
{
    const struct pj_rebuild *rebuild = context;
    struct pj_result *result;
    if (pj_postgres_query(unit->postgres,
                          "SELECT 1 FROM projectionist.rebuilds WHERE id = $1::bigint",
                          PJ_TEXTS(rebuild->id), &result, error) != 0)
        return -1;
    *outcome = pj_result_rows(result) == 1 ? PJ_COMMITTED : PJ_NOT_COMMITTED;
    pj_result_free(result);
    return 0;
}

static int try_swap(struct pj_rebuild *rebuild, struct pj_difference *difference,
                    struct pj_error *error)
{
    struct pj_difference_settings find;
    find_settings(rebuild, &find);
    int status = hold_still(rebuild, error);
    if (status == PJ_REBUILD_FILLED)
        status = check_shadow(rebuild, rebuild->control.postgres, error);
    if (status == PJ_REBUILD_FILLED)
        status = pj_difference_find(difference, rebuild->control.postgres, &find, error);
    if (status != PJ_REBUILD_FILLED) {
        pj_postgres_rollback(rebuild->control.postgres);
        return status;
    }
    /* What is written now is nothing new: triggers that notify of changes may ask for it. */
    if (pj_postgres_script(rebuild->control.postgres, "SET LOCAL projectionist.rebuild = 'on'",
                           error) == 0 &&
        pj_difference_apply(rebuild->control.postgres, &find, error) == 0 &&
        move_offsets(rebuild, error) == 0 && resolve_letters(rebuild, error) == 0 &&
        write_version(rebuild, error) == 0 && note_sources(rebuild, error) == 0 &&
        write_down(rebuild, difference, error) == 0 &&
        pj_unit_commit(&rebuild->control, ask_swap, rebuild, error) == 0)
        return PJ_REBUILD_FILLED;
    if (error->class == PJ_POISON)
        refused_rows(error);
    pj_postgres_rollback(rebuild->control.postgres);
    return -1;
}

typedef int attempt(struct pj_rebuild *rebuild, struct pj_difference *difference,
                    struct pj_error *error);

/* Retries after conflicts with live consumers and while servers are unavailable. */
static int try_often(struct pj_rebuild *rebuild, attempt *try_once,
                     struct pj_difference *difference, struct pj_error *error)
{
    for (int failures = 0;; failures++) {
        enum pj_commit_outcome in_doubt = PJ_NO_COMMIT;
        int status = pj_unit_open(&rebuild->control, error);
        if (status == 0)
            status = pj_unit_resolve(&rebuild->control, &in_doubt, error);
        /* Then *difference is what was written. */
        if (in_doubt == PJ_COMMITTED)
            return PJ_REBUILD_FILLED;
        if (status == 0 && failures == 0)
            status = catch_up(rebuild, error);
        if (status == 0) {
            pj_difference_free(difference);
            status = try_once(rebuild, difference, error);
        }
        if (status >= 0 || error->class != PJ_RETRY || failures + 1 == TRIES_MOST)
            return status;
        pj_back_off(failures);
    }
}

int pj_rebuild_compare(struct pj_rebuild *rebuild, struct pj_difference *difference,
                       struct pj_error *error)
{
    int status = try_often(rebuild, try_compare, difference, error);
    if (status != PJ_REBUILD_FILLED || !rebuild->settings->verify)
        return status;
    return write_down(rebuild, difference, error);
}

int pj_rebuild_swap(struct pj_rebuild *rebuild, struct pj_difference *difference,
                    struct pj_error *error)
{
    return try_often(rebuild, try_swap, difference, error);
}
