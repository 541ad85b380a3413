/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-replay/lane.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "common/rekey.h"
#include "stream-replay/replay_cursor.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    LINGER_MS = 20,
    LINGER_PACED_MS = 1, /* latency is what is looked at then */
    WAIT_MOST_MS = 100,  /* before signals are looked at again */
    LAST_FLUSH_MS = 10000,
    COMMIT_AFTER_US = 200000,
    COMMIT_WAIT_US = 20000, /* nothing is due for longer than that */
    COMMIT_MESSAGES = 20000,
    TRANSACTION_MS = 60000,
    RETRY_PAUSE_MS = 200,
    REFUSED_MOST = 100, /* beyond that it is not the messages */
    KEPT_MOST = 10000,  /* before the refused ones are handled */
    KEPT_BYTES_MOST = 64 << 20,
};

/* A message under way. They are kept by the hundred: librdkafka does not give all back where it is
 * closed. */
struct pj_lane_sent {
    struct pj_lane_sent *next; /* of those that are free */
    int64_t timestamp_ms;
    int64_t due_us;
    size_t topic;
};

static bool is_transactional(const struct pj_lane *lane)
{
    return lane->plan->cursor_topic != NULL;
}

enum { SENT_AT_ONCE = 512 };

struct pj_lane_sents {
    struct pj_lane_sents *next;
    struct pj_lane_sent items[SENT_AT_ONCE];
};

static struct pj_lane_sent *new_sent(struct pj_lane *lane)
{
    if (lane->free_sent == NULL) {
        struct pj_lane_sents *more = pj_alloc(sizeof *more);
        more->next = lane->sents;
        lane->sents = more;
        for (size_t i = 0; i < SENT_AT_ONCE; i++) {
            more->items[i].next = lane->free_sent;
            lane->free_sent = &more->items[i];
        }
    }
    struct pj_lane_sent *sent = lane->free_sent;
    lane->free_sent = sent->next;
    return sent;
}

static void free_sent(struct pj_lane *lane, struct pj_lane_sent *sent)
{
    sent->next = lane->free_sent;
    lane->free_sent = sent;
}

static void free_all_sent(struct pj_lane *lane)
{
    while (lane->sents != NULL) {
        struct pj_lane_sents *these = lane->sents;
        lane->sents = these->next;
        free(these);
    }
    lane->free_sent = NULL;
}

static bool should_stop(const struct pj_lane *lane)
{
    return *lane->plan->settings->stop != 0 || atomic_load(lane->plan->failed);
}

/* --- deliveries ------------------------------------------------------------------------------ */

static void on_delivered(void *context, const struct pj_producer_message *message,
                         const struct pj_error *failed)
{
    struct pj_lane *lane = context;
    struct pj_lane_sent *sent = message->opaque;
    if (sent == NULL)
        return; /* a cursor */
    if (failed == NULL) {
        if (!is_transactional(lane))
            atomic_fetch_add(&lane->delivered, 1);
        if (lane->plan->watch != NULL && message->offset >= 0)
            pj_watch_expect(lane->plan->watch, sent->topic, message->partition, message->offset,
                            sent->due_us);
    } else if (failed->class == PJ_POISON && !is_transactional(lane)) {
        struct pj_producer_message whole = *message;
        whole.timestamp_ms = sent->timestamp_ms;
        whole.opaque = NULL;
        pj_refused_keep(&lane->refused, &whole, failed);
    } else if (!lane->has_failed) {
        lane->has_failed = true;
        lane->failure = *failed;
        lane->failure.exit_code = PJ_EXIT_FAILED; /* a server has answered */
    }
    free_sent(lane, sent);
}

static int check_failure(const struct pj_lane *lane, struct pj_error *error)
{
    if (lane->has_failed && !is_transactional(lane))
        *error = lane->failure;
    return lane->has_failed && !is_transactional(lane) ? -1 : 0;
}

/* --- transactions ---------------------------------------------------------------------------- */

