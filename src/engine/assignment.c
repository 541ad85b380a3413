/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/assignment.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "store/rules.h"

#include <string.h>

enum {
    KAFKA_TIMEOUT_MS = 5000,
    TOPIC_IDS_MS = 10000,
    TOPIC_IDS_TIMEOUT_MS = 1000,
    SURE_MS = 2000, /* before an end below our offset is believed */
};

/* --- what needs a person --------------------------------------------------------------------- */

static int stop(struct pj_partition *partition, const struct pj_error *error)
{
    pj_partition_stop(partition, pj_error_exit_code(error), error->message, strlen(error->message));
    return -1;
}

/* A stop that was found before, here or by another replica. */
static int stopped(const struct pj_partition *partition, struct pj_error *error)
{
    pj_error_set(error, PJ_FATAL, "%s", partition->stop_reason);
    error->exit_code = partition->stop_code;
    return -1;
}

void pj_assignment_remedy(const struct pj_session *session, const struct pj_partition *partition,
                          char *text, size_t size)
{
    const char *group = session->identity.rebuilt_group != NULL ? session->identity.rebuilt_group
                                                                : session->identity.group;
    const char *name = session->projection->name;
    bool own_name = strcmp(group, name) == 0;
    (void)partition;
    pj_text_show(text, size,
                 "`projectionist offsets set %.80s%s%.160s --to earliest` reads it from its "
                 "beginning",
                 name, own_name ? "" : " --group ", own_name ? "" : group);
}

/* Our offset is, or may be, one of another topic of that name. */
static int not_the_same(const struct pj_session *session, struct pj_partition *partition,
                        const char *what, struct pj_error *error)
{
    bool known = *partition->topic_id != '\0' && *partition->read_topic_id != '\0';
    bool same = known && strcmp(partition->topic_id, partition->read_topic_id) == 0;
    char remedy[340];
    session->policy->remedy(session, partition, remedy, sizeof remedy);
    pj_error_fatal(error, PJ_EXIT_TOPIC_RECREATED, "%s [%d] %s: %s; %s", partition->topic,
                   partition->number, what,
                   same    ? "its id is the same, so the brokers have lost the end of its log"
                   : known ? "the topic was recreated"
                           : "the topic was recreated, or the brokers have lost the end of its log "
                             "(without topic ids it is unknown which)",
                   remedy);
    return stop(partition, error);
}

static int check_topic_id(const struct pj_session *session, struct pj_partition *partition,
                          struct pj_error *error)
{
    char what[256];
    if (!pj_topic_is_another(partition->topic_id, partition->read_topic_id, partition->next_offset))
        return 0;
    pj_text_show(what, sizeof what,
                 "has the id %s, and the offset %lld of the group is of one with "
                 "the id %s",
                 partition->topic_id, (long long)partition->next_offset, partition->read_topic_id);
    return not_the_same(session, partition, what, error);
}

/* An end below our offset: the topic was recreated or lost records, unless it is only a new leader
 * that lags for a moment. */
static int check_end(const struct pj_session *session, struct pj_partition *partition,
                     struct pj_error *error)
{
    char what[128];
    if (partition->next_offset <= partition->high) {
        partition->short_ms = 0;
        return 0;
    }
    pj_text_show(what, sizeof what, "ends at %lld, before the offset %lld of the group",
                 (long long)partition->high, (long long)partition->next_offset);
    if (pj_clock_since(&partition->short_ms) < SURE_MS)
        return pj_error_set(error, PJ_RETRY, "%s [%d] %s; asking again", partition->topic,
                            partition->number, what);
    return not_the_same(session, partition, what, error);
}

static int accept_gap(struct pj_session *session, struct pj_partition *partition, size_t *gaps,
                      struct pj_error *error)
{
    if ((*gaps == 0 && pj_postgres_begin(session->unit.postgres, error) != 0) ||
        pj_offsets_accept_gap(session->unit.postgres, &session->identity, partition,
                              session->unit.work, error) != 0)
        return -1;
    /* The pipeline is bounded. */
    if (++*gaps % 64 == 0 && pj_postgres_drain(session->unit.postgres, error) != 0)
        return -1;
    partition->next_offset = partition->low;
    return 0;
}

