/* SPDX-License-Identifier: Apache-2.0 */
/*
 * projectionist migrate: brings a database to the newest of the numbered files of deploy/sql, the
 * engine's first and then each system's, each file in a transaction of its own. That transaction
 * takes an advisory lock and checks again whether the file is due, so that several can run at once,
 * also through a pooler.
 */
#include "cli/migrate_tables.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/deployment.h"
#include "cli/migrate_files.h"

#include <string.h>

#define LOCK "SELECT pg_advisory_xact_lock(" PJ_MIGRATIONS_LOCK ")"

struct settings {
    struct pj_cli_servers servers;
    const char *directory;
    const char *to_directory;
    bool dry_run;
    bool json;
};

struct migrator {
    struct pj_cli *cli;
    const struct settings *settings;
    struct pj_migrations migrations;
    json_t *applied; /* paths, in order */
    int already;
};

/* --- what was applied --------------------------------------------------------------- */

/* Computed by Postgres, so that it can be compared with psql too. */
static int compute_checksum(struct migrator *migrator, const char *sql, const char **checksum,
                            struct pj_error *error)
{
    const struct pj_result *result;
    if (pj_cli_query(migrator->cli, "SELECT encode(sha256(convert_to($1::text, 'UTF8')), 'hex')", 1,
                     &sql, &result, error) != 0)
        return -1;
    *checksum = pj_cli_text(result, 0, 0);
    return 0;
}

/* Not by to_regclass(): that may answer from a cache as old as the transaction, which can be older
 * than the wait for the lock. */
static int has_table(struct migrator *migrator, bool *has, struct pj_error *error)
{
    const struct pj_result *result;
    if (pj_cli_query(migrator->cli,
                     "SELECT bool_or(a.attname = 'system') FROM pg_catalog.pg_attribute AS a "
                     "JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid "
                     "JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
                     "WHERE n.nspname = 'projectionist' AND c.relname = 'migrations'",
                     0, NULL, &result, error) != 0)
        return -1;
    const char *by_system = pj_result_value(result, 0, 0, NULL);
    *has = by_system != NULL;
    if (!*has || strcmp(by_system, "t") == 0)
        return 0;
    return pj_error_fatal(
        error, PJ_EXIT_DATABASE,
        "the database was migrated by a version before 0.2.0, which this one does not "
        "continue; run `DROP SCHEMA projectionist CASCADE` in it, which the tables survive, "
        "then `projectionist migrate` and `projectionist rebuild all`");
}

/* The private state, which is in our own schema, is that of one set of tables. */
static int check_schema(const struct migrator *migrator, const char *system, const char *schema,
                        struct pj_error *error)
{
    const char *wanted = migrator->cli->servers->tables_schema;
    if (wanted == NULL || *schema == '\0' || strcmp(schema, wanted) == 0)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_DATABASE,
                          "the tables of %s are in the schema %s of this database, and a database "
                          "holds them once; give --tables-schema %s, or another environment a "
                          "database of its own",
                          system, schema, schema);
}

static int check_one(struct migrator *migrator, const char *system, int number, const char *name,
                     const char *checksum, struct pj_error *error)
{
    const struct pj_migration *newest = pj_migrations_newest(&migrator->migrations, system);
    struct pj_migration *migration = pj_migrations_find(&migrator->migrations, system, number);
    if (number > newest->number)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the database has had %s/%s, which is newer than this projectionist "
                              "(" PJ_VERSION ", up to %04d); use the version that migrated it",
                              system, name, newest->number);
    if (migration == NULL)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the database has had %s/%s, which is not among the migrations of "
                              "this projectionist; use the version that migrated it",
                              system, name);
    const char *ours;
    if (compute_checksum(migrator, migration->sql, &ours, error) != 0)
        return -1;
    if (strcmp(ours, checksum) != 0)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "%s has changed since it was applied; restore it and put the change "
                              "into a new file",
                              migration->path);
    migration->applied = true;
    migrator->already++;
    return 0;
}

