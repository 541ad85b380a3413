/* SPDX-License-Identifier: Apache-2.0 */
/* The files of recordings in a folder: TOPIC-PARTITION-NUMBER.avro, a partition's first file being
 * 000001, and with .partial behind it while it is not whole. */
#ifndef PJ_CONNECTORS_RECORDED_FILES_H
#define PJ_CONNECTORS_RECORDED_FILES_H

#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pj_recorded_file {
    char *path;
    char *topic; /* of the name */
    int32_t partition;
    int32_t file;
    bool partial;
};

struct pj_recorded_files {
    struct pj_recorded_file *items; /* by topic, partition and file */
    size_t count;
};

/* The caller frees it. */
char *pj_recorded_file_path(const char *folder, const char *topic, int32_t partition, int32_t file);

/* What has a name of that form. */
int pj_recorded_files_list(struct pj_recorded_files *files, const char *folder,
                           struct pj_error *error) PJ_MUST_CHECK;
void pj_recorded_files_free(struct pj_recorded_files *files);

/* Files as they are, and all whole files of folders, in their order: what is given to a program as
 * its recordings. A folder without any is an error. */
int pj_recorded_files_expand(char ***paths, size_t *count, char *const *given, size_t given_count,
                             struct pj_error *error) PJ_MUST_CHECK;
void pj_recorded_files_free_paths(char **paths, size_t count);

#endif
