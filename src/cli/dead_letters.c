/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dead_letters.h"

#include "base/text.h"
#include "base/time_text.h"
#include "cli/deployment.h"

#include <stdlib.h>
#include <string.h>

int64_t pj_letter_number(const struct pj_result *result, int row, int column)
{
    return strtoll(pj_cli_text(result, row, column), NULL, 10);
}

/* --- parameters ------------------------------------------------------------------------------ */

enum { NUMBER_TEXT = 24 };

/* "{1,2,3}", malloc'ed. */
static int id_array(char *const *ids, int count, char **array, struct pj_error *error)
{
    size_t length = 0;
    *array = malloc((size_t)count * NUMBER_TEXT + 3);
    if (*array == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    for (int i = 0; i < count; i++) {
        int64_t id;
        if (pj_parse_integer("the id of a dead letter", ids[i], 1, INT64_MAX, &id, error) != 0) {
            free(*array);
            *array = NULL;
            return -1;
        }
        length += pj_text_whole(*array + length, NUMBER_TEXT, "%c%lld", i == 0 ? '{' : ',',
                                (long long)id);
    }
    pj_text_whole(*array + length, 3, "}");
    return 0;
}

static int time_parameter(const char *option, const char *text, char number[NUMBER_TEXT],
                          const char **parameter, struct pj_error *error)
{
    int64_t microseconds;
    *parameter = NULL;
    if (text == NULL)
        return 0;
    if (pj_time_parse(option, text, &microseconds, error) != 0)
        return -1;
    pj_text_whole(number, NUMBER_TEXT, "%lld", (long long)microseconds);
    *parameter = number;
    return 0;
}

bool pj_letter_no_table(struct pj_error *error)
{
    if (strcmp(error->sqlstate, "42P01") != 0 && strcmp(error->sqlstate, "3F000") != 0)
        return false;
    pj_error_fatal(error, PJ_EXIT_DATABASE,
                   "the database has no table of dead letters yet; 'projectionist migrate' makes "
                   "it");
    return true;
}

int pj_letter_query(struct pj_postgres *postgres, const char *sql,
                    const struct pj_letter_filter *filter, char *const *ids, int id_count,
                    struct pj_result **result, struct pj_error *error)
{
    char since[NUMBER_TEXT];
    char until[NUMBER_TEXT];
    char limit[NUMBER_TEXT];
    char *array = NULL;
    const char *parameters[PJ_LETTER_PARAMETERS] = {
        filter->projection, filter->group, filter->reason,
        filter->status != NULL ? filter->status : "open"};
    if (time_parameter("--since", filter->since, since, &parameters[4], error) != 0 ||
        time_parameter("--until", filter->until, until, &parameters[5], error) != 0 ||
        (id_count > 0 && id_array(ids, id_count, &array, error) != 0))
        return -1;
    pj_text_whole(limit, sizeof limit, "%lld", (long long)filter->limit);
    parameters[6] = filter->key;
    parameters[7] = array;
    parameters[8] = filter->limit > 0 ? limit : NULL;
    int status = pj_postgres_query(postgres, sql, PJ_LETTER_PARAMETERS, parameters, result, error);
    free(array);
    if (status == 0)
        return 0;
    if (pj_letter_no_table(error))
        return -1;
    struct pj_error cause = *error;
    if (strncmp(cause.sqlstate, "22", 2) == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "a filter cannot be understood: %.600s",
                              cause.message);
    return -1;
}

/* --- filters --------------------------------------------------------------------------------- */

bool pj_letter_filtered(const struct pj_letter_filter *filter)
{
    return filter->projection != NULL || filter->group != NULL || filter->reason != NULL ||
           filter->since != NULL || filter->until != NULL || filter->key != NULL;
}

/* What this program knows, then what has letters and is not of this program. */
static int refuse_projection(const char *projection, const struct pj_result *lettered,
                             struct pj_error *error)
{
    size_t count = 0;
    const char **names =
        calloc(pj_cli_projection_count + (size_t)pj_result_rows(lettered), sizeof *names);
    char *list = NULL;
    size_t length;
    if (names == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    while (count < pj_cli_projection_count) {
        names[count] = pj_cli_projections[count].projection->name;
        count++;
    }
    for (int row = 0; row < pj_result_rows(lettered); row++) {
        const char *name = pj_cli_text(lettered, row, 0);
        if (pj_cli_projection_find(name) == NULL)
            names[count++] = name;
    }
    FILE *out = open_memstream(&list, &length);
    if (out == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%s", i > 0 ? ", " : "", names[i]);
    if (fclose(out) != 0)
        abort();
    const char *nearest = pj_help_nearest(projection, names, count);
    pj_error_fatal(error, PJ_EXIT_USAGE, "--projection: there is no '%.80s'%s%s%s; there are %s",
                   projection, nearest != NULL ? "; did you mean '" : "",
                   nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "", list);
    free(list);
    free(names);
    return -1;
}

int pj_letter_check(struct pj_postgres *postgres, const struct pj_letter_filter *filter,
                    struct pj_error *error)
{
    const char *parameters[] = {filter->projection};
    struct pj_result *result;
    if (filter->projection == NULL || pj_cli_projection_find(filter->projection) != NULL)
        return 0;
    /* One of another program: it has letters, or consumes in the group of its name. */
    if (pj_postgres_query(postgres,
                          "SELECT 1 FROM projectionist.dead_letters WHERE projection = $1 "
                          "UNION ALL SELECT 1 FROM projectionist.consumer_offsets "
                          "WHERE consumer_group = $1 LIMIT 1",
                          1, parameters, &result, error) != 0) {
        (void)pj_letter_no_table(error);
        return -1;
    }
    bool known = pj_result_rows(result) > 0;
    pj_result_free(result);
    if (known)
        return 0;
    if (pj_postgres_query(postgres,
                          "SELECT DISTINCT projection FROM projectionist.dead_letters ORDER BY 1",
                          0, NULL, &result, error) != 0)
        return -1;
    int status = refuse_projection(filter->projection, result, error);
    pj_result_free(result);
    return status;
}

/* --- choosing -------------------------------------------------------------------------------- */

/* Every id that was named: one that does not exist is a slip of the pen, one that is resolved may
 * be a repetition. */
static int check_ids(struct pj_postgres *postgres, const struct pj_config *config,
                     struct pj_error *error)
{
    static const char sql[] =
        "SELECT id, status, to_char(resolved_at AT TIME ZONE 'UTC', "
        "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM projectionist.dead_letters WHERE " PJ_LETTER_WHERE
        " ORDER BY id" PJ_LETTER_LIMIT_SQL;
    const struct pj_letter_filter everything = {.status = "all"};
    struct pj_result *result;
    if (pj_letter_query(postgres, sql, &everything, config->operands, config->operand_count,
                        &result, error) != 0)
        return -1;
    int status = 0;
    for (int i = 0; i < config->operand_count && status == 0; i++) {
        int64_t id = strtoll(config->operands[i], NULL, 10);
        int row = 0;
        while (row < pj_result_rows(result) && pj_letter_number(result, row, 0) != id)
            row++;
        if (row == pj_result_rows(result))
            status = pj_error_set(error, PJ_FATAL, "there is no dead letter %lld; nothing was done",
                                  (long long)id);
        else if (strcmp(pj_cli_text(result, row, 1), "open") != 0)
            fprintf(stderr, "dead letter %lld was %s at %s already\n", (long long)id,
                    pj_cli_text(result, row, 1), pj_cli_text(result, row, 2));
    }
    pj_result_free(result);
    return status;
}

int pj_letter_choose(struct pj_postgres *postgres, const struct pj_config *config,
                     const struct pj_letter_filter *filter, bool all, struct pj_result **result,
                     struct pj_error *error)
{
    static const char sql[] =
        "SELECT id, projection, consumer_group, topic, partition, record_offset, message "
        "FROM projectionist.dead_letters WHERE " PJ_LETTER_WHERE " ORDER BY id" PJ_LETTER_LIMIT_SQL;
    if (all && config->operand_count > 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "give either ids or --all, not both");
    if (!all && config->operand_count == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "which dead letters? give their ids, or --all with or without "
                              "filters; 'projectionist dead-letters list' shows them");
    if (pj_letter_check(postgres, filter, error) != 0)
        return -1;
    if (!all && check_ids(postgres, config, error) != 0)
        return -1;
    return pj_letter_query(postgres, sql, filter, config->operands, config->operand_count, result,
                           error);
}
