/* SPDX-License-Identifier: Apache-2.0 */
#include "common/publisher_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <uuid.h>

enum {
    BATCH_MOST = 1000, /* publications in a transaction */
    BATCH_RECORDS_MOST = 10000,
    BATCH_BYTES_MOST = 16 << 20,
    TURN_MS = 1000,
    /* From one commit to the next transaction: brokers answer its end before they have written it
     * to all partitions, and librdkafka waits for 20 ms where they are asked earlier. */
    GAP_US = 3000,
};

/* --- the thread's surroundings --------------------------------------------------------------- */

static bool is_at_end(struct pj_publisher *publisher)
{
    pthread_mutex_lock(&publisher->mutex);
    bool stopped = publisher->is_stopping && pj_clock_monotonic_ms() >= publisher->give_up_ms;
    pthread_mutex_unlock(&publisher->mutex);
    if (!publisher->has_thread && publisher->settings.transactor.stop != NULL &&
        *publisher->settings.transactor.stop != 0)
        return true; /* still in _open */
    return stopped;
}

/* While Kafka is away or refuses everything, the reason, for the probes, the log and the waiting
 * requests; NULL: it is back. */
static void note_trouble(struct pj_publisher *publisher, const struct pj_error *reason)
{
    const char *text = reason != NULL ? reason->message : "";
    struct pj_metrics_server *server = publisher->settings.server;
    if (server != NULL)
        pj_metrics_server_heartbeat(server);
    pthread_mutex_lock(&publisher->mutex);
    bool is_news = strcmp(publisher->trouble.message, text) != 0;
    publisher->trouble = reason != NULL ? *reason : (struct pj_error){0};
    pthread_mutex_unlock(&publisher->mutex);
    if (!is_news)
        return;
    if (reason == NULL)
        pj_log(PJ_INFO, "Kafka is back");
    if (server != NULL && (publisher->has_thread || reason != NULL))
        pj_metrics_server_set_ready(server, reason != NULL ? text : NULL);
}

static bool turn(void *context, const struct pj_error *trouble)
{
    note_trouble(context, trouble);
    return !is_at_end(context);
}

static bool is_marker(const struct pj_publisher *publisher, struct pj_bytes key)
{
    const char *marker = publisher->settings.marker;
    return marker != NULL && key.length == strlen(marker) &&
           memcmp(key.data, marker, key.length) == 0;
}

/* A record of the transaction, read back, shows that it was committed. */
static int on_record(void *context, struct pj_bytes key, struct pj_bytes value,
                     struct pj_error *error)
{
    struct pj_publisher *publisher = context;
    if (is_marker(publisher, key)) {
        publisher->is_mark_found = value.data != NULL && publisher->mark[0] != '\0' &&
                                   value.length == strlen(publisher->mark) &&
                                   memcmp(value.data, publisher->mark, value.length) == 0;
        return 0;
    }
    for (struct pj_publication *one = publisher->batch; one != NULL; one = one->next) {
        for (size_t i = 0; i < one->record_count; i++) {
            const struct record *record = &one->records[i];
            if (record->topic != publisher->settings.state || record->key_length != key.length ||
                memcmp(record->key, key.data, key.length) != 0)
                continue;
            one->is_found = record->value == NULL || value.data == NULL
                                ? record->value == NULL && value.data == NULL
                                : record->value_length == value.length &&
                                      memcmp(record->value, value.data, value.length) == 0;
        }
    }
    return publisher->settings.transactor.record(publisher->settings.transactor.context, key, value,
                                                 error);
}

/* --- transactions ---------------------------------------------------------------------------- */

static int send_mark(struct pj_publisher *publisher, struct pj_error *error)
{
    const char *marker = publisher->settings.marker;
    if (marker == NULL)
        return 0;
    size_t length = pj_text_whole(publisher->mark, sizeof publisher->mark, "%s-%lld",
                                  publisher->mark_prefix, (long long)++publisher->marks);
    const struct pj_producer_message message = {.key = {marker, strlen(marker)},
                                                .value = {publisher->mark, length}};
    return pj_transactor_send(&publisher->transactor, publisher->settings.state, message, error);
}

