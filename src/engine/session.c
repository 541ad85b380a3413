/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/session.h"

#include "base/clock.h"
#include "base/text.h"
#include "engine/projection_check.h"
#include "fold/claims.h"
#include "postgres/postgres_settings.h"

#include <string.h>

/* For so long a password may be wrong that was right before. */
enum { REFUSED_MOST_MS = 300000 };

/* --- stopping, readiness --------------------------------------------------------------------- */

bool pj_session_stopping(const struct pj_session *session)
{
    const atomic_bool *halted = session->policy->halted;
    return *session->stop > 0 || (halted != NULL && atomic_load(halted));
}

void pj_session_stop_in_time(struct pj_session *session)
{
    if (pj_session_stopping(session) &&
        pj_clock_since(&session->stopping_since) >= session->settings->shutdown_timeout_ms)
        pj_postgres_abandon(session->unit.postgres);
}

void pj_session_heartbeat(struct pj_session *session)
{
    pj_health_heartbeat(session->health, session->worker);
}

void pj_session_wait_for(struct pj_session *session, const char *reason)
{
    pj_text_show(session->waiting, sizeof session->waiting, "%s", reason != NULL ? reason : "");
    if (!session->stalled)
        pj_health_set_ready(session->health, session->worker, reason);
}

void pj_session_stall(struct pj_session *session, const char *why)
{
    session->stalled = why != NULL;
    pj_metric_set(session->numbers.stalled,
                  pj_health_note_stall(session->health, session->worker, session->stalled));
    if (why == NULL && *session->waiting != '\0')
        why = session->waiting;
    pj_health_set_ready(session->health, session->worker, why);
}

void pj_session_recovered(struct pj_session *session)
{
    /* A takeover that fails has a reason of its own, and clears it itself. */
    if (session->failures == 0 ||
        pj_consumer_rebalance(session->consumer)->kind != PJ_REBALANCE_NONE)
        return;
    session->failures = 0;
    pj_session_wait_for(session, NULL);
}

/* --- Postgres -------------------------------------------------------------------------------- */

/* An unresponsive host may take long, and there may be several. */
static bool stop_connecting(void *context)
{
    pj_session_heartbeat(context);
    return pj_session_stopping(context);
}

/*
 * A new password reaches server and file one after the other, and a database that is being restored
 * is away for a while: a session that was connected before retries for some time.
 */
static int wait_for_admission(struct pj_session *session, struct pj_error *error)
{
    bool refused = strncmp(error->sqlstate, "28", 2) == 0 || strcmp(error->sqlstate, "3D000") == 0;
    if (session->unit.tables_checked && refused &&
        pj_clock_since(&session->refused_since) < REFUSED_MOST_MS)
        error->class = PJ_RETRY;
    return -1;
}

static int prepare(void *context, struct pj_postgres *postgres, struct pj_error *error)
{
    struct pj_session *session = context;
    return session->policy->prepare(session, postgres, error);
}

static bool work_meanwhile(void *context, int *fd)
{
    struct pj_session *session = context;
    return session->meanwhile(session->context, fd);
}

int pj_session_connect(struct pj_session *session, struct pj_error *error)
{
    if (pj_unit_open(&session->unit, error) != 0)
        return wait_for_admission(session, error);
    session->refused_since = 0;
    return 0;
}

/* --- opening and closing --------------------------------------------------------------------- */

/* Facts are several times as long as what changes them; small batches limit both. */
static size_t state_most(const struct pj_settings *settings)
{
    enum { TIMES = 8, LEAST = 1 << 20 };
    int64_t most = settings->batch_bytes * TIMES;
    return most < LEAST ? LEAST : most > PJ_STATE_MOST ? PJ_STATE_MOST : (size_t)most;
}

static int check_postgres(const struct pj_postgres_settings *settings, struct pj_error *error)
{
    if (!pj_postgres_is_named(settings))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no database is named: set PROJECTIONIST_POSTGRES_DSN or give "
                              "--postgres-dsn");
    if (pj_postgres_check_settings(settings, error) != 0)
        return -1;
    return pj_postgres_check_files(settings, error);
}

static int open_registry(struct pj_session *session, struct pj_error *error)
{
    struct pj_registry_settings settings = session->settings->registry;
    /* Its first question may come long after its start, in the middle of a rotation. */
    if (session->policy->in_group && !session->settings->until_caught_up)
        settings.admission_ms = PJ_REGISTRY_ADMISSION_MS;
    if (settings.url != NULL && pj_registry_open(&session->registry, &settings, error) != 0)
        return -1;
    if (pj_schemas_new(&session->schemas, session->projection, session->registry, settings.url,
                       error) != 0)
        return -1;
    pj_schemas_set_reader(session->schemas, &session->identity);
    return 0;
}

static int open_consumer(struct pj_session *session, const struct pj_config *config,
                         struct pj_error *error)
{
    const char *topics[64];
    const struct pj_projection *projection = session->projection;
    for (size_t i = 0; i < projection->source_count && i < 64; i++)
        topics[i] = projection->sources[i].topic;
    const struct pj_consumer_settings consumer = {
        .properties = &config->kafka,
        .group = session->identity.group,
        .client_id = session->identity.owner,
        .worker = session->worker,
        .topics = topics,
        .topic_count = projection->source_count,
        .bulk = session->policy->bulk,
    };
    return pj_consumer_open(&session->consumer, &consumer, error);
}

int pj_session_open(struct pj_session *session, const struct pj_config *config,
                    struct pj_error *error)
{
    const struct pj_settings *settings = session->settings;
    session->postgres_settings = (struct pj_postgres_settings){
        .dsn = settings->postgres_dsn,
        .properties = &config->postgres,
        .tables_schema = settings->tables_schema,
        .system = settings->system,
        .default_schema = settings->default_schema,
        .application_name = session->identity.owner,
        .lock_timeout_ms = settings->lock_timeout_ms,
        .idle_in_transaction_timeout_ms = settings->idle_in_transaction_timeout_ms,
        .waiting = stop_connecting,
        .waiting_context = session,
    };
    session->identity.projection = session->projection->name;
    session->unit = (struct pj_unit){
        .settings = &session->postgres_settings,
        .identity = &session->identity,
        .schema = session->policy->schema,
        .work = pj_arena_new(),
        .async = settings->commit != NULL && strcmp(settings->commit, "async") == 0,
        .prepare = prepare,
        .idle = work_meanwhile,
        .context = session,
    };
    if (pj_projection_check(session->projection, error) != 0)
        return -1;
    session->projection = pj_claims_expand(session->projection);
    if (check_postgres(&session->postgres_settings, error) != 0)
        return -1;
    session->unit.projection = session->projection;
    session->unit.writer =
        pj_writer_new(session->projection, session->policy->schema, state_most(settings));
    pj_numbers_add(&session->numbers, session->metrics, session->projection);
    return open_registry(session, error) != 0 ? -1 : open_consumer(session, config, error);
}

void pj_session_close(struct pj_session *session)
{
    pj_unit_close(&session->unit);
    pj_consumer_close(session->consumer, session->settings->shutdown_timeout_ms);
    pj_schemas_free(session->schemas);
    pj_registry_close(session->registry);
    pj_writer_free(session->unit.writer);
    pj_arena_free(session->unit.work);
    pj_numbers_free(&session->numbers);
}
