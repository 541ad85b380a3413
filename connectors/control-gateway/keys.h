/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the published commands, by idempotency key and by id. One request at a time
 * claims a command; others about the same one wait for its answer.
 *
 * Kept in the topic safari.idempotency-keys, a JSON object per command, in the transaction of its
 * CommandSubmitted. Safe from any thread.
 */
#ifndef PJ_CONTROL_GATEWAY_KEYS_H
#define PJ_CONTROL_GATEWAY_KEYS_H

#include "common/publisher.h"
#include "control-gateway/envelope.h"
#include "control-gateway/upstream.h"

#define PJ_KEYS_TOPIC "safari.idempotency-keys"

/* The publisher's topics. */
enum { PJ_TO_COMMANDS, PJ_TO_SESSIONS, PJ_TO_KEYS, PJ_GATEWAY_TOPICS };

enum pj_command_state {
    PJ_COMMAND_NEW,       /* not published, as far as we know */
    PJ_COMMAND_PUBLISHED, /* and may have been forwarded */
    PJ_COMMAND_ACCEPTED,  /* the service has it */
    PJ_COMMAND_REFUSED,   /* the service refuses it; its key is free for another command */
};

enum { PJ_STATUS_MOST = 32, PJ_TIME_MOST = 40 };

/* A command. Only the request that has claimed it reads and writes these. */
struct pj_known {
    char caller[PJ_UUID_TEXT]; /* the owner: keys are shared only within one caller */
    char *key;                 /* idempotency key, or NULL */
    char command_id[PJ_UUID_TEXT];
    uint8_t digest[16];
    enum pj_command_state state;
    bool is_fresh; /* published by this process, and certainly not forwarded */
    char status[PJ_STATUS_MOST];
    char accepted_at[PJ_TIME_MOST];
    int64_t updated_ms;
    struct pj_publication *publishing; /* of its CommandSubmitted, while the state is NEW */
    /* Private to keys.c. */
    bool is_busy, is_gone;
    bool is_read; /* as read from the topic: no request has claimed it since */
    unsigned waiting;
    struct pj_reply *answer;
};

struct pj_keys;
struct pj_keys *pj_keys_new(void);
void pj_keys_free(struct pj_keys *keys); /* NULL is allowed */
size_t pj_keys_count(struct pj_keys *keys);

/* A pj_compacted_record; the context is the keys. Skips what it cannot parse, with a warning. */
int pj_keys_record(void *context, struct pj_bytes key, struct pj_bytes value,
                   struct pj_error *error) PJ_MUST_CHECK;

enum pj_claim {
    PJ_CLAIM_TAKEN,    /* claimed: *known, until pj_keys_finish */
    PJ_CLAIM_ANSWERED, /* another request had claimed it: *answer is what that one got */
    PJ_CLAIM_TIMEOUT,  /* and it still has: *command_id is its id */
    PJ_CLAIM_CONFLICT, /* a command with other content is under way: *command_id is its id */
    PJ_CLAIM_FOREIGN,  /* the command_id belongs to another caller's command */
};

/*
 * Claims the command of an envelope: a new one (with envelope->command_id, or a new id) where
 * neither its key nor its id is known, or where the key belongs only to a refused command with
 * other content, which is then forgotten. Waits at most wait_ms for another request.
 */
enum pj_claim pj_keys_claim(struct pj_keys *keys, const struct pj_envelope *envelope,
                            int64_t wait_ms, struct pj_known **known, struct pj_reply **answer,
                            char command_id[PJ_UUID_TEXT]);

/* Claims the published commands whose outcome is unknown: how many. */
size_t pj_keys_claim_open(struct pj_keys *keys, struct pj_known **open, size_t most);

/* Releases it, with the answer for the waiting requests (or NULL: they claim it themselves). One
 * that is still NEW, and is not being published, is forgotten. */
void pj_keys_finish(struct pj_keys *keys, struct pj_known *known, struct pj_reply *answer);

/* Adds its record, in its current state, to a publication; or removes it from the topic. */
void pj_known_add_record(const struct pj_known *known, struct pj_publication *publication);
void pj_known_add_end(const struct pj_known *known, struct pj_publication *publication);

/* Forgets the commands that were last changed before that time, unless a request has claimed them;
 * at most so many, each once `end`, which must not block, has returned 0 for it. Looks at all. */
size_t pj_keys_expire(struct pj_keys *keys, int64_t before_ms, size_t most,
                      int (*end)(void *context, const struct pj_known *known), void *context);

#endif
