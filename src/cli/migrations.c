/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/migrations.h"

#include "base/text.h"
#include "embedded_sql.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 4 };

static bool is_migration(const char *name)
{
    size_t length = strlen(name);
    return strspn(name, "0123456789") == DIGITS && name[DIGITS] == '_' && length > DIGITS + 5 &&
           strcmp(name + length - 4, ".sql") == 0;
}

/* Takes ownership of sql, also when it fails. */
static int add(struct pj_migrations *migrations, const char *name, char *sql,
               struct pj_error *error)
{
    struct pj_migration *items =
        realloc(migrations->items, (migrations->count + 1) * sizeof *items);
    if (items != NULL)
        migrations->items = items;
    char *copy = strdup(name);
    if (items == NULL || copy == NULL || sql == NULL) {
        free(copy);
        free(sql);
        return pj_error_set(error, PJ_RETRY, "out of memory");
    }
    items[migrations->count++] =
        (struct pj_migration){.version = (int)strtol(name, NULL, 10), .name = copy, .sql = sql};
    return 0;
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
        if (!is_migration(entry->d_name))
            continue;
        char *path = NULL;
        char *sql = NULL;
        if (asprintf(&path, "%s/%s", directory, entry->d_name) < 0)
            abort();
        status = read_file(path, &sql, error);
        free(path);
        if (status == 0)
            status = add(migrations, entry->d_name, sql, error);
    }
    closedir(folder);
    return status;
}

static int load_embedded(struct pj_migrations *migrations, struct pj_error *error)
{
    for (size_t i = 0; i < pj_embedded_sql_count; i++) {
        if (add(migrations, pj_embedded_sql[i].name, strdup(pj_embedded_sql[i].sql), error) != 0)
            return -1;
    }
    return 0;
}

static int by_version(const void *a, const void *b)
{
    const struct pj_migration *left = a;
    const struct pj_migration *right = b;
    return (left->version > right->version) - (left->version < right->version);
}

static int check(const struct pj_migrations *migrations, const char *where, struct pj_error *error)
{
    if (migrations->count == 0 || migrations->items[0].version != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "there is no 0000_….sql in %s, which makes the list of migrations",
                              where);
    for (size_t i = 1; i < migrations->count; i++) {
        if (migrations->items[i].version == migrations->items[i - 1].version)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "%s and %s have the same number; give one of them another",
                                  migrations->items[i - 1].name, migrations->items[i].name);
    }
    return 0;
}

int pj_migrations_load(struct pj_migrations *migrations, const char *directory,
                       struct pj_error *error)
{
    *migrations = (struct pj_migrations){0};
    int status = directory != NULL ? load_directory(migrations, directory, error)
                                   : load_embedded(migrations, error);
    if (status == 0 && migrations->count > 1)
        qsort(migrations->items, migrations->count, sizeof *migrations->items, by_version);
    if (status == 0)
        status = check(migrations, directory != NULL ? directory : "the program", error);
    if (status != 0)
        pj_migrations_free(migrations);
    return status;
}

void pj_migrations_free(struct pj_migrations *migrations)
{
    for (size_t i = 0; i < migrations->count; i++) {
        free(migrations->items[i].name);
        free(migrations->items[i].sql);
    }
    free(migrations->items);
    *migrations = (struct pj_migrations){0};
}

struct pj_migration *pj_migrations_find(const struct pj_migrations *migrations, int version)
{
    for (size_t i = 0; i < migrations->count; i++) {
        if (migrations->items[i].version == version)
            return &migrations->items[i];
    }
    return NULL;
}
