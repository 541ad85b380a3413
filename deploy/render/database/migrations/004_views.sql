-- SPDX-License-Identifier: Apache-2.0
-- Made by deploy/render/generate from deploy/sql, to be run as often as one likes.
-- The tables are in the schema public, or that of the setting projectionist.tables_schema.
BEGIN;

-- render/0005_views.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- Ten views. Each shows its reader what the tables' policies let that reader see, no placeholders,
-- and counts a job once however much there is of it in other tables.

CREATE VIEW job_summary WITH (security_invoker = true) AS
SELECT j.id, j.status, j.response_type, j.output_format, j.width, j.height, j.estimated_duration,
    j.actual_duration, j.processing_started_at, j.processing_completed_at, j.s3_bucket, j.s3_key,
    j.s3_region, j.file_size, j.result_url, j.progress_percentage, j.current_step,
    j.error_message, j.error_code, j.retry_count, j.client_ip, j.user_agent, j.request_metadata,
    j.created_at, j.updated_at, j.owner_id,
    e.element_count, e.element_types, e.total_source_size, e.elements_downloaded,
    e.elements_processed, t.total_processing_steps, t.completed_processing_steps,
    t.current_step_started_at, t.last_step_completed_at, s.upload_operations,
    s.successful_uploads, s.last_upload_at,
    j.processing_completed_at - j.processing_started_at AS processing_duration,
    j.actual_duration - j.estimated_duration AS duration_variance_seconds,
    coalesce((j.response_type = 'immediate') <> (j.actual_duration <= 30), false)
        AS response_type_mismatch
FROM jobs AS j
CROSS JOIN LATERAL (
    SELECT count(*) AS element_count, array_agg(DISTINCT type) AS element_types,
        coalesce(sum(source_size), 0)::bigint AS total_source_size,
        count(*) FILTER (WHERE downloaded) AS elements_downloaded,
        count(*) FILTER (WHERE processed) AS elements_processed
    FROM elements WHERE job_id = j.id) AS e
CROSS JOIN LATERAL (
    SELECT count(*) AS total_processing_steps,
        count(*) FILTER (WHERE success) AS completed_processing_steps,
        max(started_at) FILTER (WHERE completed_at IS NULL) AS current_step_started_at,
        max(completed_at) AS last_step_completed_at
    FROM processing_timeline WHERE job_id = j.id) AS t
CROSS JOIN LATERAL (
    SELECT count(*) AS upload_operations, count(*) FILTER (WHERE success) AS successful_uploads,
        max(created_at) FILTER (WHERE success) AS last_upload_at
    FROM storage_operations WHERE job_id = j.id AND operation = 'upload') AS s
WHERE j.placeholder IS NOT TRUE;
COMMENT ON VIEW job_summary IS 'Each job with what its elements, steps and uploads come to';
COMMENT ON COLUMN job_summary.duration_variance_seconds IS
    'How much longer it took than was expected';
COMMENT ON COLUMN job_summary.response_type_mismatch IS
    'Whether it was answered at once and took more than 30 s, or the other way round';

CREATE VIEW job_status_realtime WITH (security_invoker = true) AS
SELECT j.id, j.status, j.response_type, j.progress_percentage, j.current_step,
    j.estimated_duration, j.processing_started_at, j.created_at, j.updated_at,
    t.step AS current_step_name, t.started_at AS current_step_started_at,
    t.progress_percentage AS current_step_progress,
    extract(epoch FROM now() - j.processing_started_at) AS processing_time_seconds,
    round(j.estimated_duration * (100 - j.progress_percentage)::numeric
        / nullif(j.progress_percentage, 0), 3) AS estimated_remaining_seconds
FROM jobs AS j
LEFT JOIN LATERAL (
    SELECT step, started_at, progress_percentage FROM processing_timeline
    WHERE job_id = j.id AND completed_at IS NULL
    ORDER BY started_at DESC, step_order DESC LIMIT 1) AS t ON true
WHERE j.status IN ('pending', 'processing') AND j.placeholder IS NOT TRUE;
COMMENT ON VIEW job_status_realtime IS 'Jobs that have not ended, with the step that is open';
COMMENT ON COLUMN job_status_realtime.estimated_remaining_seconds IS
    'The expected duration by the share that is left of what is done; NULL at 0 %';

CREATE VIEW active_jobs WITH (security_invoker = true) AS
SELECT r.*,
    CASE WHEN r.processing_time_seconds > 2 * r.estimated_duration THEN 'slow'
        WHEN r.current_step_started_at < now() - interval '5 minutes' THEN 'stalled'
        ELSE 'normal' END AS processing_health,
    CASE WHEN r.response_type = 'immediate' THEN 1
        WHEN r.status = 'processing' AND r.processing_time_seconds > 60 THEN 2
        ELSE 3 END AS priority_level
