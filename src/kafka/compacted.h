/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a compacted topic whole, as its owner does when it starts: what is committed, from the
 * first record (or from a time on) to the end that the topic has at the time of the call.
 */
#ifndef PJ_KAFKA_COMPACTED_H
#define PJ_KAFKA_COMPACTED_H

#include "avro/wire.h"
#include "base/config.h"
#include "projectionist/error.h"

#include <stdatomic.h>
#include <stdbool.h>

/*
 * One record, in the order of its partition; a later one of the same key takes the place of an
 * earlier one, and a value that is null takes it away. The bytes live until it returns. -1 with
 * *error ends the reading.
 */
typedef int pj_compacted_record(void *context, struct pj_bytes key, struct pj_bytes value,
                                struct pj_error *error);

struct pj_compacted_settings {
    const struct pj_properties *kafka; /* kafka.*; bootstrap.servers must be there */
    const char *client_id;
    const char *topic;
    int64_t timeout_ms;
    int64_t since_ms; /* begins where a record has this timestamp or a later one; 0: at the first */
    bool stop_at_open;      /* do not wait for open transactions: what follows them is missed */
    const atomic_int *stop; /* or NULL; set by a signal */
    pj_compacted_record *record;
    void *context;
};

/*
 * Blocks until all partitions are read to the end that they had, also past transactions that were
 * open then: a record that was committed before the call is never missed. Returns 1 where `stop`
 * was set. Errors: PJ_RETRY when the brokers do not answer within the time-out, or another
 * producer's transaction stays open for so long; PJ_FATAL (PJ_EXIT_FAILED) when there is no such
 * topic, with the command that makes it; PJ_FATAL when a setting is not accepted.
 */
int pj_compacted_read(const struct pj_compacted_settings *settings,
                      struct pj_error *error) PJ_MUST_CHECK;

#endif
