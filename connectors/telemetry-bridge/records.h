/* SPDX-License-Identifier: Apache-2.0 */
/* Turns an item into records of safari.telemetry, safari.commands, the dead letters and the
 * bookmark, in the open transaction. */
#ifndef PJ_TELEMETRY_BRIDGE_RECORDS_H
#define PJ_TELEMETRY_BRIDGE_RECORDS_H

#include "base/trace.h"
#include "common/encoder.h"
#include "common/transactor.h"
#include "telemetry-bridge/bookmark.h"
#include "telemetry-bridge/bridge.h"
#include "telemetry-bridge/buffer.h"

struct pj_records {
    struct pj_transactor *transactor;
    struct pj_encoder *telemetry, *commands;
    struct pj_builder encoded; /* the current record */
    const char *bridge_id;
    char trace[PJ_TRACE_TEXT_SIZE]; /* of the current item: that of its event_id; or "" */
};

/* The transactor's topics. */
enum { PJ_TO_TELEMETRY, PJ_TO_COMMANDS, PJ_TO_DEAD_LETTERS, PJ_TO_CURSORS, PJ_BRIDGE_TOPICS };

/* Sends an item. Errors as of pj_producer_send; PJ_POISON: Kafka will never take it. */
int pj_records_send(struct pj_records *records, const struct pj_item *item,
                    struct pj_error *error) PJ_MUST_CHECK;

int pj_records_send_bookmark(struct pj_records *records, const struct pj_bookmark *bookmark,
                             struct pj_error *error) PJ_MUST_CHECK;

#endif
