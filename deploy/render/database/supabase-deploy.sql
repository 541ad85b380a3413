-- SPDX-License-Identifier: Apache-2.0
-- Made by deploy/render/generate from deploy/sql, to be run as often as one likes.
-- The tables are in the schema public, or that of the setting projectionist.tables_schema.
-- What the migrations made: for Supabase's SQL editor, after 001 to 005.
DO $verify$
DECLARE
    place CONSTANT TEXT := coalesce(nullif(current_setting('projectionist.tables_schema', true), ''), 'public');
    problems TEXT;
BEGIN
    SELECT string_agg(what || ' ' || name || ' is missing', '; ') INTO problems FROM (
        SELECT 'the table' AS what, name FROM unnest(ARRAY[
        'jobs', 'elements', 'storage_operations', 'processing_timeline', 'url_access_logs',
        'system_metrics']) AS name
        WHERE to_regclass(format('%I.%I', place, name)) IS NULL
        UNION ALL
        SELECT 'the type', name FROM unnest(ARRAY[
        'job_status', 'element_type', 'fit_mode', 'processing_step', 'storage_operation',
        'response_type']) AS name
        WHERE to_regtype(format('%I.%I', place, name)) IS NULL
        UNION ALL
        SELECT 'the view', name FROM unnest(ARRAY[
        'job_summary', 'job_status_realtime', 'active_jobs', 'daily_job_stats',
        'hourly_processing_load', 'element_type_stats', 'storage_performance', 'system_health',
        'error_analysis', 'job_progress_subscription']) AS name
        WHERE to_regclass(format('%I.%I', place, name)) IS NULL
        UNION ALL
        SELECT 'the function', name FROM unnest(ARRAY[
        'get_current_user_role', 'get_current_user_id', 'is_admin_user', 'is_service_account',
        'get_client_ip', 'create_job', 'update_job_status', 'update_job_progress',
        'add_job_element', 'create_job_with_elements', 'update_element_status',
        'start_processing_step', 'complete_processing_step', 'log_storage_operation',
        'complete_job_with_s3_upload', 'log_url_access', 'record_system_metric',
        'log_security_event', 'check_rate_limit', 'can_subscribe_to_job',
        'calculate_job_duration', 'calculate_job_progress', 'get_job_statistics',
        'get_storage_statistics', 'health_check', 'cleanup_old_jobs', 'cleanup_old_metrics',
        'enforce_data_retention', 'notify_job_status_change', 'notify_processing_timeline_update']) AS name
        WHERE NOT EXISTS (SELECT FROM pg_proc AS p WHERE p.proname = name
                          AND p.pronamespace = to_regnamespace(quote_ident(place)))
        UNION ALL
        SELECT 'row level security of', name FROM unnest(ARRAY[
        'jobs', 'elements', 'storage_operations', 'processing_timeline', 'url_access_logs',
        'system_metrics']) AS name
        WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.relrowsecurity
                          AND c.oid = to_regclass(format('%I.%I', place, name)))) AS missing;
    IF problems IS NOT NULL THEN
        RAISE EXCEPTION '%', problems;
    END IF;
    RAISE NOTICE '6 tables with row level security, 6 types, 10 views and 30 functions are there';
END;
$verify$;

SELECT c.relname AS table_name, c.relrowsecurity AS row_level_security,
    (SELECT count(*) FROM pg_policies AS p
     WHERE p.schemaname = n.nspname AND p.tablename = c.relname) AS policies,
    (SELECT count(*) FROM pg_indexes AS i
     WHERE i.schemaname = n.nspname AND i.tablename = c.relname) AS indexes,
    EXISTS (SELECT FROM pg_publication_tables AS t WHERE t.pubname = 'supabase_realtime'
            AND t.schemaname = n.nspname AND t.tablename = c.relname) AS in_realtime
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = coalesce(nullif(current_setting('projectionist.tables_schema', true), ''), 'public')
    AND c.relname IN ('jobs', 'elements', 'storage_operations', 'processing_timeline', 'url_access_logs', 'system_metrics')
ORDER BY 1;

SELECT t.typname AS type, string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) AS words
FROM pg_type AS t JOIN pg_enum AS e ON e.enumtypid = t.oid
WHERE t.typnamespace = to_regnamespace(quote_ident(coalesce(nullif(current_setting('projectionist.tables_schema', true), ''), 'public')))
    AND t.typname IN ('job_status', 'element_type', 'fit_mode', 'processing_step', 'storage_operation', 'response_type')
GROUP BY 1 ORDER BY 1;
