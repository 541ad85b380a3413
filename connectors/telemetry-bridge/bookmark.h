/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge's own record in safari.bridge-cursors: its position. Every transaction writes it, so
 * it always matches what was published. Its key is the bridge's id, its value JSON that people can
 * read.
 */
#ifndef PJ_TELEMETRY_BRIDGE_BOOKMARK_H
#define PJ_TELEMETRY_BRIDGE_BOOKMARK_H

#include "avro/wire.h"
#include "projectionist/error.h"
#include "telemetry-bridge/cursor.h"

struct pj_bookmark {
    char instance[40]; /* UUID of the process that wrote it; "": there is none yet */
    int64_t sequence;  /* of the bridge's transactions */
    struct pj_position position;
};

/* The caller frees the text. */
char *pj_bookmark_write(const struct pj_bookmark *bookmark);

/* Fails where the value is not a bookmark; the error names what is wrong. */
int pj_bookmark_read(struct pj_bytes value, struct pj_bookmark *bookmark,
                     struct pj_error *error) PJ_MUST_CHECK;

#endif
