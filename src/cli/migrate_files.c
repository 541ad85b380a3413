/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/migrate_files.h"

#include "base/memory.h"
#include "base/text.h"
#include "cli/roles_sql.h"
#include "postgres/sql_text.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUOTE "$projectionist_file$"
#define ROLES "_projectionist_roles.sql"

enum { STAMP_LENGTH = 14 }; /* 20261130104500 */

struct folder {
    const char *path;
    struct dirent **entries;
    int count;
    time_t last; /* that a name begins with */
    json_t *written;
};

/* --- what is there --------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), rest = strlen(end);
    return length >= rest && strcmp(name + length - rest, end) == 0;
}

/* The last file whose name is a time and this. */
static const char *find(const struct folder *folder, const char *end)
{
    for (int i = folder->count; i-- > 0;) {
        const char *name = folder->entries[i]->d_name;
        if (ends_with(name, end) && strspn(name, "0123456789") == strlen(name) - strlen(end))
            return name;
    }
    return NULL;
}

static int open_folder(struct folder *folder, struct pj_error *error)
{
    folder->count = scandir(folder->path, &folder->entries, NULL, alphasort);
    if (folder->count < 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "--to-directory: cannot read '%.200s': %s%s",
                              folder->path, strerror(errno),
                              errno == ENOENT ? "; create the folder first" : "");
    folder->last = time(NULL) - 1;
    for (int i = 0; i < folder->count; i++) {
        struct tm parts = {0};
        const char *name = folder->entries[i]->d_name;
        const char *rest = strptime(name, "%Y%m%d%H%M%S", &parts);
        time_t at = rest == name + STAMP_LENGTH ? timegm(&parts) : 0;
        if (at > folder->last)
            folder->last = at;
    }
    return 0;
}

static void close_folder(struct folder *folder)
{
    for (int i = 0; i < folder->count; i++)
        free(folder->entries[i]);
    free(folder->entries);
}

static bool has_content(const struct folder *folder, const char *name, const char *wanted)
{
    char *path = pj_text_new("%s/%s", folder->path, name);
    size_t length = strlen(wanted);
    char *content = pj_alloc(length + 1);
    FILE *file = fopen(path, "re");
    bool same = file != NULL && fread(content, 1, length + 1, file) == length &&
                memcmp(content, wanted, length) == 0;
    if (file != NULL)
        fclose(file);
    free(content);
    free(path);
    return same;
}

/* --- writing --------------------------------------------------------------------------------- */

static int write_file(struct folder *folder, const char *end, const char *sql,
                      struct pj_error *error)
{
    char stamp[STAMP_LENGTH + 1];
    struct tm parts;
    folder->last++;
    strftime(stamp, sizeof stamp, "%Y%m%d%H%M%S", gmtime_r(&folder->last, &parts));
    char *path = pj_text_new("%s/%s%s", folder->path, stamp, end);
    FILE *file = fopen(path, "wxe");
    bool written = file != NULL && fputs(sql, file) >= 0;
    if (file != NULL && fclose(file) != 0)
        written = false;
    int status = 0;
    if (written)
        json_array_append_new(folder->written, json_string(path));
    else
        status = pj_error_fatal(error, PJ_EXIT_FAILED, "'%.200s' cannot be written: %s", path,
                                strerror(errno));
    free(path);
    return status;
}

static const char *schema_of(const struct pj_system *system, void *context)
{
    const struct pj_cli *cli = context;
    return cli->servers->tables_schema != NULL ? cli->servers->tables_schema
                                               : system->tables_schema;
}

/* The search_path: another system may have made an extension, in its own schema. */
#define WITH_EXTENSIONS                                                                            \
    "concat_ws(', ', quote_ident(schema), nullif(path, ''), (\n"                                   \
    "        SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ') FROM pg_extension AS e\n"    \
    "        JOIN pg_namespace AS n ON n.oid = e.extnamespace))"

