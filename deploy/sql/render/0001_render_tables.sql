-- SPDX-License-Identifier: Apache-2.0
--
-- What a platform that renders videos keeps: jobs with their elements and the steps of their work,
-- what was done in the object storage, who fetched the results, and measurements. Six tables and
-- six enums as the platform names them, and two tables more: what became of each word of a job's
-- status, and the elements that were refused.

-- On Supabase the extension is in the schema "extensions", and a function of this name may serve
-- other tables, too: neither is touched if it exists. The comment tells who may drop it again.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'uuid-ossp') THEN
        CREATE EXTENSION "uuid-ossp";
        COMMENT ON EXTENSION "uuid-ossp" IS
            'generate universally unique identifiers (UUIDs); made by Projectionist for render';
    END IF;
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

CREATE TYPE job_status AS ENUM (
    'pending', 'processing', 'completed', 'failed', 'cancelled', 'timeout');
COMMENT ON TYPE job_status IS 'How far a job is';
CREATE TYPE element_type AS ENUM ('video', 'image', 'audio', 'text', 'overlay');
COMMENT ON TYPE element_type IS 'What an element is';
CREATE TYPE fit_mode AS ENUM ('auto', 'contain', 'cover', 'fill', 'stretch');
COMMENT ON TYPE fit_mode IS 'How an element fills its place';
CREATE TYPE processing_step AS ENUM (
    'validation', 'download', 'processing', 'composition', 'encoding', 'upload', 'cleanup');
COMMENT ON TYPE processing_step IS 'The steps of a job''s work';
CREATE TYPE storage_operation AS ENUM ('upload', 'download', 'delete', 'access');
COMMENT ON TYPE storage_operation IS 'What is done in the object storage';
CREATE TYPE response_type AS ENUM ('immediate', 'async');
COMMENT ON TYPE response_type IS 'Whether a request is answered with the video or with an id';

-- Jobs --------------------------------------------------------------------------------------------

CREATE TABLE jobs (
    id UUID PRIMARY KEY,
    status job_status NOT NULL DEFAULT 'pending',
    response_type response_type NOT NULL,
    output_format VARCHAR(10) NOT NULL DEFAULT 'mp4',
    width INTEGER NOT NULL CHECK (width BETWEEN 1 AND 7680),
    height INTEGER NOT NULL CHECK (height BETWEEN 1 AND 4320),
    estimated_duration INTEGER,
    actual_duration INTEGER,
    processing_started_at TIMESTAMPTZ,
    processing_completed_at TIMESTAMPTZ,
    s3_bucket VARCHAR(255),
    s3_key VARCHAR(1024),
    s3_region VARCHAR(50) DEFAULT 'us-east-1',
    file_size BIGINT,
    result_url TEXT,
    progress_percentage INTEGER DEFAULT 0 CHECK (progress_percentage BETWEEN 0 AND 100),
    current_step processing_step,
    error_message TEXT,
    error_code VARCHAR(50),
    retry_count INTEGER DEFAULT 0,
    client_ip INET,
    user_agent TEXT,
    request_metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    owner_id UUID,
    placeholder BOOLEAN
);
CREATE INDEX idx_jobs_status ON jobs (status);
CREATE INDEX idx_jobs_created_at ON jobs (created_at DESC);
CREATE INDEX idx_jobs_response_type ON jobs (response_type);
CREATE INDEX idx_jobs_processing_time ON jobs (processing_started_at, processing_completed_at);
CREATE INDEX idx_jobs_s3_location ON jobs (s3_bucket, s3_key);
CREATE INDEX idx_jobs_client_ip ON jobs (client_ip);
CREATE INDEX idx_jobs_client_ip_status ON jobs (client_ip, status);
CREATE INDEX idx_jobs_created_at_client_ip ON jobs (created_at DESC, client_ip);
CREATE INDEX idx_jobs_owner_id ON jobs (owner_id) WHERE owner_id IS NOT NULL;
COMMENT ON TABLE jobs IS 'Videos to be made, and how far they are (render-jobs)';
COMMENT ON COLUMN jobs.response_type IS
    'As it was asked for, else immediate where at most 30 s of work are expected';
COMMENT ON COLUMN jobs.estimated_duration IS 'Seconds of work that were expected';
COMMENT ON COLUMN jobs.actual_duration IS
    'Seconds: what the worker says, else from the start to the end of one attempt; NULL where the '
    'start was never told';
COMMENT ON COLUMN jobs.processing_started_at IS 'When work began first; NULL where nobody told';
COMMENT ON COLUMN jobs.processing_completed_at IS 'Of the end that holds; NULL while there is none';
COMMENT ON COLUMN jobs.s3_bucket IS 'Of the latest upload that is the result; and so on';
COMMENT ON COLUMN jobs.result_url IS
    'As it was told, else that of the object; NULL once that was deleted';
