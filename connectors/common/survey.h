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
    char *subject;
    char *schema;
    int32_t new_id; /* for the caller to fill in */
};

struct pj_survey {
    struct pj_survey_topic *topics; /* in the order of their first message */
    size_t topic_count;
    struct pj_survey_schema *schemas; /* sorted by recording and id */
    size_t schema_count;
    int64_t messages;
    int64_t *recording_messages;    /* of each recording */
    int64_t earliest_ms, latest_ms; /* of their timestamps; 0 where there are none */
    uint8_t *translated;            /* private */
    size_t translated_most;
};

/* Reads all recordings to their ends. On failure nothing needs freeing. */
int pj_survey_take(struct pj_survey *survey, struct pj_recording *const *recordings, size_t count,
                   struct pj_error *error) PJ_MUST_CHECK;
void pj_survey_free(struct pj_survey *survey);

/* The index of a topic, or -1. */
int pj_survey_find_topic(const struct pj_survey *survey, struct pj_bytes name);

/*
 * Gives the value the new id of its schema. A value that is not in the wire format, or has an id
 * that its recording does not know, stays as it is. The value then points to memory that lives
 * until the next call.
 */
void pj_survey_translate(struct pj_survey *survey, size_t recording, struct pj_bytes *value);

#endif
