/* SPDX-License-Identifier: Apache-2.0 */
/* stream-replay: publishes recordings as they happened. Options, help and the last line. */
#include "base/memory.h"
#include "base/process.h"
#include "base/topic_name.h"
#include "common/tool.h"
#include "stream-replay/stream_replay.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC_MAP "--topic-map"

struct settings {
    struct pj_replay_settings run;
    const char *rate;
    const char *speed;
    const char *shift;
    int64_t p99_ms;
    bool json;
    bool verbose;
};

#define AT(field) offsetof(struct settings, field)

static const struct pj_option options[] = {
    PJ_OPTION(STRING, "rate", AT(rate), "max", "N",
              "Events per second over all topics, or max: as fast as the brokers take them."),
    PJ_OPTION(STRING, "speed", AT(speed), "max", "FACTOR",
              "At the recorded pace (1), or so many times as fast (0.5, 10), by the recorded "
              "timestamps: an open loop, which waits for nothing but the time. Or max."),
    PJ_OPTION(CHOICE, "shift", AT(shift), "none", "WHERE",
              "now: each record's timestamp is the time at which it is due, not the recorded one.",
              .choices = "none|now"),
    PJ_OPTION(INTEGER, "loop", AT(run.loops), "1", "N",
              "Publish everything N times; each round's timestamps continue after those of the "
              "round before.",
              .least = 1, .most = 1000000),
    PJ_OPTION(BOOL, "rekey", AT(run.rekey), NULL, NULL,
              "From the second round on, replace each UUID that keys and values have as text, the "
              "same one by the same one within a round, so that no round is a repetition."),
    PJ_OPTION(INTEGER, "threads", AT(run.threads), "1", "N",
              "Publish with this many threads; each takes some of the partitions, or files.",
              .least = 1, .most = 64),
    PJ_OPTION(STRING, "resume", AT(run.resume), NULL, "NAME",
              "Publish in transactions that also record how far it is, under this name, in the "
              "topic projectionist.replay-cursors, which it creates: after whatever interrupts it, "
              "the same command goes on "
              "without a duplicate.",
              .filled = true, .most = 100),
    PJ_OPTION(STRING, "expect", AT(run.expect), NULL, "GROUP",
              "Measure how long it takes from when a record was due until it is in the rows of "
              "this consumer group, by its offsets in Postgres, and wait for the last one.",
              .filled = true),
    PJ_OPTION(DURATION, "p99", AT(p99_ms), NULL, "TIME",
              "With --expect: fail where the 99th percentile is longer.", .least = 1,
              .most = 24 * 3600 * 1000),
    PJ_OPTION(STRING, "hdr-log", AT(run.hdr_log), NULL, "FILE",
              "Write the lateness, and with --expect the latency, of each second into this "
              "HdrHistogram log.",
              .filled = true),
    PJ_OPTION(STRING, "postgres-dsn", AT(run.postgres_dsn), NULL, "DSN",
              "With --expect: the database, as a URI or key=value text; the default is libpq's "
              "own.",
              .filled = true),
    PJ_OPTION(STRING, "topic-map", AT(run.topic_map), NULL, "OLD=NEW",
              "Publish what was recorded from the topic OLD to the topic NEW. May be given more "
              "than once, or several with commas between them."),
    PJ_TOPIC_PREFIX_OPTION(AT(run.topic_prefix)),
    PJ_OPTION(INTEGER, "limit", AT(run.limit), "0", "N",
              "Publish only the first N events; 0 for all.", .least = 0, .most = INT64_MAX),
    PJ_REGISTRY_OPTIONS(
        AT(run.registry),
        "The schema registry's Confluent API, where the recorded schemas are registered."),
    PJ_OPTION(DURATION, "timeout", AT(run.timeout_ms), "30s", "TIME",
              "Fail when a server has not answered, or has taken nothing, for this long.",
              .least = 1000, .most = 24 * 3600 * 1000),
    PJ_OPTION(BOOL, "json", AT(json), NULL, NULL, "Print the last line as a JSON object."),
    PJ_OPTION(BOOL, "verbose", AT(verbose), NULL, NULL, "Log librdkafka's messages.",
              .letter = 'v'),
    {0},
};

