/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/recording.h"

#include "avro/container.h"
#include "avro/plan.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { HEADERS_MOST = 100000 }; /* of one message */

/* schemas/recording.avsc, without what it says to people. */
static const char schema[] =
    "[{\"type\":\"record\",\"name\":\"RecordedSchema\",\"namespace\":\"projectionist\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"int\"},{\"name\":\"subject\",\"type\":\"string\"},"
    "{\"name\":\"schema\",\"type\":\"string\"}]},"
    "{\"type\":\"record\",\"name\":\"RecordedMessage\",\"namespace\":\"projectionist\",\"fields\":["
    "{\"name\":\"topic\",\"type\":\"string\"},"
    "{\"name\":\"partition\",\"type\":[\"null\",\"int\"],\"default\":null},"
    "{\"name\":\"key\",\"type\":[\"null\",\"bytes\"],\"default\":null},"
    "{\"name\":\"timestamp\",\"type\":\"long\"},"
    "{\"name\":\"headers\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\","
    "\"name\":\"RecordedHeader\",\"fields\":[{\"name\":\"name\",\"type\":\"string\"},"
    "{\"name\":\"value\",\"type\":[\"null\",\"bytes\"],\"default\":null}]}},\"default\":[]},"
    "{\"name\":\"value\",\"type\":[\"null\",\"bytes\"],\"default\":null}]}]";

static const struct pj_field header_fields[] = {{"name", PJ_TEXT, .required = true},
                                                {"value", PJ_BYTEA}};
static const struct pj_items header_items = {header_fields, 2, HEADERS_MOST};

enum { ID, SUBJECT, SCHEMA, TOPIC, PARTITION, KEY, TIMESTAMP, HEADERS, VALUE, FIELDS };
static const struct pj_field fields[] = {
    [ID] = {"RecordedSchema.id", PJ_INT, .required = true},
    [SUBJECT] = {"RecordedSchema.subject", PJ_TEXT, .required = true},
    [SCHEMA] = {"RecordedSchema.schema", PJ_TEXT, .required = true},
    [TOPIC] = {"RecordedMessage.topic", PJ_TEXT, .required = true},
    [PARTITION] = {"RecordedMessage.partition", PJ_INT},
    [KEY] = {"RecordedMessage.key", PJ_BYTEA},
    [TIMESTAMP] = {"RecordedMessage.timestamp", PJ_BIGINT, .required = true},
    [HEADERS] = {"RecordedMessage.headers", .items = &header_items},
    [VALUE] = {"RecordedMessage.value", PJ_BYTEA},
};
static const struct pj_source source = {
    .topic = "recordings", .schema = schema, .fields = fields, .field_count = FIELDS};

struct pj_recording {
    char *path;
    struct pj_container *container;
    struct pj_decoder *decoder;
    struct pj_plan *plan;
    struct pj_arena *arena;       /* of the last item */
    struct pj_avro_reader reader; /* of the block at hand */
    int64_t left_in_block;
    int64_t read;
};

/* --- reading items --------------------------------------------------------------------------- */

static struct pj_bytes bytes_of(const struct pj_value *value)
{
    return value->present ? (struct pj_bytes){value->text.data, value->text.length}
                          : (struct pj_bytes){0};
}

static int read_item(struct pj_recording *recording, struct pj_recorded *item,
                     struct pj_error *error)
{
    struct pj_value v[FIELDS];
    pj_arena_reset(recording->arena);
    if (pj_plan_next(recording->plan, &recording->reader, recording->arena, v, error) != 0)
        return -1;
    if (!v[SCHEMA].present && !v[TOPIC].present)
        return pj_error_set(error, PJ_FATAL,
                            "it is neither a RecordedSchema nor a RecordedMessage");
    if (v[PARTITION].present && v[PARTITION].integer < 0)
        return pj_error_set(error, PJ_FATAL, "its partition is negative");
    struct pj_header *headers =
        pj_arena_alloc(recording->arena, pj_items_count(&v[HEADERS]) * sizeof *headers);
    *item = (struct pj_recorded){
        .kind = v[SCHEMA].present ? PJ_RECORDED_SCHEMA : PJ_RECORDED_MESSAGE,
        .id = (int32_t)v[ID].integer,
        .subject = bytes_of(&v[SUBJECT]),
        .schema = bytes_of(&v[SCHEMA]),
        .topic = bytes_of(&v[TOPIC]),
        .partition = v[PARTITION].present ? (int32_t)v[PARTITION].integer : -1,
        .key = bytes_of(&v[KEY]),
        .value = bytes_of(&v[VALUE]),
        .timestamp_ms = v[TIMESTAMP].integer,
        .headers = headers,
    };
    for (struct pj_array_item header = {0}; pj_items_next(&v[HEADERS], &header);)
        headers[item->header_count++] =
            (struct pj_header){bytes_of(&header.values[0]), bytes_of(&header.values[1])};
    return 0;
}

