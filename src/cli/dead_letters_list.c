/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist dead-letters list: what could not be applied, and why, and how often. */
#include "base/memory.h"
#include "base/text.h"
#include "cli/dead_letters.h"
#include "cli/deployment.h"
#include "cli/text_table.h"

#include <string.h>

struct settings {
    struct pj_cli_servers servers;
    struct pj_letter_filter filter;
    bool json;
};

static const char letters_sql[] =
    "SELECT id, to_char(failed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), "
    "consumer_group, projection, topic, partition, record_offset, status, sqlstate, message "
    "FROM projectionist.dead_letters WHERE " PJ_LETTER_WHERE " ORDER BY id" PJ_LETTER_LIMIT_SQL;
enum { ID, FAILED_AT, GROUP, PROJECTION, TOPIC, PARTITION, OFFSET, STATUS, SQLSTATE, MESSAGE };

static const char totals_sql[] =
    "SELECT " PJ_LETTER_LIKE_REASON ", count(*), sum(count(*)) OVER () "
    "FROM projectionist.dead_letters WHERE " PJ_LETTER_WHERE
    " AND $9::bigint IS NULL GROUP BY 1 ORDER BY 2 DESC, 1";

/* Reasons are plain ASCII; on a line of a table they end where it does. */
enum { REASON_MOST = 72, REASON_TEXT = 80 };
static const char *cut(char text[REASON_TEXT], const char *reason)
{
    if (strlen(reason) <= REASON_MOST)
        return reason;
    pj_text_show(text, REASON_TEXT, "%.*s...", REASON_MOST - 3, reason);
    return text;
}

static void print_text(const struct settings *settings, const struct pj_result *letters,
                       const struct pj_result *totals)
{
    static const char *const titles[] = {">ID",    "FAILED AT", "CONSUMER", "RECORD",
                                         "STATUS", "REASON",    NULL};
    static const char *const total_titles[] = {">LETTERS", "REASON", NULL};
    char text[512];
    char reason[REASON_TEXT];
    if (pj_letter_none_match(&settings->filter, (size_t)pj_result_rows(letters)))
        return;
    if (pj_result_rows(letters) == 0) {
        puts("no dead letters");
        return;
    }
    struct pj_text_table *table = pj_text_table_new(titles);
    for (int row = 0; row < pj_result_rows(letters); row++) {
        pj_text_table_add(table, pj_cli_text(letters, row, ID));
        pj_text_table_add(table, pj_cli_text(letters, row, FAILED_AT));
        pj_text_table_add(table, pj_cli_text(letters, row, GROUP));
        pj_text_show(text, sizeof text, "%s[%s]@%s", pj_cli_text(letters, row, TOPIC),
                     pj_cli_text(letters, row, PARTITION), pj_cli_text(letters, row, OFFSET));
        pj_text_table_add(table, text);
        pj_text_table_add(table, pj_cli_text(letters, row, STATUS));
        pj_text_table_add(table, cut(reason, pj_cli_text(letters, row, MESSAGE)));
    }
    pj_text_table_end(table, stdout);
    putchar('\n');
    table = pj_text_table_new(total_titles);
    for (int row = 0; row < pj_result_rows(totals); row++) {
        pj_text_table_add_number(table, pj_cli_number(totals, row, 1));
        pj_text_table_add(table, cut(reason, pj_cli_text(totals, row, 0)));
    }
    pj_text_table_end(table, stdout);
    int64_t others = pj_cli_number(totals, 0, 2) - pj_result_rows(letters);
    if (others > 0)
        printf("\n%lld more are not listed; --limit 0 lists all\n", (long long)others);
}

static void print_json(const struct pj_result *letters, const struct pj_result *totals)
{
    json_t *array = pj_cli_rows_json(letters, "#id failed_at group projection topic #partition "
                                              "#offset status ?sqlstate reason");
    json_t *reasons = pj_must(json_array());
    int64_t all = 0;
    for (int row = 0; row < pj_result_rows(letters); row++) {
        const struct pj_cli_projection *projection =
            pj_cli_projection_find(pj_cli_text(letters, row, PROJECTION));
        json_object_set_new(json_array_get(array, (size_t)row), "system",
                            projection != NULL ? json_string(projection->system->name)
                                               : json_null());
    }
    for (int row = 0; row < pj_result_rows(totals); row++) {
        all += pj_cli_number(totals, row, 1);
        json_array_append_new(reasons, pj_cli_row_json(totals, row, "reason #letters"));
    }
    pj_cli_print_json(json_pack("{s:I, s:o, s:o}", "total", (json_int_t)all, "letters", array,
                                "reasons", reasons));
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct pj_letter_filter unlimited = settings->filter;
    const struct pj_result *letters;
    const struct pj_result *totals;
    unlimited.limit = 0;
    if (pj_cli_postgres(cli, error) != 0 || pj_letter_check(cli, &settings->filter, error) != 0 ||
        pj_letter_query(cli, letters_sql, &settings->filter, NULL, 0, &letters, error) != 0 ||
        pj_letter_query(cli, totals_sql, &unlimited, NULL, 0, &totals, error) != 0)
        return -1;
    if (settings->json)
        print_json(letters, totals);
    else
        print_text(settings, letters, totals);
    return PJ_EXIT_OK;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTION,
    PJ_LETTER_FILTER_OPTIONS(struct settings, "100"),
    PJ_OPTION(CHOICE, "status", offsetof(struct settings, filter.status), "open", "STATUS",
              "Only letters in this state.", .letter = 's',
              .choices = "open|replayed|discarded|all"),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_dead_letters_list = {
    .name = "dead-letters list",
    .summary = "list records that could not be applied",
    .description =
        "  Lists the dead letters: records that a consumer could not apply as they are,\n"
        "  with the reason; then how often each reason occurs among all that match the\n"
        "  filters (N stands for a number).\n",
    .examples = "  projectionist dead-letters list\n"
                "  projectionist dead-letters list --reason 'schema id' --group CONSUMER\n"
                "  projectionist dead-letters list --status all --since 2026-11-21T00:00:00Z\n"
                "  projectionist dead-letters list --json | jq '.reasons'\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
