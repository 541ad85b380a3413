/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tables show of the things that events are about: whose a thing is, and in which version.
 * An event of somebody else's thing is refused, and one that was made on an older version. The
 * tables lag behind the topics, so this keeps no promise of the tables: what slips through is for
 * the consumers to settle. Pure.
 *
 * "drama.dramas=dramas,key=id:drama_id,owner=user_id,revision=revision,life=life": after the topic
 * its table, the columns of its key with the member of the event that each is (without one the
 * name is the same), and the columns that say whose the row is, its revision and its life; each of
 * the last three may be left out.
 */
#ifndef PJ_EVENT_INGEST_SHOWN_H
#define PJ_EVENT_INGEST_SHOWN_H

#include "event-ingest/admission.h"
#include "event-ingest/topics.h"

enum { PJ_SHOWN_KEYS_MOST = 4 };

struct pj_shown_table {
    char *text; /* what the names point into; NULL: the topic has no table */
    const char *table;
    const char *columns[PJ_SHOWN_KEYS_MOST], *members[PJ_SHOWN_KEYS_MOST];
    size_t key_count;
    const char *owner, *revision, *life; /* columns, or NULL */
};

struct pj_shown_tables {
    struct pj_shown_table *items; /* by the index of the topic */
    size_t count;                 /* of the topics */
};

/* All must be of the topics. PJ_EXIT_USAGE for anything else. */
int pj_shown_parse(struct pj_shown_tables **tables, const struct pj_topics *topics,
                   const char *text, struct pj_error *error) PJ_MUST_CHECK;
void pj_shown_free(struct pj_shown_tables *tables); /* NULL is allowed */

/* PJ_FATAL where the schema of a topic has no such members. */
int pj_shown_check_schema(const struct pj_shown_table *table, const char *topic,
                          const struct pj_avro_type *record, struct pj_error *error) PJ_MUST_CHECK;

/* What an event says of itself. */
struct pj_claim_of {
    size_t event;                   /* its index in the request */
    char *keys[PJ_SHOWN_KEYS_MOST]; /* malloc'ed */
    int64_t revision, base, life;
    bool has_revision, has_base, has_life;
    bool creates; /* a save that was made on nothing, of a kind that may be made on something */
};

/* Of an event that fits its schema. `expected` is the If-Match of its request, or NULL. False: it
 * names no thing, a member of the key being null. */
bool pj_shown_claim(const struct pj_shown_table *table, const struct pj_avro_type *record,
                    const json_t *event, const int64_t *expected, struct pj_claim_of *claim);
void pj_shown_claims_free(struct pj_claim_of *claims, size_t count); /* NULL is allowed */

/* A row, as far as the table has one. */
struct pj_shown {
    bool is_there;
    bool has_owner, has_revision, has_life; /* what is not null */
    char owner[PJ_OWNER];
    int64_t revision, life;
};

/* 0, or -1 with the *status of the answer and a sentence: 403 or 409. `user` is the caller's; NULL:
 * any. */
int pj_shown_judge(const struct pj_shown_table *table, const struct pj_shown *shown,
                   const struct pj_claim_of *claim, const char *user, int *status,
                   struct pj_error *error) PJ_MUST_CHECK;

#endif
