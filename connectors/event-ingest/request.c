/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request becomes one publication: all of its events, and the record of its Idempotency-Key. What
 * a crash leaves behind:
 *   before the commit  nothing: a retry is a new request
 *   after it           the events and their key: a retry is answered with the same ids. Without a
 *                      key, a retry that names its events publishes them again, with the same ids
 */
#include "event-ingest/ingest.h"

#include "base/clock.h"
#include "base/memory.h"
#include "event-ingest/event.h"
#include "projectionist/value.h"

#include <malloc.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <uuid.h>

enum {
    LARGE_BODY = 128 << 10,
    AWAY_TIMEOUT_MS = 1000,
    EXPIRED_MOST = 1000,
    ENCODED_MOST = 16 << 20,
};

/* A request while it is handled. */
struct handling {
    struct pj_ingest *ingest;
    const struct pj_posted *posted;
    json_t *events;          /* NULL once the publication is made */
    char *ids;               /* the answer's body, then */
    struct pj_kept_key *key; /* or NULL */
    char *key_name;
    int64_t now_us; /* of the first request with the key */
    struct pj_publication *publication;
    /* What they say of things that a table shows. */
    const struct pj_shown_table *table; /* or NULL */
    struct pj_claim_of *claims;
    size_t claim_count;
    bool is_one; /* event */
    struct pj_answer *answer;
};

void pj_answer_error(struct pj_answer *answer, int status, const char *text)
{
    json_t *json = json_pack("{s:s}", "error", text);
    if (json == NULL) /* text of a library that is not UTF-8 */
        json = pj_must(json_pack("{s:s}", "error", "failed"));
    answer->status = status;
    answer->body = pj_must(json_dumps(json, 0));
    json_decref(json);
}

static void refuse(const struct handling *handling, int status, const struct pj_error *reason,
                   const char *meaning)
{
    char *text = pj_text_new("%s%s", reason->message, meaning);
    pj_answer_error(handling->answer, status, text);
    free(text);
}

/* --- parsing --------------------------------------------------------------------------------- */

void pj_ingest_leave(struct pj_ingest *ingest)
{
    sem_post(&ingest->parsers);
}

json_t *pj_ingest_parse(struct pj_ingest *ingest, struct pj_bytes body, struct pj_error *error)
{
    json_error_t fault;
    while (sem_wait(&ingest->parsers) != 0)
        ; /* EINTR */
    json_t *json =
        body.length > 0 ? json_loadb(body.data, body.length, JSON_REJECT_DUPLICATES, &fault) : NULL;
    if (json == NULL && body.length == 0)
        (void)pj_error_set(error, PJ_POISON, "the body is empty");
    else if (json == NULL)
        (void)pj_error_set(error, PJ_POISON, "the body is not JSON: %s (line %d, column %d)",
                           fault.text, fault.line, fault.column);
    if (json == NULL)
        pj_ingest_leave(ingest);
    return json;
}

/* The events of a body, which it takes: an array, or one object. NULL with a sentence. */
static json_t *events_of(json_t *json, struct pj_error *error)
{
    size_t count = json_array_size(json);
    if (json_is_object(json)) {
        json_t *events = pj_must(json_array());
        if (json_array_append_new(events, json) != 0)
            pj_memory_ended("an array of events");
        return events;
    }
    if (count > 0 && count <= PJ_EVENTS_MOST)
        return json;
    if (count == 0)
        (void)pj_error_set(error, PJ_POISON, "the body is neither an event nor an array of events");
    else
        (void)pj_error_set(error, PJ_POISON, "the body has %zu events; at most %d are allowed",
                           count, PJ_EVENTS_MOST);
    json_decref(json);
    return NULL;
}

/* --- ids ------------------------------------------------------------------------------------- */

/* Of an event that the client has not named: at random, or by the key, so that a retry has the
 * same. A key that has expired is another one: its time is in the name. */
static void new_id(const struct handling *handling, size_t index, char id[PJ_UUID_TEXT])
{
    uint8_t uuid[16];
    if (handling->key == NULL) {
        uuid_generate_random(uuid);
    } else {
        char *name = pj_text_new("event-ingest %s %lld %zu", handling->key_name,
                                 (long long)handling->now_us, index);
        pj_uuid_of_name(name, strlen(name), uuid);
        free(name);
    }
    uuid_unparse_lower(uuid, id);
}

/* The answer is known, but for whether it is true: what was parsed, which takes many times the size
 * of the request, is not needed any more. */
