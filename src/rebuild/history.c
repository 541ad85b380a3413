/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the topics still have what the rows follow from. Offsets do not show it: they stay the
 * same when a topic is compacted or recreated. So a group counts what it reads, and a rebuild,
 * which reads the same offsets, must get the same count.
 */
#include "base/text.h"
#include "postgres/sql_text.h"
#include "rebuild/rebuild_internal.h"

#include <string.h>

/* --- what other groups have read ------------------------------------------------------------- */

int pj_rebuild_read_others(struct pj_rebuild *rebuild, struct pj_error *error)
{
    const struct pj_rebuild_settings *settings = rebuild->settings;
    struct pj_result *rows;
    if (pj_postgres_query(
            rebuild->control.postgres,
            "SELECT topic, partition, start_offset, next_offset, consumer_group, "
            "cluster_id FROM projectionist.consumer_offsets "
            "WHERE (cluster_id, consumer_group) <> ($1, $2) "
            "AND coalesce(projection, consumer_group) = $3 "
            "AND next_offset > start_offset AND partition >= 0 ORDER BY 6, 5, 1, 2",
            PJ_TEXTS(settings->cluster_id, settings->group, settings->projection->name), &rows,
            error) != 0)
        return -1;
    size_t count = (size_t)pj_result_rows(rows);
    rebuild->others = pj_arena_alloc(rebuild->arena, (count + 1) * sizeof *rebuild->others);
    rebuild->other_count = count;
    for (size_t i = 0; i < count; i++) {
        int row = (int)i;
        rebuild->others[i] = (struct pj_other_group){
            .read = {pj_rebuild_text(rebuild, rows, row, 0),
                     (int32_t)pj_rebuild_number(rows, row, 1), pj_rebuild_number(rows, row, 2),
                     pj_rebuild_number(rows, row, 3)},
            .group = pj_rebuild_text(rebuild, rows, row, 4),
            .cluster_id = pj_rebuild_text(rebuild, rows, row, 5),
        };
    }
    pj_result_free(rows);
    return 0;
}

static bool covers(const struct pj_offset_range *ranges, size_t count,
                   const struct pj_offset_range *read)
{
    for (size_t s = 0; s < count; s++) {
        if (ranges[s].partition == read->partition && ranges[s].begin <= read->begin &&
            ranges[s].end >= read->end && strcmp(ranges[s].topic, read->topic) == 0)
            return true;
    }
    return false;
}

const struct pj_other_group *pj_rebuild_others(const struct pj_rebuild *rebuild,
                                               const struct pj_offset_range *ranges, size_t count,
                                               size_t *other_count)
{
    struct pj_other_group *found =
        pj_arena_alloc(rebuild->arena, (rebuild->other_count + 1) * sizeof *found);
    *other_count = 0;
    for (size_t i = 0; i < rebuild->other_count; i++) {
        const struct pj_other_group *other = &rebuild->others[i];
        if (strcmp(other->cluster_id, rebuild->settings->cluster_id) != 0 ||
            !covers(ranges, count, &other->read))
            found[(*other_count)++] = *other;
    }
    return found;
}

/* --- what the topics do not have ------------------------------------------------------------- */

int pj_rebuild_recordings(struct pj_rebuild *rebuild, const char **names, struct pj_error *error)
{
    struct pj_result *rows;
    if (pj_postgres_query(rebuild->control.postgres,
                          "SELECT string_agg(source, ', ' ORDER BY source) "
                          "FROM projectionist.other_sources "
                          "WHERE cluster_id = $1 AND consumer_group = $2",
                          PJ_TEXTS(rebuild->settings->cluster_id, rebuild->settings->group), &rows,
                          error) != 0)
        return -1;
    *names = pj_rebuild_text(rebuild, rows, 0, 0);
    pj_result_free(rows);
    return 0;
}

/* --- counts ---------------------------------------------------------------------------------- */

bool pj_rebuild_is_counted(const struct pj_rebuild *rebuild, const struct pj_live_offset *live,
                           const struct pj_offset_range *range)
{
    const struct pj_rebuild_settings *settings = rebuild->settings;
    return !settings->keep_retained && !settings->drop_retained && settings->feed_count == 0 &&
           live->counted_from >= 0 && range->begin <= live->counted_from &&
           range->end >= live->next_offset && live->counted_from < live->next_offset;
}

const struct pj_offset_range *pj_rebuild_counted(const struct pj_rebuild *rebuild,
                                                 const struct pj_offset_range *range)
{
    for (size_t i = 0; i < rebuild->counted_count; i++) {
        const struct pj_offset_range *counted = &rebuild->counted[i];
        if (counted->partition == range->partition && strcmp(counted->topic, range->topic) == 0)
            return counted;
    }
    return NULL;
}

