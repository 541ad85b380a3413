/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was published under an Idempotency-Key: a hash of the request, and when. The ids, times and
 * revisions that were made for it follow from that. Kept in the state topic, a JSON object per key,
 * in the transaction of the events. Safe from any thread.
 */
#ifndef PJ_EVENT_INGEST_KEPT_H
#define PJ_EVENT_INGEST_KEPT_H

#include "common/publisher.h"

enum { PJ_DIGEST = 32 };

/* One key. Only the request that has taken it reads and writes these. */
struct pj_kept_key {
    char *name; /* of the caller and the key */
    unsigned char digest[PJ_DIGEST];
    int64_t at_us; /* of the first request */
    bool is_published;
    struct pj_publication *publishing; /* of the first request, while its outcome is not known */
    /* Private to kept.c. */
    bool is_taken;
    struct pj_kept_key *before, *after; /* by age */
};

struct pj_kept;
struct pj_kept *pj_kept_new(size_t most);
void pj_kept_free(struct pj_kept *kept); /* NULL is allowed */
size_t pj_kept_count(struct pj_kept *kept);

/* A pj_compacted_record; the context is a struct pj_kept. Skips what is none of its records. */
int pj_kept_record(void *context, struct pj_bytes key, struct pj_bytes value,
                   struct pj_error *error) PJ_MUST_CHECK;

enum pj_take {
    PJ_TAKE_NEW,   /* taken; nothing is known of it */
    PJ_TAKE_KNOWN, /* taken; it is published, or its publication is under way */
    PJ_TAKE_OTHER, /* a request with other content has the key */
    PJ_TAKE_BUSY,  /* another request is under way with the key */
    PJ_TAKE_FULL,  /* there is no room for another key */
};

/* What is taken is given back by pj_kept_finish. */
enum pj_take pj_kept_take(struct pj_kept *kept, const char *name,
                          const unsigned char digest[PJ_DIGEST], int64_t now_us,
                          struct pj_kept_key **key);

/* A key that is not published, and is not being published, is forgotten. */
void pj_kept_finish(struct pj_kept *kept, struct pj_kept_key *key);

/* Adds its record to a publication, for the topic of this index. */
void pj_kept_add_record(const struct pj_kept_key *key, struct pj_publication *publication,
                        size_t topic);

/* Forgets the keys that are older than that, at most so many, each once `end`, which must not
 * block, has returned 0 for its name. */
size_t pj_kept_expire(struct pj_kept *kept, int64_t before_us, size_t most,
                      int (*end)(void *context, const char *name), void *context);

#endif
