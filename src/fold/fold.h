/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One batch, folded: from decoded events to the rows, facts and appended rows that must be
 * written. Pure: the caller loads the stored facts between the steps, from Postgres or (in tests)
 * from memory. Everything lives in the arena given at the start.
 *
 *     pj_fold_observe   for each event
 *     for each stage (entity kind), in order:
 *         pj_fold_stage        which entities are touched
 *         (load their facts, pj_fold_load, and what is wanted of those kept apart,
 *         pj_fold_load_wide)
 *         pj_fold_merge        merge, derive, contribute to later stages
 *         pj_fold_again        what else is to be loaded: whom a kind that contributes to itself
 *                              has reached, facts kept apart that follow from others
 *         (save the facts that changed)
 *         pj_fold_stage_saved  free what only this stage needed
 *     pj_fold_finish       combine the row changes
 *
 * A row derived twice is the fault of its record: merge and finish fail with PJ_POISON, and nothing
 * of the fold may be written.
 */
#ifndef PJ_FOLD_FOLD_H
#define PJ_FOLD_FOLD_H

#include "fold/facts.h"

/* An entity that the batch touches. */
struct pj_touched {
    uint8_t key[16];
    struct pj_change **changes; /* in the order of their events */
    size_t change_count;
    bool existed;
    bool changed;
    bool observed;           /* not by a timer alone */
    bool rederived;          /* of a kind that contributes to itself: not its first round */
    struct pj_entity before; /* decoded facts; count 0 where it did not exist */
    struct pj_entity after;
    bool seen;           /* what its derive sees has changed */
    size_t news;         /* facts of events that were better than what was known */
    int64_t derived_at;  /* of a timed kind: the stream time of its stored rows */
    struct pj_value due; /* of a timed kind: its timer */
    const void *stored;  /* the new stored form, where that changed; or NULL */
    size_t stored_length;
};

/* Facts that are kept apart, as rows of their table; where less is known of them, of its first
 * columns: key, kind, subkey, facts. */
struct pj_wide_rows {
    const struct pj_value **items;
    size_t count;
    size_t capacity;
};

struct pj_stage {
    struct pj_touched *touched; /* sorted by key, no key twice */
    size_t count;
    size_t capacity;
    size_t taken; /* changes of the fold that are among `touched` already */
    int rounds;
    /* To be loaded before the next merge: some facts, and all of a kind of an entity. */
    struct pj_wide_rows wanted, wanted_kinds;
    struct pj_wide_rows kept, gone; /* to be written at the end */
};

enum pj_row_operation { PJ_ROW_INSERT, PJ_ROW_UPDATE, PJ_ROW_DELETE };

struct pj_row_change {
    enum pj_row_operation operation;
    uint64_t changed;              /* a bit per column, for updates */
    const struct pj_value *before; /* NULL for inserts */
    struct pj_value *values;       /* of the key columns only, for deletes */
};

struct pj_row_changes {
    struct pj_row_change *items; /* sorted by key */
    size_t count;
    size_t capacity;
};

struct pj_appended {
    struct pj_value **rows;
    size_t count;
    size_t capacity;
};

/* What is to be added to one bucket of a rollup. */
struct pj_addition {
    struct pj_value *values; /* keys, sums of differences, candidates for extremes */
    bool left;               /* something left it: it may be empty */
    bool extreme;            /* an extreme left it, which cannot be subtracted */
};

struct pj_additions {
    struct pj_addition *items; /* sorted by key */
    size_t count;
};

struct pj_fold;

/* `settings`: the values of the projection's settings; NULL where it has none. */
struct pj_fold *pj_fold_new(const struct pj_projection *projection,
                            const union pj_setting_value *settings, struct pj_arena *arena);
const struct pj_projection *pj_fold_projection(const struct pj_fold *fold);
/* Before the first stage, of a projection with a timed kind. */
void pj_fold_set_stream_time(struct pj_fold *fold, int64_t microseconds);
/* A timer: derives an entity of a timed kind again. */
void pj_fold_timer(struct pj_fold *fold, size_t entity, const uint8_t key[16]);

/* A fact from retained state, as if observed now; loses to a known one of the same order. The
 * fact's values and texts must outlive the fold. */
void pj_fold_keep_retained(struct pj_fold *fold, size_t entity, const uint8_t key[16],
                           const struct pj_fact *fact);

/*
 * These fail with PJ_POISON where a record asks for what no column or fact can hold, and with
 * PJ_FATAL (PJ_EXIT_DECLARATION) where the projection's code contradicts its declaration; then the
 * whole fold is void.
 */

/* After PJ_POISON the fold may go on: the event left nothing in it. */
int pj_fold_observe(struct pj_fold *fold, const struct pj_source *source,
                    const struct pj_event *event, struct pj_error *error) PJ_MUST_CHECK;

const struct pj_stage *pj_fold_stage(struct pj_fold *fold, size_t stage);
/* The stored facts of a touched entity; texts point into `data`, which must outlive the fold. */
int pj_fold_load(struct pj_fold *fold, size_t stage, const uint8_t key[16], const void *data,
                 size_t length, int64_t derived_at, struct pj_error *error) PJ_MUST_CHECK;
/* One of those that the stage wants; likewise. */
int pj_fold_load_wide(struct pj_fold *fold, size_t stage, const uint8_t key[16], const void *data,
                      size_t length, struct pj_error *error) PJ_MUST_CHECK;
int pj_fold_merge(struct pj_fold *fold, size_t stage, struct pj_error *error) PJ_MUST_CHECK;
/* Behind a merge: *fresh is who else is touched now and to be loaded (nobody, where the count is
 * 0), as is what the stage wants, before it is merged again; NULL where all is done, as it is at
 * once for most kinds. */
int pj_fold_again(struct pj_fold *fold, size_t stage, const struct pj_stage **fresh,
                  struct pj_error *error) PJ_MUST_CHECK;
/* For the store of testing.h: derives the stage's entities (in `before`) as if new, so that the
 * fold's rows are complete and not differences. */
int pj_fold_merge_whole(struct pj_fold *fold, size_t stage, struct pj_error *error) PJ_MUST_CHECK;
/* What it needed is freed, the touched entities, too: they are saved. (It may be left out.) */
void pj_fold_stage_saved(struct pj_fold *fold, size_t stage);
int pj_fold_finish(struct pj_fold *fold, struct pj_error *error) PJ_MUST_CHECK;

/* By the index of the projection's table list; valid after pj_fold_finish. */
const struct pj_row_changes *pj_fold_rows(const struct pj_fold *fold, size_t table);
const struct pj_appended *pj_fold_appended(const struct pj_fold *fold, size_t table);
const struct pj_additions *pj_fold_additions(const struct pj_fold *fold, size_t table);
int64_t pj_fold_stream_time(const struct pj_fold *fold);
/* What was counted: pj_counters_series (counters.h) numbers. */
const int64_t *pj_fold_counted(const struct pj_fold *fold);

#endif
