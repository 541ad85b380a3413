/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A drama as it was kept in a file, as the event that brings it into the topics. What the event
 * has no field for is kept in `extra` where it belongs to a character, an episode, a scene or an
 * asset; of the drama itself it is named. Pure.
 */
#ifndef PJ_DRAMA_IMPORT_OLD_DRAMA_H
#define PJ_DRAMA_IMPORT_OLD_DRAMA_H

#include "avro/wire.h"
#include "base/text.h"

#include <jansson.h>

struct pj_old_drama {
    const char *id;       /* by its key */
    struct pj_bytes file; /* as it is */
    const char *user;
    int64_t revision;         /* when it was changed last, in microseconds since 1970 */
    int64_t created_us;       /* as the index says; 0: it does not */
    struct pj_builder *notes; /* what is not as expected, and no reason to refuse it; sentences with
                               * "; " between them are added */
};

/* An object as pj_json_encode_record takes it. NULL with a sentence: PJ_POISON. */
json_t *pj_old_drama_event(const struct pj_old_drama *drama, struct pj_error *error);

/* When each drama of dramas/index.json was created: an object of integers, microseconds, by id;
 * what has no such time is left out. NULL with a sentence. */
json_t *pj_old_drama_index(struct pj_bytes file, struct pj_error *error);

#endif
