/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An idempotent Kafka producer: what was delivered is in the topic once and in the order in which
 * it was sent, and what was not is counted and named. (librdkafka; of the connectors, only common/
 * includes it.)
 *
 * Keys go to partitions as in Kafka's Java clients (murmur2), so that all producers agree. Sending
 * copies, and blocks only while the queue is full. All functions may be called from any thread;
 * `delivered` is called from within pj_producer_send, _poll and _flush.
 */
#ifndef PJ_KAFKA_PRODUCER_H
#define PJ_KAFKA_PRODUCER_H

#include "avro/wire.h"
#include "base/config.h"
#include "base/metrics.h"
#include "projectionist/error.h"

#include <stdatomic.h>
#include <stdbool.h>

struct pj_producer;
struct pj_producer_topic; /* belongs to its producer */

struct pj_producer_message {
    struct pj_producer_topic *topic;
    int32_t partition; /* -1: by key; at random where there is none */
    struct pj_bytes key;
    struct pj_bytes value;
    int64_t timestamp_ms; /* 0: now */
    const struct pj_header *headers;
    size_t header_count;
    void *opaque;   /* comes back in `delivered` */
    int64_t offset; /* only there */
};

/*
 * `failed` NULL: the brokers have it, safely; the message is its opaque pointer, its partition and
 * its offset (-1: unknown) alone. Otherwise
 * why they have not: PJ_POISON where it will never be taken, it or another one of its batch, which
 * they refuse as a whole; PJ_RETRY where nothing is for a while (kafka/delivery.h). The message is
 * the whole one then, without its time, which librdkafka does not report; it lives until the call
 * returns.
 */
typedef void pj_producer_delivered(void *context, const struct pj_producer_message *message,
                                   const struct pj_error *failed);

struct pj_producer_settings {
    /* kafka.*: beats what is set here; must outlive the producer */
    const struct pj_properties *kafka;
    const char *client_id;
    int64_t linger_ms; /* how long a batch waits to fill up */
    int64_t stall_ms;  /* no delivery for so long while some are due is an error; 0: never */
    pj_producer_delivered *delivered; /* or NULL */
    void *context;                    /* of `delivered` */
    /* Not NULL: a send that waits for the queue gives up when it is set (by a signal). */
    const atomic_int *stop;
    /* Not NULL: everything is sent in transactions (see below), and a newer producer with the same
     * id fences this one. */
    const char *transactional_id;
    int64_t transaction_timeout_ms; /* after this the brokers abort a transaction by themselves */
    struct pj_metrics *metrics;     /* or NULL; what the brokers refuse is counted there */
};

/* Fails with PJ_EXIT_USAGE where bootstrap.servers is missing or librdkafka knows no such
 * property. Does not connect yet. */
int pj_producer_open(struct pj_producer **producer, const struct pj_producer_settings *settings,
                     struct pj_error *error) PJ_MUST_CHECK;

/* True once, when a secret or a certificate of the settings' files is another: a producer that is
 * opened now has that. For one thread. */
bool pj_producer_files_changed(struct pj_producer *producer);

/* Whether the brokers do not let it in. */
bool pj_producer_is_refused(struct pj_producer *producer);

/* Forgets what was not delivered: flush first. NULL is allowed. */
void pj_producer_close(struct pj_producer *producer);

struct pj_producer_topic_info {
    const char *name; /* in */
    int partitions;   /* out; 0: there is no such topic … */
    bool is_hidden;   /* … or this user may not see it */
};

/* Asks the brokers; waits at most timeout_ms. PJ_RETRY (exit code PJ_EXIT_UNAVAILABLE) when none
 * answers. Makes no topics. */
int pj_producer_describe(struct pj_producer *producer, struct pj_producer_topic_info *topics,
                         size_t count, int64_t timeout_ms, struct pj_error *error) PJ_MUST_CHECK;

/* Of a topic without partitions: PJ_FATAL, or PJ_RETRY (exit code PJ_EXIT_UNAVAILABLE) where a
 * right is missing. */
