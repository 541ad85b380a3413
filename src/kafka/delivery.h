/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Kafka's error codes mean for what was to be published: the one table of the connectors.
 *
 *   PJ_POISON  the record is refused permanently; its neighbours, which a broker refuses together
 * with it, are not PJ_RETRY   refused temporarily: until a right, a topic, a setting or a server is
 * there PJ_FENCED  another producer has our transactional.id PJ_FATAL   all else
 */
#ifndef PJ_KAFKA_DELIVERY_H
#define PJ_KAFKA_DELIVERY_H

#include "projectionist/error.h"

#include <librdkafka/rdkafka.h>

/* Where several records of a batch are bad, librdkafka says so of the good ones from 2.4 on; the
 * headers of 2.0.2 have no name for it. */
#define PJ_INVALID_DIFFERENT_RECORD ((rd_kafka_resp_err_t)-138)

enum pj_error_class pj_refusal_class(rd_kafka_resp_err_t code);

/* Fills *error with "what: the reason (NAME); the remedy", and returns -1. What is refused for a
 * while has PJ_EXIT_UNAVAILABLE. */
int pj_refusal_set(struct pj_error *error, rd_kafka_resp_err_t code, const char *what);

#endif
