/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes one file of a recording (avro/recording.h): blocks of some 128 KiB, compressed by zstd,
 * with a checksum each. The file has the name FINAL.partial until it is whole and on the disk.
 *
 * What was written before the process was killed is found again, up to the last whole block.
 * Errors are PJ_FATAL and name the file; after one, close.
 */
#ifndef PJ_AVRO_RECORDING_WRITER_H
#define PJ_AVRO_RECORDING_WRITER_H

#include "avro/recording.h"

#define PJ_RECORDING_PARTIAL ".partial"

struct pj_recording_writer;

/* What is in the file, and in the block that is not written yet. */
struct pj_recording_state {
    int64_t count;       /* of messages */
    int64_t content;     /* the bytes of their keys, values and headers, and some for each */
    int64_t begin, next; /* the offsets that it is about */
    int64_t gaps[PJ_GAP_CAUSES];
    bool has_times;
    int64_t earliest_ms, latest_ms;
};

/* Creates FINAL.partial, whose head is this one. An older file of that name is an error. */
int pj_recording_create(struct pj_recording_writer **writer, const char *final,
                        const struct pj_recorded_head *head, struct pj_error *error) PJ_MUST_CHECK;

/*
 * Goes on with FINAL.partial: cuts off what is not whole, and reads the rest. Every item goes to
 * `item` first (which may refuse it). Returns 1 where nothing of the file is worth keeping: it is
 * gone; a file whose tail was written is finished, and then *writer is NULL.
 */
int pj_recording_resume(struct pj_recording_writer **writer, const char *final,
                        int (*item)(void *context, const struct pj_recorded *item,
                                    struct pj_error *error),
                        void *context, struct pj_error *error) PJ_MUST_CHECK;

int pj_recording_put_schema(struct pj_recording_writer *writer, int32_t id, const char *subject,
                            const char *schema, struct pj_error *error) PJ_MUST_CHECK;
/* Offsets go up. */
int pj_recording_put_message(struct pj_recording_writer *writer, const struct pj_recorded *message,
                             struct pj_error *error) PJ_MUST_CHECK;
int pj_recording_put_gap(struct pj_recording_writer *writer, const struct pj_recorded_gap *gap,
                         struct pj_error *error) PJ_MUST_CHECK;

const struct pj_recording_state *pj_recording_state(const struct pj_recording_writer *writer);

/* Writes what is not written yet. */
int pj_recording_flush(struct pj_recording_writer *writer, struct pj_error *error) PJ_MUST_CHECK;
/* Writes the tail, waits for the disk, and gives the file its name. */
int pj_recording_finish(struct pj_recording_writer *writer, struct pj_error *error) PJ_MUST_CHECK;
/* NULL is allowed. What is unfinished stays as it is on the disk. */
void pj_recording_writer_close(struct pj_recording_writer *writer);

/* --- also for who reads a recording ---------------------------------------------------------- */

/* The running checksum of messages; in a tail it stands as text. */
struct pj_recording_sum;
enum { PJ_RECORDING_SUM_TEXT = 65 };
struct pj_recording_sum *pj_recording_sum_new(void);
void pj_recording_sum_free(struct pj_recording_sum *sum);
void pj_recording_sum_add(struct pj_recording_sum *sum, const struct pj_recorded *message);
void pj_recording_sum_text(const struct pj_recording_sum *sum, char text[PJ_RECORDING_SUM_TEXT]);

#endif
