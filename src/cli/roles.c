/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist roles: the roles of a database, and what each may do there. */
#include "cli/roles_sql.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    struct pj_cli_servers servers;
    const char *prefix;
    const char *file;
};

/* Where migrate created the tables, as far as the database says. */
struct places {
    const struct pj_cli *cli;
    const struct pj_result *known; /* or NULL */
};

static const char *schema_of(const struct pj_system *system, void *context)
{
    const struct places *places = context;
    for (int row = 0; places->known != NULL && row < pj_result_rows(places->known); row++) {
        if (strcmp(pj_cli_text(places->known, row, 0), system->name) == 0)
            return pj_cli_text(places->known, row, 1);
    }
    return places->cli->servers->tables_schema != NULL ? places->cli->servers->tables_schema
                                                       : system->tables_schema;
}

static int connect(struct pj_cli *cli, struct places *places, struct pj_error *error)
{
    const struct pj_result *result;
    if (pj_cli_postgres(cli, error) != 0 ||
        pj_cli_query(cli, "SELECT to_regclass('projectionist.migrations') IS NOT NULL", 0, NULL,
                     &result, error) != 0)
        return -1;
    return strcmp(pj_cli_text(result, 0, 0), "t") != 0
               ? 0
               : pj_cli_query(cli,
                              "SELECT DISTINCT system, tables_schema FROM projectionist.migrations "
                              "WHERE tables_schema IS NOT NULL",
                              0, NULL, &places->known, error);
}

/* Before the first migrate, the roles are those of all. */
static int leave_out_undeployed(struct pj_cli *cli, const struct places *places,
                                struct pj_error *error)
{
    bool any = false;
    for (int row = 0; places->known != NULL && row < pj_result_rows(places->known); row++)
        any |= pj_cli_system_find(pj_cli_text(places->known, row, 0)) != NULL;
    return any && cli->servers->systems == NULL ? pj_cli_systems_deployed(cli, error) : 0;
}

static int write_file(const char *path, const char *sql, struct pj_error *error)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    bool written = file != NULL && fputs(sql, file) >= 0 && fflush(file) == 0;
    int reason = errno;
    if (file != NULL && file != stdout && fclose(file) != 0)
        written = false;
    return written ? PJ_EXIT_OK
                   : pj_error_fatal(error, PJ_EXIT_FAILED, "'%.200s' cannot be written: %s", path,
                                    strerror(reason));
}

static int print(struct pj_cli *cli, const char *prefix, struct pj_error *error)
{
    const struct pj_result *result;
    if (pj_cli_query(cli,
                     "SELECT quote_ident(r.rolname), coalesce(shobj_description(r.oid, "
                     "'pg_authid'), ''), r.rolcanlogin OR EXISTS (SELECT FROM pg_auth_members AS m "
                     "JOIN pg_roles AS u ON u.oid = m.member WHERE m.roleid = r.oid "
                     "AND u.rolcanlogin) FROM pg_roles AS r "
                     "WHERE starts_with(r.rolname, $1 || '_') ORDER BY r.oid",
                     1, &prefix, &result, error) != 0)
        return -1;
    for (int row = 0; row < pj_result_rows(result); row++)
        printf("%-40s %s%s\n", pj_cli_text(result, row, 0), pj_cli_text(result, row, 1),
               strcmp(pj_cli_text(result, row, 2), "t") == 0 ? "" : "; nobody can log in as it");
    return PJ_EXIT_OK;
}

static int apply(struct pj_cli *cli, const char *prefix, const char *sql, struct pj_error *error)
{
    if (pj_postgres_script(cli->postgres, sql, error) == 0)
        return print(cli, prefix, error);
    if (strcmp(error->sqlstate, "42501") != 0)
        return -1;
    struct pj_error cause = *error;
    return pj_error_fatal(error, PJ_EXIT_DATABASE,
                          "nothing was changed: %.400s; connect as the role that owns the tables "
                          "(and may create roles, where some are missing), or write the SQL for "
                          "somebody who may: --to-file FILE",
                          cause.message);
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct places places = {.cli = cli};
    const struct pj_roles roles = {settings->prefix, schema_of, &places};
    if (strspn(settings->prefix, "abcdefghijklmnopqrstuvwxyz0123456789_") !=
        strlen(settings->prefix))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--role-prefix: '%.63s' has more than lower-case letters, digits and "
                              "underscores",
                              settings->prefix);
    if (settings->file == NULL &&
        (connect(cli, &places, error) != 0 || leave_out_undeployed(cli, &places, error) != 0))
        return -1;
    char *sql = pj_roles_sql(&roles, error);
    if (sql == NULL)
        return -1;
    int status = settings->file != NULL ? write_file(settings->file, sql, error)
                                        : apply(cli, settings->prefix, sql, error);
    free(sql);
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTION,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TABLES_SCHEMA_OPTION,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    {
        .name = "role-prefix",
        .kind = PJ_OPTION_STRING,
        .offset = offsetof(struct settings, prefix),
        .argument = "NAME",
        .fallback = PJ_ROLES_PREFIX,
        .filled = true,
        .most = 40,
        .help = "What the roles' names begin with. Roles belong to a server, not to a database: "
                "give each environment on one server another.",
    },
    PJ_CLI_TEXT_OPTION(struct settings, file, "to-file", 0, "FILE",
                       "Write the SQL there, - for standard output, and connect to nothing."),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_roles = {
    .name = "roles",
    .summary = "create the database roles and grant each its rights",
    .description =
        "  A role for migrations and commands (…_owner), one for each consumer, which\n"
        "  reaches its own tables alone, and one that reads (…_analyst). Row security is\n"
        "  switched on for all tables. Where Supabase's roles are, service_role may do\n"
        "  everything, authenticated reads what the system says, anon nothing; they are\n"
        "  never created here. Whoever else could read or write the tables no longer\n"
        "  can, but for their owner: make them members of …_analyst. Once a system is\n"
        "  migrated here, those that are not are left out unless --systems names them.\n"
        "\n"
        "  Run it by the owner of the tables, before the first migrate (by somebody who\n"
        "  may create roles) and after each. The roles have no password and cannot log\n"
        "  in before you say so: ALTER ROLE … LOGIN PASSWORD …. Running consumers that\n"
        "  own no tables end once, and go on when they are started again.\n",
    .examples = "  projectionist roles\n"
                "  projectionist roles --to-file roles.sql && psql -f roles.sql\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
