-- SPDX-License-Identifier: Apache-2.0
--
-- The times that watermark_metrics counts, by bucket: so that a bucket's extremes are found where a
-- time is taken back, however many removals there are.

-- As in 0003: what is made here belongs where the Safari tables are.
SELECT set_config('search_path',
    (SELECT coalesce(string_agg(quote_ident(s.name), ', ' ORDER BY s.place), '')
     FROM unnest(current_schemas(false)) WITH ORDINALITY AS s (name, place)
     WHERE s.name <> 'projectionist'),
    true);

CREATE TABLE IF NOT EXISTS watermark_metrics_times (
    bucket_start TIMESTAMPTZ NOT NULL,
    method VARCHAR(50) NOT NULL,
    processing_time_ms BIGINT NOT NULL,
    removal_id UUID NOT NULL,
    PRIMARY KEY (bucket_start, method, processing_time_ms, removal_id)
);
COMMENT ON TABLE watermark_metrics_times IS
    'The processing times of removals, by the bucket of watermark_metrics that counts them';

INSERT INTO watermark_metrics_times (bucket_start, method, processing_time_ms, removal_id)
SELECT date_trunc('hour', w.created_at, 'UTC'), w.method, w.processing_time_ms, w.removal_id
FROM watermark_removals AS w
WHERE w.processing_time_ms IS NOT NULL
ON CONFLICT DO NOTHING;

-- A bucket that the last removal left goes. Extremes cannot be taken back, so they are looked up;
-- the caller's addition has locked the bucket, and whoever adds to it later brings its own.
CREATE OR REPLACE FUNCTION projectionist.settle_watermark_metrics(
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
