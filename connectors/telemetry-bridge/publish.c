/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/publish.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/spans.h"
#include "base/text.h"
#include "schemas.h"
#include "telemetry-bridge/records.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

enum {
    STEP_MS = 500, /* the longest that one call waits for Kafka before we check for a stop */
    READ_MS = 10000,
};

struct pj_bridge_publisher {
    struct pj_bridge_publisher_settings settings;
    struct pj_transactor transactor;
    struct pj_records records;
    struct pj_bookmark committed;
    struct pj_bookmark found; /* what was last read back */
    int64_t idle_since_ms;
    struct pj_stopping stopping;
    bool is_open;
    bool gave_up; /* an item left the buffer and was not published: nothing may follow it */
};

/* --- turns ----------------------------------------------------------------------------------- */

static bool turn(void *context, const struct pj_error *trouble)
{
    struct pj_bridge_publisher *publisher = context;
    publisher->settings.turn(publisher->settings.context,
                             trouble != NULL ? trouble->message : NULL);
    return pj_turns_go_on(&publisher->stopping, publisher->is_open);
}

static int fenced(const struct pj_bridge_publisher *publisher, struct pj_error *error)
{
    return pj_transactor_taken_over(&publisher->transactor, "PROJECTIONIST_BRIDGE_ID", error);
}

/* --- the bookmark ---------------------------------------------------------------------------- */

static int on_record(void *context, struct pj_bytes key, struct pj_bytes value,
                     struct pj_error *error)
{
    struct pj_bridge_publisher *publisher = context;
    (void)key;
    publisher->found = (struct pj_bookmark){0};
    return value.data != NULL ? pj_bookmark_read(value, &publisher->found, error) : 0;
}

static bool is_ours(void *context)
{
    const struct pj_bridge_publisher *publisher = context;
    return !publisher->is_open ||
           strcmp(publisher->found.instance, publisher->committed.instance) == 0;
}

/* --- the producer ---------------------------------------------------------------------------- */

static int register_schemas(struct pj_bridge_publisher *publisher, struct pj_error *error)
{
    const struct pj_bridge_settings *bridge = publisher->settings.bridge;
    struct pj_encoder *const encoders[] = {publisher->records.telemetry,
                                           publisher->records.commands};
    return pj_encoder_register_all(encoders, 2, bridge->topic_prefix, &bridge->registry,
                                   &publisher->transactor.settings.turns, error);
}

/* With what an `_open` of the transactor returned, which has read the bookmark. One of another
 * instance means that it took over, unless this is our own takeover. */
static int after_opening(struct pj_bridge_publisher *publisher, int status, struct pj_error *error)
{
    if (status < 0 && error->class == PJ_FENCED)
        return fenced(publisher, error);
    if (status != 0)
        return status;
    if (!publisher->is_open) {
        publisher->committed.position = publisher->found.position;
        publisher->committed.sequence = publisher->found.sequence;
    }
    return is_ours(publisher) ? 0 : fenced(publisher, error);
}

/* --- a transaction --------------------------------------------------------------------------- */

/* What a transaction holds. */
struct contents {
    struct pj_records *records;
    const struct pj_item *list;
    struct pj_bookmark next;
};

static int send_all(void *context, struct pj_error *error)
{
    const struct contents *contents = context;
    for (const struct pj_item *item = contents->list; item != NULL; item = item->next) {
        if (pj_records_send(contents->records, item, error) != 0)
            return -1;
    }
    return pj_records_send_bookmark(contents->records, &contents->next, error);
}

/* --- batches --------------------------------------------------------------------------------- */

