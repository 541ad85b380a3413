-- SPDX-License-Identifier: Apache-2.0
-- Made by deploy/render/generate from deploy/sql, to be run as often as one likes.
-- The tables are in the schema public, or that of the setting projectionist.tables_schema.
BEGIN;

-- render/0002_commands.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- What is ordered of the platform, and told of its work. A function decides by the command side,
-- which is the schema render_private, and writes an event into its outbox, in the transaction of
-- its caller; the tables follow when the projections have read it. Nobody but the projections
-- writes these. What must be right at once is answered by guards: their rows are locked until the
-- commit.

CREATE SCHEMA IF NOT EXISTS render_private;
REVOKE ALL ON SCHEMA render_private FROM PUBLIC;
COMMENT ON SCHEMA render_private IS
    'The command side of the rendering platform: its outbox, its guards, its counters. Nobody but '
    'its functions and outbox-relay reaches it';

SELECT projectionist.create_outbox('render_private');

CREATE TABLE render_private.job_guards (
    job_id UUID PRIMARY KEY,
    status job_status NOT NULL DEFAULT 'pending',
    attempt INTEGER NOT NULL DEFAULT 1,
    orders INTEGER[] NOT NULL DEFAULT '{}',
    owner_id UUID,
    client_ip INET,
    created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    last_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    deleted_at TIMESTAMPTZ
);
CREATE INDEX idx_job_guards_created_at ON render_private.job_guards (created_at DESC);
CREATE INDEX idx_job_guards_deleted_at ON render_private.job_guards (deleted_at)
    WHERE deleted_at IS NOT NULL;
COMMENT ON TABLE render_private.job_guards IS
    'What was last ordered of a job. Of one that came by another way there is none before something '
    'is ordered of it, and one that says less than the table of jobs follows that';
COMMENT ON COLUMN render_private.job_guards.orders IS 'The places of its elements';
COMMENT ON COLUMN render_private.job_guards.last_at IS
    'The emitted_at of its last event: those of one job rise';
COMMENT ON COLUMN render_private.job_guards.deleted_at IS
    'When its removal was told; nothing more is ordered of it then';

CREATE TABLE render_private.element_guards (
    element_id UUID PRIMARY KEY,
    job_id UUID NOT NULL
);
CREATE INDEX idx_element_guards_job_id ON render_private.element_guards (job_id);
COMMENT ON TABLE render_private.element_guards IS 'Of which job an element is';

CREATE TABLE render_private.step_guards (
    id UUID PRIMARY KEY,
    job_id UUID NOT NULL,
    step processing_step NOT NULL,
    step_order INTEGER NOT NULL,
    attempt INTEGER NOT NULL
);
CREATE INDEX idx_step_guards_job_id ON render_private.step_guards (job_id);
COMMENT ON TABLE render_private.step_guards IS
    'What a step''s id means, and the attempt in which it was started last';

CREATE TABLE render_private.rate_hits (
    identifier TEXT PRIMARY KEY,
    hits TIMESTAMPTZ[] NOT NULL DEFAULT '{}',
    kept INTERVAL NOT NULL DEFAULT '0'
);
COMMENT ON TABLE render_private.rate_hits IS 'When something was let through by check_rate_limit';
COMMENT ON COLUMN render_private.rate_hits.kept IS
    'The longest time that was asked for: a shorter one does not make the longer one forget';

CREATE TABLE render_private.trusted_proxies (
    net CIDR PRIMARY KEY
);
COMMENT ON TABLE render_private.trusted_proxies IS
    'Proxies whose word about a client''s address is believed; without any, no client has one';

-- --- who asks ---------------------------------------------------------------------------------

-- Never by user_metadata, which users write themselves. Claims that are broken are nobody's.
CREATE FUNCTION get_current_user_role() RETURNS TEXT
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_claims JSONB;
    v_role TEXT;
BEGIN
    v_claims := nullif(current_setting('request.jwt.claims', true), '');
    v_role := v_claims #>> '{app_metadata,role}';
    IF v_role IN ('admin', 'service_account') THEN
        RETURN v_role;
    END IF;
    v_role := nullif(v_claims ->> 'role', '');
    RETURN CASE v_role WHEN 'service_role' THEN 'service_account' ELSE coalesce(v_role, 'anon') END;
EXCEPTION WHEN data_exception THEN
    RETURN 'anon';
END;
$$;
COMMENT ON FUNCTION get_current_user_role IS
    'What the token of the request says who asks: anon, authenticated, service_account, admin';

CREATE FUNCTION get_current_user_id() RETURNS UUID
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(
        nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', ''),
        nullif(current_setting('request.jwt.claim.sub', true), ''))::uuid;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION get_current_user_id IS 'The user whose token the request has; NULL: none';

CREATE FUNCTION is_admin_user() RETURNS BOOLEAN
LANGUAGE sql STABLE AS $$ SELECT get_current_user_role() = 'admin' $$;
COMMENT ON FUNCTION is_admin_user IS 'Whether the token of the request is an admin''s';

CREATE FUNCTION is_service_account() RETURNS BOOLEAN
LANGUAGE sql STABLE AS $$ SELECT get_current_user_role() = 'service_account' $$;
COMMENT ON FUNCTION is_service_account IS 'Whether the token of the request is a service''s';

-- An address may come with a port, and one of IPv6 in brackets.
CREATE FUNCTION render_private.address(p_text TEXT) RETURNS INET
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_text TEXT := btrim(p_text, E' \t"');
BEGIN
    v_text := coalesce(substring(v_text FROM '^\[([0-9A-Fa-f:.]+)\](?::\d+)?$'),
        substring(v_text FROM '^(\d+\.\d+\.\d+\.\d+):\d+$'), v_text);
    RETURN CASE WHEN v_text LIKE '%/%' THEN NULL ELSE v_text::inet END;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION render_private.address IS 'The address that a proxy names; NULL: it is none';

-- What stands to the left of the first address that no trusted proxy has, the client itself wrote.
CREATE FUNCTION get_client_ip() RETURNS INET
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    v_said TEXT[];
    v_address INET;
BEGIN
    IF NOT EXISTS (SELECT FROM render_private.trusted_proxies) THEN
        RETURN NULL;
    END IF;
    v_said := string_to_array(nullif(current_setting('request.headers', true), '')::jsonb
        ->> 'x-forwarded-for', ',');
    FOR i IN REVERSE coalesce(cardinality(v_said), 0) .. 1 LOOP
        v_address := render_private.address(v_said[i]);
        IF v_address IS NULL OR NOT EXISTS (
            SELECT FROM render_private.trusted_proxies WHERE v_address <<= net) THEN
            RETURN v_address;
        END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION get_client_ip IS
    'The address that the request came from, as far as trusted proxies say; NULL: not known';

-- The owner of the tables asks in a session of its own, where no token speaks for it. Within a
-- function of its owner, the setting is still the role of the caller.
CREATE FUNCTION render_private.asker() RETURNS TEXT
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_role NAME := coalesce(nullif(current_setting('role'), 'none'), session_user);
    v_said TEXT := get_current_user_role();
BEGIN
    IF v_said = 'service_account' OR v_role = 'service_role' THEN
        RETURN 'service';
    ELSIF nullif(current_setting('request.jwt.claims', true), '') IS NULL AND pg_has_role(v_role,
        (SELECT relowner FROM pg_class WHERE oid = 'render_private.outbox'::regclass), 'USAGE') THEN
        RETURN 'service';
    END IF;
    RETURN CASE v_said WHEN 'admin' THEN 'admin' ELSE 'user' END;
END;
$$;
COMMENT ON FUNCTION render_private.asker IS 'Who asks: service, admin or user';