/* A low watermark above our offset: records are lost. */
static int check_gap(struct pj_session *session, struct pj_partition *partition, size_t *gaps,
                     struct pj_error *error)
{
    if (partition->low <= partition->next_offset)
        return 0;
    pj_log(session->settings->accept_gap ? PJ_WARN : PJ_ERROR,
           "records were removed by retention before they were read",
           pj_f_str("topic", partition->topic), pj_f_int("partition", partition->number),
           pj_f_int("from_offset", partition->next_offset), pj_f_int("to_offset", partition->low));
    if (session->settings->accept_gap)
        return accept_gap(session, partition, gaps, error);
    pj_error_fatal(
        error, PJ_EXIT_GAP,
        "%s [%d] lacks the offsets %lld to %lld, removed by retention before they were read; %s",
        partition->topic, partition->number, (long long)partition->next_offset,
        (long long)partition->low - 1, session->policy->gap_remedy);
    return stop(partition, error);
}

static int check_partition(struct pj_session *session, struct pj_partition *partition, size_t *gaps,
                           struct pj_error *error)
{
    if (partition->stop_code == PJ_EXIT_GAP && session->settings->accept_gap)
        pj_partition_stop(partition, 0, NULL, 0);
    if (partition->stop_code != 0)
        return stopped(partition, error);
    if (check_end(session, partition, error) != 0 || check_topic_id(session, partition, error) != 0)
        return -1;
    return check_gap(session, partition, gaps, error);
}

/* So that the next start finds them. */
static int write_stops(struct pj_session *session, const struct pj_rebalance *rebalance,
                       struct pj_error *error)
{
    for (size_t i = 0; i < rebalance->count && session->policy->in_group; i++) {
        struct pj_partition *partition = rebalance->partitions[i];
        if (partition->stop_written == (partition->stop_code != 0))
            continue;
        if (pj_offsets_stop(session->unit.postgres, &session->identity, partition,
                            session->unit.work, error) != 0) {
            if (error->class == PJ_FENCED) /* its owner finds out by itself */
                pj_partition_stop(partition, 0, NULL, 0);
            return -1;
        }
        partition->stop_written = partition->stop_code != 0;
    }
    return 0;
}

static int check_partitions(struct pj_session *session, const struct pj_rebalance *rebalance,
                            struct pj_error *error)
{
    size_t gaps = 0;
    int status = 0;
    struct pj_error first;
    for (size_t i = 0; i < rebalance->count; i++) {
        /* All of them are named in the log before the first one stops us. */
        struct pj_error this_error;
        if (check_partition(session, rebalance->partitions[i], &gaps, &this_error) != 0 &&
            (status == 0 || (first.class == PJ_RETRY && this_error.class != PJ_RETRY))) {
            first = this_error;
            status = -1;
        }
    }
    if (status == 0)
        return gaps > 0 ? pj_postgres_commit(session->unit.postgres, error) : 0;
    pj_postgres_rollback(session->unit.postgres);
    if (first.class == PJ_FATAL && write_stops(session, rebalance, error) != 0) {
        if (error->class == PJ_FENCED)
            error->class = PJ_RETRY; /* so they are claimed again */
        return -1;
    }
    *error = first;
    return -1;
}

/* Where Postgres waits for the rest of a COPY from an unresponsive owner, no timeout ends that, and
 * its locks would be held for ever. */
static void end_unresponsive_owner(struct pj_session *session)
{
    int ended = 0;
    const char *owner = NULL;
    struct pj_error ignored; /* shows again at the next try */
    const struct pj_rebalance *rebalance = pj_consumer_rebalance(session->consumer);
    if (pj_owner_end_unresponsive(session->unit.postgres, &session->identity, rebalance->partitions,
                                  rebalance->count, session->unit.work, &ended, &owner,
                                  &ignored) == 0 &&
        ended > 0)
        pj_log(PJ_WARN, "ended the transaction of an unresponsive owner", pj_f_str("owner", owner),
               pj_f_int("sessions", ended));
}

static int claim(struct pj_session *session, struct pj_error *error)
{
    const struct pj_rebalance *rebalance = pj_consumer_rebalance(session->consumer);
    if (pj_offsets_claim(session->unit.postgres, &session->identity, rebalance->partitions,
                         rebalance->count, session->unit.work, error) == 0)
        return 0;
    if (session->policy->in_group && strcmp(error->sqlstate, "55P03") == 0)
        end_unresponsive_owner(session);
    return -1;
}

/* Rows of other rules are no reason to stop: most of them are right, and go on being kept. */
static int check_version(struct pj_session *session, struct pj_error *error)
{
    const struct pj_projection *projection = session->projection;
    int32_t of_rows;
    if (!session->policy->in_group || session->version_checked)
        return 0;
    if (pj_rules_version(session->unit.postgres, &session->identity, projection->version,
                         session->settings->accept_version, &of_rows, error) != 0)
        return -1;
    session->version_checked = true;
    if (of_rows != projection->version)
        pj_log(PJ_WARN,
               "another version of the rules wrote the rows: rebuild them, or start once with "
               "--accept-version if they are the same",
               pj_f_str("projection", projection->name), pj_f_int("rows_version", of_rows),
               pj_f_int("version", projection->version));
    return 0;
}

