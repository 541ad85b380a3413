/* SPDX-License-Identifier: Apache-2.0 */
/*
 * projectionist status: how far each consumer has read each partition. The truth about offsets is
 * in Postgres, with the rows; where the topics end is Kafka's to say.
 */
#include "cli/status.h"

#include "cli/deployment.h"

#include <stdlib.h>
#include <string.h>

struct settings {
    struct pj_cli_servers servers;
    const char *group;
    bool json;
};

struct collector {
    struct pj_cli *cli;
    const char *group; /* or NULL */
    const struct pj_result *letters;
    const struct pj_result *versions;
    struct pj_status *status;
};

static const char offsets_sql[] =
    "SELECT cluster_id, consumer_group, topic, partition, next_offset, epoch, owner,"
    "  CASE WHEN next_offset > start_offset THEN"
    "    to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') END,"
    "  floor(extract(epoch FROM clock_timestamp() - updated_at))::bigint,"
    "  to_char(stream_time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), topic_id,"
    "  projection, stop_reason, stop_code "
    "FROM projectionist.consumer_offsets "
    "WHERE ($1::text IS NULL OR cluster_id = $1) AND ($2::text IS NULL OR consumer_group = $2) "
    "ORDER BY 1, 2, 3, 4";
enum {
    CLUSTER,
    GROUP,
    TOPIC,
    PARTITION,
    NEXT_OFFSET,
    EPOCH,
    OWNER,
    LAST_COMMIT,
    AGE,
    STREAM_TIME,
    TOPIC_ID,
    PROJECTION,
    STOP,
    STOP_CODE
};

static const char letters_sql[] =
    "SELECT cluster_id, consumer_group, count(*) FROM projectionist.dead_letters "
    "WHERE status = 'open' GROUP BY 1, 2";

static const char versions_sql[] =
    "SELECT cluster_id, consumer_group, version FROM projectionist.rules";

/* --- collecting ------------------------------------------------------------------------------ */

static struct pj_status_partition read_partition(const struct pj_result *result, int row)
{
    const char *last_commit = pj_result_value(result, row, LAST_COMMIT, NULL);
    return (struct pj_status_partition){
        .cluster_id = pj_cli_text(result, row, CLUSTER),
        .group = pj_cli_text(result, row, GROUP),
        .projection = pj_result_value(result, row, PROJECTION, NULL),
        .topic = pj_cli_text(result, row, TOPIC),
        .partition = (int32_t)pj_cli_number(result, row, PARTITION),
        .committed = pj_cli_number(result, row, NEXT_OFFSET),
        .begin = -1,
        .end = -1,
        .lag = -1,
        .epoch = pj_cli_number(result, row, EPOCH),
        .owner = pj_result_value(result, row, OWNER, NULL),
        .last_commit = last_commit,
        .age_s = last_commit != NULL ? pj_cli_number(result, row, AGE) : -1,
        .stream_time = pj_result_value(result, row, STREAM_TIME, NULL),
        .topic_id = pj_result_value(result, row, TOPIC_ID, NULL),
        .stop = pj_result_value(result, row, STOP, NULL),
        .stop_code = (int)pj_cli_number(result, row, STOP_CODE),
        .read_rate = -1,
        .write_rate = -1,
    };
}

/* Of a partition that nobody ever owned, all records are missing. */
static void measure(struct pj_status_partition *partition, const struct pj_kafka_extent *extent)
{
    int64_t next = partition->committed >= 0 ? partition->committed : extent->begin;
    int64_t stable = extent->end > next ? extent->end : next;
    if (next < 0 || extent->end < 0)
        return;
    int64_t high = extent->high > extent->end ? extent->high : extent->end;
    partition->lag = high - next;
    partition->held = high > stable ? high - stable : 0;
    if (extent->begin > next)
        partition->problem = "gap";
    else if (partition->stop == NULL && partition->committed < 0 && partition->lag > 0)
        partition->problem = "never-taken";
    else if (partition->stop == NULL && partition->held > 0)
        partition->problem = "open-transaction";
}

