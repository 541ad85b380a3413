/* SPDX-License-Identifier: Apache-2.0 */
#include "common/transactor.h"

#include "base/clock.h"
#include "base/invariant.h"
#include "base/log.h"
#include "base/text.h"
#include "base/topic_name.h"

#include <string.h>

enum {
    STEP_MS = 500,  /* the longest that a call waits for Kafka between turns */
    SLOW_MS = 5000, /* a slower commit is worth a log line */
    DESCRIBE_MS = 10000,
    REFUSED_MOST_MS = 300000,
    /* A transaction is given to librdkafka at once, and its commit does not wait for this: without
     * it librdkafka asks the brokers record by record, not once for each partition. */
    LINGER_MS = 20,
};

static void log_waiting(const struct pj_error *reason)
{
    pj_log(PJ_WARN, "waiting for a server", pj_f_str("server", "Kafka"),
           pj_f_str("error", reason->message));
}

/* --- counting -------------------------------------------------------------------------------- */

void pj_transactor_metrics_add(struct pj_transactor_metrics *metrics, const char *of,
                               struct pj_metrics *registry)
{
    const struct pj_metric_line all[] = {
        {&metrics->transactions, PJ_COUNTER, "transactions_total", "Transactions committed"},
        {&metrics->aborted, PJ_COUNTER, "transactions_aborted_total",
         "Transactions aborted and retried"},
        {&metrics->reopened, PJ_COUNTER, "producers_reopened_total",
         "Producers opened again after an error"},
        {&metrics->commit_time, PJ_HISTOGRAM, "commit_seconds", "Duration of a commit in Kafka"},
        {&metrics->last_commit, PJ_GAUGE, "last_commit_timestamp_seconds",
         "When the last transaction was committed"},
        {0},
    };
    pj_metrics_add_all_of(registry, of, all);
}

int pj_transactor_taken_over(const struct pj_transactor *transactor, const char *variable,
                             struct pj_error *error)
{
    pj_error_set(
        error, PJ_FENCED,
        "another %s has taken over '%s' (%s), so this one stops: run one bridge per id, or "
        "give this one an id of its own",
        transactor->settings.name, transactor->settings.id, variable);
    error->exit_code = PJ_EXIT_FENCED;
    return -1;
}

static void count(struct pj_metric *metric)
{
    if (metric != NULL)
        pj_metric_add(metric, 1);
}

void pj_transactor_count(const struct pj_transactor *transactor)
{
    const struct pj_transactor_metrics *counts = &transactor->settings.counts;
    count(counts->transactions);
    if (counts->last_commit != NULL)
        pj_metric_set(counts->last_commit, pj_clock_wall_ms() / 1000);
}

/* --- opening --------------------------------------------------------------------------------- */

static int make_producer(struct pj_transactor *transactor, struct pj_error *error)
{
    const struct pj_transactor_settings *settings = &transactor->settings;
    const struct pj_producer_settings producer = {
        .kafka = settings->kafka,
        .client_id = settings->client_id,
        .linger_ms = LINGER_MS,
        .transactional_id = transactor->transactional_id,
        .transaction_timeout_ms = settings->transaction_timeout_ms,
        .metrics = settings->metrics,
    };
    pj_transactor_close(transactor);
    return pj_producer_open(&transactor->producer, &producer, error);
}

int pj_transactor_init(struct pj_transactor *transactor,
                       const struct pj_transactor_settings *settings, struct pj_error *error)
{
    PJ_CHECK(settings->topic_count <= PJ_TRANSACTOR_TOPICS_MOST,
             "a transactor has more topics than room for them");
    *transactor = (struct pj_transactor){.settings = *settings};
    pj_text_whole(transactor->transactional_id, sizeof transactor->transactional_id, "%s%s-%s",
                  settings->topic_prefix != NULL ? settings->topic_prefix : "", settings->name,
                  settings->id);
    return make_producer(transactor, error);
}