static int begin(struct pj_lane *lane, struct pj_error *error)
{
    if (!is_transactional(lane) || lane->in_transaction)
        return 0;
    if (pj_producer_end_is_under_way(lane->producer, error))
        return 1;
    if (pj_producer_begin(lane->producer, error) != 0)
        return -1;
    lane->in_transaction = true;
    lane->begun_us = pj_clock_monotonic_us();
    lane->uncommitted = 0;
    return 0;
}

static int send_cursor(struct pj_lane *lane, struct pj_error *error)
{
    char *key = pj_cursor_key(lane);
    char *value = pj_cursor_value(lane, lane->position + lane->uncommitted);
    const struct pj_producer_message message = {.topic = lane->cursor,
                                                .partition = 0,
                                                .key = {key, strlen(key)},
                                                .value = {value, strlen(value)}};
    int status = pj_producer_send(lane->producer, &message, error);
    free(key);
    free(value);
    return status;
}

/* 0: committed. 1: it is not, and all is to be begun anew from what is. */
static int commit(struct pj_lane *lane, struct pj_error *error)
{
    if (!lane->in_transaction)
        return 0;
    int status = send_cursor(lane, error);
    int64_t deadline_ms = pj_clock_monotonic_ms() + lane->plan->settings->timeout_ms;
    while (status == 0) {
        status = pj_producer_commit(lane->producer, WAIT_MOST_MS * 10, error);
        if (status != -1 || error->class != PJ_RETRY || pj_clock_monotonic_ms() >= deadline_ms)
            break;
        status = 0;
    }
    if (status != 0)
        return status;
    lane->in_transaction = false;
    lane->position += lane->uncommitted;
    lane->uncommitted = 0;
    lane->progress_ms = pj_clock_monotonic_ms();
    atomic_store(&lane->delivered, lane->position);
    return 0;
}

static int commit_when_due(struct pj_lane *lane, int64_t wait_us, struct pj_error *error)
{
    if (!lane->in_transaction || lane->uncommitted == 0)
        return 0;
    if (wait_us < COMMIT_WAIT_US && lane->uncommitted < COMMIT_MESSAGES &&
        pj_clock_monotonic_us() - lane->begun_us < COMMIT_AFTER_US)
        return 0;
    return commit(lane, error);
}

/* --- one message ----------------------------------------------------------------------------- */

/* Returns 0 when the next message is due, 1 on a stop or where all begins anew, -1. */
static int wait_for_turn(struct pj_lane *lane, int64_t due_us, struct pj_error *error)
{
    int64_t wait_us = due_us > 0 ? due_us - pj_clock_monotonic_us() : 0;
    int status = commit_when_due(lane, wait_us, error);
    while (status == 0 && wait_us > 0 && !should_stop(lane)) {
        int64_t wait_ms = wait_us / 1000;
        /* Also where there is less than a millisecond: what is delivered is visible from then on.
         */
        if (pj_producer_poll(lane->producer, wait_ms < WAIT_MOST_MS ? wait_ms : WAIT_MOST_MS,
                             error) != 0)
            return -1;
        if (wait_ms == 0)
            nanosleep(&(struct timespec){.tv_nsec = wait_us * 1000}, NULL);
        wait_us = due_us - pj_clock_monotonic_us();
    }
    return status != 0 ? status : should_stop(lane) ? 1 : 0;
}

static struct pj_bytes rekey(struct pj_lane *lane, struct pj_bytes bytes, size_t *at, int64_t round)
{
    if (bytes.data == NULL || bytes.length == 0)
        return bytes;
    uint8_t *copy = lane->rekeyed + *at;
    memcpy(copy, bytes.data, bytes.length);
    (void)pj_rekey(copy, bytes.length, round);
    *at += bytes.length;
    return (struct pj_bytes){copy, bytes.length};
}

static void rekey_message(struct pj_lane *lane, struct pj_producer_message *message, int64_t round)
{
    size_t at = 0, bytes = message->key.length + message->value.length;
    if (round == 0 || !lane->plan->settings->rekey)
        return;
    if (bytes > lane->rekeyed_most) {
        lane->rekeyed_most = 2 * bytes;
        lane->rekeyed = pj_resize(lane->rekeyed, lane->rekeyed_most, 1);
    }
    message->key = rekey(lane, message->key, &at, round);
    message->value = rekey(lane, message->value, &at, round);
}

