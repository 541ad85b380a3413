/* SPDX-License-Identifier: Apache-2.0 */
#include "rebuild/rebuild.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "rebuild/rebuild_internal.h"

#include <stdlib.h>
#include <string.h>

enum { IDLE_IN_TRANSACTION_MS = 60000, DROPS_MOST = 2 };

/* --- queries --------------------------------------------------------------------------------- */

int64_t pj_rebuild_number(const struct pj_result *rows, int row, int column)
{
    const char *text = pj_result_value(rows, row, column, NULL);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

const char *pj_rebuild_text(const struct pj_rebuild *rebuild, const struct pj_result *rows, int row,
                            int column)
{
    const char *text = pj_result_value(rows, row, column, NULL);
    return text != NULL ? pj_arena_string(rebuild->arena, text, strlen(text)) : NULL;
}

int pj_rebuild_execute(const struct pj_rebuild *rebuild, const char *sql, int count,
                       const char *const *parameters, struct pj_error *error)
{
    return pj_postgres_query(rebuild->control.postgres, sql, count, parameters, NULL, error);
}

int pj_rebuild_read_live(struct pj_rebuild *rebuild, bool lock, struct pj_result **rows,
                         struct pj_error *error)
{
    const char *sql =
        "SELECT topic, partition, next_offset, start_offset, topic_id, "
        "CASE WHEN counted_to = next_offset THEN counted_from END, records, checksum, "
        "stop_code, stop_reason "
        "FROM projectionist.consumer_offsets "
        "WHERE cluster_id = $1 AND consumer_group = $2 ORDER BY topic, partition";
    const char *locking = pj_arena_printf(rebuild->arena, "%s FOR UPDATE", sql);
    return pj_postgres_query(rebuild->control.postgres, lock ? locking : sql,
                             PJ_TEXTS(rebuild->settings->cluster_id, rebuild->settings->group),
                             rows, error);
}

struct pj_offset_range *pj_rebuild_range(struct pj_rebuild *rebuild, const char *topic,
                                         int32_t partition, int64_t begin)
{
    for (size_t i = 0; i < rebuild->range_count; i++) {
        struct pj_offset_range *range = &rebuild->ranges[i];
        if (range->partition == partition && strcmp(range->topic, topic) == 0)
            return range;
    }
    rebuild->ranges = pj_resize(rebuild->ranges, rebuild->range_count + 1, sizeof *rebuild->ranges);
    struct pj_offset_range *range = &rebuild->ranges[rebuild->range_count++];
    *range = (struct pj_offset_range){pj_arena_string(rebuild->arena, topic, strlen(topic)),
                                      partition, begin, begin};
    return range;
}

/* --- opening --------------------------------------------------------------------------------- */

/*
 * Ends with the connection, and so with the process: soon, even while a statement waits for a lock
 * or compares tables. (Before Postgres 14 only after the statement.)
 */
static int take_lock(void *context, struct pj_postgres *postgres, struct pj_error *error)
{
    struct pj_rebuild *rebuild = context;
    struct pj_result *result;
    if (pj_postgres_query(postgres,
                          "SELECT set_config(name, '1000', false) FROM pg_settings "
                          "WHERE name = 'client_connection_check_interval'",
                          0, NULL, NULL, error) != 0)
        return -1;
    if (pj_postgres_query(postgres,
                          "SELECT pg_try_advisory_lock(hashtext('projectionist'), hashtext($1))",
                          PJ_TEXTS(rebuild->schema), &result, error) != 0)
        return -1;
    bool ours = strcmp(pj_result_value(result, 0, 0, NULL), "t") == 0;
    pj_result_free(result);
    if (ours) {
        rebuild->locked = true;
        return 0;
    }
    /* Postgres may not have noticed that our last session is gone, or is still at its COMMIT. */
    if (rebuild->locked)
        return pj_error_set(error, PJ_RETRY, "the previous session still holds the lock of %s",
                            rebuild->settings->projection->name);
    return pj_error_fatal(error, PJ_EXIT_FENCED, "another process is %s %s",
                          rebuild->settings->verify ? "verifying" : "rebuilding",
                          rebuild->settings->projection->name);
}

static int read_live(struct pj_rebuild *rebuild, struct pj_error *error)
{
    struct pj_result *rows;
    if (pj_rebuild_read_live(rebuild, false, &rows, error) != 0) {
        if (strcmp(error->sqlstate, "42P01") == 0 || strcmp(error->sqlstate, "3F000") == 0 ||
            strcmp(error->sqlstate, "42703") == 0)
            pj_error_fatal(error, PJ_EXIT_DATABASE,
                           "the database lacks what a rebuild needs; run 'projectionist "
                           "migrate'");
        return -1;
    }
    rebuild->live_count = (size_t)pj_result_rows(rows);
    rebuild->live = pj_arena_alloc(rebuild->arena, rebuild->live_count * sizeof *rebuild->live);
    for (size_t i = 0; i < rebuild->live_count; i++) {
        int row = (int)i;
        const char *id = pj_rebuild_text(rebuild, rows, row, 4);
        bool counted = pj_result_value(rows, row, 5, NULL) != NULL;
        rebuild->live[i] = (struct pj_live_offset){
            .topic = pj_rebuild_text(rebuild, rows, row, 0),
            .partition = (int32_t)pj_rebuild_number(rows, row, 1),
            .next_offset = pj_rebuild_number(rows, row, 2),
            .start_offset = pj_rebuild_number(rows, row, 3),
            .topic_id = id != NULL ? id : "",
            .counted_from = counted ? pj_rebuild_number(rows, row, 5) : -1,
            .records = pj_rebuild_text(rebuild, rows, row, 6),
            .checksum = pj_rebuild_text(rebuild, rows, row, 7),
            .stop_code = (int)pj_rebuild_number(rows, row, 8),
            .stop_reason = pj_rebuild_text(rebuild, rows, row, 9),
        };
    }
    pj_result_free(rows);
    return 0;
}

static struct pj_offset_range *read_ranges(struct pj_rebuild *rebuild, const char *sql,
                                           size_t *count, struct pj_error *error)
{
    struct pj_result *rows;
    if (pj_postgres_query(rebuild->control.postgres, sql,
                          PJ_TEXTS(rebuild->settings->cluster_id, rebuild->settings->group), &rows,
                          error) != 0)
        return NULL;
    *count = (size_t)pj_result_rows(rows);
    struct pj_offset_range *ranges = pj_arena_alloc(rebuild->arena, (*count + 1) * sizeof *ranges);
    for (size_t i = 0; i < *count; i++) {
        ranges[i] = (struct pj_offset_range){
            .topic = pj_rebuild_text(rebuild, rows, (int)i, 0),
            .partition = (int32_t)pj_rebuild_number(rows, (int)i, 1),
            .begin = pj_rebuild_number(rows, (int)i, 2),
            .end = pj_rebuild_number(rows, (int)i, 3),
        };
    }
    pj_result_free(rows);
    if (*count > 1)
        qsort(ranges, *count, sizeof *ranges, pj_offset_range_compare);
    return ranges;
}

int pj_rebuild_digest_letters(struct pj_rebuild *rebuild, struct pj_postgres *postgres,
                              char digest[40], struct pj_error *error)
{
    const struct pj_rebuild_settings *settings = rebuild->settings;
    struct pj_result *result;
    /* What a replay adds to the live facts after the retained state was copied would be lost: its
     * record may be one that retention has removed. */
    if (pj_postgres_query(postgres,
                          "SELECT coalesce(md5(string_agg(id::text, ' ' ORDER BY id)), 'none') "
                          "FROM projectionist.dead_letters WHERE cluster_id = $1 "
                          "AND consumer_group = $2 AND (status = 'discarded' "
                          "OR status = 'replayed' AND $3::boolean)",
                          PJ_TEXTS(settings->cluster_id, settings->group,
                                   settings->keep_retained ? "true" : "false"),
                          &result, error) != 0)
        return -1;
    pj_text_whole(digest, 40, "%s", pj_result_value(result, 0, 0, NULL));
    pj_result_free(result);
    return 0;
}

static int read_gaps(struct pj_rebuild *rebuild, struct pj_error *error)
{
    if (pj_rebuild_digest_letters(rebuild, rebuild->control.postgres, rebuild->letters_digest,
                                  error) != 0)
        return -1;
    rebuild->gaps = read_ranges(rebuild,
                                "SELECT topic, partition, from_offset, to_offset "
                                "FROM projectionist.gaps "
                                "WHERE cluster_id = $1 AND consumer_group = $2",
                                &rebuild->gap_count, error);
    rebuild->discarded =
        rebuild->gaps == NULL
            ? NULL
            : read_ranges(rebuild,
                          "SELECT topic, partition, record_offset, record_offset + 1 "
                          "FROM projectionist.dead_letters WHERE cluster_id = $1 "
                          "AND consumer_group = $2 AND status = 'discarded'",
                          &rebuild->discarded_count, error);
    return rebuild->discarded != NULL ? 0 : -1;
}

static void name_schema(struct pj_rebuild *rebuild)
{
    /* A verify must not get in the way of a rebuild. */
    pj_text_whole(rebuild->schema, sizeof rebuild->schema, "projectionist_%s_%s",
                  rebuild->settings->verify ? "verify" : "rebuild",
                  rebuild->settings->projection->name);
    for (char *c = rebuild->schema; *c; c++) {
        if (*c == '-')
            *c = '_';
    }
}

int pj_rebuild_open(struct pj_rebuild **out, const struct pj_rebuild_settings *settings,
                    struct pj_error *error)
{
    struct pj_rebuild *rebuild = pj_alloc(sizeof *rebuild);
    rebuild->settings = settings;
    rebuild->arena = pj_arena_new();
    pthread_mutex_init(&rebuild->showing, NULL);
    rebuild->started_ms = pj_clock_wall_ms();
    name_schema(rebuild);
    rebuild->shadow_group = pj_arena_printf(rebuild->arena, "%s/%s", settings->group,
                                            settings->verify ? "verify" : "rebuild");
    rebuild->control_settings = (struct pj_postgres_settings){
        .dsn = settings->consumer->postgres_dsn,
        .properties = &settings->config->postgres,
        .tables_schema = settings->consumer->tables_schema,
        .system = settings->consumer->system,
        .default_schema = settings->consumer->default_schema,
        .application_name = settings->verify ? "projectionist verify" : "projectionist rebuild",
        .lock_timeout_ms = settings->consumer->lock_timeout_ms,
        .idle_in_transaction_timeout_ms = IDLE_IN_TRANSACTION_MS,
    };
    rebuild->control = (struct pj_unit){
        .settings = &rebuild->control_settings,
        .projection = settings->projection,
        .prepare = take_lock,
        .context = rebuild,
    };
    if (pj_offsets_check_group(settings->group, error) == 0 &&
        pj_unit_open(&rebuild->control, error) == 0 && read_live(rebuild, error) == 0 &&
        read_gaps(rebuild, error) == 0 && pj_rebuild_read_others(rebuild, error) == 0 &&
        pj_rebuild_hold_letters(rebuild, error) == 0) {
        *out = rebuild;
        return 0;
    }
    pj_rebuild_close(rebuild, false);
    return -1;
}

void pj_rebuild_close(struct pj_rebuild *rebuild, bool drop)
{
    if (rebuild == NULL)
        return;
    struct pj_error error;
    bool left = drop && rebuild->control.postgres != NULL;
    pj_rebuild_close_workers(rebuild);
    /* A lost connection shows only when it is used. What is not dropped only takes disk space, and
     * the next attempt finds it. */
    for (int tries = 0; left && tries < DROPS_MOST; tries++)
        left = pj_unit_open(&rebuild->control, &error) != 0 ||
               pj_rebuild_drop_shadow(rebuild, &error) != 0;
    if (left)
        pj_log(PJ_WARN, "tables of this attempt are left, which the next one drops",
               pj_f_str("schema", rebuild->schema), pj_f_str("reason", error.message));
    pj_unit_close(&rebuild->control);
    pj_arena_free(rebuild->arena);
    pthread_mutex_destroy(&rebuild->showing);
    free(rebuild->ranges);
    free(rebuild->counted);
    free(rebuild);
}

const struct pj_live_offset *pj_rebuild_live(const struct pj_rebuild *rebuild, size_t *count)
{
    *count = rebuild->live_count;
    return rebuild->live;
}

int32_t pj_rebuild_rows_version(const struct pj_rebuild *rebuild)
{
    return rebuild->rows_version;
}

const struct pj_offset_range *pj_rebuild_ranges(const struct pj_rebuild *rebuild, size_t *count)
{
    *count = rebuild->range_count;
    return rebuild->ranges;
}

/* --- planning -------------------------------------------------------------------------------- */

/* The parts of [start, to) that are in no accepted gap; gaps are sorted. */
static void add_unread(const struct pj_rebuild *rebuild, const struct pj_live_offset *live,
                       int64_t to, struct pj_offset_range *unread, size_t *count)
{
    int64_t from = live->start_offset;
    for (size_t g = 0; g <= rebuild->gap_count && from < to; g++) {
        const struct pj_offset_range *gap = g < rebuild->gap_count ? &rebuild->gaps[g] : NULL;
        if (gap != NULL && (strcmp(gap->topic, live->topic) != 0 ||
                            gap->partition != live->partition || gap->end <= from))
            continue;
        int64_t end = gap != NULL && gap->begin < to ? gap->begin : to;
        if (end > from)
            unread[(*count)++] = (struct pj_offset_range){live->topic, live->partition, from, end};
        from = gap != NULL && gap->end > end ? gap->end : end;
    }
}

struct pj_offset_range *pj_rebuild_unread(const struct pj_rebuild *rebuild,
                                          const struct pj_offset_range *ranges, size_t count,
                                          size_t *unread_count)
{
    *unread_count = 0;
    struct pj_offset_range *unread =
        pj_calloc(rebuild->live_count + rebuild->gap_count, sizeof *unread);
    for (size_t i = 0; i < rebuild->live_count; i++) {
        const struct pj_live_offset *live = &rebuild->live[i];
        int64_t begin = live->next_offset; /* if it is not read at all */
        for (size_t s = 0; s < count; s++) {
            if (strcmp(ranges[s].topic, live->topic) == 0 &&
                ranges[s].partition == live->partition && ranges[s].begin < begin)
                begin = ranges[s].begin;
        }
        add_unread(rebuild, live, begin, unread, unread_count);
    }
    if (*unread_count > 0)
        return unread;
    free(unread);
    return NULL;
}
