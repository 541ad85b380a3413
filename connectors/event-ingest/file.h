/* SPDX-License-Identifier: Apache-2.0 */
/* A file that may be replaced while we run, as Kubernetes replaces a secret's. */
#ifndef PJ_EVENT_INGEST_FILE_H
#define PJ_EVENT_INGEST_FILE_H

#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct pj_file {
    const char *path;
    struct stat seen; /* when it was read last */
};

/* Its content, malloc'ed with a NUL after it; NULL with a sentence. A larger one is an error. */
char *pj_file_read(struct pj_file *file, size_t most, size_t *length, struct pj_error *error);

/* Whether it is another one, or not there any more, since the last reading. */
bool pj_file_has_changed(const struct pj_file *file);

#endif
