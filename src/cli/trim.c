/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist trim: orders that old rows of an append table go, and deletes them in pieces. */
#include "base/text.h"
#include "cli/deployment.h"
#include "postgres/sql_text.h"
#include "store/placeholders.h"

#include <stdlib.h>
#include <string.h>

struct settings {
    struct pj_cli_servers servers;
    const char *before;
    int64_t batch_rows;
    bool json;
};

static const struct pj_table *find_table(const char *name, const struct pj_system **system)
{
    for (size_t p = 0; p < pj_cli_projection_count; p++) {
        const struct pj_projection *projection = pj_cli_projections[p].projection;
        for (size_t t = 0; t < projection->table_count; t++) {
            if (strcmp(projection->tables[t]->name, name) == 0) {
                *system = pj_cli_projections[p].system;
                return projection->tables[t];
            }
        }
    }
    return NULL;
}

/* The parents of the rows that are gone, as placeholders.h wants them. */
static char *gone_parents(const struct pj_table *table, const struct pj_parent *parent)
{
    struct pj_builder source = {0};
    struct pj_builder where = {0};
    pj_builder_add(&source, "(SELECT DISTINCT ");
    (void)pj_placeholders_key(&source, &where, table, parent, "g");
    char *condition = pj_builder_take(&where);
    pj_builder_add(&source, " FROM pj_gone AS g WHERE %s) AS u", condition);
    free(condition);
    return pj_builder_take(&source);
}

/* A piece: rows, with what they alone kept as placeholders. In a partitioned table several rows
 * have one ctid, so the time is asked for twice. */
static char *piece_script(const struct pj_table *table, const char *before, int64_t rows)
{
    const struct pj_sql_name live = pj_sql_table(table);
    const struct pj_sql_name column = pj_sql_name(table->columns[table->trimmed_by].name);
    struct pj_builder sql = {0};
    pj_builder_add(&sql,
                   "BEGIN; CREATE TEMP TABLE pj_gone (LIKE %s) ON COMMIT DROP; "
                   "WITH gone AS (DELETE FROM %s WHERE ctid = ANY (ARRAY (SELECT ctid FROM %s "
                   "WHERE %s < ",
                   live.text, live.text, live.text, column.text);
    pj_sql_literal(&sql, "", before);
    pj_builder_add(&sql, " LIMIT %lld)) AND %s < ", (long long)rows, column.text);
    pj_sql_literal(&sql, "", before);
    pj_builder_add(&sql, " RETURNING *) INSERT INTO pj_gone SELECT * FROM gone; ");
    for (const struct pj_parent *p = table->parents; p != NULL && p->table != NULL; p++) {
        char *source = gone_parents(table, p);
        pj_placeholders_leave(&sql, p->table, source);
        free(source);
    }
    return pj_builder_take(&sql);
}

/* Each piece is a transaction; what is deleted when it fails stays so. */
static int delete_rows(struct pj_cli *cli, const struct pj_table *table, const char *before,
                       int64_t piece, long long *deleted, struct pj_error *error)
{
    char *script = piece_script(table, before, piece);
    int64_t count = 1;
    int status = 0;
    for (*deleted = 0; count > 0 && status == 0; *deleted += count) {
        const struct pj_result *result;
        count = 0;
        status = pj_postgres_script(cli->postgres, script, error);
        if (status == 0)
            status = pj_cli_query(cli, "SELECT count(*) FROM pj_gone", 0, NULL, &result, error);
        if (status == 0)
            status = pj_postgres_script(cli->postgres, "COMMIT", error);
        if (status == 0)
            count = pj_cli_number(result, 0, 0);
        else
            pj_postgres_rollback(cli->postgres);
    }
    free(script);
    return status;
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    const struct pj_system *system;
    const struct pj_result *result;
    long long deleted;
    if (cli->config->operand_count != 1 || settings->before == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "a table is expected, and --before with the time to keep from");
    const char *name = cli->config->operands[0];
    const struct pj_table *table = find_table(name, &system);
    if (table == NULL || table->trimmed_by == 0)
        return pj_error_fatal(
            error, PJ_EXIT_USAGE, "'%.100s' is not a table whose rows may be deleted: %s", name,
            table == NULL ? "no projection here has it" : "its declaration has no `trimmed_by`");
    if (pj_cli_postgres_of(cli, system, error) != 0)
        return -1;
    if (pj_cli_query(cli, "SELECT projectionist.order_trim($1::regclass, $2::timestamptz)",
                     PJ_TEXTS(pj_sql_table(table).text, settings->before), &result, error) != 0 ||
        delete_rows(cli, table, pj_cli_text(result, 0, 0), settings->batch_rows, &deleted, error) !=
            0)
        return -1;
    if (settings->json)
        pj_cli_print_json(json_pack("{s:s, s:s, s:I}", "table", name, "before",
                                    pj_cli_text(result, 0, 0), "deleted", (json_int_t)deleted));
    else
        printf("%s: %lld row%s of before %s deleted\n", name, deleted, deleted == 1 ? "" : "s",
               pj_cli_text(result, 0, 0));
    return PJ_EXIT_OK;
}

static const struct pj_option options[] = {
    PJ_CLI_TEXT_OPTION(struct settings, before, "before", 0, "TIME",
                       "Rows whose time is earlier go, such as 2026-08-01T00:00:00Z. An earlier "
                       "time than was ordered before changes nothing."),
    PJ_CLI_INTEGER_OPTION(struct settings, batch_rows, "batch-rows", 0, "10000", 1, 1000000,
                          "How many rows one transaction deletes at most."),
    PJ_CLI_POSTGRES_OPTION,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TABLES_SCHEMA_OPTION,
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_trim = {
    .name = "trim",
    .summary = "delete old rows of an append table for good",
    .description =
        "  Orders that the rows of TABLE that are older than a time go and stay away,\n"
        "  then deletes them, a piece in each transaction; consumers go on meanwhile.\n"
        "  From then on older rows are not written again, by consumers, replays or\n"
        "  rebuilds, and verify does not miss them. Only ever later: there is no way\n"
        "  back but for those whose records the topics still have.\n"
        "\n"
        "  For tables whose declaration says which column has a row's time (trimmed_by).\n"
        "  When it is interrupted, the same command goes on.\n",
    .examples = "  projectionist trim audit_log --before 2026-08-01T00:00:00Z\n"
                "  projectionist trim audit_log --before \"$(date -Id -d '-90 days')\"\n",
    .operands = "TABLE",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