static struct pj_bookmark bookmark_after(const struct pj_bridge_publisher *publisher,
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

static void count(const struct pj_bridge_publisher *publisher, const struct pj_item *list)
{
    const struct pj_bridge_metrics *metrics = publisher->settings.metrics;
    int64_t now_us = pj_clock_monotonic_us();
    pj_transactor_count(&publisher->transactor);
    for (; list != NULL; list = list->next) {
        if (list->frame == NULL)
            continue;
        bool is_dead_letter = list->frame->kind == PJ_FRAME_DEAD_LETTER;
        pj_metric_add(!is_dead_letter           ? metrics->events
                      : list->frame->is_refused ? metrics->refused
                                                : metrics->misfits,
                      1);
        if (!is_dead_letter && list->frame->status != NULL)
            pj_metric_add(metrics->statuses, 1);
        pj_metric_observe_us(metrics->frame_time, now_us - list->received_us);
    }
}

/* One of the transaction, which names the traces of its frames. */
static void add_span(const struct pj_item *list, int64_t microseconds)
{
    struct pj_trace links[PJ_SPAN_LINKS_MOST];
    size_t count = 0, link_count = 0;
    if (!pj_spans_are_on())
        return;
    for (; list != NULL; list = list->next) {
        if (list->frame == NULL)
            continue;
        count++;
        if (link_count < PJ_SPAN_LINKS_MOST)
            pj_trace_of_id(&links[link_count++], list->frame->event_id);
    }
    if (count > 0) /* 0: the heartbeat */
        pj_spans_add_published("publish telemetry", count, links, link_count, microseconds);
}

static int publish(struct pj_bridge_publisher *publisher, struct pj_item *list,
                   struct pj_error *error);

static struct pj_item *middle_of(struct pj_item *list)
{
    struct pj_item *middle = list;
    for (struct pj_item *end = list->next; end != NULL && end->next != NULL; end = end->next->next)
        middle = middle->next;
    return middle;
}

/* One item of the list will never be accepted, or the list is too large: each half by itself. */
static int publish_halves(struct pj_bridge_publisher *publisher, struct pj_item *list,
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
static int publish(struct pj_bridge_publisher *publisher, struct pj_item *list,
                   struct pj_error *error)
{
    struct contents contents = {&publisher->records, list, bookmark_after(publisher, list)};
    enum pj_transaction_end end;
    int failures = 0;
    int64_t started = pj_clock_monotonic_us();
    while ((end = pj_transactor_try(&publisher->transactor, send_all, &contents, error)) !=
           PJ_TRANSACTION_COMMITTED) {
        if (end == PJ_TRANSACTION_STOPPED)
            return 1;
        if (end == PJ_TRANSACTION_FENCED)
            return fenced(publisher, error);
        if (end == PJ_TRANSACTION_IN_DOUBT) {
            struct pj_error reason = *error;
            int status = after_opening(
                publisher, pj_transactor_open_again(&publisher->transactor, error), error);
            if (status != 0)
                return status;
            if (publisher->is_open && publisher->found.sequence >= contents.next.sequence)
                break;
            contents.next = bookmark_after(publisher, list);
            *error = reason;
        }
        if (error->class == PJ_POISON && list != NULL && list->next != NULL)
            return publish_halves(publisher, list, error);
        if (error->class == PJ_POISON && list != NULL && change_form(list, error))
            continue;
        pj_log(PJ_WARN, "retrying a transaction", pj_f_str("error", error->message));
        if (!pj_turns_back_off(&publisher->transactor.settings.turns, failures++, error))
            return 1;
    }
    publisher->committed = contents.next;
    publisher->transactor.fatal_count = 0;
    publisher->idle_since_ms = pj_clock_monotonic_ms();
    count(publisher, list);
    add_span(list, pj_clock_monotonic_us() - started);
    return 0;
}

/* --- opening and running --------------------------------------------------------------------- */

int pj_bridge_publisher_open(struct pj_bridge_publisher **out,
                             const struct pj_bridge_publisher_settings *settings,
                             struct pj_error *error)
{
    static const char *const topics[PJ_BRIDGE_TOPICS] = {
        [PJ_TO_TELEMETRY] = PJ_TELEMETRY_TOPIC,
        [PJ_TO_COMMANDS] = PJ_COMMANDS_TOPIC,
        [PJ_TO_DEAD_LETTERS] = PJ_DEAD_LETTERS_TOPIC,
        [PJ_TO_CURSORS] = PJ_CURSORS_TOPIC,
    };
    struct pj_bridge_publisher *publisher = pj_alloc(sizeof *publisher);
    const struct pj_transactor_settings transactor = {
        .kafka = settings->kafka,
        .client_id = "telemetry-bridge",
        .name = "telemetry-bridge",
        .id = settings->bridge->bridge_id,
        .topic_prefix = settings->bridge->topic_prefix,
        .transaction_timeout_ms = settings->bridge->transaction_timeout_ms,
        .topics = topics,
        .topic_count = PJ_BRIDGE_TOPICS,
        .state_topic = PJ_CURSORS_TOPIC,
        .state_key = settings->bridge->bridge_id,
        .read_timeout_ms = READ_MS,
        .record = on_record,
        .is_ours = is_ours,
        .context = publisher,
        .turns = {turn, publisher},
        .metrics = settings->registry,
        .counts = settings->metrics->transactor,
    };
    uuid_t instance;
    publisher->settings = *settings;
    publisher->stopping.timeout_ms = settings->bridge->shutdown_timeout_ms;
    publisher->records.bridge_id = settings->bridge->bridge_id;
    publisher->records.transactor = &publisher->transactor;
    publisher->records.telemetry = pj_encoder_new(PJ_TELEMETRY_TOPIC, pj_schema_safari_telemetry);
    publisher->records.commands = pj_encoder_new(PJ_COMMANDS_TOPIC, pj_schema_safari_commands);
    uuid_generate(instance);
    uuid_unparse_lower(instance, publisher->committed.instance);
    /* Wrong kafka.* settings are reported before waiting for the registry. */
    int status = pj_transactor_init(&publisher->transactor, &transactor, error);
    if (status == 0)
        status = register_schemas(publisher, error);
    if (status == 0)
        status = after_opening(publisher, pj_transactor_open(&publisher->transactor, error), error);
    /* From now on everyone sees who owns the id. */
    if (status == 0)
        status = publish(publisher, NULL, error);
    publisher->is_open = true;
    if (status == 0)
        *out = publisher;
    else
        pj_bridge_publisher_close(publisher);
    return status;
}

void pj_bridge_publisher_close(struct pj_bridge_publisher *publisher)
{
    if (publisher == NULL)
        return;
    pj_transactor_close(&publisher->transactor);
    pj_encoder_free(publisher->records.telemetry);
    pj_encoder_free(publisher->records.commands);
    free(publisher->records.encoded.text);
    free(publisher);
}

const struct pj_position *pj_bridge_publisher_position(const struct pj_bridge_publisher *publisher)
{
    return &publisher->committed.position;
}

/*
 * After the commit the brokers still write its markers. A transaction that begins before they are
 * done is refused with "not yet", and librdkafka retries after 20 ms. Nothing says when they are
 * done: it takes longer the longer the commit took.
 */
static int64_t pause_ms(const struct pj_bridge_publisher *publisher)
{
    int64_t most_ms = publisher->settings.bridge->linger_ms;
    int64_t least_ms = (most_ms + 2) / 3;
    int64_t half_ms = publisher->transactor.commit_us / 2000;
    return half_ms < least_ms ? least_ms : half_ms < most_ms ? half_ms : most_ms;
}

static int publish_some(struct pj_bridge_publisher *publisher, struct pj_buffer *buffer,
                        int64_t wait_ms, struct pj_error *error)
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

int pj_bridge_publisher_run(struct pj_bridge_publisher *publisher, struct pj_buffer *buffer,
                            struct pj_error *error)
{
    int status = 0;
    while (status == 0 && turn(publisher, NULL) && *publisher->settings.stop == 0)
        status = publish_some(publisher, buffer, STEP_MS / 2, error);
    return status < 0 ? -1 : 0;
}

int pj_bridge_publisher_finish(struct pj_bridge_publisher *publisher, struct pj_buffer *buffer,
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