CREATE FUNCTION render_private.only(p_function TEXT, VARIADIC p_who TEXT[]) RETURNS VOID
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF render_private.asker() <> ALL (p_who) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('%s may be called by %s alone', p_function,
                array_to_string(p_who, ' and ')),
            HINT = 'The claims of the token say who asks: app_metadata.role, else role';
    END IF;
END;
$$;
COMMENT ON FUNCTION render_private.only IS 'Refuses all callers but these';

-- --- checks: what would become a dead letter is refused to who says it ------------------------

CREATE FUNCTION render_private.refuse_unless(p_holds BOOLEAN, p_sentence TEXT) RETURNS VOID
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF p_holds IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = p_sentence;
    END IF;
END;
$$;
COMMENT ON FUNCTION render_private.refuse_unless IS
    'An exception for what a caller said, unless this is true; NULL is not';

CREATE FUNCTION render_private.check_text(p_name TEXT, p_text TEXT, p_most INTEGER) RETURNS VOID
LANGUAGE sql IMMUTABLE AS $$
    SELECT render_private.refuse_unless(coalesce(length(p_text), 0) <= p_most, format(
        '%s has %s characters, at most %s are allowed', p_name, length(p_text), p_most));
$$;
COMMENT ON FUNCTION render_private.check_text IS 'Refuses a text that is too long';

CREATE FUNCTION render_private.check_count(p_name TEXT, p_number NUMERIC) RETURNS VOID
LANGUAGE sql IMMUTABLE AS $$
    SELECT render_private.refuse_unless(coalesce(p_number, 0) >= 0, format(
        '%s is %s, and must not be negative', p_name, p_number));
$$;
COMMENT ON FUNCTION render_private.check_count IS 'Refuses a negative number';

-- Rounded as the column would, so that the record says what the row will.
CREATE FUNCTION render_private.decimal(p_name TEXT, p_number NUMERIC, p_digits INTEGER,
    p_scale INTEGER) RETURNS NUMERIC
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF p_number IS NOT NULL THEN
        PERFORM render_private.refuse_unless(
            p_number::text NOT IN ('NaN', 'Infinity', '-Infinity')
                AND abs(round(p_number, p_scale)) < 10::numeric ^ (p_digits - p_scale),
            format('%s is %s; at most %s digits before the point are allowed', p_name, p_number,
                p_digits - p_scale));
    END IF;
    RETURN round(p_number, p_scale);
END;
$$;
COMMENT ON FUNCTION render_private.decimal IS 'A number as numeric (digits, scale) has it';

CREATE FUNCTION render_private.check_share(p_name TEXT, p_text TEXT) RETURNS VOID
LANGUAGE sql IMMUTABLE AS $$
    SELECT render_private.refuse_unless(p_text ~ '^\d+(\.\d+)?%$' AND length(p_text) <= 10, format(
        '%s is %s; it must be a percentage of at most 10 characters, such as 12.5%%', p_name,
        coalesce(quote_literal(p_text), 'NULL')));
$$;
COMMENT ON FUNCTION render_private.check_share IS 'Refuses what is no percentage';

-- --- telling ----------------------------------------------------------------------------------

CREATE FUNCTION render_private.micros(p_time TIMESTAMPTZ) RETURNS BIGINT
LANGUAGE sql IMMUTABLE AS $$
    SELECT (extract(epoch FROM p_time) * 1000000)::bigint;
$$;
COMMENT ON FUNCTION render_private.micros IS 'A time as events have it';

-- Records have at most 4 MiB. Of an event without a key its own id is the key.
CREATE FUNCTION render_private.tell(p_topic TEXT, p_key TEXT, p_event JSONB,
    p_at TIMESTAMPTZ DEFAULT clock_timestamp()) RETURNS UUID
LANGUAGE plpgsql AS $$
DECLARE
    v_bytes INTEGER := octet_length(p_event::text);
    v_id UUID := gen_random_uuid();
BEGIN
    PERFORM render_private.refuse_unless(v_bytes <= 3500000, format(
        'the event would have %s bytes, at most 3500000 are allowed', v_bytes));
    RETURN render_private.emit(p_topic, coalesce(p_key, v_id::text), p_event, p_at, v_id);
END;
$$;
COMMENT ON FUNCTION render_private.tell IS 'Writes an event; returns its id';

CREATE FUNCTION render_private.tick(p_job_id UUID) RETURNS TIMESTAMPTZ
LANGUAGE plpgsql AS $$
DECLARE
    v_at TIMESTAMPTZ;
BEGIN
    UPDATE render_private.job_guards
    SET last_at = greatest(clock_timestamp(), last_at + interval '1 microsecond')
    WHERE job_id = p_job_id RETURNING last_at INTO v_at;
    RETURN coalesce(v_at, clock_timestamp());
END;
$$;
COMMENT ON FUNCTION render_private.tick IS
    'The time of the next event of a job, later than all before; locks its guard, if it has one';

CREATE FUNCTION render_private.tell_job(p_job_id UUID, p_attempt INTEGER, p_body JSONB)
    RETURNS UUID
LANGUAGE sql AS $$
    SELECT render_private.tell('render.jobs', p_job_id::text, jsonb_build_object(
        'job_id', p_job_id, 'attempt', p_attempt, 'body', p_body), render_private.tick(p_job_id));
$$;
COMMENT ON FUNCTION render_private.tell_job IS 'Writes an event of render.jobs';

CREATE FUNCTION render_private.tell_element(p_job_id UUID, p_element_id UUID, p_body JSONB)
    RETURNS UUID
LANGUAGE sql AS $$
    SELECT render_private.tell('render.elements', p_job_id::text, jsonb_build_object(
        'job_id', p_job_id, 'element_id', p_element_id, 'body', p_body),
        render_private.tick(p_job_id));
$$;
COMMENT ON FUNCTION render_private.tell_element IS 'Writes an event of render.elements';

CREATE FUNCTION render_private.tell_metric(p_name TEXT, p_type TEXT, p_value NUMERIC, p_unit TEXT,
    p_labels JSONB) RETURNS UUID
LANGUAGE sql AS $$
    SELECT render_private.tell('render.metrics', NULL, jsonb_build_object('metric_name', p_name,
        'metric_type', p_type, 'value', p_value, 'unit', p_unit, 'labels', p_labels::text));
$$;
COMMENT ON FUNCTION render_private.tell_metric IS 'Writes an event of render.metrics';

CREATE FUNCTION render_private.tell_security(p_what TEXT, p_details JSONB) RETURNS VOID
LANGUAGE sql AS $$
    SELECT render_private.tell_metric('security_event', 'counter', 1, NULL, jsonb_build_object(
        'event_type', p_what, 'user_role', get_current_user_role(),
        'user_id', get_current_user_id(), 'client_ip', get_client_ip(), 'details', p_details));
$$;
COMMENT ON FUNCTION render_private.tell_security IS 'Counts what security wants to know';

-- --- guards -----------------------------------------------------------------------------------

CREATE FUNCTION render_private.no_job(p_job_id UUID) RETURNS VOID
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'no_data_found',
        MESSAGE = format('Job not found: %s', coalesce(p_job_id::text, 'NULL'));
END;
$$;
COMMENT ON FUNCTION render_private.no_job IS 'Says that there is no such job';

CREATE FUNCTION render_private.how_far(p_status job_status) RETURNS INTEGER
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_status WHEN 'pending' THEN 0 WHEN 'processing' THEN 1 WHEN 'failed' THEN 2
        WHEN 'timeout' THEN 2 ELSE 3 END;
$$;
COMMENT ON FUNCTION render_private.how_far IS 'Which of two states of an attempt is the later one';

