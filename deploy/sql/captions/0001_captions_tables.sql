-- SPDX-License-Identifier: Apache-2.0
--
-- The catalogue of the captioning service: its tenants, users and videos, the text in these, the
-- versions of their cropped frames, their objects in storage and the flow runs that work on them.
-- Only the projections write here. What they cannot fill yet is a placeholder: the column
-- `placeholder` is true then, and nobody is shown the row.

-- Trigrams find words in scripts that put no blanks between them. On Supabase the extension is in
-- the schema "extensions"; it stays where it is.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE FUNCTION captions_touch() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END;
$$;
COMMENT ON FUNCTION captions_touch() IS 'Sets updated_at to the time of the transaction';

-- --- tenants and users ------------------------------------------------------------------------

CREATE TABLE tenants (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    storage_quota_gb INTEGER DEFAULT 100,
    created_at TIMESTAMPTZ,
    placeholder BOOLEAN,
    -- Slugs may change hands in one transaction.
    CONSTRAINT tenants_slug_key UNIQUE (slug) DEFERRABLE INITIALLY DEFERRED
);
COMMENT ON TABLE tenants IS 'Who has an account; by captions-tenants';
COMMENT ON COLUMN tenants.slug IS
    'Of two tenants that want one slug the older has it, the other one with the beginning of its id';
COMMENT ON COLUMN tenants.storage_quota_gb IS 'How many gigabytes, of 10^9 bytes, it may store';
COMMENT ON COLUMN tenants.placeholder IS
    'True while the row exists only so that foreign keys hold; NULL once the tenant is known';

CREATE TABLE user_profiles (
    id UUID PRIMARY KEY,
    tenant_id UUID REFERENCES tenants (id),
    full_name TEXT,
    avatar_url TEXT,
    role TEXT DEFAULT 'user' CHECK (role IN ('user', 'admin', 'annotator')),
    created_at TIMESTAMPTZ
);
CREATE INDEX idx_user_profiles_tenant ON user_profiles (tenant_id);
COMMENT ON TABLE user_profiles IS
    'Users, by captions-users. There is no foreign key to auth.users: what deletes a row there would '
    'change rows here behind their consumer';

-- --- videos -----------------------------------------------------------------------------------

CREATE TABLE videos (
    id UUID PRIMARY KEY,
    tenant_id UUID REFERENCES tenants (id),
    filename TEXT NOT NULL,
    storage_key TEXT NOT NULL,
    size_bytes BIGINT,
    status TEXT DEFAULT 'uploading' CHECK (status IN ('uploading', 'processing', 'active', 'failed',
        'archived', 'soft_deleted', 'purged')),
    duration_seconds REAL,
    annotations_db_key TEXT,
    locked_by_user_id UUID,
    locked_at TIMESTAMPTZ,
    uploaded_by_user_id UUID,
    uploaded_at TIMESTAMPTZ,
    prefect_flow_run_id UUID,
    deleted_at TIMESTAMPTZ,
    current_cropped_frames_version INTEGER,
    layout_approved_at TIMESTAMPTZ,
    layout_approved_by UUID,
    layout_db_hash TEXT,
    failure TEXT,
    frame_count INTEGER,
    indexed_frames INTEGER,
    failed_batches INTEGER,
    purged_at TIMESTAMPTZ,
    placeholder BOOLEAN
);
CREATE INDEX idx_videos_tenant ON videos (tenant_id, uploaded_at DESC);
CREATE INDEX idx_videos_flow_run ON videos (prefect_flow_run_id);
COMMENT ON TABLE videos IS 'Every video that was registered; by captions-catalog';
COMMENT ON COLUMN videos.storage_key IS 'The object that holds the video';
COMMENT ON COLUMN videos.annotations_db_key IS 'The object that holds its captions';
COMMENT ON COLUMN videos.locked_by_user_id IS
    'For display: who may edit is decided by the function that acquires locks';
COMMENT ON COLUMN videos.prefect_flow_run_id IS 'The latest run that processed it';
COMMENT ON COLUMN videos.current_cropped_frames_version IS 'The number of the active version';
COMMENT ON COLUMN videos.layout_db_hash IS 'Of the layout that was approved last';
COMMENT ON COLUMN videos.failure IS
    'Why the latest run failed, also where an earlier one left the video active';
COMMENT ON COLUMN videos.failed_batches IS
    'How many batches of frames the latest run could not read; their older text stays';
COMMENT ON COLUMN videos.placeholder IS
    'True while the row exists only so that foreign keys hold; NULL once the video is known';

