/* SPDX-License-Identifier: Apache-2.0 */
/* Taking partitions: what Postgres has of them is held against what Kafka has. */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

enum { KAFKA_TIMEOUT_MS = 5000, TOPIC_IDS_MS = 10000, TOPIC_IDS_TIMEOUT_MS = 1000 };

static const char *remedy_for_new_topic(const struct pj_engine *engine)
{
    return engine->shadow != NULL
               ? "nothing was changed, and the same command begins anew"
               : "`projectionist offsets set` or a new --group begins where it begins";
}

static int check_topic_id(const struct pj_engine *engine, const struct pj_partition *partition,
                          struct pj_error *error)
{
    if (!pj_topic_is_another(partition->topic_id, partition->read_topic_id, partition->next_offset))
        return 0;
    return pj_error_fatal(error, PJ_EXIT_TOPIC_RECREATED,
                          "%s [%d] has the id %s, and the offset %lld of group %s is of one with "
                          "the id %s: the topic was created anew; %s",
                          partition->topic, partition->number, partition->topic_id,
                          (long long)partition->next_offset, engine->identity.group,
                          partition->read_topic_id, remedy_for_new_topic(engine));
}

/* An end below our offset shows that the topic is another one, and so does another id. */
static int check_topic(const struct pj_engine *engine, const struct pj_partition *partition,
                       struct pj_error *error)
{
    if (partition->next_offset <= partition->high)
        return check_topic_id(engine, partition, error);
    return pj_error_fatal(error, PJ_EXIT_TOPIC_RECREATED,
                          "%s [%d] ends at %lld, before the offset %lld of group %s: the topic was "
                          "created anew; %s",
                          partition->topic, partition->number, (long long)partition->high,
                          (long long)partition->next_offset, engine->identity.group,
                          remedy_for_new_topic(engine));
}

/* A low watermark above our offset is a loss. */
static int check_gap(struct pj_engine *engine, struct pj_partition *partition, size_t *gaps,
                     struct pj_error *error)
{
    if (check_topic(engine, partition, error) != 0)
        return -1;
    if (partition->low <= partition->next_offset)
        return 0;
    pj_log(engine->settings->accept_gap ? PJ_WARN : PJ_ERROR,
           "records were removed by retention before they were read",
           pj_f_str("topic", partition->topic), pj_f_int("partition", partition->number),
           pj_f_int("from_offset", partition->next_offset), pj_f_int("to_offset", partition->low));
    if (engine->shadow != NULL)
        return pj_error_fatal(error, PJ_EXIT_GAP,
                              "retention removed the offsets %lld to %lld of %s [%d] while they "
                              "were being read; begin anew, with --keep-older",
                              (long long)partition->next_offset, (long long)partition->low - 1,
                              partition->topic, partition->number);
    if (!engine->settings->accept_gap)
        return pj_error_fatal(
            error, PJ_EXIT_GAP,
            "%s [%d] lacks the offsets %lld to %lld, removed by retention before they were read; "
            "go on without them with --accept-gap, and publish them again if a recording has them",
            partition->topic, partition->number, (long long)partition->next_offset,
            (long long)partition->low - 1);
    if ((*gaps == 0 && pj_postgres_begin(engine->postgres, error) != 0) ||
        pj_offsets_accept_gap(engine->postgres, &engine->identity, partition, engine->work,
                              error) != 0)
        return -1;
    /* The pipeline is bounded. */
    if (++*gaps % 64 == 0 && pj_postgres_settle(engine->postgres, error) != 0)
        return -1;
    partition->next_offset = partition->low;
    return 0;
}

static int check_gaps(struct pj_engine *engine, const struct pj_rebalance *rebalance,
                      struct pj_error *error)
{
    size_t gaps = 0;
    int status = 0;
    struct pj_error first;
    for (size_t i = 0; i < rebalance->count; i++) {
        /* All of them are named in the log before the first one stops us. */
        struct pj_error this_error;
        if (check_gap(engine, rebalance->partitions[i], &gaps, &this_error) != 0 && status == 0) {
            first = this_error;
            status = -1;
        }
    }
    if (status != 0) {
        pj_postgres_rollback(engine->postgres);
        *error = first;
        return -1;
    }
    return gaps > 0 ? pj_postgres_commit(engine->postgres, error) : 0;
}

/*
 * Whoever has them may be frozen, or its machine gone. Where Postgres waits for the rest of a COPY
 * from it, no time-out ends that, and it would hold its locks for ever.
 */
static void end_frozen_owner(struct pj_engine *engine)
{
    int ended = 0;
    const char *owner = NULL;
    struct pj_error ignored; /* what is wrong shows at the next try, too */
    const struct pj_rebalance *rebalance = pj_consumer_rebalance(engine->consumer);
    if (pj_offsets_end_frozen(engine->postgres, &engine->identity, rebalance->partitions,
                              rebalance->count, engine->work, &ended, &owner, &ignored) == 0 &&
        ended > 0)
        pj_log(PJ_WARN, "ended the transaction of an owner that is frozen",
               pj_f_str("owner", owner), pj_f_int("sessions", ended));
}

static int take(struct pj_engine *engine, struct pj_error *error)
{
    const struct pj_rebalance *rebalance = pj_consumer_rebalance(engine->consumer);
    if (pj_offsets_take(engine->postgres, &engine->identity, rebalance->partitions,
                        rebalance->count, engine->work, error) == 0)
        return 0;
    if (engine->shadow == NULL && strcmp(error->sqlstate, "55P03") == 0)
        end_frozen_owner(engine);
    return -1;
}

int pj_engine_take_partitions(struct pj_engine *engine, struct pj_error *error)
{
    const struct pj_rebalance *rebalance = pj_consumer_rebalance(engine->consumer);
    pj_arena_reset(engine->work);
    if (rebalance->count > 0) {
        if (pj_consumer_cluster_id(engine->consumer, KAFKA_TIMEOUT_MS, &engine->identity.cluster_id,
                                   error) != 0 ||
            pj_consumer_watermarks(engine->consumer, KAFKA_TIMEOUT_MS, error) != 0 ||
            pj_consumer_topic_ids(engine->consumer, KAFKA_TIMEOUT_MS, error) != 0 ||
            pj_engine_connect(engine, error) != 0 || take(engine, error) != 0 ||
            check_gaps(engine, rebalance, error) != 0)
            return -1;
        /* Whoever had them may have been killed between a commit and its look at who is due. */
        engine->sweep_due = pj_writer_timed(engine->writer);
    }
    pj_metric_add(engine->numbers.rebalances, 1);
    pj_metric_add(engine->numbers.assigned, (int64_t)rebalance->count);
    pj_log(PJ_INFO, "partitions assigned", pj_f_int("count", (int64_t)rebalance->count));
    engine->settled_since = pj_clock_monotonic_ms();
    engine->topic_ids_asked_at = engine->settled_since;
    return pj_consumer_assign(engine->consumer, error);
}

/* A topic can be created anew between two fetches, which librdkafka does not notice. After a longer
 * standstill this comes before anything of it is committed. */
int pj_engine_check_topics(struct pj_engine *engine, struct pj_error *error)
{
    size_t count;
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
            return -1;
    }
    return 0;
}
