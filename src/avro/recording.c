/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/recording.h"

#include "avro/container.h"
#include "avro/plan.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* schemas/recording.avsc, without what it says to people. */
const char pj_recording_schema[] =
    "[{\"type\":\"record\",\"name\":\"RecordedSchema\",\"namespace\":\"projectionist\","
    "\"fields\":[{\"name\":\"id\",\"type\":\"int\"},{\"name\":\"subject\","
    "\"type\":\"string\"},{\"name\":\"schema\",\"type\":\"string\"}]},{\"type\":\"record\","
    "\"name\":\"RecordedMessage\",\"namespace\":\"projectionist\","
    "\"fields\":[{\"name\":\"topic\",\"type\":\"string\"},{\"name\":\"partition\","
    "\"type\":[\"null\",\"int\"],\"default\":null},{\"name\":\"key\",\"type\":[\"null\","
    "\"bytes\"],\"default\":null},{\"name\":\"timestamp\",\"type\":{\"type\":\"long\","
    "\"logicalType\":\"timestamp-millis\"}},{\"name\":\"headers\","
    "\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"RecordedHeader\","
    "\"fields\":[{\"name\":\"name\",\"type\":\"string\"},{\"name\":\"value\","
    "\"type\":[\"null\",\"bytes\"],\"default\":null}]}},\"default\":[]},{\"name\":\"value\","
    "\"type\":[\"null\",\"bytes\"],\"default\":null},{\"name\":\"timestamp_type\","
    "\"type\":[\"null\",{\"type\":\"enum\",\"name\":\"TimestampType\",\"symbols\":[\"NONE\","
    "\"CREATE_TIME\",\"LOG_APPEND_TIME\"]}],\"default\":null},{\"name\":\"offset\","
    "\"type\":[\"null\",\"long\"],\"default\":null}]},{\"type\":\"record\","
    "\"name\":\"RecordedHead\",\"namespace\":\"projectionist\","
    "\"fields\":[{\"name\":\"cluster_id\",\"type\":\"string\"},{\"name\":\"topic\","
    "\"type\":\"string\"},{\"name\":\"topic_id\",\"type\":[\"null\",\"string\"],"
    "\"default\":null},{\"name\":\"partition\",\"type\":\"int\"},{\"name\":\"partitions\","
    "\"type\":\"int\"},{\"name\":\"file\",\"type\":\"int\"},{\"name\":\"begin\","
    "\"type\":\"long\"},{\"name\":\"configuration\",\"type\":{\"type\":\"map\","
    "\"values\":\"string\"}},{\"name\":\"changes\",\"type\":{\"type\":\"array\","
    "\"items\":\"string\"}},{\"name\":\"program\",\"type\":\"string\"}]},"
    "{\"type\":\"record\",\"name\":\"RecordedGap\",\"namespace\":\"projectionist\","
    "\"fields\":[{\"name\":\"begin\",\"type\":\"long\"},{\"name\":\"end\",\"type\":\"long\"},"
    "{\"name\":\"cause\",\"type\":{\"type\":\"enum\",\"name\":\"GapCause\","
    "\"symbols\":[\"ABORTED\",\"COMPACTED\",\"REMOVED\"]}}]},{\"type\":\"record\","
    "\"name\":\"RecordedTail\",\"namespace\":\"projectionist\","
    "\"fields\":[{\"name\":\"count\",\"type\":\"long\"},{\"name\":\"sha256\","
    "\"type\":\"string\"},{\"name\":\"next\",\"type\":\"long\"},{\"name\":\"earliest\","
    "\"type\":[\"null\",\"long\"],\"default\":null},{\"name\":\"latest\",\"type\":[\"null\","
    "\"long\"],\"default\":null},{\"name\":\"aborted\",\"type\":\"long\"},"
    "{\"name\":\"compacted\",\"type\":\"long\"},{\"name\":\"removed\",\"type\":\"long\"}]}]";

static const struct pj_field header_fields[] = {{"name", PJ_TEXT, .required = true},
                                                {"value", PJ_BYTEA}};
static const struct pj_items header_items = {header_fields, 2, PJ_RECORDED_HEADERS_MOST};