static void judge(struct pj_status_partition *partition, const struct pj_kafka_extent *extent)
{
    partition->begin = extent->begin;
    partition->end = extent->end;
    if (!extent->exists)
        partition->problem = "no-topic";
    else if (extent->end >= 0 && extent->end < partition->committed)
        partition->problem = "beyond-end";
    else if (pj_topic_is_another(extent->topic_id, partition->topic_id, partition->committed))
        partition->problem = "another-id";
    else if (partition->stop_code == PJ_EXIT_TOPIC_RECREATED)
        partition->problem = "stopped"; /* how far the offset is from that end means nothing */
    else
        measure(partition, extent);
    if (partition->problem == NULL && partition->stop != NULL)
        partition->problem = "stopped";
}

/* --- the partitions that nobody owned -------------------------------------------------------- */

static const struct pj_cli_projection *projection_of(const struct pj_status_partition *partition)
{
    return partition->projection != NULL ? pj_cli_projection_find(partition->projection)
                                         : pj_cli_projection_of_group(partition->group);
}

/* A rebuild or a verify has rows of all partitions that it reads. */
static bool is_shadow(const char *group)
{
    const char *slash = strrchr(group, '/');
    return slash != NULL && (strcmp(slash, "/rebuild") == 0 || strcmp(slash, "/verify") == 0);
}

static bool in_group(const struct pj_status_partition *a, const struct pj_status_partition *b)
{
    return strcmp(a->cluster_id, b->cluster_id) == 0 && strcmp(a->group, b->group) == 0;
}

static void add_topic(struct pj_kafka_topic *topics, size_t *count, const char *name)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(topics[i].name, name) == 0)
            return;
    }
    topics[(*count)++].name = name;
}

/* The topics of one group, with their numbers of partitions: of its projection, and those that it
 * has read. */
static struct pj_kafka_topic *list_topics(struct collector *collector,
                                          const struct pj_cli_projection *projection,
                                          const struct pj_status_partition *rows, size_t row_count,
                                          size_t *count)
{
    size_t sources = projection != NULL ? projection->projection->source_count : 0;
    struct pj_kafka_topic *topics =
        pj_arena_alloc(collector->cli->arena, (sources + row_count) * sizeof *topics);
    *count = 0;
    for (size_t t = 0; t < sources; t++)
        add_topic(topics, count, projection->projection->sources[t].topic);
    for (size_t i = 0; i < row_count; i++)
        add_topic(topics, count, rows[i].topic);
    if (pj_kafka_count_partitions(collector->cli->kafka, topics, *count, &collector->status->why) ==
        0)
        return topics;
    collector->status->kafka_error = collector->status->why.message;
    *count = 0;
    return topics;
}

static int compare_places(const void *a, const void *b)
{
    const struct pj_status_partition *x = a;
    const struct pj_status_partition *y = b;
    int compared = strcmp(x->topic, y->topic);
    return compared != 0 ? compared : (x->partition > y->partition) - (x->partition < y->partition);
}

/* Which partitions there are, the topics say, not who has read them. */
static void complete(struct collector *collector, struct pj_status_consumer *consumer,
                     const struct pj_cli_projection *projection)
{
    const struct pj_status_partition *rows = consumer->partitions;
    size_t row_count = consumer->count;
    size_t topic_count;
    size_t most = row_count;
    if (collector->status->kafka_error != NULL || is_shadow(consumer->group))
        return;
    struct pj_kafka_topic *topics =
        list_topics(collector, projection, rows, row_count, &topic_count);
    for (size_t t = 0; t < topic_count; t++)
        most += (size_t)topics[t].partitions;
    struct pj_status_partition *all = pj_arena_alloc(collector->cli->arena, most * sizeof *all);
    memcpy(all, rows, row_count * sizeof *rows);
    for (size_t t = 0; t < topic_count; t++) {
        for (int p = 0; p < topics[t].partitions; p++) {
            struct pj_status_partition place = {
                .cluster_id = rows->cluster_id,
                .group = rows->group,
                .projection = rows->projection,
                .topic = topics[t].name,
                .partition = p,
                .committed = -1,
                .begin = -1,
                .end = -1,
                .lag = -1,
                .epoch = -1,
                .age_s = -1,
                .read_rate = -1,
                .write_rate = -1,
            };
            if (bsearch(&place, rows, row_count, sizeof *rows, compare_places) == NULL)
                all[consumer->count++] = place;
        }
    }
    qsort(all, consumer->count, sizeof *all, compare_places);
    consumer->partitions = all;
}

/* --- Kafka ----------------------------------------------------------------------------------- */

