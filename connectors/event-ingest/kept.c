/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/kept.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <jansson.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* Of the keys of records. Others are markers of transactions, also of other ingests. */
#define PREFIX "key "

struct pj_kept {
    pthread_mutex_t mutex;
    void *by_name; /* a tsearch tree */
    struct pj_kept_key *oldest, *newest;
    size_t count, most;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct pj_kept_key *)a)->name, ((const struct pj_kept_key *)b)->name);
}

struct pj_kept *pj_kept_new(size_t most)
{
    struct pj_kept *kept = pj_alloc(sizeof *kept);
    kept->most = most;
    pthread_mutex_init(&kept->mutex, NULL);
    return kept;
}

static void free_key(struct pj_kept_key *key)
{
    pj_publication_release(key->publishing);
    free(key->name);
    free(key);
}

static void leave_it(void *key)
{
    (void)key;
}

void pj_kept_free(struct pj_kept *kept)
{
    if (kept == NULL)
        return;
    tdestroy(kept->by_name, leave_it);
    for (struct pj_kept_key *next, *key = kept->oldest; key != NULL; key = next) {
        next = key->after;
        free_key(key);
    }
    pthread_mutex_destroy(&kept->mutex);
    free(kept);
}

size_t pj_kept_count(struct pj_kept *kept)
{
    pthread_mutex_lock(&kept->mutex);
    size_t count = kept->count;
    pthread_mutex_unlock(&kept->mutex);
    return count;
}

/* --- under the mutex ------------------------------------------------------------------------- */

static struct pj_kept_key *find(struct pj_kept *kept, const char *name)
{
    const struct pj_kept_key like = {.name = (char *)(uintptr_t)name};
    struct pj_kept_key *const *found = tfind(&like, &kept->by_name, compare);
    return found != NULL ? *found : NULL;
}

/* Keys come in the order of their time, but for those of a clock that was set back. */
static struct pj_kept_key *insert(struct pj_kept *kept, const char *name,
                                  const unsigned char *digest, int64_t at_us)
{
    struct pj_kept_key *key = pj_alloc(sizeof *key);
    key->name = pj_strdup(name);
    memcpy(key->digest, digest, sizeof key->digest);
    key->at_us = at_us;
    key->before = kept->newest;
    *(kept->newest != NULL ? &kept->newest->after : &kept->oldest) = key;
    kept->newest = key;
    pj_must(tsearch(key, &kept->by_name, compare));
    kept->count++;
    return key;
}

static void forget(struct pj_kept *kept, struct pj_kept_key *key)
{
    tdelete(key, &kept->by_name, compare);
    *(key->before != NULL ? &key->before->after : &kept->oldest) = key->after;
    *(key->after != NULL ? &key->after->before : &kept->newest) = key->before;
    kept->count--;
    free_key(key);
}

/* --- requests -------------------------------------------------------------------------------- */

enum pj_take pj_kept_take(struct pj_kept *kept, const char *name,
                          const unsigned char digest[PJ_DIGEST], int64_t now_us,
                          struct pj_kept_key **out)
{
    enum pj_take take = PJ_TAKE_KNOWN;
    pthread_mutex_lock(&kept->mutex);
    struct pj_kept_key *key = find(kept, name);
    if (key != NULL && memcmp(key->digest, digest, PJ_DIGEST) != 0) {
        take = PJ_TAKE_OTHER;
    } else if (key != NULL && key->is_taken) {
        take = PJ_TAKE_BUSY;
    } else if (key == NULL && kept->count >= kept->most) {
        take = PJ_TAKE_FULL;
    } else if (key == NULL) {
        key = insert(kept, name, digest, now_us);
        take = PJ_TAKE_NEW;
    }
    if (take == PJ_TAKE_NEW || take == PJ_TAKE_KNOWN) {
        key->is_taken = true;
        *out = key;
    }
    pthread_mutex_unlock(&kept->mutex);
    return take;
}

void pj_kept_finish(struct pj_kept *kept, struct pj_kept_key *key)
{
    pthread_mutex_lock(&kept->mutex);
    key->is_taken = false;
    if (!key->is_published && key->publishing == NULL)
        forget(kept, key);
    pthread_mutex_unlock(&kept->mutex);
}

size_t pj_kept_expire(struct pj_kept *kept, int64_t before_us, size_t most,
                      int (*end)(void *context, const char *name), void *context)
{
    size_t count = 0;
    /* Under the mutex: a later request with that key publishes after its end. */
    pthread_mutex_lock(&kept->mutex);
    for (struct pj_kept_key *next, *key = kept->oldest;
         key != NULL && key->at_us < before_us && count < most; key = next) {
        next = key->after;
        if (key->is_taken || key->publishing != NULL)
            continue;
        if (end(context, key->name) != 0)
            break;
        forget(kept, key);
        count++;
    }
    pthread_mutex_unlock(&kept->mutex);
    return count;
}

/* --- records --------------------------------------------------------------------------------- */

void pj_kept_add_record(const struct pj_kept_key *key, struct pj_publication *publication,
                        size_t topic)
{
    char digest[2 * PJ_DIGEST + 1];
    for (size_t i = 0; i < PJ_DIGEST; i++)
        pj_text_whole(digest + 2 * i, 3, "%02x", key->digest[i]);
    char *value = pj_text_new("{\"sha256\":\"%s\",\"at_us\":%lld}", digest, (long long)key->at_us);
    pj_publication_add(publication, topic, (struct pj_bytes){key->name, strlen(key->name)},
                       (struct pj_bytes){value, strlen(value)});
    free(value);
}

static bool read_record(struct pj_bytes value, unsigned char digest[PJ_DIGEST], int64_t *at_us)
{
    json_t *json = json_loadb(value.data, value.length, 0, NULL);
    const char *hex = json_string_value(json_object_get(json, "sha256"));
    const json_t *at = json_object_get(json, "at_us");
    bool is_good = hex != NULL && strlen(hex) == 2 * PJ_DIGEST && json_is_integer(at);
    for (size_t i = 0; i < PJ_DIGEST && is_good; i++) {
        int high = pj_hex_digit(hex[2 * i]), low = pj_hex_digit(hex[2 * i + 1]);
        is_good = high >= 0 && low >= 0;
        digest[i] = (unsigned char)(is_good ? high * 16 + low : 0);
    }
    *at_us = json_integer_value(at);
    json_decref(json);
    return is_good;
}

int pj_kept_record(void *context, struct pj_bytes key, struct pj_bytes value,
                   struct pj_error *error)
{
    struct pj_kept *kept = context;
    unsigned char digest[PJ_DIGEST];
    int64_t at_us;
    (void)error;
    if (key.length < sizeof PREFIX - 1 || memcmp(key.data, PREFIX, sizeof PREFIX - 1) != 0)
        return 0;
    bool is_known = value.data == NULL || read_record(value, digest, &at_us);
    char *name = pj_strndup(key.data, key.length);
    pthread_mutex_lock(&kept->mutex);
    struct pj_kept_key *found = find(kept, name);
    /* A request that has taken it knows better. */
    bool is_in_use = found != NULL && (found->is_taken || found->publishing != NULL);
    if (found != NULL && !is_in_use)
        forget(kept, found);
    if (is_known && !is_in_use && value.data != NULL)
        insert(kept, name, digest, at_us)->is_published = true;
    pthread_mutex_unlock(&kept->mutex);
    if (!is_known)
        pj_log(PJ_WARN, "a record of the keys' topic is not understood", pj_f_str("key", name));
    free(name);
    return 0;
}
