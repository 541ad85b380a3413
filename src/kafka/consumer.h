/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka's side of a consumer (librdkafka; nothing else of the engine includes it, but for
 * topic_ids.c): membership in the group, records, ends of partitions.
 *
 * Nothing here decides what a partition's next offset is: Postgres does. Rebalances
 * are only noted when they come; the engine carries them out when no transaction is open.
 */
#ifndef PJ_KAFKA_CONSUMER_H
#define PJ_KAFKA_CONSUMER_H

#include "base/arena.h"
#include "base/config.h"
#include "base/partition.h"
#include "projectionist/projection.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pj_consumer;

struct pj_consumer_settings {
    const struct pj_properties *properties; /* `kafka.*`; must outlive the consumer */
    const char *group;
    const char *client_id; /* likewise */
    const char *const *topics;
    size_t topic_count;
    size_t worker; /* of its process; from 1 on kafka.group.instance.id gets a suffix */
    bool bulk;     /* much is fetched ahead: for a run that reads from end to end */
};

enum pj_rebalance_kind { PJ_REBALANCE_NONE, PJ_REBALANCE_ASSIGN, PJ_REBALANCE_REVOKE };

struct pj_rebalance {
    enum pj_rebalance_kind kind;
    struct pj_partition **partitions; /* sorted by topic and number */
    size_t count;
};

int pj_consumer_open(struct pj_consumer **consumer, const struct pj_consumer_settings *settings,
                     struct pj_error *error) PJ_MUST_CHECK;

/* Readable when pj_consumer_poll may have something. */
int pj_consumer_fd(const struct pj_consumer *consumer);

/*
 * What has been fetched, at most `most` records; never blocks. Records below a partition's next
 * offset are dropped and counted. Fails only on what ends the process.
 */
int pj_consumer_poll(struct pj_consumer *consumer, struct pj_record *records, size_t most,
                     size_t *count, struct pj_error *error) PJ_MUST_CHECK;
void pj_record_release(struct pj_record *record);
/* The record's headers, an array in the arena whose texts belong to the record. */
const struct pj_record_header *pj_record_headers(const struct pj_record *record,
                                                 struct pj_arena *arena, size_t *count);

/* Joins the group. */
int pj_consumer_subscribe(struct pj_consumer *consumer, struct pj_error *error) PJ_MUST_CHECK;

/*
 * Without a group: asks for these ranges, as a group would ask for partitions (a pending
 * assignment, in place of all that is assigned). What follows a range's end is
 * dropped; a partition that is there counts as being at its end. Topics must be of the consumer's.
 */
void pj_consumer_request(struct pj_consumer *consumer, const struct pj_offset_range *ranges,
                         size_t count);

/* What the group asks for; kind NONE where nothing is. Borrowed until it is carried out. */
const struct pj_rebalance *pj_consumer_rebalance(const struct pj_consumer *consumer);

/* Asks the brokers for the low and high watermarks of the pending assignment's partitions; blocks
 * up to `timeout_ms` each. PJ_RETRY when they do not answer. */
int pj_consumer_watermarks(struct pj_consumer *consumer, int64_t timeout_ms,
                           struct pj_error *error) PJ_MUST_CHECK;

/*
 * Asks the brokers for the ids of the consumer's topics; blocks up to `timeout_ms`. PJ_RETRY when
 * they do not answer. Where they are unknown, that is logged once.
 */
int pj_consumer_topic_ids(struct pj_consumer *consumer, int64_t timeout_ms,
                          struct pj_error *error) PJ_MUST_CHECK;

/*
 * Asks the brokers for all partitions of the topics, and where they begin and end; blocks up to
 * `timeout_ms` a few times. Of one that fails, the reason is its trouble and its offsets are -1;
 * PJ_RETRY when no broker answers, and then nothing is known of any.
 */
int pj_consumer_survey(struct pj_consumer *consumer, int64_t timeout_ms,
                       struct pj_error *error) PJ_MUST_CHECK;

/*
 * In words, with the remedy: why Kafka does not give the partition's records, or (NULL) does not
 * admit us to the group. False where it has not said so since all was well.
 */
