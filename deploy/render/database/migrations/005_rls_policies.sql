-- SPDX-License-Identifier: Apache-2.0
-- Made by deploy/render/generate from deploy/sql, to be run as often as one likes.
-- The tables are in the schema public, or that of the setting projectionist.tables_schema.
BEGIN;

-- render/0006_rls_policies.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
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
$projectionist_file$;
    system TEXT := 'render';
    number INTEGER := 6;
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
        USING system, number, '0006_rls_policies.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- Made by `projectionist roles`. Whoever runs it owns the tables, and may create roles where
-- some are missing; before and after migrations, as often as one likes.
DO $roles$
DECLARE
    place CONSTANT TEXT := coalesce(nullif(current_setting('projectionist.tables_schema', true), ''), 'public');
    item RECORD;
    name TEXT;
    routine TEXT;
    mine TEXT[];
    taken TEXT[] := '{}';
    path TEXT := current_setting('search_path');
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);

    -- Nobody can log in as one of these before ALTER ROLE … LOGIN PASSWORD …, or before a role that can
    -- is made its member.

    -- Roles, what for, and of which group they are members.
    FOR item IN SELECT * FROM (VALUES
        ('projectionist_owner', 'migrations, rebuilds and the other commands', ''),
        ('projectionist_writer', 'whom policies let write; the consumers are its members', ''),
        ('projectionist_analyst', 'reads the tables, and how far consumers are', ''),
        ('projectionist_outbox_relay', 'outbox-relay: the outboxes alone', ''),
        ('projectionist_render_jobs', 'the consumer render-jobs: its own tables alone', 'writer'),
        ('projectionist_render_storage', 'the consumer render-storage: its own tables alone', 'writer'),
        ('projectionist_render_access', 'the consumer render-access: its own tables alone', 'writer'),
        ('projectionist_render_metrics', 'the consumer render-metrics: its own tables alone', 'writer')
    ) AS v (role, meaning, of) LOOP
        mine := mine || item.role;
        IF to_regrole(quote_ident(item.role)) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', item.role);
            EXECUTE format('COMMENT ON ROLE %I IS %L', item.role, item.meaning);
        END IF;
        IF item.of <> '' AND NOT pg_has_role(item.role, 'projectionist_' || item.of, 'USAGE') THEN
            EXECUTE format('GRANT %I TO %I', 'projectionist_' || item.of, item.role);
        END IF;
        IF NOT has_database_privilege(item.role, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), item.role);
        END IF;
    END LOOP;
    IF NOT (has_database_privilege('projectionist_owner', current_database(), 'CREATE')
            AND has_database_privilege('projectionist_owner', current_database(), 'TEMPORARY')) THEN
        EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO %I', current_database(),
            'projectionist_owner');
    END IF;

    -- Schemas.
    FOR item IN SELECT * FROM (VALUES
        ('projectionist_owner', 'projectionist', 'CREATE'),
        ('projectionist_owner', 'projectionist', 'USAGE'),
        ('projectionist_analyst', 'projectionist', 'USAGE'),
        ('service_role', 'projectionist', 'USAGE'),
        ('projectionist_owner', place, 'CREATE'),
        ('projectionist_owner', place, 'USAGE'),
        ('projectionist_analyst', place, 'USAGE'),
        ('service_role', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('anon', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('authenticated', place, 'USAGE'),
        ('projectionist_outbox_relay', 'render_private', 'USAGE'),
        ('projectionist_render_jobs', 'projectionist', 'USAGE'),
        ('projectionist_render_jobs', place, 'USAGE'),
        ('projectionist_render_storage', 'projectionist', 'USAGE'),
        ('projectionist_render_storage', place, 'USAGE'),
        ('projectionist_render_access', 'projectionist', 'USAGE'),
        ('projectionist_render_access', place, 'USAGE'),
        ('projectionist_render_metrics', 'projectionist', 'USAGE'),
        ('projectionist_render_metrics', place, 'USAGE')
    ) AS v (role, schema, power) LOOP
        IF to_regrole(quote_ident(item.role)) IS NOT NULL
            AND to_regnamespace(quote_ident(item.schema)) IS NOT NULL
            AND NOT has_schema_privilege(item.role, item.schema, item.power) THEN
            EXECUTE format('GRANT %s ON SCHEMA %I TO %I', item.power, item.schema, item.role);
        END IF;
    END LOOP;

    -- What anybody had is taken back; row security is switched on.
    FOR item IN SELECT * FROM (VALUES
        ('projectionist', 'schema_readers', 'secured'),
        ('projectionist', 'accepted_topics', 'secured'),
        ('projectionist', 'consumer_offsets', 'secured'),
        ('projectionist', 'dead_letters', 'secured'),
        ('projectionist', 'gaps', 'secured'),
        ('projectionist', 'rules', 'secured'),
        ('projectionist', 'migrations', ''),
        ('projectionist', 'trims', ''),
        ('projectionist', 'schemas', ''),
        ('projectionist', 'progress', ''),
        ('projectionist', 'stops', ''),
        ('projectionist', 'gaps_by_group', ''),
        ('projectionist', 'dead_letters_by_reason', ''),
        ('projectionist', 'last_rebuilds', ''),
        (place, 'job_summary', 'invoker'),
        (place, 'job_status_realtime', 'invoker'),
        (place, 'active_jobs', 'invoker'),
        (place, 'daily_job_stats', 'invoker'),
        (place, 'hourly_processing_load', 'invoker'),
        (place, 'element_type_stats', 'invoker'),
        (place, 'storage_performance', 'invoker'),
        (place, 'system_health', 'invoker'),
        (place, 'error_analysis', 'invoker'),
        (place, 'job_progress_subscription', 'invoker'),
        ('render_private', 'outbox', ''),
        ('render_private', 'outbox_failed', ''),
        ('projectionist', 'state_render_jobs_object', ''),
        ('projectionist', 'state_render_jobs_additions', ''),
        ('projectionist', 'state_render_jobs_element', ''),
        ('projectionist', 'state_render_jobs_job', ''),
        ('projectionist', 'state_render_jobs_job_wide', ''),
        (place, 'jobs', 'secured'),
        (place, 'elements', 'secured'),
        (place, 'element_refusals', 'secured'),
        (place, 'processing_timeline', 'secured'),
        (place, 'job_status_history', 'secured'),
        (place, 'storage_operations', 'secured'),
        (place, 'url_access_logs', 'secured'),
        (place, 'system_metrics', 'secured')
    ) AS v (schema, relation, kind) LOOP
        CONTINUE WHEN to_regclass(format('%I.%I', item.schema, item.relation)) IS NULL;
        FOREACH name IN ARRAY mine || ARRAY['anon', 'authenticated', 'service_role'] LOOP
            IF to_regrole(quote_ident(name)) <> (SELECT relowner FROM pg_class
                    WHERE oid = to_regclass(format('%I.%I', item.schema, item.relation))) THEN
                EXECUTE format('REVOKE ALL ON %I.%I FROM %I', item.schema, item.relation, name);
            END IF;
        END LOOP;
        EXECUTE format('REVOKE ALL ON %I.%I FROM PUBLIC', item.schema, item.relation);
        IF item.kind = 'secured' THEN
            EXECUTE format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY', item.schema,
                item.relation);
        ELSIF item.kind = 'invoker' AND current_setting('server_version_num')::int >= 150000 THEN
            EXECUTE format('ALTER VIEW %I.%I SET (security_invoker = true)', item.schema,
                item.relation);
        END IF;
    END LOOP;

    -- Who may do what.
    FOR item IN SELECT * FROM (VALUES
        ('projectionist_analyst', 'projectionist', 'progress', 'SELECT'),
        ('projectionist_analyst', 'projectionist', 'stops', 'SELECT'),
        ('projectionist_analyst', 'projectionist', 'gaps_by_group', 'SELECT'),
        ('projectionist_analyst', 'projectionist', 'dead_letters_by_reason', 'SELECT'),
        ('projectionist_analyst', 'projectionist', 'last_rebuilds', 'SELECT'),
        ('projectionist_analyst', place, 'job_summary', 'SELECT'),
        ('service_role', place, 'job_summary', 'SELECT'),
        ('projectionist_analyst', place, 'job_status_realtime', 'SELECT'),
        ('service_role', place, 'job_status_realtime', 'SELECT'),
        ('projectionist_analyst', place, 'active_jobs', 'SELECT'),
        ('service_role', place, 'active_jobs', 'SELECT'),
        ('projectionist_analyst', place, 'daily_job_stats', 'SELECT'),
        ('service_role', place, 'daily_job_stats', 'SELECT'),
        ('projectionist_analyst', place, 'hourly_processing_load', 'SELECT'),
        ('service_role', place, 'hourly_processing_load', 'SELECT'),
        ('projectionist_analyst', place, 'element_type_stats', 'SELECT'),
        ('service_role', place, 'element_type_stats', 'SELECT'),
        ('projectionist_analyst', place, 'storage_performance', 'SELECT'),
        ('service_role', place, 'storage_performance', 'SELECT'),
        ('projectionist_analyst', place, 'system_health', 'SELECT'),
        ('service_role', place, 'system_health', 'SELECT'),
        ('projectionist_analyst', place, 'error_analysis', 'SELECT'),
        ('service_role', place, 'error_analysis', 'SELECT'),
        ('projectionist_analyst', place, 'job_progress_subscription', 'SELECT'),
        ('service_role', place, 'job_progress_subscription', 'SELECT'),
        ('anon', place, 'jobs', 'SELECT'),
        ('authenticated', place, 'jobs', 'SELECT'),
        ('anon', place, 'elements', 'SELECT'),
        ('authenticated', place, 'elements', 'SELECT'),
        ('anon', place, 'element_refusals', 'SELECT'),
        ('authenticated', place, 'element_refusals', 'SELECT'),
        ('anon', place, 'processing_timeline', 'SELECT'),
        ('authenticated', place, 'processing_timeline', 'SELECT'),
        ('anon', place, 'job_status_history', 'SELECT'),
        ('authenticated', place, 'job_status_history', 'SELECT'),
        ('anon', place, 'storage_operations', 'SELECT'),
        ('authenticated', place, 'storage_operations', 'SELECT'),
        ('anon', place, 'url_access_logs', 'SELECT'),
        ('authenticated', place, 'url_access_logs', 'SELECT'),
        ('authenticated', place, 'system_metrics', 'SELECT'),
        ('anon', place, 'job_summary', 'SELECT'),
        ('authenticated', place, 'job_summary', 'SELECT'),
        ('anon', place, 'job_status_realtime', 'SELECT'),
        ('authenticated', place, 'job_status_realtime', 'SELECT'),
        ('anon', place, 'active_jobs', 'SELECT'),
        ('authenticated', place, 'active_jobs', 'SELECT'),
        ('anon', place, 'job_progress_subscription', 'SELECT'),
        ('authenticated', place, 'job_progress_subscription', 'SELECT'),
        ('authenticated', place, 'daily_job_stats', 'SELECT'),
        ('authenticated', place, 'hourly_processing_load', 'SELECT'),
        ('authenticated', place, 'element_type_stats', 'SELECT'),
        ('authenticated', place, 'storage_performance', 'SELECT'),
        ('authenticated', place, 'system_health', 'SELECT'),
        ('authenticated', place, 'error_analysis', 'SELECT'),
        ('projectionist_outbox_relay', 'render_private', 'outbox', 'SELECT, DELETE'),
        ('projectionist_outbox_relay', 'render_private', 'outbox_failed', 'SELECT, INSERT'),
        ('projectionist_render_jobs', 'projectionist', 'migrations', 'SELECT'),
        ('projectionist_render_jobs', 'projectionist', 'trims', 'SELECT'),
        ('projectionist_render_jobs', 'projectionist', 'schemas', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_jobs', 'projectionist', 'schema_readers', 'SELECT, INSERT'),
        ('projectionist_render_jobs', 'projectionist', 'accepted_topics', 'SELECT, INSERT'),
        ('projectionist_render_jobs', 'projectionist', 'consumer_offsets', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_jobs', 'projectionist', 'dead_letters', 'SELECT, INSERT, UPDATE (topic)'),
        ('projectionist_render_jobs', 'projectionist', 'gaps', 'INSERT'),
        ('projectionist_render_jobs', 'projectionist', 'rules', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_jobs', 'projectionist', 'state_render_jobs_object', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_jobs', 'projectionist', 'state_render_jobs_additions', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_jobs', 'projectionist', 'state_render_jobs_element', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_jobs', 'projectionist', 'state_render_jobs_job', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_jobs', 'projectionist', 'state_render_jobs_job_wide', 'SELECT, INSERT, UPDATE, DELETE'),
        ('projectionist_render_jobs', place, 'jobs', 'SELECT, INSERT, UPDATE, DELETE'),
        ('projectionist_render_jobs', place, 'storage_operations', 'SELECT ("job_id", "created_at")'),
        ('projectionist_render_jobs', place, 'url_access_logs', 'SELECT ("job_id", "accessed_at")'),
        ('projectionist_analyst', place, 'jobs', 'SELECT'),
        ('service_role', place, 'jobs', 'ALL'),
        ('projectionist_render_jobs', place, 'elements', 'SELECT, INSERT, UPDATE, DELETE'),
        ('projectionist_analyst', place, 'elements', 'SELECT'),
        ('service_role', place, 'elements', 'ALL'),
        ('projectionist_render_jobs', place, 'element_refusals', 'SELECT, INSERT, UPDATE, DELETE'),
        ('projectionist_analyst', place, 'element_refusals', 'SELECT'),
        ('service_role', place, 'element_refusals', 'ALL'),
        ('projectionist_render_jobs', place, 'processing_timeline', 'SELECT, INSERT, UPDATE, DELETE'),
        ('projectionist_analyst', place, 'processing_timeline', 'SELECT'),
        ('service_role', place, 'processing_timeline', 'ALL'),
        ('projectionist_render_jobs', place, 'job_status_history', 'SELECT, INSERT, UPDATE, DELETE'),
        ('projectionist_analyst', place, 'job_status_history', 'SELECT'),
        ('service_role', place, 'job_status_history', 'ALL'),
        ('projectionist_render_storage', 'projectionist', 'migrations', 'SELECT'),
        ('projectionist_render_storage', 'projectionist', 'trims', 'SELECT'),
        ('projectionist_render_storage', 'projectionist', 'schemas', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_storage', 'projectionist', 'schema_readers', 'SELECT, INSERT'),
        ('projectionist_render_storage', 'projectionist', 'accepted_topics', 'SELECT, INSERT'),
        ('projectionist_render_storage', 'projectionist', 'consumer_offsets', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_storage', 'projectionist', 'dead_letters', 'SELECT, INSERT, UPDATE (topic)'),
        ('projectionist_render_storage', 'projectionist', 'gaps', 'INSERT'),
        ('projectionist_render_storage', 'projectionist', 'rules', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_storage', place, 'storage_operations', 'SELECT, INSERT'),
        ('projectionist_render_storage', place, 'jobs', 'SELECT ("id", "created_at", "placeholder")'),
        ('projectionist_render_storage', place, 'jobs', 'INSERT ("id", "status", "response_type", "output_format", "width", "height", "created_at", "placeholder")'),
        ('projectionist_render_storage', place, 'jobs', 'UPDATE ("created_at")'),
        ('projectionist_render_storage', place, 'jobs', 'DELETE'),
        ('projectionist_render_storage', place, 'storage_operations', 'SELECT ("job_id", "created_at")'),
        ('projectionist_render_storage', place, 'url_access_logs', 'SELECT ("job_id", "accessed_at")'),
        ('projectionist_analyst', place, 'storage_operations', 'SELECT'),
        ('service_role', place, 'storage_operations', 'ALL'),
        ('projectionist_render_access', 'projectionist', 'migrations', 'SELECT'),
        ('projectionist_render_access', 'projectionist', 'trims', 'SELECT'),
        ('projectionist_render_access', 'projectionist', 'schemas', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_access', 'projectionist', 'schema_readers', 'SELECT, INSERT'),
        ('projectionist_render_access', 'projectionist', 'accepted_topics', 'SELECT, INSERT'),
        ('projectionist_render_access', 'projectionist', 'consumer_offsets', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_access', 'projectionist', 'dead_letters', 'SELECT, INSERT, UPDATE (topic)'),
        ('projectionist_render_access', 'projectionist', 'gaps', 'INSERT'),
        ('projectionist_render_access', 'projectionist', 'rules', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_access', place, 'url_access_logs', 'SELECT, INSERT'),
        ('projectionist_render_access', place, 'jobs', 'SELECT ("id", "created_at", "placeholder")'),
        ('projectionist_render_access', place, 'jobs', 'INSERT ("id", "status", "response_type", "output_format", "width", "height", "created_at", "placeholder")'),
        ('projectionist_render_access', place, 'jobs', 'UPDATE ("created_at")'),
        ('projectionist_render_access', place, 'jobs', 'DELETE'),
        ('projectionist_render_access', place, 'storage_operations', 'SELECT ("job_id", "created_at")'),
        ('projectionist_render_access', place, 'url_access_logs', 'SELECT ("job_id", "accessed_at")'),
        ('projectionist_analyst', place, 'url_access_logs', 'SELECT'),
        ('service_role', place, 'url_access_logs', 'ALL'),
        ('projectionist_render_metrics', 'projectionist', 'migrations', 'SELECT'),
        ('projectionist_render_metrics', 'projectionist', 'trims', 'SELECT'),
        ('projectionist_render_metrics', 'projectionist', 'schemas', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_metrics', 'projectionist', 'schema_readers', 'SELECT, INSERT'),
        ('projectionist_render_metrics', 'projectionist', 'accepted_topics', 'SELECT, INSERT'),
        ('projectionist_render_metrics', 'projectionist', 'consumer_offsets', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_metrics', 'projectionist', 'dead_letters', 'SELECT, INSERT, UPDATE (topic)'),
        ('projectionist_render_metrics', 'projectionist', 'gaps', 'INSERT'),
        ('projectionist_render_metrics', 'projectionist', 'rules', 'SELECT, INSERT, UPDATE'),
        ('projectionist_render_metrics', place, 'system_metrics', 'SELECT, INSERT'),
        ('projectionist_analyst', place, 'system_metrics', 'SELECT'),
        ('service_role', place, 'system_metrics', 'ALL')
    ) AS v (role, schema, relation, power) LOOP
        IF to_regrole(quote_ident(item.role)) IS NOT NULL
            AND to_regclass(format('%I.%I', item.schema, item.relation)) IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %I.%I TO %I', item.power, item.schema, item.relation,
                item.role);
        END IF;
    END LOOP;

    -- Functions of the schema: those that only compute, and those that consumers call.
    FOR item IN SELECT oid::regprocedure::text AS routine, provolatile = 'i' AS computes,
            proname IN ('set_offsets', 'order_trim', 'create_outbox', 'retry_outbox')
            AS ordered FROM pg_proc
            WHERE pronamespace = to_regnamespace('projectionist') LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', item.routine);
        IF NOT item.ordered THEN
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', item.routine, 'projectionist_writer');
        END IF;
        FOREACH name IN ARRAY ARRAY['projectionist_analyst', 'service_role'] LOOP
            IF item.computes AND to_regrole(name) IS NOT NULL THEN
                EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', item.routine, name);
            END IF;
        END LOOP;
    END LOOP;

    -- Who may call which function of the systems.
    FOR item IN SELECT * FROM (VALUES
        (place, 'get_current_user_role', 'anon'),
        (place, 'get_current_user_role', 'authenticated'),
        (place, 'get_current_user_role', 'service_role'),
        (place, 'get_current_user_id', 'anon'),
        (place, 'get_current_user_id', 'authenticated'),
        (place, 'get_current_user_id', 'service_role'),
        (place, 'is_admin_user', 'anon'),
        (place, 'is_admin_user', 'authenticated'),
        (place, 'is_admin_user', 'service_role'),
        (place, 'is_service_account', 'anon'),
        (place, 'is_service_account', 'authenticated'),
        (place, 'is_service_account', 'service_role'),
        (place, 'get_client_ip', 'anon'),
        (place, 'get_client_ip', 'authenticated'),
        (place, 'get_client_ip', 'service_role'),
        (place, 'can_subscribe_to_job', 'anon'),
        (place, 'can_subscribe_to_job', 'authenticated'),
        (place, 'can_subscribe_to_job', 'service_role'),
        (place, 'health_check', 'anon'),
        (place, 'health_check', 'authenticated'),
        (place, 'health_check', 'service_role'),
        (place, 'calculate_job_duration', 'anon'),
        (place, 'calculate_job_duration', 'authenticated'),
        (place, 'calculate_job_duration', 'service_role'),
        (place, 'calculate_job_progress', 'anon'),
        (place, 'calculate_job_progress', 'authenticated'),
        (place, 'calculate_job_progress', 'service_role'),
        (place, 'create_job', 'anon'),
        (place, 'create_job', 'authenticated'),
        (place, 'create_job', 'service_role'),
        (place, 'create_job_with_elements', 'anon'),
        (place, 'create_job_with_elements', 'authenticated'),
        (place, 'create_job_with_elements', 'service_role'),
        (place, 'add_job_element', 'anon'),
        (place, 'add_job_element', 'authenticated'),
        (place, 'add_job_element', 'service_role'),
        (place, 'update_job_status', 'anon'),
        (place, 'update_job_status', 'authenticated'),
        (place, 'update_job_status', 'service_role'),
        (place, 'get_job_statistics', 'authenticated'),
        (place, 'get_job_statistics', 'service_role'),
        (place, 'get_storage_statistics', 'authenticated'),
        (place, 'get_storage_statistics', 'service_role'),
        (place, 'update_job_progress', 'authenticated'),
        (place, 'update_job_progress', 'service_role'),
        (place, 'update_element_status', 'authenticated'),
        (place, 'update_element_status', 'service_role'),
        (place, 'start_processing_step', 'authenticated'),
        (place, 'start_processing_step', 'service_role'),
        (place, 'complete_processing_step', 'authenticated'),
        (place, 'complete_processing_step', 'service_role'),
        (place, 'log_storage_operation', 'authenticated'),
        (place, 'log_storage_operation', 'service_role'),
        (place, 'complete_job_with_s3_upload', 'authenticated'),
        (place, 'complete_job_with_s3_upload', 'service_role'),
        (place, 'log_url_access', 'authenticated'),
        (place, 'log_url_access', 'service_role'),
        (place, 'record_system_metric', 'authenticated'),
        (place, 'record_system_metric', 'service_role'),
        (place, 'log_security_event', 'authenticated'),
        (place, 'log_security_event', 'service_role'),
        (place, 'check_rate_limit', 'authenticated'),
        (place, 'check_rate_limit', 'service_role'),
        (place, 'cleanup_old_jobs', 'authenticated'),
        (place, 'cleanup_old_jobs', 'service_role'),
        (place, 'cleanup_old_metrics', 'authenticated'),
        (place, 'cleanup_old_metrics', 'service_role'),
        (place, 'enforce_data_retention', 'authenticated'),
        (place, 'enforce_data_retention', 'service_role')
    ) AS v (schema, function, role) LOOP
        FOR routine IN SELECT oid::regprocedure::text FROM pg_proc
                WHERE pronamespace = to_regnamespace(quote_ident(item.schema))
                AND proname = item.function LOOP
            IF routine <> ALL (taken) THEN
                taken := taken || routine;
                EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', routine);
                FOREACH name IN ARRAY mine || ARRAY['anon', 'authenticated', 'service_role'] LOOP
                    IF to_regrole(quote_ident(name)) <> (SELECT proowner FROM pg_proc
                            WHERE oid = routine::regprocedure) THEN
                        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM %I', routine, name);
                    END IF;
                END LOOP;
            END IF;
            IF to_regrole(quote_ident(item.role)) IS NOT NULL THEN
                EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', routine, item.role);
            END IF;
        END LOOP;
    END LOOP;

    -- Which rows each of them sees.
    FOR item IN SELECT * FROM (VALUES
        ('anon', place, 'jobs', 'projectionist_anon', 'FOR SELECT TO "anon" USING (placeholder IS NOT TRUE AND (owner_id = (SELECT get_current_user_id()) OR owner_id IS NULL AND client_ip = (SELECT get_client_ip()) OR (SELECT is_admin_user()) OR (SELECT is_service_account())))'),
        ('authenticated', place, 'jobs', 'projectionist_authenticated', 'FOR SELECT TO "authenticated" USING (placeholder IS NOT TRUE AND (owner_id = (SELECT get_current_user_id()) OR owner_id IS NULL AND client_ip = (SELECT get_client_ip()) OR (SELECT is_admin_user()) OR (SELECT is_service_account())))'),
        ('anon', place, 'elements', 'projectionist_anon', 'FOR SELECT TO "anon" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id))'),
        ('authenticated', place, 'elements', 'projectionist_authenticated', 'FOR SELECT TO "authenticated" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id))'),
        ('anon', place, 'element_refusals', 'projectionist_anon', 'FOR SELECT TO "anon" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id))'),
        ('authenticated', place, 'element_refusals', 'projectionist_authenticated', 'FOR SELECT TO "authenticated" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id))'),
        ('anon', place, 'processing_timeline', 'projectionist_anon', 'FOR SELECT TO "anon" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id))'),
        ('authenticated', place, 'processing_timeline', 'projectionist_authenticated', 'FOR SELECT TO "authenticated" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id))'),
        ('anon', place, 'job_status_history', 'projectionist_anon', 'FOR SELECT TO "anon" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id))'),
        ('authenticated', place, 'job_status_history', 'projectionist_authenticated', 'FOR SELECT TO "authenticated" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id))'),
        ('anon', place, 'storage_operations', 'projectionist_anon', 'FOR SELECT TO "anon" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id) OR job_id IS NULL AND ((SELECT is_admin_user()) OR (SELECT is_service_account())))'),
        ('authenticated', place, 'storage_operations', 'projectionist_authenticated', 'FOR SELECT TO "authenticated" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id) OR job_id IS NULL AND ((SELECT is_admin_user()) OR (SELECT is_service_account())))'),
        ('anon', place, 'url_access_logs', 'projectionist_anon', 'FOR SELECT TO "anon" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id) OR job_id IS NULL AND ((SELECT is_admin_user()) OR (SELECT is_service_account())))'),
        ('authenticated', place, 'url_access_logs', 'projectionist_authenticated', 'FOR SELECT TO "authenticated" USING (EXISTS (SELECT FROM jobs AS j WHERE j.id = job_id) OR job_id IS NULL AND ((SELECT is_admin_user()) OR (SELECT is_service_account())))'),
        ('authenticated', place, 'system_metrics', 'projectionist_authenticated', 'FOR SELECT TO "authenticated" USING ((SELECT is_admin_user()) OR (SELECT is_service_account()))'),
        ('projectionist_render_jobs', 'projectionist', 'schema_readers', 'projectionist_render_jobs', 'FOR ALL TO "projectionist_render_jobs" USING (consumer_group = ''render-jobs'') WITH CHECK (consumer_group = ''render-jobs'')'),
        ('projectionist_render_jobs', 'projectionist', 'accepted_topics', 'projectionist_render_jobs', 'FOR ALL TO "projectionist_render_jobs" USING (consumer_group = ''render-jobs'') WITH CHECK (consumer_group = ''render-jobs'')'),
        ('projectionist_render_jobs', 'projectionist', 'consumer_offsets', 'projectionist_render_jobs', 'FOR ALL TO "projectionist_render_jobs" USING (consumer_group = ''render-jobs'') WITH CHECK (consumer_group = ''render-jobs'')'),
        ('projectionist_render_jobs', 'projectionist', 'dead_letters', 'projectionist_render_jobs', 'FOR ALL TO "projectionist_render_jobs" USING (consumer_group = ''render-jobs'') WITH CHECK (consumer_group = ''render-jobs'')'),
        ('projectionist_render_jobs', 'projectionist', 'gaps', 'projectionist_render_jobs', 'FOR ALL TO "projectionist_render_jobs" USING (consumer_group = ''render-jobs'') WITH CHECK (consumer_group = ''render-jobs'')'),
        ('projectionist_render_jobs', 'projectionist', 'rules', 'projectionist_render_jobs', 'FOR ALL TO "projectionist_render_jobs" USING (consumer_group = ''render-jobs'') WITH CHECK (consumer_group = ''render-jobs'')'),
        ('projectionist_writer', place, 'jobs', 'projectionist_writer', 'FOR ALL TO "projectionist_writer" USING (true) WITH CHECK (true)'),
        ('projectionist_analyst', place, 'jobs', 'projectionist_analyst', 'FOR SELECT TO "projectionist_analyst" USING (true)'),
        ('service_role', place, 'jobs', 'projectionist_service_role', 'FOR ALL TO service_role USING (true) WITH CHECK (true)'),
        ('projectionist_writer', place, 'elements', 'projectionist_writer', 'FOR ALL TO "projectionist_writer" USING (true) WITH CHECK (true)'),
        ('projectionist_analyst', place, 'elements', 'projectionist_analyst', 'FOR SELECT TO "projectionist_analyst" USING (true)'),
        ('service_role', place, 'elements', 'projectionist_service_role', 'FOR ALL TO service_role USING (true) WITH CHECK (true)'),
        ('projectionist_writer', place, 'element_refusals', 'projectionist_writer', 'FOR ALL TO "projectionist_writer" USING (true) WITH CHECK (true)'),
        ('projectionist_analyst', place, 'element_refusals', 'projectionist_analyst', 'FOR SELECT TO "projectionist_analyst" USING (true)'),
        ('service_role', place, 'element_refusals', 'projectionist_service_role', 'FOR ALL TO service_role USING (true) WITH CHECK (true)'),
        ('projectionist_writer', place, 'processing_timeline', 'projectionist_writer', 'FOR ALL TO "projectionist_writer" USING (true) WITH CHECK (true)'),
        ('projectionist_analyst', place, 'processing_timeline', 'projectionist_analyst', 'FOR SELECT TO "projectionist_analyst" USING (true)'),
        ('service_role', place, 'processing_timeline', 'projectionist_service_role', 'FOR ALL TO service_role USING (true) WITH CHECK (true)'),
        ('projectionist_writer', place, 'job_status_history', 'projectionist_writer', 'FOR ALL TO "projectionist_writer" USING (true) WITH CHECK (true)'),
        ('projectionist_analyst', place, 'job_status_history', 'projectionist_analyst', 'FOR SELECT TO "projectionist_analyst" USING (true)'),
        ('service_role', place, 'job_status_history', 'projectionist_service_role', 'FOR ALL TO service_role USING (true) WITH CHECK (true)'),
        ('projectionist_render_storage', 'projectionist', 'schema_readers', 'projectionist_render_storage', 'FOR ALL TO "projectionist_render_storage" USING (consumer_group = ''render-storage'') WITH CHECK (consumer_group = ''render-storage'')'),
        ('projectionist_render_storage', 'projectionist', 'accepted_topics', 'projectionist_render_storage', 'FOR ALL TO "projectionist_render_storage" USING (consumer_group = ''render-storage'') WITH CHECK (consumer_group = ''render-storage'')'),
        ('projectionist_render_storage', 'projectionist', 'consumer_offsets', 'projectionist_render_storage', 'FOR ALL TO "projectionist_render_storage" USING (consumer_group = ''render-storage'') WITH CHECK (consumer_group = ''render-storage'')'),
        ('projectionist_render_storage', 'projectionist', 'dead_letters', 'projectionist_render_storage', 'FOR ALL TO "projectionist_render_storage" USING (consumer_group = ''render-storage'') WITH CHECK (consumer_group = ''render-storage'')'),
        ('projectionist_render_storage', 'projectionist', 'gaps', 'projectionist_render_storage', 'FOR ALL TO "projectionist_render_storage" USING (consumer_group = ''render-storage'') WITH CHECK (consumer_group = ''render-storage'')'),
        ('projectionist_render_storage', 'projectionist', 'rules', 'projectionist_render_storage', 'FOR ALL TO "projectionist_render_storage" USING (consumer_group = ''render-storage'') WITH CHECK (consumer_group = ''render-storage'')'),
        ('projectionist_render_storage', place, 'jobs', 'projectionist_render_storage_deletes', 'AS RESTRICTIVE FOR DELETE TO "projectionist_render_storage" USING ("placeholder")'),
        ('projectionist_writer', place, 'storage_operations', 'projectionist_writer', 'FOR ALL TO "projectionist_writer" USING (true) WITH CHECK (true)'),
        ('projectionist_analyst', place, 'storage_operations', 'projectionist_analyst', 'FOR SELECT TO "projectionist_analyst" USING (true)'),
        ('service_role', place, 'storage_operations', 'projectionist_service_role', 'FOR ALL TO service_role USING (true) WITH CHECK (true)'),
        ('projectionist_render_access', 'projectionist', 'schema_readers', 'projectionist_render_access', 'FOR ALL TO "projectionist_render_access" USING (consumer_group = ''render-access'') WITH CHECK (consumer_group = ''render-access'')'),
        ('projectionist_render_access', 'projectionist', 'accepted_topics', 'projectionist_render_access', 'FOR ALL TO "projectionist_render_access" USING (consumer_group = ''render-access'') WITH CHECK (consumer_group = ''render-access'')'),
        ('projectionist_render_access', 'projectionist', 'consumer_offsets', 'projectionist_render_access', 'FOR ALL TO "projectionist_render_access" USING (consumer_group = ''render-access'') WITH CHECK (consumer_group = ''render-access'')'),
        ('projectionist_render_access', 'projectionist', 'dead_letters', 'projectionist_render_access', 'FOR ALL TO "projectionist_render_access" USING (consumer_group = ''render-access'') WITH CHECK (consumer_group = ''render-access'')'),
        ('projectionist_render_access', 'projectionist', 'gaps', 'projectionist_render_access', 'FOR ALL TO "projectionist_render_access" USING (consumer_group = ''render-access'') WITH CHECK (consumer_group = ''render-access'')'),
        ('projectionist_render_access', 'projectionist', 'rules', 'projectionist_render_access', 'FOR ALL TO "projectionist_render_access" USING (consumer_group = ''render-access'') WITH CHECK (consumer_group = ''render-access'')'),
        ('projectionist_render_access', place, 'jobs', 'projectionist_render_access_deletes', 'AS RESTRICTIVE FOR DELETE TO "projectionist_render_access" USING ("placeholder")'),
        ('projectionist_writer', place, 'url_access_logs', 'projectionist_writer', 'FOR ALL TO "projectionist_writer" USING (true) WITH CHECK (true)'),
        ('projectionist_analyst', place, 'url_access_logs', 'projectionist_analyst', 'FOR SELECT TO "projectionist_analyst" USING (true)'),
        ('service_role', place, 'url_access_logs', 'projectionist_service_role', 'FOR ALL TO service_role USING (true) WITH CHECK (true)'),
        ('projectionist_render_metrics', 'projectionist', 'schema_readers', 'projectionist_render_metrics', 'FOR ALL TO "projectionist_render_metrics" USING (consumer_group = ''render-metrics'') WITH CHECK (consumer_group = ''render-metrics'')'),
        ('projectionist_render_metrics', 'projectionist', 'accepted_topics', 'projectionist_render_metrics', 'FOR ALL TO "projectionist_render_metrics" USING (consumer_group = ''render-metrics'') WITH CHECK (consumer_group = ''render-metrics'')'),
        ('projectionist_render_metrics', 'projectionist', 'consumer_offsets', 'projectionist_render_metrics', 'FOR ALL TO "projectionist_render_metrics" USING (consumer_group = ''render-metrics'') WITH CHECK (consumer_group = ''render-metrics'')'),
        ('projectionist_render_metrics', 'projectionist', 'dead_letters', 'projectionist_render_metrics', 'FOR ALL TO "projectionist_render_metrics" USING (consumer_group = ''render-metrics'') WITH CHECK (consumer_group = ''render-metrics'')'),
        ('projectionist_render_metrics', 'projectionist', 'gaps', 'projectionist_render_metrics', 'FOR ALL TO "projectionist_render_metrics" USING (consumer_group = ''render-metrics'') WITH CHECK (consumer_group = ''render-metrics'')'),
        ('projectionist_render_metrics', 'projectionist', 'rules', 'projectionist_render_metrics', 'FOR ALL TO "projectionist_render_metrics" USING (consumer_group = ''render-metrics'') WITH CHECK (consumer_group = ''render-metrics'')'),
        ('projectionist_writer', place, 'system_metrics', 'projectionist_writer', 'FOR ALL TO "projectionist_writer" USING (true) WITH CHECK (true)'),
        ('projectionist_analyst', place, 'system_metrics', 'projectionist_analyst', 'FOR SELECT TO "projectionist_analyst" USING (true)'),
        ('service_role', place, 'system_metrics', 'projectionist_service_role', 'FOR ALL TO service_role USING (true) WITH CHECK (true)')
    ) AS v (role, schema, relation, policy, rule) LOOP
        CONTINUE WHEN to_regrole(quote_ident(item.role)) IS NULL
            OR to_regclass(format('%I.%I', item.schema, item.relation)) IS NULL;
        EXECUTE format('DROP POLICY IF EXISTS %I ON %I.%I', item.policy, item.schema,
            item.relation);
        PERFORM set_config('search_path', concat_ws(', ',
            quote_ident(item.schema), nullif(path, '')), true);
        EXECUTE format('CREATE POLICY %I ON %I.%I %s', item.policy, item.schema,
            item.relation, item.rule);
        PERFORM set_config('search_path', path, true);
    END LOOP;

    -- For Supabase's Realtime, where it is.
    FOR item IN SELECT * FROM (VALUES
        (place, 'jobs'),
        (place, 'processing_timeline')
    ) AS v (schema, relation) LOOP
        IF EXISTS (SELECT FROM pg_publication WHERE pubname = 'supabase_realtime')
            AND to_regclass(format('%I.%I', item.schema, item.relation)) IS NOT NULL
            AND NOT EXISTS (SELECT FROM pg_publication_tables AS p WHERE
                p.pubname = 'supabase_realtime' AND p.schemaname = item.schema
                AND p.tablename = item.relation) THEN
            EXECUTE format('ALTER PUBLICATION supabase_realtime ADD TABLE %I.%I', item.schema,
                item.relation);
        END IF;
    END LOOP;
END;
$roles$;

COMMIT;
