/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "base/json_numbers.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/time_text.h"
#include "postgres/postgres_settings.h"
#include "projectionist/system.h"
#include "store/access.h"

#include <stdlib.h>
#include <string.h>

/* --- connections ----------------------------------------------------------------------------- */

int pj_cli_postgres(struct pj_cli *cli, struct pj_error *error)
{
    return pj_cli_postgres_of(cli, NULL, error);
}

int pj_cli_postgres_of(struct pj_cli *cli, const struct pj_system *system, struct pj_error *error)
{
    struct pj_postgres_settings settings = {.dsn = cli->servers->postgres_dsn,
                                            .properties = &cli->config->postgres,
                                            .application_name = "projectionist",
                                            .connect_timeout_ms = cli->servers->timeout_ms};
    if (system != NULL) {
        settings.system = system->name;
        settings.default_schema = system->tables_schema;
        settings.tables_schema = cli->servers->tables_schema;
    }
    if (!pj_postgres_is_named(&settings))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no database is named: give --postgres-dsn or set "
                              "PROJECTIONIST_POSTGRES_DSN (for the local cluster: eval "
                              "\"$(deploy/local/cluster env)\")");
    if (pj_postgres_check_files(&settings, error) != 0 ||
        pj_postgres_open(&cli->postgres, &settings, error) != 0)
        return -1;
    return pj_access_check(cli->postgres, NULL, NULL, error);
}

int pj_cli_kafka(struct pj_cli *cli, struct pj_error *error)
{
    return pj_kafka_open(&cli->kafka, &cli->config->kafka, cli->servers->timeout_ms, error);
}

int pj_cli_registry(struct pj_cli *cli, struct pj_error *error)
{
    struct pj_registry_settings settings = cli->servers->registry;
    settings.timeout_ms = cli->servers->timeout_ms;
    return pj_registry_open(&cli->registry, &settings, error);
}

/* Kafka first, so that it connects while Postgres answers. */
int pj_cli_open(struct pj_cli *cli, struct pj_error *error)
{
    return pj_cli_kafka(cli, error) != 0 || pj_cli_postgres(cli, error) != 0 ||
                   pj_kafka_cluster_id(cli->kafka, &cli->cluster_id, error) != 0
               ? -1
               : 0;
}

void pj_cli_close(struct pj_cli *cli)
{
    for (size_t i = 0; i < cli->result_count; i++)
        pj_result_free(cli->results[i]);
    free(cli->results);
    pj_registry_close(cli->registry);
    pj_postgres_close(cli->postgres);
    pj_kafka_close(cli->kafka);
    pj_arena_free(cli->arena);
}

/* --- Postgres -------------------------------------------------------------------------------- */

int pj_cli_query(struct pj_cli *cli, const char *sql, int count, const char *const *parameters,
                 const struct pj_result **result, struct pj_error *error)
{
    struct pj_result *got;
    if (pj_postgres_query(cli->postgres, sql, count, parameters, &got, error) == 0) {
        cli->results = pj_resize(cli->results, cli->result_count + 1, sizeof *cli->results);
        cli->results[cli->result_count++] = got;
        *result = got;
        return 0;
    }
    if (strcmp(error->sqlstate, "42P01") == 0 || strcmp(error->sqlstate, "3F000") == 0)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the database has no tables of projectionist yet; run "
                              "'projectionist migrate'");
    if (strcmp(error->sqlstate, "42703") == 0 || strcmp(error->sqlstate, "42883") == 0)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the database is older than this program; run 'projectionist "
                              "migrate'");
    return -1;
}

const char *pj_cli_text(const struct pj_result *result, int row, int column)
{
    const char *value = pj_result_value(result, row, column, NULL);
    return value != NULL ? value : "";
}

int64_t pj_cli_number(const struct pj_result *result, int row, int column)
{
    const char *value = pj_result_value(result, row, column, NULL);
    return value != NULL ? strtoll(value, NULL, 10) : -1;
}

/* --- Kafka ----------------------------------------------------------------------------------- */

