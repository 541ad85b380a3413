/* SPDX-License-Identifier: Apache-2.0 */
/* stream-record: topics into files. Options, help and the last line. */
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "base/topic_name.h"
#include "common/recorded_files.h"
#include "common/tool.h"
#include "stream-record/against.h"
#include "stream-record/inspect.h"
#include "stream-record/stream_record.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct pj_record_settings run;
    bool info;
    bool check;
    bool against;
    bool json;
    bool verbose;
};

#define AT(field) offsetof(struct settings, field)

static const struct pj_option options[] = {
    PJ_OPTION(STRING, "output", AT(run.folder), NULL, "DIR",
              "The folder of the files; it is created where its parent exists. A recording that is "
              "there already is continued.",
              .letter = 'o', .filled = true),
    PJ_OPTION(
        STRING, "from", AT(run.from), "earliest", "FROM",
        "Where to begin in partitions that are not in the folder yet: earliest, an offset, or "
        "a time such as 2026-11-21T05:06:34Z."),
    PJ_OPTION(STRING, "to", AT(run.to), "end", "TO",
              "Where to end, without what is there: an offset, a time, or the end that the topic "
              "has at the start."),
    PJ_OPTION(BOOL, "follow", AT(run.follow), NULL, NULL,
              "Keep recording until a signal comes, partitions that are added meanwhile, too.",
              .letter = 'f'),
    PJ_OPTION(SIZE, "file-size", AT(run.file_bytes), "256MiB", "SIZE",
              "Start a new file after this much of keys, values and headers, before compression.",
              .least = 1024, .most = INT64_C(1) << 40),
    PJ_OPTION(STRING, "drop", AT(run.drop), NULL, "FIELDS",
              "Empty these fields of the values, which hold personal data: [TOPIC:]PATH, several "
              "with commas, such as requester.email; @key and @headers.NAME are the record's. They "
              "become null, or else an empty text, 0 or no items. Put a ? after it where a schema "
              "may lack the field.",
              .filled = true),
    PJ_OPTION(STRING, "hash", AT(run.hash), NULL, "FIELDS",
              "Replace text in these fields by a keyed hash: equal text by equal hashes, a UUID by "
              "a UUID.",
              .filled = true),
    PJ_OPTION(SECRET, "hash-key", AT(run.hash_key), NULL, "SECRET", "The key of --hash."),
    PJ_OPTION(BOOL, "info", AT(info), NULL, NULL,
              "Print what files or folders hold, by their heads and tails; needs no server."),
    PJ_OPTION(BOOL, "check", AT(check), NULL, NULL,
              "Read files or folders whole, and compare every record with what the tails say; "
              "needs no server."),
    PJ_OPTION(BOOL, "against-topic", AT(against), NULL, NULL,
              "With --check: read the topics between the recorded offsets, too, and compare number "
              "and checksum of their records; needs Kafka."),
    PJ_TOPIC_PREFIX_OPTION(AT(run.topic_prefix)),
    PJ_REGISTRY_OPTIONS(
        AT(run.registry),
        "The schema registry's Confluent API, where the schemas of keys and values are. "
        "Leave it out for topics without."),
    PJ_OPTION(DURATION, "timeout", AT(run.timeout_ms), "30s", "TIME",
              "Fail when a server has not answered, or has given nothing, for this long.",
              .least = 1000, .most = 24 * 3600 * 1000),
    PJ_OPTION(BOOL, "json", AT(json), NULL, NULL, "Print the result as JSON."),
    PJ_OPTION(BOOL, "verbose", AT(verbose), NULL, NULL, "Log more.", .letter = 'v'),
    {0},
};

