/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist dead-letters show: all that is known of one letter. */
#include "avro/decode.h"
#include "base/json_numbers.h"
#include "cli/dead_letters.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct pj_cli_servers servers;
    bool json;
};

static const char letter_sql[] =
    "SELECT cluster_id, consumer_group, projection, topic, partition, record_offset, "
    "to_char(record_timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), "
    "encode(key, 'hex'), encode(value, 'hex'), headers, schema_id, error_class, sqlstate, message, "
    "to_char(failed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), status, "
    "to_char(resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') "
    "FROM projectionist.dead_letters WHERE id = $1::bigint";
enum {
    CLUSTER,
    GROUP,
    PROJECTION,
    TOPIC,
    PARTITION,
    OFFSET,
    TIMESTAMP,
    KEY,
    VALUE,
    HEADERS,
    SCHEMA_ID,
    CLASS,
    SQLSTATE,
    MESSAGE,
    FAILED_AT,
    STATUS,
    RESOLVED_AT,
};

struct shown {
    const char *id;
    struct pj_result *letter;
    struct pj_arena *arena;
    uint8_t *value;
    size_t value_length;
    json_t *decoded; /* NULL: it could not be, for this reason: */
    struct pj_error reason;
};

/* --- bytes ----------------------------------------------------------------------------------- */

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* Of the hex that Postgres gave. */
static uint8_t *unhex(struct pj_arena *arena, const char *hex, size_t *length)
{
    *length = strlen(hex) / 2;
    uint8_t *bytes = pj_arena_alloc(arena, *length + 1);
    for (size_t i = 0; i < *length; i++)
        bytes[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return bytes;
}

/* A key as text, where it is one that can be printed; otherwise NULL. */
static const char *as_text(struct pj_arena *arena, const char *hex)
{
    size_t length;
    const uint8_t *bytes = unhex(arena, hex, &length);
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] < 0x20 || bytes[i] > 0x7e)
            return NULL;
    }
    return (const char *)bytes;
}

static void hex_dump(const uint8_t *bytes, size_t length)
{
    enum { WIDTH = 16 };
    for (size_t at = 0; at < length; at += WIDTH) {
        size_t count = length - at < WIDTH ? length - at : WIDTH;
        printf("  %08zx ", at);
        for (size_t i = 0; i < WIDTH; i++) {
            const char *gap = i == WIDTH / 2 ? "  " : " ";
            if (i < count)
                printf("%s%02x", gap, bytes[at + i]);
            else
                printf("%s  ", gap);
        }
        fputs("  |", stdout);
        for (size_t i = 0; i < count; i++)
            putchar(bytes[at + i] >= 0x20 && bytes[at + i] <= 0x7e ? bytes[at + i] : '.');
        puts("|");
    }
}

/* --- decoding -------------------------------------------------------------------------------- */

/* The schema's text, malloc'ed: from Postgres, where the consumers keep them, else from the
 * registry. */
static int find_schema(struct pj_postgres *postgres, const struct settings *settings,
                       const char *id, char **schema, struct pj_error *error)
{
    const char *url = settings->servers.registry.url;
    const char *parameters[] = {id, url};
    struct pj_result *result;
    struct pj_registry *registry;
    if (pj_postgres_query(postgres,
                          "SELECT DISTINCT schema FROM projectionist.schemas WHERE schema_id = "
                          "$1::int AND ($2::text IS NULL OR registry = $2)",
                          2, parameters, &result, error) != 0)
        return -1;
    *schema = pj_result_rows(result) == 1 ? strdup(pj_cli_text(result, 0, 0)) : NULL;
    pj_result_free(result);
    if (*schema != NULL)
        return 0;
    if (url == NULL)
        return pj_error_set(error, PJ_POISON,
                            "schema id %s is not kept in Postgres, and no schema registry is named",
                            id);
    if (pj_cli_registry(&registry, &settings->servers, error) != 0)
        return -1;
    int status = pj_registry_schema(registry, (int32_t)strtol(id, NULL, 10), schema, error);
    pj_registry_close(registry);
    return status;
}