int pj_cli_extents(struct pj_cli *cli, const char *const *topics, size_t topic_count,
                   struct pj_kafka_extent **extents, size_t *count, struct pj_error *error)
{
    struct pj_kafka_topic *found = pj_arena_alloc(cli->arena, topic_count * sizeof *found);
    size_t most = 0;
    for (size_t i = 0; i < topic_count; i++)
        found[i].name = topics[i];
    if (pj_kafka_describe(cli->kafka, found, topic_count, error) != 0)
        return -1;
    for (size_t i = 0; i < topic_count; i++) {
        if (found[i].partitions == 0 && found[i].is_hidden)
            return pj_error_fatal(error, PJ_EXIT_FAILED,
                                  "Kafka does not show this user whether there is a topic %s; "
                                  "grant it DESCRIBE and READ on the topic",
                                  topics[i]);
        if (found[i].partitions == 0)
            return pj_error_fatal(error, PJ_EXIT_FAILED,
                                  "the topic %s does not exist in Kafka; 'projectionist topics "
                                  "create' creates topics",
                                  topics[i]);
        most += (size_t)found[i].partitions;
    }
    *extents = pj_arena_alloc(cli->arena, most * sizeof **extents);
    *count = 0;
    for (size_t i = 0; i < topic_count; i++) {
        for (int p = 0; p < found[i].partitions; p++)
            (*extents)[(*count)++] = (struct pj_kafka_extent){
                .topic = topics[i],
                .partition = p,
                .compacted = strstr(found[i].cleanup_policy, "compact") != NULL,
            };
    }
    return pj_kafka_extents(cli->kafka, *extents, *count, error);
}

int pj_cli_check_extent(const struct pj_kafka_extent *extent, struct pj_error *error)
{
    return extent->begin >= 0 && extent->end >= 0
               ? 0
               : pj_error_set(error, PJ_RETRY,
                              "%s [%d] has no leader, so its first and last offsets are unknown; "
                              "try again when its brokers are back",
                              extent->topic, (int)extent->partition);
}

int pj_cli_offsets_at(struct pj_cli *cli, const char *option, const char *words, const char *text,
                      const struct pj_kafka_extent *extents, size_t count, int64_t *offsets,
                      struct pj_error *error)
{
    int64_t microseconds;
    if (pj_time_parse(option, text, &microseconds, error) != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s '%s' is none of %s or a time such as 2026-11-21T05:06:34Z",
                              option, text, words);
    if (microseconds < 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%s '%s' is before 1970", option, text);
    /* A record of that very millisecond belongs to it, one of the fraction before does not. */
    if (pj_kafka_offsets_at(cli->kafka, extents, count, (microseconds + 999) / 1000, offsets,
                            error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (offsets[i] < 0)
            return pj_error_set(error, PJ_RETRY, "%s [%d] cannot be searched by time now",
                                extents[i].topic, (int)extents[i].partition);
    }
    return 0;
}

/* --- JSON ------------------------------------------------------------------------------------ */

void pj_cli_print_json(json_t *document)
{
    json_dumpf(document, stdout, JSON_COMPACT | PJ_JSON_DIGITS);
    putchar('\n');
    fflush(stdout);
    json_decref(document);
}

json_t *pj_cli_row_json(const struct pj_result *result, int row, const char *names)
{
    json_t *object = pj_must(json_object());
    for (int column = 0; *names != '\0'; column++) {
        char kind = *names == '#' || *names == '?' ? *names++ : '\0';
        char name[64];
        const char *text = pj_result_value(result, row, column, NULL);
        int length = (int)strcspn(names, " ");
        pj_text_whole(name, sizeof name, "%.*s", length, names);
        names += names[length] == ' ' ? length + 1 : length;
        json_object_set_new(object, name,
                            text == NULL && kind != '\0' ? json_null()
                            : kind == '#'                ? json_integer(strtoll(text, NULL, 10))
                                                         : json_string(text != NULL ? text : ""));
    }
    return object;
}

json_t *pj_cli_rows_json(const struct pj_result *result, const char *names)
{
    json_t *array = pj_must(json_array());
    for (int row = 0; row < pj_result_rows(result); row++)
        json_array_append_new(array, pj_cli_row_json(result, row, names));
    return array;
}

json_t *pj_cli_known(int64_t number)
{
    return number >= 0 ? json_integer(number) : json_null();
}
