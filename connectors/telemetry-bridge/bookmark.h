/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bridge's own record in safari.bridge-cursors: how far it is. Every transaction writes it, so
 * what it says and what was published are never two things. Its key is the bridge's id, its value
 * JSON, for people to read.
 */
#ifndef PJ_TELEMETRY_BRIDGE_BOOKMARK_H
#define PJ_TELEMETRY_BRIDGE_BOOKMARK_H

#include "avro/wire.h"
#include "projectionist/error.h"
#include "telemetry-bridge/cursor.h"

struct pj_bookmark {
    char instance[40]; /* of the process that wrote it: a UUID; "": there is none yet */
    int64_t sequence;  /* of the bridge's transactions */
    struct pj_position position;
};

/* Malloc'ed text; NULL where there is no memory. */
char *pj_bookmark_write(const struct pj_bookmark *bookmark);

/* Fails where the value is no bookmark; the error names what is wrong. */
int pj_bookmark_read(struct pj_bytes value, struct pj_bookmark *bookmark,
                     struct pj_error *error) PJ_MUST_CHECK;

#endif