static void prepare_answer(struct handling *handling)
{
    struct pj_builder body = {0};
    for (size_t i = 0; i < json_array_size(handling->events); i++) {
        char id[PJ_UUID_TEXT];
        const char *own =
            json_string_value(json_object_get(json_array_get(handling->events, i), "event_id"));
        if (own == NULL)
            new_id(handling, i, id);
        pj_builder_add(&body, "%s\"%s\"", i > 0 ? ", " : "{\"event_ids\": [",
                       own != NULL ? own : id);
    }
    pj_builder_add(&body, "]}\n");
    handling->ids = pj_builder_take(&body);
    json_decref(handling->events);
    handling->events = NULL;
    if (handling->posted->body.length > LARGE_BODY)
        malloc_trim(0);
    pj_ingest_leave(handling->ingest);
}

static void answer_ids(struct handling *handling)
{
    handling->answer->status = 202;
    handling->answer->body = handling->ids;
    handling->ids = NULL;
}

/* --- publishing ------------------------------------------------------------------------------ */

static void add_claim(struct handling *handling, const struct pj_avro_type *record,
                      const json_t *event, size_t index)
{
    const char *match = handling->posted->match;
    int64_t expected = match != NULL ? pj_ingest_match(match) : 0;
    struct pj_claim_of *claim = &handling->claims[handling->claim_count];
    if (!pj_shown_claim(handling->table, record, event, match != NULL ? &expected : NULL, claim))
        return;
    claim->event = index;
    handling->claim_count++;
}

static int add_event(struct handling *handling, const struct pj_encoder *encoder, size_t index,
                     struct pj_builder *encoded, struct pj_builder *key, int *status,
                     struct pj_error *error)
{
    const struct pj_posted *posted = handling->posted;
    const struct pj_caller *caller = posted->caller;
    json_t *event = json_array_get(handling->events, index);
    char id[PJ_UUID_TEXT];
    new_id(handling, index, id);
    const struct pj_event_rules rules = {
        .record = pj_schema_root(pj_encoder_schema(encoder)),
        .tenant = caller->tenant[0] != '\0' ? caller->tenant : NULL,
        .user = caller->user[0] != '\0' ? caller->user : NULL,
        .now_us = handling->now_us,
        .is_import = caller->is_import,
        .new_id = id,
    };
    if (pj_event_complete(event, &rules, status, error) != 0)
        return -1;
    *status = 400;
    if (pj_encode(encoder, event, encoded, error) != 0 ||
        pj_topic_key(posted->topic, event, key, error) != 0)
        return -1;
    pj_publication_add(handling->publication, pj_topic_index(posted->topic),
                       (struct pj_bytes){key->text, key->length}, pj_encoded_bytes(encoded));
    if (handling->table != NULL)
        add_claim(handling, rules.record, event, index);
    return 0;
}

/* The index of an event only where there are several. */
static void refuse_event(const struct handling *handling, size_t index, int status,
                         const struct pj_error *error)
{
    char *text = json_array_size(handling->events) > 1
                     ? pj_text_new("event %zu: %s", index, error->message)
                     : pj_strdup(error->message);
    pj_answer_error(handling->answer, status, text);
    free(text);
}

/* False: it is answered. */
static bool add_events(struct handling *handling)
{
    const struct pj_encoder *encoder = pj_topic_take(handling->posted->topic);
    struct pj_builder encoded = {0}, key = {0};
    struct pj_error error = {0};
    int status = 0;
    size_t count = json_array_size(handling->events), bytes = 0, i = 0;
    handling->publication = pj_publication_new();
    handling->is_one = count == 1;
    if (handling->table != NULL)
        handling->claims = pj_calloc(count, sizeof *handling->claims);
    for (; i < count; i++) {
        if (add_event(handling, encoder, i, &encoded, &key, &status, &error) != 0)
            break;
        bytes += encoded.length;
        if (bytes > ENCODED_MOST) {
            status = 413;
            (void)pj_error_set(&error, PJ_POISON, "the request has more than 16 MiB as Avro");
            break;
        }
    }
    pj_topic_give_back(handling->posted->topic);
    pj_builder_free(&encoded);
    pj_builder_free(&key);
    if (i < count)
        refuse_event(handling, i, status, &error);
    return i == count;
}

/* Requests that wait while Kafka is away, or refuses their topic, hold connections that others
 * need. */
