/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/keys.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"

#include <jansson.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <uuid.h>

/* Record keys: key:KEY, key@CALLER:KEY or, for a command without a key, id:ID. */
#define KEY_PREFIX    "key:"
#define CALLER_PREFIX "key@"
#define ID_PREFIX     "id:"

struct pj_keys {
    pthread_mutex_t mutex;
    pthread_cond_t finished;
    void *by_key; /* tsearch trees */
    void *by_id;
    size_t count;
};

static int compare_keys(const void *a, const void *b)
{
    const struct pj_known *one = a, *other = b;
    int order = strcmp(one->key, other->key);
    return order != 0 ? order : strcmp(one->caller, other->caller);
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const struct pj_known *)a)->command_id,
                  ((const struct pj_known *)b)->command_id);
}

static struct pj_known *find(void *const *tree, const struct pj_known *like,
                             int (*compare)(const void *, const void *))
{
    struct pj_known *const *found = tfind(like, tree, compare);
    return found != NULL ? *found : NULL;
}

struct pj_keys *pj_keys_new(void)
{
    struct pj_keys *keys = pj_alloc(sizeof *keys);
    pthread_mutex_init(&keys->mutex, NULL);
    pj_condition_init(&keys->finished);
    return keys;
}

static void known_free(void *opaque)
{
    struct pj_known *known = opaque;
    pj_publication_release(known->publishing);
    pj_reply_release(known->answer);
    free(known->key);
    free(known);
}

static void keep(void *opaque)
{
    (void)opaque;
}

void pj_keys_free(struct pj_keys *keys)
{
    if (keys == NULL)
        return;
    tdestroy(keys->by_key, keep); /* all of them are in the other one */
    tdestroy(keys->by_id, known_free);
    pthread_cond_destroy(&keys->finished);
    pthread_mutex_destroy(&keys->mutex);
    free(keys);
}

size_t pj_keys_count(struct pj_keys *keys)
{
    pthread_mutex_lock(&keys->mutex);
    size_t count = keys->count;
    pthread_mutex_unlock(&keys->mutex);
    return count;
}

/* Under the mutex. Takes ownership of `key`. A key that already belongs to another command stays
 * with it. */
static struct pj_known *insert(struct pj_keys *keys, const char *command_id, const char *caller,
                               char *key)
{
    struct pj_known *known = pj_alloc(sizeof *known);
    memcpy(known->command_id, command_id, sizeof known->command_id);
    memcpy(known->caller, caller, sizeof known->caller);
    known->key = key;
    pj_must(tsearch(known, &keys->by_id, compare_ids));
    if (key != NULL)
        pj_must(tsearch(known, &keys->by_key, compare_keys));
    keys->count++;
    return known;
}

/* Under the mutex. */
static void forget(struct pj_keys *keys, struct pj_known *known)
{
    tdelete(known, &keys->by_id, compare_ids);
    if (known->key != NULL && find(&keys->by_key, known, compare_keys) == known)
        tdelete(known, &keys->by_key, compare_keys);
    keys->count--;
    known->is_gone = true;
    if (known->waiting == 0)
        known_free(known);
}

/* --- requests -------------------------------------------------------------------------------- */

/* Under the mutex. The key decides, as in the service. */
static struct pj_known *find_or_insert(struct pj_keys *keys, const struct pj_envelope *envelope)
{
    struct pj_known like = {.key = pj_strdup(pj_envelope_key(envelope))};
    struct pj_known *known = NULL;
    memcpy(like.command_id, envelope->command_id, sizeof like.command_id);
    memcpy(like.caller, envelope->caller, sizeof like.caller);
    if (like.key != NULL)
        known = find(&keys->by_key, &like, compare_keys);
    if (known == NULL && like.command_id[0] != '\0')
        known = find(&keys->by_id, &like, compare_ids);
    if (known != NULL) {
        free(like.key);
        return known;
    }
    if (like.command_id[0] == '\0') {
        uuid_t id;
        uuid_generate_random(id);
        uuid_unparse_lower(id, like.command_id);
    }
    known = insert(keys, like.command_id, like.caller, like.key);
    memcpy(known->digest, envelope->digest, sizeof known->digest);
    return known;
}

/* Under the mutex. Waits for the request that has claimed it; true: there is an answer, or the time
 * is up. */
