/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist schemas list and forget: what Postgres keeps of the schema registries. */
#include "base/process.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/confirm.h"
#include "cli/text_table.h"

#include <jansson.h>

struct settings {
    struct pj_cli_servers servers;
    const char *registry;
    bool dry_run;
    bool yes;
    bool json;
};

enum { REGISTRY, ID, NAME, FETCHED, GROUPS };

/* $1: of this registry, or NULL; $2: of this id, or NULL. */
#define FROM_KEPT                                                                                  \
    "FROM projectionist.schemas AS s WHERE (s.registry = $1 OR $1 IS NULL) "                       \
    "AND (s.schema_id = $2::int OR $2 IS NULL) "

static const char list_sql[] =
    "SELECT s.registry, s.schema_id, substring(s.schema FROM '\"name\"\\s*:\\s*\"([^\"]*)\"'), "
    "to_char(s.fetched_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), "
    "(SELECT string_agg(r.consumer_group, ' ' ORDER BY r.consumer_group) "
    "FROM projectionist.schema_readers AS r WHERE r.registry = s.registry) " FROM_KEPT
    "ORDER BY s.registry, s.schema_id";

static const char forget_sql[] =
    "WITH gone AS (DELETE " FROM_KEPT "RETURNING s.*) "
    "INSERT INTO projectionist.forgotten_schemas (registry, schema_id, schema, fetched_at) "
    "SELECT registry, schema_id, schema, fetched_at FROM gone RETURNING schema_id";

static void print_json(const struct pj_result *rows)
{
    json_t *array = json_array();
    for (int row = 0; row < pj_result_rows(rows); row++)
        json_array_append_new(
            array,
            json_pack("{s:s, s:I, s:s, s:s, s:s}", "registry", pj_cli_text(rows, row, REGISTRY),
                      "id", (json_int_t)strtoll(pj_cli_text(rows, row, ID), NULL, 10), "name",
                      pj_cli_text(rows, row, NAME), "kept_since", pj_cli_text(rows, row, FETCHED),
                      "groups", pj_cli_text(rows, row, GROUPS)));
    json_dumpf(array, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(array);
}

static void print(const struct settings *settings, const struct pj_result *rows)
{
    static const char *const titles[] = {">ID", "NAME", "KEPT SINCE", "REGISTRY", "ITS GROUPS"};
    static const int columns[] = {ID, NAME, FETCHED, REGISTRY, GROUPS};
    if (settings->json) {
        print_json(rows);
        return;
    }
    struct pj_text_table *table = pj_text_table_new(titles, sizeof titles / sizeof titles[0]);
    for (int row = 0; row < pj_result_rows(rows); row++) {
        for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++)
            pj_text_table_add(table, pj_cli_text(rows, row, columns[c]));
    }
    pj_text_table_print(table, stdout);
    pj_text_table_free(table);
}

static int list(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct pj_postgres *postgres = NULL;
    struct pj_result *rows = NULL;
    const char *parameters[] = {settings->registry, NULL};
    int status = -1;
    if (pj_cli_postgres(&postgres, config, &settings->servers, error) == 0 &&
        pj_postgres_query(postgres, list_sql, 2, parameters, &rows, error) == 0) {
        print(settings, rows);
        status = PJ_EXIT_OK;
    }
    pj_result_free(rows);
    pj_postgres_close(postgres);
    return status;
}

static int take_away(struct pj_postgres *postgres, const struct settings *settings,
                     const char *const *parameters, int count, struct pj_error *error)
{
    struct pj_result *gone;
    char question[96];
    pj_text_show(question, sizeof question, "Forget %s", count == 1 ? "it" : "them");
    if (pj_cli_confirm(question, settings->yes, error) != 0 ||
        pj_postgres_query(postgres, forget_sql, 2, parameters, &gone, error) != 0)
        return -1;
    if (!settings->json)
        printf(
            "%d forgotten; the registry is asked when a record needs the id again, and rows that "
            "were made by it stay until a rebuild\n",
            pj_result_rows(gone));
    pj_result_free(gone);
    return 0;
}

static int forget(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct pj_postgres *postgres = NULL;
    struct pj_result *rows = NULL;
    int64_t id;
    if (config->operand_count != 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "name one schema ID; 'projectionist schemas list' has them");
    if (pj_parse_integer("ID", config->operands[0], 0, INT32_MAX, &id, error) != 0)
        return -1;
    const char *parameters[] = {settings->registry, config->operands[0]};
    int status = -1;
    pj_process_handle_signals();
    if (pj_cli_postgres(&postgres, config, &settings->servers, error) != 0 ||
        pj_postgres_query(postgres, list_sql, 2, parameters, &rows, error) != 0)
        goto out;
    if (pj_result_rows(rows) == 0) {
        status = pj_error_fatal(error, PJ_EXIT_FAILED,
                                "schema id %s is not kept%s%.200s; 'projectionist schemas list' "
                                "has those that are",
                                config->operands[0], settings->registry != NULL ? " of " : "",
                                settings->registry != NULL ? settings->registry : "");
        goto out;
    }
    print(settings, rows);
    if (settings->dry_run ||
        take_away(postgres, settings, parameters, pj_result_rows(rows), error) == 0)
        status = PJ_EXIT_OK;
out:
    pj_result_free(rows);
    pj_postgres_close(postgres);
    return status;
}

#define REGISTRY_OPTION                                                                            \
    {                                                                                              \
        .name = "registry", .kind = PJ_OPTION_STRING,                                              \
        .offset = offsetof(struct settings, registry), .argument = "URL",                          \
        .help = "Only what this registry said; the default is all of them."                        \
    }

static const struct pj_option list_options[] = {
    PJ_CLI_POSTGRES_OPTIONS,
    REGISTRY_OPTION,
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

static const struct pj_option forget_options[] = {
    PJ_CLI_POSTGRES_OPTIONS,
    REGISTRY_OPTION,
    {.name = "dry-run",
     .letter = 'n',
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, dry_run),
     .help = "Say what would be forgotten, and change nothing."},
    PJ_CLI_YES_OPTION(struct settings),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_schemas_list = {
    .name = "schemas list",
    .summary = "list the schemas that are kept in Postgres",
    .description =
        "  Lists what consumers have asked schema registries for and keep, so that a\n"
        "  rebuild needs none: the id, the name of the type, since when it is kept, which\n"
        "  registry said so, and the groups that this one has told what ids mean.\n",
    .examples = "  projectionist schemas list\n"
                "  projectionist schemas list --json | jq '.[].id'\n",
    .options = list_options,
    .settings_size = sizeof(struct settings),
    .run = list,
};

const struct pj_command pj_command_schemas_forget = {
    .name = "schemas forget",
    .summary = "take a kept schema away, so that the registry is asked again",
    .description =
        "  For a schema id that means another schema at the registry than what is kept of\n"
        "  it: consumers, rebuild and verify stop then, because records would be read\n"
        "  wrongly. Forget it where the kept one is wrong; where the registry is another\n"
        "  than the one that the records were written with, name the right one instead.\n"
        "  What was forgotten is written down in projectionist.forgotten_schemas.\n",
    .examples = "  projectionist schemas forget 7 --dry-run\n"
                "  projectionist schemas forget 7 --registry http://127.0.0.1:8081\n",
    .operands = "ID",
    .options = forget_options,
    .settings_size = sizeof(struct settings),
    .run = forget,
};
