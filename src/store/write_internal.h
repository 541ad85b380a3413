/* SPDX-License-Identifier: Apache-2.0 */
/* What write.c (rows), write_parents.c, write_copy.c and write_facts.c share. */
#ifndef PJ_STORE_WRITE_INTERNAL_H
#define PJ_STORE_WRITE_INTERNAL_H

#include "postgres/binary.h"
#include "store/constraints.h"
#include "store/limits.h"
#include "store/statements.h"
#include "store/write.h"

/* Of a table: rows of before that time are gone for good. */
struct pj_trim {
    bool known;
    struct pj_value before; /* null: none was ordered */
};

struct pj_writer {
    const struct pj_projection *projection;
    struct pj_statements *statements;
    struct pj_builder buffer;
    struct pj_parents *parents; /* NULL: none */
    struct pj_constraints constraints;
    const struct pj_limit *const *limits; /* per table; NULL: not read yet */
    struct pj_arena *learned;             /* of those */
    struct pj_trim *trims;                /* per table: as it was ordered when last asked */
    bool secured;      /* row security is on for the connection: Postgres refuses a COPY then */
    bool skipping;     /* struct pj_tries: duplicates */
    bool whole;        /* likewise */
    int doubtful;      /* so many writes ask before a COPY which rows are there: duplicates come */
    size_t state_most; /* otherwise: bytes of facts */
    size_t loaded;     /* by this write so far */
    struct pj_arena *piece; /* parameters, until their statement is queued */
};

/* After a COPY that failed on a duplicate. Each costs a look-up, and a COPY that fails a whole
 * transaction. */
enum { DOUBTFUL_WRITES = 100 };

/* Rows for arrays of parameters. */
struct rows {
    const struct pj_value **items;
    size_t count;
};

static inline struct rows rows_new(struct pj_arena *arena, size_t most)
{
    return (struct rows){pj_arena_alloc(arena, most * sizeof(struct pj_value *)), 0};
}

/* What changes of a table, in one write. */
struct table_write {
    const struct pj_row_changes *changes;
    struct rows inserts, updates, removes; /* of an entity table */
    uint64_t changed;                      /* columns of the updates */
    struct rows refresh;                   /* of a rollup: buckets that something left */
};

/* One write of a fold: what all its functions are about. */
struct pass {
    struct pj_writer *writer;
    struct pj_postgres *postgres;
    struct pj_fold *fold;
    struct pj_arena *arena;
    struct pj_written *written;
    struct table_write *tables;
};

/* For the parameters of the next statements. Those of the ones before are with libpq, or were sent,
 * by now. */
static inline struct pj_arena *pj_writer_piece(const struct pass *pass)
{
    pj_arena_reset(pass->writer->piece);
    return pass->writer->piece;
}

/* --- write_distinct.c ------------------------------------------------------------------------- */

/* Rows of which no two have the same key. */
struct distinct {
    const struct pj_table *table;
    const int *columns; /* where rows have the table's key; NULL: as the table does */
    struct rows rows;   /* in the order in which they came */
    size_t *places;     /* by hash: in rows, from 1 */
    size_t slots;
};

/* Never 0. */
uint64_t pj_distinct_hash(const struct pj_table *table, const int *columns,
                          const struct pj_value *row);
struct distinct *pj_distinct_new(struct pj_arena *arena, const struct pj_table *table,
                                 const int *columns, size_t most);
/* NULL: the row was added; else the place of that which is there, to be replaced at will. */
const struct pj_value **pj_distinct_add(struct distinct *distinct, const struct pj_value *row,
                                        uint64_t hash);

/* --- write_copy.c ---------------------------------------------------------------------------- */

/* Whether a COPY of the rows is possible, and faster than a statement. */
bool pj_writer_copy_pays(const struct pass *pass, const struct pj_copy *copy,
                         const struct pj_table *table, const struct rows *rows);
int pj_writer_copy_rows(const struct pass *pass, const struct pj_copy *copy,
                        const struct pj_table *table, const struct rows *rows,
                        struct pj_error *error) PJ_MUST_CHECK;

/* Where duplicates came lately: leaves out those among the rows, and what is in the table already.
 */
int pj_writer_leave_out_present(const struct pass *pass, size_t index, struct rows *rows,
                                struct pj_error *error) PJ_MUST_CHECK;

/* --- write_parents.c ------------------------------------------------------------------------- */

struct pj_parents *pj_parents_new(const struct pj_projection *projection, struct pj_arena *arena);
/* Nothing is known any more of which parents exist. */
void pj_parents_forget(struct pj_parents *parents);
/* Of the changes, the rows that say something of parents: new ones, and those that refer to another
 * or mention it at another time. */
struct rows pj_parents_telling(const struct pass *pass, const struct pj_table *table,
                               const struct pj_row_changes *changes);
/* For each parent of the table, one of the rows for each key: the first to mention it. */
const struct rows *pj_parents_mentions(const struct pass *pass, const struct pj_table *table,
                                       const struct rows *rows);
/* Before those rows are written: their parents exist, as placeholders at least. */
int pj_parents_ensure(const struct pass *pass, const struct pj_table *table,
                      const struct rows *mentions, struct pj_error *error) PJ_MUST_CHECK;
/* After they are written: parents that others made placeholders meanwhile know of them. updated:
 * some of the rows were there before. */
int pj_parents_settle(const struct pass *pass, const struct pj_table *table,
                      const struct rows *mentions, bool updated,
                      struct pj_error *error) PJ_MUST_CHECK;
/* After all changes of the table are written: placeholders that rows no longer refer to may go. */
int pj_parents_release(const struct pass *pass, const struct pj_table *table,
                       const struct pj_row_changes *changes, struct pj_error *error) PJ_MUST_CHECK;

/* --- write_facts.c --------------------------------------------------------------------------- */

/* Loads the facts of what the fold touches, merges them and saves them, stage by stage; then its
 * rows are known. */
int pj_writer_run_stages(const struct pass *pass, struct pj_error *error) PJ_MUST_CHECK;

#endif
