/* SPDX-License-Identifier: Apache-2.0 */
/* render-metrics: every measurement, in system_metrics, as it was told. */
#include "projections/render/render.h"
#include "projections/render/render_projections.h"
#include "schemas.h"

#define METRICS(COLUMN)                                                                            \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(metric_name, PJ_TEXT)                                                                   \
    COLUMN(metric_type, PJ_TEXT)                                                                   \
    COLUMN(value, PJ_NUMERIC)                                                                      \
    COLUMN(unit, PJ_TEXT)                                                                          \
    COLUMN(labels, PJ_JSONB)                                                                       \
    COLUMN(recorded_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(metrics, METRICS);

static const struct pj_table metrics_table = {
    .name = "system_metrics",
    .kind = PJ_APPEND_TABLE,
    PJ_COLUMNS_OF(metrics),
    .trimmed_by = PJ_INDEX(metrics, recorded_at),
};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct render_metric_event *e = PJ_EVENT(event, render_metric_event);
    if (render_check_metric(e, error) != 0)
        return -1;
    *PJ_APPEND(observer, metrics) = (struct metrics){
        .id = e->event_id,
        .metric_name = e->metric_name,
        .metric_type = e->metric_type,
        .value = e->value,
        .unit = e->unit,
        .labels = e->labels,
        .recorded_at = e->emitted_at,
    };
    return 0;
}

const struct pj_projection pj_render_metrics = {
    .name = "render-metrics",
    .summary = "keep system_metrics: every measurement",
    .version = 1,
    PJ_SOURCES(PJ_SOURCE("render.metrics", pj_schema_render_metrics, render_metric_event, observe)),
    PJ_TABLES(&metrics_table),
};
