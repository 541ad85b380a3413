/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/loop.h"

#include "base/back_off.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/lag.h"

#include <poll.h>
#include <stdlib.h>

enum {
    WAIT_MS = 100, /* the longest wait without a heartbeat */
    KAFKA_TIMEOUT_MS = 5000,
    CHECK_OWNER_MS = 1000,
    HELD_MS = 60000, /* after so long nobody contends for the partitions any more */
    EMPTY_MS = 3000, /* an empty assignment may only be the first of two */
    FIRST_FETCH_MS = 250,
};

static bool fetch(struct pj_loop *loop)
{
    if (loop->poll_failed)
        return false;
    int more = pj_batch_fill(loop->next, loop->session.consumer, &loop->poll_error);
    loop->poll_failed = more < 0;
    return more > 0;
}

static int check_poll(const struct pj_loop *loop, struct pj_error *error)
{
    if (!loop->poll_failed)
        return 0;
    *error = loop->poll_error;
    return -1;
}

static void look_around(struct pj_loop *loop)
{
    pj_session_heartbeat(&loop->session);
    pj_stall_look(&loop->stall);
    pj_lag_show(loop);
}

/* While Postgres works on a batch, the next one is fetched and decoded. */
static bool work_ahead(void *context, int *fd)
{
    struct pj_loop *loop = context;
    look_around(loop);
    pj_session_stop_in_time(&loop->session);
    if (pj_batch_full(loop->next))
        return false;
    *fd = pj_consumer_fd(loop->session.consumer);
    return fetch(loop);
}

static void wait_for_kafka(struct pj_loop *loop, int64_t timeout_ms)
{
    struct pollfd fd = {.fd = pj_consumer_fd(loop->session.consumer), .events = POLLIN};
    /* A signal or an error only ends the wait. */
    (void)poll(&fd, 1, (int)timeout_ms);
}

/* --- failures -------------------------------------------------------------------------------- */

/* A server is unavailable: counts that, and shows it in /readyz. Consumers and rebuilds wait for
 * ever. */
static int count_failure(struct pj_loop *loop, const char *what, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    char text[sizeof session->waiting];
    pj_text_show(text, sizeof text, "%s: %.600s", what, error->message);
    if (session->failures++ == 0)
        pj_stall_moved(&loop->stall);
    if (pj_stall_give_up(&loop->stall, error->message, error) != 0)
        return -1;
    pj_session_wait_for(session, text);
    pj_metric_add(session->numbers.retries, 1);
    return 0;
}

/* --- rebalances ------------------------------------------------------------------------------ */

static void give_back(struct pj_session *session, size_t count)
{
    pj_log(PJ_INFO, "partitions revoked", pj_f_int("count", (int64_t)count));
    pj_metric_add(session->numbers.assigned, -(int64_t)count);
    pj_metric_add(session->numbers.revocations, 1);
    pj_consumer_unassign(session->consumer);
}

static int assign(struct pj_loop *loop, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    size_t count = pj_consumer_rebalance(session->consumer)->count;
    if (pj_assignment_carry_out(&loop->assignment, session, error) != 0)
        return -1;
    /* The owner before may have been killed between a commit and its timers. */
    if (count > 0)
        loop->commit.timers_due = pj_writer_timed(session->unit.writer);
    return 0;
}

static int rebalance(struct pj_loop *loop, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    const struct pj_rebalance *pending = pj_consumer_rebalance(session->consumer);
    if (pending->kind == PJ_REBALANCE_REVOKE)
        give_back(session, pending->count);
    if (pending->kind != PJ_REBALANCE_ASSIGN || pj_clock_monotonic_ms() < loop->assign_not_before)
        return 0;
    if (assign(loop, error) == 0) {
        session->failures = 0;
        pj_session_wait_for(session, NULL);
        return 0;
    }
    if (error->class != PJ_RETRY)
        return -1;
    /* Other partitions are read meanwhile. */
    loop->assign_not_before =
        pj_clock_monotonic_ms() + pj_back_off_ms(session->failures, PJ_BACK_OFF_MOST_MS);
    if (count_failure(loop, "taking over partitions", error) != 0)
        return -1;
    pj_log(PJ_WARN, "cannot take over partitions yet", pj_f_str("reason", error->message));
    return 0;
}

