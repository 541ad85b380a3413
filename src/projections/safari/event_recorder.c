/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event-recorder: every telemetry frame, whole, in safari_events. The event id decides duplicates;
 * an event whose command is not there yet gets a placeholder row in safari_commands.
 */
#include "projections/safari/projections.h"
#include "projections/safari/safari.h"
#include "schemas.h"

#define SAFARI_EVENTS(COLUMN)                                                                      \
    COLUMN(event_id, PJ_UUID, .key = true)                                                         \
    COLUMN(command_id, PJ_UUID)                                                                    \
    COLUMN(correlation_id, PJ_UUID)                                                                \
    COLUMN(type, PJ_TEXT)                                                                          \
    COLUMN(severity, PJ_TEXT)                                                                      \
    COLUMN(payload, PJ_JSONB)                                                                      \
    COLUMN(cursor, PJ_TEXT)                                                                        \
    COLUMN(emitted_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(version, PJ_TEXT)                                                                       \
    COLUMN(target, PJ_JSONB)
PJ_COLUMNS(safari_events, SAFARI_EVENTS);

const struct pj_table safari_events_table = {
    .name = "safari_events",
    .kind = PJ_APPEND_TABLE,
    PJ_COLUMNS_OF(safari_events),
    .parents =
        (const struct pj_parent[]){
            {&safari_commands_table,
             {PJ_INDEX(safari_events, command_id)},
             PJ_INDEX(safari_events, emitted_at)},
            {0},
        },
};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)error;
    const struct safari_frame *e = PJ_EVENT(event, safari_frame);
    *PJ_APPEND(observer, safari_events) = (struct safari_events){
        .event_id = e->event_id,
        .command_id = e->command_id,
        .correlation_id = e->correlation_id,
        .type = e->type,
        .severity = e->severity,
        .payload = e->payload,
        .cursor = e->cursor,
        .emitted_at = e->emitted_at,
        .version = e->version,
        .target = e->target,
    };
    return 0;
}

const struct pj_projection pj_event_recorder = {
    .name = "event-recorder",
    .summary = "keep safari_events: every telemetry frame, for audit and replay",
    PJ_SOURCES(SAFARI_TELEMETRY(observe)),
    PJ_TABLES(&safari_events_table),
};
