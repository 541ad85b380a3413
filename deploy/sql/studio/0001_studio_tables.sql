-- SPDX-License-Identifier: Apache-2.0
--
-- What a studio for AI videos keeps: projects with their scenes, clips, exports and audio files, a
-- library of voices, the jobs that generate and render, and the objects in storage. Rows of a
-- project have its id in their key, so that an id which two projects use is two rows.

DO $$
BEGIN
    IF to_regprocedure('update_updated_at_column()') IS NULL THEN
        CREATE FUNCTION update_updated_at_column() RETURNS TRIGGER AS $body$
        BEGIN
            NEW.updated_at = NOW();
            RETURN NEW;
        END;
        $body$ LANGUAGE plpgsql;
        COMMENT ON FUNCTION update_updated_at_column() IS
            'Sets updated_at to the time of the transaction';
    END IF;
END;
$$;

-- Projects ----------------------------------------------------------------------------------------

-- A row is written anew with every autosave, in the room that its page keeps for that.
CREATE TABLE projects (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID,
    title TEXT,
    description TEXT,
    script TEXT,
    status TEXT DEFAULT 'draft',
    thumbnail_url TEXT,
    seo_title TEXT,
    seo_description TEXT,
    seo_tags TEXT[],
    seo_hashtags TEXT[],
    seo_chapters JSONB,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    revision BIGINT,
    saved_at TIMESTAMPTZ
) WITH (fillfactor = 70);
CREATE INDEX idx_projects_user_id ON projects (user_id);
COMMENT ON TABLE projects IS 'Projects, each text as it was saved last (studio-catalog)';
COMMENT ON COLUMN projects.user_id IS
    'Whoever signed in and saved it first; NULL: nobody, and everybody may see it';
COMMENT ON COLUMN projects.revision IS
    'Whoever changes the project sends a greater one, and this one as base_revision';
COMMENT ON COLUMN projects.saved_at IS
    'When it was saved last: sort by this; updated_at is when the row was written';

CREATE TABLE scenes (
    id UUID NOT NULL DEFAULT gen_random_uuid(),
    project_id UUID NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    number INTEGER,
    title TEXT,
    description TEXT,
    prompt TEXT,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    position INTEGER,
    client_id TEXT,
    PRIMARY KEY (project_id, id)
);
CREATE INDEX idx_scenes_project_id ON scenes (project_id);
COMMENT ON TABLE scenes IS 'The scenes of a project, those of the last save that had any say (studio-catalog)';
COMMENT ON COLUMN scenes.number IS 'As its maker says, else its place';
COMMENT ON COLUMN scenes.position IS 'The place in the project, from 1';
COMMENT ON COLUMN scenes.client_id IS
    'As its maker calls it; id is the same where that is a UUID, else the UUID (version 5) made from it';

CREATE TABLE clips (
    id UUID NOT NULL DEFAULT gen_random_uuid(),
    project_id UUID NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    scene_id UUID,
    provider TEXT,
    status TEXT DEFAULT 'draft',
    file_url TEXT,
    thumbnail_url TEXT,
    duration NUMERIC,
    order_index INTEGER,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    prompt TEXT,
    start_trim NUMERIC,
    end_trim NUMERIC,
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    revision BIGINT,
    PRIMARY KEY (project_id, id),
    FOREIGN KEY (project_id, scene_id) REFERENCES scenes (project_id, id)
        ON DELETE SET NULL (scene_id)
);
CREATE INDEX idx_clips_project_id ON clips (project_id);
CREATE INDEX idx_clips_scene_id ON clips (scene_id);
CREATE INDEX idx_clips_order_index ON clips (project_id, order_index);
COMMENT ON TABLE clips IS 'The clips of a project (studio-catalog)';
COMMENT ON COLUMN clips.scene_id IS 'NULL while the project has no such scene';
COMMENT ON COLUMN clips.duration IS 'Seconds; so are start_trim and end_trim, from the beginning of the file';
COMMENT ON COLUMN clips.order_index IS 'The place on the timeline, from 0';
COMMENT ON COLUMN clips.revision IS 'Of all clips of the project';

CREATE TABLE exports (
    id UUID NOT NULL DEFAULT gen_random_uuid(),
    project_id UUID NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    file_url TEXT,
    thumbnail_url TEXT,
    resolution TEXT,
    duration NUMERIC,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    revision BIGINT,
    PRIMARY KEY (project_id, id)
);
CREATE INDEX idx_exports_project_id ON exports (project_id);
COMMENT ON TABLE exports IS 'Final videos of a project (studio-catalog)';
COMMENT ON COLUMN exports.duration IS 'Seconds';

CREATE TABLE audio_files (
    id UUID NOT NULL DEFAULT gen_random_uuid(),
    project_id UUID NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    kind TEXT,
    file_url TEXT,
    filename TEXT,
    duration NUMERIC,
    metadata JSONB,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    revision BIGINT,
    PRIMARY KEY (project_id, id)
);
CREATE INDEX idx_audio_files_project_id ON audio_files (project_id);
COMMENT ON TABLE audio_files IS 'Narration and music of a project (studio-catalog)';
COMMENT ON COLUMN audio_files.duration IS 'Seconds';

