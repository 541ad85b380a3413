/* SPDX-License-Identifier: Apache-2.0 */
/*
 * projectionist offsets set: makes a group continue elsewhere. It claims the partitions as another
 * consumer would, so their owner cannot commit past the change.
 */
#include "base/memory.h"
#include "base/text.h"
#include "cli/confirm.h"
#include "cli/offsets_command.h"
#include "cli/text_table.h"

#include <stdlib.h>
#include <string.h>

struct settings {
    struct pj_cli_servers servers;
    const char *group;
    const char *to;
    const char *topic;
    int64_t partition;
    bool dry_run;
    bool yes;
    bool json;
};

struct change {
    const struct pj_offset_place *place;
    int64_t target;
};

struct changes {
    struct change *items;
    size_t count;
    size_t chosen; /* partitions, those included that are there already */
};

/* --- what is to change ----------------------------------------------------------------------- */

static bool is_chosen(const struct settings *settings, const struct pj_offset_place *place)
{
    return (settings->topic == NULL || strcmp(settings->topic, place->extent.topic) == 0) &&
           (settings->partition < 0 || settings->partition == place->extent.partition);
}

static int choose(struct pj_cli *cli, const struct settings *settings,
                  const struct pj_offset_list *list, struct changes *changes,
                  struct pj_error *error)
{
    bool topic_found = settings->topic == NULL;
    changes->items = pj_arena_alloc(cli->arena, list->count * sizeof *changes->items);
    for (size_t i = 0; i < list->count; i++) {
        const struct pj_offset_place *place = &list->places[i];
        topic_found = topic_found || strcmp(settings->topic, place->extent.topic) == 0;
        if (!is_chosen(settings, place))
            continue;
        if (pj_cli_check_extent(&place->extent, error) != 0)
            return -1;
        changes->items[changes->count++].place = place;
    }
    if (!topic_found)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--topic: the consumer group '%s' does not read '%s'", list->group,
                              settings->topic);
    if (changes->count == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--partition: the consumer group '%s' reads no partition %lld",
                              list->group, (long long)settings->partition);
    changes->chosen = changes->count;
    return 0;
}

static int find_targets(struct pj_cli *cli, const char *to, struct changes *changes,
                        struct pj_error *error)
{
    bool earliest = strcmp(to, "earliest") == 0;
    bool offset = *to != '\0' && strspn(to, "0123456789") == strlen(to);
    bool time = !earliest && !offset && strcmp(to, "latest") != 0;
    int64_t number = -1;
    struct pj_kafka_extent *extents = pj_arena_alloc(cli->arena, changes->count * sizeof *extents);
    int64_t *offsets = pj_arena_alloc(cli->arena, changes->count * sizeof *offsets);
    for (size_t i = 0; i < changes->count; i++)
        extents[i] = changes->items[i].place->extent;
    if ((offset && pj_parse_integer("--to", to, 0, INT64_MAX, &number, error) != 0) ||
        (time && pj_cli_offsets_at(cli, "--to", "earliest, latest, an offset", to, extents,
                                   changes->count, offsets, error) != 0))
        return -1;
    for (size_t i = 0; i < changes->count; i++)
        changes->items[i].target = earliest ? extents[i].begin
                                   : offset ? number
                                   : time   ? offsets[i]
                                            : extents[i].end;
    return 0;
}

static int check_targets(const struct changes *changes, struct pj_error *error)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct pj_kafka_extent *extent = &changes->items[i].place->extent;
        int64_t target = changes->items[i].target;
        if (target < extent->begin || target > extent->end)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "--to %lld is outside of %s [%d], which reaches from %lld to "
                                  "%lld; choose partitions with --topic and --partition",
                                  (long long)target, extent->topic, (int)extent->partition,
                                  (long long)extent->begin, (long long)extent->end);
    }
    return 0;
}

/* The committed offset is of a topic that is not known to be the present one. */
static bool is_of_another(const struct pj_offset_place *place)
{
    return place->committed > 0 && place->read_topic_id != NULL &&
           strcmp(place->read_topic_id, place->extent.topic_id) != 0;
}

