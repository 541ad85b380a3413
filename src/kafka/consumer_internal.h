/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of Kafka's side share: consumer.c (opening, records, closing),
 * consumer_rebalance.c (which partitions are ours), consumer_survey.c (all partitions and their
 * ends), consumer_trouble.c (what Kafka refuses).
 */
#ifndef PJ_KAFKA_CONSUMER_INTERNAL_H
#define PJ_KAFKA_CONSUMER_INTERNAL_H

#include "kafka/client.h"
#include "kafka/consumer.h"
#include "kafka/topic_ids.h"

#include <librdkafka/rdkafka.h>

enum { PJ_PARTITIONS_MOST = 16384 };

struct pj_consumer {
    struct pj_consumer_settings settings; /* its group and topics are our copies */
    struct pj_client_files files;
    struct pj_client_trouble trouble; /* what librdkafka said since a broker last answered */
    rd_kafka_t *kafka;
    rd_kafka_t *asker;           /* for surveys; NULL: not needed yet */
    rd_kafka_conf_t *asker_conf; /* what it is made of; NULL: it was */
    rd_kafka_queue_t *queue;
    int event_fd;
    char *group;
    char **topics;
    struct pj_topic_id *topic_ids; /* of the same topics */
    int *topic_troubles; /* likewise: why they could not be looked at last; 0: they could */
    struct pj_retention *retentions; /* likewise */
    size_t topic_count;
    int64_t retention_asked_ms;
    rd_kafka_queue_t *retention_answers; /* NULL: none is waited for */
    struct pj_partition **partitions;
    size_t partition_count;
    struct pj_rebalance rebalance;
    rd_kafka_topic_partition_list_t *rebalance_list;
    bool stable;
    bool subscribed;     /* ever */
    bool group_answered; /* ever: it gave us an assignment */
    bool paused;
    bool lost_position;
    bool told_unknown_ids;
    bool lost_topic;   /* ever: a partition of ours no longer existed */
    int group_trouble; /* why the group does not take us, since it last gave us partitions; 0 */
    bool fatal;
    struct pj_error fatal_error;
    int64_t dropped;
    char *cluster_id;
    rd_kafka_message_t **messages; /* reused by every poll */
    size_t messages_capacity;
    /* Records come in runs of one partition. */
    const rd_kafka_topic_t *run_topic;
    struct pj_partition *run_partition;
};

/* -1, with the setting and the remedy in *error, where librdkafka says that it cannot go on: it
 * says so by a callback, by a message or by what a call returns. */
int pj_consumer_check_fatal(const struct pj_consumer *consumer,
                            struct pj_error *error) PJ_MUST_CHECK;

/* Keeps what Kafka says is wrong with a partition (NULL: with us in the group), and logs it. */
void pj_consumer_note_trouble(struct pj_consumer *consumer, struct pj_partition *partition,
                              int code, const char *topic, const char *reason);

/* The partition of a topic of ours, made where it is new; NULL where there is no such topic. */
struct pj_partition *pj_consumer_find_partition(struct pj_consumer *consumer, const char *topic,
                                                int32_t number);

/* PJ_RETRY, with what librdkafka said of it, or else the code. */
int pj_consumer_no_broker(const struct pj_consumer *consumer, rd_kafka_resp_err_t code,
                          struct pj_error *error);

void pj_consumer_close_asker(struct pj_consumer *consumer);

void pj_partition_free(struct pj_partition *partition);

/* librdkafka's callback: only notes what is to be carried out. */
void pj_consumer_on_rebalance(rd_kafka_t *kafka, rd_kafka_resp_err_t code,
                              rd_kafka_topic_partition_list_t *list, void *opaque);
void pj_consumer_forget_rebalance(struct pj_consumer *consumer);

#endif
