/* SPDX-License-Identifier: Apache-2.0 */
/* What is in recordings, and whether it is whole. */
#ifndef PJ_STREAM_RECORD_INSPECT_H
#define PJ_STREAM_RECORD_INSPECT_H

#include "avro/recording_writer.h"

#include <stdatomic.h>

/* What one partition's files hold together. */
struct pj_inspected {
    char *topic;
    char *topic_id; /* or NULL */
    char *cluster_id;
    char *changes;     /* JSON */
    int32_t partition; /* -1: a file without a head, of any topics */
    int64_t files;
    int64_t records;
    int64_t bytes; /* of the files */
    int64_t begin, next;
    int64_t gaps[PJ_GAP_CAUSES];
    bool has_times;
    int64_t earliest_ms, latest_ms;
    char sha256[PJ_RECORDING_SUM_TEXT]; /* over all files' messages; "" where not all were read */
    int32_t file;                       /* the last one's number */
};

struct pj_inspection {
    struct pj_inspected *items;
    size_t count;
};

/*
 * Reads heads and tails, or with `whole` every record, and compares them with what the tails say.
 * Paths are of files, a partition's in their order. Errors name the file. Stops at *stop.
 */
int pj_inspect(char *const *paths, size_t count, bool whole, const atomic_int *stop,
               struct pj_inspection *inspection, struct pj_error *error) PJ_MUST_CHECK;
void pj_inspection_free(struct pj_inspection *inspection);

/* One line for each, or a JSON array. */
void pj_inspection_print(const struct pj_inspection *inspection, bool json);

#endif