/* Where the topics end. Kafka being away is no error here: it is what there is to show. */
static void ask_kafka(struct collector *collector)
{
    struct pj_status *status = collector->status;
    size_t count = 0;
    size_t next = 0;
    for (size_t i = 0; i < status->count; i++)
        count += status->consumers[i].count;
    struct pj_kafka_extent *extents =
        pj_arena_alloc(collector->cli->arena, count * sizeof *extents);
    for (size_t i = 0; i < status->count; i++) {
        for (size_t p = 0; p < status->consumers[i].count; p++)
            extents[next++] =
                (struct pj_kafka_extent){.topic = status->consumers[i].partitions[p].topic,
                                         .partition = status->consumers[i].partitions[p].partition};
    }
    if (status->kafka_error == NULL &&
        pj_kafka_extents(collector->cli->kafka, extents, count, &status->why) != 0)
        status->kafka_error = status->why.message;
    next = 0;
    for (size_t i = 0; i < status->count && status->kafka_error == NULL; i++) {
        for (size_t p = 0; p < status->consumers[i].count; p++)
            judge(&status->consumers[i].partitions[p], &extents[next++]);
    }
}

/* Of rows of cluster, group and a number: that of the partition's group. */
static int64_t number_of_group(const struct pj_result *rows,
                               const struct pj_status_partition *partition, int64_t otherwise)
{
    for (int row = 0; row < pj_result_rows(rows); row++) {
        if (strcmp(pj_cli_text(rows, row, 0), partition->cluster_id) == 0 &&
            strcmp(pj_cli_text(rows, row, 1), partition->group) == 0)
            return pj_cli_number(rows, row, 2);
    }
    return otherwise;
}

static void sum_up(struct pj_status_consumer *consumer)
{
    consumer->age_s = -1;
    consumer->read_rate = consumer->write_rate = -1;
    for (size_t i = 0; i < consumer->count; i++) {
        const struct pj_status_partition *partition = &consumer->partitions[i];
        if (partition->lag < 0)
            consumer->lag = -1;
        else if (consumer->lag >= 0)
            consumer->lag += partition->lag;
        if (partition->age_s >= 0 && (consumer->age_s < 0 || partition->age_s < consumer->age_s))
            consumer->age_s = partition->age_s;
    }
}

static bool has_consumer(const struct pj_status *status, const char *group)
{
    for (size_t i = 0; i < status->count; i++) {
        if (strcmp(status->consumers[i].group, group) == 0)
            return true;
    }
    return false;
}

/* Without a name also groups of other programs' projections, and those that have read nothing yet;
 * but none of a system that --systems leaves out. */
static bool is_wanted(const struct pj_cli *cli, const struct pj_cli_projection *projection,
                      const char *topic)
{
    return projection != NULL ? pj_cli_names_projection(cli->config, projection)
                              : cli->config->operand_count == 0 &&
                                    !pj_cli_topic_is_left_out(cli->servers->topic_prefix, topic);
}

/* Rows come sorted by cluster and group; consumers that never ran come last. */
static void gather(struct collector *collector, const struct pj_result *offsets)
{
    struct pj_cli *cli = collector->cli;
    struct pj_status *status = collector->status;
    const char *only = collector->group;
    size_t rows = (size_t)pj_result_rows(offsets);
    struct pj_status_partition *partitions = pj_arena_alloc(cli->arena, rows * sizeof *partitions);
    for (size_t i = 0; i < rows; i++)
        partitions[i] = read_partition(offsets, (int)i);
    status->consumers =
        pj_arena_alloc(cli->arena, (rows + pj_cli_projection_count) * sizeof *status->consumers);
    for (size_t i = 0, next; i < rows; i = next) {
        struct pj_status_partition *first = &partitions[i];
        const struct pj_cli_projection *projection = projection_of(first);
        for (next = i + 1; next < rows && in_group(first, &partitions[next]); next++) {
        }
        if (!is_wanted(cli, projection, first->topic))
            continue;
        struct pj_status_consumer *consumer = &status->consumers[status->count++];
        *consumer = (struct pj_status_consumer){
            .cluster_id = first->cluster_id,
            .group = first->group,
            .system = projection != NULL ? projection->system->name : NULL,
            .projection = projection != NULL ? projection->projection->name : NULL,
            .partitions = first,
            .count = next - i,
            .version = projection != NULL ? projection->projection->version : -1,
            .rows_version = (int32_t)number_of_group(collector->versions, first, -1),
            .open_dead_letters = number_of_group(collector->letters, first, 0)};
        qsort(first, next - i, sizeof *first, compare_places);
        complete(collector, consumer, projection);
    }
    ask_kafka(collector);
    for (size_t i = 0; i < status->count; i++)
        sum_up(&status->consumers[i]);
    for (size_t i = 0; i < pj_cli_projection_count; i++) {
        const struct pj_cli_projection *projection = &pj_cli_projections[i];
        const char *group = projection->group;
        if (pj_cli_names_projection(cli->config, projection) && !has_consumer(status, group) &&
            (only == NULL || strcmp(only, group) == 0))
            status->consumers[status->count++] =
                (struct pj_status_consumer){.group = group,
                                            .system = projection->system->name,
                                            .projection = projection->projection->name,
                                            .version = projection->projection->version,
                                            .rows_version = -1,
                                            .lag = -1,
                                            .age_s = -1,
                                            .read_rate = -1,
                                            .write_rate = -1};
    }
}

