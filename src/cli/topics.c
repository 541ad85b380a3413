/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist topics create: creates the topics of the systems, as these declare them. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/deployment.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MESSAGE_BYTES = 4 << 20 };

struct settings {
    struct pj_cli_servers servers;
    int64_t partitions;
    int64_t replication_factor;
    const char *retention_ms;  /* NULL: each topic's own */
    int64_t max_message_bytes; /* 0: likewise */
    bool dry_run;
};

/* What is to exist, and what does. */
struct topics {
    struct pj_kafka_new_topic *wanted;
    struct pj_kafka_topic *found;
    bool *fixed; /* its system says how many partitions it has */
    size_t count;
};

/* --- which topics ---------------------------------------------------------------------------- */

static int read_retention(const struct settings *settings, int64_t *retention_ms,
                          struct pj_error *error)
{
    *retention_ms = 0;
    if (settings->retention_ms == NULL)
        return 0;
    if (pj_parse_integer("--retention-ms", settings->retention_ms, -1, INT64_MAX, retention_ms,
                         error) != 0)
        return -1;
    return *retention_ms != 0
               ? 0
               : pj_error_fatal(error, PJ_EXIT_USAGE,
                                "--retention-ms must be at least 1, or -1 to keep records for "
                                "ever");
}

static void add(struct topics *topics, struct pj_cli *cli, const struct pj_topic *topic,
                const struct settings *settings, int64_t retention_ms)
{
    char text[PJ_TOPIC_NAME_SIZE];
    const char *name = pj_topic_name(text, cli->servers->topic_prefix, topic->name);
    for (size_t i = 0; i < topics->count; i++) {
        if (strcmp(topics->wanted[i].name, name) == 0)
            return;
    }
    name = pj_arena_string(cli->arena, name, strlen(name));
    size_t index = topics->count++;
    topics->wanted = pj_resize(topics->wanted, topics->count, sizeof *topics->wanted);
    topics->found = pj_resize(topics->found, topics->count, sizeof *topics->found);
    topics->fixed = pj_resize(topics->fixed, topics->count, sizeof *topics->fixed);
    topics->fixed[index] = topic->partitions > 0;
    topics->found[index] = (struct pj_kafka_topic){.name = name};
    topics->wanted[index] = (struct pj_kafka_new_topic){
        .name = name,
        .partitions = topic->partitions > 0 ? topic->partitions : (int)settings->partitions,
        .compacted = topic->compacted,
        .retention_ms = retention_ms != 0          ? retention_ms
                        : topic->retention_ms != 0 ? topic->retention_ms
                                                   : -1,
        .max_message_bytes = settings->max_message_bytes != 0 ? settings->max_message_bytes
                             : topic->max_message_bytes != 0  ? topic->max_message_bytes
                                                              : MAX_MESSAGE_BYTES,
    };
}

static void add_system(struct topics *topics, struct pj_cli *cli, const struct pj_system *system,
                       const struct settings *settings, int64_t retention_ms)
{
    for (size_t t = 0; t < system->topic_count; t++)
        add(topics, cli, &system->topics[t], settings, retention_ms);
}

/* An operand that is no system is a topic: of a system, or of a consumer that lives elsewhere. */
static void list_topics(struct topics *topics, struct pj_cli *cli, const struct settings *settings,
                        int64_t retention_ms)
{
    const struct pj_config *config = cli->config;
    for (size_t s = 0; pj_cli_systems[s] != NULL && config->operand_count == 0; s++) {
        if (pj_cli_system_find(pj_cli_systems[s]->name) != NULL)
            add_system(topics, cli, pj_cli_systems[s], settings, retention_ms);
    }
    for (int i = 0; i < config->operand_count; i++) {
        const struct pj_system *system = pj_cli_system_find(config->operands[i]);
        const struct pj_topic *topic = pj_cli_topic_find(config->operands[i]);
        const struct pj_topic elsewhere = {.name = config->operands[i]};
        if (system != NULL)
            add_system(topics, cli, system, settings, retention_ms);
        else
            add(topics, cli, topic != NULL ? topic : &elsewhere, settings, retention_ms);
    }
}