/* While we wait, revoked partitions must be given back and an empty assignment be carried out, or
 * the whole group waits with us. New partitions need Postgres. */
static int rebalance_while_waiting(struct pj_loop *loop, struct pj_error *error)
{
    const struct pj_rebalance *pending = pj_consumer_rebalance(loop->session.consumer);
    if (pending->kind == PJ_REBALANCE_REVOKE)
        give_back(&loop->session, pending->count);
    else if (pending->kind == PJ_REBALANCE_ASSIGN && pending->count == 0 &&
             assign(loop, error) != 0 && error->class != PJ_RETRY)
        return -1;
    return 0;
}

/* --- recovery -------------------------------------------------------------------------------- */

static int back_off(struct pj_loop *loop, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    int64_t wait = pj_back_off_ms(session->failures, PJ_BACK_OFF_MOST_MS);
    if (count_failure(loop, "waiting for a server", error) != 0)
        return -1;
    pj_log(PJ_WARN, "waiting for a server; nothing is lost", pj_f_str("reason", error->message),
           pj_f_int("milliseconds", wait), pj_f_int("failures", session->failures));
    pj_consumer_pause(session->consumer);
    int64_t deadline = pj_clock_monotonic_ms() + wait;
    for (;;) {
        int64_t left = deadline - pj_clock_monotonic_ms();
        if (left <= 0 || pj_session_stopping(session))
            return 0;
        look_around(loop);
        fetch(loop);
        if (check_poll(loop, error) != 0 || rebalance_while_waiting(loop, error) != 0)
            return -1;
        wait_for_kafka(loop, left < WAIT_MS ? left : WAIT_MS);
    }
}

static int rejoin(struct pj_loop *loop, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    if (loop->commits_at_fence != loop->commit.commits)
        loop->fences = 0;
    loop->commits_at_fence = loop->commit.commits;
    pj_metric_add(session->numbers.fenced, 1);
    if (++loop->fences >= session->policy->fences_most)
        return session->policy->fenced(session, error);
    pj_log(PJ_WARN, "fenced: the batch is discarded, rejoining the group",
           pj_f_str("reason", error->message));
    pj_unit_forget(&session->unit);
    return session->policy->rejoin(session, error);
}

int pj_loop_recover(struct pj_loop *loop, struct pj_error *error)
{
    switch (error->class) {
    case PJ_RETRY:
        return back_off(loop, error);
    case PJ_FENCED:
        return rejoin(loop, error);
    case PJ_POISON:
    case PJ_FATAL:
        break;
    }
    return -1;
}

/* --- the loop -------------------------------------------------------------------------------- */

static bool at_end(const struct pj_partition *partition)
{
    /* The end of a fetch may be from before the range grew. */
    if (partition->stop_offset >= 0)
        return partition->next_offset >= partition->stop_offset;
    return partition->at_end && partition->end_offset <= partition->next_offset;
}

static bool caught_up(struct pj_loop *loop)
{
    size_t count;
    size_t assigned = 0;
    struct pj_consumer *consumer = loop->session.consumer;
    struct pj_partition *const *partitions = pj_consumer_partitions(consumer, &count);
    if (!pj_consumer_stable(consumer) || loop->next->count > 0 ||
        loop->session.unit.in_doubt != NULL || loop->commit.timers_due)
        return false;
    for (size_t i = 0; i < count; i++) {
        assigned += partitions[i]->assigned;
        if (partitions[i]->assigned && !at_end(partitions[i]))
            return false;
    }
    return (assigned > 0 || pj_clock_monotonic_ms() - loop->assignment.since_ms > EMPTY_MS) &&
           pj_stall_others_caught_up(&loop->stall);
}