-- A progress of 100 % shows a job as completed, which does not bind its worker: it may still fail.
CREATE FUNCTION render_private.row_of_job(p_job_id UUID) RETURNS render_private.job_guards
LANGUAGE sql STABLE AS $$
    SELECT j.id, CASE WHEN j.status = 'completed' AND (
            SELECT bool_and(h.cause = 'progress') FROM job_status_history AS h
            WHERE h.job_id = j.id AND h.to_status = 'completed'
                AND h.verdict IN ('accepted', 'implied start'))
            THEN 'processing'::job_status ELSE j.status END,
        coalesce((SELECT max(h.attempt) FROM job_status_history AS h
                  WHERE h.job_id = j.id AND h.verdict IN ('accepted', 'implied start')), 1),
        '{}'::integer[], j.owner_id, j.client_ip, j.created_at, clock_timestamp(),
        NULL::timestamptz
    FROM jobs AS j WHERE j.id = p_job_id AND j.placeholder IS NOT TRUE;
$$;
COMMENT ON FUNCTION render_private.row_of_job IS 'The guard that the tables would make of a job';

CREATE FUNCTION render_private.lock_job(p_job_id UUID) RETURNS render_private.job_guards
LANGUAGE plpgsql AS $$
DECLARE
    v_guard render_private.job_guards;
    v_row render_private.job_guards;
BEGIN
    SELECT * INTO v_guard FROM render_private.job_guards WHERE job_id = p_job_id FOR UPDATE;
    SELECT * INTO v_row FROM render_private.row_of_job(p_job_id);
    IF v_guard.job_id IS NULL AND v_row.job_id IS NOT NULL THEN
        INSERT INTO render_private.job_guards SELECT v_row.* ON CONFLICT DO NOTHING;
        SELECT * INTO v_guard FROM render_private.job_guards WHERE job_id = p_job_id FOR UPDATE;
    END IF;
    IF v_guard.job_id IS NULL OR v_guard.deleted_at IS NOT NULL THEN
        RETURN NULL;
    ELSIF v_row.job_id IS NOT NULL AND render_private.how_far(v_guard.status) < 3
        AND (render_private.how_far(v_row.status) = 3
            OR (v_row.attempt, render_private.how_far(v_row.status))
                > (v_guard.attempt, render_private.how_far(v_guard.status))) THEN
        UPDATE render_private.job_guards
        SET status = v_row.status, attempt = greatest(attempt, v_row.attempt)
        WHERE job_id = p_job_id RETURNING * INTO v_guard;
    END IF;
    RETURN v_guard;
END;
$$;
COMMENT ON FUNCTION render_private.lock_job IS
    'The guard of a job, locked until the commit; NULL: there is no such job';

CREATE FUNCTION render_private.is_own(p_guard render_private.job_guards) RETURNS BOOLEAN
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_guard.owner_id IS NULL THEN p_guard.client_ip = get_client_ip()
        ELSE p_guard.owner_id = get_current_user_id() END IS TRUE;
$$;
COMMENT ON FUNCTION render_private.is_own IS 'Whether a job is that of the user who asks';

-- --- jobs -------------------------------------------------------------------------------------

CREATE FUNCTION create_job(
    p_output_format VARCHAR, p_width INTEGER, p_height INTEGER,
    p_estimated_duration INTEGER DEFAULT NULL, p_client_ip INET DEFAULT NULL,
    p_user_agent TEXT DEFAULT NULL, p_request_metadata JSONB DEFAULT NULL) RETURNS UUID
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_is_service BOOLEAN := render_private.asker() = 'service';
    v_guard render_private.job_guards;
BEGIN
    PERFORM render_private.refuse_unless(p_output_format IN ('mp4', 'mov', 'avi', 'webm'), format(
        'output_format is %L; it must be mp4, mov, avi or webm', p_output_format));
    PERFORM render_private.refuse_unless(p_width BETWEEN 1 AND 7680, format(
        'width is %s; it must be from 1 to 7680', coalesce(p_width::text, 'NULL')));
    PERFORM render_private.refuse_unless(p_height BETWEEN 1 AND 4320, format(
        'height is %s; it must be from 1 to 4320', coalesce(p_height::text, 'NULL')));
    PERFORM render_private.check_count('estimated_duration', p_estimated_duration);
    PERFORM render_private.refuse_unless(p_client_ip IS NULL
        OR masklen(p_client_ip) = CASE family(p_client_ip) WHEN 4 THEN 32 ELSE 128 END, format(
        'client_ip is %s, a network; it must be an address', p_client_ip));
    INSERT INTO render_private.job_guards (job_id, owner_id, client_ip)
    VALUES (gen_random_uuid(), CASE WHEN NOT v_is_service THEN get_current_user_id() END,
        CASE WHEN v_is_service THEN p_client_ip ELSE get_client_ip() END)
    RETURNING * INTO v_guard;
    PERFORM render_private.tell_job(v_guard.job_id, 1, jsonb_build_object('type', 'JobCreated',
        'output_format', p_output_format, 'width', p_width, 'height', p_height,
        'estimated_duration', p_estimated_duration, 'client_ip', host(v_guard.client_ip),
        'user_agent', p_user_agent, 'request_metadata', p_request_metadata::text,
        'owner_id', v_guard.owner_id));
    RETURN v_guard.job_id;
END;
$$;
COMMENT ON FUNCTION create_job IS
    'Orders a video; returns its id. Its row follows. A service may say for which address; of others '
    'it is that of the request, whatever they say';

CREATE FUNCTION update_job_status(
    job_uuid UUID, new_status job_status, error_msg TEXT DEFAULT NULL,
    error_code_val VARCHAR DEFAULT NULL) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_guard render_private.job_guards := render_private.lock_job(job_uuid);
    v_attempt INTEGER;
BEGIN
    IF v_guard.job_id IS NULL
        OR (render_private.asker() = 'user' AND NOT render_private.is_own(v_guard)) THEN
        PERFORM render_private.no_job(job_uuid);
    ELSIF new_status IS DISTINCT FROM 'cancelled' THEN
        PERFORM render_private.only('update_job_status, but for cancelled,', 'service', 'admin');
    END IF;
    PERFORM render_private.check_text('error_code', error_code_val, 50);
    IF (CASE v_guard.status
        WHEN 'pending' THEN new_status IN ('processing', 'cancelled')
        WHEN 'processing' THEN new_status IN ('completed', 'failed', 'cancelled', 'timeout')
        WHEN 'failed' THEN new_status = 'processing'
        WHEN 'timeout' THEN new_status = 'processing'
        ELSE false END) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('Invalid status transition from %s to %s', v_guard.status,
                coalesce(new_status::text, 'NULL')),
            DETAIL = format('The job is %s.', job_uuid);
    END IF;
    v_attempt := v_guard.attempt + (v_guard.status IN ('failed', 'timeout'))::integer;
    PERFORM render_private.refuse_unless(v_attempt <= 1000, 'a job has at most 1000 attempts');
    UPDATE render_private.job_guards SET status = new_status, attempt = v_attempt
    WHERE job_id = job_uuid;
    PERFORM render_private.tell_job(job_uuid, v_attempt, jsonb_build_object(
        'type', 'JobStatusChanged', 'status', new_status, 'error_message', error_msg,
        'error_code', error_code_val));
    RETURN true;
END;
$$;
COMMENT ON FUNCTION update_job_status IS
    'Tells how far a job is; processing after failed or timeout is its next attempt. Who owns it may '
    'cancel it. What cannot follow is refused';

CREATE FUNCTION update_job_progress(
    job_uuid UUID, progress INTEGER, current_step_val processing_step DEFAULT NULL) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_guard render_private.job_guards;