void pj_transactor_close(struct pj_transactor *transactor)
{
    pj_producer_close(transactor->producer);
    transactor->producer = NULL;
}

static int use_topic(struct pj_transactor *transactor, size_t topic,
                     const struct pj_producer_topic_info *info, struct pj_error *error)
{
    if (info->partitions == 0)
        return pj_producer_no_topic(info, error);
    return pj_producer_topic(transactor->producer, info->name, &transactor->topics[topic], error);
}

static bool may_lack(const struct pj_transactor *transactor, size_t topic,
                     const struct pj_producer_topic_info *info)
{
    const struct pj_transactor_settings *settings = &transactor->settings;
    return settings->may_lack_topics && (transactor->was_open || info->is_hidden) &&
           (settings->state_topic == NULL ||
            strcmp(settings->topics[topic], settings->state_topic) != 0);
}

static int find_topics(struct pj_transactor *transactor, int64_t wait_ms, struct pj_error *error)
{
    const struct pj_transactor_settings *settings = &transactor->settings;
    char names[PJ_TRANSACTOR_TOPICS_MOST][PJ_TOPIC_NAME_SIZE];
    struct pj_producer_topic_info topics[PJ_TRANSACTOR_TOPICS_MOST];
    for (size_t i = 0; i < settings->topic_count; i++)
        topics[i] = (struct pj_producer_topic_info){
            .name = pj_topic_name(names[i], settings->topic_prefix, settings->topics[i])};
    if (pj_producer_describe(transactor->producer, topics, settings->topic_count, wait_ms, error) !=
        0)
        return -1;
    for (size_t i = 0; i < settings->topic_count; i++) {
        transactor->topics[i] = NULL;
        if (topics[i].partitions == 0 && may_lack(transactor, i, &topics[i]))
            continue;
        if (use_topic(transactor, i, &topics[i], error) != 0)
            return -1;
    }
    return 0;
}

/* One that Kafka did not show when the producer was opened. */
static int find_topic(struct pj_transactor *transactor, size_t topic, struct pj_error *error)
{
    const struct pj_transactor_settings *settings = &transactor->settings;
    char name[PJ_TOPIC_NAME_SIZE];
    struct pj_producer_topic_info info = {
        .name = pj_topic_name(name, settings->topic_prefix, settings->topics[topic])};
    if (pj_producer_describe(transactor->producer, &info, 1, STEP_MS, error) == 0 &&
        use_topic(transactor, topic, &info, error) == 0)
        return 0;
    error->class = PJ_RETRY;
    return -1;
}

static int fence_others(struct pj_transactor *transactor, int64_t wait_ms, struct pj_error *error)
{
    return pj_producer_init_transactions(transactor->producer, wait_ms, error);
}

/* Repeats a step while the brokers do not answer; for the probes, that a new producer has not been
 * answered yet is no reason beside the one why it is there. */
static int until_answered(struct pj_transactor *transactor,
                          int (*step)(struct pj_transactor *, int64_t, struct pj_error *),
                          int64_t timeout_ms, struct pj_error *error)
{
    int64_t deadline_ms = pj_clock_monotonic_ms() + timeout_ms;
    while (step(transactor, STEP_MS, error) != 0) {
        if (error->class != PJ_RETRY || pj_clock_monotonic_ms() > deadline_ms)
            return -1;
        if (*transactor->cause.message != '\0')
            *error = transactor->cause;
        if (!pj_turn(&transactor->settings.turns, error))
            return 1;
    }
    return 0;
}

static int open_once(struct pj_transactor *transactor, struct pj_error *error)
{
    if (make_producer(transactor, error) != 0)
        return -1;
    int status = until_answered(transactor, find_topics, DESCRIBE_MS, error);
    if (status == 0)
        status = until_answered(transactor, fence_others,
                                transactor->settings.transaction_timeout_ms, error);
    return status == 0 && transactor->settings.state_topic != NULL
               ? pj_transactor_read(transactor, false, error)
               : status;
}

