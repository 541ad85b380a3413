/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka's ids of topics. A topic that was recreated under the same name has another
 * one: nothing else tells it apart once it is longer than what was read of the old one.
 */
#ifndef PJ_KAFKA_TOPIC_IDS_H
#define PJ_KAFKA_TOPIC_IDS_H

#include "base/partition.h"
#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rd_kafka_s;

struct pj_topic_id {
    const char *topic;
    char id[PJ_TOPIC_ID_SIZE]; /* as Kafka's own tools write it; "" where unknown */
};

/*
 * Fills in the ids, by one request to the brokers; blocks up to `timeout_ms`. PJ_RETRY when they do
 * not answer. Where they or librdkafka (before 2.3) cannot tell, that is no error: the ids stay
 * empty and *unknown, which may be NULL otherwise, is the reason in words that need not be freed.
 */
int pj_topic_ids_ask(struct rd_kafka_s *client, struct pj_topic_id *topics, size_t count,
                     int64_t timeout_ms, const char **unknown,
                     struct pj_error *error) PJ_MUST_CHECK;

#endif
