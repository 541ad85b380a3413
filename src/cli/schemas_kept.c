/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist schemas list and forget: what Postgres keeps of the schema registries. */
#include "base/process.h"
#include "cli/cli.h"
#include "cli/confirm.h"
#include "cli/text_table.h"

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

static void print(const struct settings *settings, const struct pj_result *rows)
{
    static const char *const titles[] = {">ID", "NAME", "KEPT SINCE", "REGISTRY", "GROUPS", NULL};
    static const int columns[] = {ID, NAME, FETCHED, REGISTRY, GROUPS};
    if (settings->json) {
        pj_cli_print_json(pj_cli_rows_json(rows, "registry #id name kept_since groups"));
        return;
    }
    struct pj_text_table *table = pj_text_table_new(titles);
    for (int row = 0; row < pj_result_rows(rows); row++) {
        for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++)
            pj_text_table_add(table, pj_cli_text(rows, row, columns[c]));
    }
    pj_text_table_end(table, stdout);
}

static int list(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    const struct pj_result *rows;
    if (pj_cli_postgres(cli, error) != 0 ||
        pj_cli_query(cli, list_sql, PJ_TEXTS(settings->registry, NULL), &rows, error) != 0)
        return -1;
    print(settings, rows);
    return PJ_EXIT_OK;
}

static int forget(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    const struct pj_result *rows;
    int64_t id;
    if (cli->config->operand_count != 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "give one schema ID; 'projectionist schemas list' lists them");
    const char *parameters[] = {settings->registry, cli->config->operands[0]};
    if (pj_parse_integer("ID", parameters[1], 0, INT32_MAX, &id, error) != 0)
        return -1;
    pj_process_handle_signals();
    if (pj_cli_postgres(cli, error) != 0 ||
        pj_cli_query(cli, list_sql, 2, parameters, &rows, error) != 0)
        return -1;
    if (pj_result_rows(rows) == 0)
        return pj_error_fatal(error, PJ_EXIT_FAILED,
                              "schema id %s is not kept%s%.200s; 'projectionist schemas list' "
                              "lists those that are",
                              parameters[1], settings->registry != NULL ? " of " : "",
                              settings->registry != NULL ? settings->registry : "");
    print(settings, rows);
    if (settings->dry_run)
        return PJ_EXIT_OK;
    if (pj_cli_confirm(pj_result_rows(rows) == 1 ? "Forget it" : "Forget them", settings->yes,
                       error) != 0 ||
        pj_cli_query(cli, forget_sql, 2, parameters, &rows, error) != 0)
        return -1;
    if (!settings->json)
        printf("%d forgotten; the registry is asked when a record needs the id again, and rows "
               "that were made with it stay until a rebuild\n",
               pj_result_rows(rows));
    return PJ_EXIT_OK;
}

#define REGISTRY_OPTION                                                                            \
    PJ_CLI_TEXT_OPTION(struct settings, registry, "registry", 0, "URL",                            \
                       "Only the schemas of this registry; the default is all.")

static const struct pj_option list_options[] = {
    PJ_CLI_POSTGRES_OPTION,
    REGISTRY_OPTION,
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

static const struct pj_option forget_options[] = {
    PJ_CLI_POSTGRES_OPTION,
    REGISTRY_OPTION,
    PJ_CLI_DRY_RUN_OPTION(struct settings, "Say what would be forgotten, and change nothing."),
    PJ_CLI_YES_OPTION(struct settings),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_schemas_list = {
    .name = "schemas list",
    .summary = "list the schemas that are kept in Postgres",
    .description =
        "  Lists the schemas that consumers fetched from schema registries and keep, so\n"
        "  that a rebuild needs no registry: the id, the name of the type, since when\n"
        "  it is kept, the registry, and the groups that read from that registry.\n",
    .examples = "  projectionist schemas list\n"
                "  projectionist schemas list --json | jq '.[].id'\n",
    .options = list_options,
    .settings_size = sizeof(struct settings),
    .run = list,
};

const struct pj_command pj_command_schemas_forget = {
    .name = "schemas forget",
    .summary = "drop a kept schema; the registry is asked again",
    .description =
        "  For a schema id whose schema at the registry differs from the one that is\n"
        "  kept: consumers, rebuild and verify stop then, because they would misread\n"
        "  records. Forget the kept one if it is wrong; if the records were written\n"
        "  with another registry, name that one instead. What was forgotten is recorded\n"
        "  in projectionist.forgotten_schemas.\n",
    .examples = "  projectionist schemas forget 7 --dry-run\n"
                "  projectionist schemas forget 7 --registry http://127.0.0.1:8081\n",
    .operands = "ID",
    .options = forget_options,
    .settings_size = sizeof(struct settings),
    .run = forget,
};
