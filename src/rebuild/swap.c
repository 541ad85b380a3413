/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a rebuild: shadow and live tables at one moment, compared or brought to the same. */
#include "base/back_off.h"
#include "base/text.h"
#include "rebuild/rebuild_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES_MOST = 10, ROUNDS_MOST = 4 };

/* Where the live group has gone past a range's end, the range grows. A partition that only the
 * live group knows (a topic that grew) begins where that began. */
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

/*
 * In an open transaction: nobody writes the live tables any more, and the shadow is as far as they
 * are. Offsets first, in the order in which every commit locks them.
 */
static int hold_still(struct pj_rebuild *rebuild, struct pj_error *error)
{
    bool grew;
    if (pj_postgres_script(rebuild->control.postgres, "BEGIN", error) != 0 ||
        follow(rebuild, &grew, error) != 0 ||
        pj_difference_lock(rebuild->control.postgres, rebuild->settings->projection, error) != 0)
        return -1;
    return grew ? pj_rebuild_fill(rebuild, error) : PJ_REBUILD_FILLED;
}

/* Most of what came meanwhile is read before anybody has to wait. */
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

/*
 * On the connection that compares, in its transaction: the shadow is what was read. When Postgres
 * comes back from a crash it empties what is not logged, while the offsets in the books stay.
 */
static int check_shadow(struct pj_rebuild *rebuild, struct pj_postgres *postgres,
                        struct pj_error *error)
{
    struct pj_result *result;
    char sql[128];
    pj_text_whole(sql, sizeof sql, "SELECT FROM \"%s\".ranges LIMIT 1", rebuild->schema);
    if (pj_postgres_query(postgres, sql, 0, NULL, &result, error) != 0)
        return -1;
    bool whole = pj_result_rows(result) == 1;
    pj_result_free(result);
    if (!whole)
        return pj_error_fatal(error, PJ_EXIT_UNAVAILABLE,
                              "Postgres came back from a crash, which emptied the tables beside "
                              "the live ones; nothing was changed, and the same command begins "
                              "anew");
    char digest[40];
    if (pj_rebuild_digest_letters(rebuild, postgres, digest, error) != 0)
        return -1;
    if (strcmp(digest, rebuild->letters_digest) == 0)
        return pj_rebuild_check_letters(rebuild, postgres, error);
    return pj_error_fatal(error, PJ_EXIT_FAILED,
                          "dead letters were discarded%s meanwhile; nothing was changed, and the "
                          "same command begins anew",
                          rebuild->settings->keep_retained ? " or replayed" : "");
}

/* A snapshot is enough to compare: the live consumers go on as soon as it is taken. */
static int try_compare(struct pj_rebuild *rebuild, struct pj_difference *difference,
                       struct pj_error *error)
{
    struct pj_difference_settings find;
    struct pj_unit snapshot = {.settings = &rebuild->control_settings,
                               .projection = rebuild->settings->projection};
    find_settings(rebuild, &find);
    int status = hold_still(rebuild, error);
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

/* The shadow has neither triggers nor foreign keys. The consumers find the record, and a rebuild
 * after them passes it over. */
static void refused_rows(struct pj_error *error)
{
    struct pj_error cause = *error;
    (void)pj_error_fatal(error, PJ_EXIT_FAILED,
                         "the live tables refuse a row (%.400s), so nothing was changed; let the "
                         "consumers read to the end, which sets its record aside, or mend what "
                         "refuses it, and run the same command again",
                         cause.message);
    memcpy(error->sqlstate, cause.sqlstate, sizeof error->sqlstate);
}

/* A commit whose answer was lost did happen, if what it wrote down is there. */
static int ask_swap(struct pj_unit *unit, void *context, enum pj_commit_outcome *outcome,
                    struct pj_error *error)
{
    const struct pj_rebuild *rebuild = context;
    const char *parameters[] = {rebuild->id};
    struct pj_result *result;
    if (pj_postgres_query(unit->postgres,
                          "SELECT 1 FROM projectionist.rebuilds WHERE id = $1::bigint", 1,
                          parameters, &result, error) != 0)
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
    if (pj_difference_apply(rebuild->control.postgres, &find, error) == 0 &&
        pj_rebuild_move_offsets(rebuild, error) == 0 &&
        pj_rebuild_settle_letters(rebuild, error) == 0 &&
        pj_rebuild_note_sources(rebuild, error) == 0 &&
        pj_rebuild_write_down(rebuild, difference, error) == 0 &&
        pj_unit_commit(&rebuild->control, ask_swap, rebuild, error) == 0)
        return PJ_REBUILD_FILLED;
    if (error->class == PJ_POISON)
        refused_rows(error);
    pj_postgres_rollback(rebuild->control.postgres);
    return -1;
}

typedef int attempt(struct pj_rebuild *rebuild, struct pj_difference *difference,
                    struct pj_error *error);

/* Conflicts with the live consumers, and servers that come back, are tried again. */
static int try_often(struct pj_rebuild *rebuild, attempt *try_once,
                     struct pj_difference *difference, struct pj_error *error)
{
    for (int failures = 0;; failures++) {
        enum pj_commit_outcome in_doubt = PJ_NO_COMMIT;
        int status = pj_unit_open(&rebuild->control, error);
        if (status == 0)
            status = pj_unit_resolve(&rebuild->control, &in_doubt, error);
        /* Then the difference that was found is the one that was written. */
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
    return pj_rebuild_write_down(rebuild, difference, error);
}

int pj_rebuild_swap(struct pj_rebuild *rebuild, struct pj_difference *difference,
                    struct pj_error *error)
{
    return try_often(rebuild, try_swap, difference, error);
}
