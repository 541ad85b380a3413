/* SPDX-License-Identifier: Apache-2.0 */
/* drama: the backend of short dramas, which an AI writes, as three projections' tables. */
#include "projections/drama/drama_projections.h"
#include "projections/systems.h"
#include "schemas.h"

extern const struct pj_migration_script pj_sql_drama[];

static const struct pj_topic topics[] = {
    {"drama.dramas", .schema = pj_schema_drama_dramas},
    {"drama.jobs", .schema = pj_schema_drama_jobs},
    {"drama.users", .schema = pj_schema_drama_users},
    /* What the ingest keeps of requests that may be sent again: read whole at its start. */
    {"drama.ingest-keys", .partitions = 1, .compacted = true},
    /* Which objects drama-import has published, in which version. */
    {"drama.import-progress", .partitions = 1, .compacted = true},
};

static const struct pj_projection *const projections[] = {
    &pj_drama_catalog,
    &pj_drama_jobs,
    &pj_drama_users,
};

static const char *const views[] = {
    "drama_graph", "drama_save_conflicts", "job_tree", "users_overdrawn", "drama_costs", NULL,
};

/* What people watch while it is made. */
static const char *const published[] = {
    "dramas", "episodes", "scenes", "characters", "jobs", NULL,
};

/* Everybody sees what is theirs. Ids are texts: that of the user "10000" is no UUID, and comes with
 * a role that sees all. */
#define THEIRS "user_id = (SELECT auth.uid())::text"
#define OF_THEIR_DRAMA                                                                             \
    "EXISTS (SELECT FROM dramas AS d WHERE d.id = drama_id AND "                                   \
    "d.user_id = (SELECT auth.uid())::text)"

static const struct pj_reader readers[] = {
    {"dramas", "authenticated", THEIRS},
    {"characters", "authenticated", THEIRS},
    {"episodes", "authenticated", THEIRS},
    {"scenes", "authenticated", THEIRS},
    {"assets", "authenticated", OF_THEIR_DRAMA},
    {"jobs", "authenticated", THEIRS " OR " OF_THEIR_DRAMA},
    {"users", "authenticated", "id = (SELECT auth.uid())::text"},
    {"token_ledger", "authenticated", THEIRS},
    {"drama_graph", "authenticated", NULL},
    {"job_tree", "authenticated", NULL},
    {"drama_costs", "authenticated", NULL},
};

static const struct pj_ingested ingested[] = {{"dramas", "id, user_id, life, revision"}};

const struct pj_system pj_drama = {
    .name = "drama",
    .summary = "keep short dramas, the jobs that make them, and who pays for it",
    .version = PJ_VERSION,
    .topics = topics,
    .topic_count = sizeof topics / sizeof topics[0],
    .projections = projections,
    .projection_count = sizeof projections / sizeof projections[0],
    .migrations = pj_sql_drama,
    .tables_schema = "drama",
    .views = views,
    .published = published,
    .readers = readers,
    .reader_count = sizeof readers / sizeof readers[0],
    .ingested = ingested,
    .ingested_count = sizeof ingested / sizeof ingested[0],
};
