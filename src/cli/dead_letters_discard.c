/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist dead-letters discard: marks letters as not to be applied; they stay in the table.
 */
#include "base/memory.h"
#include "base/text.h"
#include "cli/confirm.h"
#include "cli/dead_letters.h"

#include <stdlib.h>

struct settings {
    struct pj_cli_servers servers;
    struct pj_letter_filter filter;
    bool all;
    bool dry_run;
    bool yes;
    bool json;
};

static json_t *ids_of(const struct pj_result *letters)
{
    json_t *ids = pj_must(json_array());
    for (int row = 0; row < pj_result_rows(letters); row++)
        json_array_append_new(ids, json_integer(pj_cli_number(letters, row, PJ_LETTER_ID)));
    return ids;
}

/* Those that were shown and are still open, in one statement. */
static int discard(struct pj_cli *cli, const struct pj_result *chosen,
                   const struct pj_result **discarded, struct pj_error *error)
{
    json_t *ids = ids_of(chosen);
    char *text = pj_must(json_dumps(ids, JSON_COMPACT));
    json_decref(ids);
    int status = pj_cli_query(
        cli,
        "UPDATE projectionist.dead_letters SET status = 'discarded', "
        "resolved_at = clock_timestamp() WHERE status = 'open' "
        "AND id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb)) RETURNING id",
        PJ_TEXTS(text), discarded, error);
    free(text);
    return status;
}

static void print(const struct settings *settings, const struct pj_result *result, bool done)
{
    size_t count = (size_t)pj_result_rows(result);
    if (settings->json)
        pj_cli_print_json(json_pack("{s:b, s:o}", "dry_run", !done, "discarded", ids_of(result)));
    else if (!pj_letter_none_match(&settings->filter, count))
        printf("%s %zu dead letter%s\n", done ? "discarded" : "would discard", count,
               pj_letter_plural(count));
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    const struct pj_result *letters;
    char question[96];
    if (pj_letter_choose(cli, &settings->filter, settings->all, &letters, error) != 0)
        return -1;
    size_t count = (size_t)pj_result_rows(letters);
    bool is_done = !settings->dry_run;
    pj_text_show(question, sizeof question, "Discard %zu dead letter%s", count,
                 pj_letter_plural(count));
    if (is_done && count > 0 &&
        (pj_cli_confirm(question, settings->yes, error) != 0 ||
         discard(cli, letters, &letters, error) != 0))
        return -1;
    print(settings, letters, is_done);
    return PJ_EXIT_OK;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTION,
    PJ_LETTER_ALL_OPTION(struct settings),
    PJ_LETTER_FILTER_OPTIONS(struct settings, "0"),
    PJ_CLI_DRY_RUN_OPTION(struct settings, "Say how many, and change nothing."),
    PJ_CLI_YES_OPTION(struct settings),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_dead_letters_discard = {
    .name = "dead-letters discard",
    .summary = "discard dead letters",
    .description =
        "  Marks open dead letters as discarded, in one transaction, after asking: they\n"
        "  are no longer listed or counted as open. They stay in the table, whole, but\n"
        "  cannot be replayed any more. The record itself stays in its topic; a new\n"
        "  group meets it again.\n",
    .examples = "  projectionist dead-letters discard 17 18\n"
                "  projectionist dead-letters discard --all --reason 'wire format' --yes\n",
    .operands = "ID...|--all",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