/* A new password reaches the brokers and our file one after the other. */
static bool may_be_let_in(struct pj_transactor *transactor)
{
    return transactor->was_open && transactor->producer != NULL &&
           pj_producer_is_refused(transactor->producer) &&
           pj_clock_since(&transactor->refused_since) < REFUSED_MOST_MS;
}

int pj_transactor_open(struct pj_transactor *transactor, struct pj_error *error)
{
    int status;
    for (int failures = 0; (status = open_once(transactor, error)) != 0; failures++) {
        if (status > 0 || error->class == PJ_FENCED)
            return status;
        transactor->cause = *error;
        if (!pj_producer_may_return(error) && !may_be_let_in(transactor) &&
            (!transactor->was_open || ++transactor->fatal_count >= PJ_TRANSACTOR_FATAL_MOST))
            return -1;
        log_waiting(error);
        if (!pj_turns_back_off(&transactor->settings.turns, failures, error))
            return 1;
    }
    transactor->was_open = true;
    transactor->refused_since = 0;
    return 0;
}

/* Whether the id is still ours, as far as one can see without claiming it. Returns 1 when it is
 * time to stop. */
static int look_for_another(struct pj_transactor *transactor, struct pj_error *error)
{
    const struct pj_transactor_settings *settings = &transactor->settings;
    int failures = 0;
    if (settings->is_ours == NULL)
        return 0;
    /* A successor has ended the transaction that we left open, so its record comes after that. */
    while (pj_transactor_read(transactor, true, error) != 0) {
        if (error->class == PJ_FATAL && ++transactor->fatal_count >= PJ_TRANSACTOR_FATAL_MOST)
            return -1;
        if (!pj_turns_back_off(&settings->turns, failures++, error))
            return 1;
    }
    return settings->is_ours(settings->context)
               ? 0
               : pj_error_set(error, PJ_FENCED, "another program publishes as %s",
                              transactor->transactional_id);
}

int pj_transactor_open_again(struct pj_transactor *transactor, struct pj_error *error)
{
    if (error->class == PJ_FATAL && !pj_producer_may_return(error) &&
        ++transactor->fatal_count >= PJ_TRANSACTOR_FATAL_MOST)
        return -1;
    pj_log(PJ_WARN, "opening a new producer", pj_f_str("reason", error->message));
    count(transactor->settings.counts.reopened);
    int status = look_for_another(transactor, error);
    return status == 0 ? pj_transactor_open(transactor, error) : status;
}

/* --- reading back ---------------------------------------------------------------------------- */

static int on_record(void *context, struct pj_bytes key, struct pj_bytes value,
                     struct pj_error *error)
{
    const struct pj_transactor_settings *settings = context;
    const char *wanted = settings->state_key;
    if (wanted != NULL && (key.data == NULL || key.length != strlen(wanted) ||
                           memcmp(key.data, wanted, key.length) != 0))
        return 0;
    return settings->record(settings->context, key, value, error);
}

int pj_transactor_read(struct pj_transactor *transactor, bool stop_at_open, struct pj_error *error)
{
    struct pj_transactor_settings *settings = &transactor->settings;
    const struct pj_bytes none = {0};
    char topic[PJ_TOPIC_NAME_SIZE];
    if (settings->state_key != NULL &&
        settings->record(settings->context,
                         (struct pj_bytes){settings->state_key, strlen(settings->state_key)}, none,
                         error) != 0)
        return -1;
    const struct pj_compacted_settings reading = {
        .kafka = settings->kafka,
        .client_id = settings->client_id,
        .topic = pj_topic_name(topic, settings->topic_prefix, settings->state_topic),
        .timeout_ms = settings->read_timeout_ms,
        .stop_at_open = stop_at_open,
        .stop = settings->stop,
        .record = on_record,
        .context = settings,
    };
    return pj_compacted_read(&reading, error);
}

/* --- transactions ---------------------------------------------------------------------------- */

