-- SPDX-License-Identifier: Apache-2.0
--
-- What the backend of short dramas keeps: dramas with their characters, episodes, scenes and
-- assets, the jobs that make them, and the users who pay for it. Ids are texts, chosen by whoever
-- made the thing, and unique only inside what it belongs to; so keys are composite.

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

-- Dramas ------------------------------------------------------------------------------------------

CREATE TABLE dramas (
    id TEXT PRIMARY KEY,
    user_id TEXT,
    title TEXT,
    description TEXT,
    premise TEXT,
    status TEXT DEFAULT 'pending',
    url TEXT,
    cover_url TEXT,
    episode_count INTEGER DEFAULT 0,
    metadata JSONB,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    life BIGINT,
    revision BIGINT,
    saved_at TIMESTAMPTZ,
    source TEXT,
    error TEXT
);
CREATE INDEX idx_dramas_user_id ON dramas (user_id);
CREATE INDEX idx_dramas_created_at ON dramas (created_at DESC);
CREATE INDEX idx_dramas_updated_at ON dramas (updated_at DESC);
COMMENT ON TABLE dramas IS 'Dramas, as they were saved last (drama-catalog)';
COMMENT ON COLUMN dramas.user_id IS 'Of the first event of its life that names one';
COMMENT ON COLUMN dramas.cover_url IS 'Its own, else url';
COMMENT ON COLUMN dramas.life IS
    'The revision of the save that created it: an id may be used again after a deletion';
COMMENT ON COLUMN dramas.revision IS
    'The version: whoever changes the drama sends it as base_revision';
COMMENT ON COLUMN dramas.saved_at IS 'When it was saved last; updated_at is when the row was written';
COMMENT ON COLUMN dramas.source IS 'Of the last save: api or import';
COMMENT ON COLUMN dramas.error IS 'Why it failed, while status is failed';