bool pj_consumer_trouble(const struct pj_consumer *consumer, const struct pj_partition *partition,
                         char *text, size_t size);
/* In words, with the remedy: the first topic that the last survey could not look at. */
enum pj_topics { PJ_TOPICS_KNOWN, PJ_TOPICS_MISSING, PJ_TOPICS_REFUSED };
enum pj_topics pj_consumer_topic_trouble(const struct pj_consumer *consumer, char *text,
                                         size_t size);
/* The member of the group that has the partition, "CLIENT at HOST", as the group's coordinator
 * says; false where there is none or that is unknown. Blocks up to `timeout_ms`. */
bool pj_consumer_holder(struct pj_consumer *consumer, const struct pj_partition *partition,
                        int64_t timeout_ms, char *text, size_t size);

/* Carries out the pending assignment: fetching begins at each partition's next_offset. */
int pj_consumer_assign(struct pj_consumer *consumer, struct pj_error *error) PJ_MUST_CHECK;
/* Carries out the pending revocation. */
void pj_consumer_unassign(struct pj_consumer *consumer);
/* Gives everything back and rejoins (after a fence, or an offset out of range). */
int pj_consumer_rejoin(struct pj_consumer *consumer, struct pj_error *error) PJ_MUST_CHECK;
/* True once, when a secret or a certificate of the settings' files is another (kafka/client.h). */
bool pj_consumer_files_changed(struct pj_consumer *consumer);
/* Leaves the group within the time and joins it (if it had) by another client, which is made of
 * what the files hold now; 1 where none can be: that is logged, and nothing changes. No record may
 * be held. */
int pj_consumer_renew(struct pj_consumer *consumer, int64_t timeout_ms,
                      struct pj_error *error) PJ_MUST_CHECK;
/* An assigned partition that turned out to be of another topic (`is_another`), of which nothing
 * comes any more; NULL where there is none. */
struct pj_partition *pj_consumer_another(const struct pj_consumer *consumer);
/* True, once, when a fetch offset was out of range: what we own must be checked again. */
bool pj_consumer_lost_position(struct pj_consumer *consumer);

void pj_consumer_pause(struct pj_consumer *consumer);
void pj_consumer_resume(struct pj_consumer *consumer);
bool pj_consumer_paused(const struct pj_consumer *consumer);

/* Tells the Kafka group the offsets that Postgres has (`durable`: that no crash takes from it), for
 * tools that show lag. Never blocks. */
void pj_consumer_commit_to_group(struct pj_consumer *consumer, bool durable);

/* All partitions that are known; those assigned now have `assigned`. */
struct pj_partition *const *pj_consumer_partitions(const struct pj_consumer *consumer,
                                                   size_t *count);
/* An assignment (even an empty one) has been carried out and none is pending. */
bool pj_consumer_stable(const struct pj_consumer *consumer);
/* The end of the partition (of all its records, in open transactions, too) as of the last fetch; -1
 * when unknown. */
int64_t pj_consumer_known_end(const struct pj_consumer *consumer,
                              const struct pj_partition *partition);
/* The retention.ms and retention.bytes of a topic; -1: its records stay; 0: not known. */
struct pj_retention {
    int64_t ms;
    int64_t bytes; /* of a partition, as they are stored */
};

struct pj_retention pj_consumer_retention(const struct pj_consumer *consumer,
                                          const struct pj_partition *partition);
/* Asks the brokers for that now and then. Never blocks. */
void pj_consumer_look_at_retention(struct pj_consumer *consumer);
/* Records that were below their partition's next offset. */
int64_t pj_consumer_dropped(const struct pj_consumer *consumer);

/* The cluster's id; PJ_RETRY when no broker answers in time. Borrowed. */
int pj_consumer_cluster_id(struct pj_consumer *consumer, int64_t timeout_ms, const char **id,
                           struct pj_error *error) PJ_MUST_CHECK;

/* Leaves the group within the time, or silently; then frees. NULL is allowed. */
void pj_consumer_close(struct pj_consumer *consumer, int64_t timeout_ms);

#endif