FROM job_status_realtime AS r;
COMMENT ON VIEW active_jobs IS 'Jobs that have not ended, and whether somebody should look at them';
COMMENT ON COLUMN active_jobs.processing_health IS
    'slow: it takes twice as long as expected; stalled: its step began five minutes ago; normal';
COMMENT ON COLUMN active_jobs.priority_level IS
    '1: somebody waits for the answer; 2: it has taken more than a minute; 3: all others';

CREATE VIEW daily_job_stats WITH (security_invoker = true) AS
SELECT date_trunc('day', created_at) AS day, count(*) AS total_jobs,
    count(*) FILTER (WHERE status = 'pending') AS pending_jobs,
    count(*) FILTER (WHERE status = 'processing') AS processing_jobs,
    count(*) FILTER (WHERE status = 'completed') AS completed_jobs,
    count(*) FILTER (WHERE status = 'failed') AS failed_jobs,
    count(*) FILTER (WHERE status = 'cancelled') AS cancelled_jobs,
    count(*) FILTER (WHERE status = 'timeout') AS timeout_jobs,
    count(*) FILTER (WHERE response_type = 'immediate') AS immediate_jobs,
    count(*) FILTER (WHERE response_type = 'async') AS async_jobs,
    avg(actual_duration) AS avg_duration,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY actual_duration) AS median_duration,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY actual_duration) AS p95_duration,
    sum(file_size)::bigint AS total_file_size, avg(file_size) AS avg_file_size,
    count(DISTINCT error_code) AS unique_error_codes,
    count(*) FILTER (WHERE actual_duration > estimated_duration) AS duration_overruns,
    count(*) FILTER (WHERE actual_duration < estimated_duration) AS duration_underruns
FROM jobs
WHERE created_at >= now() - interval '30 days' AND placeholder IS NOT TRUE
GROUP BY 1;
COMMENT ON VIEW daily_job_stats IS 'The jobs created on each of the last 30 days; durations in seconds';

CREATE VIEW hourly_processing_load WITH (security_invoker = true) AS
SELECT date_trunc('hour', created_at) AS hour, count(*) AS jobs_created,
    count(*) FILTER (WHERE processing_started_at IS NOT NULL) AS jobs_started,
    count(*) FILTER (WHERE status = 'completed') AS jobs_completed,
    count(*) FILTER (WHERE status IN ('failed', 'timeout')) AS jobs_failed,
    avg(actual_duration) AS avg_duration, max(actual_duration) AS max_duration,
    avg(extract(epoch FROM processing_started_at - created_at)) AS avg_wait_seconds
FROM jobs
WHERE created_at >= now() - interval '7 days' AND placeholder IS NOT TRUE
GROUP BY 1;
COMMENT ON VIEW hourly_processing_load IS
    'The jobs created in each hour of the last 7 days, and how long they waited and took';

CREATE VIEW element_type_stats WITH (security_invoker = true) AS
SELECT e.type, count(*) AS total_elements, count(DISTINCT e.job_id) AS jobs,
    count(*) FILTER (WHERE e.downloaded) AS downloaded_elements,
    count(*) FILTER (WHERE e.processed) AS processed_elements,
    count(*) FILTER (WHERE e.error_message IS NOT NULL) AS failed_elements,
    sum(e.source_size)::bigint AS total_source_size, avg(e.source_size) AS avg_source_size,
    avg(e.source_duration) AS avg_source_duration
FROM elements AS e
WHERE e.created_at >= now() - interval '30 days'
GROUP BY 1;
COMMENT ON VIEW element_type_stats IS 'The elements added in the last 30 days, by what they are';

CREATE VIEW storage_performance WITH (security_invoker = true) AS
SELECT s.operation, s.bucket, count(*) AS total_operations,
    count(*) FILTER (WHERE s.success) AS successful_operations,
    round(100.0 * count(*) FILTER (WHERE s.success) / count(*), 2) AS success_rate,
    sum(s.file_size) FILTER (WHERE s.success)::bigint AS total_bytes,
    avg(s.file_size) FILTER (WHERE s.success) AS avg_file_size,
    avg(s.duration_ms) AS avg_duration_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY s.duration_ms) AS p95_duration_ms
FROM storage_operations AS s
WHERE s.created_at >= now() - interval '7 days' AND NOT EXISTS (
    SELECT FROM jobs AS j WHERE j.id = s.job_id AND j.placeholder IS TRUE)
GROUP BY 1, 2;
COMMENT ON VIEW storage_performance IS
    'Calls of the object storage of the last 7 days by operation and bucket';

