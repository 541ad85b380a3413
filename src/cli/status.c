/* SPDX-License-Identifier: Apache-2.0 */
/*
 * projectionist status: how far each consumer has read each partition. The truth about offsets is
 * in Postgres, with the rows; where the topics end is Kafka's to say.
 */
#include "cli/status.h"

#include "cli/deployment.h"
#include "kafka/admin.h"

#include <stdlib.h>
#include <string.h>

struct settings {
    struct pj_cli_servers servers;
    const char *group;
    bool json;
};

struct collector {
    const struct settings *settings;
    const struct pj_config *config;
    struct pj_postgres *postgres;
    struct pj_kafka *kafka;
    struct pj_error kafka_error;
    struct pj_result *offsets; /* own the texts of the status */
    struct pj_result *letters;
    struct pj_status_partition *partitions;
    struct pj_status status;
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

/* --- collecting ------------------------------------------------------------------------------ */

static int query(struct collector *collector, const char *sql, int count,
                 const char *const *parameters, struct pj_result **result, struct pj_error *error)
{
    if (pj_postgres_query(collector->postgres, sql, count, parameters, result, error) == 0)
        return 0;
    if (strcmp(error->sqlstate, "42P01") == 0 || strcmp(error->sqlstate, "3F000") == 0)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the database has no table of offsets yet; 'projectionist migrate' "
                              "makes it");
    if (strcmp(error->sqlstate, "42703") == 0)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the database is older than this program; run 'projectionist "
                              "migrate'");
    return -1;
}

static int64_t number(const struct pj_result *result, int row, int column)
{
    const char *text = pj_result_value(result, row, column, NULL);
    return text != NULL ? strtoll(text, NULL, 10) : -1;
}

static void read_partition(const struct pj_result *result, int row,
                           struct pj_status_partition *partition)
{
    *partition = (struct pj_status_partition){
        .cluster_id = pj_cli_text(result, row, CLUSTER),
        .group = pj_cli_text(result, row, GROUP),
        .projection = pj_result_value(result, row, PROJECTION, NULL),
        .topic = pj_cli_text(result, row, TOPIC),
        .partition = (int32_t)number(result, row, PARTITION),
        .committed = number(result, row, NEXT_OFFSET),
        .begin = -1,
        .end = -1,
        .lag = -1,
        .epoch = number(result, row, EPOCH),
        .owner = pj_result_value(result, row, OWNER, NULL),
        .last_commit = pj_result_value(result, row, LAST_COMMIT, NULL),
        .age_s = -1,
        .stream_time = pj_result_value(result, row, STREAM_TIME, NULL),
        .topic_id = pj_result_value(result, row, TOPIC_ID, NULL),
        .stop = pj_result_value(result, row, STOP, NULL),
        .stop_code = (int)number(result, row, STOP_CODE),
    };
    if (partition->last_commit != NULL)
        partition->age_s = number(result, row, AGE);
}

/* What was never taken lacks all of what is there. */
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

/* --- the partitions that nobody took --------------------------------------------------------- */

static const struct pj_cli_projection *projection_of(const struct pj_status_partition *partition)
{
    return partition->projection != NULL ? pj_cli_projection_find(partition->projection)
                                         : pj_cli_projection_of_group(partition->group);
}

/* A rebuild or a verify has the partitions that it was dealt out. */
static bool is_shadow(const char *group)
{
    const char *slash = strrchr(group, '/');
    return slash != NULL && (strcmp(slash, "/rebuild") == 0 || strcmp(slash, "/verify") == 0);
}

static bool in_group(const struct pj_status_partition *a, const struct pj_status_partition *b)
{
    return strcmp(a->cluster_id, b->cluster_id) == 0 && strcmp(a->group, b->group) == 0;
}

struct counts {
    struct pj_kafka_topic *topics;
    size_t count;
};

static void add_topic(struct counts *counts, const char *name)
{
    for (size_t i = 0; i < counts->count; i++) {
        if (strcmp(counts->topics[i].name, name) == 0)
            return;
    }
    counts->topics[counts->count++].name = name;
}

/* The topics of one group: of its projection, and those that it has read. */
static void list_topics(struct counts *counts, const struct pj_status_partition *rows, size_t count)
{
    counts->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct pj_cli_projection *found = projection_of(&rows[i]);
        for (size_t t = 0; found != NULL && t < found->projection->source_count; t++)
            add_topic(counts, found->projection->sources[t].topic);
        add_topic(counts, rows[i].topic);
    }
}

static bool has_place(const struct pj_status_partition *rows, size_t count, const char *topic,
                      int partition)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].partition == partition && strcmp(rows[i].topic, topic) == 0)
            return true;
    }
    return false;
}

static int compare_places(const void *a, const void *b)
{
    const struct pj_status_partition *x = a;
    const struct pj_status_partition *y = b;
    int compared = strcmp(x->topic, y->topic);
    return compared != 0 ? compared : (x->partition > y->partition) - (x->partition < y->partition);
}

