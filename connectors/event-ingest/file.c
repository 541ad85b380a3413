/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/file.h"

#include "base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_open(FILE *in, size_t most, size_t *length)
{
    char *text = pj_alloc(most + 2);
    *length = fread(text, 1, most + 1, in);
    text[*length] = '\0';
    return text;
}

char *pj_file_read(struct pj_file *file, size_t most, size_t *length, struct pj_error *error)
{
    char *text = NULL;
    file->seen = (struct stat){0};
    FILE *in = fopen(file->path, "re");
    if (in == NULL || fstat(fileno(in), &file->seen) != 0) {
        (void)pj_error_set(error, PJ_FATAL, "%s", strerror(errno));
    } else {
        text = read_open(in, most, length);
        if (ferror(in) || *length > most) {
            (void)pj_error_set(error, PJ_FATAL, "it cannot be read, or has more than %zu bytes",
                               most);
            free(text);
            text = NULL;
        }
    }
    if (in != NULL)
        (void)fclose(in);
    return text;
}

bool pj_file_has_changed(const struct pj_file *file)
{
    struct stat now;
    if (stat(file->path, &now) != 0)
        return file->seen.st_ino != 0;
    return now.st_ino != file->seen.st_ino || now.st_dev != file->seen.st_dev ||
           now.st_size != file->seen.st_size || now.st_mtim.tv_sec != file->seen.st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != file->seen.st_mtim.tv_nsec;
}
