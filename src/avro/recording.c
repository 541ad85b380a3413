/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/recording.h"

#include "avro/avro_reader.h"
#include "avro/container.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { HEADERS_MOST = 100000 }; /* of one message */

/* What the fields of the file's records mean to us. */
enum slot {
    SLOT_PASSED_OVER,
    SLOT_ID,
    SLOT_SUBJECT,
    SLOT_SCHEMA,
    SLOT_TOPIC,
    SLOT_PARTITION,
    SLOT_KEY,
    SLOT_TIMESTAMP,
    SLOT_HEADERS,
    SLOT_VALUE,
    SLOT_HEADER_NAME,
    SLOT_HEADER_VALUE,
};

struct expected_field {
    const char *name;
    enum slot slot;
    enum pj_avro_kind kind;
    bool nullable;
};

static const struct expected_field schema_fields[] = {
    {"id", SLOT_ID, PJ_AVRO_INT, false},
    {"subject", SLOT_SUBJECT, PJ_AVRO_STRING, false},
    {"schema", SLOT_SCHEMA, PJ_AVRO_STRING, false},
};

static const struct expected_field message_fields[] = {
    {"topic", SLOT_TOPIC, PJ_AVRO_STRING, false},
    {"partition", SLOT_PARTITION, PJ_AVRO_INT, true},
    {"key", SLOT_KEY, PJ_AVRO_BYTES, true},
    {"timestamp", SLOT_TIMESTAMP, PJ_AVRO_LONG, false},
    {"headers", SLOT_HEADERS, PJ_AVRO_ARRAY, false},
    {"value", SLOT_VALUE, PJ_AVRO_BYTES, true},
};

static const struct expected_field header_fields[] = {
    {"name", SLOT_HEADER_NAME, PJ_AVRO_STRING, false},
    {"value", SLOT_HEADER_VALUE, PJ_AVRO_BYTES, true},
};

/* A record type of the file: for each of its fields, where it goes. */
struct binding {
    const struct pj_avro_type *type;
    enum slot *slots;
};

struct pj_recording {
    char *path;
    struct pj_container *container;
    struct pj_schema *schema;
    const struct pj_avro_type *root; /* the union of the two records */
    struct binding schemas;
    struct binding messages;
    struct binding headers_of_message;
    struct pj_avro_reader reader; /* of the block at hand */
    int64_t left_in_block;
    int64_t read;
    struct pj_header *headers;
    size_t headers_most;
};

/* --- binding to the file's schema ------------------------------------------------------------ */

static bool is_of_kind(const struct pj_avro_type *type, enum pj_avro_kind kind, bool nullable)
{
    if (type->kind == kind)
        return true;
    if (!nullable || type->kind != PJ_AVRO_UNION)
        return false;
    for (size_t i = 0; i < type->count; i++) {
        if (type->branches[i]->kind != kind && type->branches[i]->kind != PJ_AVRO_NULL)
            return false;
    }
    return true;
}

static int bind_record(struct binding *binding, const struct pj_avro_type *type,
                       const struct expected_field *fields, size_t count, struct pj_error *error)
{
    if (binding->type != NULL)
        return pj_error_set(error, PJ_FATAL, "its schema has two records %s", type->name);
    binding->type = type;
    binding->slots = pj_calloc(type->count, sizeof *binding->slots);
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < type->count && strcmp(type->fields[j].name, fields[i].name) != 0)
            j++;
        if (j == type->count)
            return pj_error_set(error, PJ_FATAL, "its %s has no field %s", type->name,
                                fields[i].name);
        if (!is_of_kind(type->fields[j].type, fields[i].kind, fields[i].nullable))
            return pj_error_set(error, PJ_FATAL, "the field %s of its %s has another type",
                                fields[i].name, type->name);
        binding->slots[j] = fields[i].slot;
    }
    return 0;
}

#define BIND(binding, type, fields, error)                                                         \
    bind_record((binding), (type), (fields), sizeof(fields) / sizeof(fields)[0], (error))