int pj_producer_no_topic(const struct pj_producer_topic_info *topic, struct pj_error *error);

/* A handle for sending; the same one for the same name. */
int pj_producer_topic(struct pj_producer *producer, const char *name,
                      struct pj_producer_topic **topic, struct pj_error *error) PJ_MUST_CHECK;

/*
 * Queues a copy. Returns -1 where it was not queued: it is too large, the producer is broken, the
 * brokers stall, or an earlier message failed and there is no `delivered`. Returns
 * 1 where `stop` was set while the queue was full.
 */
int pj_producer_send(struct pj_producer *producer, const struct pj_producer_message *message,
                     struct pj_error *error) PJ_MUST_CHECK;

/* Serves librdkafka for at most wait_ms, less when something happens. Errors as of send. */
int pj_producer_poll(struct pj_producer *producer, int64_t wait_ms,
                     struct pj_error *error) PJ_MUST_CHECK;

/* Waits until everything is delivered or has failed, at most timeout_ms. -1 where something is
 * still under way or has failed, the first error; the latter only without a `delivered`. */
int pj_producer_flush(struct pj_producer *producer, int64_t timeout_ms,
                      struct pj_error *error) PJ_MUST_CHECK;

struct pj_producer_counts {
    int64_t sent; /* queued; delivered + failed + under way */
    int64_t delivered;
    int64_t failed;
};

struct pj_producer_counts pj_producer_counts(struct pj_producer *producer);

/*
 * Transactions, where settings.transactional_id is set: init once, then begin, send…, commit. What
 * was sent in a transaction is seen (with isolation.level=read_committed) all at once by its
 * commit, or never. For one thread. What comes back is what is to be done:
 *
 *    0  it is done
 *    1  (begin, commit) the transaction has failed and cannot be committed: abort it, and send its
 *       records again in a new one; *error says why: PJ_POISON where one of them will never be
 *       taken
 *   -1  PJ_RETRY: the brokers do not answer; the work goes on, so call the same function again to
 *       wait for it
 *       PJ_FENCED: another producer has this transactional.id now, or the brokers have aborted
 *       the transaction because it was open for longer than its time-out
 *       PJ_FATAL: this producer cannot go on; another one may, later, where the reason is one for a
 *       while, such as a right that was taken away (pj_producer_may_return)
 *
 * After PJ_FENCED, PJ_FATAL, or 1 from a commit that was tried again, nothing is known of how the
 * transaction ended: close the producer, open another one, whose init waits for the end of what the
 * former left behind, and read what was committed.
 *
 * pj_producer_send in a transaction that has failed returns -1 with the error of a 1: abort it.
 */
static inline bool pj_producer_may_return(const struct pj_error *error)
{
    return error->class == PJ_RETRY || error->exit_code == PJ_EXIT_UNAVAILABLE;
}

int pj_producer_init_transactions(struct pj_producer *producer, int64_t wait_ms,
                                  struct pj_error *error) PJ_MUST_CHECK;
/*
 * After a commit or an abort that is done: whether the brokers were asked for it more than once,
 * because a connection was lost or slow. The request before may still be under way, and would end
 * whatever transaction this producer has open when it arrives (librdkafka's carry the epoch of the
 * producer alone, KIP-890). So close it, and open another one, whose init raises the epoch: the
 * brokers refuse what comes late. *error says so (PJ_RETRY).
 */
bool pj_producer_end_is_under_way(const struct pj_producer *producer, struct pj_error *error);
int pj_producer_begin(struct pj_producer *producer, struct pj_error *error) PJ_MUST_CHECK;
int pj_producer_commit(struct pj_producer *producer, int64_t wait_ms,
                       struct pj_error *error) PJ_MUST_CHECK;
/* Throws away what was sent since begin. */
int pj_producer_abort(struct pj_producer *producer, int64_t wait_ms,
                      struct pj_error *error) PJ_MUST_CHECK;

#endif
