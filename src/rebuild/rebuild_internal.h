/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a rebuild share: rebuild.c (opening and closing), shadow.c (planning: the
 * shadow tables), fill.c (the workers that read), feed.c (records from elsewhere), history.c
 * (whether the topics still have what the rows follow from), held.c (records that only the live
 * tables refuse), retained_state.c (facts of records that are gone), swap.c (comparing and
 * swapping).
 */
#ifndef PJ_REBUILD_REBUILD_INTERNAL_H
#define PJ_REBUILD_REBUILD_INTERNAL_H

#include "engine/loop.h"
#include "rebuild/rebuild.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PJ_WORKERS_MOST = 16 };

/* Reads its share of the ranges into the shadow tables. */
struct pj_worker {
    struct pj_rebuild *rebuild;
    struct pj_run_policy policy;
    struct pj_loop loop;
    struct pj_offset_range *due; /* the rest of its share */
    size_t due_count;
    pthread_t thread;
    int status; /* of its last run, with the error where that is not 0 */
    struct pj_error error;
};

struct pj_rebuild {
    const struct pj_rebuild_settings *settings;
    struct pj_arena *arena; /* of all that lives as long as this */
    struct pj_postgres_settings control_settings;
    struct pj_unit control; /* locks, compares and writes the live tables */
    bool locked;            /* a session of ours has held the lock */
    char schema[64];
    const char *shadow_group; /* the group's name and a suffix that no group has */
    char id[24];              /* in projectionist.rebuilds */
    int32_t rows_version;     /* of the rules that the live rows followed; -1: not recorded */
    int64_t started_ms;
    struct pj_live_offset *live;
    size_t live_count;
    struct pj_offset_range *gaps; /* accepted */
    size_t gap_count;
    struct pj_offset_range *discarded; /* dead letters to skip: discarded, or held */
    size_t discarded_count;
    struct pj_other_group *others;
    size_t other_count;
    struct pj_offset_range *counted; /* the parts of ranges that the live group counted */
    size_t counted_count;
    bool counts_checked;
    const char *held;               /* ids of the held letters, comma-separated */
    const char *last_letter;        /* the greatest id when it began */
    char letters_digest[40];        /* pj_rebuild_digest_letters, at the beginning */
    struct pj_offset_range *ranges; /* sorted */
    size_t range_count;
    int64_t *reached;        /* of each range, for the progress */
    pthread_mutex_t showing; /* held while progress is shown */
    struct pj_settings consumer_settings;
    struct pj_worker workers[PJ_WORKERS_MOST]; /* the first also reads the feeds */
    size_t worker_count;                       /* the open ones */
    atomic_bool halted;                        /* one failed: the others stop */
    bool feeds_read;
    bool retained_kept;
};

/* At the beginning: holds the letters that the live tables still refuse. */
int pj_rebuild_hold_letters(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;
/* Before the shadow reads on: holds newer ones. */
int pj_rebuild_hold_newer(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;
/* Fails where the shadow has read a record that is a dead letter by now, or skipped one whose
 * letter was resolved. */
int pj_rebuild_check_letters(struct pj_rebuild *rebuild, struct pj_postgres *postgres,
                             struct pj_error *error) PJ_MUST_CHECK;

/* Which letters are discarded and, with keep_retained, replayed: rows follow from that. */
int pj_rebuild_digest_letters(struct pj_rebuild *rebuild, struct pj_postgres *postgres,
                              char digest[40], struct pj_error *error) PJ_MUST_CHECK;

int pj_rebuild_read_others(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;

/* The part of the range that the live group has counted, or NULL. */
const struct pj_offset_range *pj_rebuild_counted(const struct pj_rebuild *rebuild,
                                                 const struct pj_offset_range *range);
/* The shadow is where the live group's counts begin: notes its own count so far. */
int pj_rebuild_note_passed(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;
/* The shadow is where they end: compares. Both return as pj_rebuild_fill. */
int pj_rebuild_check_counts(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;
/* topic, partition, next_offset, start_offset, topic_id, counted_from (NULL: no valid count),
 * records, checksum of the live group, in the order in which
 * commits lock them; `lock`: until the end of the transaction. */
int pj_rebuild_read_live(struct pj_rebuild *rebuild, bool lock, struct pj_result **rows,
                         struct pj_error *error) PJ_MUST_CHECK;
int64_t pj_rebuild_number(const struct pj_result *rows, int row, int column);
/* A copy that lives as long as the rebuild; NULL for SQL NULL. */
const char *pj_rebuild_text(const struct pj_rebuild *rebuild, const struct pj_result *rows, int row,
                            int column);
/* A statement without rows, on the control connection. */
int pj_rebuild_execute(const struct pj_rebuild *rebuild, const char *sql, int count,
                       const char *const *parameters, struct pj_error *error) PJ_MUST_CHECK;

/* The range of the partition; if there is none, a new empty one at `begin`. */
struct pj_offset_range *pj_rebuild_range(struct pj_rebuild *rebuild, const char *topic,
                                         int32_t partition, int64_t begin);

int pj_rebuild_drop_shadow(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;

void pj_rebuild_close_workers(struct pj_rebuild *rebuild);

/* Reads the feeds, from where an interrupted attempt left them. Returns as pj_rebuild_fill. */
int pj_rebuild_read_feeds(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;

/* Merges the live facts into the shadow's. Returns as pj_rebuild_fill. */
int pj_rebuild_keep_retained(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;

#endif
