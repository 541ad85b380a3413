/* SPDX-License-Identifier: Apache-2.0 */
#include "store/unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "postgres/binary.h"
#include "store/access.h"
#include "store/refusal.h"
#include "store/tables.h"

#include <stdlib.h>
#include <string.h>

/* Of statements whose number a batch decides: a pipeline is bounded. */
enum { QUEUED_MOST = 64 };

/* --- the connection -------------------------------------------------------------------------- */

static const char *group_of(const struct pj_unit *unit)
{
    return unit->identity != NULL ? unit->identity->group : NULL;
}

/* Tables that are not there may be those of a whole system. */
static int check_tables(const struct pj_unit *unit, struct pj_error *error)
{
    const char *system = unit->settings->system;
    bool deployed;
    struct pj_error cause;
    if (pj_tables_check(unit->postgres, unit->projection, unit->schema, error) == 0)
        return 0;
    cause = *error;
    if (cause.class != PJ_FATAL || system == NULL)
        return -1;
    if (pj_postgres_migrated(unit->postgres, system, &deployed, NULL, error) != 0)
        return -1;
    *error = cause;
    if (!deployed)
        pj_error_fatal(error, PJ_EXIT_DATABASE,
                       "the system %s was never migrated in this database; run `projectionist "
                       "migrate %s` (%.500s)",
                       system, system, cause.message);
    return -1;
}

static int prepare(struct pj_unit *unit, struct pj_error *error)
{
    struct pj_postgres *postgres = unit->postgres;
    if (unit->prepare != NULL && unit->prepare(unit->context, postgres, error) != 0)
        return -1;
    pj_writer_expect_races(postgres, unit->projection);
    if (unit->writer == NULL)
        return pj_access_check(postgres, unit->projection, group_of(unit), error);
    /* A plan made while a table was small would scan it whole when it is large. (Replanning
     * each time would also do so for every foreign key check.) Where a scan is the only
     * way it has a made-up cost, for which Postgres would compile it, for a second each time. */
    if (pj_postgres_script(postgres, "SET enable_seqscan = off; SET jit = off", error) != 0 ||
        pj_access_check(postgres, unit->projection, group_of(unit), error) != 0 ||
        (!unit->tables_checked && check_tables(unit, error) != 0) ||
        pj_writer_learn(unit->writer, postgres, error) != 0)
        return -1;
    unit->tables_checked = true;
    return 0;
}

static void disconnect(struct pj_unit *unit)
{
    pj_postgres_close(unit->postgres);
    unit->postgres = NULL;
}

int pj_unit_open(struct pj_unit *unit, struct pj_error *error)
{
    if (unit->postgres != NULL && pj_postgres_broken(unit->postgres))
        disconnect(unit);
    if (unit->postgres != NULL)
        return 0;
    if (pj_postgres_open(&unit->postgres, unit->settings, error) != 0)
        return -1;
    /* An open connection counts as prepared. */
    if (prepare(unit, error) != 0) {
        disconnect(unit);
        return -1;
    }
    unit->connections++;
    pj_postgres_on_idle(unit->postgres, unit->idle, unit->context);
    return 0;
}

void pj_unit_close(struct pj_unit *unit)
{
    disconnect(unit);
    pj_unit_forget(unit);
}

/* --- in-doubt commits ------------------------------------------------------------------------ */

void pj_unit_forget(struct pj_unit *unit)
{
    free(unit->advances);
    unit->advances = NULL;
    unit->advance_count = 0;
    unit->in_doubt = NULL;
}

static void move_offsets(const struct pj_advance *advances, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (advances[i].next_offset > advances[i].partition->next_offset)
            advances[i].partition->next_offset = advances[i].next_offset;
    }
}

