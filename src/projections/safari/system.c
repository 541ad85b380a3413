/* SPDX-License-Identifier: Apache-2.0 */
/* safari: what the Safari Automation service is told and tells, as five projections' tables. */
#include "projections/safari/projections.h"
#include "projections/systems.h"
#include "schemas.h"

extern const struct pj_migration_script pj_sql_safari[];

static const struct pj_topic topics[] = {
    {"safari.commands", .schema = pj_schema_safari_commands},
    {"safari.sessions", .schema = pj_schema_safari_sessions},
    {"safari.telemetry", .schema = pj_schema_safari_telemetry},
    /* What the connectors keep. One partition each: the compacted ones are read whole at a start,
     * and dead letters stay in the order of the stream. */
    {"safari.bridge-cursors", .partitions = 1, .compacted = true},
    {"safari.idempotency-keys", .partitions = 1, .compacted = true},
    {"safari.telemetry.dead-letters", .partitions = 1},
};

static const struct pj_projection *const projections[] = {
    &pj_command_projector, &pj_event_recorder,  &pj_video_catalog,
    &pj_watermark_metrics, &pj_session_tracker,
};

static const char *const views[] = {
    "watermark_free_videos",
    "safari_command_performance",
    "safari_events_enriched",
    "watermark_metrics_hourly",
    "watermark_metrics_daily",
    "watermark_metrics_by_method",
    NULL,
};

static const struct pj_reader readers[] = {
    {"safari_videos", "authenticated", NULL},
    {"safari_events", "authenticated", NULL},
};

const struct pj_system pj_safari = {
    .name = "safari",
    .summary = "keep what the Safari Automation service does: commands, events, videos, sessions",
    .version = PJ_VERSION,
    .topics = topics,
    .topic_count = sizeof topics / sizeof topics[0],
    .projections = projections,
    .projection_count = sizeof projections / sizeof projections[0],
    .migrations = pj_sql_safari,
    .tables_schema = "public",
    .views = views,
    .readers = readers,
    .reader_count = sizeof readers / sizeof readers[0],
};