/* The brokers also fence the owner of a transaction that was open for too long. */
static enum pj_transaction_end in_doubt(const struct pj_transactor *transactor,
                                        const struct pj_error *error)
{
    int64_t age_ms = pj_clock_monotonic_ms() - transactor->begun_ms;
    return error->class == PJ_FENCED && age_ms < transactor->settings.transaction_timeout_ms
               ? PJ_TRANSACTION_FENCED
               : PJ_TRANSACTION_IN_DOUBT;
}

static enum pj_transaction_end abort_transaction(struct pj_transactor *transactor,
                                                 struct pj_error *error)
{
    struct pj_error second;
    count(transactor->settings.counts.aborted);
    while (pj_producer_abort(transactor->producer, STEP_MS, &second) != 0) {
        if (second.class != PJ_RETRY) {
            /* Brokers that have seen no partition know no transaction to abort, and librdkafka
             * takes that as the end of the producer; the cause is in *error. */
            if (second.class == PJ_FENCED)
                *error = second;
            return in_doubt(transactor, error);
        }
        if (!pj_turn(&transactor->settings.turns, error))
            return PJ_TRANSACTION_STOPPED;
    }
    return PJ_TRANSACTION_ABORTED;
}

static enum pj_transaction_end commit(struct pj_transactor *transactor, struct pj_error *error)
{
    int64_t began_us = pj_clock_monotonic_us();
    bool waited = false, is_logged = false;
    int status;
    while ((status = pj_producer_commit(transactor->producer, STEP_MS, error)) < 0 &&
           error->class == PJ_RETRY) {
        if (!is_logged && pj_clock_monotonic_us() - began_us >= INT64_C(1000) * SLOW_MS) {
            log_waiting(error);
            is_logged = true;
        }
        waited = true;
        if (!pj_turn(&transactor->settings.turns, error))
            return PJ_TRANSACTION_STOPPED;
    }
    transactor->commit_us = pj_clock_monotonic_us() - began_us;
    if (status == 0) {
        if (transactor->settings.counts.commit_time != NULL)
            pj_metric_observe_us(transactor->settings.counts.commit_time, transactor->commit_us);
        transactor->fatal_count = 0;
        transactor->cause.message[0] = '\0';
        return PJ_TRANSACTION_COMMITTED;
    }
    transactor->cause = *error;
    /* What the brokers refused they have not committed; after a time-out nobody knows, unless they
     * refused a record: a commit is only asked for when all records are stored. */
    return status == 1 && (!waited || error->class == PJ_POISON)
               ? abort_transaction(transactor, error)
               : in_doubt(transactor, error);
}

enum pj_transaction_end pj_transactor_try(struct pj_transactor *transactor,
                                          int (*send)(void *context, struct pj_error *error),
                                          void *context, struct pj_error *error)
{
    transactor->begun_ms = pj_clock_monotonic_ms();
    if (pj_producer_files_changed(transactor->producer)) {
        pj_error_set(error, PJ_RETRY, "Kafka's secrets have changed");
        return PJ_TRANSACTION_IN_DOUBT; /* it opens anew, and finds that nothing was begun */
    }
    if (pj_producer_end_is_under_way(transactor->producer, error))
        return PJ_TRANSACTION_IN_DOUBT; /* likewise */
    int status = pj_producer_begin(transactor->producer, error);
    if (status == 0 && send(context, error) == 0)
        return commit(transactor, error);
    return status > 0 || error->class == PJ_RETRY || error->class == PJ_POISON
               ? abort_transaction(transactor, error)
               : in_doubt(transactor, error);
}

int pj_transactor_send(struct pj_transactor *transactor, size_t topic,
                       struct pj_producer_message message, struct pj_error *error)
{
    if (transactor->topics[topic] == NULL && find_topic(transactor, topic, error) != 0)
        return -1;
    message.topic = transactor->topics[topic];
    message.partition = -1;
    /* 1 is returned only with `stop`, which is not set: a transaction is sent whole. */
    return pj_producer_send(transactor->producer, &message, error) == 0 ? 0 : -1;
}