static bool wait_for(struct pj_keys *keys, struct pj_known *known, const struct timespec *until,
                     struct pj_reply **answer)
{
    int late = 0;
    known->waiting++;
    while (known->is_busy && !known->is_gone && known->answer == NULL && late == 0)
        late = pthread_cond_timedwait(&keys->finished, &keys->mutex, until);
    known->waiting--;
    if (known->answer != NULL)
        *answer = pj_reply_keep(known->answer);
    bool over = known->answer != NULL || late != 0;
    if (known->waiting == 0) {
        pj_reply_release(known->answer);
        known->answer = NULL;
        if (known->is_gone)
            known_free(known);
        else
            pthread_cond_broadcast(&keys->finished);
    }
    return over;
}

/* Under the mutex: what is known at once; PJ_CLAIM_ANSWERED: wait for the claimant. */
static enum pj_claim look_at(const struct pj_known *known, const struct pj_envelope *envelope)
{
    if (strcmp(known->caller, envelope->caller) != 0)
        return PJ_CLAIM_FOREIGN;
    if (known->is_busy && memcmp(known->digest, envelope->digest, sizeof known->digest) != 0)
        return PJ_CLAIM_CONFLICT;
    /* An answer that others have yet to fetch must not be mixed with the next one. */
    return known->is_busy || known->answer != NULL ? PJ_CLAIM_ANSWERED : PJ_CLAIM_TAKEN;
}

/* Under the mutex: a refused command whose key another command may take; its id stays taken. */
static bool is_given_up(const struct pj_known *known, const struct pj_envelope *envelope)
{
    return known->state == PJ_COMMAND_REFUSED && !known->is_busy && known->waiting == 0 &&
           memcmp(known->digest, envelope->digest, sizeof known->digest) != 0 &&
           strcmp(known->command_id, envelope->command_id) != 0 &&
           strcmp(known->caller, envelope->caller) == 0;
}

enum pj_claim pj_keys_claim(struct pj_keys *keys, const struct pj_envelope *envelope,
                            int64_t wait_ms, struct pj_known **out, struct pj_reply **answer,
                            char command_id[PJ_UUID_TEXT])
{
    const struct timespec until = pj_in_ms(wait_ms);
    *answer = NULL;
    pthread_mutex_lock(&keys->mutex);
    for (;;) {
        struct pj_known *known = find_or_insert(keys, envelope);
        if (is_given_up(known, envelope)) {
            forget(keys, known);
            continue;
        }
        memcpy(command_id, known->command_id, PJ_UUID_TEXT);
        enum pj_claim claim = look_at(known, envelope);
        if (claim == PJ_CLAIM_TAKEN) {
            known->is_busy = true;
            known->is_read = false;
            *out = known;
        }
        if (claim != PJ_CLAIM_ANSWERED) {
            pthread_mutex_unlock(&keys->mutex);
            return claim;
        }
        if (wait_for(keys, known, &until, answer))
            break;
    }
    pthread_mutex_unlock(&keys->mutex);
    return *answer != NULL ? PJ_CLAIM_ANSWERED : PJ_CLAIM_TIMEOUT;
}

struct search {
    struct pj_known **open;
    size_t count, most;
};

static void visit(const void *node, VISIT order, void *context)
{
    struct search *search = context;
    struct pj_known *known = *(struct pj_known *const *)node;
    if ((order != postorder && order != leaf) || search->count == search->most ||
        known->state != PJ_COMMAND_PUBLISHED || known->is_busy)
        return;
    known->is_busy = true;
    known->is_read = false;
    search->open[search->count++] = known;
}

size_t pj_keys_claim_open(struct pj_keys *keys, struct pj_known **open, size_t most)
{
    struct search search = {.open = open, .most = most};
    pthread_mutex_lock(&keys->mutex);
    twalk_r(keys->by_id, visit, &search);
    pthread_mutex_unlock(&keys->mutex);
    return search.count;
}

void pj_keys_finish(struct pj_keys *keys, struct pj_known *known, struct pj_reply *answer)
{
    pthread_mutex_lock(&keys->mutex);
    known->is_busy = false;
    if (known->waiting > 0 && answer != NULL)
        known->answer = pj_reply_keep(answer);
    if (known->state == PJ_COMMAND_NEW && known->publishing == NULL)
        forget(keys, known);
    pthread_cond_broadcast(&keys->finished);
    pthread_mutex_unlock(&keys->mutex);
}

