/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where old dramas are: a folder, or a bucket of a service that speaks S3. Both hold keys of the
 * form dramas/<id>/drama.json, and dramas/index.json.
 */
#ifndef PJ_DRAMA_IMPORT_SOURCE_H
#define PJ_DRAMA_IMPORT_SOURCE_H

#include "common/turns.h"
#include "projectionist/error.h"

#include <stddef.h>
#include <stdint.h>

#define PJ_IMPORT_PREFIX "dramas/"
#define PJ_IMPORT_NAME   "/drama.json"

struct pj_import_object {
    const char *key; /* without what the source's own prefix is; until the next call */
    const char
        *version; /* another one where the content is another: an ETag; until the next call */
    int64_t modified_us; /* since 1970 */
    int64_t size;        /* bytes */
};

struct pj_import_source_settings {
    const char *place; /* "s3://BUCKET", "s3://BUCKET/PREFIX", or a folder */
    int64_t as_of_us;  /* of a folder: in place of the files' own times; -1: these */
    const char *endpoint, *region, *ca_file; /* of a bucket; ca_file may be NULL */
    const char *access_key, *secret_key;     /* NULL: requests are not signed */
    const char *session_token;               /* of keys for a while; may be NULL */
    int64_t timeout_ms; /* how long a service may be away, or refuse for its load or a key */
    struct pj_turns turns;
};

struct pj_import_source;

/* What a kind of source does; see the functions below. */
struct pj_import_source_kind {
    int (*next)(struct pj_import_source *source, struct pj_import_object *object,
                struct pj_error *error);
    int (*read)(struct pj_import_source *source, const char *key, size_t most, char **bytes,
                size_t *length, struct pj_error *error);
    void (*close)(struct pj_import_source *source);
};

struct pj_import_source {
    const struct pj_import_source_kind *kind;
};

/* Reads nothing yet. PJ_EXIT_USAGE for settings, PJ_EXIT_FAILED where there is no such folder. */
int pj_import_folder_open(struct pj_import_source **source,
                          const struct pj_import_source_settings *settings,
                          struct pj_error *error) PJ_MUST_CHECK;
int pj_import_bucket_open(struct pj_import_source **source,
                          const struct pj_import_source_settings *settings,
                          struct pj_error *error) PJ_MUST_CHECK;

/*
 * The next object whose key begins with PJ_IMPORT_PREFIX: 1, or 0 at the end. Blocks. Errors:
 * PJ_POISON: this one alone cannot be known, and object->key is it; PJ_FATAL: no more
 * can be listed (PJ_EXIT_UNAVAILABLE after the time-out).
 */
static inline int pj_import_next(struct pj_import_source *source, struct pj_import_object *object,
                                 struct pj_error *error)
{
    return source->kind->next(source, object, error);
}

/* All of an object, malloc'ed, with a NUL after it. 1: it is not there. Blocks. PJ_POISON: it has
 * more than `most` bytes, or is refused for itself; PJ_FATAL as above, or the key is refused. */
static inline int pj_import_read(struct pj_import_source *source, const char *key, size_t most,
                                 char **bytes, size_t *length, struct pj_error *error)
{
    return source->kind->read(source, key, most, bytes, length, error);
}

static inline void pj_import_close(struct pj_import_source *source)
{
    if (source != NULL)
        source->kind->close(source);
}

#endif
