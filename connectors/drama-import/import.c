/* SPDX-License-Identifier: Apache-2.0 */
#include "drama-import/import.h"

#include "avro/json_encode.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/text.h"
#include "common/encoder.h"
#include "common/publisher.h"
#include "drama-import/old_drama.h"
#include "schemas.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OBJECT_MOST = 4 << 20, /* bytes, as of a record */
    INDEX_MOST = 64 << 20,
    WINDOW = 256, /* dramas under way */
    WAIT_MS = 500,
    TRANSACTION_MS = 60000,
    READ_MS = 120000,
};

enum { DRAMAS, PROGRESS };

/* A drama whose transaction is under way. */
struct sent {
    char *key;
    struct pj_publication *publication;
};

struct import {
    const struct pj_import_settings *settings;
    struct pj_import_result *result;
    struct pj_encoder *encoder;
    struct pj_publisher *publisher; /* NULL: a dry run */
    struct pj_metrics *metrics;     /* the publisher's, which nobody asks for */
    json_t *done;                   /* versions by key */
    json_t *index;                  /* when dramas were created, by id */
    struct sent window[WINDOW];
    size_t first, count;
    int64_t waiting_since_ms; /* for Kafka; 0: not */
    struct pj_progress *progress;
};

static bool is_stopped(const struct import *import)
{
    return *import->settings->stop != 0;
}

static void tell(struct import *import, const char *key, bool is_bad, const char *text)
{
    *(is_bad ? &import->result->bad : &import->result->notes) += 1;
    pj_progress_clear(import->progress);
    import->settings->tell(import->settings->context, key, is_bad, text);
}

/* --- publishing ------------------------------------------------------------------------------ */

static int keep_progress(void *context, struct pj_bytes key, struct pj_bytes value,
                         struct pj_error *error)
{
    struct import *import = context;
    char *name = pj_strndup(key.data, key.length);
    (void)error;
    json_t *version = value.data != NULL ? json_stringn(value.data, value.length) : NULL;
    /* What is not UTF-8 is none of ours. */
    if (version == NULL || json_object_set_new(import->done, name, version) != 0)
        (void)json_object_del(import->done, name);
    free(name);
    return 0;
}

/* The publisher has ended by itself. */
static int fail(const struct import *import, struct pj_error *error)
{
    if (pj_publisher_has_failed(import->publisher, error) && error->class == PJ_FENCED)
        return pj_error_fatal(error, PJ_EXIT_FENCED,
                              "another drama-import with the id '%s' has taken over; it goes on "
                              "where this one was, or give each its own --import-id",
                              import->settings->id);
    return -1;
}

/* Waits for the oldest. */
static int settle(struct import *import, struct pj_error *error)
{
    struct sent *sent = &import->window[import->first];
    int status;
    while ((status = pj_publisher_wait(import->publisher, sent->publication, WAIT_MS, error)) ==
           1) {
        if (pj_clock_since(&import->waiting_since_ms) < import->settings->timeout_ms)
            continue;
        struct pj_error reason = *error;
        return pj_error_fatal(error, PJ_EXIT_UNAVAILABLE, "%s", reason.message);
    }
    import->waiting_since_ms = 0;
    if (status == 0)
        import->result->imported++;
    else if (error->class == PJ_POISON)
        tell(import, sent->key, true, error->message);
    else
        return fail(import, error);
    pj_publication_release(sent->publication);
    free(sent->key);
    *sent = (struct sent){0};
    import->first = (import->first + 1) % WINDOW;
    import->count--;
    return 0;
}

static int publish(struct import *import, const struct pj_import_object *object, const char *id,
                   struct pj_bytes value, struct pj_error *error)
{
    struct pj_publication *publication = pj_publication_new();
    pj_publication_add(publication, DRAMAS, (struct pj_bytes){id, strlen(id)}, value);
    pj_publication_add(publication, PROGRESS, (struct pj_bytes){object->key, strlen(object->key)},
                       (struct pj_bytes){object->version, strlen(object->version)});
    int status = 0;
    while (status == 0 && import->count == WINDOW)
        status = settle(import, error);
    while (status == 0 && pj_publisher_submit(import->publisher, publication, error) != 0)
        status = import->count > 0 && error->class == PJ_RETRY ? settle(import, error) : -1;
    if (status != 0) {
        pj_publication_release(publication);
        return -1;
    }
    import->window[(import->first + import->count++) % WINDOW] =
        (struct sent){pj_strdup(object->key), publication};
    return 0;
}