/* --- checks ---------------------------------------------------------------------------------- */

/* All topics whose system does not say how many must have the same number: what belongs to one
 * entity is then in partitions of the same number, and goes to the same process. */
static int check_partitions(const struct topics *topics, int64_t wanted, struct pj_error *error)
{
    for (size_t i = 0; i < topics->count; i++) {
        const struct pj_kafka_topic *topic = &topics->found[i];
        if (topic->partitions == 0 || topic->partitions == wanted || topics->fixed[i])
            continue;
        return pj_error_fatal(
            error, PJ_EXIT_FAILED,
            "the topic %s has %d partitions, not %lld, and all topics must have "
            "the same number; nothing was created; give --partitions %d, or delete "
            "the topic if nothing in it is needed",
            topic->name, topic->partitions, (long long)wanted, topic->partitions);
    }
    return 0;
}

static void warn_of(const struct pj_kafka_topic *topic,
                    const struct pj_kafka_new_topic *as_declared)
{
    if (topic->hides_settings)
        fprintf(stderr,
                "warning: Kafka does not show this user whether it keeps the records of %s; grant "
                "DESCRIBE_CONFIGS on the topic\n",
                topic->name);
    if (as_declared->compacted) {
        if (*topic->cleanup_policy && strcmp(topic->cleanup_policy, "compact") != 0)
            fprintf(stderr,
                    "warning: Kafka deletes records of %s or keeps all of them, and it is to keep "
                    "the last record of each key; kafka-configs.sh --alter --topic %s --add-config "
                    "cleanup.policy=compact does so\n",
                    topic->name, topic->name);
        return;
    }
    char wanted[24];
    pj_text_whole(wanted, sizeof wanted, "%lld", (long long)as_declared->retention_ms);
    if (*topic->retention_ms && strcmp(topic->retention_ms, "-1") != 0 &&
        strcmp(topic->retention_ms, wanted) != 0)
        fprintf(stderr,
                "warning: Kafka deletes the records of %s %s ms after their timestamps, and tables "
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

/* A topic exists once the brokers that are asked for it know it, which may be a moment later. */
static int wait_until_known(struct pj_kafka *kafka, const struct pj_kafka_new_topic *created,
                            size_t count, int64_t timeout_ms, struct pj_error *error)
{
    int64_t deadline = pj_clock_monotonic_ms() + timeout_ms;
    struct pj_kafka_topic *topics = pj_calloc(count, sizeof *topics);
    int status = 0;
    for (size_t known = 0; status == 0 && known < count;) {
        known = 0;
        for (size_t i = 0; i < count; i++)
            topics[i] = (struct pj_kafka_topic){.name = created[i].name};
        status = pj_kafka_describe(kafka, topics, count, error);
        for (size_t i = 0; status == 0 && i < count; i++)
            known += topics[i].partitions > 0;
        if (status == 0 && known < count && pj_clock_monotonic_ms() > deadline)
            status = pj_error_set(
                error, PJ_RETRY,
                "Kafka created the topics, but does not show them yet; run the command again");
        if (status == 0 && known < count)
            poll(NULL, 0, 20);
    }
    free(topics);
    return status;
}

static int create_missing(struct pj_kafka *kafka, const struct topics *topics,
                          const struct settings *settings, struct pj_error *error)
{
    struct pj_kafka_new_topic *items = pj_calloc(topics->count, sizeof *items);
    struct pj_kafka_new_topics missing = {.items = items,
                                          .replication_factor = (int)settings->replication_factor,
                                          .validate_only = settings->dry_run};
    for (size_t i = 0; i < topics->count; i++) {
        if (topics->found[i].partitions == 0)
            items[missing.count++] = topics->wanted[i];
    }
    int status = missing.count > 0 ? pj_kafka_create(kafka, &missing, error) : 0;
    if (status == 0 && missing.count > 0 && !settings->dry_run)
        status = wait_until_known(kafka, items, missing.count, settings->servers.timeout_ms, error);
    free(items);
    return status;
}

static void report(const struct topics *topics, const struct settings *settings)
{
    for (size_t i = 0; i < topics->count; i++) {
        bool existed = topics->found[i].partitions > 0;
        int partitions = existed ? topics->found[i].partitions : topics->wanted[i].partitions;
        printf("%s %s, %d partition%s\n", topics->found[i].name,
               existed             ? "exists"
               : settings->dry_run ? "would be created"
                                   : "created",
               partitions, partitions == 1 ? "" : "s");
    }
    fflush(stdout);
    for (size_t i = 0; i < topics->count; i++)
        warn_of(&topics->found[i], &topics->wanted[i]);
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct topics topics = {0};
    int64_t retention_ms;
    int status = -1;
    if (settings->replication_factor == 0)
        return pj_error_fatal(
            error, PJ_EXIT_USAGE,
            "--replication-factor must be at least 1, or -1 for the brokers' own");
    if (read_retention(settings, &retention_ms, error) != 0)
        return -1;
    list_topics(&topics, cli, settings, retention_ms);
    if (pj_cli_kafka(cli, error) == 0 &&
        pj_kafka_describe(cli->kafka, topics.found, topics.count, error) == 0 &&
        check_partitions(&topics, settings->partitions, error) == 0 &&
        create_missing(cli->kafka, &topics, settings, error) == 0) {
        report(&topics, settings);
        status = PJ_EXIT_OK;
    }
    free(topics.wanted);
    free(topics.found);
    free(topics.fixed);
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    PJ_CLI_INTEGER_OPTION(
        struct settings, partitions, "partitions", 'p', "12", 1, 10000,
        "How many partitions a topic has, unless its system says; also the most processes that can "
        "share the work of a consumer. Choose well: it cannot be changed later."),
    PJ_CLI_INTEGER_OPTION(struct settings, replication_factor, "replication-factor", 0, "-1", -1,
                          100, "How many replicas each partition has; -1 is the brokers' default."),
    PJ_CLI_TEXT_OPTION(struct settings, retention_ms, "retention-ms", 0, "MS",
                       "How long records are kept, by their timestamps; -1 is for ever, which "
                       "rebuilding tables needs. The default is the topic's own, or for ever."),
    PJ_OPTION(SIZE, "max-message-bytes", offsetof(struct settings, max_message_bytes), NULL, "SIZE",
              "The largest batch of records that the brokers accept. The default is the topic's "
              "own, or 4MiB.",
              .least = 1024, .most = 1 << 30),
    PJ_CLI_DRY_RUN_OPTION(struct settings,
                          "Have the brokers validate all of it, and create nothing."),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_topics_create = {
    .name = "topics create",
    .summary = "create the topics",
    .description =
        "  Creates those of the systems' topics that do not exist yet, each as its system\n"
        "  declares it; existing ones are left as they are. Those whose system does not\n"
        "  say how many partitions they have all get the same number: where one has\n"
        "  another already, nothing is created. The connectors' own topics have one\n"
        "  partition, and some are compacted: Kafka keeps the last record of each key\n"
        "  for ever.\n"
        "\n"
        "  The topics are the history that tables are rebuilt from, so by default nothing\n"
        "  in them is ever deleted. A warning names existing topics that delete.\n"
        "\n"
        "  With SYSTEM or TOPIC, only those are created; a TOPIC of no system is created\n"
        "  in the same way.\n",
    .examples = "  projectionist topics create\n"
                "  projectionist topics create --partitions 48 --replication-factor 3\n"
                "  projectionist topics create SYSTEM --topic-prefix staging.\n"
                "  projectionist topics create --dry-run\n",
    .operands = "[SYSTEM|TOPIC]...",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