static int send_all(void *context, struct pj_error *error)
{
    struct pj_publisher *publisher = context;
    for (struct pj_publication *one = publisher->batch; one != NULL; one = one->next) {
        char text[PJ_TRACE_TEXT_SIZE] = "";
        if (*one->trace.trace_id != '\0')
            pj_trace_text(&one->trace, text);
        const struct pj_header header = {{PJ_TRACE_HEADER, strlen(PJ_TRACE_HEADER)},
                                         {text, strlen(text)}};
        for (size_t i = 0; i < one->record_count; i++) {
            const struct record *record = &one->records[i];
            const struct pj_producer_message message = {
                .key = {record->key, record->key_length},
                .value = {record->value, record->value_length},
                .headers = &header,
                .header_count = *text != '\0' && record->topic != publisher->settings.state,
            };
            if (pj_transactor_send(&publisher->transactor, record->topic, message, error) != 0)
                return -1;
        }
    }
    return send_mark(publisher, error);
}

/* To the head of the queue; under the mutex. */
static void put_back(struct pj_publisher *publisher, struct pj_publication *rest)
{
    struct pj_publication **last = &rest;
    for (; *last != NULL; last = &(*last)->next) {
        (*last)->state = WAITING;
        publisher->waiting++;
        publisher->urgent += (*last)->wait_ms == 0;
        publisher->waiting_bytes += (*last)->bytes;
    }
    *last = publisher->first;
    if (publisher->first == NULL)
        publisher->last = last;
    publisher->first = rest;
}

/* The later half of the batch goes back; the rest is tried next. */
static void halve(struct pj_publisher *publisher, size_t count)
{
    struct pj_publication **middle = &publisher->batch;
    publisher->batch_most = (count + 1) / 2;
    for (size_t i = 0; i < publisher->batch_most; i++)
        middle = &(*middle)->next;
    struct pj_publication *rest = *middle;
    *middle = NULL;
    pthread_mutex_lock(&publisher->mutex);
    put_back(publisher, rest);
    pthread_mutex_unlock(&publisher->mutex);
}

/* Brokers refuse a whole batch for one record. After an abort: whether a record of this batch is
 * refused permanently, and then leaves it, or is still being looked for. */
static bool look_for_refused(struct pj_publisher *publisher, const struct pj_error *error)
{
    size_t count = 0;
    if (error->class != PJ_POISON)
        return false;
    for (const struct pj_publication *one = publisher->batch; one != NULL; one = one->next)
        count++;
    if (count > 1) {
        halve(publisher, count);
        return true;
    }
    publisher->batch->is_refused = true;
    publisher->batch->error = *error;
    pj_log(PJ_WARN, "Kafka refuses a record permanently; it is not published",
           pj_f_str("reason", error->message));
    return true;
}

/* --- topics that are refused ------------------------------------------------------------------ */

/* Under the mutex, after a change. */
static void count_topics(struct pj_publisher *publisher)
{
    int64_t held = 0;
    publisher->suspects = 0;
    for (size_t i = 0; i < publisher->settings.transactor.topic_count; i++) {
        publisher->suspects += publisher->holds[i].is_suspect;
        held += publisher->holds[i].is_held;
    }
    if (publisher->waiting_topics != NULL)
        pj_metric_set(publisher->waiting_topics, held);
}

static size_t holds_of_batch(struct pj_publisher *publisher, struct pj_hold *holds[BATCH_MOST])
{
    size_t count = 0;
    for (const struct pj_publication *one = publisher->batch; one != NULL; one = one->next)
        holds[count++] = pj_publisher_hold_of(publisher, one);
    return count;
}

/* After an abort: Kafka refused the batch, not for good. True: it is one of its topics, and the
 * batch is back in the queue. */
static bool keep_back(struct pj_publisher *publisher, int failures, int64_t took_ms,
                      const struct pj_error *why)
{
    struct pj_hold *holds[BATCH_MOST];
    if (!publisher->are_topics_apart)
        return false;
    size_t count = holds_of_batch(publisher, holds);
    pthread_mutex_lock(&publisher->mutex);
    bool is_of_topic = pj_hold_refused(holds, count, failures, took_ms, why);
    if (is_of_topic) {
        count_topics(publisher);
        put_back(publisher, publisher->batch);
        publisher->batch = NULL;
    }
    pthread_mutex_unlock(&publisher->mutex);
    if (is_of_topic)
        note_trouble(publisher, NULL);
    return is_of_topic;
}

