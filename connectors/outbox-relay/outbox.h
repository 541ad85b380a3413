/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outbox, a table of Postgres: a session with it, of which one at a time has its lock. Rows
 * that are visible are read in the order of their ids, whatever gaps these have, and are deleted
 * one by one: a transaction that commits late leaves nothing behind.
 *
 * Errors are those of postgres.h. For one thread; all calls block for Postgres.
 */
#ifndef PJ_OUTBOX_RELAY_OUTBOX_H
#define PJ_OUTBOX_RELAY_OUTBOX_H

#include "base/arena.h"
#include "postgres/postgres.h"

struct pj_outbox;

/* Of the arena of the call that read it. */
struct pj_outbox_row {
    int64_t id;
    const char *event_id, *topic, *key;
    const char *body; /* JSON; NULL where it is larger than PJ_OUTBOX_BODY_MOST */
    int64_t body_size;
    int64_t written_us; /* since 1970 */
    const char *failed; /* NULL as read; why it can never be published */
};

enum { PJ_OUTBOX_BODY_MOST = 16 << 20, PJ_OUTBOX_BATCH_BYTES = 8 << 20 };

struct pj_outbox_settings {
    const char *schema;
    struct pj_postgres_settings postgres; /* borrowed */
    pj_postgres_idle *idle;
    void *context; /* of idle */
};

/* How much of the schema's name is that of its system: all but _private. The channel on which
 * Postgres tells of new rows is that, too, with _outbox, as projectionist.create_outbox has it. */
int pj_outbox_system_length(const char *schema);

/* Connects. PJ_EXIT_DATABASE where the tables are missing. */
int pj_outbox_open(struct pj_outbox **outbox, const struct pj_outbox_settings *settings,
                   struct pj_error *error) PJ_MUST_CHECK;
void pj_outbox_close(struct pj_outbox *outbox); /* NULL is allowed; never blocks */
struct pj_postgres *pj_outbox_postgres(struct pj_outbox *outbox);

/* Takes the lock, unless another session has it, and then hears of new rows. */
int pj_outbox_lock(struct pj_outbox *outbox, bool *locked, struct pj_error *error) PJ_MUST_CHECK;

/*
 * The first rows that are not of these topics (an array literal), at most `most` of them and one
 * more than fits PJ_OUTBOX_BATCH_BYTES.
 */
int pj_outbox_read(struct pj_outbox *outbox, const char *but_topics, int64_t most,
                   struct pj_arena *arena, struct pj_outbox_row **rows, size_t *count,
                   struct pj_error *error) PJ_MUST_CHECK;

/* Deletes them, in one transaction; those that failed move to outbox_failed. Those that are gone
 * already are no error. */
int pj_outbox_settle(struct pj_outbox *outbox, const struct pj_outbox_row *rows, size_t count,
                     struct pj_error *error) PJ_MUST_CHECK;

struct pj_outbox_numbers {
    int64_t pending; /* counted up to 100,000 */
    int64_t oldest_ms;
    int64_t failed;
};

int pj_outbox_count(struct pj_outbox *outbox, struct pj_outbox_numbers *numbers,
                    struct pj_error *error) PJ_MUST_CHECK;

#endif