enum {
    ID,
    SUBJECT,
    SCHEMA,
    TOPIC,
    PARTITION,
    KEY,
    TIMESTAMP,
    HEADERS,
    VALUE,
    TIMESTAMP_TYPE,
    OFFSET,
    HEAD_CLUSTER,
    HEAD_TOPIC,
    HEAD_TOPIC_ID,
    HEAD_PARTITION,
    HEAD_PARTITIONS,
    HEAD_FILE,
    HEAD_BEGIN,
    HEAD_CONFIGURATION,
    HEAD_CHANGES,
    GAP_BEGIN,
    GAP_END,
    GAP_CAUSE,
    TAIL_COUNT,
    TAIL_SHA256,
    TAIL_NEXT,
    TAIL_EARLIEST,
    TAIL_LATEST,
    TAIL_ABORTED,
    TAIL_COMPACTED,
    TAIL_REMOVED,
    FIELDS
};
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
    [TIMESTAMP_TYPE] = {"RecordedMessage.timestamp_type", PJ_TEXT},
    [OFFSET] = {"RecordedMessage.offset", PJ_BIGINT},
    [HEAD_CLUSTER] = {"RecordedHead.cluster_id", PJ_TEXT, .required = true},
    [HEAD_TOPIC] = {"RecordedHead.topic", PJ_TEXT, .required = true},
    [HEAD_TOPIC_ID] = {"RecordedHead.topic_id", PJ_TEXT},
    [HEAD_PARTITION] = {"RecordedHead.partition", PJ_INT, .required = true},
    [HEAD_PARTITIONS] = {"RecordedHead.partitions", PJ_INT, .required = true},
    [HEAD_FILE] = {"RecordedHead.file", PJ_INT, .required = true},
    [HEAD_BEGIN] = {"RecordedHead.begin", PJ_BIGINT, .required = true},
    [HEAD_CONFIGURATION] = {"RecordedHead.configuration", PJ_JSONB, .required = true},
    [HEAD_CHANGES] = {"RecordedHead.changes", PJ_JSONB, .required = true},
    [GAP_BEGIN] = {"RecordedGap.begin", PJ_BIGINT, .required = true},
    [GAP_END] = {"RecordedGap.end", PJ_BIGINT, .required = true},
    [GAP_CAUSE] = {"RecordedGap.cause", PJ_TEXT, .required = true},
    [TAIL_COUNT] = {"RecordedTail.count", PJ_BIGINT, .required = true},
    [TAIL_SHA256] = {"RecordedTail.sha256", PJ_TEXT, .required = true},
    [TAIL_NEXT] = {"RecordedTail.next", PJ_BIGINT, .required = true},
    [TAIL_EARLIEST] = {"RecordedTail.earliest", PJ_BIGINT},
    [TAIL_LATEST] = {"RecordedTail.latest", PJ_BIGINT},
    [TAIL_ABORTED] = {"RecordedTail.aborted", PJ_BIGINT, .required = true},
    [TAIL_COMPACTED] = {"RecordedTail.compacted", PJ_BIGINT, .required = true},
    [TAIL_REMOVED] = {"RecordedTail.removed", PJ_BIGINT, .required = true},
};
static const struct pj_source source = {
    .topic = "recordings", .schema = pj_recording_schema, .fields = fields, .field_count = FIELDS};

struct pj_recording {
    char **paths; /* of all its files */
    size_t path_count;
    size_t file; /* the one at hand */
    char *path;  /* its */
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

/* The symbol's place; -1 for one that is not ours. */
static int symbol_of(const struct pj_value *value, const char *const *symbols, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pj_text_is(value, symbols[i]))
            return (int)i;
    }
    return -1;
}

static const char *const timestamp_types[PJ_TIMESTAMP_TYPES] = {"NONE", "CREATE_TIME",
                                                                "LOG_APPEND_TIME"};
static const char *const gap_causes[PJ_GAP_CAUSES] = {"ABORTED", "COMPACTED", "REMOVED"};

