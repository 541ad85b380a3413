/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing in group commits: callers submit publications, and one thread puts all that are
 * waiting into one Kafka transaction. What is submitted together becomes visible together or never.
 *
 * The newest publisher with an id is the only one: opening it fences the earlier ones, and then
 * reads what they committed. Kafka may be away for any length of time: submissions wait.
 */
#ifndef PJ_CONNECTORS_PUBLISHER_H
#define PJ_CONNECTORS_PUBLISHER_H

#include "common/transactor.h"

#include <stdbool.h>

struct pj_publisher;
struct pj_publication;

struct pj_publisher_settings {
    /* Without turns. `record` is called in _open, and from the thread when the state is read
     * again; `stop` ends the wait in _open. */
    struct pj_transactor_settings transactor;
    size_t state; /* the index of the state topic among the topics */
    /* NULL, or a key of the state topic, which is not handed to `record`: each transaction has a
     * record of it, so that what became of one in doubt can be told of every publication. */
    const char *marker;
    /* Publications to different topics have no order among them: what Kafka refuses for one topic,
     * such as for want of a right, keeps those of this topic alone waiting, and readiness stays.
     * Each publication then has events of one topic at most. For several topics; of one it is as
     * without. */
    bool are_topics_apart;
    struct pj_metrics_server *server; /* or NULL; its readiness and heartbeat */
    const char *metrics_of; /* its own are projectionist_<of>_transactions_total and the like */
};

/* Fences the others with this id, reads the state, and starts the thread. Blocks while Kafka is
 * away. Returns 1 if `stop` was set. Errors: settings, a missing topic, a refusal. */
int pj_publisher_open(struct pj_publisher **publisher, const struct pj_publisher_settings *settings,
                      struct pj_error *error) PJ_MUST_CHECK;

/* Publishes what is still waiting, for at most timeout_ms, and ends the thread. NULL is allowed. */
void pj_publisher_close(struct pj_publisher *publisher, int64_t timeout_ms);

/* A publication belongs to its creator and, from submit on, to the publisher too. */
/* Its events carry the trace that the thread works on. */
struct pj_publication *pj_publication_new(void);
/* Copies, for the topic of this index; a null value deletes a key from a compacted topic. Without a
 * marker, one that has no record in the state topic may be sent twice. */
void pj_publication_add(struct pj_publication *publication, size_t topic, struct pj_bytes key,
                        struct pj_bytes value);
struct pj_publication *pj_publication_keep(struct pj_publication *publication);
void pj_publication_release(struct pj_publication *publication); /* NULL is allowed */

/* Before submit: nobody waits for it, so it may wait up to wait_ms to share a transaction. */
void pj_publication_allow_wait(struct pj_publication *publication, int64_t wait_ms);
/* Before submit: need not be sent again if the outcome of its transaction is unknown. */
void pj_publication_allow_loss(struct pj_publication *publication);

/* PJ_RETRY where too much is waiting already, or the publisher has ended. */
int pj_publisher_submit(struct pj_publisher *publisher, struct pj_publication *publication,
                        struct pj_error *error) PJ_MUST_CHECK;

/*
 * 0: committed. 1: not yet, after timeout_ms; *error says why. -1: it is not and will not be:
 * PJ_POISON where Kafka would never take it; PJ_RETRY where the publisher has ended (the outcome of
 * what was under way is then unknown).
 */
int pj_publisher_wait(struct pj_publisher *publisher, struct pj_publication *publication,
                      int64_t timeout_ms, struct pj_error *error) PJ_MUST_CHECK;

/* Takes back a publication that is not in a transaction yet; false: too late. */
bool pj_publisher_cancel(struct pj_publisher *publisher, struct pj_publication *publication);

/* Whether Kafka was away, or refused everything, at the last attempt; and why (NULL is allowed). */
bool pj_publisher_is_away(struct pj_publisher *publisher, struct pj_error *reason);

/* Whether Kafka refused what was last published to this topic, and takes that of others. */
bool pj_publisher_is_held(struct pj_publisher *publisher, size_t topic);

/* Whether a permanent refusal is about the size. */
bool pj_publisher_finds_too_large(const struct pj_error *error);

/* Whether the thread has ended by itself, and why: PJ_FENCED where a newer publisher has the id. */
bool pj_publisher_has_failed(struct pj_publisher *publisher, struct pj_error *error);

#endif
