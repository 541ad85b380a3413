/* SPDX-License-Identifier: Apache-2.0 */
/*
 * projectionist offsets set: makes a group go on elsewhere. It takes the partitions as another
 * consumer would, so whoever has them cannot commit past the change.
 */
#include "base/text.h"
#include "base/time_text.h"
#include "cli/confirm.h"
#include "cli/offsets_command.h"
#include "cli/text_table.h"

#include <jansson.h>
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
    return (settings->topic == NULL || strcmp(settings->topic, place->topic) == 0) &&
           (settings->partition < 0 || settings->partition == place->partition);
}

static int choose(const struct settings *settings, const struct pj_offset_list *list,
                  struct changes *changes, struct pj_error *error)
{
    bool topic_found = settings->topic == NULL;
    changes->items = calloc(list->count + 1, sizeof *changes->items);
    if (changes->items == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    for (size_t i = 0; i < list->count; i++) {
        const struct pj_offset_place *place = &list->places[i];
        topic_found = topic_found || strcmp(settings->topic, place->topic) == 0;
        if (!is_chosen(settings, place))
            continue;
        if (place->begin < 0 || place->end < 0)
            return pj_error_set(error, PJ_RETRY,
                                "where %s [%d] begins and ends is not known: it has no leader",
                                place->topic, (int)place->partition);
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

static int by_time(const struct pj_offset_list *list, const char *text, struct changes *changes,
                   struct pj_error *error)
{
    int64_t microseconds;
    if (pj_time_parse("--to", text, &microseconds, error) != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--to '%s' is neither earliest, latest, an offset nor a time such as "
                              "2026-11-21T05:06:34Z",
                              text);
    if (microseconds < 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "--to '%s' lies before 1970; use earliest",
                              text);
    struct pj_kafka_extent *extents = calloc(changes->count, sizeof *extents);
    int64_t *offsets = calloc(changes->count, sizeof *offsets);
    int status = -1;
    if (extents == NULL || offsets == NULL) {
        pj_error_set(error, PJ_RETRY, "out of memory");
        goto out;
    }
    for (size_t i = 0; i < changes->count; i++)
        extents[i] = (struct pj_kafka_extent){.topic = changes->items[i].place->topic,
                                              .partition = changes->items[i].place->partition,
                                              .end = changes->items[i].place->end};
    /* A record of that very millisecond belongs to it, one of the fraction before does not. */
    status = pj_kafka_offsets_at(list->kafka, extents, changes->count, (microseconds + 999) / 1000,
                                 offsets, error);
    for (size_t i = 0; i < changes->count && status == 0; i++) {
        changes->items[i].target = offsets[i];
        if (offsets[i] < 0)
            status = pj_error_set(error, PJ_RETRY, "%s [%d] cannot be searched by time now",
                                  extents[i].topic, (int)extents[i].partition);
    }
out:
    free(extents);
    free(offsets);
    return status;
}

static int find_targets(const struct pj_offset_list *list, const char *to, struct changes *changes,
                        struct pj_error *error)
{
    bool earliest = strcmp(to, "earliest") == 0;
    bool offset = *to != '\0' && strspn(to, "0123456789") == strlen(to);
    int64_t number = -1;
    if (offset && pj_parse_integer("--to", to, 0, INT64_MAX, &number, error) != 0)
        return -1;
    if (!earliest && !offset && strcmp(to, "latest") != 0)
        return by_time(list, to, changes, error);
    for (size_t i = 0; i < changes->count; i++) {
        const struct pj_offset_place *place = changes->items[i].place;
        changes->items[i].target = earliest ? place->begin : offset ? number : place->end;
    }
    return 0;
}

static int check_targets(const struct changes *changes, struct pj_error *error)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct pj_offset_place *place = changes->items[i].place;
        int64_t target = changes->items[i].target;
        if (target < place->begin || target > place->end)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "--to %lld lies outside of %s [%d], which reaches from %lld to "
                                  "%lld; choose partitions with --topic and --partition",
                                  (long long)target, place->topic, (int)place->partition,
                                  (long long)place->begin, (long long)place->end);
    }
    return 0;
}

/* The committed offset is of a topic that is not known to be the one that is there. */
static bool is_of_another(const struct pj_offset_place *place)
{
    return place->committed > 0 && place->read_topic_id != NULL &&
           strcmp(place->read_topic_id, place->topic_id) != 0;
}

static void drop_unchanged(struct changes *changes)
{
    size_t kept = 0;
    for (size_t i = 0; i < changes->count; i++) {
        if (changes->items[i].target != changes->items[i].place->committed ||
            changes->items[i].place->is_stopped || is_of_another(changes->items[i].place))
            changes->items[kept++] = changes->items[i];
    }
    changes->count = kept;
}

