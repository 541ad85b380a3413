/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the fold share: fold.c (observing, stages), derive.c (from facts to rows and
 * what changed), rows.c (settling them).
 */
#ifndef PJ_FOLD_FOLD_INTERNAL_H
#define PJ_FOLD_FOLD_INTERNAL_H

#include "fold/claims.h"
#include "fold/fold.h"
#include "fold/row_key.h"

/* What derive emits of one entity, before or after. */
struct emitted_row {
    size_t table;
    struct pj_value *values;
};

/* What entities count for in a rollup, with the sign of before (-1) or after (+1). */
struct piece {
    const struct pj_value *values;
    int sign;
    bool leaves;  /* nothing of the entity stays in the bucket */
    bool extreme; /* an extreme goes with it */
};

struct pieces {
    struct piece *items;
    size_t count;
    size_t capacity;
};

struct pj_derivation {
    struct pj_fold *fold;
    size_t stage;
    struct emitted_row *rows;
    size_t row_count, row_capacity;
    struct pj_change *told;
    size_t told_count, told_capacity;
    int64_t stream_time;
    struct pj_value due;
    struct emitted_row twice; /* a row that was claimed twice; values NULL: none */
};

struct pj_observer {
    struct pj_fold *fold;
};

struct json_number {
    const struct json_t *number;
    const struct json_t *digits;
};

/* A text of the event or entity at hand, parsed. */
struct parsed_json {
    const char *text;
    size_t length;
    struct json_t *tree; /* NULL: it is no JSON */
    /* Where digits were asked for: the tree with texts for its reals, and which is whose. */
    struct json_t *digits;
    struct json_number *numbers; /* sorted by number */
    size_t number_count, number_capacity;
};

struct pj_fold {
    const struct pj_projection *projection;
    struct pj_arena *arena;
    struct pj_observer observer;
    struct pj_change **changes; /* of all stages, in the order in which they were said */
    size_t change_count, change_capacity;
    struct pj_stage *stages;
    struct pj_row_changes *rows;    /* per table */
    struct pj_appended *appended;   /* per table */
    struct pieces *pieces;          /* per table */
    struct pj_additions *additions; /* per table */
    const int64_t *settings;
    int64_t stream_time;
    struct pj_derivation before, after; /* reused for every entity */
    struct parsed_json *parsed;         /* released with the event or entity */
    size_t parsed_count, parsed_capacity;
    bool mistaken;
    struct pj_error mistake; /* the first one of the projection's code */
};

/*
 * The projection's code did what its declaration rules out. It goes on until it returns, with
 * harmless answers; what called it fails then, and so does the process.
 */
void pj_fold_mistake(struct pj_fold *fold, const char *format, ...) PJ_PRINTF(2, 3);
/* -1 with *error where there was one. */
int pj_fold_check_mistake(const struct pj_fold *fold, struct pj_error *error) PJ_MUST_CHECK;
/* The values of a row: 0, or -1 as pj_value_misfit. */
int pj_fold_check_row(const struct pj_table *table, const struct pj_value *values,
                      struct pj_error *error) PJ_MUST_CHECK;
int pj_fold_check_fact(const struct pj_fold *fold, size_t entity, const struct pj_fact *fact,
                       struct pj_error *error) PJ_MUST_CHECK;

/* Behind every event and entity: what pj_observer_json and pj_derivation_json parsed for it. */
void pj_fold_release_json(struct pj_fold *fold);

/* A bigger array in the arena, where this one is full. */
void *pj_fold_grown(struct pj_arena *arena, void *items, size_t count, size_t *capacity,
                    size_t size);
/* The projection's table_count where it is not in its list. */
size_t pj_fold_table_index(const struct pj_projection *projection, const struct pj_table *table);
/* A row of any table; what one entity tells another, to be filled. */
struct pj_value *pj_fold_row(struct pj_derivation *derivation, const struct pj_table *table);
struct pj_change *pj_fold_told(struct pj_derivation *derivation);
/* Behind derive, when the rows are filled: which rows are claimed, and by whom. */
void pj_claims_settle(struct pj_derivation *derivation, const struct pj_entity *entity);

/* Of the columns that are not of the key. */
uint64_t pj_fold_changed_columns(const struct pj_table *table, const struct pj_value *before,
                                 const struct pj_value *after);
void pj_fold_push_change(struct pj_fold *fold, struct pj_change *change);
/* The change that pj_keep and its kin speak of, with as many values as the kind of the fact has;
 * false where there is no such kind. `who` says it, for people. */
bool pj_fold_change(struct pj_fold *fold, const char *who, size_t entity, const uint8_t key[16],
                    size_t fact, const uint8_t subkey[16], const struct pj_value *values,
                    struct pj_change *change);

#endif
