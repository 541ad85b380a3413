/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message that the renderer published about a job, and the event that it is. Pure.
 *
 *   {"type": "progress", "progress": 41.7, "message": "…"}          JobProgressed, 42
 *   {"type": "status", "status": "running", "message": "…"}         JobStatusChanged
 *   {"type": "error", "status": "error", "message": "…"}            JobStatusChanged
 *   {"type": "complete", "status": "success", "progress": 100, "result": …}  JobStatusChanged
 *
 * The job's id is in the channel's name alone. Members that are missing or null are left out; those
 * that are not known are passed over. Anything else is a dead letter.
 */
#ifndef PJ_JOB_BRIDGE_JOB_MESSAGE_H
#define PJ_JOB_BRIDGE_JOB_MESSAGE_H

#include "avro/wire.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* As what it is published: one that Kafka refuses goes on to the next. */
enum pj_job_form { PJ_JOB_EVENT, PJ_JOB_DEAD_LETTER, PJ_JOB_BEGINNING, PJ_JOB_HEADERS_ALONE };

struct pj_job_message {
    struct pj_job_message *next;
    enum pj_job_form form;
    bool is_refused;         /* it was an event that Kafka would not take */
    char event_id[37];       /* a new one for each message */
    const char *job_id;      /* NULL where the channel's name has none */
    size_t job_id_length;    /* bytes of UTF-8 */
    json_t *body;            /* of the event, for pj_encode; NULL: a dead letter */
    char *reason;            /* why it is one; NULL: it is not */
    int64_t revision;        /* 0: none yet */
    int64_t emitted_us;      /* since 1970 */
    int64_t received_us;     /* monotonic */
    struct pj_bytes channel; /* as they came; with it */
    struct pj_bytes payload;
    size_t size; /* of all of it, about */
};

/* Copies the bytes. */
struct pj_job_message *pj_job_message_new(const char *channel_prefix, struct pj_bytes channel,
                                          struct pj_bytes payload);
/* One that was too long to be read whole: what there is of it. */
struct pj_job_message *pj_job_message_cut(struct pj_bytes beginning, int64_t limit);
void pj_job_message_free(struct pj_job_message *message); /* NULL is allowed */

/* Takes the next form; false: there is none. The reason is what Kafka says. */
bool pj_job_message_refuse(struct pj_job_message *message, const char *reason);

#endif