static int64_t publish_timeout_ms(const struct handling *handling)
{
    struct pj_publisher *publisher = handling->ingest->publisher;
    int64_t timeout_ms = handling->ingest->settings->serving.publish_timeout_ms;
    bool is_away = pj_publisher_is_away(publisher, NULL) ||
                   pj_publisher_is_held(publisher, pj_topic_index(handling->posted->topic));
    return is_away && timeout_ms > AWAY_TIMEOUT_MS ? AWAY_TIMEOUT_MS : timeout_ms;
}

/* The publication is under way: waits for its outcome, and answers. */
static void await(struct handling *handling)
{
    struct pj_publisher *publisher = handling->ingest->publisher;
    struct pj_kept_key *key = handling->key;
    struct pj_error error;
    int status =
        pj_publisher_wait(publisher, handling->publication, publish_timeout_ms(handling), &error);
    bool is_over = status != 1 || pj_publisher_cancel(publisher, handling->publication);
    if (key != NULL && is_over) {
        pj_publication_release(key->publishing);
        key->publishing = NULL;
        key->is_published = status == 0;
    }
    if (status == 0)
        answer_ids(handling);
    else if (status < 0 && error.class == PJ_POISON)
        refuse(handling, pj_publisher_finds_too_large(&error) ? 413 : 422, &error,
               "; nothing was published");
    else if (status == 1 && is_over)
        refuse(handling, 503, &error, "; nothing was published; try again");
    else
        refuse(handling, 503, &error,
               "; the events may still be published; try again with the same Idempotency-Key or "
               "event_id");
}

static void submit(struct handling *handling)
{
    struct pj_error error;
    struct pj_kept_key *key = handling->key;
    if (!add_events(handling))
        return;
    prepare_answer(handling);
    if (!pj_ingest_judge(handling->ingest, handling->posted, handling->claims,
                         handling->claim_count, handling->is_one, handling->answer))
        return;
    if (key != NULL) {
        pj_kept_add_record(key, handling->publication, handling->ingest->state_topic);
        /* Two references: the key's outlives this request where it takes too long. */
        key->publishing = pj_publication_keep(handling->publication);
    }
    if (pj_publisher_submit(handling->ingest->publisher, handling->publication, &error) == 0) {
        await(handling);
        return;
    }
    if (key != NULL) {
        pj_publication_release(key->publishing);
        key->publishing = NULL;
    }
    refuse(handling, 503, &error, "; nothing was published; try again");
}

/* --- keys ------------------------------------------------------------------------------------ */

/* Of what was said, however it was written, and where to. */
static void digest_of(const struct handling *handling, unsigned char digest[PJ_DIGEST])
{
    char *text = pj_must(json_dumps(handling->events, JSON_COMPACT | JSON_SORT_KEYS));
    char *whole = pj_text_new("%s %s", pj_topic_of_name(handling->posted->topic), text);
    if (EVP_Digest(whole, strlen(whole), digest, NULL, EVP_sha256(), NULL) != 1)
        pj_memory_ended("a digest");
    free(whole);
    free(text);
}

static void publish_known(struct handling *handling)
{
    struct pj_kept_key *key = handling->key;
    handling->answer->is_repetition = true;
    prepare_answer(handling);
    pj_metric_add(handling->ingest->repeated, 1);
    if (key->is_published) {
        answer_ids(handling);
        return;
    }
    handling->publication = pj_publication_keep(key->publishing);
    await(handling);
}

static void publish_by_key(struct handling *handling)
{
    struct pj_ingest *ingest = handling->ingest;
    unsigned char digest[PJ_DIGEST];
    digest_of(handling, digest);
    handling->key_name =
        pj_text_new("key %s %s", handling->posted->caller->name, handling->posted->key);
    enum pj_take take =
        pj_kept_take(ingest->kept, handling->key_name, digest, handling->now_us, &handling->key);
    switch (take) {
    case PJ_TAKE_NEW:
    case PJ_TAKE_KNOWN:
        handling->now_us = handling->key->at_us;
        if (take == PJ_TAKE_NEW)
            submit(handling);
        else
            publish_known(handling);
        pj_kept_finish(ingest->kept, handling->key);
        break;
    case PJ_TAKE_OTHER:
        pj_metric_add(ingest->conflicts, 1);
        pj_answer_error(handling->answer, 409,
                        "the Idempotency-Key belongs to a request with other content; use another "
                        "key");
        break;
    case PJ_TAKE_BUSY:
        pj_answer_error(handling->answer, 503,
                        "a request with this Idempotency-Key is still under way; try again");
        break;
    case PJ_TAKE_FULL:
        pj_answer_error(handling->answer, 503,
                        "there are more Idempotency-Keys than --max-keys allows; try again later");
        break;
    }
    pj_metric_set(ingest->kept_count, (int64_t)pj_kept_count(ingest->kept));
    free(handling->key_name);
}

