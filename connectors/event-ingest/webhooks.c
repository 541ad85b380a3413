/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/webhooks.h"

#include "base/config.h"
#include "base/json_numbers.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/time_text.h"
#include "base/utf8.h"
#include "event-ingest/topics.h"
#include "projectionist/value.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uuid.h>

enum { RECORDS_MOST = 1000, UUID_TEXT = 36 };

/* --- small things ---------------------------------------------------------------------------- */

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

/* A text that is there and not empty, or null. */
static json_t *text_or_null(const char *text)
{
    return text != NULL && *text != '\0' ? pj_must(json_string(text)) : json_null();
}

/* The member as it is, for the encoder to refuse where it is of another type; an empty text is
 * null. */
static json_t *given_or_null(const json_t *json, const char *name)
{
    json_t *given = json_object_get(json, name);
    return given != NULL && (!json_is_string(given) || json_string_length(given) > 0)
               ? json_incref(given)
               : json_null();
}

/* Takes the value; a field that the schema has not is left out. */
static void put(json_t *event, const struct pj_avro_type *record, const char *name, json_t *value)
{
    if (pj_record_field(record, name) == NULL)
        json_decref(value);
    else if (json_object_set_new(event, name, value) != 0)
        pj_memory_ended("a member of an event");
}

static void append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        pj_memory_ended("an array of events");
}

static const char *after(const char *text, const char *prefix)
{
    return text != NULL && pj_text_begins(text, prefix) ? text + strlen(prefix) : NULL;
}

static bool is_uuid(const char *text, size_t length)
{
    uint8_t uuid[16];
    return length == UUID_TEXT && pj_uuid_parse(text, length, uuid);
}

static int missing(const char *what, struct pj_error *error)
{
    return pj_error_set(error, PJ_POISON, "the field %s is missing", what);
}

/* --- Prefect --------------------------------------------------------------------------------- */

static bool is_related(const json_t *related, const char *role)
{
    const char *given = text_of(related, "prefect.resource.role");
    return given != NULL && strcmp(given, role) == 0;
}

/* Of the related resource with that role: runs have names of their own, which are not the flow's.
 */
static const char *related_name(const json_t *related, const char *role)
{
    for (size_t i = 0; i < json_array_size(related); i++) {
        const json_t *one = json_array_get(related, i);
        if (is_related(one, role))
            return text_of(one, "prefect.resource.name");
    }
    return NULL;
}

static json_t *tags_of(const json_t *related)
{
    json_t *tags = pj_must(json_array());
    for (size_t i = 0; i < json_array_size(related); i++) {
        const json_t *one = json_array_get(related, i);
        const char *tag = after(text_of(one, "prefect.resource.id"), "prefect.tag.");
        if (is_related(one, "tag") && tag != NULL)
            append(tags, pj_must(json_string(tag)));
    }
    return tags;
}

/* "tenant:<uuid>" among the tags. Null without one, or where they name several, for they have no
 * order: then an event of the system itself says whose it is. */
static json_t *id_of(const json_t *tags, const char *prefix)
{
    const char *found = NULL;
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const char *id = after(json_string_value(json_array_get(tags, i)), prefix);
        if (id == NULL || !is_uuid(id, strlen(id)))
            continue;
        if (found != NULL && strcasecmp(found, id) != 0)
            return json_null();
        found = id;
    }
    return text_or_null(found);
}

/* A number, or its digits; *runs is 0 where none is sent. Whether it fits, the encoder says. */
static bool read_count(const json_t *sent, int64_t *runs)
{
    struct pj_error ignored;
    *runs = json_is_integer(sent) ? json_integer_value(sent) : 0;
    if (json_is_string(sent))
        return pj_parse_integer("run-count", json_string_value(sent), 0, INT64_MAX, runs,
                                &ignored) == 0;
    return sent == NULL || json_is_null(sent) || (json_is_integer(sent) && *runs >= 0);
}

static void put_run(json_t *event, const struct pj_avro_type *record, const json_t *resource,
                    int64_t runs)
{
    put(event, record, "run_name", given_or_null(resource, "prefect.resource.name"));
    put(event, record, "state_type", given_or_null(resource, "prefect.state-type"));
    put(event, record, "state_name", given_or_null(resource, "prefect.state-name"));
    put(event, record, "message", given_or_null(resource, "prefect.state-message"));
    put(event, record, "run_count", pj_must(json_integer(runs)));
}

