/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A producer that shares no code with ours: avro-c encodes, librdkafka sends.
 *
 *     avroc-producer TOPIC PARTITION SCHEMA_ID SCHEMA_FILE
 *
 * Each line of stdin is {"key": text, "event": an event in Avro's JSON encoding}. The brokers are
 * those of PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS. Any failure ends it with 1 and a line on stderr.
 */
#include <avro.h>
#include <endian.h>
#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VALUE_MOST = 1 << 20, HEADER = 5, FLUSH_MS = 30000 };

static int failures;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "avroc-producer: %s: %s\n", what, why);
    _exit(1); /* what is allocated is of no interest now */
}

static void check(int status, const char *what)
{
    if (status != 0)
        fail(what, avro_strerror());
}

/* --- Avro's JSON encoding to avro-c's generic values ----------------------------------------- */

static void fill(avro_value_t *value, const json_t *json);

static const char *short_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL ? dot + 1 : name;
}

/* null, or an object whose one key names the branch. */
static void fill_union(avro_value_t *value, const json_t *json)
{
    avro_schema_t schema = avro_value_get_schema(value);
    const char *wanted = "null";
    const json_t *content = json;
    if (!json_is_null(json)) {
        void *entry = json_object_iter((json_t *)json);
        if (entry == NULL)
            fail("a value of a union is no object with a key", json_dumps(json, JSON_ENCODE_ANY));
        wanted = short_name(json_object_iter_key(entry));
        content = json_object_iter_value(entry);
    }
    for (size_t i = 0; i < avro_schema_union_size(schema); i++) {
        avro_schema_t branch = avro_schema_union_branch(schema, (int)i);
        avro_value_t chosen;
        if (strcmp(short_name(avro_schema_type_name(branch)), wanted) != 0)
            continue;
        check(avro_value_set_branch(value, (int)i, &chosen), "set_branch");
        fill(&chosen, content);
        return;
    }
    fail("a union has no such branch", wanted);
}

static void fill_record(avro_value_t *value, const json_t *json)
{
    size_t count;
    check(avro_value_get_size(value, &count), "get_size");
    for (size_t i = 0; i < count; i++) {
        avro_value_t field;
        const char *name;
        check(avro_value_get_by_index(value, i, &field, &name), "get_by_index");
        const json_t *content = json_object_get(json, name);
        if (content == NULL)
            fail("the event lacks the field", name);
        fill(&field, content);
    }
}

static void fill_items(avro_value_t *value, const json_t *json)
{
    avro_value_t item;
    if (avro_value_get_type(value) == AVRO_ARRAY) {
        for (size_t i = 0; i < json_array_size(json); i++) {
            check(avro_value_append(value, &item, NULL), "append");
            fill(&item, json_array_get(json, i));
        }
        return;
    }
    const char *key;
    json_t *content;
    json_object_foreach((json_t *)json, key, content)
    {
        check(avro_value_add(value, key, &item, NULL, NULL), "add");
        fill(&item, content);
    }
}

/* Bytes are the code points 0 to 255 of a text. */
static size_t bytes_of(const json_t *json, char *out, size_t most)
{
    const unsigned char *text = (const unsigned char *)json_string_value(json);
    const size_t size = json_string_length(json);
    size_t length = 0;
    for (size_t i = 0; i < size && length < most; i++) {
        if (text[i] >= 0xc0 && i + 1 < size) {
            out[length++] = (char)((text[i] & 3) << 6 | (text[i + 1] & 63));
            i++;
        } else {
            out[length++] = (char)text[i];
        }
    }
    return length;
}

