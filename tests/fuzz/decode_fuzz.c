/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding of anything, by any writer's schema. The input: a byte that chooses our schema and
 * whether the writer's is in the input; that schema's text, ended by a zero; the record.
 */
#include "avro/decode.h"
#include "projections/safari/safari.h"
#include "schemas.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct pj_field session_fields[] = {
    {"event_id", PJ_UUID, .required = true},
    {"emitted_at", PJ_TIMESTAMPTZ, .required = true},
    {"body", PJ_JSONB},
    {"body.SessionOpened", PJ_BOOL},
    {"body.SessionOpened.platform", PJ_TEXT, .required = true, .most_chars = 20},
    {"body.SessionOpened.browser_pid", PJ_INT},
    {"body.SessionOpened.metadata", PJ_JSONB},
    {"body.SessionClosed.reason", PJ_TEXT},
};

/* Everything that Avro has, read as everything that we have. */
static const char all_schema[] =
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
    "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":[\"null\",\"boolean\",\"int\","
    "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"},\"float\",\"double\",\"bytes\","
    "\"string\",{\"type\":\"array\",\"items\":\"R\"},"
    "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"P\",\"Q\"]},"
    "{\"type\":\"fixed\",\"name\":\"F\",\"size\":16,\"logicalType\":\"uuid\"},"
    "{\"type\":\"int\",\"logicalType\":\"date\"},"
    "{\"type\":\"array\",\"items\":\"null\"}]}},"
    "{\"name\":\"r\",\"type\":[\"null\",\"R\"],\"default\":null},"
    "{\"name\":\"n\",\"type\":[\"null\",{\"type\":\"bytes\",\"logicalType\":\"decimal\","
    "\"precision\":9,\"scale\":2}],\"default\":null},"
    "{\"name\":\"d\",\"type\":[\"null\",\"double\",\"long\"],\"default\":null},"
    "{\"name\":\"u\",\"type\":[\"null\",\"F\",\"string\"],\"default\":null},"
    "{\"name\":\"b\",\"type\":[\"null\",\"bytes\"],\"default\":null},"
    "{\"name\":\"l\",\"type\":[\"null\",{\"type\":\"array\",\"items\":{\"type\":\"record\","
    "\"name\":\"L\",\"fields\":[{\"name\":\"q\",\"type\":[\"null\",\"int\"],\"default\":null},"
    "{\"name\":\"t\",\"type\":{\"type\":\"array\",\"items\":\"string\"},\"default\":[\"x\"]},"
    "{\"name\":\"r\",\"type\":[\"null\",\"R\"],\"default\":null}]}}],\"default\":null}]}";

static const struct pj_field tag_fields[] = {{"", PJ_TEXT, .required = true, .most_chars = 3}};
static const struct pj_items tags = {tag_fields, 1, .most = 100};
static const struct pj_field line_fields[] = {
    {"q", PJ_INT}, {"t", .items = &tags}, {"r.m", PJ_JSONB}, {"r.l", PJ_BOOL}};
static const struct pj_items lines = {line_fields, 4};

static const struct pj_field all_fields[] = {
    {"m", PJ_JSONB},    {"m", PJ_BOOL},      {"r", PJ_JSONB},        {"r.m", PJ_JSONB},
    {"r.r.m", PJ_BOOL}, {"n", PJ_NUMERIC},   {"d", PJ_DOUBLE},       {"u", PJ_UUID},
    {"b", PJ_BYTEA},    {"r.n", PJ_NUMERIC}, {"l", .items = &lines}, {"r.l", .items = &lines},
};

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

enum { SOURCES = 4, FIELDS_MOST = 64, ARENA_MOST = 64 << 20 };

static const struct pj_source *source_of(unsigned index)
{
    static struct pj_source sources[SOURCES] = {SAFARI_COMMANDS(NULL), SAFARI_TELEMETRY(NULL)};
    sources[2] = (struct pj_source){.topic = "safari.sessions",
                                    .schema = pj_schema_safari_sessions,
                                    .fields = session_fields,
                                    .field_count = COUNT(session_fields)};
    sources[3] = (struct pj_source){.topic = "all",
                                    .schema = all_schema,
                                    .fields = all_fields,
                                    .field_count = COUNT(all_fields)};
    return &sources[index];
}

static struct pj_decoder *decoder_of(unsigned index)
{
    static struct pj_decoder *decoders[SOURCES];
    struct pj_error error;
    if (decoders[index] == NULL &&
        pj_decoder_new(&decoders[index], source_of(index), &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
    return decoders[index];
}

/* A plan of our own schema for each source, made once. */
static struct pj_plan *own_plan_of(unsigned index)
{
    static struct pj_plan *plans[SOURCES];
    struct pj_error error;
    if (plans[index] == NULL &&
        pj_plan_new(&plans[index], decoder_of(index), source_of(index)->schema, &error) != 0)
        abort();
    return plans[index];
}

static volatile unsigned sum; /* the reads below are for AddressSanitizer to see */

/* Reads all that the values claim to be. */
static void touch(const struct pj_field *fields, size_t count, const struct pj_value *values)
{
    for (size_t i = 0; i < count; i++) {
        enum pj_type type = fields[i].type;
        if (!values[i].present)
            continue;
        if (fields[i].items != NULL)
            for (struct pj_array_item item = {0}; pj_items_next(&values[i], &item);)
                touch(fields[i].items->fields, fields[i].items->field_count, item.values);
        else if (type != PJ_TEXT && type < PJ_JSONB)
            sum += (unsigned)pj_value_compare(type, &values[i], &values[i]);
        else
            for (size_t c = 0; c < values[i].text.length; c++)
                sum += (unsigned char)values[i].text.data[c];
    }
}

static void decode(const struct pj_plan *plan, const struct pj_source *source, const uint8_t *data,
                   size_t size)
{
    static struct pj_arena *arena;
    struct pj_value values[FIELDS_MOST];
    struct pj_error error = {.class = PJ_FATAL};
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (arena == NULL)
        arena = pj_arena_new();
    memcpy(exact, data, size);
    if (pj_plan_decode(plan, exact, size, arena, values, &error) == 0)
        touch(source->fields, source->field_count, values);
    else if (error.class != PJ_POISON)
        abort();
    if (pj_arena_used(arena) > ARENA_MOST)
        abort();
    pj_arena_reset(arena);
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned index = data[0] % SOURCES;
    bool own = (data[0] & 128) != 0;
    data++;
    size--;
    if (own) {
        decode(own_plan_of(index), source_of(index), data, size);
        return 0;
    }
    const uint8_t *end = memchr(data, 0, size);
    size_t length = end != NULL ? (size_t)(end - data) : size;
    char *text = strndup((const char *)data, length);
    struct pj_plan *plan;
    struct pj_error error = {.class = PJ_FATAL};
    if (pj_plan_new(&plan, decoder_of(index), text, &error) == 0) {
        size_t start = length < size ? length + 1 : size;
        decode(plan, source_of(index), data + start, size - start);
        pj_plan_free(plan);
    } else if (error.class != PJ_POISON) {
        abort();
    }
    free(text);
    return 0;
}
