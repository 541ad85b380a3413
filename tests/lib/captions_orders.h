/* SPDX-License-Identifier: Apache-2.0 */
/* The captions topics' events for projectionist/testing.h. */
#ifndef PJ_TESTS_CAPTIONS_ORDERS_H
#define PJ_TESTS_CAPTIONS_ORDERS_H

#include "projectionist/testing.h"
#include "projections/captions/captions.h"
#include "projections/captions/captions_projections.h"

struct captions_orders {
    struct pj_orders orders;
    unsigned next_event;
};

struct captions_orders captions_orders_start(const struct pj_projection *projection);

/*
 * A new event of the projection's source of that name ("videos"), with an event_id and emitted_at
 * in milliseconds; and the branch of its body, which may be NULL ("VideoRegistered"), whose
 * required numbers are 0, those of a version and a run_count 1, and words the first. Ids of tenants
 * are 1, of videos 10, unless they are filled otherwise; keys of the storage are those of them.
 */
struct pj_value *captions_event(struct captions_orders *s, const char *source, const char *body,
                                int64_t ms);

#define CAPTIONS_EVENT(s, list, source, body, ms)                                                  \
    ((struct list *)captions_event(s, source, body, ms))

/* A storage key of tenant and video. */
struct pj_value captions_key(struct captions_orders *s, struct pj_uuid tenant, struct pj_uuid video,
                             const char *rest);

/* Fails the test unless the text is in the rows, in every order of what has come so far. */
void captions_expect(const struct captions_orders *s, const char *text);
/* Fails the test if the text is in the rows. */
void captions_refuse(const struct captions_orders *s, const char *text);
/* Fails the test unless the last event is refused with the sentence; takes it away. */
void captions_is_dead_letter(struct captions_orders *s, const char *sentence);

/* That many events of all the projection's topics, and what follows from them in `times` orders.
 * Fails the test unless they make a row of each table. */
void captions_agree(struct captions_orders *s, int count, int times, unsigned seed);

/* The same of the next seeds, a few orders each, whatever rows there are. */
void captions_agree_for(const struct pj_projection *projection, unsigned seed, unsigned seeds);

#endif
