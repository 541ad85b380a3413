/* SPDX-License-Identifier: Apache-2.0 */
/*
 * projectionist migrate: brings a database to the newest of the numbered files of deploy/sql, each
 * in a transaction of its own. That transaction takes an advisory lock and looks again whether the
 * file is due, so that several can run at once, also through a pooler.
 */
#include "base/clock.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/migrations.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Any number that nobody else locks: "projectn" in ASCII. */
#define LOCK "SELECT pg_advisory_xact_lock(8102082571640042606)"

struct settings {
    struct pj_cli_servers servers;
    const char *directory;
    bool dry_run;
    bool json;
};

struct migrator {
    struct pj_postgres *postgres;
    const struct settings *settings;
    struct pj_migrations migrations;
    json_t *applied; /* names, in order */
    int already;
};

/* --- what the database has had --------------------------------------------------------------- */

/* Computed by Postgres, so that it can be compared with psql too. */
static int compute_checksum(struct pj_postgres *postgres, const char *sql, char checksum[65],
                            struct pj_error *error)
{
    struct pj_result *result;
    const char *parameters[] = {sql};
    if (pj_postgres_query(postgres, "SELECT encode(sha256(convert_to($1::text, 'UTF8')), 'hex')", 1,
                          parameters, &result, error) != 0)
        return -1;
    pj_text_show(checksum, 65, "%s", pj_cli_text(result, 0, 0));
    pj_result_free(result);
    return 0;
}

/* Not by to_regclass(): that may answer from a cache as old as the transaction, which can be older
 * than the wait for the lock. */
static int has_list(struct pj_postgres *postgres, bool *has, struct pj_error *error)
{
    struct pj_result *result;
    if (pj_postgres_query(postgres,
                          "SELECT FROM pg_catalog.pg_tables "
                          "WHERE schemaname = 'projectionist' AND tablename = 'migrations'",
                          0, NULL, &result, error) != 0)
        return -1;
    *has = pj_result_rows(result) > 0;
    pj_result_free(result);
    return 0;
}

static int check_one(struct migrator *migrator, int version, const char *name, const char *checksum,
                     struct pj_error *error)
{
    const struct pj_migrations *migrations = &migrator->migrations;
    int newest = migrations->items[migrations->count - 1].version;
    struct pj_migration *migration = pj_migrations_find(migrations, version);
    if (version > newest)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the database has had %s, which is newer than this projectionist "
                              "(" PJ_VERSION ", up to %04d); use the version that migrated it",
                              name, newest);
    if (migration == NULL)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "the database has had %s, which is not among the migrations of this "
                              "projectionist; use the version that migrated it",
                              name);
    char ours[65];
    if (compute_checksum(migrator->postgres, migration->sql, ours, error) != 0)
        return -1;
    if (strcmp(ours, checksum) != 0)
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "%s has changed since it was applied; restore it and put the change "
                              "into a new file",
                              migration->name);
    migration->applied = true;
    return 0;
}

/* Marks what is applied; an error where the database and the files do not belong together. */
static int check_applied(struct migrator *migrator, struct pj_error *error)
{
    bool has;
    if (has_list(migrator->postgres, &has, error) != 0)
        return -1;
    if (!has)
        return 0;
    struct pj_result *result;
    if (pj_postgres_query(migrator->postgres,
                          "SELECT version, name, checksum FROM projectionist.migrations "
                          "ORDER BY version DESC",
                          0, NULL, &result, error) != 0)
        return -1;
    int status = 0;
    for (int row = 0; row < pj_result_rows(result) && status == 0; row++)
        status = check_one(migrator, (int)strtol(pj_cli_text(result, row, 0), NULL, 10),
                           pj_cli_text(result, row, 1), pj_cli_text(result, row, 2), error);
    migrator->already = pj_result_rows(result);
    pj_result_free(result);
    return status;
}

/* --- applying -------------------------------------------------------------------------------- */

/* Within the transaction that holds the lock: has somebody else applied it meanwhile? */
static int still_due(struct migrator *migrator, const struct pj_migration *migration, bool *due,
                     struct pj_error *error)
{
    bool has;
    if (has_list(migrator->postgres, &has, error) != 0)
        return -1;
    *due = true;
    if (!has)
        return 0;
    char version[16];
    pj_text_whole(version, sizeof version, "%d", migration->version);
    const char *parameters[] = {version};
    struct pj_result *result;
    if (pj_postgres_query(migrator->postgres,
                          "SELECT FROM projectionist.migrations WHERE version = $1::int", 1,
                          parameters, &result, error) != 0)
        return -1;
    *due = pj_result_rows(result) == 0;
    pj_result_free(result);
    return 0;
}