/* The batch is committed. */
static void trust_topics(struct pj_publisher *publisher)
{
    struct pj_hold *holds[BATCH_MOST];
    if (publisher->suspects == 0)
        return;
    size_t count = holds_of_batch(publisher, holds);
    pthread_mutex_lock(&publisher->mutex);
    pj_hold_taken(holds, count);
    count_topics(publisher);
    pthread_mutex_unlock(&publisher->mutex);
}

/* --- batches ---------------------------------------------------------------------------------- */

/* Removes the finished publications from the batch. Each wakes those who wait for it, once they
 * need not wait for the mutex as well. */
static void finish_batch(struct pj_publisher *publisher, bool committed)
{
    struct pj_publication **place = &publisher->batch, *finished = NULL;
    pthread_mutex_lock(&publisher->mutex);
    while (*place != NULL) {
        struct pj_publication *one = *place;
        bool done = committed || one->is_found;
        if (!one->is_refused && !done) {
            place = &one->next;
            continue;
        }
        one->state = one->is_refused ? REFUSED : DONE;
        *place = one->next;
        one->next = finished;
        finished = one;
        if (one->state == DONE)
            pj_metric_add(publisher->records, (int64_t)one->record_count);
    }
    pthread_mutex_unlock(&publisher->mutex);
    while (finished != NULL) {
        struct pj_publication *one = finished;
        finished = one->next;
        one->next = NULL;
        pthread_cond_broadcast(&one->changed);
        pj_publication_release(one);
    }
}

/*
 * A new producer waits until its predecessor's transaction has ended; then what was committed is in
 * the state topic: a record of each publication, or the marker. Without both it is sent again: its
 * event_id identifies it.
 */
static enum pj_transaction_end recover(struct pj_publisher *publisher, struct pj_error *error)
{
    pj_log(PJ_WARN, "the outcome of a transaction is unknown; reading what was committed",
           pj_f_str("reason", error->message));
    publisher->is_mark_found = false;
    int status = pj_transactor_open(&publisher->transactor, error);
    if (status == 0) {
        for (struct pj_publication *one = publisher->batch; one != NULL; one = one->next)
            one->is_found |= one->may_be_lost || publisher->is_mark_found;
        finish_batch(publisher, false);
        return PJ_TRANSACTION_ABORTED;
    }
    return status > 0 ? PJ_TRANSACTION_STOPPED : PJ_TRANSACTION_FENCED;
}

static void fail(struct pj_publisher *publisher, const struct pj_error *error)
{
    pthread_mutex_lock(&publisher->mutex);
    publisher->has_failed = true;
    publisher->failure = *error;
    pthread_mutex_unlock(&publisher->mutex);
}

/* False: the thread ends. */
static bool publish_batch(struct pj_publisher *publisher)
{
    int failures = 0;
    bool goes_on = true;
    while (publisher->batch != NULL && goes_on) {
        int64_t start_us = pj_clock_monotonic_us();
        struct pj_error error = {.class = PJ_FATAL}, reason;
        /* Of this try alone: one that was not begun has left none, and that of the batch before,
         * which was committed, would be taken for its. */
        publisher->mark[0] = '\0';
        enum pj_transaction_end end =
            pj_transactor_try(&publisher->transactor, send_all, publisher, &error);
        reason = error;
        if (end == PJ_TRANSACTION_IN_DOUBT)
            end = recover(publisher, &error);
        if (end == PJ_TRANSACTION_FENCED)
            fail(publisher, &error);
        if (end == PJ_TRANSACTION_FENCED || end == PJ_TRANSACTION_STOPPED)
            return false;
        if (end == PJ_TRANSACTION_COMMITTED) {
            publisher->committed_us = pj_clock_monotonic_us();
            trust_topics(publisher);
            note_trouble(publisher, NULL);
            pj_transactor_count(&publisher->transactor);
            pj_metric_observe_us(publisher->latency, pj_clock_monotonic_us() - start_us);
            if (publisher->batch_most < BATCH_MOST)
                publisher->batch_most *= 2;
        } else if (publisher->batch != NULL && !look_for_refused(publisher, &reason) &&
                   !keep_back(publisher, failures, (pj_clock_monotonic_us() - start_us) / 1000,
                              &reason)) {
            pj_log(PJ_WARN, "retrying a transaction", pj_f_str("error", reason.message));
            goes_on = pj_turns_back_off(&publisher->transactor.settings.turns, failures++, &reason);
        }
        finish_batch(publisher, end == PJ_TRANSACTION_COMMITTED);
    }
    return goes_on;
}

