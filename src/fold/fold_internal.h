/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by fold.c (observing, stages), derive.c (from facts to rows and their differences) and
 * rows.c (combining row changes).
 */
#ifndef PJ_FOLD_FOLD_INTERNAL_H
#define PJ_FOLD_FOLD_INTERNAL_H

#include "fold/claims.h"
#include "fold/fold.h"
#include "fold/row_key.h"
#include "fold/wide.h"

/* A row that derive made for one entity. */
struct emitted_row {
    size_t table;
    struct pj_value *values;
};

/* An entity's share of a rollup's bucket, subtracted (-1: before) or added (+1: after). */
struct piece {
    const struct pj_value *values;
    int sign;
    bool leaves;  /* the entity leaves the bucket */
    bool extreme; /* and takes an extreme along */
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
    struct pj_change *contributions; /* to other entities */
    size_t contribution_count, contribution_capacity;
    int64_t stream_time;
    struct pj_value due;
    const struct pj_fact *fact; /* the wide fact that is derived; or NULL */
    struct emitted_row twice;   /* a row claimed twice; values NULL: none */
};

struct pj_tally {
    struct pj_fold *fold;
};

struct pj_observer {
    struct pj_fold *fold;
};

struct json_number {
    const struct json_t *number;
    const struct json_t *digits;
};

/* A JSON text of the current event or entity. */
struct parsed_json {
    const char *text;
    size_t length;
    struct json_t *tree; /* NULL: not JSON */
    /* Once digits were asked for: the tree with texts for its reals, and the pairs. */
    struct json_t *digits;
    struct json_number *numbers; /* sorted by number */
    size_t number_count, number_capacity;
};

struct pj_fold {
    const struct pj_projection *projection;
    struct pj_arena *arena;
    struct pj_arena *staged;  /* a part of it: what only the stage needs */
    struct pj_arena *passing; /* likewise: what only the derivation of one entity needs */
    struct pj_observer observer;
    struct pj_change **changes; /* of all stages, in the order of their events */
    size_t change_count, change_capacity;
    struct pj_stage *stages;
    struct pj_row_changes *rows;    /* per table */
    struct pj_appended *appended;   /* per table */
    struct pieces *pieces;          /* per table */
    struct pj_additions *additions; /* per table */
    int64_t *counted;               /* per series of the counters */
    struct pj_tally tally;
    const union pj_setting_value *settings;
    int64_t stream_time;
    struct pj_derivation before, after; /* reused for every entity */
    struct parsed_json *parsed;         /* released with the event or entity */
    size_t parsed_count, parsed_capacity;
    bool mistaken;
    struct pj_error mistake; /* the first of the projection's code */
};

/*
 * The projection's code contradicts its declaration. It goes on with harmless answers until it
 * returns; then its caller fails, and the process ends.
 */
void pj_fold_mistake(struct pj_fold *fold, const char *format, ...) PJ_PRINTF(2, 3);
/* -1 with *error if there was one. */
int pj_fold_check_mistake(const struct pj_fold *fold, struct pj_error *error) PJ_MUST_CHECK;
/* The values of a row: 0, or -1 as pj_value_misfit. */
int pj_fold_check_row(const struct pj_table *table, const struct pj_value *values,
                      struct pj_error *error) PJ_MUST_CHECK;
int pj_fold_check_fact(const struct pj_fold *fold, size_t entity, const struct pj_fact *fact,
                       struct pj_error *error) PJ_MUST_CHECK;

/* After every event and entity: frees what was parsed for it. */
void pj_fold_release_json(struct pj_fold *fold);

/* The number with all digits of its text. */
struct json_t;
struct pj_value pj_fold_numeric(struct pj_fold *fold, const struct json_t *number);

/* A larger copy in the arena if the array is full. */
void *pj_fold_grown(struct pj_arena *arena, void *items, size_t count, size_t *capacity,
                    size_t size);
/* table_count if the projection does not list it. */
size_t pj_fold_table_index(const struct pj_projection *projection, const struct pj_table *table);
/* To be filled: a row of any table; what one entity contributes to another. */
struct pj_value *pj_fold_row(struct pj_derivation *derivation, const struct pj_table *table);
struct pj_change *pj_fold_contribution(struct pj_derivation *derivation);
/* After derive has filled the claims: sets whose they are and on which rows. */
void pj_claims_complete(struct pj_derivation *derivation, const struct pj_entity *entity);

/* Of the columns that are this table's own and not of the key, as Postgres compares them: 1.0 and
 * 1.00 are one number. `before` NULL: all of them. */
uint64_t pj_fold_changed_columns(const struct pj_table *table, const struct pj_value *before,
                                 const struct pj_value *after);
/* Puts the changes of the stage that came since the last call with the entities that they touch;
 * *fresh: those who were not among them. False: there is none. */
bool pj_fold_gather(struct pj_fold *fold, size_t stage_index, struct pj_stage *fresh);
struct pj_touched *pj_fold_find_touched(const struct pj_stage *stage, const uint8_t key[16]);

/* The fact of a kind that `is_name`, and the key of the name; false, with a mistake, where the kind
 * has none. */
bool pj_fold_name(struct pj_fold *fold, const char *who, size_t entity, const struct pj_value *name,
                  size_t *fact, uint8_t key[16]);
void pj_fold_push_change(struct pj_fold *fold, struct pj_change *change);
/* The change of pj_keep, pj_contribute or pj_tell (`who`), with a copy of the values; false, with a
 * mistake, where the entity kind or fact does not exist. */
bool pj_fold_change(struct pj_fold *fold, const char *who, size_t entity, const uint8_t key[16],
                    size_t fact, const uint8_t subkey[16], const struct pj_value *values,
                    struct pj_arena *arena, struct pj_change *change);

#endif
