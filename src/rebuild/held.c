/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead letters whose records Postgres refused. Only the live tables may refuse them: a trigger, a
 * foreign key, a unique index under which another record came first. So each is tried on the live
 * tables in a transaction that is rolled back: if still refused, it stays a dead letter and the
 * shadow skips its record; otherwise it is read like any other.
 */
#include "base/text.h"
#include "engine/replay.h"
#include "postgres/sql_text.h"
#include "rebuild/rebuild_internal.h"

#include <stdlib.h>
#include <string.h>

enum { REFUSALS_MOST = 100 }; /* in a row: then the rest is held without a try */

/* Makes the shadow skip their records. `refused`: of which rows; NULL: of all. */
static void hold(struct pj_rebuild *rebuild, const struct pj_result *rows, const bool *refused)
{
    size_t count = rebuild->discarded_count;
    struct pj_builder ids = {0};
    struct pj_offset_range *list =
        pj_arena_alloc(rebuild->arena, (count + (size_t)pj_result_rows(rows) + 1) * sizeof *list);
    memcpy(list, rebuild->discarded, count * sizeof *list);
    pj_builder_add(&ids, "%s", rebuild->held);
    for (int row = 0; row < pj_result_rows(rows); row++) {
        if (refused != NULL && !refused[row])
            continue;
        int64_t offset = pj_rebuild_number(rows, row, 3);
        list[count++] =
            (struct pj_offset_range){pj_rebuild_text(rebuild, rows, row, 1),
                                     (int32_t)pj_rebuild_number(rows, row, 2), offset, offset + 1};
        pj_builder_add(&ids, "%s%s", ids.length > 0 ? "," : "",
                       pj_result_value(rows, row, 0, NULL));
    }
    char *held = pj_builder_take(&ids);
    rebuild->held = pj_arena_string(rebuild->arena, held, strlen(held));
    free(held);
    qsort(list, count, sizeof *list, pj_offset_range_compare);
    rebuild->discarded = list;
    rebuild->discarded_count = count;
}

static int open_trial(struct pj_rebuild *rebuild, struct pj_registry **registry,
                      struct pj_replay **trial, struct pj_error *error)
{
    const struct pj_rebuild_settings *settings = rebuild->settings;
    const struct pj_registry_settings *named = &settings->consumer->registry;
    if (named->url != NULL && pj_registry_open(registry, named, error) != 0)
        return -1;
    const struct pj_replay_settings replay = {
        .postgres = &rebuild->control_settings,
        .projection = settings->projection,
        .topic_prefix = settings->consumer->topic_prefix,
        .setting_values = settings->setting_values,
        .registry = *registry,
        .registry_name = named->url,
        .dry_run = true,
    };
    return pj_replay_new(trial, &replay, error);
}

/* Holds those that are still refused. */
static int try_all(struct pj_rebuild *rebuild, const struct pj_result *rows,
                   struct pj_replay *trial, struct pj_error *error)
{
    int refusals = 0;
    bool *refused = pj_arena_alloc(rebuild->arena, (size_t)pj_result_rows(rows));
    for (int row = 0; row < pj_result_rows(rows); row++) {
        enum pj_replay_outcome outcome = PJ_REPLAY_REFUSED;
        if (refusals < REFUSALS_MOST &&
            pj_replay_letter(trial, pj_rebuild_number(rows, row, 0), &outcome, error) != 0)
            return -1;
        refused[row] = outcome == PJ_REPLAY_REFUSED;
        refusals = refused[row] ? refusals + 1 : 0;
    }
    hold(rebuild, rows, refused);
    return 0;
}

#define OPEN_LETTERS                                                                               \
    "SELECT l.id, l.topic, l.partition, l.record_offset FROM projectionist.dead_letters AS l "     \
    "WHERE l.cluster_id = $1 AND l.consumer_group = $2 AND l.status = 'open' "                     \
    "AND l.sqlstate IS NOT NULL "

