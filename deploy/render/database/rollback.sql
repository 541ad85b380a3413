-- SPDX-License-Identifier: Apache-2.0
-- Made by deploy/render/generate from deploy/sql, to be run as often as one likes.
-- The tables are in the schema public, or that of the setting projectionist.tables_schema.
-- Removes all that migrate.sql made, and what was there of render's consumers: their offsets too, so
-- that the next migrate fills the tables from the topics' beginning. Stop the consumers and
-- outbox-relay first. By psql:
--     psql -f database/rollback.sql
-- It refuses while events are in the outbox that are not in Kafka: let outbox-relay empty it, or lose
-- them by -v discard_outbox=1.
\set ON_ERROR_STOP on
\if :{?schema}
SELECT set_config('projectionist.tables_schema', :'schema', false) \gset ignored_
\endif
\if :{?discard_outbox}
\else
\set discard_outbox 0
\endif
BEGIN;
SELECT set_config('projectionist.discard_outbox', :'discard_outbox', true) \gset ignored_

DO $rollback$
DECLARE
    place TEXT := coalesce(nullif(current_setting('projectionist.tables_schema', true), ''), 'public');
    projections CONSTANT TEXT[] := ARRAY['render-jobs', 'render-storage', 'render-access',
        'render-metrics'];
    groups TEXT[];
    item RECORD;
    policy RECORD;
    waiting BIGINT := 0;
    alone BOOLEAN := true;
