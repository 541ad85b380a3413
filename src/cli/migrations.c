/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/migrations.h"

#include "base/text.h"
#include "cli/deployment.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct pj_migration_script pj_sql_engine[];

enum { DIGITS = 4 };

static bool is_migration(const char *name)
{
    size_t length = strlen(name);
    return strspn(name, "0123456789") == DIGITS && name[DIGITS] == '_' && length > DIGITS + 5 &&
           strcmp(name + length - 4, ".sql") == 0;
}

/* Takes ownership of path and sql. */
static void add(struct pj_migrations *migrations, char *path, char *sql)
{
    size_t system = strcspn(path, "/");
    struct pj_migration *items =
        realloc(migrations->items, (migrations->count + 1) * sizeof *items);
    if (items == NULL)
        abort();
    migrations->items = items;
    items[migrations->count++] = (struct pj_migration){
        .path = path,
        .system = strndup(path, system),
        .file = path + system + 1,
        .number = (int)strtol(path + system + 1, NULL, 10),
        .sql = sql,
    };
    if (items[migrations->count - 1].system == NULL)
        abort();
}

static int read_file(const char *path, char **text, struct pj_error *error)
{
    FILE *file = fopen(path, "re");
    size_t length = 0;
    size_t capacity = 0;
    *text = NULL;
    if (file == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "cannot read %s: %s", path, strerror(errno));
    errno = 0;
    /* There is no NUL byte in SQL, so the first "line" up to one is the whole file. */
    ssize_t got = getdelim(text, &capacity, '\0', file);
    int failed = ferror(file) ? errno : 0;
    if (got > 0)
        length = (size_t)got;
    fclose(file);
    if (failed != 0 || length == 0 || strlen(*text) != length) {
        free(*text);
        *text = NULL;
        return pj_error_fatal(error, PJ_EXIT_USAGE, "cannot read %s: %s", path,
                              failed != 0 ? strerror(failed) : "it is empty or holds a NUL byte");
    }
    return 0;
}

static char *joined(const char *folder, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        abort();
    return path;
}

static int load_system(struct pj_migrations *migrations, const char *directory, const char *system,
                       struct pj_error *error)
{
    char *path = joined(directory, system);
    DIR *folder = opendir(path);
    int status = 0;
    struct dirent *entry;
    if (folder == NULL && errno != ENOTDIR)
        status = pj_error_fatal(error, PJ_EXIT_USAGE, "cannot read the folder %s: %s", path,
                                strerror(errno));
    while (folder != NULL && status == 0 && (entry = readdir(folder)) != NULL) {
        if (!is_migration(entry->d_name))
            continue;
        char *file = joined(path, entry->d_name);
        char *sql;
        status = read_file(file, &sql, error);
        free(file);
        if (status == 0)
            add(migrations, joined(system, entry->d_name), sql);
    }
    if (folder != NULL)
        closedir(folder);
    free(path);
    return status;
}

static int load_directory(struct pj_migrations *migrations, const char *directory,
                          struct pj_error *error)
{
    DIR *folder = opendir(directory);
    if (folder == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "cannot read the folder %s: %s", directory,
                              strerror(errno));
    int status = 0;
    struct dirent *entry;
    while (status == 0 && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.')
            status = load_system(migrations, directory, entry->d_name, error);
    }
    closedir(folder);
    return status;
}

static void add_scripts(struct pj_migrations *migrations, const char *system,
                        const struct pj_migration_script *scripts)
{
    for (; scripts != NULL && scripts->name != NULL; scripts++) {
        char *sql = strdup(scripts->sql);
        if (sql == NULL)
            abort();
        add(migrations, joined(system, scripts->name), sql);
    }
}

static void load_embedded(struct pj_migrations *migrations)
{
    add_scripts(migrations, PJ_MIGRATIONS_ENGINE, pj_sql_engine);
    for (size_t i = 0; pj_cli_systems[i] != NULL; i++) {
        if (pj_cli_system_find(pj_cli_systems[i]->name) != NULL)
            add_scripts(migrations, pj_cli_systems[i]->name, pj_cli_systems[i]->migrations);
    }
}

