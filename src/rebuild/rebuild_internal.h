/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a rebuild share: rebuild.c (opening and planning), fill.c (the workers that
 * read), history.c (is there what the rows follow from?), swap.c (comparing and swapping), shadow.c
 * (the shadow tables, and what is written beside the rows), feed.c (records from elsewhere),
 * retained_state.c (facts of records that are gone), held.c
 * (records that only the live tables refuse).
 */
#ifndef PJ_REBUILD_REBUILD_INTERNAL_H
#define PJ_REBUILD_REBUILD_INTERNAL_H

#include "engine/loop.h"
#include "rebuild/rebuild.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PJ_WORKERS_MOST = 16 };

/* Reads its share of the ranges into the shadow tables: a replica among others. */
struct pj_worker {
    struct pj_rebuild *rebuild;
    struct pj_run_policy policy;
    struct pj_loop loop;
    struct pj_offset_range *due; /* what is left to read of its share */
    size_t due_count;
    pthread_t thread;
    int status; /* of its last run, with the error where that is not 0 */
    struct pj_error error;
};

struct pj_rebuild {
    const struct pj_rebuild_settings *settings;
    struct pj_arena *arena; /* of all that lives as long as this */
    struct pj_postgres_settings control_settings;
    struct pj_unit control; /* not the engine's: locks, compares and writes the live tables */
    bool locked;            /* the projection's rebuilds, once, by a session of ours */
    char schema[64];
    const char *shadow_group; /* the group's own name and a word: no group ends in it */
    char id[24];              /* in projectionist.rebuilds */
    int64_t started_ms;
    struct pj_live_offset *live;
    size_t live_count;
    struct pj_offset_range *gaps; /* accepted */
    size_t gap_count;
    struct pj_offset_range *discarded; /* letters that are passed over: given up, or held */
    size_t discarded_count;
    struct pj_other_group *others;
    size_t other_count;
    struct pj_offset_range *counted; /* the parts of ranges whose records the live group counted */
    size_t counted_count;
    bool counts_checked;
    const char *held;               /* the ids of the letters that are held, with commas */
    const char *last_letter;        /* the greatest id when it began */
    char letters_digest[40];        /* pj_rebuild_digest_letters, at the beginning */
    struct pj_offset_range *ranges; /* sorted */
    size_t range_count;
    int64_t *reached;        /* of each range, for the progress */
    pthread_mutex_t showing; /* whoever shows it holds this */
    struct pj_settings consumer_settings;
    struct pj_worker workers[PJ_WORKERS_MOST]; /* the first also reads what is not in Kafka */
    size_t worker_count;                       /* of those that are open */
    atomic_bool halted;                        /* one of them failed: the others end */
    bool feeds_read;
    bool retained_kept;
};

/* At the beginning: which records the live tables still refuse. */
int pj_rebuild_hold_letters(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;
/* Before the shadow reads on. */
int pj_rebuild_hold_newer(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;
/* Fails where the shadow has a row of a record that is a letter by now, or lacks one of a letter
 * that was resolved. */
int pj_rebuild_check_letters(struct pj_rebuild *rebuild, struct pj_postgres *postgres,
                             struct pj_error *error) PJ_MUST_CHECK;

/* Which letters are given up, and where older rows are kept, which are replayed: rows follow from
 * that, too. */
int pj_rebuild_digest_letters(struct pj_rebuild *rebuild, struct pj_postgres *postgres,
                              char digest[40], struct pj_error *error) PJ_MUST_CHECK;

int pj_rebuild_read_others(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;

/* What of the range the live group has counted, or NULL. */
const struct pj_offset_range *pj_rebuild_counted(const struct pj_rebuild *rebuild,
                                                 const struct pj_offset_range *range);
/* The shadow is where the live group's counts begin: what it has read by now is no part of them. */
int pj_rebuild_note_passed(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;
/* The shadow is where they end. Both return as pj_rebuild_fill. */
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
/* One statement on the control connection, of which no rows are wanted. */
int pj_rebuild_execute(const struct pj_rebuild *rebuild, const char *sql, int count,
                       const char *const *parameters, struct pj_error *error) PJ_MUST_CHECK;

/* The range of the partition; where there is none, a new one that is empty at `begin`. */
struct pj_offset_range *pj_rebuild_range(struct pj_rebuild *rebuild, const char *topic,
                                         int32_t partition, int64_t begin);

int pj_rebuild_drop_shadow(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;

void pj_rebuild_close_workers(struct pj_rebuild *rebuild);

/* Reads the feeds into the shadow, from where an interrupted attempt left them. Returns as
 * pj_rebuild_fill. */
int pj_rebuild_read_feeds(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;

/* Merges the live facts into the shadow's; where both know the same, the shadow's stands. Returns
 * as pj_rebuild_fill. */
int pj_rebuild_keep_retained(struct pj_rebuild *rebuild, struct pj_error *error) PJ_MUST_CHECK;

#endif