static int bind_message(struct pj_recording *recording, const struct pj_avro_type *type,
                        struct pj_error *error)
{
    if (BIND(&recording->messages, type, message_fields, error) != 0)
        return -1;
    for (size_t i = 0; i < type->count; i++) {
        if (recording->messages.slots[i] != SLOT_HEADERS)
            continue;
        const struct pj_avro_type *header = type->fields[i].type->branches[0];
        if (header->kind != PJ_AVRO_RECORD)
            return pj_error_set(error, PJ_FATAL, "the headers of its %s are no records",
                                type->name);
        return BIND(&recording->headers_of_message, header, header_fields, error);
    }
    return 0;
}

static int bind_root(struct pj_recording *recording, struct pj_error *error)
{
    const struct pj_avro_type *root = pj_schema_root(recording->schema);
    recording->root = root;
    for (size_t i = 0; root->kind == PJ_AVRO_UNION && i < root->count; i++) {
        const struct pj_avro_type *branch = root->branches[i];
        const char *name = branch->kind == PJ_AVRO_RECORD ? branch->name : "";
        int status = 0;
        if (strcmp(name, "projectionist.RecordedSchema") == 0)
            status = BIND(&recording->schemas, branch, schema_fields, error);
        else if (strcmp(name, "projectionist.RecordedMessage") == 0)
            status = bind_message(recording, branch, error);
        if (status != 0)
            return -1;
    }
    if (recording->schemas.type == NULL || recording->messages.type == NULL)
        return pj_error_set(error, PJ_FATAL,
                            "its items are not projectionist.RecordedSchema and "
                            "projectionist.RecordedMessage (schemas/recording.avsc)");
    return 0;
}

/* --- reading items --------------------------------------------------------------------------- */

/* Steps into a union; `*type` is then the branch. */
static int unwrap(struct pj_avro_reader *reader, const struct pj_avro_type **type)
{
    size_t index;
    if ((*type)->kind != PJ_AVRO_UNION)
        return 0;
    if (pj_avro_read_index(reader, *type, &index) != 0)
        return -1;
    *type = (*type)->branches[index];
    return 0;
}

static int read_bytes(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                      struct pj_bytes *bytes)
{
    const char *data;
    *bytes = (struct pj_bytes){0};
    if (unwrap(reader, &type) != 0)
        return -1;
    if (type->kind == PJ_AVRO_NULL)
        return 0;
    if (pj_avro_read_text(reader, type, &data, &bytes->length) != 0)
        return -1;
    bytes->data = data;
    return 0;
}

static int read_partition(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                          int32_t *partition)
{
    int64_t value = -1;
    if (unwrap(reader, &type) != 0)
        return -1;
    if (type->kind == PJ_AVRO_INT && pj_avro_read_int(reader, &value) != 0)
        return -1;
    if (type->kind == PJ_AVRO_INT && value < 0)
        return pj_error_set(reader->error, PJ_FATAL, "its partition is negative");
    *partition = (int32_t)value;
    return 0;
}

static int read_id(struct pj_avro_reader *reader, int32_t *id)
{
    int64_t value;
    if (pj_avro_read_int(reader, &value) != 0)
        return -1;
    *id = (int32_t)value;
    return 0;
}

static int read_header(struct pj_recording *recording, struct pj_header *header)
{
    const struct binding *binding = &recording->headers_of_message;
    struct pj_avro_reader *reader = &recording->reader;
    *header = (struct pj_header){0};
    for (size_t i = 0; i < binding->type->count; i++) {
        const struct pj_avro_type *type = binding->type->fields[i].type;
        int status = 0;
        if (binding->slots[i] == SLOT_HEADER_NAME)
            status = read_bytes(reader, type, &header->name);
        else if (binding->slots[i] == SLOT_HEADER_VALUE)
            status = read_bytes(reader, type, &header->value);
        else
            status = pj_avro_skip(reader, type);
        if (status != 0)
            return -1;
    }
    return 0;
}

