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

static const char *const views[] = {"job_summary",
                                    "job_status_realtime",
                                    "active_jobs",
                                    "daily_job_stats",
                                    "hourly_processing_load",
                                    "element_type_stats",
                                    "storage_performance",
                                    "system_health",
                                    "error_analysis",
                                    "job_progress_subscription",
                                    NULL};

static const char *const published[] = {"jobs", "processing_timeline", NULL};

/* The owner of a job, or who has the address that it was ordered from, sees it and what belongs to
 * it; admins and services see all. Who asks is found out once a query. */
#define SEES_ALL "(SELECT is_admin_user()) OR (SELECT is_service_account())"
#define OWN_JOB                                                                                    \
    "placeholder IS NOT TRUE AND (owner_id = (SELECT get_current_user_id()) OR owner_id IS NULL "  \
    "AND client_ip = (SELECT get_client_ip()) OR " SEES_ALL ")"
#define OF_JOB         "EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id)"
#define OF_JOB_OR_NONE OF_JOB " OR job_id IS NULL AND (" SEES_ALL ")"

#define ANYBODY(relation, rows)                                                                    \
    {relation, "anon", rows},                                                                      \
    {                                                                                              \
        relation, "authenticated", rows                                                            \
    }
#define ANYBODY_CALLS(function)                                                                    \
    {function, "anon"}, {function, "authenticated"},                                               \
    {                                                                                              \
        function, "service_role"                                                                   \
    }
/* The function looks at the token of who is logged in. */
#define SERVICE_CALLS(function)                                                                    \
    {function, "authenticated"},                                                                   \
    {                                                                                              \
        function, "service_role"                                                                   \
    }

static const struct pj_reader readers[] = {
    ANYBODY("jobs", OWN_JOB),
    ANYBODY("elements", OF_JOB),
    ANYBODY("element_refusals", OF_JOB),
    ANYBODY("processing_timeline", OF_JOB),
    ANYBODY("job_status_history", OF_JOB),
    ANYBODY("storage_operations", OF_JOB_OR_NONE),
    ANYBODY("url_access_logs", OF_JOB_OR_NONE),
    {"system_metrics", "authenticated", SEES_ALL},
    ANYBODY("job_summary", NULL),
    ANYBODY("job_status_realtime", NULL),
    ANYBODY("active_jobs", NULL),
    ANYBODY("job_progress_subscription", NULL),
    {"daily_job_stats", "authenticated", NULL},
    {"hourly_processing_load", "authenticated", NULL},
    {"element_type_stats", "authenticated", NULL},
    {"storage_performance", "authenticated", NULL},
    {"system_health", "authenticated", NULL},
    {"error_analysis", "authenticated", NULL},
};

static const struct pj_caller callers[] = {
    ANYBODY_CALLS("get_current_user_role"),
    ANYBODY_CALLS("get_current_user_id"),
    ANYBODY_CALLS("is_admin_user"),
    ANYBODY_CALLS("is_service_account"),
    ANYBODY_CALLS("get_client_ip"),
    ANYBODY_CALLS("can_subscribe_to_job"),
    ANYBODY_CALLS("health_check"),
    ANYBODY_CALLS("calculate_job_duration"),
    ANYBODY_CALLS("calculate_job_progress"),
    ANYBODY_CALLS("create_job"),
    ANYBODY_CALLS("create_job_with_elements"),
    ANYBODY_CALLS("add_job_element"),
    ANYBODY_CALLS("update_job_status"),
    SERVICE_CALLS("get_job_statistics"),
    SERVICE_CALLS("get_storage_statistics"),
    SERVICE_CALLS("update_job_progress"),
    SERVICE_CALLS("update_element_status"),
    SERVICE_CALLS("start_processing_step"),
    SERVICE_CALLS("complete_processing_step"),
    SERVICE_CALLS("log_storage_operation"),
    SERVICE_CALLS("complete_job_with_s3_upload"),
    SERVICE_CALLS("log_url_access"),
    SERVICE_CALLS("record_system_metric"),
    SERVICE_CALLS("log_security_event"),
    SERVICE_CALLS("check_rate_limit"),
    SERVICE_CALLS("cleanup_old_jobs"),
    SERVICE_CALLS("cleanup_old_metrics"),
    SERVICE_CALLS("enforce_data_retention"),
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
    .views = views,
    .published = published,
    .readers = readers,
    .reader_count = sizeof readers / sizeof readers[0],
    .callers = callers,
    .caller_count = sizeof callers / sizeof callers[0],
    .outbox = "render_private",
};
