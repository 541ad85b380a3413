/* SPDX-License-Identifier: Apache-2.0 */
/* One partition on its way into files: where it is, what is missing, and the file at hand. */
#ifndef PJ_STREAM_RECORD_TRACK_H
#define PJ_STREAM_RECORD_TRACK_H

#include "avro/recording_writer.h"
#include "common/recorded_files.h"
#include "stream-record/schemas_used.h"

/* A topic, as it is now. */
struct pj_track_topic {
    char *name;       /* without the prefix */
    char *kafka_name; /* with it */
    char *id;         /* NULL: unknown */
    char *configuration;
    char *cluster_id;
    int32_t partitions;
    bool compacted;
    const char *changes; /* JSON: what is done to personal data */
    /* Whether the registry has a subject for the keys' schemas; asked for when a key looks like
     * one. */
    bool was_asked, has_key_schemas;
};

struct pj_track {
    const struct pj_track_topic *topic;
    const char *folder;
    int64_t file_bytes;
    int32_t partition;
    int64_t next; /* the offset that is wanted next */
    int64_t end;  /* where recording ends; INT64_MAX: never */
    int64_t begun;
    bool done;
    int32_t file;                       /* the last one, 0: none yet */
    struct pj_recording_writer *writer; /* of that file; NULL: it is finished */
    struct pj_recorded_gap gap;         /* not written yet; begin == end: none */
    struct pj_track_schema {
        int32_t id;
        bool is_of_keys;
    } * schemas; /* that this file has */
    size_t schema_count;
    int64_t records, files, gaps[PJ_GAP_CAUSES]; /* of this run */
};

/* Finds what an earlier run recorded of it in the folder. Where that is nothing, `next` stays as it
 * is. */
int pj_track_resume(struct pj_track *track, const struct pj_recorded_files *files,
                    struct pj_error *error) PJ_MUST_CHECK;

/* What is missing up to this offset, for this reason. */
int pj_track_skip(struct pj_track *track, int64_t to, enum pj_gap_cause cause,
                  struct pj_error *error) PJ_MUST_CHECK;
/* Why offsets have no record that is committed. */
enum pj_gap_cause pj_track_cause(const struct pj_track *track);

/* A record at or after `next`; what is between is a gap. Its schemas, or NULL. */
int pj_track_add(struct pj_track *track, const struct pj_recorded *record,
                 const struct pj_schema_used *of_key, const struct pj_schema_used *of_value,
                 struct pj_error *error) PJ_MUST_CHECK;

/* Gives the file at hand its name; where there is none yet of this partition, an empty one. */
int pj_track_finish(struct pj_track *track, struct pj_error *error) PJ_MUST_CHECK;
void pj_track_free(struct pj_track *track);

#endif
