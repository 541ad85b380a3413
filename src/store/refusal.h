/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose fault is it that Postgres refuses a row? A constraint on what the projection writes is
 * broken by the record; one on columns that it does not write is broken by every record, and is the
 * table's. So is a NOT NULL with a default on one that it writes: no row ever gets the default.
 */
#ifndef PJ_STORE_REFUSAL_H
#define PJ_STORE_REFUSAL_H

#include "postgres/postgres.h"
#include "projectionist/projection.h"

/*
 * Makes an error of the last statement that is PJ_POISON fatal (PJ_EXIT_DATABASE, with the remedy)
 * where it is not the record's fault. Asks Postgres, so the transaction must be over; when that
 * does not answer, *error says so instead.
 */
void pj_refusal_judge(struct pj_postgres *postgres, const struct pj_projection *projection,
                      struct pj_error *error);

#endif
