/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQL of a projection, generated once from its const data: names come from declarations,
 * never from events.
 */
#ifndef PJ_STORE_STATEMENTS_H
#define PJ_STORE_STATEMENTS_H

#include "base/arena.h"
#include "postgres/postgres.h"
#include "projectionist/projection.h"

/* Parameters of all: one array a column, in the table's order, unless said otherwise. */
enum { PJ_DUE_MOST = 1000 };

/* COPY … FROM STDIN; after one that wrote fewer rows than it was given, `copied` (queued int8,
 * written int8) fails with the reason. */
struct pj_copy {
    const char *sql; /* NULL: none */
    struct pj_statement copied;
};

/*
 * Whatever writes fails with PJ004 where it wrote another number of rows than its parameters have:
 * rows that are gone, hidden from the role, or suppressed by a trigger. Where a statement cannot
 * count them, a second one is queued after it.
 */
struct pj_table_statements {
    /* entity: over placeholders only, any other row is refused (PJ003); append: skips duplicates;
     * rollup: adds to the bucket */
    struct pj_statement insert;
    struct pj_statement present; /* sql not NULL: after such an insert; by the key columns */
    /* append: by the key columns → the places, from 1, of those that are there */
    struct pj_statement found;
    /* entity with children, but in a shadow: before remove, after which only placeholders are left;
     * by the key columns */
    struct pj_statement lock, restore;
    struct pj_statement remove;  /* by the key columns */
    struct pj_statement absent;  /* sql not NULL: after remove; by the key columns */
    struct pj_statement release; /* part: sets its columns to NULL, by the key columns */
    /* sql not NULL: of a table that may be trimmed; before … */
    struct pj_statement trim_lock;
    struct pj_statement trimmed;     /* … the time before which its rows are gone, or NULL */
    struct pj_statement expect_trim; /* fails (40001) where that is another time */
    struct pj_statement refresh;     /* rollup: the key columns, and a bool: an extreme went */
    struct pj_copy copy;             /* of append tables, and entity tables of a shadow */
    struct pj_update *releases;      /* some columns to NULL, by the key columns; likewise */
    struct pj_update *updates;       /* by the set of columns, made as they are needed */
};

struct pj_update {
    uint64_t columns;
    struct pj_statement statement; /* the key columns, then the changed ones */
    struct pj_update *next;
};

struct pj_entity_statements {
    /* keys uuid[], most int4 → key, length of the facts, the facts (null where they are longer
     * than `most`), timed: and derived_at; locked in the order of the keys */
    struct pj_statement load;
    struct pj_statement insert; /* keys uuid[], facts bytea[]; timed: and due_at[], derived_at[] */
    struct pj_statement update; /* the same */
    struct pj_statement due; /* timed: stream time → keys that are due, at most PJ_DUE_MOST, and
                                the lengths of their facts */
    struct pj_copy copy;     /* as insert; of a shadow, where no other process claims a key */
    /* Of a kind with wide facts (sql NULL: none). Keys uuid[], kinds int4[], subkeys uuid[], most
     * int4 → the first three, the length of the fact, the fact (null where it is longer) … */
    struct pj_statement load_wide;
    /* … or keys and kinds → all facts of these, where those of an entity are not longer. */
    struct pj_statement load_kinds;
    struct pj_statement put_wide;    /* and facts bytea[]: inserts or overwrites */
    struct pj_statement remove_wide; /* keys, kinds, subkeys */
};

struct pj_statements {
    const struct pj_projection *projection;
    struct pj_arena *arena; /* owns the SQL */
    const char *schema;
    struct pj_table_statements *tables;    /* per table */
    struct pj_entity_statements *entities; /* per entity kind */
};

/* The columns of a state table: key, facts; of a timed kind also due_at, derived_at. */
extern const struct pj_table pj_state_table;
extern const struct pj_table pj_timed_state_table;
/* Of wide facts: key, kind, subkey, facts. */
extern const struct pj_table pj_wide_state_table;

/* `schema`: where the tables and states are, for the shadow of a rebuild; NULL: tables by the
 * search_path, states in `projectionist`. */
struct pj_statements *pj_statements_new(const struct pj_projection *projection, const char *schema);
void pj_statements_free(struct pj_statements *statements); /* NULL is allowed */

const struct pj_statement *pj_statements_update(struct pj_statements *statements, size_t table,
                                                uint64_t columns);
const struct pj_statement *pj_statements_release(struct pj_statements *statements, size_t table,
                                                 uint64_t columns);

#endif