BEGIN
    PERFORM render_private.only('update_job_progress', 'service');
    PERFORM render_private.refuse_unless(progress BETWEEN 0 AND 100, format(
        'progress is %s; it must be from 0 to 100', coalesce(progress::text, 'NULL')));
    v_guard := render_private.lock_job(job_uuid);
    IF v_guard.job_id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM render_private.tell_job(job_uuid, v_guard.attempt, jsonb_build_object(
        'type', 'JobProgressed', 'progress', progress, 'step', current_step_val));
    RETURN true;
END;
$$;
COMMENT ON FUNCTION update_job_progress IS
    'Reports percent; 100 completes the job unless its worker says otherwise. False: no such job';

-- --- elements ---------------------------------------------------------------------------------

-- p_element is as ElementAdded has it, but for the order; what it does not say is the default. As
-- the record has a field `type`, the event names its branch around it.
CREATE FUNCTION render_private.add_element(
    p_guard render_private.job_guards, p_element JSONB, p_order INTEGER) RETURNS UUID
LANGUAGE plpgsql AS $$
DECLARE
    v_id UUID := gen_random_uuid();
    v_element JSONB := '{"track": 0, "x_position": "0%", "y_position": "0%", "width": "100%", '
        '"height": "100%", "fit_mode": "auto", "start_time": 0}'::jsonb
        || jsonb_strip_nulls(p_element - 'metadata');
    v_orders INTEGER[];
    v_ended BOOLEAN;
    v_start NUMERIC := render_private.decimal('start_time',
        (v_element ->> 'start_time')::numeric, 10, 3);
    v_end NUMERIC := render_private.decimal('end_time',
        (v_element ->> 'end_time')::numeric, 10, 3);
    v_duration NUMERIC := render_private.decimal('source_duration',
        (v_element ->> 'source_duration')::numeric, 10, 3);
BEGIN
    PERFORM render_private.refuse_unless(p_order >= 0, format(
        'element_order is %s; it must be 0 or more', coalesce(p_order::text, 'NULL')));
    PERFORM render_private.refuse_unless(v_element ->> 'type' IN (
        'video', 'image', 'audio', 'text', 'overlay'), format(
        'type is %L; it must be video, image, audio, text or overlay', v_element ->> 'type'));
    PERFORM render_private.refuse_unless(v_element ->> 'source_url' <> '',
        'source_url is missing');
    PERFORM render_private.refuse_unless(v_element ->> 'fit_mode' IN (
        'auto', 'contain', 'cover', 'fill', 'stretch'), format(
        'fit_mode is %L; it must be auto, contain, cover, fill or stretch',
        v_element ->> 'fit_mode'));
    PERFORM render_private.check_text('source_filename', v_element ->> 'source_filename', 255);
    PERFORM render_private.check_count('source_size', (v_element ->> 'source_size')::bigint);
    PERFORM render_private.check_share(name, v_element ->> name)
    FROM unnest(ARRAY['x_position', 'y_position', 'width', 'height']) AS name;
    PERFORM render_private.check_count('source_duration', v_duration);
    IF v_element ->> 'type' IN ('video', 'audio') THEN
        PERFORM render_private.refuse_unless(v_start >= 0 AND coalesce(v_end > v_start, true),
            format('start_time is %s and end_time %s: they must be in this order, and not negative',
                v_start, v_end));
    END IF;

    -- What came by another way has its place, too.
    SELECT array_agg(DISTINCT o) INTO v_orders FROM (
        SELECT unnest(g.orders) AS o FROM render_private.job_guards AS g
        WHERE g.job_id = p_guard.job_id
        UNION SELECT element_order FROM elements WHERE job_id = p_guard.job_id) AS taken;
    v_orders := coalesce(v_orders, '{}');
    v_ended := p_guard.status IN ('completed', 'cancelled') OR EXISTS (
        SELECT FROM jobs WHERE id = p_guard.job_id AND status IN ('completed', 'cancelled'));
    IF v_ended OR p_order = ANY (v_orders) OR cardinality(v_orders) >= 10 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format(CASE WHEN v_ended THEN 'the job %s has ended, and takes no element'
                WHEN p_order = ANY (v_orders) THEN 'the job %s has an element %s already'
                ELSE 'the job %s has ten elements, which is as many as there may be' END,
                p_guard.job_id, p_order);
    END IF;
    UPDATE render_private.job_guards SET orders = v_orders || p_order
    WHERE job_id = p_guard.job_id;
    INSERT INTO render_private.element_guards VALUES (v_id, p_guard.job_id);
    PERFORM render_private.tell_element(p_guard.job_id, v_id, jsonb_build_object('ElementAdded',
        jsonb_build_object('element_order', p_order, 'type', v_element ->> 'type',
            'source_url', v_element ->> 'source_url',
            'source_filename', v_element ->> 'source_filename',
            'source_size', (v_element ->> 'source_size')::bigint,
            'source_duration', v_duration, 'track', (v_element ->> 'track')::integer,
            'x_position', v_element ->> 'x_position', 'y_position', v_element ->> 'y_position',
            'width', v_element ->> 'width', 'height', v_element ->> 'height',
            'fit_mode', v_element ->> 'fit_mode', 'start_time', v_start, 'end_time', v_end,
            'metadata', nullif(p_element -> 'metadata', 'null')::text)));
    RETURN v_id;
END;
$$;
COMMENT ON FUNCTION render_private.add_element IS
    'Checks and tells an element of a job whose guard is locked; returns its id';

CREATE FUNCTION add_job_element(
    job_uuid UUID, element_type_val element_type, source_url_val TEXT, element_order_val INTEGER,
    track_val INTEGER DEFAULT 0, x_pos VARCHAR DEFAULT '0%', y_pos VARCHAR DEFAULT '0%',
    width_val VARCHAR DEFAULT '100%', height_val VARCHAR DEFAULT '100%',
    fit_mode_val fit_mode DEFAULT 'auto', start_time_val NUMERIC DEFAULT 0,
    end_time_val NUMERIC DEFAULT NULL, metadata_val JSONB DEFAULT NULL) RETURNS UUID
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_guard render_private.job_guards := render_private.lock_job(job_uuid);
BEGIN
    IF v_guard.job_id IS NULL
        OR (render_private.asker() <> 'service' AND NOT render_private.is_own(v_guard)) THEN
        PERFORM render_private.no_job(job_uuid);
    END IF;
    RETURN render_private.add_element(v_guard, jsonb_build_object('type', element_type_val,
        'source_url', source_url_val, 'track', track_val, 'x_position', x_pos,
        'y_position', y_pos, 'width', width_val, 'height', height_val, 'fit_mode', fit_mode_val,
        'start_time', start_time_val, 'end_time', end_time_val, 'metadata', metadata_val),
        element_order_val);
END;
$$;
COMMENT ON FUNCTION add_job_element IS
    'Adds an element to a job of one''s own, while it has not ended and has less than ten; returns '
    'its id';

CREATE FUNCTION create_job_with_elements(
    p_output_format VARCHAR, p_width INTEGER, p_height INTEGER, p_elements JSONB,
    p_estimated_duration INTEGER DEFAULT NULL, p_client_ip INET DEFAULT NULL,
    p_user_agent TEXT DEFAULT NULL, p_request_metadata JSONB DEFAULT NULL) RETURNS JSONB
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_known CONSTANT TEXT[] := ARRAY['element_order', 'type', 'source_url', 'source_filename',
        'source_size', 'source_duration', 'track', 'x_position', 'y_position', 'width', 'height',
        'fit_mode', 'start_time', 'end_time', 'metadata'];
    v_guard render_private.job_guards;
    v_element JSONB;
    v_place BIGINT;
    v_order INTEGER;
    v_unknown TEXT;
    v_added JSONB := '[]';