int pj_unit_resolve(struct pj_unit *unit, enum pj_commit_outcome *outcome, struct pj_error *error)
{
    *outcome = PJ_NO_COMMIT;
    if (unit->in_doubt == NULL)
        return 0;
    if (unit->in_doubt(unit, unit->in_doubt_context, outcome, error) != 0)
        return -1;
    pj_log(PJ_INFO, "resolved an in-doubt commit",
           pj_f_str("outcome", *outcome == PJ_COMMITTED       ? "committed"
                               : *outcome == PJ_NOT_COMMITTED ? "not committed"
                                                              : "taken over"));
    if (*outcome == PJ_COMMITTED)
        move_offsets(unit->advances, unit->advance_count);
    pj_unit_forget(unit);
    return *outcome != PJ_TAKEN_OVER
               ? 0
               : pj_error_set(error, PJ_FENCED, "another owner took over after a lost connection");
}

/* The offsets are in the transaction of their rows. */
static int ask_offsets(struct pj_unit *unit, void *context, enum pj_commit_outcome *outcome,
                       struct pj_error *error)
{
    (void)context;
    return pj_offsets_outcome(unit->postgres, unit->identity, unit->advances, unit->advance_count,
                              unit->work, outcome, error);
}

/* --- a transaction in steps ------------------------------------------------------------------ */

int pj_unit_begin(struct pj_unit *unit, const struct pj_tries *tries, struct pj_error *error)
{
    pj_writer_begin(unit->writer, tries);
    return pj_postgres_begin(unit->postgres, error);
}

int pj_unit_write(struct pj_unit *unit, struct pj_fold *fold, struct pj_written *written,
                  size_t *due, struct pj_error *error)
{
    int64_t stream_time;
    *due = 0;
    if (pj_writer_timed(unit->writer) &&
        (pj_offsets_stream_time(unit->postgres, unit->identity, &stream_time, error) != 0 ||
         pj_writer_run_timers(unit->writer, unit->postgres, fold, stream_time, unit->work, due,
                              error) != 0))
        return -1;
    return pj_writer_write(unit->writer, unit->postgres, fold, unit->work, written, error);
}

/* Where the connection is lost between the COMMIT and its answer, Postgres may have done it, may do
 * it yet, or never got it. Any other failure is a refusal: nothing was committed. */
int pj_unit_commit(struct pj_unit *unit, pj_unit_ask *ask, void *context, struct pj_error *error)
{
    unit->committing = true;
    int status = pj_postgres_commit(unit->postgres, error);
    unit->committing = false;
    if (status == 0)
        return 0;
    if (pj_postgres_broken(unit->postgres)) {
        unit->in_doubt = ask;
        unit->in_doubt_context = context;
    }
    pj_postgres_rollback(unit->postgres);
    return -1;
}

/* --- or whole -------------------------------------------------------------------------------- */

static int write_dead_letters(struct pj_unit *unit, const struct pj_unit_work *work,
                              struct pj_error *error)
{
    for (size_t i = 0; i < work->letter_count; i++) {
        if (pj_dead_letter_queue(unit->postgres, unit->identity, &work->letters[i], unit->work,
                                 error) != 0)
            return -1;
        if ((i + 1) % QUEUED_MOST == 0 && pj_postgres_drain(unit->postgres, error) != 0)
            return -1;
    }
    return 0;
}

static const struct pj_statement accept_statement = {
    .name = "pj_accept",
    .sql = "INSERT INTO projectionist.accepted_topics (cluster_id, consumer_group, topic) "
           "VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    PJ_TYPES(PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT),
};

static int accept_topics(struct pj_unit *unit, const struct pj_unit_work *work,
                         struct pj_error *error)
{
    for (size_t i = 0; i < work->accepted_count; i++) {
        struct pj_parameter parameters[] = {
            pj_binary_text(unit->identity->cluster_id),
            pj_binary_text(unit->identity->group),
            pj_binary_text(work->accepted[i]),
        };
        if (pj_postgres_queue(unit->postgres, &accept_statement, parameters, error) != 0)
            return -1;
    }
    return 0;
}

static const struct pj_statement async_statement = {.name = "pj_async",
                                                    .sql = "SET LOCAL synchronous_commit = off"};

/* That a topic was accepted is remembered by whoever asked, so it must last. */
static int choose_durability(struct pj_unit *unit, const struct pj_unit_work *work,
                             struct pj_error *error)
{
    return unit->async && work->accepted_count == 0
               ? pj_postgres_queue(unit->postgres, &async_statement, NULL, error)
               : 0;
}