static void put_related(json_t *event, const struct pj_avro_type *record, const json_t *related)
{
    json_t *tags = tags_of(related);
    struct pj_builder text = {0};
    pj_json_put(&text, tags);
    put(event, record, "tenant_id", id_of(tags, "tenant:"));
    put(event, record, "video_id", id_of(tags, "video:"));
    put(event, record, "flow_name", text_or_null(related_name(related, "flow")));
    put(event, record, "tags", pj_must(json_stringn(text.text, text.length)));
    pj_builder_free(&text);
    json_decref(tags);
}

json_t *pj_prefect_events(const json_t *json, const struct pj_avro_type *record,
                          struct pj_error *error)
{
    const json_t *whole = json_object_get(json, "event");
    const json_t *sent = json_is_object(whole) ? whole : json;
    const json_t *resource = json_object_get(sent, "resource");
    const char *run = after(text_of(resource, "prefect.resource.id"), "prefect.flow-run.");
    const char *occurred = text_of(sent, "occurred");
    const json_t *related = json_object_get(sent, "related");
    int64_t runs = 0;
    int status = 0;
    if (text_of(sent, "id") == NULL)
        status = missing("id", error);
    else if (occurred == NULL)
        status = missing("occurred", error);
    else if (run == NULL)
        status = pj_error_set(error, PJ_POISON,
                              "the field resource.prefect.resource.id is not that of a flow run");
    else if (text_of(resource, "prefect.state-type") == NULL)
        status = missing("resource.prefect.state-type", error);
    else if (!read_count(json_object_get(resource, "prefect.run-count"), &runs))
        status = pj_error_set(error, PJ_POISON,
                              "the field resource.prefect.run-count is not a whole number from 0");
    else if (related != NULL && !json_is_null(related) && !json_is_array(related))
        status = pj_error_set(error, PJ_POISON, "the field related is not an array");
    if (status != 0)
        return NULL;
    json_t *event = pj_must(json_object()), *events = pj_must(json_array());
    put(event, record, "event_id", pj_must(json_string(text_of(sent, "id"))));
    put(event, record, "flow_run_id", pj_must(json_string(run)));
    put(event, record, "emitted_at", pj_must(json_string(occurred)));
    put_run(event, record, resource, runs);
    put_related(event, record, related);
    append(events, event);
    return events;
}

/* --- S3 -------------------------------------------------------------------------------------- */

/* A key as it is: in notifications it is URL-encoded, and a blank is a plus. NULL: it is not. */
static char *decode_key(const char *encoded)
{
    char *key = pj_alloc(strlen(encoded) + 1), *out = key;
    bool is_good = true;
    for (const char *at = encoded; *at != '\0' && is_good; at++) {
        int c = *at == '+' ? ' ' : (unsigned char)*at;
        if (*at == '%') {
            int high = pj_hex_digit(at[1]);
            int low = high >= 0 ? pj_hex_digit(at[2]) : -1;
            is_good = low >= 0;
            c = high * 16 + low;
            at += is_good ? 2 : 0;
        }
        is_good = is_good && c != '\0';
        *out++ = (char)c;
    }
    size_t length = (size_t)(out - key);
    for (size_t i = 0, step; i < length && is_good; i += step) {
        step = pj_utf8_length(key + i, length - i);
        is_good = step > 0;
    }
    if (is_good)
        return key;
    free(key);
    return NULL;
}

/* As keys of objects have it: another writing of the same id is another folder. */
static bool is_lower_uuid(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] >= 'A' && text[i] <= 'F')
            return false;
    }
    return is_uuid(text, length);
}

/* tenant/video/… */
static void put_owners(json_t *event, const struct pj_avro_type *record, const char *key)
{
    static const char *const names[] = {"tenant_id", "video_id"};
    const char *at = key;
    size_t lengths[2] = {strcspn(key, "/"), 0};
    bool has_owners = is_lower_uuid(key, lengths[0]) && key[lengths[0]] == '/';
    if (has_owners) {
        const char *second = key + lengths[0] + 1;
        lengths[1] = strcspn(second, "/");
        has_owners = is_lower_uuid(second, lengths[1]) && second[lengths[1]] == '/';
    }
    for (size_t i = 0; i < 2; i++) {
        put(event, record, names[i],
            has_owners ? pj_must(json_stringn(at, lengths[i])) : json_null());
        at += has_owners ? lengths[i] + 1 : 0;
    }
}

/* The same for each delivery of one notification, and for who makes it of a listing. */
static json_t *event_id_of(const char *bucket, const char *key, const char *which, const char *name)
{
    char id[UUID_TEXT + 1];
    uint8_t uuid[16];
    char *text = pj_text_new("%s\n%s\n%s\n%s", bucket, key, which, name);
    pj_uuid_of_name(text, strlen(text), uuid);
    free(text);
    uuid_unparse_lower(uuid, id);
    return pj_must(json_string(id));
}

