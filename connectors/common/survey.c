/* SPDX-License-Identifier: Apache-2.0 */
#include "common/survey.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* No recording of ours has more topics than this; finding one is a walk over all of them. */
enum { TOPICS_MOST = 4096, TOPIC_NAME_MOST = 249 };

static bool is_text(struct pj_bytes bytes, const char *text)
{
    return strlen(text) == bytes.length && memcmp(bytes.data, text, bytes.length) == 0;
}

int pj_survey_find_topic(const struct pj_survey *survey, struct pj_bytes name)
{
    for (size_t i = 0; i < survey->topic_count; i++) {
        if (is_text(name, survey->topics[i].name))
            return (int)i;
    }
    return -1;
}

static bool is_topic_name(struct pj_bytes name)
{
    const char *text = name.data;
    if (name.length == 0 || name.length > TOPIC_NAME_MOST)
        return false;
    for (size_t i = 0; i < name.length; i++) {
        if (text[i] == '\0' || strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789._-",
                                      text[i]) == NULL)
            return false;
    }
    return true;
}

/* Room for one more item at the end of an array whose size is a power of two, or 0. */
static void *grow(void *items, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return items;
    return pj_resize(items, count > 0 ? 2 * count : 1, size);
}

static int add_message(struct pj_survey *survey, const struct pj_recorded *message,
                       struct pj_error *error)
{
    int found = pj_survey_find_topic(survey, message->topic);
    if (found < 0) {
        if (!is_topic_name(message->topic) || survey->topic_count == TOPICS_MOST)
            return pj_error_set(error, PJ_FATAL, "its topic has a name that Kafka does not allow");
        survey->topics = grow(survey->topics, survey->topic_count, sizeof *survey->topics);
        found = (int)survey->topic_count;
        survey->topics[survey->topic_count++] = (struct pj_survey_topic){
            .name = pj_strndup(message->topic.data, message->topic.length), .partition_most = -1};
    }
    struct pj_survey_topic *topic = &survey->topics[found];
    topic->messages++;
    if (message->partition > topic->partition_most)
        topic->partition_most = message->partition;
    if (survey->messages == 0 || message->timestamp_ms < survey->earliest_ms)
        survey->earliest_ms = message->timestamp_ms;
    if (survey->messages == 0 || message->timestamp_ms > survey->latest_ms)
        survey->latest_ms = message->timestamp_ms;
    survey->messages++;
    return 0;
}

static int add_schema(struct pj_survey *survey, size_t recording, const struct pj_recorded *item,
                      struct pj_error *error)
{
    for (size_t i = 0; i < survey->schema_count; i++) {
        const struct pj_survey_schema *known = &survey->schemas[i];
        if (known->recording != recording || known->id != item->id)
            continue;
        if (!is_text(item->schema, known->schema))
            return pj_error_set(error, PJ_FATAL, "it uses the schema id %d for a second schema",
                                (int)item->id);
        if (is_text(item->subject, known->subject))
            return 0;
    }
    survey->schemas = grow(survey->schemas, survey->schema_count, sizeof *survey->schemas);
    struct pj_survey_schema *schema = &survey->schemas[survey->schema_count++];
    *schema =
        (struct pj_survey_schema){.recording = recording,
                                  .id = item->id,
                                  .is_of_keys = pj_recorded_is_of_keys(item->subject),
                                  .subject = pj_strndup(item->subject.data, item->subject.length),
                                  .schema = pj_strndup(item->schema.data, item->schema.length)};
    if (strlen(schema->subject) != item->subject.length ||
        strlen(schema->schema) != item->schema.length || item->subject.length == 0)
        return pj_error_set(error, PJ_FATAL, "its subject or schema is not a string");
    return 0;
}

static int read_recording(struct pj_survey *survey, struct pj_recording *recording, size_t index,
                          struct pj_error *error)
{
    struct pj_recorded item;
    struct pj_error reason = {.class = PJ_FATAL};
    int64_t number = 0;
    int status;
    if (pj_recording_rewind(recording, error) != 0)
        return -1;
    while ((status = pj_recording_next(recording, &item, error)) == 1) {
        number++;
        status = 0;
        if (item.kind == PJ_RECORDED_MESSAGE)
            status = add_message(survey, &item, &reason);
        else if (item.kind == PJ_RECORDED_SCHEMA)
            status = add_schema(survey, index, &item, &reason);
        if (status != 0)
            return pj_error_set(error, PJ_FATAL, "record %lld of %s cannot be used: %s",
                                (long long)number, pj_recording_path(recording), reason.message);
    }
    return status;
}

static int compare_schemas(const void *left, const void *right)
{
    const struct pj_survey_schema *a = left, *b = right;
    if (a->recording != b->recording)
        return a->recording < b->recording ? -1 : 1;
    return a->id != b->id ? (a->id > b->id) - (a->id < b->id) : a->is_of_keys - b->is_of_keys;
}

int pj_survey_take(struct pj_survey *survey, struct pj_recording *const *recordings, size_t count,
                   struct pj_error *error)
{
    *survey = (struct pj_survey){0};
    survey->recording_messages = pj_calloc(count, sizeof *survey->recording_messages);
    for (size_t i = 0; i < count; i++) {
        int64_t before = survey->messages;
        if (read_recording(survey, recordings[i], i, error) != 0) {
            pj_survey_free(survey);
            return -1;
        }
        survey->recording_messages[i] = survey->messages - before;
    }
    if (survey->schema_count > 0)
        qsort(survey->schemas, survey->schema_count, sizeof *survey->schemas, compare_schemas);
    return 0;
}

void pj_survey_free(struct pj_survey *survey)
{
    for (size_t i = 0; i < survey->topic_count; i++)
        free(survey->topics[i].name);
    for (size_t i = 0; i < survey->schema_count; i++) {
        free(survey->schemas[i].subject);
        free(survey->schemas[i].schema);
    }
    free(survey->topics);
    free(survey->schemas);
    pj_survey_unshare(survey);
    free(survey->recording_messages);
    *survey = (struct pj_survey){0};
}

static void translate(const struct pj_survey *survey, size_t recording, bool is_key,
                      struct pj_survey_copy *copy, struct pj_bytes *bytes)
{
    struct pj_survey_schema wanted = {.recording = recording, .is_of_keys = is_key};
    if (survey->schema_count == 0 || !pj_wire_schema_id(*bytes, &wanted.id))
        return;
    const struct pj_survey_schema *schema =
        bsearch(&wanted, survey->schemas, survey->schema_count, sizeof wanted, compare_schemas);
    if (schema == NULL)
        return;
    if (bytes->length > copy->most) {
        copy->most = 2 * bytes->length;
        copy->bytes = pj_resize(copy->bytes, copy->most, 1);
    }
    memcpy(copy->bytes, bytes->data, bytes->length);
    pj_wire_put_header(copy->bytes, schema->new_id);
    bytes->data = copy->bytes;
}

void pj_survey_translate(struct pj_survey *survey, size_t recording, struct pj_bytes *key,
                         struct pj_bytes *value)
{
    translate(survey, recording, true, &survey->key, key);
    translate(survey, recording, false, &survey->value, value);
}

struct pj_survey pj_survey_share(const struct pj_survey *survey)
{
    struct pj_survey shared = *survey;
    shared.key = shared.value = (struct pj_survey_copy){0};
    return shared;
}

void pj_survey_unshare(struct pj_survey *survey)
{
    free(survey->key.bytes);
    free(survey->value.bytes);
    survey->key = survey->value = (struct pj_survey_copy){0};
}