static int write_work(struct pj_unit *unit, const struct pj_unit_work *work,
                      struct pj_unit_result *result, struct pj_error *error)
{
    if (pj_unit_begin(unit, work->tries, error) != 0 || choose_durability(unit, work, error) != 0 ||
        (work->advance_count > 0 &&
         pj_offsets_advance(unit->postgres, unit->identity, work->advances, work->advance_count,
                            unit->work, error) != 0) ||
        (work->fold != NULL &&
         pj_unit_write(unit, work->fold, &result->written, &result->due, error) != 0) ||
        write_dead_letters(unit, work, error) != 0)
        return -1;
    return accept_topics(unit, work, error);
}

static int try_work(struct pj_unit *unit, const struct pj_unit_work *work,
                    struct pj_unit_result *result, struct pj_error *error)
{
    size_t count = work->advance_count;
    if (write_work(unit, work, result, error) != 0) {
        pj_postgres_rollback(unit->postgres);
        return -1;
    }
    /* Without offsets, rows follow from what is committed: writing them again changes nothing. */
    int64_t sent = pj_clock_monotonic_us();
    if (pj_unit_commit(unit, count > 0 ? ask_offsets : NULL, NULL, error) == 0) {
        result->commit_us = pj_clock_monotonic_us() - sent;
        move_offsets(work->advances, count);
        return 0;
    }
    if (unit->in_doubt != NULL) {
        unit->advances = pj_copy(work->advances, count * sizeof *unit->advances);
        unit->advance_count = count;
    }
    return -1;
}

int pj_unit_try(struct pj_unit *unit, const struct pj_unit_work *work,
                struct pj_unit_result *result, struct pj_error *error)
{
    *result = (struct pj_unit_result){0};
    unit->busy_ms = pj_clock_monotonic_ms();
    int status = try_work(unit, work, result, error);
    unit->busy_ms = 0;
    return status;
}

/* --- when it fails --------------------------------------------------------------------------- */

/* Of each kind; a conflict says nothing about the record, so each is counted by itself. */
enum { AT_ONCE_MOST = 8 };

enum pj_next pj_tries_next(struct pj_tries *tries, bool divisible, const struct pj_error *error)
{
    const char *sqlstate = error->sqlstate;
    if (error->class == PJ_FATAL || error->class == PJ_FENCED)
        return PJ_GIVE_UP;
    /* That there is too much to load at once is not the record's fault. */
    if (pj_writer_too_large(error) && !divisible && !tries->whole) {
        tries->whole = true;
        return PJ_AGAIN;
    }
    /* Another transaction claimed an entity: its facts are there now. Or the other side of the
     * conflict has gone on. */
    bool claimed = strcmp(sqlstate, "23505") == 0 && error->class == PJ_RETRY;
    if ((claimed || strcmp(sqlstate, "40001") == 0 || strcmp(sqlstate, "40P01") == 0) &&
        tries->conflicts++ < AT_ONCE_MOST)
        return PJ_AGAIN;
    /* A parent that was known to be there has been deleted since; that may happen again. */
    if (strcmp(sqlstate, "23503") == 0 && tries->parents++ < AT_ONCE_MOST)
        return PJ_AGAIN;
    if (strcmp(sqlstate, "23505") == 0 && !claimed && !tries->duplicates) {
        tries->duplicates = true;
        return PJ_AGAIN;
    }
    if (error->class == PJ_POISON)
        return PJ_REFUSED;
    *tries = (struct pj_tries){.whole = tries->whole};
    return PJ_LATER;
}

enum pj_next pj_unit_next(struct pj_unit *unit, struct pj_tries *tries, bool divisible,
                          struct pj_error *error)
{
    enum pj_next next = pj_tries_next(tries, divisible, error);
    if (next != PJ_REFUSED || unit->postgres == NULL)
        return next;
    pj_refusal_judge(unit->postgres, unit->projection, error);
    return error->class == PJ_POISON ? PJ_REFUSED : pj_tries_next(tries, divisible, error);
}
