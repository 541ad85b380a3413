/* SPDX-License-Identifier: Apache-2.0 */
#include "job-bridge/job_publish.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/spans.h"
#include "base/text.h"
#include "common/encoder.h"
#include "common/transactor.h"
#include "projectionist/value.h"
#include "schemas.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

enum {
    WAIT_MS = 250, /* for messages, before we look for a stop */
    READ_MS = 10000,
    BEGINNING = 65536, /* of a dead letter that is too large for its topic */
    FORMER_MS = 1000,  /* a commit takes, and a look at it */
    FORMER_STEP_MS = 100,
};

/* The transactor's topics. */
enum { TO_JOBS, TO_DEAD_LETTERS, TO_BRIDGES, TOPICS };

/* What is kept under the bridge's id. */
struct state {
    char instance[37];   /* who wrote it */
    int64_t revision;    /* the greatest that was given */
    int64_t listened_us; /* what it heard until then is in the topics; 0: not known */
    bool is_stopped;     /* it has ended, and leaves nothing */
};

struct pj_job_publisher {
    struct pj_job_publisher_settings settings;
    struct pj_transactor transactor;
    struct pj_encoder *encoder;
    struct pj_builder encoded;
    struct state own, found;
    int64_t idle_since_ms;
    struct pj_stopping stopping;
    bool is_open;
    bool gave_up; /* what left the inbox was not published */
};

/* A part of a list; what it holds is one transaction. */
struct batch {
    struct pj_job_publisher *publisher;
    struct pj_job_message **messages;
    size_t count;
};

static struct pj_bytes bytes_of(const char *text)
{
    return (struct pj_bytes){text, text != NULL ? strlen(text) : 0};
}

/* --- turns ----------------------------------------------------------------------------------- */

static bool turn(void *context, const struct pj_error *trouble)
{
    struct pj_job_publisher *publisher = context;
    publisher->settings.turn(publisher->settings.context,
                             trouble != NULL ? trouble->message : NULL);
    return pj_turns_go_on(&publisher->stopping, publisher->is_open);
}

static int fenced(const struct pj_job_publisher *publisher, struct pj_error *error)
{
    return pj_transactor_taken_over(&publisher->transactor, "PROJECTIONIST_BRIDGE_ID", error);
}

/* --- the state ------------------------------------------------------------------------------- */

static int read_state(struct pj_bytes value, struct state *state, struct pj_error *error)
{
    json_t *json = json_loadb(value.data, value.length, 0, NULL);
    const char *instance = json_string_value(json_object_get(json, "instance"));
    const json_t *revision = json_object_get(json, "revision");
    const json_t *listened = json_object_get(json, "listened_until");
    const json_t *stopped = json_object_get(json, "stopped");
    bool is_good = instance != NULL && strlen(instance) < sizeof state->instance &&
                   json_is_integer(revision) && json_is_integer(listened);
    if (is_good) {
        pj_text_whole(state->instance, sizeof state->instance, "%s", instance);
        state->revision = json_integer_value(revision);
        state->listened_us = json_integer_value(listened);
        state->is_stopped = json_is_true(stopped);
    }
    json_decref(json);
    return is_good ? 0
                   : pj_error_set(error, PJ_FATAL,
                                  "what %s holds for this bridge was not written by job-bridge; "
                                  "give the bridge another --bridge-id",
                                  PJ_JOB_BRIDGES_TOPIC);
}

static int on_record(void *context, struct pj_bytes key, struct pj_bytes value,
                     struct pj_error *error)
{
    struct pj_job_publisher *publisher = context;
    (void)key;
    publisher->found = (struct state){0};
    return value.data != NULL ? read_state(value, &publisher->found, error) : 0;
}

static bool is_ours(void *context)
{
    const struct pj_job_publisher *publisher = context;
    return !publisher->is_open || strcmp(publisher->found.instance, publisher->own.instance) == 0;
}

