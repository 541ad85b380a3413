/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist dead-letters discard: gives letters up; they stay in the table, for the record. */
#include "base/text.h"
#include "cli/confirm.h"
#include "cli/dead_letters.h"

#include <jansson.h>
#include <stdlib.h>

#define PJ_LETTER_LIMIT "0"

struct settings {
    struct pj_cli_servers servers;
    struct pj_letter_filter filter;
    bool all;
    bool dry_run;
    bool yes;
    bool json;
};

/* Those that were shown and are still open, in one statement. */
static int discard(struct pj_postgres *postgres, const struct pj_result *chosen,
                   struct pj_result **discarded, struct pj_error *error)
{
    json_t *ids = json_array();
    for (int row = 0; row < pj_result_rows(chosen); row++)
        json_array_append_new(ids, json_integer(pj_letter_number(chosen, row, PJ_LETTER_ID)));
    char *text = json_dumps(ids, JSON_COMPACT);
    json_decref(ids);
    const char *parameters[] = {text};
    int status = pj_postgres_query(
        postgres,
        "UPDATE projectionist.dead_letters SET status = 'discarded', "
        "resolved_at = clock_timestamp() WHERE status = 'open' "
        "AND id IN (SELECT value::bigint FROM jsonb_array_elements_text($1::jsonb)) RETURNING id",
        1, parameters, discarded, error);
    free(text);
    return status;
}

static void print(const struct settings *settings, const struct pj_result *result, bool done)
{
    int count = pj_result_rows(result);
    if (!settings->json) {
        if (count == 0 && pj_letter_filtered(&settings->filter))
            puts(PJ_LETTERS_FILTERED_OUT);
        else
            printf("%s %d dead letter%s\n", done ? "discarded" : "would discard", count,
                   count == 1 ? "" : "s");
        return;
    }
    json_t *ids = json_array();
    for (int row = 0; row < pj_result_rows(result); row++)
        json_array_append_new(ids, json_integer(pj_letter_number(result, row, 0)));
    json_t *document = json_pack("{s:b, s:o}", "dry_run", !done, "discarded", ids);
    json_dumpf(document, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(document);
}

static int run(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct pj_postgres *postgres = NULL;
    struct pj_result *chosen = NULL;
    struct pj_result *discarded = NULL;
    char question[96];
    int status = -1;
    if (pj_cli_postgres(&postgres, config, &settings->servers, error) != 0 ||
        pj_letter_choose(postgres, config, &settings->filter, settings->all, &chosen, error) != 0)
        goto out;
    pj_text_show(question, sizeof question, "Give up %d dead letter%s", pj_result_rows(chosen),
                 pj_result_rows(chosen) == 1 ? "" : "s");
    if (settings->dry_run || pj_result_rows(chosen) == 0) {
        print(settings, chosen, !settings->dry_run);
        status = PJ_EXIT_OK;
    } else if (pj_cli_confirm(question, settings->yes, error) == 0 &&
               discard(postgres, chosen, &discarded, error) == 0) {
        print(settings, discarded, true);
        status = PJ_EXIT_OK;
    }
out:
    pj_result_free(chosen);
    pj_result_free(discarded);
    pj_postgres_close(postgres);
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTIONS,
    {.name = "all",
     .letter = 'a',
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, all),
     .help = "All open letters that the filters let through, instead of ids."},
    PJ_LETTER_FILTER_OPTIONS(struct settings),
    {.name = "dry-run",
     .letter = 'n',
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, dry_run),
     .help = "Say how many, and change nothing."},
    PJ_CLI_YES_OPTION(struct settings),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_dead_letters_discard = {
    .name = "dead-letters discard",
    .summary = "give dead letters up",
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