BEGIN
    PERFORM render_private.refuse_unless(jsonb_typeof(p_elements) = 'array',
        'p_elements must be an array of objects');
    v_guard := render_private.lock_job(create_job(p_output_format, p_width, p_height,
        p_estimated_duration, p_client_ip, p_user_agent, p_request_metadata));
    FOR v_element, v_place IN
        SELECT e.value, e.ordinality - 1 FROM jsonb_array_elements(p_elements)
            WITH ORDINALITY AS e LOOP
        PERFORM render_private.refuse_unless(jsonb_typeof(v_element) = 'object',
            format('element %s is no object', v_place));
        SELECT k INTO v_unknown FROM jsonb_object_keys(v_element) AS k
        WHERE k <> ALL (v_known) LIMIT 1;
        PERFORM render_private.refuse_unless(v_unknown IS NULL,
            format('element %s has %L, which no element has', v_place, v_unknown));
        v_order := coalesce((v_element ->> 'element_order')::integer, v_place);
        v_added := v_added || jsonb_build_object('element_id',
            render_private.add_element(v_guard, v_element, v_order), 'order', v_order);
    END LOOP;
    RETURN jsonb_build_object('job_id', v_guard.job_id, 'elements', v_added);
END;
$$;
COMMENT ON FUNCTION create_job_with_elements IS
    'Orders a video with its elements, all or nothing: objects with type, source_url and more; those '
    'without element_order are placed as they come. Returns {job_id, elements [{element_id, order}]}';

CREATE FUNCTION update_element_status(
    element_uuid UUID, downloaded_val BOOLEAN DEFAULT NULL, processed_val BOOLEAN DEFAULT NULL,
    local_path_val TEXT DEFAULT NULL, processed_path_val TEXT DEFAULT NULL,
    error_msg TEXT DEFAULT NULL, source_size_val BIGINT DEFAULT NULL,
    source_duration_val NUMERIC DEFAULT NULL) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_job_id UUID;
    v_duration NUMERIC := render_private.decimal('source_duration', source_duration_val, 10, 3);
BEGIN
    PERFORM render_private.only('update_element_status', 'service');
    PERFORM render_private.check_count('source_size', source_size_val);
    PERFORM render_private.check_count('source_duration', v_duration);
    SELECT coalesce((SELECT job_id FROM render_private.element_guards
                     WHERE element_id = element_uuid),
                    (SELECT job_id FROM elements WHERE id = element_uuid)) INTO v_job_id;
    IF (render_private.lock_job(v_job_id)).job_id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM render_private.tell_element(v_job_id, element_uuid, jsonb_build_object(
        'type', 'ElementUpdated', 'downloaded', downloaded_val, 'processed', processed_val,
        'local_path', local_path_val, 'processed_path', processed_path_val,
        'error_message', error_msg, 'source_size', source_size_val,
        'source_duration', v_duration));
    RETURN true;
END;
$$;
COMMENT ON FUNCTION update_element_status IS
    'Tells how far an element is; NULL says nothing. False: there is no such element';

-- --- steps ------------------------------------------------------------------------------------

-- Where uuid-ossp is, which on Supabase is another schema.
DO $make$
BEGIN
    EXECUTE format($sql$
        CREATE FUNCTION render_private.step_id(
            p_job_id UUID, p_step processing_step, p_order INTEGER) RETURNS UUID
        LANGUAGE sql STABLE AS $$
            SELECT %I.uuid_generate_v5('d4a9bab4-74a0-5db8-9455-d1fb0f670c97'::uuid,
                'render.step/' || p_job_id || '/' || p_step || '/' || p_order);
        $$ $sql$, (SELECT n.nspname FROM pg_extension AS e
                   JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'uuid-ossp'));
END;
$make$;
COMMENT ON FUNCTION render_private.step_id IS
    'The id of a step, which its end needs to be told by, and which events from elsewhere have, too';

CREATE FUNCTION render_private.tell_step(p_guard render_private.step_guards, p_body JSONB)
    RETURNS UUID
LANGUAGE sql AS $$
    SELECT render_private.tell('render.timeline', p_guard.job_id::text, jsonb_build_object(
        'job_id', p_guard.job_id, 'attempt', p_guard.attempt, 'step', p_guard.step,
        'step_order', p_guard.step_order, 'body', p_body), render_private.tick(p_guard.job_id));
$$;
COMMENT ON FUNCTION render_private.tell_step IS 'Writes an event of render.timeline';

CREATE FUNCTION start_processing_step(
    job_uuid UUID, step_val processing_step, step_order_val INTEGER,
    details_val JSONB DEFAULT NULL) RETURNS UUID
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_job render_private.job_guards;
    v_step render_private.step_guards;
BEGIN
    PERFORM render_private.only('start_processing_step', 'service');
    PERFORM render_private.refuse_unless(step_val IS NOT NULL, 'step is missing');
    PERFORM render_private.refuse_unless(step_order_val >= 0, format(
        'step_order is %s; it must be 0 or more', coalesce(step_order_val::text, 'NULL')));
    v_job := render_private.lock_job(job_uuid);
    IF v_job.job_id IS NULL THEN
        PERFORM render_private.no_job(job_uuid);
    END IF;
    INSERT INTO render_private.step_guards AS g (id, job_id, step, step_order, attempt)
    VALUES (render_private.step_id(job_uuid, step_val, step_order_val), job_uuid, step_val,
        step_order_val, v_job.attempt)
    ON CONFLICT (id) DO UPDATE SET attempt = greatest(g.attempt, excluded.attempt)
    RETURNING * INTO v_step;
    PERFORM render_private.tell_step(v_step, jsonb_build_object('type', 'StepStarted',
        'details', details_val::text));
    RETURN v_step.id;
END;
$$;
COMMENT ON FUNCTION start_processing_step IS
    'Tells that a step begins, in the attempt that the job is in; returns its id, which each attempt '
    'has again';

CREATE FUNCTION complete_processing_step(
    timeline_uuid UUID, success_val BOOLEAN, progress_val INTEGER DEFAULT NULL,
    details_val JSONB DEFAULT NULL, error_msg TEXT DEFAULT NULL, cpu_usage_val NUMERIC DEFAULT NULL,
    memory_usage_val BIGINT DEFAULT NULL) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_step render_private.step_guards;
    v_cpu NUMERIC := render_private.decimal('cpu_usage', cpu_usage_val, 5, 2);
BEGIN
    PERFORM render_private.only('complete_processing_step', 'service');
    PERFORM render_private.refuse_unless(success_val IS NOT NULL, 'success is missing');
    PERFORM render_private.refuse_unless(coalesce(progress_val, 0) BETWEEN 0 AND 100, format(
        'progress is %s; it must be from 0 to 100', progress_val));
    PERFORM render_private.check_count('cpu_usage', v_cpu);
    PERFORM render_private.check_count('memory_usage', memory_usage_val);
    SELECT id, job_id, step, step_order, max(attempt) INTO v_step FROM (
        SELECT id, job_id, step, step_order, attempt FROM render_private.step_guards
        WHERE id = timeline_uuid
        UNION ALL
        SELECT id, job_id, step, step_order, coalesce(attempt, 1) FROM processing_timeline
        WHERE id = timeline_uuid) AS known
    GROUP BY id, job_id, step, step_order;
    IF (render_private.lock_job(v_step.job_id)).job_id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM render_private.tell_step(v_step, jsonb_build_object('type', 'StepCompleted',
        'success', success_val, 'progress', progress_val, 'details', details_val::text,
        'error_message', error_msg, 'cpu_usage', v_cpu, 'memory_usage', memory_usage_val));
    RETURN true;