COMMENT ON COLUMN jobs.progress_percentage IS 'Percent, of the attempt that holds';
COMMENT ON COLUMN jobs.retry_count IS 'How often work began again';
COMMENT ON COLUMN jobs.owner_id IS 'The user whose job it is; NULL: a request without a login';
COMMENT ON COLUMN jobs.placeholder IS
    'True while the row exists only so that foreign keys hold; NULL once the job is known';

CREATE TABLE job_status_history (
    event_id UUID PRIMARY KEY,
    job_id UUID NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    from_status job_status NOT NULL,
    to_status job_status NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('accepted', 'implied start', 'repeated', 'rejected')),
    cause TEXT NOT NULL CHECK (cause IN ('status', 'progress')),
    error_message TEXT,
    error_code VARCHAR(50)
);
CREATE INDEX idx_job_status_history_job_id ON job_status_history (job_id, at);
COMMENT ON TABLE job_status_history IS
    'Every word of a job''s status, and what became of it (render-jobs)';
COMMENT ON COLUMN job_status_history.attempt IS
    'The worker''s; of a cancellation, the one that was known then';
COMMENT ON COLUMN job_status_history.from_status IS 'What the job was before it';
COMMENT ON COLUMN job_status_history.to_status IS 'What the event says';
COMMENT ON COLUMN job_status_history.verdict IS
    'accepted; implied start: so is that work had begun; repeated: it was so already; rejected: it '
    'changes nothing';
COMMENT ON COLUMN job_status_history.cause IS 'A status, or a progress of 100 %';

-- What jobs consist of ----------------------------------------------------------------------------

