/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist publish: events written by hand, for a first try and for tests. */
#include "avro/json_encode.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/deployment.h"
#include "cli/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES_MOST = 4 << 20 };

struct settings {
    struct pj_cli_servers servers;
    const char *key;
};

/* Where events come from, and what is done with them. */
struct publishing {
    const struct settings *settings;
    const char *file; /* for messages */
    FILE *in;
    const struct pj_topic *topic;
    struct pj_cli_writer writer;
    long long line;
    long long published;
};

static int unknown_topic(const char *name, struct pj_error *error)
{
    struct pj_builder topics = {0};
    for (size_t s = 0; pj_cli_systems[s] != NULL; s++) {
        for (size_t t = 0; t < pj_cli_systems[s]->topic_count; t++) {
            const struct pj_topic *topic = &pj_cli_systems[s]->topics[t];
            if (topic->schema != NULL)
                pj_builder_add(&topics, "%s%s", topics.length > 0 ? ", " : "", topic->name);
        }
    }
    char *all = pj_builder_take(&topics);
    pj_error_fatal(error, PJ_EXIT_USAGE,
                   "this program has no schema of a topic '%.100s'; it has those of %.500s", name,
                   all);
    free(all);
    return -1;
}

/* --- one event ------------------------------------------------------------------------------- */

/* The text of a member, or its JSON. */
static int find_key(const struct publishing *publishing, const json_t *event, char **key,
                    struct pj_error *error)
{
    const char *field = publishing->settings->key;
    const json_t *member = field != NULL ? json_object_get(event, field) : NULL;
    *key = NULL;
    if (field == NULL)
        return 0;
    if (member == NULL || json_is_null(member))
        return pj_error_set(error, PJ_FATAL, "the event has no %.100s, which is to be its key",
                            field);
    *key = json_is_string(member) ? pj_strdup(json_string_value(member))
                                  : pj_must(json_dumps(member, JSON_ENCODE_ANY | JSON_COMPACT));
    return 0;
}

static int send_event(const struct publishing *publishing, const json_t *event,
                      struct pj_error *error)
{
    struct pj_builder value = {0};
    char *key;
    int status = pj_json_encode_record(publishing->writer.schema, publishing->writer.schema_id,
                                       event, &value, error);
    if (status == 0)
        status = find_key(publishing, event, &key, error);
    size_t length = value.length;
    char *bytes = pj_builder_take(&value);
    if (status == 0) {
        const struct pj_producer_message message = {
            .topic = publishing->writer.topic,
            .partition = -1,
            .key = {key, key != NULL ? strlen(key) : 0},
            .value = {bytes, length},
        };
        status = pj_producer_send(publishing->writer.producer, &message, error);
        free(key);
    }
    free(bytes);
    return status;
}

static int publish_line(struct publishing *publishing, const char *line, struct pj_error *error)
{
    json_error_t reason;
    json_t *event = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &reason);
    if (event == NULL)
        return pj_error_set(error, PJ_FATAL, "it is not JSON: %s", reason.text);
    int status = send_event(publishing, event, error);
    json_decref(event);
    return status;
}

/* --- all of them ----------------------------------------------------------------------------- */

/* With its end, which is a NUL too; how long it is, 0 where there is none. */
static size_t read_line(FILE *in, char *line)
{
    size_t length = 0;
    for (int c = 0; c != '\n' && length <= LINE_BYTES_MOST && (c = getc(in)) != EOF;)
        line[length++] = (char)c;
    line[length] = '\0';
    return length;
}

static int publish_lines(struct publishing *publishing, char *line, struct pj_error *error)
{
    for (size_t length; (length = read_line(publishing->in, line)) > 0;) {
        publishing->line++;
        if (memchr(line, '\0', length) != NULL)
            return pj_error_set(error, PJ_FATAL, "it has a NUL byte, which JSON does not allow");
        if (line[strspn(line, " \t\r\n")] == '\0')
            continue;
        if (length > LINE_BYTES_MOST && line[LINE_BYTES_MOST] != '\n')
            return pj_error_set(error, PJ_FATAL, "it is longer than %d MiB", LINE_BYTES_MOST >> 20);
        if (publish_line(publishing, line, error) != 0)
            return -1;
        publishing->published++;
    }
    return ferror(publishing->in)
               ? pj_error_set(error, PJ_FATAL, "cannot be read further: %s", strerror(errno))
               : 0;
}

/* What was sent before a line that is wrong is published all the same. */
static int publish_all(struct publishing *publishing, struct pj_error *error)
{
    char *line = pj_alloc(LINE_BYTES_MOST + 2);
    struct pj_error wrong;
    int status = publish_lines(publishing, line, &wrong);
    free(line);
    if (pj_producer_flush(publishing->writer.producer, publishing->settings->servers.timeout_ms,
                          error) != 0)
        return -1;
    printf("%s: %lld event%s published\n", publishing->topic->name, publishing->published,
           publishing->published == 1 ? "" : "s");
    if (status == 0)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_FAILED, "%s:%lld: %.600s", publishing->file,
                          publishing->line, wrong.message);
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct pj_config *config = cli->config;
    char name[PJ_TOPIC_NAME_SIZE];
    struct publishing publishing = {.settings = opaque, .file = "standard input", .in = stdin};
    if (config->operand_count < 1 || config->operand_count > 2)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "a topic is expected, and at most one file");
    publishing.topic = pj_cli_topic_find(config->operands[0]);
    if (publishing.topic == NULL || publishing.topic->schema == NULL)
        return unknown_topic(config->operands[0], error);
    if (config->operand_count == 2 && strcmp(config->operands[1], "-") != 0) {
        publishing.file = config->operands[1];
        publishing.in = fopen(publishing.file, "re");
        if (publishing.in == NULL)
            return pj_error_fatal(error, PJ_EXIT_USAGE, "%.300s cannot be opened: %s",
                                  publishing.file, strerror(errno));
    }
    int status =
        pj_cli_writer_open(&publishing.writer, cli,
                           pj_topic_name(name, cli->servers->topic_prefix, publishing.topic->name),
                           NULL, publishing.topic->schema, error);
    if (status == 0)
        status = publish_all(&publishing, error);
    pj_cli_writer_close(&publishing.writer);
    if (publishing.in != stdin)
        fclose(publishing.in);
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_REGISTRY_OPTIONS,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    PJ_CLI_TEXT_OPTION(struct settings, key, "key", 'k', "FIELD",
                       "The field whose value is the record's key, which says the partition. "
                       "Without it records have none, and go to any."),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_publish = {
    .name = "publish",
    .summary = "publish events from lines of JSON",
    .description =
        "  Publishes each line of FILE, or of standard input, as an event of the topic:\n"
        "  JSON, encoded by the schema that is built into the program, under the id that\n"
        "  the registry gives it. For a first try and for tests.\n"
        "\n"
        "  A field that is left out is null or has its default. {\"BRANCH\": value} names\n"
        "  the branch of a union where it must be named: of several records. A timestamp\n"
        "  is a number in its unit, or like 2026-11-21T05:06:34Z. A line that does not\n"
        "  fit the schema ends it; those before it are published.\n",
    .examples = "  projectionist publish TOPIC events.jsonl\n"
                "  projectionist publish TOPIC --key FIELD <events.jsonl\n",
    .operands = "TOPIC [FILE]",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
