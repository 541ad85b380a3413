/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_numbers.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "cli/rebuild_command.h"
#include "cli/text_table.h"

#include <stdlib.h>
#include <string.h>

enum { VALUE_MOST = 60 };

/* "status 1,200, result 34" */
static void add_columns(struct pj_text_table *table, const json_t *columns)
{
    struct pj_builder text = {0};
    const char *name;
    json_t *count;
    json_object_foreach((json_t *)columns, name, count)
    {
        char number[PJ_NUMBER_TEXT];
        pj_builder_add(&text, "%s%s %s", text.length > 0 ? ", " : "", name,
                       pj_number_text(number, json_integer_value(count)));
    }
    char *all = pj_builder_take(&text);
    pj_text_table_add(table, all);
    free(all);
}

static void show_tables(const struct pj_difference *difference)
{
    static const char *const titles[] = {"TABLE",    ">ROWS",   ">MISSING", ">EXTRA",
                                         ">CHANGED", "COLUMNS", NULL};
    struct pj_text_table *table = pj_text_table_new(titles);
    for (size_t i = 0; i < difference->count; i++) {
        const struct pj_difference_table *of = &difference->tables[i];
        pj_text_table_add(table, of->name);
        pj_text_table_add_number(table, of->rows);
        pj_text_table_add_number(table, of->missing);
        pj_text_table_add_number(table, of->extra);
        pj_text_table_add_number(table, of->changed);
        add_columns(table, of->columns);
    }
    pj_text_table_end(table, stdout);
}

/* --- samples --------------------------------------------------------------------------------- */

static void print_value(const json_t *value)
{
    char *text = pj_must(json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | PJ_JSON_DIGITS));
    size_t shown = pj_utf8_cut(text, strlen(text), VALUE_MOST);
    printf("%.*s%s", (int)shown, text, text[shown] != '\0' ? "…" : "");
    free(text);
}

static void print_sample(const char *table, const json_t *sample)
{
    const char *kind = json_string_value(json_object_get(sample, "kind"));
    json_t *is = json_object_get(sample, "is");
    json_t *should_be = json_object_get(sample, "should_be");
    const char *name;
    json_t *value;
    const char *between = "";
    printf("%s", table);
    json_object_foreach(json_object_get(sample, "key"), name, value)
    {
        printf(" %s=", name);
        if (json_is_string(value))
            fputs(json_string_value(value), stdout);
        else
            print_value(value);
    }
    fputs(strcmp(kind, "missing") == 0 ? " is missing"
          : strcmp(kind, "extra") == 0 ? " should not be there"
                                       : ": ",
          stdout);
    if (strcmp(kind, "changed") == 0) {
        json_object_foreach(is, name, value)
        {
            printf("%s%s is ", between, name);
            print_value(value);
            fputs(", should be ", stdout);
            print_value(json_object_get(should_be, name));
            between = "; ";
        }
    }
    putchar('\n');
}

static int64_t records(const struct pj_rebuild_run *run)
{
    size_t count;
    int64_t total = 0;
    const struct pj_offset_range *ranges = pj_rebuild_ranges(run->rebuild, &count);
    for (size_t i = 0; i < count; i++)
        total += ranges[i].end - ranges[i].begin;
    return total;
}

/* How many of them the consumers had not read when it began. */
static int64_t records_beyond(const struct pj_rebuild_run *run)
{
    size_t count, live_count;
    int64_t total = 0;
    const struct pj_offset_range *ranges = pj_rebuild_ranges(run->rebuild, &count);
    const struct pj_live_offset *live = pj_rebuild_live(run->rebuild, &live_count);
    for (size_t i = 0; i < count; i++) {
        int64_t from = ranges[i].begin;
        for (size_t l = 0; l < live_count; l++) {
            if (live[l].partition == ranges[i].partition && live[l].next_offset > from &&
                strcmp(live[l].topic, ranges[i].topic) == 0)
                from = live[l].next_offset;
        }
        total += ranges[i].end > from ? ranges[i].end - from : 0;
    }
    return total;
}

void pj_rebuild_show(const struct pj_rebuild_run *run)
{
    char text[PJ_NUMBER_TEXT];
    size_t count;
    pj_rebuild_ranges(run->rebuild, &count);
    printf("%s: %s offsets of %zu partitions\n", run->projection->name,
           pj_number_text(text, records(run)), count);
    int64_t beyond = run->verify ? 0 : records_beyond(run);
    if (beyond > 0)
        printf("%s of them the consumers had not read when it began: their rows are not damage\n",
               pj_number_text(text, beyond));
    show_tables(&run->difference);
    for (size_t t = 0; t < run->difference.count; t++) {
        const struct pj_difference_table *table = &run->difference.tables[t];
        size_t index;
        json_t *sample;
        json_array_foreach(table->samples, index, sample) print_sample(table->name, sample);
        int64_t differing = table->missing + table->extra + table->changed;
        if (json_array_size(table->samples) > 0 &&
            differing > (int64_t)json_array_size(table->samples))
            printf("%s: and %s more\n", table->name,
                   pj_number_text(text, differing - (int64_t)json_array_size(table->samples)));
    }
    for (size_t t = 0; t < run->difference.count; t++) {
        const struct pj_difference_table *table = &run->difference.tables[t];
        if (table->triggers != NULL)
            printf("%s: the trigger %s names a column that differs; what it changes differs again "
                   "after every rebuild\n",
                   table->name, table->triggers);
    }
    int32_t rows_version = pj_rebuild_rows_version(run->rebuild);
    if (run->verify && rows_version >= 0 && rows_version != run->projection->version)
        printf("the rows were written by version %d of the rules, and this is version %d: a "
               "rebuild writes what differs\n",
               (int)rows_version, (int)run->projection->version);
    if (run->difference.total == 0)
        puts("no row differs from what the topics say");
    else
        printf("%s rows differ from what the topics say\n",
               pj_number_text(text, run->difference.total));
    fflush(stdout);
}

void pj_rebuild_show_json(const struct pj_rebuild_run *run, const char *outcome)
{
    json_t *tables = pj_difference_json(&run->difference);
    json_t *read = pj_must(json_array());
    size_t count;
    const struct pj_offset_range *ranges = pj_rebuild_ranges(run->rebuild, &count);
    for (size_t t = 0; t < run->difference.count; t++)
        json_object_set(json_object_get(tables, run->difference.tables[t].name), "samples",
                        run->difference.tables[t].samples);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(read, json_pack("{s:s, s:i, s:I, s:I}", "topic", ranges[i].topic,
                                              "partition", (int)ranges[i].partition, "begin",
                                              (json_int_t)ranges[i].begin, "end",
                                              (json_int_t)ranges[i].end));
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:i}", "system", run->system->name, "projection",
        run->projection->name, "group", run->settings.group, "cluster_id", run->cli->cluster_id,
        "outcome", outcome, "differing_rows", (json_int_t)run->difference.total, "tables", tables,
        "read", read, "version", (int)run->projection->version);
    if (run->verify)
        json_object_set_new(object, "rows_version",
                            pj_cli_known(pj_rebuild_rows_version(run->rebuild)));
    pj_cli_print_json(object);
}