/* --- expiry ---------------------------------------------------------------------------------- */

struct expiry {
    int64_t before_ms;
    struct pj_known **found;
    size_t count, most;
};

static void visit_old(const void *node, VISIT order, void *context)
{
    struct expiry *expiry = context;
    struct pj_known *known = *(struct pj_known *const *)node;
    if ((order != postorder && order != leaf) || expiry->count == expiry->most)
        return;
    if (!known->is_busy && known->waiting == 0 && known->publishing == NULL &&
        known->updated_ms < expiry->before_ms)
        expiry->found[expiry->count++] = known;
}

size_t pj_keys_expire(struct pj_keys *keys, int64_t before_ms, size_t most,
                      int (*end)(void *context, const struct pj_known *known), void *context)
{
    struct expiry expiry = {.before_ms = before_ms, .most = most};
    size_t forgotten = 0;
    expiry.found = pj_calloc(most, sizeof *expiry.found);
    /* Under the mutex: a later request with that key publishes after its removal. */
    pthread_mutex_lock(&keys->mutex);
    twalk_r(keys->by_id, visit_old, &expiry);
    for (; forgotten < expiry.count; forgotten++) {
        struct pj_known *known = expiry.found[forgotten];
        /* If another command has the key by now, its record is not this one's to remove. */
        bool is_owner = known->key == NULL || find(&keys->by_key, known, compare_keys) == known;
        if (is_owner && end(context, known) != 0)
            break;
        forget(keys, known);
    }
    pthread_mutex_unlock(&keys->mutex);
    free(expiry.found);
    return forgotten;
}

/* --- records --------------------------------------------------------------------------------- */

static void add(const struct pj_known *known, struct pj_publication *publication,
                struct pj_bytes value)
{
    char *name = known->key == NULL ? pj_text_new("%s%s", ID_PREFIX, known->command_id)
                 : known->caller[0] != '\0'
                     ? pj_text_new("%s%s:%s", CALLER_PREFIX, known->caller, known->key)
                     : pj_text_new("%s%s", KEY_PREFIX, known->key);
    pj_publication_add(publication, PJ_TO_KEYS, (struct pj_bytes){name, strlen(name)}, value);
    free(name);
}

static const char *const state_names[] = {[PJ_COMMAND_NEW] = "published",
                                          [PJ_COMMAND_PUBLISHED] = "published",
                                          [PJ_COMMAND_ACCEPTED] = "accepted",
                                          [PJ_COMMAND_REFUSED] = "refused"};

void pj_known_add_record(const struct pj_known *known, struct pj_publication *publication)
{
    char digest[PJ_UUID_TEXT];
    uuid_unparse_lower(known->digest, digest);
    json_t *json =
        json_pack("{s:s, s:s*, s:s*, s:s, s:s, s:s*, s:s*, s:I}", "command_id", known->command_id,
                  "caller", known->caller[0] != '\0' ? known->caller : NULL, "idempotency_key",
                  known->key, "digest", digest, "state", state_names[known->state], "status",
                  known->status[0] != '\0' ? known->status : NULL, "accepted_at",
                  known->accepted_at[0] != '\0' ? known->accepted_at : NULL, "updated_ms",
                  (json_int_t)known->updated_ms);
    char *value = pj_must(json_dumps(pj_must(json), JSON_COMPACT));
    json_decref(json);
    add(known, publication, (struct pj_bytes){value, strlen(value)});
    free(value);
}

void pj_known_add_end(const struct pj_known *known, struct pj_publication *publication)
{
    add(known, publication, (struct pj_bytes){0});
}

