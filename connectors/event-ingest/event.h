/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completes an event that a client has posted: ids, times and revisions that it left out, and what
 * the caller's token says of its tenant and user. Pure: the clock and the ids come from outside.
 */
#ifndef PJ_EVENT_INGEST_EVENT_H
#define PJ_EVENT_INGEST_EVENT_H

#include "avro/avro_schema.h"

enum { PJ_UUID_TEXT = 37 }; /* with its NUL */

struct pj_event_rules {
    const struct pj_avro_type *record; /* the schema's */
    const char *tenant, *user;         /* the caller's; NULL: any */
    int64_t now_us;
    bool is_import; /* old events are taken, too */
    const char *new_id;
};

/* Whether its body is of a kind that says on what revision it was made. */
bool pj_event_may_have_base(const struct pj_avro_type *record, const json_t *event);

/* Puts the revision of an If-Match there. PJ_POISON where another one is there. */
int pj_event_expect(json_t *event, const struct pj_avro_type *record, int64_t revision,
                    struct pj_error *error) PJ_MUST_CHECK;

/* The id of the event is there afterwards. -1: *status is that of the answer, with a sentence. */
int pj_event_complete(json_t *event, const struct pj_event_rules *rules, int *status,
                      struct pj_error *error) PJ_MUST_CHECK;

#endif
