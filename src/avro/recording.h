/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recording: an Avro object container file whose items are projectionist.RecordedSchema and
 * projectionist.RecordedMessage (schemas/recording.avsc). Fields are found by name, so a file of
 * another writer, with more fields or in another order, is read as well.
 *
 * Nothing in the file is believed: a truncated or hostile one ends in an error that names the file
 * and the record, after bounded work and memory.
 */
#ifndef PJ_AVRO_RECORDING_H
#define PJ_AVRO_RECORDING_H

#include "avro/wire.h"
#include "projectionist/error.h"

struct pj_recording;

enum pj_recorded_kind { PJ_RECORDED_SCHEMA, PJ_RECORDED_MESSAGE };

/* One item. What it points to lives until the next call on the same recording. */
struct pj_recorded {
    enum pj_recorded_kind kind;
    /* a schema */
    int32_t id;
    struct pj_bytes subject;
    struct pj_bytes schema;
    /* a message */
    struct pj_bytes topic;
    int32_t partition; /* -1: chosen by key */
    struct pj_bytes key;
    struct pj_bytes value;
    int64_t timestamp_ms;
    const struct pj_header *headers;
    size_t header_count;
};

/* Opens the file, and checks its framing from end to end. Reads it, so it may block. */
int pj_recording_open(struct pj_recording **recording, const char *path,
                      struct pj_error *error) PJ_MUST_CHECK;
void pj_recording_close(struct pj_recording *recording); /* NULL is allowed */

const char *pj_recording_path(const struct pj_recording *recording);
/* Items of both kinds, as the file says. */
int64_t pj_recording_items(const struct pj_recording *recording);

/* Returns 1 and the next item, 0 at the end, -1 with *error. */
int pj_recording_next(struct pj_recording *recording, struct pj_recorded *item,
                      struct pj_error *error) PJ_MUST_CHECK;

/* The next item is the first one again. */
void pj_recording_rewind(struct pj_recording *recording);

#endif
