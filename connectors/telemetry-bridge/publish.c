/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/publish.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/topic_name.h"
#include "kafka/compacted.h"
#include "telemetry-bridge/records.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

enum {
    STEP_MS = 500,  /* the longest that one call waits for Kafka before we check for a stop */
    SLOW_MS = 5000, /* a slower commit is worth a log line */
    READ_MS = 10000,
    FATAL_MOST = 5, /* producers in a row that fail without a single transaction */
};

struct pj_publisher {
    struct pj_publisher_settings settings;
    struct pj_records records; /* its producer is NULL while there is none */
    struct pj_bookmark committed;
    int64_t tried_sequence; /* of the transaction whose outcome may be unknown */
    int64_t began_ms;       /* when the open transaction began */
    int64_t idle_since_ms;
    int64_t commit_us;   /* what the last commit took */
    int64_t deadline_ms; /* of the shutdown; 0: none yet */
    bool is_open;
    bool gave_up; /* an item left the buffer and was not published: nothing may follow it */
    int fatal_count;
    char transactional_id[384];
};

/* --- turns ----------------------------------------------------------------------------------- */

/*
 * False when it is time to stop: at once while opening, later while there is something to finish.
 */
static bool turn(void *context, const struct pj_error *trouble)
{
    struct pj_publisher *publisher = context;
    publisher->settings.turn(publisher->settings.context,
                             trouble != NULL ? trouble->message : NULL);
    if (*publisher->settings.stop == 0)
        return true;
    if (!publisher->is_open)
        return false;
    if (publisher->deadline_ms == 0)
        publisher->deadline_ms =
            pj_clock_monotonic_ms() + publisher->settings.bridge->shutdown_timeout_ms;
    return pj_clock_monotonic_ms() < publisher->deadline_ms;
}

/* Waits before the next attempt, longer each time. False when it is time to stop. */
static bool back_off(struct pj_publisher *publisher, int *failures, const struct pj_error *trouble)
{
    const struct pj_turns turns = {turn, publisher};
    return pj_turns_back_off(&turns, (*failures)++, trouble);
}

static int fenced(struct pj_publisher *publisher, struct pj_error *error)
{
    pj_error_set(error, PJ_FENCED,
                 "another telemetry-bridge has taken over '%s' (PROJECTIONIST_BRIDGE_ID), so "
                 "this one stops: run one bridge per id, or give this one an id of its own",
                 publisher->settings.bridge->bridge_id);
    error->exit_code = PJ_EXIT_FENCED;
    return -1;
}

/* --- the bookmark ---------------------------------------------------------------------------- */

struct lookup {
    const char *key;
    struct pj_bookmark found;
};

static int on_record(void *context, struct pj_bytes key, struct pj_bytes value,
                     struct pj_error *error)
{
    struct lookup *lookup = context;
    if (key.data == NULL || key.length != strlen(lookup->key) ||
        memcmp(key.data, lookup->key, key.length) != 0)
        return 0;
    if (value.data == NULL) {
        lookup->found = (struct pj_bookmark){0};
        return 0;
    }
    return pj_bookmark_read(value, &lookup->found, error);
}

static int look_up(struct pj_publisher *publisher, bool stop_at_open, struct pj_bookmark *found,
                   struct pj_error *error)
{
    struct lookup lookup = {.key = publisher->settings.bridge->bridge_id};
    char topic[PJ_TOPIC_NAME_SIZE];
    const struct pj_compacted_settings settings = {
        .kafka = publisher->settings.kafka,
        .client_id = "telemetry-bridge",
        .topic = pj_topic_name(topic, publisher->settings.bridge->topic_prefix, PJ_CURSORS_TOPIC),
        .timeout_ms = READ_MS,
        .stop_at_open = stop_at_open,
        .record = on_record,
        .context = &lookup};
    int status = pj_compacted_read(&settings, error);
    *found = lookup.found;
    return status;
}

/* --- the producer ---------------------------------------------------------------------------- */

