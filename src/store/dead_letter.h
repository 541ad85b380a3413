/* SPDX-License-Identifier: Apache-2.0 */
/* Dead letters, written in the transaction that moves the offsets past their records. */
#ifndef PJ_STORE_DEAD_LETTER_H
#define PJ_STORE_DEAD_LETTER_H

#include "store/offsets.h"

struct pj_dead_letter {
    const struct pj_record *record;
    const char *headers; /* as JSON; NULL: none */
    const struct pj_error *reason;
};

/* The reason's message with what it may quote of the record made harmless, for a text column and a
 * terminal. */
const char *pj_dead_letter_reason(struct pj_arena *arena, const struct pj_error *reason);

/* Queues it: the whole record, with the reason. */
int pj_dead_letter_queue(struct pj_postgres *postgres, const struct pj_identity *identity,
                         const struct pj_dead_letter *letter, struct pj_arena *arena,
                         struct pj_error *error) PJ_MUST_CHECK;

#endif
