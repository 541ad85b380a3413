/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts of an entity: how they merge and how they are stored. Pure: no I/O, no clock.
 *
 * A stored form is a byte string of its own (`facts bytea` of a state table): a version byte, then
 * each fact with its kind, subkey, order and values, integers as zigzag varints. Values may be
 * added at the end of a kind later; the missing ones read as null.
 */
#ifndef PJ_FOLD_FACTS_H
#define PJ_FOLD_FACTS_H

#include "base/arena.h"
#include "projectionist/projection.h"

struct pj_fold;

struct pj_entity {
    const struct pj_entity_kind *kind;
    struct pj_fold *fold; /* reports a derive that asks for an unknown fact; or NULL */
    bool shown_only;      /* to the derive of a wide fact: of facts only those shown to it */
    uint8_t key[16];
    struct pj_fact *facts; /* sorted by kind, then subkey */
    size_t count;
    size_t capacity;
};

/* Bits of a fact kind's `lists`. */
enum { PJ_LISTED_MOST = 32 };

/* A change to one entity's facts. */
struct pj_change {
    size_t entity; /* which kind */
    uint8_t key[16];
    bool kept;                /* by pj_keep: an event says it */
    bool replaces;            /* by pj_contribute: what it said before, whatever the order */
    bool removed;             /* withdrawn by the entity that contributed it */
    bool timer;               /* no new fact, only derive again */
    bool older;               /* loses to a stored fact of the same order */
    const struct pj_fact *by; /* the wide fact whose derive contributed it; or NULL */
    uint32_t said;            /* its number among what one entity contributes */
    struct pj_fact fact;
};

/* Applies one change; facts are copied into the arena, texts are borrowed. True if it made a
 * difference. */
bool pj_facts_apply(struct pj_entity *entity, const struct pj_change *change,
                    struct pj_arena *arena);

/* By order, then tie, then content: <0, 0 or >0. */
int pj_facts_compare(const struct pj_fact_kind *kind, const struct pj_fact *a,
                     const struct pj_fact *b);

/* By kind, then subkey. */
int pj_facts_compare_place(const struct pj_fact *a, const struct pj_fact *b);

/* A copy that can be changed without touching the original's array, which `changes` are about to
 * do. */
struct pj_entity pj_facts_copy(const struct pj_entity *entity, size_t changes,
                               struct pj_arena *arena);

/* Of a recursive kind of fact: how many entities it came through, one after the other; more
 * than depth_most on a ring. Rank 0 of each such fact has the number. */
int64_t pj_facts_depth(const struct pj_entity *entity, size_t fact);

/* Adds a fact where none is; false: it is there. */
bool pj_facts_add(struct pj_entity *entity, const struct pj_fact *fact, struct pj_arena *arena);

/* Whether nothing but final facts is kept. */
bool pj_facts_final(const struct pj_entity *entity);

/* The stored form, in the arena: of all facts that are not kept apart (wide). */
void pj_facts_encode(const struct pj_entity *entity, struct pj_arena *arena, const void **data,
                     size_t *length);
/* That of one fact: as of an entity that has no other. */
void pj_facts_encode_one(const struct pj_entity *entity, const struct pj_fact *fact,
                         struct pj_arena *arena, const void **data, size_t *length);

/* Reads a stored form; texts point into `data`. Fails (fatal, naming the entity) when it is
 * damaged or of a newer version. */
int pj_facts_decode(struct pj_entity *entity, const void *data, size_t length,
                    struct pj_arena *arena, struct pj_error *error) PJ_MUST_CHECK;

#endif