END;
$$;
COMMENT ON FUNCTION complete_processing_step IS
    'Tells that a step ended, and how. False: there is no such step';

-- --- what is logged ---------------------------------------------------------------------------

CREATE FUNCTION log_storage_operation(
    job_uuid UUID, operation_val storage_operation, bucket_val TEXT, key_val TEXT,
    region_val TEXT DEFAULT 'us-east-1', success_val BOOLEAN DEFAULT true,
    file_size_val BIGINT DEFAULT NULL, duration_ms_val INTEGER DEFAULT NULL,
    error_msg TEXT DEFAULT NULL, metadata_val JSONB DEFAULT NULL) RETURNS UUID
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM render_private.only('log_storage_operation', 'service');
    PERFORM render_private.refuse_unless(operation_val IS NOT NULL, 'operation is missing');
    PERFORM render_private.refuse_unless(success_val IS NOT NULL, 'success is missing');
    PERFORM render_private.refuse_unless(bucket_val ~ '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$', format(
        'bucket is %L; it must have 3 to 63 lower-case letters, digits, points and dashes',
        bucket_val));
    PERFORM render_private.refuse_unless(octet_length(key_val) BETWEEN 1 AND 1024,
        'key must have 1 to 1024 bytes');
    PERFORM render_private.refuse_unless(region_val <> '', 'region is missing');
    PERFORM render_private.check_text('region', region_val, 50);
    PERFORM render_private.check_count('file_size', file_size_val);
    PERFORM render_private.check_count('duration_ms', duration_ms_val);
    PERFORM render_private.refuse_unless(operation_val <> 'upload' OR NOT success_val
        OR file_size_val > 0, 'an upload that succeeded must have a file_size above 0');
    RETURN render_private.tell('render.storage',
        coalesce(job_uuid::text, bucket_val || '/' || key_val), jsonb_build_object(
            'job_id', job_uuid, 'operation', operation_val, 'bucket', bucket_val, 'key', key_val,
            'region', region_val, 'success', success_val, 'file_size', file_size_val,
            'duration_ms', duration_ms_val, 'error_message', error_msg,
            'metadata', metadata_val::text), render_private.tick(job_uuid));
END;
$$;
COMMENT ON FUNCTION log_storage_operation IS
    'Tells of a call of the object storage, of a job or of none; returns the id of its row';

CREATE FUNCTION complete_job_with_s3_upload(
    job_uuid UUID, s3_bucket_val TEXT, s3_key_val TEXT, s3_region_val TEXT, result_url_val TEXT,
    file_size_val BIGINT, processing_time_ms INTEGER) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_guard render_private.job_guards;
BEGIN
    PERFORM render_private.only('complete_job_with_s3_upload', 'service');
    PERFORM render_private.check_count('processing_time_ms', processing_time_ms);
    v_guard := render_private.lock_job(job_uuid);
    IF v_guard.job_id IS NULL THEN
        PERFORM render_private.no_job(job_uuid);
    ELSIF v_guard.status <> 'processing' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('Invalid status transition from %s to completed', v_guard.status),
            DETAIL = format('The job is %s.', job_uuid);
    END IF;
    PERFORM log_storage_operation(job_uuid, 'upload', s3_bucket_val, s3_key_val,
        coalesce(s3_region_val, 'us-east-1'), true, file_size_val);
    UPDATE render_private.job_guards SET status = 'completed' WHERE job_id = job_uuid;
    PERFORM render_private.tell_job(job_uuid, v_guard.attempt, jsonb_build_object(
        'type', 'JobStatusChanged', 'status', 'completed', 'processing_ms', processing_time_ms,
        'result_url', result_url_val));
    RETURN true;
END;
$$;
COMMENT ON FUNCTION complete_job_with_s3_upload IS
    'Tells that the result is in the object storage and the job completed, both or neither';

CREATE FUNCTION log_url_access(
    job_uuid UUID, url_val TEXT, access_type_val TEXT, client_ip_val INET DEFAULT NULL,
    user_agent_val TEXT DEFAULT NULL, referer_val TEXT DEFAULT NULL,
    response_code_val INTEGER DEFAULT NULL, bytes_served_val BIGINT DEFAULT NULL,
    response_time_ms_val INTEGER DEFAULT NULL, country_val TEXT DEFAULT NULL,
    region_val TEXT DEFAULT NULL, city_val TEXT DEFAULT NULL) RETURNS UUID
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM render_private.only('log_url_access', 'service');
    PERFORM render_private.refuse_unless(url_val <> '', 'url is missing');
    PERFORM render_private.refuse_unless(access_type_val <> '', 'access_type is missing');
    PERFORM render_private.check_text('access_type', access_type_val, 50);
    PERFORM render_private.check_text('region', region_val, 100);
    PERFORM render_private.check_text('city', city_val, 100);
    PERFORM render_private.refuse_unless(coalesce(country_val, 'xx') ~ '^[A-Za-z]{2}$', format(
        'country is %L; it must be two letters', country_val));
    PERFORM render_private.check_count('response_code', response_code_val);
    PERFORM render_private.check_count('bytes_served', bytes_served_val);
    PERFORM render_private.check_count('response_time_ms', response_time_ms_val);
    RETURN render_private.tell('render.access', job_uuid::text, jsonb_build_object(
        'job_id', job_uuid, 'url', url_val, 'access_type', access_type_val,
        'client_ip', host(client_ip_val), 'user_agent', user_agent_val, 'referer', referer_val,
        'response_code', response_code_val, 'bytes_served', bytes_served_val,
        'response_time_ms', response_time_ms_val, 'country', country_val, 'region', region_val,
        'city', city_val), render_private.tick(job_uuid));
END;
$$;
COMMENT ON FUNCTION log_url_access IS 'Tells that a result was fetched; returns the id of its row';

CREATE FUNCTION record_system_metric(
    metric_name_val TEXT, metric_type_val TEXT, value_val NUMERIC, unit_val TEXT DEFAULT NULL,
    labels_val JSONB DEFAULT NULL) RETURNS UUID
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_value NUMERIC := render_private.decimal('value', value_val, 15, 6);
BEGIN
    PERFORM render_private.only('record_system_metric', 'service');
    PERFORM render_private.refuse_unless(metric_name_val <> '', 'metric_name is missing');
    PERFORM render_private.check_text('metric_name', metric_name_val, 100);
    PERFORM render_private.check_text('unit', unit_val, 20);
    PERFORM render_private.refuse_unless(metric_type_val IN (
        'counter', 'gauge', 'histogram', 'timer'), format(
        'metric_type is %L; it must be counter, gauge, histogram or timer', metric_type_val));
    PERFORM render_private.refuse_unless(v_value IS NOT NULL, 'value is missing');
    PERFORM render_private.refuse_unless(metric_type_val <> 'counter' OR v_value >= 0,
        'a counter must not be negative');
    RETURN render_private.tell_metric(metric_name_val, metric_type_val, v_value, unit_val,
        labels_val);
END;
$$;
COMMENT ON FUNCTION record_system_metric IS 'Tells a measurement; returns the id of its row';

CREATE FUNCTION log_security_event(event_type TEXT, details JSONB DEFAULT NULL) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM render_private.only('log_security_event', 'service');
    PERFORM render_private.refuse_unless(event_type <> '', 'event_type is missing');
    PERFORM render_private.tell_security(event_type, details);
END;
$$;
COMMENT ON FUNCTION log_security_event IS
    'Counts an event of security, with who asked, in the metrics';

