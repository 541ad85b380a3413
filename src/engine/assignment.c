/* SPDX-License-Identifier: Apache-2.0 */
/* An assignment is carried out: what Postgres has of them is held against what Kafka has. */
#include "base/text.h"
#include "engine/engine.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

enum {
    KAFKA_TIMEOUT_MS = 5000,
    TOPIC_IDS_MS = 10000,
    TOPIC_IDS_TIMEOUT_MS = 1000,
    SURE_MS = 2000, /* of an end that lies before our offset */
};

/* --- what needs a person --------------------------------------------------------------------- */

static int stop(struct pj_partition *partition, const struct pj_error *error)
{
    pj_partition_stop(partition, pj_error_exit_code(error), error->message, strlen(error->message));
    return -1;
}

/* What a stop that was seen before, here or by another replica, has to say. */
static int stopped(const struct pj_partition *partition, struct pj_error *error)
{
    pj_error_set(error, PJ_FATAL, "%s", partition->stop_reason);
    error->exit_code = partition->stop_code;
    return -1;
}

/* Where the offset is one of a topic that is not, or may not be, the one that is there. */
static int not_the_same(const struct pj_engine *engine, struct pj_partition *partition,
                        const char *what, struct pj_error *error)
{
    const char *group = engine->identity.rebuilt_group != NULL ? engine->identity.rebuilt_group
                                                               : engine->identity.group;
    const char *name = engine->projection->name;
    bool own_name = strcmp(group, name) == 0;
    bool known = *partition->topic_id != '\0' && *partition->read_topic_id != '\0';
    bool same = known && strcmp(partition->topic_id, partition->read_topic_id) == 0;
    char remedy[320];
    /* What a rebuild has in its books is of an attempt before. */
    if (engine->shadow != NULL && !partition->is_another)
        pj_text_show(remedy, sizeof remedy,
                     "nothing was changed, and the same command begins anew");
    else
        pj_text_show(remedy, sizeof remedy,
                     "%s`projectionist offsets set %.80s%s%.160s --to earliest` reads it from its "
                     "beginning",
                     engine->shadow != NULL ? "nothing was changed; " : "", name,
                     own_name ? "" : " --group ", own_name ? "" : group);
    pj_error_fatal(error, PJ_EXIT_TOPIC_RECREATED, "%s [%d] %s: %s; %s", partition->topic,
                   partition->number, what,
                   same    ? "its id is the same, so the brokers have lost the end of its log"
                   : known ? "the topic was recreated"
                           : "the topic was recreated, or the brokers have lost the end of its log "
                             "(no topic ids tell which)",
                   remedy);
    return stop(partition, error);
}

static int check_topic_id(const struct pj_engine *engine, struct pj_partition *partition,
                          struct pj_error *error)
{
    char what[256];
    if (!pj_topic_is_another(partition->topic_id, partition->read_topic_id, partition->next_offset))
        return 0;
    pj_text_show(what, sizeof what,
                 "has the id %s, and the offset %lld of the group is of one with "
                 "the id %s",
                 partition->topic_id, (long long)partition->next_offset, partition->read_topic_id);
    return not_the_same(engine, partition, what, error);
}

/*
 * An end below our offset shows that the topic is another one, or lost what it had. A leader that
 * is new may be behind for a moment, though: it is asked again.
 */
static int check_end(const struct pj_engine *engine, struct pj_partition *partition,
                     struct pj_error *error)
{
    char what[128];
    int64_t now = pj_clock_monotonic_ms();
    if (partition->next_offset <= partition->high) {
        partition->short_ms = 0;
        return 0;
    }
    if (partition->short_ms == 0)
        partition->short_ms = now;
    pj_text_show(what, sizeof what, "ends at %lld, before the offset %lld of the group",
                 (long long)partition->high, (long long)partition->next_offset);
    if (now - partition->short_ms < SURE_MS)
        return pj_error_set(error, PJ_RETRY, "%s [%d] %s; asking again", partition->topic,
                            partition->number, what);
    return not_the_same(engine, partition, what, error);
}

static int accept_gap(struct pj_engine *engine, struct pj_partition *partition, size_t *gaps,
                      struct pj_error *error)
{
    if ((*gaps == 0 && pj_postgres_begin(engine->unit.postgres, error) != 0) ||
        pj_offsets_accept_gap(engine->unit.postgres, &engine->identity, partition,
                              engine->unit.work, error) != 0)
        return -1;
    /* The pipeline is bounded. */
    if (++*gaps % 64 == 0 && pj_postgres_drain(engine->unit.postgres, error) != 0)
        return -1;
    partition->next_offset = partition->low;
    return 0;
}

