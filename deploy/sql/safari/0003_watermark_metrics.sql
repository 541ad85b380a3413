-- SPDX-License-Identifier: Apache-2.0
--
-- Watermark removals per hour and method: counts, bytes, and how long they took, as a histogram
-- from which the views compute quantiles.

-- --- tables -----------------------------------------------------------------------------------

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
COMMENT ON TABLE watermark_metrics IS 'Watermark removals by the hour of their start and by method';
COMMENT ON COLUMN watermark_metrics.bucket_start IS 'The UTC hour of the removals'' created_at';
COMMENT ON COLUMN watermark_metrics.attempts IS 'Removals, finished or not';
COMMENT ON COLUMN watermark_metrics.failed IS 'Removals that ended without success';
COMMENT ON COLUMN watermark_metrics.histogram IS
    'Counts of processing times; see projectionist.histogram_quantile';

-- Finds a bucket's extremes when a time is subtracted, however many removals it has.
CREATE TABLE IF NOT EXISTS watermark_metrics_times (
    bucket_start TIMESTAMPTZ NOT NULL,
    method VARCHAR(50) NOT NULL,
    processing_time_ms BIGINT NOT NULL,
    removal_id UUID NOT NULL,
    PRIMARY KEY (bucket_start, method, processing_time_ms, removal_id)
);
COMMENT ON TABLE watermark_metrics_times IS
    'The processing times of removals, by the bucket of watermark_metrics that counts them';

-- Deletes a bucket that its last removal has left. Extremes cannot be subtracted, so they are
-- looked up; the caller's addition has locked the bucket, and a later one brings its own.
CREATE FUNCTION projectionist.refresh_watermark_metrics(
    p_buckets TIMESTAMPTZ[], p_methods TEXT[], p_extremes BOOLEAN[]) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM watermark_metrics AS m
    USING unnest(p_buckets, p_methods) AS g (bucket_start, method)
    WHERE m.bucket_start = g.bucket_start AND m.method = g.method AND m.attempts = 0;
    UPDATE watermark_metrics AS m SET
        processing_ms_min = (
            SELECT t.processing_time_ms FROM watermark_metrics_times AS t
            WHERE t.bucket_start = m.bucket_start AND t.method = m.method
            ORDER BY t.processing_time_ms LIMIT 1),
        processing_ms_max = (
            SELECT t.processing_time_ms FROM watermark_metrics_times AS t
            WHERE t.bucket_start = m.bucket_start AND t.method = m.method
            ORDER BY t.processing_time_ms DESC LIMIT 1)
    FROM unnest(p_buckets, p_methods, p_extremes) AS g (bucket_start, method, extreme)
    WHERE g.extreme AND m.bucket_start = g.bucket_start AND m.method = g.method;
$$;
COMMENT ON FUNCTION projectionist.refresh_watermark_metrics IS
    'Recomputes extremes, and deletes empty buckets, after removals were subtracted';

-- --- quantiles --------------------------------------------------------------------------------

-- The bin of a time: one below 1 ms, then eight per doubling, so that a bin is at most an eighth
-- of its lower bound wide.
CREATE FUNCTION projectionist.histogram_bin(p_ms BIGINT) RETURNS INTEGER
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_ms < 1 THEN 0 ELSE (
        SELECT 1 + 8 * o.octave + (((p_ms * 8) >> o.octave) - 8)::INTEGER
        FROM (SELECT length(ltrim(p_ms::BIT(32)::TEXT, '0')) - 1 AS octave) AS o) END
$$;

CREATE FUNCTION projectionist.histogram_upper_bound(p_bin INTEGER) RETURNS NUMERIC
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_bin = 0 THEN 1
        ELSE (9 + (p_bin - 1) % 8)::NUMERIC / 8 * 2 ^ ((p_bin - 1) / 8)::NUMERIC END
$$;
COMMENT ON FUNCTION projectionist.histogram_bin IS 'The bin, from 0, that a time in ms falls into';
COMMENT ON FUNCTION projectionist.histogram_upper_bound IS
    'The time in ms that all times of a bin are below';

-- Times are whole milliseconds, so a quantile is the greatest time of a bin: the bin's upper bound
-- is not in it, and for a time of 0 ms would be infinitely too large.
CREATE FUNCTION projectionist.histogram_quantile(
    p_counts BIGINT[], p_share DOUBLE PRECISION, p_min BIGINT, p_max BIGINT) RETURNS BIGINT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT least(p_max,
        greatest(p_min, ceil(projectionist.histogram_upper_bound(r.bin))::BIGINT - 1))
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
    'Milliseconds that a share (0.5, 0.95, …) of the counted times does not exceed; less than 1/8 too large';

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