static void print_help(void)
{
    fputs("usage: stream-replay [OPTION]... FILE|DIR...\n"
          "\n"
          "NAME\n"
          "  stream-replay - publish recordings of Kafka topics as they happened\n"
          "\n"
          "DESCRIPTION\n"
          "  Publishes the messages of recordings (Avro object container files of\n"
          "  schemas/recording.avsc) with their keys, headers and timestamps. Several\n"
          "  files, or those of a folder, are merged by timestamp; the order within a file is\n"
          "  kept.\n"
          "\n"
          "  A message goes to its recorded partition, or where none is recorded, to the\n"
          "  one that Kafka's Java clients choose by its key (murmur2). The recorded\n"
          "  schemas are registered under their subjects, and the ids in the messages\n"
          "  rewritten to the registry's; a value that is not in the Confluent wire\n"
          "  format, or has an id that the recording does not know, is published as is.\n"
          "\n"
          "  All files are read once before anything is published, so that a damaged\n"
          "  recording publishes nothing. The topics must exist. Kafka deletes by the\n"
          "  messages' own timestamps: a topic for an old recording needs retention.ms=-1,\n"
          "  which 'projectionist topics create' sets.\n"
          "\n"
          "  With --speed or --rate, records are sent when they are due, whatever became of\n"
          "  those before; how late they were sent is said at the end (p50 to p99.9).\n"
          "\n"
          "  On a terminal a bar shows the progress, elsewhere a line every five seconds. The\n"
          "  first SIGINT or SIGTERM stops sending, waits for messages in flight and says how\n"
          "  many were delivered; the second exits at once. The producer is idempotent: one run\n"
          "  publishes nothing twice.\n"
          "\n"
          "  A message that Kafka refuses permanently, such as one that is too large for its\n"
          "  topic, is named in the log; those that Kafka refused together with it are\n"
          "  published after what was sent meanwhile. After a hundred such messages it\n"
          "  fails.\n"
          "\n"
          "OPTIONS\n",
          stdout);
    pj_config_print_options(stdout, options, PJ_HELP_WIDTH);
    fputs("\n"
          "  Kafka's address, PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS, is required; the\n"
          "  registry's too, unless the recordings have no schemas.\n"
          "\n"
          "EXIT STATUS\n"
          "  0  all was delivered\n"
          "  1  a recording cannot be read, a topic is missing, a message was refused, a\n"
          "     signal came first, or --p99 is exceeded\n"
          "  2  a flag, variable or file setting is wrong; nothing was done\n"
          "  5  another stream-replay goes on under the same --resume\n"
          "  7  a server could not be reached, or took nothing, in time\n"
          "\n"
          "EXAMPLES\n"
          "  stream-replay .local/recordings/gaia/*.avro\n"
          "  stream-replay --rate 500 .local/recordings/day/*.avro\n"
          "  stream-replay --speed 10 --shift now recordings\n"
          "  stream-replay --rate 1000 --expect event-recorder --p99 20ms recordings\n"
          "  stream-replay --topic-map safari.telemetry=trial.telemetry --limit 1000 \\\n"
          "    .local/recordings/day/safari.telemetry.avro\n",
          stdout);
}

/* The option table has no repeatable options, so all --topic-map are joined with commas into the
 * last one. Returns the new argv; *joined must live as long as it. */
static char **join_topic_maps(int *argc, char **argv, char **joined)
{
    size_t length = sizeof TOPIC_MAP "=";
    for (int i = 0; i < *argc; i++)
        length += strlen(argv[i]) + 1;
    char **out = pj_calloc((size_t)*argc + 2, sizeof(char *));
    char *text = pj_alloc(length);
    const size_t name = strlen(TOPIC_MAP);
    char *end = stpcpy(text, TOPIC_MAP "=");
    const char *empty = end;
    int count = 0, i = 0;
    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        const char *map = NULL;
        if (strcmp(argv[i], TOPIC_MAP) == 0 && i + 1 < *argc)
            map = argv[++i];
        else if (strncmp(argv[i], TOPIC_MAP "=", name + 1) == 0)
            map = argv[i] + name + 1;
        else
            out[count++] = argv[i];
        if (map != NULL)
            end = stpcpy(end != empty ? stpcpy(end, ",") : end, map);
    }
    if (end != empty)
        out[count++] = text;
    while (i < *argc)
        out[count++] = argv[i++];
    *argc = count;
    *joined = text;
    return out;
}

static int parse_pace(const struct settings *settings, struct pj_replay_settings *run,
                      struct pj_error *error)
{
    int64_t rate = 0;
    char *end;
    if (strcmp(settings->rate, "max") != 0 &&
        pj_parse_integer("--rate", settings->rate, 1, 100000000, &rate, error) != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--rate takes events a second (1 to 100000000) or max, not '%s'",
                              settings->rate);
    run->rate = (double)rate;
    run->speed = 0;
    if (strcmp(settings->speed, "max") == 0)
        return 0;
    run->speed = strtod(settings->speed, &end);
    if (end == settings->speed || *end != '\0' || !(run->speed >= 0.001 && run->speed <= 1e6))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--speed takes a factor (0.001 to 1000000) or max, not '%s'",
                              settings->speed);
    if (rate > 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "--rate and --speed exclude each other");
    return 0;
}

