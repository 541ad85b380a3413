/* SPDX-License-Identifier: Apache-2.0 */
/* What the recordings hold, found by reading them once before anything is published: a recording
 * that cannot be read to its end is refused as a whole. */
#ifndef PJ_CONNECTORS_SURVEY_H
#define PJ_CONNECTORS_SURVEY_H

#include "avro/recording.h"

struct pj_survey_topic {
    char *name;             /* as recorded */
    int32_t partition_most; /* the highest that a message names, -1 where none does */
    int64_t messages;
};

struct pj_survey_schema {
    size_t recording; /* its index */
    int32_t id;       /* in that recording */
    bool is_of_keys;  /* by its subject; else of values */
    char *subject;
    char *schema;
    int32_t new_id; /* for the caller to fill in */
};

/* Memory for a key or value with another id. */
struct pj_survey_copy {
    uint8_t *bytes;
    size_t most;
};

struct pj_survey {
    struct pj_survey_topic *topics; /* in the order of their first message */
    size_t topic_count;
    struct pj_survey_schema *schemas; /* sorted by recording, id, and what it is of */
    size_t schema_count;
    int64_t messages;
    int64_t *recording_messages;      /* of each recording */
    int64_t earliest_ms, latest_ms;   /* of their timestamps; 0 where there are none */
    struct pj_survey_copy key, value; /* private */
};

/* Reads all recordings to their ends. On failure nothing needs freeing. */
int pj_survey_take(struct pj_survey *survey, struct pj_recording *const *recordings, size_t count,
                   struct pj_error *error) PJ_MUST_CHECK;
void pj_survey_free(struct pj_survey *survey);

/* The index of a topic, or -1. */
int pj_survey_find_topic(const struct pj_survey *survey, struct pj_bytes name);

/*
 * Gives key and value the new ids of their schemas. One that is not in the wire format, or has an
 * id that its recording does not know for keys, or for values, stays as it is. They then point to
 * memory that lives until the next call.
 */
void pj_survey_translate(struct pj_survey *survey, size_t recording, struct pj_bytes *key,
                         struct pj_bytes *value);
/* The same survey for another thread, with memory of its own for what is translated; it lives as
 * long as that one. */
struct pj_survey pj_survey_share(const struct pj_survey *survey);
void pj_survey_unshare(struct pj_survey *survey); /* also of all zeros */

#endif