static int send_state(struct pj_job_publisher *publisher, struct pj_error *error)
{
    const struct state *own = &publisher->own;
    char *text = pj_text_new("{\"instance\":\"%s\",\"revision\":%lld,\"listened_until\":%lld,"
                             "\"stopped\":%s}",
                             own->instance, (long long)own->revision, (long long)own->listened_us,
                             own->is_stopped ? "true" : "false");
    const struct pj_producer_message message = {
        .key = bytes_of(publisher->settings.bridge->bridge_id), .value = bytes_of(text)};
    int status = pj_transactor_send(&publisher->transactor, TO_BRIDGES, message, error);
    free(text);
    return status;
}

/* --- records --------------------------------------------------------------------------------- */

static int send_event(struct pj_job_publisher *publisher, struct pj_job_message *message,
                      const struct pj_header *traced, struct pj_error *error)
{
    json_t *event =
        pj_must(json_pack("{s:s, s:o, s:I, s:I, s:O}", "event_id", message->event_id, "job_id",
                          pj_json_text((struct pj_bytes){message->job_id, message->job_id_length}),
                          "revision", (json_int_t)message->revision, "emitted_at",
                          (json_int_t)message->emitted_us, "body", message->body));
    int status = pj_encode(publisher->encoder, event, &publisher->encoded, error);
    json_decref(event);
    const struct pj_producer_message record = {.key = {message->job_id, message->job_id_length},
                                               .value = pj_encoded_bytes(&publisher->encoded),
                                               .headers = traced,
                                               .header_count = 1};
    return status == 0 ? pj_transactor_send(&publisher->transactor, TO_JOBS, record, error) : -1;
}

static int send_dead_letter(struct pj_job_publisher *publisher,
                            const struct pj_job_message *message, const struct pj_header *traced,
                            struct pj_error *error)
{
    char size[24];
    pj_text_whole(size, sizeof size, "%zu", message->payload.length);
    const struct pj_header headers[] = {
        *traced,
        {bytes_of("reason"), bytes_of(message->reason)},
        {bytes_of("bridge"), bytes_of(publisher->settings.bridge->bridge_id)},
        {bytes_of("channel"), message->channel},
        {bytes_of("size"), bytes_of(size)},
        {bytes_of("cut"), bytes_of("true")},
    };
    struct pj_producer_message record = {.key = bytes_of(message->event_id),
                                         .value = message->payload,
                                         .headers = headers,
                                         .header_count = 5 + (message->form > PJ_JOB_DEAD_LETTER)};
    if (message->form == PJ_JOB_BEGINNING && record.value.length > BEGINNING)
        record.value.length = BEGINNING;
    if (message->form == PJ_JOB_HEADERS_ALONE)
        record.value.length = 0;
    return pj_transactor_send(&publisher->transactor, TO_DEAD_LETTERS, record, error);
}

static int send_message(struct pj_job_publisher *publisher, struct pj_job_message *message,
                        struct pj_error *error)
{
    char text[PJ_TRACE_TEXT_SIZE];
    uint8_t id[16];
    struct pj_trace trace;
    uuid_parse(message->event_id, id);
    pj_trace_of_id(&trace, id);
    pj_trace_text(&trace, text);
    const struct pj_header traced = {bytes_of(PJ_TRACE_HEADER), bytes_of(text)};
    if (message->form == PJ_JOB_EVENT)
        return send_event(publisher, message, &traced, error);
    return send_dead_letter(publisher, message, &traced, error);
}

static int send_all(void *context, struct pj_error *error)
{
    const struct batch *batch = context;
    for (size_t i = 0; i < batch->count; i++) {
        if (send_message(batch->publisher, batch->messages[i], error) != 0)
            return -1;
    }
    return send_state(batch->publisher, error);
}

/* --- the producer ---------------------------------------------------------------------------- */