static int read_message(struct pj_recording *recording, const struct pj_value *v,
                        struct pj_recorded *item, struct pj_error *error)
{
    if (v[PARTITION].present && v[PARTITION].integer < 0)
        return pj_error_set(error, PJ_FATAL, "its partition is negative");
    if (v[OFFSET].present && v[OFFSET].integer < 0)
        return pj_error_set(error, PJ_FATAL, "its offset is negative");
    int type = v[TIMESTAMP_TYPE].present
                   ? symbol_of(&v[TIMESTAMP_TYPE], timestamp_types, PJ_TIMESTAMP_TYPES)
                   : PJ_TIMESTAMP_UNKNOWN;
    struct pj_header *headers =
        pj_arena_alloc(recording->arena, pj_items_count(&v[HEADERS]) * sizeof *headers);
    *item = (struct pj_recorded){
        .kind = PJ_RECORDED_MESSAGE,
        .topic = bytes_of(&v[TOPIC]),
        .partition = v[PARTITION].present ? (int32_t)v[PARTITION].integer : -1,
        .key = bytes_of(&v[KEY]),
        .value = bytes_of(&v[VALUE]),
        .timestamp_ms = v[TIMESTAMP].integer,
        .timestamp_type = (enum pj_timestamp_type)type,
        .offset = v[OFFSET].present ? v[OFFSET].integer : -1,
        .headers = headers,
    };
    for (struct pj_array_item header = {0}; pj_items_next(&v[HEADERS], &header);)
        headers[item->header_count++] =
            (struct pj_header){bytes_of(&header.values[0]), bytes_of(&header.values[1])};
    return 0;
}

static int read_head(const struct pj_value *v, struct pj_recorded *item, struct pj_error *error)
{
    *item = (struct pj_recorded){.kind = PJ_RECORDED_HEAD,
                                 .head = {.cluster_id = bytes_of(&v[HEAD_CLUSTER]),
                                          .topic = bytes_of(&v[HEAD_TOPIC]),
                                          .topic_id = bytes_of(&v[HEAD_TOPIC_ID]),
                                          .partition = (int32_t)v[HEAD_PARTITION].integer,
                                          .partitions = (int32_t)v[HEAD_PARTITIONS].integer,
                                          .file = (int32_t)v[HEAD_FILE].integer,
                                          .begin = v[HEAD_BEGIN].integer,
                                          .configuration = bytes_of(&v[HEAD_CONFIGURATION]),
                                          .changes = bytes_of(&v[HEAD_CHANGES])}};
    if (item->head.partition < 0 || item->head.begin < 0 || item->head.file < 1)
        return pj_error_set(error, PJ_FATAL, "its head has a negative number");
    return 0;
}

static int read_gap(const struct pj_value *v, struct pj_recorded *item, struct pj_error *error)
{
    int cause = symbol_of(&v[GAP_CAUSE], gap_causes, PJ_GAP_CAUSES);
    if (cause < 0)
        return pj_error_set(error, PJ_FATAL,
                            "it is a gap of a cause that this version does not know");
    *item = (struct pj_recorded){
        .kind = PJ_RECORDED_GAP,
        .gap = {v[GAP_BEGIN].integer, v[GAP_END].integer, (enum pj_gap_cause)cause}};
    return 0;
}

static void read_tail(const struct pj_value *v, struct pj_recorded *item)
{
    *item = (struct pj_recorded){
        .kind = PJ_RECORDED_TAIL,
        .tail = {
            .count = v[TAIL_COUNT].integer,
            .sha256 = bytes_of(&v[TAIL_SHA256]),
            .next = v[TAIL_NEXT].integer,
            .has_times = v[TAIL_EARLIEST].present && v[TAIL_LATEST].present,
            .earliest_ms = v[TAIL_EARLIEST].integer,
            .latest_ms = v[TAIL_LATEST].integer,
            .gaps = {v[TAIL_ABORTED].integer, v[TAIL_COMPACTED].integer, v[TAIL_REMOVED].integer}}};
}

static int read_item(struct pj_recording *recording, struct pj_recorded *item,
                     struct pj_error *error)
{
    struct pj_value v[FIELDS];
    pj_arena_reset(recording->arena);
    if (pj_plan_next(recording->plan, &recording->reader, recording->arena, v, error) != 0)
        return -1;
    if (v[TOPIC].present)
        return read_message(recording, v, item, error);
    if (v[HEAD_TOPIC].present)
        return read_head(v, item, error);
    if (v[GAP_BEGIN].present)
        return read_gap(v, item, error);
    if (!v[SCHEMA].present && !v[TAIL_COUNT].present)
        return pj_error_set(error, PJ_FATAL, "it is not an item of a recording");
    if (v[TAIL_COUNT].present)
        read_tail(v, item);
    else
        *item = (struct pj_recorded){.kind = PJ_RECORDED_SCHEMA,
                                     .id = (int32_t)v[ID].integer,
                                     .subject = bytes_of(&v[SUBJECT]),
                                     .schema = bytes_of(&v[SCHEMA])};
    return 0;
}

