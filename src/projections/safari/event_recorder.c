/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event-recorder: every telemetry frame, whole, in safari_events. The event id decides duplicates;
 * an event whose command is not there yet gets a placeholder row in safari_commands.
 */
#include "projections/safari/projections.h"
#include "projections/safari/safari.h"
#include "schemas.h"

enum {
    E_EVENT_ID,
    E_COMMAND_ID,
    E_CORRELATION_ID,
    E_TYPE,
    E_SEVERITY,
    E_PAYLOAD,
    E_CURSOR,
    E_EMITTED_AT,
    E_VERSION,
    E_TARGET,
    E_COLUMNS,
};

static const struct pj_column columns[E_COLUMNS] = {
    [E_EVENT_ID] = {"event_id", PJ_UUID, .key = true},
    [E_COMMAND_ID] = {"command_id", PJ_UUID},
    [E_CORRELATION_ID] = {"correlation_id", PJ_UUID},
    [E_TYPE] = {"type", PJ_TEXT},
    [E_SEVERITY] = {"severity", PJ_TEXT},
    [E_PAYLOAD] = {"payload", PJ_JSONB},
    [E_CURSOR] = {"cursor", PJ_TEXT},
    [E_EMITTED_AT] = {"emitted_at", PJ_TIMESTAMPTZ},
    [E_VERSION] = {"version", PJ_TEXT},
    [E_TARGET] = {"target", PJ_JSONB},
};

const struct pj_table pj_safari_events = {
    .name = "safari_events",
    .kind = PJ_APPEND_TABLE,
    .columns = columns,
    .column_count = E_COLUMNS,
    .parents =
        (const struct pj_parent[]){
            {&pj_safari_commands, {E_COMMAND_ID}, E_EMITTED_AT},
            {0},
        },
};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    (void)error;
    const struct pj_value *v = event->values;
    struct pj_value *row = pj_append(observer, &pj_safari_events);
    row[E_EVENT_ID] = v[TELEMETRY_EVENT_ID];
    row[E_COMMAND_ID] = v[TELEMETRY_COMMAND_ID];
    row[E_CORRELATION_ID] = v[TELEMETRY_CORRELATION_ID];
    row[E_TYPE] = v[TELEMETRY_TYPE];
    row[E_SEVERITY] = v[TELEMETRY_SEVERITY];
    row[E_PAYLOAD] = v[TELEMETRY_PAYLOAD];
    row[E_CURSOR] = v[TELEMETRY_CURSOR];
    row[E_EMITTED_AT] = v[TELEMETRY_EMITTED_AT];
    row[E_VERSION] = v[TELEMETRY_VERSION];
    row[E_TARGET] = v[TELEMETRY_TARGET];
    return 0;
}

static const struct pj_source sources[] = {SAFARI_TELEMETRY(observe)};
static const struct pj_table *const tables[] = {&pj_safari_events};

const struct pj_projection pj_event_recorder = {
    .name = "event-recorder",
    .summary = "keep safari_events: every telemetry frame, for audit and replay",
    .sources = sources,
    .source_count = 1,
    .tables = tables,
    .table_count = 1,
};