/* With what an `_open` of the transactor returned. */
static int after_opening(struct pj_job_publisher *publisher, int status, struct pj_error *error)
{
    if (status < 0 && error->class == PJ_FENCED)
        return fenced(publisher, error);
    if (status == 0 && publisher->found.revision > publisher->own.revision)
        publisher->own.revision = publisher->found.revision;
    return status;
}

/* --- transactions ---------------------------------------------------------------------------- */

static void count(const struct pj_job_publisher *publisher, const struct batch *batch)
{
    const struct pj_job_bridge_metrics *metrics = publisher->settings.metrics;
    int64_t now_us = pj_clock_monotonic_us();
    pj_transactor_count(&publisher->transactor);
    for (size_t i = 0; i < batch->count; i++) {
        const struct pj_job_message *message = batch->messages[i];
        pj_metric_add(message->form == PJ_JOB_EVENT ? metrics->published
                      : message->is_refused         ? metrics->refused
                                                    : metrics->misfits,
                      1);
        pj_metric_observe_us(metrics->message_time, now_us - message->received_us);
    }
}

static int publish(struct batch batch, struct pj_error *error);

/* Brokers refuse a whole batch for one record: each half by itself; one that is refused alone is
 * retried in its next form. */
static int publish_apart(struct batch batch, struct pj_error *error)
{
    struct batch first = batch, rest = batch;
    if (batch.count == 1) {
        pj_log(PJ_WARN, "Kafka refuses a message; it becomes a dead letter",
               pj_f_str("event_id", batch.messages[0]->event_id),
               pj_f_str("error", error->message));
        return pj_job_message_refuse(batch.messages[0], error->message) ? publish(batch, error)
                                                                        : -1;
    }
    first.count = batch.count / 2;
    rest.messages += first.count;
    rest.count -= first.count;
    int status = publish(first, error);
    return status == 0 ? publish(rest, error) : status;
}

/* Retries until the batch is published. Returns 1 when it is time to stop. */
static int publish(struct batch batch, struct pj_error *error)
{
    struct pj_job_publisher *publisher = batch.publisher;
    int failures = 0;
    for (;;) {
        switch (pj_transactor_try(&publisher->transactor, send_all, &batch, error)) {
        case PJ_TRANSACTION_COMMITTED:
            publisher->idle_since_ms = pj_clock_monotonic_ms();
            count(publisher, &batch);
            return 0;
        case PJ_TRANSACTION_STOPPED:
            return 1;
        case PJ_TRANSACTION_FENCED:
            return fenced(publisher, error);
        case PJ_TRANSACTION_ABORTED:
            if (error->class == PJ_POISON && batch.count > 0)
                return publish_apart(batch, error);
            break;
        case PJ_TRANSACTION_IN_DOUBT: {
            struct pj_error reason = *error;
            int status = after_opening(
                publisher, pj_transactor_open_again(&publisher->transactor, error), error);
            if (status != 0)
                return status;
            *error = reason;
            break;
        }
        }
        pj_log(PJ_WARN, "retrying a transaction", pj_f_str("error", error->message));
        if (!pj_turns_back_off(&publisher->transactor.settings.turns, failures++, error))
            return 1;
    }
}

/* A hybrid clock: it never goes back, whatever the machine's does. */
static void give_revision(struct pj_job_publisher *publisher, struct pj_job_message *message)
{
    int64_t now_us = pj_clock_wall_us();
    publisher->own.revision =
        now_us > publisher->own.revision ? now_us : publisher->own.revision + 1;
    message->revision = publisher->own.revision;
}

/* What is in the inbox before a list is taken of it, and what was heard before that, is in the list
 * if nothing is left; else, what was heard until its last. */
static void note_listened(struct pj_job_publisher *publisher, int64_t heard_us,
                          const struct pj_job_message *last)
{
    bool is_all = pj_inbox_count(publisher->settings.inbox) == 0;
    int64_t until_us = is_all ? heard_us : last != NULL ? last->emitted_us : 0;
    if (until_us != 0)
        publisher->own.listened_us = until_us;
}

