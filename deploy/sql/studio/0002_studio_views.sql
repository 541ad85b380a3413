-- SPDX-License-Identifier: Apache-2.0
--
-- Views of what the tables hold. Each shows its reader what the tables' policies let that reader
-- see.

CREATE VIEW latest_exports WITH (security_invoker = true) AS
SELECT DISTINCT ON (project_id) project_id, id, file_url, thumbnail_url, resolution, duration,
    created_at, revision
FROM exports
ORDER BY project_id, created_at DESC, id DESC;
COMMENT ON VIEW latest_exports IS 'The final video of each project that was made last';

CREATE VIEW project_timeline WITH (security_invoker = true) AS
SELECT project_id, id AS clip_id, order_index, scene_id, status, file_url, "start", "end",
    coalesce(sum("end" - "start") OVER (PARTITION BY project_id ORDER BY order_index
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS "offset"
FROM (
    SELECT project_id, id, order_index, scene_id, status, file_url,
        coalesce(start_trim, 0) AS "start", coalesce(end_trim, duration, 5) AS "end"
    FROM clips
) AS trimmed;
COMMENT ON VIEW project_timeline IS 'Clips in their order, each with its place on the timeline';
COMMENT ON COLUMN project_timeline."start" IS 'Seconds from the beginning of its file; so is end';
COMMENT ON COLUMN project_timeline."end" IS '5 where nobody knows how long the clip is';
COMMENT ON COLUMN project_timeline."offset" IS 'Seconds of all clips before it';

CREATE VIEW project_save_conflicts WITH (security_invoker = true) AS
SELECT project_id, base_revision, event_id, revision, user_id, next_event_id, next_revision,
    next_user_id
FROM (
    SELECT project_id, base_revision, event_id, revision, user_id,
        lead(event_id) OVER next AS next_event_id,
        lead(revision) OVER next AS next_revision,
        lead(user_id) OVER next AS next_user_id
    FROM project_saves
    WHERE base_revision IS NOT NULL
    WINDOW next AS (PARTITION BY project_id, base_revision ORDER BY revision, event_id)
) AS saves
WHERE next_event_id IS NOT NULL;
COMMENT ON VIEW project_save_conflicts IS
    'Saves that another one came over which was made on the same revision: each with the next';

-- Bytes, for what is encoded need not be UTF-8.
CREATE FUNCTION studio_url_decoded(url TEXT) RETURNS BYTEA
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
SELECT CASE WHEN position('%' IN url) = 0 THEN convert_to(url, 'UTF8') ELSE (
    SELECT string_agg(CASE WHEN length(part[1]) = 3 AND part[1] ~ '^%[0-9A-Fa-f]{2}$'
        THEN decode(substr(part[1], 2), 'hex') ELSE convert_to(part[1], 'UTF8') END, ''
        ORDER BY place)
    FROM regexp_matches(url, '%[0-9A-Fa-f]{2}|[^%]+|%', 'g') WITH ORDINALITY AS parts (part, place)
) END
$$;
COMMENT ON FUNCTION studio_url_decoded(TEXT) IS 'With its percent-encoded bytes as they are';

-- A URL is looked up by whatever follows a /object/public/ in it, as it is written and decoded.
CREATE VIEW orphan_objects WITH (security_invoker = true) AS
WITH urls (url) AS (
    SELECT thumbnail_url FROM projects
    UNION SELECT file_url FROM clips
    UNION SELECT thumbnail_url FROM clips
    UNION SELECT file_url FROM exports
    UNION SELECT thumbnail_url FROM exports
    UNION SELECT file_url FROM audio_files
), ends (place) AS (
    SELECT array_to_string(parts[n:], '/object/public/')
    FROM urls
    CROSS JOIN LATERAL string_to_array(url, '/object/public/') AS parts
    CROSS JOIN LATERAL generate_series(2, cardinality(parts)) AS n
), used (place) AS MATERIALIZED (
    SELECT convert_to(place, 'UTF8') FROM ends
    UNION SELECT studio_url_decoded(place) FROM ends
)
SELECT id, bucket, object_key, project_id, size_bytes, content_type, stored_at
FROM studio_objects AS o
WHERE NOT EXISTS (SELECT FROM used AS u
        WHERE u.place = convert_to(concat(o.bucket, '/', o.object_key), 'UTF8'))
    AND NOT EXISTS (SELECT FROM used AS u
        WHERE u.place = studio_url_decoded(concat(o.bucket, '/', o.object_key)));
COMMENT ON VIEW orphan_objects IS 'What is in storage, and no row has the URL of';