/* Marks what is applied; an error where the database and the files do not belong together. */
static int check_applied(struct migrator *migrator, struct pj_error *error)
{
    bool has;
    const struct pj_result *result;
    if (has_table(migrator, &has, error) != 0)
        return -1;
    if (!has)
        return 0;
    if (pj_cli_query(migrator->cli,
                     "SELECT system, number, name, checksum, tables_schema "
                     "FROM projectionist.migrations ORDER BY system, number DESC",
                     0, NULL, &result, error) != 0)
        return -1;
    for (int row = 0; row < pj_result_rows(result); row++) {
        const char *system = pj_cli_text(result, row, 0);
        if (pj_migrations_newest(&migrator->migrations, system) == NULL)
            continue; /* of another program, or not asked for */
        if (check_schema(migrator, system, pj_cli_text(result, row, 4), error) != 0 ||
            check_one(migrator, system, (int)pj_cli_number(result, row, 1),
                      pj_cli_text(result, row, 2), pj_cli_text(result, row, 3), error) != 0)
            return -1;
    }
    return 0;
}

/* --- applying -------------------------------------------------------------------------------- */

/* What the table of migrations has of a migration's system by now. */
struct had {
    bool this_one;
    bool any;
    const char *schema; /* of the tables; NULL or "": not known */
};

/* Within the transaction that holds the lock: has another process applied it meanwhile? */
static int look_again(struct migrator *migrator, const struct pj_migration *migration,
                      struct had *had, struct pj_error *error)
{
    bool has;
    char number[16];
    const struct pj_result *result;
    if (has_table(migrator, &has, error) != 0)
        return -1;
    if (!has)
        return 0;
    pj_text_whole(number, sizeof number, "%d", migration->number);
    if (pj_cli_query(migrator->cli,
                     "SELECT number = $2::int, tables_schema FROM projectionist.migrations "
                     "WHERE system = $1 ORDER BY 1 DESC LIMIT 1",
                     PJ_TEXTS(migration->system, number), &result, error) != 0)
        return -1;
    had->any = pj_result_rows(result) > 0;
    if (!had->any)
        return 0;
    had->this_one = strcmp(pj_cli_text(result, 0, 0), "t") == 0;
    had->schema = pj_cli_text(result, 0, 1);
    return check_schema(migrator, migration->system, had->schema, error);
}

static int record(struct migrator *migrator, const struct pj_migration *migration,
                  struct pj_error *error)
{
    char number[16];
    const char *parameters[] = {migration->system, number, migration->file, NULL};
    const struct pj_result *result;
    pj_text_whole(number, sizeof number, "%d", migration->number);
    return compute_checksum(migrator, migration->sql, &parameters[3], error) != 0
               ? -1
               : pj_cli_query(migrator->cli,
                              "INSERT INTO projectionist.migrations "
                              "(system, number, name, checksum, tables_schema) VALUES "
                              "($1, $2::int, $3, $4, nullif(current_schema(), 'projectionist'))",
                              4, parameters, &result, error);
}

/* The schema for what the file creates: the engine's own; for a system's tables that which has the
 * others, or that the operator names, or the system's own. Of a system that this program does not
 * know (--directory), the first of the search_path. Refuses tables of the same name. */
static int prepare(struct migrator *migrator, const struct pj_migration *migration,
                   const struct had *had, struct pj_error *error)
{
    struct pj_cli *cli = migrator->cli;
    const struct pj_system *system = pj_cli_system_find(migration->system);
    const char *schema = had->schema != NULL && *had->schema != '\0' ? had->schema
                         : cli->servers->tables_schema != NULL       ? cli->servers->tables_schema
                         : system != NULL                            ? system->tables_schema
                                                                     : NULL;
    if (strcmp(migration->system, PJ_MIGRATIONS_ENGINE) == 0)
        return pj_postgres_script(cli->postgres, "SET LOCAL search_path = projectionist", error);
    if (pj_migrate_use_schema(cli, schema, error) != 0)
        return -1;
    return had->any ? 0
                    : pj_migrate_check_tables(cli, &migrator->migrations, migration->system, error);
}

