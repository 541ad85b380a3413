/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist dead-letters show: all that is known about one letter. */
#include "avro/decode.h"
#include "base/json_numbers.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "cli/dead_letters.h"

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
    const struct pj_result *letter;
    struct pj_arena *arena;
    uint8_t *value;
    size_t value_length;
    json_t *decoded; /* NULL: it could not be, for this reason: */
    struct pj_error reason;
};

/* --- bytes ----------------------------------------------------------------------------------- */

/* Of the hex that Postgres gave. */
static uint8_t *unhex(struct pj_arena *arena, const char *hex, size_t *length)
{
    *length = strlen(hex) / 2;
    uint8_t *bytes = pj_arena_alloc(arena, *length + 1);
    for (size_t i = 0; i < *length; i++)
        bytes[i] = (uint8_t)(pj_hex_digit(hex[2 * i]) << 4 | pj_hex_digit(hex[2 * i + 1]));
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

/* The schema's text, to be freed: from Postgres, where the consumers keep them, else from the
 * registry. */
static int find_schema(struct pj_cli *cli, const char *id, char **schema, struct pj_error *error)
{
    const char *url = cli->servers->registry.url;
    const struct pj_result *result;
    if (pj_cli_query(cli,
                     "SELECT DISTINCT schema FROM projectionist.schemas WHERE schema_id = "
                     "$1::int AND ($2::text IS NULL OR registry = $2)",
                     PJ_TEXTS(id, url), &result, error) != 0)
        return -1;
    if (pj_result_rows(result) == 1) {
        *schema = pj_strdup(pj_cli_text(result, 0, 0));
        return 0;
    }
    if (url == NULL)
        return pj_error_set(error, PJ_POISON,
                            "schema id %s is not kept in Postgres, and no schema registry is named",
                            id);
    return pj_cli_registry(cli, error) != 0 ||
                   pj_registry_schema(cli->registry, (int32_t)strtol(id, NULL, 10), schema,
                                      error) != 0
               ? -1
               : 0;
}

static int decode(struct shown *shown, struct pj_cli *cli)
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
    if (find_schema(cli, id, &schema, error) != 0)
        return -1;
    int status = pj_avro_to_json(schema, shown->value + HEADER, shown->value_length - HEADER,
                                 shown->arena, &text, &length, error);
    free(schema);
    if (status != 0)
        return -1;
    shown->decoded = pj_json_load(text, length, PJ_LONG_AS_TEXT, JSON_ALLOW_NUL);
    if (shown->decoded == NULL)
        return pj_error_set(error, PJ_POISON, "it does not decode to JSON");
    return 0;
}

/* --- printing -------------------------------------------------------------------------------- */

/* A control character in a text of the record must not reach the terminal. */
static void print_decoded(const json_t *decoded)
{
    const size_t flags = JSON_INDENT(2) | PJ_JSON_DIGITS | JSON_ENCODE_ANY;
    char *text = pj_must(json_dumps(decoded, flags));
    bool plain = true;
    for (const char *c = text; plain && *c != '\0'; c++)
        plain = pj_utf8_control(c) < 0x7f;
    if (plain)
        fputs(text, stdout);
    else
        json_dumpf(decoded, stdout, flags | JSON_ENSURE_ASCII);
    putchar('\n');
    free(text);
}

static void print_line(const char *name, const char *text)
{
    if (text != NULL)
        printf("%-12s %s\n", name, text);
}

static void print_headers(struct pj_arena *arena, const char *text)
{
    json_t *headers = text != NULL ? json_loads(text, 0, NULL) : NULL;
    size_t i;
    json_t *header;
    json_array_foreach(headers, i, header)
    {
        const json_t *bytes = json_object_get(header, "hex");
        const char *hex = json_string_value(bytes);
        const char *value = hex != NULL ? as_text(arena, hex) : NULL;
        char *name =
            json_dumps(json_object_get(header, "name"), JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        printf("%-12s %s = %s%s\n", "header", name != NULL ? name : "?",
               value != NULL || json_is_null(bytes) ? "" : "0x",
               value != NULL ? value
               : hex != NULL ? hex
                             : "(null)");
        free(name);
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
    print_headers(shown->arena, pj_result_value(letter, 0, HEADERS, NULL));
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

static void print_json(const struct shown *shown)
{
    const struct pj_result *letter = shown->letter;
    const char *key = pj_result_value(letter, 0, KEY, NULL);
    const char *key_text = key != NULL ? as_text(shown->arena, key) : NULL;
    const char *headers = pj_result_value(letter, 0, HEADERS, NULL);
    json_t *document = pj_cli_row_json(
        letter, 0,
        "cluster_id group projection topic #partition #offset ?timestamp ?key_hex ?value_hex "
        "headers #schema_id error_class ?sqlstate reason failed_at status ?resolved_at");
    json_t *others = json_pack(
        "{s:I, s:s?, s:o, s:o, s:s?}", "id", (json_int_t)strtoll(shown->id, NULL, 10), "key",
        key_text, "headers", headers != NULL ? json_loads(headers, 0, NULL) : json_array(), "value",
        shown->decoded != NULL ? json_incref(shown->decoded) : json_null(), "not_decoded",
        shown->decoded == NULL ? shown->reason.message : NULL);
    json_object_update(document, others);
    json_decref(others);
    pj_cli_print_json(document);
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    int64_t id;
    if (cli->config->operand_count != 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "one ID is expected; 'projectionist dead-letters list' shows them");
    struct shown shown = {.id = cli->config->operands[0], .arena = cli->arena};
    if (pj_parse_integer("the id of a dead letter", shown.id, 1, INT64_MAX, &id, error) != 0 ||
        pj_cli_postgres(cli, error) != 0 ||
        pj_cli_query(cli, letter_sql, 1, &shown.id, &shown.letter, error) != 0)
        return -1;
    if (pj_result_rows(shown.letter) == 0)
        return pj_error_set(error, PJ_FATAL,
                            "there is no dead letter %s; 'projectionist dead-letters list "
                            "--status all' lists them",
                            shown.id);
    const char *hex = pj_result_value(shown.letter, 0, VALUE, NULL);
    if (hex != NULL)
        shown.value = unhex(cli->arena, hex, &shown.value_length);
    /* That it cannot be decoded is no failure: the reason is shown, with the bytes. */
    if (decode(&shown, cli) != 0)
        shown.decoded = NULL;
    if (settings->json)
        print_json(&shown);
    else
        print_text(&shown);
    json_decref(shown.decoded);
    return PJ_EXIT_OK;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTION,
    PJ_CLI_REGISTRY_OPTIONS,
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_dead_letters_show = {
    .name = "dead-letters show",
    .summary = "show all of a dead letter",
    .description = "  Shows the record as it was, and why it could not be applied. The value is\n"
                   "  decoded with the schema it was written with, from projectionist.schemas or\n"
                   "  else the registry; where that fails, the reason and the bytes are shown.\n",
    .examples = "  projectionist dead-letters show 17\n"
                "  projectionist dead-letters show 17 --json | jq .value\n",
    .operands = "ID",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