static int next_block(struct pj_recording *recording, struct pj_error *error)
{
    const uint8_t *data;
    size_t length;
    if (recording->left_in_block == 0 && recording->reader.at != recording->reader.end)
        return pj_error_set(error, PJ_FATAL,
                            "%s is damaged after record %lld: its block is longer than its records",
                            recording->path, (long long)recording->read);
    int status =
        pj_container_next(recording->container, &data, &length, &recording->left_in_block, error);
    if (status == 1)
        pj_avro_reader_init(&recording->reader, data, length, NULL);
    return status;
}

int pj_recording_next(struct pj_recording *recording, struct pj_recorded *item,
                      struct pj_error *error)
{
    struct pj_error reason = {.class = PJ_FATAL};
    if (recording->left_in_block == 0) {
        int status = next_block(recording, error);
        if (status != 1)
            return status;
    }
    if (read_item(recording, item, &reason) != 0)
        return pj_error_set(error, PJ_FATAL, "record %lld of %s cannot be read: %s",
                            (long long)recording->read + 1, recording->path, reason.message);
    recording->left_in_block--;
    recording->read++;
    return 1;
}

void pj_recording_rewind(struct pj_recording *recording)
{
    pj_container_rewind(recording->container);
    pj_avro_reader_init(&recording->reader, "", 0, NULL);
    recording->left_in_block = 0;
    recording->read = 0;
}

/* --- opening --------------------------------------------------------------------------------- */

static bool has_both(const struct pj_avro_type *root)
{
    bool schema_found = false, message_found = false;
    for (size_t i = 0; root->kind == PJ_AVRO_UNION && i < root->count; i++) {
        const char *name = root->branches[i]->name != NULL ? root->branches[i]->name : "";
        schema_found |= strcmp(name, "projectionist.RecordedSchema") == 0;
        message_found |= strcmp(name, "projectionist.RecordedMessage") == 0;
    }
    return schema_found && message_found;
}

static int check_records(const char *text, struct pj_error *error)
{
    struct pj_schema *written;
    if (pj_schema_parse(&written, text, error) != 0)
        return -1;
    bool both = has_both(pj_schema_root(written));
    pj_schema_free(written);
    return both ? 0
                : pj_error_set(error, PJ_FATAL,
                               "its items are not projectionist.RecordedSchema and "
                               "projectionist.RecordedMessage (schemas/recording.avsc)");
}

/* What no record can have as we want it; NULL where there is nothing. Said before any is read. */
static const struct pj_plan_node *find_fault(const struct pj_plan_node *node)
{
    const struct pj_plan_node *fault =
        node != NULL && (node->missing != NULL || node->refused != NULL) ? node : NULL;
    for (size_t i = 0; node != NULL && node->children != NULL && i < node->type->count && !fault;
         i++)
        fault = find_fault(node->children[i]);
    for (size_t i = 0; node != NULL && i < node->slot_count && fault == NULL; i++)
        fault = find_fault(node->slots[i].item);
    return fault;
}

static int open_schema(struct pj_recording *recording, struct pj_error *error)
{
    const char *text = pj_container_schema(recording->container);
    struct pj_error reason = {.class = PJ_FATAL};
    if (check_records(text, &reason) == 0 &&
        pj_decoder_new(&recording->decoder, &source, &reason) == 0 &&
        pj_plan_new(&recording->plan, recording->decoder, text, &reason) == 0) {
        const struct pj_plan_node *fault = find_fault(recording->plan->root);
        if (fault == NULL)
            return 0;
        pj_error_set(&reason, PJ_FATAL, "%s%s",
                     fault->missing != NULL ? fault->missing : fault->refused,
                     fault->missing != NULL ? " is missing in its schema" : "");
    }
    return pj_error_set(error, PJ_FATAL, "%s is not a recording that can be read: %s",
                        recording->path, reason.message);
}

int pj_recording_open(struct pj_recording **out, const char *path, struct pj_error *error)
{
    struct pj_recording *recording = pj_alloc(sizeof *recording);
    recording->path = pj_strdup(path);
    recording->arena = pj_arena_new();
    if (pj_container_open(&recording->container, path, error) != 0 ||
        open_schema(recording, error) != 0) {
        pj_recording_close(recording);
        return -1;
    }
    pj_recording_rewind(recording);
    *out = recording;
    return 0;
}

void pj_recording_close(struct pj_recording *recording)
{
    if (recording == NULL)
        return;
    pj_plan_free(recording->plan);
    pj_decoder_free(recording->decoder);
    pj_container_close(recording->container);
    pj_arena_free(recording->arena);
    free(recording->path);
    free(recording);
}

const char *pj_recording_path(const struct pj_recording *recording)
{
    return recording->path;
}

int64_t pj_recording_items(const struct pj_recording *recording)
{
    return pj_container_items(recording->container);
}
