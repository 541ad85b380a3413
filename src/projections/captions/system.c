/* SPDX-License-Identifier: Apache-2.0 */
/* captions: a captioning service's tenants, users and videos, as seven projections' tables. */
#include "projections/captions/captions_projections.h"
#include "projections/systems.h"
#include "schemas.h"

extern const struct pj_migration_script pj_sql_captions[];

static const struct pj_topic topics[] = {
    {"captions.tenants", .schema = pj_schema_captions_tenants},
    {"captions.users", .schema = pj_schema_captions_users},
    {"captions.videos", .schema = pj_schema_captions_videos},
    {"captions.flows", .schema = pj_schema_captions_flows},
    {"captions.objects", .schema = pj_schema_captions_objects},
    {"captions.search", .schema = pj_schema_captions_search},
    {"captions.crops", .schema = pj_schema_captions_crops},
    {"captions.locks", .schema = pj_schema_captions_locks},
};

static const struct pj_projection *const projections[] = {
    &pj_captions_tenants, &pj_captions_users, &pj_captions_catalog, &pj_search_index,
    &pj_crop_versions,    &pj_flow_runs,      &pj_object_catalog,
};

const struct pj_system pj_captions = {
    .name = "captions",
    .summary = "keep the catalogue of a captioning service: tenants, users, videos, their text",
    .version = PJ_VERSION,
    .topics = topics,
    .topic_count = sizeof topics / sizeof topics[0],
    .projections = projections,
    .projection_count = sizeof projections / sizeof projections[0],
    .migrations = pj_sql_captions,
    .tables_schema = "captions",
};
