/* SPDX-License-Identifier: Apache-2.0 */
/* studio: a studio for AI videos, as four projections' tables. */
#include "projections/studio/studio_projections.h"
#include "projections/systems.h"
#include "schemas.h"

extern const struct pj_migration_script pj_sql_studio[];

static const struct pj_topic topics[] = {
    {"studio.projects", .schema = pj_schema_studio_projects},
    {"studio.clips", .schema = pj_schema_studio_clips},
    {"studio.media", .schema = pj_schema_studio_media},
    {"studio.voices", .schema = pj_schema_studio_voices},
    {"studio.jobs", .schema = pj_schema_studio_jobs},
    {"studio.objects", .schema = pj_schema_studio_objects},
    /* What a bridge is told that is no event of a job. */
    {"studio.jobs.dead-letters", .partitions = 1},
    /* Where a bridge writes down until when it listened. */
    {"studio.bridge-cursors", .partitions = 1, .compacted = true},
    /* What the ingest keeps of requests that may be sent again: read whole at its start. */
    {"studio.ingest-keys", .partitions = 1, .compacted = true},
};

static const struct pj_projection *const projections[] = {
    &pj_studio_catalog,
    &pj_studio_jobs,
    &pj_studio_voices,
    &pj_studio_objects,
};

static const char *const views[] = {
    "latest_exports", "project_timeline", "project_save_conflicts", "orphan_objects", NULL,
};

/* What people watch while they work. */
static const char *const published[] = {
    "projects", "scenes", "clips", "exports", "generation_jobs", NULL,
};

/* Everybody sees what nobody has signed for; what is part of a project, whoever sees that. */
#define THEIRS     "user_id IS NULL OR user_id = (SELECT auth.uid())"
#define OF_PROJECT "EXISTS (SELECT FROM projects AS p WHERE p.id = project_id)"
#define READERS(relation, rows)                                                                    \
    {relation, "anon", rows},                                                                      \
    {                                                                                              \
        relation, "authenticated", rows                                                            \
    }

static const struct pj_reader readers[] = {
    READERS("projects", THEIRS),
    READERS("scenes", OF_PROJECT),
    READERS("clips", OF_PROJECT),
    READERS("exports", OF_PROJECT),
    READERS("audio_files", OF_PROJECT),
    READERS("voices", THEIRS),
    READERS("generation_jobs", "project_deleted_at IS NULL AND " OF_PROJECT),
    READERS("latest_exports", NULL),
    READERS("project_timeline", NULL),
};

const struct pj_system pj_studio = {
    .name = "studio",
    .summary = "keep a studio's video projects, voices, the jobs that make videos, and their files",
    .version = PJ_VERSION,
    .topics = topics,
    .topic_count = sizeof topics / sizeof topics[0],
    .projections = projections,
    .projection_count = sizeof projections / sizeof projections[0],
    .migrations = pj_sql_studio,
    .tables_schema = "studio",
    .views = views,
    .published = published,
    .readers = readers,
    .reader_count = sizeof readers / sizeof readers[0],
};
