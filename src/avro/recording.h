/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recording: an Avro object container file whose items are projectionist.RecordedSchema and
 * projectionist.RecordedMessage, and what stream-record writes around them
 * (schemas/recording.avsc). Fields are found by name, so a file of another writer, with more fields
 * or in another order, or with these two records alone, is read as well.
 *
 * Nothing in the file is believed: a truncated or hostile one ends in an error that names the file
 * and the record, after bounded work and memory.
 */
#ifndef PJ_AVRO_RECORDING_H
#define PJ_AVRO_RECORDING_H

#include "avro/wire.h"
#include "projectionist/error.h"

struct pj_recording;

enum { PJ_RECORDED_HEADERS_MOST = 100000 }; /* of one message */

extern const char pj_recording_schema[]; /* as it stands in the files that we write */

/* What follows a topic's name in the subject of its schemas. */
#define PJ_SUBJECT_OF_KEYS   "-key"
#define PJ_SUBJECT_OF_VALUES "-value"
bool pj_recorded_is_of_keys(struct pj_bytes subject);

enum pj_recorded_kind {
    PJ_RECORDED_SCHEMA,
    PJ_RECORDED_MESSAGE,
    PJ_RECORDED_HEAD,
    PJ_RECORDED_GAP,
    PJ_RECORDED_TAIL
};

/* In the order of their symbols in the schema. */
enum pj_timestamp_type {
    PJ_TIMESTAMP_UNKNOWN = -1, /* the file does not say */
    PJ_TIMESTAMP_NONE,
    PJ_TIMESTAMP_CREATED,
    PJ_TIMESTAMP_APPENDED,
    PJ_TIMESTAMP_TYPES
};
enum pj_gap_cause { PJ_GAP_ABORTED, PJ_GAP_COMPACTED, PJ_GAP_REMOVED, PJ_GAP_CAUSES };

struct pj_recorded_head {
    struct pj_bytes cluster_id;
    struct pj_bytes topic;
    struct pj_bytes topic_id; /* null: unknown */
    int32_t partition;
    int32_t partitions;
    int32_t file; /* 1, 2, … */
    int64_t begin;
    struct pj_bytes configuration; /* JSON: an object of strings */
    struct pj_bytes changes;       /* JSON: an array of strings */
};

struct pj_recorded_gap {
    int64_t begin, end;
    enum pj_gap_cause cause;
};

struct pj_recorded_tail {
    int64_t count;
    struct pj_bytes sha256; /* 64 hexadecimal digits */
    int64_t next;
    bool has_times;
    int64_t earliest_ms, latest_ms;
    int64_t gaps[PJ_GAP_CAUSES]; /* their offsets */
};

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
    enum pj_timestamp_type timestamp_type;
    int64_t offset; /* -1: unknown */
    const struct pj_header *headers;
    size_t header_count;
    /* the others */
    struct pj_recorded_head head;
    struct pj_recorded_gap gap;
    struct pj_recorded_tail tail;
};

/* Opens the file, and checks its framing from end to end. Reads it, so it may block. */
int pj_recording_open(struct pj_recording **recording, const char *path,
                      struct pj_error *error) PJ_MUST_CHECK;
/* Several files that go on one after the other; each is opened, and its framing checked, when it is
 * come to. */
int pj_recording_open_files(struct pj_recording **recording, const char *const *paths, size_t count,
                            struct pj_error *error) PJ_MUST_CHECK;
/* The same of one that is still written, or was cut short. Its items are not counted. */
int pj_recording_open_unfinished(struct pj_recording **recording, const char *path,
                                 struct pj_error *error) PJ_MUST_CHECK;
void pj_recording_close(struct pj_recording *recording); /* NULL is allowed */

/* Of the file at hand. */
const char *pj_recording_path(const struct pj_recording *recording);
/* Items of all kinds, as the file at hand says. */
int64_t pj_recording_items(const struct pj_recording *recording);

/* Returns 1 and the next item, 0 at the end, -1 with *error. */
int pj_recording_next(struct pj_recording *recording, struct pj_recorded *item,
                      struct pj_error *error) PJ_MUST_CHECK;

/* The last item of the file at hand, without reading what is before its block: as
 * pj_recording_next. Rewind afterwards. */
int pj_recording_last(struct pj_recording *recording, struct pj_recorded *item,
                      struct pj_error *error) PJ_MUST_CHECK;

/* After the last item of a block: where that block ends in the file; -1 within one. */
int64_t pj_recording_whole(const struct pj_recording *recording);

/* The next item is the first one again. */
int pj_recording_rewind(struct pj_recording *recording, struct pj_error *error) PJ_MUST_CHECK;

#endif
