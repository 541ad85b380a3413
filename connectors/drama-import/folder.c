/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/text.h"
#include "drama-import/source.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct folder {
    struct pj_import_source source;
    char *path; /* that of dramas/ */
    size_t root_length;
    FTS *tree; /* NULL: nothing is listed yet; fts_close leaks what was never read */
    int64_t as_of_us;
    char version[48];
};

/* The same order each time. */
static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int64_t modified_us(const struct folder *folder, const struct stat *file)
{
    return folder->as_of_us >= 0
               ? folder->as_of_us
               : (int64_t)file->st_mtim.tv_sec * 1000000 + file->st_mtim.tv_nsec / 1000;
}

static int next(struct pj_import_source *source, struct pj_import_object *object,
                struct pj_error *error)
{
    struct folder *folder = (struct folder *)source;
    char *const paths[] = {folder->path, NULL};
    if (folder->tree == NULL)
        folder->tree = fts_open(paths, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    if (folder->tree == NULL)
        return pj_error_set(error, PJ_FATAL, "the folder %s cannot be listed: %s", folder->path,
                            strerror(errno));
    for (FTSENT *entry; (errno = 0, entry = fts_read(folder->tree)) != NULL;) {
        const struct stat *file = entry->fts_statp;
        bool is_lost = entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR ||
                       entry->fts_info == FTS_NS || entry->fts_info == FTS_SLNONE ||
                       entry->fts_info == FTS_DEFAULT;
        if (!is_lost && entry->fts_info != FTS_F)
            continue;
        /* A lost file is nobody's loss but where it is a drama; a lost folder may hold some. */
        if (entry->fts_info != FTS_DNR && !pj_text_ends(entry->fts_path, PJ_IMPORT_NAME))
            continue;
        *object = (struct pj_import_object){.key = entry->fts_path + folder->root_length};
        if (is_lost)
            return pj_error_set(error, PJ_POISON, "it cannot be read: %s",
                                entry->fts_info == FTS_SLNONE    ? "a link to nothing"
                                : entry->fts_info == FTS_DEFAULT ? "it is a device, pipe or socket"
                                                                 : strerror(entry->fts_errno));
        object->modified_us = modified_us(folder, file);
        object->size = file->st_size;
        /* The file's own time, whatever --as-of says. */
        pj_text_whole(folder->version, sizeof folder->version, "%lld.%09ld-%lld",
                      (long long)file->st_mtim.tv_sec, (long)file->st_mtim.tv_nsec,
                      (long long)file->st_size);
        object->version = folder->version;
        return 1;
    }
    return errno == 0 ? 0
                      : pj_error_set(error, PJ_FATAL, "the folder %s cannot be listed further: %s",
                                     folder->path, strerror(errno));
}

static int read_file(FILE *in, size_t most, char **bytes, size_t *length, struct pj_error *error)
{
    char *text = pj_alloc(most + 2);
    *length = fread(text, 1, most + 1, in);
    text[*length] = '\0';
    *bytes = text;
    if (!ferror(in) && *length <= most)
        return 0;
    int status = ferror(in)
                     ? pj_error_set(error, PJ_POISON, "it cannot be read: %s", strerror(errno))
                     : pj_error_set(error, PJ_POISON, "it has more than %zu bytes", most);
    free(text);
    *bytes = NULL;
    return status;
}

static int read_object(struct pj_import_source *source, const char *key, size_t most, char **bytes,
                       size_t *length, struct pj_error *error)
{
    struct folder *folder = (struct folder *)source;
    char *path = pj_text_new("%.*s%s", (int)folder->root_length, folder->path, key);
    FILE *in = fopen(path, "re");
    int status = in != NULL ? read_file(in, most, bytes, length, error)
                 : errno == ENOENT
                     ? 1
                     : pj_error_set(error, PJ_POISON, "it cannot be read: %s", strerror(errno));
    if (in != NULL)
        (void)fclose(in);
    free(path);
    return status;
}

static void close_folder(struct pj_import_source *source)
{
    struct folder *folder = (struct folder *)source;
    if (folder->tree != NULL)
        (void)fts_close(folder->tree);
    free(folder->path);
    free(folder);
}

static const struct pj_import_source_kind folder_kind = {next, read_object, close_folder};

int pj_import_folder_open(struct pj_import_source **out,
                          const struct pj_import_source_settings *settings, struct pj_error *error)
{
    size_t length = strlen(settings->place);
    struct folder *folder = pj_alloc(sizeof *folder);
    while (length > 1 && settings->place[length - 1] == '/')
        length--;
    folder->source.kind = &folder_kind;
    folder->as_of_us = settings->as_of_us;
    folder->path = pj_text_new("%.*s/%.*s", (int)length, settings->place,
                               (int)(sizeof PJ_IMPORT_PREFIX - 2), PJ_IMPORT_PREFIX);
    folder->root_length = length + 1;
    struct stat found;
    bool is_there = stat(folder->path, &found) == 0;
    if (!is_there || !S_ISDIR(found.st_mode)) {
        int status = pj_error_set(error, PJ_FATAL, "there is no folder %s: %s", folder->path,
                                  is_there ? "it is a file" : strerror(errno));
        close_folder(&folder->source);
        return status;
    }
    *out = &folder->source;
    return 0;
}
