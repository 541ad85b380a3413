/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the two files of the publisher: publisher.c, its thread, and publication.c, its
 * callers. */
#ifndef PJ_CONNECTORS_PUBLISHER_INTERNAL_H
#define PJ_CONNECTORS_PUBLISHER_INTERNAL_H

#include "base/threads.h"
#include "base/trace.h"
#include "common/hold.h"
#include "common/publisher.h"

#include <stdatomic.h>

struct record {
    size_t topic;
    char *key;
    char *value; /* NULL: null */
    size_t key_length, value_length;
};

struct pj_publication {
    struct pj_publication *next;
    struct record *records;
    size_t record_count, bytes;
    struct pj_trace trace; /* goes with its events; none: "" */
    int64_t wait_ms;       /* 0: it is urgent */
    int64_t due_ms;
    bool may_be_lost;
    atomic_int references;
    enum { WAITING, SENT, DONE, REFUSED } state; /* under the publisher's mutex */
    pthread_cond_t changed;                      /* the state; or the publisher has ended */
    bool is_refused;                             /* owned by the thread, before it becomes the
                                                  * state */
    bool is_found;                               /* read back from the state topic */
    struct pj_error error;
};

struct pj_publisher {
    struct pj_publisher_settings settings;
    struct pj_transactor transactor;
    struct pj_metric *records, *latency, *waiting_topics;
    bool are_topics_apart;
    struct pj_publication *batch; /* owned by the thread: the contents of its transaction */
    size_t batch_most;            /* owned by the thread; small while it looks for a refused one */
    /* Owned by the thread: the value of the marker in its transaction, whether that was read back,
     * and what tells it from those of other publishers. */
    char mark[64];
    bool is_mark_found;
    char mark_prefix[37];
    int64_t marks;
    int64_t committed_us; /* when the last transaction was, of pj_clock_monotonic_us */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t filled; /* for the thread: something waits, or it is to stop */
    struct pj_publication *first, **last;
    size_t waiting, waiting_bytes, urgent;
    struct pj_hold holds[PJ_TRANSACTOR_TOPICS_MOST]; /* of the topics, where they are apart */
    size_t suspects;                                 /* among them; written by the thread alone */
    bool is_stopping, has_ended;
    int64_t give_up_ms; /* the deadline when stopping */
    bool has_failed;
    struct pj_error failure;
    struct pj_error trouble; /* why nothing is published now; empty message: all is well */
};

/* Of the topic of a publication's events; NULL: it has records of the state alone. */
struct pj_hold *pj_publisher_hold_of(struct pj_publisher *publisher,
                                     const struct pj_publication *publication);

/* Removes a publication from the queue; under the mutex. */
void pj_publisher_take_out(struct pj_publisher *publisher, struct pj_publication **place);

#endif
