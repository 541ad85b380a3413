/* SPDX-License-Identifier: Apache-2.0 */
#include "outbox-relay/relay.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/spans.h"
#include "common/transactor.h"
#include "outbox-relay/relay_topics.h"
#include "projectionist/value.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAUSE_MS = 10,            /* after a transaction; see the bridge's pause_ms */
    COUNT_EVERY_MS = 5000,    /* what is pending */
    SILENT_MS = 10000,        /* Postgres does not answer */
    REFUSED_MOST_MS = 300000, /* a password may be wrong that was right before */
};

struct relay {
    const struct pj_relay_surroundings *around;
    const struct pj_relay_settings *settings;
    const struct pj_relay_metrics *metrics;
    struct pj_transactor transactor;
    struct pj_relay_topics *topics;
    struct pj_outbox *outbox; /* NULL: not connected */
    struct pj_arena *arena;
    int64_t batch_most;
    struct pj_stopping stopping;
    int64_t counted_ms, beaten_ms, asked_ms, refused_since;
    int failures; /* transactions since the last that was committed */
    bool was_connected, is_active;
    /* Published, and not known to be deleted. */
    int64_t *published;
    size_t published_count;
};

/* One record of a transaction: of a row, or a heartbeat. */
struct item {
    struct pj_relay_topic *topic;
    int32_t partition;
    struct pj_bytes key;
    struct pj_builder value;
};

struct batch {
    struct relay *relay;
    struct pj_outbox_row *rows; /* NULL: heartbeats */
    struct item *items;         /* of the same number */
    size_t count;
};

/* --- turns ----------------------------------------------------------------------------------- */

/* What keeps it from publishing; NULL: nothing. */
static void say(struct relay *relay, const char *trouble)
{
    struct pj_metrics_server *server = relay->around->server;
    const struct pj_error *why;
    int64_t waiting;
    if (server == NULL)
        return;
    free(pj_relay_topics_waiting(relay->topics, &waiting, &why));
    pj_metric_set(relay->metrics->waiting_topics, waiting);
    pj_metrics_server_set_ready(server, trouble != NULL ? trouble
                                        : why != NULL   ? why->message
                                                        : NULL);
    pj_metrics_server_heartbeat(server);
}

static bool turn(void *context, const struct pj_error *trouble)
{
    struct relay *relay = context;
    if (trouble != NULL || relay->is_active)
        say(relay, trouble != NULL ? trouble->message : NULL);
    else if (relay->around->server != NULL)
        pj_metrics_server_heartbeat(relay->around->server);
    return pj_turns_go_on(&relay->stopping, relay->is_active);
}

/* While Postgres is waited for. */
static bool on_idle(void *context, int *fd)
{
    static const struct pj_error silent = {.message = "Postgres does not answer"};
    struct relay *relay = context;
    (void)fd;
    bool is_silent = pj_clock_monotonic_ms() - relay->asked_ms >= SILENT_MS;
    if (!turn(relay, is_silent ? &silent : NULL))
        pj_postgres_abandon(pj_outbox_postgres(relay->outbox));
    return false;
}

static bool while_connecting(void *context)
{
    struct relay *relay = context;
    if (relay->around->server != NULL)
        pj_metrics_server_heartbeat(relay->around->server);
    return pj_stop_requests != 0;
}

static void ask(struct relay *relay)
{
    relay->asked_ms = pj_clock_monotonic_ms();
}

/* --- batches --------------------------------------------------------------------------------- */

/* As the bridge's frames: an event's trace is that of its id. */
static size_t trace_of(const struct pj_outbox_row *row, char text[PJ_TRACE_TEXT_SIZE])
{
    uint8_t id[16];
    struct pj_trace trace;
    if (!pj_uuid_parse(row->event_id, strlen(row->event_id), id))
        return 0;
    pj_trace_of_id(&trace, id);
    pj_trace_text(&trace, text);
    return strlen(text);
}

