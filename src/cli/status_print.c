/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/status.h"

#include "base/memory.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/text_table.h"

#include <stdio.h>
#include <string.h>

/* --- for people ------------------------------------------------------------------------------ */

const char *pj_status_age(char text[PJ_NUMBER_TEXT], int64_t seconds)
{
    static const struct {
        int64_t seconds;
        const char *unit;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    if (seconds < 0)
        return "never";
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        /* Two of a unit at least: "90 min ago" says more than "1 h ago". */
        if (seconds >= 2 * units[i].seconds || units[i].seconds == 1) {
            pj_text_whole(text, PJ_NUMBER_TEXT, "%lld %s ago",
                          (long long)(seconds / units[i].seconds), units[i].unit);
            break;
        }
    }
    return text;
}

/* "?" where Kafka did not say. */
static void add_number(struct pj_text_table *table, int64_t number)
{
    char text[PJ_NUMBER_TEXT];
    pj_text_table_add(table, pj_number_text(text, number));
}

static void print_partitions(const struct pj_status *status)
{
    static const char *const titles[] = {"CONSUMER", "TOPIC",  ">PARTITION", ">COMMITTED",  ">END",
                                         ">LAG",     ">EPOCH", "OWNER",      "LAST COMMIT", NULL};
    char age[PJ_NUMBER_TEXT];
    struct pj_text_table *table = NULL;
    for (size_t i = 0; i < status->count; i++) {
        const struct pj_status_consumer *consumer = &status->consumers[i];
        for (size_t j = 0; j < consumer->count; j++) {
            const struct pj_status_partition *partition = &consumer->partitions[j];
            if (table == NULL)
                table = pj_text_table_new(titles);
            pj_text_table_add(table, consumer->group);
            pj_text_table_add(table, partition->topic);
            add_number(table, partition->partition);
            pj_text_table_add_number(table, partition->committed);
            add_number(table, partition->end);
            add_number(table, partition->lag);
            pj_text_table_add_number(table, partition->epoch);
            pj_text_table_add(table, partition->owner);
            pj_text_table_add(table, pj_status_age(age, partition->age_s));
        }
    }
    if (table == NULL)
        return;
    pj_text_table_end(table, stdout);
    putchar('\n');
}

static void print_totals(const struct pj_status *status)
{
    static const char *const titles[] = {"CONSUMER",    ">PARTITIONS", ">LAG", ">DEAD LETTERS",
                                         "LAST COMMIT", "CLUSTER",     NULL};
    char age[PJ_NUMBER_TEXT];
    struct pj_text_table *table = pj_text_table_new(titles);
    for (size_t i = 0; i < status->count; i++) {
        const struct pj_status_consumer *consumer = &status->consumers[i];
        pj_text_table_add(table, consumer->group);
        add_number(table, (int64_t)consumer->count);
        add_number(table, consumer->lag);
        add_number(table, consumer->open_dead_letters);
        pj_text_table_add(table, pj_status_age(age, consumer->age_s));
        pj_text_table_add(table, consumer->cluster_id);
    }
    pj_text_table_end(table, stdout);
}

void pj_status_print_problem(const char *group, const struct pj_status_partition *partition)
{
    const char *topic = partition->topic;
    int number = (int)partition->partition;
    if (partition->stop != NULL)
        printf("%s: stopped until a person acts: %s\n", group, partition->stop);
    else if (strcmp(partition->problem, "gap") == 0)
        printf("%s: %s [%d] begins at %lld, so %lld records are gone that were not read; the "
               "consumer stops there unless it is started with --accept-gap\n",
               group, topic, number, (long long)partition->begin,
               (long long)(partition->begin - partition->committed));
    else if (strcmp(partition->problem, "beyond-end") == 0)
        printf("%s: %s [%d] ends at %lld, before the committed offset: the topic was recreated, or "
               "has lost the end of its log; '%s offsets set %s --to earliest' follows it\n",
               group, topic, number, (long long)partition->end, pj_program(), group);
    else if (strcmp(partition->problem, "another-id") == 0)
        printf("%s: %s [%d] is not the topic that was read, which had the id %s: it was recreated; "
               "'%s offsets set %s --to earliest' follows it\n",
               group, topic, number, partition->topic_id, pj_program(), group);
    else if (strcmp(partition->problem, "never-taken") == 0)
        printf(
            "%s: no consumer has ever owned %s [%d], which has %lld records; see who is assigned "
            "it in the group, or start one\n",
            group, topic, number, (long long)partition->lag);
    else if (strcmp(partition->problem, "open-transaction") == 0)
        printf("%s: %lld records of %s [%d], from %lld on, wait for an open transaction of a "
               "producer\n",
               group, (long long)partition->held, topic, number, (long long)partition->end);
    else
        printf("%s: %s [%d] does not exist in Kafka, or this user may not see it; '%s topics "
               "create' creates topics\n",
               group, topic, number, pj_program());
}

