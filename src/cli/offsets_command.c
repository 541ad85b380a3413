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

/* *known: a projection of this program, or NULL. */
static int find_group(struct pj_cli *cli, const char *group_option,
                      const struct pj_cli_projection **known, const char **group,
                      struct pj_error *error)
{
    const struct pj_config *config = cli->config;
    if (config->operand_count > 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "'%s' is not expected: one CONSUMER at a time",
                              config->operands[1]);
    const char *consumer = config->operand_count == 1 ? config->operands[0] : NULL;
    *known = pj_cli_projection_find(consumer);
    *group = group_option != NULL ? group_option : *known != NULL ? (*known)->group : consumer;
    if (*group == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no consumer is named: give CONSUMER, such as command-projector, or "
                              "--group");
    /* A group is named after its consumer, unless the operator chose otherwise. */
    if (consumer == NULL)
        *known = pj_cli_projection_of_group(*group);
    return 0;
}

static int compare_topics(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The projection's topics and those of the rows, sorted, each once. */
static size_t list_topics(struct pj_cli *cli, const struct pj_projection *projection,
                          const struct pj_result *rows, const char ***topics)
{
    size_t sources = projection != NULL ? projection->source_count : 0;
    size_t all = sources + (size_t)pj_result_rows(rows);
    size_t count = 0;
    *topics = pj_arena_alloc(cli->arena, all * sizeof **topics);
    for (size_t i = 0; i < all; i++)
        (*topics)[i] = i < sources ? projection->sources[i].topic
                                   : pj_cli_text(rows, (int)(i - sources), TOPIC);
    if (all > 1)
        qsort(*topics, all, sizeof **topics, compare_topics);
    for (size_t i = 0; i < all; i++) {
        if (count == 0 || strcmp((*topics)[count - 1], (*topics)[i]) != 0)
            (*topics)[count++] = (*topics)[i];
    }
    return count;
}

static struct pj_offset_place place_of(const struct pj_kafka_extent *extent,
                                       const struct pj_result *rows)
{
    for (int row = 0; row < pj_result_rows(rows); row++) {
        if (pj_cli_number(rows, row, PARTITION) == extent->partition &&
            strcmp(pj_cli_text(rows, row, TOPIC), extent->topic) == 0)
            return (struct pj_offset_place){
                .extent = *extent,
                .committed = pj_cli_number(rows, row, NEXT_OFFSET),
                .epoch = pj_cli_number(rows, row, EPOCH),
                .owner = pj_result_value(rows, row, OWNER, NULL),
                .updated_at = pj_result_value(rows, row, UPDATED_AT, NULL),
                .stream_time = pj_result_value(rows, row, STREAM_TIME, NULL),
                .read_topic_id = pj_result_value(rows, row, TOPIC_ID, NULL),
                .is_stopped = pj_result_value(rows, row, STOP, NULL) != NULL,
            };
    }
    return (struct pj_offset_place){.extent = *extent, .committed = -1, .epoch = -1};
}

int pj_offset_list_read(struct pj_offset_list *list, struct pj_cli *cli, const char *group_option,
                        struct pj_error *error)
{
    const struct pj_cli_projection *known = NULL;
    const char *group;
    const struct pj_result *rows;
    const char **topics;
    struct pj_kafka_extent *extents;
    if (find_group(cli, group_option, &known, &group, error) != 0 || pj_cli_open(cli, error) != 0)
        return -1;
    if (pj_cli_query(cli, rows_sql, PJ_TEXTS(cli->cluster_id, group), &rows, error) != 0)
        return -1;
    if (known == NULL && pj_result_rows(rows) == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "'%s' is not a consumer of this program, and the group '%s' has read "
                              "nothing from this Kafka; 'projectionist status' lists the groups",
                              cli->config->operand_count == 1 ? cli->config->operands[0] : group,
                              group);
    size_t count = list_topics(cli, known != NULL ? known->projection : NULL, rows, &topics);
    *list = (struct pj_offset_list){.group = group};
    if (pj_cli_extents(cli, topics, count, &extents, &list->count, error) != 0)
        return -1;
    list->places = pj_arena_alloc(cli->arena, list->count * sizeof *list->places);
    for (size_t i = 0; i < list->count; i++)
        list->places[i] = place_of(&extents[i], rows);
    return 0;
}