static int send_all(void *context, struct pj_error *error)
{
    const struct batch *batch = context;
    for (size_t i = 0; i < batch->count; i++) {
        const struct item *item = &batch->items[i];
        char trace[PJ_TRACE_TEXT_SIZE] = "";
        struct pj_header header = {{PJ_TRACE_HEADER, strlen(PJ_TRACE_HEADER)}, {trace, 0}};
        if (batch->rows != NULL)
            header.value.length = trace_of(&batch->rows[i], trace);
        struct pj_producer_message message = {
            .partition = item->partition,
            .key = item->key,
            .value = {item->value.text, item->value.length},
            .headers = &header,
            .header_count = header.value.length > 0,
        };
        if (pj_relay_topic_handle(batch->relay->topics, item->topic, &message.topic, error) != 0 ||
            pj_producer_send(batch->relay->transactor.producer, &message, error) != 0)
            return -1;
    }
    return 0;
}

static void free_values(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        pj_builder_free(&batch->items[i].value);
}

static int settle(struct relay *relay, const struct pj_outbox_row *rows, size_t count,
                  struct pj_error *error)
{
    ask(relay);
    return count > 0 ? pj_outbox_settle(relay->outbox, rows, count, error) : 0;
}

static int settle_failed(struct relay *relay, const struct pj_outbox_row *rows, size_t count,
                         struct pj_metric *metric, struct pj_error *error)
{
    if (settle(relay, rows, count, error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        pj_log(PJ_WARN, "a row can never be published; it is in outbox_failed now",
               pj_f_int("id", rows[i].id), pj_f_str("event_id", rows[i].event_id),
               pj_f_str("topic", rows[i].topic), pj_f_str("reason", rows[i].failed));
    pj_metric_add(metric, (int64_t)count);
    return 0;
}

/* A session that is lost before it has deleted them leaves them to the next one. */
static int settle_published(struct relay *relay, const struct batch *batch, struct pj_error *error)
{
    relay->published = pj_resize(relay->published, batch->count, sizeof *relay->published);
    for (size_t i = 0; i < batch->count; i++)
        relay->published[i] = batch->rows[i].id;
    relay->published_count = batch->count;
    if (settle(relay, batch->rows, batch->count, error) != 0)
        return -1;
    relay->published_count = 0;
    return 0;
}

static int settle_left(struct relay *relay, struct pj_error *error)
{
    struct pj_outbox_row *rows =
        pj_arena_alloc(relay->arena, relay->published_count * sizeof *rows);
    for (size_t i = 0; i < relay->published_count; i++)
        rows[i].id = relay->published[i];
    if (settle(relay, rows, relay->published_count, error) != 0)
        return -1;
    relay->published_count = 0;
    return 0;
}

/* What fits no schema is settled here, and leaves the batch. So do rows of topics that wait: they
 * stay where they are. */
static int encode_all(struct relay *relay, struct batch *batch, struct pj_error *error)
{
    size_t count = batch->count, failed_count = 0;
    struct pj_outbox_row *failed = pj_arena_alloc(relay->arena, count * sizeof *failed);
    batch->items = pj_arena_alloc(relay->arena, count * sizeof *batch->items);
    batch->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct pj_outbox_row row = batch->rows[i];
        struct item item = {.partition = -1, .key = {row.key, strlen(row.key)}};
        int status = pj_relay_topics_encode(relay->topics, &row, &item.topic, &item.value, error);
        if (status == 0) {
            batch->rows[batch->count] = row;
            batch->items[batch->count++] = item;
            continue;
        }
        pj_builder_free(&item.value);
        if (status < 0 && error->class != PJ_POISON)
            return -1;
        if (status < 0) {
            row.failed = pj_arena_string(relay->arena, error->message, strlen(error->message));
            failed[failed_count++] = row;
        }
    }
    return settle_failed(relay, failed, failed_count, relay->metrics->unfit, error);
}

static void add_span(const struct batch *batch, int64_t microseconds)
{
    struct pj_trace links[PJ_SPAN_LINKS_MOST];
    size_t link_count = 0;
    if (!pj_spans_are_on() || batch->rows == NULL)
        return;
    for (size_t i = 0; i < batch->count && link_count < PJ_SPAN_LINKS_MOST; i++) {
        uint8_t id[16];
        if (pj_uuid_parse(batch->rows[i].event_id, 36, id))
            pj_trace_of_id(&links[link_count++], id);
    }
    pj_spans_add_published("publish outbox", batch->count, links, link_count, microseconds);
}

static void count_committed(struct relay *relay, const struct batch *batch)
{
    const struct pj_relay_metrics *metrics = relay->metrics;
    int64_t now_us = pj_clock_wall_us();
    pj_transactor_count(&relay->transactor);
    pj_metric_add(batch->rows != NULL ? metrics->published : metrics->heartbeats,
                  (int64_t)batch->count);
    for (size_t i = 0; batch->rows != NULL && i < batch->count; i++) {
        int64_t delay_us = now_us - batch->rows[i].written_us; /* the clocks are two */
        pj_metric_observe_us(metrics->delay, delay_us > 0 ? delay_us : 0);
    }
}

/* --- transactions ---------------------------------------------------------------------------- */

/* Another producer has our id, and so perhaps our lock. */
static int fenced(struct relay *relay, struct pj_error *error)
{
    struct pj_error lost;
    ask(relay);
    if (pj_postgres_script(pj_outbox_postgres(relay->outbox), "SELECT", &lost) != 0) {
        *error = lost;
        return -1;
    }
    return pj_error_fatal(error, PJ_EXIT_FENCED,
                          "another outbox-relay, of another outbox, publishes as '%s', so this one "
                          "stops: give each outbox in this Kafka a --relay-id of its own",
                          relay->settings->relay_id);
}

/* How it ended is not known; what it held is sent again. */
static int open_again(struct relay *relay, struct pj_error *error)
{
    int status = pj_transactor_open_again(&relay->transactor, error);
    if (status == 0)
        pj_relay_topics_use(relay->topics, relay->transactor.producer);
    return status < 0 && error->class == PJ_FENCED ? fenced(relay, error) : status;
}

/* One transaction of the batch. 0: it is committed, and count_committed; 1: it is time to stop; 2:
 * it is not, and another may be, *error says why; 3: one of its records is refused for good. */
static int publish(struct relay *relay, struct batch *batch, struct pj_error *error)
{
    int64_t start_us = pj_clock_monotonic_us();
    struct pj_error why;
    int status;
    switch (pj_transactor_try(&relay->transactor, send_all, batch, error)) {
    case PJ_TRANSACTION_COMMITTED:
        relay->failures = 0;
        count_committed(relay, batch);
        add_span(batch, pj_clock_monotonic_us() - start_us);
        poll(NULL, 0, PAUSE_MS);
        return 0;
    case PJ_TRANSACTION_ABORTED:
        if (error->class == PJ_POISON)
            return 3;
        pj_relay_topics_use(relay->topics, relay->transactor.producer);
        return 2;
    case PJ_TRANSACTION_IN_DOUBT:
        why = *error;
        status = open_again(relay, error);
        if (status != 0)
            return status;
        *error = why;
        return 2;
    case PJ_TRANSACTION_FENCED:
        return fenced(relay, error);
    case PJ_TRANSACTION_STOPPED:
        break;
    }
    return 1;
}

static void grow(struct relay *relay)
{
    relay->batch_most *= 2;
    if (relay->batch_most > relay->settings->batch_rows)
        relay->batch_most = relay->settings->batch_rows;
}

/* Whether the topics of its records wait. */
static struct pj_hold **holds_of(const struct relay *relay, const struct batch *batch)
{
    struct pj_hold **holds = pj_arena_alloc(relay->arena, batch->count * sizeof *holds);
    for (size_t i = 0; i < batch->count; i++)
        holds[i] = pj_relay_topic_hold(batch->items[i].topic);
    return holds;
}

/* Kafka refused it, not for good. The rows are where they were. */
static int find_refused(struct relay *relay, const struct batch *batch, int64_t took_ms,
                        const struct pj_error *why)
{
    if (pj_hold_refused(holds_of(relay, batch), batch->count, relay->failures, took_ms, why)) {
        relay->failures = 0;
        return 0;
    }
    pj_log(PJ_WARN, "retrying a transaction", pj_f_str("error", why->message));
    return pj_turns_back_off(&relay->transactor.settings.turns, relay->failures++, why) ? 0 : 1;
}

/* Brokers refuse a whole batch for one record: it is looked for in halves of what is read again. */
static int publish_batch(struct relay *relay, struct batch *batch, struct pj_error *error)
{
    int64_t begun_ms = pj_clock_monotonic_ms();
    int status = publish(relay, batch, error);
    if (status == 2)
        return find_refused(relay, batch, pj_clock_monotonic_ms() - begun_ms, error);
    if (status == 3 && batch->count > 1) {
        relay->batch_most = (int64_t)(batch->count + 1) / 2;
        return 0;
    }
    if (status == 3) {
        batch->rows[0].failed = error->message;
        status = settle_failed(relay, batch->rows, 1, relay->metrics->refused, error);
    } else if (status == 0) {
        pj_hold_taken(holds_of(relay, batch), batch->count);
        status = settle_published(relay, batch, error);
    } else {
        return status;
    }
    grow(relay);
    return status;
}

/* Takes the next rows that go into one transaction out of a batch: those of a topic that may be
 * refused go alone, so that they keep no others back. */
static struct batch take_together(struct relay *relay, struct batch *batch)
{
    struct batch together = {
        .relay = relay,
        .rows = pj_arena_alloc(relay->arena, batch->count * sizeof *together.rows),
        .items = pj_arena_alloc(relay->arena, batch->count * sizeof *together.items),
    };
    const struct pj_hold *first = pj_relay_topic_hold(batch->items[0].topic);
    size_t left = 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (pj_hold_may_share(first, pj_relay_topic_hold(batch->items[i].topic))) {
            together.rows[together.count] = batch->rows[i];
            together.items[together.count++] = batch->items[i];
        } else {
            batch->rows[left] = batch->rows[i];
            batch->items[left++] = batch->items[i];
        }
    }
    batch->count = left;
    return together;
}