static int publish_list(struct pj_job_publisher *publisher, struct pj_job_message *list,
                        size_t length, struct pj_error *error)
{
    struct batch batch = {publisher, pj_calloc(length + 1, sizeof *batch.messages), length};
    size_t i = 0;
    for (struct pj_job_message *message = list; message != NULL; message = message->next) {
        give_revision(publisher, message);
        batch.messages[i++] = message;
    }
    int status = publish(batch, error);
    for (i = 0; i < length; i++)
        pj_job_message_free(batch.messages[i]);
    free(batch.messages);
    publisher->gave_up = status != 0 && length > 0;
    return status;
}

static int publish_some(struct pj_job_publisher *publisher, int64_t wait_ms, struct pj_error *error)
{
    const struct pj_job_bridge_settings *bridge = publisher->settings.bridge;
    struct pj_inbox *inbox = publisher->settings.inbox;
    struct pj_job_message *list, *last;
    int64_t heard_us = pj_listener_listened_us(publisher->settings.listener);
    size_t taken = pj_inbox_take(inbox, (size_t)bridge->batch_messages, wait_ms, &list);
    pj_metric_set(publisher->settings.metrics->buffered, pj_inbox_count(inbox) + (int64_t)taken);
    /* A bridge without messages would not notice that it is fenced. */
    if (taken == 0 && pj_clock_monotonic_ms() - publisher->idle_since_ms < bridge->heartbeat_ms)
        return 0;
    for (last = list; last != NULL && last->next != NULL;)
        last = last->next;
    note_listened(publisher, heard_us, last);
    int status = publish_list(publisher, list, taken, error);
    if (taken > 0)
        poll(NULL, 0, (int)bridge->linger_ms);
    return status;
}

/* --- taking over ----------------------------------------------------------------------------- */

/*
 * What a bridge of this name has heard before we listened, and has not published yet, is lost when
 * it is fenced. So it is given time, if it lives: until what it heard by then is in the topics, at
 * most a heartbeat and a little. Returns 1 when it is time to stop.
 */
static int wait_for_former(struct pj_job_publisher *publisher)
{
    static const struct pj_error waiting = {
        .message = "a bridge of this name has not published all that it has heard"};
    struct pj_error error = {0};
    const int64_t beat_ms = publisher->settings.bridge->heartbeat_ms;
    int64_t deadline_ms = pj_clock_monotonic_ms() + beat_ms + FORMER_MS;
    while (pj_clock_monotonic_ms() < deadline_ms) {
        const struct state *former = &publisher->found;
        int64_t since_us = pj_listener_subscribed_us(publisher->settings.listener);
        bool is_read = pj_transactor_read(&publisher->transactor, true, &error) == 0;
        int64_t silent_ms = (pj_clock_wall_us() - former->listened_us) / 1000;
        if (!is_read && error.class != PJ_RETRY)
            return 0; /* opening it will say so, too */
        if (is_read && (*former->instance == '\0' || former->is_stopped ||
                        silent_ms > 2 * (beat_ms + FORMER_MS) ||
                        (since_us != 0 && former->listened_us >= since_us)))
            return 0;
        if (!pj_turn(&publisher->transactor.settings.turns, &waiting))
            return 1;
        poll(NULL, 0, FORMER_STEP_MS);
    }
    return 0;
}

/* --- opening and running --------------------------------------------------------------------- */