static int decode(struct shown *shown, struct pj_postgres *postgres,
                  const struct settings *settings)
{
    enum { HEADER = 5 };
    struct pj_error *error = &shown->reason;
    const char *id = pj_result_value(shown->letter, 0, SCHEMA_ID, NULL);
    const char *text;
    size_t length;
    char *schema;
    if (id == NULL || shown->value_length < HEADER)
        return pj_error_set(error, PJ_POISON,
                            "the value is not in the wire format (byte 0, schema id, Avro)");
    if (find_schema(postgres, settings, id, &schema, error) != 0)
        return -1;
    int status = pj_avro_to_json(schema, shown->value + HEADER, shown->value_length - HEADER,
                                 shown->arena, &text, &length, error);
    free(schema);
    if (status != 0)
        return -1;
    shown->decoded = pj_json_load(text, length, PJ_LONG_AS_TEXT, JSON_ALLOW_NUL);
    if (shown->decoded == NULL)
        return pj_error_set(error, PJ_POISON, "it decodes to what is no JSON");
    return 0;
}

/* --- printing -------------------------------------------------------------------------------- */

/* A control character in a text of the record must not reach the terminal. */
static void print_decoded(const json_t *decoded)
{
    char *text = json_dumps(decoded, JSON_INDENT(2) | PJ_JSON_DIGITS | JSON_ENCODE_ANY);
    bool plain = text != NULL;
    for (const unsigned char *c = (const unsigned char *)text; plain && *c; c++)
        plain = *c != 0xc2 || c[1] < 0x80 || c[1] > 0x9f;
    if (plain)
        puts(text);
    else
        json_dumpf(decoded, stdout,
                   JSON_INDENT(2) | PJ_JSON_DIGITS | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    if (!plain)
        putchar('\n');
    free(text);
}

static void print_line(const char *name, const char *text)
{
    if (text != NULL)
        printf("%-12s %s\n", name, text);
}

static void print_headers(const char *text)
{
    json_t *headers = text != NULL ? json_loads(text, 0, NULL) : NULL;
    size_t i;
    json_t *header;
    json_array_foreach(headers, i, header)
    {
        const char *name = json_string_value(json_object_get(header, "name"));
        const json_t *bytes = json_object_get(header, "hex");
        const char *hex = json_string_value(bytes);
        struct pj_arena *arena = pj_arena_new();
        const char *value = hex != NULL ? as_text(arena, hex) : NULL;
        char *quoted =
            json_dumps(json_object_get(header, "name"), JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        printf("%-12s %s = %s%s\n", "header", name != NULL && quoted != NULL ? quoted : "?",
               value != NULL || json_is_null(bytes) ? "" : "0x",
               value != NULL ? value
               : hex != NULL ? hex
                             : "(null)");
        free(quoted);
        pj_arena_free(arena);
    }
    json_decref(headers);
}

static void print_text(const struct shown *shown)
{
    const struct pj_result *letter = shown->letter;
    const char *key = pj_result_value(letter, 0, KEY, NULL);
    const char *key_text = key != NULL ? as_text(shown->arena, key) : NULL;
    print_line("id", shown->id);
    print_line("status", pj_cli_text(letter, 0, STATUS));
    print_line("resolved", pj_result_value(letter, 0, RESOLVED_AT, NULL));
    print_line("failed", pj_cli_text(letter, 0, FAILED_AT));
    print_line("reason", pj_cli_text(letter, 0, MESSAGE));
    print_line("class", pj_cli_text(letter, 0, CLASS));
    print_line("sqlstate", pj_result_value(letter, 0, SQLSTATE, NULL));
    print_line("projection", pj_cli_text(letter, 0, PROJECTION));
    print_line("group", pj_cli_text(letter, 0, GROUP));
    printf("%-12s %s[%s]@%s\n", "record", pj_cli_text(letter, 0, TOPIC),
           pj_cli_text(letter, 0, PARTITION), pj_cli_text(letter, 0, OFFSET));
    print_line("cluster", pj_cli_text(letter, 0, CLUSTER));
    print_line("timestamp", pj_result_value(letter, 0, TIMESTAMP, NULL));
    printf("%-12s %s%s\n", "key", key != NULL && key_text == NULL ? "0x" : "",
           key == NULL        ? "(none)"
           : key_text != NULL ? key_text
                              : key);
    print_headers(pj_result_value(letter, 0, HEADERS, NULL));
    print_line("schema id", pj_result_value(letter, 0, SCHEMA_ID, NULL));
    if (pj_result_value(letter, 0, VALUE, NULL) == NULL) {
        print_line("value", "(none: a tombstone)");
        return;
    }
    printf("%-12s %zu bytes\n", "value", shown->value_length);
    if (shown->decoded != NULL) {
        print_decoded(shown->decoded);
        return;
    }
    print_line("not decoded", shown->reason.message);
    hex_dump(shown->value, shown->value_length);
}

static json_t *number(const struct pj_result *letter, int column)
{
    const char *text = pj_result_value(letter, 0, column, NULL);
    return text != NULL ? json_integer(strtoll(text, NULL, 10)) : json_null();
}

static void print_json(const struct shown *shown)
{
    const struct pj_result *letter = shown->letter;
    const char *key = pj_result_value(letter, 0, KEY, NULL);
    const char *headers = pj_result_value(letter, 0, HEADERS, NULL);
    json_t *document = json_pack(
        "{s:I, s:s, s:s?, s:s, s:s, s:s, s:s?, s:s, s:s, s:s, s:o, s:o, s:s, s:s?}", "id",
        (json_int_t)strtoll(shown->id, NULL, 10), "status", pj_cli_text(letter, 0, STATUS),
        "resolved_at", pj_result_value(letter, 0, RESOLVED_AT, NULL), "failed_at",
        pj_cli_text(letter, 0, FAILED_AT), "reason", pj_cli_text(letter, 0, MESSAGE), "error_class",
        pj_cli_text(letter, 0, CLASS), "sqlstate", pj_result_value(letter, 0, SQLSTATE, NULL),
        "projection", pj_cli_text(letter, 0, PROJECTION), "group", pj_cli_text(letter, 0, GROUP),
        "topic", pj_cli_text(letter, 0, TOPIC), "partition", number(letter, PARTITION), "offset",
        number(letter, OFFSET), "cluster_id", pj_cli_text(letter, 0, CLUSTER), "timestamp",
        pj_result_value(letter, 0, TIMESTAMP, NULL));
    json_t *record =
        json_pack("{s:s?, s:s?, s:o, s:o, s:s?, s:o, s:s?}", "key",
                  key != NULL ? as_text(shown->arena, key) : NULL, "key_hex", key, "headers",
                  headers != NULL ? json_loads(headers, 0, NULL) : json_array(), "schema_id",
                  number(letter, SCHEMA_ID), "value_hex", pj_result_value(letter, 0, VALUE, NULL),
                  "value", shown->decoded != NULL ? json_incref(shown->decoded) : json_null(),
                  "not_decoded", shown->decoded == NULL ? shown->reason.message : NULL);
    json_object_update(document, record);
    json_decref(record);
    json_dumpf(document, stdout, JSON_COMPACT | PJ_JSON_DIGITS);
    putchar('\n');
    json_decref(document);
}

static int show(struct shown *shown, struct pj_postgres *postgres, const struct settings *settings,
                struct pj_error *error)
{
    if (pj_postgres_query(postgres, letter_sql, 1, &shown->id, &shown->letter, error) != 0) {
        (void)pj_letter_no_table(error);
        return -1;
    }
    if (pj_result_rows(shown->letter) == 0)
        return pj_error_set(error, PJ_FATAL,
                            "there is no dead letter %s; 'projectionist dead-letters list "
                            "--status all' lists them",
                            shown->id);
    const char *hex = pj_result_value(shown->letter, 0, VALUE, NULL);
    if (hex != NULL)
        shown->value = unhex(shown->arena, hex, &shown->value_length);
    /* Not to be able to is no failure: the reason is shown, with the bytes. */
    if (decode(shown, postgres, settings) != 0)
        shown->decoded = NULL;
    if (settings->json)
        print_json(shown);
    else
        print_text(shown);
    return PJ_EXIT_OK;
}

static int run(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct pj_postgres *postgres = NULL;
    int64_t id;
    if (config->operand_count != 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "one ID is expected; 'projectionist dead-letters list' shows them");
    if (pj_parse_integer("the id of a dead letter", config->operands[0], 1, INT64_MAX, &id,
                         error) != 0 ||
        pj_cli_postgres(&postgres, config, &settings->servers, error) != 0)
        return -1;
    struct shown shown = {.id = config->operands[0], .arena = pj_arena_new()};
    int status = show(&shown, postgres, settings, error);
    json_decref(shown.decoded);
    pj_arena_free(shown.arena);
    pj_result_free(shown.letter);
    pj_postgres_close(postgres);
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTIONS,
    PJ_CLI_REGISTRY_OPTIONS,
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_dead_letters_show = {
    .name = "dead-letters show",
    .summary = "show a dead letter whole",
    .description =
        "  Shows the record as it was, and why it could not be applied. The value is\n"
        "  decoded by the schema that it was written with, from projectionist.schemas or\n"
        "  else the registry; where that cannot be, the reason and the bytes are shown.\n",
    .examples = "  projectionist dead-letters show 17\n"
                "  projectionist dead-letters show 17 --json | jq .value\n",
    .operands = "ID",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
