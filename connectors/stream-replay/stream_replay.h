/* SPDX-License-Identifier: Apache-2.0 */
/* Publishes recordings: what stream-replay does once its options are read. */
#ifndef PJ_STREAM_REPLAY_REPLAY_H
#define PJ_STREAM_REPLAY_REPLAY_H

#include "avro/registry.h"
#include "base/config.h"

#include <stdatomic.h>

struct pj_replay_settings {
    char *const *paths; /* files and folders */
    size_t path_count;
    const struct pj_properties *kafka;
    struct pj_registry_settings registry; /* url NULL: none is configured */
    const char *topic_prefix;             /* or NULL */
    const char *topic_map;                /* "old=new,old=new", or NULL */
    double rate;                          /* messages a second over all; 0: another pace */
    double speed;                         /* recorded seconds a second; 0: as fast as possible */
    bool shift_now; /* timestamps are when a message is due, not those recorded */
    int64_t loops;  /* times that all is published, at least 1 */
    bool rekey;     /* … with other UUIDs each time */
    int64_t threads;
    int64_t limit;      /* messages; 0: all */
    int64_t timeout_ms; /* without any progress */
    const char *resume; /* the name under which it is known how far it is, or NULL */
    /* The group whose rows are waited for, or NULL, and how long that may take (0: no matter). */
    const char *expect;
    int64_t p99_us;
    const char *postgres_dsn;
    const struct pj_properties *postgres;
    const char *hdr_log;    /* a file, or NULL */
    const atomic_int *stop; /* set by a signal */
};

enum { PJ_QUANTILES = 5 };
extern const char *const pj_quantile_names[PJ_QUANTILES]; /* p50 to p99.9, and max */

struct pj_quantiles {
    int64_t count;
    int64_t us[PJ_QUANTILES];
};

struct pj_replay_result {
    int64_t planned;   /* messages to publish */
    int64_t resumed;   /* of these, published by an earlier run */
    int64_t delivered; /* that the brokers have; with `resume`, that are committed */
    int64_t refused;   /* that they will never take */
    size_t topics;
    double seconds;               /* of publishing, without the checks before */
    struct pj_quantiles lateness; /* how long after they were due messages were sent */
    struct pj_quantiles visible;  /* how long after that they were in the group's rows */
    bool interrupted;
};

/*
 * Blocks until all is delivered, something fails or *stop is set. A message that Kafka refuses
 * permanently is reported on stderr, and its neighbours are published after what was sent
 * meanwhile; at the end it is an error, and so are many of them at once. The result is filled in
 * either case. A stop is not an error.
 */
int pj_replay_run(const struct pj_replay_settings *settings, struct pj_replay_result *result,
                  struct pj_error *error) PJ_MUST_CHECK;

#endif