CREATE TABLE characters (
    drama_id TEXT NOT NULL REFERENCES dramas (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    user_id TEXT,
    name TEXT,
    description TEXT,
    gender TEXT,
    voice_description TEXT,
    is_main BOOLEAN DEFAULT false,
    url TEXT,
    premise_url TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    position INTEGER,
    extra JSONB,
    PRIMARY KEY (drama_id, id)
);
CREATE INDEX idx_characters_drama_id ON characters (drama_id);
CREATE INDEX idx_characters_is_main ON characters (drama_id) WHERE is_main;
COMMENT ON TABLE characters IS 'Who plays (drama-catalog)';
COMMENT ON COLUMN characters.position IS 'The place in the drama, from 1';
COMMENT ON COLUMN characters.extra IS 'Members of an older form that no column names';

CREATE TABLE episodes (
    drama_id TEXT NOT NULL REFERENCES dramas (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    user_id TEXT,
    title TEXT,
    description TEXT,
    premise TEXT,
    url TEXT,
    sequence_number INTEGER,
    metadata JSONB,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    extra JSONB,
    PRIMARY KEY (drama_id, id)
);
CREATE INDEX idx_episodes_drama_id ON episodes (drama_id);
COMMENT ON TABLE episodes IS 'The parts of a drama (drama-catalog)';
COMMENT ON COLUMN episodes.sequence_number IS 'The place in the drama, from 1';
COMMENT ON COLUMN episodes.extra IS 'Members of an older form that no column names';

CREATE TABLE scenes (
    drama_id TEXT NOT NULL,
    episode_id TEXT NOT NULL,
    id TEXT NOT NULL,
    user_id TEXT,
    description TEXT,
    image_url TEXT,
    video_url TEXT,
    sequence_number INTEGER,
    metadata JSONB,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    extra JSONB,
    PRIMARY KEY (drama_id, episode_id, id),
    FOREIGN KEY (drama_id, episode_id) REFERENCES episodes (drama_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_scenes_drama_id ON scenes (drama_id);
CREATE INDEX idx_scenes_episode_id ON scenes (episode_id);
COMMENT ON TABLE scenes IS 'The parts of an episode (drama-catalog)';
COMMENT ON COLUMN scenes.sequence_number IS 'The place in the episode, from 1';
COMMENT ON COLUMN scenes.extra IS 'Members of an older form that no column names';

CREATE TABLE assets (
    asset_key UUID PRIMARY KEY,
    drama_id TEXT REFERENCES dramas (id) ON DELETE CASCADE,
    owner TEXT,
    character_id TEXT,
    episode_id TEXT,
    scene_id TEXT,
    id TEXT,
    kind TEXT,
    depends_on JSONB DEFAULT '[]',
    prompt TEXT,
    duration INTEGER,
    url TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    position INTEGER,
    extra JSONB,
    FOREIGN KEY (drama_id, character_id) REFERENCES characters (drama_id, id) ON DELETE CASCADE,
    FOREIGN KEY (drama_id, episode_id) REFERENCES episodes (drama_id, id) ON DELETE CASCADE,
    FOREIGN KEY (drama_id, episode_id, scene_id) REFERENCES scenes (drama_id, episode_id, id)
        ON DELETE CASCADE
);
CREATE INDEX idx_assets_drama_id_kind ON assets (drama_id, kind);
CREATE INDEX idx_assets_character_id ON assets (character_id);
CREATE INDEX idx_assets_episode_id ON assets (episode_id);
CREATE INDEX idx_assets_scene_id ON assets (scene_id);
COMMENT ON TABLE assets IS 'The images and videos that are made for a drama (drama-catalog)';
COMMENT ON COLUMN assets.asset_key IS
    'The UUID (version 5) made from where it is and its id, which others have, too';
COMMENT ON COLUMN assets.owner IS 'drama, character, episode or scene';
COMMENT ON COLUMN assets.depends_on IS 'Ids of characters, and of assets beside it';
COMMENT ON COLUMN assets.duration IS 'Seconds';
COMMENT ON COLUMN assets.position IS 'The place among those of its owner, from 1';
COMMENT ON COLUMN assets.extra IS 'Members of an older form that no column names';

CREATE TABLE drama_saves (
    event_id UUID PRIMARY KEY,
    drama_id TEXT,
    life BIGINT,
    revision BIGINT,
    base_revision BIGINT,
    source TEXT,
    content_hash TEXT,
    emitted_at TIMESTAMPTZ,
    user_id TEXT,
    characters INTEGER,
    episodes INTEGER,
    scenes INTEGER,
    assets INTEGER
);
CREATE INDEX idx_drama_saves_drama_id ON drama_saves (drama_id, life, base_revision);
COMMENT ON TABLE drama_saves IS
    'Every save, also of dramas that are gone; without its contents (drama-catalog)';
COMMENT ON COLUMN drama_saves.base_revision IS 'The revision that its writer had read';
COMMENT ON COLUMN drama_saves.characters IS 'How many; NULL where the save does not say, and so on';

-- Jobs --------------------------------------------------------------------------------------------

CREATE TABLE jobs (
    drama_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    id UUID UNIQUE,
    user_id TEXT,
    job_type TEXT,
    status TEXT DEFAULT 'pending',
    own_status TEXT,
    asset_id TEXT,
    node_type TEXT,
    parent_job_id TEXT,
    prompt TEXT,
    depends_on JSONB,
    total_jobs INTEGER DEFAULT 1,
    completed_jobs INTEGER DEFAULT 0,
    failed_jobs INTEGER DEFAULT 0,
    running_jobs INTEGER DEFAULT 0,
    pending_jobs INTEGER DEFAULT 0,
    error TEXT,
    r2_url TEXT,
    r2_key TEXT,
    result JSONB,
    title TEXT,
    project_name TEXT,
    metadata JSONB,
    attempts INTEGER,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    revision BIGINT,
    PRIMARY KEY (drama_id, job_id),
    -- A parent and its children are written in any order within a transaction.
    FOREIGN KEY (drama_id, parent_job_id) REFERENCES jobs (drama_id, job_id) ON DELETE CASCADE
        DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX idx_jobs_user_id ON jobs (user_id);
CREATE INDEX idx_jobs_status ON jobs (status);
CREATE INDEX idx_jobs_asset_id ON jobs (drama_id, asset_id);
CREATE INDEX idx_jobs_parent_job_id ON jobs (drama_id, parent_job_id);
CREATE INDEX idx_jobs_created_at ON jobs (created_at DESC);
COMMENT ON TABLE jobs IS
    'What is made for a drama, also before the drama is there; jobs are parts of jobs (drama-jobs)';
COMMENT ON COLUMN jobs.id IS 'The UUID (version 5) made from drama and job, which others have, too';
COMMENT ON COLUMN jobs.job_type IS 'unknown: only its parts are known so far';
COMMENT ON COLUMN jobs.status IS 'pending, processing, completed or failed; of a parent, by its parts';
COMMENT ON COLUMN jobs.own_status IS 'By its own events alone';
COMMENT ON COLUMN jobs.parent_job_id IS
    'The job of which it is a part; jobs that are parts of each other in a ring count for none';
COMMENT ON COLUMN jobs.total_jobs IS 'Its parts, those that are announced or those that are known';
COMMENT ON COLUMN jobs.attempts IS 'The attempt that the row shows';

-- Users -------------------------------------------------------------------------------------------

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    email TEXT,
    display_name TEXT,
    tokens BIGINT DEFAULT 30,
    subscription_tier TEXT DEFAULT 'free',
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    entries BIGINT,
    revision BIGINT
);
CREATE INDEX idx_users_email ON users (email);
COMMENT ON TABLE users IS 'Accounts (drama-users)';
COMMENT ON COLUMN users.tokens IS
    'The sum of the entries in token_ledger; it may be negative, and is NULL beyond 64 bits';
COMMENT ON COLUMN users.entries IS 'How many entries that is';
COMMENT ON COLUMN users.revision IS 'Of the profile, not of the ledger';

CREATE TABLE token_ledger (
    entry_id UUID PRIMARY KEY,
    user_id TEXT,
    delta BIGINT,
    reason TEXT,
    drama_id TEXT,
    job_id TEXT,
    emitted_at TIMESTAMPTZ,
    event_id UUID
);
CREATE INDEX idx_token_ledger_user_id ON token_ledger (user_id, emitted_at);
CREATE INDEX idx_token_ledger_drama_id ON token_ledger (drama_id);
COMMENT ON TABLE token_ledger IS
    'What was granted and spent, each entry once, also of accounts that are gone (drama-users)';
COMMENT ON COLUMN token_ledger.event_id IS 'The earliest event with the entry';

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'dramas', 'characters', 'episodes', 'scenes', 'assets', 'jobs', 'users'] LOOP
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
        'drama_catalog_drama', 'drama_jobs_drama', 'drama_jobs_links', 'drama_jobs_job',
        'drama_users_entry', 'drama_users_part', 'drama_users_user'] LOOP
        EXECUTE format('CREATE TABLE projectionist.%I (
            key UUID PRIMARY KEY, facts BYTEA NOT NULL) WITH (fillfactor = 80)', 'state_' || state);
        EXECUTE format('COMMENT ON TABLE projectionist.%I IS %L', 'state_' || state,
            'Private state of a projection, from which its rows are derived');
    END LOOP;
END;
$$;

CREATE TABLE projectionist.state_drama_jobs_links_wide (
    key UUID,
    kind INTEGER,
    subkey UUID,
    facts BYTEA NOT NULL,
    PRIMARY KEY (key, kind, subkey)
) WITH (fillfactor = 80);
COMMENT ON TABLE projectionist.state_drama_jobs_links_wide IS
    'Private state of a projection: a row for each thing that is known of a job';