static int check_combinations(const struct settings *settings, struct pj_error *error)
{
    const char *wrong = NULL;
    if (settings->run.limit > 0 && settings->run.threads > 1)
        wrong = "--limit counts in the order of one thread: leave out --threads";
    else if (settings->run.rekey && settings->run.loops == 1)
        wrong = "--rekey is for the rounds of --loop after the first";
    else if (settings->p99_ms > 0 && settings->run.expect == NULL)
        wrong = "--p99 needs --expect GROUP, whose rows are waited for";
    else if (settings->run.resume != NULL &&
             strspn(settings->run.resume, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789._-") != strlen(settings->run.resume))
        wrong = "--resume takes a name of letters, digits, '.', '_' and '-'";
    return wrong == NULL ? 0 : pj_error_fatal(error, PJ_EXIT_USAGE, "%s", wrong);
}

static double rate_of(const struct pj_replay_result *result)
{
    return result->seconds > 0 ? (double)(result->delivered - result->resumed) / result->seconds
                               : 0;
}

/* {"count": …, "p50": …}, in milliseconds; NULL: nothing was measured. */
static json_t *quantiles_json(const struct pj_quantiles *quantiles)
{
    if (quantiles->count == 0)
        return json_null();
    json_t *object = pj_must(json_pack("{s:I}", "count", (json_int_t)quantiles->count));
    for (int i = 0; i < PJ_QUANTILES; i++)
        json_object_set_new(object, pj_quantile_names[i],
                            json_real((double)quantiles->us[i] / 1e3));
    return object;
}

static void print_quantiles(const char *what, const struct pj_quantiles *quantiles)
{
    if (quantiles->count == 0)
        return;
    printf("%s:", what);
    for (int i = 0; i < PJ_QUANTILES; i++)
        printf("%s %s %.1f ms", i > 0 ? "," : "", pj_quantile_names[i],
               (double)quantiles->us[i] / 1e3);
    putchar('\n');
}

static void print_json(const struct pj_replay_result *result, const struct pj_error *failure)
{
    double rate = rate_of(result);
    json_t *object =
        json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:o, s:o, s:b, s:s?}", "records",
                  (json_int_t)result->delivered, "planned", (json_int_t)result->planned, "resumed",
                  (json_int_t)result->resumed, "topics", (json_int_t)result->topics, "seconds",
                  result->seconds, "rate", rate, "lateness_ms", quantiles_json(&result->lateness),
                  "visible_ms", quantiles_json(&result->visible), "interrupted",
                  result->interrupted ? 1 : 0, "error", failure != NULL ? failure->message : NULL);
    if (object == NULL)
        return;
    json_dumpf(object, stdout, JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(object);
}

static void print_line(const struct pj_replay_result *result)
{
    double rate = rate_of(result);
    printf("published %lld record%s to %zu topic%s in %.2f s (%.0f/s)\n",
           (long long)result->delivered, result->delivered == 1 ? "" : "s", result->topics,
           result->topics == 1 ? "" : "s", result->seconds, rate);
    print_quantiles("sent after they were due", &result->lateness);
    print_quantiles("visible after they were due", &result->visible);
}

static int report(bool json, int status, const struct pj_replay_result *result,
                  const struct pj_error *error)
{
    if (json)
        print_json(result, status != 0 ? error : NULL);
    else if ((status == 0 && !result->interrupted) || result->visible.count > 0)
        print_line(result);
    fflush(stdout);
    if (status == 0 && !result->interrupted)
        return PJ_EXIT_OK;
    if (result->interrupted)
        fprintf(stderr, "stream-replay: stopped by a signal: %lld of %lld records were delivered\n",
                (long long)result->delivered, (long long)result->planned);
    else if (result->delivered > 0)
        fprintf(stderr, "stream-replay: %s; %lld of %lld records were delivered\n", error->message,
                (long long)result->delivered, (long long)result->planned);
    else
        fprintf(stderr, "stream-replay: %s\n", error->message);
    return result->interrupted ? PJ_EXIT_FAILED : pj_error_exit_code(error);
}

static int replay(void *context, const struct pj_config *config)
{
    struct settings *settings = context;
    struct pj_error error = {.class = PJ_FATAL};
    struct pj_replay_result result = {0};
    struct pj_replay_settings *run = &settings->run;
    int status = -1;
    run->paths = config->operands;
    run->path_count = (size_t)config->operand_count;
    run->kafka = &config->kafka;
    run->postgres = &config->postgres;
    run->shift_now = strcmp(settings->shift, "now") == 0;
    run->p99_us = settings->p99_ms * 1000;
    run->stop = &pj_tool_stop;
    if (run->path_count == 0)
        pj_error_fatal(&error, PJ_EXIT_USAGE, "no recording is given; see 'stream-replay --help'");
    else if (pj_tool_check(options, settings, config, run->topic_prefix, &error) == 0 &&
             parse_pace(settings, run, &error) == 0 && check_combinations(settings, &error) == 0)
        status = pj_replay_run(run, &result, &error);
    return report(settings->json, status, &result, &error);
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    const struct pj_tool tool = {
        .name = "stream-replay",
        .options = options,
        .settings = &settings,
        .verbose = &settings.verbose,
        .quiet = PJ_ERROR,
        .loud = PJ_INFO,
        .print_help = print_help,
        .run = replay,
    };
    char *joined = NULL;
    char **arguments = join_topic_maps(&argc, argv, &joined);
    int code = pj_tool_main(&tool, argc, arguments);
    free(arguments);
    free(joined);
    return code;
}
