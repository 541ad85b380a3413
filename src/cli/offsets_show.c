/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist offsets show: where a group goes on, and who moved it by hand. */
#include "cli/offsets_command.h"

#include "cli/text_table.h"

#include <jansson.h>
#include <stdlib.h>

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
enum { CHANGED_AT, CHANGED_BY, TOPIC, PARTITION, FROM, TO, REASON, CHANGE_COLUMNS };

static int64_t lag(const struct pj_offset_place *place)
{
    return place->committed >= 0 && place->end >= place->committed ? place->end - place->committed
                                                                   : -1;
}

static void add_number(struct pj_text_table *table, int64_t number)
{
    char text[PJ_NUMBER_TEXT];
    pj_text_table_add(table, number >= 0 ? pj_number_text(text, number) : "-");
}

static void print_places(const struct pj_offset_list *list)
{
    static const char *const titles[] = {"TOPIC", ">PARTITION", ">BEGIN", ">NEXT",     ">END",
                                         ">LAG",  ">EPOCH",     "OWNER",  "LAST MOVED"};
    struct pj_text_table *table = pj_text_table_new(titles, sizeof titles / sizeof titles[0]);
    for (size_t i = 0; i < list->count; i++) {
        const struct pj_offset_place *place = &list->places[i];
        pj_text_table_add(table, place->topic);
        add_number(table, place->partition);
        add_number(table, place->begin);
        add_number(table, place->committed);
        add_number(table, place->end);
        add_number(table, lag(place));
        add_number(table, place->epoch);
        pj_text_table_add(table, place->owner != NULL ? place->owner : "-");
        pj_text_table_add(table, place->updated_at != NULL ? place->updated_at : "-");
    }
    pj_text_table_print(table, stdout);
    pj_text_table_free(table);
}

static void print_changes(const struct pj_result *changes)
{
    static const char *const titles[] = {"MOVED BY HAND", "BY",  "TOPIC",    ">PARTITION",
                                         ">FROM",         ">TO", "ASKED FOR"};
    if (pj_result_rows(changes) == 0)
        return;
    struct pj_text_table *table = pj_text_table_new(titles, sizeof titles / sizeof titles[0]);
    for (int row = 0; row < pj_result_rows(changes); row++) {
        for (int column = 0; column < CHANGE_COLUMNS; column++) {
            const char *text = pj_result_value(changes, row, column, NULL);
            pj_text_table_add(table, text != NULL ? text : "-");
        }
    }
    putchar('\n');
    pj_text_table_print(table, stdout);
    pj_text_table_free(table);
}

static json_t *known(int64_t number)
{
    return number >= 0 ? json_integer(number) : json_null();
}

static json_t *changes_json(const struct pj_result *changes)
{
    json_t *array = json_array();
    for (int row = 0; row < pj_result_rows(changes); row++) {
        const char *from = pj_result_value(changes, row, FROM, NULL);
        json_array_append_new(
            array, json_pack("{s:s, s:s, s:s, s:I, s:o, s:I, s:s}", "changed_at",
                             pj_cli_text(changes, row, CHANGED_AT), "changed_by",
                             pj_cli_text(changes, row, CHANGED_BY), "topic",
                             pj_cli_text(changes, row, TOPIC), "partition",
                             (json_int_t)strtoll(pj_cli_text(changes, row, PARTITION), NULL, 10),
                             "from", from != NULL ? known(strtoll(from, NULL, 10)) : json_null(),
                             "to", (json_int_t)strtoll(pj_cli_text(changes, row, TO), NULL, 10),
                             "reason", pj_cli_text(changes, row, REASON)));
    }
    return array;
}

static void print_json(const struct pj_offset_list *list, const struct pj_result *changes)
{
    json_t *partitions = json_array();
    for (size_t i = 0; i < list->count; i++) {
        const struct pj_offset_place *place = &list->places[i];
        json_array_append_new(
            partitions, json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:s?, s:s?, s:s?}", "topic",
                                  place->topic, "partition", (int)place->partition, "begin",
                                  known(place->begin), "next_offset", known(place->committed),
                                  "end", known(place->end), "lag", known(lag(place)), "epoch",
                                  known(place->epoch), "owner", place->owner, "updated_at",
                                  place->updated_at, "stream_time", place->stream_time));
    }
    json_t *document =
        json_pack("{s:s, s:s, s:o, s:o}", "cluster_id", list->cluster_id, "group", list->group,
                  "partitions", partitions, "changes", changes_json(changes));
    json_dumpf(document, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(document);
}

static int run(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    const char *consumer;
    const char *group;
    struct pj_offset_list list = {0};
    struct pj_result *changes = NULL;
    int status = -1;
    if (pj_offset_group(config, settings->group, &consumer, &group, error) != 0)
        return -1;
    if (pj_offset_list_read(&list, config, &settings->servers, consumer, group, error) != 0)
        goto out;
    const char *parameters[] = {list.cluster_id, group};
    if (pj_postgres_query(list.postgres, changes_sql, 2, parameters, &changes, error) != 0)
        goto out;
    if (settings->json) {
        print_json(&list, changes);
    } else {
        print_places(&list);
        print_changes(changes);
    }
    status = PJ_EXIT_OK;
out:
    pj_result_free(changes);
    pj_offset_list_free(&list);
    return status;
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
     .help = "The consumer group; the default is the consumer's name."},
    {.name = "json",
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, json),
     .help = "Print one JSON object instead of tables for people; unknown numbers are null."},
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_offsets_show = {
    .name = "offsets show",
    .summary = "show where a consumer goes on",
    .description =
        "  Shows each partition of the consumer's topics: the first offset that is still\n"
        "  there (BEGIN), the first that is not in the tables (NEXT), where it ends\n"
        "  (END), and who has it; below, the changes made with 'offsets set', the last\n"
        "  one first.\n",
    .examples = "  projectionist offsets show command-projector\n"
                "  projectionist offsets show --group event-recorder-2 --json\n",
    .operands = "[CONSUMER]",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