CREATE VIEW system_health WITH (security_invoker = true) AS
SELECT j.*, s.storage_operations_24h, s.failed_storage_operations_24h, s.avg_storage_duration_ms
FROM (
    SELECT count(*) FILTER (WHERE status = 'pending') AS pending_jobs,
        count(*) FILTER (WHERE status = 'processing') AS processing_jobs,
        count(*) FILTER (WHERE created_at >= now() - interval '24 hours') AS jobs_24h,
        count(*) FILTER (WHERE created_at >= now() - interval '24 hours'
            AND status = 'completed') AS completed_24h,
        count(*) FILTER (WHERE created_at >= now() - interval '24 hours'
            AND status IN ('failed', 'timeout')) AS failed_24h,
        count(*) FILTER (WHERE created_at >= now() - interval '24 hours'
            AND status = 'cancelled') AS cancelled_24h,
        round(100.0 * count(*) FILTER (WHERE created_at >= now() - interval '24 hours'
            AND status = 'completed') / nullif(count(*) FILTER (
            WHERE created_at >= now() - interval '24 hours'
            AND status IN ('completed', 'failed', 'timeout')), 0), 2) AS success_rate_24h,
        avg(actual_duration) FILTER (WHERE created_at >= now() - interval '24 hours'
            AND status = 'completed') AS avg_duration_24h,
        min(created_at) FILTER (WHERE status = 'pending') AS oldest_pending_at
    FROM jobs WHERE placeholder IS NOT TRUE
        AND (status IN ('pending', 'processing') OR created_at >= now() - interval '24 hours')
) AS j CROSS JOIN (
    SELECT count(*) AS storage_operations_24h,
        count(*) FILTER (WHERE NOT o.success) AS failed_storage_operations_24h,
        avg(o.duration_ms) AS avg_storage_duration_ms
    FROM storage_operations AS o
    WHERE o.created_at >= now() - interval '24 hours' AND NOT EXISTS (
        SELECT FROM jobs AS p WHERE p.id = o.job_id AND p.placeholder IS TRUE)
) AS s;
COMMENT ON VIEW system_health IS 'One row: what is open, and how the last 24 hours went';

CREATE VIEW error_analysis WITH (security_invoker = true) AS
SELECT j.error_code, j.error_message, count(*) AS error_count, min(j.created_at) AS first_at,
    max(j.created_at) AS last_at, avg(j.retry_count) AS avg_retries,
    count(*) FILTER (WHERE e.types && ARRAY['video']::element_type[]) AS jobs_with_video,
    count(*) FILTER (WHERE e.types && ARRAY['audio']::element_type[]) AS jobs_with_audio
FROM jobs AS j
CROSS JOIN LATERAL (SELECT array_agg(DISTINCT type) AS types FROM elements
                    WHERE job_id = j.id) AS e
WHERE j.created_at >= now() - interval '7 days' AND j.placeholder IS NOT TRUE
    AND (j.error_code IS NOT NULL OR j.error_message IS NOT NULL)
GROUP BY 1, 2;
COMMENT ON VIEW error_analysis IS
    'What jobs of the last 7 days failed of, by code and message; each job counts once';

CREATE VIEW job_progress_subscription WITH (security_invoker = true) AS
SELECT j.id, j.status, j.progress_percentage, j.current_step, j.result_url, j.error_message,
    j.error_code, j.estimated_duration, j.processing_started_at, j.processing_completed_at,
    j.updated_at, coalesce(t.details, '[]') AS step_details
FROM jobs AS j
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('id', id, 'step', step, 'step_order', step_order,
        'started_at', started_at, 'completed_at', completed_at, 'duration_ms', duration_ms,
        'success', success, 'progress_percentage', progress_percentage,
        'error_message', error_message) ORDER BY step_order, started_at, id) AS details
    FROM processing_timeline WHERE job_id = j.id) AS t
WHERE j.placeholder IS NOT TRUE;
COMMENT ON VIEW job_progress_subscription IS 'How far each job is, with its steps as JSON';
$projectionist_file$;
    system TEXT := 'render';
    number INTEGER := 5;
    schema TEXT := coalesce(nullif(current_setting('projectionist.tables_schema', true), ''), 'public');
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM projectionist.migrations WHERE system = $1 AND number = $2)'
            INTO had USING system, number;
    END IF;
    IF had THEN
        RETURN;
    END IF;
    IF to_regnamespace(quote_ident(schema)) IS NULL AND schema <> 'projectionist' THEN
        EXECUTE format('CREATE SCHEMA %I', schema);
    END IF;
    PERFORM set_config('search_path', concat_ws(', ', quote_ident(schema), nullif(path, ''), (
        SELECT string_agg(DISTINCT quote_ident(n.nspname), ', ') FROM pg_extension AS e
        JOIN pg_namespace AS n ON n.oid = e.extnamespace)), true);
    EXECUTE body;
    EXECUTE 'INSERT INTO projectionist.migrations (system, number, name, checksum, tables_schema) VALUES ($1, $2, $3, $4, $5)'
        USING system, number, '0005_views.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

COMMIT;
