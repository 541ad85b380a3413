/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist topics create: makes the topics of schemas/ with what the projections need. */
#include "base/text.h"
#include "cli/cli.h"
#include "kafka/admin.h"

#include "base/clock.h"
#include "schemas.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct pj_cli_servers servers;
    int64_t partitions;
    int64_t replication_factor;
    int64_t retention_ms;
    int64_t max_message_bytes;
    bool dry_run;
};

/* What the connectors keep in Kafka, beside the topics that have a schema. One partition each: the
 * compacted ones are read whole at a start, and dead letters stay in the order of the stream. */
static const struct pj_kafka_new_topic connector_topics[] = {
    {.name = "safari.bridge-cursors", .partitions = 1, .compacted = true},
    {.name = "safari.idempotency-keys", .partitions = 1, .compacted = true},
    {.name = "safari.telemetry.dead-letters", .partitions = 1},
};

#define CONNECTOR_TOPIC_COUNT (sizeof connector_topics / sizeof connector_topics[0])

/* NULL where the topic is none of the connectors' own. */
static const struct pj_kafka_new_topic *find_connector_topic(const char *name)
{
    for (size_t i = 0; i < CONNECTOR_TOPIC_COUNT; i++) {
        if (strcmp(connector_topics[i].name, name) == 0)
            return &connector_topics[i];
    }
    return NULL;
}

static struct pj_kafka_new_topic wanted_topic(const char *name, int64_t partitions)
{
    const struct pj_kafka_new_topic *found = find_connector_topic(name);
    return found != NULL ? *found
                         : (struct pj_kafka_new_topic){.name = name, .partitions = (int)partitions};
}

/* All topics of the consumers must have the same number: what belongs to one command is then in
 * partitions of the same number, and goes to the same process. */
static int check_partitions(const struct pj_kafka_topic *topics, size_t count, int64_t wanted,
                            struct pj_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (topics[i].partitions == 0 || topics[i].partitions == wanted ||
            find_connector_topic(topics[i].name) != NULL)
            continue;
        return pj_error_fatal(error, PJ_EXIT_FAILED,
                              "the topic %s has %d partitions, not %lld, and all topics must have "
                              "the same number; nothing was made; give --partitions %d, or delete "
                              "the topic if nothing in it is needed",
                              topics[i].name, topics[i].partitions, (long long)wanted,
                              topics[i].partitions);
    }
    return 0;
}

static void warn_of(const struct pj_kafka_topic *topic, const struct settings *settings)
{
    const struct pj_kafka_new_topic *connector = find_connector_topic(topic->name);
    if (connector != NULL && connector->compacted) {
        if (*topic->cleanup_policy && strcmp(topic->cleanup_policy, "compact") != 0)
            fprintf(stderr,
                    "warning: Kafka deletes records of %s or keeps all of them, and it is to keep "
                    "the last record of each key; kafka-configs.sh --alter --topic %s --add-config "
                    "cleanup.policy=compact does so\n",
                    topic->name, topic->name);
        return;
    }
    char wanted[24];
    pj_text_whole(wanted, sizeof wanted, "%lld", (long long)settings->retention_ms);
    if (*topic->retention_ms && strcmp(topic->retention_ms, "-1") != 0 &&
        strcmp(topic->retention_ms, wanted) != 0)
        fprintf(stderr,
                "warning: Kafka deletes the records of %s %s ms after their own time, and tables "
                "cannot be rebuilt from what is gone; kafka-configs.sh --alter --topic %s "
                "--add-config retention.ms=-1 keeps them\n",
                topic->name, topic->retention_ms, topic->name);
    if (*topic->retention_bytes && strcmp(topic->retention_bytes, "-1") != 0)
        fprintf(stderr,
                "warning: Kafka deletes the oldest records of %s beyond %s bytes a partition; "
                "kafka-configs.sh --alter --topic %s --add-config retention.bytes=-1 keeps them\n",
                topic->name, topic->retention_bytes, topic->name);
    if (strstr(topic->cleanup_policy, "compact") != NULL)
        fprintf(
            stderr,
            "warning: Kafka keeps only the last record of each key of %s, which loses history; "
            "kafka-configs.sh --alter --topic %s --add-config cleanup.policy=delete keeps all\n",
            topic->name, topic->name);
}

