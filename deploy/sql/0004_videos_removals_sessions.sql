-- SPDX-License-Identifier: Apache-2.0
--
-- What the video catalog, the watermark metrics and the session tracker need: columns and tables
-- of their own beside the Safari tables, and their private state.

-- As in 0003: what is made here belongs where the Safari tables are.
SELECT set_config('search_path',
    (SELECT coalesce(string_agg(quote_ident(s.name), ', ' ORDER BY s.place), '')
     FROM unnest(current_schemas(false)) WITH ORDINALITY AS s (name, place)
     WHERE s.name <> 'projectionist'),
    true);

-- --- safari_videos ----------------------------------------------------------------------------

ALTER TABLE safari_videos ADD COLUMN IF NOT EXISTS placeholder BOOLEAN;
COMMENT ON COLUMN safari_videos.placeholder IS
    'True while the row was only made so that a foreign key holds; NULL once the video is known';

-- Makes placeholder rows for videos that removals name and that the catalog has not made yet.
CREATE OR REPLACE FUNCTION projectionist.ensure_videos(
    p_keys UUID[], p_seen TIMESTAMPTZ[], OUT settled UUID[], OUT created BIGINT)
LANGUAGE sql AS $$
    WITH wanted AS (
        SELECT g.key, min(g.seen) AS seen
        FROM unnest(p_keys, p_seen) AS g (key, seen)
        GROUP BY g.key
    ), known AS (
        SELECT w.key, w.seen, v.video_id IS NOT NULL AND v.placeholder IS NOT TRUE AS settled,
            v.video_id IS NULL OR (v.placeholder AND v.created_at > w.seen) AS due
        FROM wanted AS w LEFT JOIN safari_videos AS v ON v.video_id = w.key
    ), made AS (
        INSERT INTO safari_videos AS v (video_id, status, created_at, placeholder)
        SELECT k.key, 'GENERATING', k.seen, true FROM known AS k WHERE k.due ORDER BY k.key
        ON CONFLICT (video_id) DO UPDATE SET created_at = excluded.created_at
            WHERE v.placeholder AND v.created_at > excluded.created_at
        RETURNING v.xmax = 0 AS inserted
    )
    SELECT (SELECT coalesce(array_agg(k.key), '{}') FROM known AS k WHERE k.settled),
        (SELECT count(*) FROM made AS m WHERE m.inserted)
$$;
COMMENT ON FUNCTION projectionist.ensure_videos IS
    'Makes placeholder rows in safari_videos; returns the keys that need none, and how many it made';

-- --- watermark_metrics ------------------------------------------------------------------------