-- Two rows may swap their orders within a transaction.
CREATE TABLE elements (
    id UUID PRIMARY KEY,
    job_id UUID NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    element_order INTEGER NOT NULL CHECK (element_order >= 0),
    type element_type NOT NULL,
    source_url TEXT NOT NULL,
    source_filename VARCHAR(255),
    source_size BIGINT,
    source_duration NUMERIC(10, 3),
    track INTEGER NOT NULL DEFAULT 0,
    x_position VARCHAR(10) DEFAULT '0%',
    y_position VARCHAR(10) DEFAULT '0%',
    width VARCHAR(10) DEFAULT '100%',
    height VARCHAR(10) DEFAULT '100%',
    fit_mode fit_mode DEFAULT 'auto',
    start_time NUMERIC(10, 3) DEFAULT 0,
    end_time NUMERIC(10, 3),
    downloaded BOOLEAN DEFAULT false,
    processed BOOLEAN DEFAULT false,
    error_message TEXT,
    local_path TEXT,
    processed_path TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    UNIQUE (job_id, element_order) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX idx_elements_job_id ON elements (job_id);
CREATE INDEX idx_elements_type ON elements (type);
CREATE INDEX idx_elements_status ON elements (downloaded, processed);
COMMENT ON TABLE elements IS 'What a video is composed of: at most ten a job (render-jobs)';
COMMENT ON COLUMN elements.source_duration IS 'Seconds';
COMMENT ON COLUMN elements.x_position IS 'Percent, such as 12.5%; and so on';
COMMENT ON COLUMN elements.start_time IS 'Seconds from the beginning of the video';
COMMENT ON COLUMN elements.error_message IS 'What went wrong with it last';

CREATE TABLE element_refusals (
    element_id UUID,
    job_id UUID REFERENCES jobs (id) ON DELETE CASCADE,
    element_order INTEGER NOT NULL,
    reason TEXT NOT NULL CHECK (
        reason IN ('another job''s', 'job has ended', 'order taken', 'eleventh')),
    emitted_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (element_id, job_id)
);
CREATE INDEX idx_element_refusals_job_id ON element_refusals (job_id);
COMMENT ON TABLE element_refusals IS
    'Elements that were added and are not in the table of elements (render-jobs)';
COMMENT ON COLUMN element_refusals.reason IS
    'The first of: it is another job''s, the job had ended, its place was taken, ten came before it';

CREATE TABLE processing_timeline (
    id UUID PRIMARY KEY,
    job_id UUID NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    step processing_step NOT NULL,
    step_order INTEGER NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ,
    duration_ms INTEGER,
    success BOOLEAN,
    progress_percentage INTEGER DEFAULT 0 CHECK (progress_percentage BETWEEN 0 AND 100),
    details JSONB,
    error_message TEXT,
    cpu_usage NUMERIC(5, 2),
    memory_usage BIGINT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    attempt INTEGER,
    UNIQUE (job_id, step, step_order) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX idx_processing_timeline_job_id ON processing_timeline (job_id, step_order);
CREATE INDEX idx_processing_timeline_step ON processing_timeline (step);
CREATE INDEX idx_processing_timeline_started_at ON processing_timeline (started_at DESC);
COMMENT ON TABLE processing_timeline IS
    'The steps of a job''s work, each as its greatest attempt had it (render-jobs)';
COMMENT ON COLUMN processing_timeline.id IS
    'The UUID (version 5) made of job, step and step_order, which others have, too';
COMMENT ON COLUMN processing_timeline.started_at IS
    'When it began; where only its end was told, that';
COMMENT ON COLUMN processing_timeline.duration_ms IS
    'From start to end, not negative; NULL where the start was not told';
COMMENT ON COLUMN processing_timeline.details IS 'What its end says, else its start';
COMMENT ON COLUMN processing_timeline.cpu_usage IS 'Percent';
COMMENT ON COLUMN processing_timeline.memory_usage IS 'Bytes';
COMMENT ON COLUMN processing_timeline.attempt IS 'The attempt that the row shows';

-- What is logged ----------------------------------------------------------------------------------

CREATE TABLE storage_operations (
    id UUID PRIMARY KEY,
    job_id UUID REFERENCES jobs (id) ON DELETE CASCADE,
    operation storage_operation NOT NULL,
    bucket VARCHAR(255) NOT NULL,
    key VARCHAR(1024) NOT NULL,
    region VARCHAR(50) NOT NULL DEFAULT 'us-east-1',
    success BOOLEAN NOT NULL DEFAULT false,
    file_size BIGINT,
    duration_ms INTEGER,
    error_message TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX idx_storage_operations_job_id ON storage_operations (job_id);
CREATE INDEX idx_storage_operations_operation ON storage_operations (operation);
CREATE INDEX idx_storage_operations_created_at ON storage_operations (created_at DESC);
CREATE INDEX idx_storage_operations_success ON storage_operations (success);
CREATE INDEX idx_storage_operations_object ON storage_operations (bucket, key);
COMMENT ON TABLE storage_operations IS
    'Every call of the object storage, also of jobs that are gone (render-storage)';
COMMENT ON COLUMN storage_operations.id IS 'The event''s';

CREATE TABLE url_access_logs (
    id UUID PRIMARY KEY,
    job_id UUID REFERENCES jobs (id) ON DELETE SET NULL,
    url TEXT NOT NULL,
    access_type VARCHAR(50) NOT NULL,
    client_ip INET,
    user_agent TEXT,
    referer TEXT,
    response_code INTEGER,
    bytes_served BIGINT,
    response_time_ms INTEGER,
    country VARCHAR(2),
    region VARCHAR(100),
    city VARCHAR(100),
    accessed_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX idx_url_access_logs_job_id ON url_access_logs (job_id);
CREATE INDEX idx_url_access_logs_accessed_at ON url_access_logs (accessed_at DESC);
CREATE INDEX idx_url_access_logs_client_ip ON url_access_logs (client_ip);
CREATE INDEX idx_url_access_logs_response_code ON url_access_logs (response_code);
COMMENT ON TABLE url_access_logs IS
    'Who fetched results, also of jobs that are gone (render-access)';
COMMENT ON COLUMN url_access_logs.id IS 'The event''s';
COMMENT ON COLUMN url_access_logs.access_type IS 'download, stream, preview, or another word';

CREATE TABLE system_metrics (
    id UUID PRIMARY KEY,
    metric_name VARCHAR(100) NOT NULL,
    metric_type VARCHAR(50) NOT NULL,
    value NUMERIC(15, 6) NOT NULL,
    unit VARCHAR(20),
    labels JSONB,
    recorded_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX idx_system_metrics_name_type ON system_metrics (metric_name, metric_type);
CREATE INDEX idx_system_metrics_recorded_at ON system_metrics (recorded_at DESC);
CREATE INDEX idx_system_metrics_labels ON system_metrics USING GIN (labels);
CREATE INDEX idx_system_metrics_requests ON system_metrics (metric_name, recorded_at DESC)
    WHERE metric_name IN ('security_event', 'api_request');
COMMENT ON TABLE system_metrics IS 'Measurements, and what security wants to know (render-metrics)';
COMMENT ON COLUMN system_metrics.id IS 'The event''s';
COMMENT ON COLUMN system_metrics.metric_type IS 'counter, gauge, histogram or timer';

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['jobs', 'elements', 'processing_timeline'] LOOP
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
        'render_jobs_object', 'render_jobs_additions', 'render_jobs_element', 'render_jobs_job'] LOOP
        EXECUTE format('CREATE TABLE projectionist.%I (
            key UUID PRIMARY KEY, facts BYTEA NOT NULL) WITH (fillfactor = 80)', 'state_' || state);
        EXECUTE format('COMMENT ON TABLE projectionist.%I IS %L', 'state_' || state,
            'Private state of a projection, from which its rows are derived');
    END LOOP;
END;
$$;

CREATE TABLE projectionist.state_render_jobs_job_wide (
    key UUID,
    kind INTEGER,
    subkey UUID,
    facts BYTEA NOT NULL,
    PRIMARY KEY (key, kind, subkey)
) WITH (fillfactor = 80);
COMMENT ON TABLE projectionist.state_render_jobs_job_wide IS
    'Private state of a projection: a row for each thing that is known of a job';