static int send_message(struct pj_lane *lane, const struct pj_recorded *recorded, size_t recording,
                        int64_t round, int64_t due_us, struct pj_error *error)
{
    const struct pj_replay_plan *plan = lane->plan;
    int topic = pj_survey_find_topic(&lane->survey, recorded->topic);
    if (topic < 0)
        return pj_error_set(error, PJ_FATAL, "%s changed while it was being read",
                            pj_recording_path(lane->recordings[recording]));
    int64_t now_us = pj_clock_monotonic_us();
    int64_t due = due_us > 0 ? due_us : now_us;
    struct pj_producer_message message = {
        .topic = lane->handles[topic],
        .partition = recorded->partition,
        .key = recorded->key,
        .value = recorded->value,
        .timestamp_ms = plan->settings->shift_now
                            ? plan->start_wall_ms + (due - plan->start_us) / 1000
                        : recorded->timestamp_type == PJ_TIMESTAMP_NONE
                            ? 0
                            : recorded->timestamp_ms + round * plan->span_ms,
        .headers = recorded->headers,
        .header_count = recorded->header_count};
    pj_survey_translate(&lane->survey, lane->indexes[recording], &message.key, &message.value);
    rekey_message(lane, &message, round);
    int status = begin(lane, error);
    if (status != 0)
        return status;
    struct pj_lane_sent *sent = new_sent(lane);
    *sent = (struct pj_lane_sent){NULL, message.timestamp_ms, due, (size_t)topic};
    message.opaque = sent;
    status = pj_producer_send(lane->producer, &message, error);
    if (status != 0) {
        free_sent(lane, sent);
        return status;
    }
    if (due_us > 0)
        pj_timing_add(plan->lateness, now_us - due_us);
    lane->uncommitted++;
    return 0;
}

/* --- what Kafka refuses ---------------------------------------------------------------------- */

/* It may take any time, as long as something is delivered within each time-out: poll detects a
 * stall. */
static int wait_for_deliveries(struct pj_lane *lane, struct pj_error *error)
{
    struct pj_producer_counts counts = pj_producer_counts(lane->producer);
    while (counts.sent > counts.delivered + counts.failed && !should_stop(lane)) {
        if (pj_producer_poll(lane->producer, WAIT_MOST_MS, error) != 0)
            return -1;
        counts = pj_producer_counts(lane->producer);
    }
    return pj_producer_flush(lane->producer, LAST_FLUSH_MS, error) == 0 ? check_failure(lane, error)
                                                                        : -1;
}

static int log_refused(struct pj_lane *lane, const struct pj_refused *refused,
                       struct pj_error *error)
{
    char key[128];
    int length = refused->message.key.length < sizeof key ? (int)refused->message.key.length
                                                          : (int)sizeof key - 1;
    pj_text_show(key, sizeof key, "%.*s", length,
                 length > 0 ? (const char *)refused->message.key.data : "");
    lane->refused_count++;
    pj_log(PJ_ERROR, "a message is refused permanently", pj_f_str("key", key),
           pj_f_int("timestamp_ms", refused->message.timestamp_ms),
           pj_f_str("reason", refused->reason.message));
    if (lane->refused_count < REFUSED_MOST)
        return 0;
    return pj_error_set(error, PJ_FATAL, "Kafka refuses %d messages, the last one with: %s",
                        REFUSED_MOST, refused->reason.message);
}

static int send_again(struct pj_lane *lane, const struct pj_refused *refused,
                      struct pj_error *error)
{
    struct pj_producer_message message = refused->message;
    struct pj_lane_sent *sent = new_sent(lane);
    size_t topic = 0;
    while (lane->handles[topic] != message.topic)
        topic++;
    *sent = (struct pj_lane_sent){NULL, message.timestamp_ms, pj_clock_monotonic_us(), topic};
    message.opaque = sent;
    int status = pj_producer_send(lane->producer, &message, error);
    if (status != 0)
        free_sent(lane, sent);
    return status;
}

