/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/offsets_command.h"

#include "cli/deployment.h"

#include <stdlib.h>
#include <string.h>

static const char rows_sql[] =
    "SELECT topic, partition, next_offset, epoch, owner,"
    "  to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),"
    "  to_char(stream_time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), topic_id,"
    "  stop_reason "
    "FROM projectionist.consumer_offsets "
    "WHERE cluster_id = $1 AND consumer_group = $2 ORDER BY topic COLLATE \"C\", partition";
enum { TOPIC, PARTITION, NEXT_OFFSET, EPOCH, OWNER, UPDATED_AT, STREAM_TIME, TOPIC_ID, STOP };

static const struct pj_projection *find_projection(const char *name)
{
    const struct pj_cli_projection *found = pj_cli_projection_find(name);
    return found != NULL ? found->projection : NULL;
}

int pj_offset_group(const struct pj_config *config, const char *group_option, const char **consumer,
                    const char **group, struct pj_error *error)
{
    if (config->operand_count > 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "'%s' is not expected: one CONSUMER at a time",
                              config->operands[1]);
    *consumer = config->operand_count == 1 ? config->operands[0] : NULL;
    const struct pj_cli_projection *known = pj_cli_projection_find(*consumer);
    *group = group_option != NULL ? group_option : known != NULL ? known->group : *consumer;
    if (*group == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no consumer is named: give CONSUMER, such as command-projector, or "
                              "--group");
    /* A group is named after its consumer, unless the operator chose otherwise. */
    if (*consumer == NULL && (known = pj_cli_projection_of_group(*group)) != NULL)
        *consumer = known->projection->name;
    return 0;
}

/* --- which topics ---------------------------------------------------------------------------- */

struct topics {
    struct pj_kafka_topic *items;
    size_t count;
};

static void add_topic(struct topics *topics, const char *name)
{
    for (size_t i = 0; i < topics->count; i++) {
        if (strcmp(topics->items[i].name, name) == 0)
            return;
    }
    topics->items[topics->count++].name = name;
}

static int compare_topics(const void *a, const void *b)
{
    return strcmp(((const struct pj_kafka_topic *)a)->name,
                  ((const struct pj_kafka_topic *)b)->name);
}

