/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch's fold against Postgres: loads the facts it touches and writes what follows. Everything
 * happens in the transaction that the caller has begun and will commit.
 */
#ifndef PJ_STORE_WRITE_H
#define PJ_STORE_WRITE_H

#include "fold/fold.h"
#include "postgres/postgres.h"

struct pj_writer;

enum pj_row_kind { PJ_ROWS_INSERTED, PJ_ROWS_UPDATED, PJ_ROWS_DELETED, PJ_ROW_KINDS };

struct pj_written {
    int64_t rows;         /* inserted, updated, deleted or appended (duplicates count) */
    int64_t placeholders; /* rows made so that a foreign key holds */
    /* The same rows by kind, of each of the projection's tables; a bucket of a rollup is updated.
     * In the arena of the write. */
    int64_t (*tables)[PJ_ROW_KINDS];
    const int64_t *counted; /* what the projection counts (fold/counters.h); there, too */
    int64_t load_us, fold_us, write_us; /* how long facts were loaded, merged and derived from, and
                                         * how long what follows was sent */
};

/* Bytes of facts that one transaction loads by default. */
enum { PJ_STATE_MOST = 64 << 20 };

/* `schema` as in pj_statements_new; `state_most`: bytes of facts that one write may load. */
struct pj_writer *pj_writer_new(const struct pj_projection *projection, const char *schema,
                                size_t state_most);
/* From now on a state that another transaction was first to write is PJ_RETRY on the connection, as
 * pj_writer_learn has it. */
void pj_writer_expect_races(struct pj_postgres *postgres, const struct pj_projection *projection);

/* On a new connection, before the first write: what the columns hold, and of live tables the order
 * in which they must be written, as their constraints say. Errors as of pj_constraints_read. */
int pj_writer_learn(struct pj_writer *writer, struct pj_postgres *postgres,
                    struct pj_error *error) PJ_MUST_CHECK;
void pj_writer_free(struct pj_writer *writer); /* NULL is allowed */

/* Of a projection with a timed kind: gives the fold the stream time, which the caller has read in
 * this transaction, and the entities that are due by it; *due is how many, at most PJ_DUE_MOST and
 * with few enough facts, but one where any is due. */
int pj_writer_run_timers(struct pj_writer *writer, struct pj_postgres *postgres,
                         struct pj_fold *fold, int64_t stream_time, struct pj_arena *arena,
                         size_t *due, struct pj_error *error) PJ_MUST_CHECK;
/* Does the projection have a timed kind? */
bool pj_writer_timed(const struct pj_writer *writer);

/*
 * Runs the stages of the fold and writes its rows. Some statements may still be queued when it
 * returns: the COMMIT takes them along. Errors are as of
 * pj_postgres_run; after one the caller rolls back, and may try again with what it came to (struct
 * pj_tries).
 */
int pj_writer_write(struct pj_writer *writer, struct pj_postgres *postgres, struct pj_fold *fold,
                    struct pj_arena *arena, struct pj_written *written,
                    struct pj_error *error) PJ_MUST_CHECK;

/*
 * A write whose entities have more facts than it may load fails before it has loaded them, with an
 * error (PJ_POISON) that this recognizes. Less work is to be tried then; what cannot be divided is
 * tried `whole` (with one due entity at a time). The facts of one entity are never too many.
 */
bool pj_writer_too_large(const struct pj_error *error);

/* What the tries of one piece of work came to, and so how the next one is done; zero at first. */
struct pj_tries {
    int conflicts;   /* with another transaction */
    int parents;     /* that were gone: none counts as known any more */
    bool duplicates; /* skip them, after COPY failed on one; and let rows swap their values under a
                      * unique index */
    bool whole;      /* load whatever is needed */
};

/* Before each try. */
void pj_writer_begin(struct pj_writer *writer, const struct pj_tries *tries);

#endif