static int register_schemas(struct pj_publisher *publisher, struct pj_error *error)
{
    static const char *const topics[] = {PJ_TELEMETRY_TOPIC, PJ_COMMANDS_TOPIC};
    const struct pj_bridge_settings *bridge = publisher->settings.bridge;
    const struct pj_turns turns = {turn, publisher};
    publisher->records.encoder = pj_encoder_new();
    return pj_encoder_register_all(publisher->records.encoder, topics, 2, bridge->topic_prefix,
                                   &bridge->registry, &turns, error);
}

static void drop_producer(struct pj_publisher *publisher)
{
    pj_producer_close(publisher->records.producer);
    publisher->records.producer = NULL;
}

static int make_producer(struct pj_publisher *publisher, struct pj_error *error)
{
    const struct pj_producer_settings settings = {
        .kafka = publisher->settings.kafka,
        .client_id = "telemetry-bridge",
        .transactional_id = publisher->transactional_id,
        .transaction_timeout_ms = publisher->settings.bridge->transaction_timeout_ms,
        .metrics = publisher->settings.registry,
    };
    drop_producer(publisher);
    return pj_producer_open(&publisher->records.producer, &settings, error);
}

/* One attempt: a producer that has fenced all earlier ones, and what the last of them committed. */
static int open_producer(struct pj_publisher *publisher, struct pj_bookmark *found,
                         struct pj_error *error)
{
    const struct pj_bridge_settings *bridge = publisher->settings.bridge;
    if (make_producer(publisher, error) != 0 ||
        pj_records_find_topics(&publisher->records, bridge->topic_prefix, READ_MS, error) != 0)
        return -1;
    int64_t deadline = pj_clock_monotonic_ms() + bridge->transaction_timeout_ms;
    while (pj_producer_init_transactions(publisher->records.producer, STEP_MS, error) != 0) {
        if (error->class != PJ_RETRY || pj_clock_monotonic_ms() > deadline)
            return -1;
        if (!turn(publisher, error))
            return 1;
    }
    return look_up(publisher, false, found, error);
}

/* Retries until it is open. Returns 1 when it is time to stop. A bookmark of another instance means
 * that it took over, unless this is our own takeover (`first`). */
static int reopen(struct pj_publisher *publisher, bool first, struct pj_bookmark *found,
                  struct pj_error *error)
{
    int failures = 0;
    int status;
    while ((status = open_producer(publisher, found, error)) != 0) {
        if (status > 0 || error->class == PJ_FENCED)
            break;
        /* Brokers that have just started may not know all partitions yet. */
        if (!pj_producer_may_return(error) && error->class == PJ_FATAL &&
            (first || ++publisher->fatal_count >= FATAL_MOST))
            break;
        pj_log(PJ_WARN, "waiting for a server", pj_f_str("server", "Kafka"),
               pj_f_str("error", error->message));
        if (!back_off(publisher, &failures, error))
            return 1;
    }
    if (status < 0 && error->class == PJ_FENCED)
        return fenced(publisher, error);
    if (status != 0)
        return status;
    if (first || !publisher->is_open) {
        publisher->committed.position = found->position;
        publisher->committed.sequence = found->sequence;
        return 0;
    }
    pj_metric_add(publisher->settings.metrics->reopened, 1);
    return strcmp(found->instance, publisher->committed.instance) == 0 ? 0
                                                                       : fenced(publisher, error);
}

/* --- a transaction --------------------------------------------------------------------------- */

enum outcome {
    DONE,
    AGAIN,   /* it certainly did not commit */
    UNKNOWN, /* it may have committed: look it up */
    LEAVE,   /* it is time to stop */
    FAILED,  /* permanently */
};

static enum outcome abort_transaction(struct pj_publisher *publisher, struct pj_error *error)
{
    struct pj_error second;
    pj_metric_add(publisher->settings.metrics->aborted, 1);
    while (pj_producer_abort(publisher->records.producer, STEP_MS, &second) != 0) {
        if (second.class != PJ_RETRY) {
            /* Brokers that have seen no partition know no transaction to abort, and librdkafka
             * takes that as the end of the producer; the cause is in *error. */
            if (second.class == PJ_FENCED)
                *error = second;
            return UNKNOWN;
        }
        if (!turn(publisher, &second))
            return LEAVE;
    }
    return AGAIN;
}

