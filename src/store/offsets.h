/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offsets and the fence: projectionist.consumer_offsets, through the functions that a migration
 * made.
 */
#ifndef PJ_STORE_OFFSETS_H
#define PJ_STORE_OFFSETS_H

#include "base/arena.h"
#include "base/partition.h"
#include "postgres/postgres.h"
#include "projectionist/projection.h"

/* Who is asking; borrowed. */
struct pj_identity {
    const char *cluster_id;
    const char *group;
    const char *owner; /* such as event-recorder@host:4711 */
    const char *projection;
    /* Of a rebuild: the group whose tables are rebuilt. Dead letters are its own then, and go to
     * the table `dead_letters` of the search_path: the shadow's. Otherwise NULL. */
    const char *rebuilt_group;
};

/* How far a batch brings a partition. */
struct pj_advance {
    struct pj_partition *partition;
    int64_t next_offset; /* after the batch */
    int64_t stream_time; /* the greatest event time in it; INT64_MIN: none */
    int64_t records;     /* how many, and which: pj_offsets_checksum of each, by exclusive or */
    uint64_t checksum;
    const struct pj_record *last; /* its last record, until it is committed; NULL: it has none */
};

/* Of a record's offset, timestamp and length. */
uint64_t pj_offsets_checksum(const struct pj_record *record);

/* The parameters that statements about partitions begin with: cluster, group, topics, numbers. */
void pj_offsets_parameters(struct pj_parameter parameters[4], const struct pj_identity *identity,
                           struct pj_partition *const *partitions, size_t count,
                           struct pj_arena *arena);

/*
 * Makes us the owner of the partitions, in a transaction of its own: waits for the transaction of
 * the owner before, then fences it. Fills epoch and next_offset; where the group never had the
 * partition, next_offset is its start_offset, else its low watermark. Fills read_topic_id, too: the
 * id that the topic has now, unless the group has read from one with another id; the last record
 * that was read; and a stop that is there.
 */
int pj_offsets_claim(struct pj_postgres *postgres, const struct pj_identity *identity,
                     struct pj_partition *const *partitions, size_t count, struct pj_arena *arena,
                     struct pj_error *error) PJ_MUST_CHECK;

/* Queues the fence and the advance: the first statement of a batch. PJ_FENCED (from the run that
 * follows) when the epoch or the offset is no longer ours. */
int pj_offsets_advance(struct pj_postgres *postgres, const struct pj_identity *identity,
                       const struct pj_advance *advances, size_t count, struct pj_arena *arena,
                       struct pj_error *error) PJ_MUST_CHECK;

/* The greatest event time committed over all partitions of the group, this transaction's included;
 * INT64_MIN before the first. */
int pj_offsets_stream_time(struct pj_postgres *postgres, const struct pj_identity *identity,
                           int64_t *stream_time, struct pj_error *error) PJ_MUST_CHECK;

/* Are all of the partitions still ours, and where we left them? PJ_FENCED when one has another
 * epoch, or a lower offset: Postgres has lost commits, in a crash or by a failover. */
int pj_offsets_check(struct pj_postgres *postgres, const struct pj_identity *identity,
                     struct pj_partition *const *partitions, size_t count, struct pj_arena *arena,
                     struct pj_error *error) PJ_MUST_CHECK;

/*
 * How far Postgres' log is written (*written), and how far it is on disk (*flushed), as bytes from
 * its beginning. What was committed before the question is durable once *flushed has come to its
 * *written.
 */
int pj_offsets_ask_log(struct pj_postgres *postgres, int64_t *written, int64_t *flushed,
                       struct pj_error *error) PJ_MUST_CHECK;

/* PJ_NO_COMMIT: none was in doubt. */
enum pj_commit_outcome { PJ_NO_COMMIT, PJ_COMMITTED, PJ_NOT_COMMITTED, PJ_TAKEN_OVER };

/* After a connection was lost at COMMIT, on a new one: what happened? Waits for the old
 * transaction to end. */
int pj_offsets_outcome(struct pj_postgres *postgres, const struct pj_identity *identity,
                       const struct pj_advance *advances, size_t count, struct pj_arena *arena,
                       enum pj_commit_outcome *outcome, struct pj_error *error) PJ_MUST_CHECK;

/*
 * Writes the partition's stop beside its offset (clears it where it has none), at once.
 * PJ_FENCED where the partition is no longer ours.
 */
int pj_offsets_stop(struct pj_postgres *postgres, const struct pj_identity *identity,
                    const struct pj_partition *partition, struct pj_arena *arena,
                    struct pj_error *error) PJ_MUST_CHECK;

/* The group's offset in each of the partitions, whoever owns them; -1: nobody ever did. */
int pj_offsets_of_group(struct pj_postgres *postgres, const struct pj_identity *identity,
                        struct pj_partition *const *partitions, size_t count, int64_t *offsets,
                        struct pj_arena *arena, struct pj_error *error) PJ_MUST_CHECK;

/* Queues the audit of a gap that the operator chose to go on without, and moves past it; clears
 * a stop. */
int pj_offsets_accept_gap(struct pj_postgres *postgres, const struct pj_identity *identity,
                          const struct pj_partition *partition, struct pj_arena *arena,
                          struct pj_error *error) PJ_MUST_CHECK;

/* The time that a decoded record counts with for stream time: INT64_MIN where it has none, or one
 * that lies more than 24 h ahead of its Kafka timestamp (-1: none). */
int64_t pj_offsets_event_time(const struct pj_source *source, const struct pj_value *values,
                              int64_t timestamp_ms);

/* A verify or rebuild of the group `x` reads as the group `x/verify` or `x/rebuild`, whose offsets
 * it removes: PJ_FATAL (PJ_EXIT_USAGE) for a live group whose name ends so. */
int pj_offsets_check_group(const char *group, struct pj_error *error) PJ_MUST_CHECK;

#endif
