-- SPDX-License-Identifier: Apache-2.0
-- Made by deploy/render/generate from deploy/sql, to be run as often as one likes.
-- The tables are in the schema public, or that of the setting projectionist.tables_schema.
BEGIN;

-- render/0004_triggers.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- Notifications. A trigger of these tables raises nothing, which would make its record a dead
-- letter, and writes nowhere else, which a rebuild would write again.

-- NOTIFY takes less than 8,000 bytes; a longer payload would undo the row.
CREATE FUNCTION render_private.cut(p_payload JSONB, p_texts TEXT[], p_needed TEXT[]) RETURNS JSONB
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_payload JSONB := p_payload;
    v_name TEXT;
BEGIN
    FOREACH v_name IN ARRAY p_texts LOOP
        IF length(p_payload ->> v_name) > 500 THEN
            v_payload := v_payload || jsonb_build_object(
                v_name, left(p_payload ->> v_name, 500), 'truncated', true);
        END IF;
    END LOOP;
    IF octet_length(v_payload::text) > 7900 THEN
        SELECT jsonb_object_agg(name, p_payload -> name) || '{"truncated": true}' INTO v_payload
        FROM unnest(p_needed) AS name;
    END IF;
    RETURN v_payload;
END;
$$;
COMMENT ON FUNCTION render_private.cut IS
    'A payload that NOTIFY takes: texts of at most 500 characters, and if it is too long all the '
    'same, what is needed alone';

-- Supabase's Realtime checks policies by the token alone, so that nobody without one is told of a
-- job whose owner is an address. Who knows its id may listen to the topic.
CREATE FUNCTION render_private.broadcast(p_job_id UUID, p_payload JSONB) RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM realtime.send(p_payload, 'job_status_change', 'job_status_' || p_job_id, false);
EXCEPTION WHEN undefined_function THEN
    NULL; -- an older Realtime
WHEN OTHERS THEN
    RAISE WARNING 'realtime.send: %', SQLERRM;
END;
$$;
COMMENT ON FUNCTION render_private.broadcast IS
    'Tells a topic of Realtime; what fails there is a warning here';

CREATE FUNCTION notify_job_status_change() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_old jobs;
    v_payload JSONB;
BEGIN
    IF NEW.placeholder IS TRUE
        OR coalesce(current_setting('projectionist.rebuild', true), '') = 'on' THEN
        RETURN NULL;
    ELSIF TG_OP = 'UPDATE' AND OLD.placeholder IS NOT TRUE THEN
        v_old := OLD;
    END IF;
    IF v_old.id IS NOT NULL
        AND (NEW.status, NEW.progress_percentage, NEW.current_step, NEW.result_url,
            NEW.error_message)
        IS NOT DISTINCT FROM (v_old.status, v_old.progress_percentage, v_old.current_step,
            v_old.result_url, v_old.error_message) THEN
        RETURN NULL;
    END IF;
    v_payload := render_private.cut(jsonb_build_object('job_id', NEW.id,
        'old_status', v_old.status, 'new_status', NEW.status,
        'progress_percentage', NEW.progress_percentage, 'current_step', NEW.current_step,
        'result_url', NEW.result_url, 'error_message', NEW.error_message,
        'updated_at', NEW.updated_at), ARRAY['result_url', 'error_message'],
        ARRAY['job_id', 'new_status']);
    PERFORM pg_notify('job_status_change', v_payload::text);
    IF NEW.owner_id IS NULL
        AND EXISTS (SELECT FROM pg_namespace WHERE nspname = 'realtime') THEN
        PERFORM render_private.broadcast(NEW.id, v_payload);
    END IF;
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION notify_job_status_change IS
    'Tells the channel job_status_change of a job of which something to see has changed; a rebuild '
    'tells nothing';
CREATE TRIGGER job_status_change AFTER INSERT OR UPDATE ON jobs
    FOR EACH ROW EXECUTE FUNCTION notify_job_status_change();

CREATE FUNCTION notify_processing_timeline_update() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF coalesce(current_setting('projectionist.rebuild', true), '') = 'on'
        OR (TG_OP = 'UPDATE' AND (NEW.started_at, NEW.completed_at, NEW.success,
            NEW.progress_percentage, NEW.error_message)
            IS NOT DISTINCT FROM (OLD.started_at, OLD.completed_at, OLD.success,
            OLD.progress_percentage, OLD.error_message)) THEN
        RETURN NULL;
    END IF;
    PERFORM pg_notify('processing_timeline_update', render_private.cut(jsonb_build_object(
        'timeline_id', NEW.id, 'job_id', NEW.job_id, 'step', NEW.step,
        'step_order', NEW.step_order, 'started_at', NEW.started_at,
        'completed_at', NEW.completed_at, 'success', NEW.success,
        'progress_percentage', NEW.progress_percentage, 'error_message', NEW.error_message),
        ARRAY['error_message'], ARRAY['timeline_id', 'job_id'])::text);
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION notify_processing_timeline_update IS
    'Tells the channel processing_timeline_update of a step of which something to see has changed; '
    'a rebuild tells nothing';
CREATE TRIGGER processing_timeline_update AFTER INSERT OR UPDATE ON processing_timeline
    FOR EACH ROW EXECUTE FUNCTION notify_processing_timeline_update();
$projectionist_file$;
    system TEXT := 'render';
    number INTEGER := 4;
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
        USING system, number, '0004_triggers.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

COMMIT;