static bool is_other_version(const struct pj_status_consumer *consumer)
{
    return consumer->version >= 0 && consumer->rows_version >= 0 &&
           consumer->version != consumer->rows_version;
}

void pj_status_print_text(const struct pj_status *status)
{
    print_partitions(status);
    print_totals(status);
    bool first = true;
    for (size_t i = 0; i < status->count; i++) {
        const struct pj_status_consumer *consumer = &status->consumers[i];
        if (is_other_version(consumer)) {
            if (first)
                puts("\nPROBLEMS");
            first = false;
            printf("%s: its rows were written by version %d of its rules, and this program has "
                   "version %d; '%s rebuild %s' writes them anew, and a start with "
                   "--accept-version takes them as they are\n",
                   consumer->group, (int)consumer->rows_version, (int)consumer->version,
                   pj_program(), consumer->projection);
        }
        for (size_t j = 0; j < status->consumers[i].count; j++) {
            const struct pj_status_partition *partition = &status->consumers[i].partitions[j];
            if (partition->problem == NULL)
                continue;
            if (first)
                puts("\nPROBLEMS");
            first = false;
            pj_status_print_problem(status->consumers[i].group, partition);
        }
    }
}

/* --- for programs ---------------------------------------------------------------------------- */

static void add_rates(json_t *object, double read, double written)
{
    if (read >= 0)
        json_object_set_new(object, "read_per_second", json_real(read));
    if (written >= 0)
        json_object_set_new(object, "written_per_second", json_real(written));
}

static json_t *partition_json(const struct pj_status_partition *partition)
{
    json_t *object = json_pack(
        "{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:s?, s:s?, s:s?, s:s?}", "topic", partition->topic,
        "partition", (int)partition->partition, "committed", pj_cli_known(partition->committed),
        "begin", pj_cli_known(partition->begin), "end", pj_cli_known(partition->end), "lag",
        pj_cli_known(partition->lag), "epoch", pj_cli_known(partition->epoch), "owner",
        partition->owner, "last_commit", partition->last_commit, "stream_time",
        partition->stream_time, "problem", partition->problem);
    if (partition->stop != NULL)
        json_object_set_new(object, "stop", json_string(partition->stop));
    if (partition->held > 0)
        json_object_set_new(object, "open_transaction", json_integer(partition->held));
    add_rates(object, partition->read_rate, partition->write_rate);
    return object;
}

void pj_status_print_json(const struct pj_status *status)
{
    json_t *consumers = pj_must(json_array());
    for (size_t i = 0; i < status->count; i++) {
        const struct pj_status_consumer *consumer = &status->consumers[i];
        json_t *partitions = pj_must(json_array());
        for (size_t j = 0; j < consumer->count; j++)
            json_array_append_new(partitions, partition_json(&consumer->partitions[j]));
        json_t *object = json_pack(
            "{s:s, s:s?, s:s?, s:s?, s:o, s:o, s:o, s:I, s:o}", "group", consumer->group, "system",
            consumer->system, "projection", consumer->projection, "cluster_id",
            consumer->cluster_id, "version", pj_cli_known(consumer->version), "rows_version",
            pj_cli_known(consumer->rows_version), "lag", pj_cli_known(consumer->lag),
            "open_dead_letters", (json_int_t)consumer->open_dead_letters, "partitions", partitions);
        add_rates(object, consumer->read_rate, consumer->write_rate);
        json_array_append_new(consumers, object);
    }
    pj_cli_print_json(json_pack("{s:s?, s:s?, s:o}", "cluster_id", status->cluster_id,
                                "kafka_error", status->kafka_error, "consumers", consumers));
}