static enum outcome commit(struct pj_publisher *publisher, struct pj_error *error)
{
    int64_t began_us = pj_clock_monotonic_us();
    bool waited = false, told = false;
    int status;
    while ((status = pj_producer_commit(publisher->records.producer, STEP_MS, error)) < 0 &&
           error->class == PJ_RETRY) {
        if (!told && pj_clock_monotonic_us() - began_us >= INT64_C(1000) * SLOW_MS) {
            pj_log(PJ_WARN, "waiting for a server", pj_f_str("server", "Kafka"),
                   pj_f_str("error", error->message));
            told = true;
        }
        waited = true;
        if (!turn(publisher, error))
            return LEAVE;
    }
    if (status == 0) {
        publisher->commit_us = pj_clock_monotonic_us() - began_us;
        pj_metric_observe_us(publisher->settings.metrics->commit_time, publisher->commit_us);
        return DONE;
    }
    /* What the brokers refused they have not committed; after a time-out nobody knows. */
    return status == 1 && !waited ? abort_transaction(publisher, error) : UNKNOWN;
}

/* One attempt to publish the list and the bookmark. */
static enum outcome transact(struct pj_publisher *publisher, const struct pj_item *list,
                             const struct pj_bookmark *next, struct pj_error *error)
{
    publisher->began_ms = pj_clock_monotonic_ms();
    publisher->tried_sequence = next->sequence;
    int status = pj_producer_begin(publisher->records.producer, error);
    if (status == 0) {
        for (const struct pj_item *item = list; item != NULL && status == 0; item = item->next)
            status = pj_records_send(&publisher->records, item, error);
        if (status == 0)
            status = pj_records_send_bookmark(&publisher->records, next, error);
        if (status == 0)
            return commit(publisher, error);
    }
    if (status > 0 || error->class == PJ_RETRY || error->class == PJ_POISON)
        return abort_transaction(publisher, error);
    return UNKNOWN;
}

/* Whether the id is still ours, as far as one can see without claiming it. */
static enum outcome look_for_another(struct pj_publisher *publisher, struct pj_error *error)
{
    struct pj_bookmark found;
    int failures = 0;
    /* A successor has ended the transaction that we left open, so its bookmark comes after that. */
    while (look_up(publisher, true, &found, error) != 0) {
        if (error->class == PJ_FATAL && ++publisher->fatal_count >= FATAL_MOST)
            return FAILED;
        if (!back_off(publisher, &failures, error))
            return LEAVE;
    }
    if (!publisher->is_open || strcmp(found.instance, publisher->committed.instance) == 0)
        return DONE; /* before our first transaction it names our predecessor */
    fenced(publisher, error);
    return FAILED;
}

/* After a transaction with an unknown outcome: with a new producer the bookmark tells. DONE: it was
 * committed. */
static enum outcome find_out(struct pj_publisher *publisher, struct pj_error *error)
{
    struct pj_bookmark found;
    /* The brokers also fence the owner of a transaction that was open for too long. */
    if (error->class == PJ_FENCED && pj_clock_monotonic_ms() - publisher->began_ms <
                                         publisher->settings.bridge->transaction_timeout_ms) {
        fenced(publisher, error);
        return FAILED;
    }
    if (error->class == PJ_FATAL && !pj_producer_may_return(error) &&
        ++publisher->fatal_count >= FATAL_MOST)
        return FAILED;
    pj_log(PJ_WARN, "opening a new producer", pj_f_str("reason", error->message));
    enum outcome outcome = look_for_another(publisher, error);
    if (outcome != DONE)
        return outcome;
    int status = reopen(publisher, false, &found, error);
    if (status != 0)
        return status > 0 ? LEAVE : FAILED;
    return publisher->is_open && found.sequence >= publisher->tried_sequence ? DONE : AGAIN;
}

/* --- batches --------------------------------------------------------------------------------- */

