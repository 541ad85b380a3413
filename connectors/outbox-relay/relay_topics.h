/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The topics that rows name: whether Kafka has them, and the newest schema that the registry has of
 * each. A topic of which either is missing, or that Kafka does not write now, waits, with its rows,
 * and is tried again; those of other topics go on. For one thread; blocks for Kafka and the
 * registry.
 */
#ifndef PJ_OUTBOX_RELAY_RELAY_TOPICS_H
#define PJ_OUTBOX_RELAY_RELAY_TOPICS_H

#include "avro/registry.h"
#include "base/text.h"
#include "common/hold.h"
#include "kafka/producer.h"
#include "outbox-relay/outbox.h"

struct pj_relay_topics;

/* One of them. */
struct pj_relay_topic;

int pj_relay_topics_new(struct pj_relay_topics **topics, const char *prefix,
                        const struct pj_registry_settings *registry,
                        struct pj_error *error) PJ_MUST_CHECK;
void pj_relay_topics_free(struct pj_relay_topics *topics); /* NULL is allowed */

/* Another producer: it must find them again. Schemas stay known. */
void pj_relay_topics_use(struct pj_relay_topics *topics, struct pj_producer *producer);

/* Appends the row's record; *topic is where to. Returns 1 where the topic waits, -1 with PJ_POISON
 * where the row can never be published, with PJ_RETRY where Kafka does not answer. */
int pj_relay_topics_encode(struct pj_relay_topics *topics, const struct pj_outbox_row *row,
                           struct pj_relay_topic **topic, struct pj_builder *value,
                           struct pj_error *error) PJ_MUST_CHECK;

/* Whether its records wait. */
struct pj_hold *pj_relay_topic_hold(struct pj_relay_topic *topic);

/* For sending to it now. */
int pj_relay_topic_handle(struct pj_relay_topics *topics, const struct pj_relay_topic *topic,
                          struct pj_producer_topic **handle, struct pj_error *error) PJ_MUST_CHECK;

/* A topic for heartbeats: its partitions, and the value of one now. Returns as _encode does. */
int pj_relay_topics_beat(struct pj_relay_topics *topics, const char *name,
                         struct pj_relay_topic **topic, int *partitions, struct pj_builder *value,
                         struct pj_error *error) PJ_MUST_CHECK;

/* Those that wait, as an array literal (to be freed); how many, and why one of them does (NULL:
 * none waits). */
char *pj_relay_topics_waiting(const struct pj_relay_topics *topics, int64_t *count,
                              const struct pj_error **why);

#endif
