/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of Kafka's side share: consumer.c (opening, records, closing), consumer_config.c
 * (librdkafka's configuration), consumer_rebalance.c (which partitions are ours).
 */
#ifndef PJ_ENGINE_CONSUMER_INTERNAL_H
#define PJ_ENGINE_CONSUMER_INTERNAL_H

#include "engine/consumer.h"

#include <librdkafka/rdkafka.h>

enum { PJ_PARTITIONS_MOST = 16384 };

struct pj_consumer {
    rd_kafka_t *kafka;
    rd_kafka_queue_t *queue;
    int event_fd;
    char **topics;
    struct pj_topic_id *topic_ids; /* of the same topics */
    size_t topic_count;
    struct pj_partition **partitions;
    size_t partition_count;
    struct pj_rebalance rebalance;
    rd_kafka_topic_partition_list_t *rebalance_list;
    bool settled;
    bool subscribed;     /* ever */
    bool group_answered; /* ever: it told us of an assignment */
    bool paused;
    bool lost_position;
    bool told_unknown_ids;
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

int pj_consumer_configure(rd_kafka_conf_t *conf, const struct pj_consumer_settings *settings,
                          struct pj_error *error) PJ_MUST_CHECK;

/* The partition of a topic of ours, made where it is new; NULL where there is no such topic. */
struct pj_partition *pj_consumer_find_partition(struct pj_consumer *consumer, const char *topic,
                                                int32_t number);

/* librdkafka's callback: only notes what is to be carried out. */
void pj_consumer_on_rebalance(rd_kafka_t *kafka, rd_kafka_resp_err_t code,
                              rd_kafka_topic_partition_list_t *list, void *opaque);
void pj_consumer_forget_rebalance(struct pj_consumer *consumer);

#endif