/* --- an object ------------------------------------------------------------------------------- */

static int64_t created_us(const struct import *import, const char *id)
{
    return json_integer_value(json_object_get(import->index, id));
}

static int encode(const struct import *import, const json_t *event, struct pj_builder *out,
                  struct pj_error *error)
{
    if (import->publisher != NULL)
        return pj_encode(import->encoder, event, out, error);
    return pj_json_encode_record(pj_encoder_schema(import->encoder), 0, event, out, error);
}

/* PJ_POISON: this drama alone is not imported. */
static int import_bytes(struct import *import, const struct pj_import_object *object,
                        const char *id, struct pj_bytes file, struct pj_error *error)
{
    struct pj_builder notes = {0}, value = {0};
    const struct pj_old_drama drama = {.id = id,
                                       .file = file,
                                       .user = import->settings->user,
                                       .revision = object->modified_us,
                                       .created_us = created_us(import, id),
                                       .notes = &notes};
    json_t *event = pj_old_drama_event(&drama, error);
    int status = event != NULL ? encode(import, event, &value, error) : -1;
    json_decref(event);
    if (status == 0 && notes.length > 0)
        tell(import, object->key, false, notes.text);
    if (status == 0 && import->publisher != NULL)
        status = publish(import, object, id, pj_encoded_bytes(&value), error);
    else if (status == 0)
        import->result->imported++;
    pj_builder_free(&notes);
    pj_builder_free(&value);
    return status;
}

static bool is_done(const struct import *import, const struct pj_import_object *object)
{
    const char *version = json_string_value(json_object_get(import->done, object->key));
    return version != NULL && *version != '\0' && strcmp(version, object->version) == 0;
}

/* dramas/<id>/drama.json: the id, malloc'ed; NULL: it is another object. */
static char *id_of(const char *key)
{
    size_t around = sizeof PJ_IMPORT_PREFIX + sizeof PJ_IMPORT_NAME - 2, length = strlen(key);
    if (length < around || !pj_text_begins(key, PJ_IMPORT_PREFIX) ||
        !pj_text_ends(key, PJ_IMPORT_NAME))
        return NULL;
    return pj_strndup(key + sizeof PJ_IMPORT_PREFIX - 1, length - around);
}

static bool is_drama(const char *key)
{
    char *id = id_of(key);
    free(id);
    return id != NULL;
}

static int import_object(struct import *import, const struct pj_import_object *object,
                         struct pj_error *error)
{
    char *bytes = NULL, *id = id_of(object->key);
    size_t length = 0;
    int status = 0;
    if (id == NULL)
        return 0;
    import->result->objects++;
    if (is_done(import, object)) {
        import->result->unchanged++;
    } else if (object->size > OBJECT_MOST) {
        status = pj_error_set(error, PJ_POISON, "it has more than %d bytes", OBJECT_MOST);
    } else {
        status = pj_import_read(import->settings->source, object->key, OBJECT_MOST, &bytes, &length,
                                error);
        if (status == 1)
            status = pj_error_set(error, PJ_POISON, "it was listed, but is no longer there");
        if (status == 0)
            status = import_bytes(import, object, id, (struct pj_bytes){bytes, length}, error);
    }
    free(bytes);
    free(id);
    pj_progress_update(import->progress, import->result->objects);
    return status;
}

/* Lists all, and imports what is new. */
static int import_all(struct import *import, struct pj_error *error)
{
    struct pj_import_object object;
    int status = 0, more;
    while (status == 0 && !is_stopped(import)) {
        more = pj_import_next(import->settings->source, &object, error);
        if (more == 0)
            break;
        status = more > 0 ? import_object(import, &object, error) : -1;
        if (status != 0 && error->class == PJ_POISON) {
            if (more < 0) /* it is there, and cannot be read */
                import->result->objects += is_drama(object.key);
            tell(import, object.key, true, error->message);
            status = 0;
        }
    }
    /* A request that was given up for a signal. */
    if (status != 0 && is_stopped(import) && error->exit_code == PJ_EXIT_UNAVAILABLE)
        status = 0;
    while (status == 0 && import->count > 0)
        status = settle(import, error);
    return status;
}

/* --- the run --------------------------------------------------------------------------------- */

