/* SPDX-License-Identifier: Apache-2.0 */
/* The system of platform_activity.c: what is deployed together with it. */
#include "projectionist/system.h"
#include "schemas.h"

extern const struct pj_projection pj_platform_activity;
extern const struct pj_migration_script pj_sql_platform[]; /* of the folder sql/ */

static const struct pj_topic topics[] = {{"safari.commands", .schema = pj_schema_safari_commands}};
static const struct pj_projection *const projections[] = {&pj_platform_activity};

const struct pj_system pj_platform = {
    .name = "platform",
    .summary = "keep how busy each platform is",
    .version = "1.2.3",
    .topics = topics,
    .topic_count = 1,
    .projections = projections,
    .projection_count = 1,
    .migrations = pj_sql_platform,
    .tables_schema = "platform",
};
