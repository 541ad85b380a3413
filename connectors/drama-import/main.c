/* SPDX-License-Identifier: Apache-2.0 */
/* drama-import: dramas that were files, into the topics. Options, help and the report. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/text.h"
#include "base/time_text.h"
#include "base/tls_files.h"
#include "base/topic_name.h"
#include "base/utf8.h"
#include "drama-import/import.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct settings {
    const char *endpoint;
    const char *region;
    const char *ca_file;
    const char *access_key;
    const char *secret_key;
    const char *session_token;
    const char *user;
    const char *as_of;
    const char *id;
    const char *topic_prefix;
    struct pj_registry_settings registry;
    int64_t timeout_ms;
    bool dry_run;
    bool json;
    bool verbose;
};

#define AT(field) offsetof(struct settings, field)

static const struct pj_option options[] = {
    PJ_OPTION(STRING, "s3-endpoint", AT(endpoint), NULL, "URL",
              "The service that has the bucket, such as https://s3.eu-central-1.amazonaws.com; "
              "buckets are asked for in path style.",
              .filled = true),
    PJ_OPTION(STRING, "s3-region", AT(region), "auto", "NAME",
              "The region that requests are signed for.", .filled = true),
    PJ_OPTION(STRING, "s3-ca-file", AT(ca_file), NULL, "FILE",
              "CA certificates for that service, in PEM; the default is the system's.",
              .certificates = true, .filled = true),
    PJ_OPTION(SECRET, "s3-access-key", AT(access_key), NULL, "ID",
              "The id of the key that signs requests. Without one they are not signed."),
    PJ_OPTION(SECRET, "s3-secret-key", AT(secret_key), NULL, "SECRET", "The key."),
    PJ_OPTION(SECRET, "s3-session-token", AT(session_token), NULL, "TOKEN",
              "What belongs to a key that is good for a while only, as STS gives them."),
    PJ_OPTION(STRING, "user", AT(user), "10000", "ID", "Whose the dramas are.", .filled = true,
              .most = 200),
    PJ_OPTION(STRING, "as-of", AT(as_of), NULL, "TIME",
              "When all files of a folder were changed, such as 2026-11-21T05:06:34Z; the default "
              "is each file's own time, which copying may have changed."),
    PJ_OPTION(STRING, "import-id", AT(id), "default", "NAME",
              "Of two runs with the same name the newer goes on, and the older ends.",
              .filled = true, .most = 100),
    PJ_OPTION(BOOL, "dry-run", AT(dry_run), NULL, NULL,
              "Read and check everything, and publish nothing; needs no Kafka.", .letter = 'n'),
    PJ_TOPIC_PREFIX_OPTION(AT(topic_prefix)),
    PJ_REGISTRY_OPTIONS(AT(registry), "The URL of the schema registry's Confluent API."),
    PJ_OPTION(DURATION, "timeout", AT(timeout_ms), "60s", "TIME",
              "How long a server may be away, or refuse because of its load.", .least = 1000,
              .most = 24 * 3600 * 1000),
    PJ_OPTION(BOOL, "json", AT(json), NULL, NULL, "Print the report as JSON."),
    PJ_OPTION(BOOL, "verbose", AT(verbose), NULL, NULL, "Log more.", .letter = 'v'),
    {0},
};

static atomic_int stop, timed_out;

static void on_signal(int number)
{
    timed_out = timed_out != 0 || number == SIGALRM;
    stop = 1;
}

static void print_help(void)
{
    fputs("usage: drama-import [OPTION]... FOLDER | s3://BUCKET[/PREFIX]\n"
          "\n"
          "NAME\n"
          "  drama-import - publish dramas that were kept as JSON files to Kafka\n"
          "\n"
          "DESCRIPTION\n"
          "  Reads dramas/<id>/drama.json from a folder or from an S3 bucket, and publishes a\n"
          "  DramaSaved for each to drama.dramas: for the user --user, in life 0, so that\n"
          "  nothing that was made or deleted since is touched. The revision is the time of\n"
          "  the object's last change. created_at is that of dramas/index.json, or of\n"
          "  the file, where it is older.\n"
          "\n"
          "  Each drama and a record of its version (drama.import-progress) are one Kafka\n"
          "  transaction: whatever ends drama-import, the same command goes on, and publishes\n"
          "  nothing again that has not changed. An object that is not there any more is no\n"
          "  deletion. 'projectionist topics create drama' creates both topics.\n"
          "\n"
          "  What cannot be imported gets a line in the report, with the key and the reason, and\n"
          "  the rest goes on: what is not a JSON object in UTF-8, or has a byte order mark,\n"
          "  \\u0000, a member twice, more than 4 MiB, ids of more than 200 characters, or\n"
          "  members of other types. A line that begins with 'note:' names what is imported\n"
          "  differently from how it is written. Unknown members are kept in extra.\n"
          "\n"
          "  The first SIGINT or SIGTERM ends it after what is under way; the second at once.\n"
          "\n"
          "OPTIONS\n",
          stdout);
    pj_config_print_options(stdout, options, PJ_HELP_WIDTH);
    fputs("\n"
          "  Kafka's address, PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS, and the registry's are\n"
          "  required but for --dry-run.\n"
          "\n"
          "EXIT STATUS\n"
          "  0  everything is imported\n"
          "  1  some objects are not, or it failed, or a signal came first\n"
          "  2  a flag, variable or file setting is wrong; nothing was done\n"
          "  5  another drama-import with the same --import-id has taken over\n"
          "  7  a server could not be reached in time\n"
          "\n"
          "EXAMPLES\n"
          "  drama-import --dry-run backup\n"
          "  drama-import --s3-endpoint https://s3.example.com s3://sfd-production\n",
          stdout);
}

/* --- the report ------------------------------------------------------------------------------ */