/* --- showing --------------------------------------------------------------------------------- */

/* The topic was recreated since the group has read it. */
static bool is_new(const struct pj_offset_place *place)
{
    return pj_topic_is_another(place->topic_id, place->read_topic_id, place->committed);
}

/* Forward skips, back repeats; a group that is new there would have begun at the beginning. */
static int64_t moved(const struct change *change)
{
    const struct pj_offset_place *place = change->place;
    return change->target -
           (place->committed >= 0 && !is_new(place) ? place->committed : place->begin);
}

static void print_changes(const struct changes *changes, const char *group)
{
    static const char *const titles[] = {"TOPIC", ">PARTITION", ">FROM", ">TO", ""};
    struct pj_text_table *table = pj_text_table_new(titles, sizeof titles / sizeof titles[0]);
    int64_t skipped = 0;
    int64_t repeated = 0;
    for (size_t i = 0; i < changes->count; i++) {
        const struct change *change = &changes->items[i];
        char text[PJ_NUMBER_TEXT];
        char words[64] = "";
        int64_t by = moved(change);
        pj_text_table_add(table, change->place->topic);
        pj_text_table_add(table, pj_number_text(text, change->place->partition));
        pj_text_table_add(table, change->place->committed >= 0
                                     ? pj_number_text(text, change->place->committed)
                                     : "-");
        pj_text_table_add(table, pj_number_text(text, change->target));
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
    pj_text_table_print(table, stdout);
    pj_text_table_free(table);
    fflush(stdout);
    if (repeated > 0)
        fprintf(stderr,
                "going back by %lld offsets is harmless: records that come again change nothing\n",
                (long long)repeated);
    if (skipped > 0)
        fprintf(stderr,
                "warning: %lld offsets are skipped: the tables of group '%s' are then no longer "
                "what the topics say, until it goes back or they are rebuilt\n",
                (long long)skipped, group);
}

/* What was changed, as Postgres says, or what would be. */
static void print_json(const struct pj_offset_list *list, const struct changes *changes,
                       const struct pj_result *result)
{
    json_t *array = json_array();
    size_t count = result != NULL ? (size_t)pj_result_rows(result) : changes->count;
    for (size_t i = 0; i < count; i++) {
        int row = (int)i;
        const struct change *change = &changes->items[i];
        const char *from = result != NULL ? pj_result_value(result, row, 2, NULL) : NULL;
        json_int_t from_offset = from != NULL ? strtoll(from, NULL, 10) : -1;
        if (result == NULL)
            from_offset = change->place->committed;
        json_array_append_new(
            array,
            json_pack("{s:s, s:I, s:o, s:I, s:o}", "topic",
                      result != NULL ? pj_cli_text(result, row, 0) : change->place->topic,
                      "partition",
                      result != NULL ? (json_int_t)strtoll(pj_cli_text(result, row, 1), NULL, 10)
                                     : (json_int_t)change->place->partition,
                      "from", from_offset >= 0 ? json_integer(from_offset) : json_null(), "to",
                      result != NULL ? (json_int_t)strtoll(pj_cli_text(result, row, 3), NULL, 10)
                                     : (json_int_t)change->target,
                      "epoch",
                      result != NULL ? json_integer(strtoll(pj_cli_text(result, row, 4), NULL, 10))
                                     : json_null()));
    }
    json_t *document = json_pack("{s:s, s:s, s:b, s:o}", "cluster_id", list->cluster_id, "group",
                                 list->group, "changed", result != NULL, "changes", array);
    json_dumpf(document, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(document);
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
static int set(const struct pj_offset_list *list, const struct changes *changes, const char *to,
               struct pj_result **result, struct pj_error *error)
{
    char *reason = NULL;
    json_t *places = json_array();
    for (size_t i = 0; i < changes->count; i++) {
        const struct pj_offset_place *place = changes->items[i].place;
        json_array_append_new(places, json_pack("{s:s, s:i, s:I, s:s?}", "topic", place->topic,
                                                "partition", (int)place->partition, "target",
                                                (json_int_t)changes->items[i].target, "id",
                                                *place->topic_id != '\0' ? place->topic_id : NULL));
    }
    char *text = json_dumps(places, JSON_COMPACT);
    json_decref(places);
    if (asprintf(&reason, "offsets set --to %s", to) < 0)
        abort();
    const char *parameters[] = {list->cluster_id, list->group, text, reason};
    int status = pj_postgres_query(list->postgres, set_sql, 4, parameters, result, error);
    free(reason);
    free(text);
    if (status != 0 && strcmp(error->sqlstate, "42883") == 0)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the database does not know how to move offsets yet; run "
                              "'projectionist migrate'");
    return status;
}

static int carry_out(const struct settings *settings, const struct pj_offset_list *list,
                     struct changes *changes, struct pj_error *error)
{
    struct pj_result *result = NULL;
    if (changes->count == 0) {
        if (settings->json)
            print_json(list, changes, NULL);
        else
            printf("nothing to do: all %zu partitions of group '%s' are there already\n",
                   changes->chosen, list->group);
        return PJ_EXIT_OK;
    }
    if (!settings->json)
        print_changes(changes, list->group);
    if (settings->dry_run) {
        if (settings->json)
            print_json(list, changes, NULL);
        return PJ_EXIT_OK;
    }
    if (pj_cli_confirm("Move these offsets", settings->yes, error) != 0 ||
        set(list, changes, settings->to, &result, error) != 0)
        return -1;
    if (settings->json)
        print_json(list, changes, result);
    else
        printf("moved %d partitions of group '%s'\n"
               "A consumer that runs is refused at its next commit, or notices within a second; it "
               "joins\nanew and goes on from there.\n",
               pj_result_rows(result), list->group);
    pj_result_free(result);
    return PJ_EXIT_OK;
}

static int run(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    const char *consumer;
    const char *group;
    struct pj_offset_list list = {0};
    struct changes changes = {0};
    int status = -1;
    if (pj_offset_group(config, settings->group, &consumer, &group, error) != 0)
        return -1;
    if (settings->to == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--to is missing: earliest, latest, an offset, or a time such as "
                              "2026-11-21T05:06:34Z");
    if (pj_offset_list_read(&list, config, &settings->servers, consumer, group, error) == 0 &&
        choose(settings, &list, &changes, error) == 0 &&
        find_targets(&list, settings->to, &changes, error) == 0 &&
        check_targets(&changes, error) == 0) {
        drop_unchanged(&changes);
        status = carry_out(settings, &list, &changes, error);
    }
    free(changes.items);
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
     .offset = offsetof(struct settings, group),
     .filled = true,
     .argument = "NAME",
     .help = "The consumer group; the default is the consumer's name."},
    {.name = "to",
     .kind = PJ_OPTION_STRING,
     .offset = offsetof(struct settings, to),
     .argument = "WHERE",
     .help = "earliest, latest, an offset, or a time in RFC 3339: then the first record whose "
             "Kafka timestamp is not before it."},
    {.name = "topic",
     .kind = PJ_OPTION_STRING,
     .offset = offsetof(struct settings, topic),
     .argument = "TOPIC",
     .help = "Only this topic's partitions."},
    {.name = "partition",
     .kind = PJ_OPTION_INTEGER,
     .offset = offsetof(struct settings, partition),
     .fallback = "-1",
     .argument = "N",
     .help = "Only this partition; -1 is all.",
     .least = -1,
     .most = INT32_MAX},
    {.name = "dry-run",
     .letter = 'n',
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, dry_run),
     .help = "Show what would change, and change nothing."},
    PJ_CLI_YES_OPTION(struct settings),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_offsets_set = {
    .name = "offsets set",
    .summary = "make a consumer go on elsewhere",
    .description =
        "  Moves where the consumer's group goes on, in one transaction, after showing\n"
        "  the changes and asking. The partitions are taken as by another consumer: one\n"
        "  that runs is refused at its next commit, or notices within a second; it joins\n"
        "  anew and goes on from there. Each change is kept in\n"
        "  projectionist.offset_changes, with the role that made it.\n"
        "\n"
        "  Going back is harmless: tables follow from the set of records, so those that\n"
        "  come again change nothing. Going forward skips records: the tables are then\n"
        "  no longer what the topics say, until the group goes back or they are rebuilt.\n"
        "\n"
        "  After a topic was recreated, --to earliest follows the new one: an\n"
        "  offset that is set is one of the topic that is there now. A consumer that stopped\n"
        "  for that reason, or for records that are gone, goes on once the offset is set, and\n"
        "  not before.\n",
    .examples = "  projectionist offsets set command-projector --to earliest --dry-run\n"
                "  projectionist offsets set event-recorder --to 2026-11-21T05:06:34Z\n"
                "  projectionist offsets set event-recorder --topic safari.telemetry \\\n"
                "      --partition 3 --to 1200 --yes\n",
    .operands = "CONSUMER",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
