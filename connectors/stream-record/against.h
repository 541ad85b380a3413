/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what recordings hold is still what the topics have at these offsets. */
#ifndef PJ_STREAM_RECORD_AGAINST_H
#define PJ_STREAM_RECORD_AGAINST_H

#include "base/config.h"
#include "stream-record/inspect.h"

#include <stdatomic.h>

struct pj_against_settings {
    const struct pj_properties *kafka;
    const char *topic_prefix; /* of the topics to compare with, or NULL */
    int64_t timeout_ms;       /* without any progress */
    const atomic_int *stop;   /* set by a signal */
};

/*
 * Reads the topics between the offsets of the inspection, which was made of whole files, and
 * compares number and checksum of the records of each partition. Blocks until all is read. An
 * error names the first partition that differs (PJ_EXIT_FAILED), or one whose records cannot be
 * compared: fields of the recording were changed, the topic lacks records, or Kafka is away
 * (PJ_EXIT_UNAVAILABLE).
 */
int pj_against_topics(const struct pj_inspection *inspection,
                      const struct pj_against_settings *settings,
                      struct pj_error *error) PJ_MUST_CHECK;

#endif
