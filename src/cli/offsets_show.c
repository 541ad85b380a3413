/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist offsets show: where a group continues, and who moved it by hand. */
#include "cli/offsets_command.h"

#include "base/memory.h"
#include "cli/text_table.h"

struct settings {
    struct pj_cli_servers servers;
    const char *group;
    bool json;
};

static const char changes_sql[] =
    "SELECT to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),"
    "  changed_by, topic, partition, from_offset, to_offset, reason "
    "FROM projectionist.offset_changes WHERE cluster_id = $1 AND consumer_group = $2 "
    "ORDER BY id DESC LIMIT 20";

static int64_t lag(const struct pj_offset_place *place)
{
    return place->committed >= 0 && place->extent.end >= place->committed
               ? place->extent.end - place->committed
               : -1;
}

static void print_places(const struct pj_offset_list *list)
{
    static const char *const titles[] = {"TOPIC", ">PARTITION", ">BEGIN", ">NEXT",      ">END",
                                         ">LAG",  ">EPOCH",     "OWNER",  "LAST MOVED", NULL};
    struct pj_text_table *table = pj_text_table_new(titles);
    for (size_t i = 0; i < list->count; i++) {
        const struct pj_offset_place *place = &list->places[i];
        pj_text_table_add(table, place->extent.topic);
        pj_text_table_add_number(table, place->extent.partition);
        pj_text_table_add_number(table, place->extent.begin);
        pj_text_table_add_number(table, place->committed);
        pj_text_table_add_number(table, place->extent.end);
        pj_text_table_add_number(table, lag(place));
        pj_text_table_add_number(table, place->epoch);
        pj_text_table_add(table, place->owner);
        pj_text_table_add(table, place->updated_at);
    }
    pj_text_table_end(table, stdout);
}

static void print_changes(const struct pj_result *changes)
{
    static const char *const titles[] = {"MOVED BY HAND", "BY",  "TOPIC",     ">PARTITION",
                                         ">FROM",         ">TO", "ASKED FOR", NULL};
    if (pj_result_rows(changes) == 0)
        return;
    struct pj_text_table *table = pj_text_table_new(titles);
    for (int row = 0; row < pj_result_rows(changes); row++) {
        for (int column = 0; titles[column] != NULL; column++)
            pj_text_table_add(table, pj_result_value(changes, row, column, NULL));
    }
    putchar('\n');
    pj_text_table_end(table, stdout);
}

static void print_json(const struct pj_cli *cli, const struct pj_offset_list *list,
                       const struct pj_result *changes)
{
    json_t *partitions = pj_must(json_array());
    for (size_t i = 0; i < list->count; i++) {
        const struct pj_offset_place *place = &list->places[i];
        json_array_append_new(
            partitions,
            json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:s?, s:s?, s:s?}", "topic",
                      place->extent.topic, "partition", (int)place->extent.partition, "begin",
                      pj_cli_known(place->extent.begin), "next_offset",
                      pj_cli_known(place->committed), "end", pj_cli_known(place->extent.end), "lag",
                      pj_cli_known(lag(place)), "epoch", pj_cli_known(place->epoch), "owner",
                      place->owner, "updated_at", place->updated_at, "stream_time",
                      place->stream_time));
    }
    pj_cli_print_json(
        json_pack("{s:s, s:s, s:o, s:o}", "cluster_id", cli->cluster_id, "group", list->group,
                  "partitions", partitions, "changes",
                  pj_cli_rows_json(changes, "changed_at changed_by topic #partition #from #to "
                                            "reason")));
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct pj_offset_list list;
    const struct pj_result *changes;
    if (pj_offset_list_read(&list, cli, settings->group, error) != 0)
        return -1;
    if (pj_cli_query(cli, changes_sql, PJ_TEXTS(cli->cluster_id, list.group), &changes, error) != 0)
        return -1;
    if (settings->json) {
        print_json(cli, &list, changes);
    } else {
        print_places(&list);
        print_changes(changes);
    }
    return PJ_EXIT_OK;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTION,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    PJ_CLI_GROUP_OPTION(struct settings, "The consumer group; the default is the consumer's name."),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_offsets_show = {
    .name = "offsets show",
    .summary = "show where a consumer continues",
    .description = "  Shows each partition of the consumer's topics: the first offset that is\n"
                   "  still there (BEGIN), the first that is not in the tables (NEXT), where the\n"
                   "  partition ends (END), and its owner; below, the changes made with 'offsets\n"
                   "  set', newest first.\n",
    .examples = "  projectionist offsets show CONSUMER\n"
                "  projectionist offsets show --group CONSUMER-2 --json\n",
    .operands = "[CONSUMER]",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