/* Under the mutex: how long until a publication is to be taken. */
static int64_t left_ms(struct pj_publisher *publisher, const struct pj_publication *one)
{
    const struct pj_hold *hold = pj_publisher_hold_of(publisher, one);
    int64_t now_ms = pj_clock_monotonic_ms(), held_ms = hold != NULL ? pj_hold_left_ms(hold) : 0;
    if (held_ms > 0)
        return held_ms;
    if (publisher->is_stopping || one->wait_ms == 0 || one->due_ms < now_ms)
        return 0;
    return one->due_ms - now_ms;
}

/* Under the mutex: how long there is nothing to do, at most `most_ms`. */
static int64_t idle_ms(struct pj_publisher *publisher, int64_t most_ms)
{
    int64_t least_ms = most_ms;
    if (publisher->suspects == 0 && (publisher->is_stopping || publisher->urgent > 0))
        return 0;
    if (publisher->first == NULL)
        return publisher->is_stopping ? 0 : most_ms;
    for (const struct pj_publication *one = publisher->first; one != NULL && least_ms > 0;
         one = publisher->suspects > 0 ? one->next : NULL) {
        int64_t one_ms = left_ms(publisher, one);
        least_ms = one_ms < least_ms ? one_ms : least_ms;
    }
    return least_ms;
}

/* Under the mutex: what goes into one transaction. Those of a topic that may be refused go alone;
 * those of the state alone go with any, for their order is that of the queue. */
static void fill_batch(struct pj_publisher *publisher)
{
    const struct pj_publication *next = publisher->first;
    while (next != NULL && publisher->suspects > 0 && left_ms(publisher, next) > 0)
        next = next->next;
    if (next == NULL)
        return;
    const struct pj_hold *first = pj_publisher_hold_of(publisher, next);
    struct pj_publication **place = &publisher->first, **end = &publisher->batch;
    size_t count = 0, records = 0, bytes = 0;
    while (count < publisher->batch_most && *place != NULL) {
        struct pj_publication *one = *place;
        if (!pj_hold_may_share(first, pj_publisher_hold_of(publisher, one))) {
            place = &one->next;
            continue;
        }
        records += one->record_count;
        bytes += one->bytes;
        if (count++ > 0 && (records > BATCH_RECORDS_MOST || bytes > BATCH_BYTES_MOST))
            break;
        pj_publisher_take_out(publisher, place);
        one->state = SENT;
        *end = one;
        end = &one->next;
    }
}

/* Waits for something to publish, at most one turn; false at the end. */
static bool take_batch(struct pj_publisher *publisher)
{
    int64_t end_ms = pj_clock_monotonic_ms() + TURN_MS;
    int64_t wait_ms, early_us = publisher->committed_us + GAP_US - pj_clock_monotonic_us();
    if (early_us > 0)
        nanosleep(&(struct timespec){.tv_nsec = early_us * 1000}, NULL);
    pthread_mutex_lock(&publisher->mutex);
    while ((wait_ms = idle_ms(publisher, end_ms - pj_clock_monotonic_ms())) > 0) {
        struct timespec until = pj_in_ms(wait_ms);
        pthread_cond_timedwait(&publisher->filled, &publisher->mutex, &until);
    }
    fill_batch(publisher);
    bool more = publisher->batch != NULL || !publisher->is_stopping ||
                (publisher->first != NULL && pj_clock_monotonic_ms() < publisher->give_up_ms);
    pthread_mutex_unlock(&publisher->mutex);
    return more;
}

static void *run(void *context)
{
    struct pj_publisher *publisher = context;
    while (take_batch(publisher)) {
        if (publisher->settings.server != NULL)
            pj_metrics_server_heartbeat(publisher->settings.server);
        if (!publish_batch(publisher))
            break;
    }
    pthread_mutex_lock(&publisher->mutex);
    publisher->has_ended = true;
    struct pj_publication *const left[] = {publisher->batch, publisher->first};
    for (size_t i = 0; i < 2; i++) {
        for (struct pj_publication *one = left[i]; one != NULL; one = one->next)
            pthread_cond_broadcast(&one->changed);
    }
    pthread_mutex_unlock(&publisher->mutex);
    return NULL;
}