/* Resends the refused messages, halving the list until each bad one is alone. */
static int find_refused(struct pj_lane *lane, struct pj_refused_list *list, struct pj_error *error)
{
    struct pj_refused_list halves[2] = {*list};
    int status = 0;
    *list = (struct pj_refused_list){0};
    if (halves[0].count > 1)
        halves[1] = pj_refused_split(&halves[0]);
    for (size_t i = 0; i < 2; i++) {
        for (const struct pj_refused *one = halves[i].first; one != NULL && status == 0;
             one = one->next)
            status = send_again(lane, one, error);
        if (status == 0)
            status = wait_for_deliveries(lane, error);
        struct pj_refused_list again = lane->refused;
        lane->refused = (struct pj_refused_list){0};
        if (status == 0 && again.count == 1 && halves[i].count == 1)
            status = log_refused(lane, again.first, error);
        else if (status == 0 && again.count > 0)
            status = find_refused(lane, &again, error);
        pj_refused_free(&again);
        pj_refused_free(&halves[i]);
    }
    return status;
}

/* Once everything sent before is finished. */
static int look_at_refused(struct pj_lane *lane, struct pj_error *error)
{
    if (wait_for_deliveries(lane, error) != 0)
        return -1;
    struct pj_refused_list list = lane->refused;
    lane->refused = (struct pj_refused_list){0};
    if (list.count == 0 || should_stop(lane)) {
        pj_refused_free(&list);
        return 0;
    }
    return find_refused(lane, &list, error);
}

/* --- all messages ---------------------------------------------------------------------------- */

/* Returns 1 on a stop, or where a transaction failed. */
static int publish_next(struct pj_lane *lane, int64_t number, struct pj_error *error)
{
    const struct pj_recorded *recorded;
    size_t recording;
    int64_t round = lane->messages > 0 ? number / lane->messages : 0;
    int status = 0;
    if (number > 0 && number % lane->messages == 0) {
        pj_merge_close(lane->merge);
        lane->merge = NULL;
        status = pj_merge_open(&lane->merge, lane->recordings, lane->recording_count, error);
    }
    if (status == 0)
        status = pj_merge_next(lane->merge, &recorded, &recording, error);
    if (status == 0)
        return pj_error_set(error, PJ_FATAL, "a recording changed while it was being read");
    if (status < 0 || number < lane->position)
        return status < 0 ? -1 : 0;
    int64_t due_us = pj_schedule_due(&lane->schedule, number,
                                     recorded->timestamp_ms + round * lane->plan->span_ms);
    status = wait_for_turn(lane, due_us, error);
    if (status == 0)
        status = send_message(lane, recorded, recording, round, due_us, error);
    if (status == 0)
        status = check_failure(lane, error);
    if (status == 0 && (lane->refused.count >= KEPT_MOST || lane->refused.bytes >= KEPT_BYTES_MOST))
        status = look_at_refused(lane, error);
    return status;
}

static int publish(struct pj_lane *lane, struct pj_error *error)
{
    struct pj_error second;
    int status = pj_merge_open(&lane->merge, lane->recordings, lane->recording_count, error);
    for (int64_t number = 0; number < lane->planned && status == 0; number++)
        status = publish_next(lane, number, error);
    pj_merge_close(lane->merge);
    lane->merge = NULL;
    if (is_transactional(lane))
        /* What was sent before a stop counts, too. */
        return status == 0 || (status == 1 && should_stop(lane)) ? commit(lane, error) : status;
    if (status >= 0)
        status = look_at_refused(lane, error);
    else if (error->class != PJ_RETRY &&
             pj_producer_flush(lane->producer, LAST_FLUSH_MS, &second) != 0)
        return -1; /* what was queued before the error may still arrive, and then it counts */
    return status < 0 ? -1 : 0;
}

/* --- the producer ---------------------------------------------------------------------------- */

static void close_producer(struct pj_lane *lane)
{
    pj_producer_close(lane->producer);
    lane->producer = NULL;
    free_all_sent(lane);
    free(lane->handles);
    lane->handles = NULL;
    lane->in_transaction = lane->has_failed = false;
    lane->uncommitted = 0;
}

