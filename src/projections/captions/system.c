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
    /* The ingest's; read whole at its start. */
    {"captions.ingest-keys", .partitions = 1, .compacted = true},
};

static const struct pj_projection *const projections[] = {
    &pj_captions_tenants, &pj_captions_users, &pj_captions_catalog, &pj_search_index,
    &pj_crop_versions,    &pj_flow_runs,      &pj_object_catalog,
};

static const char *const views[] = {"tenant_storage", "crops_outdated", NULL};

static const char *const published[] = {"videos", "cropped_frames_versions", NULL};

/* Nobody but a tenant's own users; who asks is found out once a query. */
#define OF_TENANT "tenant_id = (SELECT captions_tenant())"

static const struct pj_reader readers[] = {
    {"tenants", "authenticated", "id = (SELECT captions_tenant()) AND placeholder IS NOT TRUE"},
    {"user_profiles", "authenticated",
     "id = (SELECT captions_user()) OR (SELECT captions_is_admin()) AND " OF_TENANT},
    {"videos", "authenticated", OF_TENANT " AND deleted_at IS NULL AND placeholder IS NOT TRUE"},
    {"cropped_frames_versions", "authenticated", OF_TENANT},
    {"video_objects", "authenticated", OF_TENANT},
    {"flow_runs", "authenticated", OF_TENANT},
    {"video_search_index", "authenticated",
     OF_TENANT " AND EXISTS (SELECT FROM videos AS v WHERE v.id = video_id)"},
    {"tenant_storage", "authenticated", NULL},
    {"crops_outdated", "authenticated", NULL},
};

static const struct pj_caller callers[] = {
    {"captions_user", "authenticated"},
    {"captions_tenant", "authenticated"},
    {"captions_is_admin", "authenticated"},
    {"search_videos", "authenticated"},
    {"search_videos", "service_role"},
    {"update_my_profile", "authenticated"},
    {"approve_layout", "authenticated"},
    {"archive_video", "authenticated"},
    {"restore_video", "authenticated"},
    {"delete_video", "authenticated"},
    {"acquire_video_lock", "authenticated"},
    {"renew_video_lock", "authenticated"},
    {"release_video_lock", "authenticated"},
    {"create_tenant", "service_role"},
    {"change_tenant", "service_role"},
    {"remove_tenant", "service_role"},
    {"register_user", "service_role"},
    {"assign_user", "service_role"},
    {"remove_user", "service_role"},
    {"register_video", "service_role"},
    {"purge_video", "service_role"},
    {"allocate_crop_version", "service_role"},
    {"get_next_cropped_frames_version", "service_role"},
    {"activate_cropped_frames_version", "service_role"},
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
    .views = views,
    .published = published,
    .readers = readers,
    .reader_count = sizeof readers / sizeof readers[0],
    .callers = callers,
    .caller_count = sizeof callers / sizeof callers[0],
    .outbox = "captions_private",
};