static void print_help(void)
{
    fputs("usage: stream-record [OPTION]... --output DIR TOPIC[:PARTITIONS][@FROM[..TO]]...\n"
          "\n"
          "NAME\n"
          "  stream-record - record Kafka topics into files\n"
          "\n"
          "DESCRIPTION\n"
          "  Writes what is committed in topics, up to the ends that they have at the start\n"
          "  or on and on (--follow), into files for stream-replay: each record's key,\n"
          "  value, headers, offset, timestamp and the timestamp's type, the schemas that\n"
          "  keys and values use, the topic's id and configuration. It joins no group and\n"
          "  commits no offsets.\n"
          "\n"
          "  The files are Avro object containers (schemas/recording.avsc, zstandard) that\n"
          "  any Avro library reads. Each partition has its own, TOPIC-PARTITION-NUMBER.avro\n"
          "  and from the second on where the former has --file-size. A file that is not\n"
          "  whole ends in .partial; whatever ends stream-record, the same command goes on\n"
          "  after what is whole.\n"
          "\n"
          "  Offsets without a record are gaps, which the files name by cause: aborted (with\n"
          "  the markers of transactions), compacted (a compacted topic, where clients see\n"
          "  no markers either), removed (deleted before they were recorded).\n"
          "\n"
          "  With --info or --check, files or folders of recordings are given instead of\n"
          "  topics; with --against-topic they are compared with what the topics have now.\n"
          "\n"
          "  The first SIGINT or SIGTERM finishes the files at hand; the second exits at\n"
          "  once.\n"
          "\n"
          "OPTIONS\n",
          stdout);
    pj_config_print_options(stdout, options, PJ_HELP_WIDTH);
    fputs("\n"
          "  To record, Kafka's address, PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS, is required.\n"
          "\n"
          "EXIT STATUS\n"
          "  0  all is recorded; with --follow: stopped by a signal\n"
          "  1  failed, or a signal came first: a file is damaged, the disk is full, a topic\n"
          "     is missing\n"
          "  2  a flag, variable or file setting is wrong; nothing was done\n"
          "  4  the folder has a recording of another topic of this name, which was recreated\n"
          "  5  another stream-record writes to the folder\n"
          "  7  a server could not be reached, or gave nothing, in time\n"
          "\n"
          "EXAMPLES\n"
          "  stream-record --output recordings safari.commands safari.telemetry safari.sessions\n"
          "  stream-record --output recordings --follow safari.telemetry:0-3\n"
          "  stream-record --output day \\\n"
          "    safari.telemetry@2026-11-21T00:00:00Z..2026-11-22T00:00:00Z\n"
          "  stream-record --check recordings\n"
          "  stream-record --check --against-topic recordings\n",
          stdout);
}

/* --- the result ------------------------------------------------------------------------------ */