static void drop_unchanged(struct changes *changes)
{
    size_t kept = 0;
    for (size_t i = 0; i < changes->count; i++) {
        const struct pj_offset_place *place = changes->items[i].place;
        if (changes->items[i].target != place->committed || place->is_stopped ||
            is_of_another(place))
            changes->items[kept++] = changes->items[i];
    }
    changes->count = kept;
}

/* --- showing --------------------------------------------------------------------------------- */

/* The topic was recreated since the group has read it. */
static bool is_new(const struct pj_offset_place *place)
{
    return pj_topic_is_another(place->extent.topic_id, place->read_topic_id, place->committed);
}

/* Forward skips, back repeats; a group that is new there would have begun at the beginning. */
static int64_t moved(const struct change *change)
{
    const struct pj_offset_place *place = change->place;
    return change->target -
           (place->committed >= 0 && !is_new(place) ? place->committed : place->extent.begin);
}

static void print_changes(const struct changes *changes, const char *group)
{
    static const char *const titles[] = {"TOPIC", ">PARTITION", ">FROM", ">TO", "", NULL};
    struct pj_text_table *table = pj_text_table_new(titles);
    int64_t skipped = 0;
    int64_t repeated = 0;
    for (size_t i = 0; i < changes->count; i++) {
        const struct change *change = &changes->items[i];
        char text[PJ_NUMBER_TEXT];
        char words[64] = "";
        int64_t by = moved(change);
        pj_text_table_add(table, change->place->extent.topic);
        pj_text_table_add_number(table, change->place->extent.partition);
        pj_text_table_add_number(table, change->place->committed);
        pj_text_table_add_number(table, change->target);
        if (by != 0)
            pj_text_show(words, sizeof words, "%s %s", by > 0 ? "skips" : "back by",
                         pj_number_text(text, by > 0 ? by : -by));
        if (is_new(change->place))
            pj_text_show(words + strlen(words), sizeof words - strlen(words), "%sthe topic is new",
                         by != 0 ? "; " : "");
        pj_text_table_add(table, words);
        skipped += by > 0 ? by : 0;
        repeated += by < 0 ? -by : 0;
    }
    pj_text_table_end(table, stdout);
    fflush(stdout);
    if (repeated > 0)
        fprintf(stderr,
                "going back by %lld offsets is harmless: records that come again change nothing\n",
                (long long)repeated);
    if (skipped > 0)
        fprintf(stderr,
                "warning: %lld offsets are skipped: the tables of group '%s' no longer match the "
                "topics then, until it goes back or they are rebuilt\n",
                (long long)skipped, group);
}

/* What was changed, as Postgres says (NULL: nothing), or what would be. */
static void print_json(const struct pj_cli *cli, const char *group, const struct changes *changes,
                       const struct pj_result *result)
{
    json_t *array = result != NULL ? pj_cli_rows_json(result, "topic #partition #from #to #epoch")
                                   : pj_must(json_array());
    for (size_t i = 0; i < changes->count && result == NULL; i++) {
        const struct change *change = &changes->items[i];
        json_array_append_new(array, json_pack("{s:s, s:i, s:o, s:I, s:n}", "topic",
                                               change->place->extent.topic, "partition",
                                               (int)change->place->extent.partition, "from",
                                               pj_cli_known(change->place->committed), "to",
                                               (json_int_t)change->target, "epoch"));
    }
    pj_cli_print_json(json_pack("{s:s, s:s, s:b, s:o}", "cluster_id", cli->cluster_id, "group",
                                group, "changed", result != NULL, "changes", array));
}

/* --- doing ----------------------------------------------------------------------------------- */

static const char set_sql[] =
    "WITH places AS (SELECT * FROM jsonb_to_recordset($3::jsonb)"
    "  AS p (topic text, partition int, target bigint, id text) ORDER BY topic, partition) "
    "SELECT moved_topic, moved_partition, from_offset, to_offset, new_epoch "
    "FROM projectionist.set_offsets($1, $2,"
    "  (SELECT array_agg(topic) FROM places), (SELECT array_agg(partition) FROM places),"
    "  (SELECT array_agg(target) FROM places), $4, (SELECT array_agg(id) FROM places))";

