/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/producer_internal.h"

#include "base/text.h"

#include <stdatomic.h>

/* With the name of what a right is missing for. */
static void describe_refusal(struct pj_producer *producer, rd_kafka_resp_err_t code,
                             const char *what, struct pj_error *error)
{
    char named[512];
    pthread_mutex_lock(&producer->mutex);
    bool of_topic =
        code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED && *producer->forbidden != '\0';
    pj_text_show(named, sizeof named, "%s%s%s", what, of_topic ? " to topic " : "",
                 of_topic ? producer->forbidden : "");
    pthread_mutex_unlock(&producer->mutex);
    pj_refusal_set(error, code, named);
}

/* What librdkafka says of a step, as what is to be done; see producer.h. */
static int outcome(struct pj_producer *producer, rd_kafka_error_t *failure, const char *what,
                   struct pj_error *error)
{
    char text[512];
    if (failure == NULL)
        return 0;
    rd_kafka_resp_err_t code = rd_kafka_error_code(failure);
    rd_kafka_resp_err_t cause = rd_kafka_fatal_error(producer->client, text, sizeof text);
    int status = -1;
    if (pj_refusal_class(code) == PJ_FENCED) {
        pj_producer_set_broken(error, code, what);
    } else if (rd_kafka_error_is_fatal(failure) || cause != RD_KAFKA_RESP_ERR_NO_ERROR) {
        pj_producer_set_broken(error, cause != RD_KAFKA_RESP_ERR_NO_ERROR ? cause : code, what);
    } else if (rd_kafka_error_txn_requires_abort(failure)) {
        describe_refusal(producer, code, what, error);
        if (error->class != PJ_POISON)
            error->class = PJ_RETRY;
        status = 1;
    } else if (rd_kafka_error_is_retriable(failure) || code == RD_KAFKA_RESP_ERR__TIMED_OUT) {
        pj_text_show(text, sizeof text, "%s at %s: %s (%s)", what, producer->servers,
                     rd_kafka_error_string(failure), rd_kafka_err2name(code));
        pj_producer_unavailable(producer, text, error);
    } else {
        pj_error_set(error, PJ_FATAL, "%s: %s", what, rd_kafka_error_string(failure));
    }
    if (pj_refusal_class(code) != PJ_FENCED && code != RD_KAFKA_RESP_ERR__TIMED_OUT)
        pj_producer_count_refusal(producer, code);
    rd_kafka_error_destroy(failure);
    return status;
}

int pj_producer_init_transactions(struct pj_producer *producer, int64_t wait_ms,
                                  struct pj_error *error)
{
    char what[512];
    rd_kafka_poll(producer->client, 0);
    pj_text_show(what, sizeof what, "Kafka does not initialize transactions of %s",
                 producer->transactional_id);
    int status =
        outcome(producer, rd_kafka_init_transactions(producer->client, (int)wait_ms), what, error);
    return status > 0 ? pj_error_set(error, PJ_FATAL, "%s", what) : status;
}

bool pj_producer_end_is_under_way(const struct pj_producer *producer, struct pj_error *error)
{
    if (atomic_load(&producer->ends_sent) <= 1)
        return false;
    pj_error_set(error, PJ_RETRY,
                 "the end of the last transaction was asked for again, and the first request may "
                 "still arrive");
    return true;
}

int pj_producer_begin(struct pj_producer *producer, struct pj_error *error)
{
    pthread_mutex_lock(&producer->mutex);
    producer->has_failed = producer->has_cause = false;
    pthread_mutex_unlock(&producer->mutex);
    atomic_store(&producer->ends_sent, 0);
    return outcome(producer, rd_kafka_begin_transaction(producer->client),
                   "cannot begin a transaction", error);
}

int pj_producer_commit(struct pj_producer *producer, int64_t wait_ms, struct pj_error *error)
{
    int status = outcome(producer, rd_kafka_commit_transaction(producer->client, (int)wait_ms),
                         "Kafka did not commit the transaction", error);
    pthread_mutex_lock(&producer->mutex);
    /* It names the topic, too. */
    if (status == 1 && producer->has_cause)
        *error = producer->first_failure;
    pthread_mutex_unlock(&producer->mutex);
    return status;
}

void pj_producer_why_abort(struct pj_producer *producer, struct pj_error *error)
{
    /* A failed transaction is not committed by this: it says why it cannot be. */
    if (pj_producer_commit(producer, 0, error) != 1)
        pj_error_set(error, PJ_RETRY, "the transaction accepts no records");
}

int pj_producer_abort(struct pj_producer *producer, int64_t wait_ms, struct pj_error *error)
{
    int status = outcome(producer, rd_kafka_abort_transaction(producer->client, (int)wait_ms),
                         "Kafka did not abort the transaction", error);
    return status > 0 ? pj_error_set(error, PJ_FATAL, "Kafka did not abort the transaction")
                      : status;
}
