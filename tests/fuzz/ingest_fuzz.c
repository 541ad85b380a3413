/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What event-ingest reads of others: events, webhooks, tokens, keys and their files. The first byte
 * says which. An event that is encoded can be decoded again.
 */
#include "avro/decode.h"
#include "avro/json_encode.h"
#include "avro/wire.h"
#include "event-ingest/event.h"
#include "event-ingest/jwt.h"
#include "event-ingest/sns.h"
#include "event-ingest/tokens.h"
#include "event-ingest/topics.h"
#include "event-ingest/webhooks.h"

#include <stdlib.h>
#include <string.h>

#define NOW 1795237594
#define ID  "0f0e0d0c-0b0a-4908-8706-050403020100"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char schema_text[] =
    "{\"type\":\"record\",\"name\":\"Event\",\"fields\":["
    "{\"name\":\"event_id\",\"type\":{\"type\":\"string\",\"logicalType\":\"uuid\"}},"
    "{\"name\":\"tenant_id\",\"type\":[\"null\",\"string\"]},"
    "{\"name\":\"video_id\",\"type\":[\"null\",\"string\"]},"
    "{\"name\":\"revision\",\"type\":\"long\"},"
    "{\"name\":\"emitted_at\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},"
    "{\"name\":\"bucket\",\"type\":\"string\",\"default\":\"b\"},"
    "{\"name\":\"key\",\"type\":\"string\",\"default\":\"k\"},"
    "{\"name\":\"tags\",\"doc\":\"JSON text\",\"type\":[\"null\",\"string\"]},"
    "{\"name\":\"price\",\"type\":[\"null\",{\"type\":\"bytes\",\"logicalType\":\"decimal\","
    "\"precision\":18,\"scale\":6}]},"
    "{\"name\":\"body\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Saved\",\"fields\":["
    "{\"name\":\"base_revision\",\"type\":[\"null\",\"long\"]},"
    "{\"name\":\"items\",\"type\":{\"type\":\"array\",\"items\":\"double\"},\"default\":[]}]},"
    "{\"type\":\"record\",\"name\":\"Gone\",\"fields\":[]}]}]}";

static struct pj_schema *schema;
static struct pj_topics *topics;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void publish(json_t *event)
{
    struct pj_error error = {0};
    struct pj_builder encoded = {0}, key = {0};
    int status = 0;
    const struct pj_event_rules rules = {.record = pj_schema_root(schema),
                                         .tenant = "t",
                                         .now_us = INT64_C(1000000) * NOW,
                                         .new_id = ID};
    if (pj_event_complete(event, &rules, &status, &error) != 0) {
        require((status == 400 || status == 403) && error.message[0] != '\0');
    } else if (pj_json_encode_plain(schema, 7, event, &encoded, &error) == 0) {
        struct pj_arena *arena = pj_arena_new();
        const char *text;
        size_t length;
        require(pj_avro_to_json(schema_text, encoded.text + PJ_WIRE_HEADER_SIZE,
                                encoded.length - PJ_WIRE_HEADER_SIZE, arena, &text, &length,
                                &error) == 0);
        pj_arena_free(arena);
        if (pj_topic_key(pj_topics_find(topics, "t.a"), event, &key, &error) == 0)
            require(key.length > 0);
    } else {
        require(error.class == PJ_POISON && error.message[0] != '\0');
    }
    pj_builder_free(&encoded);
    pj_builder_free(&key);
}

static void publish_all(json_t *events)
{
    for (size_t i = 0; i < json_array_size(events); i++)
        publish(json_array_get(events, i));
    json_decref(events);
}

static void read_json(uint8_t kind, json_t *json)
{
    struct pj_error error = {0};
    const struct pj_avro_type *record = pj_schema_root(schema);
    if (kind == 0)
        publish(json);
    else if (kind == 1)
        publish_all(pj_prefect_events(json, record, &error));
    else if (kind == 2)
        publish_all(pj_s3_events(json, record, "stored,removed", &error));
    else
        require(!pj_sns_is_signed(json, "no certificate", &error));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pj_error error = {0};
    if (schema == NULL) {
        require(pj_schema_parse(&schema, schema_text, &error) == 0);
        require(pj_topics_parse(&topics, "t", "t.a=video_id|bucket/key", &error) == 0);
    }
    if (size == 0)
        return 0;
    uint8_t kind = data[0] % 7;
    char *text = strndup((const char *)data + 1, size - 1);
    size_t length = strlen(text);
    if (kind < 4) {
        json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
        if (json != NULL)
            read_json(kind, json);
        json_decref(json);
    } else if (kind == 4) {
        struct pj_tokens *tokens;
        if (pj_tokens_parse(&tokens, text, length, &error) == 0)
            pj_tokens_free(tokens);
    } else if (kind == 5) {
        struct pj_jwt_keys *keys;
        if (pj_jwt_keys_parse(&keys, text, length, &error) == 0)
            pj_jwt_keys_free(keys);
    } else {
        json_t *claims;
        const struct pj_jwt_rules rules = {.secret = "a secret of at least thirty-two bytes",
                                           .now_s = NOW};
        require(pj_jwt_verify(text, &rules, &claims, &error) != PJ_JWT_GOOD);
        (void)pj_sns_is_url(text, NULL, ".pem");
    }
    free(text);
    return 0;
}