/* One statement, so one transaction. */
static int set(struct pj_cli *cli, const char *group, const struct changes *changes, const char *to,
               const struct pj_result **result, struct pj_error *error)
{
    json_t *places = pj_must(json_array());
    for (size_t i = 0; i < changes->count; i++) {
        const struct pj_kafka_extent *extent = &changes->items[i].place->extent;
        json_array_append_new(places,
                              json_pack("{s:s, s:i, s:I, s:s?}", "topic", extent->topic,
                                        "partition", (int)extent->partition, "target",
                                        (json_int_t)changes->items[i].target, "id",
                                        *extent->topic_id != '\0' ? extent->topic_id : NULL));
    }
    char *text = pj_must(json_dumps(places, JSON_COMPACT));
    json_decref(places);
    int status = pj_cli_query(cli, set_sql,
                              PJ_TEXTS(cli->cluster_id, group, text,
                                       pj_arena_printf(cli->arena, "offsets set --to %s", to)),
                              result, error);
    free(text);
    return status;
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct pj_offset_list list;
    struct changes changes = {0};
    const struct pj_result *result = NULL;
    if (settings->to == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--to is missing: earliest, latest, an offset, or a time such as "
                              "2026-11-21T05:06:34Z");
    if (pj_offset_list_read(&list, cli, settings->group, error) != 0 ||
        choose(cli, settings, &list, &changes, error) != 0 ||
        find_targets(cli, settings->to, &changes, error) != 0 ||
        check_targets(&changes, error) != 0)
        return -1;
    drop_unchanged(&changes);
    if (changes.count > 0 && !settings->json)
        print_changes(&changes, list.group);
    if (changes.count > 0 && !settings->dry_run &&
        (pj_cli_confirm("Move these offsets", settings->yes, error) != 0 ||
         set(cli, list.group, &changes, settings->to, &result, error) != 0))
        return -1;
    if (settings->json)
        print_json(cli, list.group, &changes, result);
    else if (changes.count == 0)
        printf("nothing to do: all %zu partitions of group '%s' are there already\n",
               changes.chosen, list.group);
    else if (result != NULL)
        printf("moved %d partitions of group '%s'\n"
               "A running consumer is refused at its next commit, or notices within a second; it "
               "rejoins\nand continues from there.\n",
               pj_result_rows(result), list.group);
    return PJ_EXIT_OK;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTION,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    PJ_CLI_GROUP_OPTION(struct settings, "The consumer group; the default is the consumer's name."),
    PJ_CLI_TEXT_OPTION(struct settings, to, "to", 0, "WHERE",
                       "earliest, latest, an offset, or a time in RFC 3339: then the first record "
                       "whose Kafka timestamp is not before it."),
    PJ_CLI_TEXT_OPTION(struct settings, topic, "topic", 0, "TOPIC",
                       "Only this topic's partitions."),
    PJ_CLI_INTEGER_OPTION(struct settings, partition, "partition", 0, "-1", -1, INT32_MAX,
                          "Only this partition; -1 is all."),
    PJ_CLI_DRY_RUN_OPTION(struct settings, "Show what would change, and change nothing."),
    PJ_CLI_YES_OPTION(struct settings),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_offsets_set = {
    .name = "offsets set",
    .summary = "make a consumer continue elsewhere",
    .description =
        "  Moves where the consumer's group continues, in one transaction, after\n"
        "  showing the changes and asking. The partitions are claimed as by another\n"
        "  consumer: one that runs is refused at its next commit, or notices within a\n"
        "  second; it rejoins and continues from there. Each change is recorded in\n"
        "  projectionist.offset_changes, with the role that made it.\n"
        "\n"
        "  Going back is harmless: tables follow from the set of records, so those that\n"
        "  come again change nothing. Going forward skips records: the tables no longer\n"
        "  match the topics then, until the group goes back or they are rebuilt.\n"
        "\n"
        "  After a topic was recreated, --to earliest follows the new one. A consumer\n"
        "  that stopped for that reason, or because records are gone, continues once\n"
        "  the offset is set, and not before.\n",
    .examples = "  projectionist offsets set CONSUMER --to earliest --dry-run\n"
                "  projectionist offsets set CONSUMER --to 2026-11-21T05:06:34Z\n"
                "  projectionist offsets set CONSUMER --topic TOPIC \\\n"
                "      --partition 3 --to 1200 --yes\n",
    .operands = "CONSUMER",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