static int apply_and_record(struct pj_postgres *postgres, const struct pj_migration *migration,
                            struct pj_error *error)
{
    char version[16];
    char checksum[65];
    struct pj_result *result;
    pj_text_whole(version, sizeof version, "%d", migration->version);
    const char *parameters[] = {version, migration->name, checksum};
    if (pj_postgres_script(postgres, migration->sql, error) != 0 ||
        compute_checksum(postgres, migration->sql, checksum, error) != 0 ||
        pj_postgres_query(postgres,
                          "INSERT INTO projectionist.migrations (version, name, checksum) "
                          "VALUES ($1::int, $2, $3)",
                          3, parameters, &result, error) != 0)
        return -1;
    pj_result_free(result);
    return 0;
}

static int apply(struct migrator *migrator, struct pj_migration *migration, struct pj_error *error)
{
    struct pj_postgres *postgres = migrator->postgres;
    int64_t start = pj_clock_monotonic_ms();
    bool due = false;
    if (pj_postgres_script(postgres, "BEGIN", error) != 0 ||
        pj_postgres_script(postgres, LOCK, error) != 0 ||
        still_due(migrator, migration, &due, error) != 0 ||
        (due && apply_and_record(postgres, migration, error) != 0) ||
        pj_postgres_script(postgres, "COMMIT", error) != 0) {
        pj_postgres_rollback(postgres);
        struct pj_error cause = *error;
        pj_text_show(error->message, sizeof error->message, "%s was not applied: %.600s",
                     migration->name, cause.message);
        if (error->class == PJ_POISON)
            error->exit_code = PJ_EXIT_DATABASE;
        return -1;
    }
    if (!due) {
        migrator->already++;
        return 0;
    }
    json_array_append_new(migrator->applied, json_string(migration->name));
    if (!migrator->settings->json)
        printf("applied %s (%lld ms)\n", migration->name,
               (long long)(pj_clock_monotonic_ms() - start));
    return 0;
}

static int apply_all(struct migrator *migrator, struct pj_error *error)
{
    for (size_t i = 0; i < migrator->migrations.count; i++) {
        struct pj_migration *migration = &migrator->migrations.items[i];
        if (migration->applied)
            continue;
        if (!migrator->settings->dry_run) {
            if (apply(migrator, migration, error) != 0)
                return -1;
            continue;
        }
        json_array_append_new(migrator->applied, json_string(migration->name));
        if (!migrator->settings->json)
            printf("would apply %s\n", migration->name);
    }
    return 0;
}

static void report(const struct migrator *migrator)
{
    const struct pj_migrations *migrations = &migrator->migrations;
    const char *newest = migrations->items[migrations->count - 1].name;
    size_t count = json_array_size(migrator->applied);
    bool dry_run = migrator->settings->dry_run;
    if (migrator->settings->json) {
        json_t *document = json_pack("{s:b, s:O, s:i, s:s}", "dry_run", (int)dry_run,
                                     dry_run ? "pending" : "applied", migrator->applied,
                                     "already_applied", migrator->already, "newest", newest);
        json_dumpf(document, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(document);
    } else if (count == 0) {
        printf("nothing to do: the database is at %s\n", newest);
    } else if (dry_run) {
        printf("%zu of %zu files are due; nothing was changed\n", count, migrations->count);
    } else {
        printf("the database is at %s\n", newest);
    }
}

static int run(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct migrator migrator = {.settings = settings};
    int status = -1;
    if (pj_migrations_load(&migrator.migrations, settings->directory, error) != 0)
        return -1;
    migrator.applied = json_array();
    if (pj_cli_postgres(&migrator.postgres, config, &settings->servers, error) != 0)
        goto out;
    if (check_applied(&migrator, error) != 0 || apply_all(&migrator, error) != 0)
        goto out;
    report(&migrator);
    status = PJ_EXIT_OK;
out:
    pj_postgres_close(migrator.postgres);
    json_decref(migrator.applied);
    pj_migrations_free(&migrator.migrations);
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTIONS,
    {.name = "dry-run",
     .letter = 'n',
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, dry_run),
     .help = "Say what would be applied, and change nothing."},
    {.name = "directory",
     .kind = PJ_OPTION_STRING,
     .offset = offsetof(struct settings, directory),
     .argument = "DIR",
     .help = "Take the files from here instead of those built into the program."},
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_migrate = {
    .name = "migrate",
    .summary = "make or update the tables",
    .description =
        "  Applies the numbered files of deploy/sql, which are built into the program,\n"
        "  that the database has not had yet, each in a transaction of its own. Tables\n"
        "  that are there already keep their rows. It can be run at any time, and by\n"
        "  several at once: one waits for the other and then finds nothing to do.\n"
        "\n"
        "  The list of what was applied is the table projectionist.migrations. It is an\n"
        "  error when an applied file has changed since, or when the database is newer\n"
        "  than this program.\n"
        "\n"
        "  The role needs the right to create schemas, extensions (uuid-ossp) and tables.\n",
    .examples = "  projectionist migrate\n"
                "  projectionist migrate --dry-run\n"
                "  projectionist migrate --json | jq .applied\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};