/* A missing topic may be created yet; a run until caught up cannot wait for it. */
static int look_for_topics(struct pj_session *session, struct pj_error *error)
{
    char trouble[512];
    if (pj_consumer_survey(session->consumer, KAFKA_TIMEOUT_MS, error) != 0)
        return -1;
    enum pj_topics topics = pj_consumer_topic_trouble(session->consumer, trouble, sizeof trouble);
    if (topics != PJ_TOPICS_KNOWN) {
        pj_error_fatal(error, PJ_EXIT_FAILED, "%s", trouble);
        if (!session->settings->until_caught_up || topics != PJ_TOPICS_MISSING)
            error->class = PJ_RETRY;
        return -1;
    }
    session->topics_seen = true;
    session->failures = 0;
    return session->policy->join(session, error);
}

static int commit(struct pj_loop *loop, struct pj_error *error)
{
    if (pj_commit_batch(&loop->commit, loop->current, error) != 0)
        return -1;
    pj_stall_moved(&loop->stall); /* a commit may take long */
    pj_consumer_resume(loop->session.consumer);
    return 0;
}

static int check_owner(struct pj_loop *loop, struct pj_error *error)
{
    if (!pj_clock_every(&loop->owner_checked_ms, CHECK_OWNER_MS))
        return 0;
    if (pj_assignment_check_owner(&loop->session, error) != 0)
        return -1;
    if (pj_clock_monotonic_ms() - loop->assignment.since_ms > HELD_MS)
        loop->fences = 0;
    return 0;
}

/* A crash of Postgres may have taken timers back that ran after the last offsets. */
static void look_for_timers(struct pj_loop *loop)
{
    const struct pj_unit *unit = &loop->session.unit;
    if (loop->connections == unit->connections)
        return;
    loop->connections = unit->connections;
    loop->commit.timers_due = pj_writer_timed(unit->writer);
}

/* Nothing was fetched. */
static int rest(struct pj_loop *loop, bool *done, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    if (pj_commit_ends(&loop->commit, error) != 0)
        return -1;
    /* After a wait without a batch, nothing else resumes the partitions. */
    pj_consumer_resume(session->consumer);
    look_for_timers(loop);
    if (loop->commit.timers_due && session->identity.cluster_id != NULL)
        return pj_commit_timers(&loop->commit, error);
    if (check_owner(loop, error) != 0)
        return -1;
    *done = session->settings->until_caught_up && caught_up(loop) &&
            (!session->unit.async || pj_durable_all(&loop->durable, session));
    if (*done)
        return 0;
    wait_for_kafka(loop, WAIT_MS);
    pj_stall_idle(&loop->stall);
    return pj_stall_give_up(&loop->stall, NULL, error);
}

/* What was fetched is fetched again: its client goes. */
static int renew(struct pj_loop *loop, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    size_t count, assigned = 0;
    if (!session->policy->in_group || !pj_consumer_files_changed(session->consumer))
        return 0;
    struct pj_partition *const *partitions = pj_consumer_partitions(session->consumer, &count);
    for (size_t i = 0; i < count; i++)
        assigned += partitions[i]->assigned;
    pj_batch_clear(loop->next);
    int status =
        pj_consumer_renew(session->consumer, session->settings->shutdown_timeout_ms, error);
    if (status == 0)
        pj_metric_add(session->numbers.assigned, -(int64_t)assigned);
    return status < 0 ? -1 : 0;
}

/* The first fetch after an assignment often brings one partition alone. Those that were not read
 * for a while would wait for its transaction, too. */
static bool begins(const struct pj_loop *loop)
{
    size_t count;
    struct pj_partition *const *partitions = pj_consumer_partitions(loop->session.consumer, &count);
    if (pj_batch_full(loop->next) ||
        pj_clock_monotonic_ms() - loop->assignment.since_ms > FIRST_FETCH_MS)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (partitions[i]->assigned && partitions[i]->awaited)
            return true;
    }
    return false;
}

