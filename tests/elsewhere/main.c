/* SPDX-License-Identifier: Apache-2.0 */
/* What is deployed together, and the program. */
#include "schemas.h"
#include "yard.h"

extern const struct pj_migration_script pj_sql_yard[]; /* of the folder sql/ */

static const struct pj_topic topics[] = {{.name = "yard.jobs", .schema = pj_schema_yard_jobs}};
static const struct pj_projection *const projections[] = {&yard_job_board};
static const struct pj_system yard = {
    .name = "yard",
    .summary = "keep what is done in a shipyard",
    .version = "1.0.0",
    .topics = topics,
    .topic_count = 1,
    .projections = projections,
    .projection_count = 1,
    .migrations = pj_sql_yard,
    .tables_schema = "yard",
};

int main(int argc, char **argv)
{
    return pj_system_main((const struct pj_system *const[]){&yard, NULL}, argc, argv);
}