int pj_assignment_carry_out(struct pj_assignment *assignment, struct pj_session *session,
                            struct pj_error *error)
{
    struct pj_consumer *consumer = session->consumer;
    const struct pj_rebalance *rebalance = pj_consumer_rebalance(consumer);
    size_t count = rebalance->count;
    pj_arena_reset(session->unit.work);
    if (count > 0 &&
        (pj_consumer_cluster_id(consumer, KAFKA_TIMEOUT_MS, &session->identity.cluster_id, error) !=
             0 ||
         pj_consumer_watermarks(consumer, KAFKA_TIMEOUT_MS, error) != 0 ||
         pj_consumer_topic_ids(consumer, KAFKA_TIMEOUT_MS, error) != 0 ||
         pj_session_connect(session, error) != 0 || check_version(session, error) != 0 ||
         claim(session, error) != 0 || check_partitions(session, rebalance, error) != 0 ||
         write_stops(session, rebalance, error) != 0)) /* those that are over */
        return -1;
    pj_metric_add(session->numbers.assignments, 1);
    pj_metric_add(session->numbers.assigned, (int64_t)count);
    pj_log(PJ_INFO, "partitions assigned", pj_f_int("count", (int64_t)count));
    assignment->since_ms = assignment->ids_asked_ms = pj_clock_monotonic_ms();
    return pj_consumer_assign(consumer, error);
}

/* --- while it lasts -------------------------------------------------------------------------- */

/* The first partition of ours that must not be read further. */
static struct pj_partition *find_stopped(struct pj_assignment *assignment,
                                         struct pj_session *session, struct pj_error *error)
{
    size_t count;
    struct pj_error ignored;
    struct pj_consumer *consumer = session->consumer;
    struct pj_partition *const *partitions = pj_consumer_partitions(consumer, &count);
    struct pj_partition *another = pj_consumer_another(consumer);
    /* Its stop could not be written yet. */
    for (size_t i = 0; i < count; i++) {
        if (!partitions[i]->assigned || partitions[i]->stop_code == 0)
            continue;
        stopped(partitions[i], error);
        return partitions[i];
    }
    if (another != NULL) {
        char what[128];
        pj_text_show(what, sizeof what,
                     "has another record at the offset %lld than the one that the "
                     "group read there",
                     (long long)another->read_offset);
        not_the_same(session, another, what, error);
        return another;
    }
    if (!pj_consumer_stable(consumer) || !pj_clock_every(&assignment->ids_asked_ms, TOPIC_IDS_MS) ||
        pj_consumer_topic_ids(consumer, TOPIC_IDS_TIMEOUT_MS, &ignored) != 0)
        return NULL; /* an unavailable Kafka shows elsewhere */
    for (size_t i = 0; i < count; i++) {
        if (partitions[i]->assigned && check_topic_id(session, partitions[i], error) != 0)
            return partitions[i];
    }
    return NULL;
}

/* librdkafka does not notice a topic that is recreated between two fetches. After a longer pause
 * this comes before anything of it is committed. */
int pj_assignment_check_topics(struct pj_assignment *assignment, struct pj_session *session,
                               struct pj_error *error)
{
    struct pj_error why;
    struct pj_partition *partition = find_stopped(assignment, session, &why);
    const struct pj_rebalance only = {.partitions = &partition, .count = 1};
    if (partition == NULL)
        return 0;
    pj_arena_reset(session->unit.work);
    if (pj_session_connect(session, error) == 0 && write_stops(session, &only, error) == 0)
        *error = why;
    return -1;
}

int pj_assignment_check_owner(struct pj_session *session, struct pj_error *error)
{
    size_t known;
    size_t count = 0;
    struct pj_partition *const *partitions = pj_consumer_partitions(session->consumer, &known);
    pj_arena_reset(session->unit.work);
    struct pj_partition **ours = pj_arena_alloc(session->unit.work, (known + 1) * sizeof(void *));
    for (size_t i = 0; i < known; i++) {
        if (partitions[i]->assigned)
            ours[count++] = partitions[i];
    }
    if (count == 0)
        return 0;
    if (pj_session_connect(session, error) != 0 ||
        pj_offsets_check(session->unit.postgres, &session->identity, ours, count,
                         session->unit.work, error) != 0)
        return -1;
    pj_session_recovered(session); /* without records no commit shows it */
    return 0;
}
