/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebuilding a projection's tables beside the live ones, and proving that they are equal.
 *
 *     open      one at a time per projection; reads how far the live group is
 *     plan      which offsets are read; makes the shadow tables, or finds those of an attempt that
 *               was interrupted
 *     fill      the engine itself, without a group, from there to the ends
 *     compare   what differs, at one moment: live consumers wait only for the last few records
 *     swap      the same, and the difference is written, with the offsets, in one transaction
 *
 * Everything blocks. After a kill at any place the live tables are as they were, or, once the
 * swap's transaction is committed, as they should be.
 */
#ifndef PJ_REBUILD_REBUILD_H
#define PJ_REBUILD_REBUILD_H

#include "engine/settings.h"
#include "kafka/consumer.h"
#include "rebuild/difference.h"

#include <signal.h>

struct pj_rebuild;

/* A record that does not come from Kafka; lives until the next one is asked for. */
struct pj_fed_record {
    const char *topic;
    const void *key;
    size_t key_length;
    const void *value;
    size_t value_length;
    int64_t timestamp_ms;
};

/* Where such records come from (a recording): always the same ones in the same order. */
struct pj_feed {
    const char *name;
    int64_t count; /* how many, for the progress */
    int (*next)(void *context, struct pj_fed_record *record,
                struct pj_error *error);              /* 1, 0 at the end, -1 */
    const char *(*schema)(void *context, int32_t id); /* of the writer, or NULL */
    void *context;
};

/* How far it is. */
struct pj_rebuild_progress {
    int64_t done, total; /* records */
    size_t finished, partitions;
};

/* All is kept, not copied. */
struct pj_rebuild_settings {
    const struct pj_projection *projection;
    const int64_t *setting_values;      /* of the projection's settings, in their order */
    const struct pj_settings *consumer; /* servers, batches, time-outs */
    const struct pj_config *config;     /* kafka.*, postgres.* */
    const char *cluster_id;
    const char *group;  /* whose tables they are */
    bool verify;        /* never swaps: reads as far as the live group, and keeps no attempt */
    bool follow;        /* goes on to where the live group is by then; else to the planned ends */
    bool keep_retained; /* facts of records that are not read stay */
    bool drop_retained; /* what followed from them goes, by the operator's word */
    const struct pj_feed *feeds; /* read before the ranges */
    size_t feed_count;
    int workers; /* how many read side by side, each with a connection of its own */
    int samples;
    int64_t stall_timeout_ms;    /* a fill that gets nowhere for so long fails; 0: it waits */
    volatile sig_atomic_t *stop; /* not 0: a fill ends early, with PJ_REBUILD_STOPPED */
    /* Called now and then. */
    void (*progress)(void *context, const struct pj_rebuild_progress *progress);
    void *context;
};

/* How far the live group is in one partition. */
struct pj_live_offset {
    const char *topic;
    int32_t partition;
    int64_t start_offset; /* the first that it ever read */
    int64_t next_offset;
    const char *topic_id; /* of the topic that these are offsets of; "" unknown */
    int stop_code;        /* why its consumers have stopped there, until a person acts; 0 */
    const char *stop_reason;
    int64_t counted_from; /* where its count of records begins, which ends here; -1: none */
    const char *records;  /* the count, and the checksum, as SQL has them */
    const char *checksum;
};

/* What another group, or the same one of another cluster, has read for the same tables. */
struct pj_other_group {
    struct pj_offset_range read;
    const char *group;
    const char *cluster_id;
};

/* Fails (PJ_EXIT_FENCED) while another process rebuilds or verifies the same projection. */
int pj_rebuild_open(struct pj_rebuild **rebuild, const struct pj_rebuild_settings *settings,
                    struct pj_error *error) PJ_MUST_CHECK;
/* `drop`: the shadow tables go, too. NULL is allowed. */
void pj_rebuild_close(struct pj_rebuild *rebuild, bool drop);

/* As read at the opening; borrowed. */
const struct pj_live_offset *pj_rebuild_live(const struct pj_rebuild *rebuild, size_t *count);

/*
 * What the live group has read and the ranges leave out at their beginnings, as malloc'ed
 * ranges: rows may follow from it that nothing else explains. Gaps that were accepted were never
 * read, so they are not among them. NULL where there is none.
 */
struct pj_offset_range *pj_rebuild_unread(const struct pj_rebuild *rebuild,
                                          const struct pj_offset_range *ranges, size_t count,
                                          size_t *unread_count);

/* Of what other groups have read, that which the ranges leave out. Lives as long as the
 * rebuild. */
const struct pj_other_group *pj_rebuild_others(const struct pj_rebuild *rebuild,
                                               const struct pj_offset_range *ranges, size_t count,
                                               size_t *other_count);

/* The recordings that an earlier rebuild read, in one text; NULL: none. */
int pj_rebuild_recordings(struct pj_rebuild *rebuild, const char **names,
                          struct pj_error *error) PJ_MUST_CHECK;

/* Does reading the range tell whether all is there that the group has read? Then the fill fails
 * (PJ_EXIT_GAP, PJ_EXIT_TOPIC_RECREATED) where it is not. */
bool pj_rebuild_is_counted(const struct pj_rebuild *rebuild, const struct pj_live_offset *live,
                           const struct pj_offset_range *range);

/*
 * Takes the ranges, sorted by pj_offset_range_compare. `origin` says in words where they begin: an
 * interrupted attempt of the same origin, program and settings is taken up, with its own ranges
 * (*resumed).
 */
int pj_rebuild_plan(struct pj_rebuild *rebuild, const struct pj_offset_range *ranges, size_t count,
                    const char *origin, bool *resumed, struct pj_error *error) PJ_MUST_CHECK;

enum { PJ_REBUILD_FILLED = 0, PJ_REBUILD_STOPPED = 1 };

/* Returns PJ_REBUILD_FILLED, PJ_REBUILD_STOPPED or -1. Waits for servers that are away, unless the
 * settings bound that (PJ_EXIT_UNAVAILABLE). */
int pj_rebuild_fill(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;

/* Both return as fill does; *difference is the caller's to free. */
int pj_rebuild_compare(struct pj_rebuild *rebuild, struct pj_difference *difference,
                       struct pj_error *error) PJ_MUST_CHECK;
int pj_rebuild_swap(struct pj_rebuild *rebuild, struct pj_difference *difference,
                    struct pj_error *error) PJ_MUST_CHECK;

/* The ranges, with the ends that were reached. Borrowed. */
const struct pj_offset_range *pj_rebuild_ranges(const struct pj_rebuild *rebuild, size_t *count);

#endif