static int end_key(void *context, const char *name)
{
    struct pj_ingest *ingest = context;
    struct pj_error error;
    struct pj_publication *publication = pj_publication_new();
    pj_publication_add(publication, ingest->state_topic, (struct pj_bytes){name, strlen(name)},
                       (struct pj_bytes){0});
    pj_publication_allow_wait(publication, 25);
    /* Sent again, it could come after a new request with the key. */
    pj_publication_allow_loss(publication);
    int status = pj_publisher_submit(ingest->publisher, publication, &error);
    pj_publication_release(publication);
    return status;
}

bool pj_ingest_expire(struct pj_ingest *ingest)
{
    if (pj_publisher_is_away(ingest->publisher, NULL))
        return false;
    int64_t before_us = pj_clock_wall_us() - ingest->settings->serving.key_retention_ms * 1000;
    size_t count = pj_kept_expire(ingest->kept, before_us, EXPIRED_MOST, end_key, ingest);
    pj_metric_add(ingest->expired, (int64_t)count);
    pj_metric_set(ingest->kept_count, (int64_t)pj_kept_count(ingest->kept));
    return count == EXPIRED_MOST;
}

/* --- a request ------------------------------------------------------------------------------- */

static const struct pj_shown_table *table_of(const struct pj_ingest *ingest,
                                             const struct pj_topic_of *topic)
{
    const struct pj_shown_table *table =
        ingest->tables != NULL ? &ingest->tables->items[pj_topic_index(topic)] : NULL;
    return table != NULL && table->text != NULL ? table : NULL;
}

/* Before the digest of its Idempotency-Key: with another revision it is another request. */
static int apply_match(const struct pj_ingest *ingest, const struct pj_posted *posted,
                       json_t *events, struct pj_error *error)
{
    const struct pj_shown_table *table = table_of(ingest, posted->topic);
    int64_t revision = pj_ingest_match(posted->match);
    if (revision < 0)
        return pj_error_set(error, PJ_POISON,
                            "the If-Match is not a revision, which is a whole number");
    if (table == NULL || table->revision == NULL)
        return pj_error_set(error, PJ_POISON,
                            "If-Match is for topics whose revisions --ingest-tables names");
    if (json_array_size(events) != 1)
        return pj_error_set(error, PJ_POISON, "If-Match is for one event, and there are several");
    const struct pj_encoder *encoder = pj_topic_take(posted->topic);
    int status = pj_event_expect(json_array_get(events, 0),
                                 pj_schema_root(pj_encoder_schema(encoder)), revision, error);
    pj_topic_give_back(posted->topic);
    return status;
}

void pj_ingest_publish(struct pj_ingest *ingest, const struct pj_posted *posted, json_t *events,
                       struct pj_answer *answer)
{
    struct handling handling = {.ingest = ingest,
                                .posted = posted,
                                .events = events,
                                .now_us = pj_clock_wall_us(),
                                .table = table_of(ingest, posted->topic),
                                .answer = answer};
    answer->retry_after_s =
        pj_callers_spend(ingest->callers, posted->caller, json_array_size(events));
    if (answer->retry_after_s > 0)
        pj_answer_error(answer, 429, "the token's rate is exceeded; try again later");
    else if (posted->key != NULL)
        publish_by_key(&handling);
    else
        submit(&handling);
    pj_publication_release(handling.publication);
    pj_shown_claims_free(handling.claims, handling.claim_count);
    free(handling.ids);
    if (handling.events == NULL)
        return;
    json_decref(handling.events);
    pj_ingest_leave(ingest);
}

void pj_ingest_events(struct pj_ingest *ingest, const struct pj_posted *posted,
                      struct pj_answer *answer)
{
    struct pj_error error;
    json_t *json = pj_ingest_parse(ingest, posted->body, &error);
    json_t *events = json != NULL ? events_of(json, &error) : NULL;
    if (events != NULL && posted->match != NULL &&
        apply_match(ingest, posted, events, &error) != 0) {
        json_decref(events);
        events = NULL;
    }
    if (json != NULL && events == NULL)
        pj_ingest_leave(ingest);
    if (events != NULL)
        pj_ingest_publish(ingest, posted, events, answer);
    else
        pj_answer_error(answer, 400, error.message);
}