/* A topic is made once the brokers that are asked for it know it, which may be a moment later. */
static int wait_until_known(struct pj_kafka *kafka, const struct pj_kafka_new_topic *made,
                            size_t count, int64_t timeout_ms, struct pj_error *error)
{
    int64_t deadline = pj_clock_monotonic_ms() + timeout_ms;
    struct pj_kafka_topic *topics = calloc(count, sizeof *topics);
    if (topics == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    int status = 0;
    for (size_t known = 0; status == 0 && known < count;) {
        known = 0;
        for (size_t i = 0; i < count; i++)
            topics[i] = (struct pj_kafka_topic){.name = made[i].name};
        status = pj_kafka_describe(kafka, topics, count, error);
        for (size_t i = 0; status == 0 && i < count; i++)
            known += topics[i].partitions > 0;
        if (status == 0 && known < count && pj_clock_monotonic_ms() > deadline)
            status =
                pj_error_set(error, PJ_RETRY, "Kafka made the topics, but does not show them yet");
        if (status == 0 && known < count)
            poll(NULL, 0, 20);
    }
    free(topics);
    return status;
}

static int create_missing(struct pj_kafka *kafka, const struct pj_kafka_topic *topics, size_t count,
                          const struct settings *settings, struct pj_error *error)
{
    struct pj_kafka_new_topic *items = calloc(count, sizeof *items);
    if (items == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    struct pj_kafka_new_topics missing = {.items = items,
                                          .replication_factor = (int)settings->replication_factor,
                                          .retention_ms = settings->retention_ms,
                                          .max_message_bytes = settings->max_message_bytes,
                                          .validate_only = settings->dry_run};
    for (size_t i = 0; i < count; i++) {
        if (topics[i].partitions == 0)
            items[missing.count++] = wanted_topic(topics[i].name, settings->partitions);
    }
    int status = missing.count > 0 ? pj_kafka_create(kafka, &missing, error) : 0;
    if (status == 0 && missing.count > 0 && !settings->dry_run)
        status = wait_until_known(kafka, items, missing.count, settings->servers.timeout_ms, error);
    free(items);
    return status;
}

static void report(const struct pj_kafka_topic *topics, size_t count,
                   const struct settings *settings)
{
    for (size_t i = 0; i < count; i++) {
        int partitions = topics[i].partitions > 0
                             ? topics[i].partitions
                             : wanted_topic(topics[i].name, settings->partitions).partitions;
        printf("%s %s, %d partition%s\n", topics[i].name,
               topics[i].partitions > 0 ? "exists"
               : settings->dry_run      ? "would be made"
                                        : "made",
               partitions, partitions == 1 ? "" : "s");
    }
    fflush(stdout);
    for (size_t i = 0; i < count; i++)
        warn_of(&topics[i], settings);
}

static int run(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct pj_kafka *kafka = NULL;
    int status = -1;
    if (settings->replication_factor == 0)
        return pj_error_fatal(
            error, PJ_EXIT_USAGE,
            "--replication-factor must be at least 1, or -1 for the brokers' own");
    if (settings->retention_ms == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--retention-ms must be at least 1, or -1 to keep records for ever");
    /* A topic of ours has a schema; one of a consumer that lives elsewhere is named. */
    bool named = config->operand_count > 0;
    size_t count =
        named ? (size_t)config->operand_count : pj_embedded_schema_count + CONNECTOR_TOPIC_COUNT;
    struct pj_kafka_topic *topics = calloc(count + 1, sizeof *topics);
    if (topics == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    for (size_t i = 0; i < count; i++)
        topics[i].name = named ? config->operands[i]
                         : i < pj_embedded_schema_count
                             ? pj_embedded_schemas[i].topic
                             : connector_topics[i - pj_embedded_schema_count].name;
    if (pj_kafka_open(&kafka, &config->kafka, settings->servers.timeout_ms, error) == 0 &&
        pj_kafka_describe(kafka, topics, count, error) == 0 &&
        check_partitions(topics, count, settings->partitions, error) == 0 &&
        create_missing(kafka, topics, count, settings, error) == 0) {
        report(topics, count, settings);
        status = PJ_EXIT_OK;
    }
    pj_kafka_close(kafka);
    free(topics);
    return status;
}

static const struct pj_option options[] = {
    {.name = "partitions",
     .letter = 'p',
     .kind = PJ_OPTION_INTEGER,
     .offset = offsetof(struct settings, partitions),
     .fallback = "12",
     .argument = "N",
     .help = "How many partitions each topic has; also the most processes that can share the "
             "work of a consumer. Choose well: it cannot be changed later.",
     .least = 1,
     .most = 10000},
    {.name = "replication-factor",
     .kind = PJ_OPTION_INTEGER,
     .offset = offsetof(struct settings, replication_factor),
     .fallback = "-1",
     .argument = "N",
     .help = "On how many brokers each record is kept; -1 is the brokers' own setting.",
     .least = -1,
     .most = 100},
    {.name = "retention-ms",
     .kind = PJ_OPTION_INTEGER,
     .offset = offsetof(struct settings, retention_ms),
     .fallback = "-1",
     .argument = "MS",
     .help = "How long records are kept, by their own time; -1 is for ever, which making "
             "tables again needs.",
     .least = -1,
     .most = INT64_MAX},
    {.name = "max-message-bytes",
     .kind = PJ_OPTION_SIZE,
     .offset = offsetof(struct settings, max_message_bytes),
     .fallback = "4MiB",
     .argument = "SIZE",
     .help = "The largest batch of records that the brokers take.",
     .least = 1024,
     .most = 1 << 30},
    {.name = "dry-run",
     .letter = 'n',
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, dry_run),
     .help = "Let the brokers check all of it, and make nothing."},
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_topics_create = {
    .name = "topics create",
    .summary = "make the topics",
    .description =
        "  Makes those of the topics safari.commands, safari.sessions and\n"
        "  safari.telemetry that are not there yet; existing ones are left as they are.\n"
        "  All must have the same number of partitions: where one has another, nothing\n"
        "  is made.\n"
        "\n"
        "  Makes what the connectors keep, too, with one partition: of telemetry-bridge\n"
        "  safari.bridge-cursors and safari.telemetry.dead-letters, of control-gateway\n"
        "  safari.idempotency-keys. The cursors and the keys are compacted: Kafka keeps\n"
        "  the last record of each key for ever.\n"
        "\n"
        "  The topics are the history that tables are rebuilt from, so by default\n"
        "  nothing in them is ever deleted. A warning names existing topics that delete.\n"
        "\n"
        "  With TOPIC, those are made instead, in the same way.\n",
    .examples = "  projectionist topics create\n"
                "  projectionist topics create --partitions 48 --replication-factor 3\n"
                "  projectionist topics create --dry-run\n",
    .operands = "[TOPIC]...",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
