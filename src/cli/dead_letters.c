/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dead_letters.h"

#include "base/text.h"
#include "base/time_text.h"
#include "cli/deployment.h"

#include <stdlib.h>
#include <string.h>

/* --- parameters ------------------------------------------------------------------------------ */

/* "{1,2,3}"; the caller frees it. */
static int id_array(char *const *ids, int count, char **array, struct pj_error *error)
{
    struct pj_builder text = {0};
    int status = 0;
    for (int i = 0; i < count && status == 0; i++) {
        int64_t id = 0;
        status = pj_parse_integer("the id of a dead letter", ids[i], 1, INT64_MAX, &id, error);
        pj_builder_add(&text, "%c%lld", i == 0 ? '{' : ',', (long long)id);
    }
    pj_builder_add(&text, "}");
    *array = pj_builder_take(&text);
    return status;
}

/* NULL stays NULL. */
static int time_parameter(struct pj_cli *cli, const char *option, const char *text,
                          const char **parameter, struct pj_error *error)
{
    int64_t microseconds;
    *parameter = NULL;
    if (text == NULL)
        return 0;
    if (pj_time_parse(option, text, &microseconds, error) != 0)
        return -1;
    *parameter = pj_arena_printf(cli->arena, "%lld", (long long)microseconds);
    return 0;
}

int pj_letter_query(struct pj_cli *cli, const char *sql, const struct pj_letter_filter *filter,
                    char *const *ids, int id_count, const struct pj_result **result,
                    struct pj_error *error)
{
    const char *parameters[PJ_LETTER_PARAMETERS] = {
        filter->projection, filter->group, filter->reason,
        filter->status != NULL ? filter->status : "open"};
    char *array = NULL;
    if (time_parameter(cli, "--since", filter->since, &parameters[4], error) != 0 ||
        time_parameter(cli, "--until", filter->until, &parameters[5], error) != 0)
        return -1;
    int status = id_count > 0 ? id_array(ids, id_count, &array, error) : 0;
    parameters[6] = filter->key;
    parameters[7] = array;
    if (filter->limit > 0)
        parameters[8] = pj_arena_printf(cli->arena, "%lld", (long long)filter->limit);
    if (status == 0)
        status = pj_cli_query(cli, sql, PJ_LETTER_PARAMETERS, parameters, result, error);
    free(array);
    if (status == 0)
        return 0;
    struct pj_error cause = *error;
    if (strncmp(cause.sqlstate, "22", 2) == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "a filter is not valid: %.600s", cause.message);
    return -1;
}

/* --- filters --------------------------------------------------------------------------------- */

bool pj_letter_none_match(const struct pj_letter_filter *filter, size_t count)
{
    if (count > 0 ||
        (filter->projection == NULL && filter->group == NULL && filter->reason == NULL &&
         filter->since == NULL && filter->until == NULL && filter->key == NULL))
        return false;
    puts("no dead letters match the filters");
    return true;
}

const char *pj_letter_plural(size_t count)
{
    return count == 1 ? "" : "s";
}

/* Names what this program knows, then what has letters and is not of this program. */
static int refuse_projection(struct pj_cli *cli, const char *projection,
                             const struct pj_result *lettered, struct pj_error *error)
{
    size_t count = 0;
    size_t most = pj_cli_projection_count + (size_t)pj_result_rows(lettered);
    const char **names = pj_arena_alloc(cli->arena, most * sizeof *names);
    const char *list = "";
    while (count < pj_cli_projection_count) {
        names[count] = pj_cli_projections[count].projection->name;
        count++;
    }
    for (int row = 0; row < pj_result_rows(lettered); row++) {
        const char *name = pj_cli_text(lettered, row, 0);
        if (pj_cli_projection_find(name) == NULL)
            names[count++] = name;
    }
    for (size_t i = 0; i < count; i++)
        list = pj_arena_printf(cli->arena, "%s%s%s", list, i > 0 ? ", " : "", names[i]);
    const char *nearest = pj_help_nearest(projection, names, count);
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "--projection: there is no '%.80s'%s%s%s; there are %s", projection,
                          nearest != NULL ? "; did you mean '" : "", nearest != NULL ? nearest : "",
                          nearest != NULL ? "'?" : "", list);
}

int pj_letter_check(struct pj_cli *cli, const struct pj_letter_filter *filter,
                    struct pj_error *error)
{
    const struct pj_result *result;
    if (filter->projection == NULL || pj_cli_projection_find(filter->projection) != NULL)
        return 0;
    /* One of another program: it has letters, or consumes in the group of its name. */
    if (pj_cli_query(cli,
                     "SELECT 1 FROM projectionist.dead_letters WHERE projection = $1 "
                     "UNION ALL SELECT 1 FROM projectionist.consumer_offsets "
                     "WHERE consumer_group = $1 LIMIT 1",
                     1, &filter->projection, &result, error) != 0)
        return -1;
    if (pj_result_rows(result) > 0)
        return 0;
    if (pj_cli_query(cli, "SELECT DISTINCT projection FROM projectionist.dead_letters ORDER BY 1",
                     0, NULL, &result, error) != 0)
        return -1;
    return refuse_projection(cli, filter->projection, result, error);
}

/* --- choosing -------------------------------------------------------------------------------- */

/* One that does not exist is a typing error, one that is resolved may be a repetition. */
static int check_ids(struct pj_cli *cli, struct pj_error *error)
{
    static const char sql[] =
        "SELECT id, status, to_char(resolved_at AT TIME ZONE 'UTC', "
        "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM projectionist.dead_letters WHERE " PJ_LETTER_WHERE
        " ORDER BY id" PJ_LETTER_LIMIT_SQL;
    const struct pj_letter_filter everything = {.status = "all"};
    const struct pj_config *config = cli->config;
    const struct pj_result *result;
    if (pj_letter_query(cli, sql, &everything, config->operands, config->operand_count, &result,
                        error) != 0)
        return -1;
    for (int i = 0; i < config->operand_count; i++) {
        int64_t id = strtoll(config->operands[i], NULL, 10);
        int row = 0;
        while (row < pj_result_rows(result) && pj_cli_number(result, row, 0) != id)
            row++;
        if (row == pj_result_rows(result))
            return pj_error_set(error, PJ_FATAL, "there is no dead letter %lld; nothing was done",
                                (long long)id);
        if (strcmp(pj_cli_text(result, row, 1), "open") != 0)
            fprintf(stderr, "dead letter %lld was %s at %s already\n", (long long)id,
                    pj_cli_text(result, row, 1), pj_cli_text(result, row, 2));
    }
    return 0;
}

int pj_letter_choose(struct pj_cli *cli, const struct pj_letter_filter *filter, bool all,
                     const struct pj_result **result, struct pj_error *error)
{
    static const char sql[] =
        "SELECT id, projection, consumer_group, topic, partition, record_offset, message "
        "FROM projectionist.dead_letters WHERE " PJ_LETTER_WHERE " ORDER BY id" PJ_LETTER_LIMIT_SQL;
    const struct pj_config *config = cli->config;
    if (pj_cli_postgres(cli, error) != 0)
        return -1;
    if (all && config->operand_count > 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "give either ids or --all, not both");
    if (!all && config->operand_count == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "which dead letters? give their ids, or --all with or without "
                              "filters; 'projectionist dead-letters list' shows them");
    if (pj_letter_check(cli, filter, error) != 0 || (!all && check_ids(cli, error) != 0))
        return -1;
    return pj_letter_query(cli, sql, filter, config->operands, config->operand_count, result,
                           error);
}