struct report {
    bool is_json;
    json_t *bad, *notes;
};

/* A key may have line feeds and what moves a terminal's cursor: a line is one line. */
static void print_line(const char *text)
{
    for (; *text != '\0'; text++) {
        int control = pj_utf8_control(text);
        if (control < 0)
            putchar(*text);
        else
            printf("\\u%04x", (unsigned)control);
        text += control >= 0x80; /* of two bytes */
    }
    putchar('\n');
    (void)fflush(stdout);
}

static void tell(void *context, const char *key, bool is_bad, const char *text)
{
    struct report *report = context;
    char shown[1200];
    if (!report->is_json) {
        pj_text_show(shown, sizeof shown, "%s%s: %s", is_bad ? "" : "note: ", key, text);
        print_line(shown);
        return;
    }
    json_t *line = json_pack("{s:s, s:s}", "key", key, "reason", text);
    if (line == NULL) { /* a key that is not UTF-8 */
        pj_text_show(shown, sizeof shown, "%s", key);
        line = pj_must(json_pack("{s:s, s:s}", "key", shown, "reason", text));
    }
    if (json_array_append_new(is_bad ? report->bad : report->notes, line) != 0)
        pj_memory_ended("a line of the report");
}

static void print_json(const struct report *report, const struct pj_import_result *result,
                       bool dry_run, double seconds, const char *failure)
{
    json_t *object = pj_must(json_pack(
        "{s:I, s:I, s:I, s:O, s:O, s:b, s:b, s:f, s:s?}", "objects", (json_int_t)result->objects,
        "imported", (json_int_t)result->imported, "unchanged", (json_int_t)result->unchanged, "bad",
        report->bad, "notes", report->notes, "dry_run", dry_run ? 1 : 0, "interrupted",
        result->interrupted ? 1 : 0, "seconds", seconds, "error", failure));
    json_dumpf(object, stdout, JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(object);
}

static int end(const struct settings *settings, const struct report *report, int status,
               const struct pj_import_result *result, double seconds, const struct pj_error *error)
{
    if (settings->json)
        print_json(report, result, settings->dry_run, seconds, status != 0 ? error->message : NULL);
    else if (status == 0 || result->objects > 0)
        printf("%s %lld of %lld dramas, %lld unchanged, %lld bad, %lld note%s, in %.2f s\n",
               settings->dry_run ? "would import" : "imported", (long long)result->imported,
               (long long)result->objects, (long long)result->unchanged, (long long)result->bad,
               (long long)result->notes, result->notes == 1 ? "" : "s", seconds);
    (void)fflush(stdout);
    if (status != 0)
        fprintf(stderr, "drama-import: %s\n", error->message);
    else if (result->interrupted)
        fputs("drama-import: stopped by a signal before the end; the same command goes on\n",
              stderr);
    if (status != 0)
        return pj_error_exit_code(error);
    return result->interrupted || result->bad > 0 ? PJ_EXIT_FAILED : PJ_EXIT_OK;
}

/* --- the run --------------------------------------------------------------------------------- */

static bool go_on(void *context, const struct pj_error *trouble)
{
    (void)context;
    (void)trouble;
    return stop == 0;
}

static int open_source(struct pj_import_source **source, const struct settings *settings,
                       const struct pj_config *config, struct pj_error *error)
{
    struct pj_import_source_settings of = {.as_of_us = -1,
                                           .endpoint = settings->endpoint,
                                           .region = settings->region,
                                           .ca_file = settings->ca_file,
                                           .access_key = settings->access_key,
                                           .secret_key = settings->secret_key,
                                           .session_token = settings->session_token,
                                           .timeout_ms = settings->timeout_ms,
                                           .turns = {go_on, NULL}};
    if (config->operand_count != 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "give one folder, or one s3://BUCKET; see 'drama-import --help'");
    of.place = config->operands[0];
    bool is_bucket = pj_text_begins(of.place, "s3://");
    if (settings->as_of != NULL &&
        pj_time_parse("--as-of", settings->as_of, &of.as_of_us, error) != 0)
        return -1;
    if (settings->as_of != NULL && is_bucket)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--as-of is for folders: a bucket says when an object was changed");
    if (!is_bucket && settings->endpoint != NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--s3-endpoint is for buckets, and '%.200s' is a folder; give "
                              "s3://BUCKET",
                              of.place);
    return is_bucket ? pj_import_bucket_open(source, &of, error)
                     : pj_import_folder_open(source, &of, error);
}

static int check(const struct settings *settings, const struct pj_config *config,
                 struct pj_error *error)
{
    if (pj_tls_check_options(options, settings, error) != 0 ||
        pj_topic_prefix_check(settings->topic_prefix, error) != 0)
        return -1;
    return settings->dry_run ? 0
           : pj_tls_check_kafka(&config->kafka, error) != 0
               ? -1
               : pj_registry_check(&settings->registry, error);
}

static int run(const struct settings *settings, const struct pj_config *config)
{
    struct report report = {settings->json, pj_must(json_array()), pj_must(json_array())};
    struct pj_error error = {.class = PJ_FATAL};
    struct pj_import_result result = {0};
    struct pj_import_source *source = NULL;
    int64_t start_us = pj_clock_monotonic_us();
    int status = open_source(&source, settings, config, &error);
    if (status == 0)
        status = check(settings, config, &error);
    if (status == 0) {
        const struct pj_import_settings import = {.source = source,
                                                  .user = settings->user,
                                                  .id = settings->id,
                                                  .topic_prefix = settings->topic_prefix,
                                                  .registry = settings->registry,
                                                  .kafka = &config->kafka,
                                                  .timeout_ms = settings->timeout_ms,
                                                  .dry_run = settings->dry_run,
                                                  .stop = &stop,
                                                  .timed_out = &timed_out,
                                                  .tell = tell,
                                                  .context = &report};
        status = pj_import_run(&import, &result, &error);
    }
    pj_import_close(source);
    double seconds = (double)(pj_clock_monotonic_us() - start_us) / 1e6;
    int code = end(settings, &report, status, &result, seconds, &error);
    json_decref(report.bad);
    json_decref(report.notes);
    return code;
}

int main(int argc, char **argv)
{
    /* The second signal finds the default handler again. */
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    struct settings settings = {0};
    struct pj_config config;
    struct pj_error error = {.class = PJ_FATAL};
    int status;
    pj_process_open_standard_files();
    pj_process_keep_secrets();
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    if (pj_config_read(&config, options, &settings, argc, argv, &error) != 0) {
        fprintf(stderr, "drama-import: %s\n", error.message);
        status = pj_error_exit_code(&error);
    } else {
        status = PJ_EXIT_OK;
        pj_log_configure("drama-import", settings.verbose ? PJ_DEBUG : PJ_WARN, PJ_LOG_LOGFMT);
        if (config.help)
            print_help();
        else if (config.version)
            puts("drama-import " PJ_VERSION);
        else
            status = run(&settings, &config);
        pj_config_free(&config);
    }
    return pj_process_end_output("drama-import", status);
}