/* Where there is none, nothing is known. */
static int read_index(struct import *import, struct pj_error *error)
{
    static const char key[] = PJ_IMPORT_PREFIX "index.json";
    char *bytes = NULL;
    size_t length;
    int status = pj_import_read(import->settings->source, key, INDEX_MOST, &bytes, &length, error);
    if (status == 0)
        import->index = pj_old_drama_index((struct pj_bytes){bytes, length}, error);
    free(bytes);
    if (status == 1 || import->index != NULL)
        return 0;
    if (error->class != PJ_POISON)
        return -1;
    tell(import, key, false, error->message);
    return 0;
}

static bool turn(void *context, const struct pj_error *trouble)
{
    struct import *import = context;
    if (trouble == NULL)
        import->waiting_since_ms = 0;
    return !is_stopped(import) && (trouble == NULL || pj_clock_since(&import->waiting_since_ms) <
                                                          import->settings->timeout_ms);
}

static int open_publisher(struct import *import, struct pj_error *error)
{
    static const char *const topics[] = {
        [DRAMAS] = PJ_IMPORT_TOPIC, [PROGRESS] = PJ_IMPORT_PROGRESS};
    const struct pj_import_settings *settings = import->settings;
    const struct pj_publisher_settings publisher = {
        .transactor = {.kafka = settings->kafka,
                       .client_id = "drama-import",
                       .name = "projectionist-drama-import",
                       .id = settings->id,
                       .topic_prefix = settings->topic_prefix,
                       .transaction_timeout_ms = TRANSACTION_MS,
                       .topics = topics,
                       .topic_count = sizeof topics / sizeof topics[0],
                       .state_topic = PJ_IMPORT_PROGRESS,
                       .read_timeout_ms = READ_MS,
                       .record = keep_progress,
                       .context = import,
                       .stop = settings->stop,
                       .metrics = import->metrics},
        .state = PROGRESS,
        .metrics_of = "import",
    };
    /* It waits for Kafka for as long as nobody stops it. */
    (void)alarm((unsigned)(settings->timeout_ms / 1000 + 1));
    *error = (struct pj_error){0};
    int status = pj_publisher_open(&import->publisher, &publisher, error);
    (void)alarm(0);
    if (status != 1 || *settings->timed_out == 0)
        return status;
    struct pj_error reason = *error;
    return pj_error_fatal(error, PJ_EXIT_UNAVAILABLE, "Kafka is not ready after %lld s: %s",
                          (long long)settings->timeout_ms / 1000,
                          *reason.message != '\0' ? reason.message : "no broker answers");
}

static int open_all(struct import *import, struct pj_error *error)
{
    const struct pj_import_settings *settings = import->settings;
    const struct pj_turns turns = {turn, import};
    import->encoder = pj_encoder_new(PJ_IMPORT_TOPIC, pj_schema_drama_dramas);
    import->done = pj_must(json_object());
    import->metrics = pj_metrics_new();
    if (settings->dry_run)
        return 0;
    int status = pj_encoder_register_all(&import->encoder, 1, settings->topic_prefix,
                                         &settings->registry, &turns, error);
    if (status == 1 && !is_stopped(import))
        return pj_error_fatal(error, PJ_EXIT_UNAVAILABLE, "the schema registry cannot be reached");
    return status == 0 ? open_publisher(import, error) : status;
}

static void close_all(struct import *import)
{
    pj_publisher_close(import->publisher, 0);
    for (; import->count > 0; import->count--, import->first = (import->first + 1) % WINDOW) {
        pj_publication_release(import->window[import->first].publication);
        free(import->window[import->first].key);
    }
    pj_progress_free(import->progress);
    pj_encoder_free(import->encoder);
    pj_metrics_free(import->metrics);
    json_decref(import->done);
    json_decref(import->index);
}

int pj_import_run(const struct pj_import_settings *settings, struct pj_import_result *result,
                  struct pj_error *error)
{
    struct import import = {.settings = settings, .result = result};
    const struct pj_progress_settings bar = {
        .out = stderr, .label = "importing", .unit = "dramas", .plain_lines = true};
    int status = open_all(&import, error);
    if (status == 0) {
        import.progress = pj_progress_new(&bar);
        status = read_index(&import, error);
        if (status == 0)
            status = import_all(&import, error);
    }
    result->interrupted = status >= 0 && is_stopped(&import);
    close_all(&import);
    return status > 0 ? 0 : status;
}
