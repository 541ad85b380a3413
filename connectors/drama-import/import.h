/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run: lists a source, reads what is new there, and publishes each drama with a record of how
 * far we are, in one Kafka transaction. Whatever ends it, the next run goes on after what was
 * committed, and publishes nothing of that again.
 */
#ifndef PJ_DRAMA_IMPORT_IMPORT_H
#define PJ_DRAMA_IMPORT_IMPORT_H

#include "avro/registry.h"
#include "base/config.h"
#include "drama-import/source.h"

#include <stdatomic.h>

#define PJ_IMPORT_TOPIC    "drama.dramas"
#define PJ_IMPORT_PROGRESS "drama.import-progress"

struct pj_import_settings {
    struct pj_import_source *source;
    const char *user;
    const char *id;           /* of two runs with the same the newer goes on */
    const char *topic_prefix; /* or NULL */
    struct pj_registry_settings registry;
    const struct pj_properties *kafka;
    int64_t timeout_ms; /* how long Kafka or the registry may be away */
    bool dry_run;       /* publishes nothing, and asks neither */
    const atomic_int *stop;
    const atomic_int *timed_out; /* `stop` is set by SIGALRM, and this before it */
    /* A line of the report; `is_bad`: nothing of the object is imported. */
    void (*tell)(void *context, const char *key, bool is_bad, const char *text);
    void *context;
};

struct pj_import_result {
    int64_t objects, imported, unchanged, bad, notes;
    bool interrupted;
};

/* Blocks until all is imported, or `stop`. Errors: PJ_EXIT_UNAVAILABLE for servers that stay away,
 * PJ_EXIT_FENCED where another run has taken over; what was imported until then is in the result.
 */
int pj_import_run(const struct pj_import_settings *settings, struct pj_import_result *result,
                  struct pj_error *error) PJ_MUST_CHECK;

#endif