/* Copies the rows of one group behind `*count` others, and adds what its topics have besides. */
static void complete_group(struct collector *collector, const struct counts *counts,
                           const struct pj_status_partition *rows, size_t row_count,
                           struct pj_status_partition **all, size_t *count)
{
    size_t most = row_count;
    for (size_t t = 0; t < counts->count; t++)
        most += (size_t)counts->topics[t].partitions;
    *all = reallocarray(*all, *count + most + 1, sizeof **all);
    if (*all == NULL)
        abort();
    struct pj_status_partition *mine = *all + *count;
    size_t added = row_count;
    memcpy(mine, rows, row_count * sizeof *rows);
    bool ours = collector->status.cluster_id != NULL &&
                strcmp(rows->cluster_id, collector->status.cluster_id) == 0 &&
                !is_shadow(rows->group);
    for (size_t t = 0; t < counts->count && ours; t++) {
        for (int p = 0; p < counts->topics[t].partitions; p++) {
            if (!has_place(rows, row_count, counts->topics[t].name, p))
                mine[added++] = (struct pj_status_partition){.cluster_id = rows->cluster_id,
                                                             .group = rows->group,
                                                             .projection = rows->projection,
                                                             .topic = counts->topics[t].name,
                                                             .partition = p,
                                                             .committed = -1,
                                                             .begin = -1,
                                                             .end = -1,
                                                             .lag = -1,
                                                             .epoch = -1,
                                                             .age_s = -1};
        }
    }
    qsort(mine, added, sizeof *mine, compare_places);
    *count += added;
}

