/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics that Kafka does not take records of for a while, such as for want of a right: theirs wait,
 * those of other topics go on. A broker refuses a transaction as a whole. So once may be a moment;
 * after a second time each of its topics is published alone until it is taken, which shows whose
 * fault it is; that one waits for 5 s, or four times as long as the refusal took, so that the
 * others get most of the time. No I/O, no lock.
 */
#ifndef PJ_CONNECTORS_HOLD_H
#define PJ_CONNECTORS_HOLD_H

#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PJ_HOLD_MS = 5000 };

/* Of one topic; all zeros but the name at first. */
struct pj_hold {
    const char *topic;
    bool is_suspect; /* it may be the one that is refused */
    bool is_held;    /* its records wait; not tried again before until_ms */
    int64_t until_ms;
    struct pj_error why; /* it was held last */
};

/* Its records wait, for at least took_ms times four. */
void pj_hold(struct pj_hold *hold, int64_t took_ms, const struct pj_error *why);
/* They are taken. */
void pj_hold_end(struct pj_hold *hold);

/* For how long it is not to be tried. */
int64_t pj_hold_left_ms(const struct pj_hold *hold);

/* Whether records of a topic may be in the transaction whose first are those of another one. NULL:
 * a record of no such topic. */
bool pj_hold_may_share(const struct pj_hold *first, const struct pj_hold *hold);

/* Kafka refused a transaction of records of these topics (NULLs are allowed), not for good, after
 * took_ms, and `failures` before it. False: it may be a moment, so try the same again. */
bool pj_hold_refused(struct pj_hold *const *holds, size_t count, int failures, int64_t took_ms,
                     const struct pj_error *why);
/* It took one. */
void pj_hold_taken(struct pj_hold *const *holds, size_t count);

#endif