static void fill(avro_value_t *value, const json_t *json)
{
    char raw[4096];
    int symbol;
    switch (avro_value_get_type(value)) {
    case AVRO_NULL:
        check(avro_value_set_null(value), "set_null");
        return;
    case AVRO_BOOLEAN:
        check(avro_value_set_boolean(value, json_is_true(json)), "set_boolean");
        return;
    case AVRO_INT32:
        check(avro_value_set_int(value, (int32_t)json_integer_value(json)), "set_int");
        return;
    case AVRO_INT64:
        check(avro_value_set_long(value, json_integer_value(json)), "set_long");
        return;
    case AVRO_FLOAT:
        check(avro_value_set_float(value, (float)json_number_value(json)), "set_float");
        return;
    case AVRO_DOUBLE:
        check(avro_value_set_double(value, json_number_value(json)), "set_double");
        return;
    case AVRO_STRING:
        check(avro_value_set_string(value, json_string_value(json)), "set_string");
        return;
    case AVRO_BYTES:
        check(avro_value_set_bytes(value, raw, bytes_of(json, raw, sizeof raw)), "set_bytes");
        return;
    case AVRO_FIXED:
        check(avro_value_set_fixed(value, raw, bytes_of(json, raw, sizeof raw)), "set_fixed");
        return;
    case AVRO_ENUM:
        symbol =
            avro_schema_enum_get_by_name(avro_value_get_schema(value), json_string_value(json));
        if (symbol < 0)
            fail("the enum lacks the symbol", json_string_value(json));
        check(avro_value_set_enum(value, symbol), "set_enum");
        return;
    case AVRO_RECORD:
        fill_record(value, json);
        return;
    case AVRO_ARRAY:
    case AVRO_MAP:
        fill_items(value, json);
        return;
    case AVRO_UNION:
        fill_union(value, json);
        return;
    default:
        fail("a type that is not handled", json_dumps(json, JSON_ENCODE_ANY));
    }
}

/* --- Kafka ----------------------------------------------------------------------------------- */

static void on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
    (void)kafka;
    (void)opaque;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    fprintf(stderr, "avroc-producer: not delivered: %s\n", rd_kafka_err2str(message->err));
    failures++;
}

static rd_kafka_t *open_producer(void)
{
    char why[512];
    const char *servers = getenv("PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "bootstrap.servers", servers != NULL ? servers : "", why,
                          sizeof why) != RD_KAFKA_CONF_OK)
        fail("bootstrap.servers", why);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (kafka == NULL)
        fail("cannot make a producer", why);
    return kafka;
}

static size_t encode(avro_value_t *value, uint32_t schema_id, char *out)
{
    uint32_t id = htobe32(schema_id);
    out[0] = 0;
    memcpy(out + 1, &id, sizeof id);
    avro_writer_t writer = avro_writer_memory(out + HEADER, VALUE_MOST - HEADER);
    check(avro_value_write(writer, value), "write");
    size_t length = HEADER + (size_t)avro_writer_tell(writer);
    avro_writer_free(writer);
    return length;
}

static void send_line(rd_kafka_t *kafka, char **arguments, avro_value_t *value, const char *line)
{
    static char encoded[VALUE_MOST];
    json_error_t error;
    json_t *json = json_loads(line, JSON_ALLOW_NUL, &error);
    const char *key = json_string_value(json_object_get(json, "key"));
    if (key == NULL)
        fail("a line is not understood", json == NULL ? error.text : line);
    avro_value_reset(value);
    fill(value, json_object_get(json, "event"));
    size_t length = encode(value, (uint32_t)strtoul(arguments[3], NULL, 10), encoded);
    rd_kafka_resp_err_t code =
        rd_kafka_producev(kafka, RD_KAFKA_V_TOPIC(arguments[1]),
                          RD_KAFKA_V_PARTITION((int32_t)strtol(arguments[2], NULL, 10)),
                          RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(encoded, length),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("cannot send", rd_kafka_err2str(code));
    json_decref(json);
}

static avro_schema_t read_schema(const char *path)
{
    static char text[VALUE_MOST];
    avro_schema_t schema;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail("cannot open the schema", path);
    size_t length = fread(text, 1, sizeof text, file);
    fclose(file);
    check(avro_schema_from_json_length(text, length, &schema), "the schema");
    return schema;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        fail("usage", "avroc-producer TOPIC PARTITION SCHEMA_ID SCHEMA_FILE < EVENTS");
    avro_schema_t schema = read_schema(argv[4]);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_value_t value;
    if (class == NULL)
        fail("the schema", avro_strerror());
    check(avro_generic_value_new(class, &value), "value_new");
    rd_kafka_t *kafka = open_producer();

    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0)
        send_line(kafka, argv, &value, line);
    free(line);

    if (rd_kafka_flush(kafka, FLUSH_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        fail("flush", "the broker has not taken everything in time");
    rd_kafka_destroy(kafka);
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    return failures == 0 ? 0 : 1;
}