/* --- the publisher --------------------------------------------------------------------------- */

static void add_metrics(struct pj_publisher *publisher)
{
    struct pj_transactor_settings *transactor = &publisher->settings.transactor;
    struct pj_transactor_metrics *counts = &transactor->counts;
    const struct pj_metric_line all[] = {
        {&counts->transactions, PJ_COUNTER, "transactions_total", "Kafka transactions committed."},
        {&publisher->records, PJ_COUNTER, "records_total",
         "Records published, including those of the keys."},
        {&publisher->latency, PJ_HISTOGRAM, "transaction_seconds",
         "Time from the start of a transaction to its commit."},
        {&counts->last_commit, PJ_GAUGE, "last_commit_timestamp_seconds",
         "When the last transaction was committed."},
        {&counts->aborted, PJ_COUNTER, "transactions_aborted_total",
         "Kafka transactions aborted and retried."},
        {0},
    };
    const struct pj_metric_line apart[] = {
        {&publisher->waiting_topics, PJ_GAUGE, "waiting_topics",
         "Topics that Kafka takes nothing for, while it takes that of others."},
        {0},
    };
    pj_metrics_add_all_of(transactor->metrics, publisher->settings.metrics_of, all);
    if (publisher->are_topics_apart)
        pj_metrics_add_all_of(transactor->metrics, publisher->settings.metrics_of, apart);
}

static int open_transactor(struct pj_publisher *publisher, struct pj_error *error)
{
    struct pj_transactor_settings settings = publisher->settings.transactor;
    settings.record = on_record;
    settings.context = publisher;
    settings.turns = (struct pj_turns){turn, publisher};
    settings.may_lack_topics = publisher->are_topics_apart;
    int status = pj_transactor_init(&publisher->transactor, &settings, error);
    if (status == 0)
        status = pj_transactor_open(&publisher->transactor, error);
    if (status == 0)
        note_trouble(publisher, NULL);
    publisher->transactor.settings.stop = NULL; /* from now on what is waiting is finished */
    return status;
}

int pj_publisher_open(struct pj_publisher **out, const struct pj_publisher_settings *settings,
                      struct pj_error *error)
{
    struct pj_publisher *publisher = pj_alloc(sizeof *publisher);
    publisher->settings = *settings;
    publisher->are_topics_apart =
        settings->are_topics_apart && settings->transactor.topic_count > 2; /* one is the state's */
    add_metrics(publisher);
    for (size_t i = 0; i < settings->transactor.topic_count; i++)
        publisher->holds[i].topic = settings->transactor.topics[i];
    publisher->last = &publisher->first;
    publisher->batch_most = BATCH_MOST;
    pthread_mutex_init(&publisher->mutex, NULL);
    pj_condition_init(&publisher->filled);
    uuid_t prefix;
    uuid_generate_random(prefix);
    uuid_unparse_lower(prefix, publisher->mark_prefix);
    int status = open_transactor(publisher, error);
    if (status == 0) {
        publisher->has_thread = true;
        status = pj_thread_start(&publisher->thread, run, publisher, error);
        publisher->has_thread = status == 0;
    }
    if (status == 0)
        *out = publisher;
    else
        pj_publisher_close(publisher, 0);
    return status;
}

void pj_publisher_close(struct pj_publisher *publisher, int64_t timeout_ms)
{
    if (publisher == NULL)
        return;
    pthread_mutex_lock(&publisher->mutex);
    publisher->is_stopping = true;
    publisher->give_up_ms = pj_clock_monotonic_ms() + timeout_ms;
    pthread_cond_broadcast(&publisher->filled);
    pthread_mutex_unlock(&publisher->mutex);
    if (publisher->has_thread)
        pthread_join(publisher->thread, NULL);
    struct pj_publication *lists[] = {publisher->batch, publisher->first};
    for (size_t i = 0; i < 2; i++) {
        while (lists[i] != NULL) {
            struct pj_publication *one = lists[i];
            lists[i] = one->next;
            pj_publication_release(one);
        }
    }
    pj_transactor_close(&publisher->transactor);
    pthread_cond_destroy(&publisher->filled);
    pthread_mutex_destroy(&publisher->mutex);
    free(publisher);
}