int pj_rebuild_hold_letters(struct pj_rebuild *rebuild, struct pj_error *error)
{
    struct pj_result *rows;
    struct pj_registry *registry = NULL;
    struct pj_replay *trial = NULL;
    rebuild->held = "";
    if (pj_postgres_query(rebuild->control.postgres,
                          "SELECT coalesce(max(id), 0) FROM projectionist.dead_letters", 0, NULL,
                          &rows, error) != 0)
        return -1;
    rebuild->last_letter = pj_rebuild_text(rebuild, rows, 0, 0);
    pj_result_free(rows);
    if (pj_postgres_query(rebuild->control.postgres, OPEN_LETTERS "ORDER BY l.id",
                          PJ_TEXTS(rebuild->settings->cluster_id, rebuild->settings->group), &rows,
                          error) != 0)
        return -1;
    int status = 0;
    if (pj_result_rows(rows) > 0)
        status = open_trial(rebuild, &registry, &trial, error);
    if (status == 0 && trial != NULL)
        status = try_all(rebuild, rows, trial, error);
    pj_replay_free(trial);
    pj_registry_close(registry);
    pj_result_free(rows);
    return status;
}

/* Those that consumers dead-lettered since, and whose records the shadow has yet to read. */
int pj_rebuild_hold_newer(struct pj_rebuild *rebuild, struct pj_error *error)
{
    struct pj_result *rows;
    if (pj_postgres_query(
            rebuild->control.postgres,
            OPEN_LETTERS "AND l.id > $4::bigint AND l.id <> ALL ($5::bigint[]) AND NOT EXISTS ("
                         "SELECT FROM projectionist.consumer_offsets AS s "
                         "WHERE s.cluster_id = $1 AND s.consumer_group = $3 "
                         "AND s.topic = l.topic AND s.partition = l.partition "
                         "AND s.next_offset > l.record_offset)",
            PJ_TEXTS(rebuild->settings->cluster_id, rebuild->settings->group, rebuild->shadow_group,
                     rebuild->last_letter, pj_arena_printf(rebuild->arena, "{%s}", rebuild->held)),
            &rows, error) != 0)
        return -1;
    hold(rebuild, rows, NULL);
    pj_result_free(rows);
    return 0;
}

int pj_rebuild_check_letters(struct pj_rebuild *rebuild, struct pj_postgres *postgres,
                             struct pj_error *error)
{
    struct pj_result *rows;
    if (pj_postgres_query(
            postgres,
            pj_arena_printf(rebuild->arena,
                            "SELECT FROM projectionist.dead_letters AS l "
                            "WHERE l.cluster_id = $1 AND l.consumer_group = $2 AND CASE "
                            "WHEN l.id = ANY ($5::bigint[]) THEN l.status <> 'open' "
                            "ELSE l.status = 'open' AND l.sqlstate IS NOT NULL "
                            "AND l.id > $4::bigint AND EXISTS ("
                            "SELECT FROM projectionist.consumer_offsets AS s "
                            "WHERE s.cluster_id = $1 AND s.consumer_group = $3 "
                            "AND s.topic = l.topic AND s.partition = l.partition "
                            "AND s.next_offset > l.record_offset) AND NOT EXISTS ("
                            "SELECT FROM %s AS d WHERE d.topic = l.topic "
                            "AND d.partition = l.partition "
                            "AND d.record_offset = l.record_offset) END LIMIT 1",
                            pj_sql_qualified(rebuild->schema, "dead_letters").text),
            PJ_TEXTS(rebuild->settings->cluster_id, rebuild->settings->group, rebuild->shadow_group,
                     rebuild->last_letter, pj_arena_printf(rebuild->arena, "{%s}", rebuild->held)),
            &rows, error) != 0)
        return -1;
    bool changed = pj_result_rows(rows) > 0;
    pj_result_free(rows);
    return !changed
               ? 0
               : pj_error_fatal(error, PJ_EXIT_FAILED,
                                "dead letters of records that were already read were added or "
                                "resolved meanwhile; nothing was changed; run the same command "
                                "again to start over");
}