static json_t *operation_of(const char *name, const char *operations)
{
    size_t first = strcspn(operations, ",");
    bool is_removed = pj_text_begins(name, "ObjectRemoved:");
    return pj_must(is_removed ? json_string(operations + first + (operations[first] != '\0'))
                              : json_stringn(operations, first));
}

struct s3_record {
    const char *name, *time, *bucket, *which;
    char *key;
    const json_t *object;
};

static int refuse_record(size_t index, const char *reason, struct pj_error *error)
{
    return pj_error_set(error, PJ_POISON, "the field Records.%zu.%s", index, reason);
}

static int read_record(const json_t *json, size_t index, struct s3_record *record,
                       struct pj_error *error)
{
    const json_t *s3 = json_object_get(json, "s3");
    const json_t *object = json_object_get(s3, "object");
    const char *name = text_of(json, "eventName");
    const char *encoded = text_of(object, "key"), *sequencer = text_of(object, "sequencer");
    const char *version = text_of(object, "versionId");
    *record = (struct s3_record){
        .name = after(name, "s3:") != NULL ? after(name, "s3:") : name,
        .time = text_of(json, "eventTime"),
        .bucket = text_of(json_object_get(s3, "bucket"), "name"),
        .object = object,
    };
    if (record->name == NULL || (!pj_text_begins(record->name, "ObjectCreated:") &&
                                 !pj_text_begins(record->name, "ObjectRemoved:")))
        return refuse_record(index, "eventName is not one of ObjectCreated or ObjectRemoved",
                             error);
    if (record->time == NULL)
        return refuse_record(index, "eventTime is missing", error);
    if (record->bucket == NULL || *record->bucket == '\0')
        return refuse_record(index, "s3.bucket.name is missing", error);
    if (json_integer_value(json_object_get(object, "size")) < 0)
        return refuse_record(index, "s3.object.size is negative", error);
    record->key = encoded != NULL && *encoded != '\0' ? decode_key(encoded) : NULL;
    if (record->key == NULL)
        return refuse_record(index, "s3.object.key is missing, or not URL-encoded UTF-8", error);
    record->which = sequencer != NULL ? sequencer : version != NULL ? version : record->time;
    return 0;
}

static json_t *event_of(const struct s3_record *from, const json_t *json,
                        const struct pj_avro_type *record, const char *operations)
{
    json_t *event = pj_must(json_object());
    const json_t *size = json_object_get(from->object, "size");
    int64_t time;
    put(event, record, "event_id", event_id_of(from->bucket, from->key, from->which, from->name));
    put(event, record, "emitted_at", pj_must(json_string(from->time)));
    if (pj_time_read(from->time, &time))
        put(event, record, "revision", pj_must(json_integer(time)));
    put(event, record, "bucket", pj_must(json_string(from->bucket)));
    put(event, record, "key", pj_must(json_string(from->key)));
    put(event, record, "operation", operation_of(from->name, operations));
    put(event, record, "etag", given_or_null(from->object, "eTag"));
    put(event, record, "version_id", given_or_null(from->object, "versionId"));
    put(event, record, "sequencer", given_or_null(from->object, "sequencer"));
    put(event, record, "success", json_true());
    if (json_object_get(json, "awsRegion") != NULL)
        put(event, record, "region", given_or_null(json, "awsRegion"));
    put(event, record, "size_bytes",
        size != NULL ? json_incref((json_t *)(uintptr_t)size) : json_null());
    put(event, record, "file_size",
        size != NULL ? json_incref((json_t *)(uintptr_t)size) : json_null());
    put_owners(event, record, from->key);
    return event;
}

json_t *pj_s3_events(const json_t *json, const struct pj_avro_type *record, const char *operations,
                     struct pj_error *error)
{
    const json_t *records = json_object_get(json, "Records");
    const char *test = text_of(json, "Event");
    bool is_test = test != NULL && strcmp(test, "s3:TestEvent") == 0;
    if (!is_test && (!json_is_array(records) || json_array_size(records) == 0 ||
                     json_array_size(records) > RECORDS_MOST)) {
        (void)pj_error_set(error, PJ_POISON, "the field Records is not an array of 1 to %d records",
                           RECORDS_MOST);
        return NULL;
    }
    json_t *events = pj_must(json_array());
    for (size_t i = 0; !is_test && i < json_array_size(records); i++) {
        const json_t *one = json_array_get(records, i);
        struct s3_record read;
        if (read_record(one, i, &read, error) != 0) {
            json_decref(events);
            return NULL;
        }
        append(events, event_of(&read, one, record, operations));
        free(read.key);
    }
    return events;
}
