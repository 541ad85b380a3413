/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/migrations.h"

#include "base/memory.h"
#include "base/text.h"
#include "cli/deployment.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct pj_migration_script pj_sql_engine[];

enum { DIGITS = 4, FILE_MOST = 4 << 20 };

static bool is_migration(const char *name)
{
    return strspn(name, "0123456789") == DIGITS && name[DIGITS] == '_' &&
           strlen(name) > DIGITS + 5 && pj_text_ends(name, ".sql");
}

/* The texts are borrowed, of the program or the arena. */
static void add(struct pj_migrations *migrations, struct pj_arena *arena, const char *system,
                const char *file, const char *sql)
{
    struct pj_migration *items =
        pj_arena_alloc(arena, (migrations->count + 1) * sizeof *migrations->items);
    if (migrations->count > 0)
        memcpy(items, migrations->items, migrations->count * sizeof *items);
    items[migrations->count++] = (struct pj_migration){
        .path = pj_arena_printf(arena, "%s/%s", system, file),
        .system = system,
        .file = file,
        .number = (int)strtol(file, NULL, 10),
        .sql = sql,
    };
    migrations->items = items;
}

static int read_file(struct pj_arena *arena, const char *path, const char **text,
                     struct pj_error *error)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "cannot read %s: %s", path, strerror(errno));
    char *buffer = pj_alloc(FILE_MOST + 1);
    size_t length = fread(buffer, 1, FILE_MOST + 1, file);
    const char *problem = ferror(file)                           ? strerror(errno)
                          : length > FILE_MOST                   ? "it is longer than 4 MiB"
                          : length == 0                          ? "it is empty"
                          : memchr(buffer, '\0', length) != NULL ? "it holds a NUL byte"
                                                                 : NULL;
    fclose(file);
    *text = problem == NULL ? pj_arena_string(arena, buffer, length) : NULL;
    free(buffer);
    return problem == NULL
               ? 0
               : pj_error_fatal(error, PJ_EXIT_USAGE, "cannot read %s: %s", path, problem);
}

static int refuse_folder(const char *path, struct pj_error *error)
{
    return pj_error_fatal(error, PJ_EXIT_USAGE, "cannot read the folder %s: %s", path,
                          strerror(errno));
}

static int load_system(struct pj_migrations *migrations, struct pj_arena *arena,
                       const char *directory, const char *name, struct pj_error *error)
{
    const char *path = pj_arena_printf(arena, "%s/%s", directory, name);
    const char *system = strrchr(path, '/') + 1;
    DIR *folder = opendir(path);
    int status = 0;
    struct dirent *entry;
    if (folder == NULL)
        return errno == ENOTDIR ? 0 : refuse_folder(path, error);
    while (status == 0 && (entry = readdir(folder)) != NULL) {
        if (!is_migration(entry->d_name))
            continue;
        const char *file = pj_arena_printf(arena, "%s/%s", path, entry->d_name);
        const char *sql;
        status = read_file(arena, file, &sql, error);
        if (status == 0)
            add(migrations, arena, system, strrchr(file, '/') + 1, sql);
    }
    closedir(folder);
    return status;
}

static int load_directory(struct pj_migrations *migrations, struct pj_arena *arena,
                          const char *directory, struct pj_error *error)
{
    DIR *folder = opendir(directory);
    int status = 0;
    struct dirent *entry;
    if (folder == NULL)
        return refuse_folder(directory, error);
    while (status == 0 && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.')
            status = load_system(migrations, arena, directory, entry->d_name, error);
    }
    closedir(folder);
    return status;
}

static void add_scripts(struct pj_migrations *migrations, struct pj_arena *arena,
                        const char *system, const struct pj_migration_script *scripts)
{
    for (; scripts != NULL && scripts->name != NULL; scripts++)
        add(migrations, arena, system, scripts->name, scripts->sql);
}

static void load_embedded(struct pj_migrations *migrations, struct pj_arena *arena)
{
    add_scripts(migrations, arena, PJ_MIGRATIONS_ENGINE, pj_sql_engine);
    for (size_t i = 0; pj_cli_systems[i] != NULL; i++) {
        if (pj_cli_system_find(pj_cli_systems[i]->name) != NULL)
            add_scripts(migrations, arena, pj_cli_systems[i]->name, pj_cli_systems[i]->migrations);
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
                              "there is no " PJ_MIGRATIONS_ENGINE
                              "/0001_….sql in %s, which creates "
                              "the table of migrations",
                              where);
    for (size_t i = 1; i < migrations->count; i++) {
        if (by_system_and_number(&migrations->items[i], &migrations->items[i - 1]) == 0)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "%s and %s have the same number; renumber one of them",
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

/* Without operands: those that are configured, and in a folder those of other programs. */
static bool is_configured(const char *system)
{
    for (size_t i = 0; pj_cli_systems[i] != NULL; i++) {
        if (strcmp(pj_cli_systems[i]->name, system) == 0)
            return pj_cli_system_find(system) != NULL;
    }
    return true;
}

static int choose(struct pj_migrations *migrations, const struct pj_config *config,
                  struct pj_error *error)
{
    size_t count = (size_t)config->operand_count;
    for (size_t i = 0; i < count; i++) {
        if (pj_migrations_newest(migrations, config->operands[i]) == NULL)
            return refuse_unknown(migrations, config->operands[i], error);
    }
    size_t kept = 0;
    for (size_t i = 0; i < migrations->count; i++) {
        const struct pj_migration *migration = &migrations->items[i];
        if (is_engine(migration->system) || (count == 0 && is_configured(migration->system)) ||
            is_among(migration->system, config->operands, count))
            migrations->items[kept++] = *migration;
    }
    migrations->count = kept;
    return 0;
}

int pj_migrations_load(struct pj_migrations *migrations, const char *directory, struct pj_cli *cli,
                       struct pj_error *error)
{
    *migrations = (struct pj_migrations){0};
    if (directory == NULL)
        load_embedded(migrations, cli->arena);
    else if (load_directory(migrations, cli->arena, directory, error) != 0)
        return -1;
    if (migrations->count > 1)
        qsort(migrations->items, migrations->count, sizeof *migrations->items,
              by_system_and_number);
    return check(migrations, directory != NULL ? directory : "the program", error) != 0
               ? -1
               : choose(migrations, cli->config, error);
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