static int publish_all(struct relay *relay, struct batch *batch, struct pj_error *error)
{
    int status = 0;
    while (status == 0 && batch->count > 0) {
        struct batch together = take_together(relay, batch);
        status = publish_batch(relay, &together, error);
        free_values(&together);
    }
    return status;
}

/* Reads and publishes some rows; *found: how many there were. */
static int relay_some(struct relay *relay, size_t *found, struct pj_error *error)
{
    struct batch batch = {.relay = relay};
    int64_t waiting;
    const struct pj_error *why;
    pj_arena_reset(relay->arena);
    char *but = pj_relay_topics_waiting(relay->topics, &waiting, &why);
    ask(relay);
    int status = pj_outbox_read(relay->outbox, but, relay->batch_most, relay->arena, &batch.rows,
                                &batch.count, error);
    free(but);
    if (status != 0)
        return -1;
    *found = batch.count;
    status = encode_all(relay, &batch, error);
    if (status == 0)
        status = publish_all(relay, &batch, error);
    free_values(&batch);
    return status;
}

/* --- heartbeats ------------------------------------------------------------------------------ */

/* One to each partition of a topic, which keeps neither other topics back nor rows. */
static int beat_topic(struct relay *relay, const char *name, struct pj_error *error)
{
    struct batch batch = {.relay = relay};
    struct pj_relay_topic *topic;
    struct pj_builder value = {0};
    int partitions = 0;
    int64_t begun_ms = pj_clock_monotonic_ms();
    pj_arena_reset(relay->arena);
    int status = pj_relay_topics_beat(relay->topics, name, &topic, &partitions, &value, error);
    if (status == 0) {
        batch.items = pj_arena_alloc(relay->arena, (size_t)partitions * sizeof *batch.items);
        for (int p = 0; p < partitions; p++) {
            struct item *item = &batch.items[batch.count++];
            *item = (struct item){.topic = topic, .partition = p};
            pj_builder_add_bytes(&item->value, value.text, value.length);
        }
        status = publish(relay, &batch, error);
        free_values(&batch);
        struct pj_hold *hold = pj_relay_topic_hold(topic);
        if (status == 0)
            pj_hold_end(hold);
        else if (status >= 2)
            (void)pj_hold_refused(&hold, 1, 1, pj_clock_monotonic_ms() - begun_ms, error);
    } else if (status > 0) {
        status = 2; /* it waits */
    }
    pj_builder_free(&value);
    return status >= 2 ? 0 : status;
}

