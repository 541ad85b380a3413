/* SPDX-License-Identifier: Apache-2.0 */
/* Records topics into files: what stream-record does once its options are read. */
#ifndef PJ_STREAM_RECORD_STREAM_RECORD_H
#define PJ_STREAM_RECORD_STREAM_RECORD_H

#include "avro/recording.h"
#include "avro/registry.h"
#include "base/config.h"

#include <stdatomic.h>

struct pj_record_settings {
    char *const *topics; /* TOPIC[:PARTITIONS][@FROM[..TO]] each */
    size_t topic_count;
    const char *folder;
    const char *from; /* of those that do not say themselves */
    const char *to;   /* likewise; NULL: the end */
    bool follow;
    int64_t file_bytes;                 /* of content, then another file begins */
    const char *drop, *hash, *hash_key; /* of fields with personal data; or NULL */
    const struct pj_properties *kafka;
    struct pj_registry_settings registry; /* url NULL: none is configured */
    const char *topic_prefix;             /* or NULL */
    int64_t timeout_ms;                   /* without any progress */
    const atomic_int *stop;               /* set by a signal */
};

struct pj_record_result {
    int64_t records;
    int64_t files; /* finished */
    int64_t partitions;
    int64_t gaps[PJ_GAP_CAUSES]; /* their offsets */
    /* Records whose value, or key, may be in the wire format, of no schema that is known. */
    int64_t unknown_schemas, unknown_key_schemas;
    double seconds;
    bool interrupted; /* by a signal, before the end */
};

/*
 * Blocks until all is recorded up to the ends that the topics had, or until *stop is set; what was
 * recorded until then is whole. The result is filled in any case. What an earlier run recorded in
 * the folder is gone on with; PJ_EXIT_TOPIC_RECREATED where that was another topic.
 */
int pj_record_run(const struct pj_record_settings *settings, struct pj_record_result *result,
                  struct pj_error *error) PJ_MUST_CHECK;

#endif