CREATE TABLE tenant_conflicts (
    event_id UUID PRIMARY KEY,
    video_id UUID NOT NULL,
    claimed_tenant_id UUID NOT NULL,
    topic TEXT NOT NULL,
    emitted_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX idx_tenant_conflicts_video ON tenant_conflicts (video_id);
COMMENT ON TABLE tenant_conflicts IS
    'Events that named another tenant than the video''s, and changed nothing; by captions-catalog';

-- --- search -----------------------------------------------------------------------------------

CREATE TABLE video_search_index (
    id BIGSERIAL PRIMARY KEY,
    video_id UUID NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    frame_index INTEGER NOT NULL,
    tenant_id UUID NOT NULL,
    ocr_text TEXT,
    caption_text TEXT,
    search_vector TSVECTOR GENERATED ALWAYS AS (
        to_tsvector('simple', coalesce(ocr_text, '') || ' ' || coalesce(caption_text, ''))) STORED,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (video_id, frame_index)
);
CREATE INDEX idx_video_search_index_vector ON video_search_index USING gin (search_vector);
CREATE INDEX idx_video_search_index_trigrams
    ON video_search_index USING gin (ocr_text gin_trgm_ops);
CREATE TRIGGER video_search_index_touch BEFORE UPDATE ON video_search_index
    FOR EACH ROW EXECUTE FUNCTION captions_touch();
COMMENT ON TABLE video_search_index IS 'What is written in each frame of a video; by search-index';
COMMENT ON COLUMN video_search_index.id IS
    'No fact: a rebuild gives others, and nothing refers to it';
COMMENT ON COLUMN video_search_index.ocr_text IS
    'As it was read: the boxes of a line joined as printed, lines by a newline';

-- --- versions of cropped frames ---------------------------------------------------------------

CREATE TABLE cropped_frames_versions (
    id UUID PRIMARY KEY,
    video_id UUID NOT NULL REFERENCES videos (id) ON DELETE CASCADE,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    version INTEGER NOT NULL,
    storage_prefix TEXT NOT NULL,
    layout_db_storage_key TEXT,
    layout_db_hash TEXT,
    crop_bounds JSONB,
    frame_rate REAL DEFAULT 10,
    chunk_count INTEGER,
    total_frames INTEGER,
    total_size_bytes BIGINT,
    status TEXT DEFAULT 'processing'
        CHECK (status IN ('processing', 'active', 'archived', 'failed')),
    created_at TIMESTAMPTZ,
    created_by_user_id UUID,
    activated_at TIMESTAMPTZ,
    archived_at TIMESTAMPTZ,
    prefect_flow_run_id UUID,
    -- Checked at the end of a transaction, within which rows may swap their numbers and the mark.
    CONSTRAINT cropped_frames_versions_video_version UNIQUE (video_id, version)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT cropped_frames_versions_one_active EXCLUDE USING btree (video_id WITH =)
        WHERE (status = 'active') DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX idx_cropped_frames_versions_tenant ON cropped_frames_versions (tenant_id);
COMMENT ON TABLE cropped_frames_versions IS
    'Each time that a video''s caption region was cropped; by crop-versions';
COMMENT ON COLUMN cropped_frames_versions.version IS
    'The number that is in the keys of its chunks; never given by this table';
COMMENT ON COLUMN cropped_frames_versions.archived_at IS
    'When another version was activated after it was, the last time';

CREATE TABLE crop_version_conflicts (
    version_id UUID PRIMARY KEY,
    video_id UUID NOT NULL,
    version INTEGER NOT NULL,
    kept_by UUID NOT NULL,
    emitted_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX idx_crop_version_conflicts_video ON crop_version_conflicts (video_id);
COMMENT ON TABLE crop_version_conflicts IS
    'Versions whose number an earlier version of the video has; by crop-versions';
COMMENT ON COLUMN crop_version_conflicts.kept_by IS 'The version that has the number';

-- --- flow runs and objects --------------------------------------------------------------------

CREATE TABLE flow_runs (
    flow_run_id UUID PRIMARY KEY,
    tenant_id UUID,
    video_id UUID,
    flow_name TEXT,
    run_name TEXT,
    state_type TEXT,
    state_name TEXT,
    run_count INTEGER,
    message TEXT,
    first_seen_at TIMESTAMPTZ,
    last_changed_at TIMESTAMPTZ,
    tags JSONB
);
CREATE INDEX idx_flow_runs_tenant ON flow_runs (tenant_id);
CREATE INDEX idx_flow_runs_video ON flow_runs (video_id);
COMMENT ON TABLE flow_runs IS 'Each run of a flow, and its state; by flow-runs';
COMMENT ON COLUMN flow_runs.tenant_id IS
    'By the run''s tags, else by what the run told of the video; NULL while neither is known';

CREATE TABLE video_objects (
    object_id UUID PRIMARY KEY,
    tenant_id UUID,
    video_id UUID,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('video', 'video.db', 'fullOCR.db', 'layout.db',
        'captions.db', 'chunk', 'other')),
    size_bytes BIGINT,
    etag TEXT,
    stored_at TIMESTAMPTZ,
    removed_at TIMESTAMPTZ,
    CONSTRAINT video_objects_bucket_key UNIQUE (bucket, key) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX idx_video_objects_tenant ON video_objects (tenant_id);
CREATE INDEX idx_video_objects_video ON video_objects (video_id);
COMMENT ON TABLE video_objects IS 'The objects in storage, also those removed; by object-catalog';
COMMENT ON COLUMN video_objects.object_id IS 'The UUID, version 5, of bucket/key';