/* Only of an outbox that is empty: time has not passed for what is still in it. */
static int beat(struct relay *relay, struct pj_error *error)
{
    int status = 0;
    char *names = pj_strdup(relay->settings->heartbeat_topics), *left = names;
    for (char *name; status == 0 && (name = strsep(&left, ",")) != NULL;)
        status = beat_topic(relay, name, error);
    free(names);
    return status;
}

/* --- a session ------------------------------------------------------------------------------- */

static int count_rows(struct relay *relay, struct pj_error *error)
{
    struct pj_outbox_numbers numbers;
    ask(relay);
    if (!pj_clock_every(&relay->counted_ms, COUNT_EVERY_MS))
        return 0;
    if (pj_outbox_count(relay->outbox, &numbers, error) != 0)
        return -1;
    pj_metric_set(relay->metrics->pending, numbers.pending);
    pj_metric_set(relay->metrics->oldest, numbers.oldest_ms);
    pj_metric_set(relay->metrics->failed_rows, numbers.failed);
    return 0;
}

/* Waits until new rows are told of, or it is time to look. */
static int wait_for_rows(struct relay *relay, struct pj_error *error)
{
    int64_t until_ms = pj_clock_monotonic_ms() + relay->settings->poll_ms, left_ms;
    int told = 0;
    while (told == 0 && pj_stop_requests == 0 &&
           (left_ms = until_ms - pj_clock_monotonic_ms()) > 0) {
        if (!turn(relay, NULL))
            break;
        told = pj_postgres_wait(pj_outbox_postgres(relay->outbox), left_ms < 500 ? left_ms : 500,
                                error);
    }
    return told < 0 ? -1 : 0;
}

