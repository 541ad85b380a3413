/* SPDX-License-Identifier: Apache-2.0 */
/* render-storage: every call of the object storage, in storage_operations, as it was told. */
#include "projections/render/render.h"
#include "projections/render/render_projections.h"
#include "schemas.h"

#define OPERATIONS(COLUMN)                                                                         \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(job_id, PJ_UUID)                                                                        \
    COLUMN(operation, PJ_TEXT, .sql_type = "storage_operation")                                    \
    COLUMN(bucket, PJ_TEXT)                                                                        \
    COLUMN(key, PJ_TEXT)                                                                           \
    COLUMN(region, PJ_TEXT)                                                                        \
    COLUMN(success, PJ_BOOL)                                                                       \
    COLUMN(file_size, PJ_BIGINT)                                                                   \
    COLUMN(duration_ms, PJ_INT)                                                                    \
    COLUMN(error_message, PJ_TEXT)                                                                 \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(render_storage_operations, OPERATIONS);

const struct pj_table render_storage_operations_table = {
    .name = "storage_operations",
    .kind = PJ_APPEND_TABLE,
    PJ_COLUMNS_OF(render_storage_operations),
    .parents =
        (const struct pj_parent[]){{.table = &render_jobs_table,
                                    .columns = {PJ_INDEX(render_storage_operations, job_id)},
                                    .seen_at = PJ_INDEX(render_storage_operations, created_at)},
                                   {0}},
};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct render_storage_event *e = PJ_EVENT(event, render_storage_event);
    if (render_check_storage(e, error) != 0)
        return -1;
    *PJ_APPEND(observer, render_storage_operations) = (struct render_storage_operations){
        .id = e->event_id,
        .job_id = e->job_id,
        .operation = e->operation,
        .bucket = e->bucket,
        .key = e->key,
        .region = e->region,
        .success = e->success,
        .file_size = e->file_size,
        .duration_ms = e->duration_ms,
        .error_message = e->error_message,
        .metadata = e->metadata,
        .created_at = e->emitted_at,
    };
    return 0;
}

const struct pj_projection pj_render_storage = {
    .name = "render-storage",
    .summary = "keep storage_operations: every call of the object storage",
    .version = 1,
    PJ_SOURCES(
        PJ_SOURCE("render.storage", pj_schema_render_storage, render_storage_event, observe)),
    PJ_TABLES(&render_storage_operations_table),
};