static bool is_engine(const char *system)
{
    return strcmp(system, PJ_MIGRATIONS_ENGINE) == 0;
}

static int by_system_and_number(const void *a, const void *b)
{
    const struct pj_migration *left = a;
    const struct pj_migration *right = b;
    int order = is_engine(right->system) - is_engine(left->system);
    if (order == 0)
        order = strcmp(left->system, right->system);
    return order != 0 ? order : (left->number > right->number) - (left->number < right->number);
}

static int check(const struct pj_migrations *migrations, const char *where, struct pj_error *error)
{
    if (pj_migrations_find(migrations, PJ_MIGRATIONS_ENGINE, 1) == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "there is no " PJ_MIGRATIONS_ENGINE "/0001_….sql in %s, which makes "
                              "the account of migrations",
                              where);
    for (size_t i = 1; i < migrations->count; i++) {
        if (by_system_and_number(&migrations->items[i], &migrations->items[i - 1]) == 0)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "%s and %s have the same number; give one of them another",
                                  migrations->items[i - 1].path, migrations->items[i].path);
    }
    return 0;
}

/* --- which of them ---------------------------------------------------------------------------- */

static int refuse_unknown(const struct pj_migrations *migrations, const char *system,
                          struct pj_error *error)
{
    char known[256] = "";
    for (size_t i = 0; i < migrations->count; i++) {
        size_t length = strlen(known);
        if (i == 0 || strcmp(migrations->items[i].system, migrations->items[i - 1].system) != 0)
            pj_text_show(known + length, sizeof known - length, "%s%s", length > 0 ? ", " : "",
                         migrations->items[i].system);
    }
    return pj_error_fatal(error, PJ_EXIT_USAGE, "there is no system '%s'; there are: %s", system,
                          known);
}

static bool is_among(const char *name, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static void free_one(struct pj_migration *migration)
{
    free(migration->path);
    free(migration->system);
    free(migration->sql);
}

static int choose(struct pj_migrations *migrations, char *const *systems, size_t count,
                  struct pj_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (pj_migrations_newest(migrations, systems[i]) == NULL)
            return refuse_unknown(migrations, systems[i], error);
    }
    size_t kept = 0;
    for (size_t i = 0; i < migrations->count; i++) {
        struct pj_migration *migration = &migrations->items[i];
        if (count == 0 || is_engine(migration->system) ||
            is_among(migration->system, systems, count))
            migrations->items[kept++] = *migration;
        else
            free_one(migration);
    }
    migrations->count = kept;
    return 0;
}

int pj_migrations_load(struct pj_migrations *migrations, const char *directory,
                       const struct pj_config *config, struct pj_error *error)
{
    *migrations = (struct pj_migrations){0};
    int status = 0;
    if (directory == NULL)
        load_embedded(migrations);
    else
        status = load_directory(migrations, directory, error);
    if (status == 0 && migrations->count > 1)
        qsort(migrations->items, migrations->count, sizeof *migrations->items,
              by_system_and_number);
    if (status == 0)
        status = check(migrations, directory != NULL ? directory : "the program", error);
    if (status == 0)
        status = choose(migrations, config->operands, (size_t)config->operand_count, error);
    if (status != 0)
        pj_migrations_free(migrations);
    return status;
}

void pj_migrations_free(struct pj_migrations *migrations)
{
    for (size_t i = 0; i < migrations->count; i++)
        free_one(&migrations->items[i]);
    free(migrations->items);
    *migrations = (struct pj_migrations){0};
}

struct pj_migration *pj_migrations_find(const struct pj_migrations *migrations, const char *system,
                                        int number)
{
    for (size_t i = 0; i < migrations->count; i++) {
        struct pj_migration *migration = &migrations->items[i];
        if (migration->number == number && strcmp(migration->system, system) == 0)
            return migration;
    }
    return NULL;
}

const struct pj_migration *pj_migrations_newest(const struct pj_migrations *migrations,
                                                const char *system)
{
    const struct pj_migration *newest = NULL;
    for (size_t i = 0; i < migrations->count; i++) {
        if (strcmp(migrations->items[i].system, system) == 0)
            newest = &migrations->items[i];
    }
    return newest;
}
