/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebuilds a projection's tables as shadow tables, and compares or swaps them with the live ones.
 *
 *     open      one at a time per projection; reads the live group's offsets
 *     plan      which offset ranges to read; creates the shadow tables, or resumes an interrupted
 *               attempt
 *     fill      the engine itself, without a group, to the ends of the ranges
 *     compare   what differs, at one moment: live consumers wait only for the last few records
 *     swap      the same, and writes the difference, with the offsets, in one transaction
 *
 * Everything blocks. Until the swap is committed the live tables are as they were, wherever it is
 * killed.
 */
#ifndef PJ_REBUILD_REBUILD_H
#define PJ_REBUILD_REBUILD_H

#include "engine/settings.h"
#include "kafka/consumer.h"
#include "rebuild/difference.h"

#include <stdatomic.h>

struct pj_rebuild;

/* A record that does not come from Kafka; valid until the next one. */
struct pj_fed_record {
    const char *topic;
    const void *key;
    size_t key_length;
    const void *value;
    size_t value_length;
    int64_t timestamp_ms;
    const struct pj_record_header *headers; /* valid until the next record */
    size_t header_count;
};

/* A source of such records (a recording): always the same ones in the same order. */
struct pj_feed {
    const char *name;
    int64_t count; /* for the progress */
    int (*next)(void *context, struct pj_fed_record *record,
                struct pj_error *error);              /* 1, 0 at the end, -1 */
    const char *(*schema)(void *context, int32_t id); /* of the writer, or NULL */
    void *context;
};

struct pj_rebuild_progress {
    int64_t done, total; /* records */
    size_t finished, partitions;
};

/* All is kept, not copied. */
struct pj_rebuild_settings {
    const struct pj_projection *projection;
    const union pj_setting_value *setting_values; /* of the projection's settings, in their order */
    const struct pj_settings *consumer;           /* servers, batches, timeouts */
    const struct pj_config *config;               /* kafka.*, postgres.* */
    const char *cluster_id;
    const char *group;  /* whose tables they are */
    bool verify;        /* never swaps: reads as far as the live group, and keeps no attempt */
    bool follow;        /* reads on to where the live group is by then; else to the planned ends */
    bool keep_retained; /* keeps the facts of records that are not read */
    bool drop_retained; /* drops them: --drop-retained */
    const struct pj_feed *feeds; /* read before the ranges */
    size_t feed_count;
    int workers; /* they read in parallel, each with its own connections */
    int samples;
    int64_t stall_timeout_ms; /* a fill fails after so long without progress; 0: never */
    atomic_int *stop;         /* not 0: a fill ends early, with PJ_REBUILD_STOPPED */
    void (*progress)(void *context, const struct pj_rebuild_progress *progress);
    void *context;
};

/* The live group in one partition. */
struct pj_live_offset {
    const char *topic;
    int32_t partition;
    int64_t start_offset; /* the first that it ever read */
    int64_t next_offset;
    const char *topic_id; /* of the topic that was read; "": unknown */
    int stop_code; /* its consumers have stopped there until a person acts; 0: they have not */
    const char *stop_reason;
    int64_t
        counted_from; /* where its count of records begins, which ends at next_offset; -1: none */
    const char *records; /* the count, and the checksum, as SQL has them */
    const char *checksum;
};

/* What another group, or this one on another cluster, has read for the same tables. */
struct pj_other_group {
    struct pj_offset_range read;
    const char *group;
    const char *cluster_id;
};

/* Fails (PJ_EXIT_FENCED) while another process rebuilds or verifies the same projection. */
int pj_rebuild_open(struct pj_rebuild **rebuild, const struct pj_rebuild_settings *settings,
                    struct pj_error *error) PJ_MUST_CHECK;
/* `drop`: drops the shadow tables. NULL is allowed. */
void pj_rebuild_close(struct pj_rebuild *rebuild, bool drop);

/* As of pj_rebuild_open; borrowed. */
const struct pj_live_offset *pj_rebuild_live(const struct pj_rebuild *rebuild, size_t *count);

/*
 * What the live group has read before the beginnings of the ranges: rows may follow from it.
 * Without accepted gaps, which were never read. NULL: none; the caller frees it.
 */
struct pj_offset_range *pj_rebuild_unread(const struct pj_rebuild *rebuild,
                                          const struct pj_offset_range *ranges, size_t count,
                                          size_t *unread_count);

/* What other groups have read outside of the ranges. Lives as long as the rebuild. */
const struct pj_other_group *pj_rebuild_others(const struct pj_rebuild *rebuild,
                                               const struct pj_offset_range *ranges, size_t count,
                                               size_t *other_count);

/* The names of the recordings that earlier rebuilds read; NULL: none. */
int pj_rebuild_recordings(struct pj_rebuild *rebuild, const char **names,
                          struct pj_error *error) PJ_MUST_CHECK;

/* Whether reading the range shows if the topic still has all that the group read; then the fill
 * fails (PJ_EXIT_GAP, PJ_EXIT_TOPIC_RECREATED) where it has not. */
bool pj_rebuild_is_counted(const struct pj_rebuild *rebuild, const struct pj_live_offset *live,
                           const struct pj_offset_range *range);

/*
 * `ranges` are sorted by pj_offset_range_compare; `origin` says where they begin. An interrupted
 * attempt of the same origin, program and settings is resumed with its own ranges (*resumed).
 */
int pj_rebuild_plan(struct pj_rebuild *rebuild, const struct pj_offset_range *ranges, size_t count,
                    const char *origin, bool *resumed, struct pj_error *error) PJ_MUST_CHECK;

enum { PJ_REBUILD_FILLED = 0, PJ_REBUILD_STOPPED = 1 };

/* Returns PJ_REBUILD_FILLED, PJ_REBUILD_STOPPED or -1. Waits for unavailable servers, for as long
 * as the settings allow (PJ_EXIT_UNAVAILABLE). */
int pj_rebuild_fill(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;

/* Both return as fill does; *difference is the caller's to free. */
int pj_rebuild_compare(struct pj_rebuild *rebuild, struct pj_difference *difference,
                       struct pj_error *error) PJ_MUST_CHECK;
int pj_rebuild_swap(struct pj_rebuild *rebuild, struct pj_difference *difference,
                    struct pj_error *error) PJ_MUST_CHECK;

/* The ranges, with the ends that were read to. Borrowed. */
const struct pj_offset_range *pj_rebuild_ranges(const struct pj_rebuild *rebuild, size_t *count);

/* After pj_rebuild_compare: the version of the rules that the live rows follow; -1: not recorded.
 */
int32_t pj_rebuild_rows_version(const struct pj_rebuild *rebuild);

#endif
