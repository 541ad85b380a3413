/* SPDX-License-Identifier: Apache-2.0 */
/* Publishes recordings: what stream-replay does once its options are read. */
#ifndef PJ_STREAM_REPLAY_REPLAY_H
#define PJ_STREAM_REPLAY_REPLAY_H

#include "avro/registry.h"
#include "base/config.h"

#include <signal.h>

struct pj_replay_settings {
    char *const *paths;
    size_t path_count;
    const struct pj_properties *kafka;
    struct pj_registry_settings registry; /* url NULL: none is configured */
    const char *topic_prefix;             /* or NULL */
    const char *topic_map;                /* "old=new,old=new", or NULL */
    int64_t rate;                         /* events a second over all; 0: as fast as possible */
    int64_t limit;                        /* messages; 0: all */
    int64_t timeout_ms;                   /* without any progress */
    bool plain_progress;                  /* lines where stderr is no terminal */
    const volatile sig_atomic_t *stop;    /* set by a signal */
};

struct pj_replay_result {
    int64_t planned;   /* messages to publish */
    int64_t delivered; /* that the brokers have */
    int64_t refused;   /* that they will never take */
    size_t topics;
    double seconds; /* of publishing, without the checks before */
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
