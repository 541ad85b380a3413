/* SPDX-License-Identifier: Apache-2.0 */
/* render-access: who fetched which result, in url_access_logs, as it was told. */
#include "projections/render/render.h"
#include "projections/render/render_projections.h"
#include "schemas.h"

#define ACCESSES(COLUMN)                                                                           \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(job_id, PJ_UUID)                                                                        \
    COLUMN(url, PJ_TEXT)                                                                           \
    COLUMN(access_type, PJ_TEXT)                                                                   \
    COLUMN(client_ip, PJ_TEXT, .sql_type = "inet")                                                 \
    COLUMN(user_agent, PJ_TEXT)                                                                    \
    COLUMN(referer, PJ_TEXT)                                                                       \
    COLUMN(response_code, PJ_INT)                                                                  \
    COLUMN(bytes_served, PJ_BIGINT)                                                                \
    COLUMN(response_time_ms, PJ_INT)                                                               \
    COLUMN(country, PJ_TEXT)                                                                       \
    COLUMN(region, PJ_TEXT)                                                                        \
    COLUMN(city, PJ_TEXT)                                                                          \
    COLUMN(accessed_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(render_access_logs, ACCESSES);

const struct pj_table render_access_logs_table = {
    .name = "url_access_logs",
    .kind = PJ_APPEND_TABLE,
    PJ_COLUMNS_OF(render_access_logs),
    .parents = (const struct pj_parent[]){{.table = &render_jobs_table,
                                           .columns = {PJ_INDEX(render_access_logs, job_id)},
                                           .seen_at = PJ_INDEX(render_access_logs, accessed_at)},
                                          {0}},
    .trimmed_by = PJ_INDEX(render_access_logs, accessed_at),
};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct render_access_event *e = PJ_EVENT(event, render_access_event);
    if (render_check_access(e, error) != 0)
        return -1;
    *PJ_APPEND(observer, render_access_logs) = (struct render_access_logs){
        .id = e->event_id,
        .job_id = e->job_id,
        .url = e->url,
        .access_type = e->access_type,
        .client_ip = e->client_ip,
        .user_agent = e->user_agent,
        .referer = e->referer,
        .response_code = e->response_code,
        .bytes_served = e->bytes_served,
        .response_time_ms = e->response_time_ms,
        .country = e->country,
        .region = e->region,
        .city = e->city,
        .accessed_at = e->emitted_at,
    };
    return 0;
}

const struct pj_projection pj_render_access = {
    .name = "render-access",
    .summary = "keep url_access_logs: who fetched which result",
    .version = 1,
    PJ_SOURCES(PJ_SOURCE("render.access", pj_schema_render_access, render_access_event, observe)),
    PJ_TABLES(&render_access_logs_table),
};
