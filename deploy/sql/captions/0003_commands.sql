-- SPDX-License-Identifier: Apache-2.0
--
-- What users and services order. A function decides by the command side, which is the schema
-- captions_private, and writes an event into its outbox; the tables follow when the projections have
-- read it. Nobody but the projections writes these.

CREATE SCHEMA IF NOT EXISTS captions_private;
REVOKE ALL ON SCHEMA captions_private FROM PUBLIC;
COMMENT ON SCHEMA captions_private IS
    'The command side of the captioning service: its outbox, its locks, its counters. Nobody but its '
    'functions and outbox-relay reaches it';

SELECT projectionist.create_outbox('captions_private');

CREATE TABLE captions_private.clocks (
    key UUID PRIMARY KEY,
    last_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE captions_private.clocks IS
    'When something was last told of a tenant, a user or a video: its row is locked until the commit, '
    'so that events of one key keep their order, and their times rise';
COMMENT ON COLUMN captions_private.clocks.key IS 'The key of the events';
COMMENT ON COLUMN captions_private.clocks.last_at IS 'The emitted_at of the last one';

CREATE TABLE captions_private.crop_counters (
    video_id UUID PRIMARY KEY,
    last_version INTEGER NOT NULL
);
COMMENT ON TABLE captions_private.crop_counters IS
    'The last number that a version of a video''s cropped frames was given';
COMMENT ON COLUMN captions_private.crop_counters.video_id IS 'The video';
COMMENT ON COLUMN captions_private.crop_counters.last_version IS 'Numbers are never given twice';

CREATE TABLE captions_private.locks (
    video_id UUID PRIMARY KEY,
    lock_id UUID NOT NULL UNIQUE,
    tenant_id UUID NOT NULL,
    user_id UUID NOT NULL,
    acquired_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE captions_private.locks IS
    'Who may edit a video: the last lock of each, which holds until it expires';
COMMENT ON COLUMN captions_private.locks.video_id IS 'The video';
COMMENT ON COLUMN captions_private.locks.lock_id IS 'What renews and releases it';
COMMENT ON COLUMN captions_private.locks.tenant_id IS 'Whose video it is';
COMMENT ON COLUMN captions_private.locks.user_id IS 'Who has it';
COMMENT ON COLUMN captions_private.locks.acquired_at IS 'Since when';
COMMENT ON COLUMN captions_private.locks.expires_at IS
    'Until when; by the clock of the database. A release sets it to its own time';

-- --- who asks ---------------------------------------------------------------------------------

-- As auth.uid(), which is not everywhere. Claims that are broken are nobody's.
CREATE FUNCTION captions_user() RETURNS UUID
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION captions_user IS 'The user whose token the request has; NULL: none';

CREATE FUNCTION captions_tenant() RETURNS UUID
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT tenant_id FROM user_profiles WHERE id = captions_user();
$$;
COMMENT ON FUNCTION captions_tenant IS 'The tenant of the user who asks; NULL: none';

CREATE FUNCTION captions_is_admin() RETURNS BOOLEAN
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT FROM user_profiles WHERE id = captions_user() AND role = 'admin');
$$;
COMMENT ON FUNCTION captions_is_admin IS 'Whether the user who asks is an admin of their tenant';

CREATE FUNCTION captions_private.caller() RETURNS UUID
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF captions_user() IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = 'nobody is signed in: the request has no token of a user';
    END IF;
    RETURN captions_user();
END;
$$;
COMMENT ON FUNCTION captions_private.caller IS 'The user who asks, or an exception';

-- --- telling ----------------------------------------------------------------------------------

CREATE FUNCTION captions_private.micros(p_time TIMESTAMPTZ) RETURNS BIGINT
LANGUAGE sql IMMUTABLE AS $$
    SELECT (extract(epoch FROM p_time) * 1000000)::bigint;
$$;
COMMENT ON FUNCTION captions_private.micros IS 'A time as events have it';

CREATE FUNCTION captions_private.tick(p_key UUID) RETURNS TIMESTAMPTZ
LANGUAGE sql AS $$
    INSERT INTO captions_private.clocks AS c (key, last_at) VALUES (p_key, clock_timestamp())
    ON CONFLICT (key) DO UPDATE
        SET last_at = greatest(clock_timestamp(), c.last_at + interval '1 microsecond')
    RETURNING last_at;
$$;
COMMENT ON FUNCTION captions_private.tick IS
    'The time of the next event of this key, later than all before; locks the key';

CREATE FUNCTION captions_private.tell(p_topic TEXT, p_key UUID, p_event JSONB, p_body JSONB)
    RETURNS UUID
LANGUAGE sql AS $$
    SELECT captions_private.emit(p_topic, p_key::text,
        p_event || jsonb_build_object('body', p_body), captions_private.tick(p_key));
$$;
COMMENT ON FUNCTION captions_private.tell IS 'Writes an event of a tenant, a user or a video';

CREATE FUNCTION captions_private.tell_video(
    p_tenant_id UUID, p_video_id UUID, p_actor UUID, p_body JSONB) RETURNS UUID
LANGUAGE sql AS $$
    SELECT captions_private.tell('captions.videos', p_video_id, jsonb_build_object(
        'tenant_id', p_tenant_id, 'video_id', p_video_id, 'actor_user_id', p_actor), p_body);
$$;
COMMENT ON FUNCTION captions_private.tell_video IS 'Writes an event of captions.videos';

CREATE FUNCTION captions_private.tell_tenant(p_tenant_id UUID, p_body JSONB) RETURNS UUID
LANGUAGE sql AS $$
    SELECT captions_private.tell('captions.tenants', p_tenant_id,
        jsonb_build_object('tenant_id', p_tenant_id), p_body);
$$;
COMMENT ON FUNCTION captions_private.tell_tenant IS 'Writes an event of captions.tenants';

CREATE FUNCTION captions_private.tell_user(p_user_id UUID, p_body JSONB) RETURNS UUID
LANGUAGE sql AS $$
    SELECT captions_private.tell('captions.users', p_user_id,
        jsonb_build_object('user_id', p_user_id), p_body);
$$;
COMMENT ON FUNCTION captions_private.tell_user IS 'Writes an event of captions.users';

-- --- checks: what would become a dead letter is refused to who says it ------------------------

CREATE FUNCTION captions_private.refuse(p_sentence TEXT) RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = p_sentence;
END;
$$;
COMMENT ON FUNCTION captions_private.refuse IS 'An exception for what a caller said';

CREATE FUNCTION captions_private.check_text(
    p_name TEXT, p_text TEXT, p_most INTEGER, p_needed BOOLEAN DEFAULT false) RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    IF p_needed AND coalesce(btrim(p_text), '') = '' THEN
        PERFORM captions_private.refuse(p_name || ' is missing');
    ELSIF length(p_text) > p_most THEN
        PERFORM captions_private.refuse(format('%s has %s characters, at most %s are allowed',
            p_name, length(p_text), p_most));
    END IF;
END;
$$;
COMMENT ON FUNCTION captions_private.check_text IS 'Refuses a text that is missing or too long';

CREATE FUNCTION captions_private.check_id(p_name TEXT, p_id UUID) RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    IF p_id IS NULL OR p_id = '00000000-0000-0000-0000-000000000000' THEN
        PERFORM captions_private.refuse(p_name || ' is missing, or has zeros alone');
    END IF;
END;
$$;
COMMENT ON FUNCTION captions_private.check_id IS 'Refuses an id that is none';

CREATE FUNCTION captions_private.check_role(p_role TEXT) RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    IF p_role IS NULL OR p_role NOT IN ('user', 'admin', 'annotator') THEN
        PERFORM captions_private.refuse(format(
            'role is %L; it must be user, admin or annotator', p_role));
    END IF;
END;
$$;
COMMENT ON FUNCTION captions_private.check_role IS 'Refuses a role that there is not';

CREATE FUNCTION captions_private.check_at_least(p_name TEXT, p_number NUMERIC, p_least NUMERIC)
    RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    IF p_number < p_least THEN
        PERFORM captions_private.refuse(format('%s is %s, and must be at least %s', p_name,
            p_number, p_least));
    END IF;
END;
$$;
COMMENT ON FUNCTION captions_private.check_at_least IS 'Refuses a number that is too small';

CREATE FUNCTION captions_private.check_key(
    p_name TEXT, p_tenant_id UUID, p_video_id UUID, p_key TEXT) RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM captions_private.check_text(p_name, p_key, 1024);
    IF NOT starts_with(p_key, p_tenant_id || '/' || p_video_id || '/')
        OR string_to_array(p_key, '/') && ARRAY['', '.', '..'] THEN
        PERFORM captions_private.refuse(format(
            '%s is %L; it must begin with %s/%s/ and have no empty part, . or ..', p_name, p_key,
            p_tenant_id, p_video_id));
    END IF;
END;
$$;
COMMENT ON FUNCTION captions_private.check_key IS 'Refuses the key of an object elsewhere';

-- Another tenant's video is not found either.
CREATE FUNCTION captions_private.find_video(p_video_id UUID, p_tenant_id UUID) RETURNS UUID
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_tenant_id UUID;
    v_purged_at TIMESTAMPTZ;
BEGIN
    SELECT tenant_id, purged_at INTO v_tenant_id, v_purged_at FROM videos
    WHERE id = p_video_id AND placeholder IS NOT TRUE
        AND (p_tenant_id IS NULL OR tenant_id = p_tenant_id);
    IF v_tenant_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('there is no video %s', p_video_id);
    ELSIF v_purged_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the video %s was purged', p_video_id);
    END IF;
    RETURN v_tenant_id;
END;
$$;
COMMENT ON FUNCTION captions_private.find_video IS
    'The tenant of a video, which must be this one where one is given';

CREATE FUNCTION captions_private.find_own_video(p_video_id UUID) RETURNS UUID
LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM captions_private.caller();
    -- The zeros are no tenant: who has none finds nothing.
    RETURN captions_private.find_video(p_video_id, coalesce(captions_tenant(),
        '00000000-0000-0000-0000-000000000000'));
END;
$$;
COMMENT ON FUNCTION captions_private.find_own_video IS 'The same, for the user who asks';

-- --- for users --------------------------------------------------------------------------------

CREATE FUNCTION update_my_profile(full_name TEXT DEFAULT NULL, avatar_url TEXT DEFAULT NULL)
    RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM captions_private.check_text('full_name', full_name, 1000);
    PERFORM captions_private.check_text('avatar_url', avatar_url, 2000);
    IF full_name IS NOT NULL OR avatar_url IS NOT NULL THEN
        PERFORM captions_private.tell_user(captions_private.caller(), jsonb_build_object(
            'type', 'UserProfileChanged', 'full_name', full_name, 'avatar_url', avatar_url));
    END IF;
END;
$$;
COMMENT ON FUNCTION update_my_profile IS
    'Changes the name and the picture of the user who asks; NULL leaves one as it is. Nobody changes '
    'their own tenant or role';

CREATE FUNCTION approve_layout(
    p_video_id UUID, p_crop_bounds JSONB DEFAULT NULL, p_layout_db_hash TEXT DEFAULT NULL)
    RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_tenant_id UUID := captions_private.find_own_video(p_video_id);
BEGIN
    PERFORM captions_private.check_text('layout_db_hash', p_layout_db_hash, 200);
    PERFORM captions_private.check_text('crop_bounds', p_crop_bounds::text, 10000);
    PERFORM captions_private.tell_video(v_tenant_id, p_video_id, captions_user(),
        jsonb_build_object('type', 'LayoutApproved',
            'layout_db_key', v_tenant_id || '/' || p_video_id || '/layout.db',
            'layout_db_hash', p_layout_db_hash, 'crop_bounds', p_crop_bounds::text));
END;
$$;
COMMENT ON FUNCTION approve_layout IS 'Says that the layout of a video is right, and may be cropped by';

CREATE FUNCTION captions_private.tell_own_video(p_video_id UUID, p_type TEXT) RETURNS VOID
LANGUAGE sql AS $$
    SELECT captions_private.tell_video(captions_private.find_own_video(p_video_id), p_video_id,
        captions_user(), jsonb_build_object('type', p_type));
$$;
COMMENT ON FUNCTION captions_private.tell_own_video IS
    'Writes what the user who asks orders of a video of their tenant';

CREATE FUNCTION archive_video(p_video_id UUID) RETURNS VOID
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT captions_private.tell_own_video(p_video_id, 'VideoArchived');
$$;
COMMENT ON FUNCTION archive_video IS 'Archives a video of one''s tenant';

CREATE FUNCTION restore_video(p_video_id UUID) RETURNS VOID
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT captions_private.tell_own_video(p_video_id, 'VideoRestored');
$$;
COMMENT ON FUNCTION restore_video IS 'Brings back a video that was archived or deleted';

CREATE FUNCTION delete_video(p_video_id UUID) RETURNS VOID
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT captions_private.tell_own_video(p_video_id, 'VideoSoftDeleted');
$$;
COMMENT ON FUNCTION delete_video IS
    'Deletes a video of one''s tenant; restore_video brings it back until it is purged';

-- --- locks ------------------------------------------------------------------------------------

CREATE FUNCTION captions_private.tell_lock(
    p_lock captions_private.locks, p_at TIMESTAMPTZ, p_type TEXT) RETURNS VOID
LANGUAGE sql AS $$
    SELECT captions_private.emit('captions.locks', p_lock.video_id::text, jsonb_build_object(
        'tenant_id', p_lock.tenant_id, 'video_id', p_lock.video_id, 'lock_id', p_lock.lock_id,
        'user_id', p_lock.user_id, 'acquired_at', captions_private.micros(p_lock.acquired_at),
        'body', jsonb_build_object('type', p_type) || CASE WHEN p_type = 'LockReleased' THEN '{}'
            ELSE jsonb_build_object('expires_at', captions_private.micros(p_lock.expires_at)) END),
        p_at);
$$;
COMMENT ON FUNCTION captions_private.tell_lock IS 'Writes an event of captions.locks';

CREATE FUNCTION captions_private.check_ttl(p_ttl INTERVAL) RETURNS VOID
LANGUAGE plpgsql AS $$
BEGIN
    IF p_ttl IS NULL OR p_ttl < interval '1 second' OR p_ttl > interval '15 minutes' THEN
        PERFORM captions_private.refuse(format(
            'a lock lasts from 1 second to 15 minutes, not %s', coalesce(p_ttl::text, 'NULL')));
    END IF;
END;
$$;
COMMENT ON FUNCTION captions_private.check_ttl IS 'Refuses a lock that lasts too long';

-- The clock's row is locked first, so that all of a video's locks are decided one after the other.
CREATE FUNCTION acquire_video_lock(p_video_id UUID, p_ttl INTERVAL DEFAULT '15 minutes')
    RETURNS TABLE (granted BOOLEAN, lock_id UUID, holder UUID, expires_at TIMESTAMPTZ)
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
    v_user UUID := captions_private.caller();
    v_tenant_id UUID := captions_private.find_own_video(p_video_id);
    v_now TIMESTAMPTZ;
    v_lock captions_private.locks;
    v_renewed BOOLEAN;
BEGIN
    PERFORM captions_private.check_ttl(p_ttl);
    v_now := captions_private.tick(p_video_id);
    SELECT * INTO v_lock FROM captions_private.locks WHERE video_id = p_video_id;
    IF v_lock.expires_at > v_now AND v_lock.user_id <> v_user THEN
        RETURN QUERY SELECT false, NULL::uuid, v_lock.user_id, v_lock.expires_at;
        RETURN;
    END IF;
    v_renewed := coalesce(v_lock.expires_at > v_now, false);
    INSERT INTO captions_private.locks AS l
        (video_id, lock_id, tenant_id, user_id, acquired_at, expires_at)
    VALUES (p_video_id, gen_random_uuid(), v_tenant_id, v_user, v_now, v_now + p_ttl)
    ON CONFLICT (video_id) DO UPDATE SET
        lock_id = CASE WHEN v_renewed THEN l.lock_id ELSE excluded.lock_id END,
        tenant_id = excluded.tenant_id, user_id = excluded.user_id,
        acquired_at = CASE WHEN v_renewed THEN l.acquired_at ELSE excluded.acquired_at END,
        expires_at = greatest(excluded.expires_at, CASE WHEN v_renewed THEN l.expires_at END)
    RETURNING * INTO v_lock;
    PERFORM captions_private.tell_lock(v_lock, v_now,
        CASE WHEN v_renewed THEN 'LockRenewed' ELSE 'LockAcquired' END);
    RETURN QUERY SELECT true, v_lock.lock_id, v_lock.user_id, v_lock.expires_at;
END;
$$;
COMMENT ON FUNCTION acquire_video_lock IS
    'Takes the right to edit a video, for a time, unless somebody else has it; who has it already '
    'renews it';

CREATE FUNCTION captions_private.find_own_lock(p_lock_id UUID) RETURNS captions_private.locks
LANGUAGE plpgsql AS $$
DECLARE
    v_lock captions_private.locks;
BEGIN
    SELECT * INTO v_lock FROM captions_private.locks
    WHERE lock_id = p_lock_id AND user_id = captions_private.caller()
        AND tenant_id = captions_tenant();
    IF v_lock.video_id IS NOT NULL THEN
        -- Another may have taken it while we waited for its clock.
        PERFORM FROM captions_private.clocks WHERE key = v_lock.video_id FOR UPDATE;
        SELECT * INTO v_lock FROM captions_private.locks
        WHERE lock_id = p_lock_id AND user_id = captions_user();
    END IF;
    RETURN v_lock;
END;
$$;
COMMENT ON FUNCTION captions_private.find_own_lock IS
    'A lock of the user who asks, and nobody else changes it until the commit; NULL: there is none';

CREATE FUNCTION renew_video_lock(p_lock_id UUID, p_ttl INTERVAL DEFAULT '15 minutes')
    RETURNS TABLE (granted BOOLEAN, lock_id UUID, holder UUID, expires_at TIMESTAMPTZ)
LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
    v_lock captions_private.locks;
    v_now TIMESTAMPTZ;
BEGIN
    PERFORM captions_private.check_ttl(p_ttl);
    v_lock := captions_private.find_own_lock(p_lock_id);
    IF v_lock.video_id IS NOT NULL THEN
        v_now := captions_private.tick(v_lock.video_id);
    END IF;
    IF v_lock.expires_at > v_now THEN
        UPDATE captions_private.locks AS l SET expires_at = greatest(l.expires_at, v_now + p_ttl)
        WHERE l.lock_id = p_lock_id RETURNING * INTO v_lock;
        PERFORM captions_private.tell_lock(v_lock, v_now, 'LockRenewed');
        RETURN QUERY SELECT true, v_lock.lock_id, v_lock.user_id, v_lock.expires_at;
    ELSE
        RETURN QUERY SELECT false, NULL::uuid, NULL::uuid, NULL::timestamptz;
    END IF;
END;
$$;
COMMENT ON FUNCTION renew_video_lock IS
    'Keeps a lock of one''s own for a time from now; not granted where it has expired or was released';

CREATE FUNCTION release_video_lock(p_lock_id UUID) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_lock captions_private.locks := captions_private.find_own_lock(p_lock_id);
    v_now TIMESTAMPTZ;
BEGIN
    IF v_lock.video_id IS NULL THEN
        RETURN false;
    END IF;
    v_now := captions_private.tick(v_lock.video_id);
    IF v_lock.expires_at <= v_now THEN
        RETURN false;
    END IF;
    UPDATE captions_private.locks SET expires_at = v_now WHERE lock_id = p_lock_id;
    PERFORM captions_private.tell_lock(v_lock, v_now, 'LockReleased');
    RETURN true;
END;
$$;
COMMENT ON FUNCTION release_video_lock IS
    'Gives a lock of one''s own back; false where it has expired or was released before';

-- --- for services -----------------------------------------------------------------------------

CREATE FUNCTION create_tenant(
    p_name TEXT, p_slug TEXT, p_storage_quota_gb INTEGER DEFAULT 100, p_tenant_id UUID DEFAULT NULL)
    RETURNS UUID
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_id UUID := coalesce(p_tenant_id, gen_random_uuid());
BEGIN
    PERFORM captions_private.check_id('tenant_id', v_id);
    PERFORM captions_private.check_text('name', p_name, 1000, true);
    PERFORM captions_private.check_text('slug', p_slug, 200, true);
    PERFORM captions_private.check_at_least('storage_quota_gb', p_storage_quota_gb, 0);
    PERFORM captions_private.tell_tenant(v_id, jsonb_build_object('type', 'TenantCreated',
        'name', p_name, 'slug', p_slug, 'storage_quota_gb', coalesce(p_storage_quota_gb, 100)));
    RETURN v_id;
END;
$$;
COMMENT ON FUNCTION create_tenant IS
    'A new tenant; its slug gets the beginning of its id behind it where an older one has the same';

CREATE FUNCTION change_tenant(
    p_tenant_id UUID, p_name TEXT DEFAULT NULL, p_slug TEXT DEFAULT NULL,
    p_storage_quota_gb INTEGER DEFAULT NULL) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM captions_private.check_id('tenant_id', p_tenant_id);
    PERFORM captions_private.check_text('name', p_name, 1000, p_name IS NOT NULL);
    PERFORM captions_private.check_text('slug', p_slug, 200, p_slug IS NOT NULL);
    PERFORM captions_private.check_at_least('storage_quota_gb', p_storage_quota_gb, 0);
    PERFORM captions_private.tell_tenant(p_tenant_id, jsonb_build_object('type', 'TenantChanged',
        'name', p_name, 'slug', p_slug, 'storage_quota_gb', p_storage_quota_gb));
END;
$$;
COMMENT ON FUNCTION change_tenant IS 'Changes what is not NULL of a tenant';

CREATE FUNCTION remove_tenant(p_tenant_id UUID, p_reason TEXT DEFAULT NULL) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM captions_private.check_id('tenant_id', p_tenant_id);
    PERFORM captions_private.check_text('reason', p_reason, 1000);
    PERFORM captions_private.tell_tenant(p_tenant_id,
        jsonb_build_object('type', 'TenantRemoved', 'reason', p_reason));
END;
$$;
COMMENT ON FUNCTION remove_tenant IS
    'Removes a tenant; while videos, profiles or crops refer to it, its row stays as a placeholder';

CREATE FUNCTION register_user(
    p_user_id UUID, p_full_name TEXT DEFAULT NULL, p_avatar_url TEXT DEFAULT NULL,
    p_tenant_id UUID DEFAULT NULL, p_role TEXT DEFAULT 'user') RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM captions_private.check_id('user_id', p_user_id);
    PERFORM captions_private.check_text('full_name', p_full_name, 1000);
    PERFORM captions_private.check_text('avatar_url', p_avatar_url, 2000);
    PERFORM captions_private.check_role(p_role);
    PERFORM captions_private.tell_user(p_user_id, jsonb_build_object('type', 'UserRegistered',
        'tenant_id', p_tenant_id, 'full_name', p_full_name, 'avatar_url', p_avatar_url,
        'role', p_role));
END;
$$;
COMMENT ON FUNCTION register_user IS 'A new user, where no sign-up tells of them';

CREATE FUNCTION assign_user(
    p_user_id UUID, p_tenant_id UUID, p_role TEXT DEFAULT 'user', p_assigned_by UUID DEFAULT NULL)
    RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM captions_private.check_id('user_id', p_user_id);
    PERFORM captions_private.check_id('tenant_id', p_tenant_id);
    PERFORM captions_private.check_role(p_role);
    PERFORM captions_private.tell_user(p_user_id, jsonb_build_object('type', 'UserAssigned',
        'tenant_id', p_tenant_id, 'role', p_role, 'assigned_by', p_assigned_by));
END;
$$;
COMMENT ON FUNCTION assign_user IS 'Gives a user a tenant and a role there';

CREATE FUNCTION remove_user(p_user_id UUID, p_reason TEXT DEFAULT NULL) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM captions_private.check_id('user_id', p_user_id);
    PERFORM captions_private.check_text('reason', p_reason, 1000);
    PERFORM captions_private.tell_user(p_user_id,
        jsonb_build_object('type', 'UserRemoved', 'reason', p_reason));
END;
$$;
COMMENT ON FUNCTION remove_user IS 'Removes a user for good';

CREATE FUNCTION register_video(
    p_tenant_id UUID, p_filename TEXT, p_video_id UUID DEFAULT NULL, p_storage_key TEXT DEFAULT NULL,
    p_size_bytes BIGINT DEFAULT NULL, p_duration_seconds DOUBLE PRECISION DEFAULT NULL,
    p_uploaded_by UUID DEFAULT NULL, p_uploaded_at TIMESTAMPTZ DEFAULT NULL) RETURNS UUID
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_id UUID := coalesce(p_video_id, gen_random_uuid());
    v_key TEXT;
BEGIN
    PERFORM captions_private.check_id('tenant_id', p_tenant_id);
    PERFORM captions_private.check_id('video_id', v_id);
    v_key := coalesce(p_storage_key, p_tenant_id || '/' || v_id || '/video.mp4');
    PERFORM captions_private.check_text('filename', p_filename, 1000, true);
    PERFORM captions_private.check_key('storage_key', p_tenant_id, v_id, v_key);
    PERFORM captions_private.check_at_least('size_bytes', p_size_bytes, 0);
    IF p_duration_seconds NOT BETWEEN 0 AND 1e9 THEN
        PERFORM captions_private.refuse('duration_seconds must be a number of seconds');
    END IF;
    PERFORM captions_private.tell_video(p_tenant_id, v_id, p_uploaded_by, jsonb_build_object(
        'type', 'VideoRegistered', 'filename', p_filename, 'storage_key', v_key,
        'size_bytes', p_size_bytes, 'duration_seconds', p_duration_seconds,
        'uploaded_at', captions_private.micros(p_uploaded_at)));
    RETURN v_id;
END;
$$;
COMMENT ON FUNCTION register_video IS
    'A file was accepted: a new video of a tenant, by default stored as {tenant}/{video}/video.mp4';

CREATE FUNCTION purge_video(p_video_id UUID, p_reason TEXT DEFAULT NULL) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM captions_private.check_text('reason', p_reason, 1000);
    PERFORM captions_private.tell_video(captions_private.find_video(p_video_id, NULL), p_video_id,
        NULL, jsonb_build_object('type', 'VideoPurged', 'reason', p_reason));
END;
$$;
COMMENT ON FUNCTION purge_video IS
    'Says that all of a video is gone; nothing brings it back. Its objects are for others to delete';

-- Under the row's lock: two that ask at once get two numbers.
CREATE FUNCTION allocate_crop_version(p_video_id UUID) RETURNS INTEGER
LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO captions_private.crop_counters AS c (video_id, last_version) VALUES (p_video_id, 1)
    ON CONFLICT (video_id) DO UPDATE SET last_version = c.last_version + 1
    RETURNING last_version;
$$;
COMMENT ON FUNCTION allocate_crop_version IS
    'The number of a video''s next version of cropped frames, which nobody else gets';

CREATE FUNCTION get_next_cropped_frames_version(p_video_id UUID) RETURNS INTEGER
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT coalesce((SELECT last_version FROM captions_private.crop_counters
                     WHERE video_id = p_video_id), 0) + 1;
$$;
COMMENT ON FUNCTION get_next_cropped_frames_version IS
    'What allocate_crop_version would give now, for people to look at: two that ask get one number';

CREATE FUNCTION activate_cropped_frames_version(p_version_id UUID) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_version cropped_frames_versions;
BEGIN
    SELECT * INTO v_version FROM cropped_frames_versions WHERE id = p_version_id;
    IF v_version.id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('there is no version %s of cropped frames', p_version_id);
    END IF;
    PERFORM captions_private.tell('captions.crops', v_version.video_id, jsonb_build_object(
        'tenant_id', v_version.tenant_id, 'video_id', v_version.video_id,
        'version_id', p_version_id), '{"type": "CropActivated"}');
END;
$$;
COMMENT ON FUNCTION activate_cropped_frames_version IS
    'Makes a version the active one of its video; the one before becomes archived';

-- --- sign-ups ---------------------------------------------------------------------------------

-- An exception here would refuse the sign-up itself. What is missing then, register_user tells.
CREATE FUNCTION captions_private.on_sign_up() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM remove_user(OLD.id, 'the account was deleted');
    ELSE
        PERFORM register_user(NEW.id, left(NEW.raw_user_meta_data ->> 'full_name', 1000),
            left(NEW.raw_user_meta_data ->> 'avatar_url', 2000));
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'no event of user % was written: %', coalesce(NEW.id, OLD.id), SQLERRM;
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION captions_private.on_sign_up IS 'Tells of users that sign up and that are deleted';

CREATE FUNCTION captions_private.watch_sign_ups() RETURNS VOID
LANGUAGE plpgsql AS $$
DECLARE
    v_users OID := (SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                    WHERE n.nspname = 'auth' AND c.relname = 'users');
BEGIN
    IF v_users IS NULL THEN
        RAISE NOTICE 'there is no auth.users here, so register_user must be called for new users';
    ELSIF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = v_users
                  AND tgname = 'captions_sign_up') THEN
        RETURN;
    ELSIF NOT has_schema_privilege('auth', 'USAGE')
        OR NOT has_table_privilege(v_users, 'TRIGGER') THEN
        RAISE NOTICE 'this role may make no trigger on auth.users, so that register_user must be '
            'called for new users';
    ELSE
        CREATE TRIGGER captions_sign_up AFTER INSERT OR DELETE ON auth.users
            FOR EACH ROW EXECUTE FUNCTION captions_private.on_sign_up();
    END IF;
END;
$$;
COMMENT ON FUNCTION captions_private.watch_sign_ups IS
    'Makes the trigger on auth.users, where that is; a second time changes nothing';
SELECT captions_private.watch_sign_ups();