-- A refusal is no exception, which would undo what security is told of it.
CREATE FUNCTION check_rate_limit(
    identifier TEXT, max_requests INTEGER DEFAULT 100, time_window INTERVAL DEFAULT '1 hour')
    RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
    v_hits render_private.rate_hits;
    v_now TIMESTAMPTZ;
    v_kept INTERVAL;
BEGIN
    PERFORM render_private.only('check_rate_limit', 'service');
    PERFORM render_private.refuse_unless(identifier <> '', 'identifier is missing');
    PERFORM render_private.check_text('identifier', identifier, 1000);
    PERFORM render_private.refuse_unless(max_requests >= 0, 'max_requests must be 0 or more');
    PERFORM render_private.refuse_unless(time_window > interval '0',
        'time_window must be longer than nothing');
    INSERT INTO render_private.rate_hits VALUES (identifier) ON CONFLICT DO NOTHING;
    SELECT * INTO v_hits FROM render_private.rate_hits AS h WHERE h.identifier = identifier
    FOR UPDATE;
    v_now := clock_timestamp(); -- once the row is ours
    v_kept := greatest(v_hits.kept, time_window);
    v_hits.hits := ARRAY(SELECT h FROM unnest(v_hits.hits) AS h WHERE h > v_now - v_kept);
    IF (SELECT count(*) FROM unnest(v_hits.hits) AS h WHERE h > v_now - time_window)
        >= max_requests THEN
        PERFORM render_private.tell_security('rate_limit_exceeded', jsonb_build_object(
            'identifier', identifier, 'max_requests', max_requests, 'time_window', time_window));
        RETURN false;
    END IF;
    UPDATE render_private.rate_hits AS h SET hits = v_hits.hits || v_now, kept = v_kept
    WHERE h.identifier = identifier;
    RETURN true;
END;
$$;
COMMENT ON FUNCTION check_rate_limit IS
    'Whether less than so many were let through within the time, and lets this one through then; '
    'exact however many ask at once. A refusal is told as a security event';
$projectionist_file$;
    system TEXT := 'render';
    number INTEGER := 2;
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
        USING system, number, '0002_commands.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

-- render/0003_reading.sql, by `projectionist migrate --to-directory`.
DO $projectionist$
DECLARE
    path TEXT := current_setting('search_path');
    had BOOLEAN := false;
    body TEXT := $projectionist_file$-- SPDX-License-Identifier: Apache-2.0
--
-- What is asked of the tables, and how what is old goes. A function that reads shows its caller
-- what the policies let that caller see.

CREATE FUNCTION can_subscribe_to_job(job_uuid UUID) RETURNS BOOLEAN
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM jobs WHERE id = job_uuid AND placeholder IS NOT TRUE
            AND (owner_id = get_current_user_id()
                OR (owner_id IS NULL AND client_ip = get_client_ip())
                OR is_admin_user() OR is_service_account()));
$$;
COMMENT ON FUNCTION can_subscribe_to_job IS
    'Whether who asks may see a job; of one that is not there, or not yet, nobody may';

CREATE FUNCTION calculate_job_duration(job_uuid UUID) RETURNS INTERVAL
LANGUAGE sql STABLE AS $$
    SELECT processing_completed_at - processing_started_at FROM jobs
    WHERE id = job_uuid AND placeholder IS NOT TRUE;
$$;
COMMENT ON FUNCTION calculate_job_duration IS
    'From the first start to the end that holds; NULL unless both are known';

CREATE FUNCTION calculate_job_progress(job_uuid UUID) RETURNS INTEGER
LANGUAGE sql STABLE AS $$
    SELECT coalesce(round(100.0 * count(*) FILTER (WHERE success) / nullif(count(*), 0)), 0)::integer
    FROM processing_timeline WHERE job_id = job_uuid;
$$;
COMMENT ON FUNCTION calculate_job_progress IS
    'Percent of the steps known so far that succeeded, which is not how far the job is';

CREATE FUNCTION get_job_statistics(
    start_date TIMESTAMPTZ DEFAULT now() - interval '24 hours',
    end_date TIMESTAMPTZ DEFAULT now())
    RETURNS TABLE (total_jobs BIGINT, completed_jobs BIGINT, failed_jobs BIGINT,
        avg_processing_time INTERVAL, immediate_response_jobs BIGINT, async_response_jobs BIGINT)
LANGUAGE sql STABLE AS $$
    SELECT count(*), count(*) FILTER (WHERE status = 'completed'),
        count(*) FILTER (WHERE status = 'failed'),
        make_interval(secs => avg(extract(epoch FROM
            processing_completed_at - processing_started_at))::double precision),
        count(*) FILTER (WHERE response_type = 'immediate'),
        count(*) FILTER (WHERE response_type = 'async')
    FROM jobs WHERE created_at BETWEEN start_date AND end_date AND placeholder IS NOT TRUE;
$$;
COMMENT ON FUNCTION get_job_statistics IS
    'Counts of the jobs created between two times, and how long those took of which that is known';

CREATE FUNCTION get_storage_statistics(
    start_date TIMESTAMPTZ DEFAULT now() - interval '24 hours',
    end_date TIMESTAMPTZ DEFAULT now())
    RETURNS TABLE (total_operations BIGINT, successful_operations BIGINT,
        total_bytes_uploaded BIGINT, total_bytes_downloaded BIGINT,
        avg_operation_duration_ms NUMERIC)
LANGUAGE sql STABLE AS $$
    SELECT count(*), count(*) FILTER (WHERE success),
        coalesce(sum(file_size) FILTER (WHERE success AND operation = 'upload'), 0)::bigint,
        coalesce(sum(file_size) FILTER (WHERE success AND operation = 'download'), 0)::bigint,
        round(avg(duration_ms), 3)
    FROM storage_operations AS s
    WHERE created_at BETWEEN start_date AND end_date AND NOT EXISTS (
        SELECT FROM jobs AS j WHERE j.id = s.job_id AND j.placeholder IS TRUE);
$$;
COMMENT ON FUNCTION get_storage_statistics IS
    'Counts of the calls of the object storage between two times; bytes are those that succeeded';

-- The newest orders that no row shows yet stand together: the oldest of them is how far the tables
-- are behind. It looks at ten thousand at most.
CREATE FUNCTION health_check() RETURNS JSONB
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    v_order RECORD;
    v_behind TIMESTAMPTZ;
BEGIN
    FOR v_order IN
        SELECT job_id, created_at FROM render_private.job_guards WHERE deleted_at IS NULL
        ORDER BY created_at DESC LIMIT 10000 LOOP
        EXIT WHEN EXISTS (SELECT FROM jobs WHERE id = v_order.job_id AND placeholder IS NOT TRUE);
        v_behind := v_order.created_at;
    END LOOP;
    RETURN (SELECT jsonb_build_object('database', true, 'outbox_pending', count(*),
        'outbox_oldest_s', round(coalesce(extract(epoch FROM
            clock_timestamp() - min(written_at)), 0), 3),
        'projector_lag_s', round(coalesce(extract(epoch FROM clock_timestamp() - v_behind), 0), 3))
        FROM render_private.outbox);
END;
$$;
COMMENT ON FUNCTION health_check IS
    'Whether events reach Kafka (outbox_pending, and the age of the oldest in seconds) and tables '
    'follow (projector_lag_s: since when a job was ordered that has no row yet)';

-- --- what is old ------------------------------------------------------------------------------

CREATE FUNCTION render_private.check_days(p_days INTEGER) RETURNS VOID
LANGUAGE sql IMMUTABLE AS $$
    SELECT render_private.refuse_unless(p_days BETWEEN 0 AND 100000, format(
        'days is %s; it must be from 0 to 100000', coalesce(p_days::text, 'NULL')));
$$;
COMMENT ON FUNCTION render_private.check_days IS 'Refuses what is no number of days';

