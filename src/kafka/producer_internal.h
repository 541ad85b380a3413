/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of the producer share: producer.c and producer_transaction.c. */
#ifndef PJ_KAFKA_PRODUCER_INTERNAL_H
#define PJ_KAFKA_PRODUCER_INTERNAL_H

#include "base/topic_name.h"
#include "kafka/client.h"
#include "kafka/delivery.h"
#include "kafka/producer.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

struct pj_producer_topic {
    struct pj_producer_topic *next;
    rd_kafka_topic_t *handle;
};

struct pj_producer {
    rd_kafka_t *client;
    char *servers;
    int64_t stall_ms;
    pj_producer_delivered *delivered;
    void *context;
    const atomic_int *stop;
    pthread_mutex_t mutex; /* of all below */
    struct pj_producer_topic *topics;
    struct pj_producer_counts counts;
    int64_t progress_ms;        /* when something was last delivered, or began to be due */
    bool has_failed, has_cause; /* the latter: first_failure is more than a consequence */
    struct pj_error first_failure;
    char *transactional_id;             /* NULL: it has no transactions */
    char forbidden[PJ_TOPIC_NAME_SIZE]; /* the topic that a transaction may not write last, or "" */
    struct pj_metrics *metrics;
    bool is_broken; /* librdkafka says that this producer cannot go on */
    struct pj_error fatal;
    struct pj_client_trouble trouble;
    struct pj_client_files files;
    /* Requests to end the last transaction (EndTxn); librdkafka's threads count them. */
    _Atomic int64_t ends_sent;
};

/* `what` and the reason that librdkafka gave last; PJ_RETRY, or PJ_FATAL where the brokers do not
 * let us in. */
int pj_producer_unavailable(struct pj_producer *producer, const char *what, struct pj_error *error);

/* An error after which librdkafka's producer cannot go on, by its cause: PJ_FENCED or PJ_FATAL. */
int pj_producer_set_broken(struct pj_error *error, rd_kafka_resp_err_t cause, const char *what);

/* Why the open transaction has failed: PJ_POISON or PJ_RETRY. */
void pj_producer_why_abort(struct pj_producer *producer, struct pj_error *error);

/* Counts a refusal by its name. */
void pj_producer_count_refusal(struct pj_producer *producer, rd_kafka_resp_err_t code);

#endif