static int add_header(struct pj_recording *recording, size_t count)
{
    if (count == recording->headers_most) {
        recording->headers_most = count > 0 ? 2 * count : 8;
        recording->headers =
            pj_resize(recording->headers, recording->headers_most, sizeof *recording->headers);
    }
    return read_header(recording, &recording->headers[count]);
}

static int read_headers(struct pj_recording *recording, struct pj_recorded *item)
{
    uint64_t count;
    do {
        if (pj_avro_read_block(&recording->reader, &count) != 0)
            return -1;
        for (uint64_t i = 0; i < count; i++) {
            if (item->header_count == HEADERS_MOST)
                return pj_error_set(recording->reader.error, PJ_FATAL,
                                    "it has more than %d headers", HEADERS_MOST);
            if (add_header(recording, item->header_count) != 0)
                return -1;
            item->header_count++;
        }
    } while (count > 0);
    item->headers = recording->headers;
    return 0;
}

static int read_field(struct pj_recording *recording, const struct pj_avro_type *type,
                      enum slot slot, struct pj_recorded *item)
{
    struct pj_avro_reader *reader = &recording->reader;
    switch (slot) {
    case SLOT_ID:
        return read_id(reader, &item->id);
    case SLOT_SUBJECT:
        return read_bytes(reader, type, &item->subject);
    case SLOT_SCHEMA:
        return read_bytes(reader, type, &item->schema);
    case SLOT_TOPIC:
        return read_bytes(reader, type, &item->topic);
    case SLOT_PARTITION:
        return read_partition(reader, type, &item->partition);
    case SLOT_KEY:
        return read_bytes(reader, type, &item->key);
    case SLOT_TIMESTAMP:
        return pj_avro_read_long(reader, &item->timestamp_ms);
    case SLOT_HEADERS:
        return read_headers(recording, item);
    case SLOT_VALUE:
        return read_bytes(reader, type, &item->value);
    case SLOT_PASSED_OVER:
    case SLOT_HEADER_NAME:
    case SLOT_HEADER_VALUE:
        break;
    }
    return pj_avro_skip(reader, type);
}

static int read_item(struct pj_recording *recording, struct pj_recorded *item)
{
    const struct binding *binding = NULL;
    size_t index;
    *item = (struct pj_recorded){.partition = -1};
    if (pj_avro_read_index(&recording->reader, recording->root, &index) != 0)
        return -1;
    if (recording->root->branches[index] == recording->schemas.type) {
        item->kind = PJ_RECORDED_SCHEMA;
        binding = &recording->schemas;
    } else if (recording->root->branches[index] == recording->messages.type) {
        item->kind = PJ_RECORDED_MESSAGE;
        binding = &recording->messages;
    } else {
        return pj_error_set(recording->reader.error, PJ_FATAL,
                            "it is neither a RecordedSchema nor a RecordedMessage");
    }
    for (size_t i = 0; i < binding->type->count; i++) {
        if (read_field(recording, binding->type->fields[i].type, binding->slots[i], item) != 0)
            return -1;
    }
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
    recording->reader.error = &reason;
    if (read_item(recording, item) != 0)
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

static int open_schema(struct pj_recording *recording, struct pj_error *error)
{
    struct pj_error reason = {.class = PJ_FATAL};
    if (pj_schema_parse(&recording->schema, pj_container_schema(recording->container), &reason) !=
            0 ||
        bind_root(recording, &reason) != 0)
        return pj_error_set(error, PJ_FATAL, "%s is not a recording that can be read: %s",
                            recording->path, reason.message);
    return 0;
}

int pj_recording_open(struct pj_recording **out, const char *path, struct pj_error *error)
{
    struct pj_recording *recording = pj_alloc(sizeof *recording);
    recording->path = pj_strdup(path);
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
    free(recording->schemas.slots);
    free(recording->messages.slots);
    free(recording->headers_of_message.slots);
    free(recording->headers);
    pj_schema_free(recording->schema);
    pj_container_close(recording->container);
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