BEGIN
    PERFORM pg_advisory_xact_lock(8102082571640042606);
    IF to_regclass('projectionist.migrations') IS NOT NULL THEN
        SELECT coalesce(max(tables_schema), place) INTO place FROM projectionist.migrations
        WHERE system = 'render';
    END IF;

    -- What was told and nobody has read.
    IF to_regclass('render_private.outbox') IS NOT NULL THEN
        LOCK TABLE render_private.outbox, render_private.outbox_failed IN ACCESS EXCLUSIVE MODE;
        SELECT (SELECT count(*) FROM render_private.outbox)
            + (SELECT count(*) FROM render_private.outbox_failed) INTO waiting;
    END IF;
    IF waiting > 0 AND current_setting('projectionist.discard_outbox') <> '1' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('nothing was removed: %s events are in the outbox and not in Kafka',
                waiting),
            HINT = 'Let outbox-relay publish them (of outbox_failed, see its reason), or lose them: '
                '-v discard_outbox=1';
    END IF;

    -- Views, tables, functions, types: in this order nothing needs what is gone. What others made
    -- upon them stops it.
    FOR item IN SELECT format('DROP VIEW %s', to_regclass(format('%I.%I', place, name))) AS command
        FROM unnest(ARRAY[
        'job_progress_subscription', 'error_analysis', 'system_health', 'storage_performance',
        'element_type_stats', 'hourly_processing_load', 'daily_job_stats', 'active_jobs',
        'job_status_realtime', 'job_summary']) WITH ORDINALITY AS v (name, at)
        WHERE to_regclass(format('%I.%I', place, name)) IS NOT NULL ORDER BY at LOOP
        EXECUTE item.command;
    END LOOP;
    FOR item IN SELECT 'DROP TABLE ' || string_agg(to_regclass(format('%I.%I', place, name))::text,
            ', ') AS command
        FROM unnest(ARRAY[
        'jobs', 'job_status_history', 'elements', 'element_refusals', 'processing_timeline',
        'storage_operations', 'url_access_logs', 'system_metrics']) AS name
        WHERE to_regclass(format('%I.%I', place, name)) IS NOT NULL HAVING count(*) > 0 LOOP
        EXECUTE item.command;
    END LOOP;
    IF to_regnamespace('auth') IS NOT NULL THEN
        FOR item IN SELECT format('DROP FUNCTION %s', oid::regprocedure) AS command FROM pg_proc
            WHERE pronamespace = 'auth'::regnamespace
                AND obj_description(oid, 'pg_proc') = 'Made by Projectionist for render' LOOP
            EXECUTE item.command;
        END LOOP;
    END IF;
    DROP SCHEMA IF EXISTS render_private CASCADE;
    FOR item IN SELECT format('DROP FUNCTION %s', oid::regprocedure) AS command FROM pg_proc
        WHERE pronamespace = to_regnamespace(quote_ident(place))
            AND proname = ANY (ARRAY[
        'get_current_user_role', 'get_current_user_id', 'is_admin_user', 'is_service_account',
        'get_client_ip', 'create_job', 'update_job_status', 'update_job_progress',
        'add_job_element', 'create_job_with_elements', 'update_element_status',
        'start_processing_step', 'complete_processing_step', 'log_storage_operation',
        'complete_job_with_s3_upload', 'log_url_access', 'record_system_metric',
        'log_security_event', 'check_rate_limit', 'can_subscribe_to_job',
        'calculate_job_duration', 'calculate_job_progress', 'get_job_statistics',
        'get_storage_statistics', 'health_check', 'cleanup_old_jobs', 'cleanup_old_metrics',
        'enforce_data_retention', 'notify_job_status_change', 'notify_processing_timeline_update'])
            AND obj_description(oid, 'pg_proc') IS NOT NULL LOOP
        EXECUTE item.command;
    END LOOP;
    FOR item IN SELECT format('DROP TYPE %I.%I', place, name) AS command
        FROM unnest(ARRAY[
        'job_status', 'element_type', 'fit_mode', 'processing_step', 'storage_operation',
        'response_type']) AS name
        WHERE to_regtype(format('%I.%I', place, name)) IS NOT NULL LOOP
        EXECUTE item.command;
    END LOOP;

    -- What others may use stays where they do.
    FOR item IN SELECT format('DROP FUNCTION %s', oid::regprocedure) AS command FROM pg_proc AS p
        WHERE proname = 'update_updated_at_column'
            AND pronamespace = to_regnamespace(quote_ident(place))
            AND obj_description(oid, 'pg_proc') =
                'Sets updated_at to the time of the transaction'
            AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgfoid = p.oid) LOOP
        EXECUTE item.command;
    END LOOP;
    FOR item IN SELECT FROM pg_extension AS e WHERE e.extname = 'uuid-ossp'
        AND obj_description(e.oid, 'pg_extension') LIKE '%; made by Projectionist for render' LOOP
        BEGIN
            DROP EXTENSION "uuid-ossp";
        EXCEPTION WHEN dependent_objects_still_exist THEN
            RAISE NOTICE 'the extension uuid-ossp stays: others use it';
        END;
    END LOOP;

    -- The engine's, of these consumers; all of it, if there are no others.
    IF to_regclass('projectionist.consumer_offsets') IS NOT NULL THEN
        FOR item IN SELECT oid::regclass AS name FROM pg_class
            WHERE relnamespace = 'projectionist'::regnamespace AND relkind = 'r'
                AND starts_with(relname, 'state_render_') LOOP
            EXECUTE format('DROP TABLE %s', item.name);
        END LOOP;
        SELECT array_agg(DISTINCT o.consumer_group) INTO groups
        FROM projectionist.consumer_offsets AS o JOIN unnest(projections) AS p (name)
            ON o.projection = p.name
            OR (o.projection IS NULL AND right(o.consumer_group, length(p.name)) = p.name);
        FOR item IN SELECT a.attrelid::regclass AS name FROM pg_attribute AS a
            JOIN pg_class AS c ON c.oid = a.attrelid
            WHERE c.relnamespace = 'projectionist'::regnamespace AND c.relkind = 'r'
                AND a.attname = 'consumer_group' AND NOT a.attisdropped LOOP
            EXECUTE format('DELETE FROM %s WHERE consumer_group = ANY ($1)', item.name)
                USING groups || projections;
        END LOOP;
        DELETE FROM projectionist.trims
        WHERE table_schema = place AND table_name = ANY (ARRAY[
        'jobs', 'job_status_history', 'elements', 'element_refusals', 'processing_timeline',
        'storage_operations', 'url_access_logs', 'system_metrics']);
        DELETE FROM projectionist.migrations WHERE system = 'render';
        alone := NOT EXISTS (SELECT FROM projectionist.migrations WHERE system <> 'engine')
            AND NOT EXISTS (SELECT FROM projectionist.consumer_offsets);
    END IF;

    IF alone THEN
        DROP SCHEMA IF EXISTS projectionist CASCADE;
    END IF;

    -- Roles belong to the server: one that is still of use somewhere stays.
    FOR item IN SELECT rolname AS name FROM pg_roles
        WHERE rolname = ANY (ARRAY['projectionist_render_jobs', 'projectionist_render_storage',
                'projectionist_render_access', 'projectionist_render_metrics'])
            OR (alone AND rolname = ANY (ARRAY['projectionist_outbox_relay',
                'projectionist_analyst', 'projectionist_writer', 'projectionist_owner']))
        ORDER BY oid DESC LOOP
        BEGIN
            CONTINUE WHEN item.name IN (current_user, session_user);
            IF to_regnamespace('projectionist') IS NOT NULL THEN
                FOR policy IN SELECT schemaname, tablename, policyname FROM pg_policies
                    WHERE schemaname = 'projectionist' AND roles = ARRAY[item.name] LOOP
                    EXECUTE format('DROP POLICY %I ON %I.%I', policy.policyname,
                        policy.schemaname, policy.tablename);
                END LOOP;
                EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA projectionist FROM %I',
                    item.name);
                EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA projectionist FROM %I',
                    item.name);
                EXECUTE format('REVOKE ALL ON SCHEMA projectionist FROM %I', item.name);
            END IF;
            EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I', place, item.name);
            EXECUTE format('REVOKE ALL ON DATABASE %I FROM %I', current_database(), item.name);
            EXECUTE format('DROP ROLE %I', item.name);
        EXCEPTION WHEN dependent_objects_still_exist OR object_in_use OR insufficient_privilege THEN
            RAISE NOTICE 'the role % stays: %', item.name, SQLERRM;
        END;
    END LOOP;
    IF place <> 'public' AND to_regnamespace(quote_ident(place)) IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_depend
                        WHERE refclassid = 'pg_namespace'::regclass
                            AND refobjid = to_regnamespace(quote_ident(place))) THEN
        EXECUTE format('DROP SCHEMA %I', place);
    END IF;
END;
$rollback$;
COMMIT;