static struct pj_bookmark bookmark_after(const struct pj_publisher *publisher,
                                         const struct pj_item *list)
{
    struct pj_bookmark next = publisher->committed;
    next.sequence++;
    for (; list != NULL; list = list->next) {
        const struct pj_frame *frame = list->frame;
        struct pj_mark mark;
        if (frame == NULL)
            continue;
        if (frame->place.text[0] != '\0') {
            pj_position_place(&next.position, &frame->place);
        } else if (frame->wire == 0) {
            memcpy(mark.bytes, frame->event_id, sizeof mark.bytes);
            pj_position_mark(&next.position, &mark);
        }
    }
    return next;
}

static void count(const struct pj_publisher *publisher, const struct pj_item *list)
{
    const struct pj_bridge_metrics *metrics = publisher->settings.metrics;
    int64_t now_us = pj_clock_monotonic_us();
    pj_metric_add(metrics->transactions, 1);
    for (; list != NULL; list = list->next) {
        if (list->frame == NULL)
            continue;
        bool is_dead_letter = list->frame->kind == PJ_FRAME_DEAD_LETTER;
        pj_metric_add(is_dead_letter ? metrics->dead_letters : metrics->events, 1);
        if (!is_dead_letter && list->frame->status != NULL)
            pj_metric_add(metrics->statuses, 1);
        pj_metric_observe_us(metrics->frame_time, now_us - list->received_us);
    }
}

static int publish(struct pj_publisher *publisher, struct pj_item *list, struct pj_error *error);

static struct pj_item *middle_of(struct pj_item *list)
{
    struct pj_item *middle = list;
    for (struct pj_item *end = list->next; end != NULL && end->next != NULL; end = end->next->next)
        middle = middle->next;
    return middle;
}

/* One item of the list will never be accepted, or the list is too large: each half by itself. */
static int publish_halves(struct pj_publisher *publisher, struct pj_item *list,
                          struct pj_error *error)
{
    struct pj_item *middle = middle_of(list);
    struct pj_item *rest = middle->next;
    middle->next = NULL;
    int status = publish(publisher, list, error);
    middle->next = rest;
    return status == 0 ? publish(publisher, rest, error) : status;
}

/*
 * An item that is refused alone is retried in its next form: with the current time instead of its
 * own, as a dead letter, as the beginning of one, as a dead letter without its bytes. False: there
 * is no further form, and the frame is not what is refused.
 */
static bool change_form(struct pj_item *item, const struct pj_error *refusal)
{
    char reason[PJ_REASON_SIZE];
    if (item->frame == NULL || item->cut == PJ_CUT_ALL)
        return false;
    if (item->frame->kind == PJ_FRAME_DEAD_LETTER) {
        item->cut++;
        return true;
    }
    if (!item->is_retimed) {
        item->is_retimed = true;
        return true;
    }
    pj_log(PJ_WARN, "Kafka refuses a frame; it becomes a dead letter",
           pj_f_str("cursor", item->frame->place.text), pj_f_str("error", refusal->message));
    pj_text_show(reason, sizeof reason, "%s", refusal->message);
    pj_frame_refuse(item->frame, reason);
    return true;
}

/* Retries until the list is published, once. Returns 1 when it is time to stop. */
static int publish(struct pj_publisher *publisher, struct pj_item *list, struct pj_error *error)
{
    struct pj_bookmark next;
    int failures = 0;
    for (;;) {
        next = bookmark_after(publisher, list);
        enum outcome outcome = transact(publisher, list, &next, error);
        if (outcome == UNKNOWN) {
            struct pj_error reason = *error;
            outcome = find_out(publisher, error);
            if (outcome == AGAIN)
                *error = reason;
        }
        if (outcome == DONE)
            break;
        if (outcome == LEAVE)
            return 1;
        if (outcome == FAILED)
            return -1;
        if (error->class == PJ_POISON && list != NULL && list->next != NULL)
            return publish_halves(publisher, list, error);
        if (error->class == PJ_POISON && list != NULL && change_form(list, error))
            continue;
        pj_log(PJ_WARN, "retrying a transaction", pj_f_str("error", error->message));
        if (!back_off(publisher, &failures, error))
            return 1;
    }
    publisher->committed = next;
    publisher->fatal_count = 0;
    publisher->idle_since_ms = pj_clock_monotonic_ms();
    count(publisher, list);
    return 0;
}

