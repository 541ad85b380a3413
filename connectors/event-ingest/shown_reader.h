/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what tables show (shown.h) over a few connections to Postgres, which requests share. Safe
 * from any thread.
 */
#ifndef PJ_EVENT_INGEST_SHOWN_READER_H
#define PJ_EVENT_INGEST_SHOWN_READER_H

#include "base/metrics.h"
#include "event-ingest/shown.h"
#include "postgres/postgres.h"

enum { PJ_SHOWN_CONNECTIONS_MOST = 64 };

struct pj_shown_reader_settings {
    struct pj_postgres_settings postgres;
    const struct pj_shown_tables *tables; /* borrowed */
    int64_t connections;                  /* at most so many */
    int64_t timeout_ms;                   /* of a reading, with all that it waits for */
    struct pj_metric *seconds, *failures, *open, *away;
};

struct pj_shown_reader;

/* Connects to nothing yet; the settings' texts are borrowed. */
struct pj_shown_reader *pj_shown_reader_new(const struct pj_shown_reader_settings *settings);
void pj_shown_reader_free(struct pj_shown_reader *reader); /* NULL is allowed */

/* Whether all tables can be read. Blocks for the time-out at most. PJ_RETRY while Postgres is away;
 * PJ_FATAL (PJ_EXIT_DATABASE) where a table or a column is missing, or a right, or where row
 * security may hide rows. */
int pj_shown_reader_check(struct pj_shown_reader *reader, struct pj_error *error) PJ_MUST_CHECK;

/* The rows of these claims, in their order, all with one query. Blocks for the time-out at most.
 * PJ_POISON: a key is none of the table's type; anything else: they cannot be read now. */
int pj_shown_read(struct pj_shown_reader *reader, const struct pj_shown_table *table,
                  const struct pj_claim_of *claims, struct pj_shown *shown, size_t count,
                  struct pj_error *error) PJ_MUST_CHECK;

/* Whether the last reading failed for another reason than a key, and why. */
bool pj_shown_reader_is_away(struct pj_shown_reader *reader, struct pj_error *reason);

#endif