int pj_job_publisher_open(struct pj_job_publisher **out,
                          const struct pj_job_publisher_settings *settings, struct pj_error *error)
{
    static const char *const topics[TOPICS] = {
        [TO_JOBS] = PJ_JOBS_TOPIC,
        [TO_DEAD_LETTERS] = PJ_JOBS_DEAD_LETTER_TOPIC,
        [TO_BRIDGES] = PJ_JOB_BRIDGES_TOPIC,
    };
    struct pj_job_publisher *publisher = pj_alloc(sizeof *publisher);
    const struct pj_job_bridge_settings *bridge = settings->bridge;
    const struct pj_transactor_settings transactor = {
        .kafka = &settings->config->kafka,
        .client_id = "job-bridge",
        .name = "job-bridge",
        .id = bridge->bridge_id,
        .topic_prefix = bridge->topic_prefix,
        .transaction_timeout_ms = bridge->transaction_timeout_ms,
        .topics = topics,
        .topic_count = TOPICS,
        .state_topic = PJ_JOB_BRIDGES_TOPIC,
        .state_key = bridge->bridge_id,
        .read_timeout_ms = READ_MS,
        .record = on_record,
        .is_ours = is_ours,
        .context = publisher,
        .turns = {turn, publisher},
        .metrics = settings->registry,
        .counts = settings->metrics->transactor,
    };
    uuid_t instance;
    uuid_generate(instance);
    uuid_unparse_lower(instance, publisher->own.instance);
    publisher->settings = *settings;
    publisher->stopping.timeout_ms = bridge->shutdown_timeout_ms;
    publisher->encoder = pj_encoder_new(PJ_JOBS_TOPIC, pj_schema_studio_jobs);
    int status = pj_transactor_init(&publisher->transactor, &transactor, error);
    if (status == 0)
        status = pj_encoder_register_all(&publisher->encoder, 1, bridge->topic_prefix,
                                         &bridge->registry, &transactor.turns, error);
    if (status == 0)
        status = pj_listener_start(settings->listener, error);
    if (status == 0)
        status = wait_for_former(publisher);
    if (status == 0)
        status = after_opening(publisher, pj_transactor_open(&publisher->transactor, error), error);
    if (status == 0) {
        publisher->own.listened_us = publisher->found.listened_us;
        pj_listener_heard_until(settings->listener, publisher->found.listened_us);
        /* From now on everyone sees who owns the id. */
        status = publish((struct batch){publisher, NULL, 0}, error);
    }
    publisher->is_open = true;
    if (status == 0)
        *out = publisher;
    else
        pj_job_publisher_close(publisher);
    return status;
}

void pj_job_publisher_close(struct pj_job_publisher *publisher)
{
    if (publisher == NULL)
        return;
    pj_transactor_close(&publisher->transactor);
    pj_encoder_free(publisher->encoder);
    pj_builder_free(&publisher->encoded);
    free(publisher);
}

int pj_job_publisher_run(struct pj_job_publisher *publisher, struct pj_error *error)
{
    int status = 0;
    while (status == 0 && turn(publisher, NULL) && pj_stop_requests == 0) {
        status = publish_some(publisher, WAIT_MS, error);
        if (status == 0)
            status = pj_listener_check(publisher->settings.listener, error);
    }
    return status < 0 ? -1 : 0;
}

int pj_job_publisher_finish(struct pj_job_publisher *publisher, struct pj_error *error)
{
    struct pj_inbox *inbox = publisher->settings.inbox;
    int64_t heard_us = pj_listener_listened_us(publisher->settings.listener);
    int status = 0;
    while (status == 0 && !publisher->gave_up && pj_inbox_count(inbox) > 0 && turn(publisher, NULL))
        status = publish_some(publisher, 0, error);
    if (status == 0 && !publisher->gave_up && pj_inbox_count(inbox) == 0) {
        publisher->own.is_stopped = true;
        publisher->own.listened_us = heard_us != 0 ? heard_us : publisher->own.listened_us;
        status = publish((struct batch){publisher, NULL, 0}, error);
    }
    if (status < 0)
        return -1;
    int64_t left = pj_inbox_count(inbox);
    if (publisher->gave_up || left > 0)
        return pj_error_set(error, PJ_RETRY,
                            "Kafka did not take the remaining messages in time; they are lost");
    return 0;
}
