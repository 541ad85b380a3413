/* SPDX-License-Identifier: Apache-2.0 */
/* Partitions, their records and ranges of offsets, as plain data that both the Kafka and the
 * Postgres code use without knowing each other. */
#ifndef PJ_BASE_PARTITION_H
#define PJ_BASE_PARTITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pj_metric;
struct pj_record_header;

/* A topic's id as Kafka's own tools print it. */
enum { PJ_TOPIC_ID_SIZE = 24 };

enum { PJ_PARTITION_GAUGES = 5 };

/*
 * Whether an offset of the topic with the id `read` means nothing in the topic that now has the id
 * `id`: both are known, and differ. The offset 0 is the same place in every topic. NULL and "" are
 * unknown.
 */
bool pj_topic_is_another(const char *id, const char *read, int64_t offset);

/* Offsets of one partition: from `begin` up to but not including `end`. */
struct pj_offset_range {
    const char *topic;
    int32_t partition;
    int64_t begin;
    int64_t end;
};

/* By topic, partition and begin; for qsort. */
int pj_offset_range_compare(const void *a, const void *b);

/* One partition of one topic; lives as long as the consumer, whoever owns it. */
struct pj_partition {
    size_t topic_index;
    const char *topic;
    int32_t number;
    bool assigned;
    bool kept;            /* librdkafka still has it although we gave it up; to be claimed again */
    uint32_t generation;  /* grows with every assignment: records fetched before it are void */
    int64_t epoch;        /* of our ownership, from Postgres */
    int64_t next_offset;  /* committed in Postgres */
    int64_t low, high;    /* watermarks when last asked */
    int64_t start_offset; /* where a new group begins; -1: at `low` */
    int64_t stop_offset;  /* counts as the end; -1: only the real end does */
    bool awaited;         /* it has records, of which none has come since it was assigned */
    bool at_end;          /* the last thing fetched was the end … */
    int64_t end_offset;   /* … which is here (after invisible records, too) */
    int64_t group_offset; /* last committed to the Kafka group */
    int64_t durable_offset; /* of next_offset, what no crash of Postgres takes back; -1: unknown */
    int64_t noted_offset;   /* will be durable once what was written by then is; -1: none */
    bool exists;            /* when last asked */
    int64_t begin;          /* the first existing offset, when last asked; -1: unknown now */
    int64_t stable_end;     /* likewise: an open transaction holds back the records after it */
    int64_t asked_ms;       /* when these two were last known, by the monotonic clock */
    int trouble;            /* why Kafka does not deliver its records, a Kafka error code; 0 */
    const char *topic_id;   /* when last asked; "" where unknown */
    /* The id of the topic that next_offset belongs to, from Postgres; "" unknown. */
    char read_topic_id[PJ_TOPIC_ID_SIZE];
    int64_t read_offset; /* the last record read, from Postgres; -1 unknown */
    int64_t read_digest; /* its pj_record_digest */
    bool is_another;     /* the record there is a different one: the topic was recreated */
    /* Why it is stopped until a person acts: an exit code, or 0, and a sentence. */
    int stop_code;
    char *stop_reason;
    bool stop_written; /* it is recorded in Postgres */
    int64_t short_ms;  /* since when it seems to end before our offset; 0: it does not */

    /* Of lag.c: gauges that are shown; when the oldest unread record was written and happened; and
     * since when the offset is known not to be the end. By the wall clock. */
    struct pj_metric *gauges[PJ_PARTITION_GAUGES];
    int64_t unread_ms, unread_event_ms;
    int64_t behind_offset, behind_ms;
    int64_t taken_records, taken_bytes; /* that this process was given, uncompressed */

    /* Of stall.c: how far it is (of one that is not ours: as Postgres says) and when that last grew
     * or there was nothing to do; and whether nobody of ours has it. */
    int64_t reached;
    int64_t moved_ms;
    int64_t wanted; /* the end that a run until caught up waits for another owner to reach; -1 */
    bool unattended;
};

struct pj_record {
    struct pj_partition *partition;
    uint32_t generation;
    int64_t offset;
    int64_t timestamp_ms; /* -1: none */
    const void *key;      /* NULL: none */
    size_t key_length;
    const void *value; /* NULL: a tombstone */
    size_t value_length;
    void *message; /* owns all of it; or NULL, and then these are the headers: */
    const struct pj_record_header *headers;
    size_t header_count;
};

/* Stops the partition; code 0 lifts the stop. The reason is copied. */
void pj_partition_stop(struct pj_partition *partition, int code, const char *reason, size_t length);

/* Distinguishes it from any other record at the same offset: its time, key and value. */
int64_t pj_record_digest(const struct pj_record *record);

#endif