/* A low watermark above our offset is a loss. */
static int check_gap(struct pj_engine *engine, struct pj_partition *partition, size_t *gaps,
                     struct pj_error *error)
{
    if (partition->low <= partition->next_offset)
        return 0;
    pj_log(engine->settings->accept_gap ? PJ_WARN : PJ_ERROR,
           "records were removed by retention before they were read",
           pj_f_str("topic", partition->topic), pj_f_int("partition", partition->number),
           pj_f_int("from_offset", partition->next_offset), pj_f_int("to_offset", partition->low));
    if (engine->shadow != NULL)
        return pj_error_fatal(error, PJ_EXIT_GAP,
                              "retention removed the offsets %lld to %lld of %s [%d] while they "
                              "were being read; begin anew, with --keep-retained",
                              (long long)partition->next_offset, (long long)partition->low - 1,
                              partition->topic, partition->number);
    if (engine->settings->accept_gap)
        return accept_gap(engine, partition, gaps, error);
    pj_error_fatal(
        error, PJ_EXIT_GAP,
        "%s [%d] lacks the offsets %lld to %lld, removed by retention before they were read; "
        "go on without them with --accept-gap, and publish them again if a recording has them",
        partition->topic, partition->number, (long long)partition->next_offset,
        (long long)partition->low - 1);
    return stop(partition, error);
}

static int check_partition(struct pj_engine *engine, struct pj_partition *partition, size_t *gaps,
                           struct pj_error *error)
{
    if (partition->stop_code == PJ_EXIT_GAP && engine->settings->accept_gap)
        pj_partition_stop(partition, 0, NULL, 0);
    if (partition->stop_code != 0)
        return stopped(partition, error);
    if (check_end(engine, partition, error) != 0 || check_topic_id(engine, partition, error) != 0)
        return -1;
    return check_gap(engine, partition, gaps, error);
}

/* Before the process ends for them: who starts it again must find them. */
static int write_stops(struct pj_engine *engine, const struct pj_rebalance *rebalance,
                       struct pj_error *error)
{
    for (size_t i = 0; i < rebalance->count && engine->shadow == NULL; i++) {
        struct pj_partition *partition = rebalance->partitions[i];
        if (partition->stop_written == (partition->stop_code != 0))
            continue;
        if (pj_offsets_stop(engine->unit.postgres, &engine->identity, partition, engine->unit.work,
                            error) != 0) {
            if (error->class == PJ_FENCED) /* whoever has it by now sees for himself */
                pj_partition_stop(partition, 0, NULL, 0);
            return -1;
        }
        partition->stop_written = partition->stop_code != 0;
    }
    return 0;
}

static int check_partitions(struct pj_engine *engine, const struct pj_rebalance *rebalance,
                            struct pj_error *error)
{
    size_t gaps = 0;
    int status = 0;
    struct pj_error first;
    for (size_t i = 0; i < rebalance->count; i++) {
        /* All of them are named in the log before the first one stops us. */
        struct pj_error this_error;
        if (check_partition(engine, rebalance->partitions[i], &gaps, &this_error) != 0 &&
            (status == 0 || (first.class == PJ_RETRY && this_error.class != PJ_RETRY))) {
            first = this_error;
            status = -1;
        }
    }
    if (status == 0)
        return gaps > 0 ? pj_postgres_commit(engine->unit.postgres, error) : 0;
    pj_postgres_rollback(engine->unit.postgres);
    if (first.class == PJ_FATAL && write_stops(engine, rebalance, error) != 0) {
        if (error->class == PJ_FENCED)
            error->class = PJ_RETRY; /* so they are taken again */
        return -1;
    }
    *error = first;
    return -1;
}

/* While it is read: by then it is nobody's fault that the stop is not in Postgres at once. */
static int stop_now(struct pj_engine *engine, struct pj_partition *partition,
                    struct pj_error *error)
{
    const struct pj_error why = *error;
    const struct pj_rebalance only = {.partitions = &partition, .count = 1};
    for (;;) {
        pj_arena_reset(engine->unit.work);
        if (pj_engine_connect(engine, error) == 0 && write_stops(engine, &only, error) == 0)
            break;
        if (error->class == PJ_FENCED)
            return pj_consumer_rejoin(engine->consumer, error);
        if (error->class != PJ_RETRY || pj_engine_back_off(engine, error, error) != 0)
            return -1;
        if (pj_engine_stopping(engine) || !partition->assigned)
            return 0;
    }
    *error = why;
    return -1;
}