/* Until it stops, or something fails. */
static int work(struct relay *relay, struct pj_error *error)
{
    int status = settle_left(relay, error);
    while (status == 0 && pj_stop_requests == 0) {
        size_t found = 0;
        status = count_rows(relay, error);
        if (status == 0)
            status = relay_some(relay, &found, error);
        if (status == 0)
            (void)turn(relay, NULL);
        if (status != 0 || found > 0)
            continue;
        if (relay->settings->heartbeat_topics != NULL &&
            pj_clock_every(&relay->beaten_ms, relay->settings->heartbeat_ms))
            status = beat(relay, error);
        if (status == 0)
            status = wait_for_rows(relay, error);
    }
    return status;
}

/* Waits for the lock while another relay has it. Returns 1 when it is time to stop. */
static int take_lock(struct relay *relay, struct pj_error *error)
{
    bool locked = false, said = false;
    while (pj_stop_requests == 0) {
        ask(relay);
        if (pj_outbox_lock(relay->outbox, &locked, error) != 0)
            return -1;
        if (locked)
            return 0;
        if (!said)
            pj_log(PJ_INFO, "another relay publishes this outbox; standing by",
                   pj_f_str("outbox", relay->settings->outbox));
        said = true;
        say(relay, NULL);
        if (wait_for_rows(relay, error) != 0)
            return -1;
    }
    return 1;
}

static int open_outbox(struct relay *relay, struct pj_error *error)
{
    const struct pj_relay_settings *settings = relay->settings;
    const struct pj_outbox_settings outbox = {
        .schema = settings->outbox,
        .postgres =
            {
                .dsn = settings->postgres_dsn,
                .properties = &relay->around->config->postgres,
                .application_name = "outbox-relay",
                .waiting = while_connecting,
                .waiting_context = relay,
            },
        .idle = on_idle,
        .context = relay,
    };
    ask(relay);
    return pj_outbox_open(&relay->outbox, &outbox, error);
}