int64_t pj_loop_pace(const struct pj_loop *loop, int64_t now_ms)
{
    int64_t left = loop->begun_ms + PJ_PACE_MS - now_ms;
    return loop->begun_with <= PJ_PACE_RECORDS || left < 0 ? 0 : left;
}

static bool gathers(struct pj_loop *loop)
{
    int64_t left = pj_loop_pace(loop, pj_clock_monotonic_ms());
    if (left == 0 || pj_batch_full(loop->next))
        return false;
    (void)poll(NULL, 0, (int)left); /* a signal only ends it */
    return true;
}

/* One try of the next step. */
static int turn(struct pj_loop *loop, bool *done, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    if (loop->current->count == 0 && renew(loop, error) != 0)
        return -1;
    if (!session->topics_seen)
        return look_for_topics(session, error);
    if (loop->current->count > 0) /* a server was away */
        return commit(loop, error);
    while (!pj_batch_full(loop->next) && fetch(loop)) {
    }
    if (check_poll(loop, error) != 0 ||
        (pj_consumer_lost_position(session->consumer) &&
         session->policy->rejoin(session, error) != 0) ||
        rebalance(loop, error) != 0 ||
        pj_assignment_check_topics(&loop->assignment, session, error) != 0 ||
        pj_schemas_look_again(session->schemas, error) != 0)
        return -1;
    look_around(loop);
    session->policy->turn(loop);
    if (loop->next->count == 0)
        return rest(loop, done, error);
    if (begins(loop)) {
        wait_for_kafka(loop, FIRST_FETCH_MS / 10);
        return 0;
    }
    if (gathers(loop))
        return 0;
    struct pj_batch *fetched = loop->next;
    loop->begun_ms = pj_clock_monotonic_ms();
    loop->begun_with = fetched->count;
    loop->next = loop->current;
    loop->current = fetched;
    return commit(loop, error);
}

int pj_loop_run(struct pj_loop *loop, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    bool done = false;
    pj_stall_moved(&loop->stall);
    pj_session_wait_for(session, "starting");
    while (!done && !pj_session_stopping(session)) {
        pj_session_heartbeat(session);
        if (turn(loop, &done, error) != 0 && pj_loop_recover(loop, error) != 0)
            return -1;
    }
    pj_session_wait_for(session, "stopping");
    pj_log(PJ_INFO, done ? "caught up" : "stopping");
    return 0;
}

int pj_loop_commit(struct pj_loop *loop, struct pj_error *error)
{
    while (loop->current->count > 0 && !pj_session_stopping(&loop->session)) {
        if (commit(loop, error) != 0 && pj_loop_recover(loop, error) != 0)
            return -1;
    }
    return 0;
}

/* --- opening and closing --------------------------------------------------------------------- */

int pj_loop_open(struct pj_loop *loop, const struct pj_config *config, struct pj_error *error)
{
    struct pj_session *session = &loop->session;
    session->meanwhile = work_ahead;
    session->context = loop;
    if (pj_session_open(session, config, error) != 0)
        return -1;
    loop->stall.session = session;
    loop->commit.session = session;
    pj_flood_open(&loop->commit.flood, session);
    for (int i = 0; i < 2; i++)
        loop->batches[i] = pj_batch_new(session->projection, session->schemas,
                                        (size_t)session->settings->batch_records,
                                        (size_t)session->settings->batch_bytes);
    loop->current = &loop->batches[0];
    loop->next = &loop->batches[1];
    return 0;
}

void pj_loop_close(struct pj_loop *loop)
{
    for (int i = 0; i < 2; i++)
        pj_batch_free(&loop->batches[i]);
    pj_session_close(&loop->session);
    free(loop->commit.flood.accepted);
}