/* A query of the first worker, with retries. */
static int ask(struct pj_rebuild *rebuild, const char *sql, struct pj_result **result,
               struct pj_error *error)
{
    struct pj_loop *loop = &rebuild->workers[0].loop;
    for (;;) {
        if (pj_session_connect(&loop->session, error) == 0 &&
            pj_postgres_query(loop->session.unit.postgres, sql,
                              PJ_TEXTS(rebuild->settings->cluster_id, rebuild->shadow_group),
                              result, error) == 0)
            return PJ_REBUILD_FILLED;
        if (pj_loop_recover(loop, error) != 0)
            return -1;
        if (pj_session_stopping(&loop->session))
            return PJ_REBUILD_STOPPED;
    }
}

int pj_rebuild_note_passed(struct pj_rebuild *rebuild, struct pj_error *error)
{
    struct pj_result *result;
    int status = ask(rebuild,
                     pj_arena_printf(rebuild->arena,
                                     "UPDATE %s AS s "
                                     "SET passed_records = coalesce(o.records, 0), "
                                     "passed_checksum = coalesce(o.checksum, 0) "
                                     "FROM projectionist.consumer_offsets AS o "
                                     "WHERE o.cluster_id = $1 AND o.consumer_group = $2 "
                                     "AND o.topic = s.topic AND o.partition = s.partition "
                                     "AND o.next_offset = s.counted_from",
                                     pj_sql_qualified(rebuild->schema, "ranges").text),
                     &result, error);
    if (status == PJ_REBUILD_FILLED)
        pj_result_free(result);
    return status;
}

static int not_as_read(const struct pj_rebuild *rebuild, const struct pj_result *rows,
                       struct pj_error *error)
{
    long long had = pj_rebuild_number(rows, 0, 4);
    long long has = pj_rebuild_number(rows, 0, 5);
    char more[64] = "";
    if (pj_result_rows(rows) > 1)
        pj_text_whole(more, sizeof more, ", and %d more partitions likewise",
                      pj_result_rows(rows) - 1);
    const char *remedy =
        rebuild->settings->verify
            ? "--keep-retained keeps what followed from them"
            : "--keep-retained keeps what followed from them, --drop-retained lets it go";
    const char *topic = pj_result_value(rows, 0, 0, NULL);
    const char *partition = pj_result_value(rows, 0, 1, NULL);
    const char *begin = pj_result_value(rows, 0, 2, NULL);
    const char *end = pj_result_value(rows, 0, 3, NULL);
    if (has < had)
        return pj_error_fatal(
            error, PJ_EXIT_GAP,
            "%.200s [%s] has lost %lld of the %lld records that group %.150s read "
            "from offset %s to before %s, by compaction or a deletion%s; %s",
            topic, partition, had - has, had, rebuild->settings->group, begin, end, more, remedy);
    return pj_error_fatal(error, PJ_EXIT_TOPIC_RECREATED,
                          "%.200s [%s] has other records than those that group %.150s read from "
                          "offset %s to before %s: it was recreated, or its log was lost%s; %s",
                          topic, partition, rebuild->settings->group, begin, end, more, remedy);
}

int pj_rebuild_check_counts(struct pj_rebuild *rebuild, struct pj_error *error)
{
    struct pj_result *rows;
    int status = ask(rebuild,
                     pj_arena_printf(rebuild->arena,
                                     "SELECT s.topic, s.partition, s.counted_from, s.counted_to, "
                                     "s.records, coalesce(o.records, 0) - s.passed_records "
                                     "FROM %s AS s "
                                     "JOIN projectionist.consumer_offsets AS o "
                                     "ON o.topic = s.topic AND o.partition = s.partition "
                                     "WHERE o.cluster_id = $1 AND o.consumer_group = $2 "
                                     "AND o.next_offset = s.counted_to AND (s.records, s.checksum) "
                                     "<> (coalesce(o.records, 0) - s.passed_records, "
                                     "coalesce(o.checksum, 0) # s.passed_checksum) "
                                     "ORDER BY s.records <= o.records - s.passed_records, 1, 2",
                                     pj_sql_qualified(rebuild->schema, "ranges").text),
                     &rows, error);
    if (status != PJ_REBUILD_FILLED)
        return status;
    if (pj_result_rows(rows) > 0)
        status = not_as_read(rebuild, rows, error);
    pj_result_free(rows);
    return status;
}