static int begin(struct migrator *migrator, struct pj_error *error)
{
    return pj_postgres_script(migrator->cli->postgres, "BEGIN; " LOCK, error);
}

static int refuse(struct migrator *migrator, const struct pj_migration *migration, const char *what,
                  struct pj_error *error)
{
    struct pj_error cause = *error;
    pj_postgres_rollback(migrator->cli->postgres);
    pj_text_show(error->message, sizeof error->message, "%s %s: %.600s", migration->path, what,
                 cause.message);
    if (error->class == PJ_POISON)
        error->exit_code = PJ_EXIT_DATABASE;
    return -1;
}

static int apply(struct migrator *migrator, const struct pj_migration *migration,
                 struct pj_error *error)
{
    struct pj_postgres *postgres = migrator->cli->postgres;
    int64_t start = pj_clock_monotonic_ms();
    struct had had = {0};
    if (begin(migrator, error) != 0 || look_again(migrator, migration, &had, error) != 0 ||
        (!had.this_one && (prepare(migrator, migration, &had, error) != 0 ||
                           pj_postgres_script(postgres, migration->sql, error) != 0 ||
                           record(migrator, migration, error) != 0)) ||
        pj_postgres_script(postgres, "COMMIT", error) != 0)
        return refuse(migrator, migration, "was not applied", error);
    if (had.this_one) {
        migrator->already++;
        return 0;
    }
    json_array_append_new(migrator->applied, json_string(migration->path));
    if (!migrator->settings->json)
        printf("applied %s (%lld ms)\n", migration->path,
               (long long)(pj_clock_monotonic_ms() - start));
    return 0;
}

/* Looks for tables of the same name, which needs the engine's files; all of it is rolled back. */
static int try_first_files(struct migrator *migrator, struct pj_error *error)
{
    const struct pj_migration *last = NULL;
    if (begin(migrator, error) != 0)
        return -1;
    for (size_t i = 0; i < migrator->migrations.count; last = &migrator->migrations.items[i++]) {
        const struct pj_migration *migration = &migrator->migrations.items[i];
        bool engine = strcmp(migration->system, PJ_MIGRATIONS_ENGINE) == 0;
        bool first = last == NULL || strcmp(last->system, migration->system) != 0;
        if (migration->applied || !(engine || first))
            continue;
        if (prepare(migrator, migration, &(struct had){0}, error) != 0 ||
            (engine && pj_postgres_script(migrator->cli->postgres, migration->sql, error) != 0))
            return refuse(migrator, migration, "would not be applied", error);
    }
    pj_postgres_rollback(migrator->cli->postgres);
    return 0;
}

static int apply_all(struct migrator *migrator, struct pj_error *error)
{
    bool dry_run = migrator->settings->dry_run;
    if (dry_run && try_first_files(migrator, error) != 0)
        return -1;
    for (size_t i = 0; i < migrator->migrations.count; i++) {
        const struct pj_migration *migration = &migrator->migrations.items[i];
        if (migration->applied)
            continue;
        if (!dry_run && apply(migrator, migration, error) != 0)
            return -1;
        if (!dry_run)
            continue;
        json_array_append_new(migrator->applied, json_string(migration->path));
        if (!migrator->settings->json)
            printf("would apply %s\n", migration->path);
    }
    return 0;
}

/* --- the command ------------------------------------------------------------------------------ */

/* The last file of each system. */
static json_t *newest_of_each(const struct pj_migrations *migrations)
{
    json_t *newest = pj_must(json_array());
    for (size_t i = 0; i < migrations->count; i++) {
        const struct pj_migration *migration = &migrations->items[i];
        if (pj_migrations_newest(migrations, migration->system) == migration)
            json_array_append_new(newest, json_string(migration->path));
    }
    return newest;
}

static void print_end(const struct migrator *migrator, const json_t *newest)
{
    size_t count = json_array_size(migrator->applied);
    size_t i;
    const json_t *path;
    if (migrator->settings->dry_run && count > 0) {
        printf("%zu of %zu files are due; nothing was changed\n", count,
               migrator->migrations.count);
        return;
    }
    printf("%sthe database is at ", count == 0 ? "nothing to do: " : "");
    json_array_foreach(newest, i, path) printf("%s%s", i == 0 ? "" : ", ", json_string_value(path));
    putchar('\n');
}