static int init_transactions(struct pj_lane *lane, struct pj_error *error)
{
    int64_t deadline_ms = pj_clock_monotonic_ms() + lane->plan->settings->timeout_ms;
    int status;
    do
        status = pj_producer_init_transactions(lane->producer, WAIT_MOST_MS * 10, error);
    while (status != 0 && error->class == PJ_RETRY && !should_stop(lane) &&
           pj_clock_monotonic_ms() < deadline_ms);
    return status;
}

int pj_lane_open(struct pj_lane *lane, struct pj_error *error)
{
    const struct pj_replay_settings *settings = lane->plan->settings;
    size_t count = lane->plan->survey->topic_count;
    char *id = is_transactional(lane) ? pj_cursor_key(lane) : NULL;
    const struct pj_producer_settings producer = {
        .kafka = settings->kafka,
        .client_id = "stream-replay",
        .linger_ms = lane->schedule.kind == PJ_SCHEDULE_MAX ? LINGER_MS : LINGER_PACED_MS,
        .stall_ms = settings->timeout_ms,
        .delivered = on_delivered,
        .context = lane,
        .stop = settings->stop,
        .transactional_id = id,
        .transaction_timeout_ms = TRANSACTION_MS};
    int status = pj_producer_open(&lane->producer, &producer, error);
    lane->handles = pj_calloc(count, sizeof(struct pj_producer_topic *));
    for (size_t i = 0; i < count && status == 0; i++)
        status = pj_producer_topic(lane->producer, lane->plan->topics[i], &lane->handles[i], error);
    if (status == 0 && is_transactional(lane))
        status = pj_producer_topic(lane->producer, lane->plan->cursor_topic, &lane->cursor, error);
    if (status == 0 && is_transactional(lane))
        status = init_transactions(lane, error);
    free(id);
    pj_survey_unshare(&lane->survey);
    lane->survey = pj_survey_share(lane->plan->survey);
    lane->progress_ms = pj_clock_monotonic_ms();
    return status;
}

int pj_lane_resume(struct pj_lane *lane, struct pj_error *error)
{
    int status = is_transactional(lane) ? pj_cursor_read(lane, error) : 0;
    if (status == 0)
        atomic_store(&lane->delivered, lane->position);
    return status;
}

void pj_lane_close(struct pj_lane *lane)
{
    close_producer(lane);
    pj_refused_free(&lane->refused);
    pj_survey_unshare(&lane->survey);
    free(lane->rekeyed);
    free(lane->recordings);
    free(lane->indexes);
}

/* After a transaction that failed, from what is committed. */
static int begin_anew(struct pj_lane *lane, struct pj_error *error)
{
    int64_t progress_ms = lane->progress_ms;
    pj_log(PJ_WARN, "opening a new producer; what is not committed is sent again",
           pj_f_str("reason", error->message));
    close_producer(lane);
    nanosleep(&(struct timespec){.tv_nsec = RETRY_PAUSE_MS * 1000000L}, NULL);
    int status = pj_lane_open(lane, error);
    if (status == 0)
        status = pj_lane_resume(lane, error);
    lane->progress_ms = progress_ms;
    return status;
}

static bool may_begin_anew(const struct pj_lane *lane, int status, const struct pj_error *error)
{
    return is_transactional(lane) && !should_stop(lane) && status != 0 &&
           (status == 1 ? error->class == PJ_RETRY : pj_producer_may_return(error)) &&
           pj_clock_monotonic_ms() - lane->progress_ms < lane->plan->settings->timeout_ms;
}

void pj_lane_run(struct pj_lane *lane)
{
    struct pj_error *error = &lane->error;
    int status = publish(lane, error);
    while (may_begin_anew(lane, status, error)) {
        status = begin_anew(lane, error);
        if (status == 0)
            status = publish(lane, error);
    }
    if (status == 1 && is_transactional(lane) && !should_stop(lane))
        status = -1; /* a message that will never be taken */
    if (status >= 0 && lane->refused_count > 0)
        status = pj_error_set(error, PJ_FATAL,
                              "Kafka refuses %lld of the messages permanently; the log names them",
                              (long long)lane->refused_count);
    lane->status = status < 0 ? -1 : 0;
    if (lane->status != 0)
        atomic_store(lane->plan->failed, true);
}