/* Which partitions there are, the topics say, not who has read them. */
static int complete(struct collector *collector, size_t *count, struct pj_error *error)
{
    size_t rows = *count;
    struct counts counts = {0};
    struct pj_status_partition *all = NULL;
    size_t topics = rows;
    for (size_t i = 0; i < pj_cli_projection_count; i++)
        topics += pj_cli_projections[i].projection->source_count;
    counts.topics = calloc(topics + 1, sizeof *counts.topics);
    if (counts.topics == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    *count = 0;
    for (size_t i = 0, next; i < rows; i = next) {
        const struct pj_status_partition *first = &collector->partitions[i];
        for (next = i + 1; next < rows && in_group(first, &collector->partitions[next]); next++) {
        }
        list_topics(&counts, first, next - i);
        if (collector->status.kafka_error == NULL &&
            pj_kafka_count_partitions(collector->kafka, counts.topics, counts.count,
                                      &collector->kafka_error) != 0)
            collector->status.kafka_error = collector->kafka_error.message;
        for (size_t t = 0; collector->status.kafka_error != NULL && t < counts.count; t++)
            counts.topics[t].partitions = 0;
        complete_group(collector, &counts, first, next - i, &all, count);
    }
    free(counts.topics);
    free(collector->partitions);
    collector->partitions = all;
    return 0;
}

/* --- Kafka ----------------------------------------------------------------------------------- */

/* Where the topics end. Kafka being away is no error here: it is what there is to show. */
static int ask_kafka(struct collector *collector, size_t count, struct pj_error *error)
{
    struct pj_status_partition *partitions = collector->partitions;
    struct pj_kafka_extent *extents = calloc(count + 1, sizeof *extents);
    if (extents == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    for (size_t i = 0; i < count; i++)
        extents[i] = (struct pj_kafka_extent){.topic = partitions[i].topic,
                                              .partition = partitions[i].partition};
    if (pj_kafka_extents(collector->kafka, extents, count, &collector->kafka_error) != 0) {
        collector->status.kafka_error = collector->kafka_error.message;
    } else {
        for (size_t i = 0; i < count; i++)
            judge(&partitions[i], &extents[i]);
    }
    free(extents);
    return 0;
}

static int64_t open_letters(const struct pj_result *letters, const char *cluster, const char *group)
{
    for (int row = 0; row < pj_result_rows(letters); row++) {
        if (strcmp(pj_cli_text(letters, row, 0), cluster) == 0 &&
            strcmp(pj_cli_text(letters, row, 1), group) == 0)
            return number(letters, row, 2);
    }
    return 0;
}

static void sum_up(struct pj_status_consumer *consumer)
{
    consumer->age_s = -1;
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

/* Without a name, and without --systems, also groups of projections that are not of this program.
 */
static bool is_wanted(const struct collector *collector, const struct pj_cli_projection *projection)
{
    return projection != NULL ? pj_cli_names_projection(collector->config, projection)
                              : collector->config->operand_count == 0 &&
                                    collector->settings->servers.systems == NULL;
}

/* Rows come sorted by cluster and group; consumers that never ran come last. */
static int gather(struct collector *collector, size_t rows, struct pj_error *error)
{
    struct pj_status *status = &collector->status;
    const char *only = collector->settings->group;
    status->consumers = calloc(rows + pj_cli_projection_count + 1, sizeof *status->consumers);
    if (status->consumers == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    for (size_t i = 0, next; i < rows; i = next) {
        const struct pj_status_partition *first = &collector->partitions[i];
        const struct pj_cli_projection *projection = projection_of(first);
        for (next = i + 1; next < rows && in_group(first, &collector->partitions[next]); next++) {
        }
        if (is_wanted(collector, projection))
            status->consumers[status->count++] = (struct pj_status_consumer){
                .cluster_id = first->cluster_id,
                .group = first->group,
                .system = projection != NULL ? projection->system->name : NULL,
                .projection = projection != NULL ? projection->projection->name : NULL,
                .partitions = first,
                .count = next - i,
                .open_dead_letters =
                    open_letters(collector->letters, first->cluster_id, first->group)};
    }
    for (size_t i = 0; i < status->count; i++)
        sum_up(&status->consumers[i]);
    for (size_t i = 0; i < pj_cli_projection_count; i++) {
        const struct pj_cli_projection *projection = &pj_cli_projections[i];
        const char *group = projection->group;
        if (is_wanted(collector, projection) && !has_consumer(status, group) &&
            (only == NULL || strcmp(only, group) == 0))
            status->consumers[status->count++] =
                (struct pj_status_consumer){.group = group,
                                            .system = projection->system->name,
                                            .projection = projection->projection->name,
                                            .lag = -1,
                                            .age_s = -1};
    }
    return 0;
}

static int collect(struct collector *collector, const struct pj_config *config,
                   struct pj_error *error)
{
    const struct settings *settings = collector->settings;
    struct pj_status *status = &collector->status;
    if (pj_cli_check_names(config, error) != 0)
        return -1;
    /* Opened first, so that it connects while Postgres answers. */
    if (pj_kafka_open(&collector->kafka, &config->kafka, settings->servers.timeout_ms, error) != 0)
        return -1;
    if (pj_cli_postgres(&collector->postgres, config, &settings->servers, error) != 0)
        return -1;
    if (pj_kafka_cluster_id(collector->kafka, &status->cluster_id, &collector->kafka_error) != 0)
        status->kafka_error = collector->kafka_error.message;
    const char *parameters[] = {status->cluster_id, settings->group};
    if (query(collector, offsets_sql, 2, parameters, &collector->offsets, error) != 0 ||
        query(collector, letters_sql, 0, NULL, &collector->letters, error) != 0)
        return -1;
    size_t rows = (size_t)pj_result_rows(collector->offsets);
    collector->partitions = calloc(rows + 1, sizeof *collector->partitions);
    if (collector->partitions == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    for (size_t i = 0; i < rows; i++)
        read_partition(collector->offsets, (int)i, &collector->partitions[i]);
    if (complete(collector, &rows, error) != 0)
        return -1;
    if (status->kafka_error == NULL && ask_kafka(collector, rows, error) != 0)
        return -1;
    if (gather(collector, rows, error) != 0)
        return -1;
    if (settings->group != NULL && status->count == 0)
        return pj_error_set(error, PJ_FATAL,
                            "no consumer group '%s' has read anything here; 'projectionist "
                            "status' without --group lists those that have",
                            settings->group);
    return 0;
}

static int run(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    struct collector collector = {.settings = opaque, .config = config};
    int result = collect(&collector, config, error);
    if (result == 0) {
        if (collector.settings->json)
            pj_status_print_json(&collector.status);
        else
            pj_status_print_text(&collector.status);
        if (collector.status.kafka_error != NULL) {
            fflush(stdout);
            fprintf(stderr, "warning: where the topics end is not known: %s\n",
                    collector.status.kafka_error);
            result = PJ_EXIT_UNAVAILABLE;
        }
    }
    free(collector.status.consumers);
    free(collector.partitions);
    pj_result_free(collector.offsets);
    pj_result_free(collector.letters);
    pj_postgres_close(collector.postgres);
    pj_kafka_close(collector.kafka);
    return result;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTIONS,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    {.name = "group",
     .letter = 'g',
     .kind = PJ_OPTION_STRING,
     .filled = true,
     .offset = offsetof(struct settings, group),
     .argument = "NAME",
     .help = "Only this consumer group; its name is by default that of the projection."},
    {.name = "json",
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, json),
     .help = "Print one JSON object instead of tables for people; unknown numbers are null."},
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_status = {
    .name = "status",
    .summary = "show how far each consumer is",
    .description =
        "  Shows, for each consumer and partition, the first offset that is not in the\n"
        "  tables yet (COMMITTED), where the partition ends, the difference (LAG), and\n"
        "  which process commits; then the totals of each consumer and its open dead\n"
        "  letters.\n"
        "\n"
        "  The offsets are read from Postgres, where they are committed with the rows;\n"
        "  the group offsets that Kafka's own tools show are a courtesy and may be older.\n"
        "  Without Kafka, what Postgres knows is shown all the same.\n",
    .examples = "  projectionist status\n"
                "  projectionist status --group event-recorder\n"
                "  projectionist status --json | jq '.consumers[] | {group, lag}'\n",
    .exit_status = "     (7 also when only Kafka is away, and what Postgres knows was shown)\n",
    .operands = "[SYSTEM|PROJECTION]...",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
