/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that Kafka has refused, kept until it is known which of them it will never take: brokers
 * refuse a whole batch for one message. */
#ifndef PJ_STREAM_REPLAY_REFUSED_H
#define PJ_STREAM_REPLAY_REFUSED_H

#include "kafka/producer.h"

struct pj_refused {
    struct pj_refused *next;
    struct pj_producer_message message; /* in one allocation with this */
    struct pj_error reason;
};

struct pj_refused_list {
    struct pj_refused *first, *last;
    size_t count, bytes;
};

/* Copies the message. */
void pj_refused_keep(struct pj_refused_list *list, const struct pj_producer_message *message,
                     const struct pj_error *reason);
/* Removes the later half of a list of two or more, and returns it. */
struct pj_refused_list pj_refused_split(struct pj_refused_list *list);
void pj_refused_free(struct pj_refused_list *list);

#endif