/* One session with Postgres: the lock, then the producer, whose opening ends what an earlier owner
 * of the lock left under way. Returns 1 when it is time to stop. */
static int serve(struct relay *relay, struct pj_error *error)
{
    int status = open_outbox(relay, error);
    if (status == 0) {
        pj_metric_add(relay->metrics->reconnects, relay->was_connected);
        relay->was_connected = true;
        relay->refused_since = 0;
        status = take_lock(relay, error);
    }
    if (status == 0)
        status = pj_transactor_open(&relay->transactor, error);
    if (status == 0) {
        pj_relay_topics_use(relay->topics, relay->transactor.producer);
        pj_log(PJ_INFO, "started", pj_f_str("version", PJ_VERSION),
               pj_f_str("outbox", relay->settings->outbox),
               pj_f_str("relay_id", relay->settings->relay_id));
        relay->is_active = true;
        pj_metric_set(relay->metrics->active, 1);
        status = work(relay, error);
    }
    relay->is_active = false;
    pj_metric_set(relay->metrics->active, 0);
    pj_metric_set(relay->metrics->pending, 0); /* who is active counts them */
    pj_metric_set(relay->metrics->oldest, 0);
    pj_metric_set(relay->metrics->failed_rows, 0);
    relay->counted_ms = 0;
    pj_outbox_close(relay->outbox);
    relay->outbox = NULL;
    return status;
}

/* --- running --------------------------------------------------------------------------------- */

/* A new password reaches server and file one after the other, and a database that is being restored
 * is away for a while. */
static bool may_be_admitted(struct relay *relay, const struct pj_error *error)
{
    bool refused = strncmp(error->sqlstate, "28", 2) == 0 || strcmp(error->sqlstate, "3D000") == 0;
    return relay->was_connected && refused &&
           pj_clock_since(&relay->refused_since) < REFUSED_MOST_MS;
}

static int run_sessions(struct relay *relay, struct pj_error *error)
{
    int failures = 0, status = 0;
    while (pj_stop_requests == 0 && (status = serve(relay, error)) < 0) {
        if (pj_stop_requests != 0)
            return 0; /* nothing is lost */
        if (error->class != PJ_RETRY && error->class != PJ_FENCED && !may_be_admitted(relay, error))
            return -1;
        pj_log(PJ_WARN, "waiting for a server", pj_f_str("error", error->message));
        if (!pj_turns_back_off(&relay->transactor.settings.turns, failures++, error))
            return 0;
    }
    return 0;
}

int pj_relay_run(const struct pj_relay_surroundings *around, struct pj_error *error)
{
    const struct pj_relay_settings *settings = around->settings;
    struct relay relay = {.around = around,
                          .settings = settings,
                          .metrics = around->metrics,
                          .batch_most = settings->batch_rows,
                          .stopping = {.timeout_ms = settings->shutdown_timeout_ms},
                          .arena = pj_arena_new()};
    const struct pj_transactor_settings transactor = {
        .kafka = &around->config->kafka,
        .client_id = "outbox-relay",
        .name = "outbox-relay",
        .id = settings->relay_id,
        .topic_prefix = settings->topic_prefix,
        .transaction_timeout_ms = settings->transaction_timeout_ms,
        .turns = {turn, &relay},
        .metrics = around->registry,
        .counts = around->metrics->transactor,
    };
    int status =
        pj_relay_topics_new(&relay.topics, settings->topic_prefix, &settings->registry, error);
    if (status == 0)
        status = pj_transactor_init(&relay.transactor, &transactor, error);
    if (status == 0)
        status = run_sessions(&relay, error);
    pj_transactor_close(&relay.transactor);
    pj_relay_topics_free(relay.topics);
    pj_arena_free(relay.arena);
    free(relay.published);
    return status;
}