-- Histograms are arrays of counts, added element by element; a missing one is all zeros.
CREATE OR REPLACE FUNCTION projectionist.add_counts(p_a BIGINT[], p_b BIGINT[]) RETURNS BIGINT[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_a IS NULL THEN p_b
        WHEN p_b IS NULL THEN p_a
        ELSE (SELECT array_agg(coalesce(g.a, 0) + coalesce(g.b, 0) ORDER BY g.i)
            FROM unnest(p_a, p_b) WITH ORDINALITY AS g (a, b, i))
    END
$$;
COMMENT ON FUNCTION projectionist.add_counts IS 'Adds two histograms element by element';
CREATE OR REPLACE AGGREGATE projectionist.sum_counts(BIGINT[]) (
    SFUNC = projectionist.add_counts, STYPE = BIGINT[], PARALLEL = SAFE);
COMMENT ON AGGREGATE projectionist.sum_counts(BIGINT[]) IS 'Adds histograms element by element';

-- The bin of a time: one for what is under 1 ms, then eight for each doubling, so that a bin is at
-- most an eighth wider than its lower bound.
CREATE OR REPLACE FUNCTION projectionist.histogram_bin(p_ms BIGINT) RETURNS INTEGER
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_ms < 1 THEN 0 ELSE (
        SELECT 1 + 8 * o.octave + (((p_ms * 8) >> o.octave) - 8)::INTEGER
        FROM (SELECT length(ltrim(p_ms::BIT(32)::TEXT, '0')) - 1 AS octave) AS o) END
$$;

CREATE OR REPLACE FUNCTION projectionist.histogram_upper_bound(p_bin INTEGER) RETURNS NUMERIC
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_bin = 0 THEN 1
        ELSE (9 + (p_bin - 1) % 8)::NUMERIC / 8 * 2 ^ ((p_bin - 1) / 8)::NUMERIC END
$$;

COMMENT ON FUNCTION projectionist.histogram_bin IS 'The bin, from 0, that a time in ms falls in';
COMMENT ON FUNCTION projectionist.histogram_upper_bound IS
    'The time in ms that all of a bin are under';

-- The time that a share of all is under: the upper bound of the bin it falls in, within the
-- extremes, which are exact.
CREATE OR REPLACE FUNCTION projectionist.histogram_quantile(
    p_counts BIGINT[], p_share DOUBLE PRECISION, p_min BIGINT, p_max BIGINT) RETURNS BIGINT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(p_max, greatest(p_min, floor(projectionist.histogram_upper_bound(r.bin))::BIGINT))
    FROM (
        SELECT g.i::INTEGER - 1 AS bin, sum(g.n) OVER (ORDER BY g.i) AS running,
            sum(g.n) OVER () AS total
        FROM unnest(p_counts) WITH ORDINALITY AS g (n, i)
    ) AS r
    WHERE r.total > 0 AND r.running >= ceil(r.total * p_share)
    ORDER BY r.bin
    LIMIT 1
$$;
COMMENT ON FUNCTION projectionist.histogram_quantile IS
    'Milliseconds that the share (0.5, 0.95, …) of the counted times stays under, at most 1/8 too many';

CREATE TABLE IF NOT EXISTS watermark_metrics (
    bucket_start TIMESTAMPTZ NOT NULL,
    method VARCHAR(50) NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    succeeded BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    input_bytes BIGINT NOT NULL DEFAULT 0,
    output_bytes BIGINT NOT NULL DEFAULT 0,
    processing_ms_sum BIGINT NOT NULL DEFAULT 0,
    processing_ms_min BIGINT,
    processing_ms_max BIGINT,
    histogram BIGINT[] NOT NULL,
    PRIMARY KEY (bucket_start, method)
);
COMMENT ON TABLE watermark_metrics IS 'Watermark removals by the hour they began in and method';
COMMENT ON COLUMN watermark_metrics.bucket_start IS 'The UTC hour of the removals'' created_at';
COMMENT ON COLUMN watermark_metrics.attempts IS 'Removals, ended or not';
COMMENT ON COLUMN watermark_metrics.failed IS 'Removals that ended without success';
COMMENT ON COLUMN watermark_metrics.histogram IS
    'Counts of processing times; see projectionist.histogram_quantile';

-- A bucket that the last removal left goes. Extremes cannot be taken back: where a timed removal
-- changed, which is rare, they are computed anew from the removals; the caller's addition has
-- locked the bucket, and whoever adds to it later brings its own.
CREATE OR REPLACE FUNCTION projectionist.settle_watermark_metrics(
    p_buckets TIMESTAMPTZ[], p_methods TEXT[], p_extremes BOOLEAN[]) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM watermark_metrics AS m
    USING unnest(p_buckets, p_methods) AS g (bucket_start, method)
    WHERE m.bucket_start = g.bucket_start AND m.method = g.method AND m.attempts = 0;
    UPDATE watermark_metrics AS m SET processing_ms_min = r.least, processing_ms_max = r.greatest
    FROM (
        SELECT g.bucket_start, g.method, min(w.processing_time_ms) AS least,
            max(w.processing_time_ms) AS greatest
        FROM unnest(p_buckets, p_methods, p_extremes) AS g (bucket_start, method, extreme)
        LEFT JOIN watermark_removals AS w ON w.created_at >= g.bucket_start
            AND w.created_at < g.bucket_start + interval '1 hour' AND w.method = g.method
        WHERE g.extreme
        GROUP BY g.bucket_start, g.method
    ) AS r
    WHERE m.bucket_start = r.bucket_start AND m.method = r.method;
$$;
COMMENT ON FUNCTION projectionist.settle_watermark_metrics IS
    'Computes extremes anew, and removes empty buckets, where removals were taken back';

CREATE OR REPLACE VIEW watermark_metrics_hourly AS
SELECT m.bucket_start, m.method, m.attempts, m.succeeded, m.failed,
    round(m.succeeded::NUMERIC / nullif(m.succeeded + m.failed, 0), 4) AS success_rate,
    m.input_bytes, m.output_bytes,
    projectionist.histogram_quantile(m.histogram, 0.50, m.processing_ms_min, m.processing_ms_max) AS p50_ms,
    projectionist.histogram_quantile(m.histogram, 0.95, m.processing_ms_min, m.processing_ms_max) AS p95_ms,
    projectionist.histogram_quantile(m.histogram, 0.99, m.processing_ms_min, m.processing_ms_max) AS p99_ms
FROM watermark_metrics AS m;

CREATE OR REPLACE VIEW watermark_metrics_daily AS
SELECT d.day, d.method, d.attempts, d.succeeded, d.failed,
    round(d.succeeded / nullif(d.succeeded + d.failed, 0), 4) AS success_rate,
    d.input_bytes, d.output_bytes,
    projectionist.histogram_quantile(d.histogram, 0.50, d.least, d.greatest) AS p50_ms,
    projectionist.histogram_quantile(d.histogram, 0.95, d.least, d.greatest) AS p95_ms,
    projectionist.histogram_quantile(d.histogram, 0.99, d.least, d.greatest) AS p99_ms
FROM (
    SELECT (m.bucket_start AT TIME ZONE 'UTC')::DATE AS day, m.method, sum(m.attempts) AS attempts,
        sum(m.succeeded) AS succeeded, sum(m.failed) AS failed, sum(m.input_bytes) AS input_bytes,
        sum(m.output_bytes) AS output_bytes, min(m.processing_ms_min) AS least,
        max(m.processing_ms_max) AS greatest, projectionist.sum_counts(m.histogram) AS histogram
    FROM watermark_metrics AS m GROUP BY 1, 2
) AS d;

CREATE OR REPLACE VIEW watermark_metrics_by_method AS
SELECT d.method, d.attempts, d.succeeded, d.failed,
    round(d.succeeded / nullif(d.succeeded + d.failed, 0), 4) AS success_rate,
    d.input_bytes, d.output_bytes,
    projectionist.histogram_quantile(d.histogram, 0.50, d.least, d.greatest) AS p50_ms,
    projectionist.histogram_quantile(d.histogram, 0.95, d.least, d.greatest) AS p95_ms,
    projectionist.histogram_quantile(d.histogram, 0.99, d.least, d.greatest) AS p99_ms
FROM (
    SELECT m.method, sum(m.attempts) AS attempts, sum(m.succeeded) AS succeeded,
        sum(m.failed) AS failed, sum(m.input_bytes) AS input_bytes,
        sum(m.output_bytes) AS output_bytes, min(m.processing_ms_min) AS least,
        max(m.processing_ms_max) AS greatest, projectionist.sum_counts(m.histogram) AS histogram
    FROM watermark_metrics AS m GROUP BY 1
) AS d;
COMMENT ON VIEW watermark_metrics_hourly IS 'Success rate and quantiles per hour and method';
COMMENT ON VIEW watermark_metrics_daily IS 'Success rate and quantiles per UTC day and method';
COMMENT ON VIEW watermark_metrics_by_method IS 'Success rate and quantiles per method';

-- --- safari_sessions --------------------------------------------------------------------------

ALTER TABLE safari_sessions ADD COLUMN IF NOT EXISTS last_activity_at TIMESTAMPTZ;
COMMENT ON COLUMN safari_sessions.last_activity_at IS
    'The latest opening, command, lifecycle event or telemetry of the session';

-- --- private state ----------------------------------------------------------------------------

DO $$
DECLARE
    state TEXT;
BEGIN
    FOREACH state IN ARRAY ARRAY[
        'video_catalog_production', 'video_catalog_path', 'video_catalog_video',
        'watermark_metrics_production', 'watermark_metrics_path', 'watermark_metrics_removal',
        'session_tracker_command', 'session_tracker_session'] LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS projectionist.%I (
            key UUID PRIMARY KEY, facts BYTEA NOT NULL) WITH (fillfactor = 80)', 'state_' || state);
        EXECUTE format('COMMENT ON TABLE projectionist.%I IS %L', 'state_' || state,
            'Private state of a projection: what its rows follow from');
    END LOOP;
END $$;

-- Sessions also follow from stream time: when they are due to be looked at, and the stream time
-- that their rows follow from now.
ALTER TABLE projectionist.state_session_tracker_session
    ADD COLUMN IF NOT EXISTS due_at TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS derived_at TIMESTAMPTZ NOT NULL;
CREATE INDEX IF NOT EXISTS idx_state_session_tracker_session_due
    ON projectionist.state_session_tracker_session (due_at) WHERE due_at IS NOT NULL;
