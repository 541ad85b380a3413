/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be recorded, as it is given on the command line. */
#ifndef PJ_STREAM_RECORD_SELECTION_H
#define PJ_STREAM_RECORD_SELECTION_H

#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An offset or a time, or neither. */
struct pj_bound {
    enum { PJ_BOUND_NONE, PJ_BOUND_OFFSET, PJ_BOUND_TIME } kind;
    int64_t at; /* milliseconds, of a time */
};

struct pj_selection {
    char *topic;
    struct {
        int32_t first, last;
    } * partitions; /* NULL: all, and those that are added later */
    size_t partition_count;
    struct pj_bound from, to;
};

/* "earliest", an offset or a time (from); "end", an offset or a time (to). NULL: neither. */
int pj_bound_parse(const char *name, const char *text, bool is_from, struct pj_bound *bound,
                   struct pj_error *error) PJ_MUST_CHECK;

/* TOPIC[:PARTITIONS][@FROM[..TO]], such as safari.telemetry:0,4-7@2026-11-01T00:00:00Z..20000. The
 * bounds that it does not have are as they were. On failure nothing needs freeing. */
int pj_selection_parse(const char *text, struct pj_selection *selection,
                       struct pj_error *error) PJ_MUST_CHECK;
void pj_selection_free(struct pj_selection *selection);

bool pj_selection_has(const struct pj_selection *selection, int32_t partition);

#endif
