/* SPDX-License-Identifier: Apache-2.0 */
/* render: a platform that renders videos: its jobs, what they are made of, and what is logged. */
#include "projections/render/render_projections.h"
#include "projections/systems.h"
#include "schemas.h"

extern const struct pj_migration_script pj_sql_render[];

static const struct pj_topic topics[] = {
    {"render.jobs", .schema = pj_schema_render_jobs},
    {"render.elements", .schema = pj_schema_render_elements},
    {"render.timeline", .schema = pj_schema_render_timeline},
    {"render.storage", .schema = pj_schema_render_storage},
    /* What is personal, and what is many: for 7 and 30 days, like the rows. */
    {"render.access", .schema = pj_schema_render_access, .retention_ms = 604800000},
    {"render.metrics", .schema = pj_schema_render_metrics, .retention_ms = 2592000000},
    /* What the ingest keeps of requests that may be sent again: read whole at its start. */
    {"render.ingest-keys", .partitions = 1, .compacted = true},
};

static const struct pj_projection *const projections[] = {
    &pj_render_jobs,
    &pj_render_storage,
    &pj_render_access,
    &pj_render_metrics,
};

const struct pj_system pj_render = {
    .name = "render",
    .summary = "keep the jobs of a platform that renders videos, and what is logged of them",
    .version = PJ_VERSION,
    .topics = topics,
    .topic_count = sizeof topics / sizeof topics[0],
    .projections = projections,
    .projection_count = sizeof projections / sizeof projections[0],
    .migrations = pj_sql_render,
    .tables_schema = "render",
};