static int list_topics(struct topics *topics, const struct pj_projection *projection,
                       const struct pj_result *rows, struct pj_error *error)
{
    size_t most = (size_t)pj_result_rows(rows) + (projection ? projection->source_count : 0);
    topics->items = calloc(most + 1, sizeof *topics->items);
    if (topics->items == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    for (size_t i = 0; projection != NULL && i < projection->source_count; i++)
        add_topic(topics, projection->sources[i].topic);
    for (int row = 0; row < pj_result_rows(rows); row++)
        add_topic(topics, pj_cli_text(rows, row, TOPIC));
    if (topics->count > 1)
        qsort(topics->items, topics->count, sizeof *topics->items, compare_topics);
    return 0;
}

/* --- places ---------------------------------------------------------------------------------- */

static int64_t number(const struct pj_result *rows, int row, int column)
{
    return strtoll(pj_cli_text(rows, row, column), NULL, 10);
}

static void add_committed(struct pj_offset_list *list, int row)
{
    const char *topic = pj_cli_text(list->rows, row, TOPIC);
    int64_t partition = number(list->rows, row, PARTITION);
    for (size_t i = 0; i < list->count; i++) {
        struct pj_offset_place *place = &list->places[i];
        if (place->partition != partition || strcmp(place->topic, topic) != 0)
            continue;
        place->committed = number(list->rows, row, NEXT_OFFSET);
        place->epoch = number(list->rows, row, EPOCH);
        place->owner = pj_result_value(list->rows, row, OWNER, NULL);
        place->updated_at = pj_result_value(list->rows, row, UPDATED_AT, NULL);
        place->stream_time = pj_result_value(list->rows, row, STREAM_TIME, NULL);
        place->read_topic_id = pj_result_value(list->rows, row, TOPIC_ID, NULL);
        place->is_stopped = pj_result_value(list->rows, row, STOP, NULL) != NULL;
    }
}

static int read_extents(struct pj_offset_list *list, struct pj_error *error)
{
    struct pj_kafka_extent *extents = calloc(list->count + 1, sizeof *extents);
    if (extents == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    for (size_t i = 0; i < list->count; i++)
        extents[i] = (struct pj_kafka_extent){.topic = list->places[i].topic,
                                              .partition = list->places[i].partition};
    int status = pj_kafka_extents(list->kafka, extents, list->count, error);
    for (size_t i = 0; i < list->count && status == 0; i++) {
        list->places[i].begin = extents[i].begin;
        list->places[i].end = extents[i].end;
        memcpy(list->places[i].topic_id, extents[i].topic_id, sizeof extents[i].topic_id);
    }
    free(extents);
    return status;
}

static int make_places(struct pj_offset_list *list, const struct topics *topics,
                       struct pj_error *error)
{
    size_t most = 0;
    for (size_t i = 0; i < topics->count; i++) {
        if (topics->items[i].partitions == 0)
            return pj_error_set(error, PJ_FATAL,
                                "the topic %s does not exist in Kafka; 'projectionist topics "
                                "create' makes topics",
                                topics->items[i].name);
        most += (size_t)topics->items[i].partitions;
    }
    list->places = calloc(most + 1, sizeof *list->places);
    if (list->places == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    for (size_t i = 0; i < topics->count; i++) {
        /* The topics' array goes; the names are the rows' or the projection's. */
        for (int p = 0; p < topics->items[i].partitions; p++)
            list->places[list->count++] = (struct pj_offset_place){
                .topic = topics->items[i].name, .partition = p, .committed = -1, .epoch = -1};
    }
    for (int row = 0; row < pj_result_rows(list->rows); row++)
        add_committed(list, row);
    return read_extents(list, error);
}

static int read_rows(struct pj_offset_list *list, struct pj_error *error)
{
    const char *parameters[] = {list->cluster_id, list->group};
    if (pj_postgres_query(list->postgres, rows_sql, 2, parameters, &list->rows, error) == 0)
        return 0;
    if (strcmp(error->sqlstate, "42P01") == 0 || strcmp(error->sqlstate, "3F000") == 0)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the database has no table of offsets yet; 'projectionist migrate' "
                              "makes it");
    return -1;
}

int pj_offset_list_read(struct pj_offset_list *list, const struct pj_config *config,
                        const struct pj_cli_servers *servers, const char *consumer,
                        const char *group, struct pj_error *error)
{
    const struct pj_projection *projection = find_projection(consumer);
    struct topics topics = {0};
    *list = (struct pj_offset_list){.group = group};
    if (pj_kafka_open(&list->kafka, &config->kafka, servers->timeout_ms, error) != 0 ||
        pj_cli_postgres(&list->postgres, config, servers, error) != 0 ||
        pj_kafka_cluster_id(list->kafka, &list->cluster_id, error) != 0 ||
        read_rows(list, error) != 0)
        return -1;
    if (projection == NULL && pj_result_rows(list->rows) == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "'%s' is no consumer of this program, and the group '%s' has read "
                              "nothing from this Kafka; 'projectionist status' lists the groups",
                              consumer != NULL ? consumer : group, group);
    int status = list_topics(&topics, projection, list->rows, error);
    if (status == 0)
        status = pj_kafka_describe(list->kafka, topics.items, topics.count, error);
    if (status == 0)
        status = make_places(list, &topics, error);
    free(topics.items);
    return status;
}

void pj_offset_list_free(struct pj_offset_list *list)
{
    free(list->places);
    pj_result_free(list->rows);
    pj_postgres_close(list->postgres);
    pj_kafka_close(list->kafka);
    *list = (struct pj_offset_list){0};
}