CREATE TABLE project_saves (
    event_id UUID PRIMARY KEY,
    project_id UUID,
    revision BIGINT,
    base_revision BIGINT,
    emitted_at TIMESTAMPTZ,
    user_id UUID,
    fields JSONB,
    script_chars INTEGER,
    scene_count INTEGER
);
CREATE INDEX idx_project_saves_project_id ON project_saves (project_id, base_revision);
COMMENT ON TABLE project_saves IS
    'Every save, also of projects that are gone; without its contents (studio-catalog)';
COMMENT ON COLUMN project_saves.base_revision IS 'The revision that its writer had read';
COMMENT ON COLUMN project_saves.fields IS 'The texts that it set; NULL: all of them';
COMMENT ON COLUMN project_saves.script_chars IS
    'Of the script that it set; 0: it removed it; NULL: it says nothing of it';
COMMENT ON COLUMN project_saves.scene_count IS 'NULL: it says nothing of scenes';

CREATE TABLE projectionist.studio_waiting (
    project_id UUID,
    kind TEXT,
    id UUID,
    since TIMESTAMPTZ,
    PRIMARY KEY (project_id, kind, id)
);
COMMENT ON TABLE projectionist.studio_waiting IS
    'What belongs to projects that nobody saved yet, and becomes rows with their first save '
    '(studio-catalog)';
COMMENT ON COLUMN projectionist.studio_waiting.kind IS 'clip, export or audio_file';
COMMENT ON COLUMN projectionist.studio_waiting.since IS 'When its first save happened';

-- Voices ------------------------------------------------------------------------------------------

CREATE TABLE voices (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID,
    provider TEXT,
    voice_name TEXT,
    voice_id TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    revision BIGINT
);
CREATE INDEX idx_voices_user_id ON voices (user_id);
COMMENT ON TABLE voices IS 'The voices in users'' libraries (studio-voices)';
COMMENT ON COLUMN voices.id IS
    'The UUID (version 5) made from user_id, provider and voice_id, so that one voice is one row';
COMMENT ON COLUMN voices.user_id IS 'NULL: everybody''s';
COMMENT ON COLUMN voices.voice_id IS 'The provider''s';

-- Jobs --------------------------------------------------------------------------------------------

CREATE TABLE generation_jobs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id UUID,
    type TEXT,
    status TEXT DEFAULT 'queued',
    progress INTEGER DEFAULT 0,
    message TEXT,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    job_id TEXT,
    result JSONB,
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    project_deleted_at TIMESTAMPTZ,
    revision BIGINT
);
CREATE INDEX idx_generation_jobs_project_id ON generation_jobs (project_id);
CREATE INDEX idx_generation_jobs_status ON generation_jobs (status);
COMMENT ON TABLE generation_jobs IS
    'What is generated and rendered, also before its project is there (studio-jobs)';
COMMENT ON COLUMN generation_jobs.id IS
    'job_id where that is a UUID, else the UUID (version 5) made from it';
COMMENT ON COLUMN generation_jobs.type IS 'unknown: nobody registered it';
COMMENT ON COLUMN generation_jobs.status IS 'queued, running, success or error';
COMMENT ON COLUMN generation_jobs.progress IS 'Percent';
COMMENT ON COLUMN generation_jobs.project_deleted_at IS 'When its project was deleted, if it was';

-- Objects -----------------------------------------------------------------------------------------

CREATE TABLE studio_objects (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    bucket TEXT,
    object_key TEXT,
    project_id UUID,
    size_bytes BIGINT,
    content_type TEXT,
    etag TEXT,
    public_url TEXT,
    revision BIGINT,
    stored_at TIMESTAMPTZ
);
CREATE INDEX idx_studio_objects_project_id ON studio_objects (project_id);
COMMENT ON TABLE studio_objects IS 'What is in storage (studio-objects)';
COMMENT ON COLUMN studio_objects.id IS 'The UUID (version 5) made from bucket and object_key';
COMMENT ON COLUMN studio_objects.project_id IS 'Of a key projects/<project_id>/…; NULL of others';

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'projects', 'scenes', 'clips', 'exports', 'audio_files', 'voices', 'generation_jobs'] LOOP
        EXECUTE format('CREATE TRIGGER update_%s_updated_at BEFORE UPDATE ON %I '
                       'FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()', name, name);
    END LOOP;
END;
$$;

-- Private state -----------------------------------------------------------------------------------

DO $$
DECLARE
    state TEXT;
BEGIN
    FOREACH state IN ARRAY ARRAY[
        'studio_catalog_project', 'studio_voices_voice', 'studio_jobs_project', 'studio_jobs_job',
        'studio_objects_object'] LOOP
        EXECUTE format('CREATE TABLE projectionist.%I (
            key UUID PRIMARY KEY, facts BYTEA NOT NULL) WITH (fillfactor = 70)', 'state_' || state);
        EXECUTE format('COMMENT ON TABLE projectionist.%I IS %L', 'state_' || state,
            'Private state of a projection, from which its rows are derived');
    END LOOP;
    FOREACH state IN ARRAY ARRAY['studio_catalog_project', 'studio_jobs_project'] LOOP
        EXECUTE format('CREATE TABLE projectionist.%I (
            key UUID, kind INTEGER, subkey UUID, facts BYTEA NOT NULL,
            PRIMARY KEY (key, kind, subkey)) WITH (fillfactor = 70)', 'state_' || state || '_wide');
        EXECUTE format('COMMENT ON TABLE projectionist.%I IS %L', 'state_' || state || '_wide',
            'Private state of a projection: a row for each fact that is kept apart');
    END LOOP;
END;
$$;
