-- SPDX-License-Identifier: Apache-2.0
--
-- Nobody but their owner reads or writes the tables, reads the views or calls the functions before
-- `projectionist roles` lets them; it has the policies. Each function finds things in these tables'
-- schema, whatever its caller has in the search_path.

DO $$
DECLARE
    item RECORD;
    name TEXT;
    everybody TEXT;
BEGIN
    SELECT string_agg(quote_ident(rolname), ', ') INTO everybody FROM pg_roles
    WHERE rolname IN ('anon', 'authenticated');
    everybody := concat_ws(', ', 'PUBLIC', everybody);
    FOR item IN SELECT p.oid::regprocedure AS routine FROM pg_proc AS p
        JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE (n.nspname = 'render_private' AND p.proname <> 'emit')
            OR (n.nspname = current_schema() AND p.proname IN (
            'get_current_user_role', 'get_current_user_id', 'is_admin_user', 'is_service_account',
            'get_client_ip', 'can_subscribe_to_job', 'create_job', 'create_job_with_elements',
            'update_job_status', 'update_job_progress', 'add_job_element',
            'update_element_status', 'start_processing_step', 'complete_processing_step',
            'log_storage_operation', 'complete_job_with_s3_upload', 'log_url_access',
            'record_system_metric', 'log_security_event', 'check_rate_limit',
            'calculate_job_duration', 'calculate_job_progress', 'get_job_statistics',
            'get_storage_statistics', 'health_check', 'cleanup_old_jobs', 'cleanup_old_metrics',
            'enforce_data_retention', 'notify_job_status_change',
            'notify_processing_timeline_update')) LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', item.routine,
            current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', item.routine, everybody);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['job_summary', 'job_status_realtime', 'active_jobs',
        'daily_job_stats', 'hourly_processing_load', 'element_type_stats', 'storage_performance',
        'system_health', 'error_analysis', 'job_progress_subscription'] LOOP
        EXECUTE format('REVOKE ALL ON %I FROM %s', name, everybody);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['jobs', 'elements', 'processing_timeline', 'job_status_history',
        'element_refusals', 'storage_operations', 'url_access_logs', 'system_metrics'] LOOP
        EXECUTE format('REVOKE ALL ON %I FROM %s', name, everybody);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    END LOOP;
END;
$$;

-- The names in the schema auth, where this role may make them; on hosted Supabase nobody may.
DO $make$
DECLARE
    item RECORD;
BEGIN
    IF to_regnamespace('auth') IS NULL OR NOT has_schema_privilege('auth', 'CREATE') THEN
        RAISE NOTICE 'no functions are made in the schema auth, which is not there or not for this '
            'role: get_current_user_role() and so on stand for auth.user_role() and so on';
        RETURN;
    END IF;
    FOR item IN SELECT * FROM (VALUES
        ('user_role', '', 'TEXT', 'get_current_user_role()'),
        ('user_id', '', 'UUID', 'get_current_user_id()'),
        ('is_admin', '', 'BOOLEAN', 'is_admin_user()'),
        ('is_service', '', 'BOOLEAN', 'is_service_account()'),
        ('client_ip', '', 'INET', 'get_client_ip()'),
        ('can_subscribe_to_job', 'job_uuid UUID', 'BOOLEAN', 'can_subscribe_to_job(job_uuid)'))
        AS v (name, arguments, result, call) LOOP
        IF EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'auth'::regnamespace
                   AND proname = item.name) THEN
            RAISE NOTICE 'auth.%() is there already, and stays as it is', item.name;
            CONTINUE;
        END IF;
        EXECUTE format('CREATE FUNCTION auth.%I(%s) RETURNS %s LANGUAGE sql STABLE '
            'SET search_path = '''' AS $$ SELECT %I.%s $$', item.name, item.arguments, item.result,
            current_schema(), item.call);
        EXECUTE format('COMMENT ON FUNCTION auth.%I IS %L', item.name,
            'Made by Projectionist for render');
    END LOOP;
END;
$make$;