/* The file as a string, which is executed where the database has not had it yet. */
static char *wrap(const struct pj_cli *cli, const struct pj_migration *migration)
{
    struct pj_builder sql = {0};
    const struct pj_system *system = pj_cli_system_find(migration->system);
    bool engine = strcmp(migration->system, PJ_MIGRATIONS_ENGINE) == 0;
    const char *schema = engine           ? PJ_MIGRATIONS_SCHEMA
                         : system != NULL ? schema_of(system, (void *)(uintptr_t)cli)
                                          : cli->servers->tables_schema;
    pj_builder_add(&sql,
                   "-- %s, by `projectionist migrate --to-directory` (" PJ_VERSION
                   ").\nDO $projectionist$\nDECLARE\n"
                   "    path TEXT := current_setting('search_path');\n"
                   "    had BOOLEAN := false;\n    body TEXT := " QUOTE,
                   migration->path);
    pj_builder_add(&sql, "%s" QUOTE, migration->sql);
    pj_sql_literal(&sql, ";\n    system TEXT := ", migration->system);
    pj_builder_add(&sql, ";\n    number INTEGER := %d;\n", migration->number);
    pj_sql_literal(&sql, "    schema TEXT := ", schema != NULL ? schema : "public");
    pj_builder_add(&sql,
                   ";\nBEGIN\n"
                   "    PERFORM pg_advisory_xact_lock(" PJ_MIGRATIONS_LOCK ");\n"
                   "    IF to_regclass('projectionist.migrations') IS NOT NULL THEN\n"
                   "        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE "
                   "system = $1 AND number = $2)'\n            INTO had USING system, number;\n"
                   "    END IF;\n    IF had THEN\n        RETURN;\n    END IF;\n"
                   "    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> "
                   "'" PJ_MIGRATIONS_SCHEMA "' THEN\n"
                   "        EXECUTE format('CREATE SCHEMA %%I', schema);\n    END IF;\n"
                   "    PERFORM set_config('search_path', %s, true);\n"
                   "    EXECUTE body;\n",
                   engine ? "schema" : WITH_EXTENSIONS);
    pj_sql_literal(&sql,
                   "    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, "
                   "checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'\n"
                   "        USING system, number, ",
                   migration->file);
    pj_builder_add(&sql, ", encode(sha256(convert_to(body, 'UTF8')), 'hex'),\n"
                         "            nullif(schema, '" PJ_MIGRATIONS_SCHEMA "');\n"
                         "    PERFORM set_config('search_path', path, true);\n"
                         "END;\n$projectionist$;\n");
    return pj_builder_take(&sql);
}

static int write_migration(struct folder *folder, const struct pj_cli *cli,
                           const struct pj_migration *migration, struct pj_error *error)
{
    int status = 0;
    char *end = pj_text_new("_projectionist_%s_%s", migration->system, migration->file);
    if (find(folder, end) == NULL) {
        if (strstr(migration->sql, QUOTE) != NULL || strstr(migration->sql, "$projectionist$"))
            status = pj_error_fatal(error, PJ_EXIT_USAGE,
                                    "%s has $projectionist$ or " QUOTE " in it, which quotes it "
                                    "here; use another tag",
                                    migration->path);
        char *sql = wrap(cli, migration);
        if (status == 0)
            status = write_file(folder, end, sql, error);
        free(sql);
    }
    free(end);
    return status;
}

static int write_roles(struct folder *folder, const struct pj_cli *cli, struct pj_error *error)
{
    const struct pj_roles roles = {PJ_ROLES_PREFIX, schema_of, (void *)(uintptr_t)cli};
    char *sql = pj_roles_sql(&roles, error);
    if (sql == NULL)
        return -1;
    const char *last = find(folder, ROLES);
    int status =
        last != NULL && has_content(folder, last, sql) ? 0 : write_file(folder, ROLES, sql, error);
    free(sql);
    return status;
}

int pj_migrate_write_files(const struct pj_cli *cli, const struct pj_migrations *migrations,
                           const char *directory, json_t *written, struct pj_error *error)
{
    struct folder folder = {.path = directory, .written = written};
    int status = open_folder(&folder, error);
    for (size_t i = 0; i < migrations->count && status == 0; i++)
        status = write_migration(&folder, cli, &migrations->items[i], error);
    if (status == 0)
        status = write_roles(&folder, cli, error);
    close_folder(&folder);
    return status;
}