static void report(const struct migrator *migrator)
{
    bool dry_run = migrator->settings->dry_run;
    json_t *newest = newest_of_each(&migrator->migrations);
    if (migrator->settings->json)
        pj_cli_print_json(json_pack("{s:b, s:O, s:i, s:O}", "dry_run", (int)dry_run,
                                    dry_run ? "pending" : "applied", migrator->applied,
                                    "already_applied", migrator->already, "newest", newest));
    else
        print_end(migrator, newest);
    json_decref(newest);
}

static int write_files(struct migrator *migrator, struct pj_error *error)
{
    const struct settings *settings = migrator->settings;
    size_t i;
    const json_t *path;
    if (settings->dry_run)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--to-directory changes no database; leave --dry-run out");
    if (pj_migrate_write_files(migrator->cli, &migrator->migrations, settings->to_directory,
                               migrator->applied, error) != 0)
        return -1;
    if (settings->json)
        pj_cli_print_json(json_pack("{s:O}", "written", migrator->applied));
    else if (json_array_size(migrator->applied) == 0)
        printf("nothing to do: %s has all of them\n", settings->to_directory);
    else
        json_array_foreach(migrator->applied, i, path)
            printf("wrote %s\n", json_string_value(path));
    return 0;
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct migrator migrator = {.cli = cli, .settings = settings};
    int status = -1;
    if (cli->servers->tables_schema != NULL &&
        strcmp(cli->servers->tables_schema, "projectionist") == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--tables-schema names the engine's own schema; take another");
    if (pj_migrations_load(&migrator.migrations, settings->directory, cli, error) != 0)
        return -1;
    migrator.applied = pj_must(json_array());
    if (settings->to_directory != NULL) {
        if (write_files(&migrator, error) == 0)
            status = PJ_EXIT_OK;
    } else if (pj_cli_postgres(cli, error) == 0 && check_applied(&migrator, error) == 0 &&
               apply_all(&migrator, error) == 0) {
        report(&migrator);
        status = PJ_EXIT_OK;
    }
    json_decref(migrator.applied);
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTION,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TABLES_SCHEMA_OPTION,
    PJ_CLI_DRY_RUN_OPTION(
        struct settings,
        "Say what would be applied, or refused for a table of the same name, and change "
        "nothing."),
    PJ_CLI_TEXT_OPTION(struct settings, directory, "directory", 0, "DIR",
                       "Read the files from DIR/SYSTEM/ instead of those built into the program."),
    PJ_CLI_TEXT_OPTION(struct settings, to_directory, "to-directory", 0, "DIR",
                       "Connect to nothing: write what is not in DIR yet as files for another "
                       "tool, such as supabase/migrations, and one with the roles."),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_migrate = {
    .name = "migrate",
    .summary = "create or update the tables",
    .description =
        "  Applies the numbered files of deploy/sql, which are built into the program,\n"
        "  unless the database has them already, each in its own transaction: those of\n"
        "  the engine, then those of the systems named, or of all. Existing tables keep\n"
        "  their rows; an existing table of the same name with other columns is an\n"
        "  error. It can be run at any time, and several times at once: one waits for\n"
        "  the other and then finds nothing to do.\n"
        "\n"
        "  What was applied is recorded in projectionist.migrations. It is an error if\n"
        "  an applied file has changed since, or if the database is newer than this\n"
        "  program.\n"
        "\n"
        "  The role needs the right to create schemas, extensions (uuid-ossp) and\n"
        "  tables.\n",
    .examples = "  projectionist migrate\n"
                "  projectionist migrate SYSTEM --tables-schema media\n"
                "  projectionist migrate --dry-run\n"
                "  projectionist migrate --to-directory supabase/migrations\n"
                "  projectionist migrate --json | jq .applied\n",
    .operands = "[SYSTEM]...",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
