/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads partitions without a group: an assignment of its own, from offsets that are given, of what
 * is committed. For one thread.
 */
#ifndef PJ_KAFKA_READER_H
#define PJ_KAFKA_READER_H

#include "avro/recording.h"
#include "base/config.h"
#include "projectionist/error.h"

struct pj_reader;

int pj_reader_open(struct pj_reader **reader, const struct pj_properties *kafka,
                   const char *client_id, struct pj_error *error) PJ_MUST_CHECK;
void pj_reader_close(struct pj_reader *reader); /* NULL is allowed */

struct pj_reader_place {
    const char *topic; /* as Kafka names it */
    int32_t partition;
    int64_t offset; /* of the next record that is wanted */
};

/* Reads these from now on, and no others. Copies them. */
int pj_reader_assign(struct pj_reader *reader, const struct pj_reader_place *places, size_t count,
                     struct pj_error *error) PJ_MUST_CHECK;
/* Nothing more of this one is wanted. */
void pj_reader_leave(struct pj_reader *reader, const char *topic, int32_t partition);

enum pj_read_kind {
    PJ_READ_NOTHING, /* in this time */
    PJ_READ_RECORD,
    PJ_READ_END,    /* of what is committed: everything before `offset` was given */
    PJ_READ_LOST,   /* the wanted offset is not there, or no more: ask where the topic begins */
    PJ_READ_TROUBLE /* Kafka does not give the partition's records; `trouble` says why */
};

struct pj_read {
    enum pj_read_kind kind;
    const char *topic; /* as Kafka names it; NULL: of all */
    int32_t partition;
    int64_t offset;
    struct pj_recorded record; /* but for its topic */
    const char *trouble;
    bool is_missing; /* the trouble: there is no such topic or partition (any more) */
};

/* What comes next, within the time. What it points to lives until the next call. -1: nothing will
 * come any more. */
int pj_reader_next(struct pj_reader *reader, int64_t wait_ms, struct pj_read *read,
                   struct pj_error *error) PJ_MUST_CHECK;

#endif