static void print_json(const struct pj_record_result *result, const struct pj_error *failure)
{
    json_t *object = pj_must(json_pack(
        "{s:I, s:I, s:I, s:{s:I, s:I, s:I}, s:I, s:I, s:f, s:b, s:s?}", "records",
        (json_int_t)result->records, "files", (json_int_t)result->files, "partitions",
        (json_int_t)result->partitions, "gaps", "aborted", (json_int_t)result->gaps[PJ_GAP_ABORTED],
        "compacted", (json_int_t)result->gaps[PJ_GAP_COMPACTED], "removed",
        (json_int_t)result->gaps[PJ_GAP_REMOVED], "unknown_schemas",
        (json_int_t)result->unknown_schemas, "unknown_key_schemas",
        (json_int_t)result->unknown_key_schemas, "seconds", result->seconds, "interrupted",
        result->interrupted ? 1 : 0, "error", failure != NULL ? failure->message : NULL));
    json_dumpf(object, stdout, JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(object);
}

static void print_line(const struct pj_record_result *result)
{
    printf("recorded %lld record%s of %lld partition%s into %lld file%s in %.2f s\n",
           (long long)result->records, result->records == 1 ? "" : "s",
           (long long)result->partitions, result->partitions == 1 ? "" : "s",
           (long long)result->files, result->files == 1 ? "" : "s", result->seconds);
}

static int report(const struct settings *settings, int status,
                  const struct pj_record_result *result, const struct pj_error *error)
{
    if (settings->json)
        print_json(result, status != 0 ? error : NULL);
    else if (status == 0)
        print_line(result);
    fflush(stdout);
    if (result->unknown_schemas > 0)
        fprintf(stderr,
                "stream-record: %lld values look as if they had a schema id, but %s: a replay "
                "publishes them as they are\n",
                (long long)result->unknown_schemas,
                settings->run.registry.url != NULL ? "the registry has none of that id"
                                                   : "no --schema-registry-url is given");
    if (result->unknown_key_schemas > 0)
        fprintf(stderr,
                "stream-record: %lld keys look as if they had a schema id, but %s: a replay "
                "publishes them as they are\n",
                (long long)result->unknown_key_schemas,
                settings->run.registry.url != NULL
                    ? "the registry has none of that id, or no subject TOPIC-key in Avro"
                    : "no --schema-registry-url is given");
    if (status != 0)
        fprintf(stderr, "stream-record: %s\n", error->message);
    else if (result->interrupted)
        fputs("stream-record: stopped by a signal before the end; the same command goes on\n",
              stderr);
    if (status != 0)
        return pj_error_exit_code(error);
    return result->interrupted ? PJ_EXIT_FAILED : PJ_EXIT_OK;
}

/* --- what is to be done ---------------------------------------------------------------------- */

static int record(struct settings *settings, const struct pj_config *config)
{
    struct pj_error error = {.class = PJ_FATAL};
    struct pj_record_result result = {0};
    struct pj_record_settings *run = &settings->run;
    int status = -1;
    run->topics = config->operands;
    run->topic_count = (size_t)config->operand_count;
    run->kafka = &config->kafka;
    run->stop = &pj_tool_stop;
    if (run->topic_count == 0)
        pj_error_fatal(&error, PJ_EXIT_USAGE, "no topic is given; see 'stream-record --help'");
    else if (run->folder == NULL)
        pj_error_fatal(&error, PJ_EXIT_USAGE, "--output DIR is required: where the files go");
    else if (pj_tool_check(options, settings, config, run->topic_prefix, &error) == 0)
        status = pj_record_run(run, &result, &error);
    return report(settings, status, &result, &error);
}

static int compare(const struct settings *settings, const struct pj_config *config,
                   const struct pj_inspection *inspection, struct pj_error *error)
{
    const struct pj_against_settings against = {.kafka = &config->kafka,
                                                .topic_prefix = settings->run.topic_prefix,
                                                .timeout_ms = settings->run.timeout_ms,
                                                .stop = &pj_tool_stop};
    if (!settings->check)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "--against-topic goes with --check");
    if (pj_tool_check(options, settings, config, settings->run.topic_prefix, error) != 0)
        return -1;
    return pj_against_topics(inspection, &against, error);
}

static int inspect(const struct settings *settings, const struct pj_config *config)
{
    struct pj_error error = {.class = PJ_FATAL};
    struct pj_inspection inspection = {0};
    char **paths = NULL;
    size_t count = 0;
    int status = -1;
    if (config->operand_count == 0)
        pj_error_fatal(&error, PJ_EXIT_USAGE, "no recording is given: %s takes files or folders",
                       settings->check ? "--check" : "--info");
    else if (pj_recorded_files_expand(&paths, &count, config->operands,
                                      (size_t)config->operand_count, &error) == 0)
        status = pj_inspect(paths, count, settings->check, &pj_tool_stop, &inspection, &error);
    if (status == 0 && settings->against)
        status = compare(settings, config, &inspection, &error);
    if (status == 0)
        pj_inspection_print(&inspection, settings->json);
    else
        fprintf(stderr, "stream-record: %s\n", error.message);
    pj_inspection_free(&inspection);
    pj_recorded_files_free_paths(paths, count);
    return status == 0 ? PJ_EXIT_OK : pj_error_exit_code(&error);
}

static int run(void *context, const struct pj_config *config)
{
    struct settings *settings = context;
    return settings->info || settings->check || settings->against ? inspect(settings, config)
                                                                  : record(settings, config);
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    const struct pj_tool tool = {
        .name = "stream-record",
        .options = options,
        .settings = &settings,
        .verbose = &settings.verbose,
        .quiet = PJ_WARN,
        .loud = PJ_DEBUG,
        .print_help = print_help,
        .run = run,
    };
    return pj_tool_main(&tool, argc, argv);
}