int pj_status_collect(struct pj_cli *cli, const char *group, struct pj_status *status,
                      struct pj_error *error)
{
    struct collector collector = {.cli = cli, .group = group, .status = status};
    const struct pj_result *offsets;
    *status = (struct pj_status){0};
    /* Kafka is opened first, so that it connects while Postgres answers. */
    if (pj_cli_check_names(cli->config, error) != 0 ||
        (cli->kafka == NULL && pj_cli_kafka(cli, error) != 0) ||
        (cli->postgres == NULL &&
         (pj_cli_postgres(cli, error) != 0 || pj_cli_systems_deployed(cli, error) != 0)))
        return -1;
    if (pj_kafka_cluster_id(cli->kafka, &status->cluster_id, &status->why) != 0)
        status->kafka_error = status->why.message;
    if (pj_cli_query(cli, offsets_sql, PJ_TEXTS(status->cluster_id, group), &offsets, error) != 0 ||
        pj_cli_query(cli, letters_sql, 0, NULL, &collector.letters, error) != 0 ||
        pj_cli_query(cli, versions_sql, 0, NULL, &collector.versions, error) != 0)
        return -1;
    gather(&collector, offsets);
    if (group != NULL && status->count == 0)
        return pj_error_set(error, PJ_FATAL,
                            "no consumer group '%s' has read anything here; 'projectionist "
                            "status' without --group lists those that have",
                            group);
    return 0;
}

static int run(struct pj_cli *cli, const void *given, struct pj_error *error)
{
    const struct settings *settings = given;
    struct pj_status status;
    if (pj_status_collect(cli, settings->group, &status, error) != 0)
        return -1;
    if (settings->json)
        pj_status_print_json(&status);
    else
        pj_status_print_text(&status);
    if (status.kafka_error == NULL)
        return PJ_EXIT_OK;
    fflush(stdout);
    fprintf(stderr, "warning: the ends of the topics are unknown: %s\n", status.kafka_error);
    return PJ_EXIT_UNAVAILABLE;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTION,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    PJ_CLI_GROUP_OPTION(struct settings,
                        "Only this consumer group; by default it is named after the projection."),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_status = {
    .name = "status",
    .summary = "show how far each consumer is",
    .description =
        "  Shows, for each consumer and partition, the first offset that is not in the\n"
        "  tables yet (COMMITTED), where the partition ends, the difference (LAG), and\n"
        "  the partition's owner; then the totals of each consumer and its open dead\n"
        "  letters.\n"
        "\n"
        "  The offsets are read from Postgres, where they are committed with the rows;\n"
        "  the group offsets that Kafka's own tools show are a courtesy and may be\n"
        "  older. Without Kafka, what Postgres knows is shown anyway. It reads only the\n"
        "  schema projectionist, so it needs no --tables-schema. A system that this\n"
        "  database was never migrated for is left out, and named in a line.\n",
    .examples = "  projectionist status\n"
                "  projectionist status --group CONSUMER\n"
                "  projectionist status --json | jq '.consumers[] | {group, lag}'\n",
    .exit_status = "     (7 also when only Kafka is away, and what Postgres knows was shown)\n",
    .operands = "[SYSTEM|PROJECTION]...",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
