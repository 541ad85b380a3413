/* SPDX-License-Identifier: Apache-2.0 */
#include "common/recorded_files.h"

#include "avro/recording_writer.h"
#include "base/config.h"
#include "base/memory.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SUFFIX ".avro"

enum { DIGITS_LEAST = 6 };

char *pj_recorded_file_path(const char *folder, const char *topic, int32_t partition, int32_t file)
{
    return pj_text_new("%s/%s-%d-%0*d" SUFFIX, folder, topic, (int)partition, (int)DIGITS_LEAST,
                       (int)file);
}

/* The number behind the last dash, which is cut off; -1 where there is none. */
static int32_t cut_number(char *name, size_t digits_least)
{
    char *dash = strrchr(name, '-');
    int64_t number = -1;
    struct pj_error ignored = {0};
    if (dash == NULL || strlen(dash + 1) < digits_least ||
        pj_parse_integer("", dash + 1, 0, INT32_MAX, &number, &ignored) != 0)
        return -1;
    *dash = '\0';
    return (int32_t)number;
}

static bool parse_name(struct pj_recorded_file *file, const char *folder, const char *entry)
{
    char *name = pj_strdup(entry);
    size_t length = strlen(name);
    *file = (struct pj_recorded_file){.partial = pj_text_ends(name, SUFFIX PJ_RECORDING_PARTIAL)};
    if (!file->partial && !pj_text_ends(name, SUFFIX)) {
        free(name);
        return false;
    }
    name[length - strlen(SUFFIX) - (file->partial ? strlen(PJ_RECORDING_PARTIAL) : 0)] = '\0';
    file->file = cut_number(name, DIGITS_LEAST);
    file->partition = file->file >= 1 ? cut_number(name, 1) : -1;
    if (file->partition < 0 || *name == '\0') {
        free(name);
        return false;
    }
    file->topic = name;
    file->path = pj_text_new("%s/%s", folder, entry);
    return true;
}

static int compare(const void *left, const void *right)
{
    const struct pj_recorded_file *a = left, *b = right;
    int order = strcmp(a->topic, b->topic);
    if (order != 0)
        return order;
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    return a->partial - b->partial;
}

int pj_recorded_files_list(struct pj_recorded_files *files, const char *folder,
                           struct pj_error *error)
{
    *files = (struct pj_recorded_files){0};
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "cannot open the folder '%s': %s", folder,
                              strerror(errno));
    size_t room = 0;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (files->count == room)
            files->items =
                pj_resize(files->items, room = room > 0 ? 2 * room : 64, sizeof *files->items);
        if (parse_name(&files->items[files->count], folder, entry->d_name))
            files->count++;
    }
    closedir(directory);
    if (files->count > 0)
        qsort(files->items, files->count, sizeof *files->items, compare);
    return 0;
}

void pj_recorded_files_free(struct pj_recorded_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].path);
        free(files->items[i].topic);
    }
    free(files->items);
    *files = (struct pj_recorded_files){0};
}

static void add_path(char ***paths, size_t *count, const char *path)
{
    *paths = pj_resize(*paths, *count + 1, sizeof **paths);
    (*paths)[(*count)++] = pj_strdup(path);
}

/* Any .avro will do in a folder, too: recordings need not be ours. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_avro(const struct dirent *entry)
{
    return pj_text_ends(entry->d_name, SUFFIX);
}

static int add_folder(char ***paths, size_t *count, const char *folder, struct pj_error *error)
{
    struct dirent **entries;
    int found = scandir(folder, &entries, is_avro, compare_names);
    if (found < 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "cannot open the folder '%s': %s", folder,
                              strerror(errno));
    for (int i = 0; i < found; i++) {
        char *path = pj_text_new("%s/%s", folder, entries[i]->d_name);
        add_path(paths, count, path);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return found > 0 ? 0
                     : pj_error_fatal(error, PJ_EXIT_USAGE,
                                      "the folder '%s' has no finished recording (*.avro)", folder);
}

int pj_recorded_files_expand(char ***paths, size_t *count, char *const *given, size_t given_count,
                             struct pj_error *error)
{
    struct stat status;
    *paths = NULL;
    *count = 0;
    for (size_t i = 0; i < given_count; i++) {
        if (stat(given[i], &status) != 0 || !S_ISDIR(status.st_mode)) {
            add_path(paths, count, given[i]);
        } else if (add_folder(paths, count, given[i], error) != 0) {
            pj_recorded_files_free_paths(*paths, *count);
            *paths = NULL;
            *count = 0;
            return -1;
        }
    }
    return 0;
}

void pj_recorded_files_free_paths(char **paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(paths[i]);
    free(paths);
}