static bool read_record(const json_t *json, struct pj_known *read)
{
    const char *id = json_string_value(json_object_get(json, "command_id"));
    const char *key = json_string_value(json_object_get(json, "idempotency_key"));
    const char *digest = json_string_value(json_object_get(json, "digest"));
    const char *state = json_string_value(json_object_get(json, "state"));
    const char *status = json_string_value(json_object_get(json, "status"));
    const char *accepted_at = json_string_value(json_object_get(json, "accepted_at"));
    const char *caller = json_string_value(json_object_get(json, "caller"));
    if (id == NULL || !pj_is_uuid((struct pj_bytes){id, strlen(id)}) || state == NULL ||
        (caller != NULL && !pj_is_uuid((struct pj_bytes){caller, strlen(caller)})))
        return false;
    pj_text_whole(read->caller, sizeof read->caller, "%s", caller != NULL ? caller : "");
    memcpy(read->command_id, id, sizeof read->command_id);
    if (digest != NULL && uuid_parse(digest, read->digest) != 0)
        return false;
    read->state = PJ_COMMAND_PUBLISHED;
    for (size_t i = PJ_COMMAND_ACCEPTED; i <= PJ_COMMAND_REFUSED; i++) {
        if (strcmp(state, state_names[i]) == 0)
            read->state = (enum pj_command_state)i;
    }
    pj_text_show(read->status, sizeof read->status, "%s", status != NULL ? status : "");
    pj_text_show(read->accepted_at, sizeof read->accepted_at, "%s",
                 accepted_at != NULL ? accepted_at : "");
    read->updated_ms = json_integer_value(json_object_get(json, "updated_ms"));
    read->key = pj_strdup(key);
    return true;
}

static bool has_prefix(struct pj_bytes key, const char *prefix)
{
    return key.length > strlen(prefix) && memcmp(key.data, prefix, strlen(prefix)) == 0;
}

/* The command has expired. A command that a request has claimed since is newer here. */
static void end_record(struct pj_keys *keys, struct pj_bytes key)
{
    struct pj_known like = {0};
    struct pj_known *known = NULL;
    char *name = pj_strndup(key.data, key.length);
    pthread_mutex_lock(&keys->mutex);
    if (has_prefix(key, KEY_PREFIX)) {
        like.key = name + strlen(KEY_PREFIX);
    } else if (has_prefix(key, CALLER_PREFIX) &&
               strlen(name) >= strlen(CALLER_PREFIX) + PJ_UUID_TEXT) {
        memcpy(like.caller, name + strlen(CALLER_PREFIX), PJ_UUID_TEXT - 1);
        like.key = name + strlen(CALLER_PREFIX) + PJ_UUID_TEXT; /* and a colon */
    } else if (strlen(name) - strlen(ID_PREFIX) < sizeof like.command_id) {
        memcpy(like.command_id, name + strlen(ID_PREFIX), strlen(name) - strlen(ID_PREFIX));
        known = find(&keys->by_id, &like, compare_ids);
    }
    if (like.key != NULL)
        known = find(&keys->by_key, &like, compare_keys);
    if (known != NULL && known->is_read)
        forget(keys, known);
    pthread_mutex_unlock(&keys->mutex);
    free(name);
}

int pj_keys_record(void *context, struct pj_bytes key, struct pj_bytes value,
                   struct pj_error *error)
{
    struct pj_keys *keys = context;
    struct pj_known read = {0};
    (void)error;
    if (!has_prefix(key, KEY_PREFIX) && !has_prefix(key, CALLER_PREFIX) &&
        !has_prefix(key, ID_PREFIX))
        return 0; /* another gateway's */
    if (value.data == NULL) {
        end_record(keys, key);
        return 0;
    }
    json_t *json = json_loadb(value.data, value.length, 0, NULL);
    bool understood = read_record(json, &read);
    json_decref(json);
    if (!understood) {
        pj_log(PJ_WARN, "a record of " PJ_KEYS_TOPIC " cannot be parsed");
        return 0;
    }
    pthread_mutex_lock(&keys->mutex);
    struct pj_known *known = find(&keys->by_id, &read, compare_ids);
    /* A command that a request has claimed, or the service has accepted, is newer here. */
    bool is_newer = known != NULL && (known->is_busy || known->state == PJ_COMMAND_ACCEPTED);
    if (known == NULL) {
        known = insert(keys, read.command_id, read.caller, read.key);
        known->is_read = true;
    } else {
        free(read.key);
    }
    if (is_newer) {
        pthread_mutex_unlock(&keys->mutex);
        return 0;
    }
    memcpy(known->digest, read.digest, sizeof known->digest);
    memcpy(known->status, read.status, sizeof known->status);
    memcpy(known->accepted_at, read.accepted_at, sizeof known->accepted_at);
    known->state = read.state;
    known->updated_ms = read.updated_ms;
    pthread_mutex_unlock(&keys->mutex);
    return 0;
}