/* --- opening and running --------------------------------------------------------------------- */

int pj_publisher_open(struct pj_publisher **out, const struct pj_publisher_settings *settings,
                      struct pj_error *error)
{
    struct pj_publisher *publisher = pj_alloc(sizeof *publisher);
    uuid_t instance;
    publisher->settings = *settings;
    publisher->records.bridge_id = settings->bridge->bridge_id;
    uuid_generate(instance);
    uuid_unparse_lower(instance, publisher->committed.instance);
    pj_text_whole(publisher->transactional_id, sizeof publisher->transactional_id,
                  "%stelemetry-bridge-%s",
                  settings->bridge->topic_prefix != NULL ? settings->bridge->topic_prefix : "",
                  settings->bridge->bridge_id);
    struct pj_bookmark found;
    /* Wrong kafka.* settings are reported before waiting for the registry. */
    int status = make_producer(publisher, error);
    if (status == 0)
        status = register_schemas(publisher, error);
    if (status == 0)
        status = reopen(publisher, true, &found, error);
    /* From now on everyone sees who owns the id. */
    if (status == 0)
        status = publish(publisher, NULL, error);
    publisher->is_open = true;
    if (status == 0)
        *out = publisher;
    else
        pj_publisher_close(publisher);
    return status;
}

void pj_publisher_close(struct pj_publisher *publisher)
{
    if (publisher == NULL)
        return;
    drop_producer(publisher);
    pj_encoder_free(publisher->records.encoder);
    pj_encoded_free(&publisher->records.encoded);
    free(publisher);
}

const struct pj_position *pj_publisher_position(const struct pj_publisher *publisher)
{
    return &publisher->committed.position;
}

/*
 * After the commit the brokers still write its markers. A transaction that begins before they are
 * done is refused with "not yet", and librdkafka retries after 20 ms. Nothing says when they are
 * done: it takes longer the longer the commit took.
 */
static int64_t pause_ms(const struct pj_publisher *publisher)
{
    int64_t most_ms = publisher->settings.bridge->linger_ms;
    int64_t least_ms = (most_ms + 2) / 3;
    int64_t half_ms = publisher->commit_us / 2000;
    return half_ms < least_ms ? least_ms : half_ms < most_ms ? half_ms : most_ms;
}

static int publish_some(struct pj_publisher *publisher, struct pj_buffer *buffer, int64_t wait_ms,
                        struct pj_error *error)
{
    const struct pj_bridge_settings *bridge = publisher->settings.bridge;
    struct pj_item *list;
    size_t taken = pj_buffer_take(buffer, (size_t)bridge->batch_frames, wait_ms, &list);
    pj_metric_set(publisher->settings.metrics->buffered, pj_buffer_frames(buffer) + (int64_t)taken);
    int status = 0;
    /* A bridge without frames would not notice that it is fenced. */
    if (taken > 0 || pj_clock_monotonic_ms() - publisher->idle_since_ms >= bridge->heartbeat_ms)
        status = publish(publisher, list, error);
    publisher->gave_up = status != 0;
    pj_items_free(list);
    if (taken > 0)
        poll(NULL, 0, (int)pause_ms(publisher));
    return status;
}

int pj_publisher_run(struct pj_publisher *publisher, struct pj_buffer *buffer,
                     struct pj_error *error)
{
    int status = 0;
    while (status == 0 && turn(publisher, NULL) && *publisher->settings.stop == 0)
        status = publish_some(publisher, buffer, STEP_MS / 2, error);
    return status < 0 ? -1 : 0;
}

int pj_publisher_finish(struct pj_publisher *publisher, struct pj_buffer *buffer,
                        struct pj_error *error)
{
    int status = 0;
    while (status == 0 && !publisher->gave_up && pj_buffer_frames(buffer) > 0 &&
           turn(publisher, NULL))
        status = publish_some(publisher, buffer, 0, error);
    if (status < 0)
        return -1;
    if (publisher->gave_up || pj_buffer_frames(buffer) > 0)
        return pj_error_set(
            error, PJ_RETRY,
            "Kafka did not take the remaining frames in time; the next start replays them");
    return 0;
}
