-- SPDX-License-Identifier: Apache-2.0
-- Made by deploy/render/generate from deploy/sql, to be run as often as one likes.
-- The tables are in the schema public, or that of the setting projectionist.tables_schema.
-- By psql: psql -f database/migrate.sql, or with -v schema=NAME.
\set ON_ERROR_STOP on
\if :{?schema}
SELECT set_config('projectionist.tables_schema', :'schema', false) \gset ignored_
\endif
\ir migrations/001_initial_schema.sql
\ir migrations/002_functions.sql
\ir migrations/003_triggers.sql
\ir migrations/004_views.sql
\ir migrations/005_rls_policies.sql
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
