/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unit of work: one transaction that writes what some events change, with all that belongs to it.
 * Live commits, the replay of dead letters, retained state and the swap of a rebuild are made of
 * these parts, so there is one way to open a connection, one to resolve an in-doubt commit, and one
 * answer to what comes after a try that failed.
 *
 * Every function is one try: it returns 0, or -1 with the class of the error, and it neither waits
 * for a server nor tries again. Whoever calls in a loop asks pj_unit_next what to do.
 */
#ifndef PJ_STORE_UNIT_H
#define PJ_STORE_UNIT_H

#include "store/dead_letter.h"
#include "store/offsets.h"
#include "store/write.h"

struct pj_unit;

/*
 * What became of the commit whose answer was lost. It is asked on another connection, while a
 * server may still be at that commit: the question waits for a lock of its transaction, unless the
 * connection has waited for one.
 */
typedef int pj_unit_ask(struct pj_unit *unit, void *context, enum pj_commit_outcome *outcome,
                        struct pj_error *error);

struct pj_unit {
    /* Of whoever has it, and borrowed. */
    const struct pj_postgres_settings *settings;
    const struct pj_projection *projection;
    const struct pj_identity *identity;
    struct pj_writer *writer; /* NULL: no fold is written, and the tables are not checked */
    const char *schema;       /* of shadow tables; NULL: the search_path finds the tables */
    struct pj_arena *work;    /* of one try; reset by the caller */
    bool async;               /* pj_unit_try does not wait for the disk */
    /* The first on each new connection; NULL: nothing. */
    int (*prepare)(void *context, struct pj_postgres *postgres, struct pj_error *error);
    pj_postgres_idle *idle; /* while Postgres works; NULL: nothing */
    void *context;          /* of both */

    struct pj_postgres *postgres; /* NULL: to be opened */
    int64_t connections;          /* so many were opened */
    bool tables_checked;          /* once is enough */
    int64_t busy_ms;              /* since when it works on a transaction; 0: it does not */
    bool committing;              /* … on the COMMIT */

    /* A commit whose answer was lost: resolved before anything else is written. */
    pj_unit_ask *in_doubt; /* NULL: there is none */
    void *in_doubt_context;
    struct pj_advance *advances; /* of it, where it had some */
    size_t advance_count;
};

/* Opens the connection where it is not open or was lost, and prepares it: what the statements count
 * on, access, the tables the first time, and what the writer must know of them. */
int pj_unit_open(struct pj_unit *unit, struct pj_error *error) PJ_MUST_CHECK;
void pj_unit_close(struct pj_unit *unit); /* never blocks; one that was never opened is allowed */

/*
 * On an open connection: resolves the commit whose answer was lost, if there is one (PJ_NO_COMMIT).
 * If it advanced offsets and was committed, the partitions have them. PJ_FENCED where another owner
 * took over since, so that the outcome is unknown.
 */
int pj_unit_resolve(struct pj_unit *unit, enum pj_commit_outcome *outcome,
                    struct pj_error *error) PJ_MUST_CHECK;
/* What it wrote is no longer ours. */
void pj_unit_forget(struct pj_unit *unit);

/* --- a transaction in steps ------------------------------------------------------------------ */

/* `tries`: what the tries before came to. */
int pj_unit_begin(struct pj_unit *unit, const struct pj_tries *tries,
                  struct pj_error *error) PJ_MUST_CHECK;
/* Runs the timers by stream time, this transaction included, and writes the rows of the fold;
 * *due: how many entities were due. */
int pj_unit_write(struct pj_unit *unit, struct pj_fold *fold, struct pj_written *written,
                  size_t *due, struct pj_error *error) PJ_MUST_CHECK;
/* `ask`, with its context, is kept where the answer is lost; both live until it is resolved. NULL:
 * to do it twice does no harm. What fails is rolled back. */
int pj_unit_commit(struct pj_unit *unit, pj_unit_ask *ask, void *context,
                   struct pj_error *error) PJ_MUST_CHECK;

/* --- or whole -------------------------------------------------------------------------------- */

struct pj_unit_work {
    const struct pj_tries *tries;
    struct pj_fold *fold;              /* NULL: no rows */
    const struct pj_advance *advances; /* sorted; none: rows follow from what is committed */
    size_t advance_count;
    const struct pj_dead_letter *letters;
    size_t letter_count;
    const char *const *accepted; /* topics of which a record was accepted for the first time */
    size_t accepted_count;
};

struct pj_unit_result {
    struct pj_written written;
    size_t due;
    int64_t commit_us; /* from the last statement to the answer to the COMMIT */
};

/* One transaction, from BEGIN to COMMIT, on an open connection: the fence first. When it is
 * committed the partitions have their new offsets. */
int pj_unit_try(struct pj_unit *unit, const struct pj_unit_work *work,
                struct pj_unit_result *result, struct pj_error *error) PJ_MUST_CHECK;

/* --- when it fails --------------------------------------------------------------------------- */

enum pj_next {
    PJ_AGAIN,   /* at once: another try gets by it */
    PJ_LATER,   /* a server is away or busy: after pj_back_off_ms */
    PJ_REFUSED, /* it is the work's fault: to be divided, or a dead letter */
    PJ_GIVE_UP, /* fenced, or fatal */
};

/* Of a try that failed: what comes next; pure. `divisible`: there is less work to try. */
enum pj_next pj_tries_next(struct pj_tries *tries, bool divisible, const struct pj_error *error);

/* The same; before the work is blamed, Postgres is asked whether the table is to blame, and *error
 * says so (see refusal.h). The transaction is over. */
enum pj_next pj_unit_next(struct pj_unit *unit, struct pj_tries *tries, bool divisible,
                          struct pj_error *error);

#endif
