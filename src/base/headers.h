/* SPDX-License-Identifier: Apache-2.0 */
/* A record's headers as they are stored: a JSON array of {name, value in hex or null}. */
#ifndef PJ_BASE_HEADERS_H
#define PJ_BASE_HEADERS_H

#include "base/arena.h"
#include "projectionist/projection.h"

/* In the arena; NULL where there are none. A name that is not UTF-8 becomes "?". */
const char *pj_headers_to_json(const struct pj_record_header *headers, size_t count,
                               struct pj_arena *arena);

/* From that text (or NULL), in the arena; anything else counts as none. */
const struct pj_record_header *pj_headers_from_json(const char *json, size_t length,
                                                    struct pj_arena *arena, size_t *count);

#endif
