/* SPDX-License-Identifier: Apache-2.0 */
/* What write.c (parents and rows) and write_facts.c (the facts they follow from) share. */
#ifndef PJ_STORE_WRITE_INTERNAL_H
#define PJ_STORE_WRITE_INTERNAL_H

#include "postgres/binary.h"
#include "store/constraints.h"
#include "store/limits.h"
#include "store/statements.h"
#include "store/write.h"

struct pj_writer {
    const struct pj_projection *projection;
    struct pj_statements *statements;
    struct pj_builder buffer;
    struct ensure *ensures;
    uint8_t (*known_parents)[16];
    struct pj_constraints constraints;
    const struct pj_limit *const *limits; /* per table; NULL: not read yet */
    struct pj_arena *learned;             /* of those */
    bool passing_over;                    /* of struct pj_tries */
    bool whole;                           /* likewise */
    size_t state_most;                    /* otherwise: bytes of facts */
    size_t loaded;                        /* by this write so far */
    struct pj_arena *piece;               /* of one statement among several */
};

/* A growing list of rows for arrays of parameters: of a key and something, or of four values for a
 * timed kind. */
struct pairs {
    const struct pj_value **rows;
    size_t count;
};

static inline struct pairs pairs_new(struct pj_arena *arena, size_t most)
{
    return (struct pairs){pj_arena_alloc(arena, most * sizeof(struct pj_value *)), 0};
}

static inline void pairs_add(struct pairs *pairs, struct pj_arena *arena, const uint8_t key[16],
                             struct pj_value second)
{
    struct pj_value row[2] = {pj_uuid(key), second};
    pairs->rows[pairs->count++] = pj_arena_copy(arena, row, sizeof row);
}

/* Whether a COPY of so many rows is possible, and quicker than a statement. */
bool pj_writer_copy_pays(const struct pj_writer *writer, const struct pj_copy *copy,
                         const struct pj_table *table, size_t count);
int pj_writer_copy_rows(struct pj_writer *writer, struct pj_postgres *postgres,
                        const struct pj_copy *copy, const struct pj_table *table,
                        const struct pj_value *const *rows, size_t count,
                        struct pj_error *error) PJ_MUST_CHECK;

/* Loads the facts of what the fold touches, merges them and saves them, stage by stage; then its
 * rows are known. */
int pj_writer_run_stages(struct pj_writer *writer, struct pj_postgres *postgres,
                         struct pj_fold *fold, struct pj_arena *arena,
                         struct pj_error *error) PJ_MUST_CHECK;

#endif