static int open_file(struct pj_recording *recording, size_t file, bool unfinished,
                     struct pj_error *error);

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

bool pj_recorded_is_of_keys(struct pj_bytes subject)
{
    const size_t length = sizeof PJ_SUBJECT_OF_KEYS - 1;
    return subject.length > length && memcmp((const char *)subject.data + subject.length - length,
                                             PJ_SUBJECT_OF_KEYS, length) == 0;
}

int pj_recording_next(struct pj_recording *recording, struct pj_recorded *item,
                      struct pj_error *error)
{
    struct pj_error reason = {.class = PJ_FATAL};
    while (recording->left_in_block == 0) {
        int status = next_block(recording, error);
        if (status == 0 && recording->file + 1 < recording->path_count)
            status = open_file(recording, recording->file + 1, false, error) == 0 ? 1 : -1;
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

static void begin_file(struct pj_recording *recording)
{
    pj_container_rewind(recording->container);
    pj_avro_reader_init(&recording->reader, "", 0, NULL);
    recording->left_in_block = 0;
    recording->read = 0;
}

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

/* In place of the one at hand. */
static int open_file(struct pj_recording *recording, size_t file, bool unfinished,
                     struct pj_error *error)
{
    pj_plan_free(recording->plan);
    pj_decoder_free(recording->decoder);
    pj_container_close(recording->container);
    recording->plan = NULL;
    recording->decoder = NULL;
    recording->container = NULL;
    recording->file = file;
    recording->path = recording->paths[file];
    if ((unfinished ? pj_container_open_unfinished(&recording->container, recording->path, error)
                    : pj_container_open(&recording->container, recording->path, error)) != 0 ||
        open_schema(recording, error) != 0)
        return -1;
    begin_file(recording);
    return 0;
}

int pj_recording_rewind(struct pj_recording *recording, struct pj_error *error)
{
    if (recording->file != 0)
        return open_file(recording, 0, false, error);
    begin_file(recording);
    return 0;
}

static int open_any(struct pj_recording **out, const char *const *paths, size_t count,
                    bool unfinished, struct pj_error *error)
{
    struct pj_recording *recording = pj_alloc(sizeof *recording);
    recording->arena = pj_arena_new();
    recording->paths = pj_calloc(count, sizeof(char *));
    for (size_t i = 0; i < count; i++)
        recording->paths[recording->path_count++] = pj_strdup(paths[i]);
    if (open_file(recording, 0, unfinished, error) != 0) {
        pj_recording_close(recording);
        return -1;
    }
    *out = recording;
    return 0;
}

int pj_recording_open(struct pj_recording **recording, const char *path, struct pj_error *error)
{
    return open_any(recording, &path, 1, false, error);
}

int pj_recording_open_files(struct pj_recording **recording, const char *const *paths, size_t count,
                            struct pj_error *error)
{
    return open_any(recording, paths, count, false, error);
}

int pj_recording_open_unfinished(struct pj_recording **recording, const char *path,
                                 struct pj_error *error)
{
    return open_any(recording, &path, 1, true, error);
}

int pj_recording_last(struct pj_recording *recording, struct pj_recorded *item,
                      struct pj_error *error)
{
    int status;
    begin_file(recording);
    pj_container_go_to_last(recording->container);
    while ((status = pj_recording_next(recording, item, error)) == 1 &&
           recording->left_in_block > 0)
        ;
    return status;
}

int64_t pj_recording_whole(const struct pj_recording *recording)
{
    return recording->left_in_block == 0 && recording->reader.at == recording->reader.end
               ? pj_container_at(recording->container)
               : -1;
}

void pj_recording_close(struct pj_recording *recording)
{
    if (recording == NULL)
        return;
    pj_plan_free(recording->plan);
    pj_decoder_free(recording->decoder);
    pj_container_close(recording->container);
    pj_arena_free(recording->arena);
    for (size_t i = 0; i < recording->path_count; i++)
        free(recording->paths[i]);
    free(recording->paths);
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