/*
 * Whoever has them may not respond, or its machine be gone. Where Postgres waits for the rest of a
 * COPY from it, no time-out ends that, and it would hold its locks for ever.
 */
static void end_unresponsive_owner(struct pj_engine *engine)
{
    int ended = 0;
    const char *owner = NULL;
    struct pj_error ignored; /* what is wrong shows at the next try, too */
    const struct pj_rebalance *rebalance = pj_consumer_rebalance(engine->consumer);
    if (pj_offsets_end_unresponsive(engine->unit.postgres, &engine->identity, rebalance->partitions,
                                    rebalance->count, engine->unit.work, &ended, &owner,
                                    &ignored) == 0 &&
        ended > 0)
        pj_log(PJ_WARN, "ended the transaction of an owner that does not respond",
               pj_f_str("owner", owner), pj_f_int("sessions", ended));
}

static int claim(struct pj_engine *engine, struct pj_error *error)
{
    const struct pj_rebalance *rebalance = pj_consumer_rebalance(engine->consumer);
    if (pj_offsets_claim(engine->unit.postgres, &engine->identity, rebalance->partitions,
                         rebalance->count, engine->unit.work, error) == 0)
        return 0;
    if (engine->shadow == NULL && strcmp(error->sqlstate, "55P03") == 0)
        end_unresponsive_owner(engine);
    return -1;
}

int pj_engine_carry_out_assignment(struct pj_engine *engine, struct pj_error *error)
{
    const struct pj_rebalance *rebalance = pj_consumer_rebalance(engine->consumer);
    pj_arena_reset(engine->unit.work);
    if (rebalance->count > 0) {
        if (pj_consumer_cluster_id(engine->consumer, KAFKA_TIMEOUT_MS, &engine->identity.cluster_id,
                                   error) != 0 ||
            pj_consumer_watermarks(engine->consumer, KAFKA_TIMEOUT_MS, error) != 0 ||
            pj_consumer_topic_ids(engine->consumer, KAFKA_TIMEOUT_MS, error) != 0 ||
            pj_engine_connect(engine, error) != 0 || claim(engine, error) != 0 ||
            check_partitions(engine, rebalance, error) != 0)
            return -1;
        if (write_stops(engine, rebalance, error) != 0) /* those that are over */
            return -1;
        /* Whoever had them may have been killed between a commit and its look at who is due. */
        engine->timers_due = pj_writer_timed(engine->unit.writer);
    }
    pj_metric_add(engine->numbers.rebalances, 1);
    pj_metric_add(engine->numbers.assigned, (int64_t)rebalance->count);
    pj_log(PJ_INFO, "partitions assigned", pj_f_int("count", (int64_t)rebalance->count));
    engine->settled_since = pj_clock_monotonic_ms();
    engine->topic_ids_asked_at = engine->settled_since;
    return pj_consumer_assign(engine->consumer, error);
}

/* A topic can be recreated between two fetches, which librdkafka does not notice. After a longer
 * standstill this comes before anything of it is committed. */
int pj_engine_check_topics(struct pj_engine *engine, struct pj_error *error)
{
    size_t count;
    char what[128];
    struct pj_partition *another = pj_consumer_another(engine->consumer);
    if (another != NULL) {
        pj_text_show(what, sizeof what,
                     "has another record at the offset %lld than the one that the "
                     "group read there",
                     (long long)another->read_offset);
        not_the_same(engine, another, what, error);
        return stop_now(engine, another, error);
    }
    struct pj_error ignored;
    int64_t now = pj_clock_monotonic_ms();
    if (now - engine->topic_ids_asked_at < TOPIC_IDS_MS || !pj_consumer_settled(engine->consumer))
        return 0;
    engine->topic_ids_asked_at = now;
    if (pj_consumer_topic_ids(engine->consumer, TOPIC_IDS_TIMEOUT_MS, &ignored) != 0)
        return 0; /* whether Kafka is away shows elsewhere */
    struct pj_partition *const *partitions = pj_consumer_partitions(engine->consumer, &count);
    for (size_t i = 0; i < count; i++) {
        if (partitions[i]->assigned && check_topic_id(engine, partitions[i], error) != 0)
            return stop_now(engine, partitions[i], error);
    }
    return 0;
}