-- A job that is being tried again is none of them, whatever its row still says.
CREATE FUNCTION render_private.delete_jobs(p_days INTEGER, p_reason TEXT) RETURNS INTEGER
LANGUAGE plpgsql AS $$
DECLARE
    v_id UUID;
    v_guard render_private.job_guards;
    v_count INTEGER := 0;
BEGIN
    -- Of those that are gone from the table, the guards go, too.
    WITH gone AS (
        DELETE FROM render_private.job_guards AS g
        WHERE g.deleted_at < clock_timestamp() - interval '1 day' AND NOT EXISTS (
            SELECT FROM jobs AS j WHERE j.id = g.job_id AND j.placeholder IS NOT TRUE)
        RETURNING g.job_id
    ), elements_gone AS (
        DELETE FROM render_private.element_guards AS e USING gone WHERE e.job_id = gone.job_id
    )
    DELETE FROM render_private.step_guards AS s USING gone WHERE s.job_id = gone.job_id;

    FOR v_id IN
        SELECT j.id FROM jobs AS j
        WHERE j.status IN ('completed', 'failed', 'cancelled', 'timeout')
            AND j.created_at < now() - make_interval(days => p_days) AND j.placeholder IS NOT TRUE
            AND NOT EXISTS (SELECT FROM render_private.job_guards AS g
                            WHERE g.job_id = j.id AND g.deleted_at IS NOT NULL)
        ORDER BY j.created_at, j.id LIMIT 10000 LOOP
        v_guard := render_private.lock_job(v_id);
        CONTINUE WHEN v_guard.job_id IS NULL OR v_guard.status = 'pending'
            OR (v_guard.status = 'processing' AND NOT EXISTS (
                SELECT FROM jobs WHERE id = v_id AND status = 'completed'));
        UPDATE render_private.job_guards SET deleted_at = clock_timestamp() WHERE job_id = v_id;
        PERFORM render_private.tell_job(v_id, v_guard.attempt, jsonb_build_object(
            'type', 'JobDeleted', 'reason', p_reason,
            'requested_by', coalesce(get_current_user_id()::text, session_user)));
        PERFORM render_private.tell_metric('job_deleted', 'counter', 1, NULL, jsonb_build_object(
            'job_id', v_id, 'status', v_guard.status, 'reason', p_reason));
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END;
$$;
COMMENT ON FUNCTION render_private.delete_jobs IS
    'Tells of at most 10,000 jobs that have ended, and were created so many days ago, that they are '
    'gone; returns of how many';

-- Consumers wait for the second of the two deletions alone.
CREATE FUNCTION render_private.trim(p_table REGCLASS, p_time NAME, p_days INTEGER) RETURNS INTEGER
LANGUAGE plpgsql AS $$
DECLARE
    v_before TIMESTAMPTZ := now() - make_interval(days => p_days);
    v_first INTEGER;
    v_second INTEGER;
BEGIN
    EXECUTE format('DELETE FROM %s WHERE %I < $1', p_table, p_time) USING v_before;
    GET DIAGNOSTICS v_first = ROW_COUNT;
    PERFORM projectionist.order_trim(p_table, v_before);
    EXECUTE format('DELETE FROM %s WHERE %I < $1', p_table, p_time) USING v_before;
    GET DIAGNOSTICS v_second = ROW_COUNT;
    RETURN v_first + v_second;
END;
$$;
COMMENT ON FUNCTION render_private.trim IS
    'Removes rows of an append table that are so many days old, for good: consumers, verify and '
    'rebuild pass over them; returns how many went';

-- The rows are locked before they are looked at again: nobody comes to refer to them then.
CREATE FUNCTION render_private.settle_placeholders() RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    v_ids UUID[];
BEGIN
    PERFORM FROM jobs WHERE placeholder ORDER BY id FOR UPDATE;
    SELECT array_agg(id) INTO v_ids FROM jobs WHERE placeholder;
    DELETE FROM jobs AS j WHERE id = ANY (v_ids)
        AND NOT EXISTS (SELECT FROM storage_operations AS o WHERE o.job_id = j.id)
        AND NOT EXISTS (SELECT FROM url_access_logs AS a WHERE a.job_id = j.id);
    UPDATE jobs AS j SET created_at = m.first FROM (
        SELECT id, (SELECT min(at) FROM (
            SELECT min(o.created_at) FROM storage_operations AS o WHERE o.job_id = p.id UNION ALL
            SELECT min(a.accessed_at) FROM url_access_logs AS a WHERE a.job_id = p.id
            ) AS s (at)) AS first
        FROM jobs AS p WHERE p.id = ANY (v_ids)) AS m
    WHERE j.id = m.id AND m.first > j.created_at;
END;
$$;
COMMENT ON FUNCTION render_private.settle_placeholders IS
    'After rows went that referred to jobs which are only heard of: those that nothing refers to any '
    'more go, and the others are as old as the first row that is left';

CREATE FUNCTION cleanup_old_jobs(days INTEGER DEFAULT 30) RETURNS INTEGER
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM render_private.only('cleanup_old_jobs', 'admin', 'service');
    PERFORM render_private.check_days(days);
    RETURN render_private.delete_jobs(days, 'cleanup');
END;
$$;
COMMENT ON FUNCTION cleanup_old_jobs IS
    'Removes jobs that have ended, timed out ones too, and were created so many days ago: at most '
    '10,000 a call, with their elements and steps. Returns how many; their rows go soon';

CREATE FUNCTION cleanup_old_metrics(days INTEGER DEFAULT 7) RETURNS INTEGER
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM render_private.only('cleanup_old_metrics', 'admin', 'service');
    PERFORM render_private.check_days(days);
    RETURN render_private.trim('system_metrics', 'recorded_at', days);
END;
$$;
COMMENT ON FUNCTION cleanup_old_metrics IS
    'Removes metrics that are so many days old for good; returns how many';

CREATE FUNCTION enforce_data_retention() RETURNS INTEGER
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_counts INTEGER[];
    v_number INTEGER;
    v_tables CONSTANT TEXT[] := ARRAY['jobs', 'system_metrics', 'url_access_logs'];
    v_days CONSTANT INTEGER[] := ARRAY[90, 30, 7];
BEGIN
    PERFORM render_private.only('enforce_data_retention', 'admin', 'service');
    v_counts := ARRAY[render_private.delete_jobs(v_days[1], 'retention'),
        render_private.trim('system_metrics', 'recorded_at', v_days[2]),
        render_private.trim('url_access_logs', 'accessed_at', v_days[3])];
    IF v_counts[3] > 0 THEN
        PERFORM render_private.settle_placeholders();
    END IF;
    DELETE FROM render_private.rate_hits AS h WHERE NOT EXISTS (
        SELECT FROM unnest(h.hits) AS hit WHERE hit > now() - h.kept);
    FOR v_number IN 1 .. 3 LOOP
        PERFORM render_private.tell_metric('data_retention', 'counter', v_counts[v_number], 'rows',
            jsonb_build_object('table', v_tables[v_number], 'days', v_days[v_number]));
    END LOOP;
    RETURN v_counts[1] + v_counts[2] + v_counts[3];
END;
$$;
COMMENT ON FUNCTION enforce_data_retention IS
    'Removes jobs of 90 days, metrics of 30 and access logs of 7; returns how many rows, and tells '
    'each in the metrics';
$projectionist_file$;
    system TEXT := 'render';
    number INTEGER := 3;
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
        USING system, number, '0003_reading.sql', encode(sha256(convert_to(body, 'UTF8')), 'hex'),
            nullif(schema, 'projectionist');
    PERFORM set_config('search_path', path, true);
END;
$projectionist$;

COMMIT;
